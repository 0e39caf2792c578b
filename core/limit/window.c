/* SPDX-License-Identifier: Apache-2.0 */
/* See window.h. */
#include "limit/window.h"

#include <assert.h>
#include <string.h>

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* --- rules --- */

int limit_rules(const struct rate *rates, size_t count, struct limit_rule rules[LIMIT_WINDOWS_MAX],
		size_t *count_r)
{
	*count_r = 0;
	for (size_t i = 0; i < count; i++) {
		const struct rate *rate = &rates[i];
		int64_t period = rate->period_ms * 1000;
		bool burst = rate->burst > 0 && rate->burst < rate->count;

		if (*count_r + 1 + burst > LIMIT_WINDOWS_MAX)
			return -1;
		rules[(*count_r)++] = (struct limit_rule){rate->count, period};
		if (burst)	/* period * burst / count, which would not fit */
			rules[(*count_r)++] = (struct limit_rule){
				rate->burst, max64(1, period / rate->count * rate->burst +
						      period % rate->count * rate->burst / rate->count)};
	}
	return 0;
}

/* --- one window --- */

static int64_t width_of(int64_t period_us)
{
	return (period_us + LIMIT_SLICES - 2) / (LIMIT_SLICES - 1);
}

/* How many slices a window of this period can touch. */
static int slices_of(int64_t period_us)
{
	int64_t width = width_of(period_us);

	return (int)((period_us - 1 + width - 1) / width) + 1;
}

static void add(uint32_t *used, int64_t amount)
{
	*used = amount > (int64_t)UINT32_MAX - *used ? UINT32_MAX : (uint32_t)(*used + amount);
}

static int64_t total_of(const struct limit_window *window)
{
	int64_t total = 0;

	for (int i = 0; i < LIMIT_SLICES; i++)
		total += window->used[i];
	return total;
}

/* Makes the slice of now the newest one. */
static void advance(struct limit_window *window, int64_t now_us)
{
	int64_t ahead = now_us / width_of(window->period_us) - window->newest;
	int slices = slices_of(window->period_us);

	/* A clock a little back: for this window it stands still. */
	if (ahead == 0 || ahead == -1)
		return;
	window->newest += ahead;
	if (ahead < 0) {
		int64_t total = total_of(window);

		/* Far back: all of it was taken before now, how long before is not known any more. */
		memset(window->used, 0, sizeof(window->used));
		add(&window->used[0], total);
	} else if (ahead >= slices) {
		memset(window->used, 0, sizeof(window->used));
	} else {
		memmove(window->used + ahead, window->used, (size_t)(slices - ahead) * sizeof(*window->used));
		memset(window->used, 0, (size_t)ahead * sizeof(*window->used));
	}
}

/* Adds what another period's window knows, each slice at its end: the latest of it may be from then. */
static void derive(struct limit_window *window, const struct limit_window *from, int64_t now_us)
{
	int64_t width = width_of(window->period_us), from_width = width_of(from->period_us);

	for (int i = 0; i < LIMIT_SLICES; i++) {
		int64_t end = (from->newest - i + 1) * from_width - 1;
		int64_t back = window->newest - (end < now_us ? end : now_us) / width;

		if (from->used[i] > 0 && back < slices_of(window->period_us))
			add(&window->used[max64(back, 0)], from->used[i]);
	}
}

/* Counts as fully used at that time: all of it then, or evenly before it. */
static void fill(struct limit_window *window, int64_t count, int64_t since_us)
{
	int64_t first = window->newest - since_us / width_of(window->period_us);
	int slices = slices_of(window->period_us);
	bool spread = window->period_us > LIMIT_STRICT_US;

	for (int i = 0; i < (spread ? slices : 1); i++) {
		int64_t share =
			spread ? (slices - i) * count / slices - (slices - i - 1) * count / slices : count;
		int64_t back = max64(first + i, 0);

		if (back < slices && window->used[back] < share)
			window->used[back] = (uint32_t)share;
	}
}

/* Until so much has left the window that cost has room. */
static int64_t wait_for(const struct limit_window *window, const struct limit_rule *rule, int64_t cost,
			int64_t now_us)
{
	int slices = slices_of(window->period_us);
	int64_t excess = total_of(window) + cost - rule->count;
	int i = slices;

	if (excess <= 0)
		return 0;
	while (excess > 0 && i > 0)
		excess -= window->used[--i];
	return (window->newest - i + slices) * width_of(window->period_us) - now_us;
}

/* --- a record --- */

static struct limit_window *find(struct limit_record *record, int64_t period_us)
{
	for (uint32_t i = 0; i < record->window_count; i++)
		if (record->windows[i].period_us == period_us)
			return &record->windows[i];
	return NULL;
}

static bool is_ruled(const struct limit_window *window, const struct limit_rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (rules[i].period_us == window->period_us)
			return true;
	return false;
}

/* The window that was asked for longest ago makes room; the rules' own stay. */
static void evict(struct limit_record *record, const struct limit_rule *rules, size_t count)
{
	uint32_t oldest = LIMIT_WINDOWS_MAX;

	for (uint32_t i = 0; i < record->window_count; i++)
		if (!is_ruled(&record->windows[i], rules, count) &&
		    (oldest == LIMIT_WINDOWS_MAX ||
		     record->windows[i].asked_us < record->windows[oldest].asked_us))
			oldest = i;
	assert(oldest < LIMIT_WINDOWS_MAX);
	record->windows[oldest] = record->windows[--record->window_count];
}

