/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapping: totals of ended processes, then the slots. A slot's figures are
 * written by its own process alone, its owner fields by the supervisor alone,
 * so relaxed atomics are enough; a fold happens after waitpid, which orders it.
 */
#include "metrics/metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"

#define ROLE_SIZE 112
#define MAGIC UINT64_C(0x534c4d4554523101)

const struct metric_def metric_defs[METRIC_COUNT] = {
	[METRIC_TASKS_CLAIMED] = {"sluice_tasks_claimed_total", METRIC_COUNTER, "",
		"Tasks a worker took from the store."},
	[METRIC_TASKS_COMPLETED] = {"sluice_tasks_completed_total", METRIC_COUNTER, "",
		"Tasks that ended COMPLETE."},
	[METRIC_TASKS_FAILED] = {"sluice_tasks_failed_total", METRIC_COUNTER, "",
		"Tasks that ended FAILED."},
	[METRIC_TASKS_GONE] = {"sluice_tasks_gone_total", METRIC_COUNTER, "",
		"Tasks that failed because what they asked for does not exist."},
	[METRIC_TASKS_RETRIED] = {"sluice_tasks_retried_total", METRIC_COUNTER, "",
		"Attempts that failed and were scheduled again."},
	[METRIC_TASKS_RELEASED] = {"sluice_tasks_released_total", METRIC_COUNTER, "",
		"Tasks given back unfinished, without counting an attempt."},
	[METRIC_TASKS_LOST] = {"sluice_tasks_lost_total", METRIC_COUNTER, "",
		"Tasks whose lease had passed to another worker when they wanted to commit; nothing was written."},
	[METRIC_SLICES] = {"sluice_slices_total", METRIC_COUNTER, "",
		"Slices of long tasks committed before the task's end."},
	[METRIC_REQUESTS] = {"sluice_requests_total", METRIC_COUNTER, "",
		"HTTP requests sent to sources."},
	[METRIC_REQUEST_ERRORS] = {"sluice_request_errors_total", METRIC_COUNTER, "",
		"HTTP requests that got no usable response."},
	[METRIC_RESPONSE_BYTES] = {"sluice_response_bytes_total", METRIC_COUNTER, "bytes",
		"Bytes of response bodies received from sources."},
	[METRIC_JSON_SANITISED] = {"sluice_json_sanitised_total", METRIC_COUNTER, "",
		"Responses whose JSON had to be repaired before it could be read."},
	[METRIC_TRACES] = {"sluice_traces_total", METRIC_COUNTER, "",
		"Requests of which a trace event was written."},
	[METRIC_TRACES_DROPPED] = {"sluice_traces_dropped_total", METRIC_COUNTER, "",
		"Requests not traced, for their task could not commit the traces it had."},
	[METRIC_RECORDS] = {"sluice_records_total", METRIC_COUNTER, "",
		"Records that plugins parsed from responses."},
	[METRIC_RECORDS_KEYLESS] = {"sluice_records_keyless_total", METRIC_COUNTER, "",
		"Records dropped because they had no key."},
	[METRIC_UPSERTS] = {"sluice_upserts_total", METRIC_COUNTER, "",
		"Rows of current state written."},
	[METRIC_EVENTS] = {"sluice_events_total", METRIC_COUNTER, "",
		"Events committed to the outbox."},
	[METRIC_COMMITS] = {"sluice_commits_total", METRIC_COUNTER, "",
		"Transactions that committed a group of tasks."},
	[METRIC_COMMIT_ERRORS] = {"sluice_commit_errors_total", METRIC_COUNTER, "",
		"Transactions that failed or whose outcome had to be read back."},
	[METRIC_OUTBOX_BYTES] = {"sluice_outbox_bytes_total", METRIC_COUNTER, "bytes",
		"Bytes of events written to the outbox."},
	[METRIC_SINK_ROWS] = {"sluice_sink_rows_total", METRIC_COUNTER, "",
		"Rows inserted into the warehouse."},
	[METRIC_SINK_BATCHES] = {"sluice_sink_batches_total", METRIC_COUNTER, "",
		"Inserts that the warehouse accepted."},
	[METRIC_SINK_ERRORS] = {"sluice_sink_errors_total", METRIC_COUNTER, "",
		"Inserts that the warehouse refused or that got no answer."},
	[METRIC_SINK_DEAD] = {"sluice_sink_dead_letters_total", METRIC_COUNTER, "",
		"Rows and messages set aside with a reason."},
	[METRIC_SINK_SUSPECTS] = {"sluice_sink_suspects_total", METRIC_COUNTER, "",
		"Rows looked up by identity because they may have been inserted before."},
	[METRIC_SINK_REPEATS] = {"sluice_sink_repeats_total", METRIC_COUNTER, "",
		"Rows not inserted because they were there already."},
	[METRIC_RESCUED] = {"sluice_tasks_rescued_total", METRIC_COUNTER, "",
		"Tasks whose lease expired, that became due, or that expired before they were started."},
	[METRIC_RELAY_PUBLISHED] = {"sluice_relay_published_total", METRIC_COUNTER, "",
		"Messages given to the broker, each time one is."},
	[METRIC_RELAY_MESSAGES] = {"sluice_relay_messages_total", METRIC_COUNTER, "",
		"Messages that the broker confirmed."},
	[METRIC_RELAY_EVENTS] = {"sluice_relay_events_total", METRIC_COUNTER, "",
		"Events in messages that the broker confirmed."},
	[METRIC_RELAY_REDO] = {"sluice_relay_redo_total", METRIC_COUNTER, "",
		"Messages sent once more because it was not known whether they had arrived."},
	[METRIC_RELAY_DEAD] = {"sluice_relay_dead_letters_total", METRIC_COUNTER, "",
		"Events set aside because no queue takes them."},
	[METRIC_RELAY_DROPPED] = {"sluice_relay_dropped_total", METRIC_COUNTER, "",
		"Events dropped because no queue takes them and their stream says unrouted: drop."},
	[METRIC_LIMIT_GRANTED] = {"sluice_limit_granted_total", METRIC_COUNTER, "",
		"Requests that the rate limits let go."},
	[METRIC_LIMIT_REFUSED] = {"sluice_limit_refused_total", METRIC_COUNTER, "",
		"Requests that a rate limit told to wait."},
	[METRIC_LIMIT_ERRORS] = {"sluice_limit_errors_total", METRIC_COUNTER, "",
		"Requests for which the rate limits could not be asked, or never have room."},
	[METRIC_BREAKER_OPENED] = {"sluice_breaker_opened_total", METRIC_COUNTER, "",
		"Times a source failed so often in a row that requests to it were stopped."},
	[METRIC_RETRIES_REFUSED] = {"sluice_retries_refused_total", METRIC_COUNTER, "",
		"Repetitions of a request that were not made, so that a failing source is not asked all the more."},
	[METRIC_SCHEDULE_SLOTS] = {"sluice_schedule_slots_total", METRIC_COUNTER, "",
		"Slots of schedules that were begun."},
	[METRIC_SCHEDULE_TASKS] = {"sluice_schedule_tasks_total", METRIC_COUNTER, "",
		"Tasks that schedules made."},
	[METRIC_SCHEDULE_SKIPPED] = {"sluice_schedule_skipped_total", METRIC_COUNTER, "",
		"Entries of schedules that made no task because a live one has the same unique key, or they stood there twice."},
	[METRIC_SCHEDULE_FAILING] = {"sluice_schedule_failing_total", METRIC_COUNTER, "",
		"Entries of schedules that made no task because those before failed for good (skip_after)."},
	[METRIC_SCHEDULE_MISSED] = {"sluice_schedule_missed_total", METRIC_COUNTER, "",
		"Slots of schedules passed over because nobody was there at their time."},
	[METRIC_SCHEDULE_ERRORS] = {"sluice_schedule_errors_total", METRIC_COUNTER, "",
		"Lists of schedules that could not be read, and entries of them that made no task because they are wrong."},
	[METRIC_TASKS_REMOVED] = {"sluice_tasks_removed_total", METRIC_COUNTER, "",
		"Tasks removed because they ended longer ago than tasks.keep says."},
	[METRIC_TASKS_RUNNING] = {"sluice_tasks_running", METRIC_GAUGE, "",
		"Tasks in progress."},
	[METRIC_CALLS_RUNNING] = {"sluice_calls_running", METRIC_GAUGE, "",
		"Requests in flight."},
	[METRIC_TASK_MEMORY] = {"sluice_task_memory_bytes", METRIC_GAUGE, "bytes",
		"Memory that the running tasks hold."},
	[METRIC_BUFFER_ROWS] = {"sluice_sink_buffer_rows", METRIC_GAUGE, "",
		"Rows waiting in a sink for their insert."},
	[METRIC_BUFFER_BYTES] = {"sluice_sink_buffer_bytes", METRIC_GAUGE, "bytes",
		"Bytes waiting in a sink for their insert."},
	[METRIC_CLAIMING_PAUSED] = {"sluice_claiming_paused", METRIC_GAUGE, "",
		"Workers that claim no tasks because the outbox or their memory is full."},
	[METRIC_LIMIT_WAITING] = {"sluice_limit_waiting", METRIC_GAUGE, "",
		"Requests that wait in line for a rate limit."},
	[METRIC_BREAKERS_OPEN] = {"sluice_breakers_open", METRIC_GAUGE, "",
		"Sources (or handles of one) to which no request goes but to try, as the node's timer last saw it."},
	[METRIC_OUTBOX_WAITING] = {"sluice_outbox_waiting_bytes", METRIC_GAUGE, "bytes",
		"Bytes of events waiting in the outbox, as the node's timer last saw it."},
	[METRIC_RELAY_SENDING] = {"sluice_relay_unconfirmed", METRIC_GAUGE, "",
		"Messages given to the broker's connection and not confirmed."},
	[METRIC_RELAY_SHARDS] = {"sluice_relay_shards", METRIC_GAUGE, "",
		"Shards of the outbox that this node's relays hold."},
	[METRIC_BUS_BLOCKED] = {"sluice_bus_blocked", METRIC_GAUGE, "",
		"Relays whose broker takes no messages at present, or cannot be reached."},
	[METRIC_TIMER_ACTIVE] = {"sluice_timer_active", METRIC_GAUGE, "",
		"1 when this node's timer is the active one of all nodes."},
	[METRIC_RSS] = {"sluice_resident_bytes", METRIC_GAUGE, "bytes",
		"Resident memory."},
	[METRIC_RSS_PEAK] = {"sluice_resident_peak_bytes", METRIC_GAUGE, "bytes",
		"Largest resident memory since the process started."},
};

