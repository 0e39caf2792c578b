/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay without a broker: what messages outbox rows become, and what a
 * lane does with every end that a message may have. The store is a new SQLite
 * file; the publisher is the test, which answers as it likes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "bus/driver.h"
#include "conf/model.h"
#include "loop/loop.h"
#include "pack/frame.h"
#include "relay/internal.h"
#include "store/store_sync.h"

#define PARCELS 64
#define LEASE_MS 60000

struct bench {
	char folder[64];
	struct store_sync *worker;	/* what writes the rows */
	struct store *store;		/* the relay's */
	struct loop *loop;
	struct arena *arena;
	struct conf_model conf;
	struct conf_stream stream;
	struct role role;
	struct relay relay;
	struct lane *lane;
	struct bus_publisher publisher;
	/* Made by compose, or given to the publisher: not answered yet. */
	struct parcel *parcels[PARCELS];
	size_t count;
	struct store_shard held[STORE_SHARDS];
	size_t held_count;
	bool answered, lease_wanted;
	struct error err;
};

/* --- the publisher --- */

static void publish(struct bus_publisher *publisher, const struct bus_outgoing *messages, size_t count)
{
	struct bench *bench = publisher->user;

	for (size_t i = 0; i < count; i++) {
		assert_in_range(bench->count, 0, PARCELS - 1);
		bench->parcels[bench->count++] = messages[i].user;
	}
}

static void publisher_stats(const struct bus_publisher *publisher, struct bus_publisher_stats *stats_r)
{
	(void)publisher;
	stats_r->connected = true;
}

static const struct bus_publisher_ops publisher_ops = {.publish = publish, .stats = publisher_stats};

/* --- bench --- */

static void on_lease_timer(void *user)
{
	((struct bench *)user)->lease_wanted = true;
}

static int setup(void **state)
{
	struct bench *bench = mem_alloc(sizeof(*bench));
	struct store_options options = {.relayed = true};
	const char *url;

	str_format(bench->folder, sizeof(bench->folder), "/tmp/sluice-relay-XXXXXX");
	assert_non_null(mkdtemp(bench->folder));
	bench->arena = arena_new();
	url = arena_printf(bench->arena, "sqlite:%s/s.db", bench->folder);
	bench->loop = loop_new();
	bench->store = store_open(bench->loop, url, &options, true, &bench->err);
	bench->worker = store_sync_open(url, &options, false, &bench->err);
	if (bench->store == NULL || bench->worker == NULL)
		fail_msg("%s", bench->err.text);
	bench->stream = (struct conf_stream){.exchange = "x", .key = "dropped", .drop = true};
	bench->conf = (struct conf_model){.relay_events = 500, .relay_bytes = 1 << 18, .relay_lease_ms = LEASE_MS,
					  .streams = &bench->stream, .stream_count = 1};
	bench->role = (struct role){.loop = bench->loop, .conf = &bench->conf};
	bench->publisher = (struct bus_publisher){.magic = BUS_PUBLISHER_MAGIC, .ops = &publisher_ops, .user = bench};
	bench->relay = (struct relay){.role = &bench->role, .loop = bench->loop, .conf = &bench->conf,
				      .store = bench->store, .publisher = &bench->publisher, .relays = 1};
	for (size_t i = 0; i < RELAY_LANES; i++)
		lane_init(&bench->relay.lanes[i], &bench->relay);
	bench->relay.lease_timer = loop_timer_new(bench->loop, on_lease_timer, bench);
	bench->lane = &bench->relay.lanes[0];
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = {"s.db", "s.db-wal", "s.db-shm"};
	struct bench *bench = *state;
	char path[128];

	store_close(&bench->store);
	for (size_t i = 0; i < RELAY_LANES; i++)
		lane_fini(&bench->relay.lanes[i]);
	loop_timer_free(&bench->relay.lease_timer);
	loop_free(&bench->loop);
	store_sync_close(&bench->worker);
	for (size_t i = 0; i < 3; i++) {
		str_format(path, sizeof(path), "%s/%s", bench->folder, files[i]);
		unlink(path);
	}
	rmdir(bench->folder);
	arena_free(&bench->arena);
	mem_release(bench);
	return 0;
}

/* --- composing --- */

/* The lane's rows are these, in any order; ids count from 1 as they stand here. */
struct row {
	const char *queue, *payload;
};

