/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process knows of each source: whether it refused, whether it
 * fails, how often it may be asked again. Where accounts are bound to handles
 * (a shop's API) each handle is an upstream of its own: one's trouble says
 * nothing of another.
 *
 * Retries are paid for: each request adds retry.budget per cent of one, which
 * its own process may spend. Beyond that the limiter allows a few in a minute
 * to all processes together, so that few requests can be repeated freely and
 * an outage does not multiply many.
 */
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"
#include "limit/limit.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "worker/internal.h"

#define PARK_FIRST_MS 1000
#define PARK_CAP_MS 60000
#define STATES_MAX 4096		/* beyond it, what is of no consequence is forgotten; at twice that, all */
#define RETRIES_SAVED 20	/* repetitions that requests have paid for: no more are kept */
#define STOPPED_LOOK_MS 10000	/* who needs a stopped source comes back so often, unless it is told */

/* What all processes may repeat beyond what their requests have paid for. */
static const struct rate retries_floor = {.count = 20, .period_ms = 60000};

/* The handle that is an upstream of its own; "": the source is. */
static const char *upstream_handle(const struct sl_source *source, const struct flow_call *call)
{
	const char *handle = (source->flags & SL_SOURCE_BOUND) != 0 ? flow_call_handle(call) : NULL;

	return handle != NULL ? handle : "";
}

static void print_name(struct buf *name, const char *source, const char *handle)
{
	buf_init(name);
	buf_adds(name, source);
	if (handle[0] != '\0')
		buf_printf(name, " handle=%s", handle);
}

static void upstream_name(struct buf *name, const struct sl_source *source, const struct flow_call *call)
{
	print_name(name, source->name, upstream_handle(source, call));
}

struct upstream *upstream_find(struct worker *worker, const struct sl_source *source, const struct flow_call *call)
{
	struct upstream *upstream;
	struct buf name;

	if (map_count(worker->upstreams) == 0)
		return NULL;
	upstream_name(&name, source, call);
	upstream = map_get(worker->upstreams, name.data);
	buf_fini(&name);
	return upstream;
}

static void release(struct upstream *upstream)
{
	mem_release(upstream->name);
	mem_release(upstream->source);
	mem_release(upstream->handle);
	mem_release(upstream);
}

/* Forgetting costs one more refusal each, so that a million dead shops do not fill the memory. */
static void forget(struct worker *worker, bool all)
{
	struct map *kept = map_new();
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(worker->upstreams, &cursor, &name, &value)) {
		struct upstream *upstream = value;

		if (!all && (upstream->retired || upstream->open || upstream->under_way > 0 ||
			     upstream->parked_until_ms > loop_now_ms(worker->loop)))
			map_put(kept, name, upstream);
		else
			release(upstream);
	}
	map_free(&worker->upstreams);
	worker->upstreams = kept;
}

struct upstream *upstream_make(struct worker *worker, const char *source, const char *handle)
{
	struct upstream *upstream;
	struct buf name;

	print_name(&name, source, handle);
	upstream = map_get(worker->upstreams, name.data);
	if (upstream == NULL) {
		if (map_count(worker->upstreams) >= STATES_MAX)
			forget(worker, map_count(worker->upstreams) >= (size_t)2 * STATES_MAX);
		upstream = mem_alloc(sizeof(*upstream));
		upstream->name = mem_strdup(name.data);
		upstream->source = mem_strdup(source);
		upstream->handle = mem_strdup(handle);
		backoff_init(&upstream->parking, PARK_FIRST_MS, PARK_CAP_MS);
		map_put(worker->upstreams, name.data, upstream);
	}
	buf_fini(&name);
	return upstream;
}

static struct upstream *make(struct worker *worker, const struct flow_call *call)
{
	const struct sl_source *source = flow_call_source(call);

	return upstream_make(worker, source->name, upstream_handle(source, call));
}

void upstream_init(struct worker *worker)
{
	worker->upstreams = map_new();
	worker->stopped = map_new();
}

void upstream_fini(struct worker *worker)
{
	if (worker->upstreams == NULL)
		return;
	forget(worker, true);
	map_free(&worker->upstreams);
	map_free(&worker->stopped);
}

int64_t upstream_barred(struct worker *worker, const struct sl_source *source, const struct upstream *upstream,
			bool pooled)
{
	int64_t now = loop_now_ms(worker->loop), wait_ms, pause_ms;

	if (map_count(worker->stopped) > 0 && map_get(worker->stopped, source->name) != NULL)
		return STOPPED_LOOK_MS;
	if (upstream == NULL)
		return 0;
	wait_ms = pooled ? 0 : upstream->parked_until_ms - now;
	pause_ms = breaker_wait_ms(upstream, now);
	if (pause_ms > wait_ms)
		wait_ms = pause_ms;
	return wait_ms > 0 ? wait_ms : 0;
}

