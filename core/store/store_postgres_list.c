/* SPDX-License-Identifier: Apache-2.0 */
/* What people and plugins read: lists as JSON, depths, lookups. Loop thread. */
#include "store/postgres.h"

#include <inttypes.h>
#include <string.h>

#include "json/jwrite.h"

struct json_request {
	struct pg_request request;
	store_json_fn *done;
	void *user;
	struct buf out;			/* owned; freed after the callback */
	/* What is asked for; texts in the arena. */
	const char *table, *column, *value;
	const char *flow, *status;
	int64_t id, limit;
};

static void json_answer(struct pg_request *request)
{
	struct json_request *json = (struct json_request *)request;

	json->done(json->user, json->out.data != NULL ? json->out.data : "", json->out.len, &request->err);
	buf_fini(&json->out);
}

static struct json_request *json_request(struct store *store, void (*start)(struct pg_request *),
					 store_json_fn *done, void *user)
{
	struct json_request *json = pg_request_new(store, sizeof(*json), start, json_answer);

	buf_init(&json->out);
	json->done = done;
	json->user = user;
	return json;
}

/* All rows as an array of objects. */
static void write_rows(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct jwrite w;
	int row;

	jwrite_init(&w, &((struct json_request *)request)->out);
	jwrite_array(&w, NULL);
	for (row = 0; row < PQntuples(result); row++)
		pg_write_row(&w, result, row);
	jwrite_end(&w);
	pg_finish(request);
}

static const char *copy(const struct json_request *json, const char *text)
{
	return text != NULL ? arena_strdup(json->request.arena, text) : NULL;
}

/* --- lookup --- */

static void lookup_start(struct pg_request *request)
{
	struct json_request *json = (struct json_request *)request;

	pg_add_limits(request);
	pg_add(request,
	       arena_printf(request->scratch, "SELECT * FROM \"%s\" WHERE \"%s\" = $1 ORDER BY id DESC LIMIT $2",
			    json->table, json->column),
	       "ti", json->value, json->limit);
	pg_send(request, write_rows);
}

void pg_lookup(struct store *store, const struct store_table *table, const char *column, const char *value,
	       size_t limit, store_json_fn *done, void *user)
{
	struct json_request *json = json_request(store, lookup_start, done, user);

	json->table = copy(json, table->name);
	json->column = copy(json, column);
	json->value = copy(json, value);
	json->limit = (int64_t)limit;
	pg_request_submit(&json->request);
}

/* --- a query of the configuration's --- */

static void query_read(struct pg_request *request)
{
	struct json_request *json = (struct json_request *)request;

	if (PQntuples(pg_batch(request)->results[0]) <= json->limit) {
		write_rows(request);
		return;
	}
	error_set(&request->err, ERR_LIMIT, "more than %" PRId64 " rows", json->limit);
	pg_finish(request);
}

/* The parentheses leave room for one statement only; nothing but a SELECT stands in them. */
static void query_start(struct pg_request *request)
{
	struct json_request *json = (struct json_request *)request;

	pg_add_silent(request, "BEGIN READ ONLY");
	pg_add_limits(request);
	pg_add(request, arena_printf(request->scratch, "SELECT * FROM (\n%s\n) AS rows LIMIT $1", json->value), "i",
	       json->limit + 1);
	pg_add_silent(request, "COMMIT");
	pg_send(request, query_read);
}

static bool query_failed(struct pg_request *request)
{
	const struct pg_batch *failure = pg_failure(request);
	bool late = strcmp(failure->state, "57014") == 0;

	if (late)
		error_set(&request->err, ERR_LIMIT, "it ran for longer than 30 seconds");
	else
		error_set(&request->err, ERR_INPUT, "%s", failure->error.text);
	pg_finish(request);
	return true;
}

void pg_query(struct store *store, const char *sql, size_t max_rows, store_json_fn *done, void *user)
{
	struct json_request *json = json_request(store, query_start, done, user);

	json->request.failed = query_failed;
	json->request.reads_only = true;
	json->value = copy(json, sql);
	json->limit = (int64_t)max_rows;
	pg_request_submit(&json->request);
}

/* --- tasks --- */

#define LIST_COLUMNS                                                                                         \
	"id, flow, platform, status, priority, params, data, error_code, reason, account_id, unique_key, "   \
	PG_TIME("created_at") " AS created_at, " PG_TIME("picked_at") " AS picked_at, "                      \
	PG_TIME("scraped_at") " AS scraped_at, " PG_TIME("expires_at") " AS expires_at, retry_count, attempt,"\
	" max_attempts, crashes, run_after, lease_until, commit_seq, worker"

