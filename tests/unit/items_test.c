/* SPDX-License-Identifier: Apache-2.0 */
/* The lists that schedules make tasks of: what each entry becomes, and what is said of a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "conf/items.h"

static const struct sl_option options[] = {
	{.name = "handle", .type = SL_STR, .flags = SL_REQUIRED},
	{.name = "limit", .type = SL_INT, .min = 1, .max = 100},
	{.name = "ratio", .type = SL_FLOAT},
	{.name = "fresh", .type = SL_BOOL},
	{.name = "tags", .type = SL_LIST},
	{.name = "since", .type = SL_TIME, .flags = SL_NULLABLE},
	{.name = "more", .type = SL_OBJECT},
	SL_END_OF_OPTIONS
};

/* A line for each entry: the object, or "! " and what is wrong. */
static char *read_all(struct items *items, struct error *err)
{
	struct buf all, one;
	int rc;

	buf_init(&all);
	buf_init(&one);
	if (items == NULL)
		buf_printf(&all, "!! %s\n", err->text);
	while (items != NULL && (rc = items_next(items, &one, err)) != 0)
		buf_printf(&all, "%s%s\n", rc > 0 ? "" : "! ", rc > 0 ? one.data : err->text);
	items_free(&items);
	buf_fini(&one);
	if (all.data == NULL)
		buf_adds(&all, "");
	return buf_steal(&all);
}

static void assert_json_list(const char *json, const char *expected)
{
	struct error err;
	char *all = read_all(items_from_json(json, strlen(json), "query", options, &err), &err);

	assert_string_equal(all, expected);
	free(all);
}

static void assert_file(const char *suffix, const char *text, const char *expected)
{
	char path[100], *all, *at;
	struct error err;
	FILE *out;
	int fd;

	str_format(path, sizeof(path), "/tmp/sluice-items-XXXXXX%s", suffix);
	fd = mkstemps(path, (int)strlen(suffix));
	assert_true(fd >= 0);
	out = fdopen(fd, "w");
	assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
	fclose(out);
	all = read_all(items_from_file(path, options, &err), &err);
	unlink(path);
	/* Without the path, which is another one each time. */
	while ((at = strstr(all, path)) != NULL)
		memmove(at, at + strlen(path), strlen(at + strlen(path)) + 1);
	assert_string_equal(all, expected);
	free(all);
}

static void lists(void **state)
{
	(void)state;
	assert_json_list("[]", "");
	assert_json_list("[{\"handle\":\"a\"},{\"handle\":7,\"limit\":\"5\",\"fresh\":1,\"ratio\":\"0.5\"}]",
			 "{\"handle\":\"a\"}\n{\"handle\":7,\"limit\":5,\"fresh\":true,\"ratio\":0.5}\n");
	/* As columns come: null is not given, but where null may be; lists and objects as texts. */
	assert_json_list("[{\"handle\":\"a\",\"limit\":null,\"since\":null,\"tags\":\"[\\\"x\\\",\\\"y\\\"]\","
			 "\"more\":\"{\\\"b\\\":1}\"}]",
			 "{\"handle\":\"a\",\"since\":null,\"tags\":[\"x\",\"y\"],\"more\":{\"b\":1}}\n");
	assert_json_list("[{\"handle\":\"a\",\"limit\":0},5,{\"handles\":\"b\"},{\"handle\":\"c\"}]",
			 "! query: entry 1: \"limit\" must be at least 1\n! query: entry 2 is no object\n"
			 "! query: entry 3: unknown parameter \"handles\" (did you mean \"handle\"?); \"handle\" is missing\n"
			 "{\"handle\":\"c\"}\n");
	assert_json_list("[{", "!! query: invalid JSON: ends at byte 2, expected a string\n");
}

static void lines(void **state)
{
	(void)state;
	assert_file(".jsonl", "", "");
	assert_file(".jsonl", "\n  \n", "");
	assert_file("", "{ \"handle\" : \"a\" }\r\n\n\t{\"handle\":\"b\",\"tags\":[\"x\"]}",
		    "{\"handle\":\"a\"}\n{\"handle\":\"b\",\"tags\":[\"x\"]}\n");
	assert_file(".json", "{\"handle\":\"a\"}\n[1]\n{\"limit\":5}\n{\"handle\":\"b\"}\n",
		    "{\"handle\":\"a\"}\n! :2: params must be an object\n! :3: \"handle\" is missing\n{\"handle\":\"b\"}\n");
}

static void rows(void **state)
{
	(void)state;
	assert_file(".csv", "handle\n", "");
	assert_file(".csv", "handle,limit,tags,fresh\na,5,\"x,y\",true\r\n\n\"say \"\"hi\"\"\nthere\",,z,\n,7,,\nd,8,,false",
		    "{\"handle\":\"a\",\"limit\":5,\"tags\":[\"x\",\"y\"],\"fresh\":true}\n"
		    "{\"handle\":\"say \\\"hi\\\"\\nthere\",\"tags\":[\"z\"]}\n! :6: \"handle\" is missing\n"
		    "{\"handle\":\"d\",\"limit\":8,\"fresh\":false}\n");
	assert_file(".csv", "handle,limit\na\nb,1,2\nc,3\n\"d,4\n",
		    "! :2: 1 fields, but the first line has 2\n! :3: 3 fields, but the first line has 2\n"
		    "{\"handle\":\"c\",\"limit\":3}\n! :5: a quote that is not closed\n");
	assert_file(".csv", "handle,limits\na,5\n", "!! :1: the flow has no parameter \"limits\"\n");
	assert_file(".csv", "", "!! :1: the flow has no parameter \"\"\n");
	assert_file(".csv", "\"handle\n", "!! :1: the first line must name up to 64 parameters\n");
}

static void print_is_of_the_bytes(void **state)
{
	static const char one[] = "[{\"handle\":\"a\"}]", other[] = "[{\"handle\":\"b\"}]";
	struct items *a, *b, *c;

	(void)state;
	a = items_from_json(one, strlen(one), "params", options, NULL);
	b = items_from_json(one, strlen(one), "params", options, NULL);
	c = items_from_json(other, strlen(other), "params", options, NULL);
	assert_string_equal(items_print(a), items_print(b));
	assert_string_not_equal(items_print(a), items_print(c));
	items_free(&a);
	items_free(&b);
	items_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(lines),
		cmocka_unit_test(rows),
		cmocka_unit_test(print_is_of_the_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
