/* SPDX-License-Identifier: Apache-2.0 */
/* Shards of the outbox: leases, and turns under them. Loop thread. */
#include "store/postgres.h"

#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"

/* What relay_shard holds of the shards that the named relay has. */
#define HELD_SHARDS \
	"SELECT shard, token, sending FROM relay_shard WHERE holder = $1 AND lease_until > " PG_NOW_MS " ORDER BY shard"

/* The two columns of a list of shards, as parameters. */
struct columns {
	const char *shards, *tokens;
};

static struct columns columns_of(struct arena *arena, const struct store_shard *shards, size_t count)
{
	int64_t *numbers = arena_alloc(arena, (count + 1) * sizeof(*numbers));
	int64_t *tokens = arena_alloc(arena, (count + 1) * sizeof(*tokens));
	size_t i;

	for (i = 0; i < count; i++) {
		numbers[i] = shards[i].shard;
		tokens[i] = shards[i].token;
	}
	return (struct columns){pg_ints(arena, numbers, count), pg_ints(arena, tokens, count)};
}

/* "{1,2}" */
static void read_ids(struct store_shard *shard, const char *text, struct arena *arena)
{
	int64_t *ids = arena_alloc(arena, (strlen(text) / 2 + 1) * sizeof(*ids));
	char *end;

	shard->noted = ids;
	while (*text != '\0' && *text != '}') {
		ids[shard->noted_count] = strtoll(text + 1, &end, 10);
		if (end == text + 1)
			return;
		shard->noted_count++;
		text = end;
	}
}

/* --- leases --- */

struct shard_lease {
	struct pg_request request;
	const char *relay;
	int64_t lease_ms, token;
	struct columns held, given_up;
	bool leaving;
	struct store_shard *shards;
	size_t count, relays;
	store_shards_fn *done;
	void *user;
};

static void lease_written(struct pg_request *request)
{
	struct shard_lease *lease = (struct shard_lease *)request;
	const struct pg_batch *batch = pg_batch(request);
	const PGresult *held = batch->results[batch->count - 1];
	int row;

	lease->relays = (size_t)pg_get_int(batch->results[batch->count - 2], 0, 0);
	lease->count = (size_t)PQntuples(held);
	lease->shards = arena_alloc(request->arena, (lease->count + 1) * sizeof(*lease->shards));
	for (row = 0; row < PQntuples(held); row++) {
		lease->shards[row].shard = (int)pg_get_int(held, row, 0);
		lease->shards[row].token = pg_get_int(held, row, 1);
		read_ids(&lease->shards[row], PQgetvalue(held, row, 2), request->arena);
	}
	request->wrote = true;
	pg_finish(request);
}

static void add_membership(struct pg_request *request, const struct shard_lease *lease)
{
	pg_add(request, "DELETE FROM relay WHERE alive_until < " PG_NOW_MS " OR ($2::int = 1 AND name = $1)", "ti",
	       lease->relay, (int64_t)lease->leaving);
	if (!lease->leaving)
		pg_add(request,
		       "INSERT INTO relay (name, alive_until) VALUES ($1, " PG_NOW_MS " + $2)"
		       " ON CONFLICT (name) DO UPDATE SET alive_until = excluded.alive_until",
		       "ti", lease->relay, lease->lease_ms);
}

/*
 * Repeatable: what a first run took has the same token and counts as held in
 * the second. The part of each relay is rounded up, so that no shard is nobody's.
 */
