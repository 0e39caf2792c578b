/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of flows.yaml as data, and the few types that only one key has.
 * Adding a key: a field in model.h, a line here, a line in man/flows.yaml.5.
 */
#include "conf/keys.h"

#include <string.h>

#include "base/arena.h"
#include "base/secret.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"

#define KIB ((int64_t)1 << 10)
#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)
#define TIB ((int64_t)1 << 40)
#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* --- types of one key --- */

/* Keys that seal credentials. */
static void secret_key_check(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key,
			     const char *text)
{
	struct secret_key parsed;
	struct error err;

	if (text != NULL && secret_key_parse(&parsed, text, &err) != 0)
		conf_complain(walk, node, key, "%s", err.text);
	explicit_bzero(&parsed, sizeof(parsed));
}

static void secret_key_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	conf_text.fill(walk, node, key, base);
	if (node->kind == CONF_SCALAR)
		secret_key_check(walk, node, key, *(const char *const *)conf_field_of(base, key->offset));
}

static void secret_key_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	conf_text.write(w, key, base);
}

static int secret_key_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
			   struct error *err)
{
	return conf_text.read(arena, value, key, base, err);
}

static void secret_keys_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key,
			     void *base)
{
	conf_texts.fill(walk, node, key, base);
	if (node->kind != CONF_SEQUENCE)
		return;
	for (const struct conf_node *child = node->first; child != NULL; child = child->next)
		if (child->kind == CONF_SCALAR && !child->bad && *child->text != '\0')
			secret_key_check(walk, child, key, child->text);
}

static void secret_keys_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	conf_texts.write(w, key, base);
}

static int secret_keys_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
			    struct error *err)
{
	return conf_texts.read(arena, value, key, base, err);
}

static const struct conf_type conf_secret_key = {"key", "a text", secret_key_fill, secret_key_write, secret_key_read};
static const struct conf_type conf_secret_keys = {"list", "a list of texts", secret_keys_fill, secret_keys_write,
						  secret_keys_read};

/* An operation's sources: a list in order of preference, or a mapping to weights. */
static bool choice_weight(struct conf_walk *walk, const struct conf_node *child, double *weight_r)
{
	struct conf_key bounds = {.name = child->key, .type = &conf_float, .min = 0, .max = 1000000};

	*weight_r = -1;
	if (!child->bad)
		conf_float.fill(walk, child, &bounds, weight_r);
	return *weight_r >= 0;
}

static void choices_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	struct conf_operation *operation = base;
	struct conf_weight *choices = arena_alloc(walk->arena, node->count * sizeof(*choices));
	const char *context = walk->context;
	double sum = 0;
	size_t count = 0;

	if (node->kind == CONF_SCALAR || node->count == 0) {
		conf_complain(walk, node, key, "must be a list in order of preference or a mapping to weights, not %s",
			      node->kind == CONF_SCALAR ? conf_show(walk, node, key) : "empty");
		return;
	}
	if (node->kind == CONF_SEQUENCE) {
		struct conf_operation list = {.name = NULL};
		struct conf_key order = {.name = key->name, .offset = offsetof(struct conf_operation, sources),
					 .count_offset = offsetof(struct conf_operation, source_count)};
		const char *const *names;

		conf_texts.fill(walk, node, &order, &list);
		names = conf_list_items(&order, &list);
		for (; count < list.source_count; count++)
			choices[count].source = names[count];
	} else {
		operation->weighted = true;
		for (const struct conf_node *child = node->first; child != NULL; child = child->next) {
			walk->context = arena_printf(walk->arena, "%s%s: ", context, key->name);
			if (!choice_weight(walk, child, &choices[count].weight))
				continue;
			sum += choices[count].weight;
			choices[count++].source = arena_strdup(walk->arena, child->key);
		}
		walk->context = context;
		if (count == node->count && !(sum > 0))
			conf_complain(walk, node, key, "the weights sum to 0");
	}
	conf_list_store(key, base, choices, count);
}

static void choices_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	const struct conf_operation *operation = base;

	jwrite_object(w, key->name);
	for (size_t i = 0; i < operation->source_count; i++)
		jwrite_double(w, operation->sources[i].source, operation->sources[i].weight);
	jwrite_end(w);
}

