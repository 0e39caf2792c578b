/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit: tasks and slices that end within a few milliseconds, or while
 * the group before is being committed, share one transaction: the store does
 * one at a time, so that the busier it is the more there is in each. A group
 * that meets trouble of the store is sent again as it is; what the fence
 * refuses is dropped; what the store refuses for its content fails that task
 * alone.
 */
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "bus/bus.h"
#include "conf/model.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "setup/setup.h"
#include "worker/internal.h"

#define REFUSED_CODE "store"	/* error_code of a task whose output the store refused */

struct group {
	struct worker *worker;
	struct arena *arena;		/* all that the commits point to */
	struct store_commit *commits;
	struct task **tasks;
	size_t count;
	struct backoff backoff;
	struct loop_timer *again;
};

/* The events of one task for one queue, or for one place on the broker, while they are collected. */
struct route {
	const struct sl_stream *stream;	/* with a broker: whose place it is */
	const char *queue;
	struct buf payload;
	uint32_t events;
};

static struct route *add_route(struct route *routes, size_t *count, const struct sl_stream *stream,
			       const char *queue)
{
	struct route *route = &routes[(*count)++];

	*route = (struct route){.stream = stream, .queue = queue};
	buf_init(&route->payload);
	return route;
}

/* json holds so many events, in lines. */
static void add_event(struct route *route, const struct flow_event *event, uint32_t events)
{
	buf_add(&route->payload, event->json, event->len);
	buf_addc(&route->payload, '\n');
	route->events += events;
}

static struct route *route_to_queue(struct route *routes, size_t *count, const char *queue)
{
	for (size_t i = 0; i < *count; i++)
		if (str_eq(routes[i].queue, queue))
			return &routes[i];
	return add_route(routes, count, NULL, queue);
}

/* By the stream itself, so that its address is made once. */
static struct route *route_to_broker(struct arena *arena, struct route *routes, size_t *count,
				     const struct sl_stream *stream)
{
	for (size_t i = 0; i < *count; i++)
		if (routes[i].stream == stream)
			return &routes[i];
	return add_route(routes, count, stream, bus_address(arena, stream->exchange, stream->key));
}

/* With a broker the event is written once, and the broker knows its queues; else once for each of them. */
static void route_event(struct group *group, struct route *routes, size_t *count, const struct flow_event *event,
			uint32_t events)
{
	const struct conf_model *conf = group->worker->conf;
	const struct sl_stream *stream = event->stream;
	const char *queue;

	if (group->worker->relayed) {
		add_event(route_to_broker(group->arena, routes, count, stream), event, events);
		return;
	}
	for (size_t k = 0; (queue = conf_route(conf, stream->exchange, stream->key, k)) != NULL; k++)
		add_event(route_to_queue(routes, count, queue), event, events);
}

/* They stand in lines already. */
static void route_traces(struct group *group, struct route *routes, size_t *count, struct task *task)
{
	const struct flow_event lines = {&setup_traces, task->traces.data, task->traces.len - 1};

	task->traces_leaving = task->traces.len;
	task->trace_count_leaving = task->trace_count;
	route_event(group, routes, count, &lines, task->trace_count);
}

/* output NULL: it leaves nothing behind, except for what its requests were. */
static void fill_outbox(struct group *group, struct store_commit *commit, const struct flow_output *output,
			struct task *task)
{
	const struct conf_model *conf = group->worker->conf;
	struct route *routes = mem_alloc((conf->sink_count + conf->stream_count + 1) * sizeof(*routes));
	struct store_outbox *rows;
	size_t count = 0;

	for (size_t i = 0; output != NULL && i < output->event_count; i++)
		route_event(group, routes, &count, &output->events[i], 1);
	if (task->trace_count > 0)
		route_traces(group, routes, &count, task);
	rows = arena_alloc(group->arena, (count + 1) * sizeof(*rows));
	for (size_t i = 0; i < count; i++) {
		rows[i] = (struct store_outbox){
			.queue = routes[i].queue,
			.payload = arena_strndup(group->arena, routes[i].payload.data, routes[i].payload.len),
			.payload_len = routes[i].payload.len,
			.events = routes[i].events
		};
		buf_fini(&routes[i].payload);
	}
	mem_release(routes);
	commit->outbox = rows;
	commit->outbox_count = count;
}

