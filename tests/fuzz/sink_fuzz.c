/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message, for a sink that has columns of every kind and for
 * those of the sinks plugin: every event becomes one row or one letter with a
 * reason, twice the same, each row with an identity. See json_fuzz.c; link the
 * plugin's source too.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/buf.h"
#include "sink/batch.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "warehouse/native.h"

#define COLUMNS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sl_sink_column columns[] = {
	{"id", "String", NULL, 0, NULL},
	{"n", "Nullable(Int32)", NULL, SL_COLUMN_NEEDED, NULL},
	{"u", "UInt64", "u|a.b", 0, "7"},
	{"f", "Float32", NULL, 0, NULL},
	{"yes", "Bool", NULL, 0, NULL},
	{"at", "DateTime", NULL, 0, NULL},
	{"day", "Nullable(Date)", "at", SL_COLUMN_MILLISECONDS, NULL},
	{"when", "Nullable(DateTime)", "when|at", SL_COLUMN_EITHER_UNIT, NULL},
	{"whole", "Nullable(Int16)", "f|u", SL_COLUMN_CUT, NULL},
	{"text", "String", "f|object.f", 0, NULL},
	{"object", "String", NULL, SL_COLUMN_OBJECT, NULL},
	{"event", "String", "", 0, NULL},
	SL_END_OF_SINK_COLUMNS
};
static const struct sl_sink sink = SL_SINK_INIT(
	.name = "fuzz", .table = "fuzz", .columns = columns, .identity = "id",
	.partition_by = "toYYYYMM(at)", .time_column = "at");

static void check(bool ok)
{
	if (!ok)
		abort();
}

static struct batch *decode(const uint8_t *data, size_t size, struct writer *writer)
{
	char *body = memcpy(mem_alloc(size + 1), data, size);
	const struct bus_message message = { .tag = 1, .id = "message", .body = body, .len = size };
	struct batch *batch = batch_new(NULL);

	batch_add(batch, &message);
	mem_release(body);
	batch_decode(batch, writer);
	return batch;
}

static void check_batch(const struct batch *batch, const struct sink_table *table, struct buf *encoded)
{
	size_t rows = native_block_rows(batch->block);

	check(rows + batch->letter_count <= batch->events);
	for (size_t i = 0; i < rows; i++) {
		struct warehouse_text id;

		batch_identity(batch, table, i, &id);
		check(id.len > 0);
		check(batch->rows[i].state == ROW_OPEN && batch->rows[i].at + batch->rows[i].len <= batch->body.len);
	}
	for (size_t i = 0; i < batch->letter_count; i++)
		check(*batch->letters[i].reason != '\0' && *batch->letters[i].code != '\0');
	native_block_encode(batch->block, 0, rows, encoded);
}

static void try_sink(const struct sl_sink *one, const uint8_t *data, size_t size)
{
	struct error err = { .code = ERR_NONE };
	struct arena *arena = arena_new();
	struct writer writer = { .table = sink_table_new(one, "d", "t", arena, &err) };
	struct batch *first, *second;
	struct buf once, twice;

	check(writer.table != NULL);
	buf_init(&once);
	buf_init(&twice);
	writer.decoder = decoder_new(writer.table);
	first = decode(data, size, &writer);
	second = decode(data, size, &writer);
	check_batch(first, writer.table, &once);
	check_batch(second, writer.table, &twice);
	check(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	batch_free(&first);
	batch_free(&second);
	decoder_free(&writer.decoder);
	buf_fini(&once);
	buf_fini(&twice);
	arena_free(&arena);
}

/* Without the time of insertion, which may be another the second time. */
static void try_without_now(const struct sl_sink *one, const uint8_t *data, size_t size)
{
	struct sl_sink_column kept[COLUMNS_MAX];
	struct sl_sink copy = *one;
	size_t count = 0;

	copy.columns = kept;
	for (const struct sl_sink_column *column = one->columns; column->name != NULL; column++) {
		check(count + 1 < COLUMNS_MAX);
		if (!(column->flags & SL_COLUMN_NOW))
			kept[count++] = *column;
	}
	kept[count] = (struct sl_sink_column)SL_END_OF_SINK_COLUMNS;
	try_sink(&copy, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_sink(&sink, data, size);
	for (size_t i = 0; sluice_plugin_v1.sinks[i] != NULL; i++)
		try_without_now(sluice_plugin_v1.sinks[i], data, size);
	return 0;
}
