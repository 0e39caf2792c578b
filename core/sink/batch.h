/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages on their way into one insert per partition. A batch belongs to the
 * loop while it is filled and after it is resolved, to the sink's thread
 * during an attempt; never to both.
 */
#ifndef SLUICE_SINK_BATCH_H
#define SLUICE_SINK_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/backoff.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "bus/bus.h"
#include "loop/loop.h"
#include "warehouse/warehouse.h"

struct arena;
struct decoder;
struct native_block;
struct sink_table;

enum row_state {
	ROW_OPEN,	/* neither inserted nor refused */
	ROW_SETTLED,	/* in the table, or a repeat of one that is */
	ROW_REFUSED	/* refused for its content; becomes a letter */
};

struct batch_row {		/* one per row of the block */
	uint32_t message, index;	/* which event of which message */
	size_t at, len;			/* its JSON in body */
	int64_t partition;
	enum row_state state;
	bool suspect;			/* may be in the table already: look it up before inserting */
	int code;			/* ROW_REFUSED: the warehouse's code … */
	const char *reason;		/* … and text, in arena */
};

struct batch_message {
	uint64_t tag;
	const char *id, *headers, *problem;	/* headers and problem: may be NULL */
	size_t at, len;
	bool suspect, letter;
};

enum batch_outcome {
	BATCH_DONE,		/* every row is settled or a letter */
	BATCH_BUSY,		/* the warehouse asks to wait */
	BATCH_UNCLEAR,		/* some rows may have arrived: they are suspect now */
	BATCH_EARLY,		/* suspects that may not, or cannot, be looked up before wait_ms are over */
	BATCH_FAILED		/* the table's fault, or the server's */
};

struct batch_counts {
	uint64_t rows, inserts, errors, suspects, repeats;
};

struct batch {
	struct loop_job job;		/* for the attempt; first */
	struct list node;
	void *owner;
	struct arena *arena;
	struct buf body;		/* the messages, each followed by a NUL */
	struct batch_message *messages;
	size_t message_count, message_cap;
	uint64_t *tags;			/* of the messages */
	size_t events;			/* as far as the messages tell */
	bool suspect;			/* has rows that may have been inserted before */
	bool resolver;			/* came as suspects, to their one reader */
	int64_t taken_ms;		/* loop time: when its first message came */
	/*
	 * Wall clock: the latest time that its suspects wait from, given up by a
	 * consumer that ran beside this one; 0: the start, all by one before it.
	 */
	int64_t suspect_ms;
	int64_t heard_ms;		/* monotonic: since then every host has been heard of once; 0: not yet */
	int64_t not_before_ms;		/* loop time: no attempt earlier */

	struct native_block *block;	/* NULL until the first attempt decoded the messages, and after the last */
	struct batch_row *rows;
	size_t row_cap;
	struct bus_letter *letters;
	size_t letter_count, letter_cap;
	uint64_t accepted;		/* rows that the table has taken from this batch */

	/* of the last attempt */
	enum batch_outcome outcome;
	int64_t wait_ms;		/* BATCH_EARLY */
	struct error err;
	struct batch_counts counts;
};

struct batch *batch_new(void *owner);
void batch_free(struct batch **batch);
/* As new, out of any list, with the memory that it has. */
void batch_clear(struct batch *batch);
/* Copies the message. */
void batch_add(struct batch *batch, const struct bus_message *message);
/* Events of a message: as it says, else its lines. */
size_t batch_count_events(const struct bus_message *message);

/* A look-up that failed is tried again after so long, doubling. */
#define LOOKUP_FIRST_MS 1000
#define LOOKUP_CAP_MS 60000

/* What inserts: one per sink, used by its thread. */
struct writer {
	const struct sink_table *table;
	const char *url;		/* the warehouse's, for when wh is not open yet */
	struct warehouse *wh;		/* or NULL */
	struct decoder *decoder;
	const char *node;
	int64_t deadline_ms;
	enum warehouse_durability durability;
	uint64_t inserts;		/* the number in query ids */
	int64_t hold_ms;		/* how long suspects wait before they are looked up */
	bool away;			/* the last call got no answer from the warehouse */
	int64_t answered_ms;		/* monotonic time of its first answer after that; 0: it was never away */
	struct backoff lookup;		/* lookups fail: */
	int64_t lookup_after_ms;	/* monotonic time before which none is tried */

	/* Memory kept from one attempt to the next: getting it from the system costs more than filling it. */
	struct native_block *block;	/* empty; NULL: none, or a batch has it */
	struct buf data, identities;
	size_t kept_bytes;		/* of the largest batch that it has held */
};

/* Gives back what attempts have kept. Not during one; the writer may go on. */
void writer_shrink(struct writer *writer);

/* Takes note of whether the warehouse answered: err is NULL after success. */
void writer_heard(struct writer *writer, const struct error *err);

/*
 * Decodes (the first time), looks suspects up, inserts what is open, bisects
 * what is refused for its content. Sets outcome, err and counts; an attempt
 * that did not end in BATCH_DONE may be made again and goes on where it can.
 */
void batch_attempt(struct batch *batch, struct writer *writer);

/* --- shared by the files that make an attempt --- */
/* The identity of a complete row as text; bytes are borrowed from the block or in the arena. */
void batch_identity(const struct batch *batch, const struct sink_table *table, size_t row,
		    struct warehouse_text *text_r);
/* What names one event of a message: its letter's dedup_id. In the arena. */
const char *batch_event_name(struct batch *batch, size_t message, size_t index);
void batch_add_letter(struct batch *batch, const struct bus_letter *letter);
/* batch_decode.c: all messages into rows and letters. */
void batch_decode(struct batch *batch, struct writer *writer);
/*
 * batch_lookup.c: settles those suspect rows that the table has or that repeat
 * others. -1: cannot be asked now; sets outcome to BATCH_EARLY, and wait_ms.
 */
int batch_lookup(struct batch *batch, struct writer *writer, struct error *err);

#endif
