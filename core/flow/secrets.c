/* SPDX-License-Identifier: Apache-2.0 */
/* See secrets.h. One pass over a text; what it looks for is known by the byte it begins with. */
#include "flow/secrets.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"

#define STARS "***"

struct name {
	const char *text;
	size_t len;
	bool parameter;		/* in queries and forms alone */
};

struct value {
	const char *text;
	size_t len;
	bool base64;		/* the characters that base64 has for a value, whatever stands around it */
	bool partial;		/* … and the next one is partly its own */
};

struct flow_secrets {
	struct arena *arena;
	struct name *names;
	struct value *values;
	size_t name_count, value_count;
	/* By byte: one of them begins with it; a text has to be looked at where it stands. */
	bool name_first[256], value_first[256], stops[256];
};

/* Names that stand for secrets whoever uses them. */
static const char *const everywhere[] = {
	"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "api_key", "apikey",
	"access_token", "refresh_token", "id_token", "input_token", "fb_exchange_token", "appsecret_proof",
	"client_secret", "private_key", "password", "passwd", "secret", "sessionid", "csrftoken",
	"X-Amz-Credential", "X-Amz-Security-Token", "X-Amz-Signature", "X-Goog-Signature", NULL
};

/* --- what is secret --- */

static void add_name(struct flow_secrets *secrets, const char *text, bool parameter)
{
	struct name *name;

	if (!text || !*text)
		return;
	secrets->names = arena_grow(secrets->arena, secrets->names, secrets->name_count, sizeof(*secrets->names));
	name = &secrets->names[secrets->name_count++];
	*name = (struct name){text, strlen(text), parameter};
	for (int i = 0; i < 2; i++) {
		int first = i == 0 ? tolower((unsigned char)*text) : toupper((unsigned char)*text);

		secrets->name_first[first] = secrets->stops[first] = true;
	}
}

struct flow_secrets *flow_secrets_new(struct arena *arena)
{
	struct flow_secrets *secrets = arena_alloc(arena, sizeof(*secrets));

	secrets->arena = arena;
	for (size_t i = 0; everywhere[i]; i++)
		add_name(secrets, everywhere[i], false);
	return secrets;
}

void flow_secrets_add_name(struct flow_secrets *secrets, const char *name)
{
	add_name(secrets, name ? arena_strdup(secrets->arena, name) : NULL, false);
}

void flow_secrets_add_parameter(struct flow_secrets *secrets, const char *name)
{
	add_name(secrets, name ? arena_strdup(secrets->arena, name) : NULL, true);
}

static void begins_with(struct flow_secrets *secrets, char first)
{
	secrets->value_first[(unsigned char)first] = secrets->stops[(unsigned char)first] = true;
}

static struct value *new_value(struct flow_secrets *secrets)
{
	secrets->values =
		arena_grow(secrets->arena, secrets->values, secrets->value_count, sizeof(*secrets->values));
	return &secrets->values[secrets->value_count++];
}

/*
 * What base64 makes of the value when before bytes (mod 3) of something else
 * stand in front of it: the characters that hold bits of nothing else.
 */
static void add_base64(struct flow_secrets *secrets, const char *text, size_t len, size_t before)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t first = (8 * before + 5) / 6, end = 8 * (before + len) / 6;
	char *out = arena_alloc(secrets->arena, end - first + 1);
	struct value *value = new_value(secrets);

	for (size_t i = first; i < end; i++) {
		unsigned int six = 0;

		for (size_t bit = 6 * i; bit < 6 * i + 6; bit++) {
			unsigned char byte = (unsigned char)text[bit / 8 - before];

			six = six << 1 | (byte >> (7 - bit % 8) & 1U);
		}
		out[i - first] = digits[six];
	}
	*value = (struct value){out, end - first, true, 8 * (before + len) % 6 != 0};
	begins_with(secrets, *out);
	/* Its spelling for URLs. */
	begins_with(secrets, (char)(*out == '+' ? '-' : *out == '/' ? '_' : *out));
}

static bool is_known(const struct flow_secrets *secrets, const char *text, size_t len)
{
	for (size_t i = 0; i < secrets->value_count; i++)
		if (!secrets->values[i].base64 && secrets->values[i].len == len &&
		    memcmp(secrets->values[i].text, text, len) == 0)
			return true;
	return false;
}

