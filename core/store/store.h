/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task store: tasks, current state and the outbox, in one database so that
 * one transaction covers all three. A family of drivers behind one ops struct,
 * found by URL scheme (sqlite:, postgresql:). Callers use the store_*
 * functions.
 *
 * Asynchronous: a request returns at once, its callback runs later on the loop
 * thread that opened the store, exactly once, with err->code ERR_NONE on
 * success. Request structs and what they point to belong to the caller and
 * stay valid until the callback; results are valid during the callback only.
 * Callbacks may make further requests. A store is used by one thread.
 */
#ifndef SLUICE_STORE_STORE_H
#define SLUICE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;
struct loop;
struct store;

/* --- tasks --- */
enum task_status { TASK_PENDING, TASK_PROCESSING, TASK_COMPLETE, TASK_FAILED };
const char *task_status_name(enum task_status status);	/* "PENDING", … */

struct task_row {		/* a row of scrape_request_log; texts are NULL for null */
	int64_t id;
	const char *flow, *platform, *params, *account_id, *source;
	enum task_status status;
	int priority;
	const char *data, *checkpoint, *worker, *error_code, *unique_key, *reason;
	const char *created_at, *scraped_at, *picked_at, *expires_at;	/* "YYYY-MM-DD HH:MM:SS.mmm" UTC */
	int attempt, max_attempts, crashes, retry_count;
	bool alone;			/* claimed to run with nothing beside it in its process */
	int64_t run_after_ms, lease_until_ms;	/* wall clock; 0 = none */
	int64_t lease_token, commit_seq;
};

/* Bytes of an error that are kept with a failure, the zero included. */
#define STORE_FAILURE_TEXT 200
/*
 * What a new task asks of the failures that its flow remembers (store_commit
 * says which): so many for the same key within so long, and it is not made.
 */
struct store_skip {
	const char *key;
	int failures;			/* at least 1 */
	int64_t period_ms;
	bool skipped;			/* set before the callback; when it is true: */
	int64_t count, first_ms;	/* how many there are, and the wall clock of the first */
	char error[STORE_FAILURE_TEXT];	/* what the last one said */
};

struct store_new_task {
	const char *flow, *platform, *params;	/* params: a JSON object that was checked */
	const char *account_id, *reason;
	const char *unique_key;			/* at most one live task of the flow has it; NULL = none */
	const char *idempotency_key;		/* at most one task has it, live or not; NULL = none */
	int priority;				/* 1 is most urgent */
	int max_attempts;
	int64_t expires_at_ms, run_after_ms;	/* 0 = none */
	struct store_skip *skip;		/* NULL: made whatever failed before */
};

/* --- tables that plugins declare (plain data, so that the store knows no plugin) --- */
enum store_type {
	STORE_BIGINT, STORE_DOUBLE, STORE_TEXT, STORE_BOOLEAN, STORE_JSON, STORE_TIMESTAMP, STORE_TEXT_ARRAY
};
enum store_rule { STORE_KEEP, STORE_OVERWRITE, STORE_ONCE };
struct store_column {
	const char *name;
	enum store_type type;
	enum store_rule rule;
	bool written;			/* false: exists, but no upsert writes it */
};
struct store_table {
	const char *name;
	const char *key_column;		/* NULL: append-only */
	bool stamped;			/* created_at, updated_at kept by the store */
	const struct store_column *columns;
	size_t column_count;
	const char *const *indexes;
	size_t index_count;
};

