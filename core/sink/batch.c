/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns batches and their inserts. batch_new, batch_add and batch_free run on
 * the loop's thread, batch_attempt on the sink's.
 */
#include "sink/batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "log/log.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "warehouse/native.h"

/* Up to so many rows that are all refused are blamed on the rows, more on the table. */
#define ALL_BAD_ROWS 10
/* Rows tried one by one over the whole batch before the table is blamed. */
#define SAMPLES 32
#define UNKNOWN_TABLE 60
#define UNKNOWN_DATABASE 81
/* A batch so many times smaller than what its memory was made for gives that back. */
#define SHRUNK 8

struct batch *batch_new(void *owner)
{
	struct batch *batch = mem_alloc(sizeof(*batch));

	batch->owner = owner;
	batch->arena = arena_new();
	list_init(&batch->node);
	buf_init(&batch->body);
	return batch;
}

void batch_free(struct batch **handle)
{
	struct batch *batch = *handle;

	if (batch == NULL)
		return;
	list_remove(&batch->node);
	native_block_free(&batch->block);
	mem_free(&batch->rows);
	mem_free(&batch->letters);
	mem_free(&batch->messages);
	mem_free(&batch->tags);
	buf_fini(&batch->body);
	arena_free(&batch->arena);
	mem_free(handle);
}

void batch_clear(struct batch *batch)
{
	struct batch kept = *batch;

	list_remove(&batch->node);
	native_block_free(&kept.block);
	arena_reset(kept.arena);
	buf_clear(&kept.body);
	*batch = (struct batch){
		.owner = kept.owner, .arena = kept.arena, .body = kept.body, .messages = kept.messages,
		.message_cap = kept.message_cap, .tags = kept.tags, .rows = kept.rows, .row_cap = kept.row_cap,
		.letters = kept.letters, .letter_cap = kept.letter_cap
	};
	list_init(&batch->node);
}

void batch_add(struct batch *batch, const struct bus_message *message)
{
	if (batch->message_count == batch->message_cap) {
		batch->message_cap = batch->message_cap == 0 ? 64 : batch->message_cap * 2;
		batch->messages = mem_realloc(batch->messages, batch->message_cap * sizeof(*batch->messages));
		batch->tags = mem_realloc(batch->tags, batch->message_cap * sizeof(*batch->tags));
	}
	batch->messages[batch->message_count] = (struct batch_message){
		.tag = message->tag, .id = arena_strdup(batch->arena, message->id),
		.at = batch->body.len, .len = message->len, .suspect = message->suspect, .letter = message->letter,
		.headers = message->headers != NULL ? arena_strdup(batch->arena, message->headers) : NULL,
		.problem = message->problem != NULL ? arena_strdup(batch->arena, message->problem) : NULL
	};
	batch->tags[batch->message_count++] = message->tag;
	buf_add(&batch->body, message->body, message->len);
	buf_addc(&batch->body, '\0');
	batch->events += batch_count_events(message);
	batch->suspect |= message->suspect;
	if (message->suspect_ms > batch->suspect_ms)
		batch->suspect_ms = message->suspect_ms;
}

size_t batch_count_events(const struct bus_message *message)
{
	const char *at = message->body, *end = message->body + message->len;
	size_t lines = 1;

	if (message->events > 0)
		return message->events;
	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		lines++;
		at++;
	}
	return lines;
}

void batch_add_letter(struct batch *batch, const struct bus_letter *letter)
{
	if (batch->letter_count == batch->letter_cap) {
		batch->letter_cap = batch->letter_cap == 0 ? 16 : batch->letter_cap * 2;
		batch->letters = mem_realloc(batch->letters, batch->letter_cap * sizeof(*batch->letters));
	}
	batch->letters[batch->letter_count++] = *letter;
}

const char *batch_event_name(struct batch *batch, size_t message, size_t index)
{
	const struct batch_message *from = &batch->messages[message];

	return decode_event_name(batch->arena, &(struct decode_event){
		.message_id = from->id, .index = index, .letter = from->letter
	});
}

void batch_identity(const struct batch *batch, const struct sink_table *table, size_t row,
		    struct warehouse_text *text_r)
{
	char *number;

