/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: credentials are kept, found, and what is said of them is kept too. */
#include "store_fixture.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store_cases.h"

/* A credential of the test's own source. */
static struct store_credential credential_of(struct fixture *fx, const char *name)
{
	return (struct store_credential){.idempotency_key = arena_printf(fx->arena, "%s:%s", fx->flow, name),
					 .source = fx->flow,
					 .handle = "h",
					 .credentials =
						 arena_printf(fx->arena, "{\"sealed\": \"v1:k:%s\"}", name),
					 .key_id = "k",
					 .limits = "100/30s"};
}

static int64_t put(struct fixture *fx, const char *name)
{
	struct store_credential row = credential_of(fx, name);
	int64_t id;

	assert_good(fx, store_sync_credential_put(fx->sync, &row, 1, &id, &fx->err));
	assert_true(id > 0);
	return id;
}

static struct store_credential *all(struct fixture *fx, size_t expected)
{
	const char *source = fx->flow;
	struct store_credential_filter filter = {.sources = &source, .source_count = 1, .limit = 100};
	struct store_credential *rows;
	size_t count;

	assert_good(fx, store_sync_credential_read(fx->sync, &filter, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, expected);
	return rows;
}

static int64_t change(struct fixture *fx, struct store_credential_change what)
{
	int64_t count;

	assert_good(fx, store_sync_credential_change(fx->sync, &what, 1, &count, &fx->err));
	return count;
}

static void put_keeps_all_and_replaces_by_key(void **state)
{
	struct fixture *fx = *state;
	struct store_credential rows[2], *found;
	int64_t ids[2], first = put(fx, "a");

	found = all(fx, 1);
	assert_int_equal(found->id, first);
	assert_string_equal(found->handle, "h");
	assert_string_equal(found->limits, "100/30s");
	assert_string_equal(found->key_id, "k");
	assert_non_null(strstr(found->credentials, "v1:k:a"));
	assert_true(found->enabled);
	assert_false(found->data_access_expired);
	assert_int_equal(found->disabled_till_ms, 0);
	assert_int_equal(found->last_used_ms, 0);
	assert_non_null(found->created_at);
	change(fx, (struct store_credential_change){
			   .action = STORE_CREDENTIAL_EXPIRE, .id = first, .reason = "old"});
	rows[0] = credential_of(fx, "a");
	rows[0].handle = NULL;
	rows[0].credentials = "{\"sealed\": \"v1:k:new\"}";
	rows[1] = credential_of(fx, "b");
	assert_good(fx, store_sync_credential_put(fx->sync, rows, 2, ids, &fx->err));
	assert_int_equal(ids[0], first);
	assert_true(ids[1] > first);
	found = all(fx, 2);
	assert_true(found[0].enabled && !found[0].data_access_expired && found[0].reason == NULL);
	assert_null(found[0].handle);
	assert_non_null(strstr(found[0].credentials, "v1:k:new"));
}

static void put_by_id_renames(void **state)
{
	struct fixture *fx = *state;
	struct store_credential row = credential_of(fx, "renamed");
	int64_t id;

	row.id = put(fx, "a");
	assert_good(fx, store_sync_credential_put(fx->sync, &row, 1, &id, &fx->err));
	assert_int_equal(id, row.id);
	assert_string_equal(all(fx, 1)->idempotency_key, row.idempotency_key);
	row.id += 1000000;
	row.idempotency_key = arena_printf(fx->arena, "%s:nobody", fx->flow);
	assert_good(fx, store_sync_credential_put(fx->sync, &row, 1, &id, &fx->err));
	assert_int_equal(id, 0);
}

static void put_is_all_or_none(void **state)
{
	struct fixture *fx = *state;
	struct store_credential rows[2] = {credential_of(fx, "new"), credential_of(fx, "a")};
	int64_t ids[2];

	put(fx, "a");
	rows[1].id = put(fx, "b");
	assert_int_equal(store_sync_credential_put(fx->sync, rows, 2, ids, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_CONTENT);
	all(fx, 2);
}

static void filters_choose(void **state)
{
	struct fixture *fx = *state;
	const char *sources[] = {fx->other_flow, fx->flow};
	int64_t ids[3] = {put(fx, "a"), put(fx, "b"), put(fx, "c")};
	struct store_credential other = credential_of(fx, "other"), *rows;
	struct store_credential_filter filter = {.sources = sources, .source_count = 2, .limit = 2};
	int64_t id;
	size_t count;

	other.source = fx->other_flow;
	assert_good(fx, store_sync_credential_put(fx->sync, &other, 1, &id, &fx->err));
	assert_good(fx, store_sync_credential_read(fx->sync, &filter, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 2);
	filter.after_id = rows[1].id;
	assert_good(fx, store_sync_credential_read(fx->sync, &filter, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 2);
	assert_int_equal(rows[0].id, ids[2]);
	assert_string_equal(rows[1].source, fx->other_flow);
	filter = (struct store_credential_filter){.ids = ids + 1, .id_count = 1, .limit = 10};
	assert_good(fx, store_sync_credential_read(fx->sync, &filter, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].id, ids[1]);
}

static void parking_is_never_shortened(void **state)
{
	struct fixture *fx = *state;
	int64_t until = clock_wall_ms() + 3600000;
	struct store_credential_change park = {.action = STORE_CREDENTIAL_PARK,
					       .id = put(fx, "a"),
					       .at_ms = until,
					       .failures = 2,
					       .reason = "429"};
	struct store_credential *row;

	assert_int_equal(change(fx, park), 1);
	park.at_ms = until - 1000;
	park.failures = 5;
	assert_int_equal(change(fx, park), 0);
	row = all(fx, 1);
	assert_int_equal(row->disabled_till_ms, until);
	assert_int_equal(row->failures, 2);
	assert_string_equal(row->reason, "429");
	/* It worked, while it is parked: said of what was under way. */
	assert_int_equal(change(fx, (struct store_credential_change){.action = STORE_CREDENTIAL_WORKED,
								     .id = park.id}),
			 0);
	assert_int_equal(change(fx, (struct store_credential_change){.action = STORE_CREDENTIAL_ENABLE,
								     .id = park.id}),
			 1);
	row = all(fx, 1);
	assert_true(row->disabled_till_ms == 0 && row->failures == 0 && row->reason == NULL);
	park.at_ms = clock_wall_ms() - 1000;
	assert_int_equal(change(fx, park), 1);
	assert_int_equal(change(fx, (struct store_credential_change){.action = STORE_CREDENTIAL_WORKED,
								     .id = park.id}),
			 1);
	assert_int_equal(all(fx, 1)->failures, 0);
}

static void disabling_stays_until_enabled(void **state)
{
	struct fixture *fx = *state;
	struct store_credential_change disable = {
		.action = STORE_CREDENTIAL_DISABLE, .id = put(fx, "a"), .reason = "401"};

	assert_int_equal(change(fx, disable), 1);
	assert_int_equal(change(fx, disable), 0);
	assert_false(all(fx, 1)->enabled);
	assert_string_equal(all(fx, 1)->reason, "401");
	disable.action = STORE_CREDENTIAL_EXPIRE;
	assert_int_equal(change(fx, disable), 1);
	assert_true(all(fx, 1)->data_access_expired);
	disable.action = STORE_CREDENTIAL_ENABLE;
	assert_int_equal(change(fx, disable), 1);
	assert_int_equal(change(fx, disable), 0);
	assert_true(all(fx, 1)->enabled && !all(fx, 1)->data_access_expired);
}

static void use_is_noted_and_changes_nothing_else(void **state)
{
	struct fixture *fx = *state;
	struct store_credential_change used = {.action = STORE_CREDENTIAL_USED, .id = put(fx, "a"),
					       .at_ms = 1700000000123};
	const char *updated = all(fx, 1)->updated_at;

	assert_int_equal(change(fx, used), 1);
	used.at_ms -= 500;
	assert_int_equal(change(fx, used), 0);
	assert_int_equal(all(fx, 1)->last_used_ms, 1700000000123);
	assert_string_equal(all(fx, 1)->updated_at, updated);
}

static void sealing_needs_what_was_there(void **state)
{
	struct fixture *fx = *state;
	struct store_credential_change seal = {
		.action = STORE_CREDENTIAL_SEAL, .id = put(fx, "a"), .was = "{\"sealed\": \"v1:k:other\"}",
		.credentials = "{\"sealed\": \"v1:k2:a\"}", .key_id = "k2",
		.idempotency_key = arena_printf(fx->arena, "%s:sealed", fx->flow)
	};

	assert_int_equal(change(fx, seal), 0);
	assert_string_equal(all(fx, 1)->key_id, "k");
	seal.was = all(fx, 1)->credentials;
	assert_int_equal(change(fx, seal), 1);
	assert_string_equal(all(fx, 1)->key_id, "k2");
	assert_string_equal(all(fx, 1)->idempotency_key, seal.idempotency_key);
	assert_non_null(strstr(all(fx, 1)->credentials, "v1:k2:a"));
}

static void several_changes_are_one(void **state)
{
	struct fixture *fx = *state;
	struct store_credential_change changes[3] = {
		{.action = STORE_CREDENTIAL_REMOVE, .id = put(fx, "a")},
		{.action = STORE_CREDENTIAL_DISABLE, .id = put(fx, "b"), .reason = "x"},
		{.action = STORE_CREDENTIAL_REMOVE, .id = INT32_MAX}
	};
	int64_t count;

	assert_good(fx, store_sync_credential_change(fx->sync, changes, 3, &count, &fx->err));
	assert_int_equal(count, 2);
	assert_false(all(fx, 1)->enabled);
}

static const struct CMUnitTest store_credential_cases[] = {
	CASE(put_keeps_all_and_replaces_by_key),
	CASE(put_by_id_renames),
	CASE(put_is_all_or_none),
	CASE(filters_choose),
	CASE(parking_is_never_shortened),
	CASE(disabling_stays_until_enabled),
	CASE(use_is_noted_and_changes_nothing_else),
	CASE(sealing_needs_what_was_there),
	CASE(several_changes_are_one),
};

int store_run_credential_cases(void)
{
	return cmocka_run_group_tests(store_credential_cases, NULL, NULL);
}
