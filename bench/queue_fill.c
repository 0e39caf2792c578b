/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts profile events of about 500 bytes, or of BYTES, into a queue of a broker,
 * persistent and confirmed; for measurements of what takes them out.
 *
 *     bench/queue_fill URL QUEUE EVENTS [EVENTS_PER_MESSAGE [BYTES]]
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "bus/bus.h"
#include "loop/loop.h"
#include "profile_sink.h"

#define OPEN_MAX 2000		/* messages given to the bus, not answered */

struct fill {
	struct loop *loop;
	struct bus_publisher *publisher;
	const char *queue;
	size_t messages, per_message, next, confirmed;
	size_t bytes;			/* of an event; 0: as many as it has */
	bool failed;
	struct buf body;
};

static void send(struct fill *fill)
{
	char id[UUID_TEXT_SIZE];
	struct bus_outgoing out = {
		.exchange = "", .key = fill->queue, .events = (uint32_t)fill->per_message, .id = id};

	buf_clear(&fill->body);
	for (size_t i = 0; i < fill->per_message; i++) {
		unsigned int number = (unsigned int)(fill->next * fill->per_message + i);

		if (fill->bytes > 0)
			add_event_of(&fill->body, number, fill->bytes);
		else
			add_event(&fill->body, number);
	}
	uuid_random(id);
	out.body = fill->body.data;
	out.len = fill->body.len - 1;
	fill->next++;
	bus_publish(fill->publisher, &out, 1);
}

static void on_published(void *user, void *message_user, enum bus_fate fate, const char *reason)
{
	struct fill *fill = user;

	(void)message_user;
	if (fate != BUS_CONFIRMED) {
		fprintf(stderr, "queue_fill: a message was not kept: %s\n", reason != NULL ? reason : "no reason");
		fill->failed = true;
		loop_stop(fill->loop);
		return;
	}
	if (++fill->confirmed == fill->messages)
		loop_stop(fill->loop);
	else if (fill->next < fill->messages)
		send(fill);
}

int main(int argc, char **argv)
{
	struct fill fill = {.per_message = 1};
	struct bus_queue queue = {0};
	struct bus_publisher_options options = {.name = "queue_fill", .queues = &queue, .queue_count = 1,
						.window = OPEN_MAX, .published = on_published, .user = &fill};
	struct error err;
	int64_t start;

	if (argc > 4)
		fill.per_message = strtoul(argv[4], NULL, 10);
	if (argc > 5)
		fill.bytes = strtoul(argv[5], NULL, 10);
	if (argc < 4 || fill.per_message == 0) {
		fprintf(stderr, "usage: queue_fill URL QUEUE EVENTS [EVENTS_PER_MESSAGE [BYTES]]\n");
		return 2;
	}
	queue.name = fill.queue = argv[2];
	fill.messages = strtoul(argv[3], NULL, 10) / fill.per_message;
	fill.loop = loop_new();
	buf_init(&fill.body);
	fill.publisher = bus_publisher_open(fill.loop, argv[1], &options, &err);
	if (fill.publisher == NULL) {
		fprintf(stderr, "queue_fill: %s\n", err.text);
		return 1;
	}
	start = clock_mono_ms();
	while (fill.next < fill.messages && fill.next < OPEN_MAX)
		send(&fill);
	if (fill.messages > 0)
		loop_run(fill.loop);
	printf("%zu events, %zu per message, %.0f events/s confirmed\n", fill.confirmed * fill.per_message,
	       fill.per_message, (double)(fill.confirmed * fill.per_message) * 1000.0 /
	       (double)(clock_mono_ms() - start + 1));
	bus_publisher_close(&fill.publisher);
	buf_fini(&fill.body);
	loop_free(&fill.loop);
	return fill.failed ? 1 : 0;
}
