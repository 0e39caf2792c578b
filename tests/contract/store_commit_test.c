/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: upserts, outbox, lists. */
#include "store_fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/uuid.h"
#include "loop/loop.h"
#include "pack/frame.h"
#include "store_cases.h"

#define PLENTY ((size_t)1 << 30)

/* Runs one task to its end with these upserts. */
static void write_rows(struct fixture *fx, const struct store_upsert *upserts, size_t count)
{
	struct store_commit commit;

	fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	commit.upserts = upserts;
	commit.upsert_count = count;
	fixture_write(fx, &commit, 1);
}

static const char **three(struct fixture *fx, const char *kept, const char *overwritten, const char *once)
{
	const char **values = fixture_values(fx);

	values[COL_KEPT] = kept;
	values[COL_OVERWRITTEN] = overwritten;
	values[COL_ONCE] = once;
	return values;
}

/* --- upserts --- */

static void values_come_back_with_their_types(void **state)
{
	struct fixture *fx = *state;
	const char **values = three(fx, "it's \"\xc3\xa9\"", "b", "c");
	struct store_upsert upsert = {&fixture_table, fx->flow, values};
	const struct json *row;

	values[COL_COUNT] = "9007199254740993";
	values[COL_RATIO] = "0.25";
	values[COL_FLAG] = "true";
	values[COL_JSON] = "{\"a\":[1,null]}";
	values[COL_TIME] = "2024-01-02 03:04:05";
	values[COL_TAGS] = "[\"x\",\"y\"]";
	write_rows(fx, &upsert, 1);
	row = fixture_row(fx, fx->flow);
	assert_json(row, "kept", "\"it's \\\"\xc3\xa9\\\"\"");
	assert_json(row, "followers", "9007199254740993");
	assert_json(row, "ratio", "0.25");
	assert_json(row, "flag", "true");
	assert_json(row, "detail", "{\"a\":[1,null]}");
	assert_json(row, "published_at", "\"2024-01-02 03:04:05\"");
	assert_json(row, "tags", "[\"x\",\"y\"]");
	assert_int_equal(json_type(json_at(row, "id")), JSON_INT);
	assert_int_equal(json_type(json_at(row, "created_at")), JSON_STRING);
}

static void column_rules(void **state)
{
	struct fixture *fx = *state;
	struct store_upsert upsert = {.table = &fixture_table, .key = fx->flow};

	upsert.values = three(fx, "a", "a", NULL);
	write_rows(fx, &upsert, 1);
	assert_json(fixture_row(fx, fx->flow), "once", "null");
	upsert.values = three(fx, NULL, NULL, "first");
	write_rows(fx, &upsert, 1);
	assert_json(fixture_row(fx, fx->flow), "kept", "\"a\"");
	assert_json(fixture_row(fx, fx->flow), "overwritten", "null");
	assert_json(fixture_row(fx, fx->flow), "once", "\"first\"");
	upsert.values = three(fx, "", "", "second");
	write_rows(fx, &upsert, 1);
	assert_json(fixture_row(fx, fx->flow), "kept", "\"a\"");
	assert_json(fixture_row(fx, fx->flow), "overwritten", "\"\"");
	assert_json(fixture_row(fx, fx->flow), "once", "\"first\"");
	upsert.values = three(fx, "b", "b", NULL);
	write_rows(fx, &upsert, 1);
	assert_json(fixture_row(fx, fx->flow), "kept", "\"b\"");
	assert_json(fixture_row(fx, fx->flow), "overwritten", "\"b\"");
}

static void stamps_are_kept(void **state)
{
	struct fixture *fx = *state;
	struct store_upsert upsert = {&fixture_table, fx->flow, three(fx, "a", NULL, NULL)};
	char created[40], updated[40];
	const struct json *row;

	write_rows(fx, &upsert, 1);
	row = fixture_row(fx, fx->flow);
	snprintf(created, sizeof(created), "%s", json_string(json_at(row, "created_at"), NULL));
	snprintf(updated, sizeof(updated), "%s", json_string(json_at(row, "updated_at"), NULL));
	assert_string_equal(created, updated);
	usleep(5000);
	write_rows(fx, &upsert, 1);
	row = fixture_row(fx, fx->flow);
	assert_string_equal(json_string(json_at(row, "created_at"), NULL), created);
	assert_true(strcmp(json_string(json_at(row, "updated_at"), NULL), updated) > 0);
}

