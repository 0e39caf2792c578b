# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/warehouse/chdb.c core/warehouse/chdb.h \
	core/warehouse/clickhouse.c \
	core/warehouse/clickhouse_hosts.c core/warehouse/clickhouse_hosts.h \
	core/warehouse/clickhouse_url.c core/warehouse/clickhouse_url.h \
	core/warehouse/engine.c core/warehouse/engine.h \
	core/warehouse/driver.h \
	core/warehouse/internal.h \
	core/warehouse/lookup.c \
	core/warehouse/native.c core/warehouse/native.h \
	core/warehouse/orphans.c \
	core/warehouse/outcome.c core/warehouse/outcome.h \
	core/warehouse/schema.c \
	core/warehouse/sql.c core/warehouse/sql.h \
	core/warehouse/warehouse.c core/warehouse/warehouse.h
