/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver local: and what redis: falls back to. Decides at once, in the
 * mapped file, in microseconds; only the answer goes through the loop. Loop thread.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "limit/driver.h"
#include "limit/local_file.h"
#include "log/log.h"

#define FILE_NAME "limits"
#define LOG_MS 60000
#define BUSY_MS 100		/* when the file is held for too long */

struct local {
	struct limiter base;
	struct limit_file *file;
	bool distrust;
	int64_t since_us;		/* this process's own; 0: none */
	int64_t full_log, busy_log;
};

struct limiter *limit_local_open(struct loop *loop, const char *name, const struct limit_options *options,
				 struct error *err)
{
	struct local *local = mem_alloc(sizeof(*local));
	struct buf path;

	limit_init(&local->base, &limit_local_ops, loop, options);
	buf_init(&path);
	if (options->state == NULL)
		error_set(err, ERR_INPUT, "local: needs a state directory");
	else {
		buf_printf(&path, "%s/%s", options->state, name);
		local->file = limit_file_open(path.data, local->base.options.slots, err);
	}
	buf_fini(&path);
	if (local->file != NULL)
		return &local->base;
	limit_fini(&local->base);
	mem_free(&local);
	return NULL;
}

static int local_check(const char *scheme, const char *rest, struct error *err)
{
	return *rest == '\0' ? 0 : error_set(err, ERR_INPUT, "nothing may follow \"%s:\"", scheme);
}

static struct limiter *local_open(struct loop *loop, const char *scheme, const char *rest,
				  const struct limit_options *options, struct error *err)
{
	return local_check(scheme, rest, err) == 0 ? limit_local_open(loop, FILE_NAME, options, err) : NULL;
}

static void local_close(struct limiter *limiter)
{
	struct local *local = (struct local *)limiter;

	limit_fini(limiter);
	limit_file_close(&local->file);
	mem_release(local);
}

/* Into record, of which only what is used is written. */
static void load(struct local *local, const char *key, int64_t now_us, struct limit_record *record)
{
	const struct limit_record *found = limit_file_find(local->file, key, now_us);

	if (found != NULL) {
		memcpy(record, found, limit_record_size(found));
		return;
	}
	record->window_count = 0;
	memset(record, 0, limit_record_size(record));
}

static void no_room(struct local *local, const struct limit_part *part, int64_t wait_us, size_t index,
		    struct limit_answer *answer)
{
	limit_file_rollback(local->file);
	if (log_limited(&local->full_log, LOG_MS))
		log_error("limits: too many keys at once, refused key=\"%s\" slots=%zu", part->key,
			  local->base.options.slots);
	*answer = (struct limit_answer){
		.verdict = LIMIT_FULL, .wait_ms = limit_wait_ms(wait_us), .slowest = index};
}

static void take(struct local *local, const struct limit_request *request, int64_t since_us, int64_t now_us,
		 struct limit_answer *answer)
{
	struct limit_record records[LIMIT_ITEMS_MAX];
	int64_t waits_us[LIMIT_ITEMS_MAX], free_in_us;
	bool refused = false;

	for (size_t i = 0; i < request->count; i++) {
		const struct limit_part *part = &request->parts[i];

		load(local, part->key, now_us, &records[i]);
		waits_us[i] = limit_record_wait(&records[i], part->rules, part->rule_count, part->cost,
						since_us, now_us);
		refused = refused || waits_us[i] > 0;
	}
	if (refused) {
		limit_refuse(waits_us, request->count, answer);
		return;
	}
	*answer = (struct limit_answer){.verdict = LIMIT_GRANTED, .grant.taken_us = now_us};
	for (size_t i = 0; i < request->count; i++) {
		const struct limit_part *part = &request->parts[i];

		limit_record_take(&records[i], part->rules, part->rule_count, part->cost, now_us);
		if (limit_file_write(local->file, part->key, &records[i], now_us, &free_in_us) < 0) {
			no_room(local, part, free_in_us, i, answer);
			return;
		}
	}
}

/* Refunds, moves and lowerings: part by part, as far as there is room. */
static void change(struct local *local, const struct limit_request *request, int64_t now_us)
{
	for (size_t i = 0; i < request->count; i++) {
		const struct limit_part *part = &request->parts[i];
		struct limit_record record;
		int64_t wait_us;

		load(local, part->key, now_us, &record);
		if (request->op == LIMIT_REFUND) {
			limit_record_refund(&record, part->cost, request->grant.taken_us, now_us);
		} else if (request->op == LIMIT_MOVE) {
			limit_record_move(&record, part->cost, request->grant.taken_us, now_us);
		} else {
			if (request->park_ms > 0)
				limit_record_park(&record, now_us + request->park_ms * 1000);
			if (request->left >= 0)
				limit_record_lower(&record, request->left, now_us + request->left_ms * 1000,
						   now_us);
		}
		if (limit_file_write(local->file, part->key, &record, now_us, &wait_us) < 0)
			local->base.stats.dropped++;
	}
}

void limit_local_decide(struct limiter *limiter, const struct limit_request *request,
			struct limit_answer *answer)
{
	struct local *local = (struct local *)limiter;
	int status = limit_file_lock(local->file);
	int64_t now_us, since_us;

	if (status < 0) {
		if (log_limited(&local->busy_log, LOG_MS))
			log_warning("limits: another process holds the file and does not let go (is it "
				    "stopped?)");
		*answer = (struct limit_answer){.verdict = LIMIT_AWAY, .wait_ms = BUSY_MS};
		return;
	}
	if (status > 0) {
		limiter->stats.repaired++;
		log_warning("limits: a process died while it wrote: what it had begun is taken back");
	}
	now_us = limit_file_now_us(local->file);
	if (request->now_us != 0)
		now_us = request->now_us;
	if (local->distrust)
		local->since_us = now_us;
	local->distrust = false;
	since_us = limit_file_since_us(local->file);
	if (since_us < local->since_us)
		since_us = local->since_us;
	if (request->op == LIMIT_TAKE) {
		take(local, request, since_us, now_us, answer);
	} else {
		change(local, request, now_us);
		*answer = (struct limit_answer){.verdict = LIMIT_GRANTED};
	}
	limit_file_unlock(local->file);
}

void limit_local_distrust(struct limiter *limiter)
{
	((struct local *)limiter)->distrust = true;
}

static void local_request(struct limiter *limiter, struct limit_request *request)
{
	struct limit_answer answer;

	limit_local_decide(limiter, request, &answer);
	if (request->op == LIMIT_TAKE) {
		limit_answer(request, &answer);
		return;
	}
	if (answer.verdict != LIMIT_GRANTED)
		limiter->stats.dropped++;
	limit_request_free(request);
}

const struct limit_ops limit_local_ops = {local_check, local_open, local_request, local_close};
