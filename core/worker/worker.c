/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker role: claims as many tasks as it has free slots when it is
 * nudged, runs them side by side on one loop, keeps their leases alive, and
 * hands back what is not finished when it drains.
 */
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "bus/bus.h"
#include "conf/model.h"
#include "http/http.h"
#include "json/json.h"
#include "limit/limit.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "plugin/plugin.h"
#include "setup/engine.h"
#include "worker/internal.h"
#include "worker/worker.h"

#define SILENCE_MS 30000		/* polls by itself when the timer has not been heard for so long */
#define TROUBLE_MS 60000
#define MEASURE_MS 1000

void worker_store_trouble(struct worker *worker, const char *what, const struct error *err)
{
	if (log_limited(&worker->complained_ms, TROUBLE_MS))
		log_warning("store: %s: %s (tried again)", what, err->text);
}

/* --- claiming --- */

static struct worker_flow *find_flow(struct worker *worker, const char *name)
{
	for (size_t i = 0; i < worker->flow_count; i++)
		if (str_eq(worker->flows[i].name, name))
			return &worker->flows[i];
	return NULL;
}

static struct task *find_task(struct worker *worker, int64_t id, int64_t lease_token)
{
	struct list *node;

	list_each(node, &worker->tasks) {
		struct task *task = list_entry(node, struct task, node);

		if (task->id == id && task->lease_token == lease_token)
			return task;
	}
	return NULL;
}

static bool recycle_due(const struct worker *worker)
{
	for (size_t i = 0; i < worker->flow_count; i++) {
		const struct conf_flow *conf = worker->flows[i].conf;

		if ((conf->max_tasks > 0 && worker->begun >= (uint64_t)conf->max_tasks) ||
		    (conf->max_rss > 0 && metric_get(METRIC_RSS) >= (uint64_t)conf->max_rss))
			return true;
	}
	return false;
}

struct claim {
	struct worker *worker;
	const char **flows;
	size_t *slots;
	struct store_claim request;
};

static void claim_free(struct claim *claim)
{
	mem_release(claim->flows);
	mem_release(claim->slots);
	mem_release(claim);
}

/*
 * A flow that got all it asked for probably has more; one that got less has none
 * until the next nudge, which may have come while the claim was under way.
 */
static void note_claimed(const struct claim *claim, const struct task_row *rows, size_t count)
{
	struct worker *worker = claim->worker;

	for (size_t i = 0; i < worker->flow_count; i++)
		worker->flows[i].claimed = 0;
	for (size_t i = 0; i < count; i++)
		find_flow(worker, rows[i].flow)->claimed++;
	for (size_t i = 0; i < claim->request.flow_count; i++) {
		struct worker_flow *flow = find_flow(worker, claim->flows[i]);

		flow->more = flow->nudged || flow->claimed >= claim->slots[i];
	}
}

/*
 * Tasks that have to run alone take turns with the others: when one waits, what
 * runs here ends first, then it runs, then others may be claimed again.
 */
static void note_alone(const struct claim *claim, const struct task_row *rows, size_t count)
{
	struct worker *worker = claim->worker;

	if (count > 0 || claim->request.alone_allowed)
		worker->alone_last = count > 0 && rows[0].alone;
	else if (worker->running == 0)
		worker->alone_last = false;
	worker->alone_wanted = claim->request.alone_waiting;
	for (size_t i = 0; claim->request.alone_waiting && i < claim->request.flow_count; i++)
		find_flow(worker, claim->flows[i])->more = true;
}

static void finish_drain(struct worker *worker)
{
	if (worker->role->draining && worker->running == 0 && !worker->claiming && !worker->extending &&
	    !worker->measuring && !worker->committing)
		role_finished(worker->role);
}

