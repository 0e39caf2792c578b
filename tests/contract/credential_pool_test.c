/* SPDX-License-Identifier: Apache-2.0 */
/* The pool over a real store: choosing, parking, disabling, and what other processes say. The wall clock is
 * the test's. */
#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "credential/pool.h"
#include "loop/loop.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define DEADLINE_MS 20000
#define NEVER_MS 86400000
#define START_MS INT64_C(1700000000000)

struct test {
	struct fixture *fx;
	struct credential_keys keys;
	struct sl_source source;
	const struct sl_source *sources[1];
	struct credential_pool *pool;
	struct credential found[8];
	int64_t soonest;
};

static int64_t now_ms;

static int64_t fake_now(void)
{
	return now_ms;
}

static void turn(struct test *t)
{
	loop_run_once(store_sync_loop(t->fx->sync), 5);
}

static size_t candidates(struct test *t, const char *handle, int64_t prefer)
{
	return credential_pool_candidates(t->pool, &t->source, handle, prefer, now_ms, t->found, 8,
					  &t->soonest);
}

/* Until so many may be used. */
static void expect(struct test *t, size_t count)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;

	while (candidates(t, NULL, 0) != count) {
		if (clock_mono_ms() > end)
			fail_msg("%zu credentials may be used, not %zu", candidates(t, NULL, 0), count);
		turn(t);
	}
}

static int64_t put_sealed(struct test *t, const struct credential_keys *keys, const char *secret,
			  const char *handle)
{
	const struct credential_member member = {"key", secret, true};
	struct store_credential row = {.idempotency_key =
					       arena_printf(t->fx->arena, "%s:%s", t->fx->flow, secret),
				       .source = t->fx->flow,
				       .handle = handle,
				       .limits = "5/s"};
	struct buf sealed;
	int64_t id;

	buf_init(&sealed);
	credential_seal(keys, t->fx->flow, &member, 1, &sealed);
	row.credentials = sealed.data;
	assert_good(t->fx, store_sync_credential_put(t->fx->sync, &row, 1, &id, &t->fx->err));
	buf_fini(&sealed);
	return id;
}

static int64_t put(struct test *t, const char *secret, const char *handle)
{
	return put_sealed(t, &t->keys, secret, handle);
}

static struct store_credential stored(struct test *t, int64_t id)
{
	struct store_credential_filter filter = {.ids = &id, .id_count = 1, .limit = 1};
	struct store_credential *rows;
	size_t count;

	assert_good(t->fx, store_sync_credential_read(t->fx->sync, &filter, t->fx->arena, &rows, &count,
						      &t->fx->err));
	assert_int_equal(count, 1);
	return rows[0];
}

static void change(struct test *t, enum store_credential_action action, int64_t id)
{
	struct store_credential_change what = {.action = action, .id = id, .reason = "elsewhere"};
	int64_t count;

	assert_good(t->fx, store_sync_credential_change(t->fx->sync, &what, 1, &count, &t->fx->err));
	assert_int_equal(count, 1);
}

static void open_pool(struct test *t, int64_t refresh_ms)
{
	const struct credential_pool_options options = {
		.refresh_ms = refresh_ms, .write_ms = 10, .now_ms = fake_now};

	t->pool = credential_pool_new(store_sync_loop(t->fx->sync), store_sync_store(t->fx->sync), &t->keys,
				      t->sources, 1, &options);
}

static int setup(void **state)
{
	struct test *t = mem_alloc(sizeof(*t));
	struct error err;
	void *fx;

	fixture_setup(&fx);
	t->fx = fx;
	t->source = (struct sl_source){.size = sizeof(t->source), .name = t->fx->flow, .auth_field = "key"};
	t->sources[0] = &t->source;
	assert_int_equal(credential_keys_init(&t->keys, KEY, NULL, 0, &err), 0);
	now_ms = START_MS;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct test *t = *state;
	void *fx = t->fx;

	/* With what is under way. */
	credential_pool_free(&t->pool);
	credential_keys_fini(&t->keys);
	fixture_teardown(&fx);
	mem_release(t);
	return 0;
}

static void the_least_recently_used_comes_first(void **state)
{
	struct test *t = *state;
	int64_t a = put(t, "secret-a", NULL), b = put(t, "secret-b", NULL), c = put(t, "secret-c", NULL);
	int64_t end = clock_mono_ms() + DEADLINE_MS;

	open_pool(t, NEVER_MS);
	expect(t, 3);
	assert_int_equal(t->found[0].id, a);
	assert_string_equal(t->found[0].members[0].value, "secret-a");
	assert_string_equal(t->found[0].limits, "5/s");
	credential_pool_took(t->pool, a);
	assert_int_equal(candidates(t, NULL, 0), 3);
	assert_int_equal(t->found[0].id, b);
	assert_int_equal(t->found[2].id, a);
	credential_pool_took(t->pool, b);
	/* One that goes on keeps its own. */
	assert_int_equal(candidates(t, NULL, a), 3);
	assert_int_equal(t->found[0].id, a);
	assert_int_equal(t->found[1].id, c);
	assert_int_equal(t->found[2].id, b);
	while (stored(t, b).last_used_ms != START_MS && clock_mono_ms() < end)
		turn(t);
	assert_int_equal(stored(t, b).last_used_ms, START_MS);
	assert_int_equal(stored(t, c).last_used_ms, 0);
}

