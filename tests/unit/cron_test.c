/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules: what is one, when it comes, and what changes of the clocks do to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/cron.h"
#include "base/str.h"
#include "base/zone.h"

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static int64_t utc(const char *text)
{
	int64_t ms;

	assert_int_equal(clock_parse(text, strlen(text), &ms), 0);
	return ms / 1000;
}

static const struct zone *zone_of(const char *name)
{
	struct error err;
	const struct zone *zone = zone_load(arena, name, utc("2026-01-01"), &err);

	if (zone == NULL)
		fail_msg("%s", err.text);
	return zone;
}

static const char *bad_texts[] = {
	"", "0 0 * *", "0 0 0 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *",
	"* * * * 8", "*/0 * * * *", "*/ * * * *", "1- * * * *", "5-1 * * * *", "1,,2 * * * *", ",1 * * * *", "1, * * * *",
	"a * * * *", "* * * JANUARY *", "* * MON * *", "@never", "-1 * * * *", "1-2-3 * * * *", "1/2/3 * * * *",
	"60 * * * * *", "** * * * *", "0x1 * * * *", "* * * * * extra *", "every day", "1000 * * * *"
};

static void wrong_ones_are_refused(void **state)
{
	struct cron cron;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
		if (cron_parse(&cron, bad_texts[i], &err) == 0)
			fail_msg("\"%s\" was taken", bad_texts[i]);
		assert_int_equal(err.code, ERR_INPUT);
	}
	assert_int_equal(cron_parse(&cron, "0 25 * * *", &err), -1);
	assert_string_equal(err.text, "hour: \"25\" is not made of 0 to 23");
}

struct example {
	const char *text, *zone, *after;
	const char *next[4];		/* in a row; UTC */
};

static const struct example plain[] = {
	{"*/15 * * * *", "UTC", "2026-03-01 10:07:00",
	 {"2026-03-01 10:15:00", "2026-03-01 10:30:00", "2026-03-01 10:45:00", "2026-03-01 11:00:00"}},
	{"0 */4 * * *", "UTC", "2026-03-01 20:00:00", {"2026-03-02 00:00:00", "2026-03-02 04:00:00"}},
	{"0 */4 * * *", "Asia/Kolkata", "2026-03-01 00:00:00", {"2026-03-01 02:30:00", "2026-03-01 06:30:00"}},
	{"30 9 * * MON-FRI", "UTC", "2026-02-27 10:00:00", {"2026-03-02 09:30:00", "2026-03-03 09:30:00"}},
	{"0 0 * * fri-sun", "UTC", "2026-03-01 00:00:00",
	 {"2026-03-06 00:00:00", "2026-03-07 00:00:00", "2026-03-08 00:00:00", "2026-03-13 00:00:00"}},
	{"0 0 * * 7", "UTC", "2026-03-02 00:00:00", {"2026-03-08 00:00:00", "2026-03-15 00:00:00"}},
	{"0 0 29 2 *", "UTC", "2026-03-01 00:00:00", {"2028-02-29 00:00:00", "2032-02-29 00:00:00"}},
	{"0 0 29 2 *", "UTC", "2096-03-01 00:00:00", {"2104-02-29 00:00:00"}},
	{"0 12 13 * 5", "UTC", "2026-03-01 00:00:00", {"2026-03-06 12:00:00", "2026-03-13 12:00:00", "2026-03-20 12:00:00"}},
	{"0 12 */31 * MON", "UTC", "2026-03-01 13:00:00", {"2026-06-01 12:00:00"}},
	{"0 0 1 jan,Jul *", "UTC", "2026-03-01 00:00:00", {"2026-07-01 00:00:00", "2027-01-01 00:00:00"}},
	{"50-59/3,7 23 * * *", "UTC", "2026-03-01 23:50:00",
	 {"2026-03-01 23:53:00", "2026-03-01 23:56:00", "2026-03-01 23:59:00", "2026-03-02 23:07:00"}},
	{"10/20 * * * *", "UTC", "2026-03-01 00:00:00",
	 {"2026-03-01 00:10:00", "2026-03-01 00:30:00", "2026-03-01 00:50:00", "2026-03-01 01:10:00"}},
	{"@hourly", "UTC", "2026-12-31 23:00:00", {"2027-01-01 00:00:00"}},
	{"@Daily", "UTC", "2026-12-31 23:00:00", {"2027-01-01 00:00:00"}},
	{"@weekly", "UTC", "2026-03-01 00:00:00", {"2026-03-08 00:00:00"}},
	{"@monthly", "UTC", "2026-03-01 00:00:00", {"2026-04-01 00:00:00"}},
	{"@yearly", "UTC", "2026-03-01 00:00:00", {"2027-01-01 00:00:00"}},
	{"*/20 * * * * *", "UTC", "2026-03-01 00:00:39",
	 {"2026-03-01 00:00:40", "2026-03-01 00:01:00", "2026-03-01 00:01:20", "2026-03-01 00:01:40"}},
	{"30 59 23 31 12 *", "UTC", "2026-03-01 00:00:00", {"2026-12-31 23:59:30", "2027-12-31 23:59:30"}},
	{"0 0 31 * *", "UTC", "2026-03-31 00:00:00", {"2026-05-31 00:00:00", "2026-07-31 00:00:00"}},
	{" 0  0\t1 1 * ", "UTC", "1969-06-01 00:00:00", {"1970-01-01 00:00:00"}},
};

