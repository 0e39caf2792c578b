/* SPDX-License-Identifier: Apache-2.0 */
/* The event a task's change of status leaves, for scrape_request_log_events. Any thread. */
#ifndef SLUICE_STORE_TASK_EVENT_H
#define SLUICE_STORE_TASK_EVENT_H

#include "store/store.h"

struct buf;
struct group_outbox;

/*
 * Appends {"event_id", "scl_id", "flow", "platform", "params", "status",
 * "priority", "reason", "event_timestamp", "picked_at", "expires_at",
 * "retry_count"}: event_id a new UUID, scl_id the id as text, times as
 * "YYYY-MM-DD HH:MM:SS" in UTC or null.
 */
void task_event_write(struct buf *out, const struct task_row *row, int64_t now_ms);
/* Adds the event to the outbox rows being built, for every queue of status_queues. */
void task_event_add(struct group_outbox *outbox, const struct task_row *row, int64_t now_ms,
		    const struct store_options *options);

#endif
