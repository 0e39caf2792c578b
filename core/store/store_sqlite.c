/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sqlite: driver: opening, the thread that owns the connection, and group
 * commit. The thread takes every request that is queued: writers share one
 * transaction, each in a savepoint of its own, so that a refused one undoes
 * itself alone and all of them cost one fsync; readers run after it.
 */
#include "store/sqlite.h"

#include <assert.h>
#include <string.h>

/* Writers that may share one transaction: bounds what a failed COMMIT has to repeat. */
#define GROUP_MAX 64

static struct sqlite_store *sqlite_store(struct store *store)
{
	assert(store->ops == &store_sqlite_ops);
	return (struct sqlite_store *)store;
}

/* --- the thread --- */

struct group {
	struct sqlite_request *writers[GROUP_MAX];
	size_t count;
	struct sqlite_request *readers[GROUP_MAX];
	size_t reader_count;
	bool open;
	struct error broken; /* the transaction could not begin or is gone: everybody's error */
};

static void run_writer(struct sqlite_db *db, struct group *group, struct sqlite_request *request)
{
	struct error undo = {.code = ERR_NONE};

	if (!group->open && group->broken.code == ERR_NONE)
		group->open = sqlite_begin(db, &group->broken) == 0;
	if (!group->open) {
		request->err = group->broken;
		return;
	}
	if (sqlite_run(db, &request->err, "SAVEPOINT request", "") < 0)
		return;
	group->writers[group->count++] = request;
	if (request->run(db, request, &request->err) < 0) {
		assert(request->err.code != ERR_NONE);
		/* A full disk or an I/O error takes the whole transaction away. */
		if (sqlite3_get_autocommit(db->handle) != 0 ||
		    sqlite_run(db, &undo, "ROLLBACK TO request", "") < 0) {
			group->broken = request->err;
			group->open = false;
			sqlite_rollback(db);
			return;
		}
	}
	if (sqlite_run(db, &undo, "RELEASE request", "") < 0) {
		group->broken = undo;
		group->open = false;
		sqlite_rollback(db);
	}
}

static void end_group(struct sqlite_store *store, struct group *group)
{
	size_t i;

	if (group->open && sqlite_commit(&store->db, &group->broken) == 0) {
		atomic_fetch_add(&store->transactions, 1);
		atomic_fetch_add(&store->grouped, group->count);
		return;
	}
	for (i = 0; i < group->count; i++)
		if (group->writers[i]->err.code == ERR_NONE)
			group->writers[i]->err = group->broken;
}

static void run_jobs(struct loop_job *job, struct loop_thread *thread)
{
	struct sqlite_store *store = ((struct sqlite_request *)job)->store;
	struct sqlite_db *db = &store->db;
	struct group group = {.count = 0, .open = false};
	size_t i;

	while (job != NULL) {
		struct sqlite_request *request = (struct sqlite_request *)job;

		if (atomic_load(&store->closing))
			error_set(&request->err, ERR_CANCELLED, "the task store is being closed");
		else if (!request->writes)
			group.readers[group.reader_count++] = request;
		else if (request->wanted == NULL || request->wanted(db, request))
			run_writer(db, &group, request);
		job = group.count < GROUP_MAX && group.reader_count < GROUP_MAX
			      ? loop_thread_take_more(thread)
			      : NULL;
	}
	end_group(store, &group);
	/* After the COMMIT: on this connection they would see what may still be rolled back. */
	for (i = 0; i < group.reader_count; i++)
		group.readers[i]->run(db, group.readers[i], &group.readers[i]->err);
}

static void job_done(struct loop_job *job)
{
	struct sqlite_request *request = (struct sqlite_request *)job;
	struct sqlite_store *store = request->store;
	struct arena *arena = request->arena;

	store->base.stats.transactions = atomic_load(&store->transactions);
	store->base.stats.grouped = atomic_load(&store->grouped);
	store->base.stats.busy_ms = atomic_load(&store->db.busy_total);
	store_answered(&store->base, &request->err);
	request->answer(request);
	arena_free(&arena);
}

/* --- requests --- */

void *sqlite_request_new(struct store *store, size_t size, bool writes,
			 int (*run)(struct sqlite_db *, struct sqlite_request *, struct error *),
			 void (*answer)(struct sqlite_request *))
{
	struct arena *arena = arena_new();
	struct sqlite_request *request = arena_alloc(arena, size);

	request->job.run = run_jobs;
	request->job.done = job_done;
	request->store = sqlite_store(store);
	request->arena = arena;
	request->writes = writes;
	request->run = run;
	request->answer = answer;
	return request;
}

