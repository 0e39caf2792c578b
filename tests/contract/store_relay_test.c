/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: how relays share the outbox, and what a turn does. */
#include "store_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "loop/loop.h"
#include "pack/frame.h"
#include "store_cases.h"
#include "store_relay.h"

#define ALL STORE_SHARDS
#define MANY 1000
#define BYTES ((size_t)1 << 30)

/* --- the calls, answered at once --- */

static void copy_shards(struct relay_answer *answer, const struct store_shard *held, size_t count)
{
	assert_in_range(count, 0, ALL);
	answer->count = count;
	for (size_t i = 0; i < count; i++) {
		size_t noted = held[i].noted_count;
		int64_t *ids = arena_alloc(answer->arena, (noted + 1) * sizeof(*ids));

		answer->shards[i] = held[i];
		answer->shards[i].noted = ids;
		for (size_t k = 0; k < noted; k++)
			ids[k] = held[i].noted[k];
		answer->noted_count += noted;
	}
}

static void copy_rows(struct relay_answer *answer, const struct store_outbox_row *rows, size_t count)
{
	answer->row_count = count;
	answer->rows = arena_alloc(answer->arena, (count + 1) * sizeof(*rows));
	for (size_t i = 0; i < count; i++) {
		answer->rows[i] = rows[i];
		answer->rows[i].queue = arena_strdup(answer->arena, rows[i].queue);
		answer->rows[i].payload = arena_strndup(answer->arena, rows[i].payload, rows[i].payload_len);
	}
}

static void on_leased(void *user, const struct store_shard *held, size_t count, size_t relays, const struct error *err)
{
	struct relay_answer *answer = user;

	answer->err = *err;
	answer->relays = relays;
	copy_shards(answer, held, count);
	answer->answered = true;
}

static void on_turn(void *user, const struct store_shard *held, size_t held_count,
		    const struct store_outbox_row *rows, size_t count, const struct error *err)
{
	struct relay_answer *answer = user;

	answer->err = *err;
	answer->count = held_count;
	for (size_t i = 0; i < held_count; i++)
		answer->shards[i].shard = held[i].shard;
	copy_rows(answer, rows, count);
	answer->answered = true;
}

static void on_rows(void *user, const struct store_outbox_row *rows, size_t count, const struct error *err)
{
	struct relay_answer *answer = user;

	answer->err = *err;
	copy_rows(answer, rows, count);
	answer->answered = true;
}

static void on_count(void *user, int64_t count, const struct error *err)
{
	struct relay_answer *answer = user;

	answer->err = *err;
	answer->count = (size_t)count;
	answer->answered = true;
}

static struct relay_answer *wait_answer(struct store_sync *sync, struct relay_answer *answer)
{
	while (!answer->answered)
		loop_run_once(store_sync_loop(sync), 1000);
	if (answer->err.code != ERR_NONE)
		fail_msg("%s", answer->err.text);
	return answer;
}

static struct relay_answer *answer_new(struct arena *arena)
{
	struct relay_answer *answer = arena_alloc(arena, sizeof(*answer));

	answer->arena = arena;
	return answer;
}

struct relay_answer *relay_lease(struct store_sync *sync, struct arena *arena, const struct store_shard_lease *request)
{
	struct relay_answer *answer = answer_new(arena);

	store_shards_lease(store_sync_store(sync), request, on_leased, answer);
	return wait_answer(sync, answer);
}

struct relay_answer *relay_turn(struct store_sync *sync, struct arena *arena, const struct store_turn *request)
{
	struct relay_answer *answer = answer_new(arena);

	store_turn(store_sync_store(sync), request, on_turn, answer);
	return wait_answer(sync, answer);
}

static struct relay_answer *get(struct fixture *fx, const int64_t *ids, size_t count)
{
	struct relay_answer *answer = answer_new(fx->arena);

	store_outbox_get(store_sync_store(fx->sync), ids, count, on_rows, answer);
	return wait_answer(fx->sync, answer);
}