	if (table->columns[table->identity].type.kind == NATIVE_STRING) {
		text_r->bytes = native_cell_string(batch->block, table->identity, row, &text_r->len);
		return;
	}
	number = arena_printf(batch->arena, "%" PRId64, native_cell_int(batch->block, table->identity, row));
	if (table->columns[table->identity].type.kind == NATIVE_UINT)
		number = arena_printf(batch->arena, "%" PRIu64,
				      (uint64_t)native_cell_int(batch->block, table->identity, row));
	text_r->bytes = number;
	text_r->len = strlen(number);
}

/* --- the warehouse --- */

void writer_heard(struct writer *writer, const struct error *err)
{
	bool silent = err != NULL && (writer->wh == NULL || warehouse_code(writer->wh) == 0) &&
		      err->code != ERR_INPUT && err->code != ERR_LIMIT;

	if (writer->away && !silent)
		writer->answered_ms = clock_mono_ms();
	writer->away = silent;
}

static int open_warehouse(struct writer *writer, struct error *err)
{
	writer->wh = sink_table_open(writer->table, writer->url, &writer->durability, err);
	writer_heard(writer, writer->wh != NULL ? NULL : err);
	return writer->wh != NULL ? 0 : -1;
}

/* --- inserting --- */

/* One attempt's way through the rows; lives on the stack of batch_attempt. */
struct attempt {
	struct batch *batch;
	struct writer *writer;
	size_t refused;		/* rows refused so far, but for letters that were sent again */
	size_t open;		/* rows open when it began */
	bool sampled;
};

/* The same rows in the same order give the same token. */
static void make_token(struct attempt *attempt, const uint32_t *rows, size_t count, char token[SHA256_TEXT_SIZE])
{
	struct buf *identities = &attempt->writer->identities;
	struct warehouse_text id;

	buf_clear(identities);
	for (size_t i = 0; i < count; i++) {
		batch_identity(attempt->batch, attempt->writer->table, rows[i], &id);
		buf_add(identities, &id.len, sizeof(id.len));
		buf_add(identities, id.bytes, id.len);
	}
	sha256_hex(token, identities->data, identities->len);
}

/* The whole block as it stands: then it is copied by column. */
static bool is_whole(const struct native_block *block, const uint32_t *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i] != i)
			return false;
	return count == native_block_rows(block);
}

static int insert(struct attempt *attempt, const uint32_t *rows, size_t count, struct error *err)
{
	struct writer *writer = attempt->writer;
	struct batch *batch = attempt->batch;
	char token[SHA256_TEXT_SIZE], query_id[256];
	struct warehouse_insert insert = {
		.database = writer->table->database, .table = writer->table->name, .block = batch->block,
		.data = &writer->data, .query_id = query_id, .deadline_ms = writer->deadline_ms,
		.durability = writer->durability
	};

	str_format(query_id, sizeof(query_id), "%s/%s/%d/%" PRIu64, writer->node, writer->table->sink->name,
		   (int)getpid(), ++writer->inserts);
	if (warehouse_features(writer->wh)->dedup_token) {
		make_token(attempt, rows, count, token);
		insert.dedup_token = token;
	}
	buf_clear(&writer->data);
	if (is_whole(batch->block, rows, count))
		native_block_encode(batch->block, 0, count, &writer->data);
	else
		native_block_encode_rows(batch->block, rows, count, &writer->data);
	if (warehouse_insert(writer->wh, &insert, err) < 0) {
		writer_heard(writer, err);
		return -1;
	}
	writer_heard(writer, NULL);
	return 0;
}

static size_t keep_open(const struct batch *batch, uint32_t *rows, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (batch->rows[rows[i]].state == ROW_OPEN)
			rows[kept++] = rows[i];
	return kept;
}

static void settle(struct attempt *attempt, const uint32_t *rows, size_t count)
{
	struct batch *batch = attempt->batch;

	for (size_t i = 0; i < count; i++)
		batch->rows[rows[i]].state = ROW_SETTLED;
	batch->accepted += count;
	batch->counts.rows += count;
	batch->counts.inserts++;
}

