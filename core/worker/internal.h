/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of core/worker share. One process, one loop thread:
 *
 *     worker.c    the role: which flows, claiming, leases, drain
 *     task.c      one running task and its calls
 *     permit.c    may this call go now, by which source, with which credential
 *     choose.c    which credentials a source could be asked with
 *     upstream.c  what is known of a source: refusals, retries
 *     breaker.c   whether it fails, which all processes know together
 *     trace.c     what its requests and their answers were, for the queue trace_log
 *     commit.c    ended tasks and slices, committed in groups
 */
#ifndef SLUICE_WORKER_INTERNAL_H
#define SLUICE_WORKER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/list.h"
#include "base/rate.h"
#include "conf/model.h"
#include "flow/flow.h"
#include "limit/window.h"
#include "role/role.h"
#include "store/store.h"

struct credential_keys;
struct credential_pool;
struct http_client;
struct http_response;
struct http_transfer;
struct limit_queue;
struct limit_request;
struct limiter;
struct loop;
struct loop_timer;
struct permit;
struct map;
struct plugin;

/* Rates as the limiter takes them. */
struct permit_rates {
	struct rate rates[LIMIT_WINDOWS_MAX];
	size_t count;
};

/* One flow this process runs. */
struct worker_flow {
	const char *name;
	const struct sl_flow *flow;
	const struct plugin *plugin;
	const struct conf_flow *conf;
	size_t slots;			/* tasks at once */
	size_t running;
	size_t claimed;			/* rows of the claim just answered */
	bool more;			/* rows may be ready: claim when a slot is free */
	bool nudged;			/* since the claim under way was made */
	int64_t claim_from_ms;		/* loop time: its sources have no budget before */
	struct permit_rates limits;	/* of tasks that begin */
	struct permit_rates items[CONF_ITEMS_MAX];	/* of one value of a parameter, in the order of conf->items */
};

/* What this process knows of a source, or of one handle where credentials belong to handles. */
struct upstream {
	char *name;			/* owned: "SOURCE" or "SOURCE handle=HANDLE" */
	char *source, *handle;		/* owned; handle "": the source's own */
	int64_t parked_until_ms;	/* loop time; 0 = not parked */
	struct backoff parking;		/* for refusals that name no time */
	bool retired;			/* refused for good: until the configuration changes */
	double retries;			/* that its requests have paid for */
	/* the breaker */
	bool open;			/* nothing goes, but one to try when its time has come */
	bool told;			/* the store has it open */
	bool probing;			/* one that tries is under way here, or its answer never came */
	bool elsewhere;			/* … or in another process */
	int failures;			/* in a row */
	int64_t pause_ms;		/* between probes */
	int64_t probe_ms;		/* loop time: open, and nobody tries before */
	int64_t asking_ms;		/* loop time: since when the store is asked for leave to try; 0: it is not */
	int64_t leave_until_ms;		/* loop time: leave was given */
	uint64_t token;			/* under which leave was asked for; 0: none */
	size_t under_way;		/* changes that the store has not answered yet */
	int64_t told_ms;		/* boot clock: when it answered the last one */
	uint64_t heard;			/* the last message that named it */
};

struct worker {
	struct role *role;
	struct loop *loop;
	const struct conf_model *conf;
	struct store *store;
	struct http_client *http;
	struct flow_env env;
	struct worker_flow *flows;
	size_t flow_count;
	struct map *upstreams;		/* source (and handle) → struct upstream */
	struct map *stopped;		/* sources that get no requests, by command; the value is nothing */
	uint64_t tokens;		/* made for leave to try a source */
	uint64_t heard;			/* messages of what is known of sources */
	bool unread;			/* the store has not said yet which sources are stopped: nothing is claimed */
	struct map *source_rates;	/* source → struct source_rates, once it was asked for; of role->limits */
	struct limiter *limiter;
	struct limit_queue *queue;
	char host[64];			/* the machine's name */
	char name[128];			/* host/title/pid, for the tasks' rows */
	bool traces;			/* requests are traced */
	struct credential_pool *credentials;	/* NULL: there is no key, so there is no pool */
	struct credential_keys *credential_keys;
	struct oauth *oauth;
	bool relayed;			/* events leave by relays, not by direct: readers */

