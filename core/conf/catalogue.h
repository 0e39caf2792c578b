/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the plugins offer, as far as flows.yaml is checked against it: plain
 * data, filled from the probes' JSON. One thread while it is filled, then any.
 */
#ifndef SLUICE_CONF_CATALOGUE_H
#define SLUICE_CONF_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;
struct json;

struct conf_names {
	const char **list;
	size_t count;
};

struct conf_offer_option {
	const char *name, *type;	/* type: "string", "integer", "number", "boolean", "duration", "size" */
	const char *fallback;		/* NULL: none */
	int64_t min, max;		/* both 0 = no bound */
	bool required, secret;
	const char *doc;
};

struct conf_offer_plugin {
	const char *name, *version, *file;
	uint64_t device, inode, size;	/* what the probe saw */
	const char *sha256;
	struct conf_names tables, listeners;
	struct conf_offer_option *options;
	size_t option_count;
};

struct conf_offer_source {
	const char *name, *plugin;
	const char *base_url;		/* NULL: flows.yaml must say it */
	struct conf_names fields;	/* members a credential must have; none: any */
};

struct conf_offer_operation {
	const char *name;		/* "plugin.operation" */
	const char *plugin;
	struct conf_names sources;	/* in the plugin's order */
};

struct conf_offer_flow {
	const char *name, *plugin, *platform;
	struct conf_names streams, params, operations;
	const char *options;		/* the parameters as the probe printed them, JSON: conf/params.h */
};

struct conf_offer_stream {
	const char *name;
	const char *plugin;		/* the first that has it; NULL: one of the host's own */
	const char *exchange, *key;
};

struct conf_offer_sink {
	const char *name, *plugin;
	const char *queue, *exchange, *exchange_type, *table;
	const char *key;		/* "#": every key (fanout) */
};

/* The stores that flows.yaml names. */
enum conf_family { CONF_TASKS, CONF_OBJECTS, CONF_BUS, CONF_LIMITS, CONF_WAREHOUSE, CONF_FAMILIES };

struct conf_catalogue {
	struct arena *arena;		/* owned: everything below */
	struct conf_offer_plugin *plugins;
	struct conf_offer_source *sources;
	struct conf_offer_operation *operations;
	struct conf_offer_flow *flows;
	struct conf_offer_stream *streams;
	struct conf_offer_sink *sinks;
	/* Whether a driver takes the URL; opens nothing. NULL: not asked. */
	int (*check_url)(enum conf_family family, const char *url, struct error *err);
	size_t plugin_count, source_count, operation_count, flow_count, stream_count, sink_count;
};

/* Holds the host's own streams from the start: scrape_request_log_events, trace_log. */
#define CONF_STREAM_STATUS 0
#define CONF_STREAM_TRACE 1
#define CONF_STREAMS_OWN 2
struct conf_catalogue *conf_catalogue_new(void);
void conf_catalogue_free(struct conf_catalogue **catalogue);
/*
 * Adds what one probe printed. ERR_INPUT when it is not a descriptor, or when
 * another plugin already offers a flow, sink, source, table or listener of
 * that name, or a stream of that name with another exchange or key; the catalogue is then as before.
 */
int conf_catalogue_add(struct conf_catalogue *catalogue, const struct json *probe, struct error *err);

/* By name; NULL when nothing of that name is offered. */
const struct conf_offer_plugin *conf_offered_plugin(const struct conf_catalogue *catalogue, const char *name);
const struct conf_offer_flow *conf_offered_flow(const struct conf_catalogue *catalogue, const char *name);
const struct conf_offer_operation *conf_offered_operation(const struct conf_catalogue *catalogue, const char *name);
const struct conf_offer_sink *conf_offered_sink(const struct conf_catalogue *catalogue, const char *name);
const struct conf_offer_stream *conf_offered_stream(const struct conf_catalogue *catalogue, const char *name);
/* plugin NULL: the first of that name. */
const struct conf_offer_source *conf_offered_source(const struct conf_catalogue *catalogue, const char *plugin,
						     const char *name);
bool conf_names_have(const struct conf_names *names, const char *name);

#endif
