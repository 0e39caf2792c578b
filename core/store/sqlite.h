/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the sqlite: driver. A request is made on the loop thread, run on the
 * store's thread and finished on the loop thread again; everything it allocates
 * for its result lives in its arena. Functions whose first parameter is a
 * struct sqlite_db run on the store's thread (or before it has work).
 */
#ifndef SLUICE_STORE_SQLITE_H
#define SLUICE_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "loop/loop.h"
#include "store/driver.h"
#include "store/group.h"

struct map;

/* Large pages: outbox rows are large and soon deleted. Has to be said before there is a table. */
#define SQLITE_PAGE_SIZE "PRAGMA page_size = 16384;"

/* --- one connection: store_sqlite_db.c --- */
struct sqlite_db {
	sqlite3 *handle;
	struct map *statements;		/* prepared, by their text */
	int64_t busy_ms;
	int64_t busy_since;		/* when the wait under way began; 0 = none */
	_Atomic uint64_t busy_total;	/* ms waited */
	const struct store_options *options;
};

/* create: make the file (mode 0600) when it is missing. */
int sqlite_db_open(struct sqlite_db *db, const char *path, bool create, const struct store_options *options,
		   struct error *err);
/* Opens a file that is there as it is, to be read: no setting of it is changed. */
int sqlite_db_look(struct sqlite_db *db, const char *path, const struct store_options *options,
		   struct error *err);
void sqlite_db_close(struct sqlite_db *db);
/*
 * The cached statement for sql, reset and bound by types, one letter per
 * parameter: i = int64_t, n = int64_t with 0 as null, t = const char * (NULL
 * as null), b = const char * and size_t, B = the same as a blob, d = double. NULL and err when it fails.
 */
sqlite3_stmt *sqlite_query(struct sqlite_db *db, struct error *err, const char *sql, const char *types, ...);
/* The cached statement for sql, reset, with whatever was bound before; the caller binds every parameter. */
sqlite3_stmt *sqlite_prepared(struct sqlite_db *db, struct error *err, const char *sql);
/* 1 = a row is there, 0 = no more (the statement is reset), -1 = error (reset too). */
int sqlite_step(struct sqlite_db *db, sqlite3_stmt *statement, struct error *err);
/* Runs a statement that gives no rows. Returns the number of rows it changed, or -1. */
int sqlite_run(struct sqlite_db *db, struct error *err, const char *sql, const char *types, ...);
/* Several statements without parameters, not cached. */
int sqlite_script(struct sqlite_db *db, const char *sql, struct error *err);
int sqlite_begin(struct sqlite_db *db, struct error *err);
int sqlite_commit(struct sqlite_db *db, struct error *err);
void sqlite_rollback(struct sqlite_db *db);
/* What one query gives as an integer in its first column; 0 when it has no row or null. */
int sqlite_integer(struct sqlite_db *db, int64_t *value_r, struct error *err, const char *sql,
		   const char *types, ...);
/* err from the connection's last error: ERR_BUSY, ERR_CONTENT (constraints, sizes) or ERR_IO. Returns -1. */
int sqlite_error(struct sqlite_db *db, struct error *err, const char *doing);
/* Text of a result column copied into the arena; NULL for null. */
const char *sqlite_text(sqlite3_stmt *statement, int column, struct arena *arena);

/* --- schema: store_sqlite_schema.c --- */
int sqlite_schema_open(struct sqlite_db *db, bool create, char id_r[UUID_TEXT_SIZE], struct error *err);
/* In one transaction. applied may be NULL. */
int sqlite_schema_tables(struct sqlite_db *db, const struct store_table *const *tables, size_t count,
			 store_applied_fn *applied, void *user, struct error *err);
int sqlite_schema_read(const char *path, const struct store_table *const *tables, size_t count,
		       struct arena *arena, struct store_schema *schema, struct error *err);
void sqlite_schema_whole(const struct store_table *const *tables, size_t count, struct arena *arena,
			 struct store_schema *schema);
int sqlite_schema_apply(const char *path, const struct store_options *options,
			const struct store_table *const *tables, size_t count, store_applied_fn *applied,
			void *user, struct error *err);