static int choices_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
			struct error *err)
{
	struct conf_weight *choices = arena_alloc(arena, json_count(value) * sizeof(*choices));
	size_t count = 0;

	for (const struct json *child = json_first(value); child != NULL; child = json_next(child), count++) {
		if (json_name(child) == NULL || !json_double(child, &choices[count].weight))
			return error_set(err, ERR_INPUT, "%s: not a mapping to weights", key->name);
		choices[count].source = arena_strdup(arena, json_name(child));
	}
	conf_list_store(key, base, choices, count);
	return 0;
}

static const struct conf_type conf_choices = {"list or mapping", "a list or a mapping to weights", choices_fill,
					      choices_write, choices_read};

/* A word that is kept as a text: the log level. */
static void level_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	struct conf_key word = *key;
	int index = -1;

	word.offset = 0;
	conf_word.fill(walk, node, &word, &index);
	if (index >= 0)
		*(const char **)conf_field(base, key->offset) = key->words[index];
}

static const struct conf_type conf_level = {"word", "a level", level_fill, NULL, NULL};

/* streams.*.unrouted: a word that is kept as bool drop. */
static void unrouted_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	struct conf_key word = *key;
	int index = -1;

	word.offset = 0;
	conf_word.fill(walk, node, &word, &index);
	if (index >= 0)
		*(bool *)conf_field(base, key->offset) = index == 1;
}

static const struct conf_type conf_unrouted = {"word", "error or drop", unrouted_fill, NULL, NULL};

/* The walk over the file only looks at the shape: conf_options_check does the work when flows and sinks are known. */
static void options_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	(void)base;
	if (node->kind != CONF_MAPPING && !conf_is_null(node))
		conf_complain(walk, node, key, "must be a mapping, not %s", conf_show(walk, node, key));
}

static const struct conf_type conf_plugin_options = {"section", "a mapping", options_fill, NULL, NULL};

/* --- the tables --- */

static const char *const mode_words[] = {"single", "processes", NULL};
static const char *const level_words[] = {"error", "warning", "info", "debug", NULL};
static const char *const durability_words[] = {"inserted", "fsync", "quorum", NULL};
/* What this build can pack with, the best last. */
#ifdef HAVE_LZ4
static const char *const packing_words[] = {"none", "lz4", NULL};
#define PACKING "lz4"
#else
static const char *const packing_words[] = {"none", NULL};
#define PACKING "none"
#endif
static const char *const engine_words[] = {"plain", "replacing", NULL};
static const char *const unrouted_words[] = {"error", "drop", NULL};
static const char *const on_error_words[] = {"wait", "local", NULL};
static const char *const fallback_words[] = {"no", "error", NULL};

#define END {NULL}
#define AT(type, field) .offset = offsetof(struct type, field)
#define LIST(type, field, counter) AT(type, field), .count_offset = offsetof(struct type, counter)
#define BOUNDS(low, high) .min = (low), .max = (high)
/* Set by the check, never by the file. */
#define CARRIED(key, kind, type, field) {key, &kind, AT(type, field), .flags = CONF_INTERNAL}

static const struct conf_key store_keys[] = {
	{"tasks", &conf_text, AT(conf_model, tasks), BOUNDS(1, 2000), .doc = "tasks, current state and outbox"},
	{"objects", &conf_text, AT(conf_model, objects), BOUNDS(1, 2000), .doc = "uploads: assets and reports"},
	{"bus", &conf_text, AT(conf_model, bus), BOUNDS(1, 2000), .doc = "the way of events from outbox to sinks"},
	{"limits", &conf_text, AT(conf_model, limits), BOUNDS(1, 2000), .doc = "the state of rate limits"},
	{"warehouse", &conf_text, AT(conf_model, warehouse), BOUNDS(1, 2000), .doc = "the tables of events"},
	END
};
static const struct conf_section store_section = {.keys = store_keys};

