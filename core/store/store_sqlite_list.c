/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people and plugins read: lists as JSON, depths, lookups. The operations
 * make their requests on the loop thread; the rest is the store's.
 */
#include "store/sqlite.h"

#include <string.h>

#include "base/clock.h"
#include "json/jwrite.h"

#define READY_COUNT_MAX 1000

static struct sqlite_json *json_request(struct store *store, size_t size,
					int (*run)(struct sqlite_db *, struct sqlite_request *,
						   struct error *),
					store_json_fn *done, void *user)
{
	struct sqlite_json *json = sqlite_request_new(store, size, false, run, sqlite_answer_json);

	buf_init(&json->out);
	json->done = done;
	json->user = user;
	return json;
}

static void write_column(struct jwrite *w, sqlite3_stmt *statement, int column, const char *name)
{
	switch (sqlite3_column_type(statement, column)) {
	case SQLITE_NULL:
		jwrite_null(w, name);
		break;
	case SQLITE_INTEGER:
		jwrite_int(w, name, sqlite3_column_int64(statement, column));
		break;
	case SQLITE_FLOAT:
		jwrite_double(w, name, sqlite3_column_double(statement, column));
		break;
	default:
		jwrite_stringn(w, name, (const char *)sqlite3_column_text(statement, column),
			       (size_t)sqlite3_column_bytes(statement, column));
	}
}

/* By the type the column was declared with; "JSON" and "ARRAY" hold JSON, and so does params. */
static void write_typed(struct jwrite *w, sqlite3_stmt *statement, int column)
{
	const char *name = sqlite3_column_name(statement, column);
	const char *type = sqlite3_column_decltype(statement, column);
	const char *text = (const char *)sqlite3_column_text(statement, column);

	if (type == NULL || text == NULL)
		write_column(w, statement, column, name);
	else if (strcmp(type, "BOOLEAN") == 0)
		jwrite_bool(w, name, sqlite3_column_int(statement, column) != 0);
	else if (strcmp(type, "JSON TEXT") == 0 || strcmp(type, "ARRAY TEXT") == 0 ||
		 strcmp(name, "params") == 0)
		jwrite_raw(w, name, text, strlen(text));
	else
		write_column(w, statement, column, name);
}

static void write_row(struct jwrite *w, sqlite3_stmt *statement)
{
	int column;

	jwrite_object(w, NULL);
	for (column = 0; column < sqlite3_column_count(statement); column++)
		write_typed(w, statement, column);
	jwrite_end(w);
}

/* All rows of a bound statement as an array of objects. */
static int write_rows(struct sqlite_db *db, sqlite3_stmt *statement, struct buf *out, struct error *err)
{
	struct jwrite w;
	int rc;

	if (statement == NULL)
		return -1;
	jwrite_init(&w, out);
	jwrite_array(&w, NULL);
	while ((rc = sqlite_step(db, statement, err)) > 0)
		write_row(&w, statement);
	jwrite_end(&w);
	return rc;
}

/* --- lookup --- */

struct lookup {
	struct sqlite_json json;
	const struct store_table *table;
	const char *column, *value;
	size_t limit;
};

static int lookup_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct lookup *lookup = (struct lookup *)request;
	const char *sql = arena_printf(request->arena,
				       "SELECT * FROM \"%s\" WHERE \"%s\" = ?1 ORDER BY id DESC LIMIT ?2",
				       lookup->table->name, lookup->column);

	return write_rows(db, sqlite_query(db, err, sql, "ti", lookup->value, (int64_t)lookup->limit),
			  &lookup->json.out, err);
}

void sqlite_lookup(struct store *store, const struct store_table *table, const char *column,
		   const char *value, size_t limit, store_json_fn *done, void *user)
{
	struct lookup *lookup = (struct lookup *)json_request(store, sizeof(*lookup), lookup_run, done, user);
	struct arena *arena = lookup->json.request.arena;

	lookup->table = table;
	lookup->column = arena_strdup(arena, column);
	lookup->value = arena_strdup(arena, value);
	lookup->limit = limit;
	sqlite_request_submit(&lookup->json.request);
}

/* --- tasks --- */

#define LIST_COLUMNS                                                                                         \
	"id, flow, platform, status, priority, params, data, error_code, reason, account_id, unique_key,"    \
	" created_at, picked_at, scraped_at, expires_at, retry_count, attempt, max_attempts, crashes, "      \
	"run_after,"                                                                                         \
	" lease_until, commit_seq, worker"

struct list {
	struct sqlite_json json;
	const char *flow, *status;
	int64_t before_id, limit;
};

