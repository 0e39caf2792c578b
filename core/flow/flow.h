/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow engine: runs one task's callbacks (retrieve, build, parse, page,
 * emit) and keeps what they made. It does no I/O and reads no clock of its
 * own, so the worker, `sluicectl flow try` and the tests drive the same code.
 *
 * Life of a task:
 *
 *     flow_task_new ── flow_task_resume ──► state FLOW_CALLS
 *        ▲                                     │ flow_task_next_call: a call to carry out
 *        │ round over: retrieve                │ flow_call_choose, flow_call_request / flow_call_table
 *        │ adds none: FLOW_DONE                ▼
 *        └───────────── flow_call_response / flow_call_failed
 *
 * Responses may come in any order; they are parsed in the order of the calls.
 * One thread owns a task. A callback that makes the task fail sets FLOW_FAILED.
 */
#ifndef SLUICE_FLOW_FLOW_H
#define SLUICE_FLOW_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include <sluice/plugin.h>

#include "base/buf.h"
#include "base/error.h"

struct arena;
struct json;
struct plugin;			/* a loaded plugin: plugin/plugin.h */
struct flow_task;
struct flow_call;
struct flow_secrets;

enum flow_retry {
	FLOW_RETRY_NO,
	FLOW_RETRY_YES,
	FLOW_RETRY_ASK		/* the driver has to ask: FLOW_STEP_ASK */
};

/* Limits and settings every task of a process shares. */
struct flow_env {
	const char *store_id;		/* goes into event identities */
	int64_t event_max;		/* bytes of one event */
	int64_t facts_max;		/* bytes of facts per task */
	int64_t slice_records;
	int64_t slice_bytes;
	unsigned int calls_in_flight;
	unsigned int call_retries;
	int64_t (*now_ms)(void);	/* the clock; replaced in tests and replays */
	/* Value of option name of plugin, from flows.yaml; NULL: its default. */
	const char *(*option)(const struct plugin *plugin, const char *name);
	/*
	 * Whether a call that ended with SL_RETRY may be repeated once more, and
	 * whether the next source is asked when one fails for good. NULL: up to
	 * call_retries times; no. The driver may have given the call back meanwhile.
	 */
	enum flow_retry (*may_retry)(void *user, const struct flow_call *call);
	bool (*may_fall_back)(void *user, const struct flow_call *call);
	void *user;
	/* Sees each record after its emit (flow_record_print); NULL: nobody looks. */
	void (*on_record)(struct flow_task *task, const struct sl_record *record);
};

enum flow_state {
	FLOW_CALLS,	/* calls are waiting or under way */
	FLOW_DONE,
	FLOW_FAILED
};

/* What the driver has to do with a call next. */
enum flow_step {
	FLOW_STEP_NONE,		/* nothing: parsed, settled, or held until earlier ones are parsed */
	FLOW_STEP_AGAIN,	/* SL_RETRY: the same call again after back-off (flow_call_tries so far) */
	FLOW_STEP_ASK,		/* the same if the driver gets leave, else flow_call_give_up */
	FLOW_STEP_LIMIT,	/* park the credential until flow_call_parked_s from now, then again */
	FLOW_STEP_AUTH,		/* retire the credential, then again */
	FLOW_STEP_SOURCE	/* again with the next source; the engine already excluded this one */
};

/* What the task made since the last flow_task_committed. Texts live in the task until then. */
struct flow_upsert {
	const struct sl_table *table;
	const char *key;		/* NULL for append-only tables */
	const char *const *values;	/* one per column of the table, as text; NULL = null */
};
struct flow_event {
	const struct sl_stream *stream;
	const char *json;
	size_t len;
};
struct flow_submit {
	const char *flow;
	const char *params;
};
struct flow_output {
	const struct flow_upsert *upserts;
	size_t upsert_count;
	const struct flow_event *events;
	size_t event_count;
	const struct flow_submit *submits;
	size_t submit_count;
	size_t records;			/* made */
	size_t bytes;			/* of values and events */
	size_t unkeyed;			/* records that were not made for want of a key */
};

/*
 * params is the task's JSON object (text, copied); it must have passed
 * flow_check_params. id and commit_seq go into event identities; so do their
 * indexes, so that a slice that is run again makes the same identities.
 * checkpoint NULL: from the start.
 */