static void set_rows(struct bench *bench, const struct row *rows, size_t count)
{
	struct lane *lane = bench->lane;

	lane->rows = arena_alloc(bench->arena, count * sizeof(*lane->rows));
	lane->row_count = count;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(rows[i].payload);
		uint32_t events = 1;

		for (size_t k = 0; k < len; k++)
			events += rows[i].payload[k] == '\n';
		lane->rows[i] = (struct store_outbox_row){.id = (int64_t)i + 1, .queue = rows[i].queue,
							  .payload = rows[i].payload, .payload_len = len,
							  .bytes = len, .events = events};
	}
	bench->count = 0;
}

static void on_made(struct lane *lane, struct parcel *parcel)
{
	struct bench *bench = lane->relay->publisher->user;

	assert_in_range(bench->count, 0, PARCELS - 1);
	bench->parcels[bench->count++] = parcel;
}

#define COMPOSE(bench, redo, ...) \
	do { \
		const struct row rows_[] = {__VA_ARGS__}; \
		set_rows(bench, rows_, sizeof(rows_) / sizeof(rows_[0])); \
		compose((bench)->lane, redo, on_made); \
	} while (0)

/* id: what follows the store's. */
static void assert_message(struct bench *bench, size_t index, const char *exchange, const char *key, const char *id,
			   const char *body, uint32_t events)
{
	const struct bus_outgoing *message;

	assert_in_range(index + 1, 1, bench->count);
	message = &bench->parcels[index]->message;
	assert_string_equal(message->exchange, exchange);
	assert_string_equal(message->key, key);
	assert_int_equal(message->len, strlen(body));
	assert_memory_equal(message->body, body, message->len);
	assert_int_equal(message->events, events);
	assert_string_equal(message->id, arena_printf(bench->arena, "%s:%s", store_id(bench->store), id));
	assert_ptr_equal(message->until_ms, &bench->relay.until_ms);
}

static void assert_rows(struct bench *bench, size_t index, size_t from, size_t to)
{
	assert_int_equal(bench->parcels[index]->from, from);
	assert_int_equal(bench->parcels[index]->to, to);
}

static void rows_of_a_place_are_merged(void **state)
{
	struct bench *bench = *state;

	COMPOSE(bench, false, {"x/b", "1"}, {"x/a", "2\n3"}, {"x/b", "4"}, {"y/a", "5"});
	assert_int_equal(bench->count, 3);
	assert_message(bench, 0, "x", "a", "2:0", "2\n3", 2);
	assert_message(bench, 1, "x", "b", "1:0", "1\n4", 2);
	assert_message(bench, 2, "y", "a", "4:0", "5", 1);
	/* Of the rows as they are ordered now. */
	assert_rows(bench, 0, 0, 1);
	assert_rows(bench, 1, 1, 3);
	assert_int_equal(bench->lane->rows[1].id, 1);
	assert_int_equal(bench->lane->rows[2].id, 3);
	assert_false(bench->parcels[1]->message.redo);
}

static void messages_end_at_so_many_events(void **state)
{
	struct bench *bench = *state;

	bench->conf.relay_events = 4;
	COMPOSE(bench, false, {"x/a", "1\n2"}, {"x/a", "3\n4"}, {"x/a", "5\n6\n7"}, {"x/a", "8\n9"});
	assert_int_equal(bench->count, 3);
	assert_message(bench, 0, "x", "a", "1:0", "1\n2\n3\n4", 4);
	/* Rows are not cut where they fit whole. */
	assert_message(bench, 1, "x", "a", "3:0", "5\n6\n7", 3);
	assert_message(bench, 2, "x", "a", "4:0", "8\n9", 2);
}

static void messages_end_at_so_many_bytes(void **state)
{
	struct bench *bench = *state;

	bench->conf.relay_bytes = 7;
	COMPOSE(bench, false, {"x/a", "111"}, {"x/a", "222"}, {"x/a", "333"}, {"x/a", "44444444\n5"});
	assert_int_equal(bench->count, 4);
	assert_message(bench, 0, "x", "a", "1:0", "111\n222", 2);
	assert_message(bench, 1, "x", "a", "3:0", "333", 1);
	/* One event always fits. */
	assert_message(bench, 2, "x", "a", "4:0", "44444444", 1);
	assert_message(bench, 3, "x", "a", "4:1", "5", 1);
}

static void one_event_per_message(void **state)
{
	struct bench *bench = *state;

	bench->conf.relay_events = 1;
	COMPOSE(bench, false, {"x/a", "1\n2\n3"}, {"x/a", "4"});
	assert_int_equal(bench->count, 4);
	assert_message(bench, 0, "x", "a", "1:0", "1", 1);
	assert_message(bench, 1, "x", "a", "1:1", "2", 1);
	assert_message(bench, 2, "x", "a", "1:2", "3", 1);
	assert_message(bench, 3, "x", "a", "2:0", "4", 1);
	assert_rows(bench, 0, 0, 1);
	assert_rows(bench, 2, 0, 1);
	assert_rows(bench, 3, 1, 2);
}

