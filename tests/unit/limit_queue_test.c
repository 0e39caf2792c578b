/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiting line of limits, over a limiter whose answers the test gives: who
 * is asked for, in which order, and who may pass whom.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "limit/driver.h"
#include "loop/loop.h"

#define SOON 20			/* milliseconds of a wait that the test waits for */
#define LATER 40000		/* of one that does not end before the test does */
#define LONG 100000		/* of one longer than anybody would wait */
#define PATIENCE 50000
#define ASKED_MAX 64

struct fixture;

struct waiting {
	struct limit_waiter *waiter;
	struct limit_answer answer;
	int answers;
	struct fixture *fx;
	const char *name;
};

struct fake {
	struct limiter base;
	struct fixture *fx;
	struct {
		struct limit_request *request;
		const char *name;
	} asked[ASKED_MAX];	/* not answered yet, in the order of asking */
	size_t count;
};

struct fixture {
	struct loop *loop;
	struct fake *fake;
	struct limiter *limiter;
	struct limit_queue *queue;
	struct waiting waiting[40];
	size_t count;
	char log[400];		/* the name of everybody who was asked for */
	char done[200];		/* the name of everybody who was answered */
};

static const char *name_of(const struct fixture *fx, const struct limit_request *request)
{
	for (size_t i = 0; i < fx->count; i++)
		if (fx->waiting[i].waiter == request->user)
			return fx->waiting[i].name;
	return fx->waiting[fx->count - 1].name;		/* it is just joining */
}

static void fake_request(struct limiter *limiter, struct limit_request *request)
{
	struct fake *fake = (struct fake *)limiter;

	if (request->op != LIMIT_TAKE) {
		strcat(fake->fx->log, "refund ");
		limit_request_free(request);
		return;
	}
	assert_true(fake->count < ASKED_MAX);
	fake->asked[fake->count].request = request;
	fake->asked[fake->count].name = name_of(fake->fx, request);
	strcat(strcat(fake->fx->log, fake->asked[fake->count++].name), " ");
}

static void fake_close(struct limiter *limiter)
{
	struct fake *fake = (struct fake *)limiter;

	for (size_t i = 0; i < fake->count; i++)
		limit_request_free(fake->asked[i].request);
	limit_fini(limiter);
	mem_release(fake);
}

static const struct limit_ops fake_ops = {.request = fake_request, .close = fake_close};

static int setup(void **state)
{
	struct fixture *fx = mem_alloc(sizeof(*fx));
	const struct limit_options options = {.state = NULL};
	const struct limit_queue_options bounds = {.per_key = 10, .total = 20};

	fx->loop = loop_new();
	fx->fake = mem_alloc(sizeof(*fx->fake));
	fx->fake->fx = fx;
	fx->limiter = &fx->fake->base;
	limit_init(fx->limiter, &fake_ops, fx->loop, &options);
	fx->queue = limit_queue_new(fx->limiter, &bounds);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	limit_queue_free(&fx->queue);
	limit_close(&fx->limiter);
	loop_free(&fx->loop);
	mem_release(fx);
	return 0;
}

static void on_answer(void *user, const struct limit_answer *answer)
{
	struct waiting *waiting = user;

	waiting->waiter = NULL;
	waiting->answer = *answer;
	waiting->answers++;
	strcat(strcat(waiting->fx->done, waiting->name), " ");
}

/* keys: "source handle". The name is only the test's. */
static struct waiting *join_for(struct fixture *fx, const char *name, const char *keys, int64_t patience_ms)
{
	static const struct rate rate = {100, 1000, 0};
	struct limit_item items[LIMIT_ITEMS_MAX];
	char text[100], *save = NULL;
	struct waiting *waiting = &fx->waiting[fx->count++];
	size_t count = 0;

	assert_true(fx->count <= sizeof(fx->waiting) / sizeof(fx->waiting[0]));
	str_format(text, sizeof(text), "%s", keys);
	for (char *key = strtok_r(text, " ", &save); key != NULL; key = strtok_r(NULL, " ", &save))
		items[count++] = (struct limit_item){key, &rate, 1, 1};
	waiting->fx = fx;
	waiting->name = name;
	waiting->waiter = limit_wait(fx->queue, items, count, patience_ms, on_answer, waiting);
	assert_int_equal(waiting->answers, 0);
	return waiting;
}

static struct waiting *join(struct fixture *fx, const char *name, const char *keys)
{
	return join_for(fx, name, keys, PATIENCE);
}

