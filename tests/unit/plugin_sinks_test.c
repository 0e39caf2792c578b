/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks plugin is data: that it hangs together, what a message must have, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"
#include "json/json.h"
#include "sink/batch.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "sink_case.h"
#include "warehouse/native.h"

static const struct sl_sink *sink_named(const char *name)
{
	for (size_t i = 0; sluice_plugin_v1.sinks[i]; i++)
		if (strcmp(sluice_plugin_v1.sinks[i]->name, name) == 0)
			return sluice_plugin_v1.sinks[i];
	fail_msg("no sink %s", name);
	return NULL;
}

static const struct sl_sink_column *column_of(const struct sl_sink *sink, const char *name)
{
	for (const struct sl_sink_column *column = sink->columns; column->name; column++)
		if (strcmp(column->name, name) == 0)
			return column;
	fail_msg("%s has no column %s", sink->name, name);
	return NULL;
}

/* --- the declarations --- */

static void sinks_hang_together(void **state)
{
	(void)state;
	for (size_t i = 0; sluice_plugin_v1.sinks[i]; i++) {
		const struct sl_sink *sink = sluice_plugin_v1.sinks[i];
		const char *order = sink->order_by;

		column_of(sink, sink->identity);
		assert_string_equal(column_of(sink, sink->time_column)->type, "DateTime");
		assert_non_null(strstr(sink->partition_by, sink->time_column));
		assert_null(strstr(sink->partition_by, "flow"));
		for (size_t p = 0; sink->prefix[p]; p++) {
			column_of(sink, sink->prefix[p]);
			assert_ptr_equal(strstr(order, sink->prefix[p]), order);
			order += strlen(sink->prefix[p]) + (sink->prefix[p + 1] ? strlen(", ") : 0);
		}
		assert_string_equal(order, "");
		assert_int_equal(sink->exchange_type, SL_DIRECT);
		assert_string_equal(sink->table, sink->name);
		if (strcmp(sink->name, "trace_log_events") == 0)
			continue;
		assert_string_equal(sink->exchange, "beat.dx");
		assert_string_equal(sink->key, sink->name);
		assert_int_equal(strncmp(sink->queue, sink->name, strlen(sink->name)), 0);
		assert_string_equal(sink->queue + strlen(sink->name), "_q");
	}
}

static void traces_come_from_another_exchange(void **state)
{
	const struct sl_sink *sink = sink_named("trace_log_events");

	(void)state;
	assert_string_equal(sink->exchange, "identity.dx");
	assert_string_equal(sink->key, "trace_log");
	assert_string_equal(sink->queue, "trace_log");
	assert_string_equal(sink->identity, "id");
}

/* The members of the events that other producers send, all of which must be there. */
static void needed_members(void **state)
{
	static const struct {
		const char *sink, *members;
	} cases[] = {
		{"profile_log_events",
		 "event_id source platform profile_id handle event_timestamp metrics dimensions"},
		{"post_log_events",
		 "event_id source platform profile_id handle shortcode publish_time event_timestamp "
		 "metrics dimensions"},
		{"order_log_events",
		 "event_id source platform platform_order_id store event_timestamp metrics dimensions"},
		{"scrape_request_log_events",
		 "event_id scl_id platform flow params status priority reason picked_at "
		 "expires_at event_timestamp"},
		{"post_activity_log_events",
		 "event_id source activity_type platform actor_profile_id shortcode publish_time "
		 "metrics dimensions event_timestamp"},
		{"sentiment_log_events",
		 "event_id source platform shortcode comment_id comment sentiment score "
		 "metrics dimensions event_timestamp"},
		{"profile_relationship_log_events",
		 "event_id source relationship_type platform source_profile_id target_profile_id source_metrics "
		 "target_metrics source_dimensions target_dimensions event_timestamp"},
		{"yt_activity_log_events",
		 "event_id activity_id activity_type source platform actor_channel_id metrics dimensions "
		 "event_timestamp"},
		{"yt_profile_relationship_log_events",
		 "event_id relationship_id relationship_type source platform source_channel_id "
		 "target_channel_id subscribed_on source_metrics target_metrics source_dimensions "
		 "target_dimensions event_timestamp"},
		{"trace_log_events", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct sl_sink *sink = sink_named(cases[i].sink);
		char found[512] = "";

		for (const struct sl_sink_column *column = sink->columns; column->name; column++) {
			if (!(column->flags & SL_COLUMN_NEEDED)) {
				assert_int_equal(column->flags == SL_COLUMN_NOW,
						 strcmp(column->name, "insert_timestamp") == 0);
				continue;
			}
			snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s",
				 *found ? " " : "", column->name);
		}
		assert_string_equal(found, cases[i].members);
	}
}

