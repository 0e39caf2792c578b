/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validated configuration: everything flows.yaml says, with every default
 * filled in. Plain data in one arena; nothing in it changes after loading.
 * Secrets in it are never printed: conf_part_json goes only into the sealed
 * memory that a role inherits.
 */
#ifndef SLUICE_CONF_MODEL_H
#define SLUICE_CONF_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;
struct buf;
struct json;
struct conf_catalogue;		/* what the plugins offer: conf/catalogue.h */
struct conf_errors;		/* what is wrong, with positions: conf/errors.h */

enum conf_mode { CONF_SINGLE, CONF_PROCESSES };
enum conf_durability { CONF_INSERTED, CONF_FSYNC, CONF_QUORUM };
enum conf_engine { CONF_PLAIN, CONF_REPLACING };
enum conf_packing { CONF_PACK_NOT, CONF_PACK_LZ4 };
enum conf_fallback { CONF_FALLBACK_NO, CONF_FALLBACK_ERROR };
enum conf_on_error { CONF_ON_ERROR_WAIT, CONF_ON_ERROR_LOCAL };

#define CONF_ITEMS_MAX 4	/* parameters of a flow with limits of their own */

struct conf_pair {
	const char *name, *value;
};

/* What a task or a call may have ended with; in the order of the words in limits.c. */
enum conf_outcome {
	CONF_ON_RETRY = 1, CONF_ON_LIMIT = 2, CONF_ON_AUTH = 4, CONF_ON_GONE = 8, CONF_ON_FAIL = 16,
	CONF_OUTCOMES_GIVEN = 32	/* the file says which; else what is usual */
};

/* When what failed is tried again: a task of a flow, or a call of a source. */
struct conf_retry {
	int attempts;			/* a call's; 0: call_retries and one more */
	int64_t first_ms, cap_ms;
	unsigned int outcomes;		/* a task's: enum conf_outcome */
	double budget;			/* of a source: retries in a hundred requests */
};

struct conf_source {
	const char *name;
	const char *base_url;			/* NULL: the plugin's */
	const struct conf_pair *credential;	/* members of the static credential; secret */
	size_t credential_count;
	bool pool;				/* credentials of the pool too, when there is a key */
	const char *const *limits;		/* "100/30s", NULL: the plugin's */
	size_t limit_count;
	const char *const *credential_limits;	/* of each credential; NULL: none */
	size_t credential_limit_count;
	struct conf_retry retry;
	double trace;				/* share of its requests that is traced; negative: trace_sample */
	const char *const *plugins;		/* that have a source of this name */
	size_t plugin_count;
};

struct conf_weight {
	const char *source;
	double weight;				/* 0 in an ordered list */
};
struct conf_operation {
	const char *name;			/* "plugin.operation" */
	const char *plugin;
	bool weighted;
	const struct conf_weight *sources;	/* in order of preference, or weighted */
	size_t source_count;
};

enum conf_catch_up { CONF_CATCH_LAST, CONF_CATCH_ALL, CONF_CATCH_NONE };
struct conf_schedule {
	const char *cron;			/* base/cron.h; NULL: there is none */
	const char *zone;			/* base/zone.h */
	int64_t jitter_ms;
	enum conf_catch_up catch_up;
	/* One of three says what tasks are made of. */
	const char *params;			/* a JSON list of objects, checked */
	const char *file;			/* absolute */
	const char *query;
	const char *options;			/* the flow's parameters as its probe printed them: conf/params.h */
};

/* Tasks for what failed so often for good within so long are not made. */
struct conf_skip {
	int failures;				/* 0: they are */
	int64_t period_ms;
};

