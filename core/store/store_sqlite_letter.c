/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters, as operators read them, send them again and delete them. Store thread, but for the last part. */
#include "store/sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "json/jwrite.h"

/* --- reading --- */

struct letters {
	struct sqlite_request request;
	struct store_letter_filter filter;	/* its texts and ids in the arena */
	struct store_letter *rows;
	size_t count, cap;
	store_letters_fn *done;
	void *user;
};

static void add_row(struct letters *letters, sqlite3_stmt *statement)
{
	struct arena *arena = letters->request.arena;
	struct store_letter *row, *grown;

	if (letters->count == letters->cap) {
		letters->cap = letters->cap == 0 ? 64 : letters->cap * 2;
		grown = arena_alloc(arena, letters->cap * sizeof(*grown));
		if (letters->count > 0)
			memcpy(grown, letters->rows, letters->count * sizeof(*grown));
		letters->rows = grown;
	}
	row = &letters->rows[letters->count++];
	row->id = sqlite3_column_int64(statement, 0);
	row->queue = sqlite_text(statement, 1, arena);
	row->dedup_id = sqlite_text(statement, 2, arena);
	row->payload = sqlite_text(statement, 3, arena);
	row->payload_len = (size_t)sqlite3_column_int64(statement, 4);
	row->reason = sqlite_text(statement, 5, arena);
	row->code = sqlite_text(statement, 6, arena);
	row->first_at = sqlite_text(statement, 7, arena);
	row->last_at = sqlite_text(statement, 8, arena);
	row->count = sqlite3_column_int64(statement, 9);
}

/* The columns of a letter; CAST makes lengths be bytes. */
#define LETTER(payload)                                                                                      \
	"SELECT id, queue, dedup_id, " payload ", length(CAST(payload AS BLOB)), reason, code, first_at,"    \
	" last_at, count FROM dead_letter"
#define ONE " WHERE id = ?1 AND (?2 IS NULL OR queue = ?2) AND id > ?3"
#define MANY " WHERE (?1 IS NULL OR queue = ?1) AND id > ?2 ORDER BY id LIMIT ?3"

static int read_ids(struct sqlite_db *db, struct letters *letters, struct error *err)
{
	const struct store_letter_filter *filter = &letters->filter;
	size_t i;

	for (i = 0; i < filter->id_count && letters->count < filter->limit; i++) {
		sqlite3_stmt *statement;
		int rc;

		if (i > 0 && filter->ids[i] == filter->ids[i - 1])
			continue;
		statement = sqlite_query(db, err, filter->payload ? LETTER("payload") ONE : LETTER("NULL") ONE, "iti",
					 filter->ids[i], filter->queue, filter->after_id);
		rc = statement == NULL ? -1 : sqlite_step(db, statement, err);
		if (rc < 0)
			return -1;
		if (rc > 0) {
			add_row(letters, statement);
			sqlite3_reset(statement);
		}
	}
	return 0;
}

static int read_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct letters *letters = (struct letters *)request;
	const struct store_letter_filter *filter = &letters->filter;
	sqlite3_stmt *statement;
	int rc;

	if (filter->id_count > 0)
		return read_ids(db, letters, err);
	statement = sqlite_query(db, err, filter->payload ? LETTER("payload") MANY : LETTER("NULL") MANY, "tii",
				 filter->queue, filter->after_id, (int64_t)filter->limit);
	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0)
		add_row(letters, statement);
	return rc;
}

/* --- sending again, deleting --- */

struct change {
	struct sqlite_count count;
	const int64_t *ids;
	size_t id_count;
};

static void write_headers(struct buf *out, const char *id, const char *first_at, int64_t count)
{
	struct jwrite w;

	buf_adds(out, STORE_HEADERS_MARK);
	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "x-sluice-id", id);
	jwrite_string(&w, "x-sluice-first", first_at);
	jwrite_int(&w, "x-sluice-count", count);
	jwrite_end(&w);
	buf_addc(out, '\n');
}

