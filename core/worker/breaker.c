/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The breaker of a source (or of one handle of it, see upstream.c), which belongs
 * to all processes and nodes that share the task store.
 *
 * It opens after breaker.failures requests in a row of one process that got no
 * answer, or one of 500 and more. Then one request at a time tries, after
 * pauses that double from breaker.first to breaker.cap; an answer closes it.
 *
 * The store says whether it is open and who may try: whose breaker opens writes
 * it there, every node's timer reads it each second and tells the workers, and
 * who wants to try asks it for leave. A request to a source that is in order
 * asks nobody. While the store cannot be asked each process goes on with what
 * it knows, by itself.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "json/json.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "role/sources.h"
#include "worker/internal.h"

#define PROBE_LOOK_MS 5000	/* who waits for a probe's answer looks again so often; leave to try is good for so long */
#define LEAVE_LOOK_MS 1000	/* who waits for leave to try looks again so often */
#define LEAVE_PATIENCE_MS 5000	/* a store that does not answer for so long is not waited for */
#define TOKEN_SIZE 160

/* --- what is known here --- */

static void everybody_again(struct worker *worker)
{
	worker_hold_flow(worker, NULL, 0);
	task_kick(worker, NULL);
}

static void open_breaker(struct upstream *upstream, int64_t pause_ms, int64_t probe_ms)
{
	upstream->open = true;
	upstream->probing = upstream->elsewhere = false;
	upstream->leave_until_ms = 0;
	upstream->token = 0;
	upstream->pause_ms = pause_ms;
	upstream->probe_ms = probe_ms;
}

void breaker_close(struct upstream *upstream)
{
	upstream->open = upstream->told = false;
	upstream->failures = 0;
}

int64_t breaker_wait_ms(const struct upstream *upstream, int64_t now)
{
	int64_t wait_ms = upstream->probe_ms - now;

	if (!upstream->open || upstream->leave_until_ms > now)
		return 0;
	if ((upstream->probing || upstream->elsewhere) && wait_ms > PROBE_LOOK_MS)
		return PROBE_LOOK_MS;
	return wait_ms > 0 ? wait_ms : LEAVE_LOOK_MS;
}

static void give_leave(struct worker *worker, struct upstream *upstream)
{
	upstream->leave_until_ms = loop_now_ms(worker->loop) + PROBE_LOOK_MS;
	everybody_again(worker);
}

/* What the store says of it; NULL: that it is in order. */
static void settle(struct worker *worker, struct upstream *upstream, const struct store_source *row, int64_t age_ms)
{
	int64_t now = loop_now_ms(worker->loop);

	/* What this process said meanwhile is newer; and what it could not say is not known there. */
	if (upstream->under_way > 0 || (row == NULL && !(upstream->open && upstream->told)))
		return;
	if (row == NULL) {
		log_info("breaker closed: others found that the source answers source=%s", upstream->name);
		breaker_close(upstream);
		everybody_again(worker);
		return;
	}
	if (!upstream->open) {
		log_info("breaker open: others found that the source fails source=%s", upstream->name);
		open_breaker(upstream, row->pause_ms, 0);
	}
	upstream->told = true;
	if (upstream->probing || upstream->leave_until_ms > now)
		return;
	upstream->elsewhere = row->probe != NULL;
	upstream->pause_ms = row->pause_ms;
	upstream->probe_ms = now + row->probe_in_ms - age_ms;
}

/* --- telling the store --- */

struct told {
	struct worker *worker;
	char *name;			/* the upstream's, which may be forgotten meanwhile */
	bool asks;			/* for leave to try */
	uint64_t number;		/* of the token; 0: none */
	char token[TOKEN_SIZE];
};

static void told_free(struct told *told)
{
	mem_release(told->name);
	mem_release(told);
}