/* Lets everything happen that is due. */
static void settle(struct fixture *fx)
{
	for (int i = 0; i < 5; i++)
		loop_run_once(fx->loop, 0);
}

static bool is_asked(const struct fixture *fx, const char *name, size_t *index_r)
{
	for (size_t i = 0; i < fx->fake->count; i++)
		if (str_eq(fx->fake->asked[i].name, name)) {
			*index_r = i;
			return true;
		}
	return false;
}

/* Waits until it is asked for, then grants it, or refuses it by that key (NULL: by none in particular). */
static void prepare_reply(struct fixture *fx, const char *name, const char *key, enum limit_verdict verdict,
			  int64_t wait_ms)
{
	struct fake *fake = fx->fake;
	struct limit_answer answer = {.verdict = verdict, .wait_ms = wait_ms};
	struct limit_request *request;
	int64_t end = clock_mono_ms() + 60000;
	size_t index;

	while (!is_asked(fx, name, &index)) {
		if (clock_mono_ms() > end)
			fail_msg("%s is not asked for; asked for were %s", name, fx->log);
		loop_run_once(fx->loop, 10);
	}
	request = fake->asked[index].request;
	for (size_t i = 0; i < request->count && key != NULL; i++)
		answer.refusing |= str_eq(request->parts[i].key, key) ? 1u << i : 0;
	assert_true(key == NULL || answer.refusing != 0);
	fake->count--;
	memmove(fake->asked + index, fake->asked + index + 1, (fake->count - index) * sizeof(fake->asked[0]));
	limit_answer(request, &answer);
}

static void reply_by(struct fixture *fx, const char *name, const char *key, enum limit_verdict verdict,
		     int64_t wait_ms)
{
	prepare_reply(fx, name, key, verdict, wait_ms);
	settle(fx);
}

static void grant(struct fixture *fx, const char *name)
{
	reply_by(fx, name, NULL, LIMIT_GRANTED, 0);
}

static void refuse(struct fixture *fx, const char *name, const char *key, int64_t wait_ms)
{
	reply_by(fx, name, key, LIMIT_WAIT, wait_ms);
}

static void wait_done(struct fixture *fx, const char *done)
{
	int64_t end = clock_mono_ms() + 60000;

	while (strlen(fx->done) < strlen(done)) {
		assert_true(clock_mono_ms() < end);
		loop_run_once(fx->loop, 10);
	}
	assert_string_equal(fx->done, done);
}

static void first_come_first_served(void **state)
{
	struct fixture *fx = *state;

	join(fx, "a", "s");
	join(fx, "b", "s");
	join(fx, "c", "s");
	assert_string_equal(fx->log, "a ");		/* one at a time */
	grant(fx, "a");
	assert_string_equal(fx->done, "a ");
	refuse(fx, "b", "s", SOON);
	refuse(fx, "b", "s", SOON);
	grant(fx, "b");
	grant(fx, "c");
	assert_string_equal(fx->done, "a b c ");
	assert_string_equal(fx->log, "a b b b c ");	/* nobody but b while b waits */
	assert_int_equal(limit_queue_length(fx->queue), 0);
}

static void another_source_does_not_wait(void **state)
{
	struct fixture *fx = *state;

	join(fx, "a", "s flow");
	refuse(fx, "a", "s", LATER);
	join(fx, "b", "s flow");
	join(fx, "c", "t flow");
	join(fx, "d", "t flow");
	grant(fx, "c");
	grant(fx, "d");
	assert_string_equal(fx->log, "a c d ");
}

static void who_waits_for_a_handle_lets_others_pass(void **state)
{
	struct fixture *fx = *state;

	join(fx, "a", "s h");
	join(fx, "b", "s h");
	join(fx, "c", "s i");
	join(fx, "d", "s j");
	refuse(fx, "a", "h", LATER);
	grant(fx, "c");
	refuse(fx, "d", "j", LATER);
	assert_string_equal(fx->log, "a c d ");
	join(fx, "e", "s k");
	grant(fx, "e");
	limit_wait_cancel(&fx->waiting[0].waiter);
	grant(fx, "b");
	assert_string_equal(fx->log, "a c d e b ");
}

