/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the way from an event's JSON to the cells of a row: which value goes
 * where, what converts and what takes its place when it does not. Runs in the
 * sink's thread, the plugin's transform too.
 */
#include "sink/decode.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "base/uuid.h"
#include "flow/flow.h"
#include "json/json.h"
#include "sink/table.h"

/* Beyond these a double of seconds is no time, and no integer either. */
#define TIME_LIMIT 1e15
/* SL_COLUMN_EITHER_UNIT: a DateTime ends before so many seconds (in 2106); so many milliseconds were over in 1970. */
#define SECONDS_LIMIT 4294967296.0

struct sl_row {			/* as transform sees the open row */
	struct decoder *decoder;
	struct native_block *block;
	struct error err;	/* the first column it named that is not there */
};

struct decoder {
	const struct sink_table *table;
	struct sl_host host;	/* the engine's, with the row functions of this file */
	struct arena *arena;	/* transform's memory and the event's name, for one row */
	struct buf text;
	/* of the open row */
	const struct decode_event *event;
	const struct json_doc *doc;
	bool identified;	/* it has an identity of its own */
};

/* --- values into cells: 0, or -1 when the value has no place in the column --- */

static bool is_time(const struct native_type *type)
{
	return type->kind == NATIVE_DATETIME || type->kind == NATIVE_DATE;
}

static int put_time_text(struct native_block *block, size_t column, const char *text, size_t len, struct error *err)
{
	int64_t ms;

	if (clock_parse(text, len, &ms) < 0)
		return error_set(err, ERR_INPUT, "column %s: \"%.*s\" is no time", native_block_name(block, column),
				 (int)(len > 60 ? 60 : len), text);
	return native_put_time(block, column, ms / 1000 - (ms % 1000 < 0), err);
}

/* The digits decide, so that 64 bits stay exact. */
static int put_number_text(struct native_block *block, size_t column, const char *text, struct error *err)
{
	const char *digits = text + (*text == '-');
	int64_t integer;
	uint64_t positive;
	double number;

	if (num_parse_int(text, &integer) == 0)
		return native_put_int(block, column, integer, err);
	if (*digits != '\0' && digits[strspn(digits, "0123456789")] == '\0' && digits == text) {
		errno = 0;
		positive = strtoull(text, NULL, 10);
		if (errno == 0)
			return native_put_uint(block, column, positive, err);
	}
	if (num_parse_double(text, &number) == 0)
		return native_put_double(block, column, number, err);
	return error_set(err, ERR_INPUT, "column %s: \"%.60s\" is no number", native_block_name(block, column), text);
}

int decode_text(struct native_block *block, size_t column, const char *text, size_t len, struct error *err)
{
	const struct native_type *type = native_block_type(block, column);

	if (type->kind == NATIVE_STRING)
		return native_put_string(block, column, text, len, err);
	if (is_time(type))
		return put_time_text(block, column, text, len, err);
	if (type->kind == NATIVE_BOOL && (str_eq(text, "true") || str_eq(text, "false")))
		return native_put_bool(block, column, *text == 't', err);
	return put_number_text(block, column, text, err);
}

static int put_time(struct native_block *block, size_t column, const struct json *value, unsigned int flags,
		    struct error *err)
{
	size_t len;
	const char *text = json_string(value, &len);
	double number;
	bool counted = (text == NULL || flags & SL_COLUMN_EITHER_UNIT) && json_type(value) != JSON_BOOL &&
		       json_double(value, &number);

	if (!counted && text != NULL)
		return put_time_text(block, column, text, len, err);
	if (!counted || fabs(number) > TIME_LIMIT)
		return error_set(err, ERR_INPUT, "column %s: no time", native_block_name(block, column));
	if (flags & SL_COLUMN_MILLISECONDS || (flags & SL_COLUMN_EITHER_UNIT && number >= SECONDS_LIMIT))
		number /= 1000;
	return native_put_time(block, column, (int64_t)floor(number), err);
}