/* Two tasks of one group write the same row: the result is that of one after the other. */
static void group_is_merged_by_the_rules(void **state)
{
	struct fixture *fx = *state;
	struct store_upsert upserts[2] = {
		{&fixture_table, fx->flow, three(fx, "a", "a", "first")},
		{&fixture_table, fx->flow, three(fx, "", NULL, "second")},
	};
	struct store_commit group[2];
	struct task_row *rows;
	size_t count, i;

	for (i = 0; i < 2; i++)
		fixture_submit(fx, 1);
	rows = fixture_claim_from(fx, fx->sync, 2, 60000, false, &count);
	assert_int_equal(count, 2);
	for (i = 0; i < 2; i++) {
		group[i] = fixture_commit(&rows[i], STORE_COMPLETE);
		group[i].upserts = &upserts[i];
		group[i].upsert_count = 1;
	}
	fixture_write(fx, group, 2);
	assert_int_equal(fixture_row_count(fx, &fixture_table, "profile_id", fx->flow), 1);
	assert_json(fixture_row(fx, fx->flow), "kept", "\"a\"");
	assert_json(fixture_row(fx, fx->flow), "overwritten", "null");
	assert_json(fixture_row(fx, fx->flow), "once", "\"first\"");
}

static void many_rows_in_one_commit(void **state)
{
	struct fixture *fx = *state;
	struct store_upsert *upserts = arena_alloc(fx->arena, 1000 * sizeof(*upserts));
	size_t i;

	for (i = 0; i < 1000; i++)
		upserts[i] = (struct store_upsert){&fixture_table,
						   arena_printf(fx->arena, "%s/%zu", fx->flow, i % 500),
						   three(fx, fx->flow, i < 500 ? "old" : "new", NULL)};
	write_rows(fx, upserts, 1000);
	assert_int_equal(fixture_row_count(fx, &fixture_table, "kept", fx->flow), 500);
	assert_json(fixture_row(fx, arena_printf(fx->arena, "%s/499", fx->flow)), "overwritten", "\"new\"");
}

static void append_only_rows_are_never_merged(void **state)
{
	struct fixture *fx = *state;
	const char *values[2] = {fx->flow, "not written"};
	struct store_upsert upserts[3] = {
		{&fixture_log, NULL, values}, {&fixture_log, NULL, values}, {&fixture_log, NULL, values}};

	write_rows(fx, upserts, 3);
	assert_int_equal(fixture_row_count(fx, &fixture_log, "actor", fx->flow), 3);
	assert_json(json_root(fx->doc), "0.unwritten", "null");
}

/* --- refusals --- */

static void refused_alone(struct fixture *fx, int column, const char *value)
{
	const char **bad = three(fx, "x", "x", "x");
	struct store_upsert upserts[3];
	struct store_outbox out = {fx->queue, "{\"n\":1}", 7, 1};
	struct store_commit group[3];
	struct task_row *rows;
	int64_t before = fixture_total(fx, fx->queue, "events");
	size_t count, i;

	bad[column] = value;
	for (i = 0; i < 3; i++)
		fixture_submit(fx, 1);
	rows = fixture_claim_from(fx, fx->sync, 3, 60000, false, &count);
	for (i = 0; i < 3; i++) {
		upserts[i] = (struct store_upsert){&fixture_table,
						   arena_printf(fx->arena, "%s-%d-%zu", fx->flow, column, i),
						   i == 1 ? bad : three(fx, "good", NULL, NULL)};
		group[i] = fixture_commit(&rows[i], STORE_COMPLETE);
		group[i].upserts = &upserts[i];
		group[i].upsert_count = 1;
		group[i].outbox = &out;
		group[i].outbox_count = 1;
	}
	assert_good(fx, store_sync_commit(fx->sync, group, 3, &fx->err));
	assert_int_equal(group[0].outcome, STORE_COMMITTED);
	assert_int_equal(group[1].outcome, STORE_REFUSED);
	assert_int_equal(group[1].error.code, ERR_CONTENT);
	assert_non_null(strstr(group[1].error.text, fixture_table.columns[column].name));
	assert_int_equal(group[2].outcome, STORE_COMMITTED);
	assert_null(fixture_row(fx, upserts[1].key));
	assert_non_null(fixture_row(fx, upserts[2].key));
	assert_int_equal(fixture_total(fx, fx->queue, "events"), before + 2);
	assert_json(fixture_task(fx, rows[1].id), "status", "\"PROCESSING\"");
	/* The task still has its lease and may be ended in another way. */
	group[1] = fixture_commit(&rows[1], STORE_FAIL);
	fixture_write(fx, &group[1], 1);
}

