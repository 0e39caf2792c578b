/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving half of the amqp: reader: a thread that owns a connection with
 * two channels, AMQP_MAIN consuming the queue and AMQP_SIDE its suspects. It
 * hands deliveries to the loop and takes acknowledgements from it; which
 * message means what is the loop's business.
 */
#ifndef SLUICE_BUS_AMQP_CONSUMER_H
#define SLUICE_BUS_AMQP_CONSUMER_H

#include "base/buf.h"
#include "base/list.h"
#include "bus/amqp.h"
#include "bus/amqp_batch.h"

/* An acknowledgement on its way to the broker. */
struct amqp_verdict {
	uint32_t generation;
	bool side;
	bool multiple;		/* and everything before it */
	bool again;		/* give it back to the queue instead */
	uint64_t tag;
};

struct amqp_consumer {
	struct amqp_link link;
	struct bus_queue queue;		/* borrowed */
	size_t max_messages, max_bytes, body_max;
	struct loop_queue *back;	/* posted when there is something in done, or the connection changed */
	_Atomic size_t held, held_bytes;	/* delivered, not resolved: the thread adds, the loop subtracts */
	_Atomic uint32_t generation;	/* of the connection there is; counts up when one is lost */
	_Atomic uint64_t lost;		/* connections */
	bool distrust;			/* all there is at the first connection is suspect */
	bool ended_well;		/* set by the thread last: the broker knows what became of every message */
	struct amqp_spares spares;	/* of batches */

	pthread_mutex_t mutex;		/* guards what follows */
	struct list done;		/* batches for the loop */
	struct amqp_verdict *verdicts;
	size_t verdict_count, verdict_cap;
	bool paused;
	bool cancelled;			/* nothing more is to be consumed */
	unsigned int settle_asked, settled;	/* counts up: everything told before is known to the broker */

	/* the thread's */
	struct amqp_verdict *telling;
	size_t telling_cap;
	struct amqp_batch *batch;	/* being filled */
	bool lingered;			/* waited for it to fill */
	struct {			/* a message being read, per channel */
		bool open;
		struct amqp_delivery delivery;
		char problem[AMQP_PROBLEM_SIZE];
		struct buf body, headers;
		uint64_t left;
	} reading[2];
	struct buf unpacked;		/* body of the last packed message */
	size_t surplus;			/* bytes that came over AMQP_MAIN since there was no room, as they travelled */
	uint64_t suspects_left;		/* the next so many deliveries of AMQP_MAIN are suspect … */
	int64_t suspect_until_ms;	/* … and those published before (wall clock) */
	int64_t resolver_ms;		/* wall clock: the first delivery on AMQP_SIDE of this connection; 0: none */
	enum { CONSUMING, ENDING, ENDED, BEGINNING } consuming;	/* of AMQP_MAIN: asked for or so */
	unsigned int consumed;		/* how often that began on this connection: names the consumer */
	int64_t held_up_ms;		/* monotonic: paused or full since; 0: neither */
	unsigned int settling, answers;	/* which settle is under way, and how many answers it still needs */
};

/* url: whole. queue is borrowed until amqp_consumer_fini. on_news runs on the loop. */
int amqp_consumer_init(struct amqp_consumer *consumer, struct loop *loop, const char *url, const struct bus_queue *queue,
		       size_t max_messages, size_t max_bytes, size_t body_max, bool distrust, loop_item_fn *on_news, void *user,
		       struct error *err);
/* So many messages the broker sends before one is acknowledged. */
size_t amqp_consumer_prefetch(const struct amqp_consumer *consumer);
/* The loop: batches that have come, appended to batches. */
void amqp_consumer_take(struct amqp_consumer *consumer, struct list *batches);
/* The loop is done with a batch; its memory serves the next. */
void amqp_consumer_give(struct amqp_consumer *consumer, struct amqp_batch *batch);
void amqp_consumer_tell(struct amqp_consumer *consumer, const struct amqp_verdict *verdicts, size_t count);
/* The loop has count fewer messages to think of. */
void amqp_consumer_resolved(struct amqp_consumer *consumer, size_t count, size_t bytes);
void amqp_consumer_pause(struct amqp_consumer *consumer, bool paused);
/* Ends consuming; what the broker has sent still comes, and settles wait for it. */
void amqp_consumer_cancel(struct amqp_consumer *consumer);
/* Asks for a settle and returns its number; news comes when amqp_consumer_settled reaches it. */
unsigned int amqp_consumer_settle(struct amqp_consumer *consumer);
unsigned int amqp_consumer_settled(struct amqp_consumer *consumer);
void amqp_consumer_fini(struct amqp_consumer *consumer);

#endif
