/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permission: may this call go now, by which source, with which credential.
 * A source has one static credential from flows.yaml; shared limits and the
 * credential pool will be asked in permit_ask and nowhere else. Where accounts
 * are bound to handles (a shop's API), one's refusal says nothing of another.
 */
#include "base/buf.h"
#include "base/map.h"
#include "base/uuid.h"
#include "log/log.h"
#include "loop/loop.h"
#include "setup/engine.h"
#include "worker/internal.h"

#define PARK_FIRST_MS 1000
#define PARK_CAP_MS 60000
#define STATES_MAX 4096		/* beyond it, what is neither parked nor retired is forgotten; at twice that, all */

/* What was refused: a source, and where its credentials belong to handles, one of its handles. */
static void state_name(struct buf *name, const struct sl_source *source, const struct flow_call *call)
{
	const char *handle = (source->flags & SL_SOURCE_BOUND) != 0 ? flow_call_handle(call) : NULL;

	buf_init(name);
	buf_adds(name, source->name);
	if (handle != NULL)
		buf_printf(name, " handle=%s", handle);
}

/* NULL: nothing was ever refused. */
static struct permit_state *state_find(struct worker *worker, const struct sl_source *source,
				       const struct flow_call *call)
{
	struct permit_state *state;
	struct buf name;

	if (map_count(worker->permits) == 0)
		return NULL;
	state_name(&name, source, call);
	state = map_get(worker->permits, name.data);
	buf_fini(&name);
	return state;
}

/* Forgetting costs one more refusal each, so that a million dead shops do not fill the memory. */
static void forget(struct worker *worker, bool all)
{
	struct map *kept = map_new();
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(worker->permits, &cursor, &name, &value)) {
		struct permit_state *state = value;

		if (!all && (state->retired || state->parked_until_ms > loop_now_ms(worker->loop)))
			map_put(kept, name, state);
		else
			mem_release(state);
	}
	map_free(&worker->permits);
	worker->permits = kept;
}

static struct permit_state *state_make(struct worker *worker, const char *name)
{
	struct permit_state *state = map_get(worker->permits, name);

	if (state != NULL)
		return state;
	if (map_count(worker->permits) >= STATES_MAX)
		forget(worker, map_count(worker->permits) >= (size_t)2 * STATES_MAX);
	state = mem_alloc(sizeof(*state));
	backoff_init(&state->parking, PARK_FIRST_MS, PARK_CAP_MS);
	map_put(worker->permits, name, state);
	return state;
}

void permit_init(struct worker *worker)
{
	worker->permits = map_new();
}

void permit_fini(struct worker *worker)
{
	if (worker->permits == NULL)
		return;
	forget(worker, true);
	map_free(&worker->permits);
}

/* Puts a source drawn by weight first; the others stay as what to fall back to. */
static void draw_first(const struct sl_source **sources, const double *weights, size_t count)
{
	double total = 0, mark;

	for (size_t i = 0; i < count; i++)
		total += weights[i];
	if (total <= 0)
		return;
	mark = (double)(random_u64() >> 11) / (double)(UINT64_C(1) << 53) * total;
	for (size_t i = 0; i < count; i++) {
		mark -= weights[i];
		if (mark < 0) {
			const struct sl_source *drawn = sources[i];

			sources[i] = sources[0];
			sources[0] = drawn;
			return;
		}
	}
}

enum permit permit_ask(struct worker *worker, struct flow_call *call, struct arena *scratch, struct permission *out)
{
	const struct task *task = ((const struct call *)flow_call_user(call))->task;
	const struct sl_source *sources[ENGINE_CANDIDATES_MAX];
	double weights[ENGINE_CANDIDATES_MAX];
	size_t count = engine_candidates(worker->conf, task->flow->conf, call, sources, weights);
	int64_t now = loop_now_ms(worker->loop), soonest = INT64_MAX;

	draw_first(sources, weights, count);
	for (size_t i = 0; i < count; i++) {
		const struct permit_state *state = state_find(worker, sources[i], call);

		if ((state != NULL && state->retired) ||
		    !engine_credential(worker->conf, sources[i], scratch, &out->base_url, &out->credential))
			continue;
		out->source = sources[i];
		if (state == NULL || state->parked_until_ms <= now)
			return PERMIT_GO;
		if (state->parked_until_ms < soonest)
			soonest = state->parked_until_ms;
	}
	out->wait_ms = soonest - now;
	return soonest == INT64_MAX ? PERMIT_NONE : PERMIT_WAIT;
}

static void park(struct worker *worker, const char *name, int64_t seconds)
{
	struct permit_state *state = state_make(worker, name);
	int64_t now = loop_now_ms(worker->loop), until;
	bool parked = state->parked_until_ms > now;

	/* Calls that were under way when the first refusal came all bring the same news: count it once. */
	if (seconds == 0 && parked)
		return;
	until = now + (seconds > 0 ? seconds * 1000 : backoff_next(&state->parking));
	if (until <= state->parked_until_ms)
		return;
	state->parked_until_ms = until;
	if (!parked)
		log_info("source parked source=%s ms=%lld", name, (long long)(until - now));
}

void permit_park(struct worker *worker, const struct flow_call *call)
{
	struct buf name;

	state_name(&name, flow_call_source(call), call);
	park(worker, name.data, flow_call_parked_s(call));
	buf_fini(&name);
}

void permit_retire(struct worker *worker, const struct flow_call *call)
{
	struct permit_state *state;
	struct buf name;

	state_name(&name, flow_call_source(call), call);
	state = state_make(worker, name.data);
	if (!state->retired)
		log_error("credential refused by the upstream: not used again until the configuration changes source=%s",
			  name.data);
	state->retired = true;
	buf_fini(&name);
}

void permit_worked(struct worker *worker, const struct flow_call *call)
{
	struct permit_state *state = state_find(worker, flow_call_source(call), call);

	if (state != NULL)
		backoff_reset(&state->parking);
}