/* --- requests: store_sqlite.c --- */
struct sqlite_request {
	struct loop_job job;
	struct sqlite_store *store;
	struct arena *arena;		/* the request itself lives in it */
	bool writes;			/* runs inside a transaction and a savepoint of its own */
	/* Writers: false = nothing to do, so take no lock. Runs without a transaction. NULL: always run. */
	bool (*wanted)(struct sqlite_db *db, struct sqlite_request *request);
	int (*run)(struct sqlite_db *db, struct sqlite_request *request, struct error *err);
	void (*answer)(struct sqlite_request *request);	/* loop thread: calls the caller back */
	struct error err;
};

struct sqlite_store {
	struct store base;
	struct sqlite_db db;		/* the thread's, once it has work */
	struct loop_thread *thread;
	atomic_bool closing;
	_Atomic uint64_t transactions, grouped;
};

/* A zeroed request of size bytes that begins with a struct sqlite_request. */
void *sqlite_request_new(struct store *store, size_t size, bool writes,
			 int (*run)(struct sqlite_db *, struct sqlite_request *, struct error *),
			 void (*answer)(struct sqlite_request *));
void sqlite_request_submit(struct sqlite_request *request);

/* The four shapes most answers have. */
struct sqlite_done {
	struct sqlite_request request;
	store_done_fn *done;
	void *user;
};
void sqlite_answer_done(struct sqlite_request *request);
struct sqlite_count {
	struct sqlite_request request;
	store_count_fn *done;
	void *user;
	int64_t count;
};
void sqlite_answer_count(struct sqlite_request *request);
struct sqlite_json {
	struct sqlite_request request;
	store_json_fn *done;
	void *user;
	struct buf out;			/* owned; freed after the callback */
};
void sqlite_answer_json(struct sqlite_request *request);
struct sqlite_depths {
	struct sqlite_request request;
	store_depth_fn *done;
	void *user;
	struct store_depth *rows;	/* in the arena */
	size_t count;
};
void sqlite_answer_depths(struct sqlite_request *request);

/* --- rows of scrape_request_log: store_sqlite_task.c --- */
#define SQLITE_TASK_EVENT_COLUMNS \
	"id, flow, platform, params, account_id, source, status, priority, reason, created_at, picked_at, " \
	"expires_at, retry_count, attempt, max_attempts, crashes, alone, commit_seq"
#define SQLITE_TASK_COLUMNS SQLITE_TASK_EVENT_COLUMNS \
	", data, checkpoint, worker, error_code, unique_key, scraped_at, run_after, lease_until, lease_token"
/* A row selected by SQLITE_TASK_EVENT_COLUMNS, or by SQLITE_TASK_COLUMNS when whole. */
void sqlite_task_read(sqlite3_stmt *statement, bool whole, struct arena *arena, struct task_row *row_r);
/* A new task; its row, as far as its event shows it, in *row_r (texts borrowed, or in the arena). Asks for no twin. */
int sqlite_task_insert(struct sqlite_db *db, struct arena *arena, const struct store_new_task *task,
		       int64_t now, struct task_row *row_r, struct error *err);
/* One more task of flow has ended this way. */
int sqlite_task_total(struct sqlite_db *db, const char *flow, enum task_status status, struct error *err);
/* Ends a task that no worker holds: FAILED with data and code, and its event. */
int sqlite_task_fail(struct sqlite_db *db, struct group_outbox *outbox, struct task_row *row,
		     const char *data, const char *error_code, int64_t now_ms, struct error *err);

/* --- failures that flows remember: store_sqlite_failure.c --- */
/* 1: the task is not to be made, and its skip says why; 0; -1. */
int sqlite_failure_skips(struct sqlite_db *db, const struct store_new_task *task, int64_t now_ms, struct error *err);
/* What the end of a task of flow with a skip_key changes. */
int sqlite_failure_note(struct sqlite_db *db, const struct store_commit *member, const char *flow, int64_t now_ms,
			struct error *err);

/* --- outbox: store_sqlite_outbox.c --- */
int sqlite_outbox_write(struct sqlite_db *db, struct group_outbox *outbox, int64_t now_ms, struct error *err);
/* 1, or 0 when there is no such row, or -1. */
int sqlite_outbox_row(struct sqlite_db *db, int64_t id, struct arena *arena, struct store_outbox_row *row_r,
		      struct error *err);
