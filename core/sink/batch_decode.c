/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the cut of messages into events, and of events into rows and letters. Runs in the sink's thread. */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "json/json.h"
#include "sink/batch.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "warehouse/native.h"

static void add_row(struct batch *batch, const struct sink_table *table, size_t message,
		    const struct decode_event *event)
{
	size_t row = native_block_rows(batch->block) - 1;

	if (row == batch->row_cap) {
		batch->row_cap = batch->row_cap == 0 ? 256 : batch->row_cap * 2;
		batch->rows = mem_realloc(batch->rows, batch->row_cap * sizeof(*batch->rows));
	}
	batch->rows[row] = (struct batch_row){
		.message = (uint32_t)message, .index = (uint32_t)event->index,
		.at = (size_t)(event->json - batch->body.data), .len = event->len,
		.partition = sink_table_partition(table, batch->block, row),
		.suspect = batch->messages[message].suspect
	};
}

static void decode_event(struct batch *batch, struct writer *writer, size_t message,
			 const struct decode_event *event)
{
	struct error err = { .code = ERR_NONE };
	const char *code = NULL;

	if (decoder_row(writer->decoder, batch->block, event, &code, &err) == 0) {
		add_row(batch, writer->table, message, event);
		return;
	}
	batch_add_letter(batch, &(struct bus_letter){
		.payload = event->json, .len = event->len, .code = code,
		.reason = arena_strdup(batch->arena, err.text),
		.dedup_id = batch_event_name(batch, message, event->index), .headers = batch->messages[message].headers
	});
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr(" \t\r", text[i]) == NULL)
			return false;
	return true;
}

/*
 * One object that is written over several lines, as other producers may; or a
 * dead letter that was sent again and does not begin with one: it was set aside
 * whole, and is again.
 */
static bool is_one_document(const char *body, size_t len, bool letter)
{
	const char *newline = memchr(body, '\n', len);
	struct json_doc *line, *whole;
	bool one;

	if (newline == NULL)
		return true;
	line = json_parse(body, (size_t)(newline - body), NULL);
	whole = line == NULL ? json_parse(body, len, NULL) : NULL;
	one = whole != NULL || (line == NULL && letter);
	json_doc_free(&line);
	json_doc_free(&whole);
	return one;
}

static void decode_message(struct batch *batch, struct writer *writer, size_t message, int64_t now_s)
{
	const struct batch_message *from = &batch->messages[message];
	const char *at = batch->body.data + from->at, *end = at + from->len;
	struct decode_event event = { .message_id = from->id, .letter = from->letter, .now_s = now_s };

	if (from->problem != NULL) {
		batch_add_letter(batch, &(struct bus_letter){
			.payload = at, .len = from->len, .code = "message", .reason = from->problem,
			.dedup_id = batch_event_name(batch, message, 0), .headers = from->headers
		});
		return;
	}
	if (is_one_document(at, from->len, from->letter)) {
		event.json = at;
		event.len = from->len;
		decode_event(batch, writer, message, &event);
		return;
	}
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline != NULL ? newline : end;

		event.json = at;
		event.len = (size_t)(stop - at);
		if (!is_blank(at, event.len)) {
			decode_event(batch, writer, message, &event);
			event.index++;
		}
		at = stop + 1;
	}
}

void batch_decode(struct batch *batch, struct writer *writer)
{
	int64_t now_s = clock_wall_ms() / 1000;

	batch->block = writer->block != NULL ? writer->block : sink_table_block(writer->table);
	writer->block = NULL;
	for (size_t i = 0; i < batch->message_count; i++)
		decode_message(batch, writer, i, now_s);
}
