/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carrying out schedules, one slot at a time: its list is read, then its tasks
 * are made in steps, each a transaction with how far the slot has come. Who
 * becomes the active timer reads the store's rows and goes on from there.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/items.h"
#include "conf/model.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "role/role.h"
#include "setup/schedule.h"
#include "store/store.h"
#include "timer/internal.h"

#define AGAIN_MS 30000		/* a list that cannot be read is tried again */
#define WALK_MAX 100000		/* slots looked at at once */
#define LATE_MS 60000		/* catch_up: none passes over slots that are later than this … */
#define COMPLAIN_MS 60000

struct entry {
	struct schedule schedule;
	bool known;			/* the store has a row with this spec */
	int64_t slot_ms;		/* of that row, as what follows */
	bool finished;
	char *list;			/* owned */
	int64_t done, tasks, skips, fails, refused, missed;
	int64_t look_ms;		/* wall clock: nothing is to be done before */
	int64_t complained_ms;
};

struct schedules {
	const struct timer_part *part;
	struct store *store;		/* NULL: there are no schedules */
	struct arena *arena;
	struct entry *entries;
	size_t count, turn;
	bool loaded, busy;
	int64_t complained_ms;
	/* The slot being carried out. */
	struct entry *entry;
	struct arena *scratch;		/* of a step */
	struct items *items;
	struct store_slot step;
};

static void finish(struct schedules *schedules)
{
	schedules->busy = false;
	schedules->entry = NULL;
	items_free(&schedules->items);
	schedules->part->idle(schedules->part->user);
}

/* What the store's rows say may have changed meanwhile: they are read again. */
static void start_over(struct schedules *schedules, const struct error *err)
{
	if (err->code != ERR_NONE && err->code != ERR_CANCELLED && log_limited(&schedules->complained_ms, COMPLAIN_MS))
		log_warning("schedules: %s", err->text);
	schedules->loaded = false;
	finish(schedules);
}

/* What else is due comes at once. */
static void go_on(struct schedules *schedules)
{
	finish(schedules);
	if (schedules->part->active(schedules->part->user))
		schedules_tick(schedules, false);
}

/* --- the store's rows --- */

static void set_row(struct entry *entry, const struct store_schedule *row)
{
	entry->known = str_eq(row->spec, entry->schedule.spec);
	entry->slot_ms = row->slot_ms;
	entry->finished = row->finished;
	mem_free(&entry->list);
	entry->list = row->list != NULL ? mem_strdup(row->list) : NULL;
	entry->done = row->done;
	entry->tasks = row->tasks;
	entry->skips = row->skips;
	entry->fails = row->fails;
	entry->refused = row->refused;
	entry->missed = row->missed;
}

static void on_loaded(void *user, const struct store_schedule *rows, size_t count, const struct error *err)
{
	struct schedules *schedules = user;

	if (err->code != ERR_NONE) {
		start_over(schedules, err);
		return;
	}
	for (size_t i = 0; i < schedules->count; i++) {
		struct entry *entry = &schedules->entries[i];

		entry->known = false;
		entry->look_ms = 0;
		for (size_t j = 0; j < count; j++)
			if (str_eq(rows[j].name, entry->schedule.flow->name))
				set_row(entry, &rows[j]);
	}
	schedules->loaded = true;
	go_on(schedules);
}

/* --- steps --- */

static void take_step(struct schedules *schedules);

static void count_step(const struct entry *entry, const struct store_schedule *row, bool begins)
{
	metric_add(METRIC_SCHEDULE_SLOTS, begins);
	metric_add(METRIC_SCHEDULE_TASKS, (uint64_t)(row->tasks - entry->tasks));
	metric_add(METRIC_SCHEDULE_SKIPPED, (uint64_t)(row->skips - entry->skips));
	metric_add(METRIC_SCHEDULE_FAILING, (uint64_t)(row->fails - entry->fails));
	metric_add(METRIC_SCHEDULE_MISSED, (uint64_t)(row->missed - entry->missed));
}

static void tell(const struct schedules *schedules, const struct store_schedule *row)
{
	const struct store_slot *step = &schedules->step;
	char slot[CLOCK_TEXT_SIZE];

	clock_format(slot, row->slot_ms / 1000);
	if (step->over || step->missed > 0)
		log_info("slots passed over flow=%s slots=%" PRId64 " up_to=\"%s\"", row->name, step->missed, slot);
	if (step->refused > 0)
		log_warning("schedule: entries that make no task flow=%s entries=%" PRId64 ": %s", row->name, step->refused,
			    step->error);
	if (step->last && !step->over)
		log_info("schedule carried out flow=%s slot=\"%s\" tasks=%" PRId64 " skipped=%" PRId64 " failing=%" PRId64
			 " refused=%" PRId64, row->name, slot, row->made, row->skipped, row->failing, row->refused);
}

