/* SPDX-License-Identifier: Apache-2.0 */
/* The limiter's algorithm, without a driver: cases by hand, then random ones against a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../contract/limit_model.h"
#include "limit/window.h"

#define S INT64_C(1000000)
#define NOW (INT64_C(1700000000) * S)		/* a multiple of every slice used by hand */
#define DAY (86400 * S)

static struct limit_rule rules[LIMIT_WINDOWS_MAX];
static size_t rule_count;

static void set_rules(const char *first, const char *second)
{
	struct rate rates[2];

	assert_int_equal(rate_parse(first, &rates[0]), 0);
	if (second != NULL)
		assert_int_equal(rate_parse(second, &rates[1]), 0);
	assert_int_equal(limit_rules(rates, second != NULL ? 2 : 1, rules, &rule_count), 0);
}

/* Takes cost, or says how long to wait for it. */
static int64_t ask_since(struct limit_record *record, int64_t cost, int64_t since_us, int64_t now_us)
{
	int64_t wait = limit_record_wait(record, rules, rule_count, cost, since_us, now_us);

	if (wait == 0)
		limit_record_take(record, rules, rule_count, cost, now_us);
	return wait;
}

static int64_t ask(struct limit_record *record, int64_t cost, int64_t now_us)
{
	return ask_since(record, cost, 0, now_us);
}

static void all_of_it_at_once_then_a_whole_window(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("10/20s", NULL);			/* slices of 1 s, 21 of them */
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask(&record, 1, NOW + i), 0);
	assert_int_equal(ask(&record, 1, NOW + 10), 21 * S - 10);
	assert_int_equal(ask(&record, 1, NOW + 20 * S + 999999), 1);
	assert_int_equal(ask(&record, 10, NOW + 21 * S), 0);
}

static void cost_waits_for_as_much_as_it_needs(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("10/20s", NULL);
	assert_int_equal(ask(&record, 4, NOW), 0);
	assert_int_equal(ask(&record, 4, NOW + 5 * S), 0);
	assert_int_equal(ask(&record, 2, NOW + 6 * S), 0);
	assert_int_equal(ask(&record, 4, NOW + 7 * S), 14 * S);		/* when the first four leave */
	assert_int_equal(ask(&record, 5, NOW + 7 * S), 19 * S);		/* and then the next four */
	assert_int_equal(ask(&record, 10, NOW + 7 * S), 20 * S);
	assert_int_equal(ask(&record, 4, NOW + 21 * S), 0);
}

static void several_rates_hold_together(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("2/1s", "5/20s");
	assert_int_equal(ask(&record, 2, NOW), 0);
	assert_int_equal(ask(&record, 1, NOW + 1), 1050000 - 1);
	assert_int_equal(ask(&record, 2, NOW + 2 * S), 0);
	assert_int_equal(ask(&record, 1, NOW + 4 * S), 0);
	assert_int_equal(ask(&record, 1, NOW + 6 * S), 15 * S);
	assert_int_equal(ask(&record, 2, NOW + 21 * S), 0);
}

static void a_burst_paces(void **state)
{
	struct limit_record record = {0};
	int64_t now = NOW, granted = 0;

	(void)state;
	set_rules("100/20s burst 2", NULL);
	assert_int_equal(rule_count, 2);
	assert_int_equal(rules[1].count, 2);
	assert_int_equal(rules[1].period_us, 400000);
	assert_int_equal(ask(&record, 2, now), 0);
	assert_int_equal(ask(&record, 1, now), 420000);
	while (now < NOW + 2000 * S) {
		int64_t wait = ask(&record, 1, now);

		granted += wait == 0;
		now += wait;
	}
	assert_true(granted >= 9300 && granted <= 10000);
	set_rules("10/20s burst 10", NULL);
	assert_int_equal(rule_count, 1);
	set_rules("100000000/366d burst 99999999", NULL);
	assert_true(rules[1].period_us > 365 * DAY && rules[1].period_us < 366 * DAY);
}

