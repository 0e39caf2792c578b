/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process knows of each source: whether it refused, whether it
 * fails, how often it may be asked again. Where accounts are bound to handles
 * (a shop's API) each handle is an upstream of its own: one's trouble says
 * nothing of another.
 *
 * The breaker opens after breaker.failures requests in a row that got no
 * answer, or one of 500 and more. Then one request at a time tries, after
 * pauses that double from breaker.first to breaker.cap; an answer closes it.
 *
 * Retries are paid for: each request adds retry.budget per cent of one, and
 * RETRIES_FLOOR come back in a minute, so that few requests can be repeated
 * freely and an outage does not multiply many.
 */
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "worker/internal.h"

#define PARK_FIRST_MS 1000
#define PARK_CAP_MS 60000
#define STATES_MAX 4096		/* beyond it, what is of no consequence is forgotten; at twice that, all */
#define RETRIES_FLOOR 20
#define FLOOR_MS 60000
#define STOPPED_LOOK_MS 10000	/* who needs a stopped source comes back so often, unless it is told */
#define PROBE_LOOK_MS 5000	/* who waits for a probe's answer looks again so often */

static void upstream_name(struct buf *name, const struct sl_source *source, const struct flow_call *call)
{
	const char *handle = (source->flags & SL_SOURCE_BOUND) != 0 ? flow_call_handle(call) : NULL;

	buf_init(name);
	buf_adds(name, source->name);
	if (handle != NULL)
		buf_printf(name, " handle=%s", handle);
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

static void count_open(struct worker *worker, int change)
{
	worker->open_breakers = (size_t)((int)worker->open_breakers + change);
	metric_set(METRIC_BREAKERS_OPEN, worker->open_breakers);
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

		if (!all && (upstream->retired || upstream->open ||
			     upstream->parked_until_ms > loop_now_ms(worker->loop))) {
			map_put(kept, name, upstream);
			continue;
		}
		if (upstream->open)
			count_open(worker, -1);
		mem_release(upstream);
	}
	map_free(&worker->upstreams);
	worker->upstreams = kept;
}

static struct upstream *make(struct worker *worker, const char *name)
{
	struct upstream *upstream = map_get(worker->upstreams, name);

	if (upstream != NULL)
		return upstream;
	if (map_count(worker->upstreams) >= STATES_MAX)
		forget(worker, map_count(worker->upstreams) >= (size_t)2 * STATES_MAX);
	upstream = mem_alloc(sizeof(*upstream));
	backoff_init(&upstream->parking, PARK_FIRST_MS, PARK_CAP_MS);
	backoff_init(&upstream->pause, worker->conf->breaker_first_ms, worker->conf->breaker_cap_ms);
	upstream->retries = RETRIES_FLOOR;
	upstream->retries_ms = loop_now_ms(worker->loop);
	map_put(worker->upstreams, name, upstream);
	return upstream;
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
	pause_ms = upstream->open ? upstream->probe_ms - now : 0;
	if (upstream->probing && pause_ms > PROBE_LOOK_MS)
		pause_ms = PROBE_LOOK_MS;
	if (pause_ms > wait_ms)
		wait_ms = pause_ms;
	return wait_ms > 0 ? wait_ms : 0;
}

/* Of the source itself, or of one of its handles. */
static bool is_of(const char *name, const char *source)
{
	size_t len = strlen(source);

	return strncmp(name, source, len) == 0 && (name[len] == '\0' || name[len] == ' ');
}

static void close_breaker(struct worker *worker, struct upstream *upstream)
{
	upstream->failures = 0;
	if (!upstream->open)
		return;
	upstream->open = upstream->probing = false;
	backoff_reset(&upstream->pause);
	count_open(worker, -1);
}

void upstream_stop(struct worker *worker, const char *source, bool stopped)
{
	const char *name;
	void *value;
	size_t cursor = 0;

	if (source == NULL)
		return;
	if (stopped) {
		map_put(worker->stopped, source, worker);
		return;
	}
	map_remove(worker->stopped, source);
	while (map_next(worker->upstreams, &cursor, &name, &value)) {
		struct upstream *upstream = value;

		if (!is_of(name, source))
			continue;
		upstream->parked_until_ms = 0;
		close_breaker(worker, upstream);
	}
	worker_hold_flow(worker, NULL, 0);
	task_kick(worker, NULL);
}

/* --- refusals --- */

int64_t upstream_park(struct worker *worker, const struct flow_call *call, int64_t seconds)
{
	int64_t now = loop_now_ms(worker->loop), until;
	struct upstream *upstream;
	struct buf name;
	bool parked;

	upstream_name(&name, flow_call_source(call), call);
	upstream = make(worker, name.data);
	parked = upstream->parked_until_ms > now;
	/* Calls that were under way when the first refusal came all bring the same news: count it once. */
	until = seconds > 0 ? now + seconds * 1000 : parked ? now : now + backoff_next(&upstream->parking);
	if (until > upstream->parked_until_ms && until > now) {
		upstream->parked_until_ms = until;
		if (!parked)
			log_info("source parked source=%s ms=%lld", name.data, (long long)(until - now));
	} else {
		until = now;
	}
	buf_fini(&name);
	return until - now;
}

void upstream_retire(struct worker *worker, const struct flow_call *call)
{
	struct upstream *upstream;
	struct buf name;

	upstream_name(&name, flow_call_source(call), call);
	upstream = make(worker, name.data);
	if (!upstream->retired)
		log_error("credential refused by the upstream: not used again until the configuration changes source=%s",
			  name.data);
	upstream->retired = true;
	buf_fini(&name);
}

/* --- the breaker --- */

bool upstream_begins(struct worker *worker, const struct flow_call *call)
{
	const struct conf_retry retry = upstream_retry(worker, flow_call_source(call));
	struct upstream *upstream;
	struct buf name;

	upstream_name(&name, flow_call_source(call), call);
	upstream = make(worker, name.data);
	buf_fini(&name);
	upstream->retries += retry.budget / 100;
	if (upstream->retries > RETRIES_FLOOR)
		upstream->retries = RETRIES_FLOOR;
	if (!upstream->open)
		return false;
	/* Until it has ended, but for a while only: its answer may never come. */
	upstream->probing = true;
	upstream->probe_ms = loop_now_ms(worker->loop) + worker->conf->request_timeout_ms + PROBE_LOOK_MS;
	return true;
}

static void failed(struct worker *worker, struct upstream *upstream, const char *name, bool probe)
{
	upstream->failures++;
	if (upstream->open) {
		/* What was under way when it opened says nothing new. */
		if (!probe)
			return;
		upstream->probing = false;
		upstream->probe_ms = loop_now_ms(worker->loop) + backoff_next(&upstream->pause);
		task_kick(worker, NULL);
	} else if (upstream->failures >= worker->conf->breaker_failures) {
		upstream->open = true;
		upstream->probing = false;
		upstream->probe_ms = loop_now_ms(worker->loop) + backoff_next(&upstream->pause);
		count_open(worker, 1);
		metric_add(METRIC_BREAKER_OPENED, 1);
		log_warning("breaker open: the source failed %d times in a row source=%s", upstream->failures, name);
	}
}

static void worked(struct worker *worker, struct upstream *upstream, const char *name)
{
	bool was_open = upstream->open;

	close_breaker(worker, upstream);
	if (!was_open)
		return;
	log_info("breaker closed: the source answers again source=%s", name);
	worker_hold_flow(worker, NULL, 0);
	task_kick(worker, NULL);
}

void upstream_ended(struct call *call, enum upstream_end end)
{
	const struct sl_source *source = flow_call_source(call->engine);
	struct worker *worker = call->task->worker;
	struct upstream *upstream;
	bool probe = call->probe;
	struct buf name;

	call->probe = false;
	if (source == NULL)
		return;
	upstream_name(&name, source, call->engine);
	upstream = map_get(worker->upstreams, name.data);
	if (upstream != NULL && end == UPSTREAM_FAILED) {
		failed(worker, upstream, name.data, probe);
	} else if (upstream != NULL && end != UPSTREAM_UNKNOWN) {
		if (end == UPSTREAM_WORKED)
			backoff_reset(&upstream->parking);
		worked(worker, upstream, name.data);
	} else if (upstream != NULL && probe && upstream->open) {
		/* The one that tried was cancelled: another may. */
		upstream->probing = false;
		upstream->probe_ms = loop_now_ms(worker->loop);
		task_kick(worker, NULL);
	}
	buf_fini(&name);
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

bool upstream_may_retry(struct worker *worker, const struct flow_call *call)
{
	const struct sl_source *source = flow_call_source(call);
	const struct conf_retry retry = upstream_retry(worker, source);
	struct upstream *upstream = source != NULL ? upstream_find(worker, source, call) : NULL;
	int64_t now = loop_now_ms(worker->loop);

	if (flow_call_tries(call) + 1 >= (unsigned int)retry.attempts)
		return false;
	if (upstream == NULL)
		return true;
	upstream->retries += (double)(now - upstream->retries_ms) * RETRIES_FLOOR / FLOOR_MS;
	upstream->retries_ms = now;
	if (upstream->retries > RETRIES_FLOOR)
		upstream->retries = RETRIES_FLOOR;
	if (upstream->retries < 1) {
		metric_add(METRIC_RETRIES_REFUSED, 1);
		return false;
	}
	upstream->retries -= 1;
	return true;
}