static void fill_upserts(struct group *group, struct store_commit *commit, const struct flow_output *output)
{
	struct store_upsert *upserts = arena_alloc(group->arena, (output->upsert_count + 1) * sizeof(*upserts));

	for (size_t i = 0; i < output->upsert_count; i++)
		upserts[i] = (struct store_upsert){
			.table = role_store_table(group->worker->role, output->upserts[i].table),
			.key = output->upserts[i].key,
			.values = output->upserts[i].values
		};
	commit->upserts = upserts;
	commit->upsert_count = output->upsert_count;
}

/* Only what ended well brings its output along: a failed slice leaves nothing behind. */
static bool brings_output(const struct task *task)
{
	return task->end == STORE_COMPLETE || task->end == STORE_SLICE ||
	       (task->end == STORE_RELEASE && task->new_checkpoint.len > 0);
}

static void fill_commit(struct group *group, struct store_commit *commit, struct task *task)
{
	struct flow_output output;

	*commit = (struct store_commit){
		.task_id = task->id,
		.lease_token = task->lease_token,
		.commit_seq = task->commit_seq,
		.end = task->end,
		.data = task->data,
		.error_code = task->error_code,
		.checkpoint = task->new_checkpoint.len > 0 ? task->new_checkpoint.data : task->checkpoint,
		.run_after_ms = task->run_after_ms,
		.requests = task->requests,
		.skip_key = task->skip_key,
		.failure_ms = task->lasting ? task->flow->conf->skip.period_ms : 0
	};
	task->requests = 0;
	if (!brings_output(task)) {
		fill_outbox(group, commit, NULL, task);
		return;
	}
	flow_task_output(task->engine, &output);
	fill_upserts(group, commit, &output);
	fill_outbox(group, commit, &output, task);
	metric_add(METRIC_RECORDS, output.records);
	metric_add(METRIC_RECORDS_KEYLESS, output.unkeyed);
	commit->events = (uint32_t)output.event_count;
}

static const enum metric_id end_metrics[] = {
	[STORE_SLICE] = METRIC_SLICES, [STORE_RELEASE] = METRIC_TASKS_RELEASED, [STORE_RETRY] = METRIC_TASKS_RETRIED,
	[STORE_COMPLETE] = METRIC_TASKS_COMPLETED, [STORE_FAIL] = METRIC_TASKS_FAILED
};

static void committed(struct task *task, const struct store_commit *commit)
{
	for (size_t i = 0; i < commit->outbox_count; i++)
		metric_add(METRIC_OUTBOX_BYTES, commit->outbox[i].payload_len);
	metric_add(METRIC_UPSERTS, commit->upsert_count);
	metric_add(METRIC_EVENTS, commit->events);
	metric_add(str_eq(task->error_code, "gone") ? METRIC_TASKS_GONE : end_metrics[task->end], 1);
	if (task->end != STORE_SLICE) {
		task_free(task);
		return;
	}
	task->commit_seq++;
	trace_committed(task);
	mem_release(task->checkpoint);
	task->checkpoint = buf_steal(&task->new_checkpoint);
	task_continue(task);
}

static void lost(struct task *task, const char *why)
{
	metric_add(METRIC_TASKS_LOST, 1);
	log_warning("%s: the task's work is dropped id=%lld flow=%s", why, (long long)task->id, task->flow->name);
	task_free(task);
}

static void refused(struct task *task, const struct error *err)
{
	struct buf text;

	if (str_eq(task->error_code, REFUSED_CODE)) {
		/* Not even its failure can be written: for the lease to end, not to be sent round and round. */
		lost(task, err->text);
		return;
	}
	log_warning("task refused by the store id=%lld flow=%s error=\"%s\"", (long long)task->id, task->flow->name,
		    err->text);
	buf_init(&text);
	flow_failure_print(&text, 500, err->text);
	mem_release(task->data);
	task->data = buf_steal(&text);
	task->error_code = REFUSED_CODE;
	task->lasting = false;
	task->end = STORE_FAIL;
	task->run_after_ms = 0;
	buf_clear(&task->new_checkpoint);
	commit_task(task);
}