static void too_many_rates_are_told(void **state)
{
	struct rate rates[LIMIT_WINDOWS_MAX + 1];
	size_t count;

	(void)state;
	for (size_t i = 0; i < LIMIT_WINDOWS_MAX + 1; i++)
		rates[i] = (struct rate){10, 1000 * (int64_t)(i + 1), i < 3 ? 5 : 0};
	assert_int_equal(limit_rules(rates, 3, rules, &count), 0);
	assert_int_equal(count, LIMIT_WINDOWS_MAX);
	assert_int_equal(limit_rules(rates, 4, rules, &count), -1);
	assert_int_equal(limit_rules(rates + 1, LIMIT_WINDOWS_MAX, rules, &count), -1);
	assert_int_equal(limit_rules(NULL, 0, rules, &count), 0);
	assert_int_equal(count, 0);
}

static void what_is_given_back_can_be_taken_again(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("10/20s", NULL);
	assert_int_equal(ask(&record, 10, NOW), 0);
	limit_record_refund(&record, 7, NOW, NOW + 3 * S);
	assert_int_equal(ask(&record, 8, NOW + 3 * S), 18 * S);
	assert_int_equal(ask(&record, 7, NOW + 3 * S), 0);
	/* Never more than is known of that time, and nothing of a time that is over or has not been. */
	limit_record_refund(&record, 1000, NOW, NOW + 3 * S);
	limit_record_refund(&record, 1000, NOW - 100 * S, NOW + 3 * S);
	limit_record_refund(&record, 1000, NOW + 100 * S, NOW + 3 * S);
	assert_int_equal(ask(&record, 4, NOW + 4 * S), 20 * S);
	assert_int_equal(ask(&record, 3, NOW + 4 * S), 0);
}

static void parked_is_parked(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("10/20s", NULL);
	assert_int_equal(ask(&record, 1, NOW), 0);
	limit_record_park(&record, NOW + 60 * S);
	limit_record_park(&record, NOW + 30 * S);
	assert_int_equal(ask(&record, 1, NOW + S), 59 * S);
	assert_int_equal(limit_record_expires(&record), NOW + 60 * S);
	assert_int_equal(ask(&record, 1, NOW + 60 * S), 0);
	/* Without any rate too. */
	record = (struct limit_record){0};
	rule_count = 0;
	assert_int_equal(ask(&record, 1, NOW), 0);
	limit_record_park(&record, NOW + 5 * S);
	assert_int_equal(ask(&record, 1, NOW + S), 4 * S);
}

static void an_upstream_can_lower(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("100/20s", NULL);
	assert_int_equal(ask(&record, 1, NOW), 0);
	limit_record_lower(&record, 3, NOW + 10 * S, NOW);
	assert_int_equal(ask(&record, 2, NOW + S), 0);
	limit_record_lower(&record, 90, NOW + 50 * S, NOW + S);		/* no news */
	assert_int_equal(ask(&record, 2, NOW + S), 9 * S);
	limit_record_refund(&record, 1, NOW + S, NOW + 2 * S);
	assert_int_equal(ask(&record, 2, NOW + 2 * S), 0);
	limit_record_refund(&record, 1, NOW - S, NOW + 2 * S);		/* of before it was lowered */
	assert_int_equal(ask(&record, 1, NOW + 2 * S), 8 * S);
	assert_int_equal(ask(&record, 90, NOW + 10 * S), 0);
}

static void a_clock_set_back_does_not_open_a_window(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("10/20s", NULL);
	assert_int_equal(ask(&record, 6, NOW - 5 * S), 0);
	assert_int_equal(ask(&record, 4, NOW), 0);
	/* A little: it stands still. */
	assert_int_equal(ask(&record, 1, NOW - 1), 16 * S + 1);
	assert_int_equal(ask(&record, 1, NOW - 1), 16 * S + 1);
	/* An hour: all of it counts as taken now. */
	assert_int_equal(ask(&record, 1, NOW - 3600 * S), 21 * S);
	assert_int_equal(ask(&record, 10, NOW - 3579 * S), 0);
}