static const struct conf_key log_keys[] = {
	{"level", &conf_level, AT(conf_model, log_level), .flags = CONF_FILE_ONLY, .fallback = "info",
	 .words = level_words, .doc = "the least important messages that are written"},
	END
};
static const struct conf_section log_section = {.keys = log_keys};

static const struct conf_key slice_keys[] = {
	{"records", &conf_long, AT(conf_model, slice_records), BOUNDS(1, 1000000), .fallback = "1000",
	 .doc = "a long task commits after so many records"},
	{"bytes", &conf_size, AT(conf_model, slice_bytes), BOUNDS(64 * KIB, 256 * MIB), .fallback = "4MiB",
	 .doc = "or after so many bytes of output"},
	END
};
static const struct conf_section slice_section = {.keys = slice_keys};

static const struct conf_key commit_keys[] = {
	{"tasks", &conf_int, AT(conf_model, group_tasks), BOUNDS(1, 10000), .fallback = "256",
	 .doc = "tasks in one transaction at most"},
	{"bytes", &conf_size, AT(conf_model, group_bytes), BOUNDS(64 * KIB, 256 * MIB), .fallback = "8MiB",
	 .doc = "bytes in one transaction at most"},
	{"age", &conf_duration, AT(conf_model, group_ms), BOUNDS(0, SECOND), .fallback = "5ms",
	 .doc = "how long a finished task waits for others"},
	END
};
static const struct conf_section commit_section = {.keys = commit_keys};

static const struct conf_key task_keys[] = {
	{"lease", &conf_duration, AT(conf_model, lease_ms), BOUNDS(SECOND, HOUR), .fallback = "60s",
	 .doc = "a claimed task is its worker's for so long; extended every third of it"},
	{"crashes", &conf_int, AT(conf_model, crash_limit), BOUNDS(1, 1000), .fallback = "20",
	 .doc = "crashes alone before a task is given up"},
	{"connections", &conf_int, AT(conf_model, task_connections), BOUNDS(1, 10000), .fallback = "64",
	 .doc = "to the task server, that all workers of this node have at once"},
	{"facts", &conf_size, AT(conf_model, facts_max), BOUNDS(KIB, 64 * MIB), .fallback = "1MiB",
	 .doc = "what a task may remember"},
	{"slice", &conf_struct, .section = &slice_section, .doc = "when a long task commits"},
	{"commit", &conf_struct, .section = &commit_section, .doc = "group commit"},
	{"keep", &conf_struct, .section = &conf_keep_section, .doc = "when tasks that have ended are removed"},
	END
};
static const struct conf_section task_section = {.keys = task_keys};

static const struct conf_key call_keys[] = {
	{"in_flight", &conf_int, AT(conf_model, calls_in_flight), BOUNDS(1, 1000), .fallback = "10",
	 .doc = "requests of one task at once"},
	{"retries", &conf_int, AT(conf_model, call_retries), BOUNDS(0, 100), .fallback = "2",
	 .doc = "repetitions of one call before its task counts an attempt"},
	END
};
static const struct conf_section call_section = {.keys = call_keys};

static const struct conf_key http_keys[] = {
	{"connect", &conf_duration, AT(conf_model, connect_timeout_ms), BOUNDS(1, 10 * MINUTE), .fallback = "5s",
	 .doc = "time to connect"},
	{"timeout", &conf_duration, AT(conf_model, request_timeout_ms), BOUNDS(1, HOUR), .fallback = "30s",
	 .doc = "time for a whole request"},
	{"body", &conf_size, AT(conf_model, response_max), BOUNDS(KIB, GIB), .fallback = "16MiB",
	 .doc = "the largest response"},
	END
};
static const struct conf_section http_section = {.keys = http_keys};

static const struct conf_key event_keys[] = {
	{"max", &conf_size, AT(conf_model, event_max), BOUNDS(KIB, 16 * MIB), .fallback = "1MiB",
	 .doc = "the largest event; a larger one fails its task"},
	END
};
static const struct conf_section event_section = {.keys = event_keys};