static int list_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct list *list = (struct list *)request;
	/* Each combination is a statement of its own, so that each can use its index. */
	const char *sql = arena_printf(
		request->arena,
		"SELECT " LIST_COLUMNS " FROM scrape_request_log WHERE id < ?1"
		"%s%s%s AND (?2 IS NULL OR flow = ?2) AND (?3 IS NULL OR status = ?3)"
		" ORDER BY id DESC LIMIT ?4",
		list->flow != NULL ? " AND flow = ?2" : "", list->status != NULL ? " AND status = ?3" : "",
		list->status != NULL && strcmp(list->status, "FAILED") == 0 ? " AND status = 'FAILED'" : "");

	return write_rows(
		db,
		sqlite_query(db, err, sql, "itti", list->before_id, list->flow, list->status, list->limit),
		&list->json.out, err);
}

void sqlite_task_list(struct store *store, const struct store_task_filter *filter, store_json_fn *done,
		      void *user)
{
	struct list *list = (struct list *)json_request(store, sizeof(*list), list_run, done, user);
	struct arena *arena = list->json.request.arena;

	list->flow = filter->flow != NULL ? arena_strdup(arena, filter->flow) : NULL;
	list->status = filter->status != NULL ? arena_strdup(arena, filter->status) : NULL;
	list->before_id = filter->before_id > 0 ? filter->before_id : INT64_MAX;
	list->limit = (int64_t)filter->limit;
	sqlite_request_submit(&list->json.request);
}

struct get {
	struct sqlite_json json;
	int64_t id;
};

static int get_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct get *get = (struct get *)request;
	sqlite3_stmt *statement = sqlite_query(db, err,
					       "SELECT " LIST_COLUMNS ", checkpoint FROM scrape_request_log"
					       " WHERE id = ?1",
					       "i", get->id);
	struct jwrite w;
	int rc = statement == NULL ? -1 : sqlite_step(db, statement, err);

	if (rc == 0)
		return error_set(err, ERR_NOT_FOUND, "there is no task %lld", (long long)get->id);
	if (rc < 0)
		return -1;
	jwrite_init(&w, &get->json.out);
	write_row(&w, statement);
	sqlite3_reset(statement);
	return 0;
}

void sqlite_task_get(struct store *store, int64_t id, store_json_fn *done, void *user)
{
	struct get *get = (struct get *)json_request(store, sizeof(*get), get_run, done, user);

	get->id = id;
	sqlite_request_submit(&get->json.request);
}

/* --- dead letters and totals --- */

struct dead_list {
	struct sqlite_json json;
	const char *queue;
	int64_t limit;
};

static int dead_list_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct dead_list *list = (struct dead_list *)request;

	return write_rows(
		db,
		sqlite_query(db, err,
			     "SELECT id, queue, code, reason, first_at, last_at, count, dedup_id,"
			     " payload FROM dead_letter WHERE ?1 IS NULL OR queue = ?1 ORDER BY id DESC"
			     " LIMIT ?2",
			     "ti", list->queue, list->limit),
		&list->json.out, err);
}

void sqlite_dead_list(struct store *store, const char *queue, size_t limit, store_json_fn *done, void *user)
{
	struct dead_list *list =
		(struct dead_list *)json_request(store, sizeof(*list), dead_list_run, done, user);

	list->queue = queue != NULL ? arena_strdup(list->json.request.arena, queue) : NULL;
	list->limit = (int64_t)limit;
	sqlite_request_submit(&list->json.request);
}

static int totals_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	return write_rows(db,
			  sqlite_query(db, err,
				       "SELECT queue, events, waiting_rows, waiting_events, waiting_bytes"
				       " FROM outbox_total ORDER BY queue",
				       ""),
			  &((struct sqlite_json *)request)->out, err);
}

void sqlite_outbox_totals(struct store *store, store_json_fn *done, void *user)
{
	sqlite_request_submit(
		&json_request(store, sizeof(struct sqlite_json), totals_run, done, user)->request);
}

/* --- a query of the configuration's --- */

#define QUERY_MS 30000
#define QUERY_STEPS 100000	/* of SQLite's machine between two looks at the clock */

static int query_allowed(void *user, int action, const char *a, const char *b, const char *c, const char *d)
{
	(void)user;
	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION || action == SQLITE_RECURSIVE
		       ? SQLITE_OK
		       : SQLITE_DENY;
}

struct query {
	struct sqlite_json json;
	const char *sql;
	size_t max_rows;
	int64_t until_ms;	/* monotonic */
};

static int query_is_late(void *user)
{
	return clock_mono_ms() > ((struct query *)user)->until_ms;
}