static void large_row_is_cut_between_events(void **state)
{
	struct bench *bench = *state;

	bench->conf.relay_events = 3;
	COMPOSE(bench, false, {"x/a", "1"}, {"x/a", "2\n3\n4\n5"}, {"x/a", "6"});
	assert_int_equal(bench->count, 2);
	assert_message(bench, 0, "x", "a", "1:0", "1\n2\n3", 3);
	assert_message(bench, 1, "x", "a", "2:2", "4\n5\n6", 3);
	assert_rows(bench, 0, 0, 2);
	assert_rows(bench, 1, 1, 3);
}

static void redo_rows_stay_alone(void **state)
{
	struct bench *bench = *state;

	COMPOSE(bench, true, {"x/a", "1\n2"}, {"x/a", "3"}, {"x/b", "4"});
	assert_int_equal(bench->count, 3);
	assert_message(bench, 0, "x", "a", "1:0", "1\n2", 2);
	assert_message(bench, 1, "x", "a", "2:0", "3", 1);
	assert_message(bench, 2, "x", "b", "3:0", "4", 1);
	for (size_t i = 0; i < 3; i++)
		assert_true(bench->parcels[i]->message.redo);
}

static void messages_are_the_same_every_time(void **state)
{
	struct bench *bench = *state;
	struct parcel *first[PARCELS];
	size_t count;

	bench->conf.relay_events = 3;
	COMPOSE(bench, false, {"x/a", "1\n2\n3\n4"}, {"x/b", "5"}, {"x/a", "6"}, {"x/b", "7"});
	count = bench->count;
	memcpy(first, bench->parcels, sizeof(first));
	/* compose has ordered them: now from the last to the first. */
	for (size_t i = 0; i < 2; i++) {
		struct store_outbox_row row = bench->lane->rows[i];

		bench->lane->rows[i] = bench->lane->rows[3 - i];
		bench->lane->rows[3 - i] = row;
	}
	bench->count = 0;
	compose(bench->lane, false, on_made);
	assert_int_equal(bench->count, count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(bench->parcels[i]->message.id, first[i]->message.id);
		assert_string_equal(bench->parcels[i]->message.body, first[i]->message.body);
	}
}

static void places_are_read_from_addresses(void **state)
{
	struct bench *bench = *state;

	COMPOSE(bench, false, {"a queue", "1"}, {"x%2Fy/k%20%25", "2"}, {"/q", "3"});
	assert_int_equal(bench->count, 3);
	assert_message(bench, 0, "", "q", "3:0", "3", 1);
	/* It was written for a direct: reader, who may have inserted it. */
	assert_message(bench, 1, "", "a queue", "1:0", "1", 1);
	assert_true(bench->parcels[1]->message.redo);
	assert_message(bench, 2, "x/y", "k %", "2:0", "2", 1);
	assert_false(bench->parcels[2]->message.redo);
	assert_string_equal(bus_address(bench->arena, "x/y", "k %"), "x%2Fy/k%20%25");
}

static void letters_are_single_events(void **state)
{
	struct bench *bench = *state;
	const struct parcel *parcel;

	COMPOSE(bench, false, {"x/a", "1\n22"}, {"x/a", "3"});
	compose_letters(bench->parcels[0], "312 NO_ROUTE");
	parcel = bench->parcels[0];
	assert_int_equal(parcel->letter_count, 3);
	/* The same names as if the rows had gone one by one. */
	for (size_t i = 0; i < 3; i++) {
		static const char *const events[] = {"1", "22", "3"}, *const names[] = {"1/0", "1/1", "2/0"};
		const struct store_dead *letter = &parcel->letters[i];

		assert_string_equal(letter->queue, "x/a");
		assert_int_equal(letter->payload_len, strlen(events[i]));
		assert_memory_equal(letter->payload, events[i], letter->payload_len);
		assert_string_equal(letter->reason, "312 NO_ROUTE");
		assert_string_equal(letter->code, "unroutable");
		assert_string_equal(letter->dedup_id,
				    arena_printf(bench->arena, "%s:%s", store_id(bench->store), names[i]));
	}
}

/* --- rows that are packed --- */

