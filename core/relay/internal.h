/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of core/relay share. One process, one loop thread:
 *
 *     relay.c    the role: the leases of shards, and who sends what of them
 *     lane.c     some of the shards: read and note, publish, wait for confirms, delete
 *     compose.c  outbox rows into messages
 *
 * A message is written only while the relay's leases hold. When they are over,
 * everything under way has to be answered before new ones are asked for.
 */
#ifndef SLUICE_RELAY_INTERNAL_H
#define SLUICE_RELAY_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/list.h"
#include "bus/bus.h"
#include "role/role.h"
#include "store/store.h"

struct loop_timer;
struct relay;

/* Two: while one waits for confirms, the other one's turn is in the store. */
#define RELAY_LANES 2

/* A message on its way. In its lane's arena. */
struct parcel {
	struct list node;		/* in lane->again */
	struct lane *lane;
	struct bus_outgoing message;
	size_t from, to;		/* rows of the lane that it has events of: [from, to) */
	size_t line;			/* of the first row: where it begins */
	size_t bytes;			/* of its events, not packed */
	struct store_dead *letters;	/* of one that no queue takes */
	size_t letter_count;
};

struct lane {
	struct relay *relay;
	struct store_shard shards[STORE_SHARDS];
	size_t shard_count, rotation;
	struct store_shard asked[STORE_SHARDS];	/* of the turn that is in the store */
	size_t asked_count;
	int64_t *redo;			/* ids that a former holder was sending; owned */
	size_t redo_count;
	size_t redoing;			/* so many of redo are what the rows are; 0: they are fresh */

	bool busy;			/* from reading rows to the last answer, and in the store */
	struct arena *arena;		/* rows, messages */
	struct store_outbox_row *rows;	/* ordered by queue and id */
	bool *kept;			/* per row: not all of it arrived */
	size_t row_count;
	size_t open;			/* parcels without an end */
	struct list again;		/* parcels to be published once more */
	int64_t *sent;			/* ids to delete; owned */
	size_t sent_count;
	bool full;			/* the last turn got as much as it may */
	int64_t turned_ms;		/* loop time: when the last turn began */
	struct backoff idle, trouble;
	struct loop_timer *timer;	/* the next step */
	struct loop_timer *again_timer;
};

struct relay {
	struct role *role;
	struct loop *loop;
	const struct conf_model *conf;
	struct store *store;
	struct bus_publisher *publisher;
	char name[160];
	struct lane lanes[RELAY_LANES];
	_Atomic int64_t until_ms;	/* boot clock: nothing is written after it; 0: no leases */
	int64_t asked_ms;		/* boot clock: when the lease request under way was made */
	struct store_shard leaving[STORE_SHARDS];	/* of no lane any more, to be given up */
	size_t leaving_count;
	size_t relays;			/* alive, as the last lease request saw it */
	bool leasing, farewell;
	bool adopted;			/* rows of direct: readers were, or are being */
	int64_t connected_ms;		/* monotonic: when the broker was last seen connected */
	struct loop_timer *lease_timer, *drain_timer, *look_timer;
	uint64_t seen;			/* of this node's commits */
	int64_t log_state, dead_log_state;
};

/* --- relay.c --- */
/* Whether the leases hold now. */
bool relay_may_send(const struct relay *relay);
/* Whether there is any use in reading rows: the broker is there and takes messages. */
bool relay_broker_ready(struct relay *relay);
void relay_store_trouble(struct relay *relay, const char *what, const struct error *err);
/* A lane has come to rest: what waited for it may go on. */
void relay_lane_rests(struct relay *relay);
/* Whether events of this place that no queue takes are dropped. */
bool relay_drops(const struct relay *relay, const char *exchange, const char *key);

/* --- lane.c --- */
void lane_init(struct lane *lane, struct relay *relay);
void lane_fini(struct lane *lane);
/* The shard is the lane's from now on; what its last holder was sending comes first. */
void lane_add(struct lane *lane, const struct store_shard *shard);
/* Takes the shard out; its rows that are under way stay so. false: the lane does not have it under this token. */
bool lane_remove(struct lane *lane, const struct store_shard *shard);
/* Goes on soon, if it rests. */
void lane_wake(struct lane *lane);
void lane_published(struct parcel *parcel, enum bus_fate fate, const char *reason);
/* Nothing is under way, and nothing is to be deleted. */
bool lane_at_rest(const struct lane *lane);

/* --- compose.c --- */
/* Orders the lane's rows and makes parcels of them: calls made for each. redo: each row by itself, as redo. */
typedef void parcel_fn(struct lane *lane, struct parcel *parcel);
void compose(struct lane *lane, bool redo, parcel_fn *made);
/* One letter per event of a message. */
void compose_letters(struct parcel *parcel, const char *reason);

#endif
