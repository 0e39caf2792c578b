/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of every bus: delivery, acknowledging, rejecting, limits,
 * suspects. The first argument or SLUICE_TEST_BUS names the bus; direct:
 * otherwise, over a new SQLite file.
 */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "bus/bus.h"
#include "bus_cases.h"
#include "loop/loop.h"
#include "pack/frame.h"
#include "store_cases.h"

#define MAX 100

static const char *url = "direct:";

static bool is_direct(void)
{
	return strcmp(url, "direct:") == 0;
}

struct sink {
	struct fixture *fx;
	struct bus_reader *reader;
	uint64_t tags[MAX];
	char bodies[MAX][40], ids[MAX][64];
	bool suspect[MAX];
	size_t count;
	size_t done; /* calls of on_done */
	struct error error;
	bool close_at_delivery;
	uint32_t events; /* of each message; 0: one */
	size_t lines; /* of all bodies */
};

/* A newline at the end ends a line. */
static size_t count_lines(const char *body, size_t len)
{
	size_t lines = len > 0 && body[len - 1] != '\n';

	for (size_t i = 0; i < len; i++)
		lines += body[i] == '\n';
	return lines;
}

static void on_messages(void *user, const struct bus_message *messages, size_t count)
{
	struct sink *sink = user;
	size_t i;

	for (i = 0; i < count; i++) {
		assert_true(sink->count < MAX);
		assert_int_equal(strlen(messages[i].body), messages[i].len);
		assert_int_equal(messages[i].events, sink->events > 0 ? sink->events : 1);
		assert_null(messages[i].problem);
		sink->lines += count_lines(messages[i].body, messages[i].len);
		assert_true(messages[i].created_ms > 0);
		sink->tags[sink->count] = messages[i].tag;
		sink->suspect[sink->count] = messages[i].suspect;
		snprintf(sink->bodies[sink->count], sizeof(sink->bodies[0]), "%s", messages[i].body);
		snprintf(sink->ids[sink->count], sizeof(sink->ids[0]), "%s", messages[i].id);
		sink->count++;
	}
	if (sink->close_at_delivery)
		bus_close(&sink->reader);
}

static void on_done(void *user, const struct error *err)
{
	struct sink *sink = user;

	sink->done++;
	sink->error = *err;
}

static void open_sink(struct sink *sink, struct fixture *fx, size_t max_messages, size_t max_bytes)
{
	struct bus_options options = {.queue = fx->queue,
				      .exchange = "contract.dx",
				      .type = "direct",
				      .key = fx->queue,
				      .unacked_messages = max_messages,
				      .unacked_bytes = max_bytes,
				      .messages = on_messages,
				      .user = sink};

	memset(sink, 0, sizeof(*sink));
	sink->fx = fx;
	sink->reader = bus_open(store_sync_loop(fx->sync), url, store_sync_store(fx->sync), &options,
				&fx->err);
	assert_non_null(sink->reader);
}

static void run(struct fixture *fx, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		loop_run_once(store_sync_loop(fx->sync), 10);
}

/* Waits until count messages have come, and fails after a generous while. */
static void expect(struct sink *sink, size_t count)
{
	int64_t end = clock_mono_ms() + 30000;

	while (sink->count < count && clock_mono_ms() < end)
		loop_run_once(store_sync_loop(sink->fx->sync), 10);
	assert_int_equal(sink->count, count);
}

static void expect_done(struct sink *sink, size_t calls)
{
	int64_t end = clock_mono_ms() + 30000;

	while (sink->done < calls && clock_mono_ms() < end)
		loop_run_once(store_sync_loop(sink->fx->sync), 10);
	assert_int_equal(sink->done, calls);
}

static void on_published(void *user, void *message_user, enum bus_fate fate, const char *reason)
{
	size_t *left = user;

	(void)message_user;
	(void)reason;
	assert_int_equal(fate, BUS_CONFIRMED);
	--*left;
}

