/* SPDX-License-Identifier: Apache-2.0 */
/* The task store's front: finds the driver, checks the arguments, counts. Loop thread of the owner. */
#include "store/driver.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/scheme.h"
#include "base/str.h"
#include "base/uuid.h"
#include "pack/frame.h"

#define STORE_CHECK(store) assert((store) != NULL && (store)->magic == STORE_MAGIC)

static const struct driver {
	const char *scheme;
	const struct store_ops *ops;
} drivers[] = {
	{"sqlite", &store_sqlite_ops},
#ifdef HAVE_POSTGRESQL
	{"postgresql", &store_postgres_ops},
	{"postgres", &store_postgres_ops},
#endif
};
#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))

const char *task_status_name(enum task_status status)
{
	static const char *const names[] = {"PENDING", "PROCESSING", "COMPLETE", "FAILED"};

	assert((unsigned int)status < 4);
	return names[status];
}

enum task_status task_status_from(const char *name)
{
	int status;

	for (status = TASK_PENDING; status < TASK_FAILED; status++)
		if (str_eq(name, task_status_name((enum task_status)status)))
			return (enum task_status)status;
	return TASK_FAILED;
}

int store_check_version(int64_t version, int64_t newest, bool create, struct error *err)
{
	if (version > newest)
		return error_set(err, ERR_INPUT,
				 "the task store's schema is version %" PRId64 ", newer than the %" PRId64
				 " this program knows: use a newer program",
				 version, newest);
	if (version < newest && !create)
		return error_set(
			err, ERR_INPUT,
			"the task store's schema is version %" PRId64 ", this program needs %" PRId64
			": run 'sluicectl schema apply', or start sluiced once, to bring it up to date",
			version, newest);
	return 0;
}

int store_check_table_name(const char *name, struct error *err)
{
	static const char *const own[] = {"scrape_request_log", "outbox",     "outbox_total",
					  "dead_letter",        "store_meta", "schema_migration",
					  "task_total",         "flow_total", "hold", "relay", "relay_shard", "schedule",
					  "credential", "task_failure", "source_state"};
	size_t i;

	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(name, own[i]) == 0)
			return error_set(err, ERR_INPUT, "table %s is the task store's own", name);
	return 0;
}

struct store_depth *store_depth_of(struct arena *arena, struct store_depth **rows, size_t *count,
				   const char *flow)
{
	struct store_depth *row;
	size_t i;

	for (i = 0; i < *count; i++)
		if (strcmp((*rows)[i].name, flow) == 0)
			return &(*rows)[i];
	*rows = arena_grow(arena, *rows, *count, sizeof(**rows));
	row = &(*rows)[(*count)++];
	row->name = arena_strdup(arena, flow);
	return row;
}

void store_row_payload(struct store_outbox_row *row, char *text, size_t len)
{
	char *end = len > 0 && text[0] == STORE_HEADERS_MARK[0] ? memchr(text, '\n', len) : NULL;

	row->headers = NULL;
	row->packed = false;
	row->payload = text;
	row->payload_len = row->bytes = len;
	if (end == NULL)
		return;
	*end = '\0';
	row->headers = text + 1;
	row->payload = end + 1;
	row->payload_len = row->bytes = len - (size_t)(end + 1 - text);
}

void store_row_packed(struct store_outbox_row *row, const char *frames, size_t len, int64_t bytes)
{
	row->headers = NULL;
	row->packed = true;
	row->payload = frames;
	row->payload_len = len;
	row->bytes = bytes > 0 ? (size_t)bytes : 0;
}

int store_outbox_text(const struct store_outbox_row *row, struct arena *arena, const char **text_r, size_t *len_r,
		      struct error *err)
{
	struct buf text;
	bool good;

	if (!row->packed) {
		*text_r = row->payload;
		*len_r = row->payload_len;
		return 0;
	}
	buf_init(&text);
	good = frame_unpack(&text, row->payload, row->payload_len, row->bytes + 1, err) == 0;
	if (good) {
		*len_r = text.len > 0 ? text.len - 1 : 0;	/* without the newline of the last event */
		*text_r = arena_strndup(arena, text.len > 0 ? text.data : "", *len_r);
	} else {
		*len_r = 2 * row->payload_len;
		*text_r = hex_text(arena_alloc(arena, *len_r + 1), row->payload, row->payload_len);
	}
	buf_fini(&text);
	return good ? 0 : -1;
}

