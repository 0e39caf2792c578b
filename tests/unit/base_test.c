/* SPDX-License-Identifier: Apache-2.0 */
/* core/base: memory, text, numbers, time, maps, identifiers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <locale.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "base/map.h"
#include "base/num.h"
#include "base/rate.h"
#include "base/server_url.h"
#include "base/str.h"
#include "base/uuid.h"

static void arena_gives_zeroed_aligned_memory_of_any_size(void **state)
{
	struct arena *arena = arena_new();
	size_t total = 0;

	(void)state;
	for (size_t size = 0; size < 700000; size = size * 2 + 1) {
		unsigned char *memory = arena_alloc(arena, size);

		assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(memory[i], 0);
		memset(memory, 0xff, size);
		total += size;
		assert_true(arena_used(arena) >= total);
	}
	arena_reset(arena);
	assert_int_equal(arena_used(arena), 0);
	assert_int_equal(*(char *)arena_alloc(arena, 100), 0);
	arena_free(&arena);
	assert_null(arena);
	arena_free(&arena);
}

static void arena_keeps_what_it_gave(void **state)
{
	struct arena *arena = arena_new();
	char *texts[2000];
	char expected[32];

	(void)state;
	for (int i = 0; i < 2000; i++) {
		texts[i] = arena_printf(arena, "text %d", i);
		if (i % 100 == 0)
			memset(arena_alloc(arena, 100000), 'x', 100000);
	}
	for (int i = 0; i < 2000; i++) {
		snprintf(expected, sizeof(expected), "text %d", i);
		assert_string_equal(texts[i], expected);
	}
	assert_string_equal(arena_strndup(arena, "abcdef", 3), "abc");
	assert_int_equal(strlen(arena_printf(arena, "%500d", 7)), 500);
	arena_free(&arena);
}

static void arena_grows_an_array_and_keeps_its_items(void **state)
{
	struct arena *arena = arena_new();
	int *items = NULL;

	(void)state;
	for (int count = 0; count < 1000; count++) {
		int *before = items;

		items = arena_grow(arena, items, (size_t)count, sizeof(*items));
		assert_int_equal(items[count], 0);
		items[count] = count + 1;
		for (int i = 0; i <= count; i++)
			assert_int_equal(items[i], i + 1);
		if (count == 3)			/* room for four: nothing moves */
			assert_ptr_equal(items, before);
	}
	arena_free(&arena);
}

static void buffer_grows_and_is_always_terminated(void **state)
{
	struct buf buf;
	char *stolen;

	(void)state;
	buf_init(&buf);
	assert_null(buf.data);
	for (int i = 0; i < 1000; i++) {
		buf_addc(&buf, 'a');
		assert_int_equal(strlen(buf.data), buf.len);
	}
	buf_clear(&buf);
	buf_adds(&buf, "one ");
	buf_printf(&buf, "%d %300s", 2, "x");
	assert_int_equal(buf.len, 4 + 2 + 300);
	assert_string_equal(buf.data + buf.len - 1, "x");
	buf_consume(&buf, 4);
	assert_memory_equal(buf.data, "2 ", 2);
	buf_consume(&buf, 100000);
	assert_int_equal(buf.len, 0);
	assert_string_equal(buf.data, "");
	memcpy(buf_reserve(&buf, 3), "xyz", 3);
	buf.len += 3;
	assert_string_equal(buf.data, "xyz");
	stolen = buf_steal(&buf);
	assert_string_equal(stolen, "xyz");
	mem_release(stolen);
	stolen = buf_steal(&buf);
	assert_string_equal(stolen, "");
	mem_release(stolen);
	buf_fini(&buf);
}