static const struct conf_key trace_keys[] = {
	{"enabled", &conf_bool, AT(conf_model, trace_enabled),
	 .doc = "whether requests are traced; unless given, when a sink takes the events"},
	{"sample", &conf_float, AT(conf_model, trace_sample), BOUNDS(0, 1), .fallback = "1",
	 .doc = "share of the requests that is traced"},
	{"body", &conf_size, AT(conf_model, trace_body), BOUNDS(0, 64 * KIB), .fallback = "0",
	 .doc = "so much of each body; 0 = none"},
	{"service", &conf_text, AT(conf_model, trace_service), BOUNDS(1, 100), .fallback = "beat",
	 .doc = "the service that traces name"},
	END
};
static const struct conf_section trace_section = {.keys = trace_keys};

static const struct conf_key outbox_keys[] = {
	{"max_bytes", &conf_size, AT(conf_model, outbox_max), BOUNDS(MIB, 100 * TIB), .fallback = "1GiB",
	 .doc = "events that may wait; beyond it no task is claimed"},
	{"packing", &conf_word, AT(conf_model, packing), .fallback = PACKING, .words = packing_words,
	 .doc = "how several events are packed while they wait and in the broker's messages"},
	END
};
static const struct conf_section outbox_section = {.keys = outbox_keys};

static const struct conf_key relay_batch_keys[] = {
	{"events", &conf_long, AT(conf_model, relay_events), BOUNDS(1, 100000), .fallback = "500",
	 .doc = "events in one message; 1 = one object per message"},
	{"bytes", &conf_size, AT(conf_model, relay_bytes), BOUNDS(KIB, 16 * MIB), .fallback = "256KiB",
	 .doc = "bytes in one message"},
	{"age", &conf_duration, AT(conf_model, relay_age_ms), BOUNDS(0, MINUTE), .fallback = "20ms",
	 .doc = "how long a message waits to be filled"},
	END
};
static const struct conf_section relay_batch_section = {.keys = relay_batch_keys};

static const struct conf_key relay_keys[] = {
	{"workers", &conf_int, AT(conf_model, relay_workers), BOUNDS(1, 100), .fallback = "1",
	 .doc = "relay processes"},
	{"window", &conf_int, AT(conf_model, relay_window), BOUNDS(1, 100000), .fallback = "1000",
	 .doc = "messages sent but not confirmed"},
	{"lease", &conf_duration, AT(conf_model, relay_lease_ms), BOUNDS(SECOND, HOUR), .fallback = "20s",
	 .doc = "a part of the outbox is its relay's for so long; extended every third of it"},
	{"batch", &conf_struct, .section = &relay_batch_section, .doc = "when a message is sent"},
	END
};
static const struct conf_section relay_section = {.keys = relay_keys};

static const struct conf_key breaker_keys[] = {
	{"failures", &conf_int, AT(conf_model, breaker_failures), BOUNDS(1, 1000), .fallback = "5",
	 .doc = "failures in a row that open it"},
	{"first", &conf_duration, AT(conf_model, breaker_first_ms), BOUNDS(1, HOUR), .fallback = "1s",
	 .doc = "time to the first probe"},
	{"cap", &conf_duration, AT(conf_model, breaker_cap_ms), BOUNDS(1, DAY), .fallback = "60s",
	 .doc = "longest time between probes"},
	END
};
static const struct conf_section breaker_section = {.keys = breaker_keys};

static const struct conf_key suspect_keys[] = {
	{"hold", &conf_duration, AT(conf_model, suspect_wait_ms), BOUNDS(0, DAY),
	 .doc = "how long an event that may be in the warehouse already waits before it is looked up"},
	END
};
static const struct conf_section suspect_section = {.keys = suspect_keys};

static const struct conf_key warehouse_keys[] = {
	{"engine", &conf_word, AT(conf_model, engine), .fallback = "plain", .words = engine_words,
	 .doc = "whether the tables that are made keep rows apart that are equal in their identity"},
	END
};
static const struct conf_section warehouse_section = {.keys = warehouse_keys};

