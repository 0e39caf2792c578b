/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl status: what the daemon says of itself, and what the store holds. */
#include "ctl.h"

#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "store/store_sync.h"

static long long number(const struct json *object, const char *name)
{
	int64_t value = 0;

	json_int(json_member(object, name), &value);
	return value;
}

static const char *text(const struct json *object, const char *name)
{
	const char *value = json_string(json_member(object, name), NULL);

	return value != NULL ? value : "";
}

static void print_daemon(struct ctl *ctl, const struct json *daemon)
{
	struct table *roles = table_new(ctl, "ROLE STATE PID> SINCE> RESTARTS> TASKS> MEMORY> PEAK>");
	struct table *counters = table_new(ctl, "COUNTER VALUE>");
	const struct json *item;
	const char *state = "starting";
	bool is = false;

	if (json_bool(json_member(daemon, "ready"), &is) && is)
		state = "ready";
	if (json_bool(json_member(daemon, "reloading"), &is) && is)
		state = "reloading";
	if (json_bool(json_member(daemon, "draining"), &is) && is)
		state = "draining";
	printf("sluiced %s: %s, pid %lld, up %s, mode %s\nconfiguration %s, state %s\n\n",
	       text(daemon, "version"), state, number(daemon, "pid"),
	       text_seconds(ctl, number(daemon, "uptime_s")), text(daemon, "mode"), text(daemon, "config"),
	       text(daemon, "state"));
	for (item = json_first(json_member(daemon, "roles")); item != NULL; item = json_next(item)) {
		table_cell(roles, text(item, "title"));
		table_cell(roles, text(item, "state"));
		table_printf(roles, "%lld", number(item, "pid"));
		table_cell(roles, text_seconds(ctl, number(item, "seconds")));
		table_printf(roles, "%lld", number(item, "restarts"));
		table_printf(roles, "%lld", number(item, "tasks_running"));
		table_cell(roles, text_bytes(ctl, (unsigned long long)number(item, "rss_bytes")));
		table_cell(roles, text_bytes(ctl, (unsigned long long)number(item, "rss_peak_bytes")));
	}
	table_print(roles, stdout);
	for (item = json_first(json_member(daemon, "metrics")); item != NULL; item = json_next(item)) {
		int64_t value = 0;

		json_int(item, &value);
		if (value == 0)
			continue;
		table_cell(counters, json_name(item));
		table_printf(counters, "%lld", (long long)value);
	}
	puts("");
	table_print(counters, stdout);
	puts("");
}

/* The daemon's answer in line; 0, or -1 and err. */
static int ask_daemon(struct ctl *ctl, struct buf *line, struct error *err)
{
	int fd = daemon_connect(ctl, err), status;
	struct buf rest;

	if (fd < 0)
		return -1;
	buf_init(&rest);
	status = daemon_ask(fd, "{\"cmd\":\"status\"}", line, &rest, err);
	buf_fini(&rest);
	close(fd);
	return status;
}

/* What the task store says; the texts of rows in ctl's arena. */
struct held {
	struct store_depth *rows;
	size_t count;
	struct store_source *sources;
	size_t source_count;
	struct buf outbox;		/* JSON */
};

static void print_sources(const struct held *held)
{
	for (size_t i = 0; i < held->source_count; i++) {
		const struct store_source *row = &held->sources[i];

		printf("source %s%s%s ", row->source, row->handle[0] != '\0' ? " " : "", row->handle);
		if (row->stopped)
			printf("is stopped by command%s%s\n", row->reason != NULL ? ": " : "",
			       row->reason != NULL ? row->reason : "");
		else
			printf("fails: its breaker is %s\n", source_state(row));
	}
	if (held->source_count > 0)
		puts("");
}

