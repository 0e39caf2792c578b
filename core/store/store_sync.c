/* SPDX-License-Identifier: Apache-2.0 */
/* Blocking calls over the asynchronous store, for programs without a loop. Any one thread. */
#include "store/store_sync.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "loop/loop.h"

struct store_sync {
	struct loop *loop;
	struct store *store;
	/* The call under way and where its answer goes. */
	bool answered;
	struct error error;
	struct arena *arena;
	void *rows;
	size_t count;
	int64_t number;
	int64_t *ids;
	struct store_depth *depth;
	struct buf *out;
};

struct store_sync *store_sync_open(const char *url, const struct store_options *options, bool create,
				   struct error *err)
{
	struct store_sync *sync = mem_alloc(sizeof(*sync));

	sync->loop = loop_new();
	sync->store = store_open(sync->loop, url, options, create, err);
	if (sync->store == NULL)
		store_sync_close(&sync);
	return sync;
}

void store_sync_close(struct store_sync **sync)
{
	if (*sync == NULL)
		return;
	store_close(&(*sync)->store);
	loop_free(&(*sync)->loop);
	mem_free(sync);
}

struct store *store_sync_store(struct store_sync *sync)
{
	return sync->store;
}

struct loop *store_sync_loop(struct store_sync *sync)
{
	return sync->loop;
}

static void answered(struct store_sync *sync, const struct error *err)
{
	sync->answered = true;
	sync->error = *err;
}

static int wait_answer(struct store_sync *sync, struct error *err)
{
	while (!sync->answered)
		loop_run_once(sync->loop, 1000);
	sync->answered = false;
	if (sync->error.code == ERR_NONE)
		return 0;
	if (err != NULL)
		*err = sync->error;
	return -1;
}

/* --- answers --- */

static void on_done(void *user, const struct error *err)
{
	answered(user, err);
}

static void on_count(void *user, int64_t count, const struct error *err)
{
	struct store_sync *sync = user;

	sync->number = count;
	answered(sync, err);
}

static void on_ids(void *user, const int64_t *ids, size_t count, const struct error *err)
{
	struct store_sync *sync = user;

	if (count > 0)
		memcpy(sync->ids, ids, count * sizeof(*ids));
	answered(sync, err);
}

static void on_json(void *user, const char *json, size_t len, const struct error *err)
{
	struct store_sync *sync = user;

	if (err->code == ERR_NONE)
		buf_add(sync->out, json, len);
	answered(sync, err);
}

static void copy_text(struct arena *arena, const char **text)
{
	if (*text != NULL)
		*text = arena_strdup(arena, *text);
}

static void copy_texts(struct arena *arena, const char **const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		copy_text(arena, texts[i]);
}

static void *copy_rows(struct store_sync *sync, const void *rows, size_t count, size_t size)
{
	sync->rows = arena_alloc(sync->arena, (count + 1) * size);
	sync->count = count;
	if (count > 0)
		memcpy(sync->rows, rows, count * size);
	return sync->rows;
}

static void on_claimed(void *user, const struct task_row *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct task_row *copy = copy_rows(sync, rows, count, sizeof(*rows));
	size_t i;

	for (i = 0; i < count; i++) {
		const char **texts[] = {&copy[i].flow,       &copy[i].platform,  &copy[i].params,
					&copy[i].account_id, &copy[i].source,    &copy[i].data,
					&copy[i].checkpoint, &copy[i].worker,    &copy[i].error_code,
					&copy[i].unique_key, &copy[i].reason,    &copy[i].created_at,
					&copy[i].scraped_at, &copy[i].picked_at, &copy[i].expires_at};

		copy_texts(sync->arena, texts, sizeof(texts) / sizeof(texts[0]));
	}
	answered(sync, err);
}

static void on_depths(void *user, const struct store_depth *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct store_depth *copy = copy_rows(sync, rows, count, sizeof(*rows));
	size_t i;

	for (i = 0; i < count; i++)
		copy_text(sync->arena, &copy[i].name);
	answered(sync, err);
}

static void on_progress(void *user, const struct store_depth *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;

	*sync->depth = count > 0 ? rows[0] : (struct store_depth){ .pending = 0 };
	sync->depth->name = "";
	answered(sync, err);
}