/* --- one commit --- */
struct store_upsert {
	const struct store_table *table;
	const char *key;			/* NULL when append-only */
	const char *const *values;		/* one per column; NULL = null */
};
struct store_outbox {			/* events of one stream, newline-separated JSON */
	const char *queue;	/* direct: one row per bound queue; relayed: where it is published (bus_address) */
	const char *payload;
	size_t payload_len;
	uint32_t events;
};
/* What becomes of the task with this commit. */
enum store_end {
	STORE_SLICE,		/* goes on: checkpoint and a longer lease */
	STORE_RELEASE,		/* back to PENDING with its checkpoint; no attempt counted */
	STORE_RETRY,		/* back to PENDING at run_after_ms; attempt + 1 */
	STORE_COMPLETE,
	STORE_FAIL
};
struct store_commit {			/* one task's part of a group */
	int64_t task_id, lease_token, commit_seq;	/* the fence */
	enum store_end end;
	const char *data;		/* COMPLETE: JSON; FAIL and RETRY: "(status, 'text')" */
	const char *error_code;		/* FAIL, RETRY: "gone", "fail", "retry", "timeout", … */
	const char *checkpoint;		/* SLICE, RELEASE, RETRY; NULL = none */
	int64_t lease_until_ms;		/* SLICE */
	int64_t run_after_ms;		/* RETRY, RELEASE; 0 = at once */
	const struct store_upsert *upserts;
	size_t upsert_count;
	const struct store_outbox *outbox;	/* merged by queue over the group when written */
	size_t outbox_count;
	uint32_t requests, events;	/* made for this part of the task: added to its flow's totals */
	/* What the task is for, of a flow that remembers failures; COMPLETE forgets those of the key. NULL: of no such flow. */
	const char *skip_key;
	int64_t failure_ms;		/* FAIL: is remembered for so long; 0: it is not */
	enum store_outcome {
		STORE_COMMITTED,
		STORE_LOST,		/* the fence did not match: nothing of this task was written */
		STORE_REFUSED		/* the data itself was refused (error says why); nothing written */
	} outcome;			/* set before the callback */
	struct error error;		/* STORE_REFUSED */
};

struct store_claim {
	const char *const *flows;
	const size_t *slots;		/* how many of each flow at most */
	size_t flow_count;
	const char *worker;		/* node/role/pid, for people */
	int64_t lease_ms;
	/* Nothing runs here: may take one task that has to run alone (crashes > 1), and only that. */
	bool alone_allowed;
	bool alone_waiting;	/* set before the callback: such a task is ready but was not allowed */
};

struct store_lease {
	int64_t task_id, lease_token;
	bool lost;			/* set before the callback: somebody else has it */
};

struct store_outbox_row {
	int64_t id;
	const char *queue;
	const char *payload;	/* the events, or, packed, LZ4 frames of them, each with its newline */
	size_t payload_len;
	bool packed;
	size_t bytes;			/* of the events, not packed */
	uint32_t events;
	int64_t created_ms;		/* wall clock, for the age of what waits */
	const char *headers;	/* JSON object, of a dead letter that was sent again (see store_dead_replay), or NULL */
};

struct store_letter {			/* a dead letter; times are "YYYY-MM-DD HH:MM:SS.mmm" UTC */
	int64_t id;
	const char *queue, *dedup_id;
	const char *payload;		/* NULL when it was not asked for */
	size_t payload_len;		/* known anyway */
	const char *reason, *code;	/* may be NULL */
	const char *first_at, *last_at;
	int64_t count;			/* how often it became one */
};

/*
 * Relays share the outbox by shards: a group's rows draw one of them, and who
 * holds a shard's lease sends its rows. The lease row notes the ids that are
 * being sent, so that a successor knows what may have arrived.
 */
#define STORE_SHARDS 16
struct store_shard {
	int shard;			/* 0 … STORE_SHARDS - 1 */
	int64_t token;			/* fences: a new one with each holder */
	const int64_t *noted;		/* what the last holder was sending and did not delete */
	size_t noted_count;
};
struct store_shard_lease {		/* a request */
	const char *relay;		/* its name: unique among all processes that ever were */
	int64_t lease_ms;
	const struct store_shard *held;	/* leases to extend; noted is ignored */
	size_t held_count;
	const struct store_shard *given_up;	/* nothing of theirs is being sent any more; free at once */
	size_t given_up_count;
	bool leaving;			/* takes nothing, is no relay any more */
};
struct store_turn {			/* a request */
	const struct store_shard *shards;	/* held; noted is ignored */
	size_t shard_count;
	const int64_t *sent;		/* arrived: their rows go */
	size_t sent_count;
	size_t max_rows, max_bytes;	/* of what is answered; one row always fits */
};