static int put_printed(struct decoder *decoder, struct native_block *block, size_t column, const struct json *value,
		       struct error *err)
{
	buf_clear(&decoder->text);
	if (json_type(value) == JSON_DOUBLE)
		json_print_written(decoder->doc, value, decoder->event->json, decoder->event->len, &decoder->text);
	else
		json_print(value, &decoder->text);
	return decode_text(block, column, decoder->text.data, decoder->text.len, err);
}

static int put_value(struct decoder *decoder, struct native_block *block, size_t column, const struct json *value,
		     struct error *err)
{
	const struct sink_column *plan = &decoder->table->columns[column];
	enum json_type type = json_type(value);
	const char *text;
	double number;
	bool truth;
	size_t len;

	if (plan->flags & SL_COLUMN_OBJECT && type != JSON_OBJECT)
		return decode_text(block, column, "{}", 2, err);
	if (is_time(&plan->type))
		return put_time(block, column, value, plan->flags, err);
	if (plan->flags & SL_COLUMN_CUT && plan->type.kind != NATIVE_STRING && json_double(value, &number) &&
	    number != trunc(number))
		return native_put_double(block, column, trunc(number), err);
	text = json_string(value, &len);
	if (text != NULL)
		return decode_text(block, column, text, len, err);
	if (plan->type.kind == NATIVE_STRING)
		return put_printed(decoder, block, column, value, err);
	if (type == JSON_BOOL && json_bool(value, &truth))
		return native_put_bool(block, column, truth, err);
	if (type == JSON_DOUBLE && json_double(value, &number))
		return native_put_double(block, column, number, err);
	if (type == JSON_INT || type == JSON_UINT)
		return put_printed(decoder, block, column, value, err);
	return error_set(err, ERR_INPUT, "column %s: a list or object is no number", plan->name);
}

/* What stands where there is no value, or one that does not convert. */
static int put_substitute(const struct decoder *decoder, struct native_block *block, size_t column,
			  struct error *err)
{
	const struct sink_column *plan = &decoder->table->columns[column];

	if (plan->type.nullable || plan->fallback == NULL) {
		native_put_default(block, column);
		return 0;
	}
	return decode_text(block, column, plan->fallback, strlen(plan->fallback), err);
}

/* --- events --- */

/* Whether one alternative's last step names a member that is there, be it null. */
static bool names_member(const struct json *event, const char *path, size_t len)
{
	char *copy = memcpy(mem_alloc(len + 1), path, len);
	char *last = strrchr(copy, '.');
	bool found;

	if (json_at(event, copy) != NULL) {
		found = true;
	} else if (last == NULL) {
		found = json_member(event, copy) != NULL;
	} else {
		*last = '\0';
		found = json_member(json_at(event, copy), last + 1) != NULL;
	}
	mem_release(copy);
	return found;
}

static bool is_there(const struct json *event, const char *path)
{
	for (;;) {
		size_t len = strcspn(path, "|");

		if (names_member(event, path, len))
			return true;
		if (path[len] == '\0')
			return false;
		path += len + 1;
	}
}

/* A text that says something, or a number. A boolean or {} would be the same for many. */
static bool is_identity(const struct json *value)
{
	switch (json_type(value)) {
	case JSON_STRING:
		return *json_string(value, NULL) != '\0';
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
		return true;
	default:
		return false;
	}
}

static bool must_convert(const struct sink_column *plan)
{
	return plan->flags & SL_COLUMN_NEEDED && !(plan->flags & SL_COLUMN_OBJECT) && !plan->type.nullable &&
	       plan->fallback == NULL;
}

static int fill_column(struct decoder *decoder, struct native_block *block, size_t column, const struct json *event,
		       struct error *err)
{
	const struct sink_column *plan = &decoder->table->columns[column];
	const struct json *value;
	char now[CLOCK_TEXT_SIZE];
	struct error local;

