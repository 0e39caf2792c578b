/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages as the broker carries them: headers to JSON and back, and
 * publishing one. The thread that owns the connection.
 */
#include "bus/amqp.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "pack/frame.h"

#define DEPTH_MAX 8		/* of tables within tables; deeper ones become null */
#define NAME_MAX_BYTES 255	/* of a header and of a message-id */
#define FRAME_ROOM 8192		/* for the headers of a message that are ours */

/* --- from the broker --- */

static bool is_named(amqp_bytes_t name, const char *text)
{
	return name.len == strlen(text) && memcmp(name.bytes, text, name.len) == 0;
}

/* Ours say something about one message; CC and BCC would make the broker send copies of another. */
static bool is_kept(amqp_bytes_t name)
{
	static const char ours[] = "x-sluice-";
	size_t len = sizeof(ours) - 1;

	if (is_named(name, "x-sluice-id") || is_named(name, "x-sluice-first") || is_named(name, "x-sluice-count"))
		return true;
	return !is_named(name, "CC") && !is_named(name, "BCC") &&
	       (name.len < len || memcmp(name.bytes, ours, len) != 0);
}

static void write_value(struct jwrite *w, const char *name, const amqp_field_value_t *value, int depth);

static void write_table(struct jwrite *w, const amqp_table_t *table, int depth)
{
	struct arena *arena = arena_new();

	for (int i = 0; i < table->num_entries; i++)
		write_value(w, amqp_text(arena, table->entries[i].key), &table->entries[i].value, depth);
	arena_free(&arena);
}

static void write_list(struct jwrite *w, const amqp_array_t *list, int depth)
{
	for (int i = 0; i < list->num_entries; i++)
		write_value(w, NULL, &list->entries[i], depth);
}

static void write_value(struct jwrite *w, const char *name, const amqp_field_value_t *value, int depth)
{
	switch (value->kind) {
	case AMQP_FIELD_KIND_BOOLEAN: jwrite_bool(w, name, value->value.boolean != 0); return;
	case AMQP_FIELD_KIND_I8: jwrite_int(w, name, value->value.i8); return;
	case AMQP_FIELD_KIND_U8: jwrite_int(w, name, value->value.u8); return;
	case AMQP_FIELD_KIND_I16: jwrite_int(w, name, value->value.i16); return;
	case AMQP_FIELD_KIND_U16: jwrite_int(w, name, value->value.u16); return;
	case AMQP_FIELD_KIND_I32: jwrite_int(w, name, value->value.i32); return;
	case AMQP_FIELD_KIND_U32: jwrite_int(w, name, value->value.u32); return;
	case AMQP_FIELD_KIND_I64: jwrite_int(w, name, value->value.i64); return;
	case AMQP_FIELD_KIND_TIMESTAMP:
	case AMQP_FIELD_KIND_U64: jwrite_uint(w, name, value->value.u64); return;
	case AMQP_FIELD_KIND_F32: jwrite_double(w, name, (double)value->value.f32); return;
	case AMQP_FIELD_KIND_F64: jwrite_double(w, name, value->value.f64); return;
	case AMQP_FIELD_KIND_DECIMAL:
		jwrite_double(w, name, value->value.decimal.value / pow(10, value->value.decimal.decimals));
		return;
	case AMQP_FIELD_KIND_UTF8:
	case AMQP_FIELD_KIND_BYTES:
		jwrite_stringn(w, name, value->value.bytes.bytes, value->value.bytes.len);
		return;
	case AMQP_FIELD_KIND_TABLE:
	case AMQP_FIELD_KIND_ARRAY:
		if (depth == DEPTH_MAX)
			break;
		if (value->kind == AMQP_FIELD_KIND_TABLE) {
			jwrite_object(w, name);
			write_table(w, &value->value.table, depth + 1);
		} else {
			jwrite_array(w, name);
			write_list(w, &value->value.array, depth + 1);
		}
		jwrite_end(w);
		return;
	}
	jwrite_null(w, name);
}

