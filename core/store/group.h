/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a group of tasks writes, made ready for any driver: outbox rows merged
 * per queue, upserts merged per natural key in an order that two groups cannot
 * deadlock in, values checked against their columns' types. No I/O; the thread
 * that owns the structs.
 */
#ifndef SLUICE_STORE_GROUP_H
#define SLUICE_STORE_GROUP_H

#include "base/buf.h"
#include "store/store.h"

struct arena;

/* --- outbox rows being built --- */
struct group_row {
	char *queue;			/* owned */
	struct buf payload;		/* newline-separated, no newline at the end, no U+0000 */
	struct buf packed;		/* after group_outbox_end: an LZ4 frame of it and a newline; empty: it goes as it is */
	uint32_t events;
};
struct group_outbox {
	struct group_row *rows;
	size_t count, cap;
	size_t max_bytes;
	uint32_t max_events;
	bool packs;
};
void group_outbox_init(struct group_outbox *outbox, const struct store_options *options);
void group_outbox_fini(struct group_outbox *outbox);
/*
 * Appends events to the open row of queue, or to a new one when they would
 * make it too large; a piece larger than a row is divided between its lines.
 */
void group_outbox_add(struct group_outbox *outbox, const char *queue, const char *payload, size_t len,
		      uint32_t events);
/* Nothing more is added: packs what is to be packed. */
void group_outbox_end(struct group_outbox *outbox);

/* --- upserts --- */
/*
 * The upserts of all members that are not lost or refused, one per (table,
 * key), ordered by (table, key); append-only rows one by one. Values are
 * checked and normalised: integers, numbers, true/false as 1/0, JSON, times;
 * text that is not UTF-8 or a value of the wrong type is ERR_CONTENT naming
 * table, column and value. Columns that a rule leaves alone are NULL. All
 * results in the arena; texts are borrowed from the members where unchanged.
 */
int group_upserts(struct arena *arena, struct store_commit *const *members, size_t count,
		  struct store_upsert **upserts_r, size_t *upsert_count_r, struct error *err);

/* Whether upserts bind column themselves: the key and the stamps are the store's. */
bool group_is_bound(const struct store_table *table, const struct store_column *column);
/* Appends " ON CONFLICT (key) DO UPDATE SET …" by the columns' rules; nothing for an append-only table. */
void group_conflict_sql(struct buf *sql, const struct store_table *table);

/* text without U+0000: itself, or a copy in the arena where each has become U+FFFD. *len is updated. */
const char *group_clean(struct arena *arena, const char *text, size_t *len);
/* JSON text without escaped U+0000: itself or a copy in the arena. */
const char *group_clean_json(struct arena *arena, const char *json);

#endif