static void lease_start(struct pg_request *request)
{
	struct shard_lease *lease = (struct shard_lease *)request;

	pg_add_limits(request);
	add_membership(request, lease);
	pg_add(request,
	       "UPDATE relay_shard s SET lease_until = " PG_NOW_MS " + $3"
	       " FROM unnest($1::int[], $2::bigint[]) h (shard, token)"
	       " WHERE s.shard = h.shard AND s.token = h.token AND s.lease_until > " PG_NOW_MS,
	       "rri", lease->held.shards, lease->held.tokens, lease->lease_ms);
	pg_add(request,
	       "UPDATE relay_shard s SET lease_until = 0, sending = '{}' FROM unnest($1::int[], $2::bigint[]) h (shard, token)"
	       " WHERE s.shard = h.shard AND s.token = h.token",
	       "rr", lease->given_up.shards, lease->given_up.tokens);
	if (!lease->leaving)
		pg_add(request,
		       "WITH free AS (SELECT shard FROM relay_shard WHERE lease_until <= " PG_NOW_MS
		       " ORDER BY shard LIMIT greatest(0, (SELECT ($4 + count(*) - 1) / count(*) FROM relay)"
		       " - (SELECT count(*) FROM relay_shard WHERE holder = $1 AND lease_until > " PG_NOW_MS "))"
		       " FOR UPDATE SKIP LOCKED)"
		       " UPDATE relay_shard s SET holder = $1, token = $2, lease_until = " PG_NOW_MS " + $3"
		       " FROM free WHERE s.shard = free.shard",
		       "tiii", lease->relay, lease->token, lease->lease_ms, (int64_t)STORE_SHARDS);
	pg_add(request, "SELECT count(*) FROM relay", "");
	pg_add(request, HELD_SHARDS, "t", lease->relay);
	pg_send(request, lease_written);
}

static void lease_answer(struct pg_request *request)
{
	struct shard_lease *lease = (struct shard_lease *)request;

	lease->done(lease->user, lease->shards, request->err.code == ERR_NONE ? lease->count : 0, lease->relays,
		    &request->err);
}

void pg_shards_lease(struct store *store, const struct store_shard_lease *lease, store_shards_fn *done, void *user)
{
	struct shard_lease *request = pg_request_new(store, sizeof(*request), lease_start, lease_answer);
	struct arena *arena = request->request.arena;

	request->relay = arena_strdup(arena, lease->relay);
	request->lease_ms = lease->lease_ms;
	request->token = (int64_t)(random_u64() >> 2) + 1;
	request->held = columns_of(arena, lease->held, lease->held_count);
	request->given_up = columns_of(arena, lease->given_up, lease->given_up_count);
	request->leaving = lease->leaving;
	request->done = done;
	request->user = user;
	pg_request_submit(&request->request);
}

/* --- rows --- */

struct turn {
	struct pg_request request;
	struct store_shard *shards;	/* asked for */
	size_t shard_count;
	const int64_t *sent;
	size_t sent_count, max_rows, max_bytes;
	struct store_shard *held;
	size_t held_count;
	struct store_outbox_row *rows;
	size_t count;
	store_turn_fn *done;
	void *user;
};

/* Each row of the result is a shard that is held, with one of its outbox rows or with nulls. */
static void turn_read(struct pg_request *request)
{
	struct turn *turn = (struct turn *)request;
	const struct pg_batch *batch = pg_batch(request);
	const PGresult *result = batch->results[batch->count - 1];
	int row;
	size_t i;

	turn->held = arena_alloc(request->arena, (turn->shard_count + 1) * sizeof(*turn->held));
	turn->rows = arena_alloc(request->arena, ((size_t)PQntuples(result) + 1) * sizeof(*turn->rows));
	for (row = 0; row < PQntuples(result); row++) {
		int shard = (int)pg_get_int(result, row, 0);

		for (i = 0; i < turn->held_count && turn->held[i].shard != shard; i++)
			;
		if (i == turn->held_count)
			turn->held[turn->held_count++].shard = shard;
		if (!PQgetisnull(result, row, 1))
			pg_outbox_row(result, row, 1, request->arena, &turn->rows[turn->count++]);
	}
	request->wrote = turn->sent_count > 0 || turn->count > 0;
	pg_finish(request);
}

