/* SPDX-License-Identifier: Apache-2.0 */
/* See schedule.h. */
#include "setup/schedule.h"

#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "base/zone.h"
#include "conf/items.h"
#include "conf/model.h"
#include "conf/params.h"
#include "json/json.h"
#include "setup/new_task.h"

int schedule_make(struct schedule *schedule, struct arena *arena, const struct conf_flow *flow, struct error *err)
{
	const struct conf_schedule *conf = &flow->schedule;
	struct json_doc *doc = json_parse(conf->options, strlen(conf->options), err);

	if (doc == NULL)
		return -1;
	schedule->flow = flow;
	schedule->options = conf_params_read(arena, json_root(doc));
	json_doc_free(&doc);
	schedule->spec = arena_printf(arena, "%s %s", conf->cron, conf->zone);
	schedule->by_hand = arena_printf(arena, "%s (by hand)", flow->name);
	schedule->zone = zone_load(arena, conf->zone, clock_wall_ms() / 1000, err);
	if (schedule->zone == NULL)
		return -1;
	return cron_parse(&schedule->cron, conf->cron, err);
}

int64_t schedule_next(const struct schedule *schedule, int64_t after_ms)
{
	int64_t next_s = cron_next(&schedule->cron, schedule->zone, after_ms / 1000);

	return next_s < 0 ? -1 : next_s * 1000;
}

int64_t schedule_delay(const struct schedule *schedule, int64_t slot_ms)
{
	int64_t jitter_ms = schedule->flow->schedule.jitter_ms;
	char text[200], hash[SHA256_TEXT_SIZE];
	uint64_t number = 0;

	if (jitter_ms <= 0)
		return 0;
	str_format(text, sizeof(text), "%s %" PRId64, schedule->flow->name, slot_ms);
	sha256_hex(hash, text, strlen(text));
	for (size_t i = 0; i < 15; i++)
		number = number * 16 + (uint64_t)(hash[i] <= '9' ? hash[i] - '0' : hash[i] - 'a' + 10);
	return (int64_t)(number % (uint64_t)jitter_ms);
}

struct items *schedule_items(const struct schedule *schedule, const char *rows, size_t len, struct error *err)
{
	const struct conf_schedule *conf = &schedule->flow->schedule;

	if (conf->query != NULL)
		return items_from_json(rows, len, "query", schedule->options, err);
	if (conf->file != NULL)
		return items_from_file(conf->file, schedule->options, err);
	return items_from_json(conf->params, strlen(conf->params), "params", schedule->options, err);
}

void schedule_skip(struct items *items, int64_t count)
{
	struct error ignored;
	struct buf out;

	buf_init(&out);
	while (count-- > 0 && items_next(items, &out, &ignored) != 0)
		;
	buf_fini(&out);
}

/* The same parameters of the same slot are the same task, however often they are met. */
static const char *task_key(const struct schedule *schedule, struct arena *arena, const struct store_slot *step,
			    const struct buf *params)
{
	char id[UUID_TEXT_SIZE];

	uuid_from(id, params->data, params->len);
	return arena_printf(arena, "schedule %s %" PRId64 " %s", step->schedule, step->slot_ms, id);
}

static int make_task(const struct schedule *schedule, struct arena *arena, const struct store_slot *step,
		     const struct buf *params, struct store_new_task *task_r, struct error *err)
{
	struct json_doc *doc = json_parse(params->data, params->len, err);
	int rc = doc == NULL ? -1 : new_task_make(task_r, arena, schedule->flow, schedule->options, json_root(doc), err);

	json_doc_free(&doc);
	if (rc < 0)
		return -1;
	task_r->idempotency_key = task_key(schedule, arena, step, params);
	task_r->reason = "schedule";
	return 0;
}

void schedule_fill(const struct schedule *schedule, struct items *items, struct arena *arena, struct store_slot *step)
{
	struct store_new_task *tasks = arena_alloc(arena, SCHEDULE_STEP * sizeof(*tasks));
	struct error err;
	struct buf params;
	int rc = 1;

	buf_init(&params);
	step->list = items_print(items);
	step->tasks = tasks;
	step->count = 0;
	step->refused = 0;
	step->error = NULL;
	while (rc != 0 && step->count + (size_t)step->refused < SCHEDULE_STEP) {
		rc = items_next(items, &params, &err);
		if (rc > 0 && make_task(schedule, arena, step, &params, &tasks[step->count], &err) == 0) {
			step->count++;
		} else if (rc != 0) {
			step->refused++;
			step->error = arena_strdup(arena, err.text);
		}
	}
	step->last = rc == 0;
	buf_fini(&params);
}
