/* SPDX-License-Identifier: Apache-2.0 */
/* `sluicectl flow try`: try.c drives the engine and prints, answer.c gets the answers. */
#ifndef SLUICE_CTL_TRY_H
#define SLUICE_CTL_TRY_H

#include "base/map.h"
#include "ctl.h"
#include "flow/flow.h"
#include "json/jwrite.h"

struct conf_flow;
struct http_client;
struct loop;

struct try {
	struct ctl *ctl;
	const struct conf_flow *conf;	/* NULL: the flow is not configured */
	struct flow_task *task;
	const char *replay;		/* --replay, or NULL */
	struct map *turns;		/* operation → size_t *: its requests so far */
	const struct sl_source **refused;	/* sources that parked or retired their credential */
	size_t refused_count;
	struct loop *loop;
	struct http_client *http;
	size_t upserts, events, submits;	/* printed of the present output */
	struct buf out;
	struct jwrite w;
};

/* --- try.c: one line of output: begin, members with try->w, end --- */
void try_begin(struct try *try, const char *kind);
void try_end(struct try *try);
/* An "error" line about a call. */
void try_error(struct try *try, const struct flow_call *call, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* --- answer.c --- */
int answer_init(struct try *try);
void answer_fini(struct try *try);
/* Gets one answer for the call and brings it to the engine; what to do then. */
enum flow_step answer_call(struct try *try, struct flow_call *call);
/* The source in use refuses its credential: it is not asked again. */
void answer_refuse(struct try *try, const struct flow_call *call);

#endif