static void turn_work(struct pg_request *request)
{
	struct turn *turn = (struct turn *)request;
	struct columns shards = columns_of(request->scratch, turn->shards, turn->shard_count);

	pg_add_limits(request);
	if (turn->sent_count > 0)
		pg_add_outbox_delete(request, turn->sent, turn->sent_count);
	/* Sizes first, so that only payloads that are wanted are read. */
	pg_add(request,
	       "WITH mine AS (SELECT s.shard FROM relay_shard s JOIN unnest($1::int[], $2::bigint[]) h (shard, token)"
	       " ON s.shard = h.shard AND s.token = h.token WHERE s.lease_until > " PG_NOW_MS " FOR UPDATE OF s),"
	       " waiting AS (SELECT o.* FROM mine, LATERAL (SELECT id, shard, bytes FROM outbox"
	       " WHERE shard = mine.shard AND shard IS NOT NULL ORDER BY id LIMIT $3) o),"
	       " fits AS (SELECT id, shard, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM waiting),"
	       " chosen AS (SELECT id, shard FROM fits WHERE before < $4 ORDER BY id LIMIT $3),"
	       " noted AS (SELECT mine.shard, coalesce(array_agg(chosen.id) FILTER (WHERE chosen.id IS NOT NULL), '{}')"
	       " AS ids FROM mine LEFT JOIN chosen USING (shard) GROUP BY mine.shard),"
	       " note AS (UPDATE relay_shard s SET sending = noted.ids FROM noted"
	       " WHERE s.shard = noted.shard AND s.sending <> noted.ids)"
	       " SELECT mine.shard, o.id, o.queue, o.events, o.created_ms, o.payload, o.bytes, o.packed FROM mine"
	       " LEFT JOIN (chosen JOIN outbox o ON o.id = chosen.id) ON chosen.shard = mine.shard ORDER BY o.id",
	       "rrii", shards.shards, shards.tokens, (int64_t)turn->max_rows,
	       (int64_t)(turn->max_bytes > 0 ? turn->max_bytes : 1));
	pg_send(request, turn_read);
}

static void turn_looked(struct pg_request *request)
{
	struct turn *turn = (struct turn *)request;

	if (PQntuples(pg_batch(request)->results[0]) > 0) {
		turn_work(request);
		return;
	}
	turn->held = turn->shards;
	turn->held_count = turn->shard_count;
	pg_finish(request);
}

/* With nothing to delete it looks first, without locks: an idle relay writes nothing. */
static void turn_start(struct pg_request *request)
{
	struct turn *turn = (struct turn *)request;

	turn->count = turn->held_count = 0;
	if (turn->sent_count > 0) {
		turn_work(request);
		return;
	}
	pg_add_limits(request);
	pg_add(request,
	       "SELECT 1 FROM unnest($1::int[]) s (shard) WHERE EXISTS (SELECT 1 FROM outbox o"
	       " WHERE o.shard = s.shard AND o.shard IS NOT NULL) LIMIT 1",
	       "r", columns_of(request->scratch, turn->shards, turn->shard_count).shards);
	pg_send(request, turn_looked);
}

static void turn_answer(struct pg_request *request)
{
	struct turn *turn = (struct turn *)request;
	bool good = request->err.code == ERR_NONE;

	turn->done(turn->user, turn->held, good ? turn->held_count : 0, turn->rows, good ? turn->count : 0,
		   &request->err);
}

void pg_turn(struct store *store, const struct store_turn *turn, store_turn_fn *done, void *user)
{
	struct turn *request = pg_request_new(store, sizeof(*request), turn_start, turn_answer);
	struct arena *arena = request->request.arena;
	int64_t *sent = arena_alloc(arena, (turn->sent_count + 1) * sizeof(*sent));

	request->shards = arena_alloc(arena, (turn->shard_count + 1) * sizeof(*request->shards));
	if (turn->shard_count > 0)
		memcpy(request->shards, turn->shards, turn->shard_count * sizeof(*request->shards));
	request->shard_count = turn->shard_count;
	if (turn->sent_count > 0)
		memcpy(sent, turn->sent, turn->sent_count * sizeof(*sent));
	request->sent = sent;
	request->sent_count = turn->sent_count;
	request->max_rows = turn->max_rows;
	request->max_bytes = turn->max_bytes;
	request->done = done;
	request->user = user;
	pg_request_submit(&request->request);
}