static void rates_change_while_it_runs(void **state)
{
	struct limit_record record = {0};

	(void)state;
	set_rules("10/20s", NULL);
	assert_int_equal(ask(&record, 10, NOW), 0);
	set_rules("15/20s", NULL);
	assert_int_equal(ask(&record, 6, NOW + S), 20 * S);
	assert_int_equal(ask(&record, 5, NOW + S), 0);
	set_rules("3/20s", NULL);
	assert_int_equal(ask(&record, 1, NOW + 2 * S), 20 * S); /* all fifteen have to leave but two */
	/* Another period begins with what is known, as if each slice had been taken at its end. */
	set_rules("16/40s", NULL);
	assert_int_equal(ask(&record, 2, NOW + 2 * S), 40 * S);
	assert_int_equal(ask(&record, 1, NOW + 2 * S), 0);
	set_rules("16/2s", NULL);
	assert_int_equal(ask(&record, 16, NOW + 5 * S),
			 S); /* the one of NOW + 2 s: at NOW + 4 s at the latest */
	assert_int_equal(ask(&record, 16, NOW + 6 * S), 0);
}

static void nodes_with_different_rates_count_each_other(void **state)
{
	struct limit_record record = {0};
	int64_t last = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		int64_t now = NOW + i * S / 10;

		set_rules(i % 2 ? "20/30s" : "20/20s", NULL);
		if (ask(&record, 1, now) == 0)
			last = i;
	}
	assert_true(last > 1700);			/* neither of them starves */
	assert_int_equal(record.window_count, 2);
	set_rules("20/20s", NULL);
	ask(&record, 1, NOW + 300 * S);
	ask(&record, 1, NOW + 340 * S);
	assert_int_equal(record.window_count, 1);	/* nobody asks for the other any more */
	for (int i = 1; i < 20; i++) {
		struct rate rate = {1000, i * 1000, 0};

		assert_int_equal(limit_rules(&rate, 1, rules, &rule_count), 0);
		assert_int_equal(ask(&record, 1, NOW + 341 * S), 0);
	}
	assert_int_equal(record.window_count, LIMIT_WINDOWS_MAX);
}

static void after_a_loss_nothing_is_free(void **state)
{
	struct limit_record record = {0};
	int64_t now, granted = 0;

	(void)state;
	set_rules("10/20s", NULL);
	assert_int_equal(ask_since(&record, 1, NOW, NOW), 21 * S);
	assert_int_equal(ask_since(&record, 1, NOW, NOW + S), 20 * S);
	assert_int_equal(ask_since(&record, 10, NOW, NOW + 21 * S), 0);
	/* A loss long ago matters to nobody; nor does one that the record came after. */
	record = (struct limit_record){0};
	assert_int_equal(ask_since(&record, 10, NOW, NOW + 60 * S), 0);
	/* What was known before is not trusted. */
	record = (struct limit_record){0};
	assert_int_equal(ask(&record, 1, NOW), 0);
	assert_int_equal(ask_since(&record, 1, NOW + S, NOW + 2 * S), 20 * S);
	/* Nor is it when other rates find the loss. */
	record = (struct limit_record){0};
	assert_int_equal(ask(&record, 1, NOW), 0);
	set_rules("10/30s", NULL);
	assert_true(ask_since(&record, 1, NOW + S, NOW + 2 * S) > 0);
	set_rules("10/20s", NULL);
	assert_true(ask_since(&record, 1, NOW + S, NOW + 3 * S) > 0);
	/* A day does not stand still: it goes on at its pace. */
	record = (struct limit_record){0};
	set_rules("2100/day", NULL);
	assert_true(ask_since(&record, 1, NOW, NOW) <= DAY / 20);
	for (now = NOW; now < NOW + DAY / 2;) {
		int64_t wait = ask_since(&record, 1, NOW, now);

		granted += wait == 0;
		now += wait;
	}
	assert_true(granted >= 900 && granted <= 1100);
	/* A clock that was set back before the loss was noticed. */
	record = (struct limit_record){0};
	assert_true(ask_since(&record, 1, NOW + 9 * DAY, NOW) <= DAY / 20);
}

/* --- the promise, and how much of the budget can be used --- */