/* Berlin: 2026-03-29 01:00 UTC 02:00 -> 03:00, 2026-10-25 01:00 UTC 03:00 -> 02:00. New York: 8 March, 1 November. */
static const struct example changes[] = {
	/* Fixed times in the hour that is left out come once, right after it. */
	{"30 2 * * *", "Europe/Berlin", "2026-03-28 12:00:00", {"2026-03-29 01:00:00", "2026-03-30 00:30:00"}},
	{"0,20,40 2 * * *", "Europe/Berlin", "2026-03-28 12:00:00",
	 {"2026-03-29 01:00:00", "2026-03-30 00:00:00", "2026-03-30 00:20:00"}},
	{"0 3 * * *", "Europe/Berlin", "2026-03-28 12:00:00", {"2026-03-29 01:00:00", "2026-03-30 01:00:00"}},
	{"30 2 * * *", "America/New_York", "2026-03-07 12:00:00", {"2026-03-08 07:00:00", "2026-03-09 06:30:00"}},
	/* Those in the hour that comes twice, the first time only. */
	{"30 2 * * *", "Europe/Berlin", "2026-10-24 12:00:00", {"2026-10-25 00:30:00", "2026-10-26 01:30:00"}},
	{"30 2 * * *", "Europe/Berlin", "2026-10-25 01:10:00", {"2026-10-26 01:30:00"}},
	{"30 1 * * *", "America/New_York", "2026-10-31 12:00:00", {"2026-11-01 05:30:00", "2026-11-02 06:30:00"}},
	{"0 3 * * *", "Europe/Berlin", "2026-10-24 12:00:00", {"2026-10-25 02:00:00", "2026-10-26 02:00:00"}},
	/* What runs with the clock skips the one and comes twice in the other. */
	{"*/30 * * * *", "Europe/Berlin", "2026-03-29 00:30:00",
	 {"2026-03-29 01:00:00", "2026-03-29 01:30:00", "2026-03-29 02:00:00", "2026-03-29 02:30:00"}},
	{"*/30 2 * * *", "Europe/Berlin", "2026-03-28 12:00:00", {"2026-03-30 00:00:00", "2026-03-30 00:30:00"}},
	{"*/30 2 * * *", "Europe/Berlin", "2026-10-24 12:00:00",
	 {"2026-10-25 00:00:00", "2026-10-25 00:30:00", "2026-10-25 01:00:00", "2026-10-25 01:30:00"}},
	{"0 * * * *", "America/New_York", "2026-11-01 04:00:00",
	 {"2026-11-01 05:00:00", "2026-11-01 06:00:00", "2026-11-01 07:00:00"}},
	{"0 * * * *", "America/New_York", "2026-03-08 06:00:00", {"2026-03-08 07:00:00", "2026-03-08 08:00:00"}},
	/* Half an hour's change, in the southern summer: 2026-04-05 02:00 -> 01:30, 2026-10-04 02:00 -> 02:30. */
	{"45 1 * * *", "Australia/Lord_Howe", "2026-04-04 00:00:00", {"2026-04-04 14:45:00", "2026-04-05 15:15:00"}},
	{"15 2 * * *", "Australia/Lord_Howe", "2026-10-02 20:00:00", {"2026-10-03 15:30:00", "2026-10-04 15:15:00"}},
};