static size_t adopt(struct fixture *fx)
{
	struct relay_answer *answer = answer_new(fx->arena);

	store_outbox_adopt(store_sync_store(fx->sync), on_count, answer);
	return wait_answer(fx->sync, answer)->count;
}

/* --- relays by name: a request with what the last answer left them --- */

struct relay {
	const char *name;
	struct relay_answer *last;
};

static struct relay relay_named(struct fixture *fx, const char *name)
{
	return (struct relay){arena_printf(fx->arena, "%s/%s", fx->flow, name), answer_new(fx->arena)};
}

static struct relay_answer *keep(struct fixture *fx, struct relay *relay, int64_t lease_ms)
{
	struct store_shard_lease request = {.relay = relay->name, .lease_ms = lease_ms, .held = relay->last->shards,
					    .held_count = relay->last->count};

	return relay->last = relay_lease(fx->sync, fx->arena, &request);
}

/* Gives up all but the first few. */
static struct relay_answer *shed(struct fixture *fx, struct relay *relay, size_t left)
{
	struct store_shard_lease request = {.relay = relay->name, .lease_ms = 60000, .held = relay->last->shards,
					    .held_count = left, .given_up = relay->last->shards + left,
					    .given_up_count = relay->last->count - left};

	return relay->last = relay_lease(fx->sync, fx->arena, &request);
}

static struct relay_answer *leave(struct fixture *fx, struct relay *relay, bool give_up)
{
	struct store_shard_lease request = {.relay = relay->name, .lease_ms = 60000, .leaving = true,
					    .given_up = relay->last->shards,
					    .given_up_count = give_up ? relay->last->count : 0};

	return relay_lease(fx->sync, fx->arena, &request);
}

/* As if it had been stopped for longer than its lease. */
static void lapse(struct fixture *fx, struct relay *relay)
{
	struct relay_answer *last = relay->last;

	keep(fx, relay, 1);
	relay->last = last;
	usleep(20000);
}

static struct relay_answer *turn_limited(struct fixture *fx, const struct relay *relay, const struct relay_answer *sent,
					 size_t max_rows, size_t max_bytes)
{
	struct store_turn request = {.shards = relay->last->shards, .shard_count = relay->last->count,
				     .max_rows = max_rows, .max_bytes = max_bytes};
	int64_t *ids = arena_alloc(fx->arena, MANY * sizeof(*ids));

	for (size_t i = 0; sent != NULL && i < sent->row_count; i++)
		ids[request.sent_count++] = sent->rows[i].id;
	request.sent = ids;
	return relay_turn(fx->sync, fx->arena, &request);
}

/* sent: the answer whose rows have arrived; or NULL. */
static struct relay_answer *turn(struct fixture *fx, const struct relay *relay, const struct relay_answer *sent)
{
	return turn_limited(fx, relay, sent, MANY, BYTES);
}

/* --- rows --- */

/* One group, so one shard: count rows {"n":from}, … each in a queue of its own. */
static void commit_rows(struct fixture *fx, int from, size_t count)
{
	struct store_outbox *rows = arena_alloc(fx->arena, count * sizeof(*rows));

	for (size_t i = 0; i < count; i++) {
		rows[i] = (struct store_outbox){.queue = arena_printf(fx->arena, "%s/%zu", fx->queue, i),
						.payload = arena_printf(fx->arena, "{\"n\":%3d}", from + (int)i),
						.payload_len = 9, .events = 1};
	}
	fixture_emit(fx, rows, count);
}

static void commit_groups(struct fixture *fx, size_t groups)
{
	for (size_t i = 0; i < groups; i++)
		commit_rows(fx, (int)i, 1);
}

bool relay_is_noted(const struct relay_answer *answer, int64_t id)
{
	for (size_t i = 0; i < answer->count; i++)
		for (size_t k = 0; k < answer->shards[i].noted_count; k++)
			if (answer->shards[i].noted[k] == id)
				return true;
	return false;
}

