/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permission: may this call go now, by which source, with which credential.
 *
 * Candidates are the sources that may answer, in order, each with its
 * credentials. For each the limiter is asked in one step for all it falls
 * under: the source, the credential, and when the task begins its flow and its
 * items. The first that is granted goes. When all refuse, and no credential is
 * left that was not tried, the call waits in
 * line for the one that has room first, up to limits.max_hold; a task that
 * would wait longer goes back to the store until then, and when nothing but
 * its sources stood in the way its flow is not claimed meanwhile.
 */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "base/uuid.h"
#include "credential/pool.h"
#include "http/http.h"
#include "json/json.h"
#include "limit/feedback.h"
#include "limit/limit.h"
#include "log/log.h"
#include "loop/loop.h"
#include "setup/engine.h"
#include "worker/internal.h"

#define AGAIN_LEAST_MS 1000	/* a task that goes back stays for so long */
#define COMPLAIN_MS 60000
#define HELD_UP_MS 10		/* between permission and request: less is in what limits leave unused */
#define TOLD_MS 30000		/* what is written of a credential is known to every node by then */
#define ENTRY_LOOK_MS 10000	/* calls that wait for the one that asks for their task look again so often */

struct source_rates {
	const struct sl_source *of;
	struct permit_rates source, credential;
};

struct candidate {
	const struct sl_source *source;
	const char *base_url;
	struct flow_credential credential;
	int64_t credential_id;		/* in the pool; 0: the static one, or none */
	const struct permit_rates *own_rates;	/* the credential's, instead of its source's; NULL: it has none */
	const char *key;		/* the limiter's, of the credential; of the source when it needs none */
	struct limit_item items[LIMIT_ITEMS_MAX];
	size_t item_count;
	unsigned int own;		/* items that other tasks of the flow may not fall under: a bit for each */
	unsigned int credential_bit;	/* of the item that is the credential's */
	int64_t wait_ms;		/* as far as it was told; -1: repeating cannot help */
	bool barred;			/* by what this process knows; the limiter need not be asked */
	bool wide;			/* every task of the flow would have to wait for it */
};

struct permit {
	struct call *call;
	struct arena *arena;
	struct candidate *candidates;
	size_t count, at;
	bool more;			/* a source may have credentials that are not among them … */
	bool learnt;			/* … and some of these turned out to be used up */
	struct limit_request *request;
	struct limit_waiter *waiter;
	const struct candidate *chosen;	/* granted */
	struct limit_grant grant;
	int64_t granted_ms;		/* monotonic: when that was, or when it was moved to */
};

static void try_next(struct permit *permit, struct permission *permission_r);

/* --- rates --- */

static void rates_add(struct permit_rates *rates, const char *text)
{
	/* Checked when the configuration and the plugin were loaded. */
	if (rates->count < LIMIT_WINDOWS_MAX && rate_parse(text, &rates->rates[rates->count]) == 0)
		rates->count++;
}

static void rates_read(struct permit_rates *rates, const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		rates_add(rates, texts[i]);
}

/* flows.yaml's limits of the source, else the plugin's. */
static void source_rates_read(const struct worker *worker, struct source_rates *rates)
{
	const struct conf_source *conf = conf_source(worker->role->limits, rates->of->name);
	const char *const *own = rates->of->limits;

	rates->source.count = rates->credential.count = 0;
	if (conf != NULL && conf->limit_count > 0)
		rates_read(&rates->source, conf->limits, conf->limit_count);
	else
		for (size_t i = 0; own != NULL && own[i] != NULL; i++)
			rates_add(&rates->source, own[i]);
	if (conf != NULL)
		rates_read(&rates->credential, conf->credential_limits, conf->credential_limit_count);
}

static const struct source_rates *source_rates(struct worker *worker, const struct sl_source *source)
{
	struct source_rates *rates = map_get(worker->source_rates, source->name);

	if (rates != NULL)
		return rates;
	rates = mem_alloc(sizeof(*rates));
	rates->of = source;
	source_rates_read(worker, rates);
	map_put(worker->source_rates, source->name, rates);
	return rates;
}

