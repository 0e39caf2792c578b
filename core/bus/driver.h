/* SPDX-License-Identifier: Apache-2.0 */
/* What a bus driver implements; only bus.c and the drivers include this file. Meanings in bus.h. */
#ifndef SLUICE_BUS_DRIVER_H
#define SLUICE_BUS_DRIVER_H

#include "bus/bus.h"

#define BUS_READER_MAGIC 0x42757352u

/* First member of every driver's own reader. */
struct bus_reader {
	unsigned int magic;
	const struct bus_ops *ops;
	struct loop *loop;
	struct bus_options options;	/* defaults filled in; queue owned by bus.c */
	struct bus_stats stats;		/* the driver keeps them */
};

struct bus_ops {
	const char *scheme;
	/* base holds loop and options; the driver moves it into its own struct. rest: after "scheme:". */
	struct bus_reader *(*open)(const struct bus_reader *base, const char *rest, struct store *store,
				   struct error *err);
	/* A driver may acknowledge several tags at once, never one that was not named. */
	void (*ack)(struct bus_reader *reader, const uint64_t *tags, size_t count);
	/* The letters are safe (committed, confirmed) before the tags are acknowledged. */
	void (*reject)(struct bus_reader *reader, const uint64_t *tags, size_t tag_count,
		       const struct bus_letter *letters, size_t letter_count, bus_done_fn *done, void *user);
	void (*pause)(struct bus_reader *reader);
	void (*resume)(struct bus_reader *reader);
	void (*nudge)(struct bus_reader *reader);
	/* Calls back from the loop, never from inside the call. */
	void (*settle)(struct bus_reader *reader, bus_done_fn *done, void *user);
	/* Returns at once; what is under way is dropped when it comes back. */
	void (*close)(struct bus_reader *reader);
};

extern const struct bus_ops bus_direct_ops;

#endif
