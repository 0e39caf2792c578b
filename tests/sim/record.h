/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books: a line per request in the log, counts, and which entities were
 * served. An entity counts only when its answer had status 200, was not
 * spoiled by a fault and was sent completely. Any thread.
 */
#ifndef SLUICE_SIM_RECORD_H
#define SLUICE_SIM_RECORD_H

#include "base/error.h"
#include "sim.h"

/* path NULL = no log. Appends. */
int record_open(const char *path, struct error *err);
void record_request(const struct sim_request *request, bool complete);
/* Writes what is buffered; called every second and at the end. */
void record_flush(void);
/* Everything as JSON, appended. */
void record_stats(struct buf *out);
/* What is counted "since the mark" starts again. */
void record_mark(const char *name);

#endif
