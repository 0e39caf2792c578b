/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON by appending to a buffer: the writer places commas and escapes
 * (bad UTF-8 becomes U+FFFD, U+0000 becomes U+FFFD), so no caller can produce
 * invalid JSON except by unbalanced begin/end, which asserts.
 */
#ifndef SLUICE_JSON_JWRITE_H
#define SLUICE_JSON_JWRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct json;

struct jwrite {
	struct buf *out;	/* borrowed */
	uint64_t comma;		/* one bit per open level: a comma is due */
	uint64_t object;	/* one bit per open level: it is an object */
	unsigned int depth;	/* at most 63 */
};

void jwrite_init(struct jwrite *w, struct buf *out);
/* name is NULL for array elements and the top level. */
void jwrite_object(struct jwrite *w, const char *name);
void jwrite_array(struct jwrite *w, const char *name);
void jwrite_end(struct jwrite *w);
void jwrite_string(struct jwrite *w, const char *name, const char *text);	/* NULL writes null */
void jwrite_stringn(struct jwrite *w, const char *name, const char *bytes, size_t len);
void jwrite_int(struct jwrite *w, const char *name, int64_t value);
void jwrite_uint(struct jwrite *w, const char *name, uint64_t value);
/* The shortest text that reads back as the same double (3 is 3.0); not finite writes null. */
void jwrite_double(struct jwrite *w, const char *name, double value);
void jwrite_bool(struct jwrite *w, const char *name, bool value);
void jwrite_null(struct jwrite *w, const char *name);
/* json is one complete JSON value, trusted to be valid. */
void jwrite_raw(struct jwrite *w, const char *name, const char *json, size_t len);
/* A value read from a document, as json_print writes it. NULL writes null. */
void jwrite_value(struct jwrite *w, const char *name, const struct json *value);

#endif