/* While there are tasks: bounds are looked at, leases extended. */
static void keep_watch(struct worker *worker)
{
	if (!loop_timer_active(worker->measure_timer))
		loop_timer_start(worker->measure_timer, 0, MEASURE_MS);
	if (!loop_timer_active(worker->lease_timer))
		loop_timer_start(worker->lease_timer, worker->conf->lease_ms / 3, worker->conf->lease_ms / 3);
}

static void on_claimed(void *user, const struct task_row *rows, size_t count, const struct error *err)
{
	struct claim *claim = user;
	struct worker *worker = claim->worker;

	worker->claiming = false;
	if (err->code != ERR_NONE) {
		worker_store_trouble(worker, "claim", err);
		loop_timer_start(worker->claim_timer, backoff_next(&worker->store_trouble), SILENCE_MS);
	} else {
		backoff_reset(&worker->store_trouble);
		note_claimed(claim, rows, count);
		note_alone(claim, rows, count);
		for (size_t i = 0; i < count; i++) {
			struct worker_flow *flow = find_flow(worker, rows[i].flow);

			flow->running++;
			worker->running++;
			worker->begun++;
			worker->alone_running = rows[i].alone;
			metric_add(METRIC_TASKS_CLAIMED, 1);
			task_begin(worker, flow, &rows[i]);
		}
		metric_set(METRIC_TASKS_RUNNING, worker->running);
		if (count > 0)
			keep_watch(worker);
	}
	claim_free(claim);
	/* Drained while the claim was under way: what it brought is handed back at once. */
	for (size_t i = 0; worker->role->draining && i < count; i++) {
		struct task *task = find_task(worker, rows[i].id, rows[i].lease_token);

		if (task != NULL)
			task_release(task, 0);
	}
	if (err->code == ERR_NONE)
		worker_claim(worker);
	finish_drain(worker);
}

void worker_claim(struct worker *worker)
{
	struct claim *claim;
	size_t count = 0;

	if (worker->claiming || worker->unread || worker->role->draining || worker->leaving || worker->paused || worker->alone_running ||
	    (worker->alone_wanted && worker->running > 0))
		return;
	if (recycle_due(worker)) {
		if (worker->running == 0) {
			log_info("leaving after %llu tasks to start afresh", (unsigned long long)worker->begun);
			worker->leaving = true;
			role_finished(worker->role);
		}
		return;
	}
	claim = mem_alloc(sizeof(*claim));
	claim->worker = worker;
	claim->flows = mem_alloc(worker->flow_count * sizeof(*claim->flows));
	claim->slots = mem_alloc(worker->flow_count * sizeof(*claim->slots));
	for (size_t i = 0; i < worker->flow_count; i++) {
		struct worker_flow *flow = &worker->flows[i];

		if (!flow->more || flow->running >= flow->slots ||
		    flow->claim_from_ms > loop_now_ms(worker->loop))
			continue;
		flow->nudged = false;
		claim->flows[count] = flow->name;
		claim->slots[count++] = flow->slots - flow->running;
	}
	if (count == 0) {
		claim_free(claim);
		return;
	}
	claim->request = (struct store_claim){
		.flows = claim->flows, .slots = claim->slots, .flow_count = count, .worker = worker->name,
		.lease_ms = worker->conf->lease_ms, .alone_allowed = worker->running == 0 && !worker->alone_last
	};
	worker->claiming = true;
	store_claim(worker->store, &claim->request, on_claimed, claim);
}

void worker_task_left(struct worker *worker, struct task *task)
{
	task->flow->running--;
	worker->running--;
	if (worker->running == 0)
		worker->alone_running = false;
	metric_set(METRIC_TASKS_RUNNING, worker->running);
	finish_drain(worker);
}

/* When the first of the flows that wait has budget again. */
static void wake_for_budget(struct worker *worker)
{
	int64_t now = loop_now_ms(worker->loop), first_ms = INT64_MAX;

	for (size_t i = 0; i < worker->flow_count; i++)
		if (worker->flows[i].claim_from_ms > now && worker->flows[i].claim_from_ms < first_ms)
			first_ms = worker->flows[i].claim_from_ms;
	if (first_ms < INT64_MAX)
		loop_timer_start(worker->budget_timer, first_ms - now, 0);
}