/* The lane's rows, packed: as the store does it, each event with its newline. */
static void pack_rows(struct bench *bench)
{
	struct buf text, frames;

	bench->conf.packing = CONF_PACK_LZ4;
	buf_init(&text);
	for (size_t i = 0; i < bench->lane->row_count; i++) {
		struct store_outbox_row *row = &bench->lane->rows[i];

		buf_init(&frames);
		buf_clear(&text);
		buf_printf(&text, "%s\n", row->payload);
		frame_pack(&frames, text.data, text.len);
		row->payload = arena_strndup(bench->arena, frames.data, frames.len);
		row->payload_len = frames.len;
		row->packed = true;
		buf_fini(&frames);
	}
	buf_fini(&text);
}

#define COMPOSE_PACKED(bench, redo, ...) \
	do { \
		const struct row rows_[] = {__VA_ARGS__}; \
		set_rows(bench, rows_, sizeof(rows_) / sizeof(rows_[0])); \
		pack_rows(bench); \
		compose((bench)->lane, redo, on_made); \
	} while (0)

static void assert_packed_message(struct bench *bench, size_t index, const char *id, const char *text, uint32_t events)
{
	const struct bus_outgoing *message;
	struct error err;
	struct buf body;

	assert_in_range(index + 1, 1, bench->count);
	message = &bench->parcels[index]->message;
	assert_true(message->packed);
	buf_init(&body);
	assert_int_equal(frame_unpack(&body, message->body, message->len, 1000, &err), 0);
	assert_string_equal(body.data, text);
	assert_int_equal(message->events, events);
	assert_string_equal(message->id, arena_printf(bench->arena, "%s:%s", store_id(bench->store), id));
	buf_fini(&body);
}

static void packed_rows_are_joined_as_they_are(void **state)
{
	struct bench *bench = *state;

	COMPOSE_PACKED(bench, false, {"x/a", "1\n2"}, {"x/b", "3\n4"}, {"x/a", "5\n6\n7"});
	assert_int_equal(bench->count, 2);
	assert_packed_message(bench, 0, "1:0", "1\n2\n5\n6\n7\n", 5);
	assert_packed_message(bench, 1, "2:0", "3\n4\n", 2);
	assert_rows(bench, 0, 0, 2);
}

static void packed_messages_end_by_what_is_in_them(void **state)
{
	struct bench *bench = *state;

	bench->conf.relay_bytes = 7;
	COMPOSE_PACKED(bench, false, {"x/a", "1\n2"}, {"x/a", "3\n4"}, {"x/a", "5\n6"});
	assert_int_equal(bench->count, 2);
	assert_packed_message(bench, 0, "1:0", "1\n2\n3\n4\n", 4);
	assert_packed_message(bench, 1, "3:0", "5\n6\n", 2);
	bench->conf.relay_bytes = 1 << 18;
	bench->conf.relay_events = 3;
	COMPOSE_PACKED(bench, false, {"x/a", "1\n2"}, {"x/a", "3\n4"});
	assert_int_equal(bench->count, 2);
	COMPOSE_PACKED(bench, true, {"x/a", "1"}, {"x/a", "3"});
	assert_int_equal(bench->count, 2);
	assert_true(bench->parcels[0]->message.redo && bench->parcels[0]->message.packed);
}

static void packed_and_other_rows_stay_apart(void **state)
{
	struct bench *bench = *state;
	const struct row rows[] = {{"x/a", "1\n2"}, {"x/a", "3\n4"}, {"x/a", "5"}, {"x/a", "6\n7"}};

	set_rows(bench, rows, 4);
	bench->lane->row_count = 2;
	pack_rows(bench);
	bench->lane->row_count = 4;
	/* Whatever came first, there is one message of each kind. */
	bench->lane->rows[0].id = 7;
	bench->lane->rows[1].id = 9;
	bench->lane->rows[3].id = 8;
	compose(bench->lane, false, on_made);
	assert_int_equal(bench->count, 2);
	assert_packed_message(bench, 0, "7:0", "1\n2\n3\n4\n", 4);
	assert_message(bench, 1, "x", "a", "3:0", "5\n6\n7", 3);
	assert_false(bench->parcels[1]->message.packed);
}

/* As with another node's settings, or before a reload. */
static void nothing_packed_leaves_where_that_is_not_wanted(void **state)
{
	struct bench *bench = *state;
	const struct row rows[] = {{"x/a", "1\n2"}, {"x/a", "3\n4"}, {"x/a", "5"}};

	set_rows(bench, rows, 3);
	bench->lane->row_count = 2;
	pack_rows(bench);
	bench->lane->row_count = 3;
	bench->conf.packing = CONF_PACK_NOT;
	compose(bench->lane, false, on_made);
	assert_int_equal(bench->count, 1);
	assert_message(bench, 0, "x", "a", "1:0", "1\n2\n3\n4\n5", 5);
	assert_false(bench->parcels[0]->message.packed);
}

