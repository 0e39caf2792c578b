/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures that flows remember: a row for each task that failed for good, so
 * that what has become too old counts no more, whatever came after it. Loop thread.
 */
#include "store/postgres.h"

/* --- of new tasks --- */

bool pg_failures_asked(const struct store_new_task *const *tasks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (tasks[i]->skip != NULL)
			return true;
	return false;
}

void pg_add_skips(struct pg_request *request, const struct store_new_task *const *tasks, size_t count, int64_t now_ms)
{
	struct arena *arena = request->scratch;
	const char **flows = arena_alloc(arena, (count + 1) * sizeof(*flows));
	const char **keys = arena_alloc(arena, (count + 1) * sizeof(*keys));
	int64_t *after = arena_alloc(arena, (count + 1) * sizeof(*after));
	int64_t *least = arena_alloc(arena, (count + 1) * sizeof(*least));
	int64_t *places = arena_alloc(arena, (count + 1) * sizeof(*places));
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (tasks[i]->skip == NULL)
			continue;
		flows[n] = tasks[i]->flow;
		keys[n] = pg_clean(arena, tasks[i]->skip->key);
		after[n] = now_ms - tasks[i]->skip->period_ms;
		least[n] = tasks[i]->skip->failures;
		places[n++] = (int64_t)i;
	}
	pg_add(request,
	       "SELECT t.place, f.count, f.first, f.error FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[],"
	       " $5::bigint[]) t (flow, key, after, least, place) CROSS JOIN LATERAL (SELECT count(*) AS count,"
	       " min(failed_ms) AS first, (array_agg(error ORDER BY failed_ms DESC, task_id DESC))[1] AS error"
	       " FROM task_failure WHERE flow = t.flow AND key = t.key AND failed_ms > t.after) f"
	       " WHERE f.count >= t.least",
	       "aarrr", pg_texts(arena, flows, n), pg_texts(arena, keys, n), pg_ints(arena, after, n),
	       pg_ints(arena, least, n), pg_ints(arena, places, n));
}

size_t pg_take_skips(const PGresult *result, const struct store_new_task *const *tasks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (tasks[i]->skip != NULL)
			tasks[i]->skip->skipped = false;
	for (int row = 0; row < PQntuples(result); row++) {
		struct store_skip *skip = tasks[pg_get_int(result, row, 0)]->skip;

		skip->skipped = true;
		skip->count = pg_get_int(result, row, 1);
		skip->first_ms = pg_get_int(result, row, 2);
		store_failure_text(skip->error, PQgetvalue(result, row, 3));
	}
	return (size_t)PQntuples(result);
}

/* --- of tasks that end --- */

/* Rows in the same order as everybody locks them. */
static void add_success(struct pg_request *request, const char **flows, const char **keys, size_t count)
{
	if (count > 0)
		pg_add(request,
		       "WITH gone AS MATERIALIZED (SELECT f.flow, f.key, f.task_id FROM task_failure f WHERE (f.flow, f.key) IN"
		       " (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY f.flow, f.key, f.task_id FOR UPDATE)"
		       " DELETE FROM task_failure f USING gone g WHERE f.flow = g.flow AND f.key = g.key AND"
		       " f.task_id = g.task_id",
		       "aa", pg_texts(request->scratch, flows, count), pg_texts(request->scratch, keys, count));
}

struct failed {
	const char **flows, **keys, **errors;
	int64_t *ids, *until;
	size_t count;
};

static void add_failed(struct pg_request *request, const struct failed *failed, int64_t now_ms)
{
	struct arena *arena = request->scratch;

	if (failed->count > 0)
		pg_add(request,
		       "INSERT INTO task_failure (flow, key, task_id, failed_ms, until_ms, error)"
		       " SELECT flow, key, id, $6, until, error FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[],"
		       " $5::text[]) m (flow, key, id, until, error) ORDER BY flow, key, id"
		       " ON CONFLICT (flow, key, task_id) DO UPDATE SET failed_ms = excluded.failed_ms,"
		       " until_ms = excluded.until_ms, error = excluded.error",
		       "aarrai", pg_texts(arena, failed->flows, failed->count), pg_texts(arena, failed->keys, failed->count),
		       pg_ints(arena, failed->ids, failed->count), pg_ints(arena, failed->until, failed->count),
		       pg_texts(arena, failed->errors, failed->count), now_ms);
}

static void note_failed(struct arena *arena, struct failed *failed, const struct store_commit *member,
			const char *flow, int64_t now_ms)
{
	char text[STORE_FAILURE_TEXT];
	size_t n = failed->count++;

	failed->flows[n] = flow;
	failed->keys[n] = pg_clean(arena, member->skip_key);
	failed->errors[n] = arena_strdup(arena, store_failure_text(text, pg_clean(arena, member->data)));
	failed->ids[n] = member->task_id;
	failed->until[n] = now_ms + member->failure_ms;
}