static void bad_data_refuses_its_task_alone(void **state)
{
	struct fixture *fx = *state;

	refused_alone(fx, COL_COUNT, "twelve");
	refused_alone(fx, COL_COUNT, "9223372036854775808");
	refused_alone(fx, COL_RATIO, "1.5x");
	refused_alone(fx, COL_FLAG, "maybe");
	refused_alone(fx, COL_JSON, "{\"a\":");
	refused_alone(fx, COL_TIME, "yesterday");
	refused_alone(fx, COL_TAGS, "{}");
	refused_alone(fx, COL_KEPT, "\xff\xfe");
}

static void row_without_key_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct store_upsert upsert = {&fixture_table, "", three(fx, "a", NULL, NULL)};
	struct store_commit commit;

	fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	commit.upserts = &upsert;
	commit.upsert_count = 1;
	assert_good(fx, store_sync_commit(fx->sync, &commit, 1, &fx->err));
	assert_int_equal(commit.outcome, STORE_REFUSED);
}

/* --- outbox --- */

/* Completes tasks as one group, each with this payload. */
static void emit(struct fixture *fx, size_t tasks, const char *payload, size_t len, uint32_t events)
{
	struct store_outbox out = {fx->queue, payload, len, events};
	struct store_commit *group = arena_alloc(fx->arena, tasks * sizeof(*group));
	struct task_row *rows;
	size_t count, i;

	for (i = 0; i < tasks; i++)
		fixture_submit(fx, 1);
	rows = fixture_claim_from(fx, fx->sync, tasks, 60000, false, &count);
	assert_int_equal(count, tasks);
	for (i = 0; i < tasks; i++) {
		group[i] = fixture_commit(&rows[i], STORE_COMPLETE);
		group[i].outbox = &out;
		group[i].outbox_count = 1;
	}
	fixture_write(fx, group, tasks);
}

static struct store_outbox_row *read_rows(struct fixture *fx, const int64_t *skip, size_t skip_count,
					  size_t max_rows, size_t max_bytes, size_t *count_r)
{
	struct store_outbox_row *rows;

	assert_good(fx, store_sync_outbox_read(fx->sync, fx->queue, skip, skip_count, max_rows, max_bytes,
					       fx->arena, &rows, count_r, &fx->err));
	return rows;
}

static void outbox_of_a_group_is_one_row(void **state)
{
	struct fixture *fx = *state;
	struct store_outbox_row *rows;
	size_t count;

	emit(fx, 3, "{\"n\":1}\n{\"n\":2}\n", 16, 2);
	rows = read_rows(fx, NULL, 0, 10, 1000, &count);
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].events, 6);
	assert_string_equal(rows[0].payload,
			    "{\"n\":1}\n{\"n\":2}\n{\"n\":1}\n{\"n\":2}\n{\"n\":1}\n{\"n\":2}");
	assert_true(rows[0].created_ms > 0);
	assert_string_equal(rows[0].queue, fx->queue);
	assert_int_equal(fixture_total(fx, fx->queue, "waiting_bytes"), (int64_t)rows[0].payload_len);
}

