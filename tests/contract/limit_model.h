/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain model of one limited key: the list of all that was granted, looked
 * through from end to end for every answer. Slow and obvious, so that the
 * limiter's answers can be compared with it. And the promise itself: never
 * more than N in any window of T, by the list alone.
 */
#ifndef SLUICE_TESTS_LIMIT_MODEL_H
#define SLUICE_TESTS_LIMIT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_rule {
	int64_t count, period_us;
};

struct model_grant {
	int64_t time_us, cost;
};

struct model {
	struct model_grant *grants;
	size_t first, count, cap;	/* those before first are too old to matter */
	int64_t parked_us, cap_until_us, cap_since_us, cap_left;
};

void model_free(struct model *model);
/* Microseconds until cost can be granted; 0: now. */
int64_t model_wait(const struct model *model, const struct model_rule *rules, size_t count, int64_t cost,
		   int64_t now_us);
void model_take(struct model *model, int64_t cost, int64_t now_us);
void model_refund(struct model *model, int64_t amount, int64_t taken_us, int64_t now_us);
/* What was taken then counts from now on. */
void model_move(struct model *model, int64_t amount, int64_t taken_us, int64_t now_us);
void model_park(struct model *model, int64_t until_us);
void model_lower(struct model *model, int64_t left, int64_t until_us, int64_t now_us);
/* Forgets grants before that time. */
void model_trim(struct model *model, int64_t before_us);
/* What was granted in the window of that length that ends with (and includes) the last grant. */
int64_t model_in_window(const struct model *model, int64_t period_us);

/* A small fast generator, the same everywhere for the same seed. */
uint64_t model_random(uint64_t *state);
/* 0 to below n. */
int64_t model_below(uint64_t *state, int64_t n);

#endif