	struct list tasks;		/* struct task */
	size_t running;
	uint64_t begun;			/* tasks since start, for max_tasks */
	bool claiming;			/* a claim is under way */
	bool alone_running;		/* the one task that runs alone */
	bool alone_wanted;		/* tasks that must run alone wait: let the others end first */
	bool alone_last;		/* what ran last ran alone: now it is the others' turn */
	bool extending;
	bool paused;			/* outbox full, or over the memory bound */
	bool outbox_full;		/* long tasks are handed back at the end of their slice */
	bool leaving;			/* to be started afresh: claims nothing more */
	bool measuring;
	struct backoff store_trouble;
	int64_t complained_ms, never_ms;
	struct loop_timer *claim_timer;	/* polls by itself when no nudge comes; retries after trouble */
	struct loop_timer *lease_timer;
	struct loop_timer *drain_timer;
	struct loop_timer *measure_timer;
	struct loop_timer *budget_timer;	/* a flow's sources have budget again */

	struct list ready;		/* struct task waiting for a group commit */
	size_t ready_count, ready_bytes;
	bool committing;		/* a group is under way */
	struct loop_timer *group_timer;
};

enum task_phase {
	TASK_RUNNING,
	TASK_COMMITTING,	/* a commit of it is queued or under way; the engine is sealed */
	TASK_DROPPED		/* gone from here: only a lookup under way still refers to it */
};

/* One task in this process. */
struct task {
	struct list node;		/* in worker.tasks */
	struct list ready_node;		/* in worker.ready */
	struct worker *worker;
	struct worker_flow *flow;
	struct flow_task *engine;
	int64_t id, lease_token, commit_seq;
	int attempt, max_attempts;
	char *checkpoint;		/* the last committed one; owned, NULL = none */
	enum task_phase phase;
	bool release_wanted;		/* hand it back as soon as it can be */
	struct list calls;		/* struct call */
	struct loop_timer *timeout;
	int64_t deadline_ms;		/* loop time; waiting for permission moves it … */
	int64_t waited_until_ms;	/* … and has done so until then */
	char *skip_key;			/* what it is for, of a flow with skip_after, else NULL; owned */
	bool lasting;			/* it failed for good, as its plugin says */
	char *item_keys[CONF_ITEMS_MAX];	/* of the limiter; NULL: not given; owned */
	bool entered;			/* its flow's limits are taken, or there are none */
	struct call *entering;		/* that asks for them; the others wait for it */
	bool answered;			/* since the last commit: what would be lost with a join */
	/* the commit being made */
	enum store_end end;
	char *data;			/* owned */
	const char *error_code;
	int64_t run_after_ms;
	struct buf new_checkpoint;
	size_t output_bytes;
	size_t ready_bytes;		/* what it counts for in its group */
	uint32_t requests;		/* since the last commit */
	/* trace events, one per line; the first leave with the commit under way */
	struct buf traces;
	size_t traces_leaving;
	uint32_t trace_count, trace_count_leaving;
	uint64_t requested, traced;	/* since the task began here */
	bool traces_full;		/* told once */
};

/* One call under way. */
struct call {
	struct list node;		/* in task.calls */
	struct task *task;
	struct flow_call *engine;
	struct http_transfer *transfer;
	struct loop_timer *timer;	/* page delay, back-off, waiting for permission */
	struct permit *permit;		/* asked for, or the one it goes with */
	struct limit_request *floor;	/* asks whether it may be repeated */
	int64_t asking_since_ms;	/* loop time, 0: does not */
	bool barred;			/* waits for something that may come sooner than its timer */
	bool probe;			/* goes through an open breaker, to try */
	bool looking_up;		/* a store request refers to it */
	bool traced;			/* the request under way is to be traced: */
	struct flow_request request;	/* texts of the engine's call */
	int64_t sent_ms, sent_mono_ms;
	bool renewed;			/* it was refused, and went on with another access token */
};

