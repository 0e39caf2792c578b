/* SPDX-License-Identifier: Apache-2.0 */
/* The host table's section for retrieve: adding calls, and looking at those that ended. */
#include <string.h>

#include "flow/internal.h"

#include "base/str.h"
#include "plugin/plugin.h"

static int host_round(const struct sl_task *t)
{
	return task_of(t)->round;
}

/* Adds a call with room for its arguments; NULL after a fault. */
static struct flow_call *add(struct flow_task *task, const struct sl_operation *theirs, const char *key)
{
	const struct sl_operation *operation = plugin_own(task->plugin, theirs);

	if (task->stage != STAGE_RETRIEVE) {
		task_fault(task, "Calls are added in retrieve only");
		return NULL;
	}
	if (!operation || !plugin_lists((const void *const *)task->flow->operations, operation)) {
		task_fault(task, "Flow %s calls an operation that it does not list", task->flow->name);
		return NULL;
	}
	return call_new(task, &task->adding, operation, key);
}

static struct sl_call *host_call(struct sl_task *t, const struct sl_operation *operation, const char *key,
				 ...)
{
	struct flow_task *task = task_of(t);
	struct flow_call *call = add(task, operation, key);
	const char *name, *value;
	size_t count = 0;
	va_list ap;

	if (!call)
		return NULL;
	va_start(ap, key);
	while (va_arg(ap, const char *)) {
		va_arg(ap, const char *);
		count += 2;
	}
	va_end(ap);
	call->args = arena_alloc(task->adding.arena, (count + 1) * sizeof(*call->args));
	va_start(ap, key);
	while ((name = va_arg(ap, const char *)) != NULL) {
		value = va_arg(ap, const char *);
		if (!value)
			continue;
		call->args[call->args_count++] = arena_strdup(task->adding.arena, name);
		call->args[call->args_count++] = arena_strdup(task->adding.arena, value);
	}
	va_end(ap);
	return call_view(call);
}

static const char *copy(const struct flow_task *task, const char *text)
{
	return text ? arena_strdup(task->adding.arena, text) : NULL;
}

static struct sl_call *host_next(struct sl_task *t, const struct sl_call *c, int64_t delay_ms)
{
	struct flow_task *task = task_of(t);
	const struct flow_call *previous = call_of(c);
	struct flow_call *call;

	if (!previous || (previous->outcome == SL_OK && !previous->next_cursor))
		return NULL;
	call = add(task, plugin_theirs(task->plugin, previous->operation), previous->key);
	if (!call)
		return NULL;
	call->args = arena_alloc(task->adding.arena, (previous->args_count + 1) * sizeof(*call->args));
	for (size_t i = 0; i < previous->args_count; i++)
		call->args[i] = copy(task, previous->args[i]);
	call->args_count = previous->args_count;
	call->cursor = copy(task, previous->outcome == SL_OK ? previous->next_cursor : previous->cursor);
	call->join = copy(task, previous->join);
	call->handle = copy(task, previous->handle);
	call->on_error = previous->on_error;
	call->landed_ms = previous->landed_ms;
	call->delay_ms = delay_ms > 0 ? delay_ms : 0;
	if (previous->via && previous->via->source) {
		call->via = previous->via;
		call->pinned = true;
		call->credential = previous->credential;
	}
	return call_view(call);
}

static void host_delay(struct sl_call *c, int64_t delay_ms)
{
	if (c)
		call_of(c)->delay_ms = delay_ms > 0 ? delay_ms : 0;
}

static void host_on_error(struct sl_call *c, enum sl_on_error what)
{
	if (c)
		call_of(c)->on_error = what;
}

static void host_join(struct sl_call *c, const char *name)
{
	if (c)
		call_of(c)->join = copy(call_of(c)->task, name);
}

static void host_bind(struct sl_call *c, const char *handle)
{
	if (c)
		call_of(c)->handle = copy(call_of(c)->task, handle);
}

static void host_after_landed(struct sl_call *c, int64_t timeout_ms)
{
	if (c)
		call_of(c)->landed_ms = timeout_ms;
}

static const struct sl_call *host_ended(const struct sl_task *t, size_t index)
{
	const struct flow_task *task = task_of(t);

	return task->stage == STAGE_RETRIEVE && index < task->calls.count
		       ? call_view(task->calls.calls[index])
		       : NULL;
}

static const char *host_key(const struct sl_call *c)
{
	return c ? call_of(c)->key : NULL;
}

static const char *host_arg(const struct sl_call *c, const char *name)
{
	const struct flow_call *call = call_of(c);

	for (size_t i = 0; call && name && i < call->args_count; i += 2)
		if (!strcmp(call->args[i], name))
			return call->args[i + 1];
	return NULL;
}

static const struct sl_operation *host_operation(const struct sl_call *c)
{
	return c ? plugin_theirs(call_of(c)->task->plugin, call_of(c)->operation) : NULL;
}

static const char *host_source(const struct sl_call *c)
{
	const struct flow_call *call = call_of(c);

	return call && call->via && call->via->source ? call->via->source->name : "";
}

static const char *host_cursor(const struct sl_call *c)
{
	return c ? call_of(c)->cursor : NULL;
}

static const char *host_next_cursor(const struct sl_call *c)
{
	return c ? call_of(c)->next_cursor : NULL;
}

static enum sl_result host_outcome(const struct sl_call *c)
{
	return c ? call_of(c)->outcome : SL_FAIL;
}

static const char *host_outcome_text(const struct sl_call *c)
{
	return c ? call_of(c)->text : NULL;
}

static int host_status(const struct sl_call *c)
{
	return c ? call_of(c)->status : 0;
}

void host_call_section(struct sl_host *host)
{
	host->round = host_round;
	host->call = host_call;
	host->next = host_next;
	host->delay = host_delay;
	host->on_error = host_on_error;
	host->join = host_join;
	host->bind = host_bind;
	host->after_landed = host_after_landed;
	host->ended = host_ended;
	host->key = host_key;
	host->arg = host_arg;
	host->operation = host_operation;
	host->source = host_source;
	host->cursor = host_cursor;
	host->next_cursor = host_next_cursor;
	host->outcome = host_outcome;
	host->outcome_text = host_outcome_text;
	host->status = host_status;
}
