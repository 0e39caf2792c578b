/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink role: one consumer per sink listed in the part, and the queries of
 * operators. This file owns start, drain and stop; the loop's thread runs it.
 */
#include "sink/sink.h"

#include <limits.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "bus/bus.h"
#include "conf/model.h"
#include "json/json.h"
#include "log/log.h"
#include "loop/loop.h"
#include "plugin/plugin.h"
#include "sink/consumer.h"
#include "sink/query.h"
#include "sink/table.h"
#include "store/store.h"

/* What a batch takes at most while it is inserted, in batches: see consumer.h. */
#define BATCH_COPIES 4
#define BATCH_BYTES_MIN ((int64_t)64 * 1024)

struct sink {
	struct role *role;
	struct store *store;
	struct consumer **consumers;
	size_t count, drained;
	struct query_service *queries;
	const char *database;
	bool away;			/* the warehouse did not answer at start */
	char node[HOST_NAME_MAX + 1];
};

static enum warehouse_durability durability_of(const struct conf_sink *conf)
{
	return conf->durability == CONF_QUORUM ? WAREHOUSE_QUORUM :
		conf->durability == CONF_INSERTED ? WAREHOUSE_INSERTED : WAREHOUSE_FSYNC;
}

/*
 * Servers that do not answer now will: the sink's thread goes on trying. What
 * a server says against a table, and trouble of an embedded warehouse, ends the role.
 */
static int open_table(struct sink *sink, struct consumer_options *options, struct error *err)
{
	bool remote = warehouse_remote(options->warehouse);

	if (!sink->away)
		options->wh = sink_table_open(options->table, options->warehouse, &options->durability, err);
	if (options->wh != NULL || sink->away)
		return 0;
	if (!remote || err->code == ERR_INPUT)
		return -1;
	log_warning("the warehouse does not answer yet: %s", err->text);
	sink->away = true;
	return 0;
}

static size_t batch_bytes(const struct sink *sink, const struct conf_sink *conf, size_t sinks)
{
	int64_t share = sink->role->conf->memory_max / (BATCH_COPIES * (int64_t)sinks);

	if (share < BATCH_BYTES_MIN)
		share = BATCH_BYTES_MIN;
	if (conf->batch_bytes <= share)
		return (size_t)conf->batch_bytes;
	log_debug("batches are limited so that all sinks fit into memory sink=%s bytes=%lld", conf->name,
		 (long long)share);
	return (size_t)share;
}

/* What comes after the start is suspect: a new process waits for the queue and looks all of it up. */
static void on_lost(void *user)
{
	struct sink *sink = user;

	role_failed(sink->role, "another node has taken over a queue");
}

/* What our own relays send always fits. */
static size_t body_max(const struct conf_model *model)
{
	size_t ours = (size_t)(model->relay_bytes + model->event_max);

	return ours > BUS_BODY_MAX ? ours : BUS_BODY_MAX;
}

static int add_consumer(struct sink *sink, const struct conf_sink *conf, unsigned int number, size_t consumers,
			struct error *err)
{
	const struct conf_model *model = sink->role->conf;
	const struct sl_sink *declared = plugin_find_sink(sink->role->plugins, conf->name, NULL);
	struct consumer_options options = {
		.loop = sink->role->loop, .store = sink->store, .bus = model->bus, .queue = conf->queue,
		.exchange = conf->exchange, .exchange_type = conf->exchange_type, .key = conf->key,
		.state = model->state, .number = number, .lost = on_lost, .user = sink,
		.warehouse = model->warehouse, .durability = durability_of(conf),
		.node = sink->node, .batch_rows = (size_t)conf->batch_rows,
		.batch_bytes = batch_bytes(sink, conf, consumers), .batch_age_ms = conf->batch_age_ms,
		.unacked_messages = (size_t)conf->prefetch, .body_max = body_max(model), .deadline_ms = conf->deadline_ms,
		.suspect_wait_ms = model->suspect_wait_ms,
		.breaker_failures = (unsigned int)model->breaker_failures,
		.breaker_first_ms = model->breaker_first_ms, .breaker_cap_ms = model->breaker_cap_ms
	};

