/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: tasks, leases and what becomes of them. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "store_cases.h"

/* --- creation --- */

static void new_task_is_pending(void **state)
{
	struct fixture *fx = *state;
	int64_t id = fixture_submit(fx, 1);
	const struct json *task = fixture_task(fx, id);

	assert_json(task, "status", "\"PENDING\"");
	assert_json(task, "platform", "\"INSTAGRAM\"");
	assert_json(task, "params", "{\"handle\":\"abc\"}");
	assert_json(task, "attempt", "0");
	assert_json(task, "max_attempts", "3");
	assert_json(task, "retry_count", "1");
	assert_json(task, "picked_at", "null");
}

static void new_task_leaves_event(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task task = {.flow = fx->flow,
				      .platform = "YOUTUBE",
				      .params = "{\"a\":[1]}",
				      .priority = 4,
				      .reason = "because \"so\"",
				      .expires_at_ms = 1767225600000};
	const struct json *event;
	char id_text[32];
	int64_t id, stamp;
	size_t len;
	const char *text;

	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	snprintf(id_text, sizeof(id_text), "\"%lld\"", (long long)id);
	event = json_at(fixture_events(fx, fx->status_queue), "0");
	assert_json(event, "scl_id", id_text);
	assert_json(event, "platform", "\"YOUTUBE\"");
	assert_json(event, "params", "{\"a\":[1]}");
	assert_json(event, "status", "\"PENDING\"");
	assert_json(event, "priority", "4");
	assert_json(event, "reason", "\"because \\\"so\\\"\"");
	assert_json(event, "picked_at", "null");
	assert_json(event, "expires_at", "\"2026-01-01 00:00:00\"");
	assert_json(event, "retry_count", "1");
	assert_int_equal(json_count(event), 12);
	assert_non_null(json_string(json_at(event, "event_id"), &len));
	assert_int_equal(len, 36);
	text = json_string(json_at(event, "event_timestamp"), &len);
	assert_int_equal(len, 19);
	assert_int_equal(clock_parse(text, len, &stamp), 0);
}

static void events_go_to_every_status_queue(void **state)
{
	struct fixture *fx = *state;
	char both[100];

	snprintf(both, sizeof(both), "%s,%s", fx->status_queue, fx->queue);
	fx->options.status_queues = both;
	fixture_reopen(fx);
	fixture_submit(fx, 1);
	assert_int_equal(json_count(fixture_events(fx, fx->status_queue)), 1);
	assert_int_equal(json_count(fixture_events(fx, fx->queue)), 1);
}

static void no_status_queue_drops_events(void **state)
{
	struct fixture *fx = *state;

	fx->options.status_queues = NULL;
	fixture_reopen(fx);
	fixture_submit(fx, 1);
	assert_int_equal(json_count(fixture_events(fx, fx->status_queue)), 0);
}

static void unique_key_refuses_live_twin(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task task = {.flow = fx->flow, .params = "{}", .priority = 1, .unique_key = "abc"};
	struct store_commit commit;
	int64_t id, first;

	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &first, &fx->err));
	assert_int_equal(store_sync_submit(fx->sync, &task, 1, &id, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, "abc"));
	/* Whoever is refused learns which task stands in the way. */
	assert_non_null(strstr(fx->err.text, arena_printf(fx->arena, "task %lld of", (long long)first)));
	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	assert_int_equal(store_sync_submit(fx->sync, &task, 1, &id, &fx->err), -1);
	fixture_write(fx, &commit, 1);
	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	task.flow = fx->other_flow;
	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
}

static void submit_is_all_or_none(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task tasks[3] = {
		{.flow = fx->flow, .params = "{}", .priority = 1},
		{.flow = fx->flow, .params = "{}", .priority = 1, .unique_key = "twin"},
		{.flow = fx->flow, .params = "{}", .priority = 1, .unique_key = "twin"},
	};
	int64_t ids[3];
	size_t count;

	assert_int_equal(store_sync_submit(fx->sync, tasks, 3, ids, &fx->err), -1);
	fixture_claim_from(fx, fx->sync, 5, 60000, false, &count);
	assert_int_equal(count, 0);
	assert_int_equal(json_count(fixture_events(fx, fx->status_queue)), 0);
}

