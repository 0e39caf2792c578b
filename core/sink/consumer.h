/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sink's way from its queue into its table. The loop's thread owns the bus
 * reader, the filling batch and the breaker; a thread of its own decodes and
 * inserts, one batch at a time. Messages are acknowledged when all their rows
 * are in the table or parked as dead letters.
 *
 * At most two batches are held, of limits.batch_rows and batch_bytes each, and
 * one read of the bus beyond; with what an insert makes of a batch the memory
 * stays below four times batch_bytes.
 */
#ifndef SLUICE_SINK_CONSUMER_H
#define SLUICE_SINK_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "warehouse/warehouse.h"

struct consumer;
struct loop;
struct sink_table;
struct store;

struct consumer_options {	/* what is pointed to is borrowed for the consumer's life */
	struct loop *loop;
	struct store *store;
	const char *bus;		/* URL */
	const char *queue;
	const char *exchange, *exchange_type, *key;	/* what a broker binds the queue to; NULL: nothing */
	const char *state;		/* folder that outlives the process; NULL: none */
	unsigned int number;		/* which of the queue's consumers in this process */
	void (*lost)(void *user);	/* another node reads the queue: this process must not go on */
	void *user;
	const struct sink_table *table;
	const char *warehouse;		/* URL, for when wh is NULL: the sink's thread opens it with the first batch */
	struct warehouse *wh;		/* becomes the consumer's, also when it cannot be made; or NULL */
	const char *node;		/* for query ids */
	size_t batch_rows, batch_bytes;
	int64_t batch_age_ms;
	size_t unacked_messages;	/* 0: as many as the bus lets */
	size_t body_max;		/* of a message; 0: the bus's default */
	int64_t deadline_ms;		/* of one insert */
	enum warehouse_durability durability;
	int64_t suspect_wait_ms;	/* before an identity is looked up */
	unsigned int breaker_failures;
	int64_t breaker_first_ms, breaker_cap_ms;
};

struct consumer_stats {
	size_t rows, bytes;		/* held: being filled, inserted or parked */
	size_t rows_peak;
	bool paused;			/* takes nothing from the bus */
	bool open;			/* the breaker: the table does not take rows */
	uint64_t attempts;
};

struct consumer *consumer_new(const struct consumer_options *options, struct error *err);
/* Something was written to the queue: look now. */
void consumer_nudge(struct consumer *consumer);
/*
 * Takes nothing more, inserts and acknowledges what it holds, then calls back
 * from the loop. What cannot be inserted at the first try stays in the queue.
 */
typedef void consumer_done_fn(void *user);
void consumer_drain(struct consumer *consumer, consumer_done_fn *done, void *user);
void consumer_stats(const struct consumer *consumer, struct consumer_stats *stats_r);
/* Waits for the insert under way. What is not acknowledged stays in the queue. NULL tolerated. */
void consumer_free(struct consumer **consumer);

#endif