struct store_depth {			/* tasks of one flow */
	const char *name;
	int64_t pending;		/* ready now; store_ready counts to 1,000 and no further */
	int64_t scheduled;		/* pending, but not before run_after */
	int64_t alone;			/* of pending: those that have to run alone */
	int64_t processing, complete, failed;
	int64_t requests, events;	/* upstream requests and events of its committed work, since the store was made */
};

/* --- schedules --- */
struct store_schedule {			/* a row; texts are NULL for null */
	const char *name;
	const char *spec;		/* what its slots are counted by; with another one it begins anew */
	int64_t slot_ms;		/* wall clock: the last slot that was begun; at first: from when on there are any */
	const char *list;		/* what stands for the list that tasks are being made of */
	int64_t done;			/* how many entries of it are dealt with */
	bool finished;
	int64_t made, skipped, refused;	/* of this slot: tasks; entries that had a live twin; entries that were wrong */
	int64_t failing;		/* … and entries that were left out for what failed before (struct store_skip) */
	const char *error;		/* why the slot, or an entry, could not be carried out */
	int64_t changed_ms;		/* wall clock */
	int64_t slots, missed, tasks, skips;	/* since it is known: carried out, passed over; tasks made, skipped */
	int64_t fails;			/* … and left out for what failed before */
};
/*
 * A step of carrying out a slot, in one transaction: the next tasks of its list,
 * and how far it has come. Tasks with a live twin by unique_key, or whose
 * idempotency_key is there already, are skipped; so are, counted apart, those
 * that failed too often (skip).
 */
struct store_slot {
	const char *schedule, *spec;
	int64_t slot_ms;		/* later than the schedule's: begins it */
	bool first;			/* makes no task: slots up to slot_ms are past, of a schedule that has not this spec yet */
	const char *list;
	int64_t from;			/* where in the list it goes on: what the row says, or 0 when the list is another */
	const struct store_new_task *tasks;
	size_t count;
	int64_t refused;		/* entries beside the tasks that could not become any */
	const char *error;		/* NULL: none */
	int64_t missed;			/* slots passed over, when it begins one */
	bool over;			/* this slot is passed over, too: it is among missed */
	bool last;			/* the slot is finished with it */
};

/* Tasks that ended long ago, removed in steps: one pass goes through all tasks by their ids. */
struct store_sweep {			/* a request */
	int64_t after_id;		/* 0 at first; set before the callback: where the next step goes on */
	int64_t complete_before_ms, failed_before_ms;	/* wall clock: ended before that; 0: none of that kind */
	int64_t removed;		/* set before the callback */
	bool over;			/* set before the callback: no task behind after_id is so old */
};

/* Failures that flows remember, one row for all of the same flow and key. */
struct store_failure {
	const char *flow, *key;
	int64_t count, first_ms, last_ms;	/* wall clock */
	const char *error;			/* of the last */
};
struct store_failure_filter {
	const char *flow;		/* NULL: of all flows */
	const char *key;		/* NULL: of all keys */
	int64_t after_ms;		/* wall clock: only failures after that */
	int64_t least;			/* only keys with at least so many of them */
	size_t limit;			/* keys */
};
struct store_forget {
	const char *flow, *key;		/* as above */
	int64_t over_ms;		/* wall clock: only what has not to be remembered from then on; 0: all */
};

typedef void store_done_fn(void *user, const struct error *err);
typedef void store_schedules_fn(void *user, const struct store_schedule *rows, size_t count,
				const struct error *err);

