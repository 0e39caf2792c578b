# SPDX-License-Identifier: Apache-2.0
# The null plugin as each release built it (scripts/abi-store). Never replaced, never removed.
EXTRA_DIST += tests/abi/x86_64/0.1.0/null.so
