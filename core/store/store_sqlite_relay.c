/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shards of the outbox: leases, and turns under them. Store thread, but for
 * the functions that make the requests. The ids being sent are kept as text,
 * with blanks between them.
 */
#include "store/sqlite.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"

static struct store_shard *copy_shards(struct arena *arena, const struct store_shard *shards, size_t count)
{
	struct store_shard *copy = arena_alloc(arena, (count + 1) * sizeof(*copy));

	if (count > 0)
		memcpy(copy, shards, count * sizeof(*copy));
	return copy;
}

static int64_t *copy_ids(struct arena *arena, const int64_t *ids, size_t count)
{
	int64_t *copy = arena_alloc(arena, (count + 1) * sizeof(*copy));

	if (count > 0)
		memcpy(copy, ids, count * sizeof(*copy));
	return copy;
}

static void read_ids(struct store_shard *shard, const char *text, struct arena *arena)
{
	int64_t *ids = arena_alloc(arena, (strlen(text) / 2 + 1) * sizeof(*ids));
	char *end;

	shard->noted = ids;
	for (; *text != '\0'; text = end) {
		ids[shard->noted_count] = strtoll(text, &end, 10);
		if (end == text)
			return;
		shard->noted_count++;
	}
}

/* --- leases --- */

struct shard_lease {
	struct sqlite_request request;
	struct store_shard_lease asked;
	struct store_shard *shards;
	size_t count;
	int64_t relays;
	store_shards_fn *done;
	void *user;
};

static int keep(struct sqlite_db *db, const struct store_shard_lease *asked, int64_t now_ms, struct error *err)
{
	size_t i;

	for (i = 0; i < asked->held_count; i++)
		if (sqlite_run(db, err,
			       "UPDATE relay_shard SET lease_until = ?3 WHERE shard = ?1 AND token = ?2"
			       " AND lease_until > ?4",
			       "iiii", (int64_t)asked->held[i].shard, asked->held[i].token, now_ms + asked->lease_ms,
			       now_ms) < 0)
			return -1;
	for (i = 0; i < asked->given_up_count; i++)
		if (sqlite_run(db, err,
			       "UPDATE relay_shard SET lease_until = 0, sending = '' WHERE shard = ?1 AND token = ?2",
			       "ii", (int64_t)asked->given_up[i].shard, asked->given_up[i].token) < 0)
			return -1;
	return 0;
}

static int note_membership(struct sqlite_db *db, const struct store_shard_lease *asked, int64_t now_ms,
			   struct error *err)
{
	if (sqlite_run(db, err, "DELETE FROM relay WHERE alive_until < ?1 OR name = ?2", "it", now_ms, asked->relay) < 0)
		return -1;
	if (asked->leaving)
		return 0;
	return sqlite_run(db, err, "INSERT INTO relay (name, alive_until) VALUES (?1, ?2)", "ti", asked->relay,
			  now_ms + asked->lease_ms);
}

/* The part of each relay is rounded up, so that no shard is nobody's. */
static int take(struct sqlite_db *db, const struct store_shard_lease *asked, int64_t relays, int64_t now_ms,
		struct error *err)
{
	int64_t held, part = (STORE_SHARDS + relays - 1) / relays;

	if (sqlite_integer(db, &held, err,
			   "SELECT count(*) FROM relay_shard WHERE holder = ?1 AND lease_until > ?2", "ti",
			   asked->relay, now_ms) < 0)
		return -1;
	if (held >= part)
		return 0;
	return sqlite_run(db, err,
			  "UPDATE relay_shard SET holder = ?1, token = ?2, lease_until = ?3 WHERE shard IN"
			  " (SELECT shard FROM relay_shard WHERE lease_until <= ?4 ORDER BY shard LIMIT ?5)",
			  "tiiii", asked->relay, (int64_t)(random_u64() >> 2) + 1, now_ms + asked->lease_ms, now_ms,
			  part - held);
}

static int read_held(struct sqlite_db *db, struct shard_lease *lease, int64_t now_ms, struct error *err)
{
	struct arena *arena = lease->request.arena;
	sqlite3_stmt *statement =
		sqlite_query(db, err,
			     "SELECT shard, token, sending FROM relay_shard WHERE holder = ?1 AND lease_until > ?2"
			     " ORDER BY shard",
			     "ti", lease->asked.relay, now_ms);
	int rc = statement == NULL ? -1 : 1;

	lease->shards = arena_alloc(arena, STORE_SHARDS * sizeof(*lease->shards));
	while (rc > 0 && (rc = sqlite_step(db, statement, err)) > 0) {
		struct store_shard *shard = &lease->shards[lease->count++];

		shard->shard = sqlite3_column_int(statement, 0);
		shard->token = sqlite3_column_int64(statement, 1);
		read_ids(shard, (const char *)sqlite3_column_text(statement, 2), arena);
	}
	return rc;
}

