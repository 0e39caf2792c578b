/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all nodes know of sources (store_sources), on its way from a node's timer
 * to its workers, as one message of the channel:
 *
 *     {"sources": [{"source": …}, …], "whole": true, "asked": 123}
 */
#ifndef SLUICE_ROLE_SOURCES_H
#define SLUICE_ROLE_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;
struct json;
struct store_source;

#define SOURCES_MAX 300			/* rows of one message */

/* count: up to SOURCES_MAX; asked_ms: boot clock, when the store was asked. */
void role_sources_write(struct buf *out, const struct store_source *rows, size_t count, int64_t asked_ms);
/*
 * The rows, in the arena but for their texts, which are the message's. whole_r:
 * no source but these is stopped or fails. NULL when the message is none.
 */
struct store_source *role_sources_read(const struct json *message, struct arena *arena, size_t *count_r, bool *whole_r,
				  int64_t *asked_ms_r);

#endif
