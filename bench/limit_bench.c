/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one decision of the limiter costs: the algorithm alone, then a store,
 * for requests of one and of three keys, one at a time and many at once.
 *
 *     bench/limit_bench [-u URL] [-p PROCESSES] [-n DECISIONS]
 *
 * URL: local: (over a new file) by default. With -p so many processes ask for
 * the same keys at once, and the rate is that of all of them together.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "limit/limit.h"
#include "limit/window.h"
#include "log/log.h"
#include "loop/loop.h"

#define AT_ONCE 200

struct bench {
	struct loop *loop;
	struct limiter *limiter;
	struct limit_item items[3];
	size_t item_count;
	size_t left, under_way, granted;
};

static const struct rate rates[] = {{100000000, 1000, 0}, {100000000, 60000, 0}};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void algorithm(size_t count)
{
	struct limit_rule rules[LIMIT_WINDOWS_MAX];
	struct limit_record record = {0};
	struct rate rate = {100, 30000, 0};
	size_t rule_count, granted = 0;
	int64_t now = 1;
	double start = now_s();

	limit_rules(&rate, 1, rules, &rule_count);
	for (size_t i = 0; i < count; i++) {
		now += 100000;
		if (limit_record_wait(&record, rules, rule_count, 1, 0, now) > 0)
			continue;
		limit_record_take(&record, rules, rule_count, 1, now);
		granted++;
	}
	printf("algorithm alone, 100/30s at 10/s: %.0f ns each, %zu of %zu granted\n",
	       (now_s() - start) * 1e9 / (double)count, granted, count);
}

static void ask(struct bench *bench);

static void on_answer(void *user, const struct limit_answer *answer)
{
	struct bench *bench = user;

	bench->granted += answer->verdict == LIMIT_GRANTED;
	bench->under_way--;
	if (bench->left > 0)
		ask(bench);
}

static void ask(struct bench *bench)
{
	bench->left--;
	bench->under_way++;
	limit_take(bench->limiter, bench->items, bench->item_count, on_answer, bench);
}

/* Returns how long it took; 0 when nothing could be asked. */
static double measure(const char *url, const char *state, size_t items, size_t at_once, size_t count)
{
	static const char *const keys[] = {"bench/source", "bench/credential", "bench/flow"};
	const struct limit_options options = {.state = state};
	struct bench bench = {.loop = loop_new(), .item_count = items, .left = count};
	struct error err;
	double start;

	bench.limiter = limit_open(bench.loop, url, &options, &err);
	if (bench.limiter == NULL) {
		fprintf(stderr, "limit_bench: %s\n", err.text);
		exit(1);
	}
	for (size_t i = 0; i < items; i++)
		bench.items[i] = (struct limit_item){keys[i], rates, 2, 1};
	/* The first one waits for a connection. */
	bench.left = 1;
	for (ask(&bench); bench.under_way > 0;)
		loop_run_once(bench.loop, 1000);
	bench.left = count;
	bench.granted = 0;
	start = now_s();
	while (bench.under_way < at_once && bench.left > 0)
		ask(&bench);
	while (bench.under_way > 0)
		loop_run_once(bench.loop, 1000);
	start = now_s() - start;
	limit_close(&bench.limiter);
	loop_free(&bench.loop);
	return bench.granted == count ? start : 0;
}

static void run(const char *url, const char *state, int processes, size_t items, size_t at_once, size_t count)
{
	double start = now_s(), took;
	int status, bad = 0;

	if (processes == 1) {
		took = measure(url, state, items, at_once, count);
		bad = took == 0;
	} else {
		for (int i = 0; i < processes; i++)
			if (fork() == 0)
				_exit(measure(url, state, items, at_once, count / (size_t)processes) == 0);
		while (wait(&status) > 0)
			bad += status != 0;
		took = now_s() - start;
	}
	printf("%zu %s, %3zu at once, %d %s: %6.1f us each, %.0f/s%s\n", items, items == 1 ? "key " : "keys",
	       at_once, processes, processes == 1 ? "process" : "processes", took * 1e6 / (double)count,
	       (double)count / took, bad > 0 ? " (not all were granted)" : "");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *url = "local:";
	char state[] = "/tmp/limit-bench-XXXXXX", command[60];
	size_t count = 100000;
	int option, processes = 1;

	while ((option = getopt(argc, argv, "u:p:n:")) != -1) {
		if (option == 'u')
			url = optarg;
		else if (option == 'p')
			processes = atoi(optarg);
		else if (option == 'n')
			count = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (mkdtemp(state) == NULL || processes < 1 || count == 0)
		return 2;
	log_init(2, "limit_bench", LOG_LEVEL_WARNING);
	algorithm(count * 10);
	run(url, state, processes, 1, 1, count / 10);
	run(url, state, processes, 1, AT_ONCE, count);
	run(url, state, processes, 3, 1, count / 10);
	run(url, state, processes, 3, AT_ONCE, count);
	str_format(command, sizeof(command), "rm -rf %s", state);
	return system(command) == 0 ? 0 : 1;
}
