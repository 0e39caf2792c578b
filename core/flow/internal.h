/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the flow engine share. A task is owned by one thread.
 *
 * Memory: task->arena lives as long as the task, round.arena as long as the
 * calls of a round, task->response as long as one response (its records),
 * output.arena as long as a slice, join.arena as long as the join is open,
 * call->arena as long as the call is not settled, task->scratch for one
 * callback. Facts live on the heap.
 */
#ifndef SLUICE_FLOW_INTERNAL_H
#define SLUICE_FLOW_INTERNAL_H

#include "flow/flow.h"

#include "base/arena.h"
#include "base/list.h"
#include "json/json.h"
#include "json/jwrite.h"

struct map;

#define FLOW_WENT_WRONG "Something went wrong"
#define FLOW_NO_SOURCE "No source is available at the moment"
#define FLOW_NO_CREDENTIAL "No cred is available at the moment"

enum stage { STAGE_NONE, STAGE_RETRIEVE, STAGE_BUILD, STAGE_ERROR, STAGE_PARSE, STAGE_PAGE, STAGE_EMIT };

/* --- values and records (record.c) --- */

enum value_kind { VALUE_NULL, VALUE_TEXT, VALUE_INT, VALUE_FLOAT, VALUE_BOOL, VALUE_JSON };

struct value {
	enum value_kind kind;
	size_t len;		/* of text */
	const char *text;	/* VALUE_TEXT, VALUE_JSON */
	int64_t integer;	/* VALUE_INT, VALUE_BOOL */
	double number;		/* VALUE_FLOAT */
};

struct member {
	const char *key;
	struct value value;
};

struct group {
	struct member *members;
	size_t count, cap;
};

struct sl_record {
	struct flow_task *task;
	struct arena *arena;	/* borrowed: what the record's texts live in */
	const struct sl_record_type *type;
	const char *key;
	const char *source;
	struct group groups[SL_GROUPS];
};

struct records {		/* records in the order they were made; the array is on the heap */
	struct sl_record **items;
	size_t count, cap;
};

struct join {
	struct list node;
	char *name;
	struct arena *arena;
	struct map *by_key;	/* "type\x1fkey" → record */
	struct records records;
};

void records_add(struct records *records, struct sl_record *record);
/* The value, or NULL when the record has none of that name. */
const struct value *record_get(const struct sl_record *record, enum sl_group group, const char *key);
/* Text of a value in arena (or borrowed from it); NULL for null. */
const char *value_text(const struct value *value, struct arena *arena);
bool value_int(const struct value *value, int64_t *integer_r);
bool value_time(const struct value *value, int64_t *epoch_r);	/* seconds, or ISO text */
/* A JSON value as a plugin reads it: numbers and booleans as their text, NULL for null and containers. */
const char *json_scalar_text(const struct json *value, struct arena *arena);
/* Merges the response's records into the join. */
void join_merge(struct flow_task *task, const char *name, const struct records *records);
void join_free(struct join *join);

/* --- facts (facts.c) --- */

struct facts {
	struct map *by_name;
	size_t bytes;
	struct fact_undo *journal;	/* what the running unit changed, oldest first */
	size_t journal_count, journal_cap;
};

void facts_init(struct facts *facts);
void facts_fini(struct facts *facts);
void facts_keep(struct facts *facts);		/* forgets the journal */
void facts_undo(struct facts *facts);		/* back to the last keep */
void facts_set_int(struct facts *facts, const char *name, int64_t value);
void facts_set_text(struct facts *facts, const char *name, const char *text);
void facts_append(struct facts *facts, const char *list, const char *text);
size_t facts_count(const struct facts *facts, const char *list);
const char *facts_item(const struct facts *facts, const char *list, size_t index);
void facts_print(const struct facts *facts, struct jwrite *w);	/* members of the open object */
void facts_read(struct facts *facts, const struct json *saved);

/* --- calls (call.c) --- */

enum call_state {
	CALL_WAITING,	/* not given to the driver yet */
	CALL_RUNNING,	/* with the driver */
	CALL_READY,	/* answered or failed; waits for its turn */
	CALL_RETURNED,	/* its turn came and it has to be carried out again: given by flow_task_next_call */
	CALL_DONE
};

