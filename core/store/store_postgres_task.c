/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of scrape_request_log: creation, lease extension, rescue. Loop thread. */
#include "store/postgres.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/task_event.h"

#define RESCUE_MAX 500
#define SUBMIT_MAX 64		/* requests that share a transaction */

void pg_task_read(const PGresult *result, int row, bool whole, struct arena *arena, struct task_row *row_r)
{
	memset(row_r, 0, sizeof(*row_r));
	row_r->id = pg_get_int(result, row, 0);
	row_r->flow = pg_get_text(result, row, 1, arena);
	row_r->platform = pg_get_text(result, row, 2, arena);
	row_r->params = pg_get_json(result, row, 3, arena);
	row_r->account_id = pg_get_text(result, row, 4, arena);
	row_r->source = pg_get_text(result, row, 5, arena);
	row_r->status = task_status_from(PQgetvalue(result, row, 6));
	row_r->priority = (int)pg_get_int(result, row, 7);
	row_r->reason = pg_get_text(result, row, 8, arena);
	row_r->created_at = pg_get_text(result, row, 9, arena);
	row_r->picked_at = pg_get_text(result, row, 10, arena);
	row_r->expires_at = pg_get_text(result, row, 11, arena);
	row_r->retry_count = (int)pg_get_int(result, row, 12);
	row_r->attempt = (int)pg_get_int(result, row, 13);
	row_r->max_attempts = (int)pg_get_int(result, row, 14);
	row_r->crashes = (int)pg_get_int(result, row, 15);
	row_r->alone = pg_get_int(result, row, 16) != 0;
	row_r->commit_seq = pg_get_int(result, row, 17);
	if (!whole)
		return;
	row_r->data = pg_get_text(result, row, 18, arena);
	row_r->checkpoint = pg_get_text(result, row, 19, arena);
	row_r->worker = pg_get_text(result, row, 20, arena);
	row_r->error_code = pg_get_text(result, row, 21, arena);
	row_r->unique_key = pg_get_text(result, row, 22, arena);
	row_r->scraped_at = pg_get_text(result, row, 23, arena);
	row_r->run_after_ms = pg_get_int(result, row, 24);
	row_r->lease_until_ms = pg_get_int(result, row, 25);
	row_r->lease_token = pg_get_int(result, row, 26);
}

static const char *time_text(struct arena *arena, int64_t epoch_ms)
{
	char text[CLOCK_TEXT_SIZE];

	return epoch_ms == 0 ? NULL : arena_strdup(arena, clock_format_ms(text, epoch_ms));
}

/* --- creation --- */

/*
 * The ids are drawn first, so that the events can name them and a repeat after
 * a lost connection meets its own rows instead of making them twice.
 */
struct submit {
	struct pg_request request;
	const struct store_new_task *tasks;
	size_t count;
	int64_t *ids;
	struct submit *next;		/* carried by this one */
	bool single;			/* carries no others: together something was refused */
	const struct store_new_task *refused;	/* which has a live twin: asked for */
	store_ids_fn *done;
	void *user;
};

static void submit_start(struct pg_request *request);

static size_t submit_total(const struct submit *submit)
{
	size_t total = 0;

	for (; submit != NULL; submit = submit->next)
		total += submit->count;
	return total;
}

static void submit_answer(struct pg_request *request)
{
	struct submit *submit = (struct submit *)request;
	bool good = request->err.code == ERR_NONE;
	size_t i;

	for (i = 0; good && i < submit->count; i++)
		if (submit->ids[i] != 0)
			pg_hint(request->store, submit->tasks[i].flow);
	submit->done(submit->user, good ? submit->ids : NULL, good ? submit->count : 0, &request->err);
	/* Each answers the one after it. */
	if (submit->next != NULL)
		pg_finish_carried(&submit->next->request, &request->err);
}

static void submit_written(struct pg_request *request)
{
	request->unclear = false;
	request->wrote = true;
	pg_finish(request);
}

