/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every bus, continued: dead letters are listed, sent again and deleted; none is lost on the way. */
#include "store_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "bus/bus.h"
#include "bus_cases.h"
#include "loop/loop.h"
#include "store_cases.h"

#define MANY 250
#define MESSAGES_MAX 4000

static const char *url;

static bool is_direct(void)
{
	return strcmp(url, "direct:") == 0;
}

/* --- a reader that remembers --- */

struct seen {
	char id[80], body[60], headers[200];
	bool suspect, letter;
};

struct sink {
	struct fixture *fx;
	struct bus_reader *reader;
	struct seen seen[MESSAGES_MAX];
	size_t count, done;
	bool rejects;			/* each message, as the letter it was */
};

static void on_done(void *user, const struct error *err)
{
	struct sink *sink = user;

	assert_int_equal(err->code, ERR_NONE);
	sink->done++;
}

static void on_messages(void *user, const struct bus_message *messages, size_t count)
{
	struct sink *sink = user;

	for (size_t i = 0; i < count; i++) {
		const struct bus_message *message = &messages[i];
		struct seen *seen = &sink->seen[sink->count++];
		struct bus_letter letter = {.payload = message->body, .len = message->len, .reason = "still bad",
					    .code = "column", .dedup_id = message->id, .headers = message->headers};

		assert_true(sink->count < MESSAGES_MAX);
		str_format(seen->id, sizeof(seen->id), "%s", message->id);
		str_format(seen->body, sizeof(seen->body), "%s", message->body);
		str_format(seen->headers, sizeof(seen->headers), "%s", message->headers != NULL ? message->headers : "");
		seen->suspect = message->suspect;
		seen->letter = message->letter;
		if (sink->rejects)
			bus_reject(sink->reader, &message->tag, 1, &letter, 1, on_done, sink);
		else
			bus_ack(sink->reader, &message->tag, 1);
	}
}

static void turn(struct fixture *fx)
{
	loop_run_once(store_sync_loop(fx->sync), 10);
}

/* error.QUEUE is a classic queue, whatever the others are. */
static const char *url_for(struct fixture *fx, const char *queue)
{
	return str_starts(queue, "error.") ? arena_strndup(fx->arena, url, strcspn(url, "?")) : url;
}

static struct sink *open_sink(struct fixture *fx, const char *queue)
{
	struct sink *sink = arena_alloc(fx->arena, sizeof(*sink));
	struct bus_options options = {.queue = queue, .messages = on_messages, .user = sink};

	sink->fx = fx;
	sink->reader = bus_open(store_sync_loop(fx->sync), url_for(fx, queue), store_sync_store(fx->sync), &options, &fx->err);
	assert_non_null(sink->reader);
	return sink;
}

