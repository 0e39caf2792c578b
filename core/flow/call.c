/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: which source may answer, what an answer leads to, and what the driver
 * has to do next. Runs on the thread of the driver that owns the task.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "flow/internal.h"

#include "base/num.h"
#include "base/str.h"
#include "flow/secrets.h"
#include "metrics/metrics.h"

static size_t vias_of(const struct sl_operation *operation)
{
	size_t count = 0;

	while (operation->via && operation->via[count].parse)
		count++;
	return count;
}

struct flow_call *call_new(struct flow_task *task, struct round *round, const struct sl_operation *operation,
			   const char *key)
{
	struct flow_call *call = arena_alloc(round->arena, sizeof(*call));

	call->task = task;
	call->operation = operation;
	call->name = arena_printf(round->arena, "%s.%s", task->descriptor->name, operation->name);
	call->key = arena_strdup(round->arena, key ? key : "");
	call->via_count = vias_of(operation);
	call->excluded = arena_alloc(round->arena, call->via_count + 1);
	if (operation->kind == SL_LOOKUP && call->via_count)
		call->via = operation->via;
	round->calls = grow(round->calls, round->count, &round->cap, sizeof(struct flow_call *));
	round->calls[round->count++] = call;
	return call;
}

void round_free(struct round *round)
{
	for (size_t i = 0; i < round->count; i++)
		arena_free(&round->calls[i]->arena);
	mem_free(&round->calls);
	round->count = round->cap = 0;
	arena_free(&round->arena);
}

/* --- what an answer leads to --- */

/* Texts of a call that outlive its callbacks live as long as the round. */
static struct arena *call_texts(const struct flow_call *call)
{
	return call->task->calls.arena;
}

const char *call_hide(const struct flow_call *call, struct arena *arena, const char *text)
{
	return flow_secrets_hide_values(call ? call->secrets : NULL, arena, text);
}

void call_fail(struct flow_call *call, enum sl_result result, int status, const char *text)
{
	call->outcome = result;
	call->lasting = false;
	call->text = failure_format(call_texts(call), status, text ? text : FLOW_WENT_WRONG);
	call->held = NULL;
	call->step = FLOW_STEP_NONE;
	call->state = CALL_READY;
}

/* No source is left: what the last one said, or that there was none. */
static void call_exhausted(struct flow_call *call)
{
	bool bound = call->via_count > 0;

	if (call->refusal != SL_OK) {
		call->outcome = call->refusal == SL_SOURCE ? SL_FAIL : call->refusal;
		call->lasting = false;
		call->step = FLOW_STEP_NONE;
		call->state = CALL_READY;
		return;
	}
	for (size_t i = 0; i < call->via_count; i++)
		bound = bound && call->operation->via[i].source &&
			(call->operation->via[i].source->flags & SL_SOURCE_BOUND);
	call_fail(call, SL_FAIL, 0, bound ? FLOW_NO_CREDENTIAL : FLOW_NO_SOURCE);
}

static enum flow_step call_step(struct flow_call *call, enum flow_step step)
{
	call->step = step;
	return step;
}

static enum flow_retry may_retry(const struct flow_call *call)
{
	const struct flow_env *env = call->task->env;

	if (call->on_error == SL_ON_ERROR_REPORT)
		return FLOW_RETRY_NO;
	if (env->may_retry)
		return env->may_retry(env->user, call);
	return call->tries < env->call_retries ? FLOW_RETRY_YES : FLOW_RETRY_NO;
}

/* Leaves the source; false, when there is no other. A call that goes on has none. */
static bool next_source(struct flow_call *call)
{
	if (call->via)
		call->excluded[call->via - call->operation->via] = true;
	call->tries = 0;
	if (!flow_call_candidate(call, 0))
		return false;
	call->via = NULL;
	return true;
}

/* It is not repeated: the next source, or the end. */
static enum flow_step call_over(struct flow_call *call, enum sl_result result, int status, const char *text)
{
	const struct flow_env *env = call->task->env;

	if (result != SL_GONE && env->may_fall_back && env->may_fall_back(env->user, call) && next_source(call))
		return call_step(call, FLOW_STEP_SOURCE);
	call_fail(call, result, status, text);
	call->lasting = result == SL_GONE || result == SL_FAIL;
	return FLOW_STEP_NONE;
}