static void errors_carry_context_and_mark_the_cut(void **state)
{
	struct error err = {0};
	char longer[3000];

	(void)state;
	assert_int_equal(error_set(&err, ERR_INPUT, "bad %d", 7), -1);
	assert_int_equal(error_prefix(&err, "flow %s", "x"), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_string_equal(err.text, "flow x: bad 7");
	errno = ENOENT;
	error_errno(&err, "open %s", "f");
	assert_int_equal(err.code, ERR_IO);
	assert_string_equal(err.text, "open f: No such file or directory");
	memset(longer, 'y', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	error_set(&err, ERR_IO, "%s", longer);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_true(str_ends(err.text, "y..."));
	error_prefix(&err, "context");
	assert_true(str_starts(err.text, "context: yyy"));
	assert_true(str_ends(err.text, "..."));
	error_clear(&err);
	assert_int_equal(err.code, ERR_NONE);
	assert_string_equal(err.text, "");
	assert_int_equal(error_set(NULL, ERR_IO, "nobody asks"), -1);
}

static void list_links_and_unlinks(void **state)
{
	struct thing {
		int number;
		struct list node;
	} things[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
	struct list head, *pos, *following;
	int sum = 0;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	for (int i = 0; i < 3; i++)
		list_append(&head, &things[i].node);
	list_each_safe(pos, following, &head) {
		sum = sum * 10 + list_entry(pos, struct thing, node)->number;
		list_remove(pos);
	}
	assert_int_equal(sum, 123);
	assert_true(list_empty(&head));
	list_remove(&things[0].node);
}

static void text_helpers_answer(void **state)
{
	static const char *const words[] = {"interval", "workers", "concurrency", "timeout", "rows"};
	struct buf out;
	char small[4];

	(void)state;
	assert_true(str_eq(NULL, NULL));
	assert_false(str_eq("a", NULL));
	assert_true(str_eq("a", "a"));
	assert_true(str_starts("abc", "ab"));
	assert_false(str_starts("a", "ab"));
	assert_true(str_ends("abc", "bc"));
	assert_false(str_ends("c", "bc"));
	assert_string_equal(str_nearest("intervall", words, 5), "interval");
	assert_string_equal(str_nearest("wrokers", words, 5), "workers");
	assert_string_equal(str_nearest("row", words, 5), "rows");
	assert_null(str_nearest("xy", words, 5));
	assert_null(str_nearest("elephants", words, 5));
	assert_true(str_is_name("refresh_profile-2"));
	assert_false(str_is_name("2x"));
	assert_false(str_is_name("Upper"));
	assert_false(str_is_name(""));
	assert_false(str_is_name("a/b"));
	assert_true(str_format(small, sizeof(small), "abc"));
	assert_false(str_format(small, sizeof(small), "abcd"));
	assert_string_equal(small, "abc");
	buf_init(&out);
	str_url_encode(&out, "a b/ü~", strlen("a b/ü~"));
	assert_string_equal(out.data, "a%20b%2F%C3%BC~");
	buf_fini(&out);
}

static void utf8_is_checked_strictly(void **state)
{
	static const struct {
		const char *bytes;
		bool valid;
	} cases[] = {
		{"", true}, {"plain", true}, {"\xc3\xbc", true}, {"\xe2\x82\xac", true}, {"\xf0\x9f\x98\x80", true},
		{"\x80", false}, {"\xc3", false}, {"\xc0\xaf", false}, {"\xe0\x80\xaf", false},
		{"\xed\xa0\x80", false}, {"\xf4\x90\x80\x80", false}, {"\xf0\x9f\x98", false}, {"\xff", false},
		{"ok\xe2\x28\xa1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(str_is_utf8(cases[i].bytes, strlen(cases[i].bytes)), cases[i].valid);
	assert_true(str_is_utf8("a\0b", 3));
}

static void numbers_are_read_whole_or_refused(void **state)
{
	int64_t i;
	double d;

	(void)state;
	assert_int_equal(num_parse_int("-9223372036854775808", &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(num_parse_int("9223372036854775808", &i), -1);
	assert_int_equal(num_parse_int("", &i), -1);
	assert_int_equal(num_parse_int("-", &i), -1);
	assert_int_equal(num_parse_int(" 1", &i), -1);
	assert_int_equal(num_parse_int("1x", &i), -1);
	assert_int_equal(num_parse_double("-1.5e3", &d), 0);
	assert_true(d == -1500.0);
	assert_int_equal(num_parse_double("inf", &d), -1);
	assert_int_equal(num_parse_double("1e999", &d), -1);
	assert_int_equal(num_parse_double("0x10", &d), -1);
	assert_int_equal(num_parse_double("1,5", &d), -1);
	assert_int_equal(num_parse_double("", &d), -1);
}

static void rates_are_count_period_and_burst(void **state)
{
	static const struct {
		const char *text;
		struct rate rate;
	} good[] = {
		{"100/30s", {100, 30000, 0}}, {"850/min", {850, 60000, 0}}, {"1/second", {1, 1000, 0}},
		{"5/1s burst 5", {5, 1000, 5}}, {"20000/day burst 50", {20000, 86400000, 50}}, {"7/h", {7, 3600000, 0}},
		{"100000000/366d burst 1", {100000000, INT64_C(31622400000), 1}}, {"2/250ms", {2, 250, 0}},
	};
	static const char *const bad[] = {
		"", "/", "100", "100/", "/30s", "0/1s", "-1/1s", "+1/1s", "1/1", "1/0s", "1/367d", "100000001/1s", "1.5/s",
		"10/1s burst 11", "10/1s burst 0", "10/1s burst", "10/1s burst  2", "10/1s burst x", "100 per minute",
		"10 burst 2/1s", " 1/s", "1/s ", "1/days", "1/burst 1",
	};
	struct rate rate;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (rate_parse(good[i].text, &rate) < 0)
			fail_msg("%s is a rate", good[i].text);
		assert_memory_equal(&rate, &good[i].rate, sizeof(rate));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (rate_parse(bad[i], &rate) == 0)
			fail_msg("%s is no rate", bad[i]);
}

static void durations_and_sizes_need_their_units(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} durations[] = {
		{"250ms", 250}, {"30s", 30000}, {"10m", 600000}, {"2h", 7200000}, {"30d", 2592000000},
		{"1.5s", 1500}, {"0s", 0}, {"30", -1}, {"-1s", -1}, {"s", -1}, {"1 s", -1}, {"1S", -1}, {".5s", -1},
		{"1.s", -1}, {"9223372036854775807d", -1}, {"1w", -1},
	}, sizes[] = {
		{"512", 512}, {"64KiB", 65536}, {"32MiB", 33554432}, {"1GiB", 1073741824}, {"1kB", 1000},
		{"5MB", 5000000}, {"2GB", 2000000000}, {"1.5KiB", 1536}, {"1kb", -1}, {"", -1}, {"MiB", -1},
		{"9999999999GiB", -1},
	};
	int64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		value = -1;
		assert_int_equal(num_parse_duration(durations[i].text, &value), durations[i].ms < 0 ? -1 : 0);
		assert_int_equal(value, durations[i].ms);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		value = -1;
		assert_int_equal(num_parse_size(sizes[i].text, &value), sizes[i].ms < 0 ? -1 : 0);
		assert_int_equal(value, sizes[i].ms);
	}
}

static void server_urls_are_taken_apart(void **state)
{
	static const char *const bad[] = {
		"", "h", "/h", "//", "//:1", "//h:", "//h:0", "//h:65536", "//h:x", "//h,", "//,h", "//[::1", "//[]", "//[::1]5",
		"//h o", "//u%@h", "//u:%zz@h", "//h/%", "//h/a/b", "//h#f", "//h?a", "//h?a=%1", "//u@", "//[h]]",
	};
	struct arena *arena = arena_new();
	struct server_url url;
	struct error err;

	(void)state;
	assert_int_equal(server_url_parse("//u%40x:p%3a%2F@[::1],b:77/v%2Fw?x=1&y=%20&z=", "S", 5, arena, &url, &err), 0);
	assert_string_equal(url.user, "u@x");
	assert_string_equal(url.password, "p:/");
	assert_int_equal(url.host_count, 2);
	assert_string_equal(url.hosts[0].name, "::1");
	assert_string_equal(url.hosts[0].shown, "[::1]:5");
	assert_string_equal(url.hosts[1].shown, "b:77");
	assert_int_equal(url.hosts[1].port, 77);
	assert_string_equal(url.path, "v/w");
	assert_int_equal(url.option_count, 3);
	assert_string_equal(url.options[1].value, " ");
	assert_string_equal(url.options[2].name, "z");
	assert_string_equal(url.options[2].value, "");
	assert_int_equal(server_url_parse("//h", "S", 5, arena, &url, &err), 0);
	assert_true(url.user == NULL && url.password == NULL && url.path == NULL && url.option_count == 0);
	assert_int_equal(server_url_parse("//@h/", "S", 5, arena, &url, &err), 0);
	assert_true(*url.user == '\0' && url.password == NULL && url.path == NULL);
	assert_int_equal(server_url_parse_socket("//:p@/a%20b/c?db=1", "S", arena, &url, &err), 0);
	assert_string_equal(url.path, "/a b/c");
	assert_string_equal(url.password, "p");
	assert_int_equal(url.host_count, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (server_url_parse(bad[i], "S", 5, arena, &url, &err) == 0)
			fail_msg("%s was taken", bad[i]);
	assert_int_equal(server_url_parse_socket("//h/a", "S", arena, &url, &err), -1);
	assert_int_equal(server_url_parse_socket("///", "S", arena, &url, &err), -1);
	assert_int_equal(server_url_parse("//u:secret%@h", "x://HOST", 5, arena, &url, &err), -1);
	assert_string_equal(err.text, "must look like x://HOST, special characters percent-encoded");
	arena_free(&arena);
}

static void times_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{"1970-01-01", 0}, {"2024-02-29T12:34:56Z", 1709210096000}, {"2024-02-29 12:34:56", 1709210096000},
		{"2024-02-29T14:34:56+02:00", 1709210096000}, {"2024-02-29T07:04:56-0530", 1709210096000},
		{"2024-02-29T12:34:56.789Z", 1709210096789}, {"2024-02-29T12:34:56.789123+00:00", 1709210096789},
		{"1969-12-31T23:59:59Z", -1000}, {"2024-02-29T12:34Z", 1709210040000},
		{"2016-12-31T23:59:60Z", 1483228800000},
	};
	static const char *const refused[] = {
		"", "2023-02-29", "2024-13-01", "2024-00-10", "2024-01-32", "2024-1-1", "2024-01-01T", "2024-01-01T25:00:00",
		"2024-01-01T00:00:00x", "2024-01-01T00:00:00.", "2024-01-01T00:00:00+1", "2024-01-01 00:61:00", "yesterday",
		"2024-01-01T00:00:00Zz", "1709210096",
	};
	char text[CLOCK_TEXT_SIZE];
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(clock_parse(cases[i].text, strlen(cases[i].text), &ms), 0);
		assert_true(ms == cases[i].ms);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(clock_parse(refused[i], strlen(refused[i]), &ms), -1);
	assert_string_equal(clock_format(text, 1709210096), "2024-02-29 12:34:56");
	assert_string_equal(clock_format(text, -1), "1969-12-31 23:59:59");
	assert_string_equal(clock_format_ms(text, -1), "1969-12-31 23:59:59.999");
	for (int64_t day = -200000; day < 200000; day += 37) {
		clock_format(text, day * 86400 + 3661);
		if (text[0] == '-' || strlen(text) != 19)
			continue;
		assert_int_equal(clock_parse(text, strlen(text), &ms), 0);
		assert_true(ms == (day * 86400 + 3661) * 1000);
	}
	assert_true(clock_boot_ms() >= clock_mono_ms() - 1000);
	assert_true(clock_wall_ms() > 1700000000000);
}

static void map_finds_what_was_put_after_any_removal(void **state)
{
	struct map *map = map_new();
	static int values[5000];
	char key[32];
	const char *name;
	void *value;
	size_t cursor = 0, seen = 0;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		assert_null(map_put(map, key, &values[i]));
	}
	assert_int_equal(map_count(map), 5000);
	for (int i = 0; i < 5000; i += 3) {
		snprintf(key, sizeof(key), "key %d", i);
		assert_ptr_equal(map_remove(map, key), &values[i]);
		assert_null(map_remove(map, key));
	}
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		assert_ptr_equal(map_get(map, key), i % 3 ? &values[i] : NULL);
	}
	while (map_next(map, &cursor, &name, &value)) {
		assert_ptr_equal(map_get(map, name), value);
		seen++;
	}
	assert_int_equal(seen, map_count(map));
	assert_ptr_equal(map_put(map, "key 1", &values[0]), &values[1]);
	assert_ptr_equal(map_get(map, "key 1"), &values[0]);
	map_free(&map);
	assert_null(map);
	map_free(&map);
}

static void backoff_doubles_up_to_its_cap(void **state)
{
	struct backoff backoff;
	int64_t full = 1000;

	(void)state;
	backoff_init(&backoff, 1000, 60000);
	for (int i = 0; i < 100; i++) {
		int64_t delay = backoff_next(&backoff);

		assert_in_range(delay, full / 2, full);
		full = full * 2 > 60000 ? 60000 : full * 2;
	}
	backoff_reset(&backoff);
	assert_in_range(backoff_next(&backoff), 500, 1000);
	backoff_bound(&backoff, 100, 10);		/* the cap is no less than the first; one failure stays counted */
	assert_in_range(backoff_next(&backoff), 50, 100);
	backoff_bound(&backoff, 1000, 60000);
	assert_in_range(backoff_next(&backoff), 2000, 4000);
}

static void identifiers_have_their_form(void **state)
{
	char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE], hash[SHA256_TEXT_SIZE];

	(void)state;
	assert_string_not_equal(uuid_random(a), uuid_random(b));
	assert_int_equal(strlen(a), 36);
	assert_int_equal(a[14], '4');
	assert_non_null(strchr("89ab", a[19]));
	assert_string_equal(uuid_from(a, "abc", 3), uuid_from(b, "abc", 3));
	assert_int_equal(a[14], '8');
	assert_string_not_equal(uuid_from(a, "abc", 3), uuid_from(b, "abd", 3));
	assert_string_equal(sha256_hex(hash, "abc", 3),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(random_u64() != random_u64());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arena_gives_zeroed_aligned_memory_of_any_size),
		cmocka_unit_test(arena_keeps_what_it_gave),
		cmocka_unit_test(arena_grows_an_array_and_keeps_its_items),
		cmocka_unit_test(buffer_grows_and_is_always_terminated),
		cmocka_unit_test(errors_carry_context_and_mark_the_cut),
		cmocka_unit_test(list_links_and_unlinks),
		cmocka_unit_test(text_helpers_answer),
		cmocka_unit_test(utf8_is_checked_strictly),
		cmocka_unit_test(numbers_are_read_whole_or_refused),
		cmocka_unit_test(durations_and_sizes_need_their_units),
		cmocka_unit_test(rates_are_count_period_and_burst),
		cmocka_unit_test(server_urls_are_taken_apart),
		cmocka_unit_test(times_are_read_and_written),
		cmocka_unit_test(map_finds_what_was_put_after_any_removal),
		cmocka_unit_test(backoff_doubles_up_to_its_cap),
		cmocka_unit_test(identifiers_have_their_form),
	};

	setlocale(LC_ALL, "");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