static void outbox_rows_are_cut(void **state)
{
	struct fixture *fx = *state;
	struct store_outbox_row *rows;
	size_t count, i, events = 0;

	fx->options.outbox_row_events = 4;
	fx->options.outbox_row_bytes = 100;
	fixture_reopen(fx);
	emit(fx, 5, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}", 23, 3); /* by events: never two tasks in one row */
	rows = read_rows(fx, NULL, 0, 100, 10000, &count);
	assert_int_equal(count, 5);
	emit(fx, 1, "{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", 26, 9); /* larger than a row: between its lines */
	rows = read_rows(fx, NULL, 0, 100, 10000, &count);
	assert_int_equal(count, 8);
	emit(fx, 2, "{\"long\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}",
	     81, 1);
	rows = read_rows(fx, NULL, 0, 100, 10000, &count);
	assert_int_equal(count, 10);
	for (i = 0; i < count; i++)
		events += rows[i].events;
	assert_int_equal(events, 15 + 9 + 2);
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 15 + 9 + 2);
}

static void nul_in_payload_is_replaced(void **state)
{
	struct fixture *fx = *state;
	struct store_outbox_row *rows;
	size_t count;

	emit(fx, 1, "{\"a\":\"x\0y\"}", 11, 1);
	rows = read_rows(fx, NULL, 0, 1, 100, &count);
	assert_string_equal(rows[0].payload, "{\"a\":\"x\xef\xbf\xbdy\"}");
}

/* A hundred events of 2 kB, which pack well or do not at all. */
static const char *lines(struct fixture *fx, bool packs)
{
	struct buf text;
	char *copy;

	buf_init(&text);
	for (size_t i = 0; i < 100; i++) {
		buf_printf(&text, "%s{\"text\":\"", i > 0 ? "\n" : "");
		for (size_t k = 0; k < 2000; k++)
			buf_addc(&text, packs ? 'x' : (char)('#' + random_u64() % ('Z' - '#')));
		buf_adds(&text, "\"}");
	}
	copy = arena_strdup(fx->arena, text.data);
	buf_fini(&text);
	return copy;
}

static void assert_text(struct fixture *fx, const struct store_outbox_row *row, const char *expected)
{
	const char *text;
	size_t len;

	assert_good(fx, store_outbox_text(row, fx->arena, &text, &len, &fx->err));
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(text, expected, len);
	assert_int_equal(row->bytes, len);
}

static void events_are_packed_together(void **state)
{
	struct fixture *fx = *state;
	const char *text = lines(fx, true);
	struct store_outbox_row *rows;
	size_t count;

	if (!frame_available())
		return;
	fx->options.packed = true;
	fixture_reopen(fx);
	emit(fx, 1, text, strlen(text), 100);
	rows = read_rows(fx, NULL, 0, 10, 1000, &count);
	assert_int_equal(count, 1);
	assert_true(rows[0].packed);
	assert_in_range(rows[0].payload_len, 1, strlen(text) / 5);
	assert_int_equal(rows[0].events, 100);
	assert_text(fx, &rows[0], text);
	/* Limits go by what is in them. */
	assert_int_equal(fixture_total(fx, fx->queue, "waiting_bytes"), (int64_t)strlen(text));
	emit(fx, 1, text, strlen(text), 100);
	read_rows(fx, NULL, 0, 10, strlen(text), &count);
	assert_int_equal(count, 1);
	read_rows(fx, NULL, 0, 10, strlen(text) + 1, &count);
	assert_int_equal(count, 2);
	/* Who does not pack reads it, too. */
	fx->options.packed = false;
	fixture_reopen(fx);
	rows = read_rows(fx, NULL, 0, 10, PLENTY, &count);
	assert_text(fx, &rows[1], text);
}

/* One event is for anybody to read; what is small, or does not get smaller, is no use. */
static void not_everything_is_packed(void **state)
{
	struct fixture *fx = *state;
	const char *one = arena_printf(fx->arena, "{\"long\":\"%02000d\"}", 0), *small = "{\"n\":1}\n{\"n\":1}";
	struct store_outbox_row *rows;
	size_t count;

	if (!frame_available())
		return;
	fx->options.packed = true;
	fx->options.outbox_row_events = 3;
	fixture_reopen(fx);
	emit(fx, 1, one, strlen(one), 1);
	emit(fx, 1, small, strlen(small), 2);
	rows = read_rows(fx, NULL, 0, 10, PLENTY, &count);
	assert_int_equal(count, 2);
	assert_false(rows[0].packed || rows[1].packed);
	assert_text(fx, &rows[0], one);
	assert_text(fx, &rows[1], small);
	fx->options.outbox_row_events = 500;
	fixture_reopen(fx);
	one = lines(fx, false);
	emit(fx, 1, one, strlen(one), 100);
	rows = read_rows(fx, NULL, 0, 10, PLENTY, &count);
	assert_int_equal(count, 3);
	assert_false(rows[2].packed);
	assert_text(fx, &rows[2], one);
}