/* The rows are noted, each once, and nothing else is. */
static void assert_noted(const struct relay_answer *answer, const struct relay_answer *rows)
{
	assert_int_equal(answer->noted_count, rows->row_count);
	for (size_t i = 0; i < rows->row_count; i++)
		assert_true(relay_is_noted(answer, rows->rows[i].id));
}

static uint64_t transactions(struct fixture *fx)
{
	struct store_stats stats;

	store_stats(store_sync_store(fx->sync), &stats);
	return stats.transactions;
}

/* A server has seen other tests: an outbox without rows of theirs, whose relays have left. */
int relay_setup(void **state)
{
	struct fixture *fx;
	struct relay sweeper;
	struct relay_answer *rows = NULL;

	if (fixture_setup(state) != 0)
		return -1;
	fx = *state;
	fx->options.relayed = true;
	fx->options.status_queues = NULL;
	fixture_reopen(fx);
	adopt(fx);
	sweeper = relay_named(fx, "sweeper");
	/* Those of a test that failed may hold them until their leases end. */
	for (int i = 0; keep(fx, &sweeper, 60000)->count < ALL && i < 1000; i++)
		usleep(100000);
	assert_int_equal(sweeper.last->count, ALL);
	do
		rows = turn(fx, &sweeper, rows);
	while (rows->row_count > 0);
	leave(fx, &sweeper, true);
	return 0;
}

/* --- leases --- */

static void assert_disjoint(const struct relay_answer *one, const struct relay_answer *other)
{
	for (size_t i = 0; i < one->count; i++)
		for (size_t k = 0; k < other->count; k++)
			assert_int_not_equal(one->shards[i].shard, other->shards[k].shard);
}

static void one_relay_gets_all(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct relay_answer *first = keep(fx, &a, 60000), *second;

	assert_int_equal(first->count, ALL);
	assert_int_equal(first->relays, 1);
	assert_int_equal(first->noted_count, 0);
	for (size_t i = 0; i < ALL; i++) {
		assert_int_equal(first->shards[i].shard, (int)i);
		assert_true(first->shards[i].token > 0);
	}
	second = keep(fx, &a, 60000);
	assert_int_equal(second->count, ALL);
	for (size_t i = 0; i < ALL; i++)
		assert_int_equal(second->shards[i].token, first->shards[i].token);
	leave(fx, &a, true);
}

static void others_get_their_part_when_it_is_given_up(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b"), c = relay_named(fx, "c");

	keep(fx, &a, 60000);
	keep(fx, &b, 60000);
	assert_int_equal(b.last->count, 0);
	assert_int_equal(b.last->relays, 2);
	keep(fx, &a, 60000);
	assert_int_equal(a.last->count, ALL);
	assert_int_equal(a.last->relays, 2);
	assert_int_equal(shed(fx, &a, 8)->count, 8);
	assert_int_equal(keep(fx, &b, 60000)->count, 8);
	assert_disjoint(a.last, b.last);
	/* A part is rounded up, so that three relays hold 6, 6 and the rest. */
	assert_int_equal(keep(fx, &c, 60000)->count, 0);
	assert_int_equal(shed(fx, &a, 6)->count, 6);
	assert_int_equal(shed(fx, &b, 6)->count, 6);
	assert_int_equal(keep(fx, &c, 60000)->count, 4);
	assert_int_equal(c.last->relays, 3);
	assert_disjoint(a.last, c.last);
	assert_disjoint(b.last, c.last);
	leave(fx, &a, true);
	leave(fx, &b, true);
	leave(fx, &c, true);
}

static void who_leaves_frees_what_it_gives_up(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b");

	keep(fx, &a, 60000);
	assert_int_equal(leave(fx, &a, true)->count, 0);
	assert_int_equal(keep(fx, &b, 60000)->count, ALL);
	assert_int_equal(b.last->relays, 1);
	leave(fx, &b, true);
}