static void refuse(struct attempt *attempt, uint32_t index, const struct error *err)
{
	struct batch_row *row = &attempt->batch->rows[index];

	row->state = ROW_REFUSED;
	row->code = warehouse_code(attempt->writer->wh);
	row->reason = arena_strdup(attempt->batch->arena, err->text);
	/* Its content was found bad before, so it says nothing of the table: however many come, each becomes a letter again. */
	attempt->refused += !attempt->batch->messages[row->message].letter;
}

/* An insert failed for another reason than its content. Nothing of it may be taken for arrived or not. */
static int stop(struct attempt *attempt, const uint32_t *rows, size_t count, const struct error *err)
{
	struct batch *batch = attempt->batch;
	bool unclear = err->code == ERR_UNCLEAR;

	batch->err = *err;
	batch->outcome = err->code == ERR_BUSY ? BATCH_BUSY : unclear ? BATCH_UNCLEAR : BATCH_FAILED;
	/*
	 * Several partitions in one block, as we split or as a server in another
	 * time zone does: some may have been written before the one that failed.
	 */
	if (unclear || attempt->writer->table->split == SPLIT_UNKNOWN ||
	    !warehouse_features(attempt->writer->wh)->utc) {
		for (size_t i = 0; i < count; i++)
			batch->rows[rows[i]].suspect = true;
		batch->suspect = true;
	}
	return -1;
}

static int insert_rows(struct attempt *attempt, uint32_t *rows, size_t count);

static int table_is_at_fault(struct attempt *attempt, const struct error *err)
{
	struct batch *batch = attempt->batch;

	error_set(&batch->err, ERR_CONTENT, "every row of a batch of %zu is refused, so nothing is set aside: %s",
		  attempt->open, err->text);
	batch->outcome = BATCH_FAILED;
	return -1;
}

/* More rows refused than may be blamed on rows, and none taken: asks a few all over the batch. */
static int sample(struct attempt *attempt, const struct error *err)
{
	struct batch *batch = attempt->batch;
	size_t rows = native_block_rows(batch->block), step = rows / SAMPLES + 1;
	size_t first = (size_t)(random_u64() % step);

	attempt->sampled = true;
	for (size_t i = first; i < rows && batch->accepted == 0; i += step) {
		uint32_t one = (uint32_t)i;

		if (batch->rows[i].state == ROW_OPEN && insert_rows(attempt, &one, 1) < 0)
			return -1;
	}
	return batch->accepted == 0 ? table_is_at_fault(attempt, err) : 0;
}

/*
 * Inserts rows of one partition, those still open; halves what is refused for
 * its content until the bad rows stand alone. 0, or -1 when the attempt ends here.
 */
static int insert_rows(struct attempt *attempt, uint32_t *rows, size_t count)
{
	struct batch *batch = attempt->batch;
	struct error err = { .code = ERR_NONE };

	count = keep_open(batch, rows, count);
	if (count == 0)
		return 0;
	if (insert(attempt, rows, count, &err) == 0) {
		settle(attempt, rows, count);
		return 0;
	}
	batch->counts.errors++;
	if (err.code != ERR_CONTENT)
		return stop(attempt, rows, count, &err);
	if (count == 1) {
		refuse(attempt, rows[0], &err);
		if (attempt->refused > ALL_BAD_ROWS && batch->accepted == 0 && !attempt->sampled)
			return sample(attempt, &err);
		return 0;
	}
	if (insert_rows(attempt, rows, count / 2) < 0)
		return -1;
	return insert_rows(attempt, rows + count / 2, count - count / 2);
}

static int compare_rows(const void *left, const void *right, void *context)
{
	const struct attempt *attempt = context;
	const struct batch_row *rows = attempt->batch->rows;
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	int order;

	if (rows[a].partition != rows[b].partition)
		return rows[a].partition < rows[b].partition ? -1 : 1;
	order = sink_table_compare(attempt->writer->table, attempt->batch->block, a, b);
	return order != 0 ? order : (a > b) - (a < b);
}

