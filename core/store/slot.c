/* SPDX-License-Identifier: Apache-2.0 */
/* See slot.h. */
#include "store/slot.h"

#include "base/str.h"

static int64_t step_end(const struct store_slot *step)
{
	return step->from + (int64_t)step->count + step->refused;
}

bool slot_fits(const struct store_schedule *row, const struct store_slot *step)
{
	bool known = row->spec != NULL && str_eq(row->spec, step->spec);

	if (step->first)
		return !known;
	if (!known || step->slot_ms < row->slot_ms)
		return false;
	if (step->slot_ms > row->slot_ms)
		return step->from == 0;
	/* A list that became another is begun again: what was made of it bears the keys of those tasks. */
	return !row->finished && step->from == (str_eq(row->list, step->list) ? row->done : 0);
}

bool slot_was_taken(const struct store_schedule *row, const struct store_slot *step)
{
	if (row->spec == NULL || !str_eq(row->spec, step->spec) || row->slot_ms != step->slot_ms)
		return false;
	return step->first || (str_eq(row->list, step->list) && row->done == step_end(step) &&
			       row->finished == step->last);
}

void slot_take(struct store_schedule *row, const struct store_slot *step, int64_t made, int64_t failing,
	       int64_t now_ms)
{
	bool begins = step->first || step->slot_ms > row->slot_ms;
	int64_t skipped = (int64_t)step->count - made - failing;

	row->changed_ms = now_ms;
	row->spec = step->spec;
	row->slot_ms = step->slot_ms;
	row->list = step->list;
	row->done = step_end(step);
	row->finished = step->last || step->first;
	if (begins) {
		row->made = row->skipped = row->refused = row->failing = 0;
		row->error = NULL;
		row->slots += !step->first && !step->over;
		row->missed += step->missed;
	}
	row->made += made;
	row->skipped += skipped;
	row->failing += failing;
	row->refused += step->refused;
	row->tasks += made;
	row->skips += skipped;
	row->fails += failing;
	/* What was wrong once with a slot that then went on is of no interest; a wrong entry is. */
	if (step->error != NULL || row->refused == 0)
		row->error = step->error;
}