struct flow_call {
	struct flow_task *task;
	const struct sl_operation *operation;
	const char *name;		/* "plugin.operation" */
	const char *key;
	const char **args;		/* name, value, …; args_count texts */
	size_t args_count;
	const char *cursor, *next_cursor;
	const char *join, *handle;
	enum sl_on_error on_error;
	int64_t delay_ms, landed_ms;
	size_t via_count;
	const struct sl_via *via;	/* chosen, or NULL */
	bool pinned;			/* goes on: keeps its source */
	int64_t credential;		/* the driver's: which one it was last carried out with; 0 = none */
	bool *excluded;			/* one per via */
	enum call_state state;
	enum flow_step step;
	unsigned int tries;
	int status_asked;		/* FLOW_STEP_ASK: what it ended with */
	const char *text_asked;
	int64_t parked_s;
	enum sl_result outcome;
	bool lasting;			/* outcome is what the plugin, or the status, said to be for good */
	enum sl_result refusal;		/* the last SL_LIMIT, SL_AUTH or SL_SOURCE, else SL_OK */
	const char *text;		/* of outcome or refusal, formatted */
	int status;
	void *user;
	struct arena *arena;		/* request, its secrets, and held response */
	const struct flow_secrets *secrets;	/* of the request under way; NULL: none was built */
	struct flow_answer *held;
};

/* A response as it waits for its turn. */
struct flow_answer {
	struct sl_response response;	/* first: the plugin's view */
	const struct flow_pair *headers;
	size_t header_count;
};

/* A header's value, its name in any case; NULL when there is none. */
const char *answer_header(const struct flow_answer *answer, const char *name);

struct round {
	struct arena *arena;
	struct flow_call **calls;
	size_t count, cap;
};

struct flow_call *call_new(struct flow_task *task, struct round *round, const struct sl_operation *operation,
			   const char *key);
void round_free(struct round *round);
/* Settles what the call's turn brings: true when it is settled, false when it has to be carried out again. */
bool call_turn(struct flow_call *call);
/* Ends the call with a failure that nobody can mend: it waits for its turn. */
void call_fail(struct flow_call *call, enum sl_result result, int status, const char *text);
/* text as it may be shown: an upstream may repeat in its answer what it was sent. call may be NULL. */
const char *call_hide(const struct flow_call *call, struct arena *arena, const char *text);
/* A link to be stored: without the parameters whose value is a secret. Other texts stay as they are. */
const char *request_link_keep(const struct flow_call *call, struct arena *arena, const char *link);
/* What follows from a callback's or the transport's result other than SL_OK. Who speaks for neither the
 * plugin nor the upstream clears call->lasting afterwards. */
enum flow_step call_conclude(struct flow_call *call, enum sl_result result, int status, const char *text,
			     int64_t park_s);

/* --- output (emit.c) --- */

struct output {
	struct arena *arena;
	struct flow_upsert *upserts;
	size_t upsert_count, upsert_cap;
	struct flow_event *events;
	size_t event_count, event_cap;
	struct flow_submit *submits;
	size_t submit_count, submit_cap;
	size_t records, unkeyed, bytes;
};

void output_init(struct output *output);
void output_fini(struct output *output);
void output_clear(struct output *output);

/* --- the task (task.c) --- */

struct failing {			/* what h->fail and h->park said in the running callback */
	bool said;
	int status;
	const char *text;
	int64_t park_s;
};

struct flow_task {
	const struct flow_env *env;
	const struct plugin *plugin;
	const struct sl_plugin *descriptor;
	const struct sl_flow *flow;
	int64_t id, commit_seq;
	enum flow_state state;
	bool sealed;
	enum sl_result failure;
	char *failure_text;		/* owned */
	bool lasting;			/* the failure is what the plugin, or a status, said to be for good */
	char *result, *result_new;	/* owned; new: set by the running unit */
	struct arena *arena;
	struct json_doc *params;
	uint64_t random;
	int round;			/* -1 before the first retrieve */
	struct round calls, adding;	/* of the round; added by the running retrieve */
	size_t give_at, turn_at, in_flight;
	struct facts facts;
	struct output output;
	struct list joins;

