/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of every limiter. The first argument names the store; local:
 * otherwise, over a new file. The second one: so many steps of the comparison.
 * Time is set by the tests but where they say so.
 */
#include "limit_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static size_t steps = 300000;		/* of the comparison; over a server 100000 */

static void granted_until_it_is_used_up(void **state)
{
	struct fixture *fx = *state;
	struct limit_answer answer;

	for (int i = 0; i < 5; i++)
		assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_GRANTED, 0);
	answer = fixture_ask(fx, "a", "5/20s", 1);
	assert_answer(answer, LIMIT_WAIT, 21000);
	assert_int_equal(answer.refusing, 1);
	assert_answer(fixture_ask(fx, "b", "5/20s", 5), LIMIT_GRANTED, 0);
	fx->now_us += 21 * SECOND - 1500;
	assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_WAIT, 2);
	fx->now_us += 1500;
	assert_answer(fixture_ask(fx, "a", "5/20s", 5), LIMIT_GRANTED, 0);
}

static void all_items_or_none(void **state)
{
	struct fixture *fx = *state;
	struct limit_answer answer;

	assert_answer(fixture_ask_two(fx, "source", "3/20s", "handle", "1/1s"), LIMIT_GRANTED, 0);
	for (int i = 0; i < 10; i++) {
		answer = fixture_ask_two(fx, "source", "3/20s", "handle", "1/1s");
		assert_answer(answer, LIMIT_WAIT, 1050);
		assert_int_equal(answer.slowest, 1);
		assert_int_equal(answer.refusing, 2);
	}
	/* The refusals took nothing of the first one. */
	assert_answer(fixture_ask(fx, "source", "3/20s", 2), LIMIT_GRANTED, 0);
	answer = fixture_ask_two(fx, "source", "3/20s", "handle", "1/1s");
	assert_answer(answer, LIMIT_WAIT, 21000);
	assert_int_equal(answer.slowest, 0);
	assert_int_equal(answer.refusing, 3);
}

static void day_and_minute_totals_are_taken_together(void **state)
{
	struct fixture *fx = *state;

	for (int i = 0; i < 3; i++) {
		assert_answer(fixture_ask(fx, "a", "4/min,9/day", 3), LIMIT_GRANTED, 0);
		fx->now_us += 64 * SECOND;
	}
	assert_answer(fixture_ask(fx, "a", "4/min,9/day", 1), LIMIT_WAIT, (21 * 4320 - 4000 - 3 * 64) * 1000);
	fx->now_us += 2 * 86400 * SECOND;
	assert_answer(fixture_ask(fx, "a", "4/min,9/day burst 2", 2), LIMIT_GRANTED, 0);
	assert_int_equal(fixture_ask(fx, "a", "4/min,9/day burst 2", 1).verdict, LIMIT_WAIT);
	assert_answer(fixture_ask(fx, "a", "4/min,9/day", 1), LIMIT_GRANTED, 0);
}

static void unused_cost_is_given_back(void **state)
{
	struct fixture *fx = *state;
	struct limit_item item = {.key = fixture_key(fx, "points"), .cost = 80};
	struct limit_answer answer = fixture_ask(fx, "points", "100/20s", 100);

	assert_answer(answer, LIMIT_GRANTED, 0);
	assert_int_equal(answer.grant.taken_us, FIXTURE_NOW);
	fx->now_us += 2 * SECOND;
	assert_answer(fixture_ask(fx, "points", "100/20s", 1), LIMIT_WAIT, 19000);
	limit_refund(fx->limiter, &item, 1, &answer.grant);
	assert_answer(fixture_ask(fx, "points", "100/20s", 81), LIMIT_WAIT, 19000);
	assert_answer(fixture_ask(fx, "points", "100/20s", 80), LIMIT_GRANTED, 0);
	/* Of a key that is not known there is nothing to give back. */
	item.key = fixture_key(fx, "other");
	limit_refund(fx->limiter, &item, 1, &answer.grant);
	assert_answer(fixture_ask(fx, "other", "100/20s", 100), LIMIT_GRANTED, 0);
}