/* --- task.c --- */
void task_begin(struct worker *worker, struct worker_flow *flow, const struct task_row *row);
/* Goes on after a slice was committed. */
void task_continue(struct task *task);
/* Cancels what is under way and forgets the task. */
void task_free(struct task *task);
/* The lease is lost: nothing of it may be written any more. */
void task_drop(struct task *task);
/* Hands the task back with what can be saved. */
void task_release(struct task *task, int64_t run_after_ms);
/* Lets calls that wait for a source ask again at once: those of one task, or of all (NULL). */
void task_kick(struct worker *worker, struct task *task);

/* A permit's answer that was not there at once. */
struct permission;
void call_permitted(struct call *call, const struct permission *permission);
/* The answer to upstream_ask_retry. */
void call_may_retry(struct call *call, bool granted);

/* --- permit.c --- */
enum permit_verdict {
	PERMIT_ASKING,		/* call_permitted comes later */
	PERMIT_GO,		/* source and credential are chosen */
	PERMIT_WAIT,		/* the call waits for wait_ms, then asks again */
	PERMIT_RELEASE,		/* the task goes back to the store for wait_ms */
	PERMIT_NONE		/* no source is left that could */
};
struct permission {
	enum permit_verdict verdict;
	const struct sl_source *source;
	const char *base_url;			/* NULL: the source's own */
	struct flow_credential credential;	/* good until the call asks again or ends */
	int64_t credential_id;			/* in the pool; 0: the static one, or none */
	const char *limits;			/* the credential's own, or NULL */
	const char *limit_key;			/* what the limiter knows the credential by; NULL: there is none */
	int64_t wait_ms;
};
/* Opens the limiter and the pool, and reads the flows' limits. After store and client are there. */
int permit_init(struct worker *worker, struct error *err);
void permit_fini(struct worker *worker);
/* role->limits is another: what has not been granted yet asks again by them. */
void permit_limits_changed(struct worker *worker);
/* Which limits a task falls under when it begins. params: its JSON text. */
void permit_task(struct task *task, const char *params);
/* The one place where a request asks whether it may go. Cancelled by permit_forget. */
void permit_ask(struct call *call, struct permission *permission_r);
/* The request was not made after all: gives back what was taken. */
void permit_refund(struct call *call);
/*
 * The request goes out at this moment. Upstreams count from now on: if it was held up, by a new
 * connection, say, so does the limiter.
 */
void permit_began(struct call *call);
/* The call is over, or asks anew. */
void permit_forget(struct call *call);
/* The call's source refused for now (flow_call_parked_s 0: it did not say how long), or for good; or it worked. */
void permit_park(struct call *call);
void permit_retire(struct call *call);
void permit_worked(struct call *call);
/* What the response says of the upstream's own limits is kept to by all nodes. */
void permit_feedback(struct call *call, const struct http_response *response);
/* How long the call has been waiting for permission, in ms. */
int64_t permit_waited(const struct call *call);

/* --- upstream.c --- */
void upstream_init(struct worker *worker);
void upstream_fini(struct worker *worker);
/* NULL: nothing is known. */
struct upstream *upstream_find(struct worker *worker, const struct sl_source *source, const struct flow_call *call);
/* How long nothing goes to the source; 0: it may go now. upstream: what upstream_find found. pooled: with a
 * credential of the pool, so that it does not matter what the static one was told. */
int64_t upstream_barred(struct worker *worker, const struct sl_source *source, const struct upstream *upstream,
			bool pooled);
/* What is known of it, made when nothing is. handle: "" for the source's own. */
struct upstream *upstream_make(struct worker *worker, const char *source, const char *handle);
/* A call would go to the source, but for its breaker: asks for leave to try when it is time. */
void upstream_want(struct worker *worker, const struct sl_source *source, const struct flow_call *call);
/* Requests to a source again and at once. */
void upstream_start(struct worker *worker, const char *source);
/* A request goes to the call's source; true when it is to try an open breaker. */
bool upstream_begins(struct worker *worker, const struct flow_call *call);
/*
 * How it ended: well, with some answer, without one (or one of 500 and more), or nobody knows. status: 0 when there
 * was no answer.
 */