/* As after relay.batch was made smaller. */
static void packed_rows_that_are_too_large_are_unpacked(void **state)
{
	struct bench *bench = *state;

	bench->conf.relay_events = 1;
	COMPOSE_PACKED(bench, false, {"x/a", "1\n2"}, {"x/a", "3"});
	assert_int_equal(bench->count, 3);
	assert_message(bench, 0, "x", "a", "1:0", "1", 1);
	assert_message(bench, 1, "x", "a", "1:1", "2", 1);
	assert_false(bench->parcels[0]->message.packed || bench->parcels[1]->message.packed);
	assert_packed_message(bench, 2, "2:0", "3\n", 1);
}

/* Nothing is lost: it goes as it is to who sets aside what cannot be read. */
static void damaged_rows_go_as_they_are(void **state)
{
	struct bench *bench = *state;
	const struct row rows[] = {{"x/a", "1\n2"}, {"x/a", "3\n4"}, {"x/a", "5\n6"}};

	bench->conf.relay_events = 1;
	set_rows(bench, rows, 3);
	pack_rows(bench);
	bench->lane->rows[1].payload_len--;
	compose(bench->lane, false, on_made);
	assert_int_equal(bench->count, 5);
	assert_true(bench->parcels[2]->message.packed);
	assert_int_equal(bench->parcels[2]->message.len, bench->lane->rows[1].payload_len);
	assert_int_equal(bench->parcels[2]->message.events, 2);
	assert_message(bench, 3, "x", "a", "3:0", "5", 1);
	compose_letters(bench->parcels[2], NULL);
	assert_int_equal(bench->parcels[2]->letter_count, 1);
	assert_int_equal(bench->parcels[2]->letters[0].payload_len, 2 * bench->lane->rows[1].payload_len);
	assert_memory_equal(bench->parcels[2]->letters[0].payload, "04224d18", 8);
}

static void letters_of_packed_messages_are_single_events(void **state)
{
	struct bench *bench = *state;
	const struct parcel *parcel;

	COMPOSE_PACKED(bench, false, {"x/a", "1\n22"}, {"x/a", "3"});
	assert_int_equal(bench->count, 1);
	parcel = bench->parcels[0];
	compose_letters(bench->parcels[0], NULL);
	assert_int_equal(parcel->letter_count, 3);
	assert_memory_equal(parcel->letters[1].payload, "22", parcel->letters[1].payload_len);
	assert_memory_equal(parcel->letters[2].payload, "3", parcel->letters[2].payload_len);
	assert_string_equal(parcel->letters[2].dedup_id,
			    arena_printf(bench->arena, "%s:2/0", store_id(bench->store)));
}

/* --- a lane on a store --- */

static void on_shards(void *user, const struct store_shard *held, size_t count, size_t relays, const struct error *err)
{
	struct bench *bench = user;

	(void)relays;
	bench->err = *err;
	bench->held_count = count;
	for (size_t i = 0; i < count; i++) {
		bench->held[i] = held[i];
		bench->held[i].noted = NULL;
		if (held[i].noted_count > 0) {
			int64_t *ids = arena_alloc(bench->arena, held[i].noted_count * sizeof(*ids));

			memcpy(ids, held[i].noted, held[i].noted_count * sizeof(*ids));
			bench->held[i].noted = ids;
		}
	}
	bench->answered = true;
}

static void lease_as(struct bench *bench, const char *name, int64_t lease_ms)
{
	struct store_shard_lease request = {.relay = name, .lease_ms = lease_ms, .held = bench->held,
					    .held_count = bench->held_count};

	bench->answered = false;
	store_shards_lease(bench->store, &request, on_shards, bench);
	while (!bench->answered)
		loop_run_once(bench->loop, 100);
	assert_int_equal(bench->err.code, ERR_NONE);
}

/* All shards to the one lane, which may send from now on. */
static void start_lane(struct bench *bench)
{
	lease_as(bench, "test", LEASE_MS);
	assert_int_equal(bench->held_count, STORE_SHARDS);
	atomic_store(&bench->relay.until_ms, clock_boot_ms() + LEASE_MS);
	for (size_t i = 0; i < STORE_SHARDS; i++)
		lane_add(bench->lane, &bench->held[i]);
	lane_wake(bench->lane);
}

