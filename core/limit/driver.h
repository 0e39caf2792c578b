/* SPDX-License-Identifier: Apache-2.0 */
/* What a limiter's driver implements; for core/limit and its tests alone. Meanings in limit.h. */
#ifndef SLUICE_LIMIT_DRIVER_H
#define SLUICE_LIMIT_DRIVER_H

#include "base/list.h"
#include "limit/limit.h"
#include "limit/window.h"

#define LIMIT_MAGIC 0x4c696d69u
#define LIMIT_KEY_SIZE 240	/* longer keys end in their hash: see request_new in limit.c */

enum limit_op { LIMIT_TAKE, LIMIT_REFUND, LIMIT_MOVE, LIMIT_LOWER };

struct limit_part {
	const char *key;		/* shorter than LIMIT_KEY_SIZE */
	struct limit_rule rules[LIMIT_WINDOWS_MAX];
	size_t rule_count;
	int64_t cost;			/* LIMIT_REFUND, LIMIT_MOVE: what is given back, or moved */
};

/* Owned by the driver from its op until limit_answer. */
struct limit_request {
	struct list node;		/* the driver's; then in limiter.ready */
	struct limiter *limiter;
	enum limit_op op;
	limit_answer_fn *fn;		/* NULL: nobody waits for the answer */
	void *user;
	struct limit_answer answer;
	int64_t now_us;			/* options.now_us: when it was made; else 0 */
	int64_t deadline_ms;		/* the driver's */
	unsigned int tries;		/* the driver's */
	bool distrust;			/* the driver's */
	struct limit_grant grant;	/* LIMIT_REFUND, LIMIT_MOVE */
	int64_t park_ms;		/* LIMIT_LOWER: 0, or parks */
	int64_t left, left_ms;		/* LIMIT_LOWER: left < 0: does not lower */
	size_t count;
	struct limit_part parts[];
};

/* First member of every driver's own limiter. */
struct limiter {
	unsigned int magic;
	const struct limit_ops *ops;
	struct loop *loop;
	struct limit_options options;	/* defaults filled in */
	char *state;			/* options.state; owned */
	struct limit_stats stats;	/* answers are counted by limit.c, the rest by the driver */
	struct list ready;		/* answered requests that wait for the loop */
	struct loop_queue *flush;	/* wakes the loop to deliver them */
	bool flushing;			/* it is on its way */
	bool *closed;			/* set by limit_close while answers are delivered */
};

struct limit_ops {
	/* Whether rest, the URL after "scheme:", can be one; opens nothing. */
	int (*check)(const char *scheme, const char *rest, struct error *err);
	/*
	 * The driver makes its own struct and calls
	 * limit_init on its first member when nothing can fail any more.
	 */
	struct limiter *(*open)(struct loop *loop, const char *scheme, const char *rest,
				const struct limit_options *options, struct error *err);
	/* LIMIT_TAKE is answered with limit_answer, now or later. The others are freed when they are done. */
	void (*request)(struct limiter *limiter, struct limit_request *request);
	/* Frees its requests (limit_request_free) and itself, after limit_fini. */
	void (*close)(struct limiter *limiter);
};

extern const struct limit_ops limit_local_ops;
#ifdef HAVE_REDIS
extern const struct limit_ops limit_redis_ops;
#endif

/* --- what drivers share: limit.c --- */
void limit_init(struct limiter *limiter, const struct limit_ops *ops, struct loop *loop,
		const struct limit_options *options);
void limit_fini(struct limiter *limiter);
/* Queues the answer for the loop; the request is not the driver's any more. */
void limit_answer(struct limit_request *request, const struct limit_answer *answer);
void limit_request_free(struct limit_request *request);
void limit_requests_free(struct list *requests);
/* No rule allows less at once than the part costs; else repeating cannot help. */
bool limit_part_fits(const struct limit_part *part);
/* LIMIT_WAIT: each item has to wait for so long; for 0, it would not have to. */
void limit_refuse(const int64_t *waits_us, size_t count, struct limit_answer *answer_r);
/* Milliseconds of a wait, rounded up, at least 1. */
int64_t limit_wait_ms(int64_t wait_us);

/* --- local: limit_local.c, also what redis: falls back to --- */
/* The file of that name below options->state. */
struct limiter *limit_local_open(struct loop *loop, const char *name, const struct limit_options *options,
				 struct error *err);
/* Decides on the spot; all but LIMIT_TAKE answer LIMIT_GRANTED when they were carried out. */
void limit_local_decide(struct limiter *limiter, const struct limit_request *request,
			struct limit_answer *answer);
/* What this process asks from now on does not trust what was written before now. */
void limit_local_distrust(struct limiter *limiter);

#endif