static void what_is_used_later_counts_later(void **state)
{
	struct fixture *fx = *state;
	struct limit_item item = {.key = fixture_key(fx, "late"), .cost = 5};
	struct limit_answer answer = fixture_ask(fx, "late", "5/20s", 5);

	assert_answer(answer, LIMIT_GRANTED, 0);
	fx->now_us += 15 * SECOND;
	limit_move(fx->limiter, &item, 1, &answer.grant);
	fx->now_us += 2 * SECOND;
	assert_answer(fixture_ask(fx, "late", "5/20s", 1), LIMIT_WAIT, 19000);
	fx->now_us += 5 * SECOND;	/* it would have room, had it been used at once */
	assert_answer(fixture_ask(fx, "late", "5/20s", 1), LIMIT_WAIT, 14000);
	fx->now_us += 14 * SECOND;
	assert_answer(fixture_ask(fx, "late", "5/20s", 5), LIMIT_GRANTED, 0);
}

static void parked_until_its_time(void **state)
{
	struct fixture *fx = *state;

	assert_answer(fixture_ask(fx, "a", "5/1s", 1), LIMIT_GRANTED, 0);
	limit_park(fx->limiter, fixture_key(fx, "a"), 90000);
	limit_park(fx->limiter, fixture_key(fx, "a"), 30000);
	limit_park(fx->limiter, fixture_key(fx, "a"), 0);
	assert_answer(fixture_ask(fx, "a", "5/1s", 1), LIMIT_WAIT, 90000);
	assert_answer(fixture_ask_two(fx, "b", "5/1s", "a", "5/1s"), LIMIT_WAIT, 90000);
	fx->now_us += 90 * SECOND;
	assert_answer(fixture_ask(fx, "a", "5/1s", 1), LIMIT_GRANTED, 0);
	/* One without rates, that nobody has asked for before. */
	limit_park(fx->limiter, fixture_key(fx, "c"), 1000);
	assert_answer(fixture_ask(fx, "c", NULL, 1), LIMIT_WAIT, 1000);
	fx->now_us += SECOND;
	assert_answer(fixture_ask(fx, "c", NULL, 1), LIMIT_GRANTED, 0);
}

static void lowered_to_what_the_upstream_says(void **state)
{
	struct fixture *fx = *state;

	limit_lower(fx->limiter, fixture_key(fx, "a"), 2, 10000);
	assert_answer(fixture_ask(fx, "a", "50/20s", 3), LIMIT_WAIT, 10000);
	assert_answer(fixture_ask(fx, "a", "50/20s", 1), LIMIT_GRANTED, 0);
	limit_lower(fx->limiter, fixture_key(fx, "a"), 40, 60000);
	assert_answer(fixture_ask(fx, "a", "50/20s", 2), LIMIT_WAIT, 10000);
	limit_lower(fx->limiter, fixture_key(fx, "a"), 0, 5000);
	assert_answer(fixture_ask(fx, "a", "50/20s", 1), LIMIT_WAIT, 5000);
	fx->now_us += 5 * SECOND;
	assert_answer(fixture_ask(fx, "a", "50/20s", 49), LIMIT_GRANTED, 0);
}

static void rates_change_live(void **state)
{
	struct fixture *fx = *state;

	assert_answer(fixture_ask(fx, "a", "10/20s", 10), LIMIT_GRANTED, 0);
	assert_answer(fixture_ask(fx, "a", "15/20s", 5), LIMIT_GRANTED, 0);
	fx->now_us += 1 * SECOND;
	assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_WAIT, 20000);
	assert_answer(fixture_ask(fx, "a", "15/40s", 1), LIMIT_WAIT, 41000);
	assert_answer(fixture_ask(fx, "a", "16/40s", 1), LIMIT_GRANTED, 0);
	fx->now_us += 30 * SECOND;
	assert_answer(fixture_ask(fx, "a", "5/20s", 5), LIMIT_GRANTED, 0);
}

/* Asks every 5 ms for that long; the times of what was granted go to times. */
static size_t demand(struct fixture *fx, const char *rate, int64_t for_us, int64_t *times)
{
	size_t count = 0;

	for (int64_t end_us = fx->now_us + for_us; fx->now_us < end_us; fx->now_us += 5000)
		if (fixture_ask(fx, "a", rate, 1).verdict == LIMIT_GRANTED)
			times[count++] = fx->now_us;
	return count;
}

static void assert_most_in(const int64_t *times, size_t count, size_t most, int64_t period_us)
{
	for (size_t i = 0; i + most < count; i++)
		assert_true(times[i + most] - times[i] >= period_us);
}