static void a_handle_has_its_own(void **state)
{
	struct test *t = *state;
	int64_t x = put(t, "secret-x", "x");

	put(t, "secret-y", "y");
	put(t, "secret-nobody", NULL);
	open_pool(t, NEVER_MS);
	expect(t, 3);
	assert_int_equal(candidates(t, "x", 0), 1);
	assert_int_equal(t->found[0].id, x);
	assert_int_equal(candidates(t, "z", x), 0);
	assert_true(t->soonest == INT64_MAX);
}

static void parking_doubles_and_ends(void **state)
{
	static const int64_t seconds[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
	struct test *t = *state;
	int64_t id = put(t, "secret-a", NULL), end = clock_mono_ms() + DEADLINE_MS;

	open_pool(t, NEVER_MS);
	expect(t, 1);
	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		credential_pool_park(t->pool, id, 0, "429");
		/* What was under way brings the same news, or says that it worked: neither counts. */
		credential_pool_park(t->pool, id, 0, "429");
		credential_pool_worked(t->pool, id);
		assert_int_equal(candidates(t, NULL, 0), 0);
		assert_int_equal(t->soonest, now_ms + seconds[i] * 1000);
		now_ms += seconds[i] * 1000;
		assert_int_equal(candidates(t, NULL, 0), 1);
	}
	while (stored(t, id).failures != 8 && clock_mono_ms() < end)
		turn(t);
	assert_int_equal(stored(t, id).failures, 8);
	assert_int_equal(stored(t, id).disabled_till_ms, now_ms);
	credential_pool_worked(t->pool, id);
	while (stored(t, id).failures != 0 && clock_mono_ms() < end)
		turn(t);
	assert_int_equal(stored(t, id).failures, 0);
	credential_pool_park(t->pool, id, 0, "429");
	candidates(t, NULL, 0);
	assert_int_equal(t->soonest, now_ms + 60000);
}

static void a_time_that_was_told_is_kept(void **state)
{
	struct test *t = *state;
	int64_t id = put(t, "secret-a", NULL), end = clock_mono_ms() + DEADLINE_MS;

	open_pool(t, NEVER_MS);
	expect(t, 1);
	credential_pool_park(t->pool, id, 7000, "of secret-a");
	credential_pool_park(t->pool, id, 3000, "shorter");
	candidates(t, NULL, 0);
	assert_int_equal(t->soonest, START_MS + 7000);
	credential_pool_park(t->pool, id, 9000, "key secret-a is slow");
	while (stored(t, id).disabled_till_ms != START_MS + 9000 && clock_mono_ms() < end)
		turn(t);
	assert_string_equal(stored(t, id).reason, "key *** is slow");
	assert_int_equal(stored(t, id).failures, 0);
}

static void disabled_is_disabled_everywhere(void **state)
{
	struct test *t = *state;
	int64_t a = put(t, "secret-a", NULL), b = put(t, "secret-b", NULL),
		end = clock_mono_ms() + DEADLINE_MS;

	open_pool(t, 10);
	expect(t, 2);
	credential_pool_disable(t->pool, a, "401 for secret-a");
	assert_int_equal(candidates(t, NULL, a), 1);
	assert_int_equal(t->found[0].id, b);
	/* A reading that began before the store knew does not bring it back. */
	while (stored(t, a).enabled && clock_mono_ms() < end) {
		assert_int_equal(candidates(t, NULL, 0), 1);
		turn(t);
	}
	assert_string_equal(stored(t, a).reason, "401 for ***");
	for (int i = 0; i < 20; i++) {
		turn(t);
		assert_int_equal(candidates(t, NULL, 0), 1);
	}
	change(t, STORE_CREDENTIAL_DISABLE, b);
	expect(t, 0);
	change(t, STORE_CREDENTIAL_ENABLE, a);
	expect(t, 1);
	assert_int_equal(t->found[0].id, a);
	change(t, STORE_CREDENTIAL_REMOVE, a);
	expect(t, 0);
	/* Of one that is gone nothing is said. */
	credential_pool_took(t->pool, a);
	credential_pool_park(t->pool, a, 0, "late");
	credential_pool_disable(t->pool, a, "late");
	credential_pool_worked(t->pool, a);
	assert_false(credential_pool_find(t->pool, a, &t->found[0]));
}