/* Something may still be on its way: nobody else may begin before the lease is over. */
static void who_leaves_keeps_what_it_does_not_give_up(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b");

	keep(fx, &a, 60000);
	leave(fx, &a, false);
	assert_int_equal(keep(fx, &b, 60000)->count, 0);
	assert_int_equal(b.last->relays, 1);
	assert_int_equal(leave(fx, &a, true)->relays, 1);
	assert_int_equal(keep(fx, &b, 60000)->count, ALL);
	leave(fx, &b, true);
}

static void expired_shards_pass_on_with_their_notes(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b");
	struct relay_answer *rows;

	commit_groups(fx, 10);
	keep(fx, &a, 60000);
	rows = turn(fx, &a, NULL);
	assert_int_equal(rows->row_count, 10);
	lapse(fx, &a);
	keep(fx, &b, 60000);
	assert_int_equal(b.last->count, ALL);
	assert_int_equal(b.last->relays, 1);
	assert_noted(b.last, rows);
	for (size_t i = 0; i < ALL; i++)
		assert_int_not_equal(b.last->shards[i].token, a.last->shards[i].token);
	/* The notes stay until something else is noted. */
	assert_noted(keep(fx, &b, 60000), rows);
	assert_int_equal(turn(fx, &b, rows)->row_count, 0);
	assert_int_equal(keep(fx, &b, 60000)->noted_count, 0);
	leave(fx, &b, true);
}

static void given_up_shards_have_no_notes(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b");

	commit_groups(fx, 3);
	keep(fx, &a, 60000);
	assert_int_equal(turn(fx, &a, NULL)->row_count, 3);
	leave(fx, &a, true);
	keep(fx, &b, 60000);
	assert_int_equal(b.last->noted_count, 0);
	assert_int_equal(turn(fx, &b, NULL)->row_count, 3);
	leave(fx, &b, true);
}

static void lapsed_holder_gets_nothing(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct relay_answer *answer;

	commit_groups(fx, 3);
	keep(fx, &a, 60000);
	lapse(fx, &a);
	answer = turn(fx, &a, NULL);
	assert_int_equal(answer->count, 0);
	assert_int_equal(answer->row_count, 0);
}

/* What the old holder still does is for nothing, but that it deletes what has arrived. */
static void tokens_fence(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b"), c = relay_named(fx, "c");
	struct relay_answer *before, *old, *rows, *answer;

	commit_groups(fx, 4);
	keep(fx, &a, 60000);
	old = turn_limited(fx, &a, NULL, 1, BYTES);
	assert_int_equal(old->row_count, 1);
	lapse(fx, &a);
	keep(fx, &b, 60000);
	rows = turn(fx, &b, NULL);
	assert_int_equal(rows->row_count, 4);
	before = a.last;
	answer = turn(fx, &a, old);
	assert_int_equal(answer->count, 0);
	assert_int_equal(answer->row_count, 0);
	assert_int_equal(keep(fx, &a, 60000)->count, 0);
	a.last = before;
	assert_int_equal(shed(fx, &a, 0)->count, 0);
	/* Still the successor's, with all its notes. */
	assert_int_equal(turn(fx, &b, NULL)->count, ALL);
	lapse(fx, &b);
	leave(fx, &a, false);
	keep(fx, &c, 60000);
	assert_int_equal(c.last->count, ALL);
	rows = turn(fx, &c, NULL);
	assert_int_equal(rows->row_count, 3);
	for (size_t i = 0; i < rows->row_count; i++)
		assert_int_not_equal(rows->rows[i].id, old->rows[0].id);
	leave(fx, &c, true);
}

static void notes_of_the_successor_stay(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b"), c = relay_named(fx, "c");
	struct relay_answer *rows;

	commit_groups(fx, 5);
	keep(fx, &a, 60000);
	lapse(fx, &a);
	keep(fx, &b, 60000);
	rows = turn(fx, &b, NULL);
	assert_int_equal(rows->row_count, 5);
	assert_int_equal(turn(fx, &a, NULL)->row_count, 0);
	shed(fx, &a, 0);
	leave(fx, &a, true);
	lapse(fx, &b);
	assert_noted(keep(fx, &c, 60000), rows);
	leave(fx, &c, true);
}

