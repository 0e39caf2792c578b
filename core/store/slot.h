/* SPDX-License-Identifier: Apache-2.0 */
/* What a step of a schedule's slot does to the schedule's row, the same in every driver. No I/O; any thread. */
#ifndef SLUICE_STORE_SLOT_H
#define SLUICE_STORE_SLOT_H

#include "store/store.h"

/* row->spec is NULL while there is no row. Whether the step may be taken. */
bool slot_fits(const struct store_schedule *row, const struct store_slot *step);
/* Whether the row shows that this step was taken: for one whose commit got no answer. */
bool slot_was_taken(const struct store_schedule *row, const struct store_slot *step);
/*
 * The row after the step, of whose tasks so many were made, and so many left out
 * for what failed before; texts borrowed from the step.
 */
void slot_take(struct store_schedule *row, const struct store_slot *step, int64_t made, int64_t failing,
	       int64_t now_ms);

#endif
