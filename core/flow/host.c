/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host table: the task's section, JSON writing, and the memory of the
 * running callback. Functions that get no task find it in flow_scope, which
 * belongs to the thread: one callback runs on a thread at a time.
 */
#include <stdio.h>
#include <string.h>

#include "flow/internal.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "log/log.h"
#include "plugin/plugin.h"

_Thread_local struct scope flow_scope;

void scope_enter(struct arena *arena, struct flow_task *task)
{
	flow_scope.arena = arena;
	flow_scope.task = task;
}

void scope_leave(void)
{
	struct sl_out *out, *next;

	for (out = flow_scope.outs; out; out = next) {
		next = out->next;
		buf_fini(&out->text);
		mem_release(out);
	}
	for (size_t i = 0; i < flow_scope.doc_count; i++)
		json_doc_free(&flow_scope.docs[i]);
	mem_free(&flow_scope.docs);
	memset(&flow_scope, 0, sizeof(flow_scope));
}

void flow_scope_enter(struct arena *arena)
{
	scope_enter(arena, NULL);
}

void flow_scope_leave(void)
{
	scope_leave();
}

/* --- the task --- */

static int64_t host_task_id(const struct sl_task *t)
{
	return task_of(t)->id;
}

static const struct sl_option *option_find(const struct sl_option *options, const char *name)
{
	for (; options && options->name; options++)
		if (str_eq(options->name, name))
			return options;
	return NULL;
}

static const struct json *param_find(const struct flow_task *task, const char *name)
{
	const struct json *value = name ? json_member(json_root(task->params), name) : NULL;

	return json_type(value) == JSON_NULL ? NULL : value;
}

/* Lists and objects read as their JSON. */
static const char *host_param(const struct sl_task *t, const char *name)
{
	const struct flow_task *task = task_of(t);
	const struct json *value = param_find(task, name);
	const struct sl_option *option;
	struct buf out;
	const char *text;

	if (!value) {
		option = option_find(task->flow->params, name);
		return option && (!json_member(json_root(task->params), name) ||
				  !(option->flags & SL_NULLABLE))
			       ? option->fallback
			       : NULL;
	}
	text = json_scalar_text(value, task->scratch);
	if (text)
		return text;
	buf_init(&out);
	json_print(value, &out);
	text = arena_strndup(task->scratch, out.data, out.len);
	buf_fini(&out);
	return text;
}

/* The number a text stands for: milliseconds, bytes and seconds since 1970 where the type says so. */
static bool number_read(enum sl_type type, const char *text, int64_t *number_r)
{
	switch (type) {
	case SL_DURATION:
		return !num_parse_duration(text, number_r);
	case SL_SIZE:
		return !num_parse_size(text, number_r);
	case SL_BOOL:
		*number_r = !strcmp(text, "true");
		return *number_r || !strcmp(text, "false");
	case SL_TIME:
		if (!clock_parse(text, strlen(text), number_r)) {
			*number_r = *number_r / 1000 - (*number_r % 1000 < 0);
			return true;
		}
		return !num_parse_int(text, number_r);
	default:
		return !num_parse_int(text, number_r);
	}
}

static int64_t host_param_int(const struct sl_task *t, const char *name, int64_t fallback)
{
	const struct sl_option *option = option_find(task_of(t)->flow->params, name);
	const char *text;
	int64_t number;

	if (json_int(param_find(task_of(t), name), &number))
		return number;
	text = host_param(t, name);
	return text && number_read(option ? option->type : SL_INT, text, &number) ? number : fallback;
}

static const struct sl_json *host_param_json(const struct sl_task *t, const char *name)
{
	return json_view(param_find(task_of(t), name));
}

