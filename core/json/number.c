/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as they were written. A document keeps a number's value, not its
 * text; but it keeps the order, so the n-th number of the tree is the n-th in
 * the source. Any thread.
 */
#include <string.h>

#include "json/internal.h"
#include "json/json.h"

#define NUMBER_BYTES "0123456789+-.eE"

static bool is_number(const struct json *value)
{
	enum json_type type = json_type(value);

	return type == JSON_INT || type == JSON_UINT || type == JSON_DOUBLE;
}

/* Counts the numbers before wanted; true when it was met. As deep as a document may be: 256. */
static bool count_before(const struct json *value, const struct json *wanted, size_t *count)
{
	if (value == wanted)
		return true;
	*count += is_number(value);
	for (const struct json *child = json_first(value); child != NULL; child = json_next(child))
		if (count_before(child, wanted, count))
			return true;
	return false;
}

/* Behind the string whose opening quote at stands on. */
static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		at += *at == '\\';
	return at < end ? at + 1 : end;
}

/* The number before which index others stand in valid JSON, or NULL. */
static const char *find_number(const char *at, const char *end, size_t index, size_t *len_r)
{
	while (at < end) {
		const char *first = at;

		if (*at == '"') {
			at = skip_string(at, end);
			continue;
		}
		if (*at != '-' && (*at < '0' || *at > '9')) {
			at++;
			continue;
		}
		while (at < end && *at != '\0' && strchr(NUMBER_BYTES, *at) != NULL)
			at++;
		if (index-- == 0) {
			*len_r = (size_t)(at - first);
			return first;
		}
	}
	return NULL;
}

static bool print_written(const char *bytes, size_t len, size_t index, struct buf *out)
{
	size_t number_len;
	const char *number = find_number(bytes, bytes + len, index, &number_len);

	if (number == NULL)
		return false;
	buf_add(out, number, number_len);
	return true;
}

void json_print_written(const struct json_doc *doc, const struct json *value, const char *bytes, size_t len,
			struct buf *out)
{
	struct buf clean;
	bool changed, done = false;
	size_t index = 0;

	if (!is_number(value) || !count_before(json_root(doc), value, &index)) {
		json_print(value, out);
		return;
	}
	if (!json_doc_sanitised(doc)) {
		done = print_written(bytes, len, index, out);
	} else {
		/* Some of its numbers became text: what was parsed is counted, not what came. */
		size_t skip = json_bom_len(bytes, len);

		buf_init(&clean);
		done = json_sanitise(bytes + skip, len - skip, &clean, &changed, NULL) == 0 &&
		       print_written(clean.data, clean.len, index, out);
		buf_fini(&clean);
	}
	if (!done)
		json_print(value, out);
}
