/* SPDX-License-Identifier: Apache-2.0 */
/* Operations (one thing to ask) and flows (a kind of task). Every callback is pure: no I/O, no clock, no malloc. */
#ifndef SLUICE_FLOW_H
#define SLUICE_FLOW_H

#include "http.h"
#include "table.h"

struct sl_task;
struct sl_call;

enum sl_kind {
	SL_HTTP = 0,
	SL_LOOKUP,	/* rows of one of the plugin's tables where column equals the call's key */
	SL_BLOB,	/* a GET, or a query's rows, streamed into the object store */
	SL_QUERY	/* SQL with bound parameters on the warehouse */
};

/*
 * One way to carry out an operation. build describes the request, parse reads
 * the answer: it makes records (h->record), sets the next cursor
 * (h->set_cursor) and facts. parse sees every status below 400 (redirects are
 * not followed unless build asks). A status of 400 or more never reaches it:
 * the source's error callback says what it means (h->operation tells it of
 * which call), and where there is none, or it returns SL_OK, the host's rules
 * do (<sluice/http.h>). Lists end with parse NULL.
 */
struct sl_via {
	const struct sl_source *source;	/* NULL for lookups and queries */
	enum sl_result (*build)(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				struct sl_request *r);
	enum sl_result (*parse)(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				const struct sl_response *re);
};

/* The ways are in order of preference; flows.yaml may change order and weights. */
struct sl_operation {
	size_t size;
	const char *name;
	enum sl_kind kind;
	const struct sl_via *via;
	const struct sl_table *table;	/* SL_LOOKUP */
	const char *column;		/* SL_LOOKUP: the table's key or an indexed column */
	const char *doc;
	/* Since minor 1: what a request takes of the limits of a source with SL_SOURCE_COSTS; 0 = 1. */
	int cost;
};

#define SL_OPERATION_INIT(...) { sizeof(struct sl_operation), __VA_ARGS__ }
#define SL_END_OF_VIAS { NULL, NULL, NULL }

/*
 * A flow is a kind of task.
 *
 * retrieve adds the calls of the next round (h->call, h->next); it runs at the
 * start and after each round, and the task is finished when it adds none.
 * page runs after each response was parsed: for events that speak of a whole
 * page. emit runs for each record: h->upsert, h->event. When page or emit does
 * not return SL_OK the task fails; nothing of that response is left behind.
 */
struct sl_flow {
	size_t size;
	const char *name;
	const char *platform;			/* INSTAGRAM, YOUTUBE, … as it stands in tasks and events */
	const struct sl_option *params;
	const struct sl_operation *const *operations;	/* that it calls; NULL-terminated */
	const struct sl_table *const *tables;		/* that it writes; NULL-terminated, or NULL */
	const struct sl_stream *const *streams;		/* that it emits; NULL-terminated, or NULL */
	enum sl_result (*retrieve)(const struct sl_host *h, struct sl_task *t);
	enum sl_result (*page)(const struct sl_host *h, struct sl_task *t, const struct sl_call *c);
	enum sl_result (*emit)(const struct sl_host *h, struct sl_task *t, struct sl_record *rec);
	int64_t timeout_ms;			/* per slice; 0 = the default */
	const char *doc;
};

#define SL_FLOW_INIT(...) { sizeof(struct sl_flow), __VA_ARGS__ }

/* What happens to the task when a call has failed for good. */
enum sl_on_error {
	SL_ON_ERROR_FAIL = 0,	/* the task fails with the call's error */
	SL_ON_ERROR_REPORT	/* retrieve sees it (h->outcome) and decides */
};

/*
 * Walks a parameter (a list) or a fact list in lots of n, each a comma-joined
 * text: SL_BATCHES(h, t, "channel_ids", 40, ids) h->call(…, "ids", ids, NULL);
 */
#define SL_BATCHES(h, t, list, n, ids) \
	for (size_t ids##_index = 0; ((ids) = (h)->batch((t), (list), (n), ids##_index)) != NULL; ids##_index++)

#endif