static void escaped_nul_is_replaced(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task task = {
		.flow = fx->flow, .params = "{\"a\":\"x\\u0000y\",\"b\":\"\\\\u0000\"}", .priority = 1};
	int64_t id;

	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	assert_json(fixture_task(fx, id), "params", "{\"a\":\"x\xef\xbf\xbdy\",\"b\":\"\\\\u0000\"}");
}

/* --- claim --- */

static void claim_takes_most_urgent_first(void **state)
{
	struct fixture *fx = *state;
	int64_t late = fixture_submit(fx, 5), second = fixture_submit(fx, 2), first = fixture_submit(fx, 1),
		third = fixture_submit(fx, 2);
	struct task_row *rows;
	size_t count;

	rows = fixture_claim_from(fx, fx->sync, 3, 60000, false, &count);
	assert_int_equal(count, 3);
	assert_int_equal(rows[0].id, first);
	assert_int_equal(rows[1].id, second);
	assert_int_equal(rows[2].id, third);
	assert_int_equal(fixture_claim(fx)->id, late);
}

static void claim_gives_the_row(void **state)
{
	struct fixture *fx = *state;
	int64_t id = fixture_submit(fx, 3), now = clock_wall_ms();
	struct task_row *row = fixture_claim(fx);
	const struct json *event;

	assert_int_equal(row->id, id);
	assert_int_equal(row->status, TASK_PROCESSING);
	assert_string_equal(row->flow, fx->flow);
	assert_string_equal(row->params, "{\"handle\":\"abc\"}");
	assert_string_equal(row->worker, "test/1");
	assert_int_equal(row->priority, 3);
	assert_int_equal(row->max_attempts, 3);
	assert_int_equal(row->commit_seq, 0);
	assert_true(row->lease_token != 0);
	assert_true(row->lease_until_ms >= now + 60000);
	assert_non_null(row->picked_at);
	assert_null(row->checkpoint);
	event = json_at(fixture_events(fx, fx->status_queue), "1");
	assert_json(event, "status", "\"PROCESSING\"");
	assert_int_equal(json_type(json_at(event, "picked_at")), JSON_STRING);
	assert_json(fixture_task(fx, id), "status", "\"PROCESSING\"");
}

