/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl schema show and apply: what the task store lacks, as statements or done. */
#include "ctl.h"

#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/jwrite.h"
#include "plugin/plugin.h"
#include "plugin/store_table.h"
#include "store/store.h"

const struct ctl_option schema_show_options[] = {
	{"all", 0, NULL, "the whole schema, as for a new store"},
	{NULL, 0, NULL, NULL}
};

const struct store_table *const *schema_tables(struct ctl *ctl, size_t *count_r)
{
	const struct store_table **tables;
	size_t count = 0;

	if (ctl_load(ctl, false) != 0 || ctl_load_plugins(ctl) != 0)
		return NULL;
	for (size_t i = 0; i < plugin_count(ctl->plugins); i++) {
		const struct sl_plugin *plugin = plugin_descriptor(plugin_at(ctl->plugins, i));

		for (size_t k = 0; plugin->tables != NULL && plugin->tables[k] != NULL; k++)
			count++;
	}
	tables = arena_alloc(ctl->arena, (count + 1) * sizeof(*tables));
	*count_r = 0;
	for (size_t i = 0; i < plugin_count(ctl->plugins); i++) {
		const struct sl_plugin *plugin = plugin_descriptor(plugin_at(ctl->plugins, i));

		for (size_t k = 0; plugin->tables != NULL && plugin->tables[k] != NULL; k++)
			tables[(*count_r)++] = plugin_store_table(ctl->arena, plugin->tables[k]);
	}
	return tables;
}

/* --- show --- */

static void print_sql(const struct ctl *ctl, const struct store_schema *schema)
{
	const char *program = str_starts(ctl->setup.conf->tasks, "sqlite:") ? "sqlite3 -bail FILE <"
									    : "psql -v ON_ERROR_STOP=1 -f";

	printf("-- %s: schema version %lld of %lld\n", schema->server, (long long)schema->version,
	       (long long)schema->newest);
	if (schema->step_count == 0) {
		puts("-- Nothing is missing.");
		return;
	}
	printf("-- All of it or nothing, so stop at the first error: %s THIS\n%s%s", program, schema->before,
	       schema->begin);
	for (size_t i = 0; i < schema->step_count; i++) {
		const struct store_step *step = &schema->steps[i];

		if (step->version > 0)
			printf("\n-- migration %lld: %s\n", (long long)step->version, step->name);
		else
			printf("\n-- table %s\n", step->name);
		fputs(step->sql, stdout);
	}
	printf("\n%s", schema->commit);
}

static void write_step(struct jwrite *w, const struct store_step *step, bool sql)
{
	jwrite_object(w, NULL);
	if (step->version > 0) {
		jwrite_int(w, "migration", step->version);
		jwrite_string(w, "name", step->name);
	} else {
		jwrite_string(w, "table", step->name);
	}
	if (sql)
		jwrite_string(w, "sql", step->sql);
	jwrite_end(w);
}

static void print_json(const struct store_schema *schema)
{
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "server", schema->server);
	jwrite_int(&w, "version", schema->version);
	jwrite_int(&w, "newest", schema->newest);
	jwrite_string(&w, "before", schema->before);
	jwrite_string(&w, "begin", schema->begin);
	jwrite_array(&w, "steps");
	for (size_t i = 0; i < schema->step_count; i++)
		write_step(&w, &schema->steps[i], true);
	jwrite_end(&w);
	jwrite_string(&w, "commit", schema->commit);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

/* What no statement puts right. */
static int complain_wrong(const struct store_schema *schema)
{
	int status = CTL_OK;

	for (size_t i = 0; i < schema->finding_count; i++)
		if (schema->findings[i].kind == STORE_WRONG)
			status = ctl_fail("%s: %s", schema->findings[i].text, schema->findings[i].todo);
	return status;
}

int cmd_schema_show(struct ctl *ctl)
{
	const struct store_table *const *tables;
	struct store_schema schema;
	struct error err;
	size_t count;
	int rc;

	tables = schema_tables(ctl, &count);
	if (tables == NULL)
		return CTL_FAILED;
	if (ctl_option(ctl, "all") != NULL)
		rc = store_schema_whole(ctl->setup.conf->tasks, tables, count, ctl->arena, &schema, &err);
	else
		rc = store_schema_read(ctl->setup.conf->tasks, tables, count, ctl->arena, &schema, &err);
	if (rc < 0)
		return ctl_fail("%s", err.text);
	/* A newer one, or none that may be read: there is nothing to show. */
	if (schema.begin == NULL || schema.version > schema.newest)
		return complain_wrong(&schema);
	if (ctl->json)
		print_json(&schema);
	else
		print_sql(ctl, &schema);
	return complain_wrong(&schema);
}

/* --- apply --- */

struct applying {
	struct ctl *ctl;
	struct jwrite w;
	struct buf out;
	size_t count;
};

static void on_applied(void *user, const struct store_step *step)
{
	struct applying *applying = user;

	applying->count++;
	if (applying->ctl->json)
		write_step(&applying->w, step, false);
	else if (step->version > 0)
		printf("migration %lld applied: %s\n", (long long)step->version, step->name);
	else
		printf("table %s made ready\n", step->name);
	fflush(stdout);
}

int cmd_schema_apply(struct ctl *ctl)
{
	struct applying applying = { .ctl = ctl };
	const struct store_table *const *tables;
	int status = CTL_OK;
	struct error err;
	size_t count;

	tables = schema_tables(ctl, &count);
	if (tables == NULL)
		return CTL_FAILED;
	buf_init(&applying.out);
	jwrite_init(&applying.w, &applying.out);
	jwrite_object(&applying.w, NULL);
	jwrite_array(&applying.w, "applied");
	if (store_schema_apply(ctl->setup.conf->tasks, tables, count, on_applied, &applying, &err) < 0)
		status = ctl_fail("%s; 'sluicectl schema check' tells what to do", err.text);
	jwrite_end(&applying.w);
	jwrite_end(&applying.w);
	if (ctl->json)
		puts(applying.out.data);
	else if (status == CTL_OK && applying.count == 0)
		puts("nothing to do: the task store is up to date");
	buf_fini(&applying.out);
	return status;
}