#define UNTIL(fx, what) \
	do { \
		int64_t until_ms = clock_mono_ms() + 60000; \
		while (!(what)) { \
			if (clock_mono_ms() > until_ms) \
				fail_msg("waited for %s", #what); \
			turn(fx); \
		} \
	} while (0)

static void close_sink(struct sink *sink)
{
	size_t before = sink->done;

	bus_settle(sink->reader, on_done, sink);
	UNTIL(sink->fx, sink->done > before);
	bus_close(&sink->reader);
}

/* --- letters --- */

/* Letter i: payload {"n":i}, identity "QUEUE/i". */
static const char *name_of(struct fixture *fx, size_t i)
{
	return arena_printf(fx->arena, "%s/%zu", fx->queue, i);
}

static void park(struct fixture *fx, size_t first, size_t count)
{
	struct sink *sink = open_sink(fx, fx->queue);

	for (size_t i = first; i < first + count; i++) {
		const char *payload = arena_printf(fx->arena, "{\"n\":%zu}", i);
		struct bus_letter letter = {.payload = payload, .len = strlen(payload), .reason = "no such column",
					    .code = "column", .dedup_id = name_of(fx, i)};

		bus_reject(sink->reader, NULL, 0, &letter, 1, on_done, sink);
	}
	UNTIL(fx, sink->done == count);
	close_sink(sink);
}

static struct bus_letters *open_letters(struct fixture *fx)
{
	const char *queues[] = {fx->other_flow, fx->queue};
	struct bus_letters *letters = bus_letters_open(url, fx->sync, queues, 2, &fx->err);

	assert_non_null(letters);
	return letters;
}

static struct bus_parked *list(struct fixture *fx, struct bus_letters_filter filter, size_t expected, bool more)
{
	struct bus_letters *letters = open_letters(fx);
	struct bus_parked *rows;
	bool found_more;
	size_t count;

	filter.queue = filter.queue != NULL ? filter.queue : fx->queue;
	assert_good(fx, bus_letters_read(letters, &filter, fx->arena, &rows, &count, &found_more, &fx->err));
	assert_int_equal(count, expected);
	assert_int_equal(found_more, more);
	bus_letters_close(&letters);
	return rows;
}

static size_t change(struct fixture *fx, enum bus_letters_action action, struct bus_letters_filter filter)
{
	struct bus_letters *letters = open_letters(fx);
	size_t done;

	filter.queue = filter.queue != NULL ? filter.queue : fx->queue;
	assert_good(fx, bus_letters_change(letters, action, &filter, NULL, NULL, &done, &fx->err));
	bus_letters_close(&letters);
	return done;
}

#define ALL ((struct bus_letters_filter){.payload = true})

static void letters_are_listed_and_stay(void **state)
{
	struct fixture *fx = *state;
	struct bus_parked *rows;

	list(fx, ALL, 0, false);
	park(fx, 0, 3);
	park(fx, 1, 1);
	for (int i = 0; i < 2; i++) {
		rows = list(fx, ALL, 3, false);
		for (size_t n = 0; n < 3; n++) {
			assert_string_equal(rows[n].payload, arena_printf(fx->arena, "{\"n\":%zu}", n));
			assert_int_equal(rows[n].len, 7);
			assert_string_equal(rows[n].queue, fx->queue);
			assert_string_equal(rows[n].code, "column");
			assert_string_equal(rows[n].reason, "no such column");
			assert_int_equal(rows[n].count, n == 1 ? 2 : 1);
			assert_null(rows[n].headers);
			assert_int_equal(strlen(rows[n].first), strlen("2026-01-01 00:00:00.000"));
			assert_true(strcmp(rows[n].first, rows[n].last) <= 0);
		}
		assert_true(strcmp(rows[1].last, rows[2].last) >= 0);
	}
	assert_null(list(fx, (struct bus_letters_filter){.limit = 3}, 3, false)[0].payload);
	rows = list(fx, (struct bus_letters_filter){.limit = 2}, 2, true);
	assert_int_equal(rows[1].len, 7);
	list(fx, (struct bus_letters_filter){.queue = fx->other_flow}, 0, false);
}

static void queues_are_known(void **state)
{
	struct fixture *fx = *state;
	struct bus_letters *letters;

	park(fx, 0, 1);
	letters = open_letters(fx);
	assert_int_equal(bus_letters_has_queue(letters, fx->queue, &fx->err), 1);
	assert_int_equal(bus_letters_has_queue(letters, fx->other_flow, &fx->err), 0);
	assert_int_equal(bus_letters_has_queue(letters, arena_printf(fx->arena, "%0300d", 1), &fx->err), 0);
	bus_letters_close(&letters);
}

static void letters_are_found_by_id(void **state)
{
	struct fixture *fx = *state;
	struct bus_parked *rows;
	const char *ids[3];
	bool found[3] = {false};
	struct bus_letters_filter filter = {.ids = ids, .id_count = 3, .found = found, .payload = true};

	park(fx, 0, 5);
	rows = list(fx, ALL, 5, false);
	ids[0] = rows[4].id;
	ids[1] = "none/such";
	ids[2] = rows[1].id;
	rows = list(fx, filter, 2, false);
	assert_string_equal(rows[0].payload, "{\"n\":1}");
	assert_string_equal(rows[1].payload, "{\"n\":4}");
	assert_true(found[0] && !found[1] && found[2]);

	memset(found, 0, sizeof(found));
	assert_int_equal(change(fx, BUS_DROP, filter), 2);
	assert_true(found[0] && !found[1] && found[2]);
	rows = list(fx, ALL, 3, false);
	assert_string_equal(rows[1].payload, "{\"n\":2}");
	assert_int_equal(change(fx, BUS_DROP, (struct bus_letters_filter){.limit = 2}), 2);
	assert_string_equal(list(fx, ALL, 1, false)->payload, "{\"n\":3}");
	assert_int_equal(change(fx, BUS_DROP, ALL), 1);
	list(fx, ALL, 0, false);
}

static void sent_again_they_keep_their_name_and_history(void **state)
{
	struct fixture *fx = *state;
	char first[40], last[40];
	struct bus_parked *row;
	struct sink *sink;

	park(fx, 0, 2);
	park(fx, 1, 1);
	row = &list(fx, ALL, 2, false)[1];
	str_format(first, sizeof(first), "%s", row->first);
	str_format(last, sizeof(last), "%s", row->last);
	assert_int_equal(change(fx, BUS_REPLAY, ALL), 2);
	list(fx, ALL, 0, false);
	sink = open_sink(fx, fx->queue);
	sink->rejects = true;
	UNTIL(fx, sink->done == 2);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(sink->seen[i].id, name_of(fx, i));
		assert_string_equal(sink->seen[i].body, arena_printf(fx->arena, "{\"n\":%zu}", i));
		assert_true(sink->seen[i].letter && sink->seen[i].suspect);
	}
	close_sink(sink);
	row = list(fx, ALL, 2, false);
	assert_int_equal(row[0].count, 2);
	assert_int_equal(row[1].count, 3);
	assert_string_equal(row[1].first, first);
	assert_true(strcmp(row[1].last, last) > 0);
	assert_string_equal(row[1].reason, "still bad");
}