static void claim_keeps_to_slots_of_each_flow(void **state)
{
	struct fixture *fx = *state;
	const char *flows[] = {fx->flow, fx->other_flow};
	size_t slots[] = {2, 1}, count, i, mine = 0;
	struct store_claim claim = {
		.flows = flows, .slots = slots, .flow_count = 2, .worker = "w", .lease_ms = 1000};
	struct store_new_task task = {.flow = fx->other_flow, .params = "{}", .priority = 1};
	struct task_row *rows;
	int64_t id;

	for (i = 0; i < 5; i++) {
		fixture_submit(fx, 1);
		assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	}
	assert_good(fx, store_sync_claim(fx->sync, &claim, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 3);
	for (i = 0; i < count; i++)
		mine += strcmp(rows[i].flow, fx->flow) == 0;
	assert_int_equal(mine, 2);
	slots[0] = 0;
	assert_good(fx, store_sync_claim(fx->sync, &claim, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 1);
	assert_string_equal(rows[0].flow, fx->other_flow);
}

static void claim_of_nothing_writes_nothing(void **state)
{
	struct fixture *fx = *state;
	struct store_stats before, after;
	size_t count;

	store_stats(store_sync_store(fx->sync), &before);
	fixture_claim_from(fx, fx->sync, 10, 60000, true, &count);
	assert_int_equal(count, 0);
	store_stats(store_sync_store(fx->sync), &after);
	assert_int_equal(after.transactions, before.transactions);
	assert_int_equal(after.requests, before.requests + 1);
	assert_int_equal(after.pending, 0);
}

static void run_after_waits_until_due(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task later = {
		.flow = fx->flow, .params = "{}", .priority = 1, .run_after_ms = clock_wall_ms() + 3600000};
	struct store_new_task soon = later;
	int64_t later_id, soon_id;
	size_t count;

	assert_good(fx, store_sync_submit(fx->sync, &later, 1, &later_id, &fx->err));
	fixture_claim_from(fx, fx->sync, 5, 60000, false, &count);
	assert_int_equal(count, 0);
	soon.run_after_ms = clock_wall_ms() + 100;
	assert_good(fx, store_sync_submit(fx->sync, &soon, 1, &soon_id, &fx->err));
	usleep(120000);
	assert_true(fixture_rescue(fx) >= 1);
	assert_int_equal(fixture_claim(fx)->id, soon_id);
	fixture_claim_from(fx, fx->sync, 5, 60000, false, &count);
	assert_int_equal(count, 0);
}

/* A rescue on a server may have told of other tests' tasks too. */
static bool has_event(struct fixture *fx, int64_t id, const char *status)
{
	const char *text = arena_printf(fx->arena, "%lld", (long long)id);

	for (const struct json *event = json_first(fixture_events(fx, fx->status_queue)); event != NULL;
	     event = json_next(event))
		if (str_eq(json_string(json_at(event, "scl_id"), NULL), text) &&
		    str_eq(json_string(json_at(event, "status"), NULL), status))
			return true;
	return false;
}

static void expired_task_is_never_started(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task task = {
		.flow = fx->flow, .params = "{}", .priority = 1, .expires_at_ms = clock_wall_ms() - 1000};
	const struct json *row;
	int64_t id;
	size_t count;

	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	fixture_claim_from(fx, fx->sync, 5, 60000, false, &count);
	assert_int_equal(count, 0);
	assert_true(fixture_rescue(fx) >= 1);
	row = fixture_task(fx, id);
	assert_json(row, "status", "\"FAILED\"");
	assert_json(row, "error_code", "\"expired\"");
	assert_json(row, "data", "\"(408, 'expired before it was started')\"");
	assert_true(has_event(fx, id, "FAILED"));
}

/* --- ends --- */

static void complete_keeps_data(void **state)
{
	struct fixture *fx = *state;
	struct store_commit commit;
	const struct json *row;
	int64_t id = fixture_submit(fx, 1);

	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	commit.data = "{\"pages\":3}";
	fixture_write(fx, &commit, 1);
	row = fixture_task(fx, id);
	assert_json(row, "status", "\"COMPLETE\"");
	assert_json(row, "data", "\"{\\\"pages\\\":3}\"");
	assert_json(row, "error_code", "null");
	assert_json(row, "lease_until", "null");
	assert_json(row, "commit_seq", "1");
	assert_int_equal(json_type(json_at(row, "scraped_at")), JSON_STRING);
	assert_json(fixture_events(fx, fx->status_queue), "2.status", "\"COMPLETE\"");
}

static void fail_keeps_error_text_and_code(void **state)
{
	struct fixture *fx = *state;
	struct store_commit commit;
	const struct json *row;
	int64_t id = fixture_submit(fx, 1);

	commit = fixture_commit(fixture_claim(fx), STORE_FAIL);
	commit.data = "(403, 'Forbidden exception')";
	commit.error_code = "fail";
	fixture_write(fx, &commit, 1);
	row = fixture_task(fx, id);
	assert_json(row, "status", "\"FAILED\"");
	assert_json(row, "data", "\"(403, 'Forbidden exception')\"");
	assert_json(row, "error_code", "\"fail\"");
	assert_json(fixture_events(fx, fx->status_queue), "2.status", "\"FAILED\"");
}

/* A claimed task is to be tried again from then on. */
static void retry_from(struct fixture *fx, int64_t run_after_ms)
{
	struct store_commit commit = fixture_commit(fixture_claim(fx), STORE_RETRY);

	commit.data = "(500, 'again')";
	commit.error_code = "retry";
	commit.checkpoint = "{\"page\":2}";
	commit.run_after_ms = run_after_ms;
	fixture_write(fx, &commit, 1);
}

static void retry_counts_and_waits(void **state)
{
	struct fixture *fx = *state;
	int64_t id = fixture_submit(fx, 1), until_ms;
	struct task_row *row;
	size_t count;

	retry_from(fx, clock_wall_ms() + 3600000);
	assert_json(fixture_task(fx, id), "attempt", "1");
	assert_json(fixture_task(fx, id), "data", "\"(500, 'again')\"");
	assert_json(fixture_events(fx, fx->status_queue), "2.status", "\"PENDING\"");
	fixture_rescue(fx);
	fixture_claim_from(fx, fx->sync, 1, 60000, false, &count);
	assert_int_equal(count, 0);
	fixture_submit(fx, 1);
	retry_from(fx, clock_wall_ms() + 50);
	until_ms = clock_mono_ms() + 60000;
	do {
		assert_true(clock_mono_ms() < until_ms);
		usleep(10000);
		fixture_rescue(fx);
		row = fixture_claim_from(fx, fx->sync, 1, 60000, false, &count);
	} while (count == 0);
	assert_int_equal(row->attempt, 1);
	assert_int_equal(row->commit_seq, 1);
	assert_string_equal(row->checkpoint, "{\"page\":2}");
}

static void release_is_no_attempt(void **state)
{
	struct fixture *fx = *state;
	struct store_commit commit;
	struct task_row *row;

	fixture_submit(fx, 1);
	row = fixture_claim(fx);
	commit = fixture_commit(row, STORE_RELEASE);
	commit.checkpoint = "{\"page\":7}";
	fixture_write(fx, &commit, 1);
	row = fixture_claim(fx);
	assert_int_equal(row->attempt, 0);
	assert_string_equal(row->checkpoint, "{\"page\":7}");
	assert_int_equal(row->commit_seq, 1);
}

static void slice_goes_on_and_starts_counts_again(void **state)
{
	struct fixture *fx = *state;
	struct store_commit commit;
	struct task_row *row;
	const struct json *task;
	size_t count;

	fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_RETRY);
	fixture_write(fx, &commit, 1);
	fixture_claim_from(fx, fx->sync, 1, 1, false, &count);
	assert_true(fixture_rescue(fx) >= 1);
	row = fixture_claim(fx);
	assert_int_equal(row->attempt, 1);
	assert_int_equal(row->crashes, 1);
	commit = fixture_commit(row, STORE_SLICE);
	commit.checkpoint = "{\"page\":1}";
	fixture_write(fx, &commit, 1);
	task = fixture_task(fx, row->id);
	assert_json(task, "status", "\"PROCESSING\"");
	assert_json(task, "attempt", "0");
	assert_json(task, "crashes", "0");
	row->commit_seq++;
	commit = fixture_commit(row, STORE_SLICE);
	commit.checkpoint = "{\"page\":2}";
	fixture_write(fx, &commit, 1);
	assert_json(fixture_task(fx, row->id), "checkpoint", "\"{\\\"page\\\":2}\"");
	row->commit_seq++;
	commit = fixture_commit(row, STORE_COMPLETE);
	fixture_write(fx, &commit, 1);
	assert_json(fixture_task(fx, row->id), "checkpoint", "null");
}

/* --- fencing --- */

static void repeated_commit_is_lost(void **state)
{
	struct fixture *fx = *state;
	struct store_commit commit;
	struct store_outbox out = {fx->queue, "{}", 2, 1};

	fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_SLICE);
	commit.outbox = &out;
	commit.outbox_count = 1;
	fixture_write(fx, &commit, 1);
	assert_good(fx, store_sync_commit(fx->sync, &commit, 1, &fx->err));
	assert_int_equal(commit.outcome, STORE_LOST);
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 1);
}

