/* SPDX-License-Identifier: Apache-2.0 */
/* See cron.h. A wall clock's time is counted in seconds as if it were UTC. */
#include "base/cron.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/zone.h"

#define DAY 86400
#define HORIZON_DAYS (40 * 366)
#define FIELD_MAX 200		/* bytes of one field */

/* --- the text --- */

static const char *const month_names[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
					  "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", NULL};
static const char *const day_names[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL};

enum { SECOND, MINUTE, HOUR, MDAY, MONTH, WEEKDAY, FIELDS };
static const struct field_def {
	const char *name;
	int low, high;
	const char *const *names;	/* of low, low + 1, … */
} fields[FIELDS] = {
	[SECOND] = {"second", 0, 59, NULL}, [MINUTE] = {"minute", 0, 59, NULL}, [HOUR] = {"hour", 0, 23, NULL},
	[MDAY] = {"day of the month", 1, 31, NULL}, [MONTH] = {"month", 1, 12, month_names},
	[WEEKDAY] = {"day of the week", 0, 7, day_names}
};

/* A number or a name. What follows it, or NULL. */
static const char *take_value(const struct field_def *def, const char *p, int *value_r)
{
	size_t digits = strspn(p, "0123456789");

	*value_r = 0;
	for (size_t i = 0; i < digits && i < 3; i++)
		*value_r = *value_r * 10 + (p[i] - '0');
	if (digits > 0)
		return digits < 3 && *value_r >= def->low && *value_r <= def->high ? p + digits : NULL;
	for (int i = 0; def->names != NULL && def->names[i] != NULL; i++)
		if (strncasecmp(p, def->names[i], 3) == 0) {
			*value_r = def->low + i;
			return p + 3;
		}
	return NULL;
}

/* "/step". What follows it, or NULL. */
static const char *take_step(const char *p, int *step_r)
{
	size_t digits = strspn(p + 1, "0123456789");

	*step_r = 0;
	for (size_t i = 1; i <= digits && i < 4; i++)
		*step_r = *step_r * 10 + (p[i] - '0');
	return digits > 0 && digits < 3 && *step_r > 0 ? p + 1 + digits : NULL;
}

/* One of a field's parts between commas. What follows it, or NULL. */
static const char *take_part(const struct field_def *def, const char *p, uint64_t *bits)
{
	int first = def->low, last = def->high, step = 1;
	bool range = *p == '*';

	if (range)
		p++;
	else if ((p = take_value(def, p, &first)) != NULL && *p == '-') {
		p = take_value(def, p + 1, &last);
		range = true;
		/* "FRI-SUN": Sunday ends a week, too. */
		if (p != NULL && last == 0 && def->names == day_names && first > 0)
			last = 7;
		if (p != NULL && first > last)
			return NULL;
	}
	if (p != NULL && *p == '/')
		p = take_step(p, &step);
	else if (!range)
		last = first;
	for (int value = first; p != NULL && value <= last; value += step)
		*bits |= (uint64_t)1 << value;
	return p;
}

static int parse_field(const struct field_def *def, const char *text, uint64_t *bits_r, struct error *err)
{
	const char *p = text;

	*bits_r = 0;
	for (;;) {
		p = take_part(def, p, bits_r);
		if (p != NULL && *p == '\0')
			return 0;
		if (p == NULL || *p != ',')
			return error_set(err, ERR_INPUT, "%s: \"%.40s\" is not made of %d to %d%s", def->name, text, def->low,
					 def->high, def->names != NULL ? " or names" : "");
		p++;
	}
}

