/* SPDX-License-Identifier: Apache-2.0 */
/* Random requests to a limiter, many under way at once; every answer has to be that of the algorithm in C. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "limit/window.h"
#include "limit_fixture.h"
#include "limit_model.h"

#define KEYS 24
#define IN_FLIGHT 200

struct expected {
	struct compare *compare;
	struct limit_answer answer;
	size_t step;
	bool busy;
};

struct compare {
	struct fixture *fx;
	uint64_t seed;
	struct limit_record records[KEYS];
	struct rate rates[KEYS][2];
	size_t rate_count[KEYS];
	char keys[KEYS][40];
	struct expected pool[IN_FLIGHT];
	size_t in_flight, granted, refused;
	struct limit_item last[3];	/* what was granted last, for refunds */
	size_t last_count;
	struct limit_grant grant;
};

static void on_compared(void *user, const struct limit_answer *answer)
{
	struct expected *expected = user;
	const struct limit_answer *want = &expected->answer;

	expected->compare->in_flight--;
	expected->busy = false;
	if (answer->verdict != want->verdict || answer->wait_ms != want->wait_ms ||
	    answer->slowest != want->slowest || answer->refusing != want->refusing ||
	    answer->grant.taken_us != want->grant.taken_us)
		fail_msg("step %zu: verdict %d wait %lld slowest %zu refusing %u at %lld, not %d %lld %zu %u "
			 "%lld",
			 expected->step, answer->verdict, (long long)answer->wait_ms, answer->slowest,
			 answer->refusing, (long long)answer->grant.taken_us, want->verdict,
			 (long long)want->wait_ms, want->slowest, want->refusing,
			 (long long)want->grant.taken_us);
}

/* Periods of a minute and more: a server forgets by its own clock, which is not the test's. */
static void new_rates(struct compare *compare, size_t k)
{
	compare->rate_count[k] = (size_t)model_below(&compare->seed, 3);
	for (size_t i = 0; i < compare->rate_count[k]; i++) {
		int64_t count = 1 + model_below(&compare->seed, 40);

		compare->rates[k][i] = (struct rate){
			count,
			60000 + model_below(&compare->seed, model_below(&compare->seed, 2) ? 1000 : 86400000),
			model_below(&compare->seed, 4) ? 0 : 1 + model_below(&compare->seed, count)};
	}
}

static void new_key(struct compare *compare, size_t k)
{
	compare->records[k] = (struct limit_record){0};
	str_format(compare->keys[k], sizeof(compare->keys[k]), "%s/%llx", compare->fx->prefix,
		   (unsigned long long)model_random(&compare->seed));
	new_rates(compare, k);
}

/* Up to three different keys with costs that they can bear. */
static size_t choose(struct compare *compare, struct limit_item items[3], size_t index[3])
{
	size_t count = 1 + (size_t)model_below(&compare->seed, 3);
	size_t first = (size_t)model_below(&compare->seed, KEYS);

	for (size_t i = 0; i < count; i++) {
		struct limit_rule rules[LIMIT_WINDOWS_MAX];
		size_t k = index[i] = (first + i * 7) % KEYS, rule_count;
		int64_t most = 10;

		assert_int_equal(limit_rules(compare->rates[k], compare->rate_count[k], rules, &rule_count),
				 0);
		for (size_t r = 0; r < rule_count; r++)
			most = most < rules[r].count ? most : rules[r].count;
		items[i] = (struct limit_item){compare->keys[k], compare->rates[k], compare->rate_count[k],
					       1 + model_below(&compare->seed, most)};
	}
	return count;
}

/*
 * Records that say nothing any more are dropped as the drivers drop them: when
 * they are written; local: does not read them either, and then does not write.
 * It shows only where the clock is set back or a rate changes afterwards.
 */
static bool has_expired(const struct compare *compare, const struct limit_record *record)
{
	return limit_record_expires(record) <= compare->fx->now_us;
}

static struct limit_record record_of(const struct compare *compare, size_t k)
{
	if (str_eq(fixture_url, "local:") && has_expired(compare, &compare->records[k]))
		return (struct limit_record){0};
	return compare->records[k];
}

static void keep(struct compare *compare, size_t k, const struct limit_record *record)
{
	if (!has_expired(compare, record))
		compare->records[k] = *record;
	else if (!str_eq(fixture_url, "local:") || !has_expired(compare, &compare->records[k]))
		compare->records[k] = (struct limit_record){0};
}