struct conf_flow {
	const char *name;
	const char *plugin, *platform;
	bool enabled;				/* listed in flows: (only listed flows run) */
	const char *group;			/* one worker set for all flows of a group; NULL = its own */
	int workers, concurrency, attempts, priority;
	int64_t timeout_ms;			/* per slice of a task */
	int64_t max_tasks;			/* recycle a worker after so many; 0 = never */
	int64_t max_rss;			/* … or above so many bytes; 0 = never */
	const char *const *sources;		/* the only sources it may use; NULL = all */
	size_t source_count;
	const char *const *unique;		/* parameters that make a live request unique */
	size_t unique_count;
	struct conf_skip skip;			/* skip_after */
	struct conf_retry retry;
	int fallback;				/* enum conf_fallback */
	const char *const *limits;		/* of tasks that begin; NULL: none */
	size_t limit_count;
	const struct conf_pair *items;		/* parameter and limit, of tasks with the same value of it */
	size_t item_count;
	struct conf_schedule schedule;
};

struct conf_sink {
	const char *name;
	const char *plugin, *queue;
	const char *exchange, *exchange_type, *key;	/* what the queue is bound to */
	bool enabled;
	int consumers;
	int64_t batch_rows, batch_bytes, batch_age_ms;
	const char *table;
	int64_t prefetch;			/* rows taken but not acknowledged; at least two batches */
	int64_t deadline_ms;			/* of one insert */
	enum conf_durability durability;
};

struct conf_stream {				/* streams that plugins emit to */
	const char *name;
	const char *exchange, *key;
	bool drop;				/* unrouted: drop */
};

struct conf_plugin {
	const char *name;
	const char *path;
	uint64_t device, inode, size;		/* what the probe saw */
	const char *sha256;
	const struct conf_pair *options;	/* set in flows.yaml or defaulted; secret ones too */
	size_t option_count;
};

struct conf_model {
	struct arena *arena;
	const char *file;			/* where it was read from */
	const char *state;			/* state directory */
	enum conf_mode mode;
	const char *log_level;
	const char *tasks, *objects, *bus, *limits, *warehouse;	/* store URLs */
	const struct conf_source *sources;
	size_t source_count;
	const struct conf_operation *operations;
	size_t operation_count;
	const struct conf_flow *flows;
	size_t flow_count;
	const struct conf_sink *sinks;
	size_t sink_count;
	const struct conf_stream *streams;
	size_t stream_count;
	const struct conf_plugin *plugins;
	size_t plugin_count;
	/* DESIGN §11's named limits */
	int64_t lease_ms;			/* 60 s, extended every third of it */
	int64_t group_ms;			/* group commit: 5 ms … */
	int group_tasks;			/* … or 256 tasks */
	int64_t group_bytes;			/* 8 MiB */
	int64_t slice_records, slice_bytes;	/* 1,000; 4 MiB */
	int crash_limit;			/* 20 */
	int64_t keep_complete_ms, keep_failed_ms;	/* ended tasks are removed after so long; 0: never */
	int task_connections;			/* of all workers of the node to a task server: 64 */
	int64_t response_max;			/* 16 MiB */
	int64_t request_timeout_ms, connect_timeout_ms;		/* 30 s, 5 s */
	int calls_in_flight, call_retries;	/* 10, 2 */
	int64_t facts_max, event_max;		/* 1 MiB, 1 MiB */
	int64_t relay_events, relay_bytes, relay_age_ms;	/* 500, 256 KiB, 20 ms */
	bool trace_enabled;			/* while a sink takes them, unless the file says */
	double trace_sample;			/* 1: every request */
	int64_t trace_body;			/* so much of each body; 0 = none */
	const char *trace_service;		/* what traces say that they are from */
	int64_t outbox_max;			/* 1 GiB */
	enum conf_packing packing;		/* of several events that wait and travel together */
	int64_t memory_max;			/* per worker and sink process, 256 MiB */
	int64_t drain_ms;			/* 30 s */
	int64_t suspect_wait_ms;		/* H: 180 s; 0 with chdb: */
	enum conf_engine engine;		/* of tables that are made */
	int breaker_failures;			/* 5 */
	int64_t breaker_first_ms, breaker_cap_ms;		/* 1 s, 60 s */
	int64_t restart_first_ms, restart_cap_ms;		/* 1 s, 60 s */
	int64_t ready_timeout_ms;		/* a role has to be ready by then: 30 s */
	int64_t timer_lease_ms;			/* 15 s */
	int relay_workers, relay_window;	/* 1, 1,000 */
	int64_t relay_lease_ms;			/* 20 s */
	enum conf_on_error limit_on_error;	/* while the limits' store is away */
	double limit_share;			/* of this node then: 1 */
	int64_t limit_hold_ms;			/* 30 s */
	const char *credential_key;		/* seals the pool's credentials; secret; NULL: there is no pool */
	const char *const *old_keys;		/* open what was sealed before; secret */
	size_t old_key_count;
	const char *gateway_http, *gateway_grpc;	/* HOST:PORT, or NULL */
};

