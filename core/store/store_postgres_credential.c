/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials: writing, reading, and what is said for and against them. Loop thread. */
#include "store/postgres.h"

#include <stdlib.h>

/* --- writing: a statement per row, all of them one transaction --- */

struct put {
	struct pg_request request;
	const struct store_credential *rows;
	size_t count;
	int64_t *ids;			/* in the arena */
	store_ids_fn *done;
	void *user;
};

#define AFRESH                                                                                               \
	" enabled = true, data_access_expired = false, disabled_till = NULL, reason = NULL, failures = 0,"   \
	" updated_at = " PG_UTC_NOW

static void put_done(struct pg_request *request)
{
	struct put *put = (struct put *)request;
	size_t i;

	for (i = 0; i < put->count; i++) {
		const PGresult *result = pg_batch(request)->results[i];

		put->ids[i] = PQntuples(result) > 0 ? pg_get_int(result, 0, 0) : 0;
	}
	request->wrote = true;
	pg_finish(request);
}

static void add_put(struct pg_request *request, const struct store_credential *row)
{
	if (row->id > 0)
		pg_add(request,
		       "UPDATE credential SET idempotency_key = $1, source = $2, credentials = $3::jsonb, "
		       "handle = $4,"
		       " limits = $5, key_id = $6," AFRESH " WHERE id = $7 RETURNING id",
		       "tttttti", row->idempotency_key, row->source, row->credentials, row->handle,
		       row->limits, row->key_id, row->id);
	else
		pg_add(request,
		       "INSERT INTO credential (idempotency_key, source, credentials, handle, limits, "
		       "key_id, enabled,"
		       " data_access_expired, created_at, updated_at) VALUES ($1, $2, $3::jsonb, $4, $5, $6, "
		       "true,"
		       " false, " PG_UTC_NOW ", " PG_UTC_NOW ") ON CONFLICT (idempotency_key) DO UPDATE"
		       " SET source = excluded.source, credentials = excluded.credentials, handle = "
		       "excluded.handle,"
		       " limits = excluded.limits, key_id = excluded.key_id," AFRESH " RETURNING id",
		       "tttttt", row->idempotency_key, row->source, row->credentials, row->handle,
		       row->limits, row->key_id);
}

static void put_start(struct pg_request *request)
{
	const struct put *put = (struct put *)request;
	size_t i;

	pg_add_limits(request);
	for (i = 0; i < put->count; i++)
		add_put(request, &put->rows[i]);
	pg_send(request, put_done);
}

static void put_answer(struct pg_request *request)
{
	struct put *put = (struct put *)request;

	put->done(put->user, put->ids, request->err.code == ERR_NONE ? put->count : 0, &request->err);
}

void pg_credential_put(struct store *store, const struct store_credential *rows, size_t count,
		       store_ids_fn *done, void *user)
{
	struct put *put = pg_request_new(store, sizeof(*put), put_start, put_answer);

	put->rows = store_credentials_copy(put->request.arena, rows, count);
	put->count = count;
	put->ids = arena_alloc(put->request.arena, (count + 1) * sizeof(*put->ids));
	put->done = done;
	put->user = user;
	pg_request_submit(&put->request);
}

/* --- reading --- */

struct get {
	struct pg_request request;
	struct pg_param sources;	/* arrays in the arena; NULL: all */
	const char *ids;
	int64_t after_id, limit;
	struct store_credential *rows;
	size_t count;
	store_credentials_fn *done;
	void *user;
};

static void get_done(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct get *get = (struct get *)request;
	struct arena *arena = request->arena;
	int i;

	get->count = (size_t)PQntuples(result);
	get->rows = arena_alloc(arena, (get->count + 1) * sizeof(*get->rows));
	for (i = 0; i < PQntuples(result); i++)
		get->rows[i] = (struct store_credential){
			.id = pg_get_int(result, i, 0),
			.idempotency_key = pg_get_text(result, i, 1, arena),
			.source = pg_get_text(result, i, 2, arena),
			.handle = pg_get_text(result, i, 3, arena),
			.credentials = pg_get_text(result, i, 4, arena),
			.key_id = pg_get_text(result, i, 5, arena),
			.limits = pg_get_text(result, i, 6, arena),
			.enabled = pg_get_int(result, i, 7) != 0,
			.data_access_expired = pg_get_int(result, i, 8) != 0,
			.disabled_till_ms = pg_get_int(result, i, 9),
			.last_used_ms = pg_get_int(result, i, 10),
			.reason = pg_get_text(result, i, 11, arena),
			.failures = pg_get_int(result, i, 12),
			.created_at = pg_get_text(result, i, 13, arena),
			.updated_at = pg_get_text(result, i, 14, arena),
		};
	pg_finish(request);
}

#define EPOCH_MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"

static void get_start(struct pg_request *request)
{
	const struct get *get = (struct get *)request;

	pg_add_limits(request);
	pg_add(request,
	       "SELECT id, idempotency_key, source, handle, credentials, key_id, limits, enabled::int,"
	       " data_access_expired::int, " EPOCH_MS("disabled_till") ", " EPOCH_MS(
		       "last_used_at") ", reason,"
				       " failures, " PG_TIME("created_at") ", " PG_TIME(
					       "updated_at") " FROM credential WHERE id > $1"
							     " AND ($2::text[] IS NULL OR source = ANY "
							     "($2::text[]))"
							     " AND ($3::bigint[] IS NULL OR id = ANY "
							     "($3::bigint[])) ORDER BY id LIMIT $4",
	       "iari", get->after_id, get->sources, get->ids, get->limit);
	pg_send(request, get_done);
}