static void publish_all(struct fixture *fx, const struct bus_outgoing *messages, size_t count)
{
	struct bus_queue queue = {fx->queue, "contract.dx", "direct", fx->queue};
	size_t left = count;
	struct bus_publisher_options options = {
		.name = "contract", .queues = &queue, .queue_count = 1, .published = on_published, .user = &left};
	struct bus_publisher *publisher =
		bus_publisher_open(store_sync_loop(fx->sync), url, &options, &fx->err);
	int64_t end = clock_mono_ms() + 30000;

	assert_non_null(publisher);
	bus_publish(publisher, messages, count);
	while (left > 0 && clock_mono_ms() < end)
		loop_run_once(store_sync_loop(fx->sync), 10);
	assert_int_equal(left, 0);
	bus_publisher_close(&publisher);
}

static struct bus_outgoing outgoing(struct fixture *fx, const char *body, size_t len, uint32_t events)
{
	char *id = arena_alloc(fx->arena, UUID_TEXT_SIZE);

	return (struct bus_outgoing){.exchange = "contract.dx", .key = fx->queue, .body = body, .len = len,
				     .events = events, .id = uuid_random(id)};
}

static void publish_one(struct fixture *fx, const char *body, size_t len, uint32_t events, bool packed)
{
	struct bus_outgoing message = outgoing(fx, body, len, events);

	message.packed = packed;
	publish_all(fx, &message, 1);
}

static void publish(struct fixture *fx, size_t count)
{
	struct bus_outgoing *messages = arena_alloc(fx->arena, count * sizeof(*messages));

	for (size_t i = 0; i < count; i++) {
		const char *body = arena_printf(fx->arena, "{\"n\":%zu}", i);

		messages[i] = outgoing(fx, body, strlen(body), 1);
	}
	publish_all(fx, messages, count);
}

/* Messages of the queue that nobody has acknowledged. */
static void expect_waiting(struct fixture *fx, int64_t count)
{
	if (is_direct())
		assert_int_equal(fixture_total(fx, fx->queue, "waiting_rows"), count);
}

/* count messages of one event each, {"n":0} and on. */
static void emit(struct fixture *fx, size_t count)
{
	size_t i;

	if (!is_direct()) {
		publish(fx, count);
		return;
	}
	for (i = 0; i < count; i++) {
		char payload[40];
		struct store_outbox out = {fx->queue, payload, 0, 1};

		out.payload_len = (size_t)snprintf(payload, sizeof(payload), "{\"n\":%zu}", i);
		fixture_emit(fx, &out, 1);
	}
}

/* One message of count events {"n":0} and on, packed. */
static void emit_packed(struct fixture *fx, size_t count)
{
	struct buf text, frames;

	buf_init(&text);
	buf_init(&frames);
	for (size_t i = 0; i < count; i++)
		buf_printf(&text, "{\"n\":%zu}\n", i);
	if (is_direct()) {
		struct store_outbox out = {fx->queue, text.data, text.len, (uint32_t)count};

		fixture_emit(fx, &out, 1);
	} else {
		/* Frames, wherever one ends and the next begins. */
		frame_pack(&frames, text.data, text.len / 2);
		frame_pack(&frames, text.data + text.len / 2, text.len - text.len / 2);
		publish_one(fx, frames.data, frames.len, (uint32_t)count, true);
	}
	buf_fini(&text);
	buf_fini(&frames);
}

static void packed_messages_come_unpacked(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;

	if (!frame_available())
		return;
	fx->options.packed = true;
	fixture_reopen(fx);
	emit_packed(fx, 500);
	open_sink(&sink, fx, 0, 0);
	sink.events = 500;
	expect(&sink, 1);
	assert_int_equal(sink.lines, 500);
	assert_string_equal(strtok(sink.bodies[0], "\n"), "{\"n\":0}");
	bus_ack(sink.reader, sink.tags, 1);
	bus_settle(sink.reader, on_done, &sink);
	expect_done(&sink, 1);
	expect_waiting(fx, 0);
	bus_close(&sink.reader);
}

static void messages_come_in_order_once(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;

	emit(fx, 3);
	open_sink(&sink, fx, 0, 0);
	expect(&sink, 3);
	run(fx, 500); /* past an idle look: what is in flight does not come again */
	assert_int_equal(sink.count, 3);
	assert_string_equal(sink.bodies[0], "{\"n\":0}");
	assert_string_equal(sink.bodies[2], "{\"n\":2}");
	assert_string_not_equal(sink.ids[0], sink.ids[1]);
	emit(fx, 1);
	bus_nudge(sink.reader);
	expect(&sink, 4);
	bus_close(&sink.reader);
}