/*
 * Credentials of sources. One is usable when it is enabled and disabled_till
 * has passed or is not set; nothing else counts. The store knows no key: what
 * credentials holds is sealed by whom it belongs to (core/credential).
 */
struct store_credential {		/* a row of credential; texts are NULL for null */
	int64_t id;
	const char *idempotency_key;	/* unique; of rows the original wrote it may hold a secret */
	const char *source, *handle;
	const char *credentials;	/* a JSON object */
	const char *key_id;		/* of the key it is sealed with */
	const char *limits;		/* "100/30s, 20000/day" */
	bool enabled, data_access_expired;
	int64_t disabled_till_ms, last_used_ms;		/* wall clock; 0 = none */
	const char *reason;		/* why it is disabled or parked */
	int64_t failures;		/* times in a row that it was parked without being told for how long */
	const char *created_at, *updated_at;	/* "YYYY-MM-DD HH:MM:SS.mmm" UTC */
};
struct store_credential_filter {
	const char *const *sources;	/* only of these; */
	size_t source_count;		/* 0: all */
	const int64_t *ids;		/* only these, as far as they are there; */
	size_t id_count;		/* 0: all */
	int64_t after_id;		/* only higher ids */
	size_t limit;
};
/* Each may be repeated without harm. All but USED set updated_at. */
enum store_credential_action {
	STORE_CREDENTIAL_PARK,		/* until at_ms, never shortened; reason, failures when more than there were */
	STORE_CREDENTIAL_DISABLE,	/* until ENABLE; reason */
	STORE_CREDENTIAL_EXPIRE,	/* as DISABLE, and data_access_expired */
	STORE_CREDENTIAL_ENABLE,	/* forgets everything that was said against it */
	STORE_CREDENTIAL_WORKED,	/* forgets failures, unless it is parked */
	STORE_CREDENTIAL_USED,		/* at at_ms */
	STORE_CREDENTIAL_SEAL,		/* credentials, key_id and idempotency_key, if credentials are was */
	STORE_CREDENTIAL_REMOVE
};
struct store_credential_change {
	enum store_credential_action action;
	int64_t id;
	int64_t at_ms, failures;
	const char *reason;
	const char *was, *credentials, *key_id, *idempotency_key;
};

/*
 * What all nodes know of a source, or of one handle of it: that it was stopped
 * by command, or that its breaker is open and who may try it. What is not there
 * is in order. Times are counted by the store's clock.
 */
struct store_source {			/* a row of source_state; texts are NULL for null */
	const char *source;
	const char *handle;		/* "": of the source itself */
	bool stopped;			/* by command; else the breaker is open */
	const char *reason;
	const char *node;		/* who said so, for people */
	int64_t failures;		/* of the breaker: those in a row that opened it, and those who tried since */
	int64_t since_ms;		/* wall clock */
	int64_t pause_ms;		/* before the next may try */
	int64_t probe_in_ms;		/* from the answer on: nobody may try before; may be negative */
	const char *probe;		/* token of the one that tries, or NULL */
};
/* Each may be repeated without harm. */
enum store_source_action {
	STORE_SOURCE_OPEN,	/* the breaker, unless it is open: reason, node, failures; the next tries in ms */
	STORE_SOURCE_PROBE,	/* takes the probe for ms, if it is nobody's now: then it has this token */
	STORE_SOURCE_FAILED,	/* the probe with this token did; reason; its pause doubles up to ms */
	STORE_SOURCE_LEAVE,	/* the probe with this token was not made: the next one at once */
	STORE_SOURCE_CLOSE,	/* the breaker */
	STORE_SOURCE_STOP,	/* the source and all its handles: reason, node */
	STORE_SOURCE_START	/* forgets all of the source and its handles */
};
struct store_source_change {
	enum store_source_action action;
	const char *source, *handle;	/* handle: "" with STOP and START */
	const char *token, *reason, *node;
	int64_t failures, ms;
};