/* What comes back while others are sent is not sent once more. */
static void bad_ones_do_not_go_round_and_round(void **state)
{
	struct fixture *fx = *state;
	struct bus_parked *rows;
	struct sink *sink;

	park(fx, 0, MANY);
	sink = open_sink(fx, fx->queue);
	sink->rejects = true;
	assert_int_equal(change(fx, BUS_REPLAY, (struct bus_letters_filter){.limit = MANY - 100}), MANY - 100);
	UNTIL(fx, sink->done == MANY - 100);
	assert_int_equal(change(fx, BUS_REPLAY, ALL), MANY);
	UNTIL(fx, sink->done == 2 * MANY - 100);
	close_sink(sink);
	rows = list(fx, ALL, MANY, false);
	assert_int_equal(rows[0].count + rows[MANY - 1].count, 5);
}

static void replay_in_a_child(struct fixture *fx)
{
	struct bus_letters_filter all = {.queue = fx->queue};
	struct store_sync *sync = is_direct() ? fixture_open(fx) : NULL;
	struct bus_letters *letters = bus_letters_open(url, sync, NULL, 0, &fx->err);
	size_t done;

	_exit(letters != NULL && bus_letters_change(letters, BUS_REPLAY, &all, NULL, NULL, &done, &fx->err) == 0 ? 0 : 1);
}

