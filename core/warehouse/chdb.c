/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the ClickHouse engine inside this process: the library, the engine's
 * one data directory and its lock, connections. The engine brings its own
 * threads; our calls come from consumers' threads, each with a connection of
 * its own.
 */
#include "warehouse/chdb.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "warehouse/driver.h"
#include "warehouse/outcome.h"
#include "warehouse/sql.h"
#include "warehouse/warehouse.h"

#define DEFAULT_MEMORY ((int64_t)2 << 30)
#define DEFAULT_THREADS 2
#define APPEND_BYTES ((size_t)1 << 20)
#define TABLE_BYTES (8 << 20)	/* a quarter of what max_query_size allows below: escaping may double it */

typedef void *chdb_handle;

/* The part of libchdb's C interface used here. */
struct api {
	chdb_handle *(*connect)(int argc, char **argv);
	void (*close_conn)(chdb_handle *conn);
	void (*shutdown)(void);
	void (*set_signal_handlers_enabled)(int enabled);
	void *(*query_n)(chdb_handle conn, const char *sql, size_t len, const char *format,
			 size_t format_len);
	void *(*stream_insert_n)(chdb_handle conn, const char *sql, size_t len, const char *format,
				 size_t format_len);
	int (*stream_append)(void *stream, const void *data, size_t len);
	void *(*stream_done)(void *stream);
	void (*stream_cancel_insert)(void *stream);
	const char *(*stream_insert_error)(void *stream);
	void (*destroy_insert_stream)(void *stream);
	char *(*result_buffer)(void *result);
	size_t (*result_length)(void *result);
	const char *(*result_error)(void *result);
	void (*destroy_query_result)(void *result);
};

static const struct {
	const char *symbol;
	size_t offset;
} symbols[] = {
#define SYMBOL(name) {"chdb_" #name, offsetof(struct api, name)}
	SYMBOL(connect), SYMBOL(close_conn), SYMBOL(shutdown), SYMBOL(set_signal_handlers_enabled),
	SYMBOL(query_n), SYMBOL(stream_insert_n), SYMBOL(stream_append), SYMBOL(stream_done),
	SYMBOL(stream_cancel_insert), SYMBOL(stream_insert_error), SYMBOL(destroy_insert_stream),
	SYMBOL(result_buffer), SYMBOL(result_length), SYMBOL(result_error), SYMBOL(destroy_query_result),
#undef SYMBOL
};

/* mutex guards all of it but api, which never changes once library is set. */
static struct {
	pthread_mutex_t mutex;
	void *library;
	struct api api;
	char *dir;
	int lock_fd;
	unsigned connections;
} engine = {.mutex = PTHREAD_MUTEX_INITIALIZER, .lock_fd = -1};

struct connection {
	chdb_handle *handle;
	int64_t deadline_ms;	/* what max_execution_time of the session stands at */
};

/* The library */

static void newest_in_cache(struct buf *path)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	struct buf pattern;
	glob_t found;

	buf_init(&pattern);
	if (cache && *cache)
		buf_printf(&pattern, "%s/sluice/chdb/*/libchdb.so", cache);
	else
		buf_printf(&pattern, "%s/.cache/sluice/chdb/*/libchdb.so", home ? home : "");
	if (glob(pattern.data, GLOB_NOSORT, NULL, &found) == 0) {
		const char *newest = found.gl_pathv[0];

		for (size_t i = 1; i < found.gl_pathc; i++)
			if (strverscmp(found.gl_pathv[i], newest) > 0)
				newest = found.gl_pathv[i];
		buf_adds(path, newest);
		globfree(&found);
	}
	buf_fini(&pattern);
}

void chdb_find_library(const char *option, struct buf *path)
{
	const char *named = option ? option : getenv("SLUICE_CHDB");

	if (named && *named)
		buf_adds(path, named);
	else
		newest_in_cache(path);
	if (path->len == 0)
		buf_adds(path, "libchdb.so");
}

/* libchdb crashes at exit when its threads still run then. */
static void stop_engine(void)
{
	pthread_mutex_lock(&engine.mutex);
	if (engine.library && engine.connections == 0)
		engine.api.shutdown();
	pthread_mutex_unlock(&engine.mutex);
}