typedef void store_sources_fn(void *user, const struct store_source *rows, size_t count, const struct error *err);
typedef void store_credentials_fn(void *user, const struct store_credential *rows, size_t count,
				  const struct error *err);
typedef void store_claimed_fn(void *user, const struct task_row *rows, size_t count, const struct error *err);
typedef void store_ids_fn(void *user, const int64_t *ids, size_t count, const struct error *err);
typedef void store_outbox_fn(void *user, const struct store_outbox_row *rows, size_t count,
			     const struct error *err);
/* held: those of the request that still are the relay's, and with a lease request those it got. */
typedef void store_shards_fn(void *user, const struct store_shard *held, size_t count, size_t relays,
			     const struct error *err);
typedef void store_turn_fn(void *user, const struct store_shard *held, size_t held_count,
			   const struct store_outbox_row *rows, size_t count, const struct error *err);
typedef void store_letters_fn(void *user, const struct store_letter *rows, size_t count, const struct error *err);
typedef void store_json_fn(void *user, const char *json, size_t len, const struct error *err);
typedef void store_count_fn(void *user, int64_t count, const struct error *err);
typedef void store_failures_fn(void *user, const struct store_failure *rows, size_t count, const struct error *err);
typedef void store_depth_fn(void *user, const struct store_depth *rows, size_t count,
			    const struct error *err);
/* flow: which has new tasks; NULL: any may have. Valid during the call. */
typedef void store_hint_fn(void *user, const char *flow);

struct store_options {
	const char *status_queues;	/* queues that take task status events, with commas; NULL: dropped */
	int64_t busy_ms;		/* how long to wait for another process's transaction */
	int crash_limit;		/* crashes alone before a task is quarantined (20) */
	int64_t outbox_row_bytes;	/* an outbox row ends before it grows beyond this (256 KiB) … */
	int64_t outbox_row_events;	/* … or this many events (500); one event is never cut */
	bool relayed;			/* outbox rows are for relays: each group's get a shard */
	bool packed;			/* outbox rows of several events are packed; this build must be able to */
	const char *gate;		/* file by which processes share connections to a server, read by store_open; NULL: no limit */
	int gate_places;		/* that all of them together may have */
};
/* Zero members of the options take the defaults in brackets; busy_ms 30,000. */

/* What a store did since it was opened; read on the loop thread at any time. */
struct store_stats {
	uint64_t requests, errors;	/* answered, and answered with an error */
	uint64_t transactions;		/* commits, each with its fsync */
	uint64_t grouped;		/* writing requests that were carried by them */
	uint64_t busy_ms;		/* time spent waiting for other processes' transactions */
	uint64_t pending;		/* requests not yet answered */
};

/* Opens (creating and migrating when create is set). NULL and err when it cannot. Blocks: start-up only. */
struct store *store_open(struct loop *loop, const char *url, const struct store_options *options, bool create,
			 struct error *err);
/* Finishes what is under way, then closes. Pending callbacks run with ERR_CANCELLED. */
void store_close(struct store **store);
bool store_shared(const struct store *store);	/* by several nodes, or it belongs to one daemon */
const char *store_id(const struct store *store);	/* a UUID made when the store was created */
void store_stats(const struct store *store, struct store_stats *stats_r);
/* Whether a driver knows url's scheme; err says which there are. 0 or -1. */
int store_check_url(const char *url, struct error *err);

/*
 * Creates or widens the tables plugins declare. A column of another type is
 * ERR_INPUT naming both. Blocks: start-up only, before the first request.
 */
int store_ensure_tables(struct store *store, const struct store_table *const *tables, size_t count,
			struct error *err);

/*
 * Creates tasks (PENDING) with their status events, all or none. A live twin by
 * unique_key: ERR_INPUT. ids: 0 for a task that was not made (see its skip).
 */
