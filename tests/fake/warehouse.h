/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A warehouse in memory, scheme fake:, whose inserts fail as a test says.
 * Rows are told by the columns id and at of each block. Any thread.
 */
#ifndef TESTS_FAKE_WAREHOUSE_H
#define TESTS_FAKE_WAREHOUSE_H

#include <stdbool.h>
#include <stddef.h>

/* Registers the driver; once, before any handle. */
void fake_warehouse_add(void);
/* Forgets tables and faults. */
void fake_warehouse_reset(void);

enum fake_fault {
	FAKE_NONE,
	FAKE_IO,		/* fails, nothing arrived */
	FAKE_BUSY,		/* too many parts */
	FAKE_CONTENT,		/* refuses every row */
	FAKE_MISSING,		/* there is no such table, until somebody makes it */
	FAKE_UNCLEAR_STORED,	/* no answer, but the rows are there */
	FAKE_UNCLEAR_LOST	/* no answer, and they are not */
};
/* The next times inserts into table fail so; times < 0: until said otherwise. */
void fake_warehouse_fail(const char *table, enum fake_fault fault, int times);
/* Refuses blocks that hold a row whose id contains text. NULL: none. */
void fake_warehouse_refuse_ids(const char *text);
/* From now on handles are of a server, where INSERTs outlive their process, and so many of them run. */
void fake_warehouse_orphans(size_t running);
/* How long they have been running; told to stop they do. */
void fake_warehouse_orphan_age(int ms);
/* Rows are taken, but what is asked about tables and inserts gets no answer: one host of several is away. */
void fake_warehouse_deaf(bool deaf);
/* The last look-up, or "". The next one changes it. */
const char *fake_warehouse_question(void);
/* Nothing is answered, neither to handles being opened. */
void fake_warehouse_away(bool away);
/* Closed: inserts wait before they do anything. */
void fake_warehouse_gate(bool closed);
/* Inserts that wait at the gate. */
size_t fake_warehouse_waiting(void);
/* Puts a row into table as if it had been inserted. */
void fake_warehouse_put(const char *table, const char *id);
/* How often id is in table. */
size_t fake_warehouse_has(const char *table, const char *id);
size_t fake_warehouse_rows(const char *table);
/* Inserts that were tried, and that were taken; identities that were looked up. */
size_t fake_warehouse_tries(const char *table);
size_t fake_warehouse_inserts(const char *table);
size_t fake_warehouse_lookups(void);
/* Taken inserts whose rows are not of one month. */
size_t fake_warehouse_mixed(void);
/* Taken inserts whose rows are not in the order of at and id. */
size_t fake_warehouse_unsorted(void);
/* The dedup tokens of taken inserts are all different. */
bool fake_warehouse_tokens_differ(void);
/* What statements other than the driver's own get as their output; NULL: they fail. */
void fake_warehouse_answer(const char *bytes, size_t len);

#endif
