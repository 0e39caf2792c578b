/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl schema check: whether the configured stores can be used by this
 * program and this configuration. Looks, and changes nothing.
 */
#include "ctl.h"

#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/jwrite.h"
#include "plugin/plugin.h"
#include "sink/table.h"
#include "store/store.h"
#include "warehouse/warehouse.h"

/* Connections to the task store that a process of each role has at most. */
#define PER_WORKER 1		/* while it is busy */
#define PER_SINK_PROCESS 1
#define PER_RELAY 1
#define PER_TIMER 2		/* one listens for new tasks */
#define PER_SCHEDULES 1		/* one more of the timer's, when there are any */
#define PER_SLUICECTL 1

struct check {
	struct ctl *ctl;
	struct store_schema schema;
	size_t table_count;
	bool looked;			/* schema holds something */
	int64_t needed, least; /* connections: of all this node may run at once, of what always runs */
	struct jwrite w;
	struct buf out;			/* findings as JSON */
	size_t errors, warnings;
};

static void report(struct check *check, bool error, const char *text, const char *todo)
{
	const char *level = error ? "error" : "warning";

	check->errors += error;
	check->warnings += !error;
	if (!check->ctl->json) {
		printf("%s: %s: %s\n", level, text, todo);
		return;
	}
	jwrite_object(&check->w, NULL);
	jwrite_string(&check->w, "level", level);
	jwrite_string(&check->w, "text", text);
	jwrite_string(&check->w, "todo", todo);
	jwrite_end(&check->w);
}

/* --- the task store --- */

static int check_schema(struct check *check)
{
	struct ctl *ctl = check->ctl;
	const struct store_table *const *tables = schema_tables(ctl, &check->table_count);
	struct error err;

	if (tables == NULL)
		return -1;
	if (store_schema_read(ctl->setup.conf->tasks, tables, check->table_count, ctl->arena, &check->schema,
			      &err) < 0) {
		report(check, true, err.text,
		       "see stores.tasks of the configuration, and whether the server runs");
		return 0;
	}
	check->looked = true;
	for (size_t i = 0; i < check->schema.finding_count; i++)
		report(check, check->schema.findings[i].kind != STORE_WARNING, check->schema.findings[i].text,
		       check->schema.findings[i].todo);
	return 0;
}

/* --- connections --- */

/* Worker processes, as the supervisor starts them. */
static int64_t count_workers(const struct conf_model *conf)
{
	int64_t count = 0;

	for (size_t i = 0; i < conf->flow_count; i++) {
		const struct conf_flow *flow = &conf->flows[i];

		if (flow->enabled && (flow->group == NULL || conf_leads_group(conf, i)))
			count += flow->workers;
	}
	return conf->mode == CONF_SINGLE && count > 0 ? 1 : count;
}

static int64_t count_timer(const struct conf_model *conf)
{
	for (size_t i = 0; i < conf->flow_count; i++)
		if (conf->flows[i].enabled && conf->flows[i].schedule.cron != NULL)
			return PER_TIMER + PER_SCHEDULES;
	return PER_TIMER;
}

/* An embedded warehouse has one process for all sinks; on servers each sink may have its own. */
static int64_t count_sink_processes(const struct conf_model *conf)
{
	int64_t count = 0;

	for (size_t i = 0; i < conf->sink_count; i++)
		count += conf->sinks[i].enabled;
	return count > 0 && !warehouse_remote(conf->warehouse) ? 1 : count;
}

static const char *limits_text(struct ctl *ctl, const struct store_connections *limits)
{
	const char *text = arena_printf(ctl->arena, "max_connections %lld, of which %lld are reserved",
					(long long)limits->server, (long long)limits->reserved);

	if (limits->role >= 0)
		text = arena_printf(ctl->arena, "%s; the role's limit is %lld", text,
				    (long long)limits->role);
	if (limits->database >= 0)
		text = arena_printf(ctl->arena, "%s; the database's limit is %lld", text,
				    (long long)limits->database);
	return text;
}

static void check_connections(struct check *check)
{
	const struct store_connections *limits = &check->schema.connections;
	const struct conf_model *conf = check->ctl->setup.conf;
	int64_t relays = str_starts(conf->bus, "direct:") ? 0 : conf->relay_workers;
	int64_t workers = count_workers(conf), sinks = count_sink_processes(conf);
	int64_t timer = count_timer(conf);
	int64_t turns = workers < conf->task_connections ? workers : conf->task_connections;
	struct arena *arena = check->ctl->arena;
	const char *todo =
		"raise the limit, lower tasks.connections, or put PgBouncer (pool_mode transaction) in between";

	check->least = timer + PER_RELAY * relays + PER_SINK_PROCESS * sinks;
	check->needed = check->least + PER_WORKER * turns + PER_SLUICECTL;
	if (limits->most == 0 || limits->most >= check->needed)
		return;
	if (limits->most < check->least)
		report(check, true,
		       arena_printf(arena,
				    "the database gives this user %lld connections (%s), but timer, relays "
				    "and sinks of"
				    " this node need %lld",
				    (long long)limits->most, limits_text(check->ctl, limits),
				    (long long)check->least),
		       todo);
	else
		report(check, false,
		       arena_printf(arena,
				    "the database gives this user %lld connections (%s), but this node may "
				    "open %lld at"
				    " once: %lld for workers when all are busy, %lld for sinks, %lld for relays, "
				    "%lld for the timer, %d"
				    " for sluicectl; those without one wait",
				    (long long)limits->most, limits_text(check->ctl, limits),
				    (long long)check->needed, (long long)turns, (long long)sinks,
				    (long long)relays, (long long)timer, PER_SLUICECTL),
		       todo);
}