void upstream_want(struct worker *worker, const struct sl_source *source, const struct flow_call *call)
{
	struct upstream *upstream = upstream_find(worker, source, call);

	if (upstream != NULL && map_get(worker->stopped, source->name) == NULL)
		breaker_want(worker, upstream);
}

void upstream_start(struct worker *worker, const char *source)
{
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(worker->upstreams, &cursor, &name, &value)) {
		struct upstream *upstream = value;

		if (!str_eq(upstream->source, source))
			continue;
		upstream->parked_until_ms = 0;
		breaker_close(upstream);
	}
	worker_hold_flow(worker, NULL, 0);
	task_kick(worker, NULL);
}

/* --- refusals --- */

int64_t upstream_park(struct worker *worker, const struct flow_call *call, int64_t seconds)
{
	int64_t now = loop_now_ms(worker->loop), until;
	struct upstream *upstream = make(worker, call);
	bool parked;

	parked = upstream->parked_until_ms > now;
	/* Calls that were under way when the first refusal came all bring the same news: count it once. */
	until = seconds > 0 ? now + seconds * 1000 : parked ? now : now + backoff_next(&upstream->parking);
	if (until > upstream->parked_until_ms && until > now) {
		upstream->parked_until_ms = until;
		if (!parked)
			log_info("source parked source=%s ms=%lld", upstream->name, (long long)(until - now));
	} else {
		until = now;
	}
	return until - now;
}

void upstream_retire(struct worker *worker, const struct flow_call *call)
{
	struct upstream *upstream = make(worker, call);

	if (!upstream->retired)
		log_error("credential refused by the upstream: not used again until the configuration changes source=%s",
			  upstream->name);
	upstream->retired = true;
}

/* --- requests --- */

bool upstream_begins(struct worker *worker, const struct flow_call *call)
{
	struct upstream *upstream = make(worker, call);

	upstream->retries += upstream_retry(worker, flow_call_source(call)).budget / 100;
	if (upstream->retries > RETRIES_SAVED)
		upstream->retries = RETRIES_SAVED;
	return breaker_begins(worker, upstream);
}

void upstream_ended(struct call *call, enum upstream_end end, int status)
{
	const struct sl_source *source = flow_call_source(call->engine);
	struct worker *worker = call->task->worker;
	struct upstream *upstream = source != NULL ? upstream_find(worker, source, call->engine) : NULL;
	bool probe = call->probe;

	call->probe = false;
	if (upstream == NULL)
		return;
	if (end == UPSTREAM_WORKED)
		backoff_reset(&upstream->parking);
	if (end == UPSTREAM_FAILED)
		breaker_failed(worker, upstream, status, probe);
	else if (end != UPSTREAM_UNKNOWN)
		breaker_worked(worker, upstream, probe);
	else if (probe)
		breaker_left(worker, upstream);
}

/* --- retries --- */

struct conf_retry upstream_retry(const struct worker *worker, const struct sl_source *source)
{
	const struct conf_source *conf = source != NULL ? conf_source(worker->conf, source->name) : NULL;
	struct conf_retry retry = {.first_ms = 1000, .cap_ms = 30000, .budget = 10};

	if (conf != NULL)
		retry = conf->retry;
	if (retry.attempts == 0)
		retry.attempts = worker->conf->call_retries + 1;
	return retry;
}

enum flow_retry upstream_may_retry(struct worker *worker, const struct flow_call *call)
{
	const struct sl_source *source = flow_call_source(call);
	const struct conf_retry retry = upstream_retry(worker, source);
	struct upstream *upstream = source != NULL ? upstream_find(worker, source, call) : NULL;

	if (flow_call_tries(call) + 1 >= (unsigned int)retry.attempts)
		return FLOW_RETRY_NO;
	if (upstream == NULL)
		return FLOW_RETRY_YES;
	if (upstream->retries < 1)
		return FLOW_RETRY_ASK;
	upstream->retries -= 1;
	return FLOW_RETRY_YES;
}

static void on_floor(void *user, const struct limit_answer *answer)
{
	struct call *call = user;
	/* When nobody can be asked, the request itself has to wait for that. */
	bool granted = answer->verdict == LIMIT_GRANTED || answer->verdict == LIMIT_AWAY;

	call->floor = NULL;
	if (!granted)
		metric_add(METRIC_RETRIES_REFUSED, 1);
	call_may_retry(call, granted);
}

void upstream_ask_retry(struct call *call)
{
	struct worker *worker = call->task->worker;
	struct limit_item item = {.rates = &retries_floor, .rate_count = 1, .cost = 1};
	struct buf name, key;

	upstream_name(&name, flow_call_source(call->engine), call->engine);
	buf_init(&key);
	buf_printf(&key, "retry/%s", name.data);
	item.key = key.data;
	call->floor = limit_take(worker->limiter, &item, 1, on_floor, call);
	buf_fini(&key);
	buf_fini(&name);
}