/* A broker knows what it has delivered before; direct: has to suspect all that is there. */
static void only_what_was_there_before_is_suspect(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;
	size_t i;

	if (!is_direct())
		skip();
	emit(fx, 2);
	open_sink(&sink, fx, 0, 0);
	expect(&sink, 2);
	emit(fx, 2);
	expect(&sink, 4);
	for (i = 0; i < 4; i++)
		assert_int_equal(sink.suspect[i], i < 2);
	bus_close(&sink.reader);
}

static void acknowledged_is_gone_and_the_rest_comes_again(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;
	char second[64];

	emit(fx, 3);
	open_sink(&sink, fx, 0, 0);
	expect(&sink, 3);
	snprintf(second, sizeof(second), "%s", sink.ids[1]);
	bus_ack(sink.reader, (uint64_t[]){sink.tags[0], sink.tags[2]}, 2);
	bus_settle(sink.reader, on_done, &sink);
	assert_int_equal(sink.done, 0);
	expect_done(&sink, 1);
	expect_waiting(fx, 1);
	bus_close(&sink.reader);
	open_sink(&sink, fx, 0, 0);
	expect(&sink, 1);
	assert_string_equal(sink.bodies[0], "{\"n\":1}");
	assert_string_equal(sink.ids[0], second);
	assert_true(sink.suspect[0]);
	bus_close(&sink.reader);
}

static void settle_without_acks_answers(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;

	open_sink(&sink, fx, 0, 0);
	bus_settle(sink.reader, on_done, &sink);
	expect_done(&sink, 1);
	assert_int_equal(sink.error.code, ERR_NONE);
	bus_close(&sink.reader);
}

static void unacked_messages_are_bounded(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;
	struct bus_stats stats;

	emit(fx, 5);
	open_sink(&sink, fx, 2, 0);
	expect(&sink, 2);
	run(fx, 400);
	assert_int_equal(sink.count, 2);
	bus_reader_stats(sink.reader, &stats);
	assert_int_equal(stats.unacked, 2);
	assert_int_equal(stats.unacked_bytes, 14);
	bus_ack(sink.reader, sink.tags, 1);
	expect(&sink, 3);
	bus_ack(sink.reader, sink.tags + 1, 2);
	expect(&sink, 5);
	bus_close(&sink.reader);
}

static void unacked_bytes_are_bounded_but_one_fits(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;
	size_t i;

	emit(fx, 3);
	open_sink(&sink, fx, 0, 1);
	for (i = 0; i < 3; i++) {
		expect(&sink, i + 1);
		run(fx, 50);
		assert_int_equal(sink.count, i + 1);
		bus_ack(sink.reader, &sink.tags[i], 1);
	}
	bus_close(&sink.reader);
}

static void pause_holds_and_resume_goes_on(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;

	open_sink(&sink, fx, 0, 0);
	bus_pause(sink.reader);
	emit(fx, 2);
	run(fx, 400);
	assert_int_equal(sink.count, 0);
	bus_resume(sink.reader);
	expect(&sink, 2);
	bus_close(&sink.reader);
}

/* What had been sent still comes, before the settle; nothing that is sent later, and nobody has to suspect anything. */
static void last_call_leaves_nothing_in_doubt(void **state)
{
	struct fixture *fx = *state;
	struct sink sink;
	size_t first;

	open_sink(&sink, fx, 0, 0);
	bus_pause(sink.reader);
	emit(fx, 3);
	run(fx, 300);
	assert_int_equal(sink.count, 0);
	assert_int_equal(bus_last_call(sink.reader), !is_direct());
	bus_settle(sink.reader, on_done, &sink);
	expect_done(&sink, 1);
	first = sink.count;
	assert_in_range(first, 0, is_direct() ? 0 : 3);
	emit(fx, 1);
	run(fx, 300);
	assert_int_equal(sink.count, first);
	bus_ack(sink.reader, sink.tags, first);
	bus_settle(sink.reader, on_done, &sink);
	expect_done(&sink, 2);
	bus_close(&sink.reader);
	open_sink(&sink, fx, 0, 0);
	expect(&sink, 4 - first);
	for (size_t i = 0; i < sink.count; i++)
		assert_int_equal(sink.suspect[i], is_direct());
	bus_close(&sink.reader);
}

