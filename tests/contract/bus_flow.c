/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher and a sink that remembers what it has seen, over a broker that
 * somebody else troubles meanwhile:
 *
 *	bus_flow PUBLISHER-URL READER-URL QUEUE COUNT RATE [BYTES HOLD-MS]
 *
 * RATE messages in a second, COUNT of them or, if that is 0, until the standard
 * input ends; of BYTES each. The sink acknowledges nothing until HOLD-MS have
 * passed. Ends with 0 when every message has arrived and was acknowledged, and nothing
 * came twice without being marked suspect. Prints what happened.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "bus/bus.h"
#include "log/log.h"
#include "loop/loop.h"

#define OPEN_MAX 300		/* published, not answered */
#define COUNT_MAX 1000000	/* of one that is not counted */
#define DEADLINE_MS 200000
#define ACK_MS 20
#define QUIET_MS 1000
#define BODY_MAX 100000
#define UNACKED_BYTES ((size_t)1024 * 1024)	/* of a sink that holds on */

struct flow {
	struct loop *loop;
	struct bus_publisher *publisher;
	struct bus_reader *reader;
	const char *queue;
	size_t count, next, confirmed, open, redone;
	bool endless;
	bool *redo;			/* per message: was sent before */
	unsigned char *seen;
	size_t distinct, suspects, repeats, wrong;
	uint64_t tags[100000];		/* to be acknowledged */
	size_t tag_count;
	int64_t rate;
	int bytes;
	int64_t hold_ms;
	int64_t heard_ms;		/* when the last message came */
};

static void send(struct flow *flow, size_t n)
{
	static char body[BODY_MAX + 100];
	char id[24];
	struct bus_outgoing out = {.exchange = "flow.dx",
				   .key = flow->queue,
				   .body = body,
				   .events = 1,
				   .id = id,
				   .redo = flow->redo[n],
				   .user = (void *)(uintptr_t)(n + 1)};

	out.len = (size_t)snprintf(body, sizeof(body), "{\"n\":%zu,\"filling\":\"%0*d\"}", n, flow->bytes, 0);
	snprintf(id, sizeof(id), "%zu", n);
	flow->open++;
	bus_publish(flow->publisher, &out, 1);
}

static void on_published(void *user, void *message_user, enum bus_fate fate, const char *reason)
{
	struct flow *flow = user;
	size_t n = (size_t)(uintptr_t)message_user - 1;

	flow->open--;
	if (fate == BUS_CONFIRMED) {
		flow->confirmed++;
		return;
	}
	if (fate == BUS_RETURNED) {
		printf("returned: %s\n", reason);
		flow->wrong++;
	}
	flow->redo[n] = true;
	flow->redone++;
	send(flow, n);
}

static void on_messages(void *user, const struct bus_message *messages, size_t count)
{
	struct flow *flow = user;

	flow->heard_ms = clock_mono_ms();
	for (size_t i = 0; i < count; i++) {
		size_t n = strtoul(messages[i].id, NULL, 10);

		flow->suspects += messages[i].suspect;
		if (flow->seen[n] && !messages[i].suspect) {
			printf("message %zu came twice without suspicion\n", n);
			flow->wrong++;
		}
		flow->repeats += flow->seen[n];
		flow->distinct += !flow->seen[n];
		flow->seen[n] = 1;
		flow->tags[flow->tag_count++] = messages[i].tag;
	}
}

/* Half of them now, so that others are always held. */
static void on_ack(void *user)
{
	struct flow *flow = user;
	size_t half = flow->tag_count > 10 ? flow->tag_count / 2 : flow->tag_count;

	bus_ack(flow->reader, flow->tags, half);
	flow->tag_count -= half;
	memmove(flow->tags, flow->tags + half, flow->tag_count * sizeof(*flow->tags));
}

static void on_done(void *user, const struct error *err)
{
	(void)err;
	*(bool *)user = true;
}

/* Somebody has seen enough: what was sent is all there is. */
static void look_for_the_end(struct flow *flow)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	char byte;

	if (!flow->endless || poll(&input, 1, 0) <= 0 || read(STDIN_FILENO, &byte, 1) > 0)
		return;
	flow->endless = false;
	flow->count = flow->next;
}

static void run(struct flow *flow)
{
	int64_t began = clock_mono_ms(), end = began + DEADLINE_MS;
	struct loop_timer *acks = loop_timer_new(flow->loop, on_ack, flow);
	bool settled = false;

	loop_timer_start(acks, flow->hold_ms, ACK_MS);
	/* Repeats may come after the last message. */
	while ((flow->distinct < flow->count || flow->open > 0 || flow->tag_count > 0 ||
		clock_mono_ms() - flow->heard_ms < QUIET_MS) && clock_mono_ms() < end) {
		size_t due = (size_t)((clock_mono_ms() - began) * flow->rate / 1000);

		look_for_the_end(flow);
		for (; flow->next < flow->count && flow->next < due && flow->open < OPEN_MAX; flow->next++)
			send(flow, flow->next);
		loop_run_once(flow->loop, 10);
	}
	loop_timer_free(&acks);
	bus_settle(flow->reader, on_done, &settled);
	while (!settled && clock_mono_ms() < end)
		loop_run_once(flow->loop, 10);
}

int main(int argc, char **argv)
{
	static struct flow flow;
	struct bus_queue queue = {.exchange = "flow.dx", .type = "direct"};
	struct bus_publisher_options publisher = {.name = "flow", .queues = &queue, .queue_count = 1,
						  .published = on_published, .user = &flow};
	struct bus_options reader = {.exchange = "flow.dx", .type = "direct", .unacked_messages = 5000,
				     .messages = on_messages, .user = &flow};
	struct bus_stats stats;
	struct error err;

	if (argc != 6 && argc != 8)
		return 2;
	flow.bytes = argc == 8 ? (int)strtol(argv[6], NULL, 10) : 500;
	flow.hold_ms = argc == 8 ? strtol(argv[7], NULL, 10) : ACK_MS;
	if (flow.bytes > BODY_MAX)
		return 2;
	reader.unacked_bytes = argc == 8 ? UNACKED_BYTES : 0;
	log_init(STDERR_FILENO, "flow", LOG_LEVEL_INFO);
	queue.name = queue.key = reader.queue = reader.key = flow.queue = argv[3];
	flow.count = strtoul(argv[4], NULL, 10);
	flow.rate = strtol(argv[5], NULL, 10);
	if (flow.count == 0) {
		flow.endless = true;
		flow.count = COUNT_MAX;
	}
	flow.redo = mem_alloc(flow.count * sizeof(*flow.redo));
	flow.seen = mem_alloc(flow.count);
	flow.loop = loop_new();
	flow.publisher = bus_publisher_open(flow.loop, argv[1], &publisher, &err);
	flow.reader = bus_open(flow.loop, argv[2], NULL, &reader, &err);
	run(&flow);
	bus_reader_stats(flow.reader, &stats);
	printf("sent %zu confirmed %zu redone %zu distinct %zu suspects %zu repeats %zu wrong %zu lost %llu\n", flow.next,
	       flow.confirmed, flow.redone, flow.distinct, flow.suspects, flow.repeats, flow.wrong,
	       (unsigned long long)stats.errors);
	bus_close(&flow.reader);
	bus_publisher_close(&flow.publisher);
	loop_free(&flow.loop);
	return flow.distinct == flow.count && flow.wrong == 0 && flow.confirmed == flow.count ? 0 : 1;
}
