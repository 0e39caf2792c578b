/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host offers a plugin. Every callback gets this table; a plugin has
 * no undefined symbol of the host. Members are only ever appended: before
 * using one that came after ABI minor 0, check that h->size covers it.
 *
 * All of it is for the callback that is running, on its thread. Texts and JSON
 * returned are borrowed and valid until that callback returns; texts passed in
 * are copied. NULL is a valid record, JSON value or text wherever one is taken.
 */
#ifndef SLUICE_HOST_H
#define SLUICE_HOST_H

#include <stdbool.h>

#include "flow.h"
#include "sink.h"

#if defined(__GNUC__)
#define SL_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define SL_PRINTF(format_at, first_at)
#endif

struct sl_host {
	size_t size;

	/* --- the task --- */
	int64_t (*task_id)(const struct sl_task *t);
	/* A parameter as text; NULL when it was not given or is null. */
	const char *(*param)(const struct sl_task *t, const char *name);
	int64_t (*param_int)(const struct sl_task *t, const char *name, int64_t fallback);
	const struct sl_json *(*param_json)(const struct sl_task *t, const char *name);
	/* The i-th lot of n entries of a list parameter (or fact list), comma-joined; NULL at the end. */
	const char *(*batch)(const struct sl_task *t, const char *list, size_t n, size_t index);
	/* An option of the plugin, as text; its default when flows.yaml does not set it. */
	const char *(*option)(const struct sl_task *t, const char *name);
	int64_t (*option_int)(const struct sl_task *t, const char *name);
	/* Seconds since 1970: the same value throughout one callback. */
	int64_t (*now)(const struct sl_task *t);
	/* A random number from a generator seeded per task: replays give the same. */
	uint64_t (*random)(struct sl_task *t);
	/* printf into memory of the callback. */
	const char *(*format)(struct sl_task *t, const char *fmt, ...) SL_PRINTF(2, 3);
	void *(*alloc)(struct sl_task *t, size_t size);
	/* ISO 8601 → seconds since 1970; fallback when text is no time. */
	int64_t (*time)(const char *text, int64_t fallback);
	void (*debug)(const struct sl_task *t, const char *fmt, ...) SL_PRINTF(2, 3);

	/*
	 * Says why this callback ends with result, which it returns. The error
	 * reads (status, 'text') where the status is known: that of the response,
	 * or the one given to fail_as.
	 */
	enum sl_result (*fail)(struct sl_task *t, enum sl_result result, const char *text);
	enum sl_result (*fail_as)(struct sl_task *t, enum sl_result result, int status, const char *text);
	/* With SL_LIMIT: how long the credential is parked, seconds from now. */
	void (*park)(struct sl_task *t, int64_t seconds);

	/* --- retrieve: rounds of calls (10 in flight per task) --- */
	int (*round)(const struct sl_task *t);			/* 0 at the first retrieve */
	/*
	 * Adds a call of an operation that the flow lists. key names what is asked
	 * for; then name, value, …, NULL; a value may be NULL (left out).
	 */
	struct sl_call *(*call)(struct sl_task *t, const struct sl_operation *operation, const char *key, ...);
	/*
	 * Adds the call for the next page: same operation, key, arguments, source
	 * and settings, with previous' next cursor. For a call that failed it is
	 * that page again. NULL, and no call, when previous has no next page.
	 */
	struct sl_call *(*next)(struct sl_task *t, const struct sl_call *previous, int64_t delay_ms);
	void (*delay)(struct sl_call *c, int64_t delay_ms);
	void (*on_error)(struct sl_call *c, enum sl_on_error what);
	/* Records of equal type and key from calls of one join become one, emitted when a round adds no call to it. */
	void (*join)(struct sl_call *c, const char *name);
	/* The handle whose credential the call needs, and {handle} of the base URL. */
	void (*bind)(struct sl_call *c, const char *handle);
	/* Waits for the task's own events to have arrived in the warehouse (queries). */
	void (*after_landed)(struct sl_call *c, int64_t timeout_ms);
	/* The calls of the round that ended, in the order they were added; NULL past the last. */
	const struct sl_call *(*ended)(const struct sl_task *t, size_t index);