static void on_outbox(void *user, const struct store_outbox_row *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct store_outbox_row *copy = copy_rows(sync, rows, count, sizeof(*rows));
	size_t i;

	for (i = 0; i < count; i++) {
		copy_text(sync->arena, &copy[i].queue);
		copy[i].payload = arena_strndup(sync->arena, rows[i].payload, rows[i].payload_len);
		copy_text(sync->arena, &copy[i].headers);
	}
	answered(sync, err);
}

static void on_letters(void *user, const struct store_letter *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct store_letter *copy = copy_rows(sync, rows, count, sizeof(*rows));
	size_t i;

	for (i = 0; i < count; i++) {
		const char **texts[] = {&copy[i].queue, &copy[i].dedup_id, &copy[i].reason,
					&copy[i].code,  &copy[i].first_at, &copy[i].last_at};

		copy_texts(sync->arena, texts, sizeof(texts) / sizeof(texts[0]));
		if (rows[i].payload != NULL)
			copy[i].payload = arena_strndup(sync->arena, rows[i].payload, rows[i].payload_len);
	}
	answered(sync, err);
}

static void on_schedules(void *user, const struct store_schedule *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct store_schedule *copy = copy_rows(sync, rows, count, sizeof(*rows));
	size_t i;

	for (i = 0; i < count; i++) {
		copy_text(sync->arena, &copy[i].name);
		copy_text(sync->arena, &copy[i].spec);
		copy_text(sync->arena, &copy[i].list);
		copy_text(sync->arena, &copy[i].error);
	}
	answered(sync, err);
}

static void on_credentials(void *user, const struct store_credential *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct store_credential *copy = copy_rows(sync, rows, count, sizeof(*rows));
	size_t i;

	for (i = 0; i < count; i++) {
		const char **texts[] = {&copy[i].idempotency_key, &copy[i].source, &copy[i].handle,
					&copy[i].credentials, &copy[i].key_id, &copy[i].limits, &copy[i].reason,
					&copy[i].created_at, &copy[i].updated_at};

		copy_texts(sync->arena, texts, sizeof(texts) / sizeof(texts[0]));
	}
	answered(sync, err);
}

static void on_failures(void *user, const struct store_failure *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct store_failure *copy = copy_rows(sync, rows, count, sizeof(*rows));
	size_t i;

	for (i = 0; i < count; i++) {
		copy_text(sync->arena, &copy[i].flow);
		copy_text(sync->arena, &copy[i].key);
		copy_text(sync->arena, &copy[i].error);
	}
	answered(sync, err);
}

static void on_sources(void *user, const struct store_source *rows, size_t count, const struct error *err)
{
	struct store_sync *sync = user;
	struct store_source *copy = copy_rows(sync, rows, count, sizeof(*rows));

	for (size_t i = 0; i < count; i++) {
		const char **texts[] = {&copy[i].source, &copy[i].handle, &copy[i].reason, &copy[i].node,
					&copy[i].probe};

		copy_texts(sync->arena, texts, sizeof(texts) / sizeof(texts[0]));
	}
	answered(sync, err);
}

/* --- calls --- */

int store_sync_submit(struct store_sync *sync, const struct store_new_task *tasks, size_t count,
		      int64_t *ids_r, struct error *err)
{
	sync->ids = ids_r;
	store_submit(sync->store, tasks, count, on_ids, sync);
	return wait_answer(sync, err);
}

int store_sync_claim(struct store_sync *sync, struct store_claim *claim, struct arena *arena,
		     struct task_row **rows_r, size_t *count_r, struct error *err)
{
	int rc;

