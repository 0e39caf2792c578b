/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the postgresql: driver. Everything runs on the loop thread that opened
 * the store, over one connection that is opened on demand; nothing blocks but
 * opening and ensure_tables.
 *
 * A request runs in batches: it adds statements, sends them as one pipeline
 * and goes on when their results are there. A batch without BEGIN is one
 * transaction by itself. Requests run one after the other; a connection that
 * is lost starts the request that was under way again, which is why each one
 * is written so that it may be repeated.
 */
#ifndef SLUICE_STORE_POSTGRES_H
#define SLUICE_STORE_POSTGRES_H

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/list.h"
#include "loop/loop.h"
#include "store/driver.h"
#include "store/gate.h"
#include "store/group.h"

#define PG_CHANNEL "sluice_tasks"
#define PG_PARAMS_MAX 1700	/* the columns a table may have, and what a statement adds to them */
#define PG_STATE_SIZE 6		/* a SQLSTATE and its NUL */

struct pg_request;
struct pg_listener;

/* --- how to connect: store_postgres_url.c --- */
struct pg_target {
	struct arena *arena;
	const char **keys, **values;	/* for PQconnectStartParams, ended by NULL */
};
/* rest: the URL after "postgresql:". Errors never show the URL. */
int pg_target_parse(struct pg_target *target, const char *rest, struct error *err);
void pg_target_free(struct pg_target *target);
/*
 * Blocks: does work over a connection made for it. Repeats for wait_ms while
 * the server starts or has no connection left, or when the connection was lost.
 */
int pg_blocking(const struct pg_target *target, int64_t wait_ms,
		int (*work)(PGconn *, void *, struct error *), void *user, struct error *err);
/* Blocks. types and what follows as for pg_add. NULL and err when it fails. */
PGresult *pg_exec_blocking(PGconn *conn, struct error *err, const char *sql, const char *types, ...);
/* err from a result that is not good, or from the connection when result is NULL. Returns -1. */
int pg_error(struct error *err, const PGconn *conn, const PGresult *result);
/* One of libpq's messages as one line. */
const char *pg_message(char *out, size_t size, const char *text);

/* --- one connection with one batch under way: store_postgres_conn.c --- */
enum pg_phase { PG_CLOSED, PG_CONNECTING, PG_IDLE, PG_SENT };

struct pg_batch {
	PGresult **results;		/* of the statements that give one (not the settings), in order */
	size_t count;
	struct error error;		/* of the first statement that failed; code ERR_NONE: all are good */
	char state[PG_STATE_SIZE];	/* its SQLSTATE */
	char constraint[64], detail[300];
};

/* A parameter: text that ends with NUL, or len bytes in the server's own form. data NULL: null. */
struct pg_param {
	const char *data;
	int len;
	bool binary;
};

struct pg_sent;

struct pg_conn {
	struct loop *loop;
	const struct pg_target *target;
	PGconn *pg;
	struct loop_fd *fd;
	int socket;
	enum pg_phase phase;
	bool worked;			/* its owner's: a batch was answered on it */
	int64_t since_ms;		/* when it began to connect, or sent the batch */
	char problem[300];		/* why it is closed */
	struct pg_batch batch;
	size_t cap;
	struct pg_sent *sent;		/* what the batch consists of */
	size_t sent_count, sent_cap, received;
	struct map *statements;		/* by their text: what was sent before; NULL: nothing yet */
	int64_t planned_ms;		/* monotonic: since when the server plans anew */
	int planned_batches;		/* since then */
	bool unprepared;		/* what is prepared on one connection is not there on the next: a pooler's */
	/* Called from the loop, never from inside a call: connected, a batch answered, or the connection lost. */
	void (*on_ready)(void *user);
	void (*on_batch)(void *user);
	void (*on_lost)(void *user);
	void (*on_notify)(void *user, const char *payload);	/* may be NULL */
	void *user;
};

