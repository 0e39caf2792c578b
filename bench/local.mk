# SPDX-License-Identifier: Apache-2.0

# bench/run measures every stage beside what others do it with, bench/grow how figures move with size; see bench/README.md.
# None of it is run by make check; make bench/NAME builds one.
bench_made = bench/decode_bench bench/json_bench bench/limit_bench bench/sink_bench bench/warehouse_bench
EXTRA_PROGRAMS += $(bench_made)
if HAVE_RABBITMQ
bench_made += bench/queue_fill
EXTRA_PROGRAMS += bench/queue_fill
endif
EXTRA_DIST += bench/README.md bench/meter.py bench/report.py bench/rig.py
EXTRA_DIST += bench/stage_chain.py bench/stage_idle.py bench/stage_sink.py bench/stage_task.py
EXTRA_DIST += bench/curve_sink.py bench/curve_tasks.py bench/plot.py bench/scaling.py bench/SCALING.md
EXTRA_DIST += bench/growth/batch.svg bench/growth/concurrency.svg bench/growth/nodes.svg bench/growth/size.svg
EXTRA_DIST += bench/growth/tables.svg bench/growth/workers.svg
dist_noinst_SCRIPTS += bench/grow bench/run

bench_decode_bench_SOURCES = bench/decode_bench.c bench/profile_columns.h bench/profile_sink.h
bench_decode_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

bench_json_bench_SOURCES = bench/json_bench.c
bench_json_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

bench_queue_fill_SOURCES = bench/queue_fill.c bench/profile_columns.h bench/profile_sink.h
bench_queue_fill_LDADD = core/libcore.a $(SLUICE_LIBS)

# Also the load of the PostgreSQL system tests.
check_PROGRAMS += bench/store_bench
bench_store_bench_SOURCES = bench/store_bench.c
bench_store_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

bench_sink_bench_SOURCES = bench/sink_bench.c bench/profile_columns.h bench/profile_sink.h
bench_sink_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

bench_warehouse_bench_SOURCES = bench/warehouse_bench.c
bench_warehouse_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

bench_limit_bench_SOURCES = bench/limit_bench.c
bench_limit_bench_LDADD = core/libcore.a $(SLUICE_LIBS)

# A flow whose tasks do nothing: bench/.libs/noop.so.
EXTRA_LTLIBRARIES = bench/noop.la
bench_noop_la_SOURCES = bench/noop.c
bench_noop_la_LDFLAGS = $(TEST_MODULE_FLAGS)

# Eight tables: bench/.libs/tables.so.
EXTRA_LTLIBRARIES += bench/tables.la
bench_tables_la_SOURCES = bench/profile_columns.h bench/tables.c
bench_tables_la_LDFLAGS = $(TEST_MODULE_FLAGS)

# What bench/run and bench/grow need beside the product itself.
.PHONY: bench bench-programs
bench-programs: all sluice-sim $(bench_made) bench/store_bench bench/noop.la bench/tables.la
bench: bench-programs
	./run $(abs_top_srcdir)/bench/run --build . $(BENCH_OPTIONS)