static int lease_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct shard_lease *lease = (struct shard_lease *)request;
	int64_t now_ms = clock_wall_ms();

	lease->count = 0;
	if (note_membership(db, &lease->asked, now_ms, err) < 0 || keep(db, &lease->asked, now_ms, err) < 0 ||
	    sqlite_integer(db, &lease->relays, err, "SELECT count(*) FROM relay", "") < 0)
		return -1;
	if (!lease->asked.leaving && take(db, &lease->asked, lease->relays, now_ms, err) < 0)
		return -1;
	return read_held(db, lease, now_ms, err);
}

static void lease_answer(struct sqlite_request *request)
{
	struct shard_lease *lease = (struct shard_lease *)request;

	lease->done(lease->user, lease->shards, request->err.code == ERR_NONE ? lease->count : 0,
		    (size_t)lease->relays, &request->err);
}

void sqlite_shards_lease(struct store *store, const struct store_shard_lease *lease, store_shards_fn *done, void *user)
{
	struct shard_lease *request = sqlite_request_new(store, sizeof(*request), true, lease_run, lease_answer);
	struct arena *arena = request->request.arena;

	request->asked = *lease;
	request->asked.relay = arena_strdup(arena, lease->relay);
	request->asked.held = copy_shards(arena, lease->held, lease->held_count);
	request->asked.given_up = copy_shards(arena, lease->given_up, lease->given_up_count);
	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

/* --- turns --- */

struct turn {
	struct sqlite_request request;
	struct store_turn asked;
	bool waiting;			/* it was looked, and there is something to do */
	struct store_shard *held;
	size_t held_count;
	struct store_outbox_row *rows;
	size_t count;
	store_turn_fn *done;
	void *user;
};

static int next_id(struct sqlite_db *db, int shard, int64_t after, int64_t *id_r, struct error *err)
{
	return sqlite_integer(db, id_r, err,
			      "SELECT id FROM outbox INDEXED BY outbox_shard WHERE shard = ?1 AND shard IS NOT NULL"
			      " AND id > ?2 ORDER BY id LIMIT 1",
			      "ii", (int64_t)shard, after);
}

/* An idle relay takes no lock. */
static bool turn_wanted(struct sqlite_db *db, struct sqlite_request *request)
{
	struct turn *turn = (struct turn *)request;
	int64_t id = 0;
	size_t i;

	turn->waiting = turn->asked.sent_count > 0;
	for (i = 0; i < turn->asked.shard_count && !turn->waiting; i++)
		turn->waiting = next_id(db, turn->asked.shards[i].shard, 0, &id, &request->err) == 0 && id > 0;
	return turn->waiting && request->err.code == ERR_NONE;
}

static int note(struct sqlite_db *db, const struct store_shard *shard, const struct buf *ids, struct error *err)
{
	return sqlite_run(db, err,
			  "UPDATE relay_shard SET sending = ?3 WHERE shard = ?1 AND token = ?2 AND sending <> ?3", "iit",
			  (int64_t)shard->shard, shard->token, ids->len > 0 ? ids->data : "");
}

/* Reads the shard's next rows while they fit, and notes them. */
static int read_shard(struct sqlite_db *db, struct turn *turn, const struct store_shard *shard, size_t *bytes,
		      struct error *err)
{
	struct arena *arena = turn->request.arena;
	struct buf ids;
	int64_t id = 0;
	int rc = 0;

	buf_init(&ids);
	while (turn->count < turn->asked.max_rows && (turn->count == 0 || *bytes < turn->asked.max_bytes)) {
		rc = next_id(db, shard->shard, id, &id, err);
		if (rc < 0 || id == 0)
			break;
		rc = sqlite_outbox_row(db, id, arena, &turn->rows[turn->count], err);
		if (rc < 0)
			break;
		*bytes += turn->rows[turn->count++].bytes;
		buf_printf(&ids, "%s%" PRId64, ids.len > 0 ? " " : "", id);
	}
	if (rc >= 0)
		rc = note(db, shard, &ids, err);
	buf_fini(&ids);
	return rc < 0 ? -1 : 0;
}

static int turn_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct turn *turn = (struct turn *)request;
	int64_t held, now_ms = clock_wall_ms();
	size_t i, bytes = 0;

	turn->count = turn->held_count = 0;
	turn->rows = arena_alloc(request->arena, turn->asked.max_rows * sizeof(*turn->rows));
	turn->held = arena_alloc(request->arena, STORE_SHARDS * sizeof(*turn->held));
	for (i = 0; i < turn->asked.sent_count; i++)
		if (sqlite_outbox_remove(db, turn->asked.sent[i], err) < 0)
			return -1;
	for (i = 0; i < turn->asked.shard_count; i++) {
		const struct store_shard *shard = &turn->asked.shards[i];

		if (sqlite_integer(db, &held, err,
				   "SELECT count(*) FROM relay_shard WHERE shard = ?1 AND token = ?2"
				   " AND lease_until > ?3",
				   "iii", (int64_t)shard->shard, shard->token, now_ms) < 0)
			return -1;
		if (held == 0)
			continue;
		turn->held[turn->held_count++] = *shard;
		if (read_shard(db, turn, shard, &bytes, err) < 0)
			return -1;
	}
	return 0;
}

