/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task's life: rounds of calls, the order in which answers are parsed, and
 * the units that are kept or undone as a whole. Runs on the thread of the
 * driver that owns the task; every plugin callback runs inside a function of
 * this directory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow/internal.h"

#include "base/map.h"
#include "base/str.h"
#include "plugin/plugin.h"

void *grow(void *items, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return items;
	*cap = *cap ? *cap * 2 : 8;
	return mem_realloc(items, *cap * size);
}

bool plugin_lists(const void *const *list, const void *item)
{
	for (size_t i = 0; list && list[i]; i++)
		if (list[i] == item)
			return true;
	return false;
}

/* --- units --- */

void unit_begin(struct flow_task *task)
{
	task->mark = task->output;
	task->mark_random = task->random;
	task->made.count = 0;
	arena_reset(task->response);
	facts_keep(&task->facts);
}

void unit_keep(struct flow_task *task)
{
	facts_keep(&task->facts);
	if (task->result_new) {
		mem_free(&task->result);
		task->result = task->result_new;
		task->result_new = NULL;
	}
}

void unit_undo(struct flow_task *task)
{
	facts_undo(&task->facts);
	mem_free(&task->result_new);
	task->random = task->mark_random;
	task->output.upsert_count = task->mark.upsert_count;
	task->output.event_count = task->mark.event_count;
	task->output.submit_count = task->mark.submit_count;
	task->output.records = task->mark.records;
	task->output.unkeyed = task->mark.unkeyed;
	task->output.bytes = task->mark.bytes;
	task->made.count = 0;
}

void callback_enter(struct flow_task *task, enum stage stage, struct flow_call *call, int status)
{
	arena_reset(task->scratch);
	scope_enter(task->scratch, task);
	task->stage = stage;
	task->call = call;
	task->status = status;
	task->now_s = task->env->now_ms() / 1000;
	memset(&task->failing, 0, sizeof(task->failing));
}

enum sl_result callback_leave(struct flow_task *task, enum sl_result result)
{
	task->stage = STAGE_NONE;
	scope_leave();
	if (task->fault)
		return SL_FAIL;
	if ((int)result < SL_OK || result > SL_FAIL) {
		task_fault(task, "A callback returned %d, which is no result", (int)result);
		return SL_FAIL;
	}
	return result;
}

void task_fault(struct flow_task *task, const char *fmt, ...)
{
	struct buf text;
	va_list ap;

	if (task->fault)
		return;
	buf_init(&text);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	task->fault = buf_steal(&text);
}

void task_fail(struct flow_task *task, enum sl_result result, const char *text)
{
	if (task->state == FLOW_FAILED)
		return;
	task->state = FLOW_FAILED;
	task->failure = result == SL_GONE                          ? SL_GONE
			: result == SL_RETRY || result == SL_LIMIT ? SL_RETRY
								   : SL_FAIL;
	task->failure_text = mem_strdup(text);
}

/* Whether a call of the round ended with a failure that may pass: then retrieve knew no better either. */
static bool any_may_pass(const struct flow_task *task)
{
	for (size_t i = 0; i < task->calls.count; i++)
		if (task->calls.calls[i]->outcome != SL_OK && !task->calls.calls[i]->lasting)
			return true;
	return false;
}

void task_fail_callback(struct flow_task *task, enum sl_result result)
{
	const struct failing *failing = &task->failing;

	task->lasting = !task->fault && (result == SL_GONE || result == SL_FAIL) && !any_may_pass(task);
	if (task->fault)
		task_fail(task, SL_FAIL, task->fault);
	else if (failing->said)
		task_fail(task, result, failure_format(task->scratch, failing->status,
						       call_hide(task->call, task->scratch, failing->text)));
	else
		task_fail(task, result, failure_format(task->scratch, task->status, FLOW_WENT_WRONG));
}

/* The text as the original's language prints it: other systems match on this form. */
static void quote(struct buf *out, const char *text)
{
	char mark = strchr(text, '\'') && !strchr(text, '"') ? '"' : '\'';

	buf_addc(out, mark);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == (unsigned char)mark || *c == '\\')
			buf_printf(out, "\\%c", *c);
		else if (*c == '\n')
			buf_adds(out, "\\n");
		else if (*c == '\r')
			buf_adds(out, "\\r");
		else if (*c == '\t')
			buf_adds(out, "\\t");
		else if (*c < 0x20 || *c == 0x7f)
			buf_printf(out, "\\x%02x", *c);
		else
			buf_addc(out, (char)*c);
	}
	buf_addc(out, mark);
}

void flow_failure_print(struct buf *out, int status, const char *text)
{
	buf_printf(out, "(%d, ", status);
	quote(out, text);
	buf_addc(out, ')');
}