struct conf_env;		/* where ${NAME} comes from: conf/yaml.h */
struct conf_file;		/* a file that was read, not checked yet */

/*
 * Loading in two steps, since the plugins' folders stand in the file and the
 * plugins have to be probed before the file can be checked. conf_read: NULL
 * when there is no tree at all; what is wrong so far is in errors, and
 * conf_check adds to it. env is borrowed for the call; env->state must be set.
 */
struct conf_file *conf_read(const char *path, const struct conf_env *env, struct conf_errors *errors);
/* The same for a text that is in no file: what there is when nobody wrote one. path is its name in messages. */
struct conf_file *conf_read_text(const char *path, const char *text, const struct conf_env *env,
				 struct conf_errors *errors);
void conf_file_free(struct conf_file **file);
/* The folders of plugins.path that are well-formed; borrowed. NULL: none given. */
const char *const *conf_file_plugin_path(const struct conf_file *file, size_t *count_r);
/* NULL when errors->count > 0 afterwards. The model does not need the file any more. */
struct conf_model *conf_check(const struct conf_file *file, const struct conf_catalogue *catalogue,
			      struct conf_errors *errors);

/*
 * Reads and checks path. NULL when anything is wrong: then errors holds all of
 * it, in the file's order. state: the state directory when the file names none.
 */
struct conf_model *conf_load(const char *path, const struct conf_catalogue *catalogue, const char *state,
			     struct conf_errors *errors);
void conf_free(struct conf_model **model);

const struct conf_flow *conf_flow(const struct conf_model *model, const char *name);
const struct conf_sink *conf_sink(const struct conf_model *model, const char *name);
const struct conf_source *conf_source(const struct conf_model *model, const char *name);
const struct conf_operation *conf_operation(const struct conf_model *model, const char *name);
/* Whether the flow at index stands for its group's workers: the first that is enabled. */
bool conf_leads_group(const struct conf_model *model, size_t index);
/* The queues that events of an exchange and key go to, over enabled sinks: the i-th, or NULL. */
const char *conf_route(const struct conf_model *model, const char *exchange, const char *key, size_t index);

/*
 * Reduces model to what a role needs; what remains is borrowed from model. names
 * are the flows of a worker or the sinks of a sink process, NULL = all. Only a
 * worker gets credentials, and workers and sinks the plugins they run with their
 * options. Write part with conf_part_json; free nothing of it but arena.
 */
enum conf_role { CONF_FOR_WORKER, CONF_FOR_SINK, CONF_FOR_RELAY, CONF_FOR_TIMER, CONF_FOR_GATEWAY };
void conf_part(struct conf_model *part, struct arena *arena, const struct conf_model *model, enum conf_role role,
	       const char *const *names, size_t count);
/*
 * Leaves out of a part what a running process can be told: its limits and the log
 * level. What is the same then needs no other process.
 */
void conf_part_fixed(struct conf_model *part, struct arena *arena);
/* Writes the model as JSON, and reads it back in a role. Only what was written by the same program is read. */
void conf_part_json(const struct conf_model *model, struct buf *out);
struct conf_model *conf_part_read(const struct json *part, struct error *err);

#endif
