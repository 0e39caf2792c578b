/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: what a task needs to go on after its last parsed response, as
 * JSON. Operations and sources are written by name. Runs on the thread of the
 * driver that owns the task.
 *
 *	{"version":1, "round":N, "random":"N", "result":JSON, "facts":{…}, "calls":[{…}, …]}
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow/internal.h"

#include "base/num.h"
#include "base/str.h"

#define CHECKPOINT_VERSION 1

/* --- writing --- */

static void text_save(struct jwrite *w, const char *name, const char *text)
{
	if (text)
		jwrite_string(w, name, text);
}

static void int_save(struct jwrite *w, const char *name, int64_t value)
{
	if (value)
		jwrite_int(w, name, value);
}

static void call_save(struct jwrite *w, const struct flow_call *call)
{
	const struct sl_source *source = call->via ? call->via->source : NULL;
	bool done = call->state == CALL_DONE;

	jwrite_object(w, NULL);
	jwrite_string(w, "operation", call->operation->name);
	jwrite_string(w, "key", call->key);
	jwrite_array(w, "args");
	for (size_t i = 0; i < call->args_count; i++)
		jwrite_string(w, NULL, call->args[i]);
	jwrite_end(w);
	if (source && (done || call->pinned)) {
		jwrite_string(w, "source", source->name);
		int_save(w, "credential", call->credential);
	}
	if (call->pinned)
		jwrite_bool(w, "pinned", true);
	jwrite_array(w, "excluded");
	for (size_t i = 0; i < call->via_count; i++)
		if (call->excluded[i] && call->operation->via[i].source)
			jwrite_string(w, NULL, call->operation->via[i].source->name);
	jwrite_end(w);
	text_save(w, "cursor", call->cursor);
	text_save(w, "join", call->join);
	text_save(w, "handle", call->handle);
	int_save(w, "on_error", call->on_error);
	int_save(w, "delay_ms", call->delay_ms);
	int_save(w, "landed_ms", call->landed_ms);
	if (done) {
		jwrite_bool(w, "done", true);
		int_save(w, "outcome", call->outcome);
		int_save(w, "lasting", call->lasting);
		text_save(w, "text", call->text);
		int_save(w, "status", call->status);
		text_save(w, "next_cursor", call->next_cursor);
	} else if (call->task->state == FLOW_CALLS) {
		/* A task that failed is tried again as a whole: its calls have their tries again. */
		int_save(w, "tries", call->tries);
	}
	jwrite_end(w);
}

void flow_task_checkpoint(const struct flow_task *task, struct buf *out)
{
	char random[32];
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_int(&w, "version", CHECKPOINT_VERSION);
	jwrite_int(&w, "round", task->round);
	str_format(random, sizeof(random), "%" PRIx64, task->random);
	jwrite_string(&w, "random", random);
	if (task->result)
		jwrite_raw(&w, "result", task->result, strlen(task->result));
	jwrite_object(&w, "facts");
	facts_print(&task->facts, &w);
	jwrite_end(&w);
	jwrite_array(&w, "calls");
	for (size_t i = 0; i < task->calls.count; i++)
		call_save(&w, task->calls.calls[i]);
	jwrite_end(&w);
	jwrite_end(&w);
}

/* --- reading --- */

static const struct sl_operation *operation_find(const struct flow_task *task, const char *name)
{
	const struct sl_operation *const *operations = task->flow->operations;

	for (size_t i = 0; operations && operations[i]; i++)
		if (str_eq(operations[i]->name, name))
			return operations[i];
	return NULL;
}

static const struct sl_via *via_find(const struct flow_call *call, const char *source)
{
	for (size_t i = 0; i < call->via_count; i++)
		if (call->operation->via[i].source && str_eq(call->operation->via[i].source->name, source))
			return &call->operation->via[i];
	return NULL;
}

static const char *text_load(const struct flow_call *call, const struct json *saved, const char *name)
{
	const char *text = json_string(json_member(saved, name), NULL);

	return text ? arena_strdup(call->task->calls.arena, text) : NULL;
}