/* One task's commit: an outbox row per place. */
static void commit(struct bench *bench, const char *address, const char *payload, uint32_t events)
{
	static const char *const flows[] = {"f"};
	size_t slots = 1, count;
	struct store_new_task task = {.flow = "f", .params = "{}", .priority = 1, .max_attempts = 1};
	struct store_claim claim = {.flows = flows, .slots = &slots, .flow_count = 1, .worker = "w",
				    .lease_ms = LEASE_MS};
	struct store_outbox row = {address, payload, strlen(payload), events};
	struct store_commit end = {.end = STORE_COMPLETE, .data = "null", .outbox = &row, .outbox_count = 1};
	struct task_row *rows;
	int64_t id;

	assert_int_equal(store_sync_submit(bench->worker, &task, 1, &id, &bench->err), 0);
	assert_int_equal(store_sync_claim(bench->worker, &claim, bench->arena, &rows, &count, &bench->err), 0);
	assert_int_equal(count, 1);
	end.task_id = rows->id;
	end.lease_token = rows->lease_token;
	end.commit_seq = rows->commit_seq;
	assert_int_equal(store_sync_commit(bench->worker, &end, 1, &bench->err), 0);
	assert_int_equal(end.outcome, STORE_COMMITTED);
}

static void wait_for_parcels(struct bench *bench, size_t count)
{
	int64_t end = clock_mono_ms() + 60000;

	while (bench->count < count && clock_mono_ms() < end)
		loop_run_once(bench->loop, 50);
	assert_int_equal(bench->count, count);
}

/* Nothing is published for a while: long enough for several turns of an idle lane. */
static void assert_quiet(struct bench *bench, size_t count)
{
	int64_t end = clock_mono_ms() + 700;

	while (clock_mono_ms() < end)
		loop_run_once(bench->loop, 50);
	assert_int_equal(bench->count, count);
}

static void answer(struct bench *bench, size_t index, enum bus_fate fate)
{
	lane_published(bench->parcels[index], fate, fate == BUS_RETURNED ? "312 NO_ROUTE" : NULL);
}

static int64_t waiting_bytes(struct bench *bench)
{
	int64_t bytes;

	assert_int_equal(store_sync_outbox_bytes(bench->worker, &bytes, &bench->err), 0);
	return bytes;
}

static void wait_until_empty(struct bench *bench)
{
	int64_t end = clock_mono_ms() + 60000;

	while (waiting_bytes(bench) > 0 && clock_mono_ms() < end)
		loop_run_once(bench->loop, 20);
	assert_int_equal(waiting_bytes(bench), 0);
}

/* It may just be looking for more. */
static void assert_comes_to_rest(struct bench *bench)
{
	int64_t end = clock_mono_ms() + 60000;

	while (!lane_at_rest(bench->lane) && clock_mono_ms() < end)
		loop_run_once(bench->loop, 20);
	assert_true(lane_at_rest(bench->lane));
}

static const char *body_of(struct bench *bench, size_t index)
{
	return bench->parcels[index]->message.body;
}

static void confirmed_rows_go(void **state)
{
	struct bench *bench = *state;

	commit(bench, "x/a", "1", 1);
	commit(bench, "x/a", "2", 1);
	start_lane(bench);
	wait_for_parcels(bench, 1);
	assert_string_equal(body_of(bench, 0), "1\n2");
	assert_int_equal(waiting_bytes(bench), 2);
	/* While it waits for the answer nothing else is read. */
	commit(bench, "x/a", "3", 1);
	assert_quiet(bench, 1);
	assert_false(lane_at_rest(bench->lane));
	answer(bench, 0, BUS_CONFIRMED);
	wait_for_parcels(bench, 2);
	assert_string_equal(body_of(bench, 1), "3");
	assert_false(bench->parcels[1]->message.redo);
	assert_int_equal(waiting_bytes(bench), 1);
	answer(bench, 1, BUS_CONFIRMED);
	wait_until_empty(bench);
	assert_quiet(bench, 2);
	assert_comes_to_rest(bench);
}

static void unclear_and_refused_messages_are_sent_again_as_redo(void **state)
{
	static const enum bus_fate fates[] = {BUS_UNCLEAR, BUS_NACKED};
	struct bench *bench = *state;

	commit(bench, "x/a", "1", 1);
	start_lane(bench);
	wait_for_parcels(bench, 1);
	for (size_t i = 0; i < 2; i++) {
		answer(bench, i, fates[i]);
		wait_for_parcels(bench, i + 2);
		assert_ptr_equal(bench->parcels[i + 1], bench->parcels[0]);
		assert_true(bench->parcels[0]->message.redo);
	}
	assert_int_equal(waiting_bytes(bench), 1);
	answer(bench, 2, BUS_CONFIRMED);
	wait_until_empty(bench);
}