/* --- messages --- */

struct bench {			/* what decodes for one sink */
	struct arena *arena;
	struct writer writer;
};

static void bench_open(struct bench *bench, const struct sl_sink *sink)
{
	struct error err = { .code = ERR_NONE };

	bench->arena = arena_new();
	bench->writer.table = sink_table_new(sink, "d", sink->table, bench->arena, &err);
	if (bench->writer.table == NULL)
		fail_msg("%s", err.text);
	bench->writer.decoder = decoder_new(bench->writer.table);
}

static void bench_close(struct bench *bench)
{
	decoder_free(&bench->writer.decoder);
	arena_free(&bench->arena);
}

/* No function reads a float's cell back: it follows its column's header in the block of that row. */
static double read_float(const struct native_block *block, size_t column, size_t row)
{
	const char *name = native_block_name(block, column), *at;
	struct buf out, header;
	double value;

	buf_init(&out);
	buf_init(&header);
	native_block_encode(block, row, row + 1, &out);
	buf_printf(&header, "%c%s%cFloat64", (int)strlen(name), name, (int)strlen("Float64"));
	at = memmem(out.data, out.len, header.data, header.len);
	assert_non_null(at);
	memcpy(&value, at + header.len, sizeof(value));
	buf_fini(&header);
	buf_fini(&out);
	return value;
}

static void add_cell(const struct native_block *block, size_t column, size_t row, struct buf *out)
{
	const struct native_type *type = native_block_type(block, column);
	size_t len;

	if (native_cell_is_null(block, column, row)) {
		buf_adds(out, "\\N");
	} else if (type->kind == NATIVE_STRING) {
		const char *text = native_cell_string(block, column, row, &len);

		buf_add(out, text, len);
	} else if (type->kind == NATIVE_FLOAT) {
		buf_printf(out, "%g", read_float(block, column, row));
	} else if (type->kind == NATIVE_UINT) {
		buf_printf(out, "%" PRIu64, (uint64_t)native_cell_int(block, column, row));
	} else {
		buf_printf(out, "%" PRId64, native_cell_int(block, column, row));
	}
}

/* As in tests/sinks/NAME/rows. */
static void print_rows(const struct bench *bench, const struct native_block *block, struct buf *out)
{
	for (size_t row = 0; row < native_block_rows(block); row++) {
		for (size_t i = 0; i < native_block_columns(block); i++) {
			if (bench->writer.table->columns[i].flags & SL_COLUMN_NOW)
				continue;
			if (i > 0)
				buf_addc(out, '|');
			add_cell(block, i, row, out);
		}
		buf_addc(out, '\n');
	}
}

static void messages_become_rows(void **state)
{
	(void)state;
	for (size_t i = 0; sluice_plugin_v1.sinks[i]; i++) {
		const struct sl_sink *sink = sluice_plugin_v1.sinks[i];
		struct batch *batch = sink_case_batch(sink->name, false);
		struct buf expected, found;
		struct bench bench = { 0 };

		buf_init(&expected);
		buf_init(&found);
		bench_open(&bench, sink);
		batch_decode(batch, &bench.writer);
		if (batch->letter_count > 0)
			fail_msg("%s: %s", sink->name, batch->letters[0].reason);
		print_rows(&bench, batch->block, &found);
		sink_case_read(sink->name, "rows", &expected);
		assert_string_equal(found.data, expected.data);
		batch_free(&batch);
		bench_close(&bench);
		buf_fini(&found);
		buf_fini(&expected);
	}
}

/* The object's JSON without one of its members. */
static void print_without(const struct json *object, const struct json *without, struct buf *out)
{
	const char *comma = "{";

	for (const struct json *member = json_first(object); member; member = json_next(member)) {
		if (member == without)
			continue;
		buf_printf(out, "%s\"%s\":", comma, json_name(member));
		json_print(member, out);
		comma = ",";
	}
	buf_addc(out, '}');
}