static const char *host_batch(const struct sl_task *t, const char *list, size_t n, size_t index)
{
	struct flow_task *task = task_of(t);
	size_t facts = facts_count(&task->facts, list);
	const struct json *param = facts ? NULL : param_find(task, list);
	const struct json *item = json_type(param) == JSON_ARRAY ? json_first(param) : NULL;
	size_t first = index * (n ? n : 1), count = 0;
	const char *text;
	struct buf out;

	n = n ? n : 1;
	buf_init(&out);
	for (size_t i = 0; i < first && item; i++)
		item = json_next(item);
	for (size_t i = first; i < first + n && (item || i < facts); i++) {
		text = item ? json_scalar_text(item, task->scratch) : facts_item(&task->facts, list, i);
		item = item ? json_next(item) : NULL;
		if (count++)
			buf_addc(&out, ',');
		buf_adds(&out, text ? text : "");
	}
	text = count ? arena_strndup(task->scratch, out.data ? out.data : "", out.len) : NULL;
	buf_fini(&out);
	return text;
}

static const char *host_option(const struct sl_task *t, const char *name)
{
	const struct flow_task *task = task_of(t);
	const char *value = task->env->option ? task->env->option(task->plugin, name) : NULL;
	const struct sl_option *option = value ? NULL : option_find(task->descriptor->options, name);

	return value ? value : option ? option->fallback : NULL;
}

static int64_t host_option_int(const struct sl_task *t, const char *name)
{
	const struct sl_option *option = option_find(task_of(t)->descriptor->options, name);
	const char *text = host_option(t, name);
	int64_t number;

	return text && option && number_read(option->type, text, &number) ? number : 0;
}

static int64_t host_now(const struct sl_task *t)
{
	return task_of(t)->now_s;
}

