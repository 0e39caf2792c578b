/* SPDX-License-Identifier: Apache-2.0 */
/* Making a task: its unique key, and what it is for as skip_after counts failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "setup/new_task.h"

static const char *const unique[] = {"handle"};

/* The key of params, for a flow with so many of unique; in the arena. */
static const char *key_of(struct arena *arena, const char *params, size_t unique_count)
{
	const struct conf_flow flow = {.name = "f", .unique = unique, .unique_count = unique_count};
	struct error err;
	struct json_doc *doc = json_parse(params, strlen(params), &err);
	const char *key;

	assert_non_null(doc);
	key = new_task_key(arena, &flow, json_root(doc));
	json_doc_free(&doc);
	return key;
}

static void spelling_makes_no_difference(void **state)
{
	static const struct {
		const char *params, *key;
	} cases[] = {
		{"{}", "{}"},
		{"{\"b\": \"x\", \"a\": [1, 2]}", "{\"a\":[1,2],\"b\":\"x\"}"},
		{"{\"a\": [2, 1]}", "{\"a\":[2,1]}"},
		{"{\"o\": {\"z\": null, \"y\": {\"d\": 1, \"c\": 2}}}", "{\"o\":{\"y\":{\"c\":2,\"d\":1},\"z\":null}}"},
		{"{\"n\": 100}", "{\"n\":100}"},
		{"{\"n\": 1e2}", "{\"n\":100}"},
		{"{\"n\": 100.0}", "{\"n\":100}"},
		{"{\"n\": 0.25}", "{\"n\":0.25}"},
		{"{\"n\": 18446744073709551615}", "{\"n\":18446744073709551615}"},
		{"{\"n\": \"100\"}", "{\"n\":\"100\"}"},
		{"{\"t\": true, \"u\": \"\\u00e9\"}", "{\"t\":true,\"u\":\"\xc3\xa9\"}"},
		/* Not given, and given as nothing, are the same. */
		{"{\"a\": null, \"b\": 1}", "{\"b\":1}"},
	};
	struct arena *arena = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(key_of(arena, cases[i].params, 0), cases[i].key);
	arena_free(&arena);
}

static void unique_parameters_are_all_that_counts(void **state)
{
	struct arena *arena = arena_new();

	(void)state;
	assert_string_equal(key_of(arena, "{\"limit\":5,\"handle\":\"abc\"}", 1), "{\"handle\":\"abc\"}");
	assert_string_equal(key_of(arena, "{\"limit\":5}", 1), "{\"handle\":null}");
	arena_free(&arena);
}

/* A key that every index takes, of whole characters, and another one for each list. */
static void long_keys_are_cut(void **state)
{
	struct arena *arena = arena_new();
	const char *one, *other;
	struct buf params;

	(void)state;
	buf_init(&params);
	buf_adds(&params, "{\"ids\":\"a");
	for (int i = 0; i < 2000; i++)
		buf_adds(&params, "\xc3\xa9");
	buf_adds(&params, "1\"}");
	one = key_of(arena, params.data, 0);
	params.data[params.len - 3] = '2';
	other = key_of(arena, params.data, 0);
	assert_true(strlen(one) <= 500 && str_is_utf8(one, strlen(one)));
	assert_true(str_starts(one, "{\"ids\":\"a\xc3\xa9"));
	assert_string_not_equal(one, other);
	buf_fini(&params);
	arena_free(&arena);
}

/* What json_parse takes the key takes, too. */
static void deep_parameters_are_keys(void **state)
{
	struct arena *arena = arena_new();
	struct buf params;

	(void)state;
	buf_init(&params);
	buf_adds(&params, "{\"a\":");
	for (int i = 0; i < 200; i++)
		buf_addc(&params, '[');
	for (int i = 0; i < 200; i++)
		buf_addc(&params, ']');
	buf_addc(&params, '}');
	assert_string_equal(key_of(arena, params.data, 0), params.data);
	buf_fini(&params);
	arena_free(&arena);
}

static void tasks_ask_when_the_flow_remembers(void **state)
{
	static const struct sl_option options[] = {{.name = "handle", .type = SL_STR}, SL_END_OF_OPTIONS};
	struct conf_flow flow = {.name = "f", .unique = unique, .unique_count = 1};
	struct json_doc *doc = json_parse("{\"handle\":\"abc\"}", 16, NULL);
	struct arena *arena = arena_new();
	struct store_new_task task;
	struct error err;

	(void)state;
	assert_int_equal(new_task_make(&task, arena, &flow, options, json_root(doc), &err), 0);
	assert_null(task.skip);
	assert_string_equal(task.unique_key, "{\"handle\":\"abc\"}");
	flow.skip = (struct conf_skip){3, 60000};
	assert_int_equal(new_task_make(&task, arena, &flow, options, json_root(doc), &err), 0);
	assert_string_equal(task.skip->key, task.unique_key);
	assert_int_equal(task.skip->failures, 3);
	assert_int_equal(task.skip->period_ms, 60000);
	arena_free(&arena);
	json_doc_free(&doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spelling_makes_no_difference),
		cmocka_unit_test(unique_parameters_are_all_that_counts),
		cmocka_unit_test(long_keys_are_cut),
		cmocka_unit_test(deep_parameters_are_keys),
		cmocka_unit_test(tasks_ask_when_the_flow_remembers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