static int64_t int_load(const struct json *saved, const char *name)
{
	int64_t value;

	return json_int(json_member(saved, name), &value) ? value : 0;
}

static bool bool_load(const struct json *saved, const char *name)
{
	bool value;

	return json_bool(json_member(saved, name), &value) && value;
}

static int sources_load(struct flow_call *call, const struct json *saved, struct error *err)
{
	const char *source = json_string(json_member(saved, "source"), NULL);
	const struct json *name;
	const struct sl_via *via;

	for (name = json_first(json_member(saved, "excluded")); name; name = json_next(name)) {
		via = via_find(call, json_string(name, NULL));
		if (via)
			call->excluded[via - call->operation->via] = true;
	}
	if (!source)
		return 0;
	call->via = via_find(call, source);
	call->pinned = bool_load(saved, "pinned");
	call->credential = int_load(saved, "credential");
	if (!call->via)
		return error_set(err, ERR_INPUT, "operation %s is no longer answered by source \"%s\"",
				 call->operation->name, source);
	return 0;
}

static int call_load(struct flow_task *task, const struct json *saved, struct error *err)
{
	const char *name = json_string(json_member(saved, "operation"), NULL);
	const struct sl_operation *operation = operation_find(task, name);
	const struct json *args = json_member(saved, "args");
	struct flow_call *call;

	if (!operation)
		return error_set(err, ERR_INPUT, "the flow no longer calls operation \"%s\"",
				 name ? name : "");
	call = call_new(task, &task->calls, operation, json_string(json_member(saved, "key"), NULL));
	call->args = arena_alloc(task->calls.arena, (json_count(args) + 1) * sizeof(*call->args));
	for (const struct json *arg = json_first(args); arg; arg = json_next(arg)) {
		const char *text = json_string(arg, NULL);

		call->args[call->args_count++] = arena_strdup(task->calls.arena, text ? text : "");
	}
	call->args_count &= ~(size_t)1;
	call->cursor = text_load(call, saved, "cursor");
	call->join = text_load(call, saved, "join");
	call->handle = text_load(call, saved, "handle");
	call->on_error = int_load(saved, "on_error") ? SL_ON_ERROR_REPORT : SL_ON_ERROR_FAIL;
	call->delay_ms = int_load(saved, "delay_ms");
	call->landed_ms = int_load(saved, "landed_ms");
	call->tries = (unsigned int)int_load(saved, "tries");
	if (bool_load(saved, "done")) {
		int64_t outcome = int_load(saved, "outcome");

		call->state = CALL_DONE;
		call->outcome = outcome > SL_OK && outcome <= SL_FAIL ? (enum sl_result)outcome : SL_OK;
		call->lasting = int_load(saved, "lasting") != 0;
		call->text = text_load(call, saved, "text");
		call->status = (int)int_load(saved, "status");
		call->next_cursor = text_load(call, saved, "next_cursor");
	}
	return sources_load(call, saved, err);
}

int checkpoint_read(struct flow_task *task, const char *text, struct error *err)
{
	struct json_doc *doc = json_parse(text, strlen(text), err);
	const struct json *saved = json_root(doc), *result = json_member(saved, "result"), *call;
	const char *random = json_string(json_member(saved, "random"), NULL);
	int status = 0;

	if (!doc)
		return -1;
	if (int_load(saved, "version") != CHECKPOINT_VERSION) {
		json_doc_free(&doc);
		return error_set(err, ERR_INPUT, "not of a version that can be read");
	}
	task->round = (int)int_load(saved, "round");
	if (random)
		task->random = strtoull(random, NULL, 16);
	if (result) {
		struct buf printed;

		buf_init(&printed);
		json_print(result, &printed);
		task->result = buf_steal(&printed);
	}
	facts_read(&task->facts, json_member(saved, "facts"));
	task->calls.arena = arena_new();
	for (call = json_first(json_member(saved, "calls")); call && !status; call = json_next(call))
		status = call_load(task, call, err);
	json_doc_free(&doc);
	return status;
}
