/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permission: may this call go now, by which source, with which credential.
 * A source has one static credential from flows.yaml; shared limits and the
 * credential pool will be asked in permit_ask and nowhere else.
 */
#include "base/uuid.h"
#include "log/log.h"
#include "loop/loop.h"
#include "plugin/plugin.h"
#include "setup/engine.h"
#include "worker/internal.h"

#define PARK_FIRST_MS 1000
#define PARK_CAP_MS 60000

void permit_init(struct worker *worker)
{
	for (size_t i = 0; i < plugin_count(worker->role->plugins); i++) {
		const struct sl_plugin *plugin = plugin_descriptor(plugin_at(worker->role->plugins, i));

		for (size_t k = 0; plugin->sources != NULL && plugin->sources[k] != NULL; k++) {
			struct permit_state *state;

			worker->permits = mem_realloc(worker->permits,
						      (worker->permit_count + 1) * sizeof(*worker->permits));
			state = &worker->permits[worker->permit_count++];
			*state = (struct permit_state){ .source = plugin->sources[k] };
			backoff_init(&state->parking, PARK_FIRST_MS, PARK_CAP_MS);
		}
	}
}

static struct permit_state *state_of(struct worker *worker, const struct sl_source *source)
{
	for (size_t i = 0; i < worker->permit_count; i++)
		if (worker->permits[i].source == source)
			return &worker->permits[i];
	return NULL;
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
		const struct permit_state *state = state_of(worker, sources[i]);

		if (state == NULL || state->retired ||
		    !engine_credential(worker->conf, sources[i], scratch, &out->base_url, &out->credential))
			continue;
		out->source = sources[i];
		if (state->parked_until_ms <= now)
			return PERMIT_GO;
		if (state->parked_until_ms < soonest)
			soonest = state->parked_until_ms;
	}
	out->wait_ms = soonest - now;
	return soonest == INT64_MAX ? PERMIT_NONE : PERMIT_WAIT;
}

void permit_park(struct worker *worker, const struct sl_source *source, int64_t seconds)
{
	struct permit_state *state = state_of(worker, source);
	int64_t now = loop_now_ms(worker->loop), until;

	/* Calls that were under way when the first refusal came all bring the same news: count it once. */
	if (state == NULL || (seconds == 0 && state->parked_until_ms > now))
		return;
	until = now + (seconds > 0 ? seconds * 1000 : backoff_next(&state->parking));
	if (until <= state->parked_until_ms)
		return;
	/* Said once per parking, not by every call that was under way. */
	if (state->parked_until_ms > now) {
		state->parked_until_ms = until;
		return;
	}
	state->parked_until_ms = until;
	log_info("source parked source=%s ms=%lld", source->name, (long long)(state->parked_until_ms - now));
}

void permit_retire(struct worker *worker, const struct sl_source *source)
{
	struct permit_state *state = state_of(worker, source);

	if (state == NULL || state->retired)
		return;
	state->retired = true;
	log_error("credential refused by the upstream: not used again until the configuration changes source=%s",
		  source->name);
}

void permit_worked(struct worker *worker, const struct sl_source *source)
{
	struct permit_state *state = state_of(worker, source);

	if (state != NULL)
		backoff_reset(&state->parking);
}