static void list_start(struct pg_request *request)
{
	struct json_request *json = (struct json_request *)request;

	pg_add_limits(request);
	/* Each combination is a statement of its own, so that each can use its index. */
	pg_add(request,
	       arena_printf(request->scratch,
			    "SELECT " LIST_COLUMNS " FROM scrape_request_log WHERE id < $1 AND"
			    " %s$2::text%s AND %s$3::text%s%s ORDER BY id DESC LIMIT $4",
			    json->flow != NULL ? "flow = " : "", json->flow != NULL ? "" : " IS NULL",
			    json->status != NULL ? "status = " : "", json->status != NULL ? "" : " IS NULL",
			    json->status != NULL && strcmp(json->status, "FAILED") == 0 ? " AND status = 'FAILED'"
											: ""),
	       "itti", json->id, json->flow, json->status, json->limit);
	pg_send(request, write_rows);
}

void pg_task_list(struct store *store, const struct store_task_filter *filter, store_json_fn *done,
		  void *user)
{
	struct json_request *json = json_request(store, list_start, done, user);

	json->flow = copy(json, filter->flow);
	json->status = copy(json, filter->status);
	json->id = filter->before_id > 0 ? filter->before_id : INT64_MAX;
	json->limit = (int64_t)filter->limit;
	pg_request_submit(&json->request);
}

static void write_task(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct json_request *json = (struct json_request *)request;
	struct jwrite w;

	if (PQntuples(result) == 0) {
		error_set(&request->err, ERR_NOT_FOUND, "there is no task %" PRId64, json->id);
	} else {
		jwrite_init(&w, &json->out);
		pg_write_row(&w, result, 0);
	}
	pg_finish(request);
}

static void get_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request, "SELECT " LIST_COLUMNS ", checkpoint FROM scrape_request_log WHERE id = $1", "i",
	       ((struct json_request *)request)->id);
	pg_send(request, write_task);
}

void pg_task_get(struct store *store, int64_t id, store_json_fn *done, void *user)
{
	struct json_request *json = json_request(store, get_start, done, user);

	json->id = id;
	pg_request_submit(&json->request);
}

/* --- dead letters and totals --- */

static void dead_list_start(struct pg_request *request)
{
	struct json_request *json = (struct json_request *)request;

	pg_add_limits(request);
	pg_add(request,
	       "SELECT id, queue, code, reason, " PG_TIME("first_at") " AS first_at, " PG_TIME("last_at")
	       " AS last_at, count, dedup_id, payload FROM dead_letter WHERE $1::text IS NULL OR queue = $1"
	       " ORDER BY id DESC LIMIT $2",
	       "ti", json->flow, json->limit);
	pg_send(request, write_rows);
}

void pg_dead_list(struct store *store, const char *queue, size_t limit, store_json_fn *done, void *user)
{
	struct json_request *json = json_request(store, dead_list_start, done, user);

	json->flow = copy(json, queue);
	json->limit = (int64_t)limit;
	pg_request_submit(&json->request);
}

static void totals_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request,
	       "SELECT queue, sum(events)::bigint AS events, sum(waiting_rows)::bigint AS waiting_rows,"
	       " sum(waiting_events)::bigint AS waiting_events, sum(waiting_bytes)::bigint AS waiting_bytes"
	       " FROM outbox_total GROUP BY queue ORDER BY queue",
	       "");
	pg_send(request, write_rows);
}

void pg_outbox_totals(struct store *store, store_json_fn *done, void *user)
{
	pg_request_submit(&json_request(store, totals_start, done, user)->request);
}

/* --- depths --- */

struct depths {
	struct pg_request request;
	store_depth_fn *done;
	void *user;
	struct store_depth *rows;	/* in the arena */
	size_t count;
	const char *ids;		/* progress */
};

static void depths_answer(struct pg_request *request)
{
	struct depths *depths = (struct depths *)request;

	depths->done(depths->user, depths->rows, depths->count, &request->err);
}

/* Rows of (flow, pending, alone, scheduled, processing, complete, failed, requests, events), to add up. */
static void read_depths(struct pg_request *request)
{
	struct depths *depths = (struct depths *)request;
	const PGresult *result = pg_batch(request)->results[0];
	int row, i;

	depths->rows = NULL;
	depths->count = 0;
	for (row = 0; row < PQntuples(result); row++) {
		struct store_depth *depth = store_depth_of(request->arena, &depths->rows, &depths->count,
							   PQgetvalue(result, row, 0));
		int64_t *const members[] = {&depth->pending, &depth->alone, &depth->scheduled,
					    &depth->processing, &depth->complete, &depth->failed,
					    &depth->requests, &depth->events};

		for (i = 1; i < PQnfields(result); i++)
			*members[i - 1] += pg_get_int(result, row, i);
	}
	pg_finish(request);
}

