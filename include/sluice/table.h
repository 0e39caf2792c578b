/* SPDX-License-Identifier: Apache-2.0 */
/* Records, and where they go: tables of current state and streams of events. */
#ifndef SLUICE_TABLE_H
#define SLUICE_TABLE_H

#include "option.h"

struct sl_record;	/* what parse makes: a type, a key, a source and values in groups */

/* A record's values live in groups; a name is unique within its group. */
enum sl_group {
	SL_ATTR = 0,		/* the record's own attributes: handle, profile_id, … */
	SL_METRIC,
	SL_DIMENSION,
	SL_TARGET_METRIC,	/* of the second party of a relationship */
	SL_TARGET_DIMENSION,
	SL_GROUPS
};

struct sl_record_type {
	size_t size;
	const char *name;
};

#define SL_RECORD_TYPE(type_name) { sizeof(struct sl_record_type), type_name }

/*
 * One value taken from JSON: the value at path becomes key of group. A path is
 * dotted, a number indexes a list, '|' separates alternatives of which the
 * first that is there and not null wins. What is missing or does not convert
 * is null, never left out. Lists end with an entry whose key is NULL.
 */
struct sl_field {
	enum sl_group group;
	const char *key;
	const char *path;
	enum sl_type type;
};

#define SL_END_OF_FIELDS { SL_ATTR, NULL, NULL, (enum sl_type)0 }

enum sl_column_type {
	SL_BIGINT = 1, SL_DOUBLE, SL_TEXT, SL_BOOLEAN,
	SL_JSONB,
	SL_TIMESTAMP,		/* from seconds since 1970; "YYYY-MM-DD HH:MM:SS" in UTC */
	SL_TEXT_ARRAY		/* from a JSON list */
};

/* What an upsert does to a column of a row that is already there. */
enum sl_rule {
	SL_KEEP = 0,	/* a null or an empty text keeps the old value; anything else replaces it */
	SL_OVERWRITE,	/* always replaced, with null too */
	SL_ONCE		/* written only while it is null */
};

/*
 * A column filled from the record's value key of group. key "": from the whole
 * group, as an object. key NULL: no upsert writes the column (other systems
 * do). Lists end with name NULL.
 */
struct sl_column {
	const char *name;
	enum sl_column_type type;
	enum sl_rule rule;
	enum sl_group group;
	const char *key;
};

#define SL_END_OF_COLUMNS { NULL, (enum sl_column_type)0, SL_KEEP, SL_ATTR, NULL }

enum sl_table_flags {
	SL_TABLE_STAMPED = 1	/* the host keeps created_at and updated_at */
};

/*
 * Current state in the task store. The host creates and migrates the table
 * (an id column comes first) and builds the upsert by key_column, which holds
 * the record's key. key_column NULL: rows are only ever appended.
 */
struct sl_table {
	size_t size;
	const char *name;
	const char *key_column;
	unsigned int flags;
	const struct sl_column *columns;
	const char *const *indexes;	/* columns to index for lookups; NULL-terminated, or NULL */
	const char *doc;
};

#define SL_TABLE_INIT(...) { sizeof(struct sl_table), __VA_ARGS__ }

/* Where a member of an event comes from. */
enum sl_event_from {
	SL_EV_ID = 1,		/* the event's identity, made by the host */
	SL_EV_NOW,		/* "YYYY-MM-DD HH:MM:SS" in UTC */
	SL_EV_SOURCE,		/* the record's source */
	SL_EV_PLATFORM,		/* the flow's platform */
	SL_EV_KEY,		/* the record's key */
	SL_EV_CONST,		/* the text in key */
	SL_EV_VALUE,		/* the value key of group, null when it has none */
	SL_EV_TIME,		/* the value key of group (seconds) as "YYYY-MM-DD HH:MM:SS", or null */
	SL_EV_GROUP		/* every value of group as an object */
};

/* Lists end with name NULL. */
struct sl_event_field {
	const char *name;
	enum sl_event_from from;
	enum sl_group group;
	const char *key;
};

#define SL_END_OF_EVENT_FIELDS { NULL, (enum sl_event_from)0, SL_ATTR, NULL }

enum sl_stream_flags {
	SL_STREAM_SINGLE = 1	/* one event per message, never merged */
};

/* Events of one kind: what they hold, and the exchange and routing key they leave by. */
struct sl_stream {
	size_t size;
	const char *name;
	const char *exchange;
	const char *key;
	unsigned int flags;
	const struct sl_event_field *fields;	/* NULL: only h->event_json */
	const char *doc;
};

#define SL_STREAM_INIT(...) { sizeof(struct sl_stream), __VA_ARGS__ }

#endif