static int query_rows(struct sqlite_db *db, struct query *query, sqlite3_stmt *statement, struct error *err)
{
	struct jwrite w;
	size_t count = 0;
	int rc;

	jwrite_init(&w, &query->json.out);
	jwrite_array(&w, NULL);
	while ((rc = sqlite_step(db, statement, err)) > 0 && count++ < query->max_rows)
		write_row(&w, statement);
	jwrite_end(&w);
	if (rc > 0)
		return error_set(err, ERR_LIMIT, "more than %zu rows", query->max_rows);
	if (rc < 0 && query_is_late(query))
		return error_set(err, ERR_LIMIT, "it ran for longer than %d seconds", QUERY_MS / 1000);
	return rc;
}

static int query_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct query *query = (struct query *)request;
	sqlite3_stmt *statement = NULL;
	const char *rest = "";
	int rc = -1;

	/* An authorizer is what stops ATTACH and PRAGMA, which count as reading. */
	sqlite3_set_authorizer(db->handle, query_allowed, NULL);
	if (sqlite3_prepare_v2(db->handle, query->sql, -1, &statement, &rest) != SQLITE_OK) {
		error_set(err, ERR_INPUT, "%s", sqlite3_errmsg(db->handle));
	} else if (statement == NULL || rest[strspn(rest, " \t\r\n")] != '\0' || !sqlite3_stmt_readonly(statement) ||
		   sqlite3_column_count(statement) == 0) {
		error_set(err, ERR_INPUT, "not one statement that only reads");
	} else {
		query->until_ms = clock_mono_ms() + QUERY_MS;
		sqlite3_progress_handler(db->handle, QUERY_STEPS, query_is_late, query);
		rc = query_rows(db, query, statement, err);
		sqlite3_progress_handler(db->handle, 0, NULL, NULL);
	}
	sqlite3_finalize(statement);
	sqlite3_set_authorizer(db->handle, NULL, NULL);
	return rc;
}

void sqlite_query_rows(struct store *store, const char *sql, size_t max_rows, store_json_fn *done, void *user)
{
	struct query *query = (struct query *)json_request(store, sizeof(*query), query_run, done, user);

	query->sql = arena_strdup(query->json.request.arena, sql);
	query->max_rows = max_rows;
	sqlite_request_submit(&query->json.request);
}

/* --- depths --- */

static struct store_depth *depth_of(struct sqlite_depths *depths, const char *flow)
{
	return store_depth_of(depths->request.arena, &depths->rows, &depths->count, flow);
}

/* Adds what a query of (flow, count) finds to the member at offset. */
static int add_counts(struct sqlite_db *db, struct sqlite_depths *depths, size_t offset, const char *sql,
		      struct error *err)
{
	sqlite3_stmt *statement = sqlite_query(db, err, sql, "");
	int rc;

	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0) {
		struct store_depth *depth = depth_of(depths, (const char *)sqlite3_column_text(statement, 0));

		*(int64_t *)(void *)((char *)depth + offset) += sqlite3_column_int64(statement, 1);
	}
	return rc;
}

#define ADD(member, sql) add_counts(db, depths, offsetof(struct store_depth, member), sql, err)
#define FROM_INDEX(index) "SELECT flow, count(*) FROM scrape_request_log INDEXED BY " index " WHERE "
#define READY_ROWS "status = 'PENDING' AND run_after IS NULL AND crashes < 2"
#define ALONE_ROWS "status = 'PENDING' AND run_after IS NULL AND crashes >= 2"

static int depths_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct sqlite_depths *depths = (struct sqlite_depths *)request;

	if (ADD(pending, FROM_INDEX("task_ready") READY_ROWS " GROUP BY flow") < 0 ||
	    ADD(pending, FROM_INDEX("task_alone") ALONE_ROWS " GROUP BY flow") < 0 ||
	    ADD(alone, FROM_INDEX("task_alone") ALONE_ROWS " GROUP BY flow") < 0 ||
	    ADD(scheduled,
		FROM_INDEX("task_due") "status = 'PENDING' AND run_after IS NOT NULL GROUP BY flow") < 0 ||
	    ADD(processing, FROM_INDEX("task_lease") "status = 'PROCESSING' GROUP BY flow") < 0 ||
	    ADD(complete, "SELECT flow, tasks FROM task_total WHERE status = 'COMPLETE'") < 0 ||
	    ADD(failed, "SELECT flow, tasks FROM task_total WHERE status = 'FAILED'") < 0 ||
	    ADD(requests, "SELECT flow, requests FROM flow_total") < 0 ||
	    ADD(events, "SELECT flow, events FROM flow_total") < 0)
		return -1;
	return 0;
}