static const struct conf_key restart_keys[] = {
	{"first", &conf_duration, AT(conf_model, restart_first_ms), BOUNDS(1, HOUR), .fallback = "1s",
	 .doc = "pause before a role that died is started again"},
	{"cap", &conf_duration, AT(conf_model, restart_cap_ms), BOUNDS(1, DAY), .fallback = "60s",
	 .doc = "longest such pause"},
	{"ready", &conf_duration, AT(conf_model, ready_timeout_ms), BOUNDS(100, HOUR), .fallback = "30s",
	 .doc = "a role must be ready by then"},
	END
};
static const struct conf_section restart_section = {.keys = restart_keys};

static const struct conf_key credential_keys[] = {
	{"key", &conf_secret_key, AT(conf_model, credential_key), .flags = CONF_HIDDEN,
	 .doc = "seals the credentials of the pool"},
	{"old_keys", &conf_secret_keys, LIST(conf_model, old_keys, old_key_count), .flags = CONF_HIDDEN,
	 .doc = "open what was sealed before"},
	END
};
static const struct conf_section credential_section = {.keys = credential_keys};

static const struct conf_key gateway_keys[] = {
	{"http", &conf_address, AT(conf_model, gateway_http), .doc = "address of the HTTP API"},
	{"grpc", &conf_address, AT(conf_model, gateway_grpc), .doc = "address of the gRPC service"},
	END
};
static const struct conf_section gateway_section = {.keys = gateway_keys};

static const struct conf_key limit_keys[] = {
	{"on_error", &conf_word, AT(conf_model, limit_on_error), .fallback = "wait", .words = on_error_words,
	 .doc = "while the state of the limits cannot be asked"},
	{"share", &conf_float, AT(conf_model, limit_share), BOUNDS(0, 1), .fallback = "1",
	 .doc = "of every limit, that is this node's with on_error: local"},
	{"max_hold", &conf_duration, AT(conf_model, limit_hold_ms), BOUNDS(0, HOUR), .fallback = "30s",
	 .doc = "a task that has to wait longer for permission goes back to the store meanwhile"},
	END
};
static const struct conf_section limit_section = {.keys = limit_keys};

static const struct conf_key task_retry_keys[] = {
	{"first", &conf_duration, AT(conf_retry, first_ms), BOUNDS(1, DAY), .fallback = "2s",
	 .doc = "before a task is tried again; doubles each time"},
	{"cap", &conf_duration, AT(conf_retry, cap_ms), BOUNDS(1, DAY), .fallback = "10m", .doc = "at most"},
	{"on", &conf_outcomes, AT(conf_retry, outcomes), .doc = "what is tried again: [retry, limit, auth]"},
	END
};
static const struct conf_section task_retry_section = {.keys = task_retry_keys};

static const struct conf_key call_retry_keys[] = {
	{"attempts", &conf_int, AT(conf_retry, attempts), BOUNDS(1, 100),
	 .doc = "of one call; calls.retries and one more unless given"},
	{"first", &conf_duration, AT(conf_retry, first_ms), BOUNDS(1, HOUR), .fallback = "1s",
	 .doc = "before a call is tried again; doubles each time"},
	{"cap", &conf_duration, AT(conf_retry, cap_ms), BOUNDS(1, HOUR), .fallback = "30s", .doc = "at most"},
	{"budget", &conf_float, AT(conf_retry, budget), BOUNDS(0, 100), .fallback = "10",
	 .doc = "retries in a hundred requests, beyond a few"},
	END
};
static const struct conf_section call_retry_section = {.keys = call_retry_keys};