/* SplitMix64: the state is one word, so it goes into the checkpoint. */
static uint64_t host_random(struct sl_task *t)
{
	uint64_t z = task_of(t)->random += 0x9e3779b97f4a7c15U;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

__attribute__((format(printf, 2, 3))) static const char *host_format(struct sl_task *t, const char *fmt, ...)
{
	const char *text;
	va_list ap;

	va_start(ap, fmt);
	text = arena_vprintf(task_of(t)->scratch, fmt, ap);
	va_end(ap);
	return text;
}

static void *host_alloc(struct sl_task *t, size_t size)
{
	return arena_alloc(task_of(t)->scratch, size);
}

static int64_t host_time(const char *text, int64_t fallback)
{
	int64_t ms;

	if (!text || clock_parse(text, strlen(text), &ms))
		return fallback;
	return ms / 1000 - (ms % 1000 < 0);
}

__attribute__((format(printf, 2, 3))) static void host_debug(const struct sl_task *t, const char *fmt, ...)
{
	const struct flow_task *task = task_of(t);
	va_list ap;

	if (!log_enabled(LOG_LEVEL_DEBUG))
		return;
	va_start(ap, fmt);
	log_debug("%s flow=%s task=%lld", arena_vprintf(task->scratch, fmt, ap), task->flow->name,
		  (long long)task->id);
	va_end(ap);
}

static enum sl_result host_fail_as(struct sl_task *t, enum sl_result result, int status, const char *text)
{
	struct flow_task *task = task_of(t);

	task->failing.said = true;
	task->failing.status = status;
	task->failing.text = arena_strdup(task->scratch, text ? text : FLOW_WENT_WRONG);
	return result;
}

static enum sl_result host_fail(struct sl_task *t, enum sl_result result, const char *text)
{
	return host_fail_as(t, result, task_of(t)->status, text);
}

static void host_park(struct sl_task *t, int64_t seconds)
{
	task_of(t)->failing.park_s = seconds > 0 ? seconds : 0;
}

void host_task_section(struct sl_host *host)
{
	host->task_id = host_task_id;
	host->param = host_param;
	host->param_int = host_param_int;
	host->param_json = host_param_json;
	host->batch = host_batch;
	host->option = host_option;
	host->option_int = host_option_int;
	host->now = host_now;
	host->random = host_random;
	host->format = host_format;
	host->alloc = host_alloc;
	host->time = host_time;
	host->debug = host_debug;
	host->fail = host_fail;
	host->fail_as = host_fail_as;
	host->park = host_park;
}

/* --- writing JSON --- */

static struct sl_out *host_out(struct sl_task *t)
{
	struct sl_out *out = mem_alloc(sizeof(*out));

	out->task = task_of(t);
	buf_init(&out->text);
	jwrite_init(&out->w, &out->text);
	out->next = flow_scope.outs;
	flow_scope.outs = out;
	return out;
}

static bool in_object(const struct sl_out *out)
{
	return out->w.depth && (out->w.object >> out->w.depth & 1);
}

bool out_ready(struct sl_out *out, const char *name)
{
	if (!out)
		return false;
	if (!out->w.depth && out->text.len)
		task_fault(out->task, "JSON is written on after its end");
	else if (in_object(out) && !name)
		task_fault(out->task, "JSON inside an object is written without a name");
	else if (out->w.depth >= 60)
		task_fault(out->task, "JSON is nested too deep");
	else
		return true;
	return false;
}

const char *out_name(const struct sl_out *out, const char *name)
{
	return in_object(out) ? name : NULL;
}

const struct buf *out_finished(struct sl_out *out, const char *what)
{
	if (!out)
		return NULL;
	if (!out->w.depth && out->text.len)
		return &out->text;
	task_fault(out->task, "%s got JSON that is not finished", what);
	return NULL;
}

static void host_out_object(struct sl_out *out, const char *name)
{
	if (out_ready(out, name))
		jwrite_object(&out->w, out_name(out, name));
}

static void host_out_array(struct sl_out *out, const char *name)
{
	if (out_ready(out, name))
		jwrite_array(&out->w, out_name(out, name));
}

static void host_out_end(struct sl_out *out)
{
	if (!out)
		return;
	if (!out->w.depth) {
		task_fault(out->task, "JSON is ended that was not begun");
		return;
	}
	jwrite_end(&out->w);
}

static void host_out_str(struct sl_out *out, const char *name, const char *value)
{
	if (out_ready(out, name))
		jwrite_string(&out->w, out_name(out, name), value);
}

static void host_out_int(struct sl_out *out, const char *name, int64_t value)
{
	if (out_ready(out, name))
		jwrite_int(&out->w, out_name(out, name), value);
}

static void host_out_float(struct sl_out *out, const char *name, double value)
{
	if (out_ready(out, name))
		jwrite_double(&out->w, out_name(out, name), value);
}

static void host_out_bool(struct sl_out *out, const char *name, bool value)
{
	if (out_ready(out, name))
		jwrite_bool(&out->w, out_name(out, name), value);
}

static void host_out_json(struct sl_out *out, const char *name, const struct sl_json *value)
{
	if (out_ready(out, name))
		jwrite_value(&out->w, out_name(out, name), json_of(value));
}

static const char *host_out_text(struct sl_out *out)
{
	return out && out->text.data ? out->text.data : "";
}

void host_out_section(struct sl_host *host)
{
	host->out = host_out;
	host->out_object = host_out_object;
	host->out_array = host_out_array;
	host->out_end = host_out_end;
	host->out_str = host_out_str;
	host->out_int = host_out_int;
	host->out_float = host_out_float;
	host->out_bool = host_out_bool;
	host->out_json = host_out_json;
	host->out_text = host_out_text;
}

/* --- rows: a sink puts its own functions into its copy of the table --- */

static void host_row_text(struct sl_row *row, const char *column, const char *value)
{
	(void)row;
	(void)column;
	(void)value;
}

static void host_row_int(struct sl_row *row, const char *column, int64_t value)
{
	(void)row;
	(void)column;
	(void)value;
}

static void host_row_float(struct sl_row *row, const char *column, double value)
{
	(void)row;
	(void)column;
	(void)value;
}

const struct sl_host *flow_host(void)
{
	static _Thread_local struct sl_host host;

	if (host.size)
		return &host;
	host.size = sizeof(host);
	host_task_section(&host);
	host_call_section(&host);
	host_fact_section(&host);
	host_request_section(&host);
	host_json_section(&host);
	host_record_section(&host);
	host_emit_section(&host);
	host_out_section(&host);
	host.row_text = host_row_text;
	host.row_int = host_row_int;
	host.row_float = host_row_float;
	return &host;
}
