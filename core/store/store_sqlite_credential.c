/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials: writing, reading, and what is said for and against them. Store thread, but for the last part.
 */
#include "store/sqlite.h"

#include <string.h>

#include "base/clock.h"
#include "json/jwrite.h"

/* --- writing --- */

struct put {
	struct sqlite_request request;
	const struct store_credential *rows;
	size_t count;
	int64_t *ids;			/* in the arena */
	store_ids_fn *done;
	void *user;
};

#define AFRESH                                                                                               \
	" enabled = 1, data_access_expired = 0, disabled_till = NULL, reason = NULL, failures = 0,"          \
	" updated_at = ?7"

static int put_row(struct sqlite_db *db, const struct store_credential *row, const char *now, int64_t *id_r,
		   struct error *err)
{
	if (row->id > 0)
		return sqlite_integer(
			db, id_r, err,
			"UPDATE credential SET idempotency_key = ?1, source = ?2, credentials = ?3,"
			" handle = ?4, limits = ?5, key_id = ?6," AFRESH " WHERE id = ?8 RETURNING id",
			"ttttttti", row->idempotency_key, row->source, row->credentials, row->handle,
			row->limits, row->key_id, now, row->id);
	return sqlite_integer(
		db, id_r, err,
		"INSERT INTO credential (idempotency_key, source, credentials, handle, limits, key_id,"
		" enabled, data_access_expired, created_at, updated_at)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 0, ?7, ?7) ON CONFLICT (idempotency_key) DO UPDATE"
		" SET source = excluded.source, credentials = excluded.credentials,"
		" handle = excluded.handle, limits = excluded.limits, key_id = excluded.key_id," AFRESH
		" RETURNING id",
		"ttttttt", row->idempotency_key, row->source, row->credentials, row->handle, row->limits,
		row->key_id, now);
}

static int put_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct put *put = (struct put *)request;
	char now[CLOCK_TEXT_SIZE];

	clock_format_ms(now, clock_wall_ms());
	for (size_t i = 0; i < put->count; i++)
		if (put_row(db, &put->rows[i], now, &put->ids[i], err) < 0)
			return -1;
	return 0;
}

/* --- reading --- */

struct get {
	struct sqlite_request request;
	const char *sources, *ids;	/* JSON arrays in the arena; NULL: all */
	int64_t after_id, limit;
	struct store_credential *rows;
	size_t count;
	store_credentials_fn *done;
	void *user;
};

static int64_t time_of(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);
	int64_t ms;

	return text != NULL && clock_parse(text, strlen(text), &ms) == 0 ? ms : 0;
}

static void add_row(struct get *get, sqlite3_stmt *statement)
{
	struct arena *arena = get->request.arena;

	get->rows = arena_grow(arena, get->rows, get->count, sizeof(*get->rows));
	get->rows[get->count++] = (struct store_credential){
		.id = sqlite3_column_int64(statement, 0),
		.idempotency_key = sqlite_text(statement, 1, arena),
		.source = sqlite_text(statement, 2, arena),
		.handle = sqlite_text(statement, 3, arena),
		.credentials = sqlite_text(statement, 4, arena),
		.key_id = sqlite_text(statement, 5, arena),
		.limits = sqlite_text(statement, 6, arena),
		.enabled = sqlite3_column_int(statement, 7) != 0,
		.data_access_expired = sqlite3_column_int(statement, 8) != 0,
		.disabled_till_ms = time_of(statement, 9),
		.last_used_ms = time_of(statement, 10),
		.reason = sqlite_text(statement, 11, arena),
		.failures = sqlite3_column_int64(statement, 12),
		.created_at = sqlite_text(statement, 13, arena),
		.updated_at = sqlite_text(statement, 14, arena),
	};
}

static int get_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct get *get = (struct get *)request;
	sqlite3_stmt *statement = sqlite_query(
		db, err,
		"SELECT id, idempotency_key, source, handle, credentials, key_id, limits, enabled, "
		"data_access_expired,"
		" disabled_till, last_used_at, reason, failures, created_at, updated_at FROM credential"
		" WHERE id > ?1 AND (?2 IS NULL OR source IN (SELECT value FROM json_each(?2)))"
		" AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3))) ORDER BY id LIMIT ?4",
		"itti", get->after_id, get->sources, get->ids, get->limit);
	int rc;

	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0)
		add_row(get, statement);
	return rc;
}

/* --- changing --- */

struct change {
	struct sqlite_count count;
	const struct store_credential_change *changes;
	size_t change_count;
};

#define CHANGE(set, where) "UPDATE credential SET " set ", updated_at = ?2 WHERE id = ?1" where

static int change_one(struct sqlite_db *db, const struct store_credential_change *c, const char *now,
		      struct error *err)
{
	char at[CLOCK_TEXT_SIZE];

