/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of core/worker share. One process, one loop thread:
 *
 *     worker.c  the role: which flows, claiming, leases, drain
 *     task.c    one running task and its calls
 *     permit.c  may this call go now, by which source, with which credential
 *     choose.c  which credentials a source could be asked with
 *     commit.c  ended tasks and slices, committed in groups
 */
#ifndef SLUICE_WORKER_INTERNAL_H
#define SLUICE_WORKER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/list.h"
#include "flow/flow.h"
#include "role/role.h"
#include "store/store.h"

struct conf_flow;
struct conf_model;
struct credential_keys;
struct credential_pool;
struct oauth;
struct http_client;
struct http_response;
struct http_transfer;
struct loop;
struct loop_timer;
struct map;
struct plugin;

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
};

/* What this process knows of a source that refused once. */
struct permit_state {
	int64_t parked_until_ms;	/* loop time; 0 = not parked */
	struct backoff parking;		/* for refusals that name no time */
	bool retired;			/* refused for good: until the configuration changes */
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
	struct map *permits;		/* source (and handle) → struct permit_state */
	struct credential_pool *credentials;	/* NULL: there is no key, so there is no pool */
	struct credential_keys *credential_keys;
	struct oauth *oauth;
	char name[128];			/* node/title/pid, for the tasks' rows */
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
	int64_t complained_ms;
	struct loop_timer *claim_timer;	/* polls by itself when no nudge comes; retries after trouble */
	struct loop_timer *lease_timer;
	struct loop_timer *drain_timer;
	struct loop_timer *measure_timer;

	struct list ready;		/* struct task waiting for a group commit */
	size_t ready_count, ready_bytes;
	size_t groups;			/* commits under way */
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
	/* the commit being made */
	enum store_end end;
	char *data;			/* owned */
	const char *error_code;
	int64_t run_after_ms;
	struct buf new_checkpoint;
	size_t output_bytes;
	uint32_t requests;		/* since the last commit */
};

/* One call under way. */
struct call {
	struct list node;		/* in task.calls */
	struct task *task;
	struct flow_call *engine;
	struct http_transfer *transfer;
	struct loop_timer *timer;	/* page delay, back-off, waiting for permission */
	bool looking_up;		/* a store request refers to it */
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

/* --- permit.c --- */
enum permit {
	PERMIT_GO,		/* source and credential are chosen */
	PERMIT_WAIT,		/* not before wait_ms */
	PERMIT_NONE		/* no source is left that could */
};
struct permission {
	const struct sl_source *source;
	const char *base_url;			/* NULL: the source's own */
	struct flow_credential credential;	/* members borrowed from the configuration and scratch */
	int64_t credential_id;			/* in the pool; 0: the static one, or none */
	const char *limits;			/* the credential's own, or NULL; in scratch */
	int64_t wait_ms;
};
/* After store and client are there. */
int permit_init(struct worker *worker, struct error *err);
void permit_fini(struct worker *worker);
/* The one place where a request asks whether it may go. scratch holds the credential's member list. */
enum permit permit_ask(struct worker *worker, struct flow_call *call, struct arena *scratch, struct permission *out);
/* The call's source refused for now (flow_call_parked_s 0: it did not say how long), or for good; or it worked. */
void permit_park(struct worker *worker, const struct flow_call *call);
void permit_retire(struct worker *worker, const struct flow_call *call);
void permit_worked(struct worker *worker, const struct flow_call *call);

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
/* Logs trouble with the store at most once a minute. */
void worker_store_trouble(struct worker *worker, const char *what, const struct error *err);

#endif