/* Also `defaults`, without what is marked CONF_OWN. */
static const struct conf_key flow_keys[] = {
	CARRIED("plugin", conf_text, conf_flow, plugin),
	CARRIED("platform", conf_text, conf_flow, platform),
	CARRIED("enabled", conf_bool, conf_flow, enabled),
	{"workers", &conf_int, AT(conf_flow, workers), BOUNDS(1, 1000), .fallback = "1", .doc = "processes"},
	{"concurrency", &conf_int, AT(conf_flow, concurrency), BOUNDS(1, 10000), .fallback = "5",
	 .doc = "tasks at once in one process"},
	{"timeout", &conf_duration, AT(conf_flow, timeout_ms), BOUNDS(SECOND, 7 * DAY), .fallback = "10m",
	 .doc = "time for a task, beginning again with each slice"},
	{"attempts", &conf_int, AT(conf_flow, attempts), BOUNDS(1, 100), .fallback = "3",
	 .doc = "attempts before a task is FAILED"},
	{"priority", &conf_int, AT(conf_flow, priority), BOUNDS(1, 1000), .fallback = "1",
	 .doc = "of tasks that name none; 1 is most urgent"},
	{"max_tasks", &conf_long, AT(conf_flow, max_tasks), BOUNDS(0, INT64_MAX), .fallback = "0",
	 .doc = "a worker is replaced after so many tasks; 0 = never"},
	{"max_rss", &conf_size, AT(conf_flow, max_rss), BOUNDS(0, 100 * TIB), .fallback = "0",
	 .doc = "a worker is replaced when it is larger; 0 = never"},
	{"retry", &conf_struct, AT(conf_flow, retry), .section = &task_retry_section,
	 .doc = "when a task that failed is tried again"},
	{"fallback", &conf_word, AT(conf_flow, fallback), .fallback = "no", .words = fallback_words,
	 .doc = "whether the next source is asked when one fails"},
	{"limits", &conf_limits, LIST(conf_flow, limits, limit_count), .flags = CONF_OWN,
	 .doc = "tasks that may begin"},
	{"item", &conf_items, LIST(conf_flow, items, item_count), .flags = CONF_OWN,
	 .doc = "tasks that may begin with the same value of a parameter"},
	{"group", &conf_name, AT(conf_flow, group), .flags = CONF_OWN, .doc = "flows that share worker processes"},
	{"sources", &conf_texts, LIST(conf_flow, sources, source_count), .flags = CONF_OWN,
	 .doc = "the only sources the flow may use"},
	{"unique", &conf_texts, LIST(conf_flow, unique, unique_count), .flags = CONF_OWN,
	 .doc = "parameters of which two live tasks may not have the same"},
	{"skip_after", &conf_skip, AT(conf_flow, skip), .flags = CONF_OWN,
	 .doc = "what failed so often for good within so long gets no more tasks"},
	{"schedule", &conf_struct, AT(conf_flow, schedule), .flags = CONF_OWN, .section = &conf_schedule_section,
	 .doc = "when tasks are made by themselves"},
	END
};

static void flow_init(struct conf_walk *walk, void *entry)
{
	const struct conf_root *root = walk->user;
	struct conf_flow *flow = entry;
	struct conf_schedule schedule = flow->schedule;

	*flow = root->defaults;
	flow->schedule = schedule;
	flow->enabled = true;
}

static const struct conf_section flow_section = {
	.noun = "flow", .size = sizeof(struct conf_flow), .keys = flow_keys, .init = flow_init
};
static const struct conf_section default_section = {.keys = flow_keys, .without = CONF_OWN};

static const struct conf_key source_keys[] = {
	{"plugins", &conf_texts, LIST(conf_source, plugins, plugin_count), .flags = CONF_INTERNAL},
	{"base_url", &conf_http_url, AT(conf_source, base_url), .doc = "instead of the plugin's"},
	{"credential", &conf_pairs, LIST(conf_source, credential, credential_count), .flags = CONF_HIDDEN,
	 .doc = "what the source asks for: names and values"},
	{"limits", &conf_limits, LIST(conf_source, limits, limit_count), .doc = "instead of the plugin's"},
	{"credential_limits", &conf_limits, LIST(conf_source, credential_limits, credential_limit_count),
	 .doc = "of each credential"},
	{"retry", &conf_struct, AT(conf_source, retry), .section = &call_retry_section,
	 .doc = "when a call that failed is tried again"},
	{"trace", &conf_float, AT(conf_source, trace), BOUNDS(0, 1), .doc = "instead of trace.sample"},
	{"pool", &conf_bool, AT(conf_source, pool), .fallback = "true",
	 .doc = "credentials of the pool too, when there is a key"},
	END
};

static void source_init(struct conf_walk *walk, void *entry)
{
	(void)walk;
	((struct conf_source *)entry)->trace = -1;
}

static const struct conf_section source_section = {
	.noun = "source", .size = sizeof(struct conf_source), .keys = source_keys, .init = source_init
};