/* --- the warehouse --- */

static enum warehouse_durability durability_of(const struct conf_sink *conf, const struct warehouse *wh)
{
	if (conf->durability == CONF_QUORUM)
		return WAREHOUSE_QUORUM;
	return conf->durability == CONF_FSYNC && warehouse_features(wh)->fsync ? WAREHOUSE_FSYNC
									       : WAREHOUSE_INSERTED;
}

static void check_sink(struct check *check, struct warehouse *wh, const struct conf_sink *conf,
		       const char *database)
{
	const struct sl_sink *declared = plugin_find_sink(check->ctl->plugins, conf->name, NULL);
	const struct sink_table *table;
	struct buf advice;
	struct error err;

	if (declared == NULL)
		return; /* the configuration was checked: it is of a plugin that was refused, and that was
			   told */
	table = sink_table_new(declared, database, conf->table != NULL ? conf->table : declared->table,
			       check->ctl->arena, &err);
	if (table != NULL && check->ctl->setup.conf->engine == CONF_REPLACING)
		table = sink_table_replacing(table, check->ctl->arena, &err);
	if (table == NULL) {
		report(check, true, err.text, "have its plugin declare it otherwise");
		return;
	}
	buf_init(&advice);
	if (sink_table_check(table, wh, durability_of(conf, wh), &advice, &err) == 0) {
		if (advice.len > 0)
			report(check, false, arena_printf(check->ctl->arena, "sink %s", conf->name),
			       advice.data);
	} else if (err.code == ERR_NOT_FOUND) {
		report(check, false,
		       arena_printf(check->ctl->arena, "sink %s: table %s.%s is not there yet", conf->name,
				    database, table->name),
		       "its sink makes it when it starts");
	} else if (err.code == ERR_INPUT) {
		report(check, true, err.text, "the sink does not start like this");
	} else {
		report(check, true, err.text,
		       "see stores.warehouse of the configuration, and whether the server runs");
	}
	buf_fini(&advice);
}

/* An embedded one belongs to the sink's process, which checks its tables when it starts. */
static void check_warehouse(struct check *check)
{
	const struct conf_model *conf = check->ctl->setup.conf;
	const char *database = sink_database(conf->warehouse, check->ctl->arena);
	struct warehouse *wh;
	struct error err;

	if (!warehouse_remote(conf->warehouse) || count_sink_processes(conf) == 0)
		return;
	wh = warehouse_open(conf->warehouse, NULL, &err);
	if (wh == NULL) {
		report(check, true, err.text,
		       "see stores.warehouse of the configuration, and whether the server runs");
		return;
	}
	for (size_t i = 0; i < conf->sink_count; i++)
		if (conf->sinks[i].enabled)
			check_sink(check, wh, &conf->sinks[i], database);
	warehouse_close(&wh);
}

/* --- what came out --- */

static void write_limit(struct jwrite *w, const char *name, int64_t limit)
{
	if (limit < 0)
		jwrite_null(w, name);
	else
		jwrite_int(w, name, limit);
}

static void write_connections(const struct check *check, struct jwrite *w)
{
	const struct store_connections *limits = &check->schema.connections;

	if (limits->most == 0) {
		jwrite_null(w, "connections");
		return;
	}
	jwrite_object(w, "connections");
	jwrite_int(w, "needed", check->needed);
	jwrite_int(w, "least", check->least);
	jwrite_int(w, "most", limits->most);
	jwrite_int(w, "server", limits->server);
	jwrite_int(w, "reserved", limits->reserved);
	write_limit(w, "role", limits->role);
	write_limit(w, "database", limits->database);
	jwrite_end(w);
}

static void print_json(const struct check *check)
{
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_bool(&w, "ok", check->errors == 0);
	if (check->looked) {
		jwrite_string(&w, "server", check->schema.server);
		jwrite_int(&w, "version", check->schema.version);
		jwrite_int(&w, "newest", check->schema.newest);
		write_connections(check, &w);
	}
	jwrite_raw(&w, "findings", check->out.data, check->out.len);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

static void print_end(const struct check *check)
{
	const struct store_schema *schema = &check->schema;

	if (check->errors > 0)
		return;
	printf("ok: %s, schema version %lld, %zu tables of plugins", schema->server,
	       (long long)schema->version, check->table_count);
	if (schema->connections.most > 0)
		printf(", at most %lld of %lld connections", (long long)check->needed,
		       (long long)schema->connections.most);
	puts("");
}

int cmd_schema_check(struct ctl *ctl)
{
	struct check check = { .ctl = ctl };
	int status = CTL_FAILED;

	buf_init(&check.out);
	jwrite_init(&check.w, &check.out);
	jwrite_array(&check.w, NULL);
	if (check_schema(&check) == 0) {
		check_connections(&check);
		check_warehouse(&check);
		jwrite_end(&check.w);
		if (ctl->json)
			print_json(&check);
		else
			print_end(&check);
		status = check.errors == 0 ? CTL_OK : CTL_FAILED;
	}
	buf_fini(&check.out);
	return status;
}
