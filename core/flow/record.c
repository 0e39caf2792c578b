/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: typed values in groups, taken from JSON by field tables, and the
 * joins that merge records of several calls. Runs on the thread of the driver
 * that owns the task.
 */
#include <string.h>

#include "flow/internal.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/num.h"
#include "base/str.h"

void records_add(struct records *records, struct sl_record *record)
{
	records->items = grow(records->items, records->count, &records->cap, sizeof(struct sl_record *));
	records->items[records->count++] = record;
}

/* --- values --- */

static const struct member *member_find(const struct sl_record *record, enum sl_group group, const char *key)
{
	const struct group *members;

	if (!record || !key || (unsigned int)group >= SL_GROUPS)
		return NULL;
	members = &record->groups[group];
	for (size_t i = 0; i < members->count; i++)
		if (members->members[i].key == key || !strcmp(members->members[i].key, key))
			return &members->members[i];
	return NULL;
}

const struct value *record_get(const struct sl_record *record, enum sl_group group, const char *key)
{
	const struct member *member = member_find(record, group, key);

	return member ? &member->value : NULL;
}

/* key stays valid as long as the record: copied, or static in the plugin. */
static void record_put(struct sl_record *record, enum sl_group group, const char *key,
		       const struct value *value)
{
	struct group *members = &record->groups[group];
	const struct member *found = member_find(record, group, key);

	if (found) {
		members->members[found - members->members].value = *value;
		return;
	}
	if (members->count == members->cap) {
		size_t cap = members->cap ? members->cap * 2 : 16;
		struct member *grown = arena_alloc(record->arena, cap * sizeof(*grown));

		if (members->count)
			memcpy(grown, members->members, members->count * sizeof(*grown));
		members->members = grown;
		members->cap = cap;
	}
	members->members[members->count++] = (struct member){key, *value};
}

/* U+0000 cannot stand in a text of the stores: it becomes U+FFFD. */
static struct value text_value(struct arena *arena, const char *text, size_t len)
{
	struct value value = {.kind = VALUE_TEXT, .len = len};
	struct buf clean;

	if (!memchr(text, '\0', len)) {
		value.text = arena_strndup(arena, text, len);
		return value;
	}
	buf_init(&clean);
	for (size_t i = 0; i < len; i++) {
		if (text[i])
			buf_addc(&clean, text[i]);
		else
			buf_adds(&clean, "\xef\xbf\xbd");
	}
	value.text = arena_strndup(arena, clean.data, clean.len);
	value.len = clean.len;
	buf_fini(&clean);
	return value;
}

static struct value printed_value(struct arena *arena, const struct json *from, enum value_kind kind)
{
	struct value value = {.kind = kind};
	struct buf out;

	buf_init(&out);
	json_print(from, &out);
	value.text = arena_strndup(arena, out.data, out.len);
	value.len = out.len;
	buf_fini(&out);
	return value;
}

/* A JSON value as it is. */
static struct value any_value(struct arena *arena, const struct json *from)
{
	struct value value = {.kind = VALUE_NULL};
	const char *text;
	bool truth;
	size_t len;

	switch (json_type(from)) {
	case JSON_NULL:
		break;
	case JSON_STRING:
		text = json_string(from, &len);
		return text_value(arena, text, len);
	case JSON_BOOL:
		value.kind = VALUE_BOOL;
		value.integer = json_bool(from, &truth) && truth;
		break;
	case JSON_INT:
		value.kind = VALUE_INT;
		json_int(from, &value.integer);
		break;
	case JSON_DOUBLE:
		value.kind = VALUE_FLOAT;
		json_double(from, &value.number);
		break;
	default:
		return printed_value(arena, from, VALUE_JSON);
	}
	return value;
}

static struct value int_value(const struct json *from)
{
	struct value value = {.kind = VALUE_NULL};
	bool truth;

	if (json_int(from, &value.integer)) {
		value.kind = VALUE_INT;
	} else if (json_bool(from, &truth)) {
		value.kind = VALUE_INT;
		value.integer = truth;
	}
	return value;
}