void worker_hold_flow(struct worker *worker, struct worker_flow *flow, int64_t wait_ms)
{
	int64_t from_ms = loop_now_ms(worker->loop) + wait_ms;

	for (size_t i = 0; flow == NULL && i < worker->flow_count; i++)
		worker->flows[i].claim_from_ms = 0;
	if (flow == NULL) {
		loop_timer_start(worker->budget_timer, 0, 0);
		return;
	}
	if (from_ms > flow->claim_from_ms) {
		if (flow->claim_from_ms <= loop_now_ms(worker->loop))
			log_info("no budget for a flow's requests: it is not claimed flow=%s ms=%lld", flow->name,
				 (long long)wait_ms);
		flow->claim_from_ms = from_ms;
		/* What was put back is found again without a nudge. */
		flow->more = true;
	}
	wake_for_budget(worker);
}

static void on_budget(void *user)
{
	worker_claim(user);
	wake_for_budget(user);
}

static void want_all(struct worker *worker)
{
	for (size_t i = 0; i < worker->flow_count; i++)
		worker->flows[i].more = true;
	worker_claim(worker);
}

static void on_silence(void *user)
{
	want_all(user);
}

/* --- leases --- */

struct extension {
	struct worker *worker;
	struct store_lease *leases;
	size_t count;
};

static void on_extended(void *user, const struct error *err)
{
	struct extension *extension = user;
	struct worker *worker = extension->worker;

	worker->extending = false;
	if (err->code != ERR_NONE)
		worker_store_trouble(worker, "lease extension", err);
	for (size_t i = 0; err->code == ERR_NONE && i < extension->count; i++) {
		struct task *task;

		if (!extension->leases[i].lost)
			continue;
		task = find_task(worker, extension->leases[i].task_id, extension->leases[i].lease_token);
		if (task == NULL || task->phase != TASK_RUNNING)
			continue;
		log_warning("lease lost: the task's work is dropped id=%lld flow=%s", (long long)task->id,
			    task->flow->name);
		metric_add(METRIC_TASKS_LOST, 1);
		task_drop(task);
	}
	mem_release(extension->leases);
	mem_release(extension);
	/* Lost tasks have left slots behind. */
	worker_claim(worker);
	finish_drain(worker);
}

static void on_lease_timer(void *user)
{
	struct worker *worker = user;
	struct extension *extension;
	struct list *node;

	if (worker->running == 0)
		loop_timer_stop(worker->lease_timer);
	if (worker->extending || worker->running == 0)
		return;
	extension = mem_alloc(sizeof(*extension));
	extension->worker = worker;
	extension->leases = mem_alloc(worker->running * sizeof(*extension->leases));
	list_each(node, &worker->tasks) {
		const struct task *task = list_entry(node, struct task, node);

		extension->leases[extension->count++] =
			(struct store_lease){ .task_id = task->id, .lease_token = task->lease_token };
	}
	worker->extending = true;
	store_extend(worker->store, extension->leases, extension->count, worker->conf->lease_ms, on_extended, extension);
}

/* --- bounds --- */

static size_t task_memory(const struct worker *worker)
{
	struct list *node;
	size_t bytes = 0;

	list_each(node, &worker->tasks) {
		const struct task *task = list_entry(node, struct task, node);

		if (task->engine != NULL)
			bytes += flow_task_memory(task->engine);
	}
	return bytes;
}

static void set_paused(struct worker *worker, bool paused, const char *why)
{
	if (paused == worker->paused)
		return;
	worker->paused = paused;
	metric_set(METRIC_CLAIMING_PAUSED, paused);
	if (paused)
		log_warning("claiming paused: %s", why);
	else
		log_info("claiming again");
	if (!paused)
		want_all(worker);
}