/* What was read when the leases seemed to be over, and then were not: nothing is taken for fresh. */
static void rows_that_did_not_arrive_are_redo(void **state)
{
	static const enum bus_fate fates[] = {BUS_UNCLEAR, BUS_NACKED, BUS_UNSENT};
	struct bench *bench = *state;

	commit(bench, "x/a", "1", 1);
	commit(bench, "x/b", "2", 1);
	commit(bench, "x/c", "3", 1);
	commit(bench, "x/d", "4", 1);
	start_lane(bench);
	wait_for_parcels(bench, 4);
	atomic_store(&bench->relay.until_ms, 1);
	for (size_t i = 0; i < 3; i++)
		answer(bench, i, fates[i]);
	answer(bench, 3, BUS_CONFIRMED);
	assert_quiet(bench, 4);
	assert_int_equal(waiting_bytes(bench), 3);
	commit(bench, "x/a", "5", 1);
	atomic_store(&bench->relay.until_ms, clock_boot_ms() + LEASE_MS);
	wait_for_parcels(bench, 7);
	for (size_t i = 4; i < 7; i++) {
		assert_true(bench->parcels[i]->message.redo);
		answer(bench, i, BUS_CONFIRMED);
	}
	wait_for_parcels(bench, 8);
	assert_false(bench->parcels[7]->message.redo);
	assert_string_equal(body_of(bench, 7), "5");
	answer(bench, 7, BUS_CONFIRMED);
	wait_until_empty(bench);
	assert_quiet(bench, 8);
}

/* Half of it is there: whole again, as redo. */
static void row_in_several_messages_stays_until_all_arrived(void **state)
{
	struct bench *bench = *state;

	bench->conf.relay_events = 1;
	commit(bench, "x/a", "1\n2", 2);
	start_lane(bench);
	wait_for_parcels(bench, 2);
	atomic_store(&bench->relay.until_ms, 1);
	answer(bench, 0, BUS_CONFIRMED);
	answer(bench, 1, BUS_UNSENT);
	atomic_store(&bench->relay.until_ms, clock_boot_ms() + LEASE_MS);
	wait_for_parcels(bench, 4);
	assert_string_equal(body_of(bench, 2), "1");
	assert_string_equal(body_of(bench, 3), "2");
	for (size_t i = 2; i < 4; i++) {
		assert_true(bench->parcels[i]->message.redo);
		answer(bench, i, BUS_CONFIRMED);
	}
	wait_until_empty(bench);
}

static void noted_rows_come_first_and_as_redo(void **state)
{
	struct bench *bench = *state;

	commit(bench, "x/a", "1", 1);
	commit(bench, "x/a", "2", 1);
	start_lane(bench);
	wait_for_parcels(bench, 1);
	/* That relay dies; its successor is another lane, on shards with notes. */
	bench->lane = &bench->relay.lanes[1];
	lease_as(bench, "test", 1);
	usleep(20000);
	commit(bench, "x/a", "3", 1);
	lease_as(bench, "successor", LEASE_MS);
	for (size_t i = 0; i < bench->held_count; i++)
		lane_add(bench->lane, &bench->held[i]);
	lane_wake(bench->lane);
	wait_for_parcels(bench, 3);
	assert_string_equal(body_of(bench, 1), "1");
	assert_string_equal(body_of(bench, 2), "2");
	for (size_t i = 1; i < 3; i++)
		assert_true(bench->parcels[i]->message.redo);
	answer(bench, 1, BUS_CONFIRMED);
	answer(bench, 2, BUS_CONFIRMED);
	wait_for_parcels(bench, 4);
	assert_string_equal(body_of(bench, 3), "3");
	assert_false(bench->parcels[3]->message.redo);
	answer(bench, 3, BUS_CONFIRMED);
	wait_until_empty(bench);
}