static enum flow_step call_again(struct flow_call *call, int status, const char *text)
{
	switch (may_retry(call)) {
	case FLOW_RETRY_YES:
		call->tries++;
		return call_step(call, FLOW_STEP_AGAIN);
	case FLOW_RETRY_ASK:
		call->tries++;
		call->status_asked = status;
		call->text_asked = text ? arena_strdup(call_texts(call), text) : NULL;
		return call_step(call, FLOW_STEP_ASK);
	case FLOW_RETRY_NO:
	default:
		return call_over(call, SL_RETRY, status, text);
	}
}

enum flow_step call_conclude(struct flow_call *call, enum sl_result result, int status, const char *text,
			     int64_t park_s)
{
	call->held = NULL;
	call->parked_s = park_s;
	text = call_hide(call, call_texts(call), text);
	switch (result) {
	case SL_RETRY:
		return call_again(call, status, text);
	case SL_LIMIT:
	case SL_AUTH:
		call->refusal = result;
		call->text = failure_format(call_texts(call), status, text ? text : FLOW_WENT_WRONG);
		return call_step(call, result == SL_LIMIT ? FLOW_STEP_LIMIT : FLOW_STEP_AUTH);
	case SL_SOURCE:
		call->refusal = result;
		call->text = failure_format(call_texts(call), status, text ? text : FLOW_NO_SOURCE);
		if (next_source(call))
			return call_step(call, FLOW_STEP_SOURCE);
		call_exhausted(call);
		return FLOW_STEP_NONE;
	default:
		return call_over(call, result, status, text);
	}
}

/* What a callback that did not return SL_OK leads to. */
static enum flow_step call_conclude_callback(struct flow_call *call, enum sl_result result)
{
	const struct failing *failing = &call->task->failing;

	return call_conclude(call, result, failing->said ? failing->status : call->task->status,
			     failing->said ? failing->text : NULL, failing->park_s);
}

const char *answer_header(const struct flow_answer *answer, const char *name)
{
	for (size_t i = 0; i < answer->header_count; i++)
		if (!strcasecmp(answer->headers[i].name, name))
			return answer->headers[i].value;
	return NULL;
}

/* Seconds that Retry-After asks for, 0 when it is absent or unreadable. */
static int64_t retry_after(const struct flow_call *call, const struct flow_answer *answer)
{
	const char *value = answer_header(answer, "Retry-After");
	struct tm tm;
	int64_t seconds;

	if (!value || !call->via || !call->via->source ||
	    !(call->via->source->feedback & SL_FEEDBACK_RETRY_AFTER))
		return 0;
	if (num_parse_int(value, &seconds)) {
		memset(&tm, 0, sizeof(tm));
		if (!strptime(value, "%a, %d %b %Y %H:%M:%S", &tm))
			return 0;
		seconds = (int64_t)timegm(&tm) - call->task->env->now_ms() / 1000;
	}
	return seconds < 0 ? 0 : seconds > 86400 ? 86400 : seconds;
}

static enum sl_result status_result(int status)
{
	switch (status) {
	case 429:
		return SL_LIMIT;
	case 401:
	case 403:
		return SL_AUTH;
	case 404:
	case 410:
		return SL_GONE;
	case 408:
		return SL_RETRY;
	default:
		return status >= 500 ? SL_RETRY : SL_FAIL;
	}
}

static struct json_doc *parse_body(struct flow_answer *answer)
{
	struct json_doc *doc = json_parse(answer->response.body, answer->response.body_len, NULL);

	answer->response.json = doc ? json_view(json_root(doc)) : NULL;
	if (doc && json_doc_sanitised(doc))
		metric_add(METRIC_JSON_SANITISED, 1);
	return doc;
}

/* A status of 400 or more: the source's error callback decides, or else the defaults. It leaves nothing
 * behind. */
static enum flow_step call_refused(struct flow_call *call, struct flow_answer *answer)
{
	struct flow_task *task = call->task;
	const struct sl_source *source = call->via ? call->via->source : NULL;
	int status = answer->response.status;
	int64_t after = retry_after(call, answer);
	struct json_doc *doc;
	enum sl_result result;

	if (source && source->error) {
		doc = parse_body(answer);
		unit_begin(task);
		callback_enter(task, STAGE_ERROR, call, status);
		result = callback_leave(task, source->error(flow_host(), task_view(task), call_view(call),
							    &answer->response));
		unit_undo(task);
		json_doc_free(&doc);
		if (task->fault) {
			task_fail(task, SL_FAIL, task->fault);
			return FLOW_STEP_NONE;
		}
		if (result != SL_OK) {
			if (!task->failing.park_s)
				task->failing.park_s = after;
			return call_conclude_callback(call, result);
		}
	}
	return call_conclude(call, status_result(status), status,
			     status == 403 ? "Forbidden exception" : FLOW_WENT_WRONG, after);
}