const char *store_failure_text(char out[STORE_FAILURE_TEXT], const char *data)
{
	size_t len = data != NULL ? strlen(data) : 0, used = 0;

	while (used < len) {
		int step = str_utf8_step(data + used, len - used);

		/* What is not UTF-8 ends it as well: no server would take it. */
		if (step < 0 || used + (size_t)step >= STORE_FAILURE_TEXT)
			break;
		used += (size_t)step;
	}
	if (used > 0)
		memcpy(out, data, used);
	out[used] = '\0';
	return out;
}

static const struct store_ops *find_driver(const char *url, struct error *err)
{
	const struct driver *driver = scheme_find(drivers, DRIVERS, sizeof(drivers[0]), url, "task store", err);

	return driver != NULL ? driver->ops : NULL;
}

int store_check_url(const char *url, struct error *err)
{
	const struct store_ops *ops = find_driver(url, err);

	if (ops == NULL)
		return -1;
	return ops->check != NULL ? ops->check(scheme_rest(url), err) : 0;
}

static void fill_in(struct store_options *options)
{
	if (options->busy_ms == 0)
		options->busy_ms = 30000;
	if (options->crash_limit == 0)
		options->crash_limit = 20;
	if (options->outbox_row_bytes == 0)
		options->outbox_row_bytes = 256 * 1024;
	if (options->outbox_row_events == 0)
		options->outbox_row_events = 500;
}

struct store *store_open(struct loop *loop, const char *url, const struct store_options *options, bool create,
			 struct error *err)
{
	const struct store_ops *ops = find_driver(url, err);
	struct store base = {.magic = STORE_MAGIC, .ops = ops, .loop = loop};
	struct store *store;

	if (ops == NULL)
		return NULL;
	if (options != NULL)
		base.options = *options;
	fill_in(&base.options);
	if (base.options.status_queues != NULL)
		base.options.status_queues = mem_strdup(base.options.status_queues);
	store = ops->open(&base, strchr(url, ':') + 1, create, err);
	if (store == NULL)
		mem_release((void *)(uintptr_t)base.options.status_queues);
	return store;
}

void store_close(struct store **store)
{
	const char *status_queues;

	if (*store == NULL)
		return;
	STORE_CHECK(*store);
	status_queues = (*store)->options.status_queues;
	(*store)->ops->close(*store);
	mem_release((void *)(uintptr_t)status_queues);
	*store = NULL;
}

bool store_shared(const struct store *store)
{
	return store->ops->shared;
}

const char *store_id(const struct store *store)
{
	STORE_CHECK(store);
	return store->id;
}

void store_stats(const struct store *store, struct store_stats *stats_r)
{
	STORE_CHECK(store);
	*stats_r = store->stats;
}

void store_answered(struct store *store, const struct error *err)
{
	STORE_CHECK(store);
	assert(store->stats.pending > 0);
	store->stats.pending--;
	if (err->code != ERR_NONE)
		store->stats.errors++;
}

/* Every request passes here. Returns the driver's table. */
static const struct store_ops *request(struct store *store)
{
	STORE_CHECK(store);
	store->stats.requests++;
	store->stats.pending++;
	return store->ops;
}

int store_ensure_tables(struct store *store, const struct store_table *const *tables, size_t count,
			struct error *err)
{
	STORE_CHECK(store);
	return store->ops->ensure_tables(store, tables, count, err);
}

void store_submit(struct store *store, const struct store_new_task *tasks, size_t count, store_ids_fn *done,
		  void *user)
{
	size_t i;

	for (i = 0; i < count; i++)
		assert(tasks[i].flow != NULL && tasks[i].params != NULL && tasks[i].priority > 0);
	request(store)->submit(store, tasks, count, done, user);
}

void store_claim(struct store *store, struct store_claim *claim, store_claimed_fn *done, void *user)
{
	assert(claim->lease_ms > 0 && claim->worker != NULL);
	claim->alone_waiting = false;
	request(store)->claim(store, claim, done, user);
}

