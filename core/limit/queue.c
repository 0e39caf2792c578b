/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting in line for limits. Each key has a line of those who wait for it. A
 * waiter is asked for (limit_take) when nobody before it in any of its lines
 * holds that line, one at a time per line. It holds
 *
 *     all its lines    while it is asked for; once its time has come, until it
 *                      is asked for again; when it was refused twice
 *     those that refused it    until its time comes, after the first refusal
 *
 * So the first one of all holds against everybody and is held by nobody: there
 * is always one that can be asked for, and whoever is first stays first.
 * Loop thread.
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"
#include "limit/driver.h"
#include "loop/loop.h"

#define PER_KEY 1000
#define TOTAL 10000

enum state {
	QUEUED,		/* waits for its turn */
	ASKED,		/* limit_take is under way */
	BLOCKED		/* was told to wait until blocked_ms */
};

struct line {
	char *key;
	struct list places;		/* struct place, first come first */
	struct list holds;		/* struct place of those that hold it; few */
	size_t length;
};

struct place {
	struct list node;		/* in line.places */
	struct list hold;		/* in line.holds, or alone */
	struct line *line;
	struct limit_waiter *waiter;
	bool refused;			/* by this key, the last time */
};

struct limit_waiter {
	struct limit_queue *queue;
	struct list node;		/* in queue.waiters */
	uint64_t number;		/* in the order of coming */
	enum state state;
	unsigned int refusals;
	int64_t deadline_ms, blocked_ms;	/* loop time */
	struct loop_timer *timer;	/* the earlier of the two */
	struct limit_request *request;
	struct limit_answer last;	/* the last refusal; LIMIT_FULL: there was no place */
	limit_answer_fn *fn;
	void *user;
	size_t count;
	struct limit_item items[LIMIT_ITEMS_MAX];	/* keys are the lines', rates in rates */
	struct place places[LIMIT_ITEMS_MAX];
	struct rate rates[];
};

struct limit_queue {
	struct limiter *limiter;
	struct limit_queue_options options;
	struct map *lines;		/* key → struct line */
	struct list waiters;
	size_t length;
	uint64_t next_number;
};

static void on_timer(void *user);
static void on_answer(void *user, const struct limit_answer *answer);

/* --- lines --- */

static struct line *line_of(struct limit_queue *queue, const char *key)
{
	struct line *line = map_get(queue->lines, key);

	if (line != NULL)
		return line;
	line = mem_alloc(sizeof(*line));
	line->key = mem_strdup(key);
	list_init(&line->places);
	list_init(&line->holds);
	map_put(queue->lines, key, line);
	return line;
}

static void line_drop_empty(struct limit_queue *queue, struct line *line)
{
	if (line->length > 0)
		return;
	map_remove(queue->lines, line->key);
	mem_release(line->key);
	mem_release(line);
}

static bool holds(const struct limit_waiter *waiter, const struct place *place)
{
	switch (waiter->state) {
	case ASKED:
		return true;
	case BLOCKED:
		return waiter->refusals > 1 || place->refused;
	case QUEUED:
	default:
		return waiter->refusals > 0;
	}
}

static void set_state(struct limit_waiter *waiter, enum state state)
{
	waiter->state = state;
	for (size_t i = 0; i < waiter->count; i++) {
		struct place *place = &waiter->places[i];

		list_remove(&place->hold);
		if (holds(waiter, place))
			list_append(&place->line->holds, &place->hold);
	}
}

/* Somebody who came earlier holds one of its lines. */
static bool is_held(const struct limit_waiter *waiter)
{
	const struct list *node;

	for (size_t i = 0; i < waiter->count; i++)
		list_each(node, &waiter->places[i].line->holds)
			if (list_entry(node, struct place, hold)->waiter->number < waiter->number)
				return true;
	return false;
}

static void ask(struct limit_waiter *waiter)
{
	set_state(waiter, ASKED);
	loop_timer_stop(waiter->timer);
	waiter->request = limit_take(waiter->queue->limiter, waiter->items, waiter->count, on_answer, waiter);
}

