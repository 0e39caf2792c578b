/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: what is known of sources, and that one at a time tries one that fails. */
#include "store_fixture.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store_cases.h"

#define LONG_MS 3600000

/* The row of the source and handle after a change through sync; NULL: there is none. */
static struct store_source *changed(struct fixture *fx, struct store_sync *sync, struct store_source_change what)
{
	struct store_source *rows;
	size_t count;

	what.source = fx->flow;
	what.handle = what.handle != NULL ? what.handle : "";
	assert_good(fx, store_sync_source_change(sync, &what, fx->arena, &rows, &count, &fx->err));
	return count > 0 ? rows : NULL;
}

static struct store_source *opened(struct fixture *fx, int64_t pause_ms)
{
	return changed(fx, fx->sync, (struct store_source_change){
			       .action = STORE_SOURCE_OPEN, .failures = 5, .ms = pause_ms, .reason = "HTTP 503",
			       .node = "one"});
}

static struct store_source *probed(struct fixture *fx, struct store_sync *sync, const char *token, int64_t ms)
{
	return changed(fx, sync,
		       (struct store_source_change){.action = STORE_SOURCE_PROBE, .token = token, .ms = ms});
}

/* How many of the test's sources are among all. */
static size_t listed(struct fixture *fx, struct store_source *first_r)
{
	struct store_source *rows;
	size_t count, mine = 0;

	assert_good(fx, store_sync_sources(fx->sync, 1000, fx->arena, &rows, &count, &fx->err));
	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || rows[i - 1].stopped || !rows[i].stopped);
		if (strcmp(rows[i].source, fx->flow) == 0 && mine++ == 0)
			*first_r = rows[i];
	}
	return mine;
}

static void a_breaker_is_opened_once(void **state)
{
	struct fixture *fx = *state;
	struct store_source *row = opened(fx, LONG_MS), found;

	assert_string_equal(row->source, fx->flow);
	assert_string_equal(row->handle, "");
	assert_string_equal(row->reason, "HTTP 503");
	assert_string_equal(row->node, "one");
	assert_int_equal(row->failures, 5);
	assert_int_equal(row->pause_ms, LONG_MS);
	assert_true(row->probe_in_ms > LONG_MS / 2 && row->probe_in_ms <= LONG_MS);
	assert_true(row->since_ms > clock_wall_ms() - LONG_MS && row->since_ms < clock_wall_ms() + LONG_MS);
	assert_false(row->stopped);
	assert_null(row->probe);
	row = changed(fx, fx->sync, (struct store_source_change){
			      .action = STORE_SOURCE_OPEN, .failures = 9, .ms = 1, .reason = "late", .node = "two"});
	assert_string_equal(row->node, "one");
	assert_int_equal(row->failures, 5);
	assert_int_equal(listed(fx, &found), 1);
	assert_string_equal(found.reason, "HTTP 503");
	assert_null(changed(fx, fx->sync, (struct store_source_change){.action = STORE_SOURCE_CLOSE}));
	assert_int_equal(listed(fx, &found), 0);
	/* Nobody is there to be closed, tried or left. */
	assert_null(changed(fx, fx->sync, (struct store_source_change){.action = STORE_SOURCE_CLOSE}));
	assert_null(probed(fx, fx->sync, "a", 1));
	assert_null(changed(fx, fx->sync,
			    (struct store_source_change){.action = STORE_SOURCE_LEAVE, .token = "a"}));
}

static void nobody_tries_before_the_pause_is_over(void **state)
{
	struct fixture *fx = *state;

	opened(fx, LONG_MS);
	assert_null(probed(fx, fx->sync, "a", LONG_MS)->probe);
}

