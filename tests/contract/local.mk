# SPDX-License-Identifier: Apache-2.0

check_PROGRAMS += tests/contract/warehouse_test
TESTS += tests/contract/warehouse_test
tests_contract_warehouse_test_SOURCES = \
	tests/contract/warehouse_ask.h \
	tests/contract/warehouse_helpers.h \
	tests/contract/warehouse_test.c
tests_contract_warehouse_test_LDADD = core/libcore.a $(TEST_LIBS)

check_PROGRAMS += tests/contract/http_test
tests_contract_http_test_SOURCES = \
	tests/contract/http_server.c \
	tests/contract/http_server.h \
	tests/contract/http_test.c
tests_contract_http_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/http_test

# The task store's contract: SLUICE_TEST_STORE or the first argument names the store; a new SQLite file otherwise.
check_PROGRAMS += tests/contract/store_test tests/contract/store_sqlite_test
TESTS += tests/contract/store_test tests/contract/store_sqlite_test
tests_contract_store_test_SOURCES = \
	tests/contract/store_cases.h \
	tests/contract/store_commit_test.c \
	tests/contract/store_credential_test.c \
	tests/contract/store_failure_test.c \
	tests/contract/store_fixture.c \
	tests/contract/store_fixture.h \
	tests/contract/store_letter_test.c \
	tests/contract/store_process_test.c \
	tests/contract/store_schedule_test.c \
	tests/contract/store_schema_test.c \
	tests/contract/store_source_test.c \
	tests/contract/store_relay.h \
	tests/contract/store_relay_process_test.c \
	tests/contract/store_relay_test.c \
	tests/contract/store_test.c
tests_contract_store_test_LDADD = core/libcore.a $(TEST_LIBS)
tests_contract_store_sqlite_test_SOURCES = \
	tests/contract/store_cases.h \
	tests/contract/store_fixture.c \
	tests/contract/store_fixture.h \
	tests/contract/store_sqlite_test.c
tests_contract_store_sqlite_test_LDADD = core/libcore.a $(TEST_LIBS)

check_PROGRAMS += tests/contract/bus_test
TESTS += tests/contract/bus_test
tests_contract_bus_test_SOURCES = \
	tests/contract/bus_cases.h \
	tests/contract/bus_letters_test.c \
	tests/contract/bus_test.c \
	tests/contract/store_cases.h \
	tests/contract/store_fixture.c \
	tests/contract/store_fixture.h
tests_contract_bus_test_LDADD = core/libcore.a $(TEST_LIBS)

check_PROGRAMS += tests/contract/probe_test
tests_contract_probe_test_SOURCES = \
	tests/contract/module.c \
	tests/contract/module.h \
	tests/contract/probe_test.c
tests_contract_probe_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/probe_test

check_PROGRAMS += tests/contract/abi_test
tests_contract_abi_test_SOURCES = \
	tests/contract/abi_test.c \
	tests/contract/module.c \
	tests/contract/module.h
tests_contract_abi_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_contract_abi_test_LDADD = tests/fake/libfake.a core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/abi_test

check_PROGRAMS += tests/contract/sink_test
tests_contract_sink_test_SOURCES = \
	tests/contract/sink_test.c \
	tests/contract/sink_bench.c tests/contract/sink_bench.h \
	tests/fake/warehouse.c \
	tests/fake/warehouse.h
tests_contract_sink_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_contract_sink_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/sink_test

check_PROGRAMS += tests/contract/sink_tables_test
tests_contract_sink_tables_test_SOURCES = \
	tests/contract/sink_tables_test.c \
	tests/unit/sink_case.c \
	tests/unit/sink_case.h \
	$(sinks_sources)
tests_contract_sink_tables_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
tests_contract_sink_tables_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/sink_tables_test

check_PROGRAMS += tests/contract/query_test
tests_contract_query_test_SOURCES = \
	tests/contract/query_test.c \
	tests/fake/warehouse.c \
	tests/fake/warehouse.h
tests_contract_query_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_contract_query_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/query_test

check_PROGRAMS += tests/contract/channel_test
tests_contract_channel_test_SOURCES = tests/contract/channel_test.c
tests_contract_channel_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/channel_test

check_PROGRAMS += tests/contract/clickhouse_test
tests_contract_clickhouse_test_SOURCES = tests/contract/clickhouse_test.c
tests_contract_clickhouse_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/clickhouse_test

check_PROGRAMS += tests/contract/newer_test
tests_contract_newer_test_SOURCES = tests/contract/newer_test.c tests/contract/warehouse_ask.h
tests_contract_newer_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/contract/newer_test

# Runs against a server that tests/system/test_store_postgres.py starts.
if HAVE_POSTGRESQL
check_PROGRAMS += tests/contract/store_postgres_test
tests_contract_store_postgres_test_SOURCES = \
	tests/contract/store_cases.h \
	tests/contract/store_fixture.c \
	tests/contract/store_fixture.h \
	tests/contract/store_postgres_test.c
tests_contract_store_postgres_test_LDADD = core/libcore.a $(TEST_LIBS)
endif

# Runs against a broker that tests/system/test_bus_amqp.py starts and troubles.
if HAVE_RABBITMQ
check_PROGRAMS += tests/contract/bus_flow tests/contract/bus_park
tests_contract_bus_flow_SOURCES = tests/contract/bus_flow.c
tests_contract_bus_flow_LDADD = core/libcore.a $(TEST_LIBS)
tests_contract_bus_park_SOURCES = tests/contract/bus_park.c
tests_contract_bus_park_LDADD = core/libcore.a $(TEST_LIBS)
endif

# The first argument names the limits' store; local: otherwise. A Redis server is started by tests/system/test_limit_redis.py.
check_PROGRAMS += tests/contract/limit_test
TESTS += tests/contract/limit_test
tests_contract_limit_test_SOURCES = \
	tests/contract/limit_compare.c \
	tests/contract/limit_fixture.c \
	tests/contract/limit_fixture.h \
	tests/contract/limit_model.c \
	tests/contract/limit_model.h \
	tests/contract/limit_test.c
tests_contract_limit_test_LDADD = core/libcore.a $(TEST_LIBS)

check_PROGRAMS += tests/contract/limit_local_test
TESTS += tests/contract/limit_local_test
tests_contract_limit_local_test_SOURCES = \
	tests/contract/limit_fixture.c \
	tests/contract/limit_fixture.h \
	tests/contract/limit_local_test.c \
	tests/contract/limit_model.c \
	tests/contract/limit_model.h
tests_contract_limit_local_test_LDADD = core/libcore.a $(TEST_LIBS)

# Runs against a server that tests/system/test_limit_redis.py starts and troubles.
if HAVE_REDIS
check_PROGRAMS += tests/contract/limit_flow
tests_contract_limit_flow_SOURCES = tests/contract/limit_flow.c
tests_contract_limit_flow_LDADD = core/libcore.a $(TEST_LIBS)
endif

# The pool over a real store, and access tokens from a server of the test's own.
check_PROGRAMS += tests/contract/credential_pool_test tests/contract/oauth_test
TESTS += tests/contract/credential_pool_test tests/contract/oauth_test
tests_contract_credential_pool_test_SOURCES = \
	tests/contract/credential_pool_test.c \
	tests/contract/store_fixture.c \
	tests/contract/store_fixture.h
tests_contract_credential_pool_test_LDADD = core/libcore.a $(TEST_LIBS)
tests_contract_oauth_test_SOURCES = tests/contract/oauth_test.c
tests_contract_oauth_test_LDADD = core/libcore.a $(TEST_LIBS)