static struct value bool_value(const struct json *from)
{
	struct value value = {.kind = VALUE_NULL};
	bool truth;

	if (json_bool(from, &truth)) {
		value.kind = VALUE_BOOL;
		value.integer = truth;
	} else if (json_type(from) == JSON_INT && json_int(from, &value.integer) &&
		   (value.integer == 0 || value.integer == 1)) {
		value.kind = VALUE_BOOL;
	}
	return value;
}

static struct value time_value(const struct json *from)
{
	struct value value = {.kind = VALUE_NULL};
	size_t len = 0;
	const char *text = json_string(from, &len);
	double number;

	if (json_int(from, &value.integer)) {
		value.kind = VALUE_INT;
	} else if (text) {
		if (!clock_parse(text, len, &value.integer)) {
			value.kind = VALUE_INT;
			value.integer = value.integer / 1000 - (value.integer % 1000 < 0);
		}
	} else if (json_double(from, &number) && number > -1e15 && number < 1e15) {
		value.kind = VALUE_INT;
		value.integer = (int64_t)number;
	}
	return value;
}

static struct value typed_value(struct arena *arena, const struct json *from, enum sl_type type)
{
	struct value value = {.kind = VALUE_NULL};
	const char *text;

	if (json_type(from) == JSON_NULL)
		return value;
	switch (type) {
	case SL_INT:
		return int_value(from);
	case SL_FLOAT:
		if (json_double(from, &value.number))
			value.kind = VALUE_FLOAT;
		return value;
	case SL_BOOL:
		return bool_value(from);
	case SL_TIME:
		return time_value(from);
	case SL_ANY:
	case SL_LIST:
	case SL_OBJECT:
		return any_value(arena, from);
	case SL_JSON_TEXT:
		return printed_value(arena, from, VALUE_TEXT);
	default:
		if (json_type(from) == JSON_STRING)
			return any_value(arena, from);
		text = json_scalar_text(from, arena);
		if (text)
			value = (struct value){.kind = VALUE_TEXT, .text = text, .len = strlen(text)};
		return value;
	}
}

const char *json_scalar_text(const struct json *value, struct arena *arena)
{
	switch (json_type(value)) {
	case JSON_STRING:
		return json_string(value, NULL);
	case JSON_NULL:
	case JSON_ARRAY:
	case JSON_OBJECT:
		return NULL;
	default:
		return printed_value(arena, value, VALUE_TEXT).text;
	}
}

