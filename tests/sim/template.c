/* SPDX-License-Identifier: Apache-2.0 */
#include "template.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

struct piece {
	size_t start, len;	/* in text */
	int hole;		/* what follows it; -1 = the end */
};

struct template {
	template_fill fill;
	struct buf text;
	struct piece *pieces;
	size_t count;
};

static int hole_find(const char *const *names, const char *name, size_t len)
{
	for (int i = 0; names[i]; i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return i;
	assert(!"a template names a hole that does not exist");
	return -1;
}

static void piece_add(struct template *tmpl, size_t start, int hole)
{
	tmpl->pieces = mem_realloc(tmpl->pieces, (tmpl->count + 1) * sizeof(*tmpl->pieces));
	tmpl->pieces[tmpl->count++] = (struct piece){start, tmpl->text.len - start, hole};
}

struct template *template_new(const char *const *names, template_fill fill, const char *const *sources)
{
	struct template *tmpl = mem_alloc(sizeof(*tmpl));
	size_t start = 0;
	const char *end;

	tmpl->fill = fill;
	buf_init(&tmpl->text);
	for (; *sources; sources++) {
		for (const char *c = *sources; *c; c++) {
			if (*c != '@' || c[1] == '@') {
				buf_addc(&tmpl->text, *c == '\'' ? '"' : *c);
				c += *c == '@';
				continue;
			}
			end = strchr(c + 1, '@');
			assert(end);
			piece_add(tmpl, start, hole_find(names, c + 1, (size_t)(end - c - 1)));
			start = tmpl->text.len;
			c = end;
		}
	}
	piece_add(tmpl, start, -1);
	return tmpl;
}

void template_render(const struct template *tmpl, struct buf *out, const void *data)
{
	const struct piece *piece;

	buf_reserve(out, tmpl->text.len + tmpl->text.len / 2);
	for (size_t i = 0; i < tmpl->count; i++) {
		piece = &tmpl->pieces[i];
		buf_add(out, tmpl->text.data + piece->start, piece->len);
		if (piece->hole >= 0)
			tmpl->fill(out, piece->hole, data);
	}
}

void put_int(struct buf *out, int64_t value)
{
	char digits[24];
	size_t at = sizeof(digits);
	uint64_t rest = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;

	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (value < 0)
		digits[--at] = '-';
	buf_add(out, digits + at, sizeof(digits) - at);
}

void put_time(struct buf *out, int64_t epoch_s, const char *zone)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(text, epoch_s);
	text[10] = 'T';
	buf_adds(out, text);
	buf_adds(out, zone);
}
