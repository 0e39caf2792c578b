/* SPDX-License-Identifier: Apache-2.0 */
/* Events into columns. One thread owns a decoder: the sink's. */
#ifndef SLUICE_SINK_DECODE_H
#define SLUICE_SINK_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

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
	int64_t now_s;		/* the time of insertion */
};

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
