/* SPDX-License-Identifier: Apache-2.0 */
/* Outbox rows, their totals, and dead letters. Store thread, but for the functions that make the requests. */
#include "store/sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"

/* shard: -1 for those that direct: readers read. A packed payload is a blob. */
static int write_row(struct sqlite_db *db, const struct group_row *row, int64_t now_ms, int64_t shard,
		     struct error *err)
{
	bool packed = row->packed.len > 0;
	const struct buf *payload = packed ? &row->packed : &row->payload;

	return sqlite_run(db, err,
			  "INSERT INTO outbox (queue, events, bytes, created_ms, payload, shard)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, nullif(?6, -1))",
			  packed ? "tiiiBi" : "tiiibi", row->queue, (int64_t)row->events, (int64_t)row->payload.len,
			  now_ms, payload->data, payload->len, shard);
}

int sqlite_outbox_write(struct sqlite_db *db, struct group_outbox *outbox, int64_t now_ms, struct error *err)
{
	int64_t shard = db->options->relayed ? (int64_t)(random_u64() % STORE_SHARDS) : -1;
	size_t i;

	group_outbox_end(outbox);
	for (i = 0; i < outbox->count; i++) {
		const struct group_row *row = &outbox->rows[i];

		if (write_row(db, row, now_ms, shard, err) < 0)
			return -1;
		if (sqlite_run(db, err,
			       "INSERT INTO outbox_total (queue, events, waiting_rows, waiting_events,"
			       " waiting_bytes) VALUES (?1, ?2, 1, ?2, ?3) ON CONFLICT (queue) DO UPDATE SET"
			       " events = events + excluded.events, waiting_rows = waiting_rows + 1,"
			       " waiting_events = waiting_events + excluded.events,"
			       " waiting_bytes = waiting_bytes + excluded.waiting_bytes",
			       "tii", row->queue, (int64_t)row->events, (int64_t)row->payload.len) < 0)
			return -1;
	}
	return 0;
}

/* --- reading --- */

struct read {
	struct sqlite_request request;
	const char *queue;
	int64_t *skip; /* sorted copy */
	size_t skip_count;
	size_t max_rows, max_bytes;
	struct store_outbox_row *rows;
	size_t count;
	store_outbox_fn *done;
	void *user;
};

static int compare_ids(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

/* A packed one is a blob. */
static void read_payload(sqlite3_stmt *statement, int payload, int bytes, struct arena *arena,
			 struct store_outbox_row *row_r)
{
	bool packed = sqlite3_column_type(statement, payload) == SQLITE_BLOB;
	const char *from = packed ? sqlite3_column_blob(statement, payload)
				  : (const char *)sqlite3_column_text(statement, payload);
	size_t len = (size_t)sqlite3_column_bytes(statement, payload);
	char *copy = arena_strndup(arena, from != NULL ? from : "", len);

	if (packed)
		store_row_packed(row_r, copy, len, sqlite3_column_int64(statement, bytes));
	else
		store_row_payload(row_r, copy, len);
}

int sqlite_outbox_row(struct sqlite_db *db, int64_t id, struct arena *arena, struct store_outbox_row *row_r,
		      struct error *err)
{
	sqlite3_stmt *statement = sqlite_query(
		db, err, "SELECT events, created_ms, payload, queue, bytes FROM outbox WHERE id = ?1", "i", id);
	int rc = statement == NULL ? -1 : sqlite_step(db, statement, err);

	if (rc <= 0)
		return rc;
	row_r->id = id;
	row_r->events = (uint32_t)sqlite3_column_int64(statement, 0);
	row_r->created_ms = sqlite3_column_int64(statement, 1);
	read_payload(statement, 2, 4, arena, row_r);
	row_r->queue = sqlite_text(statement, 3, arena);
	sqlite3_reset(statement);
	return 1;
}

static int read_row(struct sqlite_db *db, struct read *read, int64_t id, size_t *bytes, struct error *err)
{
	struct store_outbox_row *row = &read->rows[read->count];
	int rc = sqlite_outbox_row(db, id, read->request.arena, row, err);

	if (rc <= 0)
		return rc; /* deleted since */
	*bytes += row->bytes;
	read->count++;
	return 1;
}

/* The ids come from the index alone, so that rows in flight cost nothing but a comparison. */
static int read_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct read *read = (struct read *)request;
	sqlite3_stmt *ids = sqlite_query(db, err,
					 "SELECT id FROM outbox INDEXED BY outbox_queue WHERE queue = ?1"
					 " AND shard IS NULL ORDER BY id",
					 "t", read->queue);
	size_t bytes = 0;
	int rc = -1;

	if (ids == NULL)
		return -1;
	read->rows = arena_alloc(request->arena, read->max_rows * sizeof(*read->rows));
	while (read->count < read->max_rows && (read->count == 0 || bytes < read->max_bytes)) {
		int64_t id;

		rc = sqlite_step(db, ids, err);
		if (rc <= 0)
			return rc;
		id = sqlite3_column_int64(ids, 0);
		if (bsearch(&id, read->skip, read->skip_count, sizeof(id), compare_ids) != NULL)
			continue;
		rc = read_row(db, read, id, &bytes, err);
		if (rc < 0)
			break;
	}
	sqlite3_reset(ids);
	return rc < 0 ? -1 : 0;
}

static void read_answer(struct sqlite_request *request)
{
	struct read *read = (struct read *)request;

	read->done(read->user, read->rows, request->err.code == ERR_NONE ? read->count : 0, &request->err);
}