	const char *(*key)(const struct sl_call *c);
	const char *(*arg)(const struct sl_call *c, const char *name);
	const struct sl_operation *(*operation)(const struct sl_call *c);
	const char *(*source)(const struct sl_call *c);		/* name of the source in use, "" before */
	const char *(*cursor)(const struct sl_call *c);		/* where this page begins; NULL = the first */
	const char *(*next_cursor)(const struct sl_call *c);	/* where the next begins; NULL = there is none */
	enum sl_result (*outcome)(const struct sl_call *c);
	/* The error as the task would report it: "(403, 'text')", or the text alone without a status. */
	const char *(*outcome_text)(const struct sl_call *c);	/* with its status: "(403, 'text')" */
	int (*status)(const struct sl_call *c);			/* of its last response, 0 without one */

	/* --- facts: the flow's memory; saved with the task (1 MiB); every callback but build may set them --- */
	void (*set_int)(struct sl_task *t, const char *name, int64_t value);
	int64_t (*get_int)(const struct sl_task *t, const char *name, int64_t fallback);
	void (*set_text)(struct sl_task *t, const char *name, const char *text);
	const char *(*get_text)(const struct sl_task *t, const char *name);
	void (*append)(struct sl_task *t, const char *list, const char *text);
	size_t (*count)(const struct sl_task *t, const char *list);
	const char *(*item)(const struct sl_task *t, const char *list, size_t index);
	bool (*contains)(const struct sl_task *t, const char *list, const char *text);
	void (*forget)(struct sl_task *t, const char *name);

	/* --- build --- */
	void (*get)(struct sl_request *r, const char *path);		/* below the base URL; encoded where needed */
	void (*post)(struct sl_request *r, const char *path);
	/* An absolute URL; must keep the base URL's origin, or the call fails. Without a base URL: any public one. */
	void (*follow)(struct sl_request *r, const char *url);
	void (*query)(struct sl_request *r, const char *name, const char *value);	/* NULL value: left out */
	void (*query_int)(struct sl_request *r, const char *name, int64_t value);
	void (*header)(struct sl_request *r, const char *name, const char *value);
	void (*form)(struct sl_request *r, const char *name, const char *value);
	void (*body_json)(struct sl_request *r, struct sl_out *out);
	void (*body_text)(struct sl_request *r, const char *content_type, const char *text);
	void (*timeout)(struct sl_request *r, int64_t ms);
	void (*redirects)(struct sl_request *r, int most);
	/* A public member of the credential in use; NULL when it has none. */
	const char *(*credential)(const struct sl_request *r, const char *field);
	/* Places a member of the credential without showing it. */
	void (*secret_query)(struct sl_request *r, const char *name, const char *field);
	void (*secret_header)(struct sl_request *r, const char *name, const char *prefix, const char *field);
	void (*secret_form)(struct sl_request *r, const char *name, const char *field);
	/* Queries: the statement and its {name:Type} parameters. */
	void (*sql)(struct sl_request *r, const char *statement);
	void (*sql_param)(struct sl_request *r, const char *name, const char *value);
	/* Blobs: where the object goes. Its bytes: the GET's body, the rows of sql, or without these body_text's. */
	void (*object)(struct sl_request *r, const char *name, const char *content_type);

	/* --- parse: reading JSON --- */
	const char *(*response_header)(const struct sl_response *re, const char *name);
	const struct sl_json *(*at)(const struct sl_json *value, const char *path);
	/* Text, or a number's or boolean's text; NULL when missing, null or a container. */
	const char *(*str)(const struct sl_json *value, const char *path);
	int64_t (*integer)(const struct sl_json *value, const char *path, int64_t fallback);
	double (*number)(const struct sl_json *value, const char *path, double fallback);
	bool (*boolean)(const struct sl_json *value, const char *path, bool fallback);
	bool (*is_object)(const struct sl_json *value);
	bool (*is_array)(const struct sl_json *value);
	size_t (*length)(const struct sl_json *container);
	const struct sl_json *(*first)(const struct sl_json *container);
	const struct sl_json *(*following)(const struct sl_json *item);
	const char *(*name)(const struct sl_json *member);
	const char *(*raw)(const struct sl_json *value);		/* its JSON */
	/* Parses JSON that came inside a text; NULL when it is none. */
	const struct sl_json *(*parse_json)(struct sl_task *t, const char *text);
	/* The rel="next" target of a Link header; NULL when there is none. */
	const char *(*link_next)(struct sl_task *t, const char *link_header);
	/*
	 * NULL or "": no further page. A link is kept without the parameters whose
	 * value is a secret, for cursors are stored: what the host does not place by
	 * itself (auth), build places again when it follows the link.
	 */
	void (*set_cursor)(struct sl_task *t, const char *cursor);

