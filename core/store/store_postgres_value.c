/* SPDX-License-Identifier: Apache-2.0 */
/* Values on their way to PostgreSQL and back, as text but for arrays of texts. No I/O. Loop thread. */
#include "store/postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"

/* Types as the server numbers them; fixed for ever. */
enum {
	OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25, OID_JSON = 114, OID_FLOAT4 = 700,
	OID_FLOAT8 = 701, OID_TEXT_ARRAY = 1009, OID_VARCHAR_ARRAY = 1015, OID_JSONB = 3802
};

/* --- to the server --- */

const char *pg_int_text(struct arena *arena, int64_t value)
{
	return arena_printf(arena, "%" PRId64, value);
}

const char *pg_ints(struct arena *arena, const int64_t *ints, size_t count)
{
	char *text = arena_room(arena, count * 21 + 3), *out = text;
	size_t i;

	*out++ = '{';
	for (i = 0; i < count; i++)
		out += sprintf(out, i > 0 ? ",%" PRId64 : "%" PRId64, ints[i]);
	strcpy(out, "}");
	return text;
}

struct pg_param pg_text(const char *text)
{
	return (struct pg_param){.data = text};
}

struct pg_param pg_bytes(const char *bytes, size_t len)
{
	return (struct pg_param){.data = bytes, .len = (int)len, .binary = true};
}

static char *put_int32(char *out, size_t value)
{
	*out++ = (char)(value >> 24);
	*out++ = (char)(value >> 16);
	*out++ = (char)(value >> 8);
	*out++ = (char)value;
	return out;
}

/* As array_recv() reads it: dimensions, whether there are nulls, the type; count, first index; length and text of each. */
struct pg_param pg_texts(struct arena *arena, const char *const *texts, size_t count)
{
	size_t size = 20, nulls = 0, len, i;
	char *start, *out;

	for (i = 0; i < count; i++) {
		size += 4 + (texts[i] != NULL ? strlen(texts[i]) : 0);
		nulls |= texts[i] == NULL;
	}
	start = out = arena_room(arena, size);
	out = put_int32(out, count > 0 ? 1 : 0);
	out = put_int32(out, nulls);
	out = put_int32(out, OID_TEXT);
	if (count > 0)
		out = put_int32(put_int32(out, count), 1);
	for (i = 0; i < count; i++) {
		len = texts[i] != NULL ? strlen(texts[i]) : 0;
		out = put_int32(out, texts[i] != NULL ? len : UINT32_MAX);
		if (len > 0)
			memcpy(out, texts[i], len);
		out += len;
	}
	return (struct pg_param){.data = start, .len = (int)(out - start), .binary = true};
}

const char *pg_clean(struct arena *arena, const char *text)
{
	size_t len = text != NULL ? strlen(text) : 0;
	const char *end = text + len;
	char *clean, *out;

	if (text == NULL || str_is_utf8(text, len))
		return text;
	out = clean = arena_room(arena, len * 3 + 1);
	while (text < end) {
		int n = str_utf8_step(text, (size_t)(end - text));

		memcpy(out, n > 0 ? text : "\xef\xbf\xbd", n > 0 ? (size_t)n : 3);
		out += n > 0 ? n : 3;
		text += n > 0 ? n : -n;
	}
	*out = '\0';
	return clean;
}

const char *pg_array_text(struct arena *arena, const char *const *texts, size_t count)
{
	size_t size = 3, i;
	const char *in;
	char *text, *out;

	for (i = 0; i < count; i++)
		size += texts[i] != NULL ? strlen(texts[i]) * 2 + 3 : 5;
	text = out = arena_room(arena, size);
	*out++ = '{';
	for (i = 0; i < count; i++) {
		if (i > 0)
			*out++ = ',';
		if (texts[i] == NULL) {
			memcpy(out, "NULL", 4);
			out += 4;
			continue;
		}
		*out++ = '"';
		for (in = texts[i]; *in != '\0'; in++) {
			if (*in == '"' || *in == '\\')
				*out++ = '\\';
			*out++ = *in;
		}
		*out++ = '"';
	}
	strcpy(out, "}");
	return text;
}

static const char *list_value(struct arena *arena, const char *text)
{
	struct json_doc *doc = json_parse(text, strlen(text), NULL);
	const struct json *list = json_root(doc), *element;
	const char **texts = arena_alloc(arena, (json_count(list) + 1) * sizeof(*texts));
	const char *value;
	size_t count = 0;
	struct buf other;

	for (element = json_first(list); element != NULL; element = json_next(element)) {
		if (json_string(element, NULL) != NULL) {
			texts[count++] = json_string(element, NULL);
		} else if (json_type(element) != JSON_NULL) {
			buf_init(&other);
			json_print(element, &other);
			texts[count++] = arena_strndup(arena, other.data, other.len);
			buf_fini(&other);
		} else {
			texts[count++] = NULL;
		}
	}
	value = pg_array_text(arena, texts, count);
	json_doc_free(&doc);
	return value;
}

