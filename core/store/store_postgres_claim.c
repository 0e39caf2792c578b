/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claim of ready tasks: one transaction, whose rows nobody else waits for.
 * After a lost connection the rows that were picked tell whether it was
 * committed. Loop thread.
 */
#include "store/postgres.h"

#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "store/task_event.h"

struct claim {
	struct pg_request request;
	struct store_claim *claim;
	struct task_row *rows;
	size_t count;
	int64_t first_token, token;	/* each row has one of its own from this range */
	store_claimed_fn *done;
	void *user;
};

#define UPDATE_CLAIMED                                                                                       \
	" UPDATE scrape_request_log s SET status = 'PROCESSING', lease_token = $1 + picked.n,"               \
	" lease_until = " PG_NOW_MS " + $2, picked_at = $3::timestamp, worker = $4, alone = $5::boolean"     \
	" FROM picked WHERE s.id = picked.id RETURNING " PG_TASK_COLUMNS

static void claim_answer(struct pg_request *request)
{
	struct claim *claim = (struct claim *)request;

	claim->done(claim->user, claim->rows, request->err.code == ERR_NONE ? claim->count : 0, &request->err);
}

static void claim_written(struct pg_request *request)
{
	request->wrote = ((struct claim *)request)->count > 0;
	pg_finish(request);
}

static size_t flow_index(const struct store_claim *claim, const char *flow)
{
	size_t i;

	for (i = 0; i < claim->flow_count && strcmp(claim->flows[i], flow) != 0; i++)
		;
	return i;
}

/* By flow as asked for, then most urgent first: what UPDATE returns is in no order. */
static void sort_rows(struct claim *claim)
{
	size_t i, j;

	for (i = 1; i < claim->count; i++) {
		struct task_row row = claim->rows[i];
		size_t flow = flow_index(claim->claim, row.flow);

		for (j = i; j > 0; j--) {
			const struct task_row *before = &claim->rows[j - 1];
			size_t other = flow_index(claim->claim, before->flow);

			if (other < flow || (other == flow && (before->priority < row.priority ||
							       (before->priority == row.priority &&
								before->id < row.id))))
				break;
			claim->rows[j] = *before;
		}
		claim->rows[j] = row;
	}
}

/* All rows of the batch's results from this one on. */
static void read_rows(struct claim *claim, size_t from)
{
	const struct pg_batch *batch = pg_batch(&claim->request);
	struct arena *arena = claim->request.arena;
	size_t i, total = 0;
	int row;

	for (i = from; i < batch->count; i++)
		total += (size_t)PQntuples(batch->results[i]);
	claim->rows = arena_alloc(arena, (total + 1) * sizeof(*claim->rows));
	claim->count = 0;
	for (i = from; i < batch->count; i++)
		for (row = 0; row < PQntuples(batch->results[i]); row++)
			pg_task_read(batch->results[i], row, true, arena, &claim->rows[claim->count++]);
	sort_rows(claim);
}

static void claim_picked(struct pg_request *request)
{
	struct claim *claim = (struct claim *)request;
	const struct pg_batch *batch = pg_batch(request);
	struct group_outbox outbox;
	int64_t now = clock_wall_ms();
	bool alone = false;
	size_t i;

	claim->claim->alone_waiting = pg_get_int(batch->results[0], 0, 0) != 0;
	read_rows(claim, 1);
	for (i = 0; i < claim->count; i++)
		alone |= claim->rows[i].alone;
	if (alone && claim->count > 1) { /* it became ready after the others were picked */
		pg_add_silent(request, "ROLLBACK");
		pg_send(request, pg_restart);
		return;
	}
	if (alone)
		claim->claim->alone_waiting = false;
	group_outbox_init(&outbox, &request->store->base.options);
	for (i = 0; i < claim->count; i++)
		task_event_add(&outbox, &claim->rows[i], now, &request->store->base.options);
	pg_add_outbox(request, &outbox, now);
	group_outbox_fini(&outbox);
	pg_add_silent(request, "COMMIT");
	pg_send_commit(request, claim_written);
}

static void add_update(struct claim *claim, const char *sql, int64_t token, bool alone, struct pg_param flows,
		       struct pg_param every_flow)
{
	struct pg_request *request = &claim->request;
	char now[CLOCK_TEXT_SIZE];

	pg_add(request, sql, "iirtrara", token, claim->claim->lease_ms, clock_format_ms(now, clock_wall_ms()),
	       claim->claim->worker, alone ? "t" : "f", flows, claim->claim->alone_allowed ? "t" : "f",
	       every_flow);
}

/*
 * For the flows that have so many slots. The limit stands in the text, so that
 * the planner knows how little is wanted and goes through the index. Nothing
 * when a task that must run alone can be had instead.
 */