void store_submit(struct store *store, const struct store_new_task *tasks, size_t count, store_ids_fn *done,
		  void *user);
/*
 * Takes ready tasks, most urgent first within each flow, with a fresh
 * lease_token each and a PROCESSING event, in one transaction. Expired tasks
 * are passed over. Cheap when nothing is ready.
 */
void store_claim(struct store *store, struct store_claim *claim, store_claimed_fn *done, void *user);
/*
 * Commits a group in two steps: locks the tasks under (lease_token,
 * commit_seq), then writes upserts (merged per key, ordered by table and key),
 * outbox rows (one per queue, cut at outbox_row_bytes and _events), status events and
 * the tasks with commit_seq + 1. Each outcome is set. An error is the store's:
 * nothing was written and the group may be repeated, except ERR_UNCLEAR, which
 * the driver has already tried to read back.
 */
void store_commit(struct store *store, struct store_commit *group, size_t count, store_done_fn *done,
		  void *user);
void store_extend(struct store *store, struct store_lease *leases, size_t count, int64_t lease_ms,
		  store_done_fn *done, void *user);
/*
 * Housekeeping by the timer: expired leases back to PENDING with crashes + 1
 * (FAILED with error_code "crash" at the limit), due rows made ready, PENDING
 * rows past expires_at FAILED with error_code "expired". count: rows changed;
 * at most 500 of each kind, so repeat at once while it is not 0.
 */
void store_rescue(struct store *store, store_count_fn *done, void *user);
/* All schedules that were ever carried out, by name. */
void store_schedules(struct store *store, store_schedules_fn *done, void *user);
/* rows: the schedule after the step; none: the step does not fit (somebody else took it), nothing was written. */
void store_slot(struct store *store, const struct store_slot *step, store_schedules_fn *done, void *user);
/*
 * Runs one SELECT and gives its rows as a JSON array of objects. Nothing can be
 * changed by it. ERR_INPUT when it is no such statement, ERR_LIMIT when it has
 * more than max_rows or runs for longer than 30 seconds.
 */
void store_query(struct store *store, const char *sql, size_t max_rows, store_json_fn *done, void *user);
/* Those that failed last come first. */
void store_failures(struct store *store, const struct store_failure_filter *filter, store_failures_fn *done,
		    void *user);
/* count: failures forgotten; at most 500, so repeat until it is 0. */
void store_forget(struct store *store, const struct store_forget *forget, store_count_fn *done, void *user);
/* Removes at most 500 tasks, looking at no more than 2,000. */
void store_sweep(struct store *store, struct store_sweep *sweep, store_done_fn *done, void *user);
/* Flows that have ready rows, with how many: what the timer nudges workers about. */
void store_ready(struct store *store, store_depth_fn *done, void *user);
/*
 * Calls fn, until the store is closed, soon after tasks were submitted anywhere.
 * A hint and no more: some are merged, some get lost, so the caller polls
 * besides. false: this store gives none.
 */
bool store_listen(struct store *store, store_hint_fn *fn, void *user);
/* Rows of table where column = value, at most limit, newest id first, as a JSON array of objects. */
void store_lookup(struct store *store, const struct store_table *table, const char *column, const char *value,
		  size_t limit, store_json_fn *done, void *user);

/* --- outbox, for direct: sinks and relays --- */
/* Rows of queue, not for relays, by id that are not among skip (copied), up to max_rows and max_bytes, but at least one. */
void store_outbox_read(struct store *store, const char *queue, const int64_t *skip, size_t skip_count,
		       size_t max_rows, size_t max_bytes, store_outbox_fn *done, void *user);
/*
 * A relay is alive for lease_ms after each lease request. It gets free shards
 * until it has its part of them, counted by the relays that are alive (relays,
 * itself included); who holds more than that gives up shards with the next request.
 */