/* Asks for whoever's turn it is in this line. */
static void advance(struct line *line)
{
	struct list *node;

	list_each(node, &line->places) {
		struct place *place = list_entry(node, struct place, node);

		if (holds(place->waiter, place) && place->waiter->state != QUEUED)
			return;
		if (place->waiter->state != QUEUED)
			continue;
		if (!is_held(place->waiter)) {
			ask(place->waiter);
			return;
		}
		if (holds(place->waiter, place))
			return;
	}
}

static void advance_all(struct limit_waiter *waiter)
{
	for (size_t i = 0; i < waiter->count; i++)
		advance(waiter->places[i].line);
}

/* --- a waiter's life --- */

static void leave(struct limit_waiter *waiter)
{
	struct limit_queue *queue = waiter->queue;
	struct line *lines[LIMIT_ITEMS_MAX];
	size_t count = waiter->count;

	limit_cancel(&waiter->request);
	loop_timer_free(&waiter->timer);
	for (size_t i = 0; i < count; i++) {
		lines[i] = waiter->places[i].line;
		list_remove(&waiter->places[i].node);
		list_remove(&waiter->places[i].hold);
		lines[i]->length--;
	}
	list_remove(&waiter->node);
	queue->length--;
	mem_release(waiter);
	for (size_t i = 0; i < count; i++) {
		advance(lines[i]);
		line_drop_empty(queue, lines[i]);
	}
}

static void finish(struct limit_waiter *waiter, const struct limit_answer *answer)
{
	const struct limit_answer copy = *answer;
	limit_answer_fn *fn = waiter->fn;
	void *user = waiter->user;

	leave(waiter);
	fn(user, &copy);
}

static void wake_at(struct limit_waiter *waiter, int64_t time_ms)
{
	loop_timer_start(waiter->timer, time_ms - loop_now_ms(waiter->queue->limiter->loop), 0);
}

static void block(struct limit_waiter *waiter, const struct limit_answer *answer)
{
	waiter->blocked_ms = loop_now_ms(waiter->queue->limiter->loop) + answer->wait_ms;
	waiter->refusals++;
	/* Who could not ask at all was refused by every key. */
	for (size_t i = 0; i < waiter->count; i++)
		waiter->places[i].refused =
			answer->verdict != LIMIT_WAIT || (answer->refusing & 1u << i) != 0;
	set_state(waiter, BLOCKED);
	wake_at(waiter, waiter->blocked_ms);
	advance_all(waiter);
}

static void on_answer(void *user, const struct limit_answer *answer)
{
	struct limit_waiter *waiter = user;

	waiter->request = NULL;
	waiter->last = *answer;
	if (answer->verdict == LIMIT_GRANTED || answer->verdict == LIMIT_NEVER ||
	    loop_now_ms(waiter->queue->limiter->loop) + answer->wait_ms > waiter->deadline_ms)
		finish(waiter, answer);
	else
		block(waiter, answer);
}

/* The longest that somebody who holds this line has to wait; 0 when nobody holds it. */
static int64_t line_wait(const struct limit_queue *queue, const struct line *line)
{
	int64_t longest = list_empty(&line->holds) ? 0 : 1, now = loop_now_ms(queue->limiter->loop);
	const struct list *node;

	list_each(node, &line->holds) {
		const struct limit_waiter *other = list_entry(node, struct place, hold)->waiter;

		if (other->state == BLOCKED && other->blocked_ms - now > longest)
			longest = other->blocked_ms - now;
	}
	return longest;
}

/* Told to who never came to ask: how long whoever holds it up has to wait, and in which lines. */
static struct limit_answer still_behind(const struct limit_waiter *waiter)
{
	struct limit_answer answer = {.verdict = LIMIT_WAIT, .wait_ms = 1};

	for (size_t i = 0; i < waiter->count; i++) {
		int64_t wait_ms = line_wait(waiter->queue, waiter->places[i].line);

		if (wait_ms > 0)
			answer.refusing |= 1U << i;
		if (wait_ms > answer.wait_ms) {
			answer.wait_ms = wait_ms;
			answer.slowest = i;
		}
	}
	return answer;
}

static void on_timer(void *user)
{
	struct limit_waiter *waiter = user;

	if (waiter->last.verdict == LIMIT_FULL && waiter->count == 0) {
		finish(waiter, &waiter->last);
		return;
	}
	if (waiter->state == QUEUED) {
		waiter->last = still_behind(waiter);
		finish(waiter, &waiter->last);
		return;
	}
	assert(waiter->state == BLOCKED);
	set_state(waiter, QUEUED);
	if (!is_held(waiter))
		ask(waiter);
	else
		wake_at(waiter, waiter->deadline_ms);
	advance_all(waiter);
}

