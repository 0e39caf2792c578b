/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second look at a document that the parser refused: one pass over its
 * bytes that checks the grammar, so that an error can name its place, and
 * copies the document with what APIs get wrong put right. Any thread.
 */
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "json/internal.h"

struct scan {
	const char *begin, *at, *end;
	struct buf *out;
	struct error *err;
	bool changed;
};

static int scan_error(struct scan *s, const char *what)
{
	size_t offset = (size_t)(s->at - s->begin);
	unsigned char c;

	if (s->at >= s->end)
		return error_set(s->err, ERR_INPUT, "invalid JSON: ends at byte %zu, %s", offset, what);
	c = (unsigned char)*s->at;
	if (c > ' ' && c < 0x7f)
		return error_set(s->err, ERR_INPUT, "invalid JSON: '%c' at byte %zu, %s", c, offset, what);
	return error_set(s->err, ERR_INPUT, "invalid JSON: 0x%02x at byte %zu, %s", c, offset, what);
}

static void scan_copy(struct scan *s, size_t len)
{
	buf_add(s->out, s->at, len);
	s->at += len;
}

static void scan_replace(struct scan *s, size_t len)
{
	buf_adds(s->out, JSON_REPLACEMENT);
	s->at += len;
	s->changed = true;
}

static void scan_space(struct scan *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
		scan_copy(s, 1);
}

/* True and copied when the next byte is c. */
static bool scan_take(struct scan *s, char c)
{
	if (s->at >= s->end || *s->at != c)
		return false;
	scan_copy(s, 1);
	return true;
}

/* The value of the \uXXXX that p starts with, or -1. */
static int unicode_escape(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value * 16 + (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return value;
}

static int scan_escape(struct scan *s)
{
	int unit, low;

	if (s->end - s->at >= 2 && s->at[1] != '\0' && strchr("\"\\/bfnrt", s->at[1]) != NULL) {
		scan_copy(s, 2);
		return 0;
	}
	unit = unicode_escape(s->at, s->end);
	if (unit < 0)
		return scan_error(s, "no valid escape in a string");
	if (unit < 0xd800 || unit > 0xdfff) {
		scan_copy(s, 6);
		return 0;
	}
	low = unicode_escape(s->at + 6, s->end);
	if (unit < 0xdc00 && low >= 0xdc00 && low <= 0xdfff)
		scan_copy(s, 12);
	else
		scan_replace(s, 6);
	return 0;
}

static int scan_string(struct scan *s)
{
	if (!scan_take(s, '"'))
		return scan_error(s, "expected a string");
	while (s->at < s->end && *s->at != '"') {
		int step = str_utf8_step(s->at, (size_t)(s->end - s->at));

		if (*s->at == '\\') {
			if (scan_escape(s) < 0)
				return -1;
		} else if (step < 0) {
			scan_replace(s, (size_t)-step);
		} else if ((unsigned char)*s->at < 0x20) {
			return scan_error(s, "control character in a string");
		} else {
			scan_copy(s, (size_t)step);
		}
	}
	return scan_take(s, '"') ? 0 : scan_error(s, "expected the end of a string");
}

/* Copies digits; returns how many. */
static size_t scan_digits(struct scan *s)
{
	const char *first = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		scan_copy(s, 1);
	return (size_t)(s->at - first);
}

static bool integer_fits(const char *text)
{
	const char *max = *text == '-' ? "9223372036854775808" : "18446744073709551615";
	size_t len, max_len = strlen(max);

	if (*text == '-')
		text++;
	len = strlen(text);
	return len < max_len || (len == max_len && strcmp(text, max) <= 0);
}

static int scan_number(struct scan *s)
{
	size_t start = s->out->len;
	bool integer = true, leading_zero, fits;
	char *text;
	double value;

	scan_take(s, '-');
	leading_zero = s->at < s->end && *s->at == '0';
	switch (scan_digits(s)) {
	case 0:
		return scan_error(s, "expected a value");
	case 1:
		break;
	default:
		if (leading_zero)
			return scan_error(s, "after a number with a leading zero");
	}
	if (scan_take(s, '.')) {
		integer = false;
		if (scan_digits(s) == 0)
			return scan_error(s, "expected a digit");
	}
	if (scan_take(s, 'e') || scan_take(s, 'E')) {
		integer = false;
		if (!scan_take(s, '+'))
			scan_take(s, '-');
		if (scan_digits(s) == 0)
			return scan_error(s, "expected a digit");
	}
	text = s->out->data + start;
	fits = integer ? integer_fits(text) : num_parse_double(text, &value) == 0;
	if (!fits) {
		size_t len = s->out->len - start;

		buf_adds(s->out, "\"\"");
		text = s->out->data + start;
		memmove(text + 1, text, len);
		text[0] = '"';
		s->changed = true;
	}
	return 0;
}

static int scan_scalar(struct scan *s)
{
	static const char *const words[] = {"true", "false", "null"};

	if (s->at < s->end && *s->at == '"')
		return scan_string(s);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(s->end - s->at) >= len && memcmp(s->at, words[i], len) == 0) {
			scan_copy(s, len);
			return 0;
		}
	}
	return scan_number(s);
}

static int scan_key(struct scan *s)
{
	scan_space(s);
	if (scan_string(s) < 0)
		return -1;
	scan_space(s);
	return scan_take(s, ':') ? 0 : scan_error(s, "expected ':'");
}

/* Behind a value: closes what ends here. *depth is 0 at the end of the document, else a value is due. */
static int scan_after(struct scan *s, const char *ends, unsigned int *depth)
{
	while (*depth > 0) {
		char close = ends[*depth];

		scan_space(s);
		if (scan_take(s, ','))
			return close == '}' ? scan_key(s) : 0;
		if (!scan_take(s, close))
			return scan_error(s, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
		(*depth)--;
	}
	return 0;
}

static int scan_document(struct scan *s)
{
	char ends[JSON_DEPTH_MAX + 1];
	unsigned int depth = 0;

	do {
		bool opened;

		scan_space(s);
		opened = s->at < s->end && (*s->at == '{' || *s->at == '[');
		if (!opened && scan_scalar(s) < 0)
			return -1;
		if (opened) {
			if (depth == JSON_DEPTH_MAX)
				return scan_error(s, "nested deeper than 256");
			ends[++depth] = *s->at == '{' ? '}' : ']';
			scan_copy(s, 1);
			scan_space(s);
			if (s->at >= s->end || *s->at != ends[depth]) {
				if (ends[depth] == '}' && scan_key(s) < 0)
					return -1;
				continue;
			}
		}
		if (scan_after(s, ends, &depth) < 0)
			return -1;
	} while (depth > 0);
	scan_space(s);
	return s->at == s->end ? 0 : scan_error(s, "after the end of the document");
}

size_t json_bom_len(const char *bytes, size_t len)
{
	return len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

int json_sanitise(const char *bytes, size_t len, struct buf *out, bool *changed_r, struct error *err)
{
	struct scan s = {.begin = bytes, .at = bytes, .end = bytes + len, .out = out, .err = err};

	*changed_r = false;
	if (scan_document(&s) < 0)
		return -1;
	*changed_r = s.changed;
	return 0;
}