	if (declared == NULL)
		return error_set(err, ERR_INPUT, "sink %s: no plugin offers it", conf->name);
	options.table = sink_table_new(declared, sink->database, conf->table != NULL ? conf->table : declared->table,
				       sink->role->arena, err);
	if (options.table != NULL && model->engine == CONF_REPLACING)
		options.table = sink_table_replacing(options.table, sink->role->arena, err);
	if (options.table == NULL)
		return -1;
	if (open_table(sink, &options, err) < 0)
		return -1;
	sink->consumers[sink->count] = consumer_new(&options, err);
	if (sink->consumers[sink->count] == NULL)
		return -1;
	sink->count++;
	return 0;
}

/* One is enough where nobody else reads the queue: more would only see the same rows. */
static unsigned int consumers_of(const struct sink *sink, const struct conf_sink *conf)
{
	return bus_publishes(sink->role->conf->bus) ? (unsigned int)conf->consumers : 1;
}

static int add_consumers(struct sink *sink, struct error *err)
{
	const struct json *names = json_member(sink->role->part, "sinks");
	size_t count = 0;

	for (const struct json *name = json_first(names); name != NULL; name = json_next(name)) {
		const char *text = json_string(name, NULL);
		const struct conf_sink *conf = conf_sink(sink->role->conf, text != NULL ? text : "");

		if (conf == NULL)
			return error_set(err, ERR_INPUT, "sink %s is not configured", text != NULL ? text : "?");
		count += consumers_of(sink, conf);
	}
	sink->consumers = arena_alloc(sink->role->arena, (count + 1) * sizeof(struct consumer *));
	for (const struct json *name = json_first(names); name != NULL; name = json_next(name)) {
		const struct conf_sink *conf = conf_sink(sink->role->conf, json_string(name, NULL));

		for (unsigned int i = 0; i < consumers_of(sink, conf); i++)
			if (add_consumer(sink, conf, i, count, err) < 0)
				return -1;
	}
	return 0;
}

static int start(struct role *role, struct error *err)
{
	struct sink *sink = mem_alloc(sizeof(*sink));

	role->state = sink;
	sink->role = role;
	if (gethostname(sink->node, sizeof(sink->node) - 1) != 0)
		str_format(sink->node, sizeof(sink->node), "node");
	sink->database = sink_database(role->conf->warehouse, role->arena);
	sink->store = role_open_store(role, err);
	if (sink->store == NULL || add_consumers(sink, err) < 0)
		return -1;
	sink->queries = query_service_new(role->loop, role->conf->warehouse, sink->database);
	return 0;
}

static void on_drained(void *user)
{
	struct sink *sink = user;

	if (++sink->drained == sink->count)
		role_finished(sink->role);
}

static void drain(struct role *role)
{
	struct sink *sink = role->state;

	if (sink->count == 0)
		role_finished(role);
	for (size_t i = 0; i < sink->count; i++)
		consumer_drain(sink->consumers[i], on_drained, sink);
}

static void message(struct role *role, const struct json *request, int fd)
{
	struct sink *sink = role->state;

	if (fd >= 0 && str_eq(json_string(json_member(request, "cmd"), NULL), "query")) {
		query_serve(sink->queries, request, fd);
		return;
	}
	if (json_member(request, "nudge") != NULL)
		for (size_t i = 0; i < sink->count; i++)
			consumer_nudge(sink->consumers[i]);
	if (fd >= 0)
		close(fd);
}

static void stop(struct role *role)
{
	struct sink *sink = role->state;

	for (size_t i = 0; i < sink->count; i++)
		consumer_free(&sink->consumers[i]);
	query_service_free(&sink->queries);
	store_close(&sink->store);
	mem_release(sink);
}

const struct role_def sink_role = {
	.name = "sink",
	.plugins = true,
	.start = start,
	.drain = drain,
	.message = message,
	.stop = stop
};