static bool has_place(const struct limit_queue *queue, const struct limit_item *items, size_t count)
{
	if (queue->length >= queue->options.total)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct line *line = map_get(queue->lines, items[i].key);

		if (line != NULL && line->length >= queue->options.per_key)
			return false;
	}
	return true;
}

/* Into the lines; the waiter's items are copies. */
static void enter(struct limit_waiter *waiter, const struct limit_item *items, size_t count)
{
	struct rate *rates = waiter->rates;

	waiter->count = count;
	for (size_t i = 0; i < count; i++) {
		struct place *place = &waiter->places[i];

		place->waiter = waiter;
		place->line = line_of(waiter->queue, items[i].key);
		place->line->length++;
		list_append(&place->line->places, &place->node);
		list_init(&place->hold);
		waiter->items[i] = items[i];
		waiter->items[i].key = place->line->key;
		waiter->items[i].rates = rates;
		if (items[i].rate_count > 0)
			memcpy(rates, items[i].rates, items[i].rate_count * sizeof(*rates));
		rates += items[i].rate_count;
	}
}

struct limit_waiter *limit_wait(struct limit_queue *queue, const struct limit_item *items, size_t count,
				int64_t patience_ms, limit_answer_fn *fn, void *user)
{
	struct limit_waiter *waiter;
	size_t rates = 0;

	assert(count <= LIMIT_ITEMS_MAX);
	for (size_t i = 0; i < count; i++)
		rates += items[i].rate_count;
	waiter = mem_alloc(sizeof(*waiter) + rates * sizeof(struct rate));
	waiter->queue = queue;
	waiter->number = queue->next_number++;
	waiter->fn = fn;
	waiter->user = user;
	waiter->timer = loop_timer_new(queue->limiter->loop, on_timer, waiter);
	waiter->deadline_ms = loop_now_ms(queue->limiter->loop) + patience_ms;
	if (!has_place(queue, items, count)) {
		/* In no line, and told so by the loop. */
		waiter->last = (struct limit_answer){.verdict = LIMIT_FULL,
						     .wait_ms = patience_ms > 1 ? patience_ms : 1};
		loop_timer_start(waiter->timer, 0, 0);
	} else {
		enter(waiter, items, count);
	}
	list_append(&queue->waiters, &waiter->node);
	queue->length++;
	if (waiter->last.verdict == LIMIT_FULL)
		return waiter;
	if (is_held(waiter))
		wake_at(waiter, waiter->deadline_ms);
	else
		ask(waiter);
	return waiter;
}

void limit_wait_cancel(struct limit_waiter **waiter)
{
	if (*waiter != NULL)
		leave(*waiter);
	*waiter = NULL;
}

size_t limit_queue_length(const struct limit_queue *queue)
{
	return queue->length;
}

int64_t limit_queue_ahead(const struct limit_queue *queue, const struct limit_item *items, size_t count)
{
	int64_t longest = 0;

	for (size_t i = 0; i < count; i++) {
		const struct line *line = map_get(queue->lines, items[i].key);
		int64_t wait_ms = line != NULL ? line_wait(queue, line) : 0;

		longest = wait_ms > longest ? wait_ms : longest;
	}
	return longest;
}

struct limit_queue *limit_queue_new(struct limiter *limiter, const struct limit_queue_options *options)
{
	struct limit_queue *queue = mem_alloc(sizeof(*queue));

	queue->limiter = limiter;
	queue->options = *options;
	if (queue->options.per_key == 0)
		queue->options.per_key = PER_KEY;
	if (queue->options.total == 0)
		queue->options.total = TOTAL;
	queue->lines = map_new();
	list_init(&queue->waiters);
	return queue;
}

void limit_queue_free(struct limit_queue **queue)
{
	if (*queue == NULL)
		return;
	/* From the end, so that nobody is asked for on the way. */
	while (!list_empty(&(*queue)->waiters))
		leave(list_entry((*queue)->waiters.prev, struct limit_waiter, node));
	map_free(&(*queue)->lines);
	mem_free(queue);
}