/* What the algorithm says, and does. */
static struct limit_answer expect(struct compare *compare, const struct limit_item *items,
				  const size_t *index, size_t count)
{
	struct limit_record records[3];		/* copies: of a refusal nothing is kept */
	struct limit_rule rules[3][LIMIT_WINDOWS_MAX];
	struct limit_answer answer = {.verdict = LIMIT_GRANTED, .grant.taken_us = compare->fx->now_us};
	size_t rule_count[3];
	int64_t longest = 0;

	for (size_t i = 0; i < count; i++) {
		int64_t wait;

		limit_rules(items[i].rates, items[i].rate_count, rules[i], &rule_count[i]);
		records[i] = record_of(compare, index[i]);
		wait = limit_record_wait(&records[i], rules[i], rule_count[i], items[i].cost, 0,
					 compare->fx->now_us);
		if (wait > 0)
			answer.refusing |= 1u << i;
		if (wait > longest) {
			longest = wait;
			answer.slowest = i;
		}
	}
	if (longest > 0) {
		answer.verdict = LIMIT_WAIT;
		answer.wait_ms = (longest + 999) / 1000;
		answer.grant.taken_us = 0;
		return answer;
	}
	for (size_t i = 0; i < count; i++) {
		limit_record_take(&records[i], rules[i], rule_count[i], items[i].cost, compare->fx->now_us);
		keep(compare, index[i], &records[i]);
	}
	return answer;
}

/* Gives back what was granted last, or moves it to now. */
static void change_last(struct compare *compare, bool move)
{
	if (move)
		limit_move(compare->fx->limiter, compare->last, compare->last_count, &compare->grant);
	else
		limit_refund(compare->fx->limiter, compare->last, compare->last_count, &compare->grant);
	for (size_t i = 0; i < compare->last_count; i++) {
		for (size_t k = 0; k < KEYS; k++) {
			struct limit_record record = record_of(compare, k);

			if (!str_eq(compare->keys[k], compare->last[i].key))
				continue;
			if (move)
				limit_record_move(&record, compare->last[i].cost, compare->grant.taken_us,
						  compare->fx->now_us);
			else
				limit_record_refund(&record, compare->last[i].cost, compare->grant.taken_us,
						    compare->fx->now_us);
			keep(compare, k, &record);
		}
	}
	compare->last_count = 0;
}

static void other_step(struct compare *compare)
{
	struct fixture *fx = compare->fx;
	size_t k = (size_t)model_below(&compare->seed, KEYS);
	int64_t for_ms = 1 + model_below(&compare->seed, 60000), left = model_below(&compare->seed, 20);
	struct limit_record record = record_of(compare, k);

	switch (model_below(&compare->seed, 60)) {
	case 0:
		limit_park(fx->limiter, compare->keys[k], for_ms);
		limit_record_park(&record, fx->now_us + for_ms * 1000);
		keep(compare, k, &record);
		break;
	case 1:
		limit_lower(fx->limiter, compare->keys[k], left, for_ms);
		limit_record_lower(&record, left, fx->now_us + for_ms * 1000, fx->now_us);
		keep(compare, k, &record);
		break;
	case 2:
		new_rates(compare, k);
		break;
	case 3:
		new_key(compare, k);
		break;
	case 4:	/* the clock is set back, a little or more */
		fx->now_us -=
			model_below(&compare->seed, model_below(&compare->seed, 2) ? 3000 : 100 * SECOND);
		break;
	default:
		if (compare->last_count > 0)
			change_last(compare, model_below(&compare->seed, 2) != 0);
	}
}

static void step_of(struct compare *compare, size_t step)
{
	struct expected *expected = compare->pool;
	struct limit_item items[3];
	size_t index[3], count = choose(compare, items, index);

	while (expected->busy)
		expected++;
	expected->compare = compare;
	expected->step = step;
	expected->busy = true;
	expected->answer = expect(compare, items, index, count);
	compare->in_flight++;
	if (expected->answer.verdict == LIMIT_GRANTED) {
		compare->granted++;
		memcpy(compare->last, items, count * sizeof(items[0]));
		compare->last_count = count;
		compare->grant = expected->answer.grant;
	} else {
		compare->refused++;
	}
	limit_take(compare->fx->limiter, items, count, on_compared, expected);
}

void limit_compare(struct fixture *fx, size_t steps)
{
	struct compare *compare = mem_alloc(sizeof(*compare));

	compare->fx = fx;
	compare->seed = 42;
	for (size_t k = 0; k < KEYS; k++)
		new_key(compare, k);
	for (size_t step = 0; step < steps; step++) {
		fx->now_us += model_below(&compare->seed, 3) ? model_below(&compare->seed, 20 * SECOND) : 0;
		if (model_below(&compare->seed, 10) == 0)
			other_step(compare);
		step_of(compare, step);
		while (compare->in_flight == IN_FLIGHT)
			loop_run_once(fx->loop, 1000);
	}
	while (compare->in_flight > 0)
		loop_run_once(fx->loop, 1000);
	assert_true(compare->granted > steps / 10 && compare->refused > steps / 10);
	mem_release(compare);
}
