/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A complete platform of its own: the weather of a place, from api.open-meteo.com
 * to a table of the warehouse. It needs the installed headers and nothing else:
 *
 *	cc -shared -fPIC $(pkg-config --cflags sluice) -o weather.so weather.c
 *	sluicectl plugin check weather.so
 *	SLUICE_PLUGIN_PATH=. sluicectl flow try refresh_weather place=Berlin latitude=52.52 longitude=13.41
 */
#include <sluice/plugin.h>

/* Who is asked: no credential, at most ten requests a second. 429, 5xx and the like mean what they mean. */
static const char *const limits[] = {"10/1s", NULL};
static const struct sl_source open_meteo = SL_SOURCE_INIT(
	.name = "open-meteo", .base_url = "https://api.open-meteo.com", .flags = SL_SOURCE_ANONYMOUS,
	.limits = limits, .feedback = SL_FEEDBACK_RETRY_AFTER, .doc = "Open-Meteo forecast API");

/* What an answer holds: parsing is a table. */
static const struct sl_record_type weather = SL_RECORD_TYPE("weather");
static const struct sl_field fields[] = {
	{SL_METRIC, "temperature", "current_weather.temperature", SL_FLOAT},
	{SL_METRIC, "wind_speed", "current_weather.windspeed", SL_FLOAT},
	{SL_DIMENSION, "observed_at", "current_weather.time", SL_TIME},
	{SL_DIMENSION, "timezone", "timezone", SL_STR},
	SL_END_OF_FIELDS
};

/* How it is asked, and how the answer is read. */
static enum sl_result build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			    struct sl_request *r)
{
	(void)t;
	h->get(r, "/v1/forecast");
	h->query(r, "latitude", h->arg(c, "latitude"));
	h->query(r, "longitude", h->arg(c, "longitude"));
	h->query(r, "current_weather", "true");
	return SL_OK;
}

static enum sl_result parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			    const struct sl_response *re)
{
	if (!h->at(re->json, "current_weather"))
		return h->fail(t, SL_RETRY, "the answer has no current_weather");
	h->record(t, &weather, h->key(c), re->json, fields);
	return SL_OK;
}

static const struct sl_via vias[] = {{&open_meteo, build, parse}, SL_END_OF_VIAS};
static const struct sl_operation current = SL_OPERATION_INIT(.name = "current", .via = vias);

/* Where it goes: a row of current state, and an event for the warehouse. */
static const struct sl_column columns[] = {
	{"place", SL_TEXT, SL_KEEP, SL_ATTR, NULL},
	{"temperature", SL_DOUBLE, SL_KEEP, SL_METRIC, "temperature"},
	{"wind_speed", SL_DOUBLE, SL_KEEP, SL_METRIC, "wind_speed"},
	{"observed_at", SL_TIMESTAMP, SL_KEEP, SL_DIMENSION, "observed_at"},
	SL_END_OF_COLUMNS
};
static const struct sl_table weather_now = SL_TABLE_INIT(
	.name = "weather_now", .key_column = "place", .flags = SL_TABLE_STAMPED, .columns = columns);

static const struct sl_event_field event_fields[] = {
	{"event_id", SL_EV_ID, SL_ATTR, NULL},
	{"place", SL_EV_KEY, SL_ATTR, NULL},
	{"observed_at", SL_EV_TIME, SL_DIMENSION, "observed_at"},
	{"event_timestamp", SL_EV_NOW, SL_ATTR, NULL},
	{"metrics", SL_EV_GROUP, SL_METRIC, NULL},
	SL_END_OF_EVENT_FIELDS
};
static const struct sl_stream weather_log = SL_STREAM_INIT(
	.name = "weather_log", .exchange = "weather.dx", .key = "weather_log", .fields = event_fields);

/* A kind of task: one call, and what becomes of its record. */
static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (h->round(t) == 0)
		h->call(t, &current, h->param(t, "place"), "latitude", h->param(t, "latitude"),
			"longitude", h->param(t, "longitude"), NULL);
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	h->upsert(t, &weather_now, rec);
	h->event(t, &weather_log, rec);
	return SL_OK;
}

static const struct sl_option params[] = {
	{"place", SL_STR, SL_REQUIRED, NULL, 1, 100, "what the place is called", {NULL, NULL}},
	{"latitude", SL_FLOAT, SL_REQUIRED, NULL, -90, 90, "degrees north", {NULL, NULL}},
	{"longitude", SL_FLOAT, SL_REQUIRED, NULL, -180, 180, "degrees east", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const operations[] = {&current, NULL};
static const struct sl_table *const tables[] = {&weather_now, NULL};
static const struct sl_stream *const streams[] = {&weather_log, NULL};
static const struct sl_flow refresh_weather = SL_FLOW_INIT(
	.name = "refresh_weather", .platform = "WEATHER", .params = params, .operations = operations,
	.tables = tables, .streams = streams, .retrieve = retrieve, .emit = emit);

/* And the way from the queue into the warehouse. */
static const struct sl_sink_column sink_columns[] = {
	{"event_id", "String", NULL, SL_COLUMN_NEEDED, NULL}, {"place", "String", NULL, 0, NULL},
	{"observed_at", "Nullable(DateTime)", NULL, 0, NULL}, {"event_timestamp", "DateTime", NULL, 0, NULL},
	{"temperature", "Nullable(Float64)", "metrics.temperature", 0, NULL}, SL_END_OF_SINK_COLUMNS
};
static const char *const prefix[] = {"place", "event_timestamp", NULL};
static const struct sl_sink weather_sink = SL_SINK_INIT(
	.name = "weather_log", .queue = "weather_log_q", .exchange = "weather.dx", .key = "weather_log",
	.table = "weather_log", .columns = sink_columns, .engine = "MergeTree",
	.order_by = "place, event_timestamp", .identity = "event_id", .prefix = prefix, .time_column = "event_timestamp");

static const struct sl_source *const sources[] = {&open_meteo, NULL};
static const struct sl_flow *const flows[] = {&refresh_weather, NULL};
static const struct sl_sink *const sinks[] = {&weather_sink, NULL};
SLUICE_PLUGIN(.name = "weather", .version = "1.0", .doc = "The weather of a place", .sources = sources,
	      .operations = operations, .flows = flows, .tables = tables, .streams = streams, .sinks = sinks);