/* A new period begins with what the longest one knows. */
static void make(struct limit_record *record, const struct limit_rule *rules, size_t count, int64_t period_us,
		 int64_t now_us)
{
	const struct limit_window *longest = NULL;
	struct limit_window made = {.period_us = period_us, .newest = now_us / width_of(period_us)};

	for (uint32_t i = 0; i < record->window_count; i++)
		if (longest == NULL || record->windows[i].period_us > longest->period_us)
			longest = &record->windows[i];
	if (longest != NULL)
		derive(&made, longest, now_us);
	if (record->window_count == LIMIT_WINDOWS_MAX)
		evict(record, rules, count);
	record->windows[record->window_count++] = made;
}

/* Brings every window up to now; of windows that no rule fills again nothing can be trusted after a loss. */
static void refresh(struct limit_record *record, const struct limit_rule *rules, size_t count, bool lost,
		    int64_t now_us)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < record->window_count; i++) {
		if (lost && !is_ruled(&record->windows[i], rules, count))
			continue;
		if (kept != i)
			record->windows[kept] = record->windows[i];
		advance(&record->windows[kept++], now_us);
	}
	record->window_count = kept;
}

int64_t limit_record_wait(struct limit_record *record, const struct limit_rule *rules, size_t count,
			  int64_t cost, int64_t since_us, int64_t now_us)
{
	bool lost = record->since_us < since_us;
	int64_t wait = max64(record->parked_us - now_us, 0);

	if (now_us < record->cap_until_us && cost > record->cap_left)
		wait = max64(wait, record->cap_until_us - now_us);
	refresh(record, rules, count, lost, now_us);
	for (size_t i = 0; i < count; i++) {
		struct limit_window *window = find(record, rules[i].period_us);

		if (window == NULL) {
			make(record, rules, count, rules[i].period_us, now_us);
			window = find(record, rules[i].period_us);
		}
		if (lost)
			fill(window, rules[i].count, since_us < now_us ? since_us : now_us);
		wait = max64(wait, wait_for(window, &rules[i], cost, now_us));
	}
	record->since_us = max64(record->since_us, since_us);
	return wait;
}

void limit_record_take(struct limit_record *record, const struct limit_rule *rules, size_t count,
		       int64_t cost, int64_t now_us)
{
	uint32_t kept = 0;

	/* All windows count, also those of other rules: nodes may disagree while a change goes round. */
	for (uint32_t i = 0; i < record->window_count; i++) {
		struct limit_window *window = &record->windows[i];

		if (is_ruled(window, rules, count))
			window->asked_us = now_us;
		else if (window->asked_us + window->period_us < now_us)
			continue;
		add(&window->used[0], cost);
		if (kept != i)
			record->windows[kept] = *window;
		kept++;
	}
	record->window_count = kept;
	if (now_us < record->cap_until_us)
		record->cap_left -= cost;
}

/* Out of the slice of that time, as far as it is there. false: the time has not come yet for this window. */
static bool take_back(struct limit_window *window, int64_t amount, int64_t taken_us)
{
	int64_t back = window->newest - taken_us / width_of(window->period_us);

	if (back >= 0 && back < slices_of(window->period_us))
		window->used[back] -= (uint32_t)(amount < window->used[back] ? amount : window->used[back]);
	return back >= 0;
}

void limit_record_refund(struct limit_record *record, int64_t amount, int64_t taken_us, int64_t now_us)
{
	for (uint32_t i = 0; i < record->window_count; i++)
		take_back(&record->windows[i], amount, taken_us);
	if (now_us < record->cap_until_us && taken_us >= record->cap_since_us)
		record->cap_left += amount;
}

void limit_record_move(struct limit_record *record, int64_t amount, int64_t taken_us, int64_t now_us)
{
	for (uint32_t i = 0; i < record->window_count; i++) {
		struct limit_window *window = &record->windows[i];

		if (!take_back(window, amount, taken_us))
			continue;
		advance(window, now_us);
		add(&window->used[0], amount);
	}
}

void limit_record_park(struct limit_record *record, int64_t until_us)
{
	record->parked_us = max64(record->parked_us, until_us);
}

void limit_record_lower(struct limit_record *record, int64_t left, int64_t until_us, int64_t now_us)
{
	if (now_us < record->cap_until_us && record->cap_left <= left)
		return;
	record->cap_left = left;
	record->cap_until_us = until_us;
	record->cap_since_us = now_us;
}

size_t limit_record_size(const struct limit_record *record)
{
	return offsetof(struct limit_record, windows) + record->window_count * sizeof(record->windows[0]);
}

int64_t limit_record_expires(const struct limit_record *record)
{
	int64_t expires = max64(record->parked_us, record->cap_until_us);

	for (uint32_t i = 0; i < record->window_count; i++) {
		const struct limit_window *window = &record->windows[i];

		if (total_of(window) > 0)
			expires = max64(expires, (window->newest + slices_of(window->period_us)) *
						 width_of(window->period_us));
	}
	return expires;
}
