/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A steady demand for a limit while its store has trouble. Several ask at once,
 * wait in line, and ask again as soon as they were granted.
 *
 *     limit_flow URL STATE wait|local
 *
 * Until its input ends. Prints lines of names and numbers: what was granted, by
 * the store and by this node alone (own), answers without it (away), first_ms
 * and longest_ms: until the first grant, and the longest time without any. The
 * time of each grant goes into STATE/grants, microseconds.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "limit/limit.h"
#include "log/log.h"
#include "loop/loop.h"

#define COUNT 20
#define PERIOD_MS 200
#define ASKERS 30
#define HANDLES 5
#define GRANTS_MAX 200000
#define TELL_MS 20

struct flow;

struct asker {
	struct flow *flow;
	char handle[20];
	struct limit_item items[2];
	struct limit_waiter *waiter;
	struct loop_timer *timer;
};

struct flow {
	struct loop *loop;
	struct limiter *limiter;
	struct limit_queue *queue;
	struct loop_fd *input;
	struct loop_timer *tell_timer;
	bool over;
	struct asker askers[ASKERS];
	int64_t times_us[GRANTS_MAX];
	size_t granted, own, other;
	int64_t start_ms, last_ms, first_ms, longest_ms;
};

static const struct rate rate = {COUNT, PERIOD_MS, 0}, handle_rate = {COUNT / 2, PERIOD_MS, 0};
static struct flow flow;

static void on_answer(void *user, const struct limit_answer *answer);

static void ask(void *user)
{
	struct asker *asker = user;

	asker->waiter = limit_wait(asker->flow->queue, asker->items, 2, 60000, on_answer, asker);
}

static void note_grant(const struct limit_answer *answer)
{
	int64_t now = clock_mono_ms();

	if (flow.granted == 0)
		flow.first_ms = now - flow.start_ms;
	else if (now - flow.last_ms > flow.longest_ms)
		flow.longest_ms = now - flow.last_ms;
	flow.last_ms = now;
	flow.own += answer->grant.on_its_own;
	if (flow.granted < GRANTS_MAX)
		flow.times_us[flow.granted++] = answer->grant.taken_us;
}

static void on_answer(void *user, const struct limit_answer *answer)
{
	struct asker *asker = user;

	asker->waiter = NULL;
	if (answer->verdict == LIMIT_GRANTED)
		note_grant(answer);
	else
		flow.other++;
	loop_timer_start(asker->timer, 0, 0);
}

static void tell(void *user)
{
	struct limit_stats stats;

	(void)user;
	limit_stats(flow.limiter, &stats);
	printf("granted %zu own %zu other %zu away %" PRIu64 " lost %" PRIu64 " connects %" PRIu64
	       " first_ms %" PRId64 " longest_ms %" PRId64 "%c",
	       flow.granted, flow.own, flow.other, stats.away, stats.lost, stats.connects, flow.first_ms,
	       flow.longest_ms, flow.over ? ' ' : '\n');
	fflush(stdout);
}

static void on_input(void *user, int fd, unsigned int events)
{
	char byte;

	(void)user;
	(void)events;
	flow.over = read(fd, &byte, 1) <= 0;
}

static void begin(void)
{
	static const struct limit_queue_options bounds = {.per_key = 0};

	flow.start_ms = clock_mono_ms();
	flow.queue = limit_queue_new(flow.limiter, &bounds);
	for (size_t i = 0; i < ASKERS; i++) {
		struct asker *asker = &flow.askers[i];

		str_format(asker->handle, sizeof(asker->handle), "flow/handle/%zu", i % HANDLES);
		asker->flow = &flow;
		asker->items[0] = (struct limit_item){"flow/source", &rate, 1, 1};
		asker->items[1] = (struct limit_item){asker->handle, &handle_rate, 1, 1};
		asker->timer = loop_timer_new(flow.loop, ask, asker);
		ask(asker);
	}
	flow.input = loop_fd_new(flow.loop, 0, on_input, NULL);
	loop_fd_watch(flow.input, LOOP_READ);
	flow.tell_timer = loop_timer_new(flow.loop, tell, NULL);
	loop_timer_start(flow.tell_timer, TELL_MS, TELL_MS);
}

static void end(void)
{
	limit_queue_free(&flow.queue);
	for (size_t i = 0; i < ASKERS; i++)
		loop_timer_free(&flow.askers[i].timer);
	loop_timer_free(&flow.tell_timer);
	loop_fd_free(&flow.input);
	limit_close(&flow.limiter);
	loop_free(&flow.loop);
}

static void write_grants(const char *state)
{
	char path[500];
	FILE *file;

	str_format(path, sizeof(path), "%s/grants", state);
	file = fopen(path, "w");
	for (size_t i = 0; file != NULL && i < flow.granted; i++)
		fprintf(file, "%" PRId64 "\n", flow.times_us[i]);
	if (file == NULL || fclose(file) != 0)
		exit(1);
}

int main(int argc, char **argv)
{
	struct limit_options options = {.timeout_ms = 300, .away_ms = 500};
	struct error err;

	if (argc != 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	log_init(2, "flow", LOG_LEVEL_INFO);
	options.state = argv[2];
	options.on_error = str_eq(argv[3], "local") ? LIMIT_ON_ERROR_LOCAL : LIMIT_ON_ERROR_WAIT;
	flow.loop = loop_new();
	flow.limiter = limit_open(flow.loop, argv[1], &options, &err);
	if (flow.limiter == NULL) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	begin();
	while (!flow.over)
		loop_run_once(flow.loop, 1000);
	tell(NULL);
	write_grants(argv[2]);
	end();
	return 0;
}