void pg_conn_open(struct pg_conn *conn);	/* from PG_CLOSED; on_ready or on_lost follows */
void pg_conn_close(struct pg_conn *conn);	/* no callback; the batch is forgotten */
void pg_conn_add(struct pg_conn *conn, bool silent, const char *sql, const struct pg_param *params, size_t count);
void pg_conn_sync(struct pg_conn *conn);	/* ends the batch and sends it */
/* Whether a batch that failed with this SQLSTATE shall be sent again with nothing prepared, as all are from now on. */
bool pg_conn_distrusts(struct pg_conn *conn, const char *state);
void pg_conn_io(struct pg_conn *conn, unsigned int events);
/* Without the loop: waits up to timeout_ms for the socket, then does what is to do. */
void pg_conn_wait(struct pg_conn *conn, int timeout_ms);

/* --- requests: store_postgres.c --- */
struct pg_request {
	struct list node;
	struct pg_store *store;
	struct arena *arena;		/* the request and its results */
	struct arena *scratch;		/* of one run: emptied before start */
	int64_t until_ms;		/* monotonic: after that it is not repeated any more */
	bool reads_only;		/* in a transaction that may not write: to be told so is an answer */
	bool internal;			/* nobody's request: not counted */
	bool handles_errors;		/* next sees failed batches; the transaction stays as it is */
	bool committing;		/* the batch under way commits */
	bool unclear;			/* one that commits was sent, and its answer not seen */
	bool wrote;			/* it committed something: counted as a transaction */
	size_t carried;			/* requests that share it; at least 1 */
	int repeats;
	void (*start)(struct pg_request *request);	/* adds the first batch and sends it */
	void (*next)(struct pg_request *request);	/* set by pg_send */
	/* May turn a failure into another start: true = it did. NULL: the error is the answer. */
	bool (*failed)(struct pg_request *request);
	void (*answer)(struct pg_request *request);
	struct error err;
};

struct pg_store {
	struct store base;
	struct pg_target target;
	struct pg_conn conn;
	bool lz4;			/* the server can pack large values with it */
	struct list queue;
	struct pg_request *current;
	bool started;			/* current has begun on this connection */
	bool closing, pumping, rolling_back;
	struct pg_batch failure;	/* of a batch whose transaction is being rolled back; no results */
	struct loop_timer *kick, *retry, *idle, *watch;
	struct gate *gate;		/* NULL: this process may connect whenever it wants */
	int64_t entered_ms;		/* monotonic: when it came through the gate */
	int64_t idle_ms;		/* monotonic: since when there is nothing to do */
	struct backoff backoff;
	int shard;			/* of the totals this process counts in */
	struct pg_listener *listener;
	struct list hints;		/* flows whose new tasks nobody was told about yet */
	int64_t hinted_ms;
	struct loop_timer *hint;
};

/* A zeroed request of size bytes that begins with a struct pg_request. */
void *pg_request_new(struct store *store, size_t size, void (*start)(struct pg_request *),
		     void (*answer)(struct pg_request *));
void pg_request_submit(struct pg_request *request);
/*
 * Adds a statement. types has a letter per parameter: i = int64_t, n = int64_t
 * with 0 as null, t = const char * (NULL as null; what is not UTF-8 becomes
 * U+FFFD), r = the same as it is, a = struct pg_param.
 */