/* --- turns --- */

static void turn_deletes_reads_and_notes_in_one(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b");
	struct relay_answer *first, *second;
	uint64_t before;

	keep(fx, &a, 60000);
	commit_groups(fx, 6);
	first = turn(fx, &a, NULL);
	assert_int_equal(first->row_count, 6);
	assert_int_equal(first->count, ALL);
	commit_groups(fx, 4);
	before = transactions(fx);
	second = turn(fx, &a, first);
	assert_int_equal(transactions(fx), before + 1);
	assert_int_equal(second->row_count, 4);
	for (size_t i = 0; i < second->row_count; i++)
		for (size_t k = 0; k < first->row_count; k++)
			assert_int_not_equal(second->rows[i].id, first->rows[k].id);
	lapse(fx, &a);
	assert_noted(keep(fx, &b, 60000), second);
	leave(fx, &b, true);
}

static void rows_are_what_was_committed(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct relay_answer *rows;

	commit_rows(fx, 7, 2);
	keep(fx, &a, 60000);
	rows = turn(fx, &a, NULL);
	assert_int_equal(rows->row_count, 2);
	assert_string_equal(rows->rows[0].queue, arena_printf(fx->arena, "%s/0", fx->queue));
	assert_string_equal(rows->rows[1].queue, arena_printf(fx->arena, "%s/1", fx->queue));
	assert_string_equal(rows->rows[0].payload, "{\"n\":  7}");
	assert_int_equal(rows->rows[1].payload_len, 9);
	assert_int_equal(rows->rows[1].events, 1);
	assert_true(rows->rows[0].created_ms > 0);
	leave(fx, &a, true);
}

static void assert_packed(struct fixture *fx, const struct relay_answer *rows, const char *events)
{
	const char *text;
	size_t len;

	assert_int_equal(rows->row_count, 1);
	assert_true(rows->rows[0].packed);
	assert_int_equal(store_outbox_text(&rows->rows[0], fx->arena, &text, &len, &fx->err), 0);
	assert_string_equal(text, events);
}

static void packed_rows_come_as_they_are(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct store_outbox out = {.queue = fx->queue, .events = 200};
	struct relay_answer *rows;
	struct buf events;

	if (!frame_available())
		return;
	fx->options.packed = true;
	fixture_reopen(fx);
	buf_init(&events);
	for (size_t i = 0; i < 200; i++)
		buf_printf(&events, "%s{\"n\":%zu}", i > 0 ? "\n" : "", i);
	out.payload = events.data;
	out.payload_len = events.len;
	fixture_emit(fx, &out, 1);
	keep(fx, &a, 60000);
	rows = turn(fx, &a, NULL);
	assert_packed(fx, rows, events.data);
	assert_packed(fx, get(fx, &rows->rows[0].id, 1), events.data);
	assert_int_equal(turn(fx, &a, rows)->row_count, 0);
	buf_fini(&events);
	leave(fx, &a, true);
}

static void limits_hold_and_one_row_fits(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), b = relay_named(fx, "b");
	struct relay_answer *rows;

	commit_rows(fx, 0, 5);			/* 9 bytes each */
	keep(fx, &a, 60000);
	assert_int_equal(turn_limited(fx, &a, NULL, 2, BYTES)->row_count, 2);
	assert_int_equal(turn_limited(fx, &a, NULL, MANY, 0)->row_count, 1);
	assert_int_equal(turn_limited(fx, &a, NULL, MANY, 9)->row_count, 1);
	rows = turn_limited(fx, &a, NULL, MANY, 10);
	assert_int_equal(rows->row_count, 2);
	assert_string_equal(rows->rows[0].payload, "{\"n\":  0}");
	assert_string_equal(rows->rows[1].payload, "{\"n\":  1}");
	assert_true(rows->rows[0].id < rows->rows[1].id);
	lapse(fx, &a);
	/* Only what was answered is noted. */
	assert_noted(keep(fx, &b, 60000), rows);
	leave(fx, &b, true);
}

