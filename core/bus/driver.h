/* SPDX-License-Identifier: Apache-2.0 */
/* What a bus driver implements; only bus.c and the drivers include this file. Meanings in bus.h. */
#ifndef SLUICE_BUS_DRIVER_H
#define SLUICE_BUS_DRIVER_H

#include "bus/bus.h"

#define BUS_READER_MAGIC 0x42757352u
#define BUS_PUBLISHER_MAGIC 0x42757350u

/* First member of every driver's own reader. */
struct bus_reader {
	unsigned int magic;
	const struct bus_ops *ops;
	struct loop *loop;
	struct bus_options options;	/* defaults filled in; texts owned by bus.c */
	struct arena *texts;		/* of the options; freed with the reader by its driver */
	struct bus_stats stats;		/* the driver keeps them */
};

struct bus_ops {
	/* Whether the URL can be one; opens nothing. NULL: it can. */
	int (*check)(const char *url, struct error *err);
	/* base holds loop and options; the driver moves it into its own struct. */
	struct bus_reader *(*open)(const struct bus_reader *base, const char *url, struct store *store,
				   struct error *err);
	/* A driver may acknowledge several tags at once, never one that was not named. */
	void (*ack)(struct bus_reader *reader, const uint64_t *tags, size_t count);
	/* The letters are safe (committed, confirmed) before the tags are acknowledged. */
	void (*reject)(struct bus_reader *reader, const uint64_t *tags, size_t tag_count,
		       const struct bus_letter *letters, size_t letter_count, bus_done_fn *done, void *user);
	/* NULL: it always holds them. */
	bool (*holds)(const struct bus_reader *reader, const uint64_t *tags, size_t count);
	/* NULL: it is the only reader. */
	void (*distrust)(struct bus_reader *reader, const uint64_t *tags, size_t count);
	/* NULL: messages are only read, never sent. */
	void (*last_call)(struct bus_reader *reader);
	void (*pause)(struct bus_reader *reader);
	void (*resume)(struct bus_reader *reader);
	void (*nudge)(struct bus_reader *reader);
	/* Calls back from the loop, never from inside the call. */
	void (*settle)(struct bus_reader *reader, bus_done_fn *done, void *user);
	/* Returns at once; what is under way is dropped when it comes back. */
	void (*close)(struct bus_reader *reader);
};

/* First member of every driver's own publisher. */
struct bus_publisher {
	unsigned int magic;
	const struct bus_publisher_ops *ops;
	bus_published_fn *published;
	void *user;
	struct bus_publisher_stats stats;	/* the driver keeps the counts */
};

struct bus_publisher_ops {
	/* base as for readers. */
	struct bus_publisher *(*open)(const struct bus_publisher *base, struct loop *loop, const char *url,
				      const struct bus_publisher_options *options, struct error *err);
	void (*publish)(struct bus_publisher *publisher, const struct bus_outgoing *messages, size_t count);
	void (*stats)(const struct bus_publisher *publisher, struct bus_publisher_stats *stats_r);
	void (*close)(struct bus_publisher *publisher);
};

#define BUS_LETTERS_MAGIC 0x4275734Cu
/* First member of every driver's own letters. */
struct bus_letters {
	unsigned int magic;
	const struct bus_letters_ops *ops;
	struct arena *arena;		/* for what lives as long; the front's */
	const char *const *queues;	/* in the arena */
	size_t queue_count;
	struct bus_letters *stored;	/* the store's, beside a broker's; the front's, or NULL */
};

struct bus_letters_ops {
	/* base as for readers. */
	struct bus_letters *(*open)(const struct bus_letters *base, const char *url, struct store_sync *store,
				    struct error *err);
	int (*has_queue)(struct bus_letters *letters, const char *queue, struct error *err);
	int (*read)(struct bus_letters *letters, const struct bus_letters_filter *filter, struct arena *arena,
		    struct bus_parked **rows_r, size_t *count_r, bool *more_r, struct error *err);
	/* *done_r is 0 at first. */
	int (*change)(struct bus_letters *letters, enum bus_letters_action action,
		      const struct bus_letters_filter *filter, bus_progress_fn *progress, void *user, size_t *done_r,
		      struct error *err);
	void (*close)(struct bus_letters *letters);
};

extern const struct bus_ops bus_direct_ops;
extern const struct bus_letters_ops bus_direct_letters_ops;
#ifdef HAVE_RABBITMQ
extern const struct bus_ops bus_amqp_ops;
extern const struct bus_publisher_ops bus_amqp_publisher_ops;
extern const struct bus_letters_ops bus_amqp_letters_ops;
#endif

/* --- what drivers share --- */
struct json;
struct bus_queue bus_queue_copy(struct arena *arena, const struct bus_queue *queue);

/* What a dead letter that was sent again says of itself in the headers of its message. */
struct bus_history {
	const char *id;			/* borrowed; NULL: it is none */
	int64_t first_ms;		/* wall clock: when it became a letter first; 0: not known */
	int64_t count;			/* how often it was one; at least 0 */
};
struct bus_history bus_history_of(const struct json *headers);
/* The same from text; id lives in the arena. headers may be NULL. */
struct bus_history bus_history_read(struct arena *arena, const char *headers);

#endif