static void on_step(void *user, const struct store_schedule *rows, size_t count, const struct error *err)
{
	struct schedules *schedules = user;
	const struct store_slot *step = &schedules->step;
	struct entry *entry = schedules->entry;
	bool more = !step->last && !step->first && step->list != NULL;

	if (err->code != ERR_NONE || count == 0) {
		start_over(schedules, err);
		return;
	}
	if (!step->first) {
		count_step(entry, &rows[0], step->slot_ms > entry->slot_ms && !step->over);
		tell(schedules, &rows[0]);
	}
	metric_add(METRIC_SCHEDULE_ERRORS, (uint64_t)step->refused + (step->list == NULL && step->error != NULL));
	if (rows[0].tasks > entry->tasks)
		schedules->part->made(schedules->part->user, entry->schedule.flow->name);
	set_row(entry, &rows[0]);
	schedules->step.missed = 0;
	if (more && schedules->part->active(schedules->part->user))
		take_step(schedules);
	else
		go_on(schedules);
}

static void send_step(struct schedules *schedules)
{
	store_slot(schedules->store, &schedules->step, on_step, schedules);
}

static void take_step(struct schedules *schedules)
{
	const struct entry *entry = schedules->entry;
	struct store_slot *step = &schedules->step;
	bool same = step->slot_ms == entry->slot_ms && str_eq(items_print(schedules->items), entry->list);

	arena_reset(schedules->scratch);
	step->from = same ? entry->done : 0;
	schedule_fill(&entry->schedule, schedules->items, schedules->scratch, step);
	send_step(schedules);
}

/* The slot stays unfinished, and is tried again until the next one comes. */
static void note_failure(struct schedules *schedules, const struct error *err)
{
	struct entry *entry = schedules->entry;
	struct store_slot *step = &schedules->step;
	int64_t next;

	if (log_limited(&entry->complained_ms, COMPLAIN_MS))
		log_warning("schedule: its list cannot be read flow=%s: %s", entry->schedule.flow->name, err->text);
	entry->look_ms = clock_wall_ms() + AGAIN_MS;
	next = schedule_next(&entry->schedule, step->slot_ms);
	if (next >= 0 && next + schedule_delay(&entry->schedule, next) < entry->look_ms)
		entry->look_ms = next + schedule_delay(&entry->schedule, next);
	step->error = arena_strdup(schedules->scratch, err->text);
	step->list = NULL;
	step->from = step->slot_ms == entry->slot_ms && entry->list == NULL ? entry->done : 0;
	send_step(schedules);
}

static void begin_list(struct schedules *schedules, const char *rows, size_t len)
{
	const struct entry *entry = schedules->entry;
	struct error err;

	schedules->items = schedule_items(&entry->schedule, rows, len, &err);
	if (schedules->items == NULL) {
		note_failure(schedules, &err);
		return;
	}
	if (schedules->step.slot_ms == entry->slot_ms && str_eq(items_print(schedules->items), entry->list))
		schedule_skip(schedules->items, entry->done);
	take_step(schedules);
}

static void on_rows(void *user, const char *json, size_t len, const struct error *err)
{
	struct schedules *schedules = user;

	if (err->code == ERR_NONE && schedules->part->active(schedules->part->user))
		begin_list(schedules, json, len);
	else if (err->code == ERR_NONE)
		finish(schedules);
	else if (err->code == ERR_INPUT || err->code == ERR_LIMIT)
		note_failure(schedules, err);
	else
		start_over(schedules, err);
}

/* missed: slots passed over before this one; over: this one, too. */
static void begin(struct schedules *schedules, struct entry *entry, int64_t slot_ms, int64_t missed, bool over)
{
	struct store_slot *step = &schedules->step;

	schedules->busy = true;
	schedules->entry = entry;
	arena_reset(schedules->scratch);
	*step = (struct store_slot){.schedule = entry->schedule.flow->name, .spec = entry->schedule.spec,
				    .slot_ms = slot_ms, .missed = missed, .over = over, .last = over,
				    .first = !entry->known};
	if (step->first || over)
		send_step(schedules);
	else if (entry->schedule.flow->schedule.query != NULL)
		store_query(schedules->store, entry->schedule.flow->schedule.query, SCHEDULE_ROWS, on_rows, schedules);
	else
		begin_list(schedules, NULL, 0);
}