/* What a reload does to a key that is in use. */
static void a_changed_rate_holds_from_then_on(void **state)
{
	struct fixture *fx = *state;
	int64_t times[1000];
	size_t count = demand(fx, "100/s", SECOND, times);

	assert_true(count >= 95);
	assert_most_in(times, count, 100, SECOND);
	/* All of the hundred count: none of the five before they have left. */
	count = demand(fx, "5/s", 4 * SECOND, times);
	assert_in_range(count, 10, 20);
	assert_true(times[0] >= fx->now_us - 4 * SECOND + SECOND / 2);
	assert_most_in(times, count, 5, SECOND);
	/* Another period too. */
	count = demand(fx, "4/2s", 6 * SECOND, times);
	assert_in_range(count, 8, 12);
	assert_most_in(times, count, 4, 2 * SECOND);
	/* And up again: what is free is there at once. */
	count = demand(fx, "100/s", SECOND / 2, times);
	assert_true(count >= 96);
	assert_true(times[95] - times[0] == 95 * 5000);
}

static void what_can_never_be_is_told(void **state)
{
	struct fixture *fx = *state;
	struct limit_answer answer = fixture_ask(fx, "a", "5/20s", 6);

	assert_answer(answer, LIMIT_NEVER, 0);
	assert_answer(fixture_ask(fx, "a", "5/20s burst 2", 3), LIMIT_NEVER, 0);
	answer = fixture_ask_two(fx, "b", "1/1s", "a", "1/1s,2/2s,3/3s,4/4s,5/5s,6/6s,7/7s");
	assert_answer(answer, LIMIT_NEVER, 0);
	assert_int_equal(answer.slowest, 1);
	assert_answer(fixture_ask(fx, "a", "1/1s,2/2s,3/3s,4/4s,5/5s,6/6s", 1), LIMIT_GRANTED, 0);
}

static void long_keys_are_told_apart(void **state)
{
	struct fixture *fx = *state;
	char key[700];

	memset(key, 'k', sizeof(key));
	key[600] = '\0';
	assert_answer(fixture_ask(fx, key, "1/20s", 1), LIMIT_GRANTED, 0);
	key[599] = 'l';
	assert_answer(fixture_ask(fx, key, "1/20s", 1), LIMIT_GRANTED, 0);
	key[599] = 'k';
	assert_answer(fixture_ask(fx, key, "1/20s", 1), LIMIT_WAIT, 21000);
	assert_answer(fixture_ask(fx, "with spaces, \"quotes\" and \xc3\xa4", "1/20s", 1), LIMIT_GRANTED, 0);
}

static void everybody_shares_one_state(void **state)
{
	struct fixture *fx = *state;
	struct limiter *other = fixture_open(fx);

	assert_answer(fixture_ask(fx, "a", "2/20s", 1), LIMIT_GRANTED, 0);
	assert_answer(fixture_ask_of(fx, other, "a", "2/20s", 1), LIMIT_GRANTED, 0);
	assert_answer(fixture_ask(fx, "a", "2/20s", 1), LIMIT_WAIT, 21000);
	limit_close(&other);
	fixture_reopen(fx);
	assert_answer(fixture_ask(fx, "a", "2/20s", 1), LIMIT_WAIT, 21000);
}

static void cancelled_is_given_back(void **state)
{
	struct fixture *fx = *state;
	const struct rate rate = {1, 20000, 0};
	const struct limit_item item = {fixture_key(fx, "a"), &rate, 1, 1};
	struct fixture_answer got = {.count = 0};
	struct limit_request *request = limit_take(fx->limiter, &item, 1, fixture_answered, &got);
	struct limit_stats stats;

	limit_cancel(&request);
	assert_null(request);
	limit_cancel(&request);
	for (stats.granted = 0; stats.granted < 1; limit_stats(fx->limiter, &stats))
		loop_run_once(fx->loop, 10);
	loop_run_once(fx->loop, 10);
	assert_int_equal(got.count, 0);
	assert_answer(fixture_ask(fx, "a", "1/20s", 1), LIMIT_GRANTED, 0);
}

static void on_answer_close(void *user, const struct limit_answer *answer)
{
	struct fixture *fx = user;

	assert_int_equal(answer->verdict, LIMIT_GRANTED);
	limit_close(&fx->limiter);
}