static void flow_rates_read(const struct worker *worker, struct worker_flow *flow)
{
	const struct conf_flow *conf = conf_flow(worker->role->limits, flow->name);

	/* It leaves, and its flow with it: what begins meanwhile goes on as it was. */
	if (conf == NULL)
		return;
	flow->limits.count = 0;
	rates_read(&flow->limits, conf->limits, conf->limit_count);
	for (size_t i = 0; i < flow->conf->item_count; i++) {
		flow->items[i].count = 0;
		for (size_t k = 0; k < conf->item_count; k++)
			if (str_eq(conf->items[k].name, flow->conf->items[i].name))
				rates_add(&flow->items[i], conf->items[k].value);
	}
}

int permit_init(struct worker *worker, struct error *err)
{
	const struct limit_options options = {
		.state = worker->conf->state,
		.on_error = worker->conf->limit_on_error == CONF_ON_ERROR_LOCAL ? LIMIT_ON_ERROR_LOCAL
										 : LIMIT_ON_ERROR_WAIT,
		.share = worker->conf->limit_share};
	const struct limit_queue_options queue = {0};

	worker->source_rates = map_new();
	for (size_t i = 0; i < worker->flow_count; i++)
		flow_rates_read(worker, &worker->flows[i]);
	worker->limiter = limit_open(worker->loop, worker->conf->limits, &options, err);
	if (worker->limiter == NULL)
		return error_prefix(err, "stores.limits");
	worker->queue = limit_queue_new(worker->limiter, &queue);
	return choose_init(worker, err);
}

void permit_fini(struct worker *worker)
{
	const char *name;
	void *rates;
	size_t cursor = 0;

	choose_fini(worker);
	if (worker->queue != NULL)
		limit_queue_free(&worker->queue);
	if (worker->limiter != NULL)
		limit_close(&worker->limiter);
	if (worker->source_rates == NULL)
		return;
	while (map_next(worker->source_rates, &cursor, &name, &rates))
		mem_release(rates);
	map_free(&worker->source_rates);
}

/* --- what a task falls under when it begins --- */

void permit_task(struct task *task, const char *params)
{
	const struct conf_flow *conf = task->flow->conf;
	struct json_doc *doc = conf->item_count > 0 ? json_parse(params, strlen(params), NULL) : NULL;
	bool limited = task->flow->limits.count > 0;

	for (size_t i = 0; doc != NULL && i < conf->item_count; i++) {
		const struct json *value = json_member(json_root(doc), conf->items[i].name);
		struct buf key;

		if (json_type(value) == JSON_NULL)
			continue;
		buf_init(&key);
		buf_printf(&key, "item/%s/%s/", task->flow->name, conf->items[i].name);
		if (json_string(value, NULL) != NULL)
			buf_adds(&key, json_string(value, NULL));
		else
			json_print(value, &key);
		task->item_keys[i] = buf_steal(&key);
		limited = true;
	}
	json_doc_free(&doc);
	/* What goes on has begun before. */
	task->entered = !limited || task->checkpoint != NULL;
}

static void entry_over(struct task *task, bool granted)
{
	task->entering = NULL;
	task->entered = task->entered || granted;
	task_kick(task->worker, task);
}

/* --- candidates --- */

static void item_add(struct candidate *candidate, const char *key, const struct permit_rates *rates, int64_t cost,
		     bool own)
{
	if (own)
		candidate->own |= 1U << candidate->item_count;
	candidate->items[candidate->item_count++] = (struct limit_item){
		.key = key, .rates = rates->rates, .rate_count = rates->count, .cost = cost};
}

static void candidate_items(struct permit *permit, struct candidate *candidate, const char *credential_key)
{
	const struct task *task = permit->call->task;
	const struct source_rates *rates = source_rates(task->worker, candidate->source);
	const struct sl_source *source = candidate->source;
	bool bound = (source->flags & SL_SOURCE_BOUND) != 0;
	int64_t cost = (source->flags & SL_SOURCE_COSTS) != 0 ? flow_call_cost(permit->call->engine) : 1;

	candidate->key = arena_printf(permit->arena, "source/%s", source->name);
	item_add(candidate, candidate->key, &rates->source, cost, false);
	if (credential_key != NULL) {
		candidate->key = credential_key;
		candidate->credential_bit = 1U << candidate->item_count;
		item_add(candidate, candidate->key,
			 candidate->own_rates != NULL ? candidate->own_rates : &rates->credential, cost, bound);
	}
	if (task->entered)
		return;
	if (task->flow->limits.count > 0)
		item_add(candidate, arena_printf(permit->arena, "flow/%s", task->flow->name), &task->flow->limits, 1,
			 false);
	for (size_t i = 0; i < task->flow->conf->item_count; i++)
		if (task->item_keys[i] != NULL)
			item_add(candidate, task->item_keys[i], &task->flow->items[i], 1, true);
}