void store_shards_lease(struct store *store, const struct store_shard_lease *lease, store_shards_fn *done, void *user);
/*
 * In one transaction: deletes what was sent, reads the next rows of the shards
 * by id, and notes these rows' ids as being sent. Shards whose lease has ended
 * are left alone. Cheap when nothing is to delete or to read.
 */
void store_turn(struct store *store, const struct store_turn *turn, store_turn_fn *done, void *user);
/* Rows by their ids; those that are gone are passed over. */
void store_outbox_get(struct store *store, const int64_t *ids, size_t count, store_outbox_fn *done, void *user);
/*
 * One at a time may do what name stands for: holder may for hold_ms from now on,
 * and go on by asking again; who has the same holder's name is the same to the
 * store. count: 1 = it may, 0 = somebody else does.
 */
void store_hold(struct store *store, const char *name, const char *holder, int64_t hold_ms, store_count_fn *done,
		void *user);
/*
 * The events of a row that was read: borrowed from it, or unpacked, in the arena.
 * ERR_CONTENT: it is damaged; the text is what there is, as hexadecimal digits.
 */
int store_outbox_text(const struct store_outbox_row *row, struct arena *arena, const char **text_r, size_t *len_r,
		      struct error *err);
/* Rows written for direct: readers become relays' rows; their queue stays. count: rows. */
void store_outbox_adopt(struct store *store, store_count_fn *done, void *user);
/* The highest id an outbox row ever had: rows up to it are older than this moment. */
void store_outbox_last(struct store *store, store_count_fn *done, void *user);
/* Ids that are gone already are passed over. */
void store_outbox_delete(struct store *store, const int64_t *ids, size_t count, store_done_fn *done,
			 void *user);
/* What cannot be delivered, kept with the reason. Its outbox row is its reader's to delete. */
struct store_dead {
	const char *queue;		/* the queue it was meant for */
	const char *payload;		/* the one message or event */
	size_t payload_len;
	const char *reason;
	const char *code;		/* short: "json", "column", "warehouse 53" */
	const char *dedup_id;		/* a repeat of it is counted, not stored; NULL: hash of the payload */
	int64_t first_ms;		/* of one that was sent again: when it became a letter first; 0: now */
	int64_t count;			/* … and how often it was one before */
};
void store_dead_letter(struct store *store, const struct store_dead *letters, size_t count,
		       store_done_fn *done, void *user);
struct store_letter_filter {
	const char *queue;		/* NULL: all */
	const int64_t *ids;		/* only these, as far as they are there; */
	size_t id_count;		/* 0: all */
	int64_t after_id;		/* only higher ids */
	size_t limit;
	bool payload;			/* read the payloads too */
};
/* In the order of their ids, which is the order they came in. */
void store_dead_read(struct store *store, const struct store_letter_filter *filter, store_letters_fn *done,
		     void *user);
/*
 * Puts letters back into the outbox of their queue, a row each, and deletes
 * them, in one transaction. The row's headers say which letter it was, so that
 * its event keeps the identity it had: {"x-sluice-id": dedup_id, "x-sluice-first":
 * first_at, "x-sluice-count": count}. count: of those that still were there;
 * too small when the store's first answer was lost.
 */