static void closing_drops_what_is_under_way(void **state)
{
	struct fixture *fx = *state;
	const struct rate rate = {10, 20000, 0};
	const struct limit_item item = {fixture_key(fx, "a"), &rate, 1, 1};
	struct fixture_answer got = {.count = 0};

	limit_take(fx->limiter, &item, 1, on_answer_close, fx);
	for (int i = 0; i < 5; i++)
		limit_take(fx->limiter, &item, 1, fixture_answered, &got);
	while (fx->limiter != NULL)
		loop_run_once(fx->loop, 100);
	assert_int_equal(got.count, 0);
	fx->limiter = fixture_open(fx);
	limit_take(fx->limiter, &item, 1, fixture_answered, &got);
	fixture_reopen(fx);
	assert_answer(fixture_ask(fx, "b", "1/20s", 1), LIMIT_GRANTED, 0);
	assert_int_equal(got.count, 0);
}

static void answers_are_counted(void **state)
{
	struct fixture *fx = *state;
	struct limit_stats stats;

	fixture_ask(fx, "a", "1/20s", 1);
	fixture_ask(fx, "a", "1/20s", 1);
	fixture_ask(fx, "a", "1/20s", 2);
	limit_stats(fx->limiter, &stats);
	assert_int_equal(stats.granted, 1);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.never, 1);
	assert_int_equal(stats.away + stats.full + stats.lost + stats.dropped, 0);
	assert_false(stats.away_now);
}

/* By the store's own clock: whoever waits as long as he was told is let go, and never too early. */
static void real_time_passes(void **state)
{
	struct fixture *fx = *state;
	int64_t taken[12];

	fx->options.now_us = NULL;
	fixture_reopen(fx);
	for (int i = 0; i < 12;) {
		struct limit_answer answer = fixture_ask(fx, "a", "3/100ms", 1);
		int64_t end = clock_mono_ms() + answer.wait_ms;

		if (answer.verdict == LIMIT_GRANTED) {
			taken[i++] = answer.grant.taken_us;
			continue;
		}
		assert_int_equal(answer.verdict, LIMIT_WAIT);
		assert_in_range(answer.wait_ms, 1, 105);
		while (clock_mono_ms() <= end)
			loop_run_once(fx->loop, end - clock_mono_ms() + 1);
	}
	for (int i = 3; i < 12; i++)
		assert_true(taken[i] - taken[i - 3] >= 100000);
}

static void every_answer_is_the_algorithms(void **state)
{
	limit_compare(*state, steps);
}

/* A server: what is asked before there is a connection waits for it, up to a bound. */
static void what_waits_is_bounded(void **state)
{
	struct fixture *fx = *state;
	const struct rate rate = {100, 20000, 0};
	const struct limit_item item = {fixture_key(fx, "a"), &rate, 1, 1};
	struct fixture_answer got[20] = {{.count = 0}};
	struct limit_stats stats;

	if (str_eq(fixture_url, "local:"))
		return;
	fx->options.in_flight = 2;
	fx->options.pending = 5;
	fixture_reopen(fx);
	for (size_t i = 0; i < 20; i++)
		limit_take(fx->limiter, &item, 1, fixture_answered, &got[i]);
	for (size_t i = 0; i < 20; i++)
		fixture_wait(fx, &got[i], 1);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(got[i].answer.verdict, i < 5 ? LIMIT_GRANTED : LIMIT_AWAY);
	assert_true(got[5].answer.wait_ms > 0);
	limit_stats(fx->limiter, &stats);
	assert_int_equal(stats.away, 15);
	assert_false(stats.away_now);
}

