/* SPDX-License-Identifier: Apache-2.0 */
/* The queues of platform events, task events and traces, and the tables they end in. Data only. */
#include <stddef.h>

#include <sluice/plugin.h>

#define MONTH "toYYYYMM(event_timestamp)"

/* Required columns: a message without the member is refused, a null is not. */
#define TEXT(column) {column, "String", NULL, SL_COLUMN_NEEDED, NULL}
#define TEXT_OR_NULL(column) {column, "Nullable(String)", NULL, SL_COLUMN_NEEDED, NULL}
#define OBJECT(column) {column, "String", NULL, SL_COLUMN_NEEDED | SL_COLUMN_OBJECT, NULL}
#define TIME_FLAGS (SL_COLUMN_NEEDED | SL_COLUMN_EITHER_UNIT)
#define TIME(column) {column, "DateTime", NULL, TIME_FLAGS, NULL}
#define TIME_OR_NULL(column) {column, "Nullable(DateTime)", NULL, TIME_FLAGS, NULL}
#define INSERTED {"insert_timestamp", "DateTime", NULL, SL_COLUMN_NOW, NULL}

/* What all but the traces have in common: one name for key, table and, with _q, the queue. */
#define EVENTS(name_) \
	.name = name_, .queue = name_ "_q", .exchange = "beat.dx", .exchange_type = SL_DIRECT, .key = name_, \
	.table = name_, .engine = "MergeTree", .identity = "event_id", .time_column = "event_timestamp"

/* --- profiles, posts, orders --- */

static const struct sl_sink_column profile_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("platform"), TEXT("profile_id"), TEXT_OR_NULL("handle"),
	TIME("event_timestamp"), INSERTED, OBJECT("metrics"), OBJECT("dimensions"),
	SL_END_OF_SINK_COLUMNS
};
static const char *const profile_prefix[] = {"platform", "profile_id", "event_timestamp", NULL};

static const struct sl_sink profile_log_events = SL_SINK_INIT(
	EVENTS("profile_log_events"), .columns = profile_columns,
	.partition_by = MONTH, .order_by = "platform, profile_id, event_timestamp", .prefix = profile_prefix,
	.doc = "Profiles as they were seen");

static const struct sl_sink_column post_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("platform"), TEXT("profile_id"), TEXT_OR_NULL("handle"),
	TEXT("shortcode"), TIME_OR_NULL("publish_time"), TIME("event_timestamp"), INSERTED,
	OBJECT("metrics"), OBJECT("dimensions"),
	SL_END_OF_SINK_COLUMNS
};
static const char *const post_prefix[] = {"platform", "profile_id", "shortcode", "event_timestamp", NULL};

static const struct sl_sink post_log_events = SL_SINK_INIT(
	EVENTS("post_log_events"), .columns = post_columns,
	.partition_by = MONTH, .order_by = "platform, profile_id, shortcode, event_timestamp",
	.prefix = post_prefix, .doc = "Posts as they were seen");

static const struct sl_sink_column order_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("platform"), TEXT("platform_order_id"), TEXT("store"),
	TIME("event_timestamp"), INSERTED, OBJECT("metrics"), OBJECT("dimensions"),
	SL_END_OF_SINK_COLUMNS
};
static const char *const order_prefix[] = {"platform", "store", "platform_order_id", "event_timestamp", NULL};

static const struct sl_sink order_log_events = SL_SINK_INIT(
	EVENTS("order_log_events"), .columns = order_columns,
	.partition_by = MONTH, .order_by = "platform, store, platform_order_id, event_timestamp",
	.prefix = order_prefix, .doc = "Shop orders as they were seen");

/* --- likes, comments and what people think of them --- */

/* publish_time has been a plain DateTime from the beginning: null becomes 1970. */
static const struct sl_sink_column activity_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("activity_type"), TEXT("platform"), TEXT("actor_profile_id"),
	TEXT("shortcode"), TIME("publish_time"), OBJECT("metrics"), OBJECT("dimensions"),
	TIME("event_timestamp"), INSERTED,
	SL_END_OF_SINK_COLUMNS
};
static const char *const shortcode_prefix[] = {"platform", "shortcode", "event_timestamp", NULL};

static const struct sl_sink post_activity_log_events = SL_SINK_INIT(
	EVENTS("post_activity_log_events"), .columns = activity_columns,
	.partition_by = MONTH, .order_by = "platform, shortcode, event_timestamp", .prefix = shortcode_prefix,
	.doc = "Likes and comments of posts");

static const struct sl_sink_column sentiment_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("platform"), TEXT("shortcode"), TEXT("comment_id"), TEXT("comment"),
	TEXT("sentiment"), {"score", "Float64", NULL, SL_COLUMN_NEEDED, NULL},
	OBJECT("metrics"), OBJECT("dimensions"), TIME("event_timestamp"), INSERTED,
	SL_END_OF_SINK_COLUMNS
};

static const struct sl_sink sentiment_log_events = SL_SINK_INIT(
	EVENTS("sentiment_log_events"), .columns = sentiment_columns,
	.partition_by = MONTH, .order_by = "platform, shortcode, event_timestamp", .prefix = shortcode_prefix,
	.doc = "What comments feel like");

/* --- who follows whom --- */

static const struct sl_sink_column relationship_columns[] = {
	TEXT("event_id"), TEXT("source"), TEXT("relationship_type"), TEXT("platform"), TEXT("source_profile_id"),
	TEXT("target_profile_id"), OBJECT("source_metrics"), OBJECT("target_metrics"), OBJECT("source_dimensions"),
	OBJECT("target_dimensions"), TIME("event_timestamp"), INSERTED,
	SL_END_OF_SINK_COLUMNS
};
/* Events come as the followers of one profile: the target leads to all of a page, a source to one row. */
static const char *const relationship_prefix[] = {"platform", "target_profile_id", "event_timestamp", NULL};

