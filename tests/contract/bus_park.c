/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts dead letters onto a broker, as a sink does: bus_park URL QUEUE COUNT.
 * Letter n is the event {"n":n}, named m/n, of a message with a header.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "bus/bus.h"
#include "log/log.h"
#include "loop/loop.h"

#define DEADLINE_MS 60000

static void on_messages(void *user, const struct bus_message *messages, size_t count)
{
	(void)user;
	(void)messages;
	(void)count;
}

static void on_parked(void *user, const struct error *err)
{
	if (err->code != ERR_NONE)
		fprintf(stderr, "%s\n", err->text);
	else
		--*(size_t *)user;
}

int main(int argc, char **argv)
{
	struct bus_options options = {.messages = on_messages};
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	struct loop *loop = loop_new();
	struct bus_reader *reader;
	struct error err;
	size_t count, left;

	if (argc != 4)
		return 2;
	log_init(STDERR_FILENO, "park", LOG_LEVEL_INFO);
	options.queue = argv[2];
	left = count = strtoul(argv[3], NULL, 10);
	reader = bus_open(loop, argv[1], NULL, &options, &err);
	if (reader == NULL) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (size_t n = 0; n < count; n++) {
		char payload[40], id[40];
		struct bus_letter letter = {.payload = payload, .reason = "no such column", .code = "column",
					    .dedup_id = id, .headers = "{\"trace\":\"t\"}"};

		letter.len = (size_t)snprintf(payload, sizeof(payload), "{\"n\":%zu}", n);
		snprintf(id, sizeof(id), "m/%zu", n);
		bus_reject(reader, NULL, 0, &letter, 1, on_parked, &left);
	}
	while (left > 0 && clock_mono_ms() < end)
		loop_run_once(loop, 10);
	bus_close(&reader);
	loop_free(&loop);
	return left == 0 ? 0 : 1;
}