static void lost_lease_writes_nothing(void **state)
{
	struct fixture *fx = *state;
	struct store_sync *second = fixture_open(fx);
	const char **values = fixture_values(fx);
	struct store_upsert upsert = {&fixture_table, fx->flow, values};
	struct store_outbox out = {fx->queue, "{}", 2, 1};
	struct store_commit stale, fresh;
	struct task_row *row;
	size_t count;

	values[COL_KEPT] = "stale";
	fixture_submit(fx, 1);
	row = fixture_claim_from(fx, fx->sync, 1, 1, false, &count);
	assert_true(fixture_rescue(fx) >= 1);
	stale = fixture_commit(row, STORE_COMPLETE);
	stale.upserts = &upsert;
	stale.upsert_count = 1;
	stale.outbox = &out;
	stale.outbox_count = 1;
	/* Rescued but not taken again; then taken by another. */
	assert_good(fx, store_sync_commit(fx->sync, &stale, 1, &fx->err));
	assert_int_equal(stale.outcome, STORE_LOST);
	row = fixture_claim_from(fx, second, 1, 60000, false, &count);
	assert_int_equal(count, 1);
	assert_good(fx, store_sync_commit(fx->sync, &stale, 1, &fx->err));
	assert_int_equal(stale.outcome, STORE_LOST);
	assert_null(fixture_row(fx, fx->flow));
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 0);
	fresh = fixture_commit(row, STORE_COMPLETE);
	assert_good(fx, store_sync_commit(second, &fresh, 1, &fx->err));
	assert_int_equal(fresh.outcome, STORE_COMMITTED);
	store_sync_close(&second);
}

