/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message: every event becomes one row or one letter with a
 * reason, twice the same, each row with an identity. See json_fuzz.c.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/sink.h>

#include "base/arena.h"
#include "base/buf.h"
#include "sink/batch.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "warehouse/native.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct sl_sink_column columns[] = {
	{"id", "String", NULL, 0, NULL},
	{"n", "Nullable(Int32)", NULL, SL_COLUMN_NEEDED, NULL},
	{"u", "UInt64", "u|a.b", 0, "7"},
	{"f", "Float32", NULL, 0, NULL},
	{"yes", "Bool", NULL, 0, NULL},
	{"at", "DateTime", NULL, 0, NULL},
	{"day", "Nullable(Date)", "at", SL_COLUMN_MILLISECONDS, NULL},
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = { .code = ERR_NONE };
	struct arena *arena = arena_new();
	struct writer writer = { .table = sink_table_new(&sink, "d", "t", arena, &err) };
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
	return 0;
}