	sync->arena = arena;
	store_claim(sync->store, claim, on_claimed, sync);
	rc = wait_answer(sync, err);
	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_commit(struct store_sync *sync, struct store_commit *group, size_t count, struct error *err)
{
	store_commit(sync->store, group, count, on_done, sync);
	return wait_answer(sync, err);
}

int store_sync_extend(struct store_sync *sync, struct store_lease *leases, size_t count, int64_t lease_ms,
		      struct error *err)
{
	store_extend(sync->store, leases, count, lease_ms, on_done, sync);
	return wait_answer(sync, err);
}

static int wait_number(struct store_sync *sync, int64_t *number_r, struct error *err)
{
	int rc = wait_answer(sync, err);

	*number_r = sync->number;
	return rc;
}

int store_sync_rescue(struct store_sync *sync, int64_t *count_r, struct error *err)
{
	store_rescue(sync->store, on_count, sync);
	return wait_number(sync, count_r, err);
}

int store_sync_outbox_last(struct store_sync *sync, int64_t *id_r, struct error *err)
{
	store_outbox_last(sync->store, on_count, sync);
	return wait_number(sync, id_r, err);
}

int store_sync_outbox_bytes(struct store_sync *sync, int64_t *bytes_r, struct error *err)
{
	store_outbox_bytes(sync->store, on_count, sync);
	return wait_number(sync, bytes_r, err);
}

int store_sync_progress(struct store_sync *sync, const int64_t *ids, size_t count, struct store_depth *depth_r,
			struct error *err)
{
	sync->depth = depth_r;
	store_progress(sync->store, ids, count, on_progress, sync);
	return wait_answer(sync, err);
}

static int sync_depths(struct store_sync *sync, void (*call)(struct store *, store_depth_fn *, void *),
		       struct arena *arena, struct store_depth **rows_r, size_t *count_r, struct error *err)
{
	int rc;

	sync->arena = arena;
	call(sync->store, on_depths, sync);
	rc = wait_answer(sync, err);
	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_depths(struct store_sync *sync, struct arena *arena, struct store_depth **rows_r,
		      size_t *count_r, struct error *err)
{
	return sync_depths(sync, store_depths, arena, rows_r, count_r, err);
}

int store_sync_ready(struct store_sync *sync, struct arena *arena, struct store_depth **rows_r,
		     size_t *count_r, struct error *err)
{
	return sync_depths(sync, store_ready, arena, rows_r, count_r, err);
}

int store_sync_outbox_read(struct store_sync *sync, const char *queue, const int64_t *skip, size_t skip_count,
			   size_t max_rows, size_t max_bytes, struct arena *arena,
			   struct store_outbox_row **rows_r, size_t *count_r, struct error *err)
{
	int rc;

	sync->arena = arena;
	store_outbox_read(sync->store, queue, skip, skip_count, max_rows, max_bytes, on_outbox, sync);
	rc = wait_answer(sync, err);
	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_outbox_delete(struct store_sync *sync, const int64_t *ids, size_t count, struct error *err)
{
	store_outbox_delete(sync->store, ids, count, on_done, sync);
	return wait_answer(sync, err);
}

int store_sync_dead_letter(struct store_sync *sync, const struct store_dead *letters, size_t count,
			   struct error *err)
{
	store_dead_letter(sync->store, letters, count, on_done, sync);
	return wait_answer(sync, err);
}

int store_sync_dead_read(struct store_sync *sync, const struct store_letter_filter *filter, struct arena *arena,
			 struct store_letter **rows_r, size_t *count_r, struct error *err)
{
	int rc;

	sync->arena = arena;
	store_dead_read(sync->store, filter, on_letters, sync);
	rc = wait_answer(sync, err);
	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_dead_replay(struct store_sync *sync, const int64_t *ids, size_t count, int64_t *count_r,
			   struct error *err)
{
	store_dead_replay(sync->store, ids, count, on_count, sync);
	return wait_number(sync, count_r, err);
}

int store_sync_dead_drop(struct store_sync *sync, const int64_t *ids, size_t count, int64_t *count_r,
			 struct error *err)
{
	store_dead_drop(sync->store, ids, count, on_count, sync);
	return wait_number(sync, count_r, err);
}

int store_sync_credential_put(struct store_sync *sync, const struct store_credential *rows, size_t count,
			      int64_t *ids_r, struct error *err)
{
	sync->ids = ids_r;
	store_credential_put(sync->store, rows, count, on_ids, sync);
	return wait_answer(sync, err);
}

int store_sync_credential_read(struct store_sync *sync, const struct store_credential_filter *filter,
			       struct arena *arena, struct store_credential **rows_r, size_t *count_r,
			       struct error *err)
{
	int rc;

