/* SPDX-License-Identifier: Apache-2.0 */
/* Events into columns. One thread owns a decoder: the sink's. */
#ifndef SLUICE_SINK_DECODE_H
#define SLUICE_SINK_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;
struct decoder;
struct native_block;
struct sink_table;

struct decoder *decoder_new(const struct sink_table *table);	/* table: borrowed */
void decoder_free(struct decoder **decoder);

/* An event's place: what its identity derives from when it has none. */
struct decode_event {
	const char *json;	/* one object */
	size_t len;
	const char *message_id;
	size_t index;		/* among the message's events */
	bool letter;		/* message_id is not the message's but the event's: see bus_message */
	int64_t now_s;		/* the time of insertion */
};

/*
 * What names an event without an identity, in the arena: the same whenever its
 * message is read, and when it is sent again after it was a dead letter.
 */
const char *decode_event_name(struct arena *arena, const struct decode_event *event);
/*
 * Appends the event as one row to block (made by sink_table_block). -1 when it
 * cannot be one: err says why, *code_r ("json", "column", "transform") in a
 * word, and the block is as it was.
 */
int decoder_row(struct decoder *decoder, struct native_block *block, const struct decode_event *event,
		const char **code_r, struct error *err);

/* Puts a text into the open row's column, converted to the column's type. ERR_INPUT: it has no place there. */
int decode_text(struct native_block *block, size_t column, const char *text, size_t len, struct error *err);

#endif
