/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permission: may this call go now, by which source, with which credential.
 * Shared limits will be asked in permit_ask and nowhere else. What is refused is
 * the credential of the pool, or, with the static one of flows.yaml, the source.
 * Where accounts are bound to handles (a shop's API), one's refusal says nothing
 * of another.
 */
#include "base/buf.h"
#include "base/map.h"
#include "base/uuid.h"
#include "credential/pool.h"
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

int permit_init(struct worker *worker, struct error *err)
{
	worker->permits = map_new();
	return choose_init(worker, err);
}

void permit_fini(struct worker *worker)
{
	choose_fini(worker);
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

/* Loop time before which the source is not asked with its static credential; INT64_MAX: never again. */
static int64_t static_until(struct worker *worker, const struct sl_source *source, const struct flow_call *call)
{
	const struct permit_state *state = state_find(worker, source, call);

	if (state == NULL)
		return 0;
	return state->retired ? INT64_MAX : state->parked_until_ms;
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
		struct permission with[CHOOSE_MAX + 1];
		int64_t wait_ms;
		size_t found = choose(worker, sources[i], call, scratch, with, &wait_ms);

		if (wait_ms != INT64_MAX && now + wait_ms < soonest)
			soonest = now + wait_ms;
		for (size_t k = 0; k < found; k++) {
			int64_t until = with[k].credential_id == 0 ? static_until(worker, sources[i], call) : 0;

			if (until <= now) {
				*out = with[k];
				flow_call_set_credential(call, out->credential_id);
				if (out->credential_id != 0)
					credential_pool_took(worker->credentials, out->credential_id);
				return PERMIT_GO;
			}
			if (until < soonest)
				soonest = until;
		}
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

/* What the pool is told was said, for people. */
static const char *refusal(const struct flow_call *call)
{
	return flow_call_refusal(call) != NULL ? flow_call_refusal(call) : "refused by the upstream";
}

void permit_park(struct worker *worker, const struct flow_call *call)
{
	int64_t id = flow_call_credential(call);
	struct buf name;

	if (id != 0 && worker->credentials != NULL) {
		credential_pool_park(worker->credentials, id, flow_call_parked_s(call) * 1000, refusal(call));
		return;
	}
	state_name(&name, flow_call_source(call), call);
	park(worker, name.data, flow_call_parked_s(call));
	buf_fini(&name);
}

void permit_retire(struct worker *worker, const struct flow_call *call)
{
	struct permit_state *state;
	int64_t id = flow_call_credential(call);
	struct buf name;

	if (choose_renew(worker, call))
		return;
	if (id != 0 && worker->credentials != NULL) {
		credential_pool_disable(worker->credentials, id, refusal(call));
		return;
	}
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
	int64_t id = flow_call_credential(call);
	struct permit_state *state;

	if (id != 0 && worker->credentials != NULL) {
		credential_pool_worked(worker->credentials, id);
		return;
	}
	state = state_find(worker, flow_call_source(call), call);
	if (state != NULL)
		backoff_reset(&state->parking);
}