static enum sl_result call_page(struct flow_call *call)
{
	struct flow_task *task = call->task;
	enum sl_result result = SL_OK;

	if (task->flow->page) {
		callback_enter(task, STAGE_PAGE, call, call->status);
		result =
			callback_leave(task, task->flow->page(flow_host(), task_view(task), call_view(call)));
		if (result != SL_OK)
			task_fail_callback(task, result);
	}
	if (result == SL_OK && !call->join)
		result = task_emit(task, &task->made);
	return result;
}

/* Parses an answer whose turn it is. FLOW_STEP_NONE: parsed, or failed for good, or the task failed. */
static enum flow_step call_parse(struct flow_call *call, struct flow_answer *answer)
{
	struct flow_task *task = call->task;
	struct json_doc *doc = parse_body(answer);
	enum sl_result result;

	assert(call->via);	/* the driver chose a source before it asked */
	call->next_cursor = NULL;
	unit_begin(task);
	callback_enter(task, STAGE_PARSE, call, answer->response.status);
	result = callback_leave(
		task, call->via->parse(flow_host(), task_view(task), call_view(call), &answer->response));
	json_doc_free(&doc);
	if (task->fault || result != SL_OK) {
		unit_undo(task);
		call->next_cursor = NULL;
		if (!task->fault)
			return call_conclude_callback(call, result);
		task_fail(task, SL_FAIL, task->fault);
		return FLOW_STEP_NONE;
	}
	if (call_page(call) != SL_OK) {
		unit_undo(task);
		return FLOW_STEP_NONE;
	}
	if (call->join && task->made.count)
		join_merge(task, call->join, &task->made);
	unit_keep(task);
	call->outcome = SL_OK;
	call->text = NULL;
	call->held = NULL;
	call->step = FLOW_STEP_NONE;
	call->state = CALL_DONE;
	return FLOW_STEP_NONE;
}

static void call_release(struct flow_call *call)
{
	arena_free(&call->arena);
	call->secrets = NULL;
	call->task->in_flight--;
}

bool call_turn(struct flow_call *call)
{
	struct flow_task *task = call->task;
	struct flow_answer *held = call->held;

	if (held && call_parse(call, held) != FLOW_STEP_NONE) {
		call->state = CALL_RETURNED;
		return false;
	}
	if (task->state == FLOW_FAILED)
		return false;
	if (call->state == CALL_READY && call->on_error == SL_ON_ERROR_FAIL) {
		task_fail(task, call->outcome, call->text);
		task->lasting = call->lasting;
		return false;
	}
	call->state = CALL_DONE;
	call_release(call);
	return true;
}

/* --- the driver's side --- */

struct flow_call *flow_task_next_call(struct flow_task *task, int64_t *delay_ms_r)
{
	struct flow_call *call;

	*delay_ms_r = 0;
	if (task->state != FLOW_CALLS)
		return NULL;
	if (task->turn_at < task->calls.count) {
		call = task->calls.calls[task->turn_at];
		if (call->state == CALL_RETURNED) {
			call->state = CALL_RUNNING;
			return call;
		}
	}
	if (task->in_flight >= task->env->calls_in_flight)
		return NULL;
	while (task->give_at < task->calls.count) {
		call = task->calls.calls[task->give_at++];
		if (call->state != CALL_WAITING)
			continue;
		call->state = CALL_RUNNING;
		task->in_flight++;
		*delay_ms_r = call->delay_ms;
		return call;
	}
	return NULL;
}

/* True when the driver may still say something about the call. */
static bool call_open(const struct flow_call *call)
{
	return call->task->state == FLOW_CALLS && call->state == CALL_RUNNING;
}

/* After call_refused, call_conclude and the like: goes on when the call waits for its turn. */
static enum flow_step call_went_on(struct flow_call *call, enum flow_step step)
{
	if (step == FLOW_STEP_NONE)
		task_advance(call->task);
	else
		task_rest(call->task);
	return step;
}

static enum flow_step call_hold(struct flow_call *call, const struct flow_answer *answer)
{
	struct flow_answer *held;
	struct flow_pair *headers;

	if (!call->arena)
		call->arena = arena_new();
	held = arena_alloc(call->arena, sizeof(*held));
	headers = arena_alloc(call->arena, (answer->header_count + 1) * sizeof(*headers));
	for (size_t i = 0; i < answer->header_count; i++) {
		headers[i].name = arena_strdup(call->arena, answer->headers[i].name);
		headers[i].value = arena_strdup(call->arena, answer->headers[i].value);
	}
	*held = *answer;
	held->headers = headers;
	held->response.body = arena_strndup(call->arena, answer->response.body, answer->response.body_len);
	call->held = held;
	call->state = CALL_READY;
	return FLOW_STEP_NONE;
}