typedef _Atomic uint64_t figure;

struct metrics_slot {
	atomic_int used;
	atomic_int pid;
	char role[ROLE_SIZE];			/* written while the slot is not used */
	figure figures[METRIC_COUNT];
	_Atomic uint32_t task_count;		/* all of them, also those that found no place in the list */
	_Atomic int64_t tasks[METRICS_TASKS];	/* 0 = free; no holes are closed, so an end touches one entry */
};

struct mapping {
	uint64_t magic, size;
	figure totals[METRIC_COUNT];
	struct metrics_slot slots[METRICS_SLOTS];
};

struct metrics {
	struct mapping *map;
	int fd;		/* owned */
};

static struct metrics_slot *own;	/* set once, before threads start */

#define load(object) atomic_load_explicit(object, memory_order_relaxed)
#define store(object, value) atomic_store_explicit(object, value, memory_order_relaxed)

static struct metrics *map_fd(int fd, struct error *err)
{
	struct metrics *metrics;
	struct mapping *map;

	map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		error_errno(err, "cannot map the counters");
		return NULL;
	}
	metrics = mem_alloc(sizeof(*metrics));
	metrics->map = map;
	metrics->fd = fd;
	return metrics;
}

struct metrics *metrics_create(struct error *err)
{
	struct metrics *metrics;
	int fd = memfd_create("sluice-metrics", 0);