/* --- single rows, and those of direct: readers --- */

struct get {
	struct pg_request request;
	const char *ids;
	struct store_outbox_row *rows;
	size_t count;
	store_outbox_fn *done;
	void *user;
};

static void get_read(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct get *get = (struct get *)request;
	int row;

	get->count = (size_t)PQntuples(result);
	get->rows = arena_alloc(request->arena, (get->count + 1) * sizeof(*get->rows));
	for (row = 0; row < PQntuples(result); row++)
		pg_outbox_row(result, row, 0, request->arena, &get->rows[row]);
	pg_finish(request);
}

static void get_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request,
	       "SELECT id, queue, events, created_ms, payload, bytes, packed FROM outbox WHERE id = ANY ($1::bigint[])"
	       " ORDER BY id",
	       "r", ((struct get *)request)->ids);
	pg_send(request, get_read);
}

static void get_answer(struct pg_request *request)
{
	struct get *get = (struct get *)request;

	get->done(get->user, get->rows, request->err.code == ERR_NONE ? get->count : 0, &request->err);
}

void pg_outbox_get(struct store *store, const int64_t *ids, size_t count, store_outbox_fn *done, void *user)
{
	struct get *get = pg_request_new(store, sizeof(*get), get_start, get_answer);

	get->ids = pg_ints(get->request.arena, ids, count);
	get->done = done;
	get->user = user;
	pg_request_submit(&get->request);
}

static void adopted(struct pg_request *request)
{
	struct pg_count *count = (struct pg_count *)request;

	count->count = PQntuples(pg_batch(request)->results[0]);
	request->wrote = count->count > 0;
	pg_finish(request);
}

static void adopt_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request, "UPDATE outbox SET shard = id % $1 WHERE shard IS NULL RETURNING id", "i", (int64_t)STORE_SHARDS);
	pg_send(request, adopted);
}

void pg_outbox_adopt(struct store *store, store_count_fn *done, void *user)
{
	struct pg_count *request = pg_request_new(store, sizeof(*request), adopt_start, pg_answer_count);

	request->done = done;
	request->user = user;
	pg_request_submit(&request->request);
}

/* --- what one at a time may do --- */

struct hold {
	struct pg_count base;
	const char *name, *holder;
	int64_t hold_ms;
};

static void held(struct pg_request *request)
{
	struct pg_count *count = (struct pg_count *)request;

	count->count = PQntuples(pg_batch(request)->results[0]);
	request->wrote = count->count > 0;
	pg_finish(request);
}

static void hold_start(struct pg_request *request)
{
	const struct hold *hold = (struct hold *)request;

	pg_add_limits(request);
	pg_add(request,
	       "INSERT INTO hold AS h (name, holder, until) VALUES ($1, $2, " PG_NOW_MS " + $3)"
	       " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
	       " WHERE h.holder = excluded.holder OR h.until < " PG_NOW_MS " RETURNING 1",
	       "tti", hold->name, hold->holder, hold->hold_ms);
	pg_send(request, held);
}

void pg_hold(struct store *store, const char *name, const char *holder, int64_t hold_ms, store_count_fn *done,
	     void *user)
{
	struct hold *request = pg_request_new(store, sizeof(*request), hold_start, pg_answer_count);
	struct arena *arena = request->base.request.arena;

	request->name = arena_strdup(arena, name);
	request->holder = arena_strdup(arena, holder);
	request->hold_ms = hold_ms;
	request->base.done = done;
	request->base.user = user;
	pg_request_submit(&request->base.request);
}
