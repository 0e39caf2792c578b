/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries on their way from the thread that receives them to the loop, and
 * the memory they travel in: it goes back and forth, for getting it from the
 * system costs more than filling it.
 */
#ifndef SLUICE_BUS_AMQP_BATCH_H
#define SLUICE_BUS_AMQP_BATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"

#define AMQP_BATCH_MESSAGES 512

struct amqp_delivery {
	uint64_t tag;		/* the channel's */
	bool side;		/* came over AMQP_SIDE */
	bool suspect;
	bool letter;		/* see bus_message, as for headers */
	/* In a batch: in its texts, from amqp_batch_end on. headers and problem may be NULL. */
	const char *id, *body, *headers, *problem;
	size_t id_at, body_at, headers_at, problem_at;	/* the batch's own: where in its texts */
	size_t len;
	size_t bytes;		/* of body and headers */
	uint32_t events;
	int64_t created_ms, suspect_ms;
};

struct amqp_batch {		/* of one connection; belongs to one thread at a time */
	struct list node;
	uint32_t generation;
	size_t count, bytes;
	struct buf texts;
	struct amqp_delivery items[AMQP_BATCH_MESSAGES];
};

struct amqp_spares {		/* any thread */
	pthread_mutex_t mutex;
	struct list batches;
	size_t count;
	int64_t used_ms;	/* monotonic: when one was last asked for */
};

/* Copies delivery and what it points to; without an id it gets the body's hash. Not when the batch is full. */
void amqp_batch_add(struct amqp_batch *batch, const struct amqp_delivery *delivery);
bool amqp_batch_full(const struct amqp_batch *batch);
/* Nothing more is added. */
void amqp_batch_end(struct amqp_batch *batch);
void amqp_batch_free(struct amqp_batch *batch);		/* NULL tolerated */
void amqp_batches_free(struct list *batches);

void amqp_spares_init(struct amqp_spares *spares);
void amqp_spares_fini(struct amqp_spares *spares);
/* An empty batch. */
struct amqp_batch *amqp_spares_get(struct amqp_spares *spares, uint32_t generation);
/* Takes a batch back that is done with. */
void amqp_spares_put(struct amqp_spares *spares, struct amqp_batch *batch);
/* Now and then: frees what nobody has asked for in a while. */
void amqp_spares_rest(struct amqp_spares *spares);

#endif