#define FROM_LOG "FROM scrape_request_log s WHERE "

static void depths_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request,
	       "SELECT flow, count(*), 0, 0, 0, 0::bigint, 0::bigint, 0::bigint, 0::bigint " FROM_LOG PG_READY
	       " GROUP BY flow UNION ALL "
	       "SELECT flow, count(*), count(*), 0, 0, 0, 0, 0, 0 " FROM_LOG PG_ALONE " GROUP BY flow UNION ALL "
	       "SELECT flow, 0, 0, count(*), 0, 0, 0, 0, 0 " FROM_LOG
	       "s.status = 'PENDING' AND s.run_after IS NOT NULL GROUP BY flow UNION ALL "
	       "SELECT flow, 0, 0, 0, count(*), 0, 0, 0, 0 " FROM_LOG
	       "s.status = 'PROCESSING' GROUP BY flow UNION ALL "
	       "SELECT flow, 0, 0, 0, 0, sum(tasks) FILTER (WHERE status = 'COMPLETE'),"
	       " sum(tasks) FILTER (WHERE status = 'FAILED'), 0, 0 FROM task_total GROUP BY flow UNION ALL "
	       "SELECT flow, 0, 0, 0, 0, 0, 0, sum(requests), sum(events) FROM flow_total GROUP BY flow",
	       "");
	pg_send(request, read_depths);
}

/* The flow names of an index one by one, so that a deep queue costs one step and not one per row. */
#define EACH_FLOW(name, rows)                                                                                \
	name " AS ((SELECT s.flow " FROM_LOG rows " ORDER BY s.flow LIMIT 1) UNION ALL"                      \
	" SELECT (SELECT s.flow " FROM_LOG "s.flow > f.flow AND " rows " ORDER BY s.flow LIMIT 1)"           \
	" FROM " name " f WHERE f.flow IS NOT NULL)"
#define COUNT_FLOW(rows)                                                                                     \
	"(SELECT count(*) FROM (SELECT 1 " FROM_LOG "s.flow = f.flow AND " rows " AND " PG_FRESH             \
	" LIMIT 1000) r)"

static void ready_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request,
	       "WITH RECURSIVE " EACH_FLOW("ready_flow", PG_READY) ", " EACH_FLOW("alone_flow", PG_ALONE)
	       " SELECT * FROM (SELECT f.flow, " COUNT_FLOW(PG_READY) " AS pending, 0::bigint AS alone"
	       " FROM ready_flow f WHERE f.flow IS NOT NULL UNION ALL"
	       " SELECT f.flow, a.n, a.n FROM (SELECT f.flow, " COUNT_FLOW(PG_ALONE) " AS n FROM alone_flow f"
	       " WHERE f.flow IS NOT NULL) a JOIN alone_flow f ON f.flow = a.flow) flows WHERE pending > 0",
	       "");
	pg_send(request, read_depths);
}

static void progress_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request,
	       "SELECT '', count(*) FILTER (WHERE status = 'PENDING' AND run_after IS NULL),"
	       " count(*) FILTER (WHERE status = 'PENDING' AND run_after IS NULL AND crashes >= 2),"
	       " count(*) FILTER (WHERE status = 'PENDING' AND run_after IS NOT NULL),"
	       " count(*) FILTER (WHERE status = 'PROCESSING'), count(*) FILTER (WHERE status = 'COMPLETE'),"
	       " count(*) FILTER (WHERE status = 'FAILED') FROM scrape_request_log WHERE id = ANY ($1::bigint[])",
	       "r", ((struct depths *)request)->ids);
	pg_send(request, read_depths);
}

static struct depths *depths_request(struct store *store, void (*start)(struct pg_request *),
				     store_depth_fn *done, void *user)
{
	struct depths *depths = pg_request_new(store, sizeof(*depths), start, depths_answer);

	depths->done = done;
	depths->user = user;
	return depths;
}

void pg_ready(struct store *store, store_depth_fn *done, void *user)
{
	pg_request_submit(&depths_request(store, ready_start, done, user)->request);
}

void pg_depths(struct store *store, store_depth_fn *done, void *user)
{
	pg_request_submit(&depths_request(store, depths_start, done, user)->request);
}

void pg_progress(struct store *store, const int64_t *ids, size_t count, store_depth_fn *done, void *user)
{
	struct depths *depths = depths_request(store, progress_start, done, user);

	depths->ids = pg_ints(depths->request.arena, ids, count);
	pg_request_submit(&depths->request);
}
