/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of core/json share: text of numbers and strings, the byte-level second look. Any thread. */
#ifndef SLUICE_JSON_INTERNAL_H
#define SLUICE_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define JSON_DEPTH_MAX 256	/* containers inside each other */
#define JSON_REPLACEMENT "\xef\xbf\xbd"	/* U+FFFD */

/* Bytes of the byte order mark at the beginning, 0 when there is none. */
size_t json_bom_len(const char *bytes, size_t len);
/* Appends bytes as a JSON string with its quotes; bad UTF-8 and U+0000 become U+FFFD. */
void json_add_string(struct buf *out, const char *bytes, size_t len);
void json_add_int(struct buf *out, int64_t value);
void json_add_uint(struct buf *out, uint64_t value);
/* Shortest text that reads back as the same double, with a '.' or an exponent. value must be finite. */
void json_add_double(struct buf *out, double value);

/*
 * Copies one JSON document to out: bad UTF-8 and lone surrogate escapes become
 * U+FFFD, a number that fits neither 64 bits nor a finite double becomes a
 * string of the same digits, all else stays byte for byte. *changed_r tells
 * whether anything differs. Returns 0, or -1 with the first error of grammar
 * and its byte offset.
 */
int json_sanitise(const char *bytes, size_t len, struct buf *out, bool *changed_r, struct error *err);

#endif