	sync->arena = arena;
	store_credential_read(sync->store, filter, on_credentials, sync);
	rc = wait_answer(sync, err);
	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_credential_change(struct store_sync *sync, const struct store_credential_change *changes,
				 size_t count, int64_t *count_r, struct error *err)
{
	store_credential_change(sync->store, changes, count, on_count, sync);
	return wait_number(sync, count_r, err);
}

static int wait_sources(struct store_sync *sync, struct store_source **rows_r, size_t *count_r, struct error *err)
{
	int rc = wait_answer(sync, err);

	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_sources(struct store_sync *sync, size_t limit, struct arena *arena, struct store_source **rows_r,
		       size_t *count_r, struct error *err)
{
	sync->arena = arena;
	store_sources(sync->store, limit, on_sources, sync);
	return wait_sources(sync, rows_r, count_r, err);
}

int store_sync_source_change(struct store_sync *sync, const struct store_source_change *change, struct arena *arena,
			     struct store_source **rows_r, size_t *count_r, struct error *err)
{
	sync->arena = arena;
	store_source_change(sync->store, change, on_sources, sync);
	return wait_sources(sync, rows_r, count_r, err);
}

static int wait_schedules(struct store_sync *sync, struct store_schedule **rows_r, size_t *count_r,
			  struct error *err)
{
	int rc = wait_answer(sync, err);

	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_schedules(struct store_sync *sync, struct arena *arena, struct store_schedule **rows_r,
			 size_t *count_r, struct error *err)
{
	sync->arena = arena;
	store_schedules(sync->store, on_schedules, sync);
	return wait_schedules(sync, rows_r, count_r, err);
}

int store_sync_slot(struct store_sync *sync, const struct store_slot *step, struct arena *arena,
		    struct store_schedule **rows_r, size_t *count_r, struct error *err)
{
	sync->arena = arena;
	store_slot(sync->store, step, on_schedules, sync);
	return wait_schedules(sync, rows_r, count_r, err);
}

int store_sync_failures(struct store_sync *sync, const struct store_failure_filter *filter, struct arena *arena,
			struct store_failure **rows_r, size_t *count_r, struct error *err)
{
	int rc;

	sync->arena = arena;
	store_failures(sync->store, filter, on_failures, sync);
	rc = wait_answer(sync, err);
	*rows_r = sync->rows;
	*count_r = sync->count;
	return rc;
}

int store_sync_forget(struct store_sync *sync, const struct store_forget *forget, int64_t *count_r, struct error *err)
{
	store_forget(sync->store, forget, on_count, sync);
	return wait_number(sync, count_r, err);
}

int store_sync_sweep(struct store_sync *sync, struct store_sweep *sweep, struct error *err)
{
	store_sweep(sync->store, sweep, on_done, sync);
	return wait_answer(sync, err);
}

int store_sync_query(struct store_sync *sync, const char *sql, size_t max_rows, struct buf *out,
		     struct error *err)
{
	sync->out = out;
	store_query(sync->store, sql, max_rows, on_json, sync);
	return wait_answer(sync, err);
}

int store_sync_lookup(struct store_sync *sync, const struct store_table *table, const char *column,
		      const char *value, size_t limit, struct buf *out, struct error *err)
{
	sync->out = out;
	store_lookup(sync->store, table, column, value, limit, on_json, sync);
	return wait_answer(sync, err);
}

int store_sync_task_list(struct store_sync *sync, const struct store_task_filter *filter, struct buf *out,
			 struct error *err)
{
	sync->out = out;
	store_task_list(sync->store, filter, on_json, sync);
	return wait_answer(sync, err);
}

int store_sync_task_get(struct store_sync *sync, int64_t id, struct buf *out, struct error *err)
{
	sync->out = out;
	store_task_get(sync->store, id, on_json, sync);
	return wait_answer(sync, err);
}

int store_sync_dead_list(struct store_sync *sync, const char *queue, size_t limit, struct buf *out,
			 struct error *err)
{
	sync->out = out;
	store_dead_list(sync->store, queue, limit, on_json, sync);
	return wait_answer(sync, err);
}

int store_sync_outbox_totals(struct store_sync *sync, struct buf *out, struct error *err)
{
	sync->out = out;
	store_outbox_totals(sync->store, on_json, sync);
	return wait_answer(sync, err);
}
