/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: dead letters are kept once, read, sent again and deleted. */
#include "store_fixture.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store_cases.h"

#define FIRST_MS 1700000000123
#define FIRST_AT "2023-11-14 22:13:20.123"

static struct store_dead letter_of(struct fixture *fx, const char *payload, const char *dedup_id)
{
	return (struct store_dead){.queue = fx->queue, .payload = payload, .payload_len = strlen(payload),
				   .reason = "no column", .code = "column", .dedup_id = dedup_id};
}

/* Parks letters of these payloads, dedup_id "id-PAYLOAD" each. */
static void park(struct fixture *fx, const char *const *payloads, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct store_dead letter =
			letter_of(fx, payloads[i], arena_printf(fx->arena, "id-%s", payloads[i]));

		assert_good(fx, store_sync_dead_letter(fx->sync, &letter, 1, &fx->err));
	}
}

static struct store_letter *read_letters(struct fixture *fx, struct store_letter_filter filter, size_t expected)
{
	struct store_letter *rows;
	size_t count;

	filter.queue = filter.queue != NULL ? filter.queue : fx->queue;
	filter.limit = filter.limit > 0 ? filter.limit : 100;
	assert_good(fx, store_sync_dead_read(fx->sync, &filter, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, expected);
	return rows;
}

static struct store_letter *all_letters(struct fixture *fx, size_t expected)
{
	return read_letters(fx, (struct store_letter_filter){.payload = true}, expected);
}

static struct store_outbox_row *outbox(struct fixture *fx, size_t expected)
{
	struct store_outbox_row *rows;
	size_t count;

	assert_good(fx, store_sync_outbox_read(fx->sync, fx->queue, NULL, 0, 100, 1 << 20, fx->arena, &rows, &count,
					       &fx->err));
	assert_int_equal(count, expected);
	return rows;
}

static void repeats_are_counted(void **state)
{
	struct fixture *fx = *state;
	struct store_dead letters[3] = {
		letter_of(fx, "", "id-1"), letter_of(fx, "{}", NULL), letter_of(fx, "{}", NULL)
	};
	struct json_doc *doc;
	struct buf out;

	letters[0].payload = "{\"a\":\0}";
	letters[0].payload_len = 7;
	letters[2].reason = "no column still";
	assert_good(fx, store_sync_dead_letter(fx->sync, letters, 3, &fx->err));
	assert_good(fx, store_sync_dead_letter(fx->sync, letters, 1, &fx->err));
	buf_init(&out);
	assert_good(fx, store_sync_dead_list(fx->sync, fx->queue, 10, &out, &fx->err));
	doc = json_parse(out.data, out.len, &fx->err);
	assert_non_null(doc);
	assert_int_equal(json_count(json_root(doc)), 2);
	assert_json(json_root(doc), "0.code", "\"column\"");
	assert_json(json_root(doc), "0.count", "2");
	assert_json(json_root(doc), "0.reason", "\"no column still\"");
	assert_json(json_root(doc), "1.count", "2");
	assert_json(json_root(doc), "1.dedup_id", "\"id-1\"");
	assert_json(json_root(doc), "1.payload", "\"{\\\"a\\\":\xef\xbf\xbd}\"");
	json_doc_free(&doc);
	buf_fini(&out);
}

/* First stays, the count goes on, and a repeat that crosses the letter's way back counts once. */
static void history_goes_on(void **state)
{
	struct fixture *fx = *state;
	struct store_dead letter = letter_of(fx, "{}", "a");
	struct store_letter *row;

	letter.first_ms = FIRST_MS;
	letter.count = 4;
	assert_good(fx, store_sync_dead_letter(fx->sync, &letter, 1, &fx->err));
	row = all_letters(fx, 1);
	assert_int_equal(row->count, 5);
	assert_string_equal(row->first_at, FIRST_AT);
	assert_true(strcmp(row->last_at, row->first_at) > 0);
	assert_good(fx, store_sync_dead_letter(fx->sync, &letter, 1, &fx->err));
	assert_int_equal(all_letters(fx, 1)->count, 6);

	letter = letter_of(fx, "{}", "b");
	assert_good(fx, store_sync_dead_letter(fx->sync, &letter, 1, &fx->err));
	letter.first_ms = FIRST_MS;
	letter.count = 4;
	assert_good(fx, store_sync_dead_letter(fx->sync, &letter, 1, &fx->err));
	row = &all_letters(fx, 2)[1];
	assert_int_equal(row->count, 5);
	assert_string_equal(row->first_at, FIRST_AT);
}

static void letters_are_read_in_order(void **state)
{
	static const char *const payloads[] = {"{\"n\":0}", "{\"n\":1}", "{\"n\":\"\xc3\xa4\"}"};
	struct fixture *fx = *state;
	struct store_letter *rows, *some;
	int64_t ids[4];

	park(fx, payloads, 3);
	rows = all_letters(fx, 3);
	assert_string_equal(rows[0].payload, payloads[0]);
	assert_string_equal(rows[2].payload, payloads[2]);
	assert_int_equal(rows[2].payload_len, strlen(payloads[2]));
	assert_string_equal(rows[1].dedup_id, "id-{\"n\":1}");
	assert_string_equal(rows[1].queue, fx->queue);
	assert_string_equal(rows[1].reason, "no column");
	assert_string_equal(rows[1].code, "column");
	assert_string_equal(rows[1].first_at, rows[1].last_at);
	assert_int_equal(rows[1].count, 1);
	assert_true(rows[0].id < rows[1].id && rows[1].id < rows[2].id);

	some = read_letters(fx, (struct store_letter_filter){.limit = 2}, 2);
	assert_null(some[0].payload);
	assert_int_equal(some[0].payload_len, strlen(payloads[0]));
	some = read_letters(fx, (struct store_letter_filter){.after_id = rows[0].id, .limit = 2}, 2);
	assert_int_equal(some[1].id, rows[2].id);
	read_letters(fx, (struct store_letter_filter){.queue = fx->status_queue}, 0);
	ids[0] = rows[2].id;
	ids[1] = rows[2].id + 1000;
	ids[2] = ids[3] = rows[0].id;
	some = read_letters(fx, (struct store_letter_filter){.ids = ids, .id_count = 4}, 2);
	assert_int_equal(some[0].id, rows[0].id);
	read_letters(fx, (struct store_letter_filter){.ids = ids, .id_count = 4, .after_id = rows[0].id}, 1);
	read_letters(fx, (struct store_letter_filter){.ids = ids, .id_count = 4, .queue = fx->status_queue}, 0);
}

static void replay_puts_a_row_back(void **state)
{
	static const char *const payloads[] = {"{\"n\":0}", "{\"n\":\n1}", "{\"n\":2}"};
	struct fixture *fx = *state;
	struct store_outbox_row *waiting;
	struct store_letter *rows;
	struct json_doc *headers;
	int64_t ids[3], count, bytes, bytes_after;

	park(fx, payloads, 3);
	rows = all_letters(fx, 3);
	ids[0] = rows[0].id;
	ids[1] = rows[1].id;
	ids[2] = rows[2].id + 1000;
	assert_good(fx, store_sync_outbox_bytes(fx->sync, &bytes, &fx->err));
	assert_good(fx, store_sync_dead_replay(fx->sync, ids, 3, &count, &fx->err));
	assert_int_equal(count, 2);
	assert_int_equal(all_letters(fx, 1)->id, rows[2].id);
	waiting = outbox(fx, 2);
	assert_string_equal(waiting[0].payload, payloads[0]);
	assert_string_equal(waiting[1].payload, payloads[1]);
	assert_int_equal(waiting[1].payload_len, strlen(payloads[1]));
	assert_int_equal(waiting[1].events, 1);
	headers = json_parse(waiting[1].headers, strlen(waiting[1].headers), &fx->err);
	assert_non_null(headers);
	assert_json(json_root(headers), "x-sluice-id", "\"id-{\\\"n\\\":\\n1}\"");
	assert_json(json_root(headers), "x-sluice-first", arena_printf(fx->arena, "\"%s\"", rows[1].first_at));
	assert_json(json_root(headers), "x-sluice-count", "1");
	json_doc_free(&headers);
	/* They were counted when they were committed. */
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 0);
	assert_int_equal(fixture_total(fx, fx->queue, "waiting_rows"), 2);
	assert_int_equal(fixture_total(fx, fx->queue, "waiting_events"), 2);