/* One header, if there is room for it. */
static void add_json(struct jwrite *w, const amqp_table_entry_t *header)
{
	char *name = memcpy(mem_alloc(header->key.len + 1), header->key.bytes, header->key.len);
	struct jwrite each;
	struct buf one;

	buf_init(&one);
	jwrite_init(&each, &one);
	write_value(&each, NULL, &header->value, 0);
	/* A byte of a name becomes six at most. */
	if (w->out->len + one.len + 6 * header->key.len + 8 < BUS_HEADERS_BYTES)
		jwrite_raw(w, name, one.data, one.len);
	buf_fini(&one);
	mem_release(name);
}

void amqp_headers_json(const amqp_basic_properties_t *properties, struct buf *out)
{
	struct jwrite w;

	buf_clear(out);
	if (!(properties->_flags & AMQP_BASIC_HEADERS_FLAG))
		return;
	for (int i = 0; i < properties->headers.num_entries; i++) {
		if (!is_kept(properties->headers.entries[i].key))
			continue;
		if (out->len == 0) {
			jwrite_init(&w, out);
			jwrite_object(&w, NULL);
		}
		add_json(&w, &properties->headers.entries[i]);
	}
	if (out->len > 0)
		jwrite_end(&w);
}

/* --- to the broker --- */

static amqp_field_value_t text_value(const char *text, size_t len)
{
	return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_UTF8,
				    .value.bytes = {.len = len, .bytes = (void *)(uintptr_t)text}};
}

/* In 32 bits where it fits: others read x-retry-count only so. */
static amqp_field_value_t int_value(int64_t number)
{
	if (number >= INT32_MIN && number <= INT32_MAX)
		return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_I32, .value.i32 = (int32_t)number};
	return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_I64, .value.i64 = number};
}

static amqp_table_t table_of(struct arena *arena, const struct json *object, size_t extra);

static amqp_field_value_t value_of(struct arena *arena, const struct json *value)
{
	amqp_field_value_t result = {.kind = AMQP_FIELD_KIND_VOID};
	const struct json *item;
	const char *text;
	double number = 0;
	int64_t integer;
	bool truth = false;
	size_t len;

	switch (json_type(value)) {
	case JSON_STRING:
		text = json_string(value, &len);
		return text_value(text, len);
	case JSON_BOOL:
		json_bool(value, &truth);
		return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = truth};
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
		if (json_type(value) != JSON_DOUBLE && json_int(value, &integer))
			return int_value(integer);
		json_double(value, &number);
		return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_F64, .value.f64 = number};
	case JSON_OBJECT:
		return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_TABLE, .value.table = table_of(arena, value, 0)};
	case JSON_ARRAY:
		result.kind = AMQP_FIELD_KIND_ARRAY;
		result.value.array.entries =
			arena_alloc(arena, (json_count(value) + 1) * sizeof(*result.value.array.entries));
		for (item = json_first(value); item != NULL; item = json_next(item))
			result.value.array.entries[result.value.array.num_entries++] = value_of(arena, item);
		return result;
	case JSON_NULL:
		break;
	}
	return result;
}

/* Room for extra entries more. */
static amqp_table_t table_of(struct arena *arena, const struct json *object, size_t extra)
{
	amqp_table_t table = {.entries = arena_alloc(arena, (json_count(object) + extra + 1) * sizeof(*table.entries))};
	const struct json *item;

	for (item = json_first(object); item != NULL; item = json_next(item))
		if (strlen(json_name(item)) <= NAME_MAX_BYTES)
			table.entries[table.num_entries++] = (amqp_table_entry_t){
				.key = amqp_cstring_bytes(json_name(item)), .value = value_of(arena, item)};
	return table;
}

static void add_header(amqp_table_t *table, const char *name, amqp_field_value_t value)
{
	table->entries[table->num_entries++] = (amqp_table_entry_t){.key = amqp_cstring_bytes(name), .value = value};
}

static amqp_field_value_t number(int64_t value)
{
	return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_I64, .value.i64 = value};
}