void pg_add(struct pg_request *request, const char *sql, const char *types, ...);
void pg_add_params(struct pg_request *request, const char *sql, const struct pg_param *params, size_t count);
/* A statement whose result nobody wants. */
void pg_add_silent(struct pg_request *request, const char *sql);
/* The limits of a transaction: first in every batch that begins one. */
void pg_add_limits(struct pg_request *request);
void pg_add_begin(struct pg_request *request);	/* BEGIN and the limits */
/* Sends what was added; next runs with the results, unless a statement failed. */
void pg_send(struct pg_request *request, void (*next)(struct pg_request *));
/* The same for a batch that commits: until it is answered the request is unclear. */
void pg_send_commit(struct pg_request *request, void (*next)(struct pg_request *));
/* From next, when handles_errors was set: the failed batch is none of the request's, after all. */
void pg_fail(struct pg_request *request);
const struct pg_batch *pg_batch(const struct pg_request *request);
/* What failed, inside request->failed. */
const struct pg_batch *pg_failure(const struct pg_request *request);
/* Answers the request with what is in request->err, frees it and goes on with the next. */
void pg_finish(struct pg_request *request);
/* Answers one that another request carried. */
void pg_finish_carried(struct pg_request *request, const struct error *err);
void pg_restart(struct pg_request *request);	/* from the beginning, at once */
/* The next queued request that begins with start, taken out; NULL when the first one queued does not. */
struct pg_request *pg_take_queued(struct pg_store *store, void (*start)(struct pg_request *));
void pg_put_back(struct pg_request *request);	/* first in the queue */

/* The shapes most answers have. */
struct pg_done {
	struct pg_request request;
	store_done_fn *done;
	void *user;
};
void pg_answer_done(struct pg_request *request);
struct pg_count {
	struct pg_request request;
	store_count_fn *done;
	void *user;
	int64_t count;
};
void pg_answer_count(struct pg_request *request);

/* --- values: store_postgres_value.c --- */
struct pg_param pg_text(const char *text);	/* borrowed */
struct pg_param pg_bytes(const char *bytes, size_t len);	/* of a bytea; borrowed; NULL: null */
/* An array for unnest, in the arena; a NULL element is null. */
struct pg_param pg_texts(struct arena *arena, const char *const *texts, size_t count);
/* The same as text, for arrays of other types. */
const char *pg_array_text(struct arena *arena, const char *const *texts, size_t count);
const char *pg_ints(struct arena *arena, const int64_t *ints, size_t count);
const char *pg_int_text(struct arena *arena, int64_t value);
const char *pg_clean(struct arena *arena, const char *text);	/* UTF-8 whatever it was; NULL stays NULL */
/* text as the column's type wants it: times in UTC, lists as array literals. It was checked before. */
const char *pg_value(struct arena *arena, enum store_type type, const char *text);
const char *pg_type_name(enum store_type type);	/* "bigint", … */
int64_t pg_get_int(const PGresult *result, int row, int column);	/* 0 for null */
const char *pg_get_text(const PGresult *result, int row, int column, struct arena *arena);	/* NULL for null */
/* A bytea, in the arena. */
const char *pg_get_bytes(const PGresult *result, int row, int column, struct arena *arena, size_t *len_r);
/* JSON without the blanks that jsonb prints. */
const char *pg_get_json(const PGresult *result, int row, int column, struct arena *arena);
struct jwrite;
void pg_write_row(struct jwrite *w, const PGresult *result, int row);	/* an object, by the columns' types */

/* --- schema: store_postgres_schema.c; all block --- */
/* lz4_r: whether the server packs large values with LZ4. */
int pg_schema_open(PGconn *conn, bool create, char id_r[UUID_TEXT_SIZE], bool *lz4_r, struct error *err);
int pg_schema_tables(PGconn *conn, const struct store_table *const *tables, size_t count, struct error *err);
/* The migrations that are missing, into schema. 1, or 0 when nothing else can be said, or -1. */
int pg_schema_missing(PGconn *conn, struct arena *arena, struct store_schema *schema, struct error *err);
/* What a table needs, into schema. */
int pg_schema_plan(PGconn *conn, const struct store_table *table, struct arena *arena,
		   struct store_schema *schema, struct error *err);
void pg_schema_whole(const struct store_table *const *tables, size_t count, struct arena *arena,
		     struct store_schema *schema);
int pg_schema_apply(PGconn *conn, const struct store_table *const *tables, size_t count,
		    store_applied_fn *applied, void *user, struct error *err);

