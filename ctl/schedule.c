/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl schedule: when schedules come, what came of them, and one of them at once. */
#include "ctl.h"

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/items.h"
#include "conf/model.h"
#include "json/jwrite.h"
#include "setup/schedule.h"
#include "store/store_sync.h"

#define CELL_MAX 60

/* The schedules of flows.yaml, made ready, and the store's rows of them. */
struct schedule_list {
	struct schedule *schedules;
	size_t count;
	struct store_schedule *rows;
	size_t row_count;
};

/* Before the store is opened, for its thread: see base/zone.h. */
static int make_schedules(struct ctl *ctl, struct schedule_list *list)
{
	const struct conf_model *conf = ctl->setup.conf;
	struct error err;

	list->schedules = arena_alloc(ctl->arena, (conf->flow_count + 1) * sizeof(*list->schedules));
	for (size_t i = 0; i < conf->flow_count; i++) {
		if (!conf->flows[i].enabled || conf->flows[i].schedule.cron == NULL)
			continue;
		if (schedule_make(&list->schedules[list->count++], ctl->arena, &conf->flows[i], &err) != 0) {
			ctl_fail("flow \"%s\": %s", conf->flows[i].name, err.text);
			return -1;
		}
	}
	return 0;
}

static const struct store_schedule *row_of(const struct schedule_list *list, const char *name)
{
	for (size_t i = 0; i < list->row_count; i++)
		if (str_eq(list->rows[i].name, name))
			return &list->rows[i];
	return NULL;
}

/* When the next slot is carried out, jitter included; -1: never. */
static int64_t next_ms(const struct schedule *schedule, const struct store_schedule *row, int64_t now)
{
	int64_t from = now - schedule->flow->schedule.jitter_ms, slot;

	if (row != NULL && str_eq(row->spec, schedule->spec) && row->slot_ms > from)
		from = row->slot_ms;
	slot = schedule_next(schedule, from);
	while (slot >= 0 && slot + schedule_delay(schedule, slot) <= now)
		slot = schedule_next(schedule, slot);
	return slot < 0 ? -1 : slot + schedule_delay(schedule, slot);
}

/* "" for a row that has had no slot yet. */
static const char *time_text(struct ctl *ctl, int64_t ms)
{
	char text[CLOCK_TEXT_SIZE];

	return ms > 0 ? arena_strdup(ctl->arena, clock_format(text, ms / 1000)) : "";
}

static const char *last_text(struct ctl *ctl, const struct store_schedule *row)
{
	return row != NULL && row->slots + row->missed > 0 ? time_text(ctl, row->slot_ms) : "";
}

static void print_table(struct ctl *ctl, const struct schedule_list *list, int64_t now)
{
	struct table *table = table_new(ctl, "FLOW CRON ZONE NEXT LAST TASKS> SKIPPED> FAILING> REFUSED> MISSED> BY-HAND> PROBLEM");
	static const struct store_schedule none;

	for (size_t i = 0; i < list->count; i++) {
		const struct schedule *schedule = &list->schedules[i];
		const struct store_schedule *row = row_of(list, schedule->flow->name);
		const struct store_schedule *by_hand = row_of(list, schedule->by_hand);

		table_cell(table, schedule->flow->name);
		table_cell(table, schedule->flow->schedule.cron);
		table_cell(table, schedule->flow->schedule.zone);
		table_cell(table, time_text(ctl, next_ms(schedule, row, now)));
		table_cell(table, last_text(ctl, row));
		row = row != NULL ? row : &none;
		table_printf(table, "%lld", (long long)row->tasks);
		table_printf(table, "%lld", (long long)row->skips);
		table_printf(table, "%lld", (long long)row->fails);
		table_printf(table, "%lld", (long long)row->refused);
		table_printf(table, "%lld", (long long)row->missed);
		table_printf(table, "%lld", (long long)(by_hand != NULL ? by_hand->tasks : 0));
		table_cut(table, row->error, CELL_MAX);
	}
	table_print(table, stdout);
}

static void write_time(struct ctl *ctl, struct jwrite *w, const char *name, int64_t ms)
{
	if (ms > 0)
		jwrite_string(w, name, time_text(ctl, ms));
	else
		jwrite_null(w, name);
}

static void write_row(struct ctl *ctl, struct jwrite *w, const char *name, const struct store_schedule *row)
{
	if (row == NULL) {
		jwrite_null(w, name);
		return;
	}
	jwrite_object(w, name);
	write_time(ctl, w, "slot", row->slots + row->missed > 0 ? row->slot_ms : 0);
	jwrite_bool(w, "finished", row->finished);
	jwrite_int(w, "made", row->made);
	jwrite_int(w, "skipped", row->skipped);
	jwrite_int(w, "failing", row->failing);
	jwrite_int(w, "refused", row->refused);
	jwrite_string(w, "error", row->error);
	jwrite_int(w, "slots", row->slots);
	jwrite_int(w, "missed", row->missed);
	jwrite_int(w, "tasks", row->tasks);
	jwrite_int(w, "skips", row->skips);
	jwrite_int(w, "fails", row->fails);
	jwrite_end(w);
}