static void lost_member_does_not_hold_up_the_group(void **state)
{
	struct fixture *fx = *state;
	struct store_commit group[3];
	struct task_row *rows;
	size_t count, i;

	for (i = 0; i < 3; i++)
		fixture_submit(fx, 1);
	rows = fixture_claim_from(fx, fx->sync, 3, 60000, false, &count);
	for (i = 0; i < 3; i++)
		group[i] = fixture_commit(&rows[i], STORE_COMPLETE);
	group[1].lease_token++;
	assert_good(fx, store_sync_commit(fx->sync, group, 3, &fx->err));
	assert_int_equal(group[0].outcome, STORE_COMMITTED);
	assert_int_equal(group[1].outcome, STORE_LOST);
	assert_int_equal(group[2].outcome, STORE_COMMITTED);
	assert_json(fixture_task(fx, rows[1].id), "status", "\"PROCESSING\"");
}

static void extension_holds_off_rescue(void **state)
{
	struct fixture *fx = *state;
	struct store_lease leases[2];
	struct task_row *row;
	size_t count;

	fixture_submit(fx, 1);
	row = fixture_claim_from(fx, fx->sync, 1, 1, false, &count);
	leases[0] = (struct store_lease){.task_id = row->id, .lease_token = row->lease_token};
	leases[1] = (struct store_lease){.task_id = row->id, .lease_token = row->lease_token + 1};
	assert_good(fx, store_sync_extend(fx->sync, leases, 2, 60000, &fx->err));
	assert_false(leases[0].lost);
	assert_true(leases[1].lost);
	fixture_rescue(fx);
	assert_json(fixture_task(fx, row->id), "status", "\"PROCESSING\"");
}

/* --- rescue --- */

static void crash_is_no_attempt(void **state)
{
	struct fixture *fx = *state;
	struct task_row *row;
	size_t count;

	fixture_submit(fx, 1);
	fixture_claim_from(fx, fx->sync, 1, 1, false, &count);
	assert_true(fixture_rescue(fx) >= 1);
	assert_json(fixture_events(fx, fx->status_queue), "2.status", "\"PENDING\"");
	row = fixture_claim(fx);
	assert_int_equal(row->crashes, 1);
	assert_int_equal(row->attempt, 0);
	assert_false(row->alone);
}