	if (fd < 0) {
		error_errno(err, "cannot create the counters");
		return NULL;
	}
	if (ftruncate(fd, (off_t)sizeof(struct mapping)) < 0) {
		error_errno(err, "cannot size the counters");
		close(fd);
		return NULL;
	}
	metrics = map_fd(fd, err);
	if (!metrics) {
		close(fd);
		return NULL;
	}
	metrics->map->magic = MAGIC;
	metrics->map->size = sizeof(struct mapping);
	return metrics;
}

struct metrics *metrics_map(int fd, struct error *err)
{
	struct metrics *metrics;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		error_errno(err, "descriptor %d does not hold the counters", fd);
		return NULL;
	}
	if (st.st_size != (off_t)sizeof(struct mapping)) {
		error_set(err, ERR_INPUT, "descriptor %d does not hold the counters: %lld bytes instead of %zu",
			  fd, (long long)st.st_size, sizeof(struct mapping));
		return NULL;
	}
	metrics = map_fd(fd, err);
	if (metrics && (metrics->map->magic != MAGIC || metrics->map->size != sizeof(struct mapping))) {
		error_set(err, ERR_INPUT, "descriptor %d holds the counters of another version", fd);
		munmap(metrics->map, sizeof(struct mapping));
		mem_free(&metrics);
	}
	return metrics;
}

void metrics_free(struct metrics **metrics)
{
	if (!*metrics)
		return;
	if (own >= (*metrics)->map->slots && own < (*metrics)->map->slots + METRICS_SLOTS)
		own = NULL;
	munmap((*metrics)->map, sizeof(struct mapping));
	close((*metrics)->fd);
	mem_free(metrics);
}

int metrics_fd(const struct metrics *metrics)
{
	return metrics->fd;
}