const char *pg_value(struct arena *arena, enum store_type type, const char *text)
{
	char time[CLOCK_TEXT_SIZE];
	int64_t epoch_ms;

	if (text == NULL)
		return NULL;
	switch (type) {
	case STORE_TIMESTAMP:
		/* The server would pass over a zone. */
		clock_parse(text, strlen(text), &epoch_ms);
		return arena_strdup(arena, clock_format_ms(time, epoch_ms));
	case STORE_TEXT_ARRAY:
		return list_value(arena, text);
	case STORE_BIGINT:
	case STORE_DOUBLE:
	case STORE_TEXT:
	case STORE_BOOLEAN:
	case STORE_JSON:
		return text;
	}
	return text;
}

const char *pg_type_name(enum store_type type)
{
	switch (type) {
	case STORE_BIGINT:
		return "bigint";
	case STORE_DOUBLE:
		return "double precision";
	case STORE_TEXT:
		return "text";
	case STORE_BOOLEAN:
		return "boolean";
	case STORE_JSON:
		return "jsonb";
	case STORE_TIMESTAMP:
		return "timestamp without time zone";
	case STORE_TEXT_ARRAY:
		return "text[]";
	}
	return "text";
}

/* --- from the server --- */

int64_t pg_get_int(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? 0 : strtoll(PQgetvalue(result, row, column), NULL, 10);
}

const char *pg_get_text(const PGresult *result, int row, int column, struct arena *arena)
{
	if (PQgetisnull(result, row, column))
		return NULL;
	return arena_strndup(arena, PQgetvalue(result, row, column),
			     (size_t)PQgetlength(result, row, column));
}

const char *pg_get_bytes(const PGresult *result, int row, int column, struct arena *arena, size_t *len_r)
{
	unsigned char *bytes = PQunescapeBytea((const unsigned char *)PQgetvalue(result, row, column), len_r);
	const char *copy;

	if (bytes == NULL)
		abort();		/* no memory */
	copy = arena_strndup(arena, (const char *)bytes, *len_r);
	PQfreemem(bytes);
	return copy;
}

/* jsonb puts one blank after each colon and comma; a json column may hold any. */
static size_t compact(char *text)
{
	bool quoted = false;
	char *in, *out = text;

	for (in = text; *in != '\0'; in++) {
		if (quoted && *in == '\\' && in[1] != '\0')
			*out++ = *in++;
		else if (*in == '"')
			quoted = !quoted;
		else if (!quoted && (*in == ' ' || *in == '\n' || *in == '\t' || *in == '\r'))
			continue;
		*out++ = *in;
	}
	*out = '\0';
	return (size_t)(out - text);
}

const char *pg_get_json(const PGresult *result, int row, int column, struct arena *arena)
{
	char *text = (char *)(uintptr_t)pg_get_text(result, row, column, arena);

	if (text != NULL)
		compact(text);
	return text;
}

/* {a,"b \"c\"",NULL} as a JSON list. */
static void write_list(struct jwrite *w, const char *name, const char *in)
{
	struct buf element;
	bool quoted;

	buf_init(&element);
	jwrite_array(w, name);
	for (in++; *in != '\0' && *in != '}'; in += *in == ',') {
		buf_clear(&element);
		quoted = *in == '"';
		for (in += quoted; *in != '\0' && (quoted ? *in != '"' : *in != ',' && *in != '}'); in++) {
			if (*in == '\\' && in[1] != '\0')
				in++;
			buf_addc(&element, *in);
		}
		in += quoted && *in == '"';
		if (!quoted && element.len == 4 && memcmp(element.data, "NULL", 4) == 0)
			jwrite_null(w, NULL);
		else
			jwrite_stringn(w, NULL, element.len > 0 ? element.data : "", element.len);
	}
	jwrite_end(w);
	buf_fini(&element);
}

static void write_value(struct jwrite *w, const PGresult *result, int row, int column)
{
	const char *name = PQfname(result, column), *text = PQgetvalue(result, row, column);
	size_t len = (size_t)PQgetlength(result, row, column);
	double number;
	char *json;

	switch (PQftype(result, column)) {
	case OID_BOOL:
		jwrite_bool(w, name, text[0] == 't');
		break;
	case OID_INT2:
	case OID_INT4:
	case OID_INT8:
		jwrite_raw(w, name, text, len);
		break;
	case OID_FLOAT4:
	case OID_FLOAT8:
		if (num_parse_double(text, &number) == 0)
			jwrite_double(w, name, number);
		else
			jwrite_null(w, name);
		break;
	case OID_JSON:
	case OID_JSONB:
		json = mem_strdup(text);
		jwrite_raw(w, name, json, compact(json));
		mem_free(&json);
		break;
	case OID_TEXT_ARRAY:
	case OID_VARCHAR_ARRAY:
		write_list(w, name, text);
		break;
	default:
		jwrite_stringn(w, name, text, len);
	}
}

void pg_write_row(struct jwrite *w, const PGresult *result, int row)
{
	int column;

	jwrite_object(w, NULL);
	for (column = 0; column < PQnfields(result); column++) {
		if (PQgetisnull(result, row, column))
			jwrite_null(w, PQfname(result, column));
		else
			write_value(w, result, row, column);
	}
	jwrite_end(w);
}
