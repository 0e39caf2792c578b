/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many events per second one core takes from messages to the bytes of an
 * insert: what a sink's thread does but the insert itself, with the memory of the
 * batch before. Batches as large as a sink's, the same 50,000 profile events of
 * about 500 bytes again and again.
 *
 *     bench/decode_bench [-n EVENTS] [-m EVENTS_PER_MESSAGE]
 *
 * Rates are per second of CPU, so that what else runs on the machine matters little.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "profile_sink.h"
#include "sink/batch.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "warehouse/native.h"

#define BATCH 50000

struct times {
	double take, decode, encode;
};

static double cpu_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void make_events(struct buf *events, size_t *starts)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		starts[i] = events->len;
		add_event(events, i);
	}
	starts[BATCH] = events->len;
}

static void one_batch(struct batch *batch, struct writer *writer, const struct buf *events, const size_t *starts,
		      size_t per_message, struct times *times)
{
	double start = cpu_s();

	for (size_t i = 0; i < BATCH; i += per_message) {
		size_t to = i + per_message < BATCH ? i + per_message : BATCH;

		batch_add(batch, &(struct bus_message){ .tag = i, .id = "11111111-2222-3333-4444-555555555555",
							.body = events->data + starts[i],
							.len = starts[to] - starts[i] - 1,
							.events = (uint32_t)(to - i) });
	}
	times->take += cpu_s() - start;
	start = cpu_s();
	batch_decode(batch, writer);
	times->decode += cpu_s() - start;
	start = cpu_s();
	buf_clear(&writer->data);
	native_block_encode(batch->block, 0, native_block_rows(batch->block), &writer->data);
	times->encode += cpu_s() - start;
	if (native_block_rows(batch->block) != BATCH || batch->letter_count > 0) {
		fprintf(stderr, "decode_bench: %zu rows of %d events, %zu letters\n",
			native_block_rows(batch->block), BATCH, batch->letter_count);
		exit(1);
	}
	start = cpu_s();
	writer->block = batch->block;
	native_block_clear(writer->block);
	batch->block = NULL;
	batch_clear(batch);
	times->take += cpu_s() - start;
}

int main(int argc, char **argv)
{
	struct arena *arena = arena_new();
	size_t count = 1000000, per_message = 1, done, *starts = calloc(BATCH + 1, sizeof(*starts));
	struct times times = { 0, 0, 0 };
	struct writer writer = { .node = "bench" };
	struct batch *batch = batch_new(NULL);
	struct buf events;
	struct error err;
	int option;

	while ((option = getopt(argc, argv, "n:m:")) != -1) {
		if (option == 'n')
			count = strtoul(optarg, NULL, 10);
		else if (option == 'm')
			per_message = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (per_message == 0)
		return 2;
	buf_init(&events);
	make_events(&events, starts);
	writer.table = sink_table_new(&sink, "_e", "profile_log_events", arena, &err);
	if (writer.table == NULL) {
		fprintf(stderr, "decode_bench: %s\n", err.text);
		return 1;
	}
	writer.decoder = decoder_new(writer.table);
	for (done = 0; done < count; done += BATCH)
		one_batch(batch, &writer, &events, starts, per_message, &times);
	printf("%zu events of %zu bytes, %zu per message: cpu %.0f events/s (ns each: take %.0f, decode %.0f, "
	       "encode %.0f)\n", done, events.len / BATCH, per_message,
	       (double)done / (times.take + times.decode + times.encode), times.take * 1e9 / (double)done,
	       times.decode * 1e9 / (double)done, times.encode * 1e9 / (double)done);
	batch_free(&batch);
	writer_shrink(&writer);
	decoder_free(&writer.decoder);
	buf_fini(&events);
	free(starts);
	arena_free(&arena);
	return 0;
}