	/* the running unit and callback */
	struct output mark;		/* counts to go back to */
	uint64_t mark_random;
	struct arena *response;
	struct records made;
	struct arena *scratch;
	enum stage stage;
	struct flow_call *call;		/* build, error, parse, page; the call whose records emit gets */
	int status;			/* of the response in view, else 0 */
	int64_t now_s;
	struct failing failing;
	char *fault;			/* owned; the first limit broken or misuse: fails the task */
};

/* A unit is what is kept or undone together: a response with its page and records, or a retrieve. */
void unit_begin(struct flow_task *task);
void unit_keep(struct flow_task *task);
void unit_undo(struct flow_task *task);
/* Around each callback. leave checks the result: a fault makes it SL_FAIL. */
void callback_enter(struct flow_task *task, enum stage stage, struct flow_call *call, int status);
enum sl_result callback_leave(struct flow_task *task, enum sl_result result);
/* Records a misuse or a broken limit, which fails the task when the callback returns. */
void task_fault(struct flow_task *task, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ends the task; text is formatted already. */
void task_fail(struct flow_task *task, enum sl_result result, const char *text);
/* Fails the task with what the callback said. */
void task_fail_callback(struct flow_task *task, enum sl_result result);
/* "(status, 'text')", or text alone when status is 0. */
const char *failure_format(struct arena *arena, int status, const char *text);
/* Runs page (when call is not NULL) and emit for the unit's records. SL_OK, or what failed the task. */
enum sl_result task_emit(struct flow_task *task, const struct records *records);
void task_advance(struct flow_task *task);
/* Gives back the memory of the last response and callback: a task mostly waits. */
void task_rest(struct flow_task *task);
bool plugin_lists(const void *const *list, const void *item);

/* --- checkpoints (checkpoint.c) --- */
int checkpoint_read(struct flow_task *task, const char *text, struct error *err);

/* --- the memory of the running callback (host.c) --- */
struct scope {
	struct arena *arena;
	struct flow_task *task;		/* NULL in a sink's transform */
	struct json_doc **docs;		/* of parse_json */
	size_t doc_count, doc_cap;
	struct sl_out *outs;
};

struct sl_out {
	struct sl_out *next;
	struct flow_task *task;
	struct buf text;
	struct jwrite w;
};

extern _Thread_local struct scope flow_scope;
void scope_enter(struct arena *arena, struct flow_task *task);
void scope_leave(void);
/* The finished document, or NULL after a fault. */
const struct buf *out_finished(struct sl_out *out, const char *what);
/* True when a value may be written now; else a fault. */
bool out_ready(struct sl_out *out, const char *name);
/* name where the writer wants one: inside objects. */
const char *out_name(const struct sl_out *out, const char *name);

/* The sections of the host table. */
void host_task_section(struct sl_host *host);
void host_call_section(struct sl_host *host);
void host_request_section(struct sl_host *host);
void host_json_section(struct sl_host *host);
void host_out_section(struct sl_host *host);
void host_record_section(struct sl_host *host);
void host_fact_section(struct sl_host *host);
void host_emit_section(struct sl_host *host);

static inline struct flow_task *task_of(const struct sl_task *t)
{
	return (struct flow_task *)(uintptr_t)t;
}

static inline struct sl_task *task_view(struct flow_task *task)
{
	return (struct sl_task *)(void *)task;
}

static inline struct flow_call *call_of(const struct sl_call *c)
{
	return (struct flow_call *)(uintptr_t)c;
}

static inline struct sl_call *call_view(const struct flow_call *call)
{
	return (struct sl_call *)(uintptr_t)call;
}

static inline const struct sl_json *json_view(const struct json *value)
{
	return (const struct sl_json *)(const void *)value;
}

static inline const struct json *json_of(const struct sl_json *value)
{
	return (const struct json *)(const void *)value;
}

/* Room for one more of size bytes in a heap array. */
void *grow(void *items, size_t count, size_t *cap, size_t size);

#endif
