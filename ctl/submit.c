/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl submit: makes tasks straight in the store, so that it works without
 * a daemon, then tells the daemon, when there is one, which flow has work.
 */
#include "ctl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/num.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "plugin/plugin.h"
#include "setup/new_task.h"
#include "store/store_sync.h"

#define LOT 1000			/* tasks of one transaction */
#define POLL_MS 250
#define TASKS_MAX 1000000
#define TOLD_MAX 10			/* skipped tasks that are told one by one */

const struct ctl_option submit_options[] = {
	{"json-params", 0, "JSON", "parameters as a JSON object; KEY=VALUE goes before it"},
	{"file", 0, "FILE", "one task for each line, a JSON object of parameters; - is standard input"},
	{"count", 0, "N", "N tasks; {i} in a value becomes 0 to N-1"},
	{"priority", 0, "N", "1 is most urgent (as configured)"},
	{"unique", 0, "KEY", "refuse a second live task of the flow with this key; {i} as above"},
	{"force", 0, NULL, "make also tasks for what failed too often (skip_after)"},
	{"wait", 0, NULL, "wait until all have ended, and show how far they are"},
	{"timeout", 0, "DURATION", "wait no longer, as in 60s or 10m (no limit)"},
	{NULL, 0, NULL, NULL}
};

struct submission {
	struct ctl *ctl;
	const struct sl_flow *flow;
	const struct conf_flow *conf;
	struct store_new_task *tasks;
	int64_t *ids;			/* of those that were made */
	size_t count, cap, made;
	long long priority;
	const char *unique;
};

static int add(struct submission *s, const char *params, long long index, const char *where)
{
	struct ctl *ctl = s->ctl;
	struct store_new_task *task;
	struct json_doc *doc;
	struct error err;
	int status;

	if (s->count == s->cap) {
		s->cap = s->cap > 0 ? s->cap * 2 : 64;
		s->tasks = mem_realloc(s->tasks, s->cap * sizeof(*s->tasks));
	}
	task = &s->tasks[s->count];
	doc = json_parse(params, strlen(params), &err);
	status = doc != NULL ? new_task_make(task, ctl->arena, s->conf, s->flow->params, json_root(doc), &err) : -1;
	json_doc_free(&doc);
	if (status != 0) {
		ctl_fail("%s%s", where, err.text);
		return -1;
	}
	if (s->priority > 0)
		task->priority = (int)s->priority;
	if (s->unique != NULL)
		task->unique_key = params_index(ctl, s->unique, index);
	if (ctl_option(ctl, "force") != NULL)
		task->skip = NULL;
	s->count++;
	return 0;
}

static int add_counted(struct submission *s, long long count)
{
	struct ctl *ctl = s->ctl;
	bool numbered = ctl_option(ctl, "count") != NULL;
	struct error err;

	for (long long i = 0; i < count; i++) {
		const char *params = params_make(ctl, s->flow, ctl_option(ctl, "json-params"), ctl->args + 1,
						 ctl->arg_count - 1, numbered ? i : -1, &err);

		if (params == NULL) {
			ctl_fail("%s", err.text);
			return -1;
		}
		if (add(s, params, numbered ? i : -1, "") != 0)
			return -1;
	}
	return 0;
}

/* Each line an object; what the command line says goes over it. */
static int add_lines(struct submission *s, const char *path)
{
	struct ctl *ctl = s->ctl;
	bool standard = strcmp(path, "-") == 0;
	FILE *in = standard ? stdin : fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	struct error err;
	int status = 0;

	if (in == NULL) {
		ctl_fail("%s: %s", path, strerror(errno));
		return -1;
	}
	for (long long number = 1; status == 0 && getline(&line, &size, in) > 0; number++) {
		const char *where =
			arena_printf(ctl->arena, "%s:%lld: ", standard ? "standard input" : path, number);
		const char *params;

		if (line[strspn(line, " \t\r\n")] == '\0')
			continue;
		params = params_make(ctl, s->flow, line, ctl->args + 1, ctl->arg_count - 1, -1, &err);
		if (params == NULL) {
			ctl_fail("%s%s", where, err.text);
			status = -1;
		} else {
			status = add(s, params, number - 1, where);
		}
	}
	if (status == 0 && ferror(in)) {
		ctl_fail("%s: %s", path, strerror(errno));
		status = -1;
	}
	mem_release(line);
	if (!standard)
		fclose(in);
	return status;
}