const char *failure_format(struct arena *arena, int status, const char *text)
{
	struct buf out;
	const char *formatted;

	if (!status)
		return arena_strdup(arena, text);
	buf_init(&out);
	flow_failure_print(&out, status, text);
	formatted = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return formatted;
}

/* --- emit --- */

static enum sl_result task_emit_one(struct flow_task *task, struct flow_call *call, struct sl_record *record)
{
	const struct sl_flow *flow = task->flow;
	enum sl_result result;

	if (flow->emit) {
		callback_enter(task, STAGE_EMIT, call, call ? call->status : 0);
		result = callback_leave(task, flow->emit(flow_host(), task_view(task), record));
		if (result != SL_OK) {
			task_fail_callback(task, result);
			return result;
		}
	}
	if (task->env->on_record)
		task->env->on_record(task, record);
	return SL_OK;
}

enum sl_result task_emit(struct flow_task *task, const struct records *records)
{
	struct flow_call *call = task->call;
	enum sl_result result = SL_OK;

	for (size_t i = 0; i < records->count && result == SL_OK; i++)
		result = task_emit_one(task, call, records->items[i]);
	return result;
}

static bool joined(const struct round *round, const char *name)
{
	for (size_t i = 0; i < round->count; i++)
		if (str_eq(round->calls[i]->join, name))
			return true;
	return false;
}

/* Emits the joins that the new round adds nothing to. */
static enum sl_result task_emit_joins(struct flow_task *task)
{
	struct list *node;
	enum sl_result result = SL_OK;

	list_each (node, &task->joins) {
		struct join *join = list_entry(node, struct join, node);

		if (result == SL_OK && !joined(&task->adding, join->name))
			result = task_emit(task, &join->records);
	}
	return result;
}

static void task_close_joins(struct flow_task *task)
{
	struct list *node, *following;

	list_each_safe (node, following, &task->joins) {
		struct join *join = list_entry(node, struct join, node);

		if (joined(&task->calls, join->name))
			continue;
		list_remove(&join->node);
		join_free(join);
	}
}

/* --- rounds --- */

/* Kinds whose carrying out has not come yet keep their place in the contract. */
static void round_refuse(struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		struct flow_call *call = round->calls[i];

		if (call->operation->kind == SL_BLOB)
			call_fail(call, SL_FAIL, 0, "this version carries out no blob calls");
		else if (call->operation->kind == SL_QUERY)
			call_fail(call, SL_FAIL, 0, "this version carries out no query calls");
	}
}

static void task_retrieve(struct flow_task *task)
{
	enum sl_result result;

	unit_begin(task);
	task->round++;
	task->adding = (struct round){.arena = arena_new()};
	callback_enter(task, STAGE_RETRIEVE, NULL, 0);
	result = callback_leave(task, task->flow->retrieve(flow_host(), task_view(task)));
	if (result != SL_OK) {
		task_fail_callback(task, result);
	} else {
		task->call = NULL;
		result = task_emit_joins(task);
		if (result == SL_OK)
			result = task_emit(task, &task->made);
	}
	if (result != SL_OK) {
		unit_undo(task);
		round_free(&task->adding);
		task->round--;
		return;
	}
	unit_keep(task);
	round_free(&task->calls);
	task->calls = task->adding;
	task->adding = (struct round){NULL, NULL, 0, 0};
	task->give_at = task->turn_at = task->in_flight = 0;
	task_close_joins(task);
	round_refuse(&task->calls);
	if (!task->calls.count)
		task->state = FLOW_DONE;
}

/* Parses what is due, in order, and runs retrieve when a round is over. */
void task_advance(struct flow_task *task)
{
	while (task->state == FLOW_CALLS && !task->sealed) {
		struct flow_call *call;

		if (task->turn_at == task->calls.count) {
			task_retrieve(task);
			continue;
		}
		call = task->calls.calls[task->turn_at];
		if (call->state != CALL_DONE && (call->state != CALL_READY || !call_turn(call)))
			break;
		task->turn_at++;
	}
	task_rest(task);
}

void task_rest(struct flow_task *task)
{
	task->made.count = 0;
	arena_free(&task->response);
	arena_free(&task->scratch);
	task->response = arena_new();
	task->scratch = arena_new();
}

/* --- the driver's side --- */

uint64_t flow_task_seed(const struct flow_task *task)
{
	uint64_t seed = 14695981039346656037U;

	for (const char *c = task->env->store_id; c && *c; c++)
		seed = (seed ^ (unsigned char)*c) * 1099511628211U;
	return seed ^ (uint64_t)task->id * 0x9e3779b97f4a7c15U;
}

