/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the question whether rows that may have been inserted before are in the
 * table: by identity, narrowed by the columns that lead to a row cheaply. Runs
 * in the sink's thread.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "sink/batch.h"
#include "sink/table.h"
#include "warehouse/native.h"

/* A longer list of values narrows nothing. */
#define FILTER_VALUES 256
/* Newer servers take a statement of 128 KiB beside a table; escaping may double a value. */
#define FILTER_BYTES ((size_t)32 << 10)
/* An insert that nobody waits for is told to stop after so many times its deadline; until it is gone: */
#define KILL_DEADLINES 2
#define ORPHANS_MS 1000
/* A host that does not say this soon what it is doing is away. */
#define LOOK_MS 5000

struct lookup {
	struct batch *batch;
	struct writer *writer;
	struct arena *arena;
	uint32_t *rows;			/* suspect and open, no identity twice */
	struct warehouse_text *ids;	/* of rows */
	size_t count;
	struct warehouse_filter *filters;
	size_t filter_count, filter_bytes;
};

static int compare_values(const void *a, const void *b)
{
	return warehouse_text_compare(a, b);
}

static int compare_identities(const void *left, const void *right, void *context)
{
	const struct warehouse_text *ids = context;
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	int order = warehouse_text_compare(&ids[a], &ids[b]);

	return order != 0 ? order : (a > b) - (a < b);
}

/* The suspects; of several with the same identity the first, the others are repeats. */
static void gather(struct lookup *lookup)
{
	struct batch *batch = lookup->batch;
	size_t total = native_block_rows(batch->block), found = 0;
	struct warehouse_text *ids = arena_alloc(lookup->arena, (total + 1) * sizeof(*ids));
	uint32_t *rows = arena_alloc(lookup->arena, (total + 1) * sizeof(*rows));

	for (size_t i = 0; i < total; i++)
		if (batch->rows[i].suspect && batch->rows[i].state == ROW_OPEN) {
			batch_identity(batch, lookup->writer->table, i, &ids[i]);
			rows[found++] = (uint32_t)i;
		}
	qsort_r(rows, found, sizeof(*rows), compare_identities, ids);
	lookup->rows = rows;
	lookup->ids = arena_alloc(lookup->arena, (found + 1) * sizeof(*lookup->ids));
	for (size_t i = 0; i < found; i++) {
		const struct warehouse_text *id = &ids[rows[i]];

		if (lookup->count > 0 && warehouse_text_compare(id, &lookup->ids[lookup->count - 1]) == 0) {
			batch->rows[rows[i]].state = ROW_SETTLED;
			batch->counts.repeats++;
			continue;
		}
		lookup->ids[lookup->count] = *id;
		rows[lookup->count++] = rows[i];
	}
}

/* --- filters --- */

static void filter_values(struct lookup *lookup, size_t column)
{
	struct warehouse_text *values = arena_alloc(lookup->arena, lookup->count * sizeof(*values));
	size_t count = 0, bytes = lookup->filter_bytes;

	for (size_t i = 0; i < lookup->count; i++)
		values[i].bytes = native_cell_string(lookup->batch->block, column, lookup->rows[i], &values[i].len);
	qsort(values, lookup->count, sizeof(*values), compare_values);
	for (size_t i = 0; i < lookup->count; i++)
		if (count == 0 || warehouse_text_compare(&values[i], &values[count - 1]) != 0) {
			bytes += values[i].len;
			values[count++] = values[i];
		}
	if (count > FILTER_VALUES || bytes > FILTER_BYTES)
		return;
	lookup->filter_bytes = bytes;
	lookup->filters[lookup->filter_count++] = (struct warehouse_filter){
		.column = lookup->writer->table->columns[column].name, .values = values, .value_count = count
	};
}

static void filter_time(struct lookup *lookup, size_t column)
{
	int64_t from = INT64_MAX, to = INT64_MIN;
	char *texts = arena_alloc(lookup->arena, (size_t)2 * CLOCK_TEXT_SIZE);

	for (size_t i = 0; i < lookup->count; i++) {
		int64_t value = native_cell_int(lookup->batch->block, column, lookup->rows[i]);

		from = value < from ? value : from;
		to = value > to ? value : to;
	}
	lookup->filters[lookup->filter_count++] = (struct warehouse_filter){
		.column = lookup->writer->table->columns[column].name,
		.from = clock_format(texts, from), .to = clock_format(texts + CLOCK_TEXT_SIZE, to), .time = true
	};
}

/*
 * Only columns whose value is the same whenever the event is read: not the time
 * of insertion, and nothing nullable, for NULL is in no list and no range.
 */
static void filter_column(struct lookup *lookup, size_t column)
{
	const struct sink_column *plan = &lookup->writer->table->columns[column];

	if (plan->type.nullable || plan->flags & SL_COLUMN_NOW)
		return;
	for (size_t i = 0; i < lookup->filter_count; i++)
		if (lookup->filters[i].column == plan->name)
			return;
	if (plan->type.kind == NATIVE_STRING)
		filter_values(lookup, column);
	else if (plan->type.kind == NATIVE_DATETIME)
		filter_time(lookup, column);
}

