/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One running task: carries out the calls the engine asks for, brings the
 * answers back, and hands slices and ends to the group commit.
 */
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"
#include "conf/model.h"
#include "http/http.h"
#include "json/json.h"
#include "limit/limit.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "setup/engine.h"
#include "setup/new_task.h"
#include "worker/internal.h"

#define CALLBACK_MAX_S 10		/* a callback that runs longer dies with its process */
#define LOOKUP_ROWS 1000

static void task_pump(struct task *task);
static void call_go(struct call *call);

/* Around everything that runs a plugin's callbacks: SIGALRM's default action ends the process. */
static void callback_begin(void)
{
	alarm(CALLBACK_MAX_S);
}

static void callback_end(void)
{
	alarm(0);
}

/* --- calls --- */

static void call_free(struct call *call)
{
	list_remove(&call->node);
	permit_forget(call);
	limit_cancel(&call->floor);
	if (call->transfer != NULL)
		upstream_ended(call, UPSTREAM_UNKNOWN, 0);
	if (call->transfer != NULL)
		trace_end(call, NULL, "given up: its task ended");
	http_cancel(&call->transfer);
	loop_timer_free(&call->timer);
	if (call->task->phase != TASK_DROPPED)
		flow_call_set_user(call->engine, NULL);
	/* The store still holds on to a lookup's: its callback frees it. */
	if (!call->looking_up)
		mem_release(call);
	else
		call->task = NULL;
}

static void on_call_timer(void *user)
{
	call_go(user);
}

static void call_wait(struct call *call, int64_t delay_ms)
{
	loop_timer_start(call->timer, delay_ms, 0);
}

/* Does what the answer asked for, then carries the call out again; FLOW_STEP_NONE: it is over for us. */
static void call_step(struct call *call, enum flow_step step)
{
	struct task *task = call->task;
	struct worker *worker = task->worker;
	struct conf_retry retry;
	struct backoff again;
	int64_t delay_ms;

	switch (step) {
	case FLOW_STEP_AGAIN:
		retry = upstream_retry(worker, flow_call_source(call->engine));
		backoff_init(&again, retry.first_ms, retry.cap_ms);
		again.failures = flow_call_tries(call->engine) > 0 ? flow_call_tries(call->engine) - 1 : 0;
		delay_ms = backoff_next(&again);
		/* What the upstream asked for (Retry-After) counts when it is longer. */
		if (flow_call_parked_s(call->engine) * 1000 > delay_ms)
			delay_ms = flow_call_parked_s(call->engine) * 1000;
		call_wait(call, delay_ms);
		break;
	case FLOW_STEP_ASK:
		upstream_ask_retry(call);
		break;
	case FLOW_STEP_LIMIT:
		permit_park(call);
		call_wait(call, 0);
		break;
	case FLOW_STEP_AUTH:
		permit_retire(call);
		call_wait(call, 0);
		break;
	case FLOW_STEP_SOURCE:
		call_wait(call, 0);
		break;
	case FLOW_STEP_NONE:
	default:
		/* The engine's call may be gone: nothing of it is touched here. */
		call->engine = NULL;
		permit_forget(call);
		list_remove(&call->node);
		loop_timer_free(&call->timer);
		mem_release(call);
		task_pump(task);
		break;
	}
}

void call_may_retry(struct call *call, bool granted)
{
	enum flow_step step = FLOW_STEP_AGAIN;

	if (!granted) {
		callback_begin();
		step = flow_call_give_up(call->engine);
		callback_end();
	}
	call_step(call, step);
}

