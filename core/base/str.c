/* SPDX-License-Identifier: Apache-2.0 */
/* Text helpers without state. */
#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"

#define NEAREST_LONGEST 64	/* longer words are never suggested */

bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
	size_t len = strlen(text);
	size_t tail = strlen(suffix);

	return len >= tail && memcmp(text + len - tail, suffix, tail) == 0;
}

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int least = a < b ? a : b;

	return least < c ? least : c;
}

/* Edit distance with neighbours swapped as one edit, the commonest slip. Both words fit. */
static unsigned int edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
	unsigned int rows[3][NEAREST_LONGEST + 1];
	unsigned int *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= blen; j++)
		above[j] = (unsigned int)j;
	for (size_t i = 1; i <= alen; i++) {
		unsigned int *spare = before;

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= blen; j++) {
			unsigned int differ = a[i - 1] != b[j - 1];

			row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + differ);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = above;
		above = row;
		row = spare;
	}
	return above[blen];
}

const char *str_nearest(const char *word, const char *const *candidates, size_t count)
{
	size_t len = strlen(word);
	unsigned int best = (unsigned int)(len / 3 < 2 ? len / 3 : 2) + 1;
	const char *nearest = NULL;

	if (len > NEAREST_LONGEST)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t other = strlen(candidates[i]);
		unsigned int distance;

		if (other > NEAREST_LONGEST)
			continue;
		distance = edit_distance(word, len, candidates[i], other);
		if (distance < best) {
			best = distance;
			nearest = candidates[i];
		}
	}
	return nearest;
}

bool str_is_name(const char *text)
{
	size_t len = strlen(text);

	return len >= 1 && len <= 64 && text[0] >= 'a' && text[0] <= 'z' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

int str_utf8_step(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	unsigned char low, high;
	int follow, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return -1;
	follow = p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
	/* The second byte rules out overlong forms, surrogates and what is above U+10FFFF. */
	low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
	high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
	for (i = 1; i <= follow; i++) {
		if ((size_t)i >= len || p[i] < low || p[i] > high)
			return -i;
		low = 0x80;
		high = 0xbf;
	}
	return i;
}

static bool are_eight_ascii(const char *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return (word & UINT64_C(0x8080808080808080)) == 0;
}

bool str_is_utf8(const char *bytes, size_t len)
{
	while (len > 0) {
		/* Most of it is ASCII. */
		int step = len >= 8 && are_eight_ascii(bytes) ? 8 : str_utf8_step(bytes, len);

		if (step < 0)
			return false;
		bytes += step;
		len -= (size_t)step;
	}
	return true;
}

static bool is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

void str_url_encode(struct buf *out, const char *text, size_t len)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		char escape[3] = {'%', digits[c >> 4], digits[c & 15]};

		if (is_unreserved(c))
			buf_addc(out, text[i]);
		else
			buf_add(out, escape, sizeof(escape));
	}
}

bool str_format(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(out, size, fmt, ap);
	va_end(ap);
	return len >= 0 && (size_t)len < size;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

char *str_url_decode(struct arena *arena, const char *text, size_t len)
{
	char *out = arena_strndup(arena, text, len);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		out[n] = text[i];
		if (text[i] == '%') {
			int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

			if (low < 0)
				return NULL;
			out[n] = (char)(high << 4 | low);
			i += 2;
		}
		if ((unsigned char)out[n++] < ' ')
			return NULL;
	}
	out[n] = '\0';
	return out;
}
