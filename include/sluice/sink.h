/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks (queue → warehouse table) and listeners (queue → handler). Most sinks are data only. */
#ifndef SLUICE_SINK_H
#define SLUICE_SINK_H

#include "flow.h"

enum sl_exchange_type { SL_DIRECT = 0, SL_TOPIC, SL_FANOUT };

enum sl_sink_column_flags {
	SL_COLUMN_NOW = 1,		/* the time of insertion, whatever the event says */
	/*
	 * An event without this member (null is fine) is refused, and one whose value
	 * does not convert where there is neither NULL nor a fallback for it.
	 */
	SL_COLUMN_NEEDED = 2,
	SL_COLUMN_OBJECT = 4,		/* JSON text of an object; anything else becomes {} */
	SL_COLUMN_MILLISECONDS = 8,	/* a number is milliseconds since 1970 (default: seconds) */
	SL_COLUMN_EITHER_UNIT = 16,	/* a number, also as text, is seconds, from 2^32 on milliseconds */
	SL_COLUMN_CUT = 32		/* fractions are cut off, also in texts (default: they do not convert) */
};

/*
 * One column. type is the ClickHouse type ("String", "Nullable(DateTime)").
 * The event's value at path ("a.b", alternatives "a|b": the first that is not
 * null) is converted: into text columns numbers as they were written, booleans
 * as their text, objects and lists as JSON; into DateTime texts in ISO 8601 or
 * "YYYY-MM-DD HH:MM:SS" (UTC) and numbers. What is null or does not convert
 * becomes NULL where the type allows it, else fallback, else the type's zero.
 * Lists end with name NULL.
 */
struct sl_sink_column {
	const char *name;
	const char *type;
	const char *path;	/* NULL = name; "" = the whole event */
	unsigned int flags;
	const char *fallback;
};

#define SL_END_OF_SINK_COLUMNS { NULL, NULL, NULL, 0, NULL }

struct sl_row;		/* the values of one row, for transform */

/*
 * identity is the column that makes an event unique, a text or number; one
 * without gets what derives from its message. prefix lists columns of the
 * sorting key by which a row can be found again cheaply.
 */
struct sl_sink {
	size_t size;
	const char *name;
	const char *queue;
	const char *exchange;
	enum sl_exchange_type exchange_type;
	const char *key;
	const char *table;
	const struct sl_sink_column *columns;
	const char *engine;		/* "MergeTree" */
	const char *partition_by;	/* an expression, or NULL */
	const char *order_by;		/* comma-separated columns */
	const char *identity;
	const char *const *prefix;	/* NULL-terminated */
	const char *time_column;	/* the DateTime column that partition_by uses, or NULL */
	/* Optional: reads the event and changes values of its row (h->row_text, h->row_int). */
	enum sl_result (*transform)(const struct sl_host *h, const struct sl_json *event, struct sl_row *row);
	const char *doc;
};

#define SL_SINK_INIT(...) { sizeof(struct sl_sink), __VA_ARGS__ }

/*
 * A listener's handle may submit tasks, upsert and emit; all of it commits
 * together with the note that this message was handled.
 */
struct sl_listener {
	size_t size;
	const char *name;
	const char *exchange;
	enum sl_exchange_type exchange_type;
	const char *key;
	const char *queue;
	enum sl_result (*handle)(const struct sl_host *h, struct sl_task *t, const struct sl_json *message);
	const struct sl_table *const *tables;
	const struct sl_stream *const *streams;
	const char *doc;
};

#define SL_LISTENER_INIT(...) { sizeof(struct sl_listener), __VA_ARGS__ }

#endif