static void steady_demand_gets_its_budget(void **state)
{
	static const char *const rates[] = {
		"1/1s", "2/1s", "3/1s", "5/1s", "100/30s", "850/min", "500/60s", "1/7ms", "3/1ms",
		"20000/day", "7/h", "100/30s burst 10", "20000/day burst 50", "60/min burst 1",
		"1000/1s burst 500", "13/1234ms burst 7"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (int pause = 0; pause < 3; pause++) { /* asks at once, a little late, at random times */
			struct limit_record record = {0};
			struct rate rate;
			int64_t now = NOW + 12345, end, granted = 0, period;
			uint64_t seed = 7;

			set_rules(rates[i], NULL);
			assert_int_equal(rate_parse(rates[i], &rate), 0);
			period = rate.period_ms * 1000;
			end = now + 40 * period;
			while (now < end) {
				int64_t wait = ask(&record, 1, now);

				granted += wait == 0;
				now += wait;
				if (pause > 0 && wait == 0)
					now += pause == 1 ? 1
							  : model_below(&seed, period / rate.count / 2 + 1);
			}
			if ((double)granted < 0.93 * 40 * (double)rate.count || granted > 41 * rate.count)
				fail_msg("%s (%d): %lld of %lld", rates[i], pause, (long long)granted,
					 (long long)(40 * rate.count));
		}
	}
}

#define KEYS 8

/* Several keys under the same random rules, in the limiter's records and in models. */
struct random_keys {
	uint64_t seed;
	struct limit_record records[KEYS];
	struct model models[KEYS];
	struct model_grant last[KEYS];		/* of the last grant, what was not given back yet */
	struct model_rule wanted[3];
	int64_t longest, most;			/* of the periods; of the costs */
	int64_t now;
};

static void choose_rules(struct random_keys *keys)
{
	keys->longest = 0;
	keys->most = INT64_MAX;
	rule_count = (size_t)model_below(&keys->seed, 3) + 1;
	for (size_t i = 0; i < rule_count; i++) {
		rules[i].count = 1 + model_below(&keys->seed, 30);
		rules[i].period_us = 1 + model_below(&keys->seed, model_below(&keys->seed, 2) ? 100 : 50 * S);
		keys->wanted[i] = (struct model_rule){rules[i].count, rules[i].period_us};
		if (rules[i].period_us > keys->longest)
			keys->longest = rules[i].period_us;
		if (rules[i].count < keys->most)
			keys->most = rules[i].count;
	}
}

/* Now and then something is given back, parked, lowered. */
static void change_something(struct random_keys *keys, size_t k)
{
	int64_t amount = 1 + model_below(&keys->seed, keys->last[k].cost + 1);
	int64_t until = keys->now + keys->longest / 3;

	if (model_below(&keys->seed, 4) == 0 && amount <= keys->last[k].cost) {
		limit_record_refund(&keys->records[k], amount, keys->last[k].time_us, keys->now);
		model_refund(&keys->models[k], amount, keys->last[k].time_us, keys->now);
		keys->last[k].cost -= amount;
	} else if (model_below(&keys->seed, 4) == 0 && keys->last[k].cost > 0) {
		limit_record_move(&keys->records[k], keys->last[k].cost, keys->last[k].time_us, keys->now);
		model_move(&keys->models[k], keys->last[k].cost, keys->last[k].time_us, keys->now);
		keys->last[k].time_us = keys->now;
	} else if (model_below(&keys->seed, 200) == 0) {
		limit_record_park(&keys->records[k], until);
		model_park(&keys->models[k], until);
	} else if (model_below(&keys->seed, 200) == 0) {
		limit_record_lower(&keys->records[k], amount, until, keys->now);
		model_lower(&keys->models[k], amount, until, keys->now);
	}
}

/* The answer is the model's, and never more than N in any T. Whether it was granted. */
static bool ask_both(struct random_keys *keys, size_t k)
{
	int64_t cost = 1 + model_below(&keys->seed, keys->most);
	int64_t expected = model_wait(&keys->models[k], keys->wanted, rule_count, cost, keys->now);
	int64_t wait = ask(&keys->records[k], cost, keys->now);

	if (wait != expected)
		fail_msg("waits %lld instead of %lld", (long long)wait, (long long)expected);
	if (wait > 0)
		return false;
	keys->last[k] = (struct model_grant){keys->now, cost};
	model_take(&keys->models[k], cost, keys->now);
	for (size_t i = 0; i < rule_count; i++)
		if (model_in_window(&keys->models[k], rules[i].period_us) > rules[i].count)
			fail_msg("more than %lld in %lld us", (long long)rules[i].count,
				 (long long)rules[i].period_us);
	assert_true(limit_record_expires(&keys->records[k]) > keys->now);
	model_trim(&keys->models[k], keys->now - 2 * keys->longest - 100);
	return true;
}