void pg_new_task_event(struct group_outbox *outbox, const struct store_new_task *task, int64_t id, int64_t now_ms,
		       struct pg_request *request)
{
	struct task_row row = {.id = id,
			       .flow = task->flow,
			       .platform = pg_clean(request->scratch, task->platform),
			       .params = group_clean_json(request->scratch, task->params),
			       .status = TASK_PENDING,
			       .priority = task->priority,
			       .reason = pg_clean(request->scratch, task->reason),
			       .expires_at = time_text(request->scratch, task->expires_at_ms),
			       .retry_count = 1};

	task_event_add(outbox, &row, now_ms, &request->store->base.options);
}

enum { TASK_ID, TASK_FLOW, TASK_PLATFORM, TASK_PARAMS, TASK_ACCOUNT, TASK_PRIORITY, TASK_REASON,
       TASK_EXPIRES, TASK_ATTEMPTS, TASK_AFTER, TASK_UNIQUE, TASK_KEY, TASK_COLUMNS };

static void task_values(struct arena *arena, const struct store_new_task *task, int64_t id, int64_t now,
			const char **columns[TASK_COLUMNS], size_t n)
{
	columns[TASK_ID][n] = pg_int_text(arena, id);
	columns[TASK_FLOW][n] = task->flow;
	columns[TASK_PLATFORM][n] = pg_clean(arena, task->platform);
	columns[TASK_PARAMS][n] = group_clean_json(arena, task->params);
	columns[TASK_ACCOUNT][n] = pg_clean(arena, task->account_id);
	columns[TASK_PRIORITY][n] = pg_int_text(arena, task->priority);
	columns[TASK_REASON][n] = pg_clean(arena, task->reason);
	columns[TASK_EXPIRES][n] = time_text(arena, task->expires_at_ms);
	columns[TASK_ATTEMPTS][n] = pg_int_text(arena, task->max_attempts > 0 ? task->max_attempts : 1);
	columns[TASK_AFTER][n] = task->run_after_ms > now ? pg_int_text(arena, task->run_after_ms) : NULL;
	columns[TASK_UNIQUE][n] = pg_clean(arena, task->unique_key);
	columns[TASK_KEY][n] = pg_clean(arena, task->idempotency_key);
}

#define INSERT_TASKS                                                                                         \
	"INSERT INTO scrape_request_log (id, flow, platform, params, account_id, status, priority,"          \
	" reason, created_at, expires_at, retry_count, max_attempts, run_after, unique_key, idempotency_key)" \
	" SELECT id, flow, platform, params::jsonb, account, 'PENDING', priority, reason,"                   \
	" $13::timestamp, expires::timestamp, 1, attempts, run_after, unique_key, key FROM"                  \
	" unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[],"                   \
	" $7::text[], $8::text[], $9::int[], $10::bigint[], $11::text[], $12::text[]) WITH ORDINALITY"       \
	" AS t (id, flow, platform, params, account, priority, reason, expires, attempts, run_after,"        \
	" unique_key, key, n) ORDER BY n"

static bool task_column_is_number(size_t column)
{
	return column == TASK_ID || column == TASK_PRIORITY || column == TASK_ATTEMPTS || column == TASK_AFTER;
}

void pg_add_new_tasks(struct pg_request *request, const struct store_new_task *const *tasks, const int64_t *ids,
		      size_t count, int64_t now_ms, bool skip)
{
	struct arena *arena = request->scratch;
	const char **columns[TASK_COLUMNS];
	struct pg_param values[TASK_COLUMNS + 1];
	size_t i;

	for (i = 0; i < TASK_COLUMNS; i++)
		columns[i] = arena_alloc(arena, (count + 1) * sizeof(**columns));
	for (i = 0; i < count; i++)
		task_values(arena, tasks[i], ids[i], now_ms, columns, i);
	for (i = 0; i < TASK_COLUMNS; i++)
		values[i] = task_column_is_number(i) ? pg_text(pg_array_text(arena, columns[i], count))
						     : pg_texts(arena, columns[i], count);
	values[TASK_COLUMNS] = pg_text(time_text(arena, now_ms));
	pg_add_params(request, skip ? INSERT_TASKS " ON CONFLICT DO NOTHING RETURNING id" : INSERT_TASKS, values,
		      TASK_COLUMNS + 1);
}