/* By partition, each in the table's order: the warehouse finds rows sorted and need not move them. */
static int insert_open(struct attempt *attempt)
{
	struct batch *batch = attempt->batch;
	size_t total = native_block_rows(batch->block), from = 0;
	uint32_t *rows = mem_alloc((total + 1) * sizeof(*rows));
	int rc = 0;

	for (size_t i = 0; i < total; i++)
		rows[i] = (uint32_t)i;
	total = keep_open(batch, rows, total);
	attempt->open = total;
	qsort_r(rows, total, sizeof(*rows), compare_rows, attempt);
	while (rc == 0 && from < total) {
		size_t to = from + 1;

		while (to < total && batch->rows[rows[to]].partition == batch->rows[rows[from]].partition)
			to++;
		rc = insert_rows(attempt, rows + from, to - from);
		from = to;
	}
	mem_free(&rows);
	return rc;
}

/* --- judging --- */

static void add_refused(struct batch *batch)
{
	for (size_t i = 0; i < native_block_rows(batch->block); i++) {
		const struct batch_row *row = &batch->rows[i];
		const struct batch_message *message = &batch->messages[row->message];

		if (row->state != ROW_REFUSED)
			continue;
		batch_add_letter(batch, &(struct bus_letter){
			.payload = batch->body.data + row->at, .len = row->len, .reason = row->reason,
			.code = arena_printf(batch->arena, "warehouse %d", row->code),
			.dedup_id = batch_event_name(batch, row->message, row->index), .headers = message->headers
		});
	}
}

/* Refusals count only beside rows that were taken, or when they are few. */
static void forget_refusals(struct batch *batch)
{
	for (size_t i = 0; i < native_block_rows(batch->block); i++)
		if (batch->rows[i].state == ROW_REFUSED)
			batch->rows[i].state = ROW_OPEN;
}

static void insert_all(struct batch *batch, struct writer *writer)
{
	struct attempt attempt = { .batch = batch, .writer = writer };
	int rc;

	rc = insert_open(&attempt);
	if (rc == 0 && batch->accepted == 0 && attempt.refused > ALL_BAD_ROWS)
		rc = table_is_at_fault(&attempt, &(struct error){ .text = "one by one" });
	if (rc == 0)
		add_refused(batch);
	else if (batch->accepted == 0)
		forget_refusals(batch);
}

void writer_shrink(struct writer *writer)
{
	native_block_free(&writer->block);
	buf_fini(&writer->data);
	buf_fini(&writer->identities);
	writer->kept_bytes = 0;
}

/* The batch needs its block no more, the next one will. */
static void keep_memory(struct batch *batch, struct writer *writer)
{
	if (batch->body.len < writer->kept_bytes / SHRUNK) {
		writer_shrink(writer);
		return;
	}
	if (batch->body.len > writer->kept_bytes)
		writer->kept_bytes = batch->body.len;
	native_block_free(&writer->block);
	native_block_clear(batch->block);
	writer->block = batch->block;
	batch->block = NULL;
}

static int prepare(struct batch *batch, struct writer *writer)
{
	batch->outcome = BATCH_FAILED;
	if (writer->wh == NULL && open_warehouse(writer, &batch->err) < 0)
		return -1;
	return batch->suspect ? batch_lookup(batch, writer, &batch->err) : 0;
}

static void try_once(struct batch *batch, struct writer *writer)
{
	if (batch->block == NULL)
		batch_decode(batch, writer);
	if (prepare(batch, writer) < 0) {
		batch->counts.errors += batch->outcome == BATCH_FAILED;
		return;
	}
	batch->outcome = BATCH_DONE;
	insert_all(batch, writer);
	if (batch->outcome == BATCH_DONE)
		keep_memory(batch, writer);
}

/* A host that was away when the tables were made has none. */
static void make_missing_table(const struct batch *batch, struct writer *writer)
{
	int code = writer->wh != NULL ? warehouse_code(writer->wh) : 0;
	struct error err;

	if (batch->outcome == BATCH_DONE || (code != UNKNOWN_TABLE && code != UNKNOWN_DATABASE))
		return;
	if (sink_table_ensure(writer->table, writer->wh, writer->durability, &err) == 0)
		log_info("made the table where it was missing sink=%s", writer->table->sink->name);
}

void batch_attempt(struct batch *batch, struct writer *writer)
{
	error_clear(&batch->err);
	batch->counts = (struct batch_counts){ 0 };
	try_once(batch, writer);
	make_missing_table(batch, writer);
}
