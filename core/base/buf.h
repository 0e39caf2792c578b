/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer. data is NULL or always followed by a NUL byte that len does not count. */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;	/* owned */
	size_t len;
	size_t cap;
};

void buf_init(struct buf *buf);
void buf_fini(struct buf *buf);
void buf_clear(struct buf *buf);	/* len = 0, memory kept */
/* Makes room for extra bytes and returns where they go; the caller then adds to len. */
char *buf_reserve(struct buf *buf, size_t extra);
void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_grow_addc(struct buf *buf, char c);	/* for buf_addc alone */
static inline void buf_addc(struct buf *buf, char c)
{
	if (buf->cap - buf->len > 1) {		/* JSON is written character by character: no call for each */
		buf->data[buf->len++] = c;
		buf->data[buf->len] = '\0';
	} else {
		buf_grow_addc(buf, c);
	}
}
void buf_adds(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Removes the first n bytes. */
void buf_consume(struct buf *buf, size_t n);
/* Hands the memory to the caller (mem_release it) and empties buf. Never NULL. */
char *buf_steal(struct buf *buf);

#endif