/* "100/30s, 20000/day" */
static const struct permit_rates *own_rates(struct arena *arena, const char *text)
{
	struct permit_rates *rates;

	if (text == NULL)
		return NULL;
	rates = arena_alloc(arena, sizeof(*rates));
	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		rates_add(rates, arena_strndup(arena, text, len));
		text += len;
		text += strspn(text, ", ");
	}
	return rates;
}

static void add_candidate(struct permit *permit, const struct permission *with, const struct upstream *upstream)
{
	struct worker *worker = permit->call->task->worker;
	struct candidate *candidate = &permit->candidates[permit->count];
	bool pooled = with->credential_id != 0;

	if (!pooled && upstream != NULL && upstream->retired)
		return;
	*candidate = (struct candidate){
		.source = with->source, .base_url = with->base_url, .credential = with->credential,
		.credential_id = with->credential_id, .own_rates = own_rates(permit->arena, with->limits),
		.wait_ms = upstream_barred(worker, with->source, upstream, pooled),
		.wide = (with->source->flags & SL_SOURCE_BOUND) == 0};
	candidate->barred = candidate->wait_ms > 0;
	candidate_items(permit, candidate, with->limit_key);
	permit->count++;
}

/* The credentials of a source that the call may use, and when none may now, that one may later. */
static void add_credentials(struct permit *permit, const struct sl_source *source)
{
	struct worker *worker = permit->call->task->worker;
	const struct upstream *upstream = upstream_find(worker, source, permit->call->engine);
	struct permission with[CHOOSE_MAX + 1];
	int64_t wait_ms;
	size_t count = choose(worker, source, permit->call->engine, permit->arena, with, &wait_ms);

	for (size_t i = 0; i < count; i++)
		add_candidate(permit, &with[i], upstream);
	permit->more = permit->more || count >= CHOOSE_MAX;
	if (count == 0 && wait_ms != INT64_MAX)
		permit->candidates[permit->count++] = (struct candidate){
			.source = source, .wait_ms = wait_ms, .barred = true,
			.wide = (source->flags & SL_SOURCE_BOUND) == 0};
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

static void find_candidates(struct permit *permit)
{
	const struct task *task = permit->call->task;
	const struct sl_source *sources[ENGINE_CANDIDATES_MAX];
	double weights[ENGINE_CANDIDATES_MAX];
	size_t count = engine_candidates(task->worker->conf, task->flow->conf, permit->call->engine, sources, weights);

	permit->count = permit->at = 0;
	permit->more = permit->learnt = false;
	permit->candidates = arena_alloc(permit->arena,
					 (count * (CHOOSE_MAX + 1) + 1) * sizeof(*permit->candidates));
	draw_first(sources, weights, count);
	for (size_t i = 0; i < count; i++)
		add_credentials(permit, sources[i]);
}

/* --- asking --- */

int64_t permit_waited(const struct call *call)
{
	return call->asking_since_ms > 0 ? loop_now_ms(call->task->worker->loop) - call->asking_since_ms : 0;
}

/* How long the call may go on waiting in this process. */
static int64_t patience(const struct call *call)
{
	const struct task *task = call->task;
	int64_t hold_ms = task->worker->conf->limit_hold_ms;

	/* What a task has in an open join would be lost, and the requests for it with it. */
	if (task->answered && !flow_task_can_checkpoint(task->engine) && task->flow->conf->timeout_ms / 2 > hold_ms)
		hold_ms = task->flow->conf->timeout_ms / 2;
	return hold_ms - permit_waited(call);
}

static struct permission decided(struct permit *permit, enum permit_verdict verdict, int64_t wait_ms)
{
	struct permission permission = {.verdict = verdict, .wait_ms = wait_ms};
	struct call *call = permit->call;

	/* Whoever waits for what may end early is woken by task_kick. */
	call->barred = verdict == PERMIT_WAIT;
	if (call->task->entering == call && (verdict == PERMIT_GO || verdict == PERMIT_NONE))
		entry_over(call->task, verdict == PERMIT_GO);
	if (verdict == PERMIT_GO) {
		permission.source = permit->chosen->source;
		permission.base_url = permit->chosen->base_url;
		permission.credential = permit->chosen->credential;
		flow_call_set_credential(call->engine, permit->chosen->credential_id);
		if (permit->chosen->credential_id != 0)
			credential_pool_took(call->task->worker->credentials, permit->chosen->credential_id);
	}
	return permission;
}

/* The task goes back: so does its flow, unless others of it might pass. */
static struct permission release(struct permit *permit, int64_t wait_ms)
{
	struct task *task = permit->call->task;
	bool wide = !flow_call_goes_on(permit->call->engine);

	if (wait_ms < AGAIN_LEAST_MS)
		wait_ms = AGAIN_LEAST_MS;
	for (size_t i = 0; i < permit->count; i++)
		wide = wide && permit->candidates[i].wide;
	if (wide)
		worker_hold_flow(task->worker, task->flow, wait_ms);
	return decided(permit, PERMIT_RELEASE, wait_ms);
}

/* The credential is used up: whoever asks next tries others first. */
static void note_busy(struct permit *permit, const struct candidate *candidate, int64_t wait_ms)
{
	struct worker *worker = permit->call->task->worker;

	if (candidate->credential_id != 0 && credential_pool_busy(worker->credentials, candidate->credential_id, wait_ms))
		permit->learnt = true;
}

static void note_answer(struct permit *permit, struct candidate *candidate, const struct limit_answer *answer)
{
	if (answer->verdict == LIMIT_WAIT && (answer->refusing & candidate->credential_bit) != 0)
		note_busy(permit, candidate, answer->wait_ms);
	candidate->wait_ms = answer->verdict == LIMIT_NEVER ? -1 : answer->wait_ms;
	/* Who could not be asked was refused by no key in particular. */
	candidate->wide = answer->verdict != LIMIT_WAIT || (answer->refusing & ~candidate->own) != 0;
}

static struct permission granted(struct permit *permit, const struct candidate *candidate,
				 const struct limit_answer *answer)
{
	const struct call *call = permit->call;
	struct worker *worker = call->task->worker;
	const struct upstream *upstream = upstream_find(worker, candidate->source, call->engine);
	bool pooled = candidate->credential_id != 0;
	int64_t barred_ms = upstream_barred(worker, candidate->source, upstream, pooled);
	bool retired = pooled ? !credential_pool_usable(worker->credentials, candidate->credential_id,
							worker->env.now_ms())
			      : upstream != NULL && upstream->retired;

	permit->chosen = candidate;
	permit->grant = answer->grant;
	permit->granted_ms = clock_mono_ms();
	/* Meanwhile another has gone to try the breaker, or the source refused another. */
	if (barred_ms > 0 || retired) {
		permit_refund(permit->call);
		permit->chosen = NULL;
		return decided(permit, PERMIT_WAIT, barred_ms > 0 ? barred_ms : 1);
	}
	return decided(permit, PERMIT_GO, 0);
}

static void on_line_answer(void *user, const struct limit_answer *answer)
{
	struct permit *permit = user;
	struct candidate *candidate = &permit->candidates[permit->at];
	struct permission permission;

	permit->waiter = NULL;
	if (answer->verdict == LIMIT_GRANTED) {
		permission = granted(permit, candidate, answer);
	} else {
		note_answer(permit, candidate, answer);
		permission = release(permit, answer->wait_ms);
	}
	call_permitted(permit->call, &permission);
}

/* Every candidate was refused: waits for the one that has room first. */
static void wait_for_soonest(struct permit *permit, struct permission *permission_r)
{
	struct worker *worker = permit->call->task->worker;
	int64_t left_ms = patience(permit->call);
	struct candidate *soonest = NULL;

	for (size_t i = 0; i < permit->count; i++)
		if (permit->candidates[i].wait_ms >= 0 &&
		    (soonest == NULL || permit->candidates[i].wait_ms < soonest->wait_ms))
			soonest = &permit->candidates[i];
	if (soonest == NULL) {
		if (log_limited(&worker->never_ms, COMPLAIN_MS))
			log_error("a limit allows less at once than one request takes flow=%s operation=%s",
				  permit->call->task->flow->name, flow_call_operation(permit->call->engine));
		*permission_r = decided(permit, PERMIT_NONE, 0);
	} else if (soonest->wait_ms > left_ms) {
		*permission_r = release(permit, soonest->wait_ms);
	} else if (soonest->barred) {
		*permission_r = decided(permit, PERMIT_WAIT, soonest->wait_ms);
	} else {
		permit->at = (size_t)(soonest - permit->candidates);
		permit->waiter = limit_wait(worker->queue, soonest->items, soonest->item_count, left_ms,
					    on_line_answer, permit);
		*permission_r = decided(permit, PERMIT_ASKING, 0);
	}
}

static void on_answer(void *user, const struct limit_answer *answer)
{
	struct permit *permit = user;
	struct candidate *candidate = &permit->candidates[permit->at];
	struct permission permission;

	permit->request = NULL;
	if (answer->verdict == LIMIT_GRANTED) {
		permission = granted(permit, candidate, answer);
	} else {
		note_answer(permit, candidate, answer);
		permit->at++;
		try_next(permit, &permission);
	}
	if (permission.verdict != PERMIT_ASKING)
		call_permitted(permit->call, &permission);
}

/* Somebody is in line for one of its keys already. */
static bool others_wait(struct permit *permit, struct candidate *candidate)
{
	const struct worker *worker = permit->call->task->worker;
	bool wide = false;

	for (size_t i = 0; i < candidate->item_count; i++) {
		int64_t wait_ms = limit_queue_ahead(worker->queue, &candidate->items[i], 1);

		if (wait_ms > candidate->wait_ms)
			candidate->wait_ms = wait_ms;
		wide = wide || (wait_ms > 0 && (candidate->own & 1U << i) == 0);
		if (wait_ms > 0 && (candidate->credential_bit & 1U << i) != 0)
			note_busy(permit, candidate, wait_ms);
	}
	if (candidate->wait_ms > 0)
		candidate->wide = wide;
	return candidate->wait_ms > 0;
}

/* Asks for the next candidate that nobody waits for. false: there is none. */
static bool ask_next(struct permit *permit)
{
	struct worker *worker = permit->call->task->worker;

	for (; permit->at < permit->count; permit->at++) {
		struct candidate *candidate = &permit->candidates[permit->at];

		if (candidate->barred) {
			upstream_want(worker, candidate->source, permit->call->engine);
			continue;
		}
		if (others_wait(permit, candidate))
			continue;
		permit->request = limit_take(worker->limiter, candidate->items, candidate->item_count, on_answer,
					     permit);
		return true;
	}
	return false;
}

/* Nobody is overtaken. Each further round has learnt of a credential that no round tries again before the others. */
static void try_next(struct permit *permit, struct permission *permission_r)
{
	bool asking = ask_next(permit);

	while (!asking && permit->more && permit->learnt) {
		find_candidates(permit);
		asking = ask_next(permit);
	}
	if (asking)
		*permission_r = decided(permit, PERMIT_ASKING, 0);
	else if (permit->count == 0)
		*permission_r = decided(permit, PERMIT_NONE, 0);
	else
		wait_for_soonest(permit, permission_r);
}

static void drop(struct call *call)
{
	struct permit *permit = call->permit;

	call->barred = false;
	call->permit = NULL;
	if (permit == NULL)
		return;
	limit_cancel(&permit->request);
	limit_wait_cancel(&permit->waiter);
	arena_free(&permit->arena);
	mem_release(permit);
}

void permit_ask(struct call *call, struct permission *permission_r)
{
	struct task *task = call->task;

	drop(call);
	if (call->asking_since_ms == 0)
		call->asking_since_ms = loop_now_ms(task->worker->loop);
	if (!task->entered && task->entering != NULL && task->entering != call) {
		/* One call asks for the task; it wakes the others. */
		call->barred = true;
		*permission_r = (struct permission){.verdict = PERMIT_WAIT, .wait_ms = ENTRY_LOOK_MS};
		return;
	}
	if (!task->entered)
		task->entering = call;
	call->permit = mem_alloc(sizeof(*call->permit));
	call->permit->call = call;
	call->permit->arena = arena_new();
	find_candidates(call->permit);
	try_next(call->permit, permission_r);
}

/*
 * Who asks at the moment, or waits in line, does so with the rates of before: each
 * asks again. What was granted meanwhile is given back by limit_cancel.
 */
static void ask_again(struct task *task)
{
	struct list *node, *next;

	list_each_safe(node, next, &task->calls) {
		struct call *call = list_entry(node, struct call, node);
		struct permit *permit = call->permit;
		struct permission permission;

		if (permit == NULL || (permit->request == NULL && permit->waiter == NULL))
			continue;
		limit_cancel(&permit->request);
		limit_wait_cancel(&permit->waiter);
		permission = decided(permit, PERMIT_WAIT, 1);
		call_permitted(call, &permission);
	}
}

void permit_limits_changed(struct worker *worker)
{
	const char *name;
	void *rates;
	size_t cursor = 0;
	struct list *node;

	/* A worker whose flows are all gone is about to leave, and was told nothing of its sources. */
	if (worker->role->limits->flow_count == 0)
		return;
	while (map_next(worker->source_rates, &cursor, &name, &rates))
		source_rates_read(worker, rates);
	for (size_t i = 0; i < worker->flow_count; i++)
		flow_rates_read(worker, &worker->flows[i]);
	list_each(node, &worker->tasks)
		ask_again(list_entry(node, struct task, node));
	/* There may be budget now where there was none. */
	worker_hold_flow(worker, NULL, 0);
}

void permit_refund(struct call *call)
{
	const struct permit *permit = call->permit;

	if (permit != NULL && permit->chosen != NULL)
		limit_refund(call->task->worker->limiter, permit->chosen->items, permit->chosen->item_count,
			     &permit->grant);
}

void permit_began(struct call *call)
{
	struct permit *permit = call->permit;
	int64_t now = clock_mono_ms();

	if (permit == NULL || permit->chosen == NULL || now - permit->granted_ms < HELD_UP_MS)
		return;
	permit->granted_ms = now;
	limit_move(call->task->worker->limiter, permit->chosen->items, permit->chosen->item_count, &permit->grant);
}

void permit_forget(struct call *call)
{
	drop(call);
	if (call->task->entering == call)
		entry_over(call->task, false);
}

/* --- refusals of the upstream --- */

/* What was said, for people who look at the pool. */
static const char *refusal(const struct flow_call *call)
{
	return flow_call_refusal(call) != NULL ? flow_call_refusal(call) : "refused by the upstream";
}

void permit_park(struct call *call)
{
	struct worker *worker = call->task->worker;
	int64_t id = flow_call_credential(call->engine), said_ms = flow_call_parked_s(call->engine) * 1000, park_ms;

	if (id != 0 && worker->credentials != NULL) {
		/* The limiter bars it only until all nodes have it from the store, where it may be enabled again. */
		credential_pool_park(worker->credentials, id, said_ms, refusal(call->engine));
		park_ms = said_ms > 0 && said_ms < TOLD_MS ? said_ms : TOLD_MS;
	} else {
		park_ms = upstream_park(worker, call->engine, flow_call_parked_s(call->engine));
	}
	/* So that the other processes and nodes leave it alone too, at once. */
	if (park_ms > 0 && call->permit != NULL && call->permit->chosen != NULL)
		limit_park(worker->limiter, call->permit->chosen->key, park_ms);
}

void permit_feedback(struct call *call, const struct http_response *response)
{
	const struct sl_source *source = flow_call_source(call->engine);
	struct worker *worker = call->task->worker;
	struct feedback_header *headers;
	struct feedback said;

	if (source == NULL || source->feedback == 0 || call->permit == NULL || call->permit->chosen == NULL)
		return;
	headers = arena_alloc(call->permit->arena, (response->header_count + 1) * sizeof(*headers));
	for (size_t i = 0; i < response->header_count; i++)
		headers[i] = (struct feedback_header){response->headers[i].name, response->headers[i].value};
	said = feedback_read(source->feedback,
			     &(struct feedback_response){response->status, headers, response->header_count,
							 response->body, response->body_len},
			     worker->env.now_ms());
	if (said.park_ms > 0)
		limit_park(worker->limiter, call->permit->chosen->key, said.park_ms);
	if (said.left_ms > 0)
		limit_lower(worker->limiter, call->permit->chosen->key, said.left, said.left_ms);
}

void permit_retire(struct call *call)
{
	struct worker *worker = call->task->worker;
	int64_t id = flow_call_credential(call->engine);

	if (choose_renew(worker, call->engine))
		return;
	if (id != 0 && worker->credentials != NULL)
		credential_pool_disable(worker->credentials, id, refusal(call->engine));
	else
		upstream_retire(worker, call->engine);
}

void permit_worked(struct call *call)
{
	struct worker *worker = call->task->worker;
	int64_t id = flow_call_credential(call->engine);

	if (id != 0 && worker->credentials != NULL)
		credential_pool_worked(worker->credentials, id);
}
