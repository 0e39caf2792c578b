#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes configure and the Makefile.in from a checkout; a release archive brings them along.
set -e
cd "$(dirname "$0")"
mkdir -p build-aux
exec autoreconf --install --force --warnings=all,no-obsolete "$@"