/* --- for administrators: store_postgres_look.c; both block --- */
int pg_look(const char *rest, const struct store_table *const *tables, size_t count, struct arena *arena,
	    struct store_schema *schema, struct error *err);
int pg_apply(const char *rest, const struct store_options *options, const struct store_table *const *tables,
	     size_t count, store_applied_fn *applied, void *user, struct error *err);

/* --- rows of scrape_request_log: store_postgres_task.c --- */
#define PG_TIME(column) "to_char(" column ", 'YYYY-MM-DD HH24:MI:SS.MS')"
#define PG_NOW_MS "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
#define PG_UTC_NOW "timezone('UTC', now())"
#define PG_EVENT_COLUMNS \
	"s.id, s.flow, s.platform, coalesce(s.params, '{}'), s.account_id, s.source, s.status, s.priority," \
	" s.reason, " \
	PG_TIME("s.created_at") ", " PG_TIME("s.picked_at") ", " PG_TIME("s.expires_at") \
	", coalesce(s.retry_count, 1), s.attempt, s.max_attempts, s.crashes, s.alone::int, s.commit_seq"
#define PG_EVENT_COUNT 18
#define PG_TASK_COLUMNS PG_EVENT_COLUMNS \
	", s.data, s.checkpoint, s.worker, s.error_code, s.unique_key, " PG_TIME("s.scraped_at") \
	", s.run_after, s.lease_until, s.lease_token"
#define PG_TASK_COUNT 27
/*
 * For tasks that are asked for by their ids. Not s.status = 'PROCESSING': where statistics know of few such
 * tasks the planner would go through the index of all leases for each of the ids.
 */
#define PG_PROCESSING "s.status || '' = 'PROCESSING'"
#define PG_READY "s.status = 'PENDING' AND s.run_after IS NULL AND s.crashes < 2"
#define PG_ALONE "s.status = 'PENDING' AND s.run_after IS NULL AND s.crashes >= 2"
#define PG_FRESH "(s.expires_at IS NULL OR s.expires_at > " PG_UTC_NOW ")"
/* A row selected by PG_EVENT_COLUMNS, or by PG_TASK_COLUMNS when whole. */
void pg_task_read(const PGresult *result, int row, bool whole, struct arena *arena, struct task_row *row_r);

/* A statement that inserts new tasks. skip: those with a twin are left out, and the ids of the others are its result. */
void pg_add_new_tasks(struct pg_request *request, const struct store_new_task *const *tasks, const int64_t *ids,
		      size_t count, int64_t now_ms, bool skip);
/* The event that a new task leaves. */
void pg_new_task_event(struct group_outbox *outbox, const struct store_new_task *task, int64_t id, int64_t now_ms,
		       struct pg_request *request);

/* --- failures that flows remember: store_postgres_failure.c --- */
/* Whether any of the tasks asks for them. */
bool pg_failures_asked(const struct store_new_task *const *tasks, size_t count);
/* A statement that asks which tasks are not to be made; then its result, into their skips: how many they are. */
void pg_add_skips(struct pg_request *request, const struct store_new_task *const *tasks, size_t count, int64_t now_ms);
size_t pg_take_skips(const PGresult *result, const struct store_new_task *const *tasks, size_t count);
/* Statements for what the ends of these members with a skip_key change; rows: beside them. */
void pg_add_failures(struct pg_request *request, struct store_commit *const *members, const struct task_row *rows,
		     size_t count, int64_t now_ms);

/* --- outbox: store_postgres_outbox.c --- */
/* Statements that write the rows and their totals. */
void pg_add_outbox(struct pg_request *request, struct group_outbox *outbox, int64_t now_ms);
/* A row of a result: id, queue, events, created_ms, payload, bytes and packed from column first on. */
void pg_outbox_row(const PGresult *result, int row, int first, struct arena *arena, struct store_outbox_row *row_r);
/* A statement that deletes the rows that are still there, and counts them out. */
void pg_add_outbox_delete(struct pg_request *request, const int64_t *ids, size_t count);

