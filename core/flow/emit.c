/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task makes: rows to upsert, events and new tasks, until the driver
 * has committed them. Runs on the thread of the driver that owns the task.
 */
#include <string.h>

#include "flow/internal.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "base/uuid.h"
#include "plugin/plugin.h"

void output_init(struct output *output)
{
	memset(output, 0, sizeof(*output));
	output->arena = arena_new();
}

void output_fini(struct output *output)
{
	mem_free(&output->upserts);
	mem_free(&output->events);
	mem_free(&output->submits);
	arena_free(&output->arena);
}

void output_clear(struct output *output)
{
	output->upsert_count = output->event_count = output->submit_count = 0;
	output->records = output->unkeyed = output->bytes = 0;
	arena_free(&output->arena);
	output->arena = arena_new();
}

/* --- JSON of records --- */

static void value_write(struct jwrite *w, const char *name, const struct value *value)
{
	switch (value ? value->kind : VALUE_NULL) {
	case VALUE_NULL:
		jwrite_null(w, name);
		return;
	case VALUE_TEXT:
		jwrite_stringn(w, name, value->text, value->len);
		return;
	case VALUE_INT:
		jwrite_int(w, name, value->integer);
		return;
	case VALUE_FLOAT:
		jwrite_double(w, name, value->number);
		return;
	case VALUE_BOOL:
		jwrite_bool(w, name, value->integer != 0);
		return;
	case VALUE_JSON:
		jwrite_raw(w, name, value->text, value->len);
		return;
	}
}

static void group_write(struct jwrite *w, const char *name, const struct sl_record *record,
			enum sl_group group)
{
	jwrite_object(w, name);
	for (size_t i = 0; record && i < record->groups[group].count; i++)
		value_write(w, record->groups[group].members[i].key, &record->groups[group].members[i].value);
	jwrite_end(w);
}

void flow_record_print(const struct sl_record *record, struct buf *out)
{
	static const char *const names[SL_GROUPS] = {
		"attributes", "metrics", "dimensions", "target_metrics", "target_dimensions",
	};
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "type", record->type ? record->type->name : NULL);
	jwrite_string(&w, "key", record->key);
	jwrite_string(&w, "source", record->source);
	for (int g = 0; g < SL_GROUPS; g++)
		if (record->groups[g].count)
			group_write(&w, names[g], record, (enum sl_group)g);
	jwrite_end(&w);
}

/* --- upserts --- */

static const char *time_text(const struct value *value, struct arena *arena)
{
	char text[CLOCK_TEXT_SIZE];
	int64_t epoch;

	/* The calendar of the stores begins in the year 1 and ends with 9999. */
	if (!value_time(value, &epoch) || epoch < -62135596800 || epoch > 253402300799)
		return NULL;
	return arena_strdup(arena, clock_format(text, epoch));
}

static const char *double_text(const struct value *value, struct arena *arena)
{
	struct value number = {.kind = VALUE_FLOAT};

	if (value->kind == VALUE_FLOAT)
		return value_text(value, arena);
	if (value->kind == VALUE_INT)
		number.number = (double)value->integer;
	else if (value->kind != VALUE_TEXT || num_parse_double(value->text, &number.number))
		return NULL;
	return value_text(&number, arena);
}

static const char *boolean_text(const struct value *value)
{
	if (value->kind == VALUE_TEXT)
		return str_eq(value->text, "true") ? "true" : str_eq(value->text, "false") ? "false" : NULL;
	if ((value->kind == VALUE_BOOL || value->kind == VALUE_INT) &&
	    (value->integer == 0 || value->integer == 1))
		return value->integer ? "true" : "false";
	return NULL;
}

static const char *json_text(const struct value *value, struct arena *arena)
{
	struct jwrite w;
	struct buf out;
	const char *text;

	buf_init(&out);
	jwrite_init(&w, &out);
	value_write(&w, NULL, value);
	text = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return text;
}