static void on_told(void *user, const struct store_source *rows, size_t count, const struct error *err)
{
	struct told *told = user;
	struct worker *worker = told->worker;
	struct upstream *upstream = map_get(worker->upstreams, told->name);
	const struct store_source *row = NULL;

	if (upstream == NULL || err->code == ERR_CANCELLED) {
		told_free(told);
		return;
	}
	if (upstream->under_way > 0)
		upstream->under_way--;
	if (told->asks)
		upstream->asking_ms = 0;
	for (size_t i = 0; i < count; i++)
		if (!rows[i].stopped)
			row = &rows[i];
	if (err->code != ERR_NONE) {
		worker_store_trouble(worker, "telling of a source", err);
		if (told->asks && upstream->open)
			give_leave(worker, upstream);
	} else {
		upstream->told_ms = clock_boot_ms();
		if (row != NULL && upstream->open)
			upstream->told = true;
		/* Not when it was tried without leave meanwhile. */
		if (told->asks && row != NULL && upstream->open && !upstream->probing && told->number != 0 &&
		    told->number == upstream->token && str_eq(row->probe, told->token))
			give_leave(worker, upstream);
		else
			settle(worker, upstream, row, 0);
	}
	told_free(told);
}

static void tell(struct worker *worker, struct upstream *upstream, enum store_source_action action, const char *reason,
		 int64_t ms)
{
	struct told *told = mem_alloc(sizeof(*told));
	const struct store_source_change change = {
		.action = action, .source = upstream->source, .handle = upstream->handle, .token = told->token,
		.reason = reason, .node = worker->host, .failures = upstream->failures, .ms = ms};

	told->worker = worker;
	told->name = mem_strdup(upstream->name);
	told->asks = upstream->asking_ms > 0;
	told->number = upstream->token;
	if (told->number != 0)
		str_format(told->token, sizeof(told->token), "%s#%llu", worker->name,
			   (unsigned long long)told->number);
	upstream->under_way++;
	store_source_change(worker->store, &change, on_told, told);
}

void breaker_want(struct worker *worker, struct upstream *upstream)
{
	int64_t now = loop_now_ms(worker->loop);

	if (!upstream->open || upstream->probe_ms > now || upstream->leave_until_ms > now)
		return;
	if (upstream->asking_ms > 0) {
		if (now - upstream->asking_ms >= LEAVE_PATIENCE_MS)
			give_leave(worker, upstream);
		return;
	}
	upstream->asking_ms = now;
	if (!upstream->told) {
		tell(worker, upstream, STORE_SOURCE_OPEN, NULL, upstream->pause_ms);
		return;
	}
	/* Leave that was not used is asked for again under its name. */
	if (upstream->token == 0)
		upstream->token = ++worker->tokens;
	tell(worker, upstream, STORE_SOURCE_PROBE, NULL, 2 * PROBE_LOOK_MS + worker->conf->request_timeout_ms);
}

/* --- requests --- */

bool breaker_begins(struct worker *worker, struct upstream *upstream)
{
	if (!upstream->open)
		return false;
	/* Until it has ended, but for a while only: its answer may never come. */
	upstream->probing = true;
	upstream->elsewhere = false;
	upstream->leave_until_ms = 0;
	upstream->probe_ms = loop_now_ms(worker->loop) + worker->conf->request_timeout_ms + PROBE_LOOK_MS;
	return true;
}

static void print_reason(struct buf *reason, int status)
{
	if (status > 0)
		buf_printf(reason, "HTTP %d", status);
	else
		buf_adds(reason, "no answer");
}

/* The one that tried has ended: what the store hears of it, if it gave leave. */
static void probe_over(struct worker *worker, struct upstream *upstream, enum store_source_action action,
		       const char *reason, int64_t ms)
{
	upstream->probing = false;
	upstream->probe_ms = loop_now_ms(worker->loop) + ms;
	if (upstream->token != 0)
		tell(worker, upstream, action, reason,
		     action == STORE_SOURCE_FAILED ? worker->conf->breaker_cap_ms : 0);
	upstream->token = 0;
	task_kick(worker, NULL);
}

