/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer: places commas, names and escapes in a borrowed buffer. Any thread. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/str.h"
#include "json/internal.h"
#include "json/json.h"
#include "json/jwrite.h"

#define DEPTH_MAX 63

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Whether eight characters are all plain: subtracting n from a smaller byte borrows into its top bit. */
static bool are_plain(const char *bytes)
{
	uint64_t word, quote, backslash, odd;

	memcpy(&word, bytes, sizeof(word));
	quote = word ^ EACH('"');
	backslash = word ^ EACH('\\');
	odd = word | (word - EACH(0x20)) | (quote - EACH(1)) | (backslash - EACH(1));
	return (odd & EACH(0x80)) == 0;
}

static size_t plain_run(const char *bytes, size_t len)
{
	size_t run = 0;

	while (len - run >= 8 && are_plain(bytes + run))
		run += 8;
	while (run < len && is_plain((unsigned char)bytes[run]))
		run++;
	return run;
}

/* Appends what stands at bytes instead of one plain character; returns how many bytes it takes up. */
static size_t add_special(struct buf *out, const char *bytes, size_t len)
{
	static const char names[] = "btn\0fr";	/* from \b (8) to \r (13); \v has none */
	unsigned char c = (unsigned char)*bytes;
	int step;

	if (c >= 0x80) {
		step = str_utf8_step(bytes, len);
		if (step > 0)
			buf_add(out, bytes, (size_t)step);
		else
			buf_adds(out, JSON_REPLACEMENT);
		return (size_t)(step > 0 ? step : -step);
	}
	if (c == '\0') {
		buf_adds(out, JSON_REPLACEMENT);
	} else if (c == '"' || c == '\\') {
		buf_addc(out, '\\');
		buf_addc(out, (char)c);
	} else if (c >= '\b' && c <= '\r' && names[c - '\b'] != '\0') {
		buf_addc(out, '\\');
		buf_addc(out, names[c - '\b']);
	} else {
		buf_printf(out, "\\u%04x", c);
	}
	return 1;
}

void json_add_string(struct buf *out, const char *bytes, size_t len)
{
	size_t run;

	buf_addc(out, '"');
	while (len > 0) {
		run = plain_run(bytes, len);
		if (run > 0)
			buf_add(out, bytes, run);
		bytes += run;
		len -= run;
		if (len == 0)
			break;
		run = add_special(out, bytes, len);
		bytes += run;
		len -= run;
	}
	buf_addc(out, '"');
}

void jwrite_init(struct jwrite *w, struct buf *out)
{
	*w = (struct jwrite){.out = out};
}

static void write_prefix(struct jwrite *w, const char *name)
{
	uint64_t level = UINT64_C(1) << w->depth;

	assert((name != NULL) == ((w->object & level) != 0));
	assert(w->depth > 0 || (w->comma & level) == 0);
	if (w->comma & level)
		buf_addc(w->out, ',');
	w->comma |= level;
	if (name != NULL) {
		json_add_string(w->out, name, strlen(name));
		buf_addc(w->out, ':');
	}
}

static void write_open(struct jwrite *w, const char *name, bool object)
{
	uint64_t level;

	write_prefix(w, name);
	assert(w->depth < DEPTH_MAX);
	level = UINT64_C(1) << ++w->depth;
	w->comma &= ~level;
	w->object = object ? w->object | level : w->object & ~level;
	buf_addc(w->out, object ? '{' : '[');
}

void jwrite_object(struct jwrite *w, const char *name)
{
	write_open(w, name, true);
}

void jwrite_array(struct jwrite *w, const char *name)
{
	write_open(w, name, false);
}

void jwrite_end(struct jwrite *w)
{
	assert(w->depth > 0);
	buf_addc(w->out, w->object & UINT64_C(1) << w->depth ? '}' : ']');
	w->depth--;
}

void jwrite_string(struct jwrite *w, const char *name, const char *text)
{
	if (text == NULL)
		jwrite_null(w, name);
	else
		jwrite_stringn(w, name, text, strlen(text));
}

void jwrite_stringn(struct jwrite *w, const char *name, const char *bytes, size_t len)
{
	write_prefix(w, name);
	json_add_string(w->out, bytes, len);
}

void jwrite_int(struct jwrite *w, const char *name, int64_t value)
{
	write_prefix(w, name);
	json_add_int(w->out, value);
}

void jwrite_uint(struct jwrite *w, const char *name, uint64_t value)
{
	write_prefix(w, name);
	json_add_uint(w->out, value);
}

void jwrite_double(struct jwrite *w, const char *name, double value)
{
	if (!isfinite(value)) {
		jwrite_null(w, name);
		return;
	}
	write_prefix(w, name);
	json_add_double(w->out, value);
}

void jwrite_bool(struct jwrite *w, const char *name, bool value)
{
	write_prefix(w, name);
	buf_adds(w->out, value ? "true" : "false");
}

void jwrite_null(struct jwrite *w, const char *name)
{
	write_prefix(w, name);
	buf_adds(w->out, "null");
}

void jwrite_raw(struct jwrite *w, const char *name, const char *json, size_t len)
{
	write_prefix(w, name);
	buf_add(w->out, json, len);
}

void jwrite_value(struct jwrite *w, const char *name, const struct json *value)
{
	write_prefix(w, name);
	json_print(value, w->out);
}
