/* SPDX-License-Identifier: Apache-2.0 */
/* Table engines as text: the variant of one that makes equal rows one. Pure; any thread. */
#ifndef SLUICE_WAREHOUSE_ENGINE_H
#define SLUICE_WAREHOUSE_ENGINE_H

#include <stdbool.h>

struct buf;
struct error;

/* MergeTree and its relatives. */
bool engine_merges(const char *engine);
/* It makes equal rows one: a Replacing engine. */
bool engine_replaces(const char *engine);
/* Replicas hold the same rows, and remember repeats, by themselves. */
bool engine_replicates(const char *engine);
/* Appends the Replacing variant of an engine; ERR_INPUT when it has none. */
int engine_add_replacing(struct buf *out, const char *engine, struct error *err);
/* Whether column stands by itself among the expressions of an ORDER BY. */
bool engine_orders_by(const char *order_by, const char *column);

#endif
