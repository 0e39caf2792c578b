/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and gauges of all processes of a node in one shared mapping: the
 * supervisor makes it, every role inherits its descriptor and writes only its
 * own slot. When a process has ended, its counters are folded into the totals
 * and its gauges vanish. Reading never disturbs a writer. What exists is the
 * table in metrics.c: name, type, unit and help come from there everywhere.
 */
#ifndef SLUICE_METRICS_METRICS_H
#define SLUICE_METRICS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum metric_id {
	METRIC_TASKS_CLAIMED, METRIC_TASKS_COMPLETED, METRIC_TASKS_FAILED, METRIC_TASKS_GONE, METRIC_TASKS_RETRIED,
	METRIC_TASKS_RELEASED, METRIC_TASKS_LOST, METRIC_SLICES,
	METRIC_REQUESTS, METRIC_REQUEST_ERRORS, METRIC_RESPONSE_BYTES, METRIC_JSON_SANITISED,
	METRIC_TRACES, METRIC_TRACES_DROPPED,
	METRIC_RECORDS, METRIC_RECORDS_KEYLESS, METRIC_UPSERTS, METRIC_EVENTS,
	METRIC_COMMITS, METRIC_COMMIT_ERRORS, METRIC_OUTBOX_BYTES,
	METRIC_SINK_ROWS, METRIC_SINK_BATCHES, METRIC_SINK_ERRORS, METRIC_SINK_DEAD, METRIC_SINK_SUSPECTS,
	METRIC_SINK_REPEATS, METRIC_RESCUED,
	METRIC_RELAY_PUBLISHED, METRIC_RELAY_MESSAGES, METRIC_RELAY_EVENTS, METRIC_RELAY_REDO, METRIC_RELAY_DEAD,
	METRIC_RELAY_DROPPED,
	METRIC_LIMIT_GRANTED, METRIC_LIMIT_REFUSED, METRIC_LIMIT_ERRORS, METRIC_BREAKER_OPENED, METRIC_RETRIES_REFUSED,
	METRIC_SCHEDULE_SLOTS, METRIC_SCHEDULE_TASKS, METRIC_SCHEDULE_SKIPPED, METRIC_SCHEDULE_FAILING,
	METRIC_SCHEDULE_MISSED,	METRIC_SCHEDULE_ERRORS, METRIC_TASKS_REMOVED,
	/* gauges */
	METRIC_TASKS_RUNNING, METRIC_CALLS_RUNNING, METRIC_TASK_MEMORY, METRIC_BUFFER_ROWS, METRIC_BUFFER_BYTES,
	METRIC_CLAIMING_PAUSED, METRIC_LIMIT_WAITING, METRIC_BREAKERS_OPEN,
	METRIC_OUTBOX_WAITING, METRIC_RELAY_SENDING, METRIC_RELAY_SHARDS, METRIC_BUS_BLOCKED, METRIC_TIMER_ACTIVE,
	METRIC_RSS, METRIC_RSS_PEAK,
	METRIC_COUNT
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };
struct metric_def {
	const char *name;	/* sluice_tasks_claimed_total */
	enum metric_type type;
	const char *unit;	/* "", "bytes", … */
	const char *help;
};
extern const struct metric_def metric_defs[METRIC_COUNT];

#define METRICS_SLOTS 512
#define METRICS_TASKS 512	/* running task ids a slot can name */

struct metrics;
struct metrics_slot;

/* Supervisor: a new mapping in an inheritable descriptor (-1 and err). */
struct metrics *metrics_create(struct error *err);
/* Role: maps the inherited descriptor. */
struct metrics *metrics_map(int fd, struct error *err);
void metrics_free(struct metrics **metrics);
int metrics_fd(const struct metrics *metrics);

/* Supervisor: reserves a slot for a child about to start; NULL when all are taken. */
struct metrics_slot *metrics_slot_take(struct metrics *metrics, const char *role, size_t *index_r);
void metrics_slot_set_pid(struct metrics_slot *slot, pid_t pid);
/* Supervisor, after the process ended: counters into the totals, the slot free again. */
void metrics_slot_fold(struct metrics *metrics, struct metrics_slot *slot);
struct metrics_slot *metrics_slot_at(struct metrics *metrics, size_t index);
bool metrics_slot_used(const struct metrics_slot *slot);
const char *metrics_slot_role(const struct metrics_slot *slot);
pid_t metrics_slot_pid(const struct metrics_slot *slot);
uint64_t metrics_slot_get(const struct metrics_slot *slot, enum metric_id id);
/* Ids of the tasks the process runs (or ran when it died); at most max are written, all are counted. */
size_t metrics_slot_tasks(const struct metrics_slot *slot, int64_t *ids, size_t max);
/* Ended processes and living ones together (gauges: living ones only). */
uint64_t metrics_total(struct metrics *metrics, enum metric_id id);

/* Role: this process's own slot, once at start. Before that, and in programs without one, counting does nothing. */
void metrics_use(struct metrics_slot *slot);
void metric_add(enum metric_id id, uint64_t n);
void metric_set(enum metric_id id, uint64_t value);
uint64_t metric_get(enum metric_id id);		/* of this process; 0 without a slot */
void metric_task_begin(int64_t task_id);
void metric_task_end(int64_t task_id);
/* Updates METRIC_RSS and METRIC_RSS_PEAK from the kernel's figures. */
void metrics_sample_memory(void);

#endif