static void killed_replay_loses_none(void **state)
{
	struct fixture *fx = *state;
	bool there[MANY] = {false};
	struct sink *sink;
	size_t distinct = 0;
	int status;

	park(fx, 0, MANY);
	store_sync_close(&fx->sync);
	for (int round = 0; round < 8; round++) {
		pid_t pid = fork();

		if (pid == 0)
			replay_in_a_child(fx);
		usleep((useconds_t)(1000 + random_u64() % 40000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	fx->sync = fixture_open(fx);
	/* What the killed held comes back as soon as the broker has noticed. */
	sink = open_sink(fx, fx->queue);
	for (int64_t end = clock_mono_ms() + 60000; distinct < MANY && clock_mono_ms() < end;) {
		change(fx, BUS_REPLAY, ALL);
		turn(fx);
		memset(there, 0, sizeof(there));
		distinct = 0;
		for (size_t i = 0; i < sink->count; i++) {
			size_t n;

			assert_int_equal(sscanf(sink->seen[i].body, "{\"n\":%zu}", &n), 1);
			assert_string_equal(sink->seen[i].id, name_of(fx, n));
			assert_true(sink->seen[i].suspect);
			distinct += !there[n];
			there[n] = true;
		}
	}
	assert_int_equal(distinct, MANY);
	close_sink(sink);
	list(fx, ALL, 0, false);
}

/* --- what only a broker has: messages of others --- */

static void on_published(void *user, void *message_user, enum bus_fate fate, const char *reason)
{
	(void)message_user;
	(void)reason;
	assert_int_equal(fate, BUS_CONFIRMED);
	*(bool *)user = true;
}

static void publish(struct fixture *fx, const char *queue, const char *id, const char *body, const char *headers)
{
	struct bus_queue declared = {.name = queue};
	bool confirmed = false;
	struct bus_publisher_options options = {
		.name = "others", .queues = &declared, .queue_count = 1, .published = on_published, .user = &confirmed};
	struct bus_publisher *publisher =
		bus_publisher_open(store_sync_loop(fx->sync), url_for(fx, queue), &options, &fx->err);
	struct bus_outgoing out = {
		.exchange = "", .key = queue, .body = body, .len = strlen(body), .id = id, .more = headers};

	assert_non_null(publisher);
	bus_publish(publisher, &out, 1);
	UNTIL(fx, confirmed);
	bus_publisher_close(&publisher);
}

static void headers_of_others_are_kept(void **state)
{
	static const char headers[] = "{\"trace\":\"a\\u0001b\",\"n\":-5,\"x-retry-count\":7,\"big\":1099511627776,"
				      "\"yes\":true,\"part\":0.5,\"none\":null,\"list\":[1,{\"deep\":\"x\"}],\"CC\":[]}";
	static const char kept[] = "{\"trace\":\"a\\u0001b\",\"n\":-5,\"big\":1099511627776,"
				   "\"yes\":true,\"part\":0.5,\"none\":null,\"list\":[1,{\"deep\":\"x\"}]}";
	struct fixture *fx = *state;
	struct sink *sink, *old_tool;

	if (is_direct())
		skip();
	publish(fx, fx->queue, "theirs", "{}", headers);
	sink = open_sink(fx, fx->queue);
	sink->rejects = true;
	UNTIL(fx, sink->done == 1);
	assert_false(sink->seen[0].letter || sink->seen[0].suspect);
	assert_string_equal(list(fx, ALL, 1, false)->headers, kept);
	/* They go along when it is sent again, and come back with it. */
	assert_int_equal(change(fx, BUS_REPLAY, ALL), 1);
	UNTIL(fx, sink->done == 2);
	assert_true(sink->seen[1].letter);
	assert_null(strstr(sink->seen[1].headers, "x-retry-count"));
	close_sink(sink);
	assert_string_equal(list(fx, ALL, 1, false)->headers, kept);
	assert_int_equal(list(fx, ALL, 1, false)->count, 2);
	old_tool = open_sink(fx, arena_printf(fx->arena, "error.%s", fx->queue));
	UNTIL(fx, old_tool->count == 1);
	assert_non_null(strstr(old_tool->seen[0].headers, "\"trace\":\"a\\u0001b\""));
	assert_non_null(strstr(old_tool->seen[0].headers, "\"x-retry-count\":2"));
	close_sink(old_tool);
}

static void retry_count_is_exhausted_for_others(void **state)
{
	static const char *const given[] = {NULL, "{\"x-retry-count\":1}", "{\"x-retry-count\":\"9\"}"};
	static const char *const told[] = {"\"x-retry-count\":2", "\"x-retry-count\":2", "\"x-retry-count\":9"};
	struct fixture *fx = *state;
	struct sink *sink, *old_tool;

	if (is_direct())
		skip();
	for (size_t i = 0; i < 3; i++)
		publish(fx, fx->queue, "theirs", "{}", given[i]);
	sink = open_sink(fx, fx->queue);
	sink->rejects = true;
	UNTIL(fx, sink->done == 3);
	close_sink(sink);
	old_tool = open_sink(fx, arena_printf(fx->arena, "error.%s", fx->queue));
	UNTIL(fx, old_tool->count == 3);
	for (size_t i = 0; i < 3; i++)
		assert_non_null(strstr(old_tool->seen[i].headers, told[i]));
	close_sink(old_tool);
}

/* Whatever others have put there goes back as it was, and is no single event. */
static void messages_that_are_no_letters_of_ours(void **state)
{
	struct fixture *fx = *state;
	struct bus_parked *row;
	struct sink *sink;

	if (is_direct())
		skip();
	close_sink(open_sink(fx, fx->queue));
	publish(fx, arena_printf(fx->arena, "error.%s", fx->queue), "their-id", "{\"a\":1}\n{\"a\":2}",
		"{\"x-retry-count\":2,\"trace\":\"t\"}");
	row = list(fx, ALL, 1, false);
	assert_string_equal(row->id, "their-id");
	assert_string_equal(row->code, "");
	assert_string_equal(row->headers, "{\"x-retry-count\":2,\"trace\":\"t\"}");
	assert_int_equal(strlen(row->first), strlen("2026-01-01 00:00:00.000"));
	assert_int_equal(change(fx, BUS_REPLAY, ALL), 1);
	sink = open_sink(fx, fx->queue);
	UNTIL(fx, sink->count == 1);
	assert_string_equal(sink->seen[0].id, "their-id");
	assert_string_equal(sink->seen[0].headers, "{\"trace\":\"t\"}");
	assert_true(sink->seen[0].suspect && !sink->seen[0].letter);
	close_sink(sink);
}

/* What a relay could not send anywhere, or what became a letter before there was a broker. */
static void letters_of_the_store_come_first(void **state)
{
	struct fixture *fx = *state;
	struct store_dead letter = {.queue = fx->queue,
				    .payload = "{\"n\":9}",
				    .payload_len = 7,
				    .reason = "no queue",
				    .code = "unroutable",
				    .dedup_id = "m/9"};
	struct store_outbox_row *waiting;
	struct bus_parked *rows;
	const char *ids[2];
	bool found[2] = {false};
	size_t count;

	if (is_direct())
		skip();
	park(fx, 0, 2);
	for (int i = 0; i < 2; i++) {
		assert_good(fx, store_sync_dead_letter(fx->sync, &letter, 1, &fx->err));
		letter.dedup_id = "m/10";
	}
	rows = list(fx, ALL, 4, false);
	assert_string_equal(rows[0].code, "unroutable");
	assert_string_equal(rows[1].payload, "{\"n\":9}");
	assert_string_equal(rows[2].payload, "{\"n\":0}");
	assert_string_equal(list(fx, (struct bus_letters_filter){.limit = 3}, 3, true)[2].code, "column");
	assert_string_equal(list(fx, (struct bus_letters_filter){.limit = 2}, 2, true)[1].code, "unroutable");
	ids[0] = rows[0].id;
	ids[1] = rows[3].id;
	assert_int_equal(change(fx, BUS_REPLAY,
				(struct bus_letters_filter){.ids = ids, .id_count = 2, .found = found}),
			 2);
	assert_true(found[0] && found[1]);
	assert_good(fx, store_sync_outbox_read(fx->sync, fx->queue, NULL, 0, 10, 1 << 20, fx->arena, &waiting,
					       &count, &fx->err));
	assert_int_equal(count, 1);
	assert_non_null(strstr(waiting[0].headers, "\"m/9\""));
	assert_int_equal(change(fx, BUS_DROP, (struct bus_letters_filter){.limit = 1}), 1);
	assert_string_equal(list(fx, ALL, 1, false)->payload, "{\"n\":0}");
	assert_int_equal(change(fx, BUS_DROP, ALL), 1);
}

static void wrong_url_is_refused(void **state)
{
	struct fixture *fx = *state;

	assert_null(bus_letters_open("carrier-pigeon:", NULL, NULL, 0, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	if (is_direct())
		return;
	assert_null(bus_letters_open("amqp://host/vhost?queues=green", NULL, NULL, 0, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
}

static const struct CMUnitTest cases[] = {
	CASE(letters_are_listed_and_stay),
	CASE(queues_are_known),
	CASE(letters_are_found_by_id),
	CASE(sent_again_they_keep_their_name_and_history),
	CASE(bad_ones_do_not_go_round_and_round),
	CASE(killed_replay_loses_none),
	CASE(headers_of_others_are_kept),
	CASE(retry_count_is_exhausted_for_others),
	CASE(messages_that_are_no_letters_of_ours),
	CASE(letters_of_the_store_come_first),
	CASE(wrong_url_is_refused),
};

int bus_run_letter_cases(const char *bus_url)
{
	url = bus_url;
	return cmocka_run_group_tests(cases, NULL, NULL);
}