struct flow_task *flow_task_new(const struct flow_env *env, const struct plugin *plugin,
				const struct sl_flow *flow, int64_t id, int64_t commit_seq,
				const char *params, const char *checkpoint, struct error *err);
void flow_task_free(struct flow_task **task);
/* Runs the first retrieve, or goes on after the checkpoint. Look at the state afterwards. */
void flow_task_resume(struct flow_task *task);
enum flow_state flow_task_state(const struct flow_task *task);
int64_t flow_task_id(const struct flow_task *task);
/* The same for a task wherever it runs, another for each task of each store: what random choices begin with. */
uint64_t flow_task_seed(const struct flow_task *task);
const struct sl_flow *flow_task_flow(const struct flow_task *task);
/* Memory held, for the process's budget. */
size_t flow_task_memory(const struct flow_task *task);

/* FLOW_DONE: the data as JSON ("null" when the flow set none). */
const char *flow_task_result(const struct flow_task *task);
/*
 * FLOW_FAILED: the instruction (SL_FAIL, SL_GONE, SL_RETRY: try the task again
 * later) and "(403, 'text')", or the text alone where no status is known. The
 * response or retrieve that failed left nothing behind: output and checkpoint
 * are those of before it, so either may be committed with the failure.
 */
enum sl_result flow_task_failure(const struct flow_task *task, const char **text_r);
/*
 * FLOW_FAILED: whether the plugin, or an upstream's answer, said that it is for
 * good (SL_FAIL, SL_GONE), and not, say, that no credential was there.
 */
bool flow_task_lasting(const struct flow_task *task);
/* "retry", "gone", …: the error code of tasks. */
const char *flow_result_name(enum sl_result result);

/* --- calls --- */
/*
 * The next call to carry out, in order; NULL: none now. It counts as in flight
 * until settled. delay_r: wait before. Ask after every flow_call_response,
 * _rows, _failed, _unavailable and flow_task_committed: a call whose answer
 * was held and then asked for more comes back here, with flow_call_step.
 */
struct flow_call *flow_task_next_call(struct flow_task *task, int64_t *delay_ms_r);
size_t flow_task_in_flight(const struct flow_task *task);
/* What its last answer asked for, to be done before it is carried out; FLOW_STEP_NONE: it is new. */
enum flow_step flow_call_step(const struct flow_call *call);
enum sl_kind flow_call_kind(const struct flow_call *call);
const char *flow_call_operation(const struct flow_call *call);	/* "plugin.operation" */
const char *flow_call_key(const struct flow_call *call);
const char *flow_call_handle(const struct flow_call *call);	/* bound handle, or NULL */
struct flow_task *flow_call_task(const struct flow_call *call);
unsigned int flow_call_tries(const struct flow_call *call);
int64_t flow_call_parked_s(const struct flow_call *call);
/* It goes on with the source that began, while others could have begun. */
bool flow_call_goes_on(const struct flow_call *call);
/* What it takes of the budget of a source with SL_SOURCE_COSTS; at least 1. */
int64_t flow_call_cost(const struct flow_call *call);
void *flow_call_user(const struct flow_call *call);		/* the driver's own */
void flow_call_set_user(struct flow_call *call, void *user);

/*
 * The sources that may still answer the call, in the operation's order: the
 * i-th, or NULL. A call that goes on (h->next) has one. The driver picks one
 * it has a credential for and settles it with flow_call_choose.
 */
const struct sl_source *flow_call_candidate(const struct flow_call *call, size_t index);
void flow_call_choose(struct flow_call *call, const struct sl_source *source);
const struct sl_source *flow_call_source(const struct flow_call *call);
/*
 * Which of a source's credentials the call goes with, by the driver's number; 0:
 * none that has one. A call that goes on (h->next) begins with that of the call
 * before it, through checkpoints too, so that the pages of one list are read with one.
 */
int64_t flow_call_credential(const struct flow_call *call);
void flow_call_set_credential(struct flow_call *call, int64_t id);
/* What the last SL_LIMIT, SL_AUTH or SL_SOURCE said: "(429, 'text')"; NULL: nothing was refused. */
const char *flow_call_refusal(const struct flow_call *call);
/*
 * No candidate has a credential: settles the call with what the last source
 * said (SL_LIMIT, SL_AUTH; SL_FAIL after SL_SOURCE), or else "No source is
 * available at the moment" ("No cred is …" for sources bound to a handle).
 */