static void second_crash_makes_it_run_alone(void **state)
{
	struct fixture *fx = *state;
	const char *flows[] = {fx->flow};
	size_t slots = 5, count, i;
	struct store_claim claim = {
		.flows = flows, .slots = &slots, .flow_count = 1, .worker = "w", .lease_ms = 60000};
	struct task_row *rows;
	int64_t id = fixture_submit(fx, 1), innocent;

	for (i = 0; i < 2; i++) {
		fixture_claim_from(fx, fx->sync, 1, 1, false, &count);
		assert_int_equal(count, 1);
		assert_true(fixture_rescue(fx) >= 1);
	}
	innocent = fixture_submit(fx, 1);
	assert_good(fx, store_sync_claim(fx->sync, &claim, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].id, innocent);
	assert_true(claim.alone_waiting);
	fixture_submit(fx, 1);
	claim.alone_allowed = true;
	assert_good(fx, store_sync_claim(fx->sync, &claim, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].id, id);
	assert_true(rows[0].alone);
	assert_false(claim.alone_waiting);
}

static void only_crashes_alone_quarantine(void **state)
{
	struct fixture *fx = *state;
	const struct json *row;
	int64_t id;
	size_t count;
	int i;

	fx->options.crash_limit = 3;
	fixture_reopen(fx);
	id = fixture_submit(fx, 1);
	for (i = 0; i < 4; i++) {
		fixture_claim_from(fx, fx->sync, 1, 1, true, &count);
		assert_int_equal(count, 1);
		assert_true(fixture_rescue(fx) >= 1);
		assert_json(fixture_task(fx, id), "status", "\"PENDING\"");
	}
	fixture_claim_from(fx, fx->sync, 1, 1, true, &count);
	assert_true(fixture_rescue(fx) >= 1);
	row = fixture_task(fx, id);
	assert_json(row, "status", "\"FAILED\"");
	assert_json(row, "error_code", "\"crash\"");
	assert_json(row, "data", "\"(500, 'quarantined after 5 crashes')\"");
	assert_true(has_event(fx, id, "FAILED"));
}

static const struct CMUnitTest store_task_cases[] = {
	CASE(new_task_is_pending),
	CASE(new_task_leaves_event),
	CASE(events_go_to_every_status_queue),
	CASE(no_status_queue_drops_events),
	CASE(unique_key_refuses_live_twin),
	CASE(submit_is_all_or_none),
	CASE(escaped_nul_is_replaced),
	CASE(claim_takes_most_urgent_first),
	CASE(claim_gives_the_row),
	CASE(claim_keeps_to_slots_of_each_flow),
	CASE(claim_of_nothing_writes_nothing),
	CASE(run_after_waits_until_due),
	CASE(expired_task_is_never_started),
	CASE(complete_keeps_data),
	CASE(fail_keeps_error_text_and_code),
	CASE(retry_counts_and_waits),
	CASE(release_is_no_attempt),
	CASE(slice_goes_on_and_starts_counts_again),
	CASE(repeated_commit_is_lost),
	CASE(lost_lease_writes_nothing),
	CASE(lost_member_does_not_hold_up_the_group),
	CASE(extension_holds_off_rescue),
	CASE(crash_is_no_attempt),
	CASE(second_crash_makes_it_run_alone),
	CASE(only_crashes_alone_quarantine),
};

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc > 1)
		setenv("SLUICE_TEST_STORE", argv[1], 1);
	failed += cmocka_run_group_tests(store_task_cases, NULL, NULL);
	failed += store_run_commit_cases();
	failed += store_run_credential_cases();
	failed += store_run_failure_cases();
	failed += store_run_source_cases();
	failed += store_run_letter_cases();
	failed += store_run_schema_cases();
	failed += store_run_schedule_cases();
	failed += store_run_relay_cases();
	failed += store_run_process_cases();
	return failed > 0;
}