static void on_outbox_bytes(void *user, int64_t bytes, const struct error *err)
{
	struct worker *worker = user;
	size_t memory = task_memory(worker);
	/* Paused at the bound, resumed below nine tenths of it, so that it does not flutter. */
	int64_t outbox_bound = worker->paused ? worker->conf->outbox_max / 10 * 9 : worker->conf->outbox_max;
	size_t memory_bound = (size_t)(worker->paused ? worker->conf->memory_max / 10 * 9 : worker->conf->memory_max);

	worker->measuring = false;
	metric_set(METRIC_TASK_MEMORY, memory);
	if (err->code == ERR_NONE)
		worker->outbox_full = bytes >= outbox_bound;
	if (err->code == ERR_NONE && worker->outbox_full)
		set_paused(worker, true, worker->relayed ? "the outbox holds outbox.max_bytes: do the relays reach the broker?"
						      : "the outbox holds outbox.max_bytes: are the sinks running?");
	else if (memory >= memory_bound)
		set_paused(worker, true, "the running tasks hold memory.max");
	else if (err->code == ERR_NONE)
		set_paused(worker, false, NULL);
	finish_drain(worker);
}

static void on_measure(void *user)
{
	struct worker *worker = user;

	if (worker->measuring || worker->role->draining)
		return;
	metrics_sample_memory();
	metric_set(METRIC_CALLS_RUNNING, http_running(worker->http));
	metric_set(METRIC_LIMIT_WAITING, limit_queue_length(worker->queue));
	/* Idle, it leaves the store alone, so that it holds no connection, and sleeps. */
	if (worker->running == 0 && !worker->paused) {
		metric_set(METRIC_TASK_MEMORY, task_memory(worker));
		loop_timer_stop(worker->measure_timer);
		return;
	}
	worker->measuring = true;
	store_outbox_bytes(worker->store, on_outbox_bytes, worker);
}

/* --- the role --- */

static int add_flows(struct worker *worker, struct error *err)
{
	const struct json *names = json_member(worker->role->part, "flows"), *name;

	worker->flows = mem_alloc((json_count(names) + 1) * sizeof(*worker->flows));
	for (name = json_first(names); name != NULL; name = json_next(name)) {
		struct worker_flow *flow = &worker->flows[worker->flow_count];

		flow->conf = conf_flow(worker->conf, json_string(name, NULL));
		if (flow->conf == NULL)
			return error_set(err, ERR_INPUT, "flow %s is not configured", json_string(name, NULL));
		flow->name = flow->conf->name;
		flow->flow = plugin_find_flow(worker->role->plugins, flow->name, &flow->plugin);
		if (flow->flow == NULL)
			return error_set(err, ERR_INPUT, "no plugin offers flow %s", flow->name);
		/* One process for all: it takes the slots of the workers it stands for. */
		flow->slots = (size_t)flow->conf->concurrency;
		if (worker->conf->mode == CONF_SINGLE)
			flow->slots *= (size_t)flow->conf->workers;
		flow->more = true;
		worker->flow_count++;
	}
	return 0;
}

static enum flow_retry may_retry(void *user, const struct flow_call *engine)
{
	return upstream_may_retry(user, engine);
}

static bool may_fall_back(void *user, const struct flow_call *engine)
{
	const struct worker_flow *flow = find_flow(user, flow_task_flow(flow_call_task(engine))->name);

	return flow != NULL && flow->conf->fallback == CONF_FALLBACK_ERROR;
}

static void set_up_engine(struct worker *worker)
{
	str_format(worker->host, sizeof(worker->host), "node");
	gethostname(worker->host, sizeof(worker->host) - 1);
	str_format(worker->name, sizeof(worker->name), "%s/%s/%d", worker->host, worker->role->title, (int)getpid());
	worker->env = engine_env(worker->conf, store_id(worker->store));
	worker->env.may_retry = may_retry;
	worker->env.may_fall_back = may_fall_back;
	worker->env.user = worker;
}

