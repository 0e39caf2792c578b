/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a plugin's flow on the real engine with canned answers. One thread, no I/O. */
#include "fake_host.h"

#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/str.h"
#include "flow/flow.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "plugin/plugin.h"

#define MOST 64

struct run {
	const struct fake *fake;
	struct arena *arena;
	bool used[1024]; /* answers */
	const struct sl_source *gone[MOST]; /* have no credential any more */
	size_t gone_count;
	struct buf out;
};

static struct run *running; /* on_record gets no user pointer */

static int64_t fake_now(void)
{
	return (int64_t)FAKE_NOW * 1000;
}

static void line(struct run *run, struct jwrite *w)
{
	jwrite_end(w);
	buf_addc(&run->out, '\n');
}

static void begin(struct run *run, struct jwrite *w)
{
	jwrite_init(w, &run->out);
	jwrite_object(w, NULL);
}

static void on_record(struct flow_task *task, const struct sl_record *record)
{
	(void)task;
	buf_adds(&running->out, "{\"record\":");
	flow_record_print(record, &running->out);
	buf_adds(&running->out, "}\n");
}

static void print_output(struct run *run, const struct flow_task *task)
{
	struct flow_output output;
	struct jwrite w;

	flow_task_output(task, &output);
	for (size_t i = 0; i < output.upsert_count; i++) {
		const struct flow_upsert *upsert = &output.upserts[i];

		begin(run, &w);
		jwrite_string(&w, "upsert", upsert->table->name);
		jwrite_string(&w, "key", upsert->key);
		jwrite_object(&w, "values");
		for (size_t c = 0; upsert->table->columns[c].name; c++)
			if (upsert->table->columns[c].key)
				jwrite_string(&w, upsert->table->columns[c].name, upsert->values[c]);
		jwrite_end(&w);
		line(run, &w);
	}
	for (size_t i = 0; i < output.event_count; i++) {
		begin(run, &w);
		jwrite_string(&w, "event", output.events[i].stream->name);
		jwrite_raw(&w, "data", output.events[i].json, output.events[i].len);
		line(run, &w);
	}
}

/* --- calls --- */

static const struct sl_source *pick(struct run *run, struct flow_call *call)
{
	const char *const *names = run->fake->sources;
	const struct sl_source *source;

	for (size_t i = 0; (source = flow_call_candidate(call, i)) != NULL; i++) {
		bool usable = names == NULL;

		for (size_t n = 0; names && names[n]; n++)
			usable = usable || str_eq(names[n], source->name);
		for (size_t g = 0; g < run->gone_count; g++)
			usable = usable && run->gone[g] != source;
		if (usable)
			return source;
	}
	return NULL;
}

static void member_add(struct run *run, struct flow_pair *members, size_t *count, const char *name)
{
	for (size_t i = 0; i < *count; i++)
		if (str_eq(members[i].name, name))
			return;
	if (name && *count < MOST)
		members[(*count)++] =
			(struct flow_pair){name, arena_printf(run->arena, "fake-%s", name), true};
}

static struct flow_credential credential_for(struct run *run, const struct sl_source *source)
{
	struct flow_pair *members = arena_alloc(run->arena, MOST * sizeof(*members));
	size_t count = 0;

	for (size_t i = 0; source->fields && source->fields[i]; i++)
		member_add(run, members, &count, source->fields[i]);
	member_add(run, members, &count, source->auth_field);
	if (source->auth == SL_AUTH_OAUTH2)
		member_add(run, members, &count, "access_token");
	return (struct flow_credential){members, count};
}

static const struct fake_answer *answer_for(struct run *run, const char *operation, const char *source)
{
	const struct fake_answer *answers = run->fake->answers;

	for (size_t i = 0; answers && answers[i].operation && i < sizeof(run->used); i++) {
		if (run->used[i] || !str_eq(answers[i].operation, operation) ||
		    (answers[i].source && !str_eq(answers[i].source, source)))
			continue;
		run->used[i] = true;
		return &answers[i];
	}
	return NULL;
}

static size_t headers_of(struct run *run, const char *text, struct flow_pair *headers)
{
	size_t count = 0;

	while (text && *text && count < MOST) {
		size_t len = strcspn(text, "\n"), name = strcspn(text, ":");

		if (name < len) {
			headers[count].name = arena_strndup(run->arena, text, name);
			headers[count].value =
				arena_strndup(run->arena, text + name + 1 + (text[name + 1] == ' '),
					      len - name - 1 - (text[name + 1] == ' '));
			count++;
		}
		text += len + (text[len] == '\n');
	}
	return count;
}

static enum flow_step answer(struct run *run, struct flow_call *call, const struct sl_source *source)
{
	const struct fake_answer *found =
		answer_for(run, strrchr(flow_call_operation(call), '.') + 1, source ? source->name : "");
	struct flow_pair headers[MOST];

	if (!found)
		return flow_call_failed(call, SL_FAIL, 0, "The test has no answer for this call");
	if (!found->status && source)
		return flow_call_failed(call, SL_RETRY, 0, "Connection lost");
	if (!source)
		return flow_call_rows(call, found->body, strlen(found->body));
	return flow_call_response(call, found->status, headers, headers_of(run, found->headers, headers),
				  found->body, strlen(found->body));
}

