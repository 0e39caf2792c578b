# SPDX-License-Identifier: Apache-2.0

check_PROGRAMS += tests/unit/json_test
tests_unit_json_test_SOURCES = tests/unit/json_test.c
tests_unit_json_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/json_test