static void answer(struct call *call, struct http_response *response)
{
	struct arena *scratch = arena_new();
	struct flow_pair *headers = arena_alloc(scratch, (response->header_count + 1) * sizeof(*headers));
	enum flow_step step;

	for (size_t i = 0; i < response->header_count; i++)
		headers[i] = (struct flow_pair){ response->headers[i].name, response->headers[i].value, false };
	metric_add(METRIC_RESPONSE_BYTES, response->body_len);
	permit_feedback(call, response);
	upstream_ended(call, response->status < 400 ? UPSTREAM_WORKED :
		       response->status < 500 ? UPSTREAM_ANSWERED : UPSTREAM_FAILED, response->status);
	if (response->status < 400) {
		call->task->answered = true;
		permit_worked(call);
	} else {
		metric_add(METRIC_REQUEST_ERRORS, 1);
	}
	trace_end(call, response, NULL);
	callback_begin();
	step = flow_call_response(call->engine, response->status, headers, response->header_count, response->body,
				  response->body_len);
	callback_end();
	arena_free(&scratch);
	http_response_free(&response);
	call_step(call, step);
}

static void on_response(void *user, struct http_response *response, const struct error *err)
{
	bool again = response == NULL && (err->code == ERR_TIMEOUT || err->code == ERR_IO);
	struct call *call = user;
	enum flow_step step;

	call->transfer = NULL;
	if (response != NULL) {
		answer(call, response);
		return;
	}
	metric_add(METRIC_REQUEST_ERRORS, 1);
	upstream_ended(call, again ? UPSTREAM_FAILED : UPSTREAM_ANSWERED, 0);
	trace_end(call, NULL, err->text);
	callback_begin();
	step = flow_call_failed(call->engine, again ? SL_RETRY : SL_FAIL, 0, err->text);
	callback_end();
	call_step(call, step);
}

static void on_began(void *user)
{
	permit_began(user);
}

static void start_request(struct call *call, const struct flow_request *built, struct arena *scratch)
{
	struct worker *worker = call->task->worker;
	struct http_request request = engine_request(worker->conf, built, scratch);

	log_debug("request task=%lld operation=%s url=%s", (long long)call->task->id,
		  flow_call_operation(call->engine), built->shown_url);
	metric_add(METRIC_REQUESTS, 1);
	call->task->requests++;
	call->probe = upstream_begins(worker, call->engine);
	trace_begin(call, built);
	request.began = on_began;
	call->transfer = http_start(worker->http, &request, on_response, call);
}

/* Permission is there: the request is built and goes. */
static void go(struct call *call, const struct permission *permission)
{
	struct arena *scratch = arena_new();
	struct flow_request request;
	enum flow_step step = FLOW_STEP_NONE;
	bool built;

	flow_call_choose(call->engine, permission->source);
	callback_begin();
	built = flow_call_request(call->engine, permission->base_url, &permission->credential, &request, &step) == 0;
	callback_end();
	if (built)
		start_request(call, &request, scratch);
	else
		permit_refund(call);
	arena_free(&scratch);
	if (!built)
		call_step(call, step);
}

/* The time that calls waited side by side counts once. */
static void end_wait(struct call *call)
{
	struct task *task = call->task;
	int64_t now = loop_now_ms(task->worker->loop), from_ms = call->asking_since_ms;

	if (from_ms < task->waited_until_ms)
		from_ms = task->waited_until_ms;
	task->deadline_ms += now - from_ms;
	task->waited_until_ms = now;
	call->asking_since_ms = 0;
}

void call_permitted(struct call *call, const struct permission *permission)
{
	struct task *task = call->task;
	enum flow_step step;

	if (permission->verdict == PERMIT_GO || permission->verdict == PERMIT_NONE)
		end_wait(call);
	switch (permission->verdict) {
	case PERMIT_ASKING:
		break;
	case PERMIT_GO:
		go(call, permission);
		break;
	case PERMIT_WAIT:
		call_wait(call, permission->wait_ms);
		break;
	case PERMIT_RELEASE:
		task_release(task, task->worker->env.now_ms() + permission->wait_ms);
		break;
	case PERMIT_NONE:
	default:
		callback_begin();
		step = flow_call_unavailable(call->engine);
		callback_end();
		call_step(call, step);
		break;
	}
}

