/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and the text of times. The calendar is computed here: no locale, no time zone files. */
#include "base/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/str.h"

#define DAY_S 86400

static int64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_mono_ms(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_boot_ms(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

int64_t clock_wall_ms(void)
{
	return read_clock(CLOCK_REALTIME);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar; years begin in March. */
static int64_t days_from_date(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = floor_div(y, 400);
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t shifted = days + 719468;
	int64_t era = floor_div(shifted, 146097);
	int64_t doe = shifted - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*month = (int)(mp < 10 ? mp + 3 : mp - 9);
	*year = yoe + era * 400 + (*month <= 2);
}

char *clock_format(char out[CLOCK_TEXT_SIZE], int64_t epoch_s)
{
	int64_t days = floor_div(epoch_s, DAY_S);
	int second = (int)(epoch_s - days * DAY_S);
	int64_t year;
	int month, day;

	date_from_days(days, &year, &month, &day);
	str_format(out, CLOCK_TEXT_SIZE, "%04lld-%02d-%02d %02d:%02d:%02d", (long long)year, month, day,
		   second / 3600, second / 60 % 60, second % 60);
	return out;
}

char *clock_format_ms(char out[CLOCK_TEXT_SIZE], int64_t epoch_ms)
{
	int64_t seconds = floor_div(epoch_ms, 1000);
	size_t len;

	clock_format(out, seconds);
	len = strlen(out);
	str_format(out + len, CLOCK_TEXT_SIZE - len, ".%03d", (int)(epoch_ms - seconds * 1000));
	return out;
}

struct cursor {
	const char *at, *end;
};

static bool take_char(struct cursor *in, char c)
{
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

/* Exactly count digits. */
static bool take_digits(struct cursor *in, int count, int *value_r)
{
	int value = 0;

	if (in->end - in->at < count)
		return false;
	for (int i = 0; i < count; i++, in->at++) {
		if (*in->at < '0' || *in->at > '9')
			return false;
		value = value * 10 + (*in->at - '0');
	}
	*value_r = value;
	return true;
}

/* Any number of digits after the point; milliseconds count, the rest is cut off. */
static bool take_fraction(struct cursor *in, int *ms_r)
{
	int scale = 100, digit;

	*ms_r = 0;
	if (!take_char(in, '.') && !take_char(in, ','))
		return true;
	if (!take_digits(in, 1, &digit))
		return false;
	do {
		*ms_r += digit * scale;
		scale /= 10;
	} while (take_digits(in, 1, &digit));
	return true;
}

static bool take_zone(struct cursor *in, int *offset_s_r)
{
	bool east = false;
	int hours, minutes = 0;

	*offset_s_r = 0;
	if (in->at == in->end || take_char(in, 'Z') || take_char(in, 'z'))
		return true;
	if (take_char(in, '+'))
		east = true;
	else if (!take_char(in, '-'))
		return false;
	if (!take_digits(in, 2, &hours))
		return false;
	if (in->at != in->end) {
		take_char(in, ':');
		if (!take_digits(in, 2, &minutes))
			return false;
	}
	if (hours > 23 || minutes > 59)
		return false;
	*offset_s_r = (hours * 3600 + minutes * 60) * (east ? 1 : -1);
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static bool take_date(struct cursor *in, int64_t *days_r)
{
	int year, month, day;

	if (!take_digits(in, 4, &year) || !take_char(in, '-') || !take_digits(in, 2, &month) ||
	    !take_char(in, '-') || !take_digits(in, 2, &day))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
		return false;
	*days_r = days_from_date(year, month, day);
	return true;
}

int clock_parse(const char *text, size_t len, int64_t *epoch_ms_r)
{
	struct cursor in = {text, text + len};
	int hour = 0, minute = 0, second = 0, ms = 0, offset = 0;
	int64_t days;

	if (!take_date(&in, &days))
		return -1;
	if (in.at != in.end) {
		if (!take_char(&in, 'T') && !take_char(&in, 't') && !take_char(&in, ' '))
			return -1;
		if (!take_digits(&in, 2, &hour) || !take_char(&in, ':') || !take_digits(&in, 2, &minute))
			return -1;
		if (take_char(&in, ':') && (!take_digits(&in, 2, &second) || !take_fraction(&in, &ms)))
			return -1;
		if (!take_zone(&in, &offset) || in.at != in.end)
			return -1;
		/* 60 is a leap second: the first moment of the next minute. */
		if (hour > 23 || minute > 59 || second > 60)
			return -1;
	}
	*epoch_ms_r = ((days * DAY_S + hour * 3600 + minute * 60 + second) - offset) * 1000 + ms;
	return 0;
}