/* begun: inside a transaction. Tasks without an id are not to be made. */
static void submit_insert(struct submit *leader, bool begun)
{
	struct pg_request *request = &leader->request;
	struct arena *arena = request->scratch;
	size_t total = submit_total(leader), n = 0, i;
	const struct store_new_task **tasks = arena_alloc(arena, (total + 1) * sizeof(*tasks));
	int64_t *ids = arena_alloc(arena, (total + 1) * sizeof(*ids));
	int64_t now = clock_wall_ms();
	struct group_outbox outbox;
	struct submit *submit;

	group_outbox_init(&outbox, &request->store->base.options);
	for (submit = leader; submit != NULL; submit = submit->next)
		for (i = 0; i < submit->count; i++) {
			if (submit->ids[i] == 0)
				continue;
			tasks[n] = &submit->tasks[i];
			ids[n] = submit->ids[i];
			pg_new_task_event(&outbox, tasks[n], ids[n], now, request);
			n++;
		}
	if (!begun)
		pg_add_limits(request);
	pg_add_new_tasks(request, tasks, ids, n, now, false);
	pg_add_outbox(request, &outbox, now);
	group_outbox_fini(&outbox);
	if (begun)
		pg_add_silent(request, "COMMIT");
	pg_send_commit(request, submit_written);
}

static void submit_asked(struct pg_request *request)
{
	struct submit *leader = (struct submit *)request;
	bool there = pg_get_int(pg_batch(request)->results[0], 0, 0) != 0;

	if (!there) {
		submit_insert(leader, true);
		return;
	}
	pg_add_silent(request, "ROLLBACK");
	pg_send(request, submit_written);
}

/* Of the tasks that are made: there is one. */
static int64_t submit_first_id(const struct submit *submit)
{
	for (; submit != NULL; submit = submit->next)
		for (size_t i = 0; i < submit->count; i++)
			if (submit->ids[i] != 0)
				return submit->ids[i];
	return 0;
}

/*
 * An insert of the same id waits until the lost transaction is over, and then
 * finds its row or not. The row it makes itself is deleted at once.
 */
static void submit_ask(struct submit *leader)
{
	struct pg_request *request = &leader->request;
	int64_t id = submit_first_id(leader);

	pg_add_begin(request);
	pg_add(request,
	       "WITH mine AS (INSERT INTO scrape_request_log (id, flow, status, priority, params, retry_count)"
	       " VALUES ($1, '', 'FAILED', 1, '{}', 1) ON CONFLICT (id) DO NOTHING RETURNING id)"
	       " SELECT count(*) = 0 FROM mine",
	       "i", id);
	pg_add(request, "DELETE FROM scrape_request_log WHERE id = $1 AND flow = ''", "i", id);
	pg_send(request, submit_asked);
}

static const struct store_new_task **submit_tasks(const struct submit *submit, struct arena *arena)
{
	const struct store_new_task **tasks = arena_alloc(arena, (submit_total(submit) + 1) * sizeof(*tasks));
	size_t n = 0, i;

	for (; submit != NULL; submit = submit->next)
		for (i = 0; i < submit->count; i++)
			tasks[n++] = &submit->tasks[i];
	return tasks;
}

static void nothing_made(struct pg_request *request)
{
	pg_finish(request);
}

/* With a second result, of what failed before, it is in a transaction. */
static void submit_drawn(struct pg_request *request)
{
	const struct pg_batch *batch = pg_batch(request);
	struct submit *leader = (struct submit *)request, *submit;
	bool asked = batch->count > 1;
	size_t skipped = 0, i;
	int row = 0;

	if (asked)
		skipped = pg_take_skips(batch->results[1], submit_tasks(leader, request->scratch), submit_total(leader));
	for (submit = leader; submit != NULL; submit = submit->next) {
		submit->ids = arena_alloc(submit->request.arena, (submit->count + 1) * sizeof(*submit->ids));
		for (i = 0; i < submit->count; i++, row++)
			if (submit->tasks[i].skip == NULL || !submit->tasks[i].skip->skipped)
				submit->ids[i] = pg_get_int(batch->results[0], row, 0);
	}
	if (skipped < submit_total(leader)) {
		submit_insert(leader, asked);
		return;
	}
	pg_add_silent(request, "ROLLBACK");
	pg_send(request, nothing_made);
}

