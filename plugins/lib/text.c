/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of hash tags, utm parameters, durations and names. */
#include <ctype.h>
#include <string.h>

#include "lib.h"

/*
 * Length of the character at s that may be part of a hash tag: letters, digits,
 * '_' and the scripts of the basic plane; 0 for punctuation, symbols and emoji.
 */
static size_t tag_char(const unsigned char *s)
{
	if (isalnum(s[0]) || s[0] == '_')
		return 1;
	if (s[0] >= 0xc3 && s[0] <= 0xdf && s[1])
		return 2;
	if (s[0] == 0xe3 && s[1] == 0x80)	/* CJK punctuation */
		return 0;
	if (s[0] >= 0xe0 && s[0] <= 0xee && s[0] != 0xe2 && s[1] && s[2])
		return 3;
	return 0;
}

static size_t tag_length(const char *s)
{
	size_t len = 0, n;
	bool digits = true;

	while ((n = tag_char((const unsigned char *)s + len)) != 0) {
		digits = digits && isdigit((unsigned char)s[len]);
		len += n;
	}
	return digits ? 0 : len;
}

const char *hashtags(const struct sl_host *h, struct sl_task *t, const char *text)
{
	char *list, *end;

	if (!text || !strchr(text, '#'))
		return NULL;
	list = end = h->alloc(t, 2 * strlen(text) + 1);
	for (const char *s = text; (s = strchr(s, '#')) != NULL; s++) {
		const size_t len = tag_length(s + 1);

		if (len == 0)
			continue;
		if (end != list)
			*end++ = ',';
		memcpy(end, s, len + 1);
		end += len + 1;
	}
	*end = '\0';
	return end == list ? NULL : list;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

/* Decodes %XX and '+'; %00 stays as it is. */
static const char *url_decoded(const struct sl_host *h, struct sl_task *t, const char *s, size_t len)
{
	char *out = h->alloc(t, len + 1), *end = out;

	for (size_t i = 0; i < len; i++) {
		const int high = s[i] == '%' && i + 2 < len ? hex_value(s[i + 1]) : -1;
		const int low = high >= 0 ? hex_value(s[i + 2]) : -1;

		if (low >= 0 && high * 16 + low != 0) {
			*end++ = (char)(high * 16 + low);
			i += 2;
		} else {
			*end++ = s[i] == '+' ? ' ' : s[i];
		}
	}
	*end = '\0';
	return out;
}

static bool is_utf8(const char *text)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		const int more = *s < 0x80 ? 0 : *s >= 0xc2 && *s <= 0xdf ? 1 : (*s & 0xf0) == 0xe0 ? 2 :
			*s >= 0xf0 && *s <= 0xf4 ? 3 : -1;

		if (more < 0)
			return false;
		for (int i = 1; i <= more; i++)
			if ((s[i] & 0xc0) != 0x80)
				return false;
		s += more;
	}
	return true;
}

static void utm_param(const struct sl_host *h, struct sl_task *t, struct sl_out *out, const char *pair,
		      size_t len)
{
	const char *equals = memchr(pair, '=', len), *value;
	const size_t name_len = equals ? (size_t)(equals - pair) : len;

	if (name_len <= 4 || memcmp(pair, "utm_", 4) != 0 || !equals)
		return;
	value = url_decoded(h, t, equals + 1, len - name_len - 1);
	if (!is_utf8(value))
		value = h->format(t, "%.*s", (int)(len - name_len - 1), equals + 1);
	h->out_str(out, url_decoded(h, t, pair + 4, name_len - 4), value);
}

const char *utm_params(const struct sl_host *h, struct sl_task *t, const char *url)
{
	struct sl_out *out;
	const char *s;

	if (!url)
		return NULL;
	out = h->out(t);
	h->out_object(out, NULL);
	s = strchr(url, '?');
	while (s && *s && *s != '#') {
		const size_t len = strcspn(s + 1, "&#");

		utm_param(h, t, out, s + 1, len);
		s += 1 + len;
	}
	h->out_end(out);
	return h->out_text(out);
}

/* Seconds that one unit is worth; 0 for a letter that is none. */
static int64_t unit_seconds(char unit, bool in_time)
{
	switch (unit) {
	case 'W': return in_time ? 0 : 7 * DAY_S;
	case 'D': return in_time ? 0 : DAY_S;
	case 'H': return in_time ? 3600 : 0;
	case 'M': return in_time ? 60 : 0;
	case 'S': return in_time ? 1 : 0;
	default: return 0;
	}
}

int64_t duration_seconds(const char *text)
{
	int64_t total = 0;
	bool in_time = false, any = false;

	if (!text || *text++ != 'P')
		return -1;
	for (; *text; text++) {
		int64_t n = 0, unit;

		if (*text == 'T' && !in_time) {
			in_time = true;
			continue;
		}
		if (!isdigit((unsigned char)*text))
			return -1;
		for (; isdigit((unsigned char)*text); text++)
			n = n > 99999999 ? n : n * 10 + (*text - '0');
		unit = unit_seconds(*text, in_time);
		if (unit == 0)
			return -1;
		total += n * unit;
		any = true;
	}
	return any ? total : -1;
}

bool same_name(const char *a, const char *b)
{
	if (!a || !b)
		return false;
	while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b))
		a++, b++;
	return *a == *b;
}
