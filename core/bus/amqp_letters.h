/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the letters of the amqp: driver: what reading (amqp_letters.c) and
 * changing them (amqp_letters_change.c) share. The caller's thread, which blocks.
 */
#ifndef SLUICE_BUS_AMQP_LETTERS_H
#define SLUICE_BUS_AMQP_LETTERS_H

#include "bus/amqp.h"
#include "bus/driver.h"

struct amqp_letters {
	struct bus_letters base;
	struct amqp_url url;
	struct amqp_conn conn;		/* open during a call only */
};

struct amqp_got {			/* a letter that was got; all in its arena */
	uint64_t tag;
	struct bus_parked letter;	/* with payload */
	const char *message_id;
	bool ours;			/* one event, named by its id */
};

int amqp_letters_connect(struct amqp_letters *letters, struct error *err);
int amqp_letters_open_channel(struct amqp_conn *conn, amqp_channel_t channel, struct error *err);
/* The messages that are ready in a queue: 1, or 0 when there is no such queue, or -1. */
int amqp_letters_ready(struct amqp_conn *conn, const char *queue, uint32_t *count_r, struct error *err);
/* The next message of place, which is where queue's letters are: 1; 0: there is none; -1. */
int amqp_letters_get(struct amqp_conn *conn, const char *queue, const char *place, struct arena *arena,
		     struct amqp_got *got_r, struct error *err);
/* The queues a filter is about. */
const char *const *amqp_letters_queues(const struct bus_letters *letters, const struct bus_letters_filter *filter,
				       size_t *count_r);
/* Whether the filter wants it; notes it as found. */
bool amqp_letters_wanted(const struct bus_letters_filter *filter, const char *id);
/* repeat is the same letter once more. */
void amqp_letters_merge(struct bus_parked *row, const struct bus_parked *repeat, struct arena *arena);

int amqp_letters_change(struct bus_letters *letters, enum bus_letters_action action,
			const struct bus_letters_filter *filter, bus_progress_fn *progress, void *user, size_t *done_r,
			struct error *err);

#endif