	if (plan->flags & SL_COLUMN_NOW) {
		if (plan->type.kind != NATIVE_STRING)
			return native_put_time(block, column, decoder->event->now_s, err);
		clock_format(now, decoder->event->now_s);
		return decode_text(block, column, now, strlen(now), err);
	}
	value = plan->plain ? json_member(event, plan->path) : json_at(event, plan->path);
	if (plan->flags & SL_COLUMN_NEEDED && value == NULL && !is_there(event, plan->path))
		return error_set(err, ERR_INPUT, "the event has no %s", plan->path);
	if (json_type(value) != JSON_NULL || plan->flags & SL_COLUMN_OBJECT) {
		if (put_value(decoder, block, column, value, &local) == 0) {
			decoder->identified |= column == decoder->table->identity && is_identity(value);
			return 0;
		}
		/* A value that is needed and makes no sense is better set aside than made another. */
		if (local.code != ERR_INPUT || must_convert(plan))
			return error_set(err, local.code, "%s", local.text);
	}
	return put_substitute(decoder, block, column, err);
}

const char *decode_event_name(struct arena *arena, const struct decode_event *event)
{
	if (event->letter && event->index == 0)
		return arena_strdup(arena, event->message_id);
	return arena_printf(arena, "%s/%zu", event->message_id, event->index);
}

static int derive_identity(struct decoder *decoder, struct native_block *block, const struct decode_event *event,
			   struct error *err)
{
	size_t column = decoder->table->identity;
	const struct native_type *type = native_block_type(block, column);
	char uuid[UUID_TEXT_SIZE], hash[SHA256_TEXT_SIZE];
	const char *name;

	arena_reset(decoder->arena);
	name = decode_event_name(decoder->arena, event);
	native_unput(block, column);
	if (type->kind == NATIVE_STRING)
		return native_put_string(block, column, uuid_from(uuid, name, strlen(name)), UUID_TEXT_SIZE - 1, err);
	if ((type->kind == NATIVE_INT || type->kind == NATIVE_UINT) && type->width == 8) {
		sha256_hex(hash, name, strlen(name));
		hash[15] = '\0';
		return native_put_uint(block, column, strtoull(hash, NULL, 16), err);
	}
	return error_set(err, ERR_INPUT, "the event has no %s, and none can be derived for a column of type %s",
			 decoder->table->columns[column].name, native_block_type_text(block, column));
}

static const char *result_name(enum sl_result result)
{
	static const char *const names[] = {
		[SL_OK] = "OK", [SL_RETRY] = "RETRY", [SL_LIMIT] = "LIMIT", [SL_AUTH] = "AUTH",
		[SL_SOURCE] = "SOURCE", [SL_GONE] = "GONE", [SL_FAIL] = "FAIL"
	};

	return result >= 0 && (size_t)result < sizeof(names) / sizeof(names[0]) && names[result] != NULL
		? names[result] : "an unknown result";
}

static int transform(struct decoder *decoder, struct native_block *block, const struct json *event,
		     struct error *err)
{
	struct sl_row row = { .decoder = decoder, .block = block, .err = { .code = ERR_NONE } };
	enum sl_result result;

	arena_reset(decoder->arena);
	flow_scope_enter(decoder->arena);
	result = decoder->table->sink->transform(&decoder->host, (const struct sl_json *)(const void *)event, &row);
	flow_scope_leave();
	if (row.err.code != ERR_NONE)
		return error_set(err, row.err.code, "transform: %s", row.err.text);
	if (result != SL_OK)
		return error_set(err, ERR_INPUT, "transform said SL_%s", result_name(result));
	return 0;
}

static int fill_row(struct decoder *decoder, struct native_block *block, const char **code_r, struct error *err)
{
	const struct json *root = json_root(decoder->doc);

	*code_r = "json";
	if (json_type(root) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "the event is not a JSON object");
	*code_r = "column";
	decoder->identified = false;
	for (size_t i = 0; i < decoder->table->column_count; i++)
		if (fill_column(decoder, block, i, root, err) < 0)
			return -1;
	*code_r = "transform";
	if (decoder->table->sink->transform != NULL && transform(decoder, block, root, err) < 0)
		return -1;
	*code_r = "column";
	return decoder->identified ? 0 : derive_identity(decoder, block, decoder->event, err);
}