	assert_good(fx, store_sync_dead_replay(fx->sync, ids, 3, &count, &fx->err));
	assert_int_equal(count, 0);
	ids[0] = waiting[0].id;
	ids[1] = waiting[1].id;
	assert_good(fx, store_sync_outbox_delete(fx->sync, ids, 2, &fx->err));
	assert_good(fx, store_sync_outbox_bytes(fx->sync, &bytes_after, &fx->err));
	assert_int_equal(bytes_after, bytes);
	assert_int_equal(fixture_total(fx, fx->queue, "waiting_rows"), 0);
}

static void ordinary_rows_have_no_headers(void **state)
{
	struct fixture *fx = *state;
	struct store_outbox out = {fx->queue, "{\"n\":0}", 7, 1};

	fixture_emit(fx, &out, 1);
	assert_null(outbox(fx, 1)->headers);
}

static void dropped_letters_are_gone(void **state)
{
	static const char *const payloads[] = {"{\"n\":0}", "{\"n\":1}"};
	struct fixture *fx = *state;
	struct store_letter *rows;
	int64_t count, kept;

	park(fx, payloads, 2);
	rows = all_letters(fx, 2);
	kept = rows[1].id;
	assert_good(fx, store_sync_dead_drop(fx->sync, &rows[0].id, 1, &count, &fx->err));
	assert_int_equal(count, 1);
	assert_good(fx, store_sync_dead_drop(fx->sync, &rows[0].id, 1, &count, &fx->err));
	assert_int_equal(count, 0);
	assert_int_equal(all_letters(fx, 1)->id, kept);
	outbox(fx, 0);
}

static const struct CMUnitTest store_letter_cases[] = {
	CASE(repeats_are_counted),
	CASE(history_goes_on),
	CASE(letters_are_read_in_order),
	CASE(replay_puts_a_row_back),
	CASE(ordinary_rows_have_no_headers),
	CASE(dropped_letters_are_gone),
};

int store_run_letter_cases(void)
{
	return cmocka_run_group_tests(store_letter_cases, NULL, NULL);
}