static const char *nickname(const char *text)
{
	static const char *const names[][2] = {
		{"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"},
		{"@weekly", "0 0 * * 0"}, {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
		{"@annually", "0 0 1 1 *"}
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(text, names[i][0]) == 0)
			return names[i][1];
	return text;
}

/* The text's words; how many there are, one more than FIELDS for more. */
static int split(const char *text, char words[FIELDS][FIELD_MAX])
{
	int count = 0;

	for (text += strspn(text, " \t"); *text != '\0'; text += strspn(text, " \t")) {
		size_t len = strcspn(text, " \t");

		if (count == FIELDS || len >= FIELD_MAX)
			return FIELDS + 1;
		str_format(words[count++], FIELD_MAX, "%.*s", (int)len, text);
		text += len;
	}
	return count;
}

int cron_parse(struct cron *cron, const char *text, struct error *err)
{
	char words[FIELDS][FIELD_MAX];
	uint64_t bits[FIELDS] = {1};
	int count = split(nickname(text), words), skip = FIELDS - count;

	memset(cron, 0, sizeof(*cron));
	if (count != FIELDS && count != FIELDS - 1)
		return error_set(err, ERR_INPUT, "must be five cron fields such as \"0 */4 * * *\", six with seconds before "
				 "them, or @hourly, @daily, @weekly, @monthly, @yearly");
	for (int i = skip; i < FIELDS; i++)
		if (parse_field(&fields[i], words[i - skip], &bits[i], err) < 0)
			return -1;
	cron->seconds = bits[SECOND];
	cron->minutes = bits[MINUTE];
	cron->hours = (uint32_t)bits[HOUR];
	cron->days = (uint32_t)bits[MDAY];
	cron->months = (uint32_t)bits[MONTH];
	cron->weekdays = (uint32_t)(bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f;
	cron->either = *words[MDAY - skip] != '*' && *words[WEEKDAY - skip] != '*';
	cron->runs = *words[MINUTE - skip] == '*' || *words[HOUR - skip] == '*';
	return 0;
}

/* --- the calendar --- */

/* Days since 1970-01-01 to a date, counted in years that begin with March. */
static void civil_date(int64_t days, int *month_r, int *mday_r)
{
	int64_t since = days + 719468, era = (since >= 0 ? since : since - 146096) / 146097;
	int64_t of_era = since - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;

	*mday_r = (int)(of_year - (153 * month + 2) / 5 + 1);
	*month_r = (int)(month < 10 ? month + 3 : month - 9);
}

static bool day_matches(const struct cron *cron, int64_t days)
{
	int month, mday, weekday = (int)(((days + 4) % 7 + 7) % 7);
	bool by_date, by_week;

	civil_date(days, &month, &mday);
	by_date = (cron->days >> mday & 1) != 0;
	by_week = (cron->weekdays >> weekday & 1) != 0;
	return (cron->months >> month & 1) != 0 && (cron->either ? by_date || by_week : by_date && by_week);
}

/* The lowest bit that is set from low on; -1: none. */
static int next_bit(uint64_t bits, int low)
{
	bits = low < 64 ? bits >> low << low : 0;
	return bits != 0 ? __builtin_ctzll(bits) : -1;
}

/* The first second of the day from `from` on that matches; -1: none. */
static int next_in_day(const struct cron *cron, int from)
{
	int hour = next_bit(cron->hours, from / 3600), minute, second;

	if (hour != from / 3600)
		from = 0;
	for (; hour >= 0; hour = next_bit(cron->hours, hour + 1), from = 0) {
		minute = next_bit(cron->minutes, from % 3600 / 60);
		second = minute == from % 3600 / 60 ? next_bit(cron->seconds, from % 60) : -1;
		if (second < 0 && minute == from % 3600 / 60)
			minute = next_bit(cron->minutes, minute + 1);
		if (minute >= 0)
			return hour * 3600 + minute * 60 + (second >= 0 ? second : next_bit(cron->seconds, 0));
	}
	return -1;
}

/* The first time of a wall clock from wall_s on that matches; -1: none within the horizon. */
static int64_t next_wall(const struct cron *cron, int64_t wall_s)
{
	int64_t days = wall_s >= 0 ? wall_s / DAY : (wall_s - DAY + 1) / DAY;
	int from = (int)(wall_s - days * DAY);

	for (int64_t end = days + HORIZON_DAYS; days < end; days++, from = 0) {
		int second = day_matches(cron, days) ? next_in_day(cron, from) : -1;

		if (second >= 0)
			return days * DAY + second;
	}
	return -1;
}

int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after_s)
{
	int64_t wall, at = -1;

	if (!cron->runs) {
		/* The second time around, what the clock shows has been: only few steps are repeated. */
		wall = after_s + zone_offset(zone, after_s);
		do {
			wall = next_wall(cron, wall + 1);
			at = wall >= 0 ? zone_instant(zone, wall) : -1;
		} while (wall >= 0 && at <= after_s);
		return at;
	}
	for (;;) {
		int64_t change = zone_next_change(zone, after_s), offset = zone_offset(zone, after_s + 1);

		if (change == after_s + 1)
			change = zone_next_change(zone, change);
		wall = next_wall(cron, after_s + 1 + offset);
		if (wall < 0)
			return -1;
		at = wall - offset;
		if (at < change)
			return at;
		after_s = change - 1;
	}
}
