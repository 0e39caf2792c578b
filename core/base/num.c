/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units. */
#include "base/num.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

int num_parse_int(const char *text, int64_t *value_r)
{
	const char *digits = text + (*text == '-' || *text == '+');
	long long value;

	if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
		return -1;
	errno = 0;
	value = strtoll(text, NULL, 10);
	if (errno)
		return -1;
	*value_r = value;
	return 0;
}

static locale_t c_locale;

static void c_locale_make(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!c_locale)
		abort();
}

int num_parse_double(const char *text, double *value_r)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	double value;
	char *end;

	/* strtod also takes blanks, hexadecimal, inf and nan: those are not numbers here. */
	if (*text == '\0' || strspn(text, "+-.0123456789eE") != strlen(text))
		return -1;
	pthread_once(&once, c_locale_make);
	value = strtod_l(text, &end, c_locale);
	if (*end != '\0' || end == text || !isfinite(value))
		return -1;
	*value_r = value;
	return 0;
}

/* Digits, an optional fraction, then one of the units. The result is rounded to a whole number. */
static int parse_with_unit(const char *text, const struct unit *units, int64_t *value_r)
{
	size_t whole = strspn(text, "0123456789");
	size_t number = whole;
	char digits[32];
	double value;

	if (text[whole] == '.')
		number += 1 + strspn(text + whole + 1, "0123456789");
	if (whole == 0 || number == whole + 1 || number >= sizeof(digits))
		return -1;
	for (; units->name; units++)
		if (strcmp(text + number, units->name) == 0)
			break;
	if (!units->name)
		return -1;
	memcpy(digits, text, number);
	digits[number] = '\0';
	if (number == whole) {
		int64_t exact;

		if (num_parse_int(digits, &exact) < 0 || exact > INT64_MAX / units->factor)
			return -1;
		*value_r = exact * units->factor;
		return 0;
	}
	if (num_parse_double(digits, &value) < 0 || value * (double)units->factor >= 9e18)
		return -1;
	*value_r = (int64_t)(value * (double)units->factor + 0.5);
	return 0;
}

int num_parse_duration(const char *text, int64_t *ms_r)
{
	static const struct unit units[] = {
		{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
	};

	return parse_with_unit(text, units, ms_r);
}

int num_parse_size(const char *text, int64_t *bytes_r)
{
	static const struct unit units[] = {
		{"", 1}, {"B", 1},
		{"kB", 1000}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {"TB", 1000000000000},
		{"KiB", 1LL << 10}, {"MiB", 1LL << 20}, {"GiB", 1LL << 30}, {"TiB", 1LL << 40}, {NULL, 0},
	};

	return parse_with_unit(text, units, bytes_r);
}
