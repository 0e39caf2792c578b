/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl task: reads tasks from the store. */
#include "ctl.h"

#include <strings.h>

#include "base/num.h"
#include "base/str.h"
#include "json/json.h"
#include "store/store_sync.h"

#define LIST_DEFAULT 50
#define CELL_MAX 70

const struct ctl_option task_list_options[] = {
	{"flow", 0, "FLOW", "of this flow only"},
	{"status", 0, "STATUS", "PENDING, PROCESSING, COMPLETE or FAILED"},
	{"limit", 0, "N", "at most N (50)"},
	{NULL, 0, NULL, NULL}
};

/* In any case; NULL: there is no such status. */
static const char *find_status(const char *status)
{
	for (int i = TASK_PENDING; i <= TASK_FAILED; i++)
		if (strcasecmp(task_status_name((enum task_status)i), status) == 0)
			return task_status_name((enum task_status)i);
	return NULL;
}

/* As much of a long value as a line bears; task show has all of it. */
static void cut_cell(struct table *table, const struct json *value)
{
	const char *text = json_string(value, NULL);
	struct buf out;

	buf_init(&out);
	if (text == NULL && json_type(value) != JSON_NULL)
		json_print(value, &out);
	table_cut(table, text != NULL ? text : out.data, CELL_MAX);
	buf_fini(&out);
}

static void print_tasks(struct ctl *ctl, const struct json *tasks)
{
	struct table *table = table_new(ctl, "ID> FLOW STATUS ATTEMPT> CREATED PARAMS DATA");
	const struct json *task;

	for (task = json_first(tasks); task != NULL; task = json_next(task)) {
		int64_t attempt = 0;

		json_int(json_member(task, "attempt"), &attempt);
		table_json(table, json_member(task, "id"));
		table_json(table, json_member(task, "flow"));
		table_json(table, json_member(task, "status"));
		table_printf(table, "%lld", (long long)attempt);
		table_json(table, json_member(task, "created_at"));
		cut_cell(table, json_member(task, "params"));
		cut_cell(table, json_member(task, "data"));
	}
	table_print(table, stdout);
}

/* Prints what the store answered, as it is or through print. */
static int show_answer(struct ctl *ctl, const struct buf *answer,
		       void (*print)(struct ctl *, const struct json *))
{
	struct json_doc *doc;
	struct error err;

	if (ctl->json) {
		puts(answer->data);
		return CTL_OK;
	}
	doc = json_parse(answer->data, answer->len, &err);
	if (doc == NULL)
		return ctl_fail("the task store: %s", err.text);
	print(ctl, json_root(doc));
	json_doc_free(&doc);
	return CTL_OK;
}

int cmd_task_list(struct ctl *ctl)
{
	struct store_task_filter filter = { .flow = ctl_option(ctl, "flow") };
	const char *status = ctl_option(ctl, "status");
	struct buf out;
	struct error err;
	long long limit;
	int result;

	if (ctl_option_number(ctl, "limit", LIST_DEFAULT, &limit) != 0)
		return CTL_USAGE;
	if (status != NULL && (filter.status = find_status(status)) == NULL)
		return ctl_usage(ctl, "--status %s: it is one of PENDING, PROCESSING, COMPLETE, FAILED",
				 status);
	filter.limit = (size_t)limit;
	if (ctl_open_store(ctl, false) != 0)
		return CTL_FAILED;
	buf_init(&out);
	if (store_sync_task_list(ctl->store, &filter, &out, &err) == 0)
		result = show_answer(ctl, &out, print_tasks);
	else
		result = ctl_fail("the task store: %s", err.text);
	buf_fini(&out);
	return result;
}

static void print_task(struct ctl *ctl, const struct json *task)
{
	struct table *table = table_new(ctl, "COLUMN VALUE");
	const struct json *member;

	for (member = json_first(task); member != NULL; member = json_next(member)) {
		table_cell(table, json_name(member));
		table_json(table, member);
	}
	table_print(table, stdout);
}

int cmd_task_show(struct ctl *ctl)
{
	struct buf out;
	struct error err;
	int64_t id;
	int result;

	if (num_parse_int(ctl->args[0], &id) != 0 || id < 1)
		return ctl_usage(ctl, "\"%s\" is no task's number", ctl->args[0]);
	if (ctl_open_store(ctl, false) != 0)
		return CTL_FAILED;
	buf_init(&out);
	if (store_sync_task_get(ctl->store, id, &out, &err) == 0)
		result = show_answer(ctl, &out, print_task);
	else
		result = ctl_fail("%s", err.text);
	buf_fini(&out);
	return result;
}