static const struct sl_sink profile_relationship_log_events = SL_SINK_INIT(
	EVENTS("profile_relationship_log_events"), .columns = relationship_columns,
	.partition_by = MONTH, .order_by = "platform, target_profile_id, event_timestamp",
	.prefix = relationship_prefix, .doc = "Who follows whom");

static const struct sl_sink_column yt_relationship_columns[] = {
	TEXT("event_id"), TEXT("relationship_id"), TEXT("relationship_type"), TEXT("source"), TEXT("platform"),
	TEXT("source_channel_id"), TEXT("target_channel_id"), TIME_OR_NULL("subscribed_on"),
	OBJECT("source_metrics"), OBJECT("target_metrics"), OBJECT("source_dimensions"),
	OBJECT("target_dimensions"), TIME("event_timestamp"), INSERTED,
	SL_END_OF_SINK_COLUMNS
};
/* These come as the subscriptions of one channel. */
static const char *const yt_relationship_prefix[] = {"platform", "source_channel_id", "event_timestamp", NULL};

static const struct sl_sink yt_profile_relationship_log_events = SL_SINK_INIT(
	EVENTS("yt_profile_relationship_log_events"), .columns = yt_relationship_columns,
	.partition_by = MONTH, .order_by = "platform, source_channel_id, event_timestamp",
	.prefix = yt_relationship_prefix, .doc = "Which channels a channel subscribes to");

static const struct sl_sink_column yt_activity_columns[] = {
	TEXT("event_id"), TEXT("activity_id"), TEXT("activity_type"), TEXT("source"), TEXT("platform"),
	TEXT("actor_channel_id"), OBJECT("metrics"), OBJECT("dimensions"), TIME("event_timestamp"), INSERTED,
	SL_END_OF_SINK_COLUMNS
};
static const char *const yt_activity_prefix[] = {"platform", "actor_channel_id", "event_timestamp", NULL};

static const struct sl_sink yt_activity_log_events = SL_SINK_INIT(
	EVENTS("yt_activity_log_events"), .columns = yt_activity_columns,
	.partition_by = MONTH, .order_by = "platform, actor_channel_id, event_timestamp",
	.prefix = yt_activity_prefix, .doc = "What channels do");

/* --- tasks --- */

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
	EVENTS("scrape_request_log_events"), .columns = request_columns,
	.partition_by = "toYYYYMMDD(event_timestamp)", .order_by = "platform, flow, event_timestamp",
	.prefix = request_prefix, .doc = "What happened to each task");

/* --- traces --- */

/* Nothing is required. Producers spell hostname both ways. */
static const struct sl_sink_column trace_columns[] = {
	{"id", "String", "event_id|id", 0, NULL},
	{"host_name", "String", "hostname|hostName", 0, NULL},
	{"service_name", "String", "serviceName", 0, NULL},
	{"timestamp", "DateTime", NULL, SL_COLUMN_EITHER_UNIT, NULL},
	{"time_taken", "Int32", "timeTaken", SL_COLUMN_CUT, NULL},
	{"method", "String", NULL, 0, NULL}, {"uri", "String", NULL, 0, NULL},
	{"headers", "String", NULL, SL_COLUMN_OBJECT, NULL},
	{"response_status", "Int32", "responseStatus", SL_COLUMN_CUT, NULL},
	{"remote_address", "String", "remoteAddress", 0, NULL},
	{"only_request", "UInt8", "onlyRequest", 0, NULL},
	{"request_body", "String", "requestBody", 0, NULL},
	{"response_body", "String", "responseBody", 0, NULL},
	SL_END_OF_SINK_COLUMNS
};
/*
 * A ReplacingMergeTree ordered by id, as this table used to be, drops a repeat
 * when it happens to merge both, over all days in one partition; and ids are
 * random, so looking up a batch reads a granule of every part for each. Repeats
 * never get in here; by service and time the traces of a batch lie together;
 * and a day is dropped at once when it is too old. A table of the old kind that
 * is there is used as it is.
 */
static const char *const trace_prefix[] = {"service_name", "timestamp", NULL};

/*
 * Producers publish with the key trace_log. The queue used to be bound with a
 * literal "*", which a direct exchange takes for no other key; on a topic
 * exchange it would also take access tokens and whatever else has one word.
 */
static const struct sl_sink trace_log_events = SL_SINK_INIT(
	.name = "trace_log_events", .queue = "trace_log",
	.exchange = "identity.dx", .exchange_type = SL_DIRECT, .key = "trace_log",
	.table = "trace_log_events", .columns = trace_columns, .engine = "MergeTree",
	.partition_by = "toYYYYMMDD(timestamp)", .order_by = "service_name, timestamp",
	.identity = "id", .prefix = trace_prefix, .time_column = "timestamp",
	.doc = "Requests to upstream APIs");

static const struct sl_sink *const sinks[] = {
	&profile_log_events, &post_log_events, &order_log_events, &scrape_request_log_events,
	&post_activity_log_events, &sentiment_log_events, &profile_relationship_log_events,
	&yt_activity_log_events, &yt_profile_relationship_log_events, &trace_log_events, NULL
};

SLUICE_PLUGIN(
	.name = "sinks", .version = "1.0",
	.doc = "Queues of platform events, task events and traces into warehouse tables", .sinks = sinks);