#ifdef HAVE_REDIS
/* A server that cannot be reached, and a quarter of everything for this node. */
static void a_node_on_its_own_has_its_share(void **state)
{
	struct fixture *fx = *state;
	struct limit_item item = {.key = fixture_key(fx, "a"), .cost = 2};
	struct limit_answer answer;
	struct error err;

	limit_close(&fx->limiter);
	fx->options.on_error = LIMIT_ON_ERROR_LOCAL;
	fx->options.share = 0.25;
	fx->options.away_ms = 1;
	fx->options.timeout_ms = 50;
	fx->limiter = limit_open(fx->loop, "redis://127.0.0.1:1", &fx->options, &err);
	assert_non_null(fx->limiter);
	/* As if everything had been used up when it went away. */
	assert_answer(fixture_ask(fx, "a", "20/20s", 1), LIMIT_WAIT, 21000);
	fx->now_us += 21 * SECOND;
	answer = fixture_ask(fx, "a", "20/20s", 5);
	assert_answer(answer, LIMIT_GRANTED, 0);
	assert_true(answer.grant.on_its_own);
	assert_answer(fixture_ask(fx, "a", "20/20s", 1), LIMIT_WAIT, 21000);
	limit_refund(fx->limiter, &item, 1, &answer.grant);
	assert_answer(fixture_ask(fx, "a", "20/20s", 2), LIMIT_GRANTED, 0);
	/* Less than one is one in a longer time; more than the share has to wait for the server. */
	assert_answer(fixture_ask(fx, "b", "2/1s", 1), LIMIT_GRANTED, 0);
	assert_answer(fixture_ask(fx, "b", "2/1s", 1), LIMIT_WAIT, 2100);
	assert_int_equal(fixture_ask(fx, "c", "20/20s", 6).verdict, LIMIT_AWAY);
	limit_park(fx->limiter, fixture_key(fx, "d"), 5000);
	assert_answer(fixture_ask(fx, "d", NULL, 1), LIMIT_WAIT, 5000);
}
#endif

static void wrong_urls_are_refused(void **state)
{
	static const struct {
		const char *url, *text;
	} wrong[] = {
		{"local:/somewhere", "nothing may follow"},
		{"memcached://host", "there are: local:"},
		{"rediss://host", "has no TLS"},
		{"", "there are: local:"},
#ifdef HAVE_REDIS
		{"redis:", "must look like redis://"},
		{"redis://", "redis://"},
		{"redis:///0", "redis://"},
		{"redis://host:x", "redis://"},
		{"redis://host:0", "redis://"},
		{"redis://host:70000", "redis://"},
		{"redis://host/x", "not the number"},
		{"redis://host/-1", "not the number"},
		{"redis://host/1/2", "must look like"},
		{"redis://host?x=1", "may follow"},
		{"redis://user@host", ":PASSWORD"},
		{"redis://u%zz:p@host", "percent"},
		{"redis://a b", "redis://"},
		{"redis+unix://host/path", "/PATH"},
		{"redis+unix:/path", "redis+unix://"},
		{"redis+unix:///", "/PATH"},
		{"redis+unix:///a?database=1", "?db="},
		{"redis+unix:///a?db=x", "not the number"},
#endif
	};
	struct fixture *fx = *state;
	struct error err;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		error_clear(&err);
		if (limit_open(fx->loop, wrong[i].url, &fx->options, &err) != NULL)
			fail_msg("%s was taken", wrong[i].url);
		assert_int_equal(err.code, ERR_INPUT);
		if (strstr(err.text, wrong[i].text) == NULL)
			fail_msg("%s: %s", wrong[i].url, err.text);
	}
	assert_int_equal(limit_check_url(fixture_url, &err), 0);
	assert_int_equal(limit_check_url("rediss://host", &err), -1);
	fx->options.state = NULL;
	assert_null(limit_open(fx->loop, "local:", &fx->options, &err));
	fx->options.state = "/nowhere/at/all";
	assert_null(limit_open(fx->loop, "local:", &fx->options, &err));
	assert_int_equal(err.code, ERR_IO);
}

static const struct CMUnitTest cases[] = {
	CASE(granted_until_it_is_used_up),
	CASE(all_items_or_none),
	CASE(day_and_minute_totals_are_taken_together),
	CASE(unused_cost_is_given_back),
	CASE(what_is_used_later_counts_later),
	CASE(parked_until_its_time),
	CASE(lowered_to_what_the_upstream_says),
	CASE(rates_change_live),
	CASE(a_changed_rate_holds_from_then_on),
	CASE(what_can_never_be_is_told),
	CASE(long_keys_are_told_apart),
	CASE(everybody_shares_one_state),
	CASE(cancelled_is_given_back),
	CASE(closing_drops_what_is_under_way),
	CASE(answers_are_counted),
	CASE(real_time_passes),
	CASE(every_answer_is_the_algorithms),
	CASE(what_waits_is_bounded),
#ifdef HAVE_REDIS
	CASE(a_node_on_its_own_has_its_share),
#endif
	CASE(wrong_urls_are_refused),
};

int main(int argc, char **argv)
{
	if (argc > 1) {
		fixture_url = argv[1];
		steps = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
	}
	return cmocka_run_group_tests(cases, NULL, NULL);
}
