/* SPDX-License-Identifier: Apache-2.0 */
/* Outbox rows into messages: merged by place up to relay.batch, never a row of redo with another. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "conf/model.h"
#include "log/log.h"
#include "relay/internal.h"

/* A message being filled. */
struct filling {
	struct lane *lane;
	parcel_fn *made;
	bool redo;
	struct buf body;
	uint32_t events;
	size_t from, to;		/* rows */
	size_t line;			/* of row from: where the message begins */
	bool packed;			/* body is LZ4 frames … */
	size_t bytes;			/* … of so many bytes */
};

/* Packed ones of a queue together, for a message is packed as a whole or not. */
static int compare_rows(const void *left, const void *right)
{
	const struct store_outbox_row *a = left, *b = right;
	int order = strcmp(a->queue, b->queue);

	if (order == 0)
		order = b->packed - a->packed;
	return order != 0 ? order : (a->id > b->id) - (a->id < b->id);
}

static void flush(struct filling *filling)
{
	struct lane *lane = filling->lane;
	const struct store_outbox_row *first = &lane->rows[filling->from];
	struct bus_place place;
	struct parcel *parcel;

	if (filling->events == 0)
		return;
	place = bus_address_read(lane->arena, first->queue);
	parcel = arena_alloc(lane->arena, sizeof(*parcel));
	parcel->lane = lane;
	parcel->from = filling->from;
	parcel->to = filling->to;
	parcel->line = filling->line;
	parcel->bytes = filling->bytes;
	list_init(&parcel->node);
	parcel->message = (struct bus_outgoing){
		.exchange = place.exchange,
		.key = place.key,
		.body = arena_strndup(lane->arena, filling->body.data, filling->body.len),
		.len = filling->body.len,
		.packed = filling->packed,
		.events = filling->events,
		.id = arena_printf(lane->arena, "%s:%" PRId64 ":%zu", store_id(lane->relay->store), first->id,
				   filling->line),
		/* A direct: reader may have inserted it and not deleted it; a dead letter that is sent again too. */
		.redo = filling->redo || place.queue || first->headers != NULL,
		.more = first->headers,
		.user = parcel,
		.until_ms = &lane->relay->until_ms
	};
	buf_clear(&filling->body);
	filling->events = 0;
	filling->bytes = 0;
	filling->made(lane, parcel);
}

/* A piece of events that follows those that are in the message, which is sent when it has no room. */
static void make_room(struct filling *filling, size_t row, size_t line, bool packed, size_t bytes, uint32_t events)
{
	const struct conf_model *conf = filling->lane->relay->conf;

	if (filling->events > 0 &&
	    (filling->packed != packed || filling->events + events > (uint64_t)conf->relay_events ||
	     filling->bytes + 1 + bytes > (size_t)conf->relay_bytes))
		flush(filling);
	if (filling->events == 0) {
		filling->from = row;
		filling->line = line;
		filling->packed = packed;
	}
}

static void count(struct filling *filling, size_t row, size_t bytes, uint32_t events)
{
	filling->bytes += bytes + (filling->events > 0);		/* the newline between */
	filling->events += events;
	filling->to = row + 1;
}

/* A piece of a row: whole lines. */
static void add(struct filling *filling, size_t row, size_t line, const char *piece, size_t len, uint32_t events)
{
	make_room(filling, row, line, false, len, events);
	if (filling->events > 0)
		buf_addc(&filling->body, '\n');
	buf_add(&filling->body, piece, len);
	count(filling, row, len, events);
}

/* A whole row: frames are joined by putting one after the other. */
static void add_packed(struct filling *filling, size_t index)
{
	const struct store_outbox_row *row = &filling->lane->rows[index];

	make_room(filling, index, 0, true, row->bytes, row->events);
	buf_add(&filling->body, row->payload, row->payload_len);
	count(filling, index, row->bytes, row->events);
}

static void add_lines(struct filling *filling, size_t index)
{
	const struct store_outbox_row *row = &filling->lane->rows[index];
	struct error err = {.code = ERR_NONE};
	const char *at, *end;
	size_t size;

	if (store_outbox_text(row, filling->lane->arena, &at, &size, &err) < 0) {
		/* Whoever gets it cannot read it either, and sets it aside with the reason. */
		log_error("an outbox row cannot be read id=%" PRId64 ": %s", row->id, err.text);
		add_packed(filling, index);
		return;
	}
	end = at + size;
	for (size_t line = 0; at < end; line++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline != NULL ? newline : end) - at);

		add(filling, index, line, at, len, 1);
		at += len + 1;
	}
}

static void add_row(struct filling *filling, size_t index)
{
	const struct store_outbox_row *row = &filling->lane->rows[index];
	const struct conf_model *conf = filling->lane->relay->conf;

	/* What waits may be packed by another node's settings, or by earlier ones. */
	if (row->events > (uint64_t)conf->relay_events || row->bytes > (size_t)conf->relay_bytes ||
	    (row->packed && conf->packing == CONF_PACK_NOT))
		add_lines(filling, index);
	else if (row->packed)
		add_packed(filling, index);
	else
		add(filling, index, 0, row->payload, row->payload_len, row->events);
}

/* Headers are of one message: a row that has some goes by itself. */
static bool stands_alone(const struct store_outbox_row *before, const struct store_outbox_row *row)
{
	return strcmp(before->queue, row->queue) != 0 || before->headers != NULL || row->headers != NULL;
}

void compose(struct lane *lane, bool redo, parcel_fn *made)
{
	struct filling filling = {.lane = lane, .made = made, .redo = redo};

	qsort(lane->rows, lane->row_count, sizeof(*lane->rows), compare_rows);
	buf_init(&filling.body);
	for (size_t i = 0; i < lane->row_count; i++) {
		if (i > 0 && (redo || stands_alone(&lane->rows[i - 1], &lane->rows[i])))
			flush(&filling);
		add_row(&filling, i);
	}
	flush(&filling);
	buf_fini(&filling.body);
}

/* By row and line: the same whether rows were merged into the message or sent again one by one. */
static void add_letter(struct parcel *parcel, const struct store_outbox_row *row, size_t line, const char *event,
		       size_t len, const char *reason)
{
	struct lane *lane = parcel->lane;

	parcel->letters[parcel->letter_count++] = (struct store_dead){
		.queue = row->queue, .payload = event, .payload_len = len, .reason = reason, .code = "unroutable",
		.dedup_id = arena_printf(lane->arena, "%s:%" PRId64 "/%zu", store_id(lane->relay->store), row->id, line)
	};
}

void compose_letters(struct parcel *parcel, const char *reason)
{
	struct arena *arena = parcel->lane->arena;
	const struct bus_outgoing *message = &parcel->message;
	const struct store_outbox_row body = {.payload = message->body, .payload_len = message->len,
					      .packed = message->packed, .bytes = parcel->bytes};
	const struct store_outbox_row *row = &parcel->lane->rows[parcel->from];
	const char *at, *end, *text = arena_strdup(arena, reason != NULL ? reason : "no queue takes it");
	size_t line = parcel->line, size;
	struct error err;

	parcel->letters = arena_alloc(arena, message->events * sizeof(*parcel->letters));
	if (store_outbox_text(&body, arena, &at, &size, &err) < 0) {
		add_letter(parcel, row, line, at, size, text);		/* damaged: what there is */
		return;
	}
	end = at + size;
	while (at < end && parcel->letter_count < message->events) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline != NULL ? newline : end) - at);

		add_letter(parcel, row, line, at, len, text);
		at += len + 1;
		if (++line == row->events) {
			row++;
			line = 0;
		}
	}
}
