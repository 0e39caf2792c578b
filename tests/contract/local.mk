# SPDX-License-Identifier: Apache-2.0

check_PROGRAMS += tests/contract/warehouse_test
TESTS += tests/contract/warehouse_test
tests_contract_warehouse_test_SOURCES = tests/contract/warehouse_test.c
tests_contract_warehouse_test_LDADD = core/libcore.a $(TEST_LIBS)

check_PROGRAMS += tests/contract/http_test
tests_contract_http_test_SOURCES = \
	tests/contract/http_server.c \
	tests/contract/http_server.h \
	tests/contract/http_test.c
tests_contract_http_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/http_test
