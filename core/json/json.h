/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON. A document is parsed once (simdjson, behind this header) and
 * read through opaque values that live as long as the document. Documents that
 * simdjson refuses for bad UTF-8, lone surrogates or numbers too large are
 * sanitised (U+FFFD; the large number becomes text) and parsed once more;
 * json_doc_sanitised tells. Different threads may read a document at once.
 */
#ifndef SLUICE_JSON_JSON_H
#define SLUICE_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct buf;
struct json_doc;		/* owns the parsed tree and the values handed out */
struct json;			/* one value inside a document: borrowed from it */

enum json_type {
	JSON_NULL, JSON_BOOL, JSON_INT, JSON_UINT, JSON_DOUBLE, JSON_STRING, JSON_ARRAY, JSON_OBJECT
};

/*
 * Parses len bytes (copied). Depth is limited to 256. Returns NULL and an
 * ERR_INPUT error naming what is wrong and at which byte where known. A leading
 * byte order mark is skipped. Of members with equal keys the first is found.
 */
struct json_doc *json_parse(const char *bytes, size_t len, struct error *err);
/* All that is in the file (a memfd, say) behind fd, which stays the caller's. Besides: ERR_IO. */
struct json_doc *json_parse_fd(int fd, struct error *err);
void json_doc_free(struct json_doc **doc);
const struct json *json_root(const struct json_doc *doc);
bool json_doc_sanitised(const struct json_doc *doc);
/* Bytes of memory the document holds, for limits. */
size_t json_doc_size(const struct json_doc *doc);

/* Every reader below accepts NULL as the value and then answers as for a missing one. */
enum json_type json_type(const struct json *value);		/* JSON_NULL for NULL */
/*
 * Dotted path; a numeric segment indexes an array when in range; a missing
 * step or a null gives NULL. "" or NULL is the value itself. '|' separates
 * alternatives, the first that is neither missing nor null wins: "a.b|c".
 */
const struct json *json_at(const struct json *value, const char *path);
/* Key exactly as given, dots included. */
const struct json *json_member(const struct json *object, const char *key);
size_t json_count(const struct json *container);		/* members or elements, else 0 */
/* Children of an array or object in order; NULL at the end. */
const struct json *json_first(const struct json *container);
const struct json *json_next(const struct json *child);
const char *json_name(const struct json *child);		/* key inside an object, else NULL */
/* The string's bytes, NUL-terminated after len (len_r may be NULL); NULL when the value is no string. */
const char *json_string(const struct json *value, size_t *len_r);
/* true and the value for a number (a double only when integral) and for text that is wholly an integer. */
bool json_int(const struct json *value, int64_t *value_r);
bool json_double(const struct json *value, double *value_r);	/* numbers, and text that is one */
bool json_bool(const struct json *value, bool *value_r);	/* only true and false */
/* Appends compact JSON; numbers above 2^53 stay exact, U+0000 becomes U+FFFD. NULL appends null. */
void json_print(const struct json *value, struct buf *out);
/*
 * The same, but a number appears as in the bytes that doc was parsed from
 * ("1.10", "1e3"). Looks through the bytes: not for every value of a document.
 */
void json_print_written(const struct json_doc *doc, const struct json *value, const char *bytes, size_t len,
			struct buf *out);

#endif
