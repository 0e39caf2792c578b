/* SPDX-License-Identifier: Apache-2.0 */
/* The sink of profile events as the plugin "sinks" declares it, and events of about 500 bytes for it. */
#ifndef SLUICE_BENCH_PROFILE_SINK_H
#define SLUICE_BENCH_PROFILE_SINK_H

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "profile_columns.h"

#define QUEUE "profile_log_events_q"

static const struct sl_sink sink = SL_SINK_INIT(
	.name = "profile_log_events", .queue = QUEUE, .exchange = "beat.dx", .key = "profile_log_events",
	.table = "profile_log_events", .columns = columns, .engine = "MergeTree",
	.partition_by = "toYYYYMM(event_timestamp)", .order_by = "platform, profile_id, event_timestamp",
	.identity = "event_id", .prefix = prefix, .time_column = "event_timestamp");

static inline void add_event(struct buf *events, unsigned int number)
{
	char id[UUID_TEXT_SIZE];

	buf_printf(events, "{\"event_id\":\"%s\",\"source\":\"graphapi\",\"platform\":\"INSTAGRAM\","
		   "\"profile_id\":\"1784140%07u\",\"handle\":\"some.handle.%u\","
		   "\"event_timestamp\":\"2026-11-%02u 12:34:56\",\"metrics\":{\"followers\":%u,\"following\":312,"
		   "\"media_count\":1045,\"engagement\":0.0312},\"dimensions\":{\"full_name\":\"Somebody Famous\","
		   "\"bio\":\"Photographs of mountains, rivers and the people between them; prints on request\","
		   "\"external_url\":\"https://example.org/somebody\",\"is_private\":false,\"is_verified\":true,"
		   "\"profile_pic_url\":\"https://cdn.example.org/p/%u.jpg\"}}\n", uuid_random(id), number % 9999999,
		   number, number % 28 + 1, number * 7, number);
}

/* Words, one after the other by chance, as text is: it packs as well as text does. */
static inline void add_words(struct buf *out, size_t bytes, uint32_t chance)
{
	static const char *const words[] = {
		"mountains ", "rivers ", "and ", "the ", "people ", "between ", "them ", "prints ", "on ", "request ",
		"photographs ", "of ", "light ", "in ", "winter ", "mornings "};

	while (bytes > 0) {
		const char *word = words[(chance = chance * 1664525u + 1013904223u) >> 28];
		size_t len = strlen(word);

		buf_add(out, word, len < bytes ? len : bytes);
		bytes -= len < bytes ? len : bytes;
	}
}

/* An event of so many bytes without its newline, which is 270 or more. */
static inline void add_event_of(struct buf *events, unsigned int number, size_t bytes)
{
	static const char end[] = "\"}}\n";
	char id[UUID_TEXT_SIZE];
	size_t start = events->len;

	buf_printf(events, "{\"event_id\":\"%s\",\"source\":\"graphapi\",\"platform\":\"INSTAGRAM\","
		   "\"profile_id\":\"1784140%07u\",\"handle\":\"some.handle.%u\","
		   "\"event_timestamp\":\"2026-11-%02u 12:34:56\",\"metrics\":{\"followers\":%u},"
		   "\"dimensions\":{\"bio\":\"", uuid_random(id), number % 9999999, number, number % 28 + 1, number * 7);
	if (events->len - start + sizeof(end) - 2 < bytes)
		add_words(events, bytes - (events->len - start) - (sizeof(end) - 2), number);
	buf_adds(events, end);
}

#endif
