# SPDX-License-Identifier: Apache-2.0
# The fake host for unit tests of plugins: LDADD tests/fake/libfake.a before core/libcore.a.
check_LIBRARIES += tests/fake/libfake.a
tests_fake_libfake_a_SOURCES = tests/fake/fake_host.c tests/fake/fake_host.h
