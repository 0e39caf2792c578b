/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SQLite connection: opening, waiting for other processes, cached
 * statements, transactions, errors. Store thread.
 */
#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"

/*
 * Somebody else writes. Waiting times are drawn evenly and do not grow, so that
 * whoever waits longest is not the one who asks most seldom.
 */
static int busy_wait(void *user, int calls)
{
	struct sqlite_db *db = user;
	int64_t now = clock_mono_ms();
	struct timespec pause;

	if (calls == 0)
		db->busy_since = now;
	if (now - db->busy_since >= db->busy_ms)
		return 0;
	pause.tv_sec = 0;
	pause.tv_nsec = 100000 + (long)(random_u64() % (calls < 10 ? 900000 : 2900000));
	nanosleep(&pause, NULL);
	atomic_fetch_add(&db->busy_total, (uint64_t)(clock_mono_ms() - now));
	return 1;
}

int sqlite_error(struct sqlite_db *db, struct error *err, const char *doing)
{
	int rc = sqlite3_errcode(db->handle);
	enum error_code code = ERR_IO;

	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		code = ERR_BUSY;
		break;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
		code = ERR_CONTENT;
		break;
	}
	return error_set(err, code, "%s: %s (sqlite %d)", doing, sqlite3_errmsg(db->handle),
			 sqlite3_extended_errcode(db->handle));
}

static int make_file(const char *path, struct error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, "%s", path);
	close(fd);
	return 0;
}

static int configure(struct sqlite_db *db, struct error *err)
{
	/*
	 * Outbox rows are large and soon deleted: large pages make them few writes,
	 * and a log of 64 MiB lets most of them go before they are copied to the file.
	 */
	static const char settings[] = SQLITE_PAGE_SIZE
				       "PRAGMA journal_mode = WAL;"
				       "PRAGMA synchronous = FULL;"
				       "PRAGMA foreign_keys = ON;"
				       "PRAGMA temp_store = MEMORY;"
				       "PRAGMA cache_size = -16384;"
				       "PRAGMA mmap_size = 268435456;"
				       "PRAGMA wal_autocheckpoint = 4000;"
				       "PRAGMA journal_size_limit = 67108864;";
	int64_t end = clock_mono_ms() + db->busy_ms;

	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_busy_handler(db->handle, busy_wait, db);
	/* Switching a new file to WAL needs it for itself and does not ask the busy handler. */
	while (sqlite_script(db, settings, err) < 0) {
		if (err->code != ERR_BUSY || clock_mono_ms() > end)
			return -1;
		busy_wait(db, 0);
	}
	return 0;
}

int sqlite_db_open(struct sqlite_db *db, const char *path, bool create, const struct store_options *options,
		   struct error *err)
{
	bool memory = strcmp(path, ":memory:") == 0;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;

	memset(db, 0, sizeof(*db));
	db->options = options;
	db->busy_ms = options->busy_ms;
	db->statements = map_new();
	if (!memory && !create && access(path, F_OK) < 0) {
		error_set(err, ERR_NOT_FOUND, "%s: no such task store", path);
		goto failed;
	}
	if (!memory && create && make_file(path, err) < 0)
		goto failed;
	if (memory)
		flags |= SQLITE_OPEN_CREATE;
	if (sqlite3_open_v2(path, &db->handle, flags, NULL) != SQLITE_OK) {
		if (db->handle != NULL)
			sqlite_error(db, err, path);
		else
			error_set(err, ERR_IO, "%s: out of memory", path);
		goto failed;
	}
	if (configure(db, err) < 0) {
		error_prefix(err, "%s", path);
		goto failed;
	}
	return 0;
failed:
	sqlite_db_close(db);
	return -1;
}

int sqlite_db_look(struct sqlite_db *db, const char *path, const struct store_options *options,
		   struct error *err)
{
	memset(db, 0, sizeof(*db));
	db->options = options;
	db->busy_ms = options->busy_ms;
	db->statements = map_new();
	if (sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
	    SQLITE_OK) {
		sqlite3_extended_result_codes(db->handle, 1);
		sqlite3_busy_handler(db->handle, busy_wait, db);
		return 0;
	}
	if (db->handle != NULL)
		sqlite_error(db, err, path);
	else
		error_set(err, ERR_IO, "%s: out of memory", path);
	sqlite_db_close(db);
	return -1;
}

void sqlite_db_close(struct sqlite_db *db)
{
	const char *sql;
	void *statement;
	size_t cursor = 0;

	if (db->statements != NULL)
		while (map_next(db->statements, &cursor, &sql, &statement))
			sqlite3_finalize(statement);
	map_free(&db->statements);
	sqlite3_close(db->handle);
	db->handle = NULL;
}