static int load_library(const char *option, struct error *err)
{
	struct buf path;
	void *library;
	int rc = 0;

	if (engine.library)
		return 0;
	buf_init(&path);
	chdb_find_library(option, &path);
	library = dlopen(path.data, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		rc = error_set(err, ERR_INPUT, "the embedded ClickHouse cannot be loaded (%s): run "
			       "scripts/chdb to fetch it, or name libchdb.so in SLUICE_CHDB", dlerror());
	for (size_t i = 0; rc == 0 && i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = dlsym(library, symbols[i].symbol);

		if (!symbol)
			rc = error_set(err, ERR_INPUT, "%s has no %s: run scripts/chdb to fetch the right "
				       "version", path.data, symbols[i].symbol);
		memcpy((char *)&engine.api + symbols[i].offset, &symbol, sizeof(symbol));
	}
	if (rc == 0) {
		engine.library = library;
		engine.api.set_signal_handlers_enabled(0);
		atexit(stop_engine);
	} else if (library) {
		dlclose(library);
	}
	buf_fini(&path);
	return rc;
}

/* The directory */

static int lock_dir(const char *dir, struct error *err)
{
	struct buf path;
	int rc = 0;

	buf_init(&path);
	buf_printf(&path, "%s/sluice.lock", dir);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		rc = error_errno(err, "mkdir %s", dir);
	if (rc == 0) {
		engine.lock_fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (engine.lock_fd < 0)
			rc = error_errno(err, "open %s", path.data);
	}
	if (rc == 0 && flock(engine.lock_fd, LOCK_EX | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK ? error_set(err, ERR_BUSY, "%s is in use by another process", dir)
					  : error_errno(err, "lock %s", path.data);
		close(engine.lock_fd);
		engine.lock_fd = -1;
	}
	if (rc == 0)
		engine.dir = mem_strdup(dir);
	buf_fini(&path);
	return rc;
}

static void unlock_dir(void)
{
	close(engine.lock_fd);
	engine.lock_fd = -1;
	mem_free(&engine.dir);
}

static chdb_handle *connect_engine(const char *dir, const struct warehouse_options *options)
{
	int64_t memory = options->memory > 0 ? options->memory : DEFAULT_MEMORY;
	int threads = options->threads > 0 ? options->threads : DEFAULT_THREADS;
	struct arena *arena = arena_new();
	char program[] = "clickhouse", end_of_settings[] = "--";
	char *argv[] = {
		program,
		arena_printf(arena, "--path=%s", dir),
		arena_printf(arena, "--max_threads=%d", threads),
		arena_strdup(arena, "--max_insert_threads=1"),
		arena_strdup(arena, "--async_insert=0"),
		/* Statements of QUERY_BYTES; lists in them are single literals, whatever their length. */
		arena_strdup(arena, "--max_query_size=33554432"),
		arena_printf(arena, "--max_memory_usage=%" PRId64, memory / 2),
		end_of_settings,
		arena_printf(arena, "--max_server_memory_usage=%" PRId64, memory),
		arena_strdup(arena, "--timezone=UTC"),
		arena_strdup(arena, "--mark_cache_size=67108864"),
		arena_strdup(arena, "--primary_index_cache_size=67108864"),
		arena_strdup(arena, "--background_pool_size=2"),
		arena_strdup(arena, "--background_schedule_pool_size=1"),
		NULL
	};
	chdb_handle *handle = engine.api.connect((int)(sizeof(argv) / sizeof(argv[0])) - 1, argv);

	arena_free(&arena);
	return handle;
}

static int engine_open(const char *dir, const struct warehouse_options *options, struct connection *conn,
		       struct error *err)
{
	if (load_library(options->library, err) < 0)
		return -1;
	if (engine.dir && !str_eq(engine.dir, dir))
		return error_set(err, ERR_INPUT, "%s: this process already has %s open, and there is one "
				 "directory per process", dir, engine.dir);
	if (!engine.dir && lock_dir(dir, err) < 0)
		return -1;
	conn->handle = connect_engine(dir, options);
	if (conn->handle) {
		engine.connections++;
		return 0;
	}
	if (engine.connections == 0)
		unlock_dir();
	return error_set(err, ERR_IO, "the embedded ClickHouse does not start on %s", dir);
}

/* Statements */

static int failed(const char *text, enum error_code fallback, int *code_r, struct error *err)
{
	*code_r = outcome_code(text);
	return error_set(err, fallback, "%s", text);
}

static int run(struct connection *conn, const char *sql, size_t len, const char *format, size_t max_bytes,
	       struct buf *out, int *code_r, struct error *err)
{
	const struct api *api = &engine.api;
	void *result = api->query_n(*conn->handle, sql, len, format, strlen(format));
	const char *text;
	size_t size;
	int rc = 0;

	if (!result)
		return error_set(err, ERR_IO, "the embedded ClickHouse gave no answer");
	text = api->result_error(result);
	size = api->result_length(result);
	if (text)
		rc = failed(text, ERR_IO, code_r, err);
	else if (out && size > max_bytes)
		rc = error_set(err, ERR_LIMIT, "the answer has %zu bytes, more than the %zu allowed", size,
			       max_bytes);
	else if (out && size)
		buf_add(out, api->result_buffer(result), size);
	api->destroy_query_result(result);
	return rc;
}

static int set_deadline(struct connection *conn, int64_t deadline_ms, int *code_r, struct error *err)
{
	char sql[64];

	if (conn->deadline_ms == deadline_ms)
		return 0;
	str_format(sql, sizeof(sql), "SET max_execution_time = %" PRId64 ".%03d", deadline_ms / 1000,
		   (int)(deadline_ms % 1000));
	if (run(conn, sql, strlen(sql), "TSV", 0, NULL, code_r, err) < 0)
		return -1;
	conn->deadline_ms = deadline_ms;
	return 0;
}

/* What comes along is a subquery: nothing is made for it, and one text costs less than a list of them. */
static void add_table(struct buf *sql, const struct driver_table *table)
{
	buf_printf(sql, "WITH %s AS (SELECT * FROM format(TSV, ", table->name);
	sql_text(sql, table->structure, strlen(table->structure));
	buf_adds(sql, ", ");
	sql_text(sql, table->data, table->len);
	buf_adds(sql, ")) ");
}

static int chdb_query(void *state, const struct driver_query *query, struct buf *out, int *code_r,
		      struct error *err)
{
	struct buf sql;
	int rc;

	if (set_deadline(state, query->deadline_ms, code_r, err) < 0)
		return -1;
	buf_init(&sql);
	if (query->table)
		add_table(&sql, query->table);
	buf_add(&sql, query->sql, query->len);
	rc = run(state, sql.data, sql.len, query->format, query->max_bytes, out, code_r, err);
	buf_fini(&sql);
	return rc;
}

static void add_settings(struct buf *sql, const struct driver_insert *insert)
{
	for (size_t i = 0; i < insert->setting_count; i++) {
		buf_printf(sql, "%s%s = ", i ? ", " : " SETTINGS ", insert->settings[i].name);
		sql_text(sql, insert->settings[i].value, strlen(insert->settings[i].value));
	}
}

/*
 * Through the insert stream, because a query's text is cut at a newline in its
 * data. The engine sees one Native block and writes one part per partition.
 */
static int stream(struct connection *conn, const struct buf *sql, const struct driver_insert *insert,
		  int *code_r, struct error *err)
{
	const struct api *api = &engine.api;
	void *in = api->stream_insert_n(*conn->handle, sql->data, sql->len, "Native", strlen("Native"));
	void *result = NULL;
	const char *text;
	int rc = 0;

	if (!in)
		return error_set(err, ERR_IO, "the embedded ClickHouse takes no insert");
	text = api->stream_insert_error(in);
	for (size_t at = 0; !text && at < insert->len; at += APPEND_BYTES) {
		size_t len = insert->len - at < APPEND_BYTES ? insert->len - at : APPEND_BYTES;

		if (api->stream_append(in, insert->data + at, len) != 0) {
			text = api->stream_insert_error(in);
			text = text ? text : "the insert ended early";
		}
	}
	if (text) {
		rc = failed(text, ERR_IO, code_r, err);
		api->stream_cancel_insert(in);
	} else {
		result = api->stream_done(in);
		text = result ? api->result_error(result) : "the embedded ClickHouse gave no answer";
		if (text)
			rc = failed(text, ERR_UNCLEAR, code_r, err);
	}
	if (result)
		api->destroy_query_result(result);
	api->destroy_insert_stream(in);
	return rc;
}

static int chdb_insert(void *state, const struct driver_insert *insert, int *code_r, struct error *err)
{
	struct buf sql;
	int rc;

	if (set_deadline(state, insert->deadline_ms, code_r, err) < 0)
		return -1;
	buf_init(&sql);
	buf_adds(&sql, insert->into);
	add_settings(&sql, insert);
	rc = stream(state, &sql, insert, code_r, err);
	buf_fini(&sql);
	return rc;
}

/* Handles */

/* readonly is 2, not 1: the deadline of each statement is a setting too. */
static int start_session(struct connection *conn, const struct warehouse_options *options, struct error *err)
{
	static const char readonly[] = "SET readonly = 2";
	struct buf sql;
	int code, rc = 0;

	buf_init(&sql);
	if (options->database) {
		buf_adds(&sql, "USE ");
		sql_name(&sql, options->database);
		rc = run(conn, sql.data, sql.len, "TSV", 0, NULL, &code, err);
	}
	if (rc == 0 && options->readonly)
		rc = run(conn, readonly, strlen(readonly), "TSV", 0, NULL, &code, err);
	buf_fini(&sql);
	return rc;
}

static void chdb_close(void *state)
{
	struct connection *conn = state;

	pthread_mutex_lock(&engine.mutex);
	engine.api.close_conn(conn->handle);
	if (--engine.connections == 0)
		unlock_dir();
	pthread_mutex_unlock(&engine.mutex);
	mem_free(&conn);
}

static int chdb_open(const char *rest, const struct warehouse_options *options, void **conn_r,
		     struct error *err)
{
	struct connection *conn;
	int rc;

	if (*rest == '\0')
		return error_set(err, ERR_INPUT, "chdb: needs a directory, as in "
				 "chdb:/var/lib/sluice/warehouse");
	conn = mem_alloc(sizeof(*conn));
	pthread_mutex_lock(&engine.mutex);
	rc = engine_open(rest, options, conn, err);
	pthread_mutex_unlock(&engine.mutex);
	if (rc < 0) {
		mem_free(&conn);
		return -1;
	}
	if (start_session(conn, options, err) < 0) {
		chdb_close(conn);
		return -1;
	}
	*conn_r = conn;
	return 0;
}

const struct warehouse_ops warehouse_chdb = {
	.scheme = "chdb",
	.dies_with_process = true,
	.quorum = false,
	.table_bytes = TABLE_BYTES,
	.open = chdb_open,
	.close = chdb_close,
	.query = chdb_query,
	.insert = chdb_insert,
};