int decoder_row(struct decoder *decoder, struct native_block *block, const struct decode_event *event,
		const char **code_r, struct error *err)
{
	struct json_doc *doc = json_parse(event->json, event->len, err);
	int rc;

	if (doc == NULL) {
		*code_r = "json";
		return -1;
	}
	decoder->event = event;
	decoder->doc = doc;
	rc = fill_row(decoder, block, code_r, err);
	if (rc == 0)
		native_block_end_row(block);
	else
		native_block_drop_row(block);
	decoder->event = NULL;
	decoder->doc = NULL;
	json_doc_free(&doc);
	return rc;
}

/* --- transform's functions --- */

/* The column of the open row, empty; -1 when there is none of that name. */
static int open_column(struct sl_row *row, const char *name)
{
	int column = name != NULL ? native_block_find(row->block, name) : -1;

	if (column >= 0)
		native_unput(row->block, (size_t)column);
	else if (row->err.code == ERR_NONE)
		error_set(&row->err, ERR_INPUT, "the sink has no column %s", name != NULL ? name : "(null)");
	return column;
}

/* Every value that came in ends here: rc tells whether it found its place. */
static void close_column(struct sl_row *row, int column, int rc, const struct error *why, bool identity)
{
	struct decoder *decoder = row->decoder;
	struct error err;

	if ((size_t)column == decoder->table->identity)
		decoder->identified = rc == 0 && identity;
	if (rc == 0)
		return;
	if (why->code != ERR_INPUT)
		row->err = *why;
	if (put_substitute(decoder, row->block, (size_t)column, &err) < 0 && row->err.code == ERR_NONE)
		row->err = err;
}

static void row_text(struct sl_row *row, const char *name, const char *value)
{
	int column = open_column(row, name), rc = -1;
	struct error err = { .code = ERR_INPUT };

	if (column < 0)
		return;
	if (value != NULL)
		rc = decode_text(row->block, (size_t)column, value, strlen(value), &err);
	close_column(row, column, rc, &err, value != NULL && *value != '\0');
}

static void row_int(struct sl_row *row, const char *name, int64_t value)
{
	int column = open_column(row, name), rc;
	struct error err = { .code = ERR_NONE };
	char text[24];

	if (column < 0)
		return;
	if (native_block_type(row->block, (size_t)column)->kind == NATIVE_STRING) {
		str_format(text, sizeof(text), "%lld", (long long)value);
		rc = decode_text(row->block, (size_t)column, text, strlen(text), &err);
	} else if (is_time(native_block_type(row->block, (size_t)column))) {
		rc = native_put_time(row->block, (size_t)column, value, &err);
	} else {
		rc = native_put_int(row->block, (size_t)column, value, &err);
	}
	close_column(row, column, rc, &err, true);
}

static void row_float(struct sl_row *row, const char *name, double value)
{
	int column = open_column(row, name), rc;
	struct error err = { .code = ERR_NONE };
	struct buf *text = &row->decoder->text;

	if (column < 0)
		return;
	if (native_block_type(row->block, (size_t)column)->kind == NATIVE_STRING) {
		buf_clear(text);
		buf_printf(text, "%.17g", value);
		rc = decode_text(row->block, (size_t)column, text->data, text->len, &err);
	} else {
		rc = native_put_double(row->block, (size_t)column, value, &err);
	}
	close_column(row, column, rc, &err, true);
}

struct decoder *decoder_new(const struct sink_table *table)
{
	struct decoder *decoder = mem_alloc(sizeof(*decoder));

	decoder->table = table;
	decoder->arena = arena_new();
	decoder->host = *flow_host();
	decoder->host.row_text = row_text;
	decoder->host.row_int = row_int;
	decoder->host.row_float = row_float;
	buf_init(&decoder->text);
	return decoder;
}

void decoder_free(struct decoder **decoder)
{
	if (*decoder == NULL)
		return;
	arena_free(&(*decoder)->arena);
	buf_fini(&(*decoder)->text);
	mem_free(decoder);
}