static void add_pick(struct claim *claim, size_t slots, struct pg_param every_flow)
{
	struct arena *arena = claim->request.scratch;
	const struct store_claim *wanted = claim->claim;
	const char **flows = arena_alloc(arena, wanted->flow_count * sizeof(*flows));
	size_t count = 0, i;

	for (i = 0; i < wanted->flow_count; i++)
		if (wanted->slots[i] == slots)
			flows[count++] = wanted->flows[i];
	add_update(claim,
		   arena_printf(arena,
				"WITH picked AS MATERIALIZED (SELECT t.id, row_number() OVER () AS n FROM"
				" unnest($6::text[]) f (flow) CROSS JOIN LATERAL (SELECT s.id FROM"
				" scrape_request_log s WHERE s.flow = f.flow AND " PG_READY " AND " PG_FRESH
				" ORDER BY s.priority, s.id LIMIT %zu FOR UPDATE SKIP LOCKED) t"
				" WHERE NOT ($7 AND EXISTS (SELECT 1 FROM scrape_request_log s WHERE s.flow ="
				" ANY ($8::text[]) AND " PG_ALONE " AND " PG_FRESH ")))" UPDATE_CLAIMED,
				slots),
		   claim->token, false, pg_texts(arena, flows, count), every_flow);
	claim->token += (int64_t)(slots * count);
}

static const char *const *wanted_flows(struct claim *claim, size_t *count_r)
{
	const char **flows = arena_alloc(claim->request.scratch, (claim->claim->flow_count + 1) * sizeof(*flows));
	size_t i;

	*count_r = 0;
	for (i = 0; i < claim->claim->flow_count; i++)
		if (claim->claim->slots[i] > 0)
			flows[(*count_r)++] = claim->claim->flows[i];
	return flows;
}

static void claim_recovered(struct pg_request *request)
{
	struct claim *claim = (struct claim *)request;

	request->unclear = false;
	read_rows(claim, 0);
	if (claim->count > 0) {
		request->wrote = true;
		pg_finish(request);
	} else {
		pg_restart(request);
	}
}

/* The lost transaction held these rows: with the lock it is over, and the tokens tell how it ended. */
static void recover(struct claim *claim)
{
	struct pg_request *request = &claim->request;
	int64_t *ids = arena_alloc(request->scratch, (claim->count + 1) * sizeof(*ids));
	size_t i;

	for (i = 0; i < claim->count; i++)
		ids[i] = claim->rows[i].id;
	pg_add_limits(request);
	pg_add(request,
	       "SELECT " PG_TASK_COLUMNS " FROM scrape_request_log s WHERE s.id = ANY ($1::bigint[]) AND"
	       " " PG_PROCESSING " AND s.lease_token BETWEEN $2 AND $3 ORDER BY s.id FOR UPDATE",
	       "rii", pg_ints(request->scratch, ids, claim->count), claim->first_token, claim->token);
	pg_send(request, claim_recovered);
}

static void add_alone(struct claim *claim, struct pg_param every_flow)
{
	add_update(claim,
		   "WITH picked AS MATERIALIZED (SELECT t.id, 0::bigint AS n FROM unnest($6::text[]) f (flow)"
		   " CROSS JOIN LATERAL (SELECT s.id FROM scrape_request_log s WHERE s.flow = f.flow AND "
		   PG_ALONE " AND " PG_FRESH " ORDER BY s.priority, s.id LIMIT 1 FOR UPDATE SKIP LOCKED) t"
		   " WHERE $7 AND $8::text[] IS NOT NULL LIMIT 1)" UPDATE_CLAIMED,
		   claim->first_token, true, every_flow, every_flow);
}

static void claim_start(struct pg_request *request)
{
	struct claim *claim = (struct claim *)request;
	const struct store_claim *wanted = claim->claim;
	const char *const *flows;
	struct pg_param every_flow;
	size_t count, slots, next, i;

	if (request->unclear) {
		recover(claim);
		return;
	}
	flows = wanted_flows(claim, &count);
	if (count == 0) {
		pg_finish(request);
		return;
	}
	every_flow = pg_texts(request->scratch, flows, count);
	/* Never 0, and room for a token per row after it. */
	claim->first_token = claim->token = (int64_t)(random_u64() >> 2) | 1;
	pg_add_begin(request);
	pg_add(request,
	       "SELECT EXISTS (SELECT 1 FROM scrape_request_log s WHERE s.flow = ANY ($1::text[]) AND " PG_ALONE
	       " AND " PG_FRESH ")::int",
	       "a", every_flow);
	/* From the fewest slots up: one statement for each number of them. */
	for (slots = 0;; slots = next) {
		next = SIZE_MAX;
		for (i = 0; i < wanted->flow_count; i++)
			if (wanted->slots[i] > slots && wanted->slots[i] < next)
				next = wanted->slots[i];
		if (next == SIZE_MAX)
			break;
		add_pick(claim, next, every_flow);
	}
	if (wanted->alone_allowed)
		add_alone(claim, every_flow);
	pg_send(request, claim_picked);
}

void pg_claim(struct store *store, struct store_claim *claim, store_claimed_fn *done, void *user)
{
	struct claim *request = pg_request_new(store, sizeof(*request), claim_start, claim_answer);

	request->claim = claim;
	request->done = done;
	request->user = user;
	pg_request_submit(&request->request);
}