/* --- which slot --- */

/* Slots that are due: how many, the first and the last; and when the next one will be. */
struct due {
	int64_t count, first_ms, last_ms, next_ms;
};

static struct due find_due(const struct entry *entry, int64_t now_ms)
{
	struct due due = {.count = 0};
	int64_t slot = schedule_next(&entry->schedule, entry->slot_ms);

	while (slot >= 0 && slot + schedule_delay(&entry->schedule, slot) <= now_ms && due.count < WALK_MAX) {
		if (due.count++ == 0)
			due.first_ms = slot;
		due.last_ms = slot;
		slot = schedule_next(&entry->schedule, slot);
	}
	due.next_ms = slot >= 0 ? slot + schedule_delay(&entry->schedule, slot) : INT64_MAX;
	return due;
}

/* true: it began something. */
static bool look_at(struct schedules *schedules, struct entry *entry)
{
	const struct conf_model *conf = schedules->part->role->conf;
	enum conf_catch_up rule = entry->schedule.flow->schedule.catch_up;
	int64_t now = clock_wall_ms(), late = 2 * conf->timer_lease_ms > LATE_MS ? 2 * conf->timer_lease_ms : LATE_MS;
	struct due due;

	if (!entry->known) {
		begin(schedules, entry, now, 0, false);
		return true;
	}
	if (now < entry->look_ms)
		return false;
	due = find_due(entry, now);
	if (due.count == 0 && !entry->finished)
		begin(schedules, entry, entry->slot_ms, 0, false);
	else if (due.count == 0)
		entry->look_ms = due.next_ms;
	else if (due.count == WALK_MAX)
		begin(schedules, entry, due.last_ms, due.count, true);
	else if (rule == CONF_CATCH_ALL && entry->finished)
		begin(schedules, entry, due.first_ms, 0, false);
	else if (rule == CONF_CATCH_ALL)
		begin(schedules, entry, entry->slot_ms, 0, false);
	else if (rule == CONF_CATCH_NONE && now - due.last_ms - schedule_delay(&entry->schedule, due.last_ms) > late)
		begin(schedules, entry, due.last_ms, due.count, true);
	else
		begin(schedules, entry, due.last_ms, due.count - 1, false);
	return schedules->busy;
}

void schedules_tick(struct schedules *schedules, bool restarted)
{
	if (schedules->busy || schedules->count == 0)
		return;
	if (restarted || !schedules->loaded) {
		schedules->busy = true;
		store_schedules(schedules->store, on_loaded, schedules);
		return;
	}
	for (size_t i = 0; i < schedules->count; i++) {
		struct entry *entry = &schedules->entries[schedules->turn++ % schedules->count];

		if (look_at(schedules, entry))
			return;
	}
}

bool schedules_busy(const struct schedules *schedules)
{
	return schedules->busy;
}

struct schedules *schedules_new(const struct timer_part *part, struct error *err)
{
	const struct conf_model *conf = part->role->conf;
	struct schedules *schedules = mem_alloc(sizeof(*schedules));

	schedules->part = part;
	schedules->arena = arena_new();
	schedules->scratch = arena_new();
	schedules->entries = arena_alloc(schedules->arena, (conf->flow_count + 1) * sizeof(*schedules->entries));
	for (size_t i = 0; i < conf->flow_count; i++) {
		struct schedule *schedule = &schedules->entries[schedules->count].schedule;

		if (!conf->flows[i].enabled || conf->flows[i].schedule.cron == NULL)
			continue;
		if (schedule_make(schedule, schedules->arena, &conf->flows[i], err) < 0) {
			error_prefix(err, "schedule of flow %s", conf->flows[i].name);
			schedules_free(&schedules);
			return NULL;
		}
		schedules->count++;
	}
	return schedules;
}

int schedules_open(struct schedules *schedules, struct error *err)
{
	if (schedules->count == 0)
		return 0;
	schedules->store = role_open_store(schedules->part->role, err);
	return schedules->store != NULL ? 0 : -1;
}

void schedules_close(struct schedules *schedules)
{
	store_close(&schedules->store);
}

void schedules_free(struct schedules **schedules)
{
	if (*schedules == NULL)
		return;
	items_free(&(*schedules)->items);
	for (size_t i = 0; i < (*schedules)->count; i++)
		mem_free(&(*schedules)->entries[i].list);
	arena_free(&(*schedules)->scratch);
	arena_free(&(*schedules)->arena);
	mem_free(schedules);
}