static const struct conf_key operation_keys[] = {
	CARRIED("plugin", conf_text, conf_operation, plugin),
	CARRIED("weighted", conf_bool, conf_operation, weighted),
	{"sources", &conf_choices, LIST(conf_operation, sources, source_count), .flags = CONF_REQUIRED,
	 .doc = "in order of preference, or with weights"},
	END
};
static const struct conf_section operation_section = {
	.noun = "operation", .size = sizeof(struct conf_operation), .keys = operation_keys
};

static const struct conf_key stream_keys[] = {
	CARRIED("exchange", conf_text, conf_stream, exchange),
	CARRIED("key", conf_text, conf_stream, key),
	CARRIED("drop", conf_bool, conf_stream, drop),
	{"unrouted", &conf_unrouted, AT(conf_stream, drop), .flags = CONF_FILE_ONLY, .fallback = "error",
	 .words = unrouted_words, .doc = "when no sink takes the stream"},
	END
};
static const struct conf_section stream_section = {
	.noun = "stream", .size = sizeof(struct conf_stream), .keys = stream_keys
};

static const struct conf_key batch_keys[] = {
	{"rows", &conf_long, AT(conf_sink, batch_rows), BOUNDS(1, 10000000), .fallback = "50000",
	 .doc = "an insert of so many rows"},
	{"bytes", &conf_size, AT(conf_sink, batch_bytes), BOUNDS(KIB, GIB), .fallback = "32MiB",
	 .doc = "or of so many bytes"},
	{"age", &conf_duration, AT(conf_sink, batch_age_ms), BOUNDS(1, HOUR), .fallback = "1s",
	 .doc = "or after so long, whichever comes first"},
	END
};
static const struct conf_section batch_section = {.keys = batch_keys};

static const struct conf_key sink_keys[] = {
	CARRIED("plugin", conf_text, conf_sink, plugin),
	CARRIED("queue", conf_text, conf_sink, queue),
	CARRIED("exchange", conf_text, conf_sink, exchange),
	CARRIED("exchange_type", conf_text, conf_sink, exchange_type),
	CARRIED("key", conf_text, conf_sink, key),
	CARRIED("table", conf_text, conf_sink, table),
	CARRIED("enabled", conf_bool, conf_sink, enabled),
	{"consumers", &conf_int, AT(conf_sink, consumers), BOUNDS(1, 64), .fallback = "1",
	 .doc = "batches being filled at once"},
	{"batch", &conf_struct, .section = &batch_section, .doc = "when rows are inserted"},
	{"prefetch", &conf_long, AT(conf_sink, prefetch), BOUNDS(1, 100000000),
	 .doc = "rows taken but not yet inserted; two batches unless given"},
	{"deadline", &conf_duration, AT(conf_sink, deadline_ms), BOUNDS(100, HOUR), .fallback = "60s",
	 .doc = "time for one insert"},
	{"durability", &conf_word, AT(conf_sink, durability), .fallback = "fsync", .words = durability_words,
	 .doc = "when an insert counts as done"},
	END
};

static void sink_init(struct conf_walk *walk, void *entry)
{
	(void)walk;
	((struct conf_sink *)entry)->enabled = true;
}

const struct conf_section conf_sink_section = {
	.noun = "sink", .size = sizeof(struct conf_sink), .keys = sink_keys, .init = sink_init
};

static const struct conf_key plugin_keys[] = {
	CARRIED("path", conf_text, conf_plugin, path),
	CARRIED("device", conf_long, conf_plugin, device),
	CARRIED("inode", conf_long, conf_plugin, inode),
	CARRIED("size", conf_long, conf_plugin, size),
	CARRIED("sha256", conf_text, conf_plugin, sha256),
	{"options", &conf_pairs, LIST(conf_plugin, options, option_count), .flags = CONF_INTERNAL},
	END
};
static const struct conf_section plugin_section = {
	.noun = "plugin", .size = sizeof(struct conf_plugin), .keys = plugin_keys
};

static const struct conf_key plugin_path_keys[] = {
	{"path", &conf_texts, LIST(conf_root, plugin_path, plugin_path_count), .flags = CONF_FILE_ONLY,
	 .doc = "folders with plugins"},
	END
};
const struct conf_section conf_plugin_path_section = {.keys = plugin_path_keys};

