/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes: parsing never crashes; what parses is walked, printed, parsed
 * again and printed the same, without a second look. To fuzz: make, then
 * clang -fsanitize=fuzzer this file with the build's core/libcore.a and its
 * libraries. make check only replays the corpus.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void walk(const struct json *value)
{
	const struct json *child;
	size_t count = 0, len = 0;
	int64_t i;
	double d;
	bool b;

	json_int(value, &i);
	json_double(value, &d);
	json_bool(value, &b);
	if (json_string(value, &len) != NULL)
		check(json_string(value, NULL)[len] == '\0');
	json_at(value, "a.0.b|0.a|");
	for (child = json_first(value); child != NULL; child = json_next(child)) {
		const char *name = json_name(child);

		check((name != NULL) == (json_type(value) == JSON_OBJECT));
		json_member(value, name);
		walk(child);
		count++;
	}
	check(count == json_count(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {.code = ERR_NONE};
	struct json_doc *doc = json_parse((const char *)data, size, &err), *again;
	struct buf first, second;

	if (doc == NULL) {
		check(err.code == ERR_INPUT && err.text[0] != '\0');
		return 0;
	}
	walk(json_root(doc));
	buf_init(&first);
	buf_init(&second);
	json_print(json_root(doc), &first);
	again = json_parse(first.data, first.len, &err);
	check(again != NULL && !json_doc_sanitised(again));
	json_print(json_root(again), &second);
	check(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	json_doc_free(&again);
	json_doc_free(&doc);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
