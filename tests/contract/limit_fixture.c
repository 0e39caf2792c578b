/* SPDX-License-Identifier: Apache-2.0 */
/* See limit_fixture.h. */
#include "limit_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"

#define RATES_MAX 8

const char *fixture_url = "local:";

static int64_t set_time(void *user)
{
	return ((struct fixture *)user)->now_us;
}

struct limiter *fixture_open(struct fixture *fx)
{
	struct error err;
	struct limiter *limiter = limit_open(fx->loop, fixture_url, &fx->options, &err);

	if (limiter == NULL)
		fail_msg("%s", err.text);
	return limiter;
}

void fixture_reopen(struct fixture *fx)
{
	limit_close(&fx->limiter);
	fx->limiter = fixture_open(fx);
}

int fixture_setup(void **state)
{
	struct fixture *fx = mem_alloc(sizeof(*fx));

	str_format(fx->state, sizeof(fx->state), "/tmp/sluice-limit-XXXXXX");
	assert_non_null(mkdtemp(fx->state));
	str_format(fx->prefix, sizeof(fx->prefix), "%016llx", (unsigned long long)random_u64());
	fx->loop = loop_new();
	fx->now_us = FIXTURE_NOW;
	fx->options = (struct limit_options){
		.state = fx->state, .timeout_ms = 20000, .now_us = set_time, .now_user = fx};
	fx->limiter = fixture_open(fx);
	*state = fx;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *fx = *state;
	char command[100];

	limit_close(&fx->limiter);
	loop_free(&fx->loop);
	str_format(command, sizeof(command), "rm -rf %s", fx->state);
	assert_int_equal(system(command), 0);
	mem_release(fx);
	return 0;
}

const char *fixture_key(const struct fixture *fx, const char *name)
{
	static char keys[8][800];
	static unsigned int next;
	char *key = keys[next++ % 8];

	str_format(key, sizeof(keys[0]), "%s/%s", fx->prefix, name);
	return key;
}

void fixture_answered(void *user, const struct limit_answer *answer)
{
	struct fixture_answer *got = user;

	got->answer = *answer;
	got->count++;
	if (got->order != NULL)
		got->sequence = ++*got->order;
}

void fixture_wait(struct fixture *fx, const struct fixture_answer *answer, int count)
{
	int64_t end = clock_mono_ms() + 60000;

	while (answer->count < count) {
		loop_run_once(fx->loop, 100);
		if (clock_mono_ms() > end)
			fail_msg("no answer");
	}
	assert_int_equal(answer->count, count);
}

static size_t parse(const char *text, struct rate rates[RATES_MAX])
{
	size_t count = 0;
	char one[64];

	while (text != NULL && *text != '\0') {
		size_t len = strcspn(text, ",");

		assert_true(count < RATES_MAX && str_format(one, sizeof(one), "%.*s", (int)len, text));
		assert_int_equal(rate_parse(one, &rates[count++]), 0);
		text += len + (text[len] == ',');
	}
	return count;
}

static struct limit_answer ask_items(struct fixture *fx, struct limiter *limiter,
				     const struct limit_item *items, size_t count)
{
	struct fixture_answer got = {.count = 0};

	limit_take(limiter, items, count, fixture_answered, &got);
	assert_int_equal(got.count, 0);
	fixture_wait(fx, &got, 1);
	return got.answer;
}

struct limit_answer fixture_ask_of(struct fixture *fx, struct limiter *limiter, const char *name,
				   const char *rate, int64_t cost)
{
	struct rate rates[RATES_MAX];
	const struct limit_item item = {fixture_key(fx, name), rates, parse(rate, rates), cost};

	return ask_items(fx, limiter, &item, 1);
}

struct limit_answer fixture_ask(struct fixture *fx, const char *name, const char *rate, int64_t cost)
{
	return fixture_ask_of(fx, fx->limiter, name, rate, cost);
}

struct limit_answer fixture_ask_two(struct fixture *fx, const char *name, const char *rate, const char *other,
				    const char *other_rate)
{
	struct rate rates[2][RATES_MAX];
	const struct limit_item items[] = {
		{fixture_key(fx, name), rates[0], parse(rate, rates[0]), 1},
		{fixture_key(fx, other), rates[1], parse(other_rate, rates[1]), 1}};

	return ask_items(fx, fx->limiter, items, 2);
}

void fixture_assert(const char *file, int line, const struct limit_answer *answer, enum limit_verdict verdict,
		    int64_t wait_ms)
{
	static const char *const names[] = {"granted", "wait", "away", "full", "never"};

	if (answer->verdict == verdict && answer->wait_ms == wait_ms)
		return;
	print_error("%s:%d: %s, wait %lld ms; expected: %s, wait %lld ms\n", file, line,
		    names[answer->verdict], (long long)answer->wait_ms, names[verdict], (long long)wait_ms);
	fail();
}