static void submit_draw(struct submit *leader)
{
	struct pg_request *request = &leader->request;
	const struct store_new_task **tasks = submit_tasks(leader, request->scratch);
	size_t total = submit_total(leader);
	bool asked = pg_failures_asked(tasks, total);

	if (asked)
		pg_add_begin(request);
	pg_add(request, "SELECT nextval('crawl_dump_id_seq') FROM generate_series(1, $1)", "i", (int64_t)total);
	if (asked)
		pg_add_skips(request, tasks, total, clock_wall_ms());
	pg_send(request, submit_drawn);
}

/* The twin is another task of the same submission, or has ended meanwhile, when there is none. */
static void twin_found(struct pg_request *request)
{
	const struct store_new_task *task = ((struct submit *)request)->refused;
	const PGresult *result = pg_batch(request)->results[0];

	if (PQntuples(result) > 0)
		error_set(&request->err, ERR_INPUT, "task %" PRId64 " of flow %s is already waiting or running for \"%s\"",
			  pg_get_int(result, 0, 0), task->flow, task->unique_key);
	else
		error_set(&request->err, ERR_INPUT, "a task of flow %s is already waiting or running for \"%s\"", task->flow,
			  task->unique_key);
	pg_finish(request);
}

static void ask_twin(struct submit *submit)
{
	pg_add_limits(&submit->request);
	pg_add(&submit->request,
	       "SELECT id FROM scrape_request_log WHERE flow = $1 AND unique_key = $2 AND unique_key IS NOT NULL AND"
	       " status IN ('PENDING', 'PROCESSING')",
	       "tt", submit->refused->flow, submit->refused->unique_key);
	pg_send(&submit->request, twin_found);
}

static void submit_start(struct pg_request *request)
{
	struct submit *leader = (struct submit *)request, **last = &leader->next;

	if (leader->refused != NULL) {
		ask_twin(leader);
		return;
	}
	if (request->unclear) {
		submit_ask(leader);
		return;
	}
	while (*last != NULL)
		last = &(*last)->next;
	while (!leader->single && request->carried < SUBMIT_MAX) {
		*last = (struct submit *)pg_take_queued(request->store, submit_start);
		if (*last == NULL)
			break;
		last = &(*last)->next;
		request->carried++;
	}
	if (submit_total(leader) == 0) {
		pg_finish(request);
		return;
	}
	submit_draw(leader);
}

/* Which of the tasks has a live twin, by the server's "Key (flow, unique_key)=(a, b) already exists." */
static const struct store_new_task *find_refused(const struct submit *submit, const char *detail)
{
	size_t i;

	for (i = 0; i < submit->count; i++) {
		const struct store_new_task *task = &submit->tasks[i];

		if (task->unique_key != NULL &&
		    strstr(detail, arena_printf(submit->request.scratch, "=(%s, %s) ", task->flow,
						task->unique_key)) != NULL)
			return task;
	}
	return NULL;
}

/* Of several each alone; of one the error is its own. */
static bool submit_failed(struct pg_request *request)
{
	struct submit *leader = (struct submit *)request, *submit, *next, *turned = NULL;
	const struct pg_batch *failure = pg_failure(request);

	if (leader->next == NULL && strcmp(failure->constraint, "task_unique") == 0) {
		leader->refused = find_refused(leader, failure->detail);
		error_set(&request->err, ERR_INPUT, "a task is already waiting or running: %s", failure->detail);
		if (leader->refused != NULL)
			pg_restart(request);
		else
			pg_finish(request);
		return true;
	}
	if (failure->error.code != ERR_CONTENT || leader->next == NULL) {
		request->err = failure->error;
		pg_finish(request);
		return true;
	}
	for (submit = leader->next; submit != NULL; submit = next) {
		next = submit->next;
		submit->next = turned;
		turned = submit;
	}
	for (submit = turned; submit != NULL; submit = next) {
		next = submit->next;
		submit->next = NULL;
		submit->single = true;
		pg_put_back(&submit->request);
	}
	leader->next = NULL;
	leader->single = true;
	request->carried = 1;
	pg_restart(request);
	return true;
}