/* The event was counted when it was committed first; only what waits changes. */
static int put_back(struct sqlite_db *db, const char *queue, const struct buf *payload, struct error *err)
{
	if (sqlite_run(db, err,
		       "INSERT INTO outbox (queue, events, bytes, created_ms, payload, shard)"
		       " VALUES (?1, 1, ?2, ?3, ?4, CASE WHEN ?5 = 1 THEN 0 END)",
		       "tiibi", queue, (int64_t)payload->len, clock_wall_ms(), payload->data, payload->len,
		       (int64_t)db->options->relayed) < 0)
		return -1;
	return sqlite_run(db, err,
			  "INSERT INTO outbox_total (queue, events, waiting_rows, waiting_events, waiting_bytes)"
			  " VALUES (?1, 0, 1, 1, ?2) ON CONFLICT (queue) DO UPDATE SET"
			  " waiting_rows = waiting_rows + 1, waiting_events = waiting_events + 1,"
			  " waiting_bytes = waiting_bytes + excluded.waiting_bytes",
			  "ti", queue, (int64_t)payload->len);
}

static int delete_letter(struct sqlite_db *db, int64_t id, int64_t *count, struct error *err)
{
	int rows = sqlite_run(db, err, "DELETE FROM dead_letter WHERE id = ?1", "i", id);

	if (rows > 0)
		*count += rows;
	return rows < 0 ? -1 : 0;
}

static int replay_letter(struct sqlite_db *db, int64_t id, int64_t *count, struct error *err)
{
	sqlite3_stmt *statement = sqlite_query(
		db, err, "SELECT queue, dedup_id, payload, first_at, count FROM dead_letter WHERE id = ?1", "i", id);
	int rc = statement == NULL ? -1 : sqlite_step(db, statement, err);
	struct buf payload;

	if (rc <= 0)
		return rc;
	buf_init(&payload);
	write_headers(&payload, (const char *)sqlite3_column_text(statement, 1),
		      (const char *)sqlite3_column_text(statement, 3), sqlite3_column_int64(statement, 4));
	buf_add(&payload, sqlite3_column_text(statement, 2), (size_t)sqlite3_column_bytes(statement, 2));
	rc = put_back(db, (const char *)sqlite3_column_text(statement, 0), &payload, err);
	sqlite3_reset(statement);
	buf_fini(&payload);
	return rc < 0 ? -1 : delete_letter(db, id, count, err);
}

static int replay_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct change *change = (struct change *)request;
	size_t i;

	change->count.count = 0;
	for (i = 0; i < change->id_count; i++)
		if (replay_letter(db, change->ids[i], &change->count.count, err) < 0)
			return -1;
	return 0;
}

static int drop_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct change *change = (struct change *)request;
	size_t i;

	change->count.count = 0;
	for (i = 0; i < change->id_count; i++)
		if (delete_letter(db, change->ids[i], &change->count.count, err) < 0)
			return -1;
	return 0;
}

/* --- the loop's side --- */

static int compare_ids(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

/* A copy in order. */
static const int64_t *sort_ids(struct arena *arena, const int64_t *ids, size_t count)
{
	int64_t *copy = arena_alloc(arena, (count + 1) * sizeof(*copy));

	if (count > 0)
		memcpy(copy, ids, count * sizeof(*ids));
	qsort(copy, count, sizeof(*copy), compare_ids);
	return copy;
}

static void read_answer(struct sqlite_request *request)
{
	struct letters *letters = (struct letters *)request;

	letters->done(letters->user, letters->rows, request->err.code == ERR_NONE ? letters->count : 0, &request->err);
}

void sqlite_dead_read(struct store *store, const struct store_letter_filter *filter, store_letters_fn *done,
		      void *user)
{
	struct letters *letters = sqlite_request_new(store, sizeof(*letters), false, read_run, read_answer);
	struct arena *arena = letters->request.arena;

	letters->filter = *filter;
	letters->filter.queue = filter->queue != NULL ? arena_strdup(arena, filter->queue) : NULL;
	letters->filter.ids = sort_ids(arena, filter->ids, filter->id_count);
	letters->done = done;
	letters->user = user;
	sqlite_request_submit(&letters->request);
}

static void change_letters(struct store *store,
			   int (*run)(struct sqlite_db *, struct sqlite_request *, struct error *),
			   const int64_t *ids, size_t count, store_count_fn *done, void *user)
{
	struct change *change = sqlite_request_new(store, sizeof(*change), true, run, sqlite_answer_count);

	change->ids = sort_ids(change->count.request.arena, ids, count);
	change->id_count = count;
	change->count.done = done;
	change->count.user = user;
	sqlite_request_submit(&change->count.request);
}

void sqlite_dead_replay(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user)
{
	change_letters(store, replay_run, ids, count, done, user);
}

void sqlite_dead_drop(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user)
{
	change_letters(store, drop_run, ids, count, done, user);
}