/* The flow names of an index one by one, so that a deep queue costs one step and not one per row. */
static int ready_flows(struct sqlite_db *db, struct sqlite_depths *depths, const char *next,
		       const char *count, bool alone, struct error *err)
{
	const char *flow = "";
	char now[CLOCK_TEXT_SIZE];

	clock_format_ms(now, clock_wall_ms());
	for (;;) {
		sqlite3_stmt *statement = sqlite_query(db, err, next, "t", flow);
		int rc = statement == NULL ? -1 : sqlite_step(db, statement, err);
		struct store_depth *depth;
		int64_t rows;

		if (rc <= 0)
			return rc;
		flow = sqlite_text(statement, 0, depths->request.arena);
		sqlite3_reset(statement);
		if (sqlite_integer(db, &rows, err, count, "tti", flow, now, (int64_t)READY_COUNT_MAX) < 0)
			return -1;
		if (rows == 0)
			continue;
		depth = depth_of(depths, flow);
		depth->pending += rows;
		if (alone)
			depth->alone += rows;
	}
}

#define NEXT_FLOW(index, rows)                                                                               \
	"SELECT flow FROM scrape_request_log INDEXED BY " index " WHERE flow > ?1 AND " rows                 \
	" ORDER BY flow LIMIT 1"
#define COUNT_FLOW(index, rows)                                                                              \
	"SELECT count(*) FROM (SELECT 1 FROM scrape_request_log INDEXED BY " index                           \
	" WHERE flow = ?1 AND " rows " AND (expires_at IS NULL OR expires_at > ?2) LIMIT ?3)"

static int ready_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct sqlite_depths *depths = (struct sqlite_depths *)request;

	if (ready_flows(db, depths, NEXT_FLOW("task_ready", READY_ROWS), COUNT_FLOW("task_ready", READY_ROWS),
			false, err) < 0)
		return -1;
	return ready_flows(db, depths, NEXT_FLOW("task_alone", ALONE_ROWS),
			   COUNT_FLOW("task_alone", ALONE_ROWS), true, err);
}

static void depth_request(struct store *store,
			  int (*run)(struct sqlite_db *, struct sqlite_request *, struct error *),
			  store_depth_fn *done, void *user)
{
	struct sqlite_depths *depths =
		sqlite_request_new(store, sizeof(*depths), false, run, sqlite_answer_depths);

	depths->done = done;
	depths->user = user;
	sqlite_request_submit(&depths->request);
}

void sqlite_ready(struct store *store, store_depth_fn *done, void *user)
{
	depth_request(store, ready_run, done, user);
}

void sqlite_depth_list(struct store *store, store_depth_fn *done, void *user)
{
	depth_request(store, depths_run, done, user);
}

/* --- progress of given tasks --- */

struct progress {
	struct sqlite_depths depths;
	const char *ids;		/* a JSON array */
};

static int progress_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct progress *progress = (struct progress *)(void *)request;
	struct store_depth *depth = depth_of(&progress->depths, "");
	sqlite3_stmt *statement = sqlite_query(db, err, "SELECT total(status = 'PENDING' AND run_after IS NULL),"
		" total(status = 'PENDING' AND run_after IS NULL AND crashes >= 2),"
		" total(status = 'PENDING' AND run_after IS NOT NULL), total(status = 'PROCESSING'),"
		" total(status = 'COMPLETE'), total(status = 'FAILED')"
		" FROM json_each(?1) AS given CROSS JOIN scrape_request_log AS task ON task.id = given.value", "t", progress->ids);
	int64_t *const members[] = { &depth->pending, &depth->alone, &depth->scheduled, &depth->processing,
				     &depth->complete, &depth->failed };

	if (statement == NULL || sqlite_step(db, statement, err) < 0)
		return -1;
	for (int i = 0; i < (int)(sizeof(members) / sizeof(members[0])); i++)
		*members[i] = sqlite3_column_int64(statement, i);
	sqlite3_reset(statement);
	return 0;
}

void sqlite_progress(struct store *store, const int64_t *ids, size_t count, store_depth_fn *done, void *user)
{
	struct progress *progress = sqlite_request_new(store, sizeof(*progress), false, progress_run,
						       sqlite_answer_depths);
	struct jwrite w;
	struct buf text;

	buf_init(&text);
	jwrite_init(&w, &text);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < count; i++)
		jwrite_int(&w, NULL, ids[i]);
	jwrite_end(&w);
	progress->ids = arena_strndup(progress->depths.request.arena, text.data, text.len);
	buf_fini(&text);
	progress->depths.done = done;
	progress->depths.user = user;
	sqlite_request_submit(&progress->depths.request);
}
