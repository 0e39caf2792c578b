/* SPDX-License-Identifier: Apache-2.0 */
/* What a dead letter says of itself on a broker. Any thread. */
#include "bus/amqp.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "bus/driver.h"
#include "json/json.h"
#include "json/jwrite.h"

#define RETRY_COUNT "x-retry-count"
/* The replaced system's consumers try a message three times, and count from 0 the times that went wrong. */
#define RETRIES_EXHAUSTED 2

static bool is_written_anew(const char *name)
{
	return str_starts(name, "x-sluice-") || str_eq(name, RETRY_COUNT);
}

/* Those of the message it came in, but for what is written anew, and the counts. */
static const char *headers_of(struct arena *arena, const struct json *given, int64_t count)
{
	const struct json *header;
	int64_t retries = 0;
	const char *text;
	struct jwrite w;
	struct buf out;

	if (!json_int(json_member(given, RETRY_COUNT), &retries) || retries < RETRIES_EXHAUSTED)
		retries = RETRIES_EXHAUSTED;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	for (header = json_first(given); header != NULL; header = json_next(header))
		if (!is_written_anew(json_name(header)))
			jwrite_value(&w, json_name(header), header);
	jwrite_int(&w, "x-sluice-count", count);
	jwrite_int(&w, RETRY_COUNT, retries);
	jwrite_end(&w);
	text = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return text;
}

struct bus_outgoing amqp_letter(struct arena *arena, const char *queue, const struct bus_letter *letter)
{
	struct json_doc *doc =
		letter->headers != NULL ? json_parse(letter->headers, strlen(letter->headers), NULL) : NULL;
	const struct json *given = doc != NULL ? json_root(doc) : NULL;
	struct bus_history history = bus_history_of(given);
	struct bus_header *headers = arena_alloc(arena, BUS_HEADERS * sizeof(*headers));
	char *now = arena_alloc(arena, CLOCK_TEXT_SIZE), *first = arena_alloc(arena, CLOCK_TEXT_SIZE);
	const char *id = letter->dedup_id;
	struct bus_outgoing out = {.exchange = "", .body = letter->payload, .len = letter->len, .events = 1};

	if (id == NULL)
		id = sha256_hex(arena_alloc(arena, SHA256_TEXT_SIZE), letter->payload, letter->len);
	clock_format_ms(now, clock_wall_ms());
	clock_format_ms(first, history.first_ms != 0 ? history.first_ms : clock_wall_ms());
	headers[out.header_count++] = (struct bus_header){"x-sluice-reason", letter->reason != NULL ? letter->reason : ""};
	headers[out.header_count++] = (struct bus_header){"x-sluice-code", letter->code != NULL ? letter->code : ""};
	headers[out.header_count++] = (struct bus_header){"x-sluice-first", first};
	headers[out.header_count++] = (struct bus_header){"x-sluice-last", now};
	headers[out.header_count++] = (struct bus_header){"x-sluice-queue", queue};
	headers[out.header_count++] = (struct bus_header){"x-sluice-id", id};
	out.headers = headers;
	out.more = headers_of(arena, given, history.count + 1);
	out.id = amqp_message_id(arena, id);
	out.key = arena_printf(arena, AMQP_ERROR_PREFIX "%s", queue);
	json_doc_free(&doc);
	return out;
}