/* Deletes the row and counts it out; nothing when it is gone already. */
int sqlite_outbox_remove(struct sqlite_db *db, int64_t id, struct error *err);

/* --- the operations, for the driver's table --- */
void sqlite_submit(struct store *store, const struct store_new_task *tasks, size_t count, store_ids_fn *done,
		   void *user);
void sqlite_claim(struct store *store, struct store_claim *claim, store_claimed_fn *done, void *user);
void sqlite_commit_group(struct store *store, struct store_commit *group, size_t count, store_done_fn *done,
			 void *user);
void sqlite_extend(struct store *store, struct store_lease *leases, size_t count, int64_t lease_ms,
		   store_done_fn *done, void *user);
void sqlite_rescue(struct store *store, store_count_fn *done, void *user);
void sqlite_ready(struct store *store, store_depth_fn *done, void *user);
void sqlite_schedules(struct store *store, store_schedules_fn *done, void *user);
void sqlite_slot(struct store *store, const struct store_slot *step, store_schedules_fn *done, void *user);
void sqlite_query_rows(struct store *store, const char *sql, size_t max_rows, store_json_fn *done, void *user);
void sqlite_failures(struct store *store, const struct store_failure_filter *filter, store_failures_fn *done,
		     void *user);
void sqlite_forget(struct store *store, const struct store_forget *forget, store_count_fn *done, void *user);
void sqlite_sweep(struct store *store, struct store_sweep *sweep, store_done_fn *done, void *user);
void sqlite_lookup(struct store *store, const struct store_table *table, const char *column,
		   const char *value, size_t limit, store_json_fn *done, void *user);
void sqlite_outbox_read(struct store *store, const char *queue, const int64_t *skip, size_t skip_count,
			size_t max_rows, size_t max_bytes, store_outbox_fn *done, void *user);
void sqlite_outbox_last(struct store *store, store_count_fn *done, void *user);
void sqlite_outbox_delete(struct store *store, const int64_t *ids, size_t count, store_done_fn *done,
			  void *user);
void sqlite_shards_lease(struct store *store, const struct store_shard_lease *lease, store_shards_fn *done, void *user);
void sqlite_turn(struct store *store, const struct store_turn *turn, store_turn_fn *done, void *user);
void sqlite_outbox_get(struct store *store, const int64_t *ids, size_t count, store_outbox_fn *done, void *user);
void sqlite_hold(struct store *store, const char *name, const char *holder, int64_t hold_ms, store_count_fn *done,
		 void *user);
void sqlite_outbox_adopt(struct store *store, store_count_fn *done, void *user);
void sqlite_dead_letter(struct store *store, const struct store_dead *letters, size_t count,
			store_done_fn *done, void *user);
void sqlite_dead_read(struct store *store, const struct store_letter_filter *filter, store_letters_fn *done,
		      void *user);
void sqlite_dead_replay(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
void sqlite_dead_drop(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
void sqlite_credential_put(struct store *store, const struct store_credential *rows, size_t count,
			 store_ids_fn *done, void *user);
void sqlite_credential_read(struct store *store, const struct store_credential_filter *filter,
			  store_credentials_fn *done, void *user);
void sqlite_credential_change(struct store *store, const struct store_credential_change *changes, size_t count,
			    store_count_fn *done, void *user);
void sqlite_sources(struct store *store, size_t limit, store_sources_fn *done, void *user);
void sqlite_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done,
	void *user);
void sqlite_outbox_bytes(struct store *store, store_count_fn *done, void *user);
void sqlite_task_list(struct store *store, const struct store_task_filter *filter, store_json_fn *done,
		      void *user);
void sqlite_task_get(struct store *store, int64_t id, store_json_fn *done, void *user);
void sqlite_progress(struct store *store, const int64_t *ids, size_t count, store_depth_fn *done, void *user);
void sqlite_depth_list(struct store *store, store_depth_fn *done, void *user);
void sqlite_dead_list(struct store *store, const char *queue, size_t limit, store_json_fn *done, void *user);
void sqlite_outbox_totals(struct store *store, store_json_fn *done, void *user);

#endif