static void bind(sqlite3_stmt *statement, const char *types, va_list ap)
{
	int index = 0, rc = SQLITE_OK;
	const char *type, *text;
	int64_t number;

	for (type = types; *type != '\0'; type++) {
		index++;
		switch (*type) {
		case 'i':
			rc = sqlite3_bind_int64(statement, index, va_arg(ap, int64_t));
			break;
		case 'n':
			number = va_arg(ap, int64_t);
			rc = number == 0 ? sqlite3_bind_null(statement, index)
					 : sqlite3_bind_int64(statement, index, number);
			break;
		case 'd':
			rc = sqlite3_bind_double(statement, index, va_arg(ap, double));
			break;
		case 't':
			rc = sqlite3_bind_text(statement, index, va_arg(ap, const char *), -1, SQLITE_STATIC);
			break;
		case 'b':
			text = va_arg(ap, const char *);
			rc = sqlite3_bind_text64(statement, index, text, va_arg(ap, size_t), SQLITE_STATIC,
						 SQLITE_UTF8);
			break;
		case 'B':
			text = va_arg(ap, const char *);
			rc = sqlite3_bind_blob64(statement, index, text, va_arg(ap, size_t), SQLITE_STATIC);
			break;
		default:
			assert(!"unknown parameter type");
		}
		/* Too long for SQLite shows when the statement runs, as a missing value; nothing else can go
		 * wrong. */
		assert(rc == SQLITE_OK || rc == SQLITE_TOOBIG);
	}
	assert(index == sqlite3_bind_parameter_count(statement));
}

sqlite3_stmt *sqlite_prepared(struct sqlite_db *db, struct error *err, const char *sql)
{
	sqlite3_stmt *statement = map_get(db->statements, sql);

	if (statement == NULL) {
		if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
		    SQLITE_OK) {
			sqlite_error(db, err, sql);
			return NULL;
		}
		map_put(db->statements, sql, statement);
	}
	sqlite3_reset(statement);
	return statement;
}

static sqlite3_stmt *query(struct sqlite_db *db, struct error *err, const char *sql, const char *types,
			   va_list ap)
{
	sqlite3_stmt *statement = sqlite_prepared(db, err, sql);

	if (statement != NULL)
		bind(statement, types, ap);
	return statement;
}

sqlite3_stmt *sqlite_query(struct sqlite_db *db, struct error *err, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list ap;

	va_start(ap, types);
	statement = query(db, err, sql, types, ap);
	va_end(ap);
	return statement;
}

int sqlite_step(struct sqlite_db *db, sqlite3_stmt *statement, struct error *err)
{
	int rc = sqlite3_step(statement);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		sqlite_error(db, err, "task store");
	sqlite3_reset(statement);
	return rc == SQLITE_DONE ? 0 : -1;
}

int sqlite_run(struct sqlite_db *db, struct error *err, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list ap;
	int rc;

	va_start(ap, types);
	statement = query(db, err, sql, types, ap);
	va_end(ap);
	if (statement == NULL)
		return -1;
	rc = sqlite_step(db, statement, err);
	assert(rc <= 0);
	return rc < 0 ? -1 : sqlite3_changes(db->handle);
}

int sqlite_integer(struct sqlite_db *db, int64_t *value_r, struct error *err, const char *sql,
		   const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list ap;
	int rc;

	*value_r = 0;
	va_start(ap, types);
	statement = query(db, err, sql, types, ap);
	va_end(ap);
	rc = statement == NULL ? -1 : sqlite_step(db, statement, err);
	if (rc > 0) {
		*value_r = sqlite3_column_int64(statement, 0);
		sqlite3_reset(statement);
	}
	return rc < 0 ? -1 : 0;
}

int sqlite_script(struct sqlite_db *db, const char *sql, struct error *err)
{
	if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_error(db, err, "task store");
	return 0;
}

int sqlite_begin(struct sqlite_db *db, struct error *err)
{
	return sqlite_run(db, err, "BEGIN IMMEDIATE", "") < 0 ? -1 : 0;
}

int sqlite_commit(struct sqlite_db *db, struct error *err)
{
	if (sqlite_run(db, err, "COMMIT", "") >= 0)
		return 0;
	sqlite_rollback(db);
	return -1;
}

void sqlite_rollback(struct sqlite_db *db)
{
	/* Some errors have already rolled the transaction back. */
	if (sqlite3_get_autocommit(db->handle) == 0)
		sqlite_run(db, NULL, "ROLLBACK", "");
}

const char *sqlite_text(sqlite3_stmt *statement, int column, struct arena *arena)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	if (text == NULL)
		return NULL;
	return arena_strndup(arena, text, (size_t)sqlite3_column_bytes(statement, column));
}