void pg_add_failures(struct pg_request *request, struct store_commit *const *members, const struct task_row *rows,
		     size_t count, int64_t now_ms)
{
	struct arena *arena = request->scratch;
	const char **flows, **keys;
	struct failed failed = {.count = 0};
	size_t asked = 0, n = 0;

	for (size_t i = 0; i < count; i++)
		asked += members[i]->outcome == STORE_COMMITTED && members[i]->skip_key != NULL;
	if (asked == 0)
		return;
	flows = arena_alloc(arena, asked * sizeof(*flows));
	keys = arena_alloc(arena, asked * sizeof(*keys));
	failed.flows = arena_alloc(arena, asked * sizeof(*failed.flows));
	failed.keys = arena_alloc(arena, asked * sizeof(*failed.keys));
	failed.errors = arena_alloc(arena, asked * sizeof(*failed.errors));
	failed.ids = arena_alloc(arena, asked * sizeof(*failed.ids));
	failed.until = arena_alloc(arena, asked * sizeof(*failed.until));
	for (size_t i = 0; i < count; i++) {
		const struct store_commit *member = members[i];

		if (member->outcome != STORE_COMMITTED || member->skip_key == NULL)
			continue;
		if (member->end == STORE_COMPLETE) {
			flows[n] = rows[i].flow;
			keys[n++] = pg_clean(arena, member->skip_key);
		} else if (member->end == STORE_FAIL && member->failure_ms > 0) {
			note_failed(arena, &failed, member, rows[i].flow, now_ms);
		}
	}
	add_success(request, flows, keys, n);
	add_failed(request, &failed, now_ms);
}

/* --- reading --- */

struct failures {
	struct pg_request request;
	const struct store_failure_filter *filter;
	struct store_failure *rows;
	size_t count;
	store_failures_fn *done;
	void *user;
};

static void failures_read(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct failures *failures = (struct failures *)request;
	struct arena *arena = request->arena;

	failures->count = (size_t)PQntuples(result);
	failures->rows = arena_alloc(arena, (failures->count + 1) * sizeof(*failures->rows));
	for (int row = 0; row < PQntuples(result); row++)
		failures->rows[row] = (struct store_failure){
			.flow = pg_get_text(result, row, 0, arena),
			.key = pg_get_text(result, row, 1, arena),
			.count = pg_get_int(result, row, 2),
			.first_ms = pg_get_int(result, row, 3),
			.last_ms = pg_get_int(result, row, 4),
			.error = pg_get_text(result, row, 5, arena)};
	pg_finish(request);
}

static void failures_start(struct pg_request *request)
{
	const struct store_failure_filter *filter = ((struct failures *)request)->filter;

	pg_add_limits(request);
	pg_add(request,
	       "SELECT flow, key, count(*), min(failed_ms), max(failed_ms), (array_agg(error ORDER BY failed_ms DESC,"
	       " task_id DESC))[1] FROM task_failure WHERE ($1::text IS NULL OR flow = $1) AND ($2::text IS NULL OR key = $2)"
	       " AND failed_ms > $3 GROUP BY flow, key HAVING count(*) >= $4 ORDER BY max(failed_ms) DESC, flow, key LIMIT $5",
	       "ttiii", filter->flow, filter->key, filter->after_ms, filter->least, (int64_t)filter->limit);
	pg_send(request, failures_read);
}

static void failures_answer(struct pg_request *request)
{
	struct failures *failures = (struct failures *)request;

	failures->done(failures->user, failures->rows, request->err.code == ERR_NONE ? failures->count : 0,
		       &request->err);
}

void pg_failures(struct store *store, const struct store_failure_filter *filter, store_failures_fn *done, void *user)
{
	struct failures *request = pg_request_new(store, sizeof(*request), failures_start, failures_answer);

	request->filter = filter;
	request->done = done;
	request->user = user;
	pg_request_submit(&request->request);
}

/* --- forgetting --- */

struct forget {
	struct pg_count base;
	const struct store_forget *forget;
};

static void forgotten(struct pg_request *request)
{
	struct pg_count *count = (struct pg_count *)request;

	count->count = pg_get_int(pg_batch(request)->results[0], 0, 0);
	request->wrote = count->count > 0;
	pg_finish(request);
}

/* What somebody else is forgetting at this moment is left to him. */
static void forget_start(struct pg_request *request)
{
	const struct store_forget *forget = ((struct forget *)request)->forget;

	pg_add_limits(request);
	pg_add(request,
	       "WITH old AS MATERIALIZED (SELECT flow, key, task_id FROM task_failure WHERE ($1::text IS NULL OR flow = $1)"
	       " AND ($2::text IS NULL OR key = $2) AND until_ms <= $3 LIMIT 500 FOR UPDATE SKIP LOCKED),"
	       " gone AS (DELETE FROM task_failure f USING old o WHERE f.flow = o.flow AND f.key = o.key AND"
	       " f.task_id = o.task_id RETURNING 1) SELECT count(*) FROM gone",
	       "tti", forget->flow, forget->key, forget->over_ms > 0 ? forget->over_ms : INT64_MAX);
	pg_send(request, forgotten);
}

void pg_forget(struct store *store, const struct store_forget *forget, store_count_fn *done, void *user)
{
	struct forget *request = pg_request_new(store, sizeof(*request), forget_start, pg_answer_count);

	request->base.done = done;
	request->base.user = user;
	request->forget = forget;
	pg_request_submit(&request->base.request);
}
