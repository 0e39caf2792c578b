/* SPDX-License-Identifier: Apache-2.0 */
/* See limit_model.h. */
#include "limit_model.h"

#include <stdlib.h>

#include "base/arena.h"

void model_free(struct model *model)
{
	mem_free(&model->grants);
	*model = (struct model){0};
}

/* How many slices of that width an interval of length ticks can touch, tried out at every offset. */
static int64_t most_slices(int64_t length, int64_t width)
{
	int64_t most = 0;

	/* Only the offsets near a slice's end can be the worst. */
	for (int64_t offset = width > 2 ? width - 2 : 0; offset < width; offset++) {
		int64_t touched = (offset + length - 1) / width + 1;

		most = touched > most ? touched : most;
	}
	return most;
}

static int64_t wait_for(const struct model *model, const struct model_rule *rule, int64_t cost,
			int64_t now_us)
{
	int64_t width = (rule->period_us + 19) / 20, slices = most_slices(rule->period_us, width);
	int64_t slice = now_us / width, at = slice;

	for (;;) {
		int64_t sum = cost;

		for (size_t i = model->first; i < model->count; i++)
			if (model->grants[i].time_us / width > at - slices)
				sum += model->grants[i].cost;
		if (sum <= rule->count)
			return at == slice ? 0 : at * width - now_us;
		at++;
	}
}

int64_t model_wait(const struct model *model, const struct model_rule *rules, size_t count, int64_t cost,
		   int64_t now_us)
{
	int64_t longest = 0, wait;

	if (model->parked_us > now_us)
		longest = model->parked_us - now_us;
	if (model->cap_until_us > now_us && model->cap_left < cost && model->cap_until_us - now_us > longest)
		longest = model->cap_until_us - now_us;
	for (size_t i = 0; i < count; i++) {
		wait = wait_for(model, &rules[i], cost, now_us);
		longest = wait > longest ? wait : longest;
	}
	return longest;
}

static void forget(struct model *model, int64_t amount, int64_t taken_us)
{
	int64_t rest = amount;

	for (size_t i = model->first; i < model->count && rest > 0; i++) {
		int64_t back = model->grants[i].cost < rest ? model->grants[i].cost : rest;

		if (model->grants[i].time_us == taken_us) {
			model->grants[i].cost -= back;
			rest -= back;
		}
	}
}

static void add_grant(struct model *model, int64_t cost, int64_t now_us)
{
	if (model->count == model->cap) {
		model->cap = model->cap * 2 + 64;
		model->grants = mem_realloc(model->grants, model->cap * sizeof(*model->grants));
	}
	model->grants[model->count++] = (struct model_grant){now_us, cost};
}

void model_take(struct model *model, int64_t cost, int64_t now_us)
{
	add_grant(model, cost, now_us);
	if (model->cap_until_us > now_us)
		model->cap_left -= cost;
}

void model_move(struct model *model, int64_t amount, int64_t taken_us, int64_t now_us)
{
	forget(model, amount, taken_us);
	add_grant(model, amount, now_us);
}

void model_refund(struct model *model, int64_t amount, int64_t taken_us, int64_t now_us)
{
	forget(model, amount, taken_us);
	if (model->cap_until_us > now_us && taken_us >= model->cap_since_us)
		model->cap_left += amount;
}

void model_park(struct model *model, int64_t until_us)
{
	if (until_us > model->parked_us)
		model->parked_us = until_us;
}

void model_lower(struct model *model, int64_t left, int64_t until_us, int64_t now_us)
{
	if (model->cap_until_us > now_us && model->cap_left <= left)
		return;
	model->cap_left = left;
	model->cap_until_us = until_us;
	model->cap_since_us = now_us;
}

void model_trim(struct model *model, int64_t before_us)
{
	while (model->first < model->count && model->grants[model->first].time_us < before_us)
		model->first++;
	if (model->first < 4096)
		return;
	for (size_t i = model->first; i < model->count; i++)
		model->grants[i - model->first] = model->grants[i];
	model->count -= model->first;
	model->first = 0;
}

int64_t model_in_window(const struct model *model, int64_t period_us)
{
	int64_t sum = 0, last;

	if (model->count == model->first)
		return 0;
	last = model->grants[model->count - 1].time_us;
	for (size_t i = model->first; i < model->count; i++)
		if (model->grants[i].time_us > last - period_us)
			sum += model->grants[i].cost;
	return sum;
}

uint64_t model_random(uint64_t *state)
{
	uint64_t value = *state += UINT64_C(0x9e3779b97f4a7c15);

	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

int64_t model_below(uint64_t *state, int64_t n)
{
	return (int64_t)(model_random(state) % (uint64_t)n);
}
