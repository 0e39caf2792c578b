/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl flow try: the flow engine in this process, one call after the
 * other, its output printed as JSON lines and thrown away.
 */
#include "try.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/num.h"
#include "conf/model.h"
#include "json/json.h"
#include "plugin/plugin.h"
#include "setup/engine.h"

#define AGAIN_FIRST_MS 1000
#define AGAIN_CAP_MS 30000

const struct ctl_option flow_try_options[] = {
	{"upstream", 0, "[SOURCE=]URL",
	 "ask this URL in place of a source's own, or of every source's; repeatable"},
	{"replay", 0, "DIR",
	 "take the answers from files: DIR/PLUGIN.OPERATION-N.json or DIR/PLUGIN.OPERATION.json"},
	{"source", 0, "SOURCE", "use this source only"},
	{"rows", 0, "TABLE=FILE", "look up the rows of a table in a JSON file; repeatable"},
	{"now", 0, "EPOCH", "let it be this second of 1970"},
	{"json-params", 0, "JSON", "parameters as a JSON object; KEY=VALUE goes before it"},
	{NULL, 0, NULL, NULL}
};

/* --- output --- */

void try_begin(struct try *try, const char *kind)
{
	buf_clear(&try->out);
	jwrite_init(&try->w, &try->out);
	jwrite_object(&try->w, NULL);
	jwrite_string(&try->w, "kind", kind);
}

void try_end(struct try *try)
{
	jwrite_end(&try->w);
	puts(try->out.data);
}

void try_error(struct try *try, const struct flow_call *call, const char *fmt, ...)
{
	const struct sl_source *source = flow_call_source(call);
	va_list ap;

	try_begin(try, "error");
	jwrite_string(&try->w, "operation", flow_call_operation(call));
	jwrite_string(&try->w, "key", flow_call_key(call));
	jwrite_string(&try->w, "source", source != NULL ? source->name : NULL);
	va_start(ap, fmt);
	jwrite_string(&try->w, "text", arena_vprintf(try->ctl->arena, fmt, ap));
	va_end(ap);
	try_end(try);
}

static void on_record(struct flow_task *task, const struct sl_record *record)
{
	struct buf out;

	(void)task;
	buf_init(&out);
	flow_record_print(record, &out);
	/* One more member in front of the record's own. */
	printf("{\"kind\":\"record\",%s\n", out.data + 1);
	buf_fini(&out);
}

/* The engine's texts are of the column's type: all but texts and times are JSON as they stand. */
static void write_column(struct jwrite *w, const struct sl_column *column, const char *value)
{
	if (value == NULL || column->type == SL_TEXT || column->type == SL_TIMESTAMP ||
	    !ctl_write_json(w, column->name, value))
		jwrite_string(w, column->name, value);
}

static void print_upsert(struct try *try, const struct flow_upsert *upsert)
{
	try_begin(try, "upsert");
	jwrite_string(&try->w, "table", upsert->table->name);
	jwrite_string(&try->w, "key", upsert->key);
	jwrite_object(&try->w, "values");
	for (size_t i = 0; upsert->table->columns[i].name != NULL; i++)
		if (upsert->table->columns[i].key != NULL)
			write_column(&try->w, &upsert->table->columns[i], upsert->values[i]);
	jwrite_end(&try->w);
	try_end(try);
}

/* What was made since the last time. */
static void print_output(struct try *try)
{
	struct flow_output output;

	flow_task_output(try->task, &output);
	for (; try->upserts < output.upsert_count; try->upserts++)
		print_upsert(try, &output.upserts[try->upserts]);
	for (; try->events < output.event_count; try->events++) {
		const struct flow_event *event = &output.events[try->events];

		try_begin(try, "event");
		jwrite_string(&try->w, "stream", event->stream->name);
		jwrite_raw(&try->w, "data", event->json, event->len);
		try_end(try);
	}
	for (; try->submits < output.submit_count; try->submits++) {
		const struct flow_submit *submit = &output.submits[try->submits];

		try_begin(try, "submit");
		jwrite_string(&try->w, "flow", submit->flow);
		jwrite_raw(&try->w, "params", submit->params, strlen(submit->params));
		try_end(try);
	}
}

/* --- driving --- */

static void print_call(struct try *try, const struct flow_call *call)
{
	try_begin(try, "call");
	jwrite_string(&try->w, "operation", flow_call_operation(call));
	jwrite_string(&try->w, "call", plugin_kind_name(flow_call_kind(call)));
	jwrite_string(&try->w, "key", flow_call_key(call));
	jwrite_string(&try->w, "handle", flow_call_handle(call));
	try_end(try);
}

static void wait_ms(const struct try *try, int64_t ms)
{
	if (try->replay == NULL && ms > 0)
		usleep((useconds_t)ms * 1000);
}