static void nobody_passes_one_whose_time_has_come(void **state)
{
	struct fixture *fx = *state;

	join(fx, "a", "s h");
	join(fx, "b", "s i");
	refuse(fx, "a", "h", SOON);
	refuse(fx, "b", "i", LATER);			/* passed a, and waits for i */
	refuse(fx, "a", "s", SOON);			/* for the second time: holds both now */
	join(fx, "c", "s j");
	join(fx, "d", "h");
	refuse(fx, "a", "s", SOON);
	refuse(fx, "a", "h", SOON);
	assert_string_equal(fx->done, "");
	grant(fx, "a");
	assert_string_equal(fx->log, "a b a a a a c d ");
	grant(fx, "c");
	grant(fx, "d");
	assert_string_equal(fx->done, "a c d ");
}

static void an_earlier_one_passes_who_holds(void **state)
{
	struct fixture *fx = *state;

	join(fx, "a", "h");
	join(fx, "b", "s h");				/* behind a on h */
	join(fx, "c", "s i");
	refuse(fx, "c", "i", SOON);
	refuse(fx, "c", "i", LATER);			/* twice: holds s */
	join(fx, "d", "s");
	grant(fx, "a");
	grant(fx, "b");
	assert_string_equal(fx->log, "a c c b ");
	limit_wait_cancel(&fx->waiting[2].waiter);
	grant(fx, "d");
	assert_string_equal(fx->done, "a b d ");
}

static void a_turn_that_has_come_is_kept(void **state)
{
	struct fixture *fx = *state;
	int64_t start = loop_now_ms(fx->loop);

	join(fx, "a", "i");
	join(fx, "b", "s i");				/* behind a on i */
	join(fx, "c", "s h");
	/* Both at once: b is asked for before c's time has come. */
	prepare_reply(fx, "c", "h", LIMIT_WAIT, SOON);
	prepare_reply(fx, "a", NULL, LIMIT_GRANTED, 0);
	settle(fx);
	while (loop_now_ms(fx->loop) < start + 3 * SOON)
		loop_run_once(fx->loop, 10);
	settle(fx);
	join(fx, "d", "h");				/* c is ready for h, and only waits for b */
	assert_string_equal(fx->log, "a c b ");
	grant(fx, "b");
	grant(fx, "c");
	grant(fx, "d");
	assert_string_equal(fx->log, "a c b c d ");
}

static void who_leaves_makes_room(void **state)
{
	struct fixture *fx = *state;
	struct waiting *first = join(fx, "a", "s h"), *second = join(fx, "b", "s"), *third;

	limit_wait_cancel(&first->waiter);		/* while it is asked for */
	assert_null(first->waiter);
	limit_wait_cancel(&first->waiter);
	grant(fx, "a");
	assert_string_equal(fx->log, "a b refund ");	/* granted to nobody: given back */
	refuse(fx, "b", "s", LATER);
	third = join(fx, "c", "s");
	join(fx, "d", "s");
	limit_wait_cancel(&third->waiter);		/* while it waits for its turn */
	assert_string_equal(fx->log, "a b refund ");
	limit_wait_cancel(&second->waiter);		/* while it was told to wait */
	grant(fx, "d");
	assert_string_equal(fx->done, "d ");
	assert_int_equal(limit_queue_length(fx->queue), 0);
}

static void lines_are_bounded(void **state)
{
	struct fixture *fx = *state;
	struct waiting *last = NULL;

	for (int i = 0; i < 10; i++)
		join(fx, "s", "s");
	last = join(fx, "full", "t s");
	wait_done(fx, "full ");
	assert_int_equal(last->answer.verdict, LIMIT_FULL);
	assert_true(last->answer.wait_ms > 0);
	for (int i = 0; i < 10; i++)
		join(fx, "t", "t");
	last = join(fx, "total", "u");
	wait_done(fx, "full total ");
	assert_int_equal(last->answer.verdict, LIMIT_FULL);
	assert_int_equal(limit_queue_length(fx->queue), 20);
	last = join(fx, "gone", "u");			/* cancelled before it is told */
	limit_wait_cancel(&last->waiter);
	grant(fx, "s");
	assert_string_equal(fx->done, "full total s ");
	join(fx, "u", "u");
	grant(fx, "u");
	assert_string_equal(fx->done, "full total s u ");
}

