/* SPDX-License-Identifier: Apache-2.0 */
/* What the store's contract tests share. */
#include "store_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

static const struct store_column columns[COLUMNS] = {
	[COL_KEPT] = {"kept", STORE_TEXT, STORE_KEEP, true},
	[COL_OVERWRITTEN] = {"overwritten", STORE_TEXT, STORE_OVERWRITE, true},
	[COL_ONCE] = {"once", STORE_TEXT, STORE_ONCE, true},
	[COL_COUNT] = {"followers", STORE_BIGINT, STORE_KEEP, true},
	[COL_RATIO] = {"ratio", STORE_DOUBLE, STORE_KEEP, true},
	[COL_FLAG] = {"flag", STORE_BOOLEAN, STORE_KEEP, true},
	[COL_JSON] = {"detail", STORE_JSON, STORE_KEEP, true},
	[COL_TIME] = {"published_at", STORE_TIMESTAMP, STORE_KEEP, true},
	[COL_TAGS] = {"tags", STORE_TEXT_ARRAY, STORE_KEEP, true},
};
static const char *const indexes[] = {"kept"};
const struct store_table fixture_table = {
	"contract_profile", "profile_id", true, columns, COLUMNS, indexes, 1};

static const struct store_column log_columns[] = {
	{"actor", STORE_TEXT, STORE_OVERWRITE, true},
	{"unwritten", STORE_TEXT, STORE_OVERWRITE, false},
};
const struct store_table fixture_log = {"contract_log", NULL, false, log_columns, 2, NULL, 0};

static char directory[200];

static void make_url(struct fixture *fx, int number)
{
	const char *url = getenv("SLUICE_TEST_STORE");

	if (url != NULL) {
		str_format(fx->url, sizeof(fx->url), "%s", url);
		return;
	}
	if (directory[0] == '\0') {
		const char *tmp = getenv("TMPDIR");

		str_format(directory, sizeof(directory), "%s/sluice-store-XXXXXX",
			   tmp != NULL ? tmp : "/tmp");
		assert_non_null(mkdtemp(directory));
	}
	str_format(fx->url, sizeof(fx->url), "sqlite:%s/%d.db", directory, number);
}

struct store_sync *fixture_open(struct fixture *fx)
{
	const struct store_table *const tables[] = {&fixture_table, &fixture_log};
	struct store_sync *sync = store_sync_open(fx->url, &fx->options, true, &fx->err);

	if (sync == NULL)
		fail_msg("%s: %s", fx->url, fx->err.text);
	assert_good(fx, store_ensure_tables(store_sync_store(sync), tables, 2, &fx->err));
	return sync;
}

void fixture_reopen(struct fixture *fx)
{
	store_sync_close(&fx->sync);
	fx->sync = fixture_open(fx);
}

int fixture_setup(void **state)
{
	static int number;
	struct fixture *fx = mem_alloc(sizeof(*fx));

	number++;
	make_url(fx, number);
	str_format(fx->flow, sizeof(fx->flow), "flow_%d_%d", (int)getpid(), number);
	str_format(fx->other_flow, sizeof(fx->other_flow), "other_%d_%d", (int)getpid(), number);
	str_format(fx->queue, sizeof(fx->queue), "queue_%d_%d", (int)getpid(), number);
	str_format(fx->status_queue, sizeof(fx->status_queue), "status_%d_%d", (int)getpid(), number);
	fx->options.status_queues = fx->status_queue;
	fx->arena = arena_new();
	fx->sync = fixture_open(fx);
	*state = fx;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *fx = *state;
	const char *suffixes[] = {"", "-wal", "-shm"};
	char path[320];
	size_t i;

	json_doc_free(&fx->doc);
	store_sync_close(&fx->sync);
	for (i = 0; i < 3 && directory[0] != '\0'; i++) {
		str_format(path, sizeof(path), "%s%s", strchr(fx->url, ':') + 1, suffixes[i]);
		unlink(path);
	}
	if (directory[0] != '\0')
		rmdir(directory) == 0 ? directory[0] = '\0' : 0;
	arena_free(&fx->arena);
	mem_free(&fx);
	return 0;
}

int64_t fixture_submit(struct fixture *fx, int priority)
{
	struct store_new_task task = {.flow = fx->flow,
				      .platform = "INSTAGRAM",
				      .params = "{\"handle\":\"abc\"}",
				      .priority = priority,
				      .max_attempts = 3};
	int64_t id;

	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	return id;
}

