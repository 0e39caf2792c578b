/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limiter to test, on keys that no other test uses, so that the same cases
 * run over a new file and over a server that has seen other tests. A test may
 * set the time; else it is the store's own.
 */
#ifndef SLUICE_TESTS_LIMIT_FIXTURE_H
#define SLUICE_TESTS_LIMIT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "limit/limit.h"
#include "loop/loop.h"

#define SECOND INT64_C(1000000)
#define FIXTURE_NOW                                                                                          \
	(INT64_C(4000000000) * SECOND) /* later than anything that a server remembers of real time */

struct fixture {
	struct loop *loop;
	struct limit_options options;
	char state[64];		/* a folder of the test's own */
	char prefix[24];
	int64_t now_us;		/* when options.now_us is set */
	struct limiter *limiter;
};

extern const char *fixture_url;		/* "local:" unless main says otherwise */

int fixture_setup(
	void **state); /* for cmocka: *state becomes a struct fixture, its time set to FIXTURE_NOW */
int fixture_teardown(void **state);
/* One more limiter on the same store. */
struct limiter *fixture_open(struct fixture *fx);
/* Closes the limiter and opens it again with the options as they are now. */
void fixture_reopen(struct fixture *fx);
/* The same name always gives the same key of this test. Good until eight more were asked for. */
const char *fixture_key(const struct fixture *fx, const char *name);

/* An answer that is waited for; filled by fixture_answered, which is a limit_answer_fn. */
struct fixture_answer {
	struct limit_answer answer;
	int count;
	uint64_t *order;	/* NULL, or counts up: sequence is the place among the answers */
	uint64_t sequence;
};
void fixture_answered(void *user, const struct limit_answer *answer);
/* Runs the loop until it is there. Fails after a minute. */
void fixture_wait(struct fixture *fx, const struct fixture_answer *answer, int count);

/* Asks and waits. rate: NULL for none, or several separated by commas. */
struct limit_answer fixture_ask_of(struct fixture *fx, struct limiter *limiter, const char *name,
				   const char *rate, int64_t cost);
struct limit_answer fixture_ask(struct fixture *fx, const char *name, const char *rate, int64_t cost);
/* Two keys in one request. */
struct limit_answer fixture_ask_two(struct fixture *fx, const char *name, const char *rate, const char *other,
				    const char *other_rate);
/* limit_compare.c; only the contract has it. */
void limit_compare(struct fixture *fx, size_t steps);
void fixture_assert(const char *file, int line, const struct limit_answer *answer, enum limit_verdict verdict,
		    int64_t wait_ms);
#define assert_answer(answer, verdict, wait_ms) \
	do { \
		struct limit_answer assert_answer_ = (answer); \
		fixture_assert(__FILE__, __LINE__, &assert_answer_, verdict, wait_ms); \
	} while (0)

#endif