	clock_format_ms(at, c->at_ms);
	switch (c->action) {
	case STORE_CREDENTIAL_PARK:
		return sqlite_run(db, err,
				  CHANGE("disabled_till = ?3, reason = ?4, failures = max(failures, ?5)",
					 " AND (disabled_till IS NULL OR disabled_till < ?3)"),
				  "ittti", c->id, now, at, c->reason, c->failures);
	case STORE_CREDENTIAL_DISABLE:
		return sqlite_run(db, err, CHANGE("enabled = 0, reason = ?3", " AND enabled IS NOT 0"), "itt",
				  c->id, now, c->reason);
	case STORE_CREDENTIAL_EXPIRE:
		return sqlite_run(db, err, CHANGE("enabled = 0, data_access_expired = 1, reason = ?3",
						  " AND (enabled IS NOT 0 OR data_access_expired IS NOT 1)"),
				  "itt", c->id, now, c->reason);
	case STORE_CREDENTIAL_ENABLE:
		return sqlite_run(db, err,
				  CHANGE("enabled = 1, data_access_expired = 0, disabled_till = NULL,"
					 " reason = NULL, failures = 0",
					 " AND (enabled IS NOT 1 OR disabled_till IS NOT NULL OR failures > 0"
					 " OR data_access_expired IS NOT 0)"),
				  "it", c->id, now);
	case STORE_CREDENTIAL_WORKED:
		return sqlite_run(db, err, CHANGE("failures = 0, disabled_till = NULL, reason = NULL",
						  " AND failures > 0 AND enabled = 1"
						  " AND (disabled_till IS NULL OR disabled_till <= ?2)"),
				  "it", c->id, now);
	case STORE_CREDENTIAL_USED:
		return sqlite_run(db, err, "UPDATE credential SET last_used_at = ?2 WHERE id = ?1"
				  " AND (last_used_at IS NULL OR last_used_at < ?2)", "it", c->id, at);
	case STORE_CREDENTIAL_SEAL:
		return sqlite_run(db, err,
				  CHANGE("credentials = ?3, key_id = ?4, idempotency_key = ?5",
					 " AND credentials = ?6"),
				  "ittttt", c->id, now, c->credentials, c->key_id, c->idempotency_key,
				  c->was);
	case STORE_CREDENTIAL_REMOVE:
		return sqlite_run(db, err, "DELETE FROM credential WHERE id = ?1", "i", c->id);
	}
	return error_set(err, ERR_INPUT, "credential %lld: unknown change", (long long)c->id);
}

static int change_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct change *change = (struct change *)request;
	char now[CLOCK_TEXT_SIZE];

	clock_format_ms(now, clock_wall_ms());
	change->count.count = 0;
	for (size_t i = 0; i < change->change_count; i++) {
		int rows = change_one(db, &change->changes[i], now, err);

		if (rows < 0)
			return -1;
		change->count.count += rows;
	}
	return 0;
}

/* --- the loop's side --- */

static void put_answer(struct sqlite_request *request)
{
	struct put *put = (struct put *)request;

	put->done(put->user, put->ids, request->err.code == ERR_NONE ? put->count : 0, &request->err);
}

void sqlite_credential_put(struct store *store, const struct store_credential *rows, size_t count,
			   store_ids_fn *done, void *user)
{
	struct put *put = sqlite_request_new(store, sizeof(*put), true, put_run, put_answer);

	put->rows = store_credentials_copy(put->request.arena, rows, count);
	put->count = count;
	put->ids = arena_alloc(put->request.arena, (count + 1) * sizeof(*put->ids));
	put->done = done;
	put->user = user;
	sqlite_request_submit(&put->request);
}

static void get_answer(struct sqlite_request *request)
{
	struct get *get = (struct get *)request;

	get->done(get->user, get->rows, request->err.code == ERR_NONE ? get->count : 0, &request->err);
}

/* texts or ids as a JSON array; NULL for none. */
static const char *as_list(struct arena *arena, const char *const *texts, const int64_t *ids, size_t count)
{
	struct jwrite w;
	struct buf out;
	const char *list;

	if (count == 0)
		return NULL;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < count; i++) {
		if (texts != NULL)
			jwrite_string(&w, NULL, texts[i]);
		else
			jwrite_int(&w, NULL, ids[i]);
	}
	jwrite_end(&w);
	list = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return list;
}

void sqlite_credential_read(struct store *store, const struct store_credential_filter *filter,
			    store_credentials_fn *done, void *user)
{
	struct get *get = sqlite_request_new(store, sizeof(*get), false, get_run, get_answer);
	struct arena *arena = get->request.arena;

	get->sources = as_list(arena, filter->sources, NULL, filter->source_count);
	get->ids = as_list(arena, NULL, filter->ids, filter->id_count);
	get->after_id = filter->after_id;
	get->limit = (int64_t)filter->limit;
	get->done = done;
	get->user = user;
	sqlite_request_submit(&get->request);
}

void sqlite_credential_change(struct store *store, const struct store_credential_change *changes,
			      size_t count, store_count_fn *done, void *user)
{
	struct change *change =
		sqlite_request_new(store, sizeof(*change), true, change_run, sqlite_answer_count);

	change->changes = store_credential_changes_copy(change->count.request.arena, changes, count);
	change->change_count = count;
	change->count.done = done;
	change->count.user = user;
	sqlite_request_submit(&change->count.request);
}
