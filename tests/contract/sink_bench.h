/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink between a real store (sqlite: in a folder of its own, through direct:)
 * and a warehouse that fails as told: what its tests share.
 */
#ifndef SLUICE_TESTS_SINK_BENCH_H
#define SLUICE_TESTS_SINK_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "sink/consumer.h"

struct arena;
struct json;
struct json_doc;
struct loop;
struct sl_sink;
struct store_sync;

#define DEADLINE_MS 60000
#define HOUR_MS 3600000

struct bench {
	char folder[64];
	struct arena *arena;
	struct store_sync *sync;
	struct loop *loop;
	struct consumer_options options;
	struct consumer *consumers[2];
	bool drained;
};

extern const struct sl_sink bench_sink;

int bench_set_up(void **state);
int bench_tear_down(void **state);
/* A consumer of queue into table, with the options of the bench. */
void open_consumer(struct bench *bench, size_t at, const char *queue, const char *table);
/* One outbox row. */
void put(struct bench *bench, const char *queue, const char *payload, uint32_t events);
/* One outbox row of events named word0…, all of one month. */
void put_events(struct bench *bench, const char *queue, const char *word, size_t first, size_t count);
void turn(struct bench *bench);
/* Runs the loop until what is true. */
#define UNTIL(bench, what) \
	do { \
		int64_t until_ms = clock_mono_ms() + DEADLINE_MS; \
		while (!(what)) { \
			if (clock_mono_ms() > until_ms) \
				fail_msg("waited %d s for %s", DEADLINE_MS / 1000, #what); \
			turn(bench); \
		} \
	} while (0)

/* Turns of the loop in which something wrong would have happened. */
void run_a_while(struct bench *bench);
int64_t outbox_bytes(struct bench *bench);
/* The dead letters of queue as JSON; freed with the arena of the bench. */
const struct json *letters(struct bench *bench, const char *queue, struct json_doc **doc_r);
size_t letter_count(struct bench *bench, const char *queue);
void expect_letters(struct bench *bench, size_t count, const char *code, const char *payload);
struct consumer_stats stats_of(const struct bench *bench, size_t at);
void expect_each_once(const char *table, const char *word, size_t count);

#endif