/* --- hints: store_postgres_listen.c --- */
void pg_hint(struct pg_store *store, const char *flow);
void pg_listen_close(struct pg_store *store);

/* --- the operations, for the driver's table --- */
void pg_submit(struct store *store, const struct store_new_task *tasks, size_t count, store_ids_fn *done,
	       void *user);
void pg_claim(struct store *store, struct store_claim *claim, store_claimed_fn *done, void *user);
void pg_commit(struct store *store, struct store_commit *group, size_t count, store_done_fn *done,
	       void *user);
void pg_extend(struct store *store, struct store_lease *leases, size_t count, int64_t lease_ms,
	       store_done_fn *done, void *user);
void pg_rescue(struct store *store, store_count_fn *done, void *user);
void pg_ready(struct store *store, store_depth_fn *done, void *user);
void pg_schedules(struct store *store, store_schedules_fn *done, void *user);
void pg_slot(struct store *store, const struct store_slot *step, store_schedules_fn *done, void *user);
void pg_query(struct store *store, const char *sql, size_t max_rows, store_json_fn *done, void *user);
void pg_failures(struct store *store, const struct store_failure_filter *filter, store_failures_fn *done, void *user);
void pg_forget(struct store *store, const struct store_forget *forget, store_count_fn *done, void *user);
void pg_sweep(struct store *store, struct store_sweep *sweep, store_done_fn *done, void *user);
void pg_lookup(struct store *store, const struct store_table *table, const char *column, const char *value,
	       size_t limit, store_json_fn *done, void *user);
void pg_outbox_read(struct store *store, const char *queue, const int64_t *skip, size_t skip_count,
		    size_t max_rows, size_t max_bytes, store_outbox_fn *done, void *user);
void pg_outbox_last(struct store *store, store_count_fn *done, void *user);
void pg_outbox_delete(struct store *store, const int64_t *ids, size_t count, store_done_fn *done, void *user);
void pg_shards_lease(struct store *store, const struct store_shard_lease *lease, store_shards_fn *done, void *user);
void pg_turn(struct store *store, const struct store_turn *turn, store_turn_fn *done, void *user);
void pg_outbox_get(struct store *store, const int64_t *ids, size_t count, store_outbox_fn *done, void *user);
void pg_hold(struct store *store, const char *name, const char *holder, int64_t hold_ms, store_count_fn *done,
	     void *user);
void pg_outbox_adopt(struct store *store, store_count_fn *done, void *user);
void pg_dead_letter(struct store *store, const struct store_dead *letters, size_t count, store_done_fn *done,
		    void *user);
void pg_dead_read(struct store *store, const struct store_letter_filter *filter, store_letters_fn *done, void *user);
void pg_dead_replay(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
void pg_dead_drop(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
void pg_credential_put(struct store *store, const struct store_credential *rows, size_t count,
			 store_ids_fn *done, void *user);
void pg_credential_read(struct store *store, const struct store_credential_filter *filter,
			  store_credentials_fn *done, void *user);
void pg_credential_change(struct store *store, const struct store_credential_change *changes, size_t count,
			    store_count_fn *done, void *user);
void pg_sources(struct store *store, size_t limit, store_sources_fn *done, void *user);
void pg_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done,
	void *user);
void pg_outbox_bytes(struct store *store, store_count_fn *done, void *user);
void pg_task_list(struct store *store, const struct store_task_filter *filter, store_json_fn *done,
		  void *user);
void pg_task_get(struct store *store, int64_t id, store_json_fn *done, void *user);
void pg_progress(struct store *store, const int64_t *ids, size_t count, store_depth_fn *done, void *user);
void pg_depths(struct store *store, store_depth_fn *done, void *user);
void pg_dead_list(struct store *store, const char *queue, size_t limit, store_json_fn *done, void *user);
void pg_outbox_totals(struct store *store, store_json_fn *done, void *user);
void pg_listen(struct store *store, store_hint_fn *fn, void *user);

#endif