static void go_http(struct call *call)
{
	struct permission permission;

	permit_ask(call, &permission);
	call_permitted(call, &permission);
}

static void on_rows(void *user, const char *json, size_t len, const struct error *err)
{
	struct call *call = user;
	enum flow_step step;

	call->looking_up = false;
	if (call->task == NULL) {
		mem_release(call);
		return;
	}
	callback_begin();
	if (err->code == ERR_NONE)
		step = flow_call_rows(call->engine, json, len);
	else
		step = flow_call_failed(call->engine, SL_RETRY, 0, err->text);
	callback_end();
	call_step(call, step);
}

static void call_go(struct call *call)
{
	struct worker *worker = call->task->worker;

	if (flow_call_kind(call->engine) != SL_LOOKUP) {
		go_http(call);
		return;
	}
	call->looking_up = true;
	store_lookup(worker->store, role_store_table(worker->role, flow_call_table(call->engine)),
		     flow_call_column(call->engine), flow_call_key(call->engine), LOOKUP_ROWS, on_rows, call);
}

static void call_begin(struct task *task, struct flow_call *engine, int64_t delay_ms)
{
	struct call *call = mem_alloc(sizeof(*call));

	call->task = task;
	call->engine = engine;
	call->timer = loop_timer_new(task->worker->loop, on_call_timer, call);
	list_append(&task->calls, &call->node);
	flow_call_set_user(engine, call);
	/* By the timer even without a delay: whoever pumps may not be re-entered. */
	if (flow_call_step(engine) == FLOW_STEP_NONE)
		call_wait(call, delay_ms);
	else
		call_step(call, flow_call_step(engine));
}

/* --- ends --- */

static void cancel_calls(struct task *task)
{
	struct list *node, *next;

	list_each_safe(node, next, &task->calls)
		call_free(list_entry(node, struct call, node));
}

static void set_data(struct task *task, const char *text)
{
	mem_release(task->data);
	task->data = text != NULL ? mem_strdup(text) : NULL;
}

static void finish(struct task *task, enum store_end end, const char *data, const char *error_code)
{
	struct flow_output output;

	cancel_calls(task);
	loop_timer_stop(task->timeout);
	task->end = end;
	set_data(task, data);
	task->error_code = error_code;
	task->output_bytes = 0;
	if (task->engine != NULL) {
		flow_task_output(task->engine, &output);
		task->output_bytes = output.bytes;
		flow_task_seal(task->engine);
	}
	commit_task(task);
}

static unsigned int outcome_of(enum sl_result result)
{
	switch (result) {
	case SL_RETRY:
		return CONF_ON_RETRY;
	case SL_LIMIT:
		return CONF_ON_LIMIT;
	case SL_AUTH:
		return CONF_ON_AUTH;
	case SL_GONE:
		return CONF_ON_GONE;
	default:
		return CONF_ON_FAIL;
	}
}

static unsigned int outcomes_of(const struct conf_retry *retry)
{
	return (retry->outcomes & CONF_OUTCOMES_GIVEN) != 0 ? retry->outcomes
							     : CONF_ON_RETRY | CONF_ON_LIMIT | CONF_ON_AUTH;
}

static void finish_failed(struct task *task, enum sl_result result, const char *text, const char *code)
{
	struct backoff backoff;
	const struct conf_retry *retry = &task->flow->conf->retry;
	bool again = (outcomes_of(retry) & outcome_of(result)) != 0 && task->attempt + 1 < task->max_attempts;

	if (!again) {
		log_info("task failed id=%lld flow=%s code=%s error=%s", (long long)task->id, task->flow->name, code, text);
		finish(task, STORE_FAIL, text, code);
		return;
	}
	backoff_init(&backoff, retry->first_ms, retry->cap_ms);
	backoff.failures = (unsigned int)task->attempt;
	task->run_after_ms = task->worker->env.now_ms() + backoff_next(&backoff);
	finish(task, STORE_RETRY, text, code);
}