static void print_json(struct ctl *ctl, const struct schedule_list *list, int64_t now)
{
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < list->count; i++) {
		const struct schedule *schedule = &list->schedules[i];
		const struct store_schedule *row = row_of(list, schedule->flow->name);

		jwrite_object(&w, NULL);
		jwrite_string(&w, "flow", schedule->flow->name);
		jwrite_string(&w, "cron", schedule->flow->schedule.cron);
		jwrite_string(&w, "zone", schedule->flow->schedule.zone);
		write_time(ctl, &w, "next", next_ms(schedule, row, now));
		write_row(ctl, &w, "last", row);
		write_row(ctl, &w, "by_hand", row_of(list, schedule->by_hand));
		jwrite_end(&w);
	}
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

int cmd_schedule_list(struct ctl *ctl)
{
	struct schedule_list list = { .count = 0 };
	int64_t now = clock_wall_ms();
	struct error err;

	if (ctl_load(ctl, true) != 0 || make_schedules(ctl, &list) != 0)
		return CTL_FAILED;
	if (ctl_open_store_if_there(ctl) == 0 &&
	    store_sync_schedules(ctl->store, ctl->arena, &list.rows, &list.row_count, &err) != 0)
		return ctl_fail("the task store: %s", err.text);
	if (ctl->json)
		print_json(ctl, &list, now);
	else
		print_table(ctl, &list, now);
	return CTL_OK;
}

/* --- one at once --- */

static struct items *read_items(struct ctl *ctl, const struct schedule *schedule)
{
	const char *query = schedule->flow->schedule.query;
	struct items *items = NULL;
	struct error err;
	struct buf rows;

	buf_init(&rows);
	if (query == NULL || store_sync_query(ctl->store, query, SCHEDULE_ROWS, &rows, &err) == 0)
		items = schedule_items(schedule, rows.data, rows.len, &err);
	buf_fini(&rows);
	if (items == NULL)
		ctl_fail("%s%s", query != NULL ? "query: " : "", err.text);
	return items;
}

/* A slot of its own, in steps as the timer takes them. */
static int make_tasks(struct ctl *ctl, const struct schedule *schedule, struct items *items,
		      struct store_schedule *row_r)
{
	struct store_slot step = { .schedule = schedule->by_hand, .spec = "by hand", .first = true };
	struct arena *arena = arena_new();
	struct store_schedule *rows;
	struct error err;
	size_t count;
	int rc = store_sync_slot(ctl->store, &step, ctl->arena, &rows, &count, &err);

	step.first = false;
	step.slot_ms = clock_wall_ms();
	while (rc == 0 && !step.last) {
		arena_reset(arena);
		schedule_fill(schedule, items, arena, &step);
		rc = store_sync_slot(ctl->store, &step, ctl->arena, &rows, &count, &err);
		if (rc == 0 && count == 0)
			rc = error_set(&err, ERR_BUSY, "somebody else runs it at this moment");
		step.from += (int64_t)step.count + step.refused;
	}
	arena_free(&arena);
	if (rc != 0) {
		ctl_fail("the task store: %s", err.text);
		return -1;
	}
	*row_r = rows[0];
	return 0;
}

static int report(struct ctl *ctl, const struct schedule *schedule, const struct store_schedule *row)
{
	struct jwrite w;
	struct buf out;

	if (ctl->json) {
		buf_init(&out);
		jwrite_init(&w, &out);
		jwrite_object(&w, NULL);
		jwrite_string(&w, "flow", schedule->flow->name);
		jwrite_int(&w, "made", row->made);
		jwrite_int(&w, "skipped", row->skipped);
		jwrite_int(&w, "failing", row->failing);
		jwrite_int(&w, "refused", row->refused);
		jwrite_end(&w);
		puts(out.data);
		buf_fini(&out);
	} else {
		printf("%lld tasks made, %lld skipped", (long long)row->made, (long long)row->skipped);
		if (row->failing > 0)
			printf(", %lld left out for what failed before", (long long)row->failing);
		putchar('\n');
	}
	if (row->refused == 0)
		return CTL_OK;
	return ctl_fail("%lld entries make no task; the last: %s", (long long)row->refused, row->error);
}

int cmd_schedule_run(struct ctl *ctl)
{
	struct schedule_list list = { .count = 0 };
	const struct schedule *schedule = NULL;
	struct store_schedule row;
	struct items *items;
	int rc;

	if (ctl_load(ctl, true) != 0 || make_schedules(ctl, &list) != 0)
		return CTL_FAILED;
	for (size_t i = 0; i < list.count; i++)
		if (str_eq(list.schedules[i].flow->name, ctl->args[0]))
			schedule = &list.schedules[i];
	if (schedule == NULL)
		return ctl_fail("flow \"%s\" has no schedule in %s; 'sluicectl schedule list' lists those there are",
				ctl->args[0], ctl->setup.file);
	if (ctl_open_store(ctl, true) != 0)
		return CTL_FAILED;
	items = read_items(ctl, schedule);
	if (items == NULL)
		return CTL_FAILED;
	rc = make_tasks(ctl, schedule, items, &row);
	items_free(&items);
	if (rc != 0)
		return CTL_FAILED;
	daemon_nudge(ctl, schedule->flow->name);
	return report(ctl, schedule, &row);
}
