/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl reload: the daemon reads its configuration again; or what it would change, if it did. */
#include "ctl.h"

#include <unistd.h>

#include "base/str.h"
#include "json/json.h"

const struct ctl_option reload_options[] = {
	{"check", 'n', NULL, "only tell what would change"},
	{NULL, 0, NULL, NULL}
};

static int ask(const struct ctl *ctl, bool only_check, struct buf *line, struct error *err)
{
	struct buf rest;
	int fd = daemon_connect(ctl, err), status;

	if (fd < 0)
		return -1;
	buf_init(&rest);
	status = daemon_ask(fd, only_check ? "{\"cmd\":\"reload\",\"check\":true}" : "{\"cmd\":\"reload\"}", line, &rest,
			    err);
	buf_fini(&rest);
	close(fd);
	return status;
}

/* Bare lines, so that "flows.yaml:12:7: ..." begins one, as sluiced -n prints it. */
static void print_lines(const struct json *list)
{
	for (const struct json *one = json_first(list); one != NULL; one = json_next(one))
		fprintf(stderr, "%s\n", json_string(one, NULL));
}

static void print_changes(struct ctl *ctl, const struct json *answer, bool only_check)
{
	struct table *table = table_new(ctl, "CHANGE PROCESS");
	const struct json *counts = json_member(answer, "counts"), *one;
	const char *level = json_string(json_member(answer, "log_level"), NULL);
	bool first = true;

	for (one = json_first(json_member(answer, "changes")); one != NULL; one = json_next(one)) {
		table_json(table, json_member(one, "change"));
		table_json(table, json_member(one, "process"));
	}
	table_print(table, stdout);
	printf("\n%s", only_check ? "Would change: " : "");
	for (one = json_first(counts); one != NULL; one = json_next(one)) {
		int64_t count = 0;

		if (!json_int(one, &count) || count == 0)
			continue;
		printf("%s%lld %s", first ? "" : ", ", (long long)count, json_name(one));
		first = false;
	}
	printf("%s%s\n", level != NULL ? "; log level: " : "", level != NULL ? level : "");
}

static int print_answer(struct ctl *ctl, const struct buf *line, const struct json *answer, bool only_check)
{
	const char *error = json_string(json_member(answer, "error"), NULL);

	if (ctl->json)
		puts(line->data);
	print_lines(json_member(answer, "refused_plugins"));
	print_lines(json_member(answer, "errors"));
	if (error != NULL)
		return ctl_fail("%s", error);
	if (!ctl->json)
		print_changes(ctl, answer, only_check);
	return CTL_OK;
}

int cmd_reload(struct ctl *ctl)
{
	bool only_check = ctl_option(ctl, "check") != NULL;
	struct json_doc *doc = NULL;
	struct buf line;
	struct error err;
	int status = CTL_FAILED;

	if (ctl_settle(ctl) != 0)
		return CTL_FAILED;
	buf_init(&line);
	if (ask(ctl, only_check, &line, &err) == 0)
		doc = json_parse(line.data, line.len, &err);
	if (doc != NULL)
		status = print_answer(ctl, &line, json_root(doc), only_check);
	else
		ctl_fail("%s", err.text);
	json_doc_free(&doc);
	buf_fini(&line);
	return status;
}
