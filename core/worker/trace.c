/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace events of a task: one for each request that was drawn, written when its
 * answer came or will not come any more. They leave with the task's next commit,
 * whatever its end, so that none is lost that was committed and none is told of
 * work that another worker did.
 */
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "conf/model.h"
#include "flow/trace.h"
#include "http/http.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "setup/setup.h"
#include "worker/internal.h"

#define DROPPED_AT 4	/* slices' worth of traces that wait: then no more are kept until a commit */

void trace_init(struct worker *worker)
{
	const struct conf_model *conf = worker->conf;

	worker->traces = conf->trace_enabled &&
			 (worker->relayed || conf_route(conf, setup_traces.exchange, setup_traces.key, 0) != NULL);
}

static double share_of(const struct conf_model *conf, const struct call *call)
{
	const struct conf_source *source = conf_source(conf, flow_call_source(call->engine)->name);

	return source != NULL && source->trace >= 0 ? source->trace : conf->trace_sample;
}

void trace_begin(struct call *call, const struct flow_request *request)
{
	struct task *task = call->task;
	uint64_t number = task->requested++;

	call->traced = task->worker->traces &&
		       flow_trace_drawn(flow_task_seed(task->engine), task->commit_seq, number,
					share_of(task->worker->conf, call));
	if (!call->traced)
		return;
	call->request = *request;
	call->sent_ms = clock_wall_ms();
	call->sent_mono_ms = clock_mono_ms();
}

size_t trace_waiting(const struct task *task)
{
	return task->traces.len - task->traces_leaving;
}

/* A long join cannot commit: its traces first lose their bodies, then are counted only. */
static bool has_room(struct task *task)
{
	if (trace_waiting(task) < DROPPED_AT * (size_t)task->worker->conf->slice_bytes)
		return true;
	if (!task->traces_full)
		log_warning("more requests than its traces may take until it can commit: no more are traced id=%lld flow=%s",
			    (long long)task->id, task->flow->name);
	task->traces_full = true;
	metric_add(METRIC_TRACES_DROPPED, 1);
	return false;
}

void trace_end(struct call *call, const struct http_response *response, const char *error)
{
	struct task *task = call->task;
	const struct conf_model *conf = task->worker->conf;
	bool bodies = trace_waiting(task) < (size_t)conf->slice_bytes;
	char id[UUID_TEXT_SIZE], name[256];
	struct flow_trace trace;

	if (!call->traced || !has_room(task))
		return;
	call->traced = false;
	str_format(name, sizeof(name), "%s/%lld/%lld/trace/%llu", task->worker->env.store_id, (long long)task->id,
		   (long long)task->commit_seq, (unsigned long long)task->traced++);
	trace = (struct flow_trace){
		.id = uuid_from(id, name, strlen(name)), .host = task->worker->host, .service = conf->trace_service,
		.sent_ms = call->sent_ms, .taken_ms = clock_mono_ms() - call->sent_mono_ms,
		.request = &call->request, .flow = task->flow->name, .source = flow_call_source(call->engine)->name,
		.task = task->id, .error = error
	};
	if (response != NULL) {
		trace.status = response->status;
		trace.remote = response->remote;
		trace.body = response->body;
		trace.body_len = response->body_len;
	}
	flow_trace_print(&trace, bodies ? (size_t)conf->trace_body : 0, (size_t)conf->event_max, &task->traces);
	buf_addc(&task->traces, '\n');
	task->trace_count++;
	metric_add(METRIC_TRACES, 1);
}

void trace_committed(struct task *task)
{
	buf_consume(&task->traces, task->traces_leaving);
	task->trace_count -= task->trace_count_leaving;
	task->traces_leaving = 0;
	task->trace_count_leaving = 0;
	task->traces_full = false;
}