static void settle(struct task *task, const struct store_commit *commit)
{
	switch (commit->outcome) {
	case STORE_COMMITTED:
		committed(task, commit);
		break;
	case STORE_REFUSED:
		refused(task, &commit->error);
		break;
	case STORE_LOST:
	default:
		lost(task, "lease lost");
		break;
	}
}

static void group_free(struct group *group)
{
	loop_timer_free(&group->again);
	arena_free(&group->arena);
	mem_release(group->commits);
	mem_release(group->tasks);
	mem_release(group);
}

static void on_committed(void *user, const struct error *err);

static void send_group(void *user)
{
	struct group *group = user;
	int64_t lease_until_ms = group->worker->env.now_ms() + group->worker->conf->lease_ms;

	/* Counted from now: it may be sent again long after it was filled. */
	for (size_t i = 0; i < group->count; i++)
		group->commits[i].lease_until_ms = lease_until_ms;
	store_commit(group->worker->store, group->commits, group->count, on_committed, group);
}

static void on_committed(void *user, const struct error *err)
{
	struct group *group = user;
	struct worker *worker = group->worker;

	if (err->code != ERR_NONE && err->code != ERR_UNCLEAR && err->code != ERR_CANCELLED) {
		metric_add(METRIC_COMMIT_ERRORS, 1);
		worker_store_trouble(worker, "commit", err);
		loop_timer_start(group->again, backoff_next(&group->backoff), 0);
		return;
	}
	/* Unclear or cancelled: whether it was written shows when the lease runs out. Never written twice. */
	metric_add(METRIC_COMMITS, 1);
	worker->committing = false;
	for (size_t i = 0; i < group->count; i++) {
		if (err->code != ERR_NONE)
			group->commits[i].outcome = STORE_LOST;
		settle(group->tasks[i], &group->commits[i]);
	}
	group_free(group);
	if (worker->ready_count > 0)
		commit_flush(worker);
	worker_claim(worker);
}

static bool is_full(const struct worker *worker, size_t count, size_t bytes)
{
	return count >= (size_t)worker->conf->group_tasks || bytes >= (size_t)worker->conf->group_bytes;
}

static struct group *group_new(struct worker *worker, size_t most)
{
	struct group *group = mem_alloc(sizeof(*group));

	group->worker = worker;
	group->arena = arena_new();
	group->commits = mem_alloc(most * sizeof(*group->commits));
	group->tasks = mem_alloc(most * sizeof(*group->tasks));
	group->again = loop_timer_new(worker->loop, send_group, group);
	backoff_init(&group->backoff, 100, 10000);
	return group;
}

void commit_flush(struct worker *worker)
{
	struct group *group;
	struct list *node, *next;
	size_t bytes = 0;

	if (worker->ready_count == 0 || worker->committing)
		return;
	loop_timer_stop(worker->group_timer);
	group = group_new(worker, worker->ready_count);
	list_each_safe(node, next, &worker->ready) {
		struct task *task = list_entry(node, struct task, ready_node);

		if (is_full(worker, group->count, bytes))
			break;
		bytes += task->ready_bytes;
		list_remove(node);
		fill_commit(group, &group->commits[group->count], task);
		group->tasks[group->count++] = task;
	}
	worker->ready_count -= group->count;
	worker->ready_bytes -= bytes;
	worker->committing = true;
	send_group(group);
}

void commit_task(struct task *task)
{
	struct worker *worker = task->worker;

	task->phase = TASK_COMMITTING;
	list_append(&worker->ready, &task->ready_node);
	worker->ready_count++;
	task->ready_bytes = (brings_output(task) ? task->output_bytes : 0) + task->traces.len;
	worker->ready_bytes += task->ready_bytes;
	if (is_full(worker, worker->ready_count, worker->ready_bytes))
		commit_flush(worker);
	else if (!loop_timer_active(worker->group_timer))
		loop_timer_start(worker->group_timer, worker->conf->group_ms, 0);
}