static void add_value(struct flow_secrets *secrets, const char *text, size_t len)
{
	if (len < SECRET_MIN || is_known(secrets, text, len))
		return;
	text = arena_strndup(secrets->arena, text, len);
	*new_value(secrets) = (struct value){text, len, false, false};
	begins_with(secrets, *text);
	if (*text == ' ')
		begins_with(secrets, '+');
	/* How any of them may begin when it is encoded. */
	secrets->stops['%'] = secrets->stops['\\'] = true;
	for (size_t before = 0; before < 3; before++)
		add_base64(secrets, text, len, before);
}

void flow_secrets_add_value(struct flow_secrets *secrets, const char *value)
{
	size_t scheme = 0;

	if (!value)
		return;
	add_value(secrets, value, strlen(value));
	while (isalpha((unsigned char)value[scheme]))
		scheme++;
	if (scheme > 0 && value[scheme] == ' ' && value[scheme + 1] && !strchr(value + scheme + 1, ' '))
		add_value(secrets, value + scheme + 1, strlen(value + scheme + 1));
}

bool flow_secrets_has_name(const struct flow_secrets *secrets, const char *name)
{
	for (size_t i = 0; i < secrets->name_count; i++)
		if (!secrets->names[i].parameter && !strcasecmp(secrets->names[i].text, name))
			return true;
	return false;
}

/* --- values, however they are written --- */

/* TWICE: what was percent-encoded as part of a URL, and again with it. */
enum { ESCAPES = 1, PERCENT = 2, TWICE = 4, WAYS = 6 };