/* Which tasks were not made, and why. */
static void tell_skipped(const struct submission *s)
{
	size_t skipped = s->count - s->made, told = 0;

	for (size_t i = 0; i < s->count && told < TOLD_MAX; i++) {
		const struct store_skip *skip = s->tasks[i].skip;
		char first[CLOCK_TEXT_SIZE];

		if (skip == NULL || !skip->skipped)
			continue;
		ctl_fail("skipped: %s failed %lld time%s since %s, last: %s; use --force", skip->key,
			 (long long)skip->count, skip->count == 1 ? "" : "s", clock_format(first, skip->first_ms / 1000),
			 skip->error);
		told++;
	}
	if (skipped > told)
		ctl_fail("... and %zu more; 'sluicectl task skipped %s' lists them", skipped - told, s->flow->name);
	if (s->count > 1)
		ctl_fail("%zu of %zu tasks were skipped", skipped, s->count);
}

/* Of a lot: what was made goes behind what was made before. */
static void take_ids(struct submission *s, const int64_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ids[i] == 0)
			continue;
		s->ids[s->made++] = ids[i];
		if (!s->ctl->json)
			printf("%lld\n", (long long)ids[i]);
	}
}

/* In lots, so that a long submission neither holds the store nor has to fit one transaction. */
static int insert(struct submission *s)
{
	struct ctl *ctl = s->ctl;
	struct error err;
	int64_t ids[LOT];

	s->ids = arena_alloc(ctl->arena, (s->count + 1) * sizeof(*s->ids));
	for (size_t done = 0; done < s->count; done += LOT) {
		size_t lot = s->count - done < LOT ? s->count - done : LOT;

		if (store_sync_submit(ctl->store, s->tasks + done, lot, ids, &err) != 0) {
			ctl_fail("%s", err.text);
			if (s->made > 0)
				ctl_fail("%zu of the first %zu of %zu tasks were made: %lld to %lld", s->made, done,
					 s->count, (long long)s->ids[0], (long long)s->ids[s->made - 1]);
			return -1;
		}
		take_ids(s, ids, lot);
	}
	fflush(stdout);
	if (s->made < s->count && !ctl->json)
		tell_skipped(s);
	return 0;
}

static void show_progress(const struct store_depth *depth, size_t count, int64_t started_ms)
{
	double seconds = (double)(clock_mono_ms() - started_ms) / 1000.0;
	int64_t ended = depth->complete + depth->failed;

	fprintf(stderr,
		"\r%lld of %zu ended (%lld complete, %lld failed), %lld running, %lld waiting, %.0f/s \033[K",
		(long long)ended, count, (long long)depth->complete, (long long)depth->failed,
		(long long)depth->processing, (long long)(depth->pending + depth->scheduled),
		seconds > 0 ? (double)ended / seconds : 0.0);
}

/* Polls until all have ended. An exit status. */
static int wait_all(struct submission *s, int64_t timeout_ms, struct store_depth *depth)
{
	int64_t started = clock_mono_ms();
	bool live = isatty(STDERR_FILENO) == 1 && !s->ctl->json;
	int status = CTL_OK;
	struct error err;

	for (;;) {
		if (store_sync_progress(s->ctl->store, s->ids, s->made, depth, &err) != 0) {
			status = ctl_fail("the task store: %s", err.text);
			break;
		}
		if (live)
			show_progress(depth, s->made, started);
		if (depth->pending + depth->scheduled + depth->processing == 0) {
			status = depth->complete == (int64_t)s->made ? CTL_OK : CTL_TASKS_FAILED;
			break;
		}
		if (timeout_ms > 0 && clock_mono_ms() - started >= timeout_ms) {
			status = CTL_TIMEOUT;
			break;
		}
		usleep(POLL_MS * 1000);
	}
	if (live)
		fputc('\n', stderr);
	if (status == CTL_TASKS_FAILED)
		ctl_fail("%lld of %zu tasks failed: 'sluicectl task list --flow %s --status FAILED' says why",
			 (long long)s->made - (long long)depth->complete, s->made, s->flow->name);
	else if (status == CTL_TIMEOUT)
		ctl_fail("%lld of %zu tasks have not ended within the time-out; they go on",
			 (long long)s->made - (long long)(depth->complete + depth->failed), s->made);
	return status;
}

