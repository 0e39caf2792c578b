/* SPDX-License-Identifier: Apache-2.0 */
/* The bus's front: finds the driver and checks the arguments. Runs on the loop thread of the sink. */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "bus/driver.h"

#define READER_CHECK(reader) assert((reader) != NULL && (reader)->magic == BUS_READER_MAGIC)

static const struct bus_ops *const drivers[] = {
	&bus_direct_ops,
};

struct bus_reader *bus_open(struct loop *loop, const char *url, struct store *store,
			    const struct bus_options *options, struct error *err)
{
	struct bus_reader base = {.magic = BUS_READER_MAGIC, .loop = loop, .options = *options};
	struct bus_reader *reader;
	size_t i, len = strcspn(url, ":");

	assert(options->queue != NULL && options->messages != NULL);
	for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strlen(drivers[i]->scheme) == len && strncmp(url, drivers[i]->scheme, len) == 0)
			base.ops = drivers[i];
	if (base.ops == NULL || url[len] != ':') {
		error_set(err, ERR_INPUT, "no bus driver for this URL (there is: %s:)", drivers[0]->scheme);
		return NULL;
	}
	if (base.options.unacked_messages == 0)
		base.options.unacked_messages = 65535;
	if (base.options.unacked_bytes == 0)
		base.options.unacked_bytes = 64 * 1024 * 1024;
	base.options.queue = mem_strdup(options->queue);
	reader = base.ops->open(&base, url + len + 1, store, err);
	if (reader == NULL)
		mem_release((void *)(uintptr_t)base.options.queue);
	return reader;
}

void bus_ack(struct bus_reader *reader, const uint64_t *tags, size_t count)
{
	READER_CHECK(reader);
	if (count > 0)
		reader->ops->ack(reader, tags, count);
}

void bus_reject(struct bus_reader *reader, const uint64_t *tags, size_t tag_count,
		const struct bus_letter *letters, size_t letter_count, bus_done_fn *done, void *user)
{
	READER_CHECK(reader);
	assert(letter_count > 0);
	reader->ops->reject(reader, tags, tag_count, letters, letter_count, done, user);
}

void bus_pause(struct bus_reader *reader)
{
	READER_CHECK(reader);
	reader->ops->pause(reader);
}

void bus_resume(struct bus_reader *reader)
{
	READER_CHECK(reader);
	reader->ops->resume(reader);
}

void bus_nudge(struct bus_reader *reader)
{
	READER_CHECK(reader);
	reader->ops->nudge(reader);
}

void bus_reader_stats(const struct bus_reader *reader, struct bus_stats *stats_r)
{
	READER_CHECK(reader);
	*stats_r = reader->stats;
}

void bus_settle(struct bus_reader *reader, bus_done_fn *done, void *user)
{
	READER_CHECK(reader);
	reader->ops->settle(reader, done, user);
}

void bus_close(struct bus_reader **reader)
{
	if (*reader == NULL)
		return;
	READER_CHECK(*reader);
	(*reader)->ops->close(*reader);
	*reader = NULL;
}