void sqlite_outbox_read(struct store *store, const char *queue, const int64_t *skip, size_t skip_count,
			size_t max_rows, size_t max_bytes, store_outbox_fn *done, void *user)
{
	struct read *read = sqlite_request_new(store, sizeof(*read), false, read_run, read_answer);
	struct arena *arena = read->request.arena;

	read->queue = arena_strdup(arena, queue);
	read->skip = arena_alloc(arena, (skip_count + 1) * sizeof(*read->skip));
	if (skip_count > 0)
		memcpy(read->skip, skip, skip_count * sizeof(*skip));
	qsort(read->skip, skip_count, sizeof(*read->skip), compare_ids);
	read->skip_count = skip_count;
	read->max_rows = max_rows;
	read->max_bytes = max_bytes;
	read->done = done;
	read->user = user;
	sqlite_request_submit(&read->request);
}

static int last_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	return sqlite_integer(db, &((struct sqlite_count *)request)->count, err,
			      "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", "");
}

static int bytes_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	return sqlite_integer(db, &((struct sqlite_count *)request)->count, err,
			      "SELECT sum(waiting_bytes) FROM outbox_total", "");
}

static void count_request(struct store *store,
			  int (*run)(struct sqlite_db *, struct sqlite_request *, struct error *),
			  store_count_fn *done, void *user)
{
	struct sqlite_count *request =
		sqlite_request_new(store, sizeof(*request), false, run, sqlite_answer_count);

	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

void sqlite_outbox_last(struct store *store, store_count_fn *done, void *user)
{
	count_request(store, last_run, done, user);
}

void sqlite_outbox_bytes(struct store *store, store_count_fn *done, void *user)
{
	count_request(store, bytes_run, done, user);
}

/* --- deleting --- */

struct delete
{
	struct sqlite_done base;
	const int64_t *ids;
	size_t count;
};

int sqlite_outbox_remove(struct sqlite_db *db, int64_t id, struct error *err)
{
	sqlite3_stmt *statement =
		sqlite_query(db, err, "SELECT queue, events, bytes FROM outbox WHERE id = ?1", "i", id);
	int rc = statement == NULL ? -1 : sqlite_step(db, statement, err);

	if (rc <= 0)
		return rc;
	rc = sqlite_run(
		db, err,
		"UPDATE outbox_total SET waiting_rows = waiting_rows - 1,"
		" waiting_events = waiting_events - ?2, waiting_bytes = waiting_bytes - ?3 WHERE queue = ?1",
		"tii", (const char *)sqlite3_column_text(statement, 0), sqlite3_column_int64(statement, 1),
		sqlite3_column_int64(statement, 2));
	sqlite3_reset(statement);
	if (rc >= 0)
		rc = sqlite_run(db, err, "DELETE FROM outbox WHERE id = ?1", "i", id);
	return rc < 0 ? -1 : 0;
}

static int delete_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct delete *delete = (struct delete *)request;
	size_t i;

	for (i = 0; i < delete->count; i++)
		if (sqlite_outbox_remove(db, delete->ids[i], err) < 0)
			return -1;
	return 0;
}

void sqlite_outbox_delete(struct store *store, const int64_t *ids, size_t count, store_done_fn *done,
			  void *user)
{
	struct delete *delete =
		sqlite_request_new(store, sizeof(*delete), true, delete_run, sqlite_answer_done);

	delete->base.done = done;
	delete->base.user = user;
	delete->ids = ids;
	delete->count = count;
	sqlite_request_submit(&delete->base.request);
}

/* --- dead letters --- */

struct dead {
	struct sqlite_done base;
	const struct store_dead *letters;
	size_t count;
};

static int dead_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct dead *dead = (struct dead *)request;
	char now[CLOCK_TEXT_SIZE], first[CLOCK_TEXT_SIZE], hash[SHA256_TEXT_SIZE];
	int64_t now_ms = clock_wall_ms();
	size_t i;

	clock_format_ms(now, now_ms);
	for (i = 0; i < dead->count; i++) {
		const struct store_dead *letter = &dead->letters[i];
		size_t len = letter->payload_len;
		const char *payload = group_clean(request->arena, letter->payload, &len);
		const char *id = letter->dedup_id != NULL
					 ? letter->dedup_id
					 : sha256_hex(hash, letter->payload, letter->payload_len);

		if (sqlite_run(db, err,
			       "INSERT INTO dead_letter (queue, dedup_id, payload, reason, code, first_at,"
			       " last_at, count) VALUES (?1, ?2, ?3, ?4, ?5, ?7, ?6, ?8 + 1) ON CONFLICT (queue, "
			       "dedup_id)"
			       " DO UPDATE SET count = max(count + 1, excluded.count), last_at = excluded.last_at,"
			       " first_at = min(first_at, excluded.first_at),"
			       " reason = excluded.reason, code = excluded.code",
			       "ttbtttti", letter->queue, id, payload, len, letter->reason, letter->code,
			       now, clock_format_ms(first, letter->first_ms > 0 ? letter->first_ms : now_ms),
			       letter->count) < 0)
			return -1;
	}
	return 0;
}

void sqlite_dead_letter(struct store *store, const struct store_dead *letters, size_t count,
			store_done_fn *done, void *user)
{
	struct dead *dead = sqlite_request_new(store, sizeof(*dead), true, dead_run, sqlite_answer_done);

	dead->base.done = done;
	dead->base.user = user;
	dead->letters = letters;
	dead->count = count;
	sqlite_request_submit(&dead->base.request);
}