void store_commit(struct store *store, struct store_commit *group, size_t count, store_done_fn *done,
		  void *user)
{
	size_t i;

	for (i = 0; i < count; i++) {
		assert(group[i].task_id > 0 && group[i].lease_token != 0);
		assert(group[i].end != STORE_SLICE || group[i].lease_until_ms > 0);
		error_clear(&group[i].error);
	}
	request(store)->commit(store, group, count, done, user);
}

void store_extend(struct store *store, struct store_lease *leases, size_t count, int64_t lease_ms,
		  store_done_fn *done, void *user)
{
	assert(lease_ms > 0);
	request(store)->extend(store, leases, count, lease_ms, done, user);
}

void store_rescue(struct store *store, store_count_fn *done, void *user)
{
	request(store)->rescue(store, done, user);
}

void store_schedules(struct store *store, store_schedules_fn *done, void *user)
{
	request(store)->schedules(store, done, user);
}

void store_slot(struct store *store, const struct store_slot *step, store_schedules_fn *done, void *user)
{
	assert(step->schedule != NULL && step->spec != NULL && (step->count == 0 || !step->first));
	request(store)->slot(store, step, done, user);
}

void store_query(struct store *store, const char *sql, size_t max_rows, store_json_fn *done, void *user)
{
	request(store)->query(store, sql, max_rows, done, user);
}

void store_failures(struct store *store, const struct store_failure_filter *filter, store_failures_fn *done, void *user)
{
	request(store)->failures(store, filter, done, user);
}

void store_forget(struct store *store, const struct store_forget *forget, store_count_fn *done, void *user)
{
	request(store)->forget(store, forget, done, user);
}

void store_sweep(struct store *store, struct store_sweep *sweep, store_done_fn *done, void *user)
{
	request(store)->sweep(store, sweep, done, user);
}

void store_ready(struct store *store, store_depth_fn *done, void *user)
{
	request(store)->ready(store, done, user);
}

bool store_listen(struct store *store, store_hint_fn *fn, void *user)
{
	STORE_CHECK(store);
	if (store->ops->listen == NULL)
		return false;
	store->ops->listen(store, fn, user);
	return true;
}

void store_lookup(struct store *store, const struct store_table *table, const char *column, const char *value,
		  size_t limit, store_json_fn *done, void *user)
{
	assert(table != NULL && column != NULL && value != NULL);
	request(store)->lookup(store, table, column, value, limit, done, user);
}

void store_outbox_read(struct store *store, const char *queue, const int64_t *skip, size_t skip_count,
		       size_t max_rows, size_t max_bytes, store_outbox_fn *done, void *user)
{
	assert(queue != NULL && max_rows > 0);
	request(store)->outbox_read(store, queue, skip, skip_count, max_rows, max_bytes, done, user);
}

void store_outbox_last(struct store *store, store_count_fn *done, void *user)
{
	request(store)->outbox_last(store, done, user);
}

void store_outbox_delete(struct store *store, const int64_t *ids, size_t count, store_done_fn *done,
			 void *user)
{
	request(store)->outbox_delete(store, ids, count, done, user);
}

void store_shards_lease(struct store *store, const struct store_shard_lease *lease, store_shards_fn *done, void *user)
{
	assert(lease->relay != NULL && lease->lease_ms > 0);
	request(store)->shards_lease(store, lease, done, user);
}

void store_turn(struct store *store, const struct store_turn *turn, store_turn_fn *done, void *user)
{
	assert(turn->shard_count <= STORE_SHARDS && turn->max_rows > 0);
	request(store)->turn(store, turn, done, user);
}

void store_outbox_get(struct store *store, const int64_t *ids, size_t count, store_outbox_fn *done, void *user)
{
	request(store)->outbox_get(store, ids, count, done, user);
}

void store_hold(struct store *store, const char *name, const char *holder, int64_t hold_ms, store_count_fn *done,
		void *user)
{
	assert(name != NULL && holder != NULL && hold_ms > 0);
	request(store)->hold(store, name, holder, hold_ms, done, user);
}

void store_outbox_adopt(struct store *store, store_count_fn *done, void *user)
{
	request(store)->outbox_adopt(store, done, user);
}

