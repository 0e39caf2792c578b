/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters, as operators read them, send them again and delete them. Loop thread. */
#include "store/postgres.h"

#include "base/clock.h"

/* --- reading --- */

struct letters {
	struct pg_request request;
	const char *queue, *ids;	/* in the arena; NULL: all */
	int64_t after_id, limit;
	bool payload;
	struct store_letter *rows;
	size_t count;
	store_letters_fn *done;
	void *user;
};

static void read_letters(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct letters *letters = (struct letters *)request;
	struct arena *arena = request->arena;
	int i;

	letters->count = (size_t)PQntuples(result);
	letters->rows = arena_alloc(arena, (letters->count + 1) * sizeof(*letters->rows));
	for (i = 0; i < PQntuples(result); i++)
		letters->rows[i] = (struct store_letter){
			.id = pg_get_int(result, i, 0),
			.queue = pg_get_text(result, i, 1, arena),
			.dedup_id = pg_get_text(result, i, 2, arena),
			.payload = pg_get_text(result, i, 3, arena),
			.payload_len = (size_t)pg_get_int(result, i, 4),
			.reason = pg_get_text(result, i, 5, arena),
			.code = pg_get_text(result, i, 6, arena),
			.first_at = pg_get_text(result, i, 7, arena),
			.last_at = pg_get_text(result, i, 8, arena),
			.count = pg_get_int(result, i, 9),
		};
	pg_finish(request);
}

static void read_start(struct pg_request *request)
{
	const struct letters *letters = (struct letters *)request;

	pg_add_limits(request);
	pg_add(request,
	       arena_printf(request->scratch,
			    "SELECT id, queue, dedup_id, %s, octet_length(payload), reason, code, " PG_TIME("first_at")
			    ", " PG_TIME("last_at") ", count FROM dead_letter WHERE ($1::text IS NULL OR queue = $1)"
			    " AND ($2::bigint[] IS NULL OR id = ANY ($2::bigint[])) AND id > $3 ORDER BY id LIMIT $4",
			    letters->payload ? "payload" : "NULL"),
	       "trii", letters->queue, letters->ids, letters->after_id, letters->limit);
	pg_send(request, read_letters);
}

static void read_answer(struct pg_request *request)
{
	struct letters *letters = (struct letters *)request;

	letters->done(letters->user, letters->rows, request->err.code == ERR_NONE ? letters->count : 0, &request->err);
}

void pg_dead_read(struct store *store, const struct store_letter_filter *filter, store_letters_fn *done, void *user)
{
	struct letters *letters = pg_request_new(store, sizeof(*letters), read_start, read_answer);
	struct arena *arena = letters->request.arena;

	letters->queue = filter->queue != NULL ? arena_strdup(arena, filter->queue) : NULL;
	letters->ids = filter->id_count > 0 ? pg_ints(arena, filter->ids, filter->id_count) : NULL;
	letters->after_id = filter->after_id;
	letters->limit = (int64_t)filter->limit;
	letters->payload = filter->payload;
	letters->done = done;
	letters->user = user;
	pg_request_submit(&letters->request);
}

/* --- sending again, deleting: each one statement, so one transaction --- */

struct change {
	struct pg_count count;
	const char *ids;		/* in the arena */
};

static void changed(struct pg_request *request)
{
	struct change *change = (struct change *)request;

	change->count.count = pg_get_int(pg_batch(request)->results[0], 0, 0);
	request->wrote = true;
	pg_finish(request);
}

/* The event was counted when it was committed first; only what waits changes. */
static void replay_start(struct pg_request *request)
{
	const struct change *change = (struct change *)request;

	pg_add_limits(request);
	pg_add(request,
	       "WITH gone AS (DELETE FROM dead_letter WHERE id = ANY ($1::bigint[])"
	       " RETURNING id, queue, dedup_id, payload, first_at, count),"
	       " filled AS (SELECT id, queue, '" STORE_HEADERS_MARK "' || jsonb_build_object('x-sluice-id', dedup_id,"
	       " 'x-sluice-first', " PG_TIME("first_at") ", 'x-sluice-count', count)::text || E'\\n' || payload AS payload"
	       " FROM gone),"
	       " put AS (INSERT INTO outbox (queue, events, bytes, created_ms, payload, shard)"
	       " SELECT queue, 1, octet_length(payload), $2, payload, CASE WHEN $4::int = 1 THEN (id % $5)::int END"
	       " FROM filled ORDER BY id RETURNING queue, bytes),"
	       " total AS (INSERT INTO outbox_total AS t (queue, shard, events, waiting_rows, waiting_events,"
	       " waiting_bytes) SELECT queue, $3, 0, count(*), count(*), sum(bytes) FROM put GROUP BY queue"
	       " ORDER BY queue ON CONFLICT (queue, shard) DO UPDATE SET"
	       " waiting_rows = t.waiting_rows + excluded.waiting_rows,"
	       " waiting_events = t.waiting_events + excluded.waiting_events,"
	       " waiting_bytes = t.waiting_bytes + excluded.waiting_bytes)"
	       " SELECT count(*) FROM gone",
	       "riiii", change->ids, clock_wall_ms(), (int64_t)request->store->shard,
	       (int64_t)request->store->base.options.relayed, (int64_t)STORE_SHARDS);
	pg_send(request, changed);
}

static void drop_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request,
	       "WITH gone AS (DELETE FROM dead_letter WHERE id = ANY ($1::bigint[]) RETURNING id)"
	       " SELECT count(*) FROM gone",
	       "r", ((struct change *)request)->ids);
	pg_send(request, changed);
}

static void change_letters(struct store *store, void (*start)(struct pg_request *), const int64_t *ids, size_t count,
			   store_count_fn *done, void *user)
{
	struct change *change = pg_request_new(store, sizeof(*change), start, pg_answer_count);

	change->ids = pg_ints(change->count.request.arena, ids, count);
	change->count.done = done;
	change->count.user = user;
	pg_request_submit(&change->count.request);
}

void pg_dead_replay(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user)
{
	change_letters(store, replay_start, ids, count, done, user);
}

void pg_dead_drop(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user)
{
	change_letters(store, drop_start, ids, count, done, user);
}