static void print_store(struct ctl *ctl, const struct held *held, const struct json *outbox)
{
	const struct store_depth *rows = held->rows;
	struct table *tasks = table_new(ctl, "FLOW PENDING> SCHEDULED> PROCESSING> COMPLETE> FAILED>");
	struct table *queues = table_new(ctl, "QUEUE EVENTS> WAITING> BYTES>");
	const struct json *queue;

	print_sources(held);
	for (size_t i = 0; i < held->count; i++) {
		table_cell(tasks, rows[i].name);
		table_printf(tasks, "%lld", (long long)rows[i].pending);
		table_printf(tasks, "%lld", (long long)rows[i].scheduled);
		table_printf(tasks, "%lld", (long long)rows[i].processing);
		table_printf(tasks, "%lld", (long long)rows[i].complete);
		table_printf(tasks, "%lld", (long long)rows[i].failed);
	}
	table_print(tasks, stdout);
	for (queue = json_first(outbox); queue != NULL; queue = json_next(queue)) {
		table_cell(queues, text(queue, "queue"));
		table_printf(queues, "%lld", number(queue, "events"));
		table_printf(queues, "%lld", number(queue, "waiting_events"));
		table_cell(queues, text_bytes(ctl, (unsigned long long)number(queue, "waiting_bytes")));
	}
	puts("");
	table_print(queues, stdout);
}

static void print_json(const char *daemon, const char *reason, const struct held *held)
{
	const struct store_depth *rows = held->rows;
	const struct buf *outbox = &held->outbox;
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_bool(&w, "running", daemon != NULL);
	if (daemon != NULL)
		jwrite_raw(&w, "daemon", daemon, strlen(daemon));
	else
		jwrite_string(&w, "reason", reason);
	jwrite_array(&w, "sources");
	for (size_t i = 0; i < held->source_count; i++) {
		jwrite_object(&w, NULL);
		jwrite_string(&w, "source", held->sources[i].source);
		jwrite_string(&w, "handle", held->sources[i].handle[0] != '\0' ? held->sources[i].handle : NULL);
		jwrite_string(&w, "state", source_state(&held->sources[i]));
		jwrite_end(&w);
	}
	jwrite_end(&w);
	jwrite_array(&w, "flows");
	for (size_t i = 0; i < held->count; i++) {
		jwrite_object(&w, NULL);
		jwrite_string(&w, "flow", rows[i].name);
		jwrite_int(&w, "pending", rows[i].pending);
		jwrite_int(&w, "scheduled", rows[i].scheduled);
		jwrite_int(&w, "processing", rows[i].processing);
		jwrite_int(&w, "complete", rows[i].complete);
		jwrite_int(&w, "failed", rows[i].failed);
		jwrite_end(&w);
	}
	jwrite_end(&w);
	if (outbox->len > 0)
		jwrite_raw(&w, "outbox", outbox->data, outbox->len);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

/* What the store holds; nothing when there is none yet. */
static int read_store(struct ctl *ctl, struct held *held)
{
	struct error err;

	if (ctl_open_store_if_there(ctl) != 0)
		return 0;
	if (store_sync_depths(ctl->store, ctl->arena, &held->rows, &held->count, &err) == 0 &&
	    store_sync_outbox_totals(ctl->store, &held->outbox, &err) == 0)
		return source_read(ctl, &held->sources, &held->source_count) != 0 ? CTL_FAILED : CTL_OK;
	return ctl_fail("the task store: %s", err.text);
}

int cmd_status(struct ctl *ctl)
{
	struct json_doc *daemon = NULL, *totals = NULL;
	struct held held = {.count = 0};
	struct error err, ignored;
	struct buf line;
	bool running;
	int status;

	if (ctl_settle(ctl) != 0)
		return CTL_FAILED;
	buf_init(&line);
	buf_init(&held.outbox);
	running = ask_daemon(ctl, &line, &err) == 0;
	if (running)
		daemon = json_parse(line.data, line.len, &err);
	running = daemon != NULL;
	status = read_store(ctl, &held);
	if (ctl->json) {
		print_json(running ? line.data : NULL, err.text, &held);
	} else {
		if (running)
			print_daemon(ctl, json_root(daemon));
		totals = held.outbox.len > 0 ? json_parse(held.outbox.data, held.outbox.len, &ignored) : NULL;
		if (ctl->store != NULL)
			print_store(ctl, &held, totals != NULL ? json_root(totals) : NULL);
	}
	if (!running)
		status = ctl_fail("%s", err.text);
	json_doc_free(&totals);
	json_doc_free(&daemon);
	buf_fini(&held.outbox);
	buf_fini(&line);
	return status;
}