void sqlite_request_submit(struct sqlite_request *request)
{
	loop_thread_submit(request->store->thread, &request->job);
}

void sqlite_answer_done(struct sqlite_request *request)
{
	struct sqlite_done *done = (struct sqlite_done *)request;

	done->done(done->user, &request->err);
}

void sqlite_answer_count(struct sqlite_request *request)
{
	struct sqlite_count *count = (struct sqlite_count *)request;

	count->done(count->user, count->count, &request->err);
}

void sqlite_answer_json(struct sqlite_request *request)
{
	struct sqlite_json *json = (struct sqlite_json *)request;

	json->done(json->user, json->out.data != NULL ? json->out.data : "", json->out.len, &request->err);
	buf_fini(&json->out);
}

void sqlite_answer_depths(struct sqlite_request *request)
{
	struct sqlite_depths *depths = (struct sqlite_depths *)request;

	depths->done(depths->user, depths->rows, depths->count, &request->err);
}

/* --- opening and closing --- */

static struct store *driver_open(const struct store *base, const char *path, bool create, struct error *err)
{
	struct sqlite_store *store;

	if (*path == '\0') {
		error_set(err, ERR_INPUT, "sqlite: needs a path: sqlite:/var/lib/sluice/sluice.db");
		return NULL;
	}
	store = mem_alloc(sizeof(*store));
	store->base = *base;
	if (sqlite_db_open(&store->db, path, create, &store->base.options, err) < 0) {
		mem_free(&store);
		return NULL;
	}
	if (sqlite_schema_open(&store->db, create || strcmp(path, ":memory:") == 0, store->base.id, err) <
	    0) {
		error_prefix(err, "%s", path);
		sqlite_db_close(&store->db);
		mem_free(&store);
		return NULL;
	}
	store->thread = loop_thread_new(base->loop, "store");
	return &store->base;
}

static void driver_close(struct store *base)
{
	struct sqlite_store *store = sqlite_store(base);

	atomic_store(&store->closing, true);
	loop_thread_free(&store->thread);
	sqlite_db_close(&store->db);
	store->base.magic = 0;
	mem_release(store);
}

/* On the caller's thread: at start-up the store's own has no work, so the connection is free. */
static int ensure_tables(struct store *base, const struct store_table *const *tables, size_t count,
			 struct error *err)
{
	struct sqlite_store *store = sqlite_store(base);

	assert(loop_thread_queued(store->thread) == 0);
	return sqlite_schema_tables(&store->db, tables, count, NULL, NULL, err);
}

const struct store_ops store_sqlite_ops = {
	.scheme = "sqlite",
	.open = driver_open,
	.close = driver_close,
	.ensure_tables = ensure_tables,
	.schema_read = sqlite_schema_read,
	.schema_whole = sqlite_schema_whole,
	.schema_apply = sqlite_schema_apply,
	.submit = sqlite_submit,
	.claim = sqlite_claim,
	.commit = sqlite_commit_group,
	.extend = sqlite_extend,
	.rescue = sqlite_rescue,
	.ready = sqlite_ready,
	.schedules = sqlite_schedules,
	.slot = sqlite_slot,
	.query = sqlite_query_rows,
	.sweep = sqlite_sweep,
	.failures = sqlite_failures,
	.forget = sqlite_forget,
	.lookup = sqlite_lookup,
	.outbox_read = sqlite_outbox_read,
	.outbox_last = sqlite_outbox_last,
	.outbox_delete = sqlite_outbox_delete,
	.shards_lease = sqlite_shards_lease,
	.turn = sqlite_turn,
	.outbox_get = sqlite_outbox_get,
	.hold = sqlite_hold,
	.outbox_adopt = sqlite_outbox_adopt,
	.dead_letter = sqlite_dead_letter,
	.dead_read = sqlite_dead_read,
	.dead_replay = sqlite_dead_replay,
	.dead_drop = sqlite_dead_drop,
	.credential_put = sqlite_credential_put,
	.credential_read = sqlite_credential_read,
	.credential_change = sqlite_credential_change,
	.sources = sqlite_sources,
	.source_change = sqlite_source_change,
	.outbox_bytes = sqlite_outbox_bytes,
	.task_list = sqlite_task_list,
	.task_get = sqlite_task_get,
	.progress = sqlite_progress,
	.depths = sqlite_depth_list,
	.dead_list = sqlite_dead_list,
	.outbox_totals = sqlite_outbox_totals,
};