const char *value_text(const struct value *value, struct arena *arena)
{
	struct jwrite w;
	struct buf out;
	const char *text;

	switch (value ? value->kind : VALUE_NULL) {
	case VALUE_NULL:
		return NULL;
	case VALUE_TEXT:
	case VALUE_JSON:
		return value->text;
	case VALUE_INT:
		return arena_printf(arena, "%lld", (long long)value->integer);
	case VALUE_BOOL:
		return value->integer ? "true" : "false";
	case VALUE_FLOAT:
		break;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_double(&w, NULL, value->number);
	text = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return text;
}

bool value_int(const struct value *value, int64_t *integer_r)
{
	switch (value ? value->kind : VALUE_NULL) {
	case VALUE_INT:
	case VALUE_BOOL:
		*integer_r = value->integer;
		return true;
	case VALUE_FLOAT:
		*integer_r = value->number > -9e18 && value->number < 9e18 ? (int64_t)value->number : 0;
		return (double)*integer_r == value->number;
	case VALUE_TEXT:
	case VALUE_JSON:
		return !num_parse_int(value->text, integer_r);
	default:
		return false;
	}
}

bool value_time(const struct value *value, int64_t *epoch_r)
{
	int64_t ms;

	if (value_int(value, epoch_r))
		return true;
	if (value && value->kind == VALUE_FLOAT && value->number > -1e15 && value->number < 1e15) {
		*epoch_r = (int64_t)value->number;
		return true;
	}
	if (!value || value->kind != VALUE_TEXT || clock_parse(value->text, value->len, &ms))
		return false;
	*epoch_r = ms / 1000 - (ms % 1000 < 0);
	return true;
}

/* --- joins --- */

void join_free(struct join *join)
{
	map_free(&join->by_key);
	arena_free(&join->arena);
	mem_free(&join->records.items);
	mem_free(&join->name);
	mem_release(join);
}

static struct join *join_open(struct flow_task *task, const char *name)
{
	struct list *node;
	struct join *join;

	list_each (node, &task->joins) {
		join = list_entry(node, struct join, node);
		if (!strcmp(join->name, name))
			return join;
	}
	join = mem_alloc(sizeof(*join));
	join->name = mem_strdup(name);
	join->arena = arena_new();
	join->by_key = map_new();
	list_append(&task->joins, &join->node);
	return join;
}

static void record_merge(struct sl_record *into, const struct sl_record *from)
{
	for (int g = 0; g < SL_GROUPS; g++) {
		for (size_t i = 0; i < from->groups[g].count; i++) {
			const struct member *member = &from->groups[g].members[i];
			struct value value = member->value;

			if (member_find(into, (enum sl_group)g, member->key)) {
				if (value.kind == VALUE_NULL)
					continue;
			}
			if (value.text)
				value.text = arena_strndup(into->arena, value.text, value.len);
			record_put(into, (enum sl_group)g, arena_strdup(into->arena, member->key), &value);
		}
	}
}

void join_merge(struct flow_task *task, const char *name, const struct records *records)
{
	struct join *join = join_open(task, name);

	for (size_t i = 0; i < records->count; i++) {
		const struct sl_record *from = records->items[i];
		const char *key = arena_printf(task->response, "%s\x1f%s", from->type ? from->type->name : "",
					       from->key);
		struct sl_record *into = map_get(join->by_key, key);

		if (!into) {
			into = arena_alloc(join->arena, sizeof(*into));
			into->task = task;
			into->arena = join->arena;
			into->type = from->type;
			into->key = arena_strdup(join->arena, from->key);
			into->source = arena_strdup(join->arena, from->source);
			map_put(join->by_key, key, into);
			records_add(&join->records, into);
		}
		record_merge(into, from);
	}
}

/* --- the host table --- */

static void host_fields(struct sl_record *record, const struct sl_json *from, const struct sl_field *fields)
{
	if (!record)
		return;
	for (; fields && fields->key; fields++) {
		struct value value;

		if ((unsigned int)fields->group >= SL_GROUPS) {
			task_fault(record->task, "Field %s names no group", fields->key);
			return;
		}
		value = typed_value(record->arena, json_at(json_of(from), fields->path), fields->type);
		record_put(record, fields->group, fields->key, &value);
	}
}

static struct sl_record *host_record(struct sl_task *t, const struct sl_record_type *type, const char *key,
				     const struct sl_json *from, const struct sl_field *fields)
{
	struct flow_task *task = task_of(t);
	struct sl_record *record;

	if (task->stage != STAGE_PARSE && task->stage != STAGE_RETRIEVE) {
		task_fault(task, "Records are made in parse and retrieve only");
		return NULL;
	}
	if (!key || !*key) {
		task->output.unkeyed++;
		return NULL;
	}
	record = arena_alloc(task->response, sizeof(*record));
	record->task = task;
	record->arena = task->response;
	record->type = type;
	record->key = arena_strdup(task->response, key);
	record->source =
		task->call && task->call->via && task->call->via->source ? task->call->via->source->name : "";
	task->output.records++;
	records_add(&task->made, record);
	host_fields(record, from, fields);
	return record;
}

/* A value that a callback puts by name. */
static void put(struct sl_record *record, enum sl_group group, const char *key, const struct value *value)
{
	if (!record || !key)
		return;
	if ((unsigned int)group >= SL_GROUPS)
		task_fault(record->task, "Value %s names no group", key);
	else if (member_find(record, group, key))
		record_put(record, group, key, value);
	else
		record_put(record, group, arena_strdup(record->arena, key), value);
}

static void host_put_str(struct sl_record *record, enum sl_group group, const char *key, const char *text)
{
	struct value value = {.kind = VALUE_NULL};

	if (record && text)
		value = text_value(record->arena, text, strlen(text));
	put(record, group, key, &value);
}

static void host_put_int(struct sl_record *record, enum sl_group group, const char *key, int64_t integer)
{
	put(record, group, key, &(struct value){.kind = VALUE_INT, .integer = integer});
}

static void host_put_float(struct sl_record *record, enum sl_group group, const char *key, double number)
{
	put(record, group, key, &(struct value){.kind = VALUE_FLOAT, .number = number});
}

static void host_put_bool(struct sl_record *record, enum sl_group group, const char *key, bool truth)
{
	put(record, group, key, &(struct value){.kind = VALUE_BOOL, .integer = truth});
}

static void host_put_null(struct sl_record *record, enum sl_group group, const char *key)
{
	put(record, group, key, &(struct value){.kind = VALUE_NULL});
}

static void host_put_json(struct sl_record *record, enum sl_group group, const char *key,
			  const struct sl_json *from)
{
	struct value value = {.kind = VALUE_NULL};

	if (record)
		value = any_value(record->arena, json_of(from));
	put(record, group, key, &value);
}

static void host_put_out(struct sl_record *record, enum sl_group group, const char *key, struct sl_out *out)
{
	const struct buf *text = out_finished(out, "put_out");

	if (record && text)
		put(record, group, key,
		    &(struct value){.kind = VALUE_JSON,
				    .len = text->len,
				    .text = arena_strndup(record->arena, text->data, text->len)});
}

static const struct sl_record_type *host_record_type(const struct sl_record *record)
{
	return record ? record->type : NULL;
}

static const char *host_record_key(const struct sl_record *record)
{
	return record ? record->key : NULL;
}

static const char *host_record_source(const struct sl_record *record)
{
	return record ? record->source : NULL;
}

static void host_set_source(struct sl_record *record, const char *source)
{
	if (record)
		record->source = arena_strdup(record->arena, source ? source : "");
}

static bool host_has(const struct sl_record *record, enum sl_group group, const char *key)
{
	const struct value *value = record_get(record, group, key);

	return value && value->kind != VALUE_NULL;
}

static const char *host_value(const struct sl_record *record, enum sl_group group, const char *key)
{
	return value_text(record_get(record, group, key), flow_scope.arena);
}

static int64_t host_value_int(const struct sl_record *record, enum sl_group group, const char *key,
			      int64_t fallback)
{
	int64_t integer;

	return value_int(record_get(record, group, key), &integer) ? integer : fallback;
}

static struct sl_record *host_page_record(const struct sl_task *t, size_t index)
{
	const struct records *made = &task_of(t)->made;

	return task_of(t)->stage == STAGE_PAGE && index < made->count ? made->items[index] : NULL;
}

static const char *host_value_name(const struct sl_record *record, enum sl_group group, size_t index)
{
	if (!record || (unsigned int)group >= SL_GROUPS || index >= record->groups[group].count)
		return NULL;
	return record->groups[group].members[index].key;
}

void host_record_section(struct sl_host *host)
{
	host->record = host_record;
	host->fields = host_fields;
	host->put_str = host_put_str;
	host->put_int = host_put_int;
	host->put_float = host_put_float;
	host->put_bool = host_put_bool;
	host->put_null = host_put_null;
	host->put_json = host_put_json;
	host->put_out = host_put_out;
	host->record_type = host_record_type;
	host->record_key = host_record_key;
	host->record_source = host_record_source;
	host->set_source = host_set_source;
	host->has = host_has;
	host->value = host_value;
	host->value_int = host_value_int;
	host->page_record = host_page_record;
	host->value_name = host_value_name;
}