static void damaged_rows_are_told(void **state)
{
	struct fixture *fx = *state;
	const char *whole = lines(fx, true), *text;
	struct store_outbox_row *rows, cut;
	size_t count, len;

	if (!frame_available())
		return;
	fx->options.packed = true;
	fixture_reopen(fx);
	emit(fx, 1, whole, strlen(whole), 100);
	rows = read_rows(fx, NULL, 0, 10, PLENTY, &count);
	assert_int_equal(count, 1);
	cut = rows[0];
	cut.payload_len--;
	assert_int_equal(store_outbox_text(&cut, fx->arena, &text, &len, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_CONTENT);
	assert_int_equal(len, 2 * cut.payload_len);
	assert_memory_equal(text, "04224d18", 8);
	cut = rows[0];
	cut.bytes--;
	assert_int_equal(store_outbox_text(&cut, fx->arena, &text, &len, &fx->err), -1);
}

static void outbox_read_passes_over_and_stops(void **state)
{
	struct fixture *fx = *state;
	struct store_outbox_row *rows;
	int64_t skip[2];
	size_t count, i;

	for (i = 0; i < 5; i++)
		emit(fx, 1, "{\"n\":1}", 7, 1);
	rows = read_rows(fx, NULL, 0, 10, 1000, &count);
	assert_int_equal(count, 5);
	for (i = 1; i < 5; i++)
		assert_true(rows[i].id > rows[i - 1].id);
	skip[0] = rows[3].id;
	skip[1] = rows[0].id;
	rows = read_rows(fx, skip, 2, 2, 1000, &count);
	assert_int_equal(count, 2);
	assert_true(rows[0].id > skip[1] && rows[0].id < rows[1].id && rows[1].id < skip[0]);
	read_rows(fx, NULL, 0, 10, 14, &count);
	assert_int_equal(count, 2);
	read_rows(fx, NULL, 0, 10, 1, &count);
	assert_int_equal(count, 1);
}

static void deleting_outbox_rows_keeps_the_total(void **state)
{
	struct fixture *fx = *state;
	struct store_outbox_row *rows;
	int64_t ids[3], bytes_before, bytes_after, last;
	size_t count;

	emit(fx, 1, "{\"n\":1}", 7, 1);
	emit(fx, 1, "{\"n\":1}", 7, 1);
	rows = read_rows(fx, NULL, 0, 10, 1000, &count);
	assert_good(fx, store_sync_outbox_last(fx->sync, &last, &fx->err));
	assert_true(last >= rows[1].id);
	assert_good(fx, store_sync_outbox_bytes(fx->sync, &bytes_before, &fx->err));
	ids[0] = ids[1] = rows[0].id; /* the second is gone already */
	ids[2] = INT64_MAX;
	assert_good(fx, store_sync_outbox_delete(fx->sync, ids, 3, &fx->err));
	assert_good(fx, store_sync_outbox_bytes(fx->sync, &bytes_after, &fx->err));
	assert_int_equal(bytes_before - bytes_after, 7);
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 2);
	assert_int_equal(fixture_total(fx, fx->queue, "waiting_rows"), 1);
	assert_int_equal(fixture_total(fx, fx->queue, "waiting_events"), 1);
	read_rows(fx, NULL, 0, 10, 1000, &count);
	assert_int_equal(count, 1);
}

/* --- lists --- */

static size_t list_count(struct fixture *fx, const struct store_task_filter *filter, int64_t *first_id_r)
{
	struct json_doc *doc;
	struct buf out;
	size_t count;

	buf_init(&out);
	assert_good(fx, store_sync_task_list(fx->sync, filter, &out, &fx->err));
	doc = json_parse(out.data, out.len, &fx->err);
	assert_non_null(doc);
	count = json_count(json_root(doc));
	if (count > 0)
		assert_true(json_int(json_at(json_root(doc), "0.id"), first_id_r));
	json_doc_free(&doc);
	buf_fini(&out);
	return count;
}

