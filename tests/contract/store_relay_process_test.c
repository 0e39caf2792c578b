/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: relays in several processes, and relays that are killed. */
#include "store_relay.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/uuid.h"
#include "store_cases.h"

#define RELAYS 3
#define GROUPS 150
#define ROWS_PER_GROUP 3
#define ROWS (GROUPS * ROWS_PER_GROUP)
#define TURN_ROWS 20
#define LEASE_MS 600000		/* nobody is slow enough to lose one */

/* Of all processes: the rows by the number that their payload has. */
struct shared {
	_Atomic int given[ROWS];	/* how often */
	_Atomic int holder[ROWS];	/* who has it now; 0: nobody */
	_Atomic int deleted;
	_Atomic int wrong;
	_Atomic int stopped;		/* the relay that waits to be killed */
};

static struct shared *shared_new(void)
{
	void *shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(shared != MAP_FAILED);
	return shared;
}

static int number_of(const struct store_outbox_row *row)
{
	int n = -1;

	if (sscanf(row->payload, "{\"n\":%d}", &n) != 1 || n < 0 || n >= ROWS)
		abort();
	return n;
}

/* --- a relay in a child --- */

struct child {
	struct shared *shared;
	struct store_sync *sync;
	struct arena *arena;		/* of one turn */
	char name[80];
	int me;
	struct store_shard shards[STORE_SHARDS];
	size_t count, relays;
	int64_t sent[TURN_ROWS];
	int numbers[TURN_ROWS];
	size_t sent_count;
};

/* Deletes what was sent and takes the next rows; none where shard_count is 0. */
static void take_turn(struct child *child, size_t shard_count)
{
	struct store_turn request = {.shards = child->shards, .shard_count = shard_count, .sent = child->sent,
				     .sent_count = child->sent_count, .max_rows = TURN_ROWS, .max_bytes = 1000000};
	struct relay_answer *answer = relay_turn(child->sync, child->arena, &request);

	for (size_t i = 0; i < child->sent_count; i++)
		atomic_store(&child->shared->holder[child->numbers[i]], 0);
	atomic_fetch_add(&child->shared->deleted, (int)child->sent_count);
	child->sent_count = 0;
	for (size_t i = 0; i < answer->row_count; i++) {
		int n = number_of(&answer->rows[i]), nobody = 0;

		if (!atomic_compare_exchange_strong(&child->shared->holder[n], &nobody, child->me))
			atomic_fetch_add(&child->shared->wrong, 1);
		atomic_fetch_add(&child->shared->given[n], 1);
		child->numbers[child->sent_count] = n;
		child->sent[child->sent_count++] = answer->rows[i].id;
	}
}

/* keep: so many shards at most; the rest is given up, of which nothing is under way any more. */
static void take_shards(struct child *child, size_t keep, bool leaving)
{
	size_t held = child->count < keep ? child->count : keep;
	struct store_shard_lease request = {.relay = child->name, .lease_ms = LEASE_MS, .held = child->shards,
					    .held_count = held, .given_up = child->shards + held,
					    .given_up_count = child->count - held, .leaving = leaving};
	struct relay_answer *answer;

	if (request.given_up_count > 0)
		take_turn(child, 0);
	answer = relay_lease(child->sync, child->arena, &request);
	child->count = answer->count;
	child->relays = answer->relays;
	for (size_t i = 0; i < answer->count; i++)
		child->shards[i] = answer->shards[i];
}

static void share_until_done(struct child *child)
{
	for (int i = 1; atomic_load(&child->shared->deleted) < ROWS; i++) {
		size_t part = child->relays > 0 ? (STORE_SHARDS + child->relays - 1) / child->relays : STORE_SHARDS;

		if (i % 4 == 1)
			take_shards(child, part, false);
		if (random_u64() % 20 == 0)
			take_shards(child, 0, true);
		take_turn(child, child->count);
		arena_reset(child->arena);
	}
	take_shards(child, 0, true);
}

static pid_t start_relay(struct fixture *fx, struct shared *shared, int number, void (*run)(struct child *child))
{
	struct child child = {.shared = shared, .me = number};
	pid_t pid;

	snprintf(child.name, sizeof(child.name), "%s/%d", fx->flow, number);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid != 0)
		return pid;
	child.sync = fixture_open(fx);
	child.arena = arena_new();
	run(&child);
	store_sync_close(&child.sync);
	_exit(0);
}

/* --- what they take: rows in three queues, so that a group has several --- */

static void claim_all(struct fixture *fx, struct task_row **rows_r)
{
	struct store_new_task *tasks = arena_alloc(fx->arena, GROUPS * sizeof(*tasks));
	int64_t ids[GROUPS];
	size_t count;

	for (size_t i = 0; i < GROUPS; i++)
		tasks[i] = (struct store_new_task){
			.flow = fx->flow, .params = "{}", .priority = 1, .max_attempts = 3};
	assert_good(fx, store_sync_submit(fx->sync, tasks, GROUPS, ids, &fx->err));
	*rows_r = fixture_claim_from(fx, fx->sync, GROUPS, LEASE_MS, false, &count);
	assert_int_equal(count, GROUPS);
}

static void commit_group(struct fixture *fx, const struct task_row *task, int number)
{
	struct store_commit commit = fixture_commit(task, STORE_COMPLETE);
	struct store_outbox rows[ROWS_PER_GROUP];

	for (int i = 0; i < ROWS_PER_GROUP; i++) {
		rows[i].queue = arena_printf(fx->arena, "%s/%d", fx->queue, i);
		rows[i].payload = arena_printf(fx->arena, "{\"n\":%d}", number * ROWS_PER_GROUP + i);
		rows[i].payload_len = strlen(rows[i].payload);
		rows[i].events = 1;
	}
	commit.outbox = rows;
	commit.outbox_count = ROWS_PER_GROUP;
	fixture_write(fx, &commit, 1);
}