/* A value as the store takes it for a column of this type; NULL for null and for what does not convert. */
static const char *column_text(const struct value *value, enum sl_column_type type, struct arena *arena)
{
	int64_t integer;

	if (!value || value->kind == VALUE_NULL)
		return NULL;
	switch (type) {
	case SL_BIGINT:
		return value_int(value, &integer) ? arena_printf(arena, "%lld", (long long)integer) : NULL;
	case SL_DOUBLE:
		return double_text(value, arena);
	case SL_BOOLEAN:
		return boolean_text(value);
	case SL_TIMESTAMP:
		return time_text(value, arena);
	case SL_JSONB:
		return json_text(value, arena);
	case SL_TEXT_ARRAY:
		return value->kind == VALUE_JSON && value->text[0] == '[' ? arena_strdup(arena, value->text)
									  : NULL;
	default:
		/* Texts of the record are copied: it goes before the output does. */
		return value->kind == VALUE_TEXT || value->kind == VALUE_JSON
			       ? arena_strdup(arena, value->text)
			       : value_text(value, arena);
	}
}

static const char *group_text(const struct sl_record *record, enum sl_group group, struct arena *arena)
{
	struct jwrite w;
	struct buf out;
	const char *text;

	buf_init(&out);
	jwrite_init(&w, &out);
	group_write(&w, NULL, record, group);
	text = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return text;
}

static bool emit_open(struct flow_task *task, const char *what)
{
	if (task->stage == STAGE_PAGE || task->stage == STAGE_EMIT || task->stage == STAGE_RETRIEVE)
		return true;
	task_fault(task, "%s belongs in emit, page or retrieve", what);
	return false;
}

static void host_upsert(struct sl_task *t, const struct sl_table *theirs, struct sl_record *record)
{
	struct flow_task *task = task_of(t);
	const struct sl_table *table = plugin_own(task->plugin, theirs);
	struct output *output = &task->output;
	struct arena *arena = output->arena;
	struct flow_upsert *upsert;
	const char **values;
	size_t columns = 0;

	if (!record || !emit_open(task, "upsert"))
		return;
	if (!table) {
		task_fault(task, "upsert into a table that plugin %s does not declare",
			   task->descriptor->name);
		return;
	}
	while (table->columns && table->columns[columns].name)
		columns++;
	values = arena_alloc(arena, (columns + 1) * sizeof(*values));
	for (size_t i = 0; i < columns; i++) {
		const struct sl_column *column = &table->columns[i];

		if (str_eq(column->name, table->key_column))
			values[i] = arena_strdup(arena, record->key);
		else if (!column->key)
			continue;
		else if (*column->key)
			values[i] = column_text(record_get(record, column->group, column->key), column->type,
						arena);
		else
			values[i] = group_text(record, column->group, arena);
		output->bytes += values[i] ? strlen(values[i]) : 0;
	}
	output->upserts = grow(output->upserts, output->upsert_count, &output->upsert_cap, sizeof(*upsert));
	upsert = &output->upserts[output->upsert_count++];
	upsert->table = table;
	upsert->key = table->key_column ? arena_strdup(arena, record->key) : NULL;
	upsert->values = values;
	output->bytes += strlen(record->key);
}

/* --- events --- */

/* Hands the finished event over, or fails the task when it is too large. */
static void event_add(struct flow_task *task, const struct sl_stream *stream, const struct buf *text)
{
	struct output *output = &task->output;

	if ((int64_t)text->len > task->env->event_max) {
		task_fault(task, "An event of stream %s takes %zu bytes; the limit is %lld", stream->name,
			   text->len, (long long)task->env->event_max);
		return;
	}
	output->events =
		grow(output->events, output->event_count, &output->event_cap, sizeof(*output->events));
	output->events[output->event_count++] = (struct flow_event){
		stream,
		arena_strndup(output->arena, text->data, text->len),
		text->len,
	};
	output->bytes += text->len;
}

/* A slice that is run again gives its events the same identities. */
static char *event_id(const struct flow_task *task, char id[UUID_TEXT_SIZE])
{
	char name[256];

	str_format(name, sizeof(name), "%s/%lld/%lld/%zu", task->env->store_id, (long long)task->id,
		   (long long)task->commit_seq, task->output.event_count);
	return uuid_from(id, name, strlen(name));
}

