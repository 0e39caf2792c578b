/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the status event of a task, in the form the original system sent it. Any thread. */
#include "store/task_event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "json/jwrite.h"
#include "store/group.h"

/* Whole seconds: the row's milliseconds are cut off. */
static void write_time(struct jwrite *w, const char *name, const char *text)
{
	size_t whole = sizeof("YYYY-MM-DD HH:MM:SS") - 1;

	if (text == NULL)
		jwrite_null(w, name);
	else
		jwrite_stringn(w, name, text, strlen(text) < whole ? strlen(text) : whole);
}

void task_event_write(struct buf *out, const struct task_row *row, int64_t now_ms)
{
	char id[UUID_TEXT_SIZE], number[24], now[CLOCK_TEXT_SIZE];
	struct jwrite w;

	snprintf(number, sizeof(number), "%" PRId64, row->id);
	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "event_id", uuid_random(id));
	jwrite_string(&w, "scl_id", number);
	jwrite_string(&w, "flow", row->flow);
	jwrite_string(&w, "platform", row->platform);
	jwrite_raw(&w, "params", row->params, strlen(row->params));
	jwrite_string(&w, "status", task_status_name(row->status));
	jwrite_int(&w, "priority", row->priority);
	jwrite_string(&w, "reason", row->reason);
	jwrite_string(&w, "event_timestamp", clock_format(now, now_ms / 1000));
	write_time(&w, "picked_at", row->picked_at);
	write_time(&w, "expires_at", row->expires_at);
	jwrite_int(&w, "retry_count", row->retry_count);
	jwrite_end(&w);
}

void task_event_add(struct group_outbox *outbox, const struct task_row *row, int64_t now_ms,
		    const struct store_options *options)
{
	const char *queue = options->status_queues;
	char name[256];
	struct buf event;
	size_t len;

	if (queue == NULL)
		return;
	buf_init(&event);
	task_event_write(&event, row, now_ms);
	for (; *queue != '\0'; queue += len + (queue[len] == ',')) {
		len = strcspn(queue, ",");
		if (len == 0)
			continue;
		str_format(name, sizeof(name), "%.*s", (int)len, queue);
		group_outbox_add(outbox, name, event.data, event.len, 1);
	}
	buf_fini(&event);
}