static int hex_digits(const char *at, const char *end, int count)
{
	int number = 0;

	if (end - at < count)
		return -1;
	for (int i = 0; i < count; i++) {
		unsigned char c = (unsigned char)at[i];

		if (!isxdigit(c))
			return -1;
		number = number * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return number;
}

static size_t utf8_put(unsigned char out[4], uint32_t code)
{
	if (code < 0x80) {
		out[0] = (unsigned char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (unsigned char)(0xc0 | code >> 6);
		out[1] = (unsigned char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (unsigned char)(0xe0 | code >> 12);
		out[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (unsigned char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (unsigned char)(0xf0 | code >> 18);
	out[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (unsigned char)(0x80 | (code & 0x3f));
	return 4;
}

/* A JSON escape. Bytes of text it takes, 0 when it is none. */
static size_t escape_read(const char *at, const char *end, unsigned char out[4], size_t *count_r)
{
	static const char letters[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	int high, low;

	*count_r = 1;
	if (end - at < 2)
		return 0;
	for (size_t i = 0; i < sizeof(letters) - 1; i += 2)
		if (at[1] == letters[i]) {
			out[0] = (unsigned char)letters[i + 1];
			return 2;
		}
	high = at[1] == 'u' ? hex_digits(at + 2, end, 4) : -1;
	if (high < 0)
		return 0;
	low = high >= 0xd800 && high < 0xdc00 && end - at >= 8 && at[6] == '\\' && at[7] == 'u'
		      ? hex_digits(at + 8, end, 4)
		      : -1;
	if (low < 0xdc00 || low >= 0xe000) {
		*count_r = utf8_put(out, (uint32_t)high);
		return 6;
	}
	*count_r = utf8_put(out, 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
	return 12;
}

/* What stands at a place of the text: the bytes it means, and how many of the text it takes. wanted settles +. */
static size_t unit_read(const char *at, const char *end, unsigned int how, char wanted, unsigned char out[4],
			size_t *count_r)
{
	int byte, inner;
	size_t used;

	*count_r = 1;
	out[0] = (unsigned char)*at;
	if (how & (PERCENT | TWICE) && *at == '+' && wanted == ' ')
		out[0] = ' ';
	if (how & (PERCENT | TWICE) && *at == '%') {
		byte = hex_digits(at + 1, end, 2);
		if (byte < 0)
			return 1;
		out[0] = (unsigned char)byte;
		inner = how & TWICE && byte == '%' ? hex_digits(at + 3, end, 2) : -1;
		if (inner < 0)
			return 3;
		out[0] = (unsigned char)inner;
		return 5;
	}
	if (how & ESCAPES && *at == '\\') {
		used = escape_read(at, end, out, count_r);
		return used > 0 ? used : 1;
	}
	return 1;
}

/* Bytes of the text that the value takes here, written in this way; 0: it is not here. */
static size_t value_match(const struct value *value, const char *text, const char *end, unsigned int how)
{
	const char *at = text;
	size_t i = 0, count;

	while (i < value->len) {
		unsigned char bytes[4];

		if (at >= end)
			return 0;
		at += unit_read(at, end, how, value->text[i], bytes, &count);
		if (value->base64 && bytes[0] == '-')
			bytes[0] = '+';
		else if (value->base64 && bytes[0] == '_')
			bytes[0] = '/';
		if (count > value->len - i || memcmp(bytes, value->text + i, count) != 0)
			return 0;
		i += count;
	}
	if (value->partial && at < end && (isalnum((unsigned char)*at) || strchr("+/-_", *at)))
		at++;
	return (size_t)(at - text);
}

/* Whether any value may begin here, told from one unit: most places are none. */
static bool value_may_begin(const struct flow_secrets *secrets, const char *text, const char *end)
{
	unsigned char bytes[4];
	size_t count;

	if (secrets->value_first[(unsigned char)*text])
		return true;
	if (*text != '%' && *text != '\\')
		return false;
	unit_read(text, end, ESCAPES | PERCENT, '\0', bytes, &count);
	return secrets->value_first[bytes[0]] || (*text == '%' && bytes[0] == '%');
}

/* A value that is not here as it is may still be here encoded, if what differs is how an encoding begins. */
static bool may_be_encoded(const struct value *value, const char *text, const char *end)
{
	for (size_t i = 0; i < value->len && text < end; i++, text++) {
		char c = *text;

		if (value->base64)
			c = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
		if (c != value->text[i])
			return *text == '%' || *text == '\\' || *text == '+';
		if (*text == '%' || *text == '\\')
			return true;
	}
	return false;
}

/* The most that any value takes from here. */
static size_t values_match(const struct flow_secrets *secrets, const char *text, const char *end)
{
	size_t longest = 0;

	if (!value_may_begin(secrets, text, end))
		return 0;
	for (size_t i = 0; i < secrets->value_count; i++) {
		const struct value *value = &secrets->values[i];
		unsigned int ways = may_be_encoded(value, text, end) ? WAYS : 1;

		for (unsigned int how = 0; how < ways; how++) {
			size_t len = value_match(value, text, end, how);

			longest = len > longest ? len : longest;
		}
	}
	return longest;
}

/* --- what stands behind a name --- */

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static const char *skip(const char *at, const char *end, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(end - at) >= len && !strncasecmp(at, word, len) ? at + len : NULL;
}

/* Behind one of the words, the first of them that stands here; NULL: none does. */
static const char *skip_one(const char *at, const char *end, const char *const *words)
{
	const char *behind = NULL;

	for (size_t i = 0; words[i] && !behind; i++)
		behind = skip(at, end, words[i]);
	return behind;
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at;
}

/* To the quote that closes it: mark, or mark behind backslashes as it was opened. */
static const char *quoted_end(const char *at, const char *end, char mark, bool escaped)
{
	while (at < end && !(*at == mark && !escaped) && !(escaped && *at == '\\' && at + 1 < end && at[1] == mark))
		at += *at == '\\' && !escaped && at + 1 < end ? 2 : 1;
	return at < end ? at : end;
}

static const char *plain_end(const char *at, const char *end, const char *marks)
{
	while (at < end && *at && !strchr(marks, *at) && !(*at == '%' && (skip(at, end, "%26") || skip(at, end, "%2526"))))
		at++;
	return at;
}

/* Finds the value of a name that ends at at: from *value_r to the place returned; NULL when none follows. */
static const char *named_value(const char *at, const char *end, bool parameter, const char **value_r)
{
	static const char *const closing[] = {"\\\"", "\"", "'", NULL};
	static const char *const equals[] = {"=", "%3D", "%253D", "\\u003d", NULL};
	const char *behind = skip_one(at, end, equals), *quote;

	if (behind) {
		*value_r = behind;
		return plain_end(behind, end, "&\"'<>;,) \t\r\n}\\#");
	}
	if (parameter)
		return NULL;
	behind = skip_one(at, end, closing);
	at = skip_space(behind ? behind : at, end);
	if (at >= end || *at != ':')
		return NULL;
	*value_r = at = skip_space(at + 1, end);
	quote = skip_one(at, end, closing);
	if (quote) {
		*value_r = quote;
		return quoted_end(quote, end, quote[-1], quote - at == 2);
	}
	if (at < end && *at == '[')
		return plain_end(at, end, "]");
	if (at >= end || *at == '{' || skip(at, end, "null"))
		return NULL;
	return plain_end(at, end, "\r\n,\"<}\\");
}

/* The longest value that a secret name which stands here has. */
static const char *names_match(const struct flow_secrets *secrets, const char *text, const char *end,
			       const char **value_r)
{
	const char *found = NULL, *value, *value_end;

	for (size_t i = 0; i < secrets->name_count; i++) {
		const struct name *name = &secrets->names[i];

		/* Two letters tell most apart. */
		if ((size_t)(end - text) <= name->len || ((*text ^ *name->text) & ~0x20) != 0 ||
		    (name->len > 1 && ((text[1] ^ name->text[1]) & ~0x20) != 0) || strncasecmp(text, name->text, name->len) != 0)
			continue;
		value_end = named_value(text + name->len, end, name->parameter, &value);
		if (value_end && value_end > value && (!found || value_end > found)) {
			found = value_end;
			*value_r = value;
		}
	}
	return found;
}

/* --- hiding --- */

/* Where a name may begin: not within a word, except that an encoded mark is none. */
static bool name_begins(const char *start, const char *at)
{
	size_t before = (size_t)(at - start);

	if (before == 0 || !in_word(at[-1]))
		return true;
	return (before >= 3 && at[-3] == '%' && hex_digits(at - 2, at, 2) >= 0) ||
	       (before >= 5 && !strncmp(at - 5, "%25", 3) && hex_digits(at - 2, at, 2) >= 0) ||
	       (before >= 6 && !strncasecmp(at - 6, "\\u0026", 6));
}

/* A value that holds one of the marks that end a named one is hidden as a whole. */
static const char *whole_values(const struct flow_secrets *secrets, const char *at, const char *behind, const char *end)
{
	for (; at < behind; at++) {
		size_t len = values_match(secrets, at, end);

		if (at + len > behind)
			behind = at + len;
	}
	return behind;
}

/* To the next byte at which something may begin; the text up to most bytes from there on. */
static const char *next_stop(const struct flow_secrets *secrets, const char *at, const char *end, size_t most)
{
	if ((size_t)(end - at) > most)
		end = at + most;
	while (at < end && !secrets->stops[(unsigned char)*at])
		at++;
	return at;
}

static void hide(const struct flow_secrets *secrets, const char *text, size_t len, size_t most, bool names,
		 struct buf *out)
{
	const char *at = text, *end = text + len, *shown = text, *value, *behind;

	/* From shown to at: looked at and not written yet. */
	while (at < end && out->len + (size_t)(at - shown) < most) {
		const char *stop = next_stop(secrets, at, end, most - out->len - (size_t)(at - shown));
		size_t hidden;

		if (stop > at) {
			at = stop;
			continue;
		}
		hidden = values_match(secrets, at, end);
		value = at;
		behind = hidden > 0 ? at + hidden : NULL;
		if (!behind && names && secrets->name_first[(unsigned char)*at] && name_begins(text, at)) {
			behind = names_match(secrets, at, end, &value);
			behind = behind ? whole_values(secrets, value, behind, end) : NULL;
		}
		if (!behind) {
			at++;
			continue;
		}
		buf_add(out, shown, (size_t)(value - shown));
		buf_adds(out, STARS);
		at = shown = behind;
	}
	buf_add(out, shown, (size_t)(at - shown));
	if (out->len > most) {
		out->len = most;
		out->data[most] = '\0';
	}
}

void flow_secrets_hide(const struct flow_secrets *secrets, const char *text, size_t len, size_t max,
		       struct buf *out)
{
	hide(secrets, text, len, max < SIZE_MAX - out->len ? out->len + max : SIZE_MAX, true, out);
}

const char *flow_secrets_hide_values(const struct flow_secrets *secrets, struct arena *arena, const char *text)
{
	struct buf out;

	if (!secrets || !text)
		return text;
	buf_init(&out);
	hide(secrets, text, strlen(text), SIZE_MAX, false, &out);
	if (out.len > 0)
		text = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return text;
}