static amqp_table_t headers_of(struct arena *arena, const struct bus_outgoing *out, const struct json *more)
{
	amqp_table_t table = table_of(arena, more, out->header_count + 4);

	add_header(&table, "x-sluice-schema", number(1));
	if (out->events > 0)
		add_header(&table, "x-sluice-events", number(out->events));
	if (out->redo)
		add_header(&table, "x-sluice-redo", number(1));
	if (out->suspect_ms != 0)
		add_header(&table, "x-sluice-suspect-ms", number(out->suspect_ms));
	for (size_t i = 0; i < out->header_count; i++)
		add_header(&table, out->headers[i].name,
			   text_value(out->headers[i].value, strlen(out->headers[i].value)));
	return table;
}

const char *amqp_message_id(struct arena *arena, const char *id)
{
	size_t len = strlen(id);

	return len <= NAME_MAX_BYTES ? id : sha256_hex(arena_alloc(arena, SHA256_TEXT_SIZE), id, len);
}

/* What would not fit into the broker's frames is left out. */
static struct json_doc *read_more(const struct amqp_conn *conn, const char *more)
{
	int frame = amqp_get_frame_max(conn->state);

	if (more == NULL || (frame > 0 && strlen(more) + FRAME_ROOM > (size_t)frame))
		return NULL;
	return json_parse(more, strlen(more), NULL);
}

int amqp_send(struct amqp_conn *conn, amqp_channel_t channel, const struct bus_outgoing *out, struct error *err)
{
	struct arena *arena = arena_new();
	struct json_doc *more = read_more(conn, out->more);
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
			  AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_HEADERS_FLAG,
		.content_type = amqp_cstring_bytes(out->events > 1 ? "application/x-ndjson" : "application/json"),
		.delivery_mode = AMQP_DELIVERY_PERSISTENT,
		.message_id = amqp_cstring_bytes(out->id),
		.timestamp = (uint64_t)clock_wall_ms() / 1000,
		.headers = headers_of(arena, out, more != NULL ? json_root(more) : NULL)};
	int status;

	if (out->packed) {
		properties._flags |= AMQP_BASIC_CONTENT_ENCODING_FLAG;
		properties.content_encoding = amqp_cstring_bytes(FRAME_ENCODING);
	}
	status = amqp_basic_publish(conn->state, channel, amqp_cstring_bytes(out->exchange),
					amqp_cstring_bytes(out->key), 1, 0, &properties,
					(amqp_bytes_t){out->len, (void *)(uintptr_t)out->body});

	json_doc_free(&more);
	arena_free(&arena);
	return amqp_conn_status(conn, "publishing", status, err);
}

/* --- what is not meant for a sink --- */

static bool is_one_of(amqp_bytes_t text, const char *const *names)
{
	for (; *names != NULL; names++)
		if (text.len == strlen(*names) && strncasecmp(text.bytes, *names, text.len) == 0)
			return true;
	return false;
}

const char *amqp_problem(const amqp_basic_properties_t *properties, char text[AMQP_PROBLEM_SIZE])
{
	static const char *const types[] = {"", "application/json", "application/x-ndjson", "text/json", "text/plain", NULL};
	static const char *const encodings[] = {"", "utf-8", "utf8", "us-ascii", "binary", "identity", FRAME_ENCODING, NULL};
	amqp_bytes_t type = properties->content_type, encoding = properties->content_encoding;
	const char *end = NULL;

	/* Parameters such as "; charset=utf-8" do not matter. */
	if ((properties->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG) && type.len > 0)
		end = memchr(type.bytes, ';', type.len);
	if (end != NULL)
		type.len = (size_t)(end - (const char *)type.bytes);
	if ((properties->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG) && !is_one_of(type, types)) {
		str_format(text, AMQP_PROBLEM_SIZE, "content-type %.*s: sinks read application/json and application/x-ndjson",
			   (int)(type.len < 100 ? type.len : 100), (const char *)type.bytes);
		return text;
	}
	if ((properties->_flags & AMQP_BASIC_CONTENT_ENCODING_FLAG) && !is_one_of(encoding, encodings)) {
		str_format(text, AMQP_PROBLEM_SIZE, "content-encoding %.*s: sinks read plain UTF-8 and " FRAME_ENCODING,
			   (int)(encoding.len < 100 ? encoding.len : 100), (const char *)encoding.bytes);
		return text;
	}
	return NULL;
}