void store_dead_replay(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
/* Deletes letters for good. count as above. */
void store_dead_drop(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
/*
 * Writes credentials, all or none: enabled, with nothing said against them. id
 * 0: a new one, or the one that has its idempotency_key; else the one of this
 * id. ids: of each, 0 where there is none of its id.
 */
void store_credential_put(struct store *store, const struct store_credential *rows, size_t count,
			  store_ids_fn *done, void *user);
/* By id. */
void store_credential_read(struct store *store, const struct store_credential_filter *filter,
			   store_credentials_fn *done, void *user);
/* All or none. count: of those that changed; one that is not there, or is as it should be, does not. */
void store_credential_change(struct store *store, const struct store_credential_change *changes, size_t count,
			     store_count_fn *done, void *user);
/* The first limit rows: what is stopped, then open breakers, the newest first. */
void store_sources(struct store *store, size_t limit, store_sources_fn *done, void *user);
/* rows: those of its source and handle after the change. */
void store_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done,
			 void *user);
/* Bytes waiting in the outbox, for outbox.max_bytes. */
void store_outbox_bytes(struct store *store, store_count_fn *done, void *user);

/* --- for sluicectl: JSON arrays of objects --- */
struct store_task_filter {
	const char *flow;		/* NULL = all */
	const char *status;		/* NULL = all */
	int64_t before_id;		/* 0 = newest first from the end */
	size_t limit;
};
void store_task_list(struct store *store, const struct store_task_filter *filter, store_json_fn *done,
		     void *user);
void store_task_get(struct store *store, int64_t id, store_json_fn *done, void *user);	/* ERR_NOT_FOUND */
/* How many of these tasks are in which state, as one depth of name ""; ids that are gone count nowhere. */
void store_progress(struct store *store, const int64_t *ids, size_t count, store_depth_fn *done, void *user);
/* Tasks of every flow, all members counted fully. */
void store_depths(struct store *store, store_depth_fn *done, void *user);
void store_dead_list(struct store *store, const char *queue, size_t limit, store_json_fn *done, void *user);
/*
 * Events committed to the outbox since the store was made, and what waits now:
 * [{queue, events, waiting_rows, waiting_events, waiting_bytes}]
 */
void store_outbox_totals(struct store *store, store_json_fn *done, void *user);

/*
 * --- the schema, for administrators ---
 *
 * What store_open with create and store_ensure_tables do, told before it is
 * done. All of it blocks, and needs no loop.
 */
struct store_step {		/* what brings a store up to date, in order */
	int64_t version;	/* the one a migration leads to; 0: it is a table of a plugin's */
	const char *name;	/* the migration's, or the table's */
	const char *sql;	/* each statement ends with ";\n" */
};
enum store_finding_kind {
	STORE_MISSING,		/* a step puts it right */
	STORE_WRONG,		/* none does: the store cannot be used as it is */
	STORE_WARNING		/* it can be used, but */
};
struct store_finding {
	enum store_finding_kind kind;
	const char *text, *todo;
};
/* How many connections the server lets this user have to this database. */
struct store_connections {
	int64_t most;		/* the least of what follows; 0: nothing limits them */
	int64_t server, reserved;	/* max_connections, and those of it that are for others */
	int64_t role, database;	/* -1: no limit of its own */
};
struct store_schema {
	const char *server;		/* "SQLite 3.40.1" */
	int64_t version, newest;	/* of the store (0: it is empty, or not there), of this program */
	/* For doing it by hand: what to run first, and around the steps to make them one transaction. */
	const char *before, *begin, *commit;
	struct store_step *steps;
	size_t step_count;
	struct store_finding *findings;
	size_t finding_count;
	struct store_connections connections;
};
/*
 * Looks at a store without changing it: what it lacks of the newest schema and
 * of the tables, and what is wrong with it. All in the arena. -1 when it cannot
 * be looked at. A store that is not there lacks everything.
 */
int store_schema_read(const char *url, const struct store_table *const *tables, size_t count,
		      struct arena *arena, struct store_schema *schema_r, struct error *err);
/* The whole schema, as for an empty store; none is asked. */
int store_schema_whole(const char *url, const struct store_table *const *tables, size_t count,
		       struct arena *arena, struct store_schema *schema_r, struct error *err);
typedef void store_applied_fn(void *user, const struct store_step *step);
/* Takes the steps there are, and makes a store that is not there; applied is called after each is committed.
 */
int store_schema_apply(const char *url, const struct store_table *const *tables, size_t count,
		       store_applied_fn *applied, void *user, struct error *err);

#endif
