/* SPDX-License-Identifier: Apache-2.0 */
/* Outbox rows, their totals, and dead letters. Loop thread. */
#include "store/postgres.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"

void pg_add_outbox(struct pg_request *request, struct group_outbox *outbox, int64_t now_ms)
{
	struct arena *arena = request->scratch;
	const char **queues = arena_alloc(arena, (outbox->count + 1) * sizeof(*queues));
	const char *shard = NULL;
	int64_t *events = arena_alloc(arena, (outbox->count + 1) * sizeof(*events));
	int64_t *bytes = arena_alloc(arena, (outbox->count + 1) * sizeof(*bytes));
	size_t i;

	if (outbox->count == 0)
		return;
	if (request->store->base.options.relayed)
		shard = pg_int_text(arena, (int64_t)(random_u64() % STORE_SHARDS));
	group_outbox_end(outbox);
	for (i = 0; i < outbox->count; i++) {
		const struct group_row *row = &outbox->rows[i];
		bool is_packed = row->packed.len > 0;

		queues[i] = row->queue;
		events[i] = row->events;
		bytes[i] = (int64_t)row->payload.len;
		pg_add(request,
		       "INSERT INTO outbox (queue, events, bytes, created_ms, payload, packed, shard)"
		       " VALUES ($1, $2, $3, $4, $5, $6, $7)",
		       "riiirar", row->queue, events[i], bytes[i], now_ms, is_packed ? NULL : row->payload.data,
		       pg_bytes(is_packed ? row->packed.data : NULL, row->packed.len), shard);
	}
	pg_add(request,
	       "INSERT INTO outbox_total AS t (queue, shard, events, waiting_rows, waiting_events, waiting_bytes)"
	       " SELECT queue, $4, sum(events), count(*), sum(events), sum(bytes)"
	       " FROM unnest($1::text[], $2::bigint[], $3::bigint[]) r (queue, events, bytes)"
	       " GROUP BY queue ORDER BY queue ON CONFLICT (queue, shard) DO UPDATE SET"
	       " events = t.events + excluded.events, waiting_rows = t.waiting_rows + excluded.waiting_rows,"
	       " waiting_events = t.waiting_events + excluded.waiting_events,"
	       " waiting_bytes = t.waiting_bytes + excluded.waiting_bytes",
	       "arri", pg_texts(arena, queues, outbox->count), pg_ints(arena, events, outbox->count),
	       pg_ints(arena, bytes, outbox->count), (int64_t)request->store->shard);
}

/* --- reading --- */

struct read {
	struct pg_request request;
	const char *queue;
	const char *skip;
	size_t max_rows, max_bytes;
	struct store_outbox_row *rows;
	size_t count;
	store_outbox_fn *done;
	void *user;
};

void pg_outbox_row(const PGresult *result, int row, int first, struct arena *arena, struct store_outbox_row *row_r)
{
	size_t len = (size_t)PQgetlength(result, row, first + 4);
	const char *frames;

	row_r->id = pg_get_int(result, row, first);
	row_r->queue = pg_get_text(result, row, first + 1, arena);
	row_r->events = (uint32_t)pg_get_int(result, row, first + 2);
	row_r->created_ms = pg_get_int(result, row, first + 3);
	if (PQgetisnull(result, row, first + 6)) {
		store_row_payload(row_r, arena_strndup(arena, PQgetvalue(result, row, first + 4), len), len);
		return;
	}
	frames = pg_get_bytes(result, row, first + 6, arena, &len);
	store_row_packed(row_r, frames, len, pg_get_int(result, row, first + 5));
}

static void read_rows(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct read *read = (struct read *)request;
	int row;

	read->count = (size_t)PQntuples(result);
	read->rows = arena_alloc(request->arena, (read->count + 1) * sizeof(*read->rows));
	for (row = 0; row < PQntuples(result); row++)
		pg_outbox_row(result, row, 0, request->arena, &read->rows[row]);
	pg_finish(request);
}

static void read_start(struct pg_request *request)
{
	struct read *read = (struct read *)request;

	pg_add_limits(request);
	/* Sizes first, so that only payloads that are wanted are read. */
	pg_add(request,
	       "SELECT o.id, o.queue, o.events, o.created_ms, o.payload, o.bytes, o.packed FROM (SELECT id,"
	       " sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (SELECT id, bytes FROM outbox WHERE queue = $1"
	       " AND shard IS NULL AND id <> ALL ($2::bigint[])"
	       " ORDER BY id LIMIT $3) waiting) fits JOIN outbox o ON o.id = fits.id WHERE fits.before < $4"
	       " ORDER BY o.id",
	       "rrii", read->queue, read->skip, (int64_t)read->max_rows,
	       (int64_t)(read->max_bytes > 0 ? read->max_bytes : 1));
	pg_send(request, read_rows);
}

static void read_answer(struct pg_request *request)
{
	struct read *read = (struct read *)request;

	read->done(read->user, read->rows, request->err.code == ERR_NONE ? read->count : 0, &request->err);
}

