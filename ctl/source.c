/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl source list, stop, start: which sources get no requests, as all nodes that share the store know it. */
#include "ctl.h"

#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/catalogue.h"
#include "json/jwrite.h"
#include "store/store_sync.h"

#define ROWS_MAX 10000
#define REASON_CELL 60

const struct ctl_option source_stop_options[] = {
	{"reason", 0, "TEXT", "why, for people"},
	{NULL, 0, NULL, NULL}
};

int source_read(struct ctl *ctl, struct store_source **rows_r, size_t *count_r)
{
	struct error err;

	*count_r = 0;
	if (ctl_open_store_if_there(ctl) != 0)
		return 0;
	if (store_sync_sources(ctl->store, ROWS_MAX, ctl->arena, rows_r, count_r, &err) == 0)
		return 0;
	ctl_fail("the task store: %s", err.text);
	return -1;
}

const char *source_state(const struct store_source *row)
{
	if (row->stopped)
		return "stopped";
	return row->probe != NULL && row->probe_in_ms > 0 ? "half-open" : "open";
}

/* --- list --- */

static const char *time_text(struct ctl *ctl, int64_t ms)
{
	char text[CLOCK_TEXT_SIZE];

	return ms > 0 ? arena_strdup(ctl->arena, clock_format_ms(text, ms)) : NULL;
}

/* When the next one may try; NULL: one does, or none will. */
static const char *next_text(struct ctl *ctl, const struct store_source *row)
{
	bool waits = !row->stopped && row->probe == NULL;

	return waits ? time_text(ctl, clock_wall_ms() + row->probe_in_ms) : NULL;
}

static void add_row(struct ctl *ctl, struct table *table, struct jwrite *w, const struct store_source *row,
		    const char *state)
{
	const char *since = time_text(ctl, row->since_ms), *next = next_text(ctl, row);

	if (row->since_ms == 0)
		next = NULL;
	table_cell(table, row->source);
	table_cell(table, row->handle);
	table_cell(table, state);
	table_cell(table, since);
	table_printf(table, "%lld", (long long)row->failures);
	table_cell(table, next);
	table_cell(table, row->node);
	table_cut(table, row->reason, REASON_CELL);
	jwrite_object(w, NULL);
	jwrite_string(w, "source", row->source);
	jwrite_string(w, "handle", row->handle != NULL && row->handle[0] != '\0' ? row->handle : NULL);
	jwrite_string(w, "state", state);
	jwrite_string(w, "since", since);
	jwrite_int(w, "failures", row->failures);
	jwrite_string(w, "next_try", next);
	jwrite_string(w, "node", row->node);
	jwrite_string(w, "reason", row->reason);
	jwrite_end(w);
}

/* What is known of the source; closed when nothing of itself is, but of a handle. */
static void add_source(struct ctl *ctl, struct table *table, struct jwrite *w, const char *name,
		       const struct store_source *rows, size_t count)
{
	const struct store_source closed = {.source = name};
	bool own = false;

	for (size_t i = 0; i < count; i++)
		own = own || (str_eq(rows[i].source, name) && rows[i].handle[0] == '\0');
	if (!own)
		add_row(ctl, table, w, &closed, "closed");
	for (size_t i = 0; i < count; i++)
		if (str_eq(rows[i].source, name))
			add_row(ctl, table, w, &rows[i], source_state(&rows[i]));
}

int cmd_source_list(struct ctl *ctl)
{
	struct table *table = table_new(ctl, "SOURCE HANDLE STATE SINCE FAILURES> NEXT-TRY NODE REASON");
	const struct conf_catalogue *catalogue;
	struct store_source *rows = NULL;
	struct jwrite w;
	struct buf out;
	size_t count;

	if (ctl_load(ctl, false) != 0 || source_read(ctl, &rows, &count) != 0)
		return CTL_FAILED;
	catalogue = ctl->setup.catalogue;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < catalogue->source_count; i++)
		add_source(ctl, table, &w, catalogue->sources[i].name, rows, count);
	/* Of plugins that are not there any more. */
	for (size_t i = 0; i < count; i++)
		if (conf_offered_source(catalogue, NULL, rows[i].source) == NULL)
			add_row(ctl, table, &w, &rows[i], source_state(&rows[i]));
	jwrite_end(&w);
	table_or_json(table, &out);
	return CTL_OK;
}

/* --- stop and start --- */

/* 0, or -1 after complaining. What the store knows of is a source, whatever the plugins say. */
static int check_name(struct ctl *ctl, const char *name)
{
	const struct conf_catalogue *catalogue = ctl->setup.catalogue;
	struct store_source *rows = NULL;
	const char **names, *near;
	size_t count;

	if (conf_offered_source(catalogue, NULL, name) != NULL)
		return 0;
	if (source_read(ctl, &rows, &count) != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (str_eq(rows[i].source, name))
			return 0;
	names = arena_alloc(ctl->arena, (catalogue->source_count + 1) * sizeof(*names));
	for (size_t i = 0; i < catalogue->source_count; i++)
		names[i] = catalogue->sources[i].name;
	near = str_nearest(name, names, catalogue->source_count);
	ctl_fail("no plugin has a source \"%s\"%s%s%s", name, near != NULL ? " (did you mean \"" : "",
		 near != NULL ? near : "", near != NULL ? "\"?)" : "");
	return -1;
}

static int change(struct ctl *ctl, enum store_source_action action)
{
	struct store_source_change what = {.action = action, .source = ctl->args[0], .handle = "",
					   .reason = ctl_option(ctl, "reason")};
	struct store_source *rows;
	struct error err;
	char node[256] = "";
	size_t count;

	gethostname(node, sizeof(node) - 1);
	what.node = node;
	if (ctl_load(ctl, true) != 0 || check_name(ctl, what.source) != 0 || ctl_open_store(ctl, true) != 0)
		return CTL_FAILED;
	if (store_sync_source_change(ctl->store, &what, ctl->arena, &rows, &count, &err) != 0)
		return ctl_fail("the task store: %s", err.text);
	if (ctl->json)
		printf("{\"source\":\"%s\",\"stopped\":%s}\n", what.source,
		       action == STORE_SOURCE_STOP ? "true" : "false");
	return CTL_OK;
}

int cmd_source_stop(struct ctl *ctl)
{
	return change(ctl, STORE_SOURCE_STOP);
}

int cmd_source_start(struct ctl *ctl)
{
	return change(ctl, STORE_SOURCE_START);
}