void breaker_failed(struct worker *worker, struct upstream *upstream, int status, bool probe)
{
	const struct conf_model *conf = worker->conf;
	struct buf reason;

	/* What was under way when it opened says nothing new. */
	if (upstream->open && !probe)
		return;
	upstream->failures++;
	if (!upstream->open && upstream->failures < conf->breaker_failures)
		return;
	buf_init(&reason);
	print_reason(&reason, status);
	if (upstream->open) {
		upstream->pause_ms = upstream->pause_ms > conf->breaker_cap_ms / 2 ? conf->breaker_cap_ms
										   : upstream->pause_ms * 2;
		probe_over(worker, upstream, STORE_SOURCE_FAILED, reason.data, upstream->pause_ms);
	} else {
		open_breaker(upstream, conf->breaker_first_ms, loop_now_ms(worker->loop) + conf->breaker_first_ms);
		metric_add(METRIC_BREAKER_OPENED, 1);
		log_warning("breaker open: the source failed %d times in a row (%s) source=%s", upstream->failures,
			    reason.data, upstream->name);
		tell(worker, upstream, STORE_SOURCE_OPEN, reason.data, upstream->pause_ms);
	}
	buf_fini(&reason);
}

void breaker_worked(struct worker *worker, struct upstream *upstream, bool probe)
{
	if (!upstream->open) {
		upstream->failures = 0;
	} else if (probe) {
		breaker_close(upstream);
		log_info("breaker closed: the source answers again source=%s", upstream->name);
		tell(worker, upstream, STORE_SOURCE_CLOSE, NULL, 0);
		everybody_again(worker);
	}
}

void breaker_left(struct worker *worker, struct upstream *upstream)
{
	if (upstream->open)
		probe_over(worker, upstream, STORE_SOURCE_LEAVE, NULL, 0);
}

/* --- what the timer, or the store at the start, says of all sources --- */

static void learn_stopped(struct worker *worker, const struct store_source *rows, size_t count)
{
	struct map *stopped = map_new(), *before = worker->stopped;
	const char *name;
	void *value;
	size_t cursor = 0;

	for (size_t i = 0; i < count; i++) {
		if (!rows[i].stopped)
			continue;
		map_put(stopped, rows[i].source, worker);
		if (map_get(before, rows[i].source) == NULL)
			log_info("source stopped by command source=%s", rows[i].source);
	}
	worker->stopped = stopped;
	while (map_next(before, &cursor, &name, &value)) {
		if (map_get(stopped, name) != NULL)
			continue;
		log_info("source started by command source=%s", name);
		upstream_start(worker, name);
	}
	map_free(&before);
}

static void learn_absent(struct worker *worker, int64_t asked_ms)
{
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(worker->upstreams, &cursor, &name, &value)) {
		struct upstream *upstream = value;

		if (upstream->heard != worker->heard && upstream->told_ms < asked_ms)
			settle(worker, upstream, NULL, 0);
	}
}

static void learn(struct worker *worker, const struct store_source *rows, size_t count, bool whole, int64_t asked_ms)
{
	int64_t age_ms = clock_boot_ms() - asked_ms;

	worker->heard++;
	learn_stopped(worker, rows, count);
	for (size_t i = 0; i < count; i++) {
		struct upstream *upstream;

		if (rows[i].stopped)
			continue;
		upstream = upstream_make(worker, rows[i].source, rows[i].handle);
		upstream->heard = worker->heard;
		if (upstream->told_ms < asked_ms)
			settle(worker, upstream, &rows[i], age_ms);
	}
	if (whole)
		learn_absent(worker, asked_ms);
}

void breaker_message(struct worker *worker, const struct json *message)
{
	struct arena *arena = arena_new();
	int64_t asked_ms;
	size_t count;
	bool whole;
	struct store_source *rows = role_sources_read(message, arena, &count, &whole, &asked_ms);

	if (rows != NULL)
		learn(worker, rows, count, whole, asked_ms);
	arena_free(&arena);
}

static void on_sources(void *user, const struct store_source *rows, size_t count, const struct error *err)
{
	struct worker *worker = user;

	worker->unread = false;
	if (err->code == ERR_CANCELLED)
		return;
	if (err->code != ERR_NONE)
		worker_store_trouble(worker, "reading which sources fail", err);
	else
		learn(worker, rows, count, false, clock_boot_ms());
	worker_claim(worker);
}

void breaker_read(struct worker *worker)
{
	worker->unread = true;
	store_sources(worker->store, SOURCES_MAX, on_sources, worker);
}