static void slot_clear(struct metrics_slot *slot)
{
	store(&slot->pid, 0);
	for (int id = 0; id < METRIC_COUNT; id++)
		store(&slot->figures[id], 0);
	store(&slot->task_count, 0);
	for (int i = 0; i < METRICS_TASKS; i++)
		store(&slot->tasks[i], 0);
}

struct metrics_slot *metrics_slot_take(struct metrics *metrics, const char *role, size_t *index_r)
{
	for (size_t i = 0; i < METRICS_SLOTS; i++) {
		struct metrics_slot *slot = &metrics->map->slots[i];

		if (load(&slot->used))
			continue;
		slot_clear(slot);
		str_format(slot->role, sizeof(slot->role), "%s", role);
		atomic_store_explicit(&slot->used, 1, memory_order_release);
		if (index_r)
			*index_r = i;
		return slot;
	}
	return NULL;
}

void metrics_slot_set_pid(struct metrics_slot *slot, pid_t pid)
{
	store(&slot->pid, pid);
}

void metrics_slot_fold(struct metrics *metrics, struct metrics_slot *slot)
{
	for (int id = 0; id < METRIC_COUNT; id++) {
		uint64_t value = load(&slot->figures[id]);

		if (metric_defs[id].type != METRIC_COUNTER)
			continue;
		/* Out of the slot first: a reader between the two misses a little rather than count it twice. */
		store(&slot->figures[id], 0);
		atomic_fetch_add_explicit(&metrics->map->totals[id], value, memory_order_relaxed);
	}
	slot_clear(slot);
	atomic_store_explicit(&slot->used, 0, memory_order_release);
}

struct metrics_slot *metrics_slot_at(struct metrics *metrics, size_t index)
{
	return index < METRICS_SLOTS ? &metrics->map->slots[index] : NULL;
}

bool metrics_slot_used(const struct metrics_slot *slot)
{
	return atomic_load_explicit(&slot->used, memory_order_acquire) != 0;
}

const char *metrics_slot_role(const struct metrics_slot *slot)
{
	return slot->role;
}

pid_t metrics_slot_pid(const struct metrics_slot *slot)
{
	return load(&slot->pid);
}

uint64_t metrics_slot_get(const struct metrics_slot *slot, enum metric_id id)
{
	return load(&slot->figures[id]);
}

size_t metrics_slot_tasks(const struct metrics_slot *slot, int64_t *ids, size_t max)
{
	size_t found = 0;

	for (size_t i = 0; i < METRICS_TASKS && found < max; i++) {
		int64_t id = load(&slot->tasks[i]);

		if (id != 0)
			ids[found++] = id;
	}
	return load(&slot->task_count);
}

uint64_t metrics_total(struct metrics *metrics, enum metric_id id)
{
	uint64_t total = load(&metrics->map->totals[id]);

	for (size_t i = 0; i < METRICS_SLOTS; i++)
		if (metrics_slot_used(&metrics->map->slots[i]))
			total += load(&metrics->map->slots[i].figures[id]);
	return total;
}

void metrics_use(struct metrics_slot *slot)
{
	own = slot;
}

void metric_add(enum metric_id id, uint64_t n)
{
	if (own)
		atomic_fetch_add_explicit(&own->figures[id], n, memory_order_relaxed);
}

void metric_set(enum metric_id id, uint64_t value)
{
	if (own)
		store(&own->figures[id], value);
}

uint64_t metric_get(enum metric_id id)
{
	return own ? load(&own->figures[id]) : 0;
}

void metric_task_begin(int64_t task_id)
{
	if (!own)
		return;
	for (size_t i = 0; i < METRICS_TASKS; i++) {
		if (load(&own->tasks[i]) == 0) {
			store(&own->tasks[i], task_id);
			break;
		}
	}
	store(&own->task_count, load(&own->task_count) + 1);
}

void metric_task_end(int64_t task_id)
{
	if (!own)
		return;
	for (size_t i = 0; i < METRICS_TASKS; i++) {
		if (load(&own->tasks[i]) == task_id) {
			store(&own->tasks[i], 0);
			break;
		}
	}
	if (load(&own->task_count) > 0)
		store(&own->task_count, load(&own->task_count) - 1);
}

void metrics_sample_memory(void)
{
	struct rusage usage;
	unsigned long long pages;
	FILE *statm;

	if (!own)
		return;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		metric_set(METRIC_RSS_PEAK, (uint64_t)usage.ru_maxrss * 1024);
	statm = fopen("/proc/self/statm", "re");
	if (!statm)
		return;
	if (fscanf(statm, "%*u %llu", &pages) == 1)
		metric_set(METRIC_RSS, pages * (uint64_t)sysconf(_SC_PAGESIZE));
	fclose(statm);
}