static void write_skipped(struct jwrite *w, const struct submission *s)
{
	char first[CLOCK_TEXT_SIZE];

	jwrite_array(w, "skipped");
	for (size_t i = 0; i < s->count; i++) {
		const struct store_skip *skip = s->tasks[i].skip;

		if (skip == NULL || !skip->skipped)
			continue;
		jwrite_object(w, NULL);
		ctl_write_json(w, "params", s->tasks[i].params);
		jwrite_string(w, "key", skip->key);
		jwrite_int(w, "failures", skip->count);
		jwrite_string(w, "first_at", clock_format(first, skip->first_ms / 1000));
		jwrite_string(w, "error", skip->error);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static void print_json(const struct submission *s, const struct store_depth *depth)
{
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "flow", s->flow->name);
	jwrite_array(&w, "ids");
	for (size_t i = 0; i < s->made; i++)
		jwrite_int(&w, NULL, s->ids[i]);
	jwrite_end(&w);
	write_skipped(&w, s);
	if (depth != NULL) {
		jwrite_int(&w, "complete", depth->complete);
		jwrite_int(&w, "failed", depth->failed);
		jwrite_int(&w, "running", depth->processing);
		jwrite_int(&w, "waiting", depth->pending + depth->scheduled);
	}
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

static int carry_out(struct submission *s, long long count, int64_t timeout_ms)
{
	struct ctl *ctl = s->ctl;
	const char *lines = ctl_option(ctl, "file");
	bool wait = ctl_option(ctl, "wait") != NULL;
	struct store_depth depth = { .pending = 0 };
	int status = CTL_OK;

	if ((lines != NULL ? add_lines(s, lines) : add_counted(s, count)) != 0 ||
	    ctl_open_store(ctl, true) != 0 || insert(s) != 0)
		return CTL_FAILED;
	if (s->made > 0)
		daemon_nudge(ctl, s->flow->name);
	if (wait)
		status = wait_all(s, timeout_ms, &depth);
	if (ctl->json)
		print_json(s, wait ? &depth : NULL);
	return status == CTL_OK && s->made < s->count ? CTL_TASKS_SKIPPED : status;
}

int cmd_submit(struct ctl *ctl)
{
	struct submission s = { .ctl = ctl, .unique = ctl_option(ctl, "unique") };
	const char *timeout = ctl_option(ctl, "timeout");
	const struct plugin *plugin;
	int64_t timeout_ms = 0;
	long long count;
	int status;

	if (ctl_option_number(ctl, "count", 1, &count) != 0 ||
	    ctl_option_number(ctl, "priority", 0, &s.priority) != 0)
		return CTL_USAGE;
	if (count > TASKS_MAX)
		return ctl_usage(ctl, "--count %lld: at most %d at once", count, TASKS_MAX);
	if (s.priority > 1000)
		return ctl_usage(ctl, "--priority %lld: at most 1000", s.priority);
	if (timeout != NULL && (num_parse_duration(timeout, &timeout_ms) != 0 || timeout_ms == 0))
		return ctl_usage(ctl, "--timeout %s: must be a duration such as 60s or 10m", timeout);
	if (ctl_option(ctl, "file") != NULL &&
	    (ctl_option(ctl, "count") != NULL || ctl_option(ctl, "json-params") != NULL))
		return ctl_usage(ctl, "--file goes with neither --count nor --json-params");
	if (timeout != NULL && ctl_option(ctl, "wait") == NULL)
		return ctl_usage(ctl, "--timeout goes with --wait");
	if (ctl_load(ctl, true) != 0)
		return CTL_FAILED;
	s.flow = ctl_flow(ctl, ctl->args[0], &plugin);
	if (s.flow == NULL)
		return CTL_FAILED;
	s.conf = conf_flow(ctl->setup.conf, s.flow->name);
	if (s.conf == NULL || !s.conf->enabled)
		return ctl_fail("flow \"%s\" is not listed below flows: in %s: no worker would run it",
				s.flow->name, ctl->setup.file);
	status = carry_out(&s, count, timeout_ms);
	mem_release(s.tasks);
	return status;
}
