# SPDX-License-Identifier: Apache-2.0
# Plugins that only tests load: tests/modules/.libs/NAME.so.
check_LTLIBRARIES += \
	tests/modules/cxx.la \
	tests/modules/faulty.la \
	tests/modules/major2.la \
	tests/modules/null.la \
	tests/modules/undefined.la \
	tests/modules/wild.la

tests_modules_cxx_la_SOURCES = tests/modules/cxx.cc
tests_modules_cxx_la_LDFLAGS = $(TEST_MODULE_FLAGS)
# Without sanitizers: libtool leaves their libraries out of C++ modules.
tests_modules_cxx_la_CXXFLAGS = $(WARN_CXXFLAGS) -fvisibility=hidden
tests_modules_faulty_la_SOURCES = tests/modules/faulty.c
tests_modules_faulty_la_LDFLAGS = $(TEST_MODULE_FLAGS)
tests_modules_major2_la_SOURCES = tests/modules/major2.c
tests_modules_major2_la_LDFLAGS = $(TEST_MODULE_FLAGS)
tests_modules_null_la_SOURCES = tests/modules/null.c
tests_modules_null_la_LDFLAGS = $(TEST_MODULE_FLAGS)
# Without -Wl,-z,defs: that it misses a symbol is the point.
tests_modules_undefined_la_SOURCES = tests/modules/undefined.c
tests_modules_undefined_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
tests_modules_wild_la_SOURCES = tests/modules/wild.c
tests_modules_wild_la_LDFLAGS = $(TEST_MODULE_FLAGS)

# Compiled by tests/system/test_credential.py, which knows the addresses.
EXTRA_DIST += tests/modules/worker_oauth.c