static void event_field(struct jwrite *w, const struct flow_task *task, const struct sl_record *record,
			const struct sl_event_field *field)
{
	const struct value *value;
	char id[UUID_TEXT_SIZE], text[CLOCK_TEXT_SIZE];
	int64_t epoch;

	switch (field->from) {
	case SL_EV_ID:
		jwrite_string(w, field->name, event_id(task, id));
		return;
	case SL_EV_NOW:
		jwrite_string(w, field->name, clock_format(text, task->now_s));
		return;
	case SL_EV_SOURCE:
		jwrite_string(w, field->name, record->source);
		return;
	case SL_EV_PLATFORM:
		jwrite_string(w, field->name, task->flow->platform);
		return;
	case SL_EV_KEY:
		jwrite_string(w, field->name, record->key);
		return;
	case SL_EV_CONST:
		jwrite_string(w, field->name, field->key);
		return;
	case SL_EV_VALUE:
		value_write(w, field->name, record_get(record, field->group, field->key));
		return;
	case SL_EV_TIME:
		value = record_get(record, field->group, field->key);
		jwrite_string(w, field->name, value_time(value, &epoch) ? clock_format(text, epoch) : NULL);
		return;
	case SL_EV_GROUP:
		group_write(w, field->name, record, field->group);
		return;
	}
}

static const struct sl_stream *stream_own(struct flow_task *task, const struct sl_stream *theirs,
					  const char *what)
{
	const struct sl_stream *stream = plugin_own(task->plugin, theirs);

	if (!emit_open(task, what))
		return NULL;
	if (!stream)
		task_fault(task, "%s on a stream that plugin %s does not declare", what,
			   task->descriptor->name);
	return stream;
}

static void host_event(struct sl_task *t, const struct sl_stream *theirs, struct sl_record *record)
{
	struct flow_task *task = task_of(t);
	const struct sl_stream *stream = record ? stream_own(task, theirs, "event") : NULL;
	struct jwrite w;
	struct buf out;

	if (!stream)
		return;
	if (!stream->fields) {
		task_fault(task, "Stream %s declares no fields", stream->name);
		return;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	for (const struct sl_event_field *field = stream->fields; field->name; field++)
		event_field(&w, task, record, field);
	jwrite_end(&w);
	event_add(task, stream, &out);
	buf_fini(&out);
}

static void host_event_json(struct sl_task *t, const struct sl_stream *theirs, struct sl_out *event)
{
	struct flow_task *task = task_of(t);
	const struct sl_stream *stream = stream_own(task, theirs, "event_json");
	const struct buf *text = stream ? out_finished(event, "event_json") : NULL;

	if (!text)
		return;
	if (text->data[0] == '{')
		event_add(task, stream, text);
	else
		task_fault(task, "An event of stream %s is no object", stream->name);
}

static void host_result(struct sl_task *t, struct sl_out *data)
{
	struct flow_task *task = task_of(t);
	const struct buf *text = out_finished(data, "result");

	if (!text)
		return;
	mem_free(&task->result_new);
	task->result_new = mem_strdup(text->data);
}

static void host_submit(struct sl_task *t, const char *flow, struct sl_out *params)
{
	struct flow_task *task = task_of(t);
	struct output *output = &task->output;
	const struct buf *text = out_finished(params, "submit");

	if (!text || !flow)
		return;
	output->submits =
		grow(output->submits, output->submit_count, &output->submit_cap, sizeof(*output->submits));
	output->submits[output->submit_count++] = (struct flow_submit){
		arena_strdup(output->arena, flow),
		arena_strndup(output->arena, text->data, text->len),
	};
	output->bytes += text->len;
}

static void host_out_value(struct sl_out *out, const char *name, const struct sl_record *record,
			   enum sl_group group, const char *key)
{
	if (out_ready(out, name))
		value_write(&out->w, out_name(out, name), record_get(record, group, key));
}

void host_emit_section(struct sl_host *host)
{
	host->upsert = host_upsert;
	host->event = host_event;
	host->event_json = host_event_json;
	host->result = host_result;
	host->submit = host_submit;
	host->out_value = host_out_value;
}