void pg_submit(struct store *store, const struct store_new_task *tasks, size_t count, store_ids_fn *done,
	       void *user)
{
	struct submit *submit = pg_request_new(store, sizeof(*submit), submit_start, submit_answer);

	submit->request.failed = submit_failed;
	submit->tasks = tasks;
	submit->count = count;
	submit->done = done;
	submit->user = user;
	pg_request_submit(&submit->request);
}

/* --- lease extension --- */

struct extend {
	struct pg_done base;
	struct store_lease *leases;
	size_t count;
	int64_t lease_ms;
};

static void extended(struct pg_request *request)
{
	struct extend *extend = (struct extend *)request;
	const PGresult *result = pg_batch(request)->results[0];
	size_t i;
	int row;

	for (i = 0; i < extend->count; i++)
		extend->leases[i].lost = true;
	for (row = 0; row < PQntuples(result); row++)
		extend->leases[pg_get_int(result, row, 0) - 1].lost = false;
	request->wrote = PQntuples(result) > 0;
	pg_finish(request);
}

static void extend_start(struct pg_request *request)
{
	struct extend *extend = (struct extend *)request;
	struct arena *arena = request->scratch;
	int64_t *ids = arena_alloc(arena, (extend->count + 1) * sizeof(*ids));
	int64_t *tokens = arena_alloc(arena, (extend->count + 1) * sizeof(*tokens));
	size_t i;

	for (i = 0; i < extend->count; i++) {
		ids[i] = extend->leases[i].task_id;
		tokens[i] = extend->leases[i].lease_token;
	}
	pg_add_limits(request);
	pg_add(request,
	       "UPDATE scrape_request_log s SET lease_until = " PG_NOW_MS " + $3 FROM"
	       " unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY l (id, token, n) WHERE s.id = l.id AND"
	       " s.lease_token = l.token AND " PG_PROCESSING " RETURNING l.n",
	       "rri", pg_ints(arena, ids, extend->count), pg_ints(arena, tokens, extend->count),
	       extend->lease_ms);
	pg_send(request, extended);
}

void pg_extend(struct store *store, struct store_lease *leases, size_t count, int64_t lease_ms,
	       store_done_fn *done, void *user)
{
	struct extend *extend = pg_request_new(store, sizeof(*extend), extend_start, pg_answer_done);

	extend->base.done = done;
	extend->base.user = user;
	extend->leases = leases;
	extend->count = count;
	extend->lease_ms = lease_ms;
	pg_request_submit(&extend->base.request);
}

/* --- rescue --- */

static void rescue_written(struct pg_request *request)
{
	request->wrote = ((struct pg_count *)request)->count > 0;
	pg_finish(request);
}

/* Events for the rows that changed, and the flows of those that failed. */
static void take_changed(struct pg_request *request, const PGresult *result, struct group_outbox *outbox,
			 const char **failed, size_t *failed_count, int64_t now)
{
	struct task_row row;
	int i;

	for (i = 0; i < PQntuples(result); i++) {
		pg_task_read(result, i, false, request->scratch, &row);
		task_event_add(outbox, &row, now, &request->store->base.options);
		if (row.status == TASK_FAILED)
			failed[(*failed_count)++] = row.flow;
	}
}