static void check_examples(const struct example *examples, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct example *example = &examples[i];
		int64_t at = utc(example->after);
		struct cron cron;
		struct error err;

		if (cron_parse(&cron, example->text, &err) != 0)
			fail_msg("\"%s\": %s", example->text, err.text);
		for (size_t j = 0; j < 4 && example->next[j] != NULL; j++) {
			char text[CLOCK_TEXT_SIZE];

			at = cron_next(&cron, zone_of(example->zone), at);
			clock_format(text, at);
			if (!str_eq(text, example->next[j]))
				fail_msg("\"%s\" in %s after %s: %zu is %s, not %s", example->text, example->zone,
					 example->after, j, text, example->next[j]);
		}
	}
}

static void slots_come_when_they_should(void **state)
{
	(void)state;
	check_examples(plain, sizeof(plain) / sizeof(plain[0]));
}

static void clocks_change(void **state)
{
	(void)state;
	check_examples(changes, sizeof(changes) / sizeof(changes[0]));
}

static void some_never_come(void **state)
{
	struct cron cron;

	(void)state;
	assert_int_equal(cron_parse(&cron, "0 0 30 2 *", NULL), 0);
	assert_int_equal(cron_next(&cron, zone_of("UTC"), utc("2026-01-01")), -1);
	assert_int_equal(cron_parse(&cron, "* 0 31 4,6,9,11 *", NULL), 0);
	assert_int_equal(cron_next(&cron, zone_of("Europe/Berlin"), utc("2026-01-01")), -1);
}

static void unknown_zones_are_refused(void **state)
{
	static const char *const names[] = {"", "Mars/Olympus", "../zoneinfo/UTC", "/usr/share/zoneinfo/Europe/Berlin",
					    "Europe", "Europe/Berlin ", "posixrules.txt", "."};
	struct error err;

	(void)state;
	setenv("TZ", "Asia/Tokyo", 1);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_null(zone_load(arena, names[i], 0, &err));
		assert_int_equal(err.code, ERR_INPUT);
	}
	assert_non_null(zone_of("Asia/Kolkata"));
	assert_string_equal(getenv("TZ"), "Asia/Tokyo");
	unsetenv("TZ");
	assert_int_equal(zone_offset(zone_of("Asia/Kolkata"), utc("2026-06-01")), 19800);
	assert_null(getenv("TZ"));
}

/* --- against a plain walk over every minute, with the C library as the clock --- */

#define WALK_MINUTES (4 * 24 * 60)

static bool plain_match(const struct cron *cron, const struct tm *tm)
{
	bool by_date = (cron->days >> tm->tm_mday & 1) != 0, by_week = (cron->weekdays >> tm->tm_wday & 1) != 0;

	return (cron->minutes >> tm->tm_min & 1) != 0 && (cron->hours >> tm->tm_hour & 1) != 0 &&
	       (cron->months >> (tm->tm_mon + 1) & 1) != 0 &&
	       (cron->either ? by_date || by_week : by_date && by_week);
}

static struct tm clock_at(int64_t utc_s, int64_t *wall_s)
{
	time_t when = (time_t)utc_s;
	struct tm tm;

	localtime_r(&when, &tm);
	*wall_s = utc_s + tm.tm_gmtoff;
	return tm;
}

