# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/store/credential_row.c \
	core/store/driver.h \
	core/store/gate.c \
	core/store/gate.h \
	core/store/group.c \
	core/store/group.h \
	core/store/schema.c \
	core/store/schema.h \
	core/store/slot.c \
	core/store/slot.h \
	core/store/source.c \
	core/store/source.h \
	core/store/sqlite.h \
	core/store/store.c \
	core/store/store.h \
	core/store/store_sqlite.c \
	core/store/store_sqlite_commit.c \
	core/store/store_sqlite_credential.c \
	core/store/store_sqlite_db.c \
	core/store/store_sqlite_failure.c \
	core/store/store_sqlite_letter.c \
	core/store/store_sqlite_list.c \
	core/store/store_sqlite_outbox.c \
	core/store/store_sqlite_relay.c \
	core/store/store_sqlite_schedule.c \
	core/store/store_sqlite_schema.c \
	core/store/store_sqlite_source.c \
	core/store/store_sqlite_task.c \
	core/store/store_sync.c \
	core/store/store_sync.h \
	core/store/task_event.c \
	core/store/task_event.h

if HAVE_POSTGRESQL
core_libcore_a_SOURCES += \
	core/store/postgres.h \
	core/store/store_postgres.c \
	core/store/store_postgres_claim.c \
	core/store/store_postgres_commit.c \
	core/store/store_postgres_conn.c \
	core/store/store_postgres_credential.c \
	core/store/store_postgres_failure.c \
	core/store/store_postgres_letter.c \
	core/store/store_postgres_list.c \
	core/store/store_postgres_listen.c \
	core/store/store_postgres_look.c \
	core/store/store_postgres_outbox.c \
	core/store/store_postgres_relay.c \
	core/store/store_postgres_schedule.c \
	core/store/store_postgres_schema.c \
	core/store/store_postgres_source.c \
	core/store/store_postgres_task.c \
	core/store/store_postgres_url.c \
	core/store/store_postgres_value.c
endif