static void task_list_filters_and_pages(void **state)
{
	struct fixture *fx = *state;
	struct store_task_filter filter = {.flow = fx->flow, .limit = 10};
	struct store_commit commit;
	int64_t ids[3], first = 0;
	size_t i;

	for (i = 0; i < 3; i++)
		ids[i] = fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_FAIL);
	fixture_write(fx, &commit, 1);
	assert_int_equal(list_count(fx, &filter, &first), 3);
	assert_int_equal(first, ids[2]);
	filter.limit = 2;
	assert_int_equal(list_count(fx, &filter, &first), 2);
	filter.before_id = ids[1];
	assert_int_equal(list_count(fx, &filter, &first), 1);
	assert_int_equal(first, ids[0]);
	filter = (struct store_task_filter){.flow = fx->flow, .status = "FAILED", .limit = 10};
	assert_int_equal(list_count(fx, &filter, &first), 1);
	assert_int_equal(first, ids[0]);
	filter = (struct store_task_filter){.status = "PENDING", .limit = 2};
	assert_int_equal(list_count(fx, &filter, &first), 2);
}

static void missing_task_is_not_found(void **state)
{
	struct fixture *fx = *state;
	struct buf out;

	buf_init(&out);
	assert_int_equal(store_sync_task_get(fx->sync, INT64_MAX, &out, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_NOT_FOUND);
	buf_fini(&out);
}

static const struct store_depth *depth_of(struct fixture *fx, bool ready)
{
	struct store_depth *rows;
	size_t count, i;

	if (ready)
		assert_good(fx, store_sync_ready(fx->sync, fx->arena, &rows, &count, &fx->err));
	else
		assert_good(fx, store_sync_depths(fx->sync, fx->arena, &rows, &count, &fx->err));
	for (i = 0; i < count; i++)
		if (strcmp(rows[i].name, fx->flow) == 0)
			return &rows[i];
	return NULL;
}

static void depths_count_every_state(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task later = {
		.flow = fx->flow, .params = "{}", .priority = 1, .run_after_ms = INT64_MAX / 2};
	const struct store_depth *depth;
	struct store_commit commit;
	struct store_depth progress;
	struct task_row *row;
	int64_t ids[8] = {[7] = INT64_MAX};
	size_t i;

	assert_null(depth_of(fx, true));
	for (i = 0; i < 6; i++)
		ids[i] = fixture_submit(fx, 1);
	assert_good(fx, store_sync_submit(fx->sync, &later, 1, &ids[6], &fx->err));
	for (i = 0; i < 3; i++) {
		row = fixture_claim(fx);
		commit = fixture_commit(row, i == 0 ? STORE_FAIL : STORE_COMPLETE);
		if (i < 2)
			fixture_write(fx, &commit, 1);
	}
	depth = depth_of(fx, false);
	assert_non_null(depth);
	assert_int_equal(depth->pending, 3);
	assert_int_equal(depth->scheduled, 1);
	assert_int_equal(depth->processing, 1);
	assert_int_equal(depth->complete, 1);
	assert_int_equal(depth->failed, 1);
	/* The same of given tasks; one that is not there counts nowhere. */
	assert_good(fx, store_sync_progress(fx->sync, ids, 8, &progress, &fx->err));
	assert_int_equal(progress.pending, 3);
	assert_int_equal(progress.scheduled, 1);
	assert_int_equal(progress.processing, 1);
	assert_int_equal(progress.complete, 1);
	assert_int_equal(progress.failed, 1);
	assert_good(fx, store_sync_progress(fx->sync, ids, 0, &progress, &fx->err));
	assert_int_equal(progress.pending + progress.processing + progress.complete + progress.failed, 0);
	depth = depth_of(fx, true);
	assert_int_equal(depth->pending, 3);
	assert_int_equal(depth->alone, 0);
}

/* --- tables of plugins --- */

static void tables_are_widened_but_not_changed(void **state)
{
	struct fixture *fx = *state;
	struct store_column columns[3] = {{"a", STORE_TEXT, STORE_KEEP, true},
					  {"b", STORE_BIGINT, STORE_KEEP, true},
					  {"c", STORE_JSON, STORE_KEEP, true}};
	char name[60];
	struct store_table table = {name, "the_key", false, columns, 2, NULL, 0};
	const struct store_table *const tables[] = {&table};
	struct store *store = store_sync_store(fx->sync);

	snprintf(name, sizeof(name), "t_%s", fx->flow);
	assert_good(fx, store_ensure_tables(store, tables, 1, &fx->err));
	assert_good(fx, store_ensure_tables(store, tables, 1, &fx->err));
	table.column_count = 3;
	assert_good(fx, store_ensure_tables(store, tables, 1, &fx->err));
	columns[1].type = STORE_TEXT;
	assert_int_equal(store_ensure_tables(store, tables, 1, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, "BIGINT"));
	assert_non_null(strstr(fx->err.text, "TEXT"));
	assert_non_null(strstr(fx->err.text, name));
	for (size_t i = 0; i < 2; i++) {
		table.name = i == 0 ? "outbox" : "relay_shard";
		assert_int_equal(store_ensure_tables(store, tables, 1, &fx->err), -1);
		assert_int_equal(fx->err.code, ERR_INPUT);
		assert_non_null(strstr(fx->err.text, "the task store's own"));
	}
}

/* --- requests --- */

struct many {
	size_t answers, cancelled;
};

static void on_ids(void *user, const int64_t *ids, size_t count, const struct error *err)
{
	struct many *many = user;

	(void)ids;
	many->answers++;
	many->cancelled += err->code == ERR_CANCELLED && count == 0;
}

static void queued_requests_share_transactions(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task task = {.flow = fx->flow, .params = "{}", .priority = 1};
	struct store *store = store_sync_store(fx->sync);
	struct store_stats before, after;
	struct many many = {0, 0};
	size_t i;

	store_stats(store, &before);
	for (i = 0; i < 500; i++)
		store_submit(store, &task, 1, on_ids, &many);
	while (many.answers < 500)
		loop_run_once(store_sync_loop(fx->sync), 1000);
	store_stats(store, &after);
	assert_int_equal(after.requests - before.requests, 500);
	assert_int_equal(after.grouped - before.grouped, 500);
	assert_true(after.transactions - before.transactions < 400);
	assert_int_equal(depth_of(fx, false)->pending, 500);
}

static void closing_answers_everything(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task task = {.flow = fx->flow, .params = "{}", .priority = 1};
	struct many many = {0, 0};
	const struct store_depth *depth;
	size_t i;

	for (i = 0; i < 300; i++)
		store_submit(store_sync_store(fx->sync), &task, 1, on_ids, &many);
	store_sync_close(&fx->sync);
	assert_int_equal(many.answers, 300);
	fx->sync = fixture_open(fx);
	depth = depth_of(fx, false);
	assert_int_equal(depth != NULL ? depth->pending : 0, 300 - many.cancelled);
}

static const struct CMUnitTest cases[] = {
	CASE(values_come_back_with_their_types),
	CASE(column_rules),
	CASE(stamps_are_kept),
	CASE(group_is_merged_by_the_rules),
	CASE(many_rows_in_one_commit),
	CASE(append_only_rows_are_never_merged),
	CASE(bad_data_refuses_its_task_alone),
	CASE(row_without_key_is_refused),
	CASE(outbox_of_a_group_is_one_row),
	CASE(outbox_rows_are_cut),
	CASE(nul_in_payload_is_replaced),
	CASE(events_are_packed_together),
	CASE(not_everything_is_packed),
	CASE(damaged_rows_are_told),
	CASE(outbox_read_passes_over_and_stops),
	CASE(deleting_outbox_rows_keeps_the_total),
	CASE(task_list_filters_and_pages),
	CASE(missing_task_is_not_found),
	CASE(depths_count_every_state),
	CASE(tables_are_widened_but_not_changed),
	CASE(queued_requests_share_transactions),
	CASE(closing_answers_everything),
};

int store_run_commit_cases(void)
{
	return cmocka_run_group_tests(cases, NULL, NULL);
}