static void limits_are_of_all_shards_together(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	static const size_t expected[] = {7, 7, 6, 0};
	struct relay_answer *rows = NULL;
	bool seen[20] = {false};

	commit_groups(fx, 20);
	keep(fx, &a, 60000);
	for (size_t i = 0; i < 4; i++) {
		rows = turn_limited(fx, &a, rows, 7, BYTES);
		assert_int_equal(rows->row_count, expected[i]);
		for (size_t k = 0; k < rows->row_count; k++) {
			int n = -1;

			assert_int_equal(sscanf(rows->rows[k].payload, "{\"n\":%d}", &n), 1);
			assert_in_range(n, 0, 19);
			assert_false(seen[n]);
			seen[n] = true;
		}
	}
	leave(fx, &a, true);
}

static void only_the_shards_that_are_asked_for_are_read(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct relay_answer *held, *rows;
	size_t with = 0, found = 0;

	commit_rows(fx, 0, 3);
	held = keep(fx, &a, 60000);
	for (size_t i = 0; i < ALL; i++) {
		struct store_turn request = {.shards = &held->shards[i], .shard_count = 1, .max_rows = MANY,
					     .max_bytes = BYTES};

		rows = relay_turn(fx->sync, fx->arena, &request);
		assert_int_equal(rows->count, 1);
		assert_int_equal(rows->shards[0].shard, held->shards[i].shard);
		with += rows->row_count > 0;
		found += rows->row_count;
	}
	assert_int_equal(with, 1);
	assert_int_equal(found, 3);
	leave(fx, &a, true);
}

static void idle_turn_writes_nothing(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct relay_answer *answer;
	uint64_t before;

	keep(fx, &a, 60000);
	before = transactions(fx);
	answer = turn(fx, &a, NULL);
	assert_int_equal(answer->row_count, 0);
	assert_int_equal(answer->count, ALL);
	assert_int_equal(transactions(fx), before);
	leave(fx, &a, true);
}

/* Deleting needs no shard: what arrived has arrived, whoever holds it now. */
static void turn_without_shards_only_deletes(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a"), nobody = relay_named(fx, "nobody");
	struct relay_answer *rows;

	commit_groups(fx, 2);
	keep(fx, &a, 60000);
	rows = turn_limited(fx, &a, NULL, 1, BYTES);
	assert_int_equal(turn(fx, &nobody, rows)->row_count, 0);
	assert_int_equal(turn(fx, &a, NULL)->row_count, 1);
	leave(fx, &a, true);
}

/* --- single rows, and those of direct: readers --- */

static void get_passes_over_what_is_gone(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct relay_answer *rows, *got;
	int64_t ids[4];

	commit_rows(fx, 0, 3);
	keep(fx, &a, 60000);
	rows = turn(fx, &a, NULL);
	for (size_t i = 0; i < 3; i++)
		ids[i] = rows->rows[i].id;
	ids[3] = ids[2] + 1000000;
	assert_good(fx, store_sync_outbox_delete(fx->sync, &ids[1], 1, &fx->err));
	got = get(fx, ids, 4);
	assert_int_equal(got->row_count, 2);
	assert_int_equal(got->rows[0].id, ids[0]);
	assert_int_equal(got->rows[1].id, ids[2]);
	assert_string_equal(got->rows[1].payload, "{\"n\":  2}");
	assert_string_equal(got->rows[1].queue, rows->rows[2].queue);
	assert_int_equal(get(fx, ids, 0)->row_count, 0);
	leave(fx, &a, true);
}

static size_t waiting_direct(struct fixture *fx)
{
	struct store_outbox_row *rows;
	size_t count;

	assert_good(fx, store_sync_outbox_read(fx->sync, arena_printf(fx->arena, "%s/0", fx->queue), NULL, 0, MANY,
					       BYTES, fx->arena, &rows, &count, &fx->err));
	return count;
}