static const struct conf_key root_keys[] = {
	CARRIED("file", conf_text, conf_model, file),
	CARRIED("state", conf_text, conf_model, state),
	{"version", &conf_long, AT(conf_root, version), BOUNDS(1, 1), .flags = CONF_REQUIRED | CONF_FILE_ONLY,
	 .doc = "of this format"},
	{"mode", &conf_word, AT(conf_root, mode), .flags = CONF_FILE_ONLY, .words = mode_words,
	 .doc = "all flows in one process, or each in its own"},
	{"mode", &conf_word, AT(conf_model, mode), .flags = CONF_INTERNAL, .words = mode_words},
	{"stores", &conf_struct, .section = &store_section, .doc = "where everything is kept"},
	{"plugins", &conf_plugin_options, .flags = CONF_FILE_ONLY, .section = &conf_plugin_path_section,
	 .doc = "where plugins are, and their options"},
	{"plugins", &conf_map, LIST(conf_model, plugins, plugin_count), .flags = CONF_INTERNAL,
	 .section = &plugin_section},
	{"log", &conf_struct, .section = &log_section, .doc = "logging"},
	{"log_level", &conf_text, AT(conf_model, log_level), .flags = CONF_INTERNAL},
	{"drain", &conf_duration, AT(conf_model, drain_ms), BOUNDS(0, HOUR), .fallback = "30s",
	 .doc = "time to finish when the daemon is asked to stop"},
	{"memory", &conf_size, AT(conf_model, memory_max), BOUNDS(16 * MIB, TIB), .fallback = "256MiB",
	 .doc = "what tasks or batches may hold, per process"},
	{"tasks", &conf_struct, .section = &task_section, .doc = "the life of a task"},
	{"timer", &conf_struct, .section = &conf_timer_section, .doc = "what one node does for all"},
	{"calls", &conf_struct, .section = &call_section, .doc = "the calls of a task"},
	{"http", &conf_struct, .section = &http_section, .doc = "requests to sources"},
	{"limits", &conf_struct, .section = &limit_section, .doc = "waiting for permission"},
	{"event", &conf_struct, .section = &event_section, .doc = "events"},
	{"trace", &conf_struct, .section = &trace_section, .doc = "traces of requests to sources"},
	{"outbox", &conf_struct, .section = &outbox_section, .doc = "events on their way"},
	{"relay", &conf_struct, .section = &relay_section, .doc = "outbox to message broker"},
	{"breaker", &conf_struct, .section = &breaker_section, .doc = "when the warehouse or a source fails"},
	{"suspects", &conf_struct, .section = &suspect_section, .doc = "events that may be doubles"},
	{"warehouse", &conf_struct, .section = &warehouse_section, .doc = "the tables of the warehouse"},
	{"restart", &conf_struct, .section = &restart_section, .doc = "processes that died"},
	{"credentials", &conf_struct, .section = &credential_section, .doc = "the pool of credentials"},
	{"gateway", &conf_struct, .section = &gateway_section, .doc = "kept for a later version"},
	{"defaults", &conf_struct, AT(conf_root, defaults), .flags = CONF_FILE_ONLY, .section = &default_section,
	 .doc = "what a flow has when it does not say otherwise"},
	{"sources", &conf_map, LIST(conf_model, sources, source_count), .section = &source_section,
	 .doc = "upstream APIs"},
	{"operations", &conf_map, LIST(conf_model, operations, operation_count), .section = &operation_section,
	 .doc = "which source answers what"},
	{"flows", &conf_map, LIST(conf_model, flows, flow_count), .section = &flow_section,
	 .doc = "the flows that run"},
	{"streams", &conf_map, LIST(conf_model, streams, stream_count), .section = &stream_section,
	 .doc = "events that flows emit"},
	{"sinks", &conf_map, LIST(conf_model, sinks, sink_count), .section = &conf_sink_section,
	 .doc = "the sinks that run"},
	END
};
const struct conf_section conf_root_section = {.keys = root_keys};
