/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl query: asks the warehouse through the sink process that holds it. */
#include "ctl.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"

const struct ctl_option query_options[] = {
	{"format", 0, "FORMAT", "an output format of ClickHouse (a table on a terminal, else TSV)"},
	{"write", 0, NULL, "let the statement change data"},
	{NULL, 0, NULL, NULL}
};

#define TABLE_FORMAT "TabSeparatedWithNamesAndTypes"

/* Whether the statement ends with its own FORMAT clause, which then decides. */
static bool has_format(const char *sql)
{
	size_t end = strlen(sql), start;

	while (end > 0 && strchr(" \t\r\n;", sql[end - 1]) != NULL)
		end--;
	for (start = end; start > 0 && strchr(" \t\r\n", sql[start - 1]) == NULL; )
		start--;
	while (start > 0 && strchr(" \t\r\n", sql[start - 1]) != NULL)
		start--;
	return start >= 6 && strncasecmp(sql + start - 6, "format", 6) == 0 &&
	       (start == 6 || strchr(" \t\r\n)", sql[start - 7]) != NULL);
}

/* The fields of one line of tab-separated values, their escapes undone in place. */
static size_t split_line(char *line, const char **fields, size_t max)
{
	size_t count = 0;
	char *to = line;

	fields[count++] = line;
	for (const char *from = line; *from != '\0'; from++) {
		if (*from == '\t') {
			*to++ = '\0';
			if (count == max)
				return count;
			fields[count++] = to;
		} else if (*from == '\\' && from[1] != '\0') {
			from++;
			*to++ = *from == 'N' ? '-' : *from == '\\' || *from == '\'' ? *from : ' ';
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return count;
}

static bool is_number(const char *type)
{
	return strstr(type, "Int") != NULL || strstr(type, "Float") != NULL ||
	       strstr(type, "Decimal") != NULL;
}

/* The first line holds the names, the second the types. */
static void print_table(struct ctl *ctl, char *text)
{
	char *names = strsep(&text, "\n"), *types = strsep(&text, "\n"), *line;
	size_t columns, rows = 0, room;
	const char **fields;
	struct table *table;

	if (types == NULL)
		return;
	room = strlen(names) + strlen(types) + 2;
	fields = arena_alloc(ctl->arena, room * sizeof(*fields));
	columns = split_line(names, fields, room);
	table = table_new_names(ctl, fields, columns);
	for (size_t i = 0, n = split_line(types, fields, columns); i < n; i++)
		if (is_number(fields[i]))
			table_right(table, i);
	/* Each line ends with a newline, an empty one too. */
	for (; (line = strsep(&text, "\n")) != NULL && text != NULL; rows++)
		for (size_t i = 0, n = split_line(line, fields, columns); i < columns; i++)
			table_cell(table, i < n ? fields[i] : "");
	table_print(table, stdout);
	printf("(%zu row%s)\n", rows, rows == 1 ? "" : "s");
}

/* The answer's first line says how many bytes follow, or what is wrong. */
static int read_answer(struct ctl *ctl, int fd, const struct buf *line, struct buf *rest, bool as_table)
{
	struct error err;
	struct json_doc *doc = json_parse(line->data, line->len, &err);
	const struct json *answer = doc != NULL ? json_root(doc) : NULL;
	const char *wrong = json_string(json_member(answer, "error"), NULL);
	int64_t bytes = 0;
	int status = CTL_OK;

	if (doc == NULL)
		status = ctl_fail("the daemon's answer: %s", err.text);
	else if (wrong != NULL)
		status = ctl_fail("%s", wrong);
	else if (!json_int(json_member(answer, "bytes"), &bytes) || bytes < 0)
		status = ctl_fail("the daemon's answer does not say how long it is");
	else if (daemon_read(fd, rest, (size_t)bytes, &err) != 0)
		status = ctl_fail("%s", err.text);
	else if (as_table && bytes > 0)
		print_table(ctl, rest->data);
	else if (bytes > 0)
		fwrite(rest->data, 1, (size_t)bytes, stdout);
	json_doc_free(&doc);
	return status;
}

int cmd_query(struct ctl *ctl)
{
	const char *format = ctl_option(ctl, "format");
	bool as_table = format == NULL && !ctl->json && ctl->terminal && !has_format(ctl->args[0]);
	struct buf request, line, rest;
	struct error err;
	struct jwrite w;
	int fd, status;

	if (ctl_settle(ctl) != 0)
		return CTL_FAILED;
	fd = daemon_connect(ctl, &err);
	if (fd < 0)
		return ctl_fail("%s: the warehouse is asked through the daemon's sink process%s", err.text,
				err.code == ERR_NOT_FOUND ? "; start sluiced, or name its --state DIR" : "");
	if (format == NULL)
		format = as_table ? TABLE_FORMAT : ctl->json ? "JSON" : "TabSeparated";
	buf_init(&request);
	buf_init(&line);
	buf_init(&rest);
	jwrite_init(&w, &request);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "cmd", "query");
	jwrite_string(&w, "sql", ctl->args[0]);
	jwrite_string(&w, "format", format);
	jwrite_bool(&w, "write", ctl_option(ctl, "write") != NULL);
	jwrite_end(&w);
	if (daemon_ask(fd, request.data, &line, &rest, &err) != 0)
		status = ctl_fail("%s", err.text);
	else
		status = read_answer(ctl, fd, &line, &rest, as_table);
	buf_fini(&rest);
	buf_fini(&line);
	buf_fini(&request);
	close(fd);
	return status;
}