static void relayed_and_direct_do_not_see_each_other(void **state)
{
	struct fixture *fx = *state;
	struct relay a = relay_named(fx, "a");
	struct relay_answer *rows;

	commit_rows(fx, 1, 1);
	fx->options.relayed = false;
	fixture_reopen(fx);
	commit_rows(fx, 2, 1);
	commit_rows(fx, 3, 1);
	assert_int_equal(waiting_direct(fx), 2);
	keep(fx, &a, 60000);
	rows = turn(fx, &a, NULL);
	assert_int_equal(rows->row_count, 1);
	assert_string_equal(rows->rows[0].payload, "{\"n\":  1}");
	assert_int_equal(adopt(fx), 2);
	assert_int_equal(adopt(fx), 0);
	assert_int_equal(waiting_direct(fx), 0);
	rows = turn(fx, &a, rows);
	assert_int_equal(rows->row_count, 2);
	assert_string_equal(rows->rows[0].queue, arena_printf(fx->arena, "%s/0", fx->queue));
	leave(fx, &a, true);
}

static void totals_stay_right(void **state)
{
	struct fixture *fx = *state;
	const char *queue = arena_printf(fx->arena, "%s/0", fx->queue);
	struct relay a = relay_named(fx, "a");
	struct relay_answer *rows;

	commit_groups(fx, 6);
	keep(fx, &a, 60000);
	rows = turn_limited(fx, &a, NULL, 4, BYTES);
	assert_int_equal(fixture_total(fx, queue, "waiting_rows"), 6);
	turn(fx, &a, rows);
	assert_int_equal(fixture_total(fx, queue, "events"), 6);
	assert_int_equal(fixture_total(fx, queue, "waiting_rows"), 2);
	assert_int_equal(fixture_total(fx, queue, "waiting_events"), 2);
	assert_int_equal(fixture_total(fx, queue, "waiting_bytes"), 18);
	/* Gone already: counted once. */
	turn(fx, &a, rows);
	assert_int_equal(fixture_total(fx, queue, "waiting_rows"), 2);
	assert_int_equal(turn(fx, &a, turn(fx, &a, NULL))->row_count, 0);
	assert_int_equal(fixture_total(fx, queue, "events"), 6);
	assert_int_equal(fixture_total(fx, queue, "waiting_rows"), 0);
	assert_int_equal(fixture_total(fx, queue, "waiting_bytes"), 0);
	leave(fx, &a, true);
}

static const struct CMUnitTest cases[] = {
	RELAY_CASE(one_relay_gets_all),
	RELAY_CASE(others_get_their_part_when_it_is_given_up),
	RELAY_CASE(who_leaves_frees_what_it_gives_up),
	RELAY_CASE(who_leaves_keeps_what_it_does_not_give_up),
	RELAY_CASE(expired_shards_pass_on_with_their_notes),
	RELAY_CASE(given_up_shards_have_no_notes),
	RELAY_CASE(lapsed_holder_gets_nothing),
	RELAY_CASE(tokens_fence),
	RELAY_CASE(notes_of_the_successor_stay),
	RELAY_CASE(turn_deletes_reads_and_notes_in_one),
	RELAY_CASE(rows_are_what_was_committed),
	RELAY_CASE(packed_rows_come_as_they_are),
	RELAY_CASE(limits_hold_and_one_row_fits),
	RELAY_CASE(limits_are_of_all_shards_together),
	RELAY_CASE(only_the_shards_that_are_asked_for_are_read),
	RELAY_CASE(idle_turn_writes_nothing),
	RELAY_CASE(turn_without_shards_only_deletes),
	RELAY_CASE(get_passes_over_what_is_gone),
	RELAY_CASE(relayed_and_direct_do_not_see_each_other),
	RELAY_CASE(totals_stay_right),
};

int store_run_relay_cases(void)
{
	return cmocka_run_group_tests(cases, NULL, NULL) + store_run_relay_process_cases();
}