void pg_outbox_read(struct store *store, const char *queue, const int64_t *skip, size_t skip_count,
		    size_t max_rows, size_t max_bytes, store_outbox_fn *done, void *user)
{
	struct read *read = pg_request_new(store, sizeof(*read), read_start, read_answer);
	struct arena *arena = read->request.arena;

	read->queue = arena_strdup(arena, queue);
	read->skip = pg_ints(arena, skip, skip_count);
	read->max_rows = max_rows;
	read->max_bytes = max_bytes;
	read->done = done;
	read->user = user;
	pg_request_submit(&read->request);
}

static void counted(struct pg_request *request)
{
	((struct pg_count *)request)->count = pg_get_int(pg_batch(request)->results[0], 0, 0);
	pg_finish(request);
}

static void last_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outbox_id_seq", "");
	pg_send(request, counted);
}

static void bytes_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request, "SELECT sum(waiting_bytes)::bigint FROM outbox_total", "");
	pg_send(request, counted);
}

static void count_request(struct store *store, void (*start)(struct pg_request *), store_count_fn *done,
			  void *user)
{
	struct pg_count *request = pg_request_new(store, sizeof(*request), start, pg_answer_count);

	request->done = done;
	request->user = user;
	pg_request_submit(&request->request);
}

void pg_outbox_last(struct store *store, store_count_fn *done, void *user)
{
	count_request(store, last_start, done, user);
}

void pg_outbox_bytes(struct store *store, store_count_fn *done, void *user)
{
	count_request(store, bytes_start, done, user);
}

/* --- deleting --- */

struct delete
{
	struct pg_done base;
	const int64_t *ids;
	size_t count;
};

static void deleted(struct pg_request *request)
{
	request->wrote = true;
	pg_finish(request);
}

/* What is counted is what was there, so that repeating it does nothing. */
void pg_add_outbox_delete(struct pg_request *request, const int64_t *ids, size_t count)
{
	pg_add(request,
	       "WITH gone AS (DELETE FROM outbox WHERE id = ANY ($1::bigint[]) RETURNING queue, events, bytes)"
	       " INSERT INTO outbox_total AS t (queue, shard, events, waiting_rows, waiting_events, waiting_bytes)"
	       " SELECT queue, $2, 0, -count(*), -sum(events), -sum(bytes) FROM gone GROUP BY queue ORDER BY queue"
	       " ON CONFLICT (queue, shard) DO UPDATE SET waiting_rows = t.waiting_rows + excluded.waiting_rows,"
	       " waiting_events = t.waiting_events + excluded.waiting_events,"
	       " waiting_bytes = t.waiting_bytes + excluded.waiting_bytes",
	       "ri", pg_ints(request->scratch, ids, count), (int64_t)request->store->shard);
}

static void delete_start(struct pg_request *request)
{
	struct delete *delete = (struct delete *)request;

	pg_add_limits(request);
	pg_add_outbox_delete(request, delete->ids, delete->count);
	pg_send(request, deleted);
}

void pg_outbox_delete(struct store *store, const int64_t *ids, size_t count, store_done_fn *done, void *user)
{
	struct delete *delete = pg_request_new(store, sizeof(*delete), delete_start, pg_answer_done);

	delete->base.done = done;
	delete->base.user = user;
	delete->ids = ids;
	delete->count = count;
	pg_request_submit(&delete->base.request);
}

/* --- dead letters --- */

struct dead {
	struct pg_done base;
	const struct store_dead *letters;
	size_t count;
};

static void add_letter(struct pg_request *request, const struct store_dead *letter, const char *now)
{
	struct arena *arena = request->scratch;
	char *first = arena_alloc(arena, CLOCK_TEXT_SIZE);
	size_t len = letter->payload_len;
	const char *payload = arena_strndup(arena, letter->payload, len);
	char hash[SHA256_TEXT_SIZE];
	const char *id = letter->dedup_id != NULL ? letter->dedup_id
						  : sha256_hex(hash, letter->payload, letter->payload_len);

	pg_add(request,
	       "INSERT INTO dead_letter AS d (queue, dedup_id, payload, reason, code, first_at, last_at, count)"
	       " VALUES ($1, $2, $3, $4, $5, $7::timestamp, $6::timestamp, $8::bigint + 1) ON CONFLICT (queue, dedup_id)"
	       " DO UPDATE SET count = greatest(d.count + 1, excluded.count), last_at = excluded.last_at,"
	       " first_at = least(d.first_at, excluded.first_at), reason = excluded.reason, code = excluded.code",
	       "tttttrri", letter->queue, id, group_clean(arena, payload, &len), letter->reason, letter->code, now,
	       letter->first_ms > 0 ? clock_format_ms(first, letter->first_ms) : now, letter->count);
}

/* One pipeline, so one transaction. */
static void dead_start(struct pg_request *request)
{
	struct dead *dead = (struct dead *)request;
	char now[CLOCK_TEXT_SIZE];
	size_t i;

	clock_format_ms(now, clock_wall_ms());
	pg_add_limits(request);
	for (i = 0; i < dead->count; i++)
		add_letter(request, &dead->letters[i], now);
	pg_send(request, deleted);
}

void pg_dead_letter(struct store *store, const struct store_dead *letters, size_t count, store_done_fn *done,
		    void *user)
{
	struct dead *dead = pg_request_new(store, sizeof(*dead), dead_start, pg_answer_done);

	dead->base.done = done;
	dead->base.user = user;
	dead->letters = letters;
	dead->count = count;
	pg_request_submit(&dead->base.request);
}