/* Until the call is no longer ours. */
static void carry_out(struct try *try, struct flow_call *call)
{
	enum flow_step step = flow_call_step(call);
	struct backoff again;

	backoff_init(&again, AGAIN_FIRST_MS, AGAIN_CAP_MS);
	if (step == FLOW_STEP_NONE) {
		print_call(try, call);
		step = answer_call(try, call);
	}
	while (step != FLOW_STEP_NONE) {
		switch (step) {
		case FLOW_STEP_AGAIN:
			try_error(try, call, "to be tried again (%u so far)", flow_call_tries(call));
			wait_ms(try, backoff_next(&again));
			break;
		case FLOW_STEP_LIMIT:
			try_error(try, call, "the source sets a limit: parked for %lld s",
				  (long long)flow_call_parked_s(call));
			answer_refuse(try, call);
			break;
		case FLOW_STEP_AUTH:
			try_error(try, call, "the source refuses the credential");
			answer_refuse(try, call);
			break;
		case FLOW_STEP_SOURCE:
		case FLOW_STEP_ASK:
		case FLOW_STEP_NONE:
		default:
			try_error(try, call, "the source cannot answer: the next one is asked");
			break;
		}
		step = answer_call(try, call);
	}
}

/* An exit status. */
static int drive(struct try *try)
{
	struct flow_call *call;
	int64_t delay_ms;

	flow_task_resume(try->task);
	print_output(try);
	while (flow_task_state(try->task) == FLOW_CALLS &&
	       (call = flow_task_next_call(try->task, &delay_ms)) != NULL) {
		wait_ms(try, delay_ms);
		carry_out(try, call);
		print_output(try);
		if (flow_task_state(try->task) == FLOW_CALLS && flow_task_slice_due(try->task)) {
			flow_task_seal(try->task);
			flow_task_committed(try->task);
			try->upserts = try->events = try->submits = 0;
			print_output(try);
		}
	}
	if (flow_task_state(try->task) == FLOW_DONE) {
		const char *result = flow_task_result(try->task);

		try_begin(try, "result");
		jwrite_raw(&try->w, "data", result, strlen(result));
		try_end(try);
		return CTL_OK;
	}
	return CTL_FAILED;
}

static void print_failure(struct try *try)
{
	const char *text = "no call is left, but the task has not ended";
	enum sl_result result = SL_FAIL;

	if (flow_task_state(try->task) == FLOW_FAILED)
		result = flow_task_failure(try->task, &text);
	try_begin(try, "error");
	jwrite_string(&try->w, "result", flow_result_name(result));
	jwrite_string(&try->w, "text", text);
	try_end(try);
}

static int64_t fixed_now_ms;

static int64_t fixed_now(void)
{
	return fixed_now_ms;
}

static char *checked_params(struct ctl *ctl, const struct sl_flow *flow)
{
	struct error err;
	char *params = params_make(ctl, flow, ctl_option(ctl, "json-params"), ctl->args + 1,
				   ctl->arg_count - 1, -1, &err);
	struct json_doc *doc = params != NULL ? json_parse(params, strlen(params), &err) : NULL;

	if (doc == NULL || flow_check_params(flow, json_root(doc), &err) != 0) {
		ctl_fail("%s", err.text);
		params = NULL;
	}
	json_doc_free(&doc);
	return params;
}

int cmd_flow_try(struct ctl *ctl)
{
	struct try try = { .ctl = ctl, .replay = ctl_option(ctl, "replay") };
	const char *now = ctl_option(ctl, "now"), *params;
	const struct plugin *plugin;
	const struct sl_flow *flow;
	struct flow_env env;
	struct error err;
	int64_t seconds;
	int status = CTL_FAILED;

	if (now != NULL && (num_parse_int(now, &seconds) != 0 || seconds < 0 || seconds > INT32_MAX * 4LL))
		return ctl_usage(ctl, "--now %s: must be seconds since 1970", now);
	if (try.replay != NULL && ctl_option(ctl, "upstream") != NULL)
		return ctl_usage(ctl, "--replay and --upstream exclude each other");
	flow = ctl_flow(ctl, ctl->args[0], &plugin);
	params = flow != NULL ? checked_params(ctl, flow) : NULL;
	if (params == NULL)
		return CTL_FAILED;
	try.conf = conf_flow(ctl->setup.conf, flow->name);
	env = engine_env(ctl->setup.conf, "00000000-0000-0000-0000-000000000000");
	env.on_record = on_record;
	if (now != NULL) {
		fixed_now_ms = seconds * 1000;
		env.now_ms = fixed_now;
	}
	buf_init(&try.out);
	if (answer_init(&try) == 0) {
		try.task = flow_task_new(&env, plugin, flow, 1, 0, params, NULL, &err);
		if (try.task == NULL) {
			ctl_fail("%s", err.text);
		} else {
			status = drive(&try);
			if (status != CTL_OK)
				print_failure(&try);
		}
		flow_task_free(&try.task);
	}
	answer_fini(&try);
	buf_fini(&try.out);
	return status;
}
