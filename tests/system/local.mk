# SPDX-License-Identifier: Apache-2.0

# Tests in Python: each file is run by pytest.
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(PYTHON3)
AM_PY_LOG_FLAGS = -B -m pytest -q -p no:cacheprovider
SYSTEM_TESTS =
EXTRA_DIST += $(SYSTEM_TESTS)
if HAVE_SYSTEM_TESTS
TESTS += $(SYSTEM_TESTS)
endif

# The upstream simulator by itself.
SYSTEM_TESTS += tests/system/test_sim.py

# Everything that may be killed is killed.
SYSTEM_TESTS += tests/system/test_kill.py
EXTRA_DIST += tests/system/frames.py tests/system/harness.py tests/system/demo.py

# sluicectl without a daemon.
SYSTEM_TESTS += tests/system/test_ctl.py

# Dead letters, over the task store and over a broker.
SYSTEM_TESTS += tests/system/test_dead.py

# Everything on servers, everything fails; poison among messages.
SYSTEM_TESTS += tests/system/test_cluster.py tests/system/test_poison.py
EXTRA_DIST += tests/system/cluster.py

# Schedules, on one node and on two; old tasks.
SYSTEM_TESTS += tests/system/test_schedule.py

# What failed for good gets no more tasks.
SYSTEM_TESTS += tests/system/test_skip.py

# The schema, shown and applied.
SYSTEM_TESTS += tests/system/test_schema.py

# The example outside of the tree; recorded responses, where there are some.
SYSTEM_TESTS += tests/system/test_example.py tests/system/test_fixtures.py

# The supervisor: deaths, drains, refusals.
SYSTEM_TESTS += tests/system/test_supervisor.py

# Another configuration while it runs.
SYSTEM_TESTS += tests/system/test_reload.py

# The worker, with a plugin that does what none should.
SYSTEM_TESTS += tests/system/test_worker.py tests/system/test_limits.py
EXTRA_DIST += tests/modules/worker_unruly.c

# Sources that fail or are stopped, on one node and on two.
SYSTEM_TESTS += tests/system/test_source.py

# What went to the upstreams, and that nothing tells a secret.
SYSTEM_TESTS += tests/system/test_trace.py tests/system/test_secrets.py
EXTRA_DIST += tests/modules/secrets_echo.c

# Real servers, private ones; skipped where they are not installed.
SYSTEM_TESTS += tests/system/test_clickhouse.py tests/system/test_clickhouse_faults.py
EXTRA_DIST += tests/system/servers.py tests/system/conftest.py
if HAVE_POSTGRESQL
SYSTEM_TESTS += tests/system/test_store_postgres.py tests/system/test_postgres.py
endif
if HAVE_REDIS
SYSTEM_TESTS += tests/system/test_limit_redis.py
endif
if HAVE_RABBITMQ
SYSTEM_TESTS += tests/system/test_bus_amqp.py
if HAVE_POSTGRESQL
SYSTEM_TESTS += tests/system/test_relay.py tests/system/test_grow.py
endif
endif

# The measurements' own arguments and arithmetic.
SYSTEM_TESTS += tests/system/test_bench.py
# The pool of credentials.
SYSTEM_TESTS += tests/system/test_credential.py tests/system/test_storm.py