static void wait_child(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The relays come and go while rows are being written: each row is given to one of them, once. */
static void no_row_is_given_twice(void **state)
{
	struct fixture *fx = *state;
	struct shared *shared = shared_new();
	struct task_row *tasks;
	pid_t pids[RELAYS];

	claim_all(fx, &tasks);
	/* SQLite's connection must not cross a fork. */
	store_sync_close(&fx->sync);
	for (int i = 0; i < RELAYS; i++)
		pids[i] = start_relay(fx, shared, i + 1, share_until_done);
	fx->sync = fixture_open(fx);
	for (int i = 0; i < GROUPS; i++)
		commit_group(fx, &tasks[i], i);
	for (int i = 0; i < RELAYS; i++)
		wait_child(pids[i]);
	assert_int_equal(atomic_load(&shared->wrong), 0);
	for (int i = 0; i < ROWS; i++)
		assert_int_equal(atomic_load(&shared->given[i]), 1);
	for (int i = 0; i < ROWS_PER_GROUP; i++) {
		const char *queue = arena_printf(fx->arena, "%s/%d", fx->queue, i);

		assert_int_equal(fixture_total(fx, queue, "events"), GROUPS);
		assert_int_equal(fixture_total(fx, queue, "waiting_rows"), 0);
	}
	munmap(shared, sizeof(*shared));
}

/* --- killed --- */

/* One with an odd number stops in the middle, with rows at hand. */
static void turn_until_killed(struct child *child)
{
	for (int turns = 0;; turns++) {
		if (turns == 2 && child->me % 2 == 1) {
			atomic_store(&child->shared->stopped, child->me);
			pause();
		}
		take_shards(child, STORE_SHARDS, false);
		take_turn(child, child->count);
		arena_reset(child->arena);
	}
}

static void run_and_kill(struct fixture *fx, struct shared *shared, int number)
{
	int deleted = atomic_load(&shared->deleted), status;
	pid_t pid;

	store_sync_close(&fx->sync);
	pid = start_relay(fx, shared, number, turn_until_killed);
	if (number % 2 == 1) {
		while (atomic_load(&shared->stopped) != number)
			usleep(100);
	} else {
		/* Any moment will do. */
		while (atomic_load(&shared->deleted) == deleted)
			usleep(100);
		usleep((useconds_t)(random_u64() % 5000));
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	fx->sync = fixture_open(fx);
}

/* Its lease ends at once: by its name, which tells the tokens. */
static void expire(struct fixture *fx, int number)
{
	const char *name = arena_printf(fx->arena, "%s/%d", fx->flow, number);
	struct store_shard_lease request = {.relay = name, .lease_ms = LEASE_MS};
	struct relay_answer *held = relay_lease(fx->sync, fx->arena, &request);

	request.held = held->shards;
	request.held_count = held->count;
	request.lease_ms = 1;
	relay_lease(fx->sync, fx->arena, &request);
	usleep(20000);
}

/* Takes the shards over and deletes what is left; returns how many rows of it the dead relay had got. */
static int take_over(struct fixture *fx, struct shared *shared)
{
	struct store_shard_lease lease = {.relay = fx->flow, .lease_ms = LEASE_MS};
	struct relay_answer *held = relay_lease(fx->sync, fx->arena, &lease), *left;
	struct store_turn turn = {.shards = held->shards, .shard_count = held->count, .max_rows = ROWS,
				  .max_bytes = 1000000};
	int64_t sent[ROWS];
	int got = 0;

	assert_int_equal(held->count, STORE_SHARDS);
	left = relay_turn(fx->sync, fx->arena, &turn);
	for (size_t i = 0; i < left->row_count; i++) {
		sent[i] = left->rows[i].id;
		if (atomic_load(&shared->given[number_of(&left->rows[i])]) == 0)
			continue;
		got++;
		assert_true(relay_is_noted(held, sent[i]));
	}
	turn.sent = sent;
	turn.sent_count = left->row_count;
	assert_int_equal(relay_turn(fx->sync, fx->arena, &turn)->row_count, 0);
	lease.leaving = true;
	lease.given_up = held->shards;
	lease.given_up_count = held->count;
	relay_lease(fx->sync, fx->arena, &lease);
	return got;
}

/* Wherever it was killed: a row that it got is deleted or noted, and so is never taken for a fresh one. */
static void what_a_killed_relay_got_is_noted(void **state)
{
	enum { ROUNDS = 6 };
	struct fixture *fx = *state;
	struct shared *shared = shared_new();
	struct task_row *tasks;

	claim_all(fx, &tasks);
	for (int round = 1; round <= ROUNDS; round++) {
		int got;

		for (int i = (round - 1) * GROUPS / ROUNDS; i < round * GROUPS / ROUNDS; i++)
			commit_group(fx, &tasks[i], i);
		run_and_kill(fx, shared, round);
		expire(fx, round);
		got = take_over(fx, shared);
		if (round % 2 == 1)
			assert_int_equal(got, TURN_ROWS);
	}
	assert_int_equal(atomic_load(&shared->wrong), 0);
	munmap(shared, sizeof(*shared));
}

static const struct CMUnitTest cases[] = {
	RELAY_CASE(no_row_is_given_twice),
	RELAY_CASE(what_a_killed_relay_got_is_noted),
};

int store_run_relay_process_cases(void)
{
	return cmocka_run_group_tests(cases, NULL, NULL);
}