struct flow_task *flow_task_new(const struct flow_env *env, const struct plugin *plugin,
				const struct sl_flow *flow, int64_t id, int64_t commit_seq,
				const char *params, const char *checkpoint, struct error *err)
{
	struct flow_task *task = mem_alloc(sizeof(*task));

	task->env = env;
	task->plugin = plugin;
	task->descriptor = plugin_descriptor(plugin);
	task->flow = flow;
	task->id = id;
	task->commit_seq = commit_seq;
	task->round = -1;
	task->random = flow_task_seed(task);
	task->arena = arena_new();
	task->response = arena_new();
	task->scratch = arena_new();
	facts_init(&task->facts);
	output_init(&task->output);
	list_init(&task->joins);
	task->params = json_parse(params, strlen(params), err);
	if (!task->params) {
		error_prefix(err, "params");
		flow_task_free(&task);
		return NULL;
	}
	if (checkpoint && checkpoint_read(task, checkpoint, err)) {
		error_prefix(err, "checkpoint");
		flow_task_free(&task);
		return NULL;
	}
	return task;
}

void flow_task_free(struct flow_task **task_p)
{
	struct flow_task *task = *task_p;
	struct list *node, *following;

	if (!task)
		return;
	list_each_safe (node, following, &task->joins)
		join_free(list_entry(node, struct join, node));
	round_free(&task->calls);
	round_free(&task->adding);
	facts_fini(&task->facts);
	output_fini(&task->output);
	json_doc_free(&task->params);
	mem_free(&task->made.items);
	mem_free(&task->failure_text);
	mem_free(&task->result);
	mem_free(&task->result_new);
	mem_free(&task->fault);
	arena_free(&task->scratch);
	arena_free(&task->response);
	arena_free(&task->arena);
	mem_free(task_p);
}

void flow_task_resume(struct flow_task *task)
{
	round_refuse(&task->calls);
	task_advance(task);
}

enum flow_state flow_task_state(const struct flow_task *task)
{
	return task->state;
}

int64_t flow_task_id(const struct flow_task *task)
{
	return task->id;
}

const struct sl_flow *flow_task_flow(const struct flow_task *task)
{
	return task->flow;
}

size_t flow_task_memory(const struct flow_task *task)
{
	size_t bytes = sizeof(*task) + arena_used(task->arena) + arena_used(task->response) +
		       arena_used(task->scratch) + arena_used(task->output.arena) + task->facts.bytes +
		       json_doc_size(task->params);
	const struct list *node;

	list_each (node, &task->joins)
		bytes += arena_used(list_entry(node, const struct join, node)->arena);
	if (task->calls.arena)
		bytes += arena_used(task->calls.arena);
	for (size_t i = task->turn_at; i < task->give_at && i < task->calls.count; i++)
		if (task->calls.calls[i]->arena)
			bytes += arena_used(task->calls.calls[i]->arena);
	return bytes;
}

const char *flow_task_result(const struct flow_task *task)
{
	return task->result ? task->result : "null";
}

const char *flow_result_name(enum sl_result result)
{
	static const char *const names[] = {
		[SL_OK] = "ok", [SL_RETRY] = "retry", [SL_LIMIT] = "limit", [SL_AUTH] = "auth", [SL_SOURCE] = "source",
		[SL_GONE] = "gone", [SL_FAIL] = "fail"
	};

	return names[result];
}

enum sl_result flow_task_failure(const struct flow_task *task, const char **text_r)
{
	if (text_r)
		*text_r = task->failure_text;
	return task->failure;
}

bool flow_task_lasting(const struct flow_task *task)
{
	return task->state == FLOW_FAILED && task->lasting;
}

size_t flow_task_in_flight(const struct flow_task *task)
{
	return task->in_flight;
}

/* --- output and slices --- */

void flow_task_output(const struct flow_task *task, struct flow_output *output_r)
{
	const struct output *output = &task->output;

	*output_r = (struct flow_output){
		output->upserts,     output->upsert_count, output->events,
		output->event_count, output->submits,      output->submit_count,
		output->records,     output->bytes,        output->unkeyed,
	};
}

bool flow_task_can_checkpoint(const struct flow_task *task)
{
	return list_empty(&task->joins);
}

bool flow_task_slice_due(const struct flow_task *task)
{
	return task->state == FLOW_CALLS && flow_task_can_checkpoint(task) &&
	       ((int64_t)task->output.records >= task->env->slice_records ||
		(int64_t)task->output.bytes >= task->env->slice_bytes);
}

void flow_task_seal(struct flow_task *task)
{
	task->sealed = true;
}

void flow_task_committed(struct flow_task *task)
{
	output_clear(&task->output);
	task->commit_seq++;
	task->sealed = false;
	task_advance(task);
}