/* Waiting for permission is not the task's fault: its time does not count. */
static int64_t waits_now(const struct task *task)
{
	int64_t longest = 0;
	const struct list *node;

	list_each(node, &task->calls) {
		int64_t waited = permit_waited(list_entry(node, struct call, node));

		longest = waited > longest ? waited : longest;
	}
	return longest;
}

static void start_timeout(struct task *task)
{
	task->deadline_ms = loop_now_ms(task->worker->loop) + task->flow->conf->timeout_ms;
	loop_timer_start(task->timeout, task->flow->conf->timeout_ms, 0);
}

static void on_timeout(void *user)
{
	struct task *task = user;
	int64_t left_ms;
	char text[96];

	if (task->phase != TASK_RUNNING)
		return;
	left_ms = task->deadline_ms - loop_now_ms(task->worker->loop) + waits_now(task);
	if (left_ms > 0) {
		loop_timer_start(task->timeout, left_ms, 0);
		return;
	}
	str_format(text, sizeof(text), "(504, 'Not finished within %lld s')",
		   (long long)(task->flow->conf->timeout_ms / 1000));
	finish_failed(task, SL_RETRY, text, "timeout");
}

static void finish_slice(struct task *task)
{
	struct flow_output output;

	buf_clear(&task->new_checkpoint);
	flow_task_checkpoint(task->engine, &task->new_checkpoint);
	/* A long task does not fill a full outbox further, nor hold up for hours one that has to run alone. */
	if (task->release_wanted || task->worker->outbox_full ||
	    (task->worker->alone_wanted && !task->worker->alone_running)) {
		finish(task, STORE_RELEASE, NULL, NULL);
		return;
	}
	/* What is under way goes on; its answers are held by the engine until the commit is through. */
	flow_task_output(task->engine, &output);
	task->output_bytes = output.bytes;
	task->end = STORE_SLICE;
	task->error_code = NULL;
	flow_task_seal(task->engine);
	commit_task(task);
}

/* Traces count: a slice is what is committed at once. */
static bool slice_due(const struct task *task)
{
	struct flow_output output;

	if (flow_task_slice_due(task->engine))
		return true;
	if (trace_waiting(task) == 0 || flow_task_state(task->engine) != FLOW_CALLS ||
	    !flow_task_can_checkpoint(task->engine))
		return false;
	flow_task_output(task->engine, &output);
	return output.bytes + trace_waiting(task) >= (size_t)task->worker->conf->slice_bytes;
}

/* Tasks that a flow submits keep their place in the contract; dropping them in silence would lose them. */
static bool submits(const struct task *task)
{
	struct flow_output output;

	flow_task_output(task->engine, &output);
	return output.submit_count > 0;
}

/* Carries on as far as possible: ends, slices, new calls. */
static void task_pump(struct task *task)
{
	struct flow_call *engine;
	int64_t delay_ms;

	while (task->phase == TASK_RUNNING) {
		const char *text;

		if (submits(task)) {
			finish_failed(task, SL_FAIL, "(500, 'this version carries out no submit')", "fail");
		} else if (flow_task_state(task->engine) == FLOW_DONE) {
			finish(task, STORE_COMPLETE, flow_task_result(task->engine), NULL);
		} else if (flow_task_state(task->engine) == FLOW_FAILED) {
			enum sl_result result = flow_task_failure(task->engine, &text);

			task->lasting = flow_task_lasting(task->engine);
			finish_failed(task, result, text, flow_result_name(result));
		} else if (task->release_wanted) {
			task_release(task, task->run_after_ms);
		} else if (slice_due(task)) {
			finish_slice(task);
		} else {
			engine = flow_task_next_call(task->engine, &delay_ms);
			if (engine == NULL)
				return;
			call_begin(task, engine, delay_ms);
		}
	}
}