struct task_row *fixture_claim_from(struct fixture *fx, struct store_sync *sync, size_t slots,
				    int64_t lease_ms, bool alone, size_t *count_r)
{
	const char *flows[] = {fx->flow};
	struct store_claim claim = {.flows = flows,
				    .slots = &slots,
				    .flow_count = 1,
				    .worker = "test/1",
				    .lease_ms = lease_ms,
				    .alone_allowed = alone};
	struct task_row *rows;

	assert_good(fx, store_sync_claim(sync, &claim, fx->arena, &rows, count_r, &fx->err));
	return rows;
}

struct task_row *fixture_claim(struct fixture *fx)
{
	size_t count;
	struct task_row *row = fixture_claim_from(fx, fx->sync, 1, 60000, false, &count);

	assert_int_equal(count, 1);
	return row;
}

struct store_commit fixture_commit(const struct task_row *row, enum store_end end)
{
	struct store_commit commit = {.task_id = row->id,
				      .lease_token = row->lease_token,
				      .commit_seq = row->commit_seq,
				      .end = end,
				      .data = "null"};

	if (end == STORE_SLICE)
		commit.lease_until_ms = clock_wall_ms() + 60000;
	return commit;
}

const char **fixture_values(struct fixture *fx)
{
	return arena_alloc(fx->arena, COLUMNS * sizeof(const char *));
}

void fixture_write(struct fixture *fx, struct store_commit *group, size_t count)
{
	size_t i;

	assert_good(fx, store_sync_commit(fx->sync, group, count, &fx->err));
	for (i = 0; i < count; i++)
		if (group[i].outcome != STORE_COMMITTED)
			fail_msg("member %zu: outcome %d: %s", i, (int)group[i].outcome, group[i].error.text);
}

void fixture_emit(struct fixture *fx, const struct store_outbox *rows, size_t count)
{
	struct store_commit commit;

	fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	commit.outbox = rows;
	commit.outbox_count = count;
	fixture_write(fx, &commit, 1);
}

int64_t fixture_rescue(struct fixture *fx)
{
	int64_t count;

	usleep(20000);
	assert_good(fx, store_sync_rescue(fx->sync, &count, &fx->err));
	return count;
}

static const struct json *parse(struct fixture *fx, struct buf *out)
{
	json_doc_free(&fx->doc);
	fx->doc = json_parse(out->data, out->len, &fx->err);
	if (fx->doc == NULL)
		fail_msg("%s: %s", fx->err.text, out->data);
	buf_fini(out);
	return json_root(fx->doc);
}

const struct json *fixture_task(struct fixture *fx, int64_t id)
{
	struct buf out;

	buf_init(&out);
	assert_good(fx, store_sync_task_get(fx->sync, id, &out, &fx->err));
	return parse(fx, &out);
}

const struct json *fixture_row(struct fixture *fx, const char *key)
{
	struct buf out;

	buf_init(&out);
	assert_good(fx, store_sync_lookup(fx->sync, &fixture_table, "profile_id", key, 10, &out, &fx->err));
	return json_at(parse(fx, &out), "0");
}

size_t fixture_row_count(struct fixture *fx, const struct store_table *table, const char *column,
			 const char *value)
{
	struct buf out;

	buf_init(&out);
	assert_good(fx, store_sync_lookup(fx->sync, table, column, value, 1000, &out, &fx->err));
	return json_count(parse(fx, &out));
}

int64_t fixture_total(struct fixture *fx, const char *queue, const char *member)
{
	const struct json *row;
	struct buf out;
	int64_t value = 0;

	buf_init(&out);
	assert_good(fx, store_sync_outbox_totals(fx->sync, &out, &fx->err));
	for (row = json_first(parse(fx, &out)); row != NULL; row = json_next(row))
		if (str_eq(json_string(json_at(row, "queue"), NULL), queue))
			assert_true(json_int(json_at(row, member), &value));
	return value;
}

const struct json *fixture_events(struct fixture *fx, const char *queue)
{
	struct store_outbox_row *rows;
	struct buf out;
	size_t count, i, j;

	assert_good(fx, store_sync_outbox_read(fx->sync, queue, NULL, 0, 1000, 1 << 30, fx->arena, &rows,
					       &count, &fx->err));
	buf_init(&out);
	buf_addc(&out, '[');
	for (i = 0; i < count; i++) {
		if (i > 0)
			buf_addc(&out, ',');
		for (j = 0; j < rows[i].payload_len; j++)
			buf_addc(&out, rows[i].payload[j] == '\n' ? ',' : rows[i].payload[j]);
	}
	buf_addc(&out, ']');
	return parse(fx, &out);
}

void assert_json(const struct json *value, const char *path, const char *expected)
{
	const struct json *found = json_at(value, path);
	struct buf text;

	buf_init(&text);
	json_print(found, &text);
	if (strcmp(text.data, expected) != 0)
		fail_msg("%s is %s, not %s", path, text.data, expected);
	buf_fini(&text);
}