enum upstream_end { UPSTREAM_WORKED, UPSTREAM_ANSWERED, UPSTREAM_FAILED, UPSTREAM_UNKNOWN };
void upstream_ended(struct call *call, enum upstream_end end, int status);
/* Refused for so long (0: it did not say); returns how long, 0 when it is parked as long already. */
int64_t upstream_park(struct worker *worker, const struct flow_call *call, int64_t seconds);
void upstream_retire(struct worker *worker, const struct flow_call *call);
/* Whether a retry of the call is within the source's attempts and budget; takes one of it when it says yes. */
enum flow_retry upstream_may_retry(struct worker *worker, const struct flow_call *call);
/* Asks whether it may be made beyond that; call_may_retry comes later. */
void upstream_ask_retry(struct call *call);
/* What flows.yaml says of retries of the source, or the defaults. */
struct conf_retry upstream_retry(const struct worker *worker, const struct sl_source *source);

/* --- breaker.c --- */
struct json;
/* Reads what is known of all sources; nothing is claimed before the answer. */
void breaker_read(struct worker *worker);
/* The timer tells what is known of all sources (role/sources.h). */
void breaker_message(struct worker *worker, const struct json *message);
/* How long nothing goes; 0: it is closed, or this process has leave to try. now: loop time. */
int64_t breaker_wait_ms(const struct upstream *upstream, int64_t now);
/* Asks for leave to try it, when it is time to. */
void breaker_want(struct worker *worker, struct upstream *upstream);
/* A request goes; true when it is to try. */
bool breaker_begins(struct worker *worker, struct upstream *upstream);
/* How it ended, or that it was cancelled. probe: it was to try. */
void breaker_failed(struct worker *worker, struct upstream *upstream, int status, bool probe);
void breaker_worked(struct worker *worker, struct upstream *upstream, bool probe);
void breaker_left(struct worker *worker, struct upstream *upstream);
/* Here; nobody is told. */
void breaker_close(struct upstream *upstream);

/* --- trace.c --- */
void trace_init(struct worker *worker);
/* Right before the request goes out; it may not be drawn. */
void trace_begin(struct call *call, const struct flow_request *request);
/*
 * It ended: response, or NULL and why. Before the engine hears of it, which forgets the request. Nothing when it
 * was not begun, or has ended.
 */
void trace_end(struct call *call, const struct http_response *response, const char *error);
/* Bytes that no commit has taken yet. */
size_t trace_waiting(const struct task *task);
/* What traces_leaving says was committed. */
void trace_committed(struct task *task);

/* --- choose.c: with what a source may be asked --- */
/* The pool of credentials, when there is a key; before the store is closed, and after. */
int choose_init(struct worker *worker, struct error *err);
void choose_fini(struct worker *worker);
#define CHOOSE_MAX 4			/* credentials of one source that are tried */
/*
 * What source could be asked with now: credentials of the pool, least recently
 * used first but for the one the call went with before, then the static one; at
 * most CHOOSE_MAX + 1, with their sources, members and numbers. When it is 0,
 * *wait_ms_r is when it is worth asking again, INT64_MAX: not at all.
 */
size_t choose(struct worker *worker, const struct sl_source *source, const struct flow_call *call,
	      struct arena *scratch, struct permission *out, int64_t *wait_ms_r);

/*
 * The upstream refused the call's credential. true: only its access token may have
 * been at fault, and another is fetched; a call gets that once.
 */
bool choose_renew(struct worker *worker, const struct flow_call *engine);

/* --- commit.c --- */
/* Queues the task's commit: end, data and so on are set in it. */
void commit_task(struct task *task);
void commit_flush(struct worker *worker);

/* --- worker.c --- */
/* A task has left this process: its slot is free. */
void worker_task_left(struct worker *worker, struct task *task);
void worker_claim(struct worker *worker);
/* No task of the flow is claimed for so long; 0: at once again, and that of every flow (flow NULL). */
void worker_hold_flow(struct worker *worker, struct worker_flow *flow, int64_t wait_ms);
/* Logs trouble with the store at most once a minute. */
void worker_store_trouble(struct worker *worker, const char *what, const struct error *err);

#endif