static void on_group_timer(void *user)
{
	commit_flush(user);
}

static void on_drain_deadline(void *user)
{
	struct worker *worker = user;
	struct list *node, *next;

	list_each_safe(node, next, &worker->tasks)
		task_release(list_entry(node, struct task, node), 0);
}

static int start(struct role *role, struct error *err)
{
	const struct http_options http = { 0 };
	struct worker *worker = mem_alloc(sizeof(*worker));

	role->state = worker;
	worker->role = role;
	worker->loop = role->loop;
	worker->conf = role->conf;
	list_init(&worker->tasks);
	list_init(&worker->ready);
	backoff_init(&worker->store_trouble, 200, 10000);
	if (add_flows(worker, err) != 0)
		return -1;
	worker->store = role_open_store(role, err);
	if (worker->store == NULL)
		return -1;
	worker->relayed = bus_publishes(role->conf->bus);
	set_up_engine(worker);
	trace_init(worker);
	upstream_init(worker);
	worker->http = http_client_new(role->loop, &http);
	if (permit_init(worker, err) != 0)
		return -1;
	worker->group_timer = loop_timer_new(role->loop, on_group_timer, worker);
	worker->drain_timer = loop_timer_new(role->loop, on_drain_deadline, worker);
	worker->measure_timer = loop_timer_new(role->loop, on_measure, worker);
	worker->lease_timer = loop_timer_new(role->loop, on_lease_timer, worker);
	worker->claim_timer = loop_timer_new(role->loop, on_silence, worker);
	worker->budget_timer = loop_timer_new(role->loop, on_budget, worker);
	loop_timer_start(worker->claim_timer, 0, SILENCE_MS);
	breaker_read(worker);
	return 0;
}

static void on_message(struct role *role, const struct json *message, int fd)
{
	struct worker *worker = role->state;
	const struct json *name;

	if (fd >= 0)
		close(fd);
	for (name = json_first(json_member(message, "nudge")); name != NULL; name = json_next(name)) {
		struct worker_flow *flow = find_flow(worker, json_string(name, NULL));

		if (flow != NULL)
			flow->more = flow->nudged = true;
	}
	if (json_member(message, "sources") != NULL) {
		breaker_message(worker, message);
		return;
	}
	/* Heard of the timer: no need to poll. */
	loop_timer_start(worker->claim_timer, SILENCE_MS, SILENCE_MS);
	worker_claim(worker);
}

static void limits_changed(struct role *role)
{
	permit_limits_changed(role->state);
}

static void drain(struct role *role)
{
	struct worker *worker = role->state;

	/* Running tasks get two thirds of the time to finish; the rest is for handing them back. */
	loop_timer_stop(worker->claim_timer);
	loop_timer_start(worker->drain_timer, worker->conf->drain_ms / 3 * 2, 0);
	finish_drain(worker);
}

static void stop(struct role *role)
{
	struct worker *worker = role->state;
	struct list *node, *next;

	list_each_safe(node, next, &worker->tasks)
		task_free(list_entry(node, struct task, node));
	loop_timer_free(&worker->group_timer);
	loop_timer_free(&worker->drain_timer);
	loop_timer_free(&worker->measure_timer);
	loop_timer_free(&worker->lease_timer);
	loop_timer_free(&worker->claim_timer);
	loop_timer_free(&worker->budget_timer);
	store_close(&worker->store);
	mem_release(worker->flows);
	permit_fini(worker);
	upstream_fini(worker);
	http_client_free(&worker->http);
	mem_release(worker);
}

const struct role_def worker_role = {
	.name = "worker",
	.plugins = true,
	.start = start,
	.drain = drain,
	.message = on_message,
	.limits_changed = limits_changed,
	.stop = stop
};
