/* SPDX-License-Identifier: Apache-2.0 */
/* What loop.c offers to thread.c. The loop's thread only. */
#ifndef SLUICE_LOOP_INTERNAL_H
#define SLUICE_LOOP_INTERNAL_H

#include <stdbool.h>

struct loop_queue;

/* Delivers the oldest item now, without waiting for the loop; false when there is none. */
bool queue_deliver_one(struct loop_queue *queue);
/* Whether the queue keeps loop_run going. */
void queue_keep(struct loop_queue *queue, bool keep);

#endif