/* One message; the batch it became. */
static struct batch *decode(struct bench *bench, const char *text)
{
	struct batch *batch = batch_new(NULL);

	batch_add(batch, &(struct bus_message){ .tag = 1, .id = "m", .body = text, .len = strlen(text) });
	batch_decode(batch, &bench->writer);
	return batch;
}

static void check_without(struct bench *bench, const char *name, const char *text)
{
	const struct sl_sink *sink = bench->writer.table->sink;
	const struct sl_sink_column *column = sink->columns;
	struct batch *batch = decode(bench, text);
	char reason[128];

	while (column->name && (strcmp(column->name, name) != 0 || !(column->flags & SL_COLUMN_NEEDED)))
		column++;
	assert_int_equal(batch->letter_count, column->name ? 1 : 0);
	assert_int_equal(native_block_rows(batch->block), column->name ? 0 : 1);
	if (column->name) {
		str_format(reason, sizeof(reason), "the event has no %s", name);
		assert_string_equal(batch->letters[0].reason, reason);
		assert_string_equal(batch->letters[0].code, "column");
		assert_string_equal(batch->letters[0].dedup_id, "m/0");
	}
	batch_free(&batch);
}

static void missing_members_are_named(void **state)
{
	struct buf original, text;

	(void)state;
	buf_init(&original);
	buf_init(&text);
	for (size_t i = 0; sluice_plugin_v1.sinks[i]; i++) {
		const struct sl_sink *sink = sluice_plugin_v1.sinks[i];
		struct bench bench = { 0 };
		struct json_doc *doc;

		bench_open(&bench, sink);
		buf_clear(&original);
		sink_case_read(sink->name, "original.json", &original);
		doc = json_parse(original.data, original.len, NULL);
		assert_true(json_count(json_root(doc)) >= 8);
		for (const struct json *one = json_first(json_root(doc)); one; one = json_next(one)) {
			buf_clear(&text);
			print_without(json_root(doc), one, &text);
			check_without(&bench, json_name(one), text.data);
		}
		json_doc_free(&doc);
		bench_close(&bench);
	}
	buf_fini(&text);
	buf_fini(&original);
}

/* What names no event gets a name from the message: the same whenever it is read. */
static void traces_without_identity_get_one(void **state)
{
	static const char *const without[] = {
		"{}", "{\"method\":\"GET\"}", "{\"id\":null}", "{\"id\":\"\"}", "{\"id\":true}", "{\"id\":{\"a\":1}}"
	};
	struct bench bench = { 0 };
	char expected[UUID_TEXT_SIZE];

	(void)state;
	bench_open(&bench, sink_named("trace_log_events"));
	uuid_from(expected, "m/0", strlen("m/0"));
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		struct batch *batch = decode(&bench, without[i]);
		struct warehouse_text id;

		assert_int_equal(batch->letter_count, 0);
		batch_identity(batch, bench.writer.table, 0, &id);
		assert_int_equal(id.len, strlen(expected));
		assert_memory_equal(id.bytes, expected, id.len);
		batch_free(&batch);
	}
	bench_close(&bench);
}

/* Among good events of one message, what cannot be a row is set aside alone. */
static void bad_events_are_set_aside(void **state)
{
	struct bench bench = { 0 };
	struct batch *batch;

	(void)state;
	bench_open(&bench, sink_named("trace_log_events"));
	batch = decode(&bench, "{\"id\":\"a\"}\n[1]\n{\"id\":\"b\"\n{\"id\":\"c\"}\n\"text\"\n");
	assert_int_equal(native_block_rows(batch->block), 2);
	assert_int_equal(batch->letter_count, 3);
	for (size_t i = 0; i < batch->letter_count; i++)
		assert_string_equal(batch->letters[i].code, "json");
	assert_string_equal(batch->letters[0].reason, "the event is not a JSON object");
	assert_non_null(strstr(batch->letters[1].reason, "invalid JSON: ends at byte 9"));
	assert_string_equal(batch->letters[2].reason, "the event is not a JSON object");
	batch_free(&batch);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sinks_hang_together),
		cmocka_unit_test(traces_come_from_another_exchange),
		cmocka_unit_test(needed_members),
		cmocka_unit_test(messages_become_rows),
		cmocka_unit_test(missing_members_are_named),
		cmocka_unit_test(traces_without_identity_get_one),
		cmocka_unit_test(bad_events_are_set_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