static void returned_events_are_set_aside_or_dropped(void **state)
{
	struct bench *bench = *state;
	struct buf letters;

	commit(bench, "x/a", "1\n2", 2);
	commit(bench, "x/dropped", "3", 1);
	start_lane(bench);
	wait_for_parcels(bench, 2);
	answer(bench, 0, BUS_RETURNED);
	answer(bench, 1, BUS_RETURNED);
	wait_until_empty(bench);
	buf_init(&letters);
	assert_int_equal(store_sync_dead_list(bench->worker, "x/a", 10, &letters, &bench->err), 0);
	assert_non_null(strstr(letters.data, "312 NO_ROUTE"));
	assert_non_null(strstr(letters.data, "unroutable"));
	buf_clear(&letters);
	assert_int_equal(store_sync_dead_list(bench->worker, "x/dropped", 10, &letters, &bench->err), 0);
	assert_string_equal(letters.data, "[]");
	buf_fini(&letters);
}

/* What is confirmed meanwhile is deleted, as the last thing that a lane does. */
static void draining_lane_reads_nothing(void **state)
{
	struct bench *bench = *state;

	commit(bench, "x/a", "1", 1);
	start_lane(bench);
	wait_for_parcels(bench, 1);
	commit(bench, "x/a", "2", 1);
	bench->role.draining = true;
	bench->relay.leasing = true;		/* so that nothing else ends the drain */
	answer(bench, 0, BUS_CONFIRMED);
	assert_quiet(bench, 1);
	assert_comes_to_rest(bench);
	assert_int_equal(waiting_bytes(bench), 1);
}

/* Or shards that another relay waits for would never be without rows under way. */
static void lanes_rest_while_shards_leave(void **state)
{
	struct bench *bench = *state;

	commit(bench, "x/a", "1", 1);
	start_lane(bench);
	wait_for_parcels(bench, 1);
	bench->relay.leaving[bench->relay.leaving_count++] = bench->held[0];
	lane_remove(bench->lane, &bench->held[0]);
	for (int i = 0; i < 20; i++)
		commit(bench, "x/a", "2", 1);
	answer(bench, 0, BUS_CONFIRMED);
	assert_quiet(bench, 1);
	assert_comes_to_rest(bench);
	assert_true(bench->lease_wanted);
	bench->relay.leaving_count = 0;
	wait_for_parcels(bench, 2);
}

/* Redo may be of the shards that leave: it is sent, and only then they go. */
static void redo_goes_on_while_shards_leave(void **state)
{
	struct bench *bench = *state;

	commit(bench, "x/a", "1", 1);
	start_lane(bench);
	wait_for_parcels(bench, 1);
	atomic_store(&bench->relay.until_ms, 1);
	answer(bench, 0, BUS_UNCLEAR);
	for (size_t i = 0; i < STORE_SHARDS; i++) {
		bench->relay.leaving[bench->relay.leaving_count++] = bench->held[i];
		lane_remove(bench->lane, &bench->held[i]);
	}
	assert_quiet(bench, 1);
	assert_false(bench->lease_wanted);
	atomic_store(&bench->relay.until_ms, clock_boot_ms() + LEASE_MS);
	wait_for_parcels(bench, 2);
	assert_true(bench->parcels[1]->message.redo);
	answer(bench, 1, BUS_CONFIRMED);
	wait_until_empty(bench);
	assert_quiet(bench, 2);
	assert_true(bench->lease_wanted);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(rows_of_a_place_are_merged),
		CASE(messages_end_at_so_many_events),
		CASE(messages_end_at_so_many_bytes),
		CASE(one_event_per_message),
		CASE(large_row_is_cut_between_events),
		CASE(redo_rows_stay_alone),
		CASE(messages_are_the_same_every_time),
		CASE(places_are_read_from_addresses),
		CASE(letters_are_single_events),
		CASE(confirmed_rows_go),
		CASE(unclear_and_refused_messages_are_sent_again_as_redo),
		CASE(rows_that_did_not_arrive_are_redo),
		CASE(row_in_several_messages_stays_until_all_arrived),
		CASE(noted_rows_come_first_and_as_redo),
		CASE(returned_events_are_set_aside_or_dropped),
		CASE(draining_lane_reads_nothing),
		CASE(lanes_rest_while_shards_leave),
		CASE(redo_goes_on_while_shards_leave),
	};

	const struct CMUnitTest packed_tests[] = {
		CASE(packed_rows_are_joined_as_they_are),
		CASE(packed_messages_end_by_what_is_in_them),
		CASE(packed_and_other_rows_stay_apart),
		CASE(nothing_packed_leaves_where_that_is_not_wanted),
		CASE(packed_rows_that_are_too_large_are_unpacked),
		CASE(damaged_rows_go_as_they_are),
		CASE(letters_of_packed_messages_are_single_events),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (frame_available())
		failed += cmocka_run_group_tests(packed_tests, NULL, NULL);
	return failed;
}