enum flow_step flow_call_response(struct flow_call *call, int status, const struct flow_pair *headers,
				  size_t header_count, const char *body, size_t body_len)
{
	struct flow_task *task = call->task;
	struct flow_answer answer = {
		{status, body ? body : "", body ? body_len : 0, NULL}, headers, header_count};
	enum flow_step step;

	if (!call_open(call))
		return FLOW_STEP_NONE;
	call->status = status;
	if (status >= 400)
		return call_went_on(call, call_refused(call, &answer));
	if (task->sealed || task->calls.calls[task->turn_at] != call)
		return call_went_on(call, call_hold(call, &answer));
	step = call_parse(call, &answer);
	if (step == FLOW_STEP_NONE && call->state == CALL_DONE)
		call_release(call);
	return call_went_on(call, step);
}

enum flow_step flow_call_rows(struct flow_call *call, const char *rows_json, size_t len)
{
	return flow_call_response(call, 200, NULL, 0, rows_json, len);
}

enum flow_step flow_call_failed(struct flow_call *call, enum sl_result result, int status, const char *text)
{
	enum flow_step step;

	if (!call_open(call))
		return FLOW_STEP_NONE;
	call->status = status;
	step = call_conclude(call, result, status, text, 0);
	call->lasting = false;
	return call_went_on(call, step);
}

enum flow_step flow_call_give_up(struct flow_call *call)
{
	if (!call_open(call))
		return FLOW_STEP_NONE;
	assert(call->step == FLOW_STEP_ASK);
	call->tries--;
	return call_went_on(call, call_over(call, SL_RETRY, call->status_asked, call->text_asked));
}

enum flow_step flow_call_unavailable(struct flow_call *call)
{
	if (!call_open(call))
		return FLOW_STEP_NONE;
	call_exhausted(call);
	return call_went_on(call, FLOW_STEP_NONE);
}

const struct sl_source *flow_call_candidate(const struct flow_call *call, size_t index)
{
	if (call->operation->kind == SL_LOOKUP)
		return NULL;
	for (size_t i = 0; i < call->via_count; i++) {
		const struct sl_via *via = &call->operation->via[i];

		if (call->excluded[i] || !via->source || (call->pinned && via != call->via))
			continue;
		if (!index--)
			return via->source;
	}
	return NULL;
}

void flow_call_choose(struct flow_call *call, const struct sl_source *source)
{
	for (size_t i = 0; i < call->via_count; i++)
		if (call->operation->via[i].source == source && !call->excluded[i])
			call->via = &call->operation->via[i];
}

const struct sl_source *flow_call_source(const struct flow_call *call)
{
	return call->via ? call->via->source : NULL;
}

int64_t flow_call_credential(const struct flow_call *call)
{
	return call->credential;
}

void flow_call_set_credential(struct flow_call *call, int64_t id)
{
	call->credential = id;
}

const char *flow_call_refusal(const struct flow_call *call)
{
	return call->refusal != SL_OK ? call->text : NULL;
}

enum sl_kind flow_call_kind(const struct flow_call *call)
{
	return call->operation->kind;
}

const char *flow_call_operation(const struct flow_call *call)
{
	return call->name;
}

const char *flow_call_key(const struct flow_call *call)
{
	return call->key;
}

const char *flow_call_handle(const struct flow_call *call)
{
	return call->handle;
}

struct flow_task *flow_call_task(const struct flow_call *call)
{
	return call->task;
}

enum flow_step flow_call_step(const struct flow_call *call)
{
	return call->step;
}

unsigned int flow_call_tries(const struct flow_call *call)
{
	return call->tries;
}

int64_t flow_call_parked_s(const struct flow_call *call)
{
	return call->parked_s;
}

bool flow_call_goes_on(const struct flow_call *call)
{
	return call->pinned && call->via_count > 1;
}

int64_t flow_call_cost(const struct flow_call *call)
{
	return call->operation->cost > 1 ? call->operation->cost : 1;
}

void *flow_call_user(const struct flow_call *call)
{
	return call->user;
}

void flow_call_set_user(struct flow_call *call, void *user)
{
	call->user = user;
}

const struct sl_table *flow_call_table(const struct flow_call *call)
{
	return call->operation->table;
}

const char *flow_call_column(const struct flow_call *call)
{
	return call->operation->column;
}