static void who_is_busy_comes_last(void **state)
{
	struct test *t = *state;
	int64_t a, b, c;

	a = put(t, "secret-a", NULL);
	b = put(t, "secret-b", NULL);
	c = put(t, "secret-c", NULL);
	open_pool(t, NEVER_MS);
	expect(t, 3);
	assert_true(credential_pool_busy(t->pool, a, 5000));
	assert_false(credential_pool_busy(t->pool, a, 4000));
	assert_true(credential_pool_busy(t->pool, b, 1000));
	assert_int_equal(candidates(t, NULL, 0), 3);
	assert_int_equal(t->found[0].id, c);
	assert_int_equal(t->found[1].id, b);
	assert_int_equal(t->found[2].id, a);
	/* Who is asked for by number keeps his place. */
	assert_int_equal(candidates(t, NULL, a), 3);
	assert_int_equal(t->found[0].id, a);
	now_ms += 1000;
	assert_int_equal(candidates(t, NULL, 0), 3);
	assert_int_equal(t->found[2].id, a);
	assert_true(credential_pool_usable(t->pool, a, now_ms));
	credential_pool_disable(t->pool, a, "401");
	assert_false(credential_pool_usable(t->pool, a, now_ms));
	assert_int_equal(candidates(t, NULL, 0), 2);
	assert_false(credential_pool_busy(t->pool, -1, 1000));
	assert_false(credential_pool_usable(t->pool, -1, now_ms));
}

static void what_is_missing_is_looked_for(void **state)
{
	struct test *t = *state;
	int64_t end = clock_mono_ms() + DEADLINE_MS, look;

	open_pool(t, NEVER_MS);
	while (credential_pool_look(t->pool, now_ms) != INT64_MAX && clock_mono_ms() < end)
		turn(t);
	assert_int_equal(candidates(t, NULL, 0), 0);
	put(t, "secret-a", NULL);
	/* Not so soon after the last time; then once more. */
	while ((look = credential_pool_look(t->pool, now_ms)) == INT64_MAX && clock_mono_ms() < end)
		turn(t);
	assert_true(look > now_ms && look < now_ms + 1000);
	expect(t, 1);
}

static void what_is_old_is_read_before_it_is_used(void **state)
{
	const struct credential_pool_options options = {.refresh_ms = NEVER_MS, .stale_ms = 50, .now_ms = fake_now};
	struct test *t = *state;
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	size_t count = 1;

	put(t, "secret-a", NULL);
	t->pool = credential_pool_new(store_sync_loop(t->fx->sync), store_sync_store(t->fx->sync), &t->keys,
				      t->sources, 1, &options);
	expect(t, 1);
	put(t, "secret-b", NULL);
	while ((count = candidates(t, NULL, 0)) == 1 && clock_mono_ms() < end)
		turn(t);
	assert_int_equal(count, 0);
	assert_true(t->soonest > now_ms && t->soonest < now_ms + 1000);
	expect(t, 2);
}

static void what_no_key_opens_is_not_used(void **state)
{
	struct test *t = *state;
	struct credential_keys strange;
	struct error err;
	int64_t id;

	assert_int_equal(credential_keys_init(&strange, OTHER, NULL, 0, &err), 0);
	id = put_sealed(t, &strange, "secret-a", NULL);
	put(t, "secret-b", NULL);
	open_pool(t, 10);
	expect(t, 1);
	assert_false(credential_pool_find(t->pool, id, &t->found[0]));
	put(t, "secret-a", NULL);
	expect(t, 2);
	credential_keys_fini(&strange);
}

static void a_long_list_is_read_in_pages(void **state)
{
	struct test *t = *state;
	struct store_credential *rows = arena_alloc(t->fx->arena, 2500 * sizeof(*rows));
	int64_t *ids = arena_alloc(t->fx->arena, 2500 * sizeof(*ids)), end = clock_mono_ms() + DEADLINE_MS;

	for (int i = 0; i < 2500; i++)
		rows[i] = (struct store_credential){
			.idempotency_key = arena_printf(t->fx->arena, "%s:%d", t->fx->flow, i),
			.source = t->fx->flow,
			.handle = arena_printf(t->fx->arena, "handle-%d", i),
			.credentials = "{\"key\": \"in-clear\"}"};
	assert_good(t->fx, store_sync_credential_put(t->fx->sync, rows, 2500, ids, &t->fx->err));
	open_pool(t, NEVER_MS);
	while (candidates(t, "handle-2499", 0) == 0 && clock_mono_ms() < end)
		turn(t);
	assert_int_equal(candidates(t, "handle-2499", 0), 1);
	assert_int_equal(candidates(t, "handle-0", 0), 1);
	assert_int_equal(candidates(t, NULL, 0), 8);
}

#define POOL_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		POOL_CASE(the_least_recently_used_comes_first),
		POOL_CASE(a_handle_has_its_own),
		POOL_CASE(parking_doubles_and_ends),
		POOL_CASE(a_time_that_was_told_is_kept),
		POOL_CASE(disabled_is_disabled_everywhere),
		POOL_CASE(who_is_busy_comes_last),
		POOL_CASE(what_is_missing_is_looked_for),
		POOL_CASE(what_is_old_is_read_before_it_is_used),
		POOL_CASE(what_no_key_opens_is_not_used),
		POOL_CASE(a_long_list_is_read_in_pages),
	};

	if (argc > 1)
		setenv("SLUICE_TEST_STORE", argv[1], 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