static void get_answer(struct pg_request *request)
{
	struct get *get = (struct get *)request;

	get->done(get->user, get->rows, request->err.code == ERR_NONE ? get->count : 0, &request->err);
}

void pg_credential_read(struct store *store, const struct store_credential_filter *filter,
			store_credentials_fn *done, void *user)
{
	struct get *get = pg_request_new(store, sizeof(*get), get_start, get_answer);
	struct arena *arena = get->request.arena;

	get->sources =
		filter->source_count > 0 ? pg_texts(arena, filter->sources, filter->source_count) : pg_text(NULL);
	get->ids = filter->id_count > 0 ? pg_ints(arena, filter->ids, filter->id_count) : NULL;
	get->after_id = filter->after_id;
	get->limit = (int64_t)filter->limit;
	get->done = done;
	get->user = user;
	pg_request_submit(&get->request);
}

/* --- changing --- */

struct change {
	struct pg_count count;
	const struct store_credential_change *changes;
	size_t change_count;
};

#define CHANGE(set, where) "UPDATE credential SET " set ", updated_at = " PG_UTC_NOW " WHERE id = $1" where
#define AT "timezone('UTC', to_timestamp($2::bigint / 1000.0))"

static void add_change(struct pg_request *request, const struct store_credential_change *c)
{
	switch (c->action) {
	case STORE_CREDENTIAL_PARK:
		pg_add(request,
		       CHANGE("disabled_till = " AT ", reason = $3, failures = greatest(failures, $4)",
			      " AND (disabled_till IS NULL OR disabled_till < " AT ")"),
		       "iiti", c->id, c->at_ms, c->reason, c->failures);
		break;
	case STORE_CREDENTIAL_DISABLE:
		pg_add(request, CHANGE("enabled = false, reason = $2", " AND enabled IS NOT false"), "it",
		       c->id, c->reason);
		break;
	case STORE_CREDENTIAL_EXPIRE:
		pg_add(request, CHANGE("enabled = false, data_access_expired = true, reason = $2",
				       " AND (enabled IS NOT false OR data_access_expired IS NOT true)"),
		       "it", c->id, c->reason);
		break;
	case STORE_CREDENTIAL_ENABLE:
		pg_add(request,
		       CHANGE("enabled = true, data_access_expired = false, disabled_till = NULL,"
			      " reason = NULL, failures = 0",
			      " AND (enabled IS NOT true OR disabled_till IS NOT NULL OR failures > 0"
			      " OR data_access_expired IS NOT false)"),
		       "i", c->id);
		break;
	case STORE_CREDENTIAL_WORKED:
		pg_add(request, CHANGE("failures = 0, disabled_till = NULL, reason = NULL",
				       " AND failures > 0 AND enabled"
				       " AND (disabled_till IS NULL OR disabled_till <= " PG_UTC_NOW ")"),
		       "i", c->id);
		break;
	case STORE_CREDENTIAL_USED:
		pg_add(request, "UPDATE credential SET last_used_at = " AT " WHERE id = $1"
		       " AND (last_used_at IS NULL OR last_used_at < " AT ")", "ii", c->id, c->at_ms);
		break;
	case STORE_CREDENTIAL_SEAL:
		pg_add(request, CHANGE("credentials = $2::jsonb, key_id = $3, idempotency_key = $4",
				       " AND credentials = $5::jsonb"),
		       "itttt", c->id, c->credentials, c->key_id, c->idempotency_key, c->was);
		break;
	case STORE_CREDENTIAL_REMOVE:
		pg_add(request, "DELETE FROM credential WHERE id = $1", "i", c->id);
		break;
	}
}

static void change_done(struct pg_request *request)
{
	struct change *change = (struct change *)request;
	size_t i;

	change->count.count = 0;
	for (i = 0; i < change->change_count; i++)
		change->count.count += strtoll(PQcmdTuples(pg_batch(request)->results[i]), NULL, 10);
	request->wrote = true;
	pg_finish(request);
}

static void change_start(struct pg_request *request)
{
	const struct change *change = (struct change *)request;
	size_t i;

	pg_add_limits(request);
	for (i = 0; i < change->change_count; i++)
		add_change(request, &change->changes[i]);
	pg_send(request, change_done);
}

/* All who change several rows lock them in the same order. */
static int compare(const void *a, const void *b)
{
	int64_t left = ((const struct store_credential_change *)a)->id;
	int64_t right = ((const struct store_credential_change *)b)->id;

	return left < right ? -1 : left > right;
}

void pg_credential_change(struct store *store, const struct store_credential_change *changes, size_t count,
			  store_count_fn *done, void *user)
{
	struct change *change = pg_request_new(store, sizeof(*change), change_start, pg_answer_count);
	struct store_credential_change *copy =
		store_credential_changes_copy(change->count.request.arena, changes, count);

	qsort(copy, count, sizeof(*copy), compare);
	change->changes = copy;
	change->change_count = count;
	change->count.done = done;
	change->count.user = user;
	pg_request_submit(&change->count.request);
}
