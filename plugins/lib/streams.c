/* SPDX-License-Identifier: Apache-2.0 */
/* The record types and streams that all platforms share. Data only. */
#include "lib.h"

const struct sl_record_type profile_type = SL_RECORD_TYPE("profile");
const struct sl_record_type post_type = SL_RECORD_TYPE("post");

static const struct sl_event_field profile_fields[] = {
	{"event_id", SL_EV_ID, SL_ATTR, NULL},
	{"source", SL_EV_SOURCE, SL_ATTR, NULL},
	{"platform", SL_EV_PLATFORM, SL_ATTR, NULL},
	{"profile_id", SL_EV_KEY, SL_ATTR, NULL},
	{"handle", SL_EV_VALUE, SL_ATTR, "handle"},
	{"event_timestamp", SL_EV_NOW, SL_ATTR, NULL},
	{"metrics", SL_EV_GROUP, SL_METRIC, NULL},
	{"dimensions", SL_EV_GROUP, SL_DIMENSION, NULL},
	SL_END_OF_EVENT_FIELDS
};

const struct sl_stream profile_log_events = SL_STREAM_INIT(
	.name = "profile_log_events", .exchange = BEAT_EXCHANGE, .key = "profile_log_events",
	.fields = profile_fields, .doc = "One event per profile refreshed");

static const struct sl_event_field post_fields[] = {
	{"event_id", SL_EV_ID, SL_ATTR, NULL},
	{"source", SL_EV_SOURCE, SL_ATTR, NULL},
	{"platform", SL_EV_PLATFORM, SL_ATTR, NULL},
	{"profile_id", SL_EV_VALUE, SL_ATTR, "profile_id"},
	{"handle", SL_EV_VALUE, SL_ATTR, "handle"},
	{"shortcode", SL_EV_KEY, SL_ATTR, NULL},
	{"publish_time", SL_EV_TIME, SL_DIMENSION, "taken_at_timestamp"},
	{"event_timestamp", SL_EV_NOW, SL_ATTR, NULL},
	{"metrics", SL_EV_GROUP, SL_METRIC, NULL},
	{"dimensions", SL_EV_GROUP, SL_DIMENSION, NULL},
	SL_END_OF_EVENT_FIELDS
};

const struct sl_stream post_log_events = SL_STREAM_INIT(
	.name = "post_log_events", .exchange = BEAT_EXCHANGE, .key = "post_log_events",
	.fields = post_fields, .doc = "One event per post refreshed");