static void make_filters(struct lookup *lookup)
{
	const struct sink_table *table = lookup->writer->table;

	lookup->filters = arena_alloc(lookup->arena, (table->prefix_count + 1) * sizeof(*lookup->filters));
	for (size_t i = 0; i < table->prefix_count; i++)
		filter_column(lookup, table->prefix[i]);
	if (table->time_column >= 0)
		filter_column(lookup, (size_t)table->time_column);
}

static int ask(struct lookup *lookup, struct error *err)
{
	const struct sink_table *table = lookup->writer->table;
	struct batch *batch = lookup->batch;
	bool *found = arena_alloc(lookup->arena, lookup->count * sizeof(*found));
	const struct warehouse_lookup question = {
		.database = table->database, .table = table->name, .column = table->columns[table->identity].name,
		.filters = lookup->filters, .filter_count = lookup->filter_count,
		.ids = lookup->ids, .id_count = lookup->count, .deadline_ms = lookup->writer->deadline_ms
	};

	if (warehouse_lookup(lookup->writer->wh, &question, found, err) < 0) {
		writer_heard(lookup->writer, err);
		return -1;
	}
	for (size_t i = 0; i < lookup->count; i++) {
		struct batch_row *row = &batch->rows[lookup->rows[i]];

		row->suspect = false;
		if (!found[i])
			continue;
		row->state = ROW_SETTLED;
		batch->accepted++;
		batch->counts.repeats++;
	}
	batch->counts.suspects += lookup->count;
	return 0;
}

/* --- when --- */

static int too_early(struct batch *batch, int64_t wait_ms)
{
	batch->outcome = BATCH_EARLY;
	batch->wait_ms = wait_ms;
	return -1;
}

/* One host of several is away, say: its suspects wait for it, and let the others go on meanwhile. */
static int put_off(struct batch *batch, struct writer *writer)
{
	int64_t pause = backoff_next(&writer->lookup);

	writer->lookup_after_ms = clock_mono_ms() + pause;
	batch->counts.errors++;
	return too_early(batch, pause);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * What has not arrived yet cannot be found. Monotonic time from which on it has
 * arrived, or is an INSERT at work for older_ms or longer, which orphans tell.
 * Until a host has answered it may have kept an INSERT waiting, unread; who ran
 * beside this consumer may have sent one after the host was last heard of.
 */
static int64_t arrived_ms(struct batch *batch, const struct writer *writer, int64_t older_ms)
{
	int64_t at = warehouse_since_ms(writer->wh);

	if (at == INT64_MAX)		/* silent again, as another thread found */
		return clock_mono_ms() + LOOKUP_FIRST_MS;
	at = later(at, writer->answered_ms);
	at = at == 0 ? 0 : at + writer->hold_ms;
	if (batch->suspect_ms == 0)
		return at;
	if (batch->heard_ms == 0)
		batch->heard_ms = clock_mono_ms();
	return later(at, batch->heard_ms + older_ms);
}

static int may_ask(struct batch *batch, struct writer *writer, struct error *err)
{
	char mine[128];
	const struct warehouse_orphans orphans = {
		.database = writer->table->database, .table = writer->table->name, .query_id = mine,
		.older_ms = least(writer->hold_ms, writer->deadline_ms),
		.kill_ms = KILL_DEADLINES * writer->deadline_ms, .deadline_ms = least(writer->deadline_ms, LOOK_MS)
	};
	int64_t now, arrived;
	size_t running;

	str_format(mine, sizeof(mine), "/%s/", writer->table->sink->name);
	if (warehouse_orphans(writer->wh, &orphans, &running, err) < 0) {
		writer_heard(writer, err);
		return -1;
	}
	writer_heard(writer, NULL);
	if (running > 0) {
		error_set(err, ERR_BUSY, "%zu inserts that nobody waits for still run", running);
		return too_early(batch, ORPHANS_MS);
	}
	now = clock_mono_ms();
	arrived = arrived_ms(batch, writer, orphans.older_ms);
	return now < arrived ? too_early(batch, arrived - now) : 0;
}

static int look_up(struct batch *batch, struct writer *writer, struct error *err)
{
	struct lookup lookup = { .batch = batch, .writer = writer, .arena = arena_new() };
	int rc = 0;

	gather(&lookup);
	if (lookup.count > 0)
		rc = may_ask(batch, writer, err);
	if (lookup.count > 0 && rc == 0) {
		make_filters(&lookup);
		rc = ask(&lookup, err);
	}
	arena_free(&lookup.arena);
	return rc;
}

int batch_lookup(struct batch *batch, struct writer *writer, struct error *err)
{
	int64_t wait_ms = writer->lookup_after_ms - clock_mono_ms();

	if (wait_ms > 0)
		return too_early(batch, wait_ms);
	if (look_up(batch, writer, err) < 0)
		return batch->outcome == BATCH_EARLY ? -1 : put_off(batch, writer);
	backoff_reset(&writer->lookup);
	batch->suspect = false;
	return 0;
}