static void turn_answer(struct sqlite_request *request)
{
	struct turn *turn = (struct turn *)request;
	bool good = request->err.code == ERR_NONE;

	if (good && !turn->waiting) {
		turn->held = copy_shards(request->arena, turn->asked.shards, turn->asked.shard_count);
		turn->held_count = turn->asked.shard_count;
	}
	turn->done(turn->user, turn->held, good ? turn->held_count : 0, turn->rows, good ? turn->count : 0,
		   &request->err);
}

void sqlite_turn(struct store *store, const struct store_turn *turn, store_turn_fn *done, void *user)
{
	struct turn *request = sqlite_request_new(store, sizeof(*request), true, turn_run, turn_answer);
	struct arena *arena = request->request.arena;

	request->request.wanted = turn_wanted;
	request->asked = *turn;
	request->asked.shards = copy_shards(arena, turn->shards, turn->shard_count);
	request->asked.sent = copy_ids(arena, turn->sent, turn->sent_count);
	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

/* --- single rows, and those of direct: readers --- */

struct get {
	struct sqlite_request request;
	const int64_t *ids;
	size_t id_count;
	struct store_outbox_row *rows;
	size_t count;
	store_outbox_fn *done;
	void *user;
};

static int get_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct get *get = (struct get *)request;
	size_t i;

	get->rows = arena_alloc(request->arena, (get->id_count + 1) * sizeof(*get->rows));
	for (i = 0; i < get->id_count; i++) {
		int rc = sqlite_outbox_row(db, get->ids[i], request->arena, &get->rows[get->count], err);

		if (rc < 0)
			return -1;
		get->count += (size_t)rc;
	}
	return 0;
}

static void get_answer(struct sqlite_request *request)
{
	struct get *get = (struct get *)request;

	get->done(get->user, get->rows, request->err.code == ERR_NONE ? get->count : 0, &request->err);
}

void sqlite_outbox_get(struct store *store, const int64_t *ids, size_t count, store_outbox_fn *done, void *user)
{
	struct get *get = sqlite_request_new(store, sizeof(*get), false, get_run, get_answer);

	get->ids = copy_ids(get->request.arena, ids, count);
	get->id_count = count;
	get->done = done;
	get->user = user;
	sqlite_request_submit(&get->request);
}

static int adopt_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	int changed = sqlite_run(db, err, "UPDATE outbox SET shard = id % ?1 WHERE shard IS NULL", "i",
				 (int64_t)STORE_SHARDS);

	((struct sqlite_count *)request)->count = changed;
	return changed < 0 ? -1 : 0;
}

void sqlite_outbox_adopt(struct store *store, store_count_fn *done, void *user)
{
	struct sqlite_count *request = sqlite_request_new(store, sizeof(*request), true, adopt_run, sqlite_answer_count);

	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

/* --- what one at a time may do --- */

struct hold {
	struct sqlite_count base;
	const char *name, *holder;
	int64_t hold_ms;
};

static int hold_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct hold *hold = (struct hold *)request;
	int64_t now_ms = clock_wall_ms();
	int changed = sqlite_run(db, err,
				 "INSERT INTO hold (name, holder, until) VALUES (?1, ?2, ?3)"
				 " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
				 " WHERE holder = excluded.holder OR until < ?4",
				 "ttii", hold->name, hold->holder, now_ms + hold->hold_ms, now_ms);

	hold->base.count = changed;
	return changed < 0 ? -1 : 0;
}

void sqlite_hold(struct store *store, const char *name, const char *holder, int64_t hold_ms, store_count_fn *done,
		 void *user)
{
	struct hold *request = sqlite_request_new(store, sizeof(*request), true, hold_run, sqlite_answer_count);
	struct arena *arena = request->base.request.arena;

	request->name = arena_strdup(arena, name);
	request->holder = arena_strdup(arena, holder);
	request->hold_ms = hold_ms;
	request->base.done = done;
	request->base.user = user;
	sqlite_request_submit(&request->base.request);
}
