/* SPDX-License-Identifier: Apache-2.0 */
/* The message that tells workers what all nodes know of sources. Any thread. */
#include "role/sources.h"

#include "base/arena.h"
#include "base/buf.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "role/channel.h"
#include "store/store.h"

#define ROOM_BYTES 8192			/* for one more row and the end */

static void write_row(struct jwrite *w, const struct store_source *row)
{
	jwrite_object(w, NULL);
	jwrite_string(w, "source", row->source);
	jwrite_string(w, "handle", row->handle);
	jwrite_bool(w, "stopped", row->stopped);
	jwrite_int(w, "failures", row->failures);
	jwrite_int(w, "pause", row->pause_ms);
	jwrite_int(w, "probe_in", row->probe_in_ms);
	if (row->probe != NULL)
		jwrite_string(w, "probe", row->probe);
	jwrite_end(w);
}

void role_sources_write(struct buf *out, const struct store_source *rows, size_t count, int64_t asked_ms)
{
	size_t from = out->len, i;
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_array(&w, "sources");
	for (i = 0; i < count && out->len - from < CHANNEL_MAX - ROOM_BYTES; i++)
		write_row(&w, &rows[i]);
	jwrite_end(&w);
	jwrite_bool(&w, "whole", i == count && count < SOURCES_MAX);
	jwrite_int(&w, "asked", asked_ms);
	jwrite_end(&w);
}

static int64_t number(const struct json *row, const char *name)
{
	int64_t value = 0;

	json_int(json_member(row, name), &value);
	return value;
}

static bool flag(const struct json *object, const char *name)
{
	bool value = false;

	return json_bool(json_member(object, name), &value) && value;
}

struct store_source *role_sources_read(const struct json *message, struct arena *arena, size_t *count_r, bool *whole_r,
				  int64_t *asked_ms_r)
{
	const struct json *list = json_member(message, "sources"), *item;
	struct store_source *rows;

	*count_r = 0;
	if (json_type(list) != JSON_ARRAY)
		return NULL;
	rows = arena_alloc(arena, (json_count(list) + 1) * sizeof(*rows));
	for (item = json_first(list); item != NULL; item = json_next(item)) {
		const char *source = json_string(json_member(item, "source"), NULL);
		const char *handle = json_string(json_member(item, "handle"), NULL);

		if (source != NULL && handle != NULL)
			rows[(*count_r)++] = (struct store_source){
				.source = source, .handle = handle, .stopped = flag(item, "stopped"),
				.failures = number(item, "failures"), .pause_ms = number(item, "pause"),
				.probe_in_ms = number(item, "probe_in"),
				.probe = json_string(json_member(item, "probe"), NULL)};
	}
	*whole_r = flag(message, "whole");
	*asked_ms_r = number(message, "asked");
	return rows;
}