static void print_call(struct run *run, struct flow_call *call, const struct flow_request *request)
{
	struct jwrite w;

	begin(run, &w);
	jwrite_string(&w, request ? "call" : "lookup", strrchr(flow_call_operation(call), '.') + 1);
	if (request) {
		jwrite_string(&w, "source", flow_call_source(call)->name);
		jwrite_string(&w, "method", request->method);
		jwrite_string(&w, "url", request->shown_url);
		if (request->body)
			jwrite_stringn(&w, "body", request->body, request->body_len);
	} else {
		jwrite_string(&w, "key", flow_call_key(call));
	}
	line(run, &w);
}

static enum flow_step carry_out(struct run *run, struct flow_call *call)
{
	struct flow_credential credential;
	struct flow_request request;
	const struct sl_source *source;
	enum flow_step step;

	if (flow_call_kind(call) == SL_LOOKUP) {
		print_call(run, call, NULL);
		return answer(run, call, NULL);
	}
	source = pick(run, call);
	if (!source)
		return flow_call_unavailable(call);
	flow_call_choose(call, source);
	credential = credential_for(run, source);
	if (flow_call_request(call, NULL, &credential, &request, &step))
		return step;
	print_call(run, call, &request);
	return answer(run, call, source);
}

static void drive(struct run *run, struct flow_call *call)
{
	enum flow_step step = flow_call_step(call);

	do {
		if ((step == FLOW_STEP_LIMIT || step == FLOW_STEP_AUTH) && run->gone_count < MOST)
			run->gone[run->gone_count++] = flow_call_source(call);
		step = carry_out(run, call);
	} while (step != FLOW_STEP_NONE);
}

/* --- the run --- */

static void print_end(struct run *run, const struct flow_task *task)
{
	static const char *const results[] = {"ok", "retry", "limit", "auth", "source", "gone", "fail"};
	const char *text;
	struct jwrite w;

	begin(run, &w);
	if (flow_task_state(task) == FLOW_DONE) {
		jwrite_raw(&w, "result", flow_task_result(task), strlen(flow_task_result(task)));
	} else {
		jwrite_string(&w, "failure", results[flow_task_failure(task, &text)]);
		jwrite_string(&w, "text", text);
	}
	line(run, &w);
}

/* Commits the slice and goes on with another task from the checkpoint. */
static struct flow_task *reopen(struct run *run, const struct flow_env *env, struct flow_task *task,
				const struct plugin *plugin, const char *params, int64_t commit_seq)
{
	const struct sl_flow *flow = flow_task_flow(task);
	struct error err;
	struct buf saved;

	buf_init(&saved);
	print_output(run, task);
	flow_task_checkpoint(task, &saved);
	flow_task_free(&task);
	task = flow_task_new(env, plugin, flow, 1, commit_seq, params, saved.data, &err);
	if (!task)
		buf_printf(&run->out, "{\"error\":\"%s\"}\n", err.text);
	else
		flow_task_resume(task);
	buf_fini(&saved);
	return task;
}

static void run_task(struct run *run, const struct plugin *plugin, const struct sl_flow *flow,
		     const char *params)
{
	const struct flow_env env = {
		.store_id = "fake",
		.event_max = 1 << 20,
		.facts_max = 1 << 20,
		.slice_records = 1000,
		.slice_bytes = 4 << 20,
		.calls_in_flight = 10,
		.call_retries = 2,
		.now_ms = fake_now,
		.on_record = on_record,
	};
	struct flow_task *task;
	struct flow_call *call;
	struct error err;
	int64_t delay, seq = 0;

	task = flow_task_new(&env, plugin, flow, 1, 0, params, NULL, &err);
	if (!task) {
		buf_printf(&run->out, "{\"error\":\"%s\"}\n", err.text);
		return;
	}
	flow_task_resume(task);
	while (task && (call = flow_task_next_call(task, &delay)) != NULL) {
		drive(run, call);
		if (run->fake->slices && flow_task_state(task) == FLOW_CALLS &&
		    flow_task_can_checkpoint(task))
			task = reopen(run, &env, task, plugin, params, ++seq);
	}
	if (task) {
		print_output(run, task);
		print_end(run, task);
	}
	flow_task_free(&task);
}

char *fake_run(const struct fake *fake, const char *flow_name, const char *params)
{
	struct run run = {.fake = fake, .arena = arena_new()};
	struct plugin_set *set = plugin_set_new();
	const struct plugin *plugin = NULL;
	const struct sl_flow *flow = NULL;
	struct json_doc *doc = NULL;
	struct error err;

	error_clear(&err);
	buf_init(&run.out);
	running = &run;
	if (!plugin_add_static(set, arena_printf(run.arena, "%s.so", fake->plugin->name), fake->plugin,
			       &plugin, &err)) {
		flow = plugin_find_flow(set, flow_name, NULL);
		if (!flow)
			error_set(&err, ERR_NOT_FOUND, "no flow %s", flow_name);
		else
			doc = json_parse(params, strlen(params), &err);
	}
	if (doc && !flow_check_params(flow, json_root(doc), &err))
		run_task(&run, plugin, flow, params);
	else
		buf_printf(&run.out, "{\"error\":\"%s\"}\n", err.text);
	running = NULL;
	json_doc_free(&doc);
	plugin_set_free(&set);
	arena_free(&run.arena);
	return buf_steal(&run.out);
}