/* Whether a minute that the clock left out before utc_s matches. */
static bool left_out_match(const struct cron *cron, int64_t from_wall, int64_t to_wall)
{
	for (; from_wall < to_wall; from_wall += 60) {
		time_t as_utc = (time_t)from_wall;
		struct tm tm;

		gmtime_r(&as_utc, &tm);
		if (plain_match(cron, &tm))
			return true;
	}
	return false;
}

/* The slots after start, one bit per minute. */
static void plain_slots(const struct cron *cron, int64_t start, bool slots[WALK_MINUTES])
{
	int64_t shown = INT64_MIN, last;	/* the latest time any clock has shown */
	struct tm tm = clock_at(start - 86400, &last);

	for (int64_t at = start - 86400; at < start + WALK_MINUTES * 60; at += 60) {
		int64_t wall;
		bool slot;

		tm = clock_at(at, &wall);
		slot = plain_match(cron, &tm);
		if (!cron->runs && wall <= shown)
			slot = false;
		if (!cron->runs && wall > last + 60)
			slot = slot || left_out_match(cron, last + 60, wall);
		shown = wall > shown ? wall : shown;
		last = wall;
		if (at > start)
			slots[(at - start) / 60] = slot;
	}
}

static const char *random_field(const char *const *choices, unsigned int *seed)
{
	return choices[(unsigned int)rand_r(seed) % 8];
}

static void random_text(char *out, size_t size, unsigned int *seed)
{
	static const char *const minutes[] = {"*", "*/7", "0", "30", "15,45", "1-59/2", "59", "0-29"};
	static const char *const hours[] = {"*", "*/3", "2", "1", "3", "0-4", "1,2,3", "23"};
	static const char *const days[] = {"*", "*", "*", "*/2", "29", "25", "1-15", "8"};
	static const char *const months[] = {"*", "*", "*", "3", "10,11", "MAR-NOV", "*/2", "4"};
	static const char *const weekdays[] = {"*", "*", "*", "SUN", "1-5", "*/2", "6,7", "0"};

	str_format(out, size, "%s %s %s %s %s", random_field(minutes, seed), random_field(hours, seed),
		   random_field(days, seed), random_field(months, seed), random_field(weekdays, seed));
}

static void agrees_with_a_walk_over_every_minute(void **state)
{
	static const char *const zones[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"};
	static const char *const starts[] = {"2026-03-27 07:00:00", "2026-10-23 11:00:00", "2026-03-06 00:00:00",
					     "2026-10-30 03:00:00", "2026-04-03 01:00:00", "2026-10-02 00:30:00"};
	static bool slots[WALK_MINUTES];
	const struct zone *loaded[4];
	unsigned int seed = 20260325;
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		loaded[i] = zone_of(zones[i]);
	for (int turn = 0; turn < 600; turn++) {
		const char *name = zones[turn % 4];
		int64_t start = utc(starts[turn % 6]), at = start;
		const struct zone *zone = loaded[turn % 4];
		struct cron cron;
		char text[80];

		random_text(text, sizeof(text), &seed);
		assert_int_equal(cron_parse(&cron, text, NULL), 0);
		setenv("TZ", name, 1);
		tzset();
		plain_slots(&cron, start, slots);
		at = cron_next(&cron, zone, at);
		for (int64_t minute = 1; minute < WALK_MINUTES; minute++) {
			bool slot = at == start + minute * 60;

			if (slot != slots[minute])
				fail_msg("\"%s\" in %s, minute %lld after %s: %d", text, name, (long long)minute,
					 starts[turn % 6], slot);
			if (slot)
				at = cron_next(&cron, zone, at);
			found += slot;
		}
	}
	unsetenv("TZ");
	assert_true(found > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wrong_ones_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(slots_come_when_they_should, setup, teardown),
		cmocka_unit_test_setup_teardown(clocks_change, setup, teardown),
		cmocka_unit_test_setup_teardown(some_never_come, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_zones_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(agrees_with_a_walk_over_every_minute, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