static void rejected_is_parked_then_acknowledged(void **state)
{
	struct fixture *fx = *state;
	struct bus_letter letter = {.payload = "{\"n\":0}", .len = 7, .reason = "no such column", .code = "column",
				    .dedup_id = "bad-1"};
	struct json_doc *doc;
	struct sink sink;
	struct buf out;

	emit(fx, 2);
	open_sink(&sink, fx, 0, 0);
	expect(&sink, 2);
	bus_reject(sink.reader, sink.tags, 1, &letter, 1, on_done, &sink);
	expect_done(&sink, 1);
	assert_int_equal(sink.error.code, ERR_NONE);
	bus_reject(sink.reader, NULL, 0, &letter, 1, on_done, &sink);
	expect_done(&sink, 2);
	bus_settle(sink.reader, on_done, &sink);
	expect_done(&sink, 3);
	expect_waiting(fx, 1);
	if (!is_direct()) {
		bus_close(&sink.reader);
		return;
	}
	buf_init(&out);
	assert_good(fx, store_sync_dead_list(fx->sync, fx->queue, 10, &out, &fx->err));
	doc = json_parse(out.data, out.len, &fx->err);
	assert_int_equal(json_count(json_root(doc)), 1);
	assert_json(json_root(doc), "0.reason", "\"no such column\"");
	assert_json(json_root(doc), "0.count", "2");
	json_doc_free(&doc);
	buf_fini(&out);
	bus_close(&sink.reader);
}

static void closing_drops_what_is_under_way(void **state)
{
	struct fixture *fx = *state;
	struct bus_letter letter = {.payload = "{}", .len = 2, .reason = "r", .code = "c"};
	struct sink sink;

	emit(fx, 2);
	open_sink(&sink, fx, 0, 0);
	bus_close(&sink.reader); /* before the first answer */
	open_sink(&sink, fx, 0, 0);
	sink.close_at_delivery = true;
	expect(&sink, 2);
	assert_null(sink.reader);
	open_sink(&sink, fx, 0, 0);
	expect(&sink, 2);
	bus_ack(sink.reader, sink.tags, 2);
	bus_reject(sink.reader, NULL, 0, &letter, 1, on_done, &sink);
	bus_settle(sink.reader, on_done, &sink);
	bus_close(&sink.reader);
	run(fx, 100);
	assert_int_equal(sink.done, 0);
	expect_waiting(fx, 0);
}

static void wrong_url_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct bus_options options = {.queue = "q", .messages = on_messages};

	assert_null(bus_open(NULL, "carrier-pigeon:", NULL, &options, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_null(bus_open(NULL, "direct:something", NULL, &options, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_false(bus_publishes("direct:"));
	if (is_direct())
		return;
	assert_true(bus_publishes(url));
	assert_null(bus_open(NULL, "amqp://host/vhost?queues=green", NULL, &options, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
}

static const struct CMUnitTest cases[] = {
	CASE(messages_come_in_order_once),
	CASE(packed_messages_come_unpacked),
	CASE(only_what_was_there_before_is_suspect),
	CASE(acknowledged_is_gone_and_the_rest_comes_again),
	CASE(settle_without_acks_answers),
	CASE(unacked_messages_are_bounded),
	CASE(unacked_bytes_are_bounded_but_one_fits),
	CASE(pause_holds_and_resume_goes_on),
	CASE(last_call_leaves_nothing_in_doubt),
	CASE(rejected_is_parked_then_acknowledged),
	CASE(closing_drops_what_is_under_way),
	CASE(wrong_url_is_refused),
};

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc > 1)
		url = argv[1];
	else if (getenv("SLUICE_TEST_BUS") != NULL)
		url = getenv("SLUICE_TEST_BUS");
	failed += cmocka_run_group_tests(cases, NULL, NULL);
	failed += bus_run_letter_cases(url);
	return failed > 0;
}