enum flow_step flow_call_unavailable(struct flow_call *call);

/* One name and value of a request; secret values must not be shown. */
struct flow_pair {
	const char *name, *value;
	bool secret;
};
/* A request as built: texts live until the call is settled. */
struct flow_request {
	const char *method;
	const char *url;		/* complete, secrets included */
	const char *shown_url;		/* the same with *** for secrets: for logs and traces */
	const struct flow_pair *headers;
	size_t header_count;
	const char *body;		/* NULL: none */
	size_t body_len;
	int64_t timeout_ms;		/* 0 = the default */
	int redirects;
	bool public_only;		/* the source has no base URL: private addresses are refused */
	const struct flow_secrets *secrets;	/* what of it and of its answer must not be shown: flow/secrets.h */
};
struct flow_credential {		/* members of one credential; borrowed */
	const struct flow_pair *members;
	size_t count;
};
/*
 * Runs build for the chosen source. base_url NULL: the source's own. 0, or -1
 * when build did not return SL_OK: then *step_r says what to do, as after a
 * response.
 */
int flow_call_request(struct flow_call *call, const char *base_url, const struct flow_credential *credential,
		      struct flow_request *request_r, enum flow_step *step_r);
/*
 * FLOW_STEP_* of the answer. Headers and body (NUL-terminated after body_len)
 * are borrowed for the call, copied when they have to wait their turn. With
 * FLOW_STEP_NONE the call is no longer the driver's. Answers to a task that
 * is not FLOW_CALLS are ignored.
 *
 * A status of 400 or more is settled at once: the source's error callback
 * decides, and without one or when it returns SL_OK the defaults of
 * <sluice/http.h> do. Everything else is parsed, in its turn.
 */
enum flow_step flow_call_response(struct flow_call *call, int status, const struct flow_pair *headers,
				  size_t header_count, const char *body, size_t body_len);
/*
 * No answer: time-out, connection lost, too large. result SL_RETRY or SL_FAIL.
 * status 0 unless one is known. Settled like a response's result.
 */
enum flow_step flow_call_failed(struct flow_call *call, enum sl_result result, int status, const char *text);
/* After FLOW_STEP_ASK: it is not repeated. Settled as what it ended with, which was SL_RETRY. */
enum flow_step flow_call_give_up(struct flow_call *call);

/* Lookups: which rows to read, and the rows as a JSON array of objects. */
const struct sl_table *flow_call_table(const struct flow_call *call);
const char *flow_call_column(const struct flow_call *call);
enum flow_step flow_call_rows(struct flow_call *call, const char *rows_json, size_t len);

/* --- output and slices --- */
void flow_task_output(const struct flow_task *task, struct flow_output *output_r);
/* True when slice_records or slice_bytes is reached and no join is open. */
bool flow_task_slice_due(const struct flow_task *task);
/* True when a checkpoint may be taken now (no join open). */
bool flow_task_can_checkpoint(const struct flow_task *task);
/* Appends the checkpoint (JSON) as of the last parsed response, calls in flight included. Failed tasks have one too. */
void flow_task_checkpoint(const struct flow_task *task, struct buf *out);
/*
 * Nothing is parsed from here to flow_task_committed, so that output and
 * checkpoint stay as they are while a commit is under way; answers that come
 * meanwhile are held.
 */
void flow_task_seal(struct flow_task *task);
/*
 * The output was committed: forgets it, counts commit_seq up, and parses what
 * was held. Look at the state and for calls afterwards.
 */
void flow_task_committed(struct flow_task *task);
/* Appends "(status, 'text')", quoted as other systems expect it. */
void flow_failure_print(struct buf *out, int status, const char *text);
/* Appends a record as one JSON object: type, key, source and its groups. */
void flow_record_print(const struct sl_record *record, struct buf *out);

/* --- creation --- */
/* Checks a parameter object against the flow's declaration: unknown, missing, wrong type, out of bounds. */
int flow_check_params(const struct sl_flow *flow, const struct json *params, struct error *err);

/* --- the host table outside of tasks --- */
/*
 * The table that callbacks get. A sink copies it, puts its own row_* functions
 * in, and gives the callback's memory around each transform: what h->str and
 * the like make lives in arena.
 */
const struct sl_host *flow_host(void);
void flow_scope_enter(struct arena *arena);
void flow_scope_leave(void);

#endif