static void random_steps_agree_with_the_model(void **state)
{
	static struct random_keys keys;
	size_t granted = 0;

	(void)state;
	keys.seed = 20240607;
	for (size_t step = 0; step < 1000000; step++) {
		size_t k = (size_t)model_below(&keys.seed, KEYS);

		if (step % 3000 == 0) {
			for (size_t i = 0; i < KEYS; i++)
				model_free(&keys.models[i]);
			memset(keys.records, 0, sizeof(keys.records));
			memset(keys.last, 0, sizeof(keys.last));
			keys.now = NOW + model_below(&keys.seed, DAY);
			choose_rules(&keys);
		}
		keys.now += model_below(&keys.seed, 4) ? model_below(&keys.seed, keys.longest / 40 + 2) : 0;
		change_something(&keys, k);
		granted += ask_both(&keys, k);
		/* A record that has expired may be forgotten: nothing changes. */
		if (limit_record_expires(&keys.records[k]) <= keys.now)
			memset(&keys.records[k], 0, sizeof(keys.records[k]));
	}
	for (size_t i = 0; i < KEYS; i++)
		model_free(&keys.models[i]);
	assert_true(granted > 100000);
}

/* The store's clock jumps back, it loses data, periods change: never more than N in any T of true time. */
static void nothing_that_happens_breaks_the_promise(void **state)
{
	uint64_t seed = 99;
	size_t steps = 300000, granted = 0;

	(void)state;
	while (steps > 0) {
		struct limit_record record = {0};
		struct model model = {0};
		int64_t now = NOW, back = 0, since = 0, changed = 0;
		struct limit_rule long_rule = {20 + model_below(&seed, 30),
					       10 * S + model_below(&seed, 10 * S)};

		rule_count = 2;
		rules[0] = long_rule;
		rules[1] = (struct limit_rule){10, 2 * S};
		for (size_t n = 5000; n > 0 && steps > 0; n--, steps--) {
			int64_t cost = 1 + model_below(&seed, 3);

			now += model_below(&seed, S / 4);
			if (model_below(&seed, 300) == 0)
				back += model_below(&seed, 2) ? model_below(&seed, 20 * S)
							      : model_below(&seed, 1000);
			if (model_below(&seed, 500) == 0) {
				since = now - back;
				if (model_below(&seed, 2))
					record = (struct limit_record){
						0}; /* else an old copy of it came back */
			}
			if (model_below(&seed, 100) == 0) {
				rules[1] = (struct limit_rule){3 + model_below(&seed, 10),
							       1 + model_below(&seed, 10 * S)};
				changed = now;
			}
			if (ask_since(&record, cost, since, now - back) > 0)
				continue;
			granted++;
			model_take(&model, cost, now);
			if (model_in_window(&model, rules[0].period_us) > rules[0].count)
				fail_msg("step %zu: more than %lld in the long one", steps,
					 (long long)rules[0].count);
			if (model_in_window(&model, rules[1].period_us) > rules[1].count)
				fail_msg("step %zu: more than %lld in the short one, changed %lld us ago",
					 steps, (long long)rules[1].count, (long long)(now - changed));
			model_trim(&model, now - 40 * S);
		}
		model_free(&model);
	}
	assert_true(granted > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it_at_once_then_a_whole_window),
		cmocka_unit_test(cost_waits_for_as_much_as_it_needs),
		cmocka_unit_test(several_rates_hold_together),
		cmocka_unit_test(a_burst_paces),
		cmocka_unit_test(too_many_rates_are_told),
		cmocka_unit_test(what_is_given_back_can_be_taken_again),
		cmocka_unit_test(parked_is_parked),
		cmocka_unit_test(an_upstream_can_lower),
		cmocka_unit_test(a_clock_set_back_does_not_open_a_window),
		cmocka_unit_test(rates_change_while_it_runs),
		cmocka_unit_test(nodes_with_different_rates_count_each_other),
		cmocka_unit_test(after_a_loss_nothing_is_free),
		cmocka_unit_test(steady_demand_gets_its_budget),
		cmocka_unit_test(random_steps_agree_with_the_model),
		cmocka_unit_test(nothing_that_happens_breaks_the_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