static void patience_ends(void **state)
{
	struct fixture *fx = *state;
	struct waiting *first = join(fx, "a", "s"), *second = join(fx, "b", "s");

	refuse(fx, "a", "s", LONG);			/* longer than it would wait: told at once */
	assert_string_equal(fx->done, "a ");
	assert_int_equal(first->answer.verdict, LIMIT_WAIT);
	assert_int_equal(first->answer.wait_ms, LONG);
	refuse(fx, "b", "s", SOON);			/* b waits, and is told the next time */
	refuse(fx, "b", "s", LONG);
	assert_string_equal(fx->done, "a b ");
	assert_int_equal(second->answer.wait_ms, LONG);
	/* One that never gets its turn is told how long the one before it has to wait. */
	join(fx, "c", "s");
	refuse(fx, "c", "s", LATER);
	second = join_for(fx, "d", "s", SOON);
	wait_done(fx, "a b d ");
	assert_int_equal(second->answer.verdict, LIMIT_WAIT);
	assert_in_range(second->answer.wait_ms, 2, LATER);
	assert_int_equal(second->answer.refusing, 1);
}

static int64_t ahead(const struct fixture *fx, const char *one, const char *other)
{
	const struct limit_item items[] = {{.key = one, .cost = 1}, {.key = other, .cost = 1}};

	return limit_queue_ahead(fx->queue, items, 2);
}

static void who_comes_learns_how_long_others_wait(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(ahead(fx, "s", "h"), 0);
	join(fx, "a", "s h");
	assert_int_equal(ahead(fx, "s", "i"), 1);	/* it is just being asked for */
	refuse(fx, "a", "h", LATER);
	assert_int_equal(ahead(fx, "s", "i"), 0);	/* it waits for its handle alone */
	assert_in_range(ahead(fx, "s", "h"), 2, LATER);
	assert_int_equal(ahead(fx, "t", "i"), 0);
	limit_wait_cancel(&fx->waiting[0].waiter);
	assert_int_equal(ahead(fx, "s", "h"), 0);
}

static void other_answers_come_through(void **state)
{
	struct fixture *fx = *state;
	struct waiting *one = join(fx, "never", "s h");

	reply_by(fx, "never", NULL, LIMIT_NEVER, 0);
	assert_int_equal(one->answer.verdict, LIMIT_NEVER);
	one = join(fx, "away", "s h");
	reply_by(fx, "away", NULL, LIMIT_AWAY, LONG);
	assert_int_equal(one->answer.verdict, LIMIT_AWAY);
	/* Away for a moment: everybody behind waits with it, whatever the key. */
	join(fx, "a", "s h");
	join(fx, "b", "h");
	join(fx, "c", "s");
	reply_by(fx, "a", NULL, LIMIT_AWAY, SOON);
	grant(fx, "a");
	assert_string_equal(fx->log, "never away a a c b ");
	grant(fx, "b");
	grant(fx, "c");
	join(fx, "nothing", "");			/* no key, no line */
	grant(fx, "nothing");
	assert_string_equal(fx->done, "never away a b c nothing ");
}

static void freeing_drops_who_waits(void **state)
{
	struct fixture *fx = *state;

	join(fx, "a", "s h");
	join(fx, "b", "s");
	join(fx, "c", "h t");
	join(fx, "d", "t");
	limit_queue_free(&fx->queue);
	settle(fx);
	assert_string_equal(fx->done, "");
}

/* Refused at random, by a key that all of them need: the order stays. */
static void a_crowd_gets_through(void **state)
{
	struct fixture *fx = *state;
	static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
	uint32_t seed = 1;

	for (int i = 0; i < 10; i++)
		join(fx, names[i], i % 3 == 0 ? "s h" : i % 3 == 1 ? "s i" : "h s t");
	for (int i = 0; i < 10; i++) {
		for (seed = seed * 1664525u + 1013904223u; seed >> 30 != 0;
		     seed = seed * 1664525u + 1013904223u)
			refuse(fx, names[i], "s", 1 + (seed >> 28 & 3));
		assert_true(fx->fake->count <= 1);
		grant(fx, names[i]);
	}
	assert_string_equal(fx->done, "0 1 2 3 4 5 6 7 8 9 ");
	assert_int_equal(limit_queue_length(fx->queue), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(first_come_first_served),
		CASE(another_source_does_not_wait),
		CASE(who_waits_for_a_handle_lets_others_pass),
		CASE(nobody_passes_one_whose_time_has_come),
		CASE(an_earlier_one_passes_who_holds),
		CASE(a_turn_that_has_come_is_kept),
		CASE(who_leaves_makes_room),
		CASE(lines_are_bounded),
		CASE(patience_ends),
		CASE(who_comes_learns_how_long_others_wait),
		CASE(other_answers_come_through),
		CASE(freeing_drops_who_waits),
		CASE(a_crowd_gets_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
