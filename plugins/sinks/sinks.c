/* SPDX-License-Identifier: Apache-2.0 */
/* The queues of platform events and task events, and the tables they end in. Data only. */
#include <stddef.h>

#include <sluice/plugin.h>

#define EXCHANGE "beat.dx"
#define MONTH "toYYYYMM(event_timestamp)"

/* Required columns: a message without the member is refused, a null is not. */
#define TEXT(column) {column, "String", NULL, SL_COLUMN_NEEDED, NULL}
#define TEXT_OR_NULL(column) {column, "Nullable(String)", NULL, SL_COLUMN_NEEDED, NULL}
#define OBJECT(column) {column, "String", NULL, SL_COLUMN_NEEDED | SL_COLUMN_OBJECT, NULL}
#define TIME(column) {column, "DateTime", NULL, SL_COLUMN_NEEDED, NULL}
#define TIME_OR_NULL(column) {column, "Nullable(DateTime)", NULL, SL_COLUMN_NEEDED, NULL}
#define INSERTED {"insert_timestamp", "DateTime", NULL, SL_COLUMN_NOW, NULL}

static const struct sl_sink_column profile_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("platform"), TEXT("profile_id"), TEXT_OR_NULL("handle"),
	TIME("event_timestamp"), INSERTED, OBJECT("metrics"), OBJECT("dimensions"),
	SL_END_OF_SINK_COLUMNS
};
static const char *const profile_prefix[] = {"platform", "profile_id", "event_timestamp", NULL};

static const struct sl_sink profile_log_events = SL_SINK_INIT(
	.name = "profile_log_events", .queue = "profile_log_events_q",
	.exchange = EXCHANGE, .exchange_type = SL_DIRECT, .key = "profile_log_events",
	.table = "profile_log_events", .columns = profile_columns, .engine = "MergeTree",
	.partition_by = MONTH, .order_by = "platform, profile_id, event_timestamp",
	.identity = "event_id", .prefix = profile_prefix, .time_column = "event_timestamp",
	.doc = "Profiles as they were seen");

static const struct sl_sink_column post_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("platform"), TEXT("profile_id"), TEXT_OR_NULL("handle"),
	TEXT("shortcode"), TIME_OR_NULL("publish_time"), TIME("event_timestamp"), INSERTED,
	OBJECT("metrics"), OBJECT("dimensions"),
	SL_END_OF_SINK_COLUMNS
};
static const char *const post_prefix[] = {"platform", "profile_id", "shortcode", "event_timestamp", NULL};

static const struct sl_sink post_log_events = SL_SINK_INIT(
	.name = "post_log_events", .queue = "post_log_events_q",
	.exchange = EXCHANGE, .exchange_type = SL_DIRECT, .key = "post_log_events",
	.table = "post_log_events", .columns = post_columns, .engine = "MergeTree",
	.partition_by = MONTH, .order_by = "platform, profile_id, shortcode, event_timestamp",
	.identity = "event_id", .prefix = post_prefix, .time_column = "event_timestamp",
	.doc = "Posts as they were seen");

static const struct sl_sink_column order_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("platform"), TEXT("platform_order_id"), TEXT("store"),
	TIME("event_timestamp"), INSERTED, OBJECT("metrics"), OBJECT("dimensions"),
	SL_END_OF_SINK_COLUMNS
};
static const char *const order_prefix[] = {"platform", "store", "platform_order_id", "event_timestamp", NULL};

static const struct sl_sink order_log_events = SL_SINK_INIT(
	.name = "order_log_events", .queue = "order_log_events_q",
	.exchange = EXCHANGE, .exchange_type = SL_DIRECT, .key = "order_log_events",
	.table = "order_log_events", .columns = order_columns, .engine = "MergeTree",
	.partition_by = MONTH, .order_by = "platform, store, platform_order_id, event_timestamp",
	.identity = "event_id", .prefix = order_prefix, .time_column = "event_timestamp",
	.doc = "Shop orders as they were seen");

static const struct sl_sink_column request_columns[] = {
	TEXT("event_id"), {"scl_id", "UInt64", NULL, SL_COLUMN_NEEDED, NULL},
	TEXT("platform"), TEXT("flow"), OBJECT("params"), TEXT("status"),
	{"priority", "Nullable(Int32)", NULL, SL_COLUMN_NEEDED, NULL}, TEXT_OR_NULL("reason"),
	TIME_OR_NULL("picked_at"), TIME_OR_NULL("expires_at"), TIME("event_timestamp"), INSERTED,
	SL_END_OF_SINK_COLUMNS
};
static const char *const request_prefix[] = {"platform", "flow", "event_timestamp", NULL};

/* One insert holds the events of many flows: a partition per day, not per flow and day. */
static const struct sl_sink scrape_request_log_events = SL_SINK_INIT(
	.name = "scrape_request_log_events", .queue = "scrape_request_log_events_q",
	.exchange = EXCHANGE, .exchange_type = SL_DIRECT, .key = "scrape_request_log_events",
	.table = "scrape_request_log_events", .columns = request_columns, .engine = "MergeTree",
	.partition_by = "toYYYYMMDD(event_timestamp)", .order_by = "platform, flow, event_timestamp",
	.identity = "event_id", .prefix = request_prefix, .time_column = "event_timestamp",
	.doc = "What happened to each task");

static const struct sl_sink *const sinks[] = {
	&profile_log_events, &post_log_events, &order_log_events, &scrape_request_log_events, NULL
};

SLUICE_PLUGIN(
	.name = "sinks", .version = "1.0", .doc = "Queues of platform and task events into warehouse tables",
	.sinks = sinks);