static void one_at_a_time_tries(void **state)
{
	struct fixture *fx = *state;
	struct store_sync *other = fixture_open(fx);
	struct store_source *row;

	opened(fx, 1);
	usleep(20000);
	row = probed(fx, fx->sync, "a", LONG_MS);
	assert_string_equal(row->probe, "a");
	assert_true(row->probe_in_ms > LONG_MS / 2);
	assert_string_equal(probed(fx, other, "b", LONG_MS)->probe, "a");
	/* The same question again, as after a lost answer. */
	assert_string_equal(probed(fx, fx->sync, "a", LONG_MS)->probe, "a");
	/* What others say of it does not count. */
	row = changed(fx, other, (struct store_source_change){
			      .action = STORE_SOURCE_FAILED, .token = "b", .ms = 10, .reason = "b"});
	assert_string_equal(row->probe, "a");
	assert_string_equal(row->reason, "HTTP 503");
	row = changed(fx, other, (struct store_source_change){.action = STORE_SOURCE_LEAVE, .token = "b"});
	assert_string_equal(row->probe, "a");
	row = changed(fx, fx->sync, (struct store_source_change){.action = STORE_SOURCE_LEAVE, .token = "a"});
	assert_null(row->probe);
	usleep(20000);
	assert_string_equal(probed(fx, other, "b", 1)->probe, "b");
	/* One whose answer never came is not waited for. */
	usleep(20000);
	assert_string_equal(probed(fx, fx->sync, "c", LONG_MS)->probe, "c");
	store_sync_close(&other);
}

static void pauses_double_up_to_their_cap(void **state)
{
	const int64_t pauses[] = {100, 200, 400, 500, 500};
	struct fixture *fx = *state;
	struct store_source *row = opened(fx, 50);

	for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
		const char *token = arena_printf(fx->arena, "t%zu", i);

		usleep((useconds_t)(row->probe_in_ms > 0 ? row->probe_in_ms + 20 : 20) * 1000);
		assert_string_equal(probed(fx, fx->sync, token, LONG_MS)->probe, token);
		row = changed(fx, fx->sync, (struct store_source_change){
				      .action = STORE_SOURCE_FAILED, .token = token, .ms = 500, .reason = "HTTP 500"});
		assert_int_equal(row->pause_ms, pauses[i]);
		assert_true(row->probe_in_ms <= pauses[i]);
		assert_int_equal(row->failures, 6 + i);
		assert_string_equal(row->reason, "HTTP 500");
		assert_null(row->probe);
	}
}

static void handles_are_apart(void **state)
{
	struct fixture *fx = *state;
	struct store_source_change open = {.action = STORE_SOURCE_OPEN, .handle = "shop", .failures = 5, .ms = 1};
	struct store_source found;

	assert_string_equal(changed(fx, fx->sync, open)->handle, "shop");
	assert_null(probed(fx, fx->sync, "a", LONG_MS));
	opened(fx, LONG_MS);
	assert_int_equal(listed(fx, &found), 2);
	assert_null(changed(fx, fx->sync, (struct store_source_change){.action = STORE_SOURCE_CLOSE}));
	assert_int_equal(listed(fx, &found), 1);
	assert_string_equal(found.handle, "shop");
}

static void a_source_is_stopped_until_it_is_started(void **state)
{
	struct fixture *fx = *state;
	struct store_source_change stop = {.action = STORE_SOURCE_STOP, .reason = "billing", .node = "one"};
	struct store_source *row = changed(fx, fx->sync, stop), found;
	int64_t since_ms = row->since_ms;

	assert_true(row->stopped);
	assert_string_equal(row->reason, "billing");
	opened(fx, 1);
	changed(fx, fx->sync, (struct store_source_change){.action = STORE_SOURCE_OPEN, .handle = "shop", .ms = 1});
	assert_int_equal(listed(fx, &found), 3);
	assert_true(found.stopped);
	assert_true(changed(fx, fx->sync, (struct store_source_change){.action = STORE_SOURCE_CLOSE})->stopped);
	stop.reason = NULL;
	row = changed(fx, fx->sync, stop);
	assert_null(row->reason);
	assert_int_equal(row->since_ms, since_ms);
	fixture_reopen(fx);
	assert_int_equal(listed(fx, &found), 2);
	assert_null(changed(fx, fx->sync, (struct store_source_change){.action = STORE_SOURCE_START}));
	assert_int_equal(listed(fx, &found), 0);
}

static const struct CMUnitTest store_source_cases[] = {
	CASE(a_breaker_is_opened_once),
	CASE(nobody_tries_before_the_pause_is_over),
	CASE(one_at_a_time_tries),
	CASE(pauses_double_up_to_their_cap),
	CASE(handles_are_apart),
	CASE(a_source_is_stopped_until_it_is_started),
};

int store_run_source_cases(void)
{
	return cmocka_run_group_tests(store_source_cases, NULL, NULL);
}
