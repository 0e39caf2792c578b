/* SPDX-License-Identifier: Apache-2.0 */
/* The growing byte buffer: capacity doubles, one byte is kept for the NUL. */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

void buf_init(struct buf *buf)
{
	buf->data = NULL;
	buf->len = 0;
	buf->cap = 0;
}

void buf_fini(struct buf *buf)
{
	mem_release(buf->data);
	buf_init(buf);
}

void buf_clear(struct buf *buf)
{
	buf->len = 0;
	if (buf->data)
		buf->data[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t extra)
{
	size_t need;

	if (extra > SIZE_MAX / 2 - buf->len - 1) {
		fprintf(stderr, "sluice: out of memory: a buffer of %zu bytes asked for %zu more\n",
			buf->len, extra);
		abort();
	}
	need = buf->len + extra + 1;
	if (need > buf->cap) {
		size_t cap = buf->cap ? buf->cap * 2 : 64;

		if (cap < need)
			cap = need;
		buf->data = mem_realloc(buf->data, cap);
		buf->cap = cap;
	}
	/* The caller may write up to extra bytes and add to len: the byte after them is NUL already. */
	buf->data[buf->len] = '\0';
	buf->data[buf->len + extra] = '\0';
	return buf->data + buf->len;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
	char *to = buf_reserve(buf, len);

	if (len)
		memcpy(to, bytes, len);
	buf->len += len;
}

void buf_grow_addc(struct buf *buf, char c)
{
	*buf_reserve(buf, 1) = c;
	buf->len++;
}

void buf_adds(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(buf, fmt, ap);
	va_end(ap);
}

void buf_vprintf(struct buf *buf, const char *fmt, va_list ap)
{
	va_list again;
	size_t room;
	char *to;
	int len;

	va_copy(again, ap);
	to = buf_reserve(buf, 64);
	room = buf->cap - buf->len;
	len = vsnprintf(to, room, fmt, ap);
	if (len < 0)
		abort();	/* a format of ours that the C library refuses */
	if ((size_t)len >= room) {
		to = buf_reserve(buf, (size_t)len);
		vsnprintf(to, (size_t)len + 1, fmt, again);
	}
	buf->len += (size_t)len;
	va_end(again);
}

void buf_consume(struct buf *buf, size_t n)
{
	if (n >= buf->len) {
		buf_clear(buf);
		return;
	}
	buf->len -= n;
	memmove(buf->data, buf->data + n, buf->len + 1);
}

char *buf_steal(struct buf *buf)
{
	char *data = buf->data ? buf->data : mem_alloc(1);

	buf_init(buf);
	return data;
}
