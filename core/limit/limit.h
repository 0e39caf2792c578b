/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate limits: may this go now, and if not, when? All limits that a request
 * falls under (its source, its credential, its flow, one handle …) are checked
 * and taken in one step: all of them or none. A refusal takes nothing and says
 * how long to wait. What "N/T" promises is in window.h.
 *
 * The state is shared: `local:` by the processes of a node, in a mapped file
 * below the state directory; `redis://` by all nodes, by the server's clock.
 * A store that has lost what it knew counts as used up: a damaged file, a Redis
 * server that was restarted, or is empty although this node has used it before
 * (limits.seen in the state directory says so). Everything belongs to the
 * loop's thread. With redis: the process ignores SIGPIPE.
 */
#ifndef SLUICE_LIMIT_LIMIT_H
#define SLUICE_LIMIT_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/rate.h"

struct loop;
struct limiter;
struct limit_request;
struct limit_queue;
struct limit_waiter;

#define LIMIT_ITEMS_MAX 8	/* keys of one request */

/* While the store cannot be asked. */
enum limit_on_error {
	LIMIT_ON_ERROR_WAIT,	/* nothing goes */
	LIMIT_ON_ERROR_LOCAL	/* each node goes on with its share, counted in a file of its own */
};

/* Zeroed: the defaults. */
struct limit_options {
	const char *state; /* the state directory; must be there. NULL: only redis: without LOCAL */
	enum limit_on_error on_error;	/* local: has no use for it */
	double share; /* of every limit, with LIMIT_ON_ERROR_LOCAL; 0: all of it (one node) */
	int64_t timeout_ms;		/* a request that got no answer; 2000 */
	int64_t away_ms;		/* LIMIT_ON_ERROR_LOCAL begins when the store is away so long; 5000 */
	size_t in_flight;		/* requests sent and not answered; 256 */
	size_t pending;			/* requests not sent yet: more get LIMIT_AWAY; 4096 */
	size_t slots;			/* local: so many keys at once; 8192 */
	int64_t (*now_us)(void *user);	/* tests: the time, instead of the store's */
	void *now_user;
};

/* One key and what holds for it. Borrowed for the call. */
struct limit_item {
	const char *key;		/* "source/rocketapi": the same key, the same limits, everywhere */
	const struct rate
		*rates; /* none: it can only be parked and lowered. At most 6, one with a burst is two */
	size_t rate_count;
	int64_t cost;			/* at least 1 */
};

enum limit_verdict {
	LIMIT_GRANTED, /* taken */
	LIMIT_WAIT, /* nothing taken; not before wait_ms */
	LIMIT_AWAY, /* nobody could be asked; again in wait_ms */
	LIMIT_FULL, /* there is no place for one more key, or in the queue; again in wait_ms */
	LIMIT_NEVER /* more than a limit allows at once, or too many rates: repeating cannot help */
};

/* What was taken and when, by the store's clock: for limit_refund and limit_move. */
struct limit_grant {
	int64_t taken_us;
	bool on_its_own;	/* by LIMIT_ON_ERROR_LOCAL */
};

struct limit_answer {
	enum limit_verdict verdict;
	int64_t wait_ms;	/* of the slowest limit; at least 1 */
	size_t slowest;		/* its item; with LIMIT_NEVER the one that is wrong */
	unsigned int refusing;	/* LIMIT_WAIT: a bit for each item that has to wait (1u << index) */
	struct limit_grant grant;
};

/* May free the limiter. */
typedef void limit_answer_fn(void *user, const struct limit_answer *answer);

/*
 * Finds the driver by the URL's scheme. Does not wait for a server. NULL and
 * err: a wrong URL (ERR_INPUT), or a file that cannot be had (ERR_IO). Keeps
 * loop_run going until it is closed.
 */
struct limiter *limit_open(struct loop *loop, const char *url, const struct limit_options *options,
			   struct error *err);
/* Drops what is under way: its callbacks do not come. Sets *limiter to NULL. */
void limit_close(struct limiter **limiter);
/* 0, or -1 and err when no driver takes the URL. Opens nothing. */
int limit_check_url(const char *url, struct error *err);

/*
 * Takes the cost of every item, or nothing. Calls back once, from the loop,
 * never from inside the call. The handle is good until then. Keys must differ.
 */
struct limit_request *limit_take(struct limiter *limiter, const struct limit_item *items, size_t count,
				 limit_answer_fn *fn, void *user);
/* The callback does not come; what is granted nevertheless is given back. NULL tolerated; sets *request to
 * NULL. */
void limit_cancel(struct limit_request **request);

/*
 * The four below are best effort: they tell no result, and are lost when the
 * store is away for longer than timeout_ms.
 */
/* Gives back what was not used: cost of each item is how much; rates are not looked at. */
void limit_refund(struct limiter *limiter, const struct limit_item *items, size_t count,
		  const struct limit_grant *grant);
/* What was taken is used only now: it counts from now on. What is given back afterwards does not find it. */
void limit_move(struct limiter *limiter, const struct limit_item *items, size_t count,
		const struct limit_grant *grant);
/* Nothing of the key for so long from now (Retry-After). Never shortens. */
void limit_park(struct limiter *limiter, const char *key, int64_t for_ms);
/* What an upstream says: at most left more of the key within that time. Only lowers. */
void limit_lower(struct limiter *limiter, const char *key, int64_t left, int64_t for_ms);

struct limit_stats {
	uint64_t granted, refused, away, full, never;	/* answers */
	uint64_t lost;		/* times the store was found to have lost what it knew */
	uint64_t repaired;	/* local: a process had died while it wrote */
	uint64_t connects;	/* redis: connections that were made */
	uint64_t dropped;	/* refunds, parks and lowerings that did not arrive */
	bool away_now;
};
void limit_stats(const struct limiter *limiter, struct limit_stats *stats_r);

/*
 * Waiting in line. A request asks when it is its turn and is asked again when
 * the time it was told has passed: a timer, never a poll. For each key those
 * who came first go first. One that waits for one key alone (a handle) lets
 * others pass on the keys that had room for it, until its time has come: from
 * then on nobody passes it, so that it cannot starve. One key's line does not
 * hold up another's.
 */
struct limit_queue_options {
	size_t per_key;		/* waiting for the same key: more get LIMIT_FULL; 1000 */
	size_t total;		/* in all lines; 10000 */
};
struct limit_queue *limit_queue_new(struct limiter *limiter, const struct limit_queue_options *options);
/* Drops who waits: their callbacks do not come. Before limit_close. */
void limit_queue_free(struct limit_queue **queue);
/*
 * Answers LIMIT_GRANTED when it is granted; anything else when it cannot be
 * within patience_ms, as soon as that is known (wait_ms then says when it may
 * be). Calls back as limit_take does; the handle is good until then.
 */
struct limit_waiter *limit_wait(struct limit_queue *queue, const struct limit_item *items, size_t count,
				int64_t patience_ms, limit_answer_fn *fn, void *user);
/* NULL tolerated; sets *waiter to NULL. */
void limit_wait_cancel(struct limit_waiter **waiter);
size_t limit_queue_length(const struct limit_queue *queue);
/*
 * How long who comes now stands behind others for these keys, at least; 0 when
 * nobody is in line for any of them, so that limit_take overtakes nobody.
 */
int64_t limit_queue_ahead(const struct limit_queue *queue, const struct limit_item *items, size_t count);

#endif
