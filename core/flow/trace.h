/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace events: what went to an upstream and what came back, in the form that
 * the queue trace_log has always had, without secrets. Any thread.
 */
#ifndef SLUICE_FLOW_TRACE_H
#define SLUICE_FLOW_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "flow/flow.h"

struct buf;

/* One request; all is borrowed. Texts may be NULL: they are written empty. */
struct flow_trace {
	const char *id;			/* the event's identity */
	const char *host, *service;	/* of this program */
	int64_t sent_ms;		/* since 1970 */
	int64_t taken_ms;
	const struct flow_request *request;
	const char *flow, *source;
	int64_t task;
	int status;			/* 0: no answer */
	const char *remote;		/* address of the upstream */
	const char *body;		/* of the answer */
	size_t body_len;
	const char *error;		/* why there was no answer, or none of use; NULL: there was */
};

/*
 * Appends the event as one line of JSON, without a line break. Of each body at
 * most body_max bytes are written, of the URL, each header and the error what
 * is sensible; an event of more than event_max bytes is written without bodies
 * and headers.
 */
void flow_trace_print(const struct flow_trace *trace, size_t body_max, size_t event_max, struct buf *out);

/*
 * Whether the number-th request of a task's slice is in a share (0 to 1) of all:
 * the same whenever it is asked. seed: flow_task_seed.
 */
bool flow_trace_drawn(uint64_t seed, int64_t commit_seq, uint64_t number, double share);

#endif