void task_continue(struct task *task)
{
	task->phase = TASK_RUNNING;
	task->answered = false;
	start_timeout(task);
	callback_begin();
	flow_task_committed(task->engine);
	callback_end();
	task_pump(task);
}

void task_release(struct task *task, int64_t run_after_ms)
{
	task->run_after_ms = run_after_ms;
	task->release_wanted = true;
	if (task->phase != TASK_RUNNING)
		return;
	if (flow_task_can_checkpoint(task->engine))
		finish_slice(task);
	else
		/* In the middle of a join nothing can be saved: it starts again from its last slice. */
		finish(task, STORE_RELEASE, NULL, NULL);
}

static void kick_calls(struct task *task)
{
	struct list *node;

	list_each(node, &task->calls) {
		struct call *call = list_entry(node, struct call, node);

		if (call->barred && loop_timer_active(call->timer))
			loop_timer_start(call->timer, 0, 0);
	}
}

void task_kick(struct worker *worker, struct task *task)
{
	struct list *node;

	if (task != NULL) {
		kick_calls(task);
		return;
	}
	list_each(node, &worker->tasks)
		kick_calls(list_entry(node, struct task, node));
}

void task_drop(struct task *task)
{
	/* While it is being committed the fence decides; the commit's answer frees it. */
	if (task->phase == TASK_RUNNING)
		task_free(task);
}

void task_free(struct task *task)
{
	cancel_calls(task);
	task->phase = TASK_DROPPED;
	list_remove(&task->node);
	list_remove(&task->ready_node);
	loop_timer_free(&task->timeout);
	flow_task_free(&task->engine);
	mem_release(task->checkpoint);
	mem_release(task->data);
	mem_release(task->skip_key);
	for (size_t i = 0; i < CONF_ITEMS_MAX; i++)
		mem_release(task->item_keys[i]);
	buf_fini(&task->new_checkpoint);
	buf_fini(&task->traces);
	metric_task_end(task->id);
	worker_task_left(task->worker, task);
	mem_release(task);
}

/* Only flows with skip_after need it. */
static void note_key(struct task *task, const char *params)
{
	struct json_doc *doc;
	struct arena *arena;

	if (task->flow->conf->skip.failures == 0)
		return;
	doc = json_parse(params, strlen(params), NULL);
	arena = arena_new();
	task->skip_key = mem_strdup(new_task_key(arena, task->flow->conf, json_root(doc)));
	arena_free(&arena);
	json_doc_free(&doc);
}

void task_begin(struct worker *worker, struct worker_flow *flow, const struct task_row *row)
{
	struct task *task = mem_alloc(sizeof(*task));
	struct error err;

	task->worker = worker;
	task->flow = flow;
	task->id = row->id;
	task->lease_token = row->lease_token;
	task->commit_seq = row->commit_seq;
	task->attempt = row->attempt;
	task->max_attempts = row->max_attempts;
	task->checkpoint = row->checkpoint != NULL ? mem_strdup(row->checkpoint) : NULL;
	list_init(&task->calls);
	list_init(&task->ready_node);
	list_append(&worker->tasks, &task->node);
	buf_init(&task->new_checkpoint);
	buf_init(&task->traces);
	task->timeout = loop_timer_new(worker->loop, on_timeout, task);
	metric_task_begin(task->id);
	task->engine = flow_task_new(&worker->env, flow->plugin, flow->flow, row->id, row->commit_seq, row->params,
				     row->checkpoint, &err);
	if (task->engine == NULL) {
		struct buf text;

		buf_init(&text);
		flow_failure_print(&text, 400, err.text);
		finish_failed(task, SL_FAIL, text.data, "params");
		buf_fini(&text);
		return;
	}
	note_key(task, row->params);
	permit_task(task, row->params);
	start_timeout(task);
	callback_begin();
	flow_task_resume(task->engine);
	callback_end();
	task_pump(task);
}