void store_dead_letter(struct store *store, const struct store_dead *letters, size_t count,
		       store_done_fn *done, void *user)
{
	size_t i;

	for (i = 0; i < count; i++)
		assert(letters[i].queue != NULL && letters[i].payload != NULL);
	request(store)->dead_letter(store, letters, count, done, user);
}

void store_dead_read(struct store *store, const struct store_letter_filter *filter, store_letters_fn *done,
		     void *user)
{
	assert(filter->limit > 0);
	request(store)->dead_read(store, filter, done, user);
}

void store_dead_replay(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user)
{
	request(store)->dead_replay(store, ids, count, done, user);
}

void store_dead_drop(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user)
{
	request(store)->dead_drop(store, ids, count, done, user);
}

void store_credential_put(struct store *store, const struct store_credential *rows, size_t count,
			  store_ids_fn *done, void *user)
{
	size_t i;

	for (i = 0; i < count; i++)
		assert(rows[i].idempotency_key != NULL && rows[i].source != NULL && rows[i].credentials != NULL);
	request(store)->credential_put(store, rows, count, done, user);
}

void store_credential_read(struct store *store, const struct store_credential_filter *filter,
			   store_credentials_fn *done, void *user)
{
	assert(filter->limit > 0);
	request(store)->credential_read(store, filter, done, user);
}

void store_credential_change(struct store *store, const struct store_credential_change *changes, size_t count,
			     store_count_fn *done, void *user)
{
	size_t i;

	for (i = 0; i < count; i++)
		assert(changes[i].id > 0);
	request(store)->credential_change(store, changes, count, done, user);
}

void store_sources(struct store *store, size_t limit, store_sources_fn *done, void *user)
{
	assert(limit > 0);
	request(store)->sources(store, limit, done, user);
}

void store_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done,
			 void *user)
{
	assert(change->source != NULL && change->handle != NULL);
	request(store)->source_change(store, change, done, user);
}

void store_outbox_bytes(struct store *store, store_count_fn *done, void *user)
{
	request(store)->outbox_bytes(store, done, user);
}

void store_task_list(struct store *store, const struct store_task_filter *filter, store_json_fn *done,
		     void *user)
{
	request(store)->task_list(store, filter, done, user);
}

void store_task_get(struct store *store, int64_t id, store_json_fn *done, void *user)
{
	request(store)->task_get(store, id, done, user);
}

void store_progress(struct store *store, const int64_t *ids, size_t count, store_depth_fn *done, void *user)
{
	request(store)->progress(store, ids, count, done, user);
}

void store_depths(struct store *store, store_depth_fn *done, void *user)
{
	request(store)->depths(store, done, user);
}

void store_dead_list(struct store *store, const char *queue, size_t limit, store_json_fn *done, void *user)
{
	request(store)->dead_list(store, queue, limit, done, user);
}

void store_outbox_totals(struct store *store, store_json_fn *done, void *user)
{
	request(store)->outbox_totals(store, done, user);
}

/* --- the schema --- */

int store_schema_read(const char *url, const struct store_table *const *tables, size_t count,
		      struct arena *arena, struct store_schema *schema_r, struct error *err)
{
	const struct store_ops *ops = find_driver(url, err);

	*schema_r = (struct store_schema){.version = 0};
	return ops != NULL ? ops->schema_read(strchr(url, ':') + 1, tables, count, arena, schema_r, err) : -1;
}

int store_schema_whole(const char *url, const struct store_table *const *tables, size_t count,
		       struct arena *arena, struct store_schema *schema_r, struct error *err)
{
	const struct store_ops *ops = find_driver(url, err);

	*schema_r = (struct store_schema){.version = 0};
	if (ops == NULL)
		return -1;
	ops->schema_whole(tables, count, arena, schema_r);
	return 0;
}

int store_schema_apply(const char *url, const struct store_table *const *tables, size_t count,
		       store_applied_fn *applied, void *user, struct error *err)
{
	const struct store_ops *ops = find_driver(url, err);
	struct store_options options = {.busy_ms = 0};

	fill_in(&options);
	return ops != NULL
		       ? ops->schema_apply(strchr(url, ':') + 1, &options, tables, count, applied, user, err)
		       : -1;
}