	/* --- records --- */
	/* Makes a record of this response (or, in retrieve, a stub). Returns NULL, and counts it, when key is NULL or "". */
	struct sl_record *(*record)(struct sl_task *t, const struct sl_record_type *type, const char *key,
				    const struct sl_json *from, const struct sl_field *fields);
	void (*fields)(struct sl_record *rec, const struct sl_json *from, const struct sl_field *fields);
	void (*put_str)(struct sl_record *rec, enum sl_group group, const char *key, const char *value);
	void (*put_int)(struct sl_record *rec, enum sl_group group, const char *key, int64_t value);
	void (*put_float)(struct sl_record *rec, enum sl_group group, const char *key, double value);
	void (*put_bool)(struct sl_record *rec, enum sl_group group, const char *key, bool value);
	void (*put_null)(struct sl_record *rec, enum sl_group group, const char *key);
	void (*put_json)(struct sl_record *rec, enum sl_group group, const char *key, const struct sl_json *value);
	void (*put_out)(struct sl_record *rec, enum sl_group group, const char *key, struct sl_out *value);
	const struct sl_record_type *(*record_type)(const struct sl_record *rec);
	const char *(*record_key)(const struct sl_record *rec);
	const char *(*record_source)(const struct sl_record *rec);
	void (*set_source)(struct sl_record *rec, const char *source);
	bool (*has)(const struct sl_record *rec, enum sl_group group, const char *key);	/* and is not null */
	const char *(*value)(const struct sl_record *rec, enum sl_group group, const char *key);	/* as text; NULL for null */
	int64_t (*value_int)(const struct sl_record *rec, enum sl_group group, const char *key, int64_t fallback);
	/* In page: the records of the response just parsed; NULL past the last. */
	struct sl_record *(*page_record)(const struct sl_task *t, size_t index);

	/* --- emit --- */
	void (*upsert)(struct sl_task *t, const struct sl_table *table, struct sl_record *rec);
	void (*event)(struct sl_task *t, const struct sl_stream *stream, struct sl_record *rec);
	void (*event_json)(struct sl_task *t, const struct sl_stream *stream, struct sl_out *event);
	/* The task's data when it completes; the last one counts. */
	void (*result)(struct sl_task *t, struct sl_out *data);
	/* Listeners: a new task. params is an object. */
	void (*submit)(struct sl_task *t, const char *flow, struct sl_out *params);

	/* --- writing JSON: name is NULL inside arrays and at the top --- */
	struct sl_out *(*out)(struct sl_task *t);
	void (*out_object)(struct sl_out *out, const char *name);
	void (*out_array)(struct sl_out *out, const char *name);
	void (*out_end)(struct sl_out *out);
	void (*out_str)(struct sl_out *out, const char *name, const char *value);	/* NULL writes null */
	void (*out_int)(struct sl_out *out, const char *name, int64_t value);
	void (*out_float)(struct sl_out *out, const char *name, double value);
	void (*out_bool)(struct sl_out *out, const char *name, bool value);
	void (*out_json)(struct sl_out *out, const char *name, const struct sl_json *value);
	const char *(*out_text)(struct sl_out *out);		/* what was written so far */

	/* --- sinks: transform --- */
	void (*row_text)(struct sl_row *row, const char *column, const char *value);	/* NULL: NULL or the default */
	void (*row_int)(struct sl_row *row, const char *column, int64_t value);
	void (*row_float)(struct sl_row *row, const char *column, double value);

	/* --- records once more: walking a group whose keys are not known beforehand --- */
	/* The key of the index-th value of group; NULL past the last. */
	const char *(*value_name)(const struct sl_record *rec, enum sl_group group, size_t index);
	/* Writes a value as the JSON it is (lists and objects too); null when it is not there. */
	void (*out_value)(struct sl_out *out, const char *name, const struct sl_record *rec, enum sl_group group,
			  const char *key);
};

#endif