static void rescue_changed(struct pg_request *request)
{
	struct pg_count *rescue = (struct pg_count *)request;
	const struct pg_batch *batch = pg_batch(request);
	const char **failed = arena_alloc(request->scratch, 2 * RESCUE_MAX * sizeof(*failed));
	size_t failed_count = 0;
	struct group_outbox outbox;
	int64_t now = clock_wall_ms();

	group_outbox_init(&outbox, &request->store->base.options);
	take_changed(request, batch->results[0], &outbox, failed, &failed_count, now);
	take_changed(request, batch->results[1], &outbox, failed, &failed_count, now);
	rescue->count = PQntuples(batch->results[0]) + PQntuples(batch->results[1]) +
			pg_get_int(batch->results[2], 0, 0);
	pg_add_outbox(request, &outbox, now);
	group_outbox_fini(&outbox);
	if (failed_count > 0)
		pg_add(request,
		       "INSERT INTO task_total AS t (flow, status, shard, tasks) SELECT flow, 'FAILED', $2, count(*)"
		       " FROM unnest($1::text[]) f (flow) GROUP BY flow ORDER BY flow"
		       " ON CONFLICT (flow, status, shard) DO UPDATE SET tasks = t.tasks + excluded.tasks",
		       "ai", pg_texts(request->scratch, failed, failed_count), (int64_t)request->store->shard);
	pg_add_silent(request, "COMMIT");
	pg_send(request, rescue_written);
}

#define PICK(where, order)                                                                                   \
	"WITH picked AS MATERIALIZED (SELECT s.id FROM scrape_request_log s WHERE " where " ORDER BY " order   \
	" LIMIT 500 FOR UPDATE SKIP LOCKED) UPDATE scrape_request_log s SET "

static void rescue_start(struct pg_request *request)
{
	char now[CLOCK_TEXT_SIZE];

	clock_format_ms(now, clock_wall_ms());
	pg_add_begin(request);
	/* The processes that held these are taken to have died of the tasks. */
	pg_add(request,
	       PICK("s.status = 'PROCESSING' AND s.lease_until <= " PG_NOW_MS, "s.lease_until")
	       "crashes = s.crashes + 1, crashes_alone = s.crashes_alone + s.alone::int, alone = false,"
	       " lease_until = NULL, lease_token = NULL,"
	       " status = CASE WHEN s.crashes_alone + s.alone::int >= $1 THEN 'FAILED' ELSE 'PENDING' END,"
	       " data = CASE WHEN s.crashes_alone + s.alone::int >= $1 THEN '(500, ''quarantined after ' ||"
	       " (s.crashes + 1) || ' crashes'')' ELSE s.data END,"
	       " error_code = CASE WHEN s.crashes_alone + s.alone::int >= $1 THEN 'crash' ELSE s.error_code END,"
	       " scraped_at = CASE WHEN s.crashes_alone + s.alone::int >= $1 THEN $2::timestamp"
	       " ELSE s.scraped_at END,"
	       " picked_at = CASE WHEN s.crashes_alone + s.alone::int >= $1 THEN s.picked_at END"
	       " FROM picked WHERE s.id = picked.id RETURNING " PG_EVENT_COLUMNS,
	       "ir", (int64_t)request->store->base.options.crash_limit, now);
	pg_add(request,
	       PICK("s.status = 'PENDING' AND s.expires_at IS NOT NULL AND s.expires_at <= " PG_UTC_NOW,
		    "s.expires_at")
	       "status = 'FAILED', data = '(408, ''expired before it was started'')', error_code = 'expired',"
	       " scraped_at = $1::timestamp, run_after = NULL"
	       " FROM picked WHERE s.id = picked.id RETURNING " PG_EVENT_COLUMNS,
	       "r", now);
	pg_add(request,
	       "WITH due AS (" PICK("s.status = 'PENDING' AND s.run_after IS NOT NULL AND s.run_after <= " PG_NOW_MS,
				    "s.run_after")
	       "run_after = NULL FROM picked WHERE s.id = picked.id RETURNING 1) SELECT count(*) FROM due",
	       "");
	pg_send(request, rescue_changed);
}

void pg_rescue(struct store *store, store_count_fn *done, void *user)
{
	struct pg_count *rescue = pg_request_new(store, sizeof(*rescue), rescue_start, pg_answer_count);

	rescue->done = done;
	rescue->user = user;
	pg_request_submit(&rescue->request);
}
