# SPDX-License-Identifier: Apache-2.0

# Not run by make check: make bench/json_bench && bench/json_bench
EXTRA_PROGRAMS += bench/json_bench
bench_json_bench_SOURCES = bench/json_bench.c
bench_json_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

# Also the load of the PostgreSQL system tests.
check_PROGRAMS += bench/store_bench
bench_store_bench_SOURCES = bench/store_bench.c
bench_store_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

EXTRA_PROGRAMS += bench/sink_bench
bench_sink_bench_SOURCES = bench/sink_bench.c
bench_sink_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

EXTRA_PROGRAMS += bench/warehouse_bench
bench_warehouse_bench_SOURCES = bench/warehouse_bench.c
bench_warehouse_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

EXTRA_PROGRAMS += bench/limit_bench
bench_limit_bench_SOURCES = bench/limit_bench.c
bench_limit_bench_LDADD = core/libcore.a $(SLUICE_LIBS)
