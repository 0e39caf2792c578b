/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay role: takes its part of the outbox's shards, keeps their leases,
 * divides them among its lanes, gives shards up when other relays come. One
 * loop thread; the broker's connection has a thread of its own.
 */
#include "relay/relay.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "conf/model.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "relay/internal.h"

#define LOG_MS 10000
#define EXTENSIONS 3		/* a lease is extended after this part of it … */
#define MARGIN 10		/* … and nothing is sent in the last such part of it */
#define SOON_MS 50
#define LOOK_MS 250

bool relay_may_send(const struct relay *relay)
{
	return clock_boot_ms() < atomic_load(&relay->until_ms);
}

bool relay_broker_ready(struct relay *relay)
{
	struct bus_publisher_stats stats;

	bus_publisher_stats(relay->publisher, &stats);
	if (stats.connected)
		relay->connected_ms = clock_mono_ms();
	metric_set(METRIC_BUS_BLOCKED, !stats.connected || stats.blocked);
	metric_set(METRIC_RELAY_SENDING, stats.waiting);
	return stats.connected && !stats.blocked;
}

void relay_store_trouble(struct relay *relay, const char *what, const struct error *err)
{
	if (err->code != ERR_CANCELLED && log_limited(&relay->log_state, LOG_MS))
		log_warning("store: %s: %s (tried again)", what, err->text);
}

bool relay_drops(const struct relay *relay, const char *exchange, const char *key)
{
	const struct conf_model *conf = relay->conf;

	for (size_t i = 0; i < conf->stream_count; i++)
		if (str_eq(conf->streams[i].exchange, exchange) && str_eq(conf->streams[i].key, key))
			return conf->streams[i].drop;
	return false;
}

/* --- leases --- */

static void lease(struct relay *relay);

static bool all_at_rest(const struct relay *relay)
{
	for (size_t i = 0; i < RELAY_LANES; i++)
		if (!lane_at_rest(&relay->lanes[i]))
			return false;
	return true;
}

/* Whether the shards that leave may go: nothing of theirs is under way, or to be sent once more. */
static bool may_leave(const struct relay *relay)
{
	for (size_t i = 0; i < RELAY_LANES; i++)
		if (relay->lanes[i].redo_count > 0)
			return false;
	return relay->leaving_count > 0 && all_at_rest(relay);
}

static bool any_busy(const struct relay *relay)
{
	for (size_t i = 0; i < RELAY_LANES; i++)
		if (relay->lanes[i].busy)
			return true;
	return false;
}

static size_t shards_held(const struct relay *relay)
{
	size_t count = 0;

	for (size_t i = 0; i < RELAY_LANES; i++)
		count += relay->lanes[i].shard_count;
	return count;
}

/* The leases are over: what is still to be written never will be. */
static void lapse(struct relay *relay, const char *why)
{
	atomic_store(&relay->until_ms, 0);
	if (shards_held(relay) > 0)
		log_warning("the leases of the outbox's shards are over: %s", why);
	for (size_t i = 0; i < RELAY_LANES; i++)
		relay->lanes[i].shard_count = 0;
	relay->leaving_count = 0;
	metric_set(METRIC_RELAY_SHARDS, 0);
}

static bool is_among(const struct store_shard *shards, size_t count, const struct store_shard *shard)
{
	for (size_t i = 0; i < count; i++)
		if (shards[i].shard == shard->shard && shards[i].token == shard->token)
			return true;
	return false;
}

static bool knows(const struct relay *relay, const struct store_shard *shard)
{
	for (size_t i = 0; i < RELAY_LANES; i++)
		if (is_among(relay->lanes[i].shards, relay->lanes[i].shard_count, shard))
			return true;
	return is_among(relay->leaving, relay->leaving_count, shard);
}

static void take(struct relay *relay, const struct store_shard *shard)
{
	struct lane *least = &relay->lanes[0];

	for (size_t i = 1; i < RELAY_LANES; i++)
		if (relay->lanes[i].shard_count < least->shard_count)
			least = &relay->lanes[i];
	lane_add(least, shard);
	lane_wake(least);
}

/* What the store does not count as ours any more. */
static void drop_lost(struct relay *relay, const struct store_shard *held, size_t count)
{
	for (size_t i = 0; i < RELAY_LANES; i++) {
		struct lane *lane = &relay->lanes[i];

		for (size_t k = lane->shard_count; k-- > 0;)
			if (!is_among(held, count, &lane->shards[k]))
				lane_remove(lane, &lane->shards[k]);
	}
}

/* The part of each relay, rounded up, so that no shard is nobody's. */
static void shed(struct relay *relay)
{
	size_t part = (STORE_SHARDS + relay->relays - 1) / relay->relays;

	while (shards_held(relay) > part) {
		struct lane *most = &relay->lanes[0];
		struct store_shard *shard;

		for (size_t i = 1; i < RELAY_LANES; i++)
			if (relay->lanes[i].shard_count > most->shard_count)
				most = &relay->lanes[i];
		shard = &most->shards[most->shard_count - 1];
		relay->leaving[relay->leaving_count++] = *shard;
		lane_remove(most, shard);
	}
}

static void finish_drain(struct relay *relay)
{
	if (relay->role->draining && !relay->leasing && all_at_rest(relay)) {
		if (relay->farewell)
			role_finished(relay->role);
		else
			lease(relay);
	}
}

static void on_leased(void *user, const struct store_shard *held, size_t count, size_t relays, const struct error *err)
{
	struct relay *relay = user;
	const struct conf_model *conf = relay->conf;

	relay->leasing = false;
	if (err->code != ERR_NONE) {
		relay_store_trouble(relay, "leases of the outbox's shards", err);
		if (relay->farewell)
			role_finished(relay->role);
		return;
	}
	if (relay->farewell) {
		role_finished(relay->role);
		return;
	}
	atomic_store(&relay->until_ms, relay->asked_ms + conf->relay_lease_ms - conf->relay_lease_ms / MARGIN);
	relay->relays = relays > 0 ? relays : 1;
	drop_lost(relay, held, count);
	for (size_t i = 0; i < count; i++)
		if (!knows(relay, &held[i]))
			take(relay, &held[i]);
	shed(relay);
	metric_set(METRIC_RELAY_SHARDS, shards_held(relay));
	if (may_leave(relay))
		loop_timer_start(relay->lease_timer, SOON_MS, conf->relay_lease_ms / EXTENSIONS);
	finish_drain(relay);
}

/* What is given up has no notes any more: nothing of it may be under way, or be redo. */
static size_t list_given_up(struct relay *relay, struct store_shard *shards)
{
	size_t count = 0;

	if (relay->farewell)
		for (size_t i = 0; i < RELAY_LANES; i++)
			for (size_t k = 0; k < relay->lanes[i].shard_count; k++)
				if (relay->lanes[i].redo_count == 0)
					shards[count++] = relay->lanes[i].shards[k];
	if (!may_leave(relay))
		return count;
	for (size_t i = 0; i < relay->leaving_count; i++)
		shards[count++] = relay->leaving[i];
	relay->leaving_count = 0;
	return count;
}

static size_t list_held(const struct relay *relay, struct store_shard *shards)
{
	size_t count = 0;

	for (size_t i = 0; i < RELAY_LANES; i++)
		for (size_t k = 0; k < relay->lanes[i].shard_count; k++)
			shards[count++] = relay->lanes[i].shards[k];
	for (size_t i = 0; i < relay->leaving_count; i++)
		shards[count++] = relay->leaving[i];
	return count;
}

static void lease(struct relay *relay)
{
	struct store_shard held[STORE_SHARDS], given_up[2 * STORE_SHARDS];
	struct store_shard_lease request = {.relay = relay->name, .lease_ms = relay->conf->relay_lease_ms,
					    .held = held, .given_up = given_up};

	relay->farewell = relay->role->draining && all_at_rest(relay);
	request.leaving = relay->farewell;
	request.given_up_count = list_given_up(relay, given_up);
	request.held_count = relay->farewell ? 0 : list_held(relay, held);
	/* The store tells what is noted, once more. */
	for (size_t i = 0; i < RELAY_LANES && atomic_load(&relay->until_ms) == 0; i++)
		relay->lanes[i].redo_count = 0;
	relay->leasing = true;
	relay->asked_ms = clock_boot_ms();
	store_shards_lease(relay->store, &request, on_leased, relay);
}

/* Others can reach the broker, perhaps, and we have not for as long as a lease. */
static bool is_cut_off(const struct relay *relay)
{
	return relay->relays > 1 && clock_mono_ms() - relay->connected_ms > relay->conf->relay_lease_ms;
}

/*
 * Without leases. Messages of the old ones must have their end first: the new
 * ones would let them be written. And who cannot send leaves the shards to others.
 */
static bool may_lease_anew(const struct relay *relay)
{
	return !any_busy(relay) && !is_cut_off(relay);
}

static void on_adopted(void *user, int64_t count, const struct error *err)
{
	struct relay *relay = user;

	if (err->code != ERR_NONE) {
		relay_store_trouble(relay, "outbox rows of another kind of bus", err);
		relay->adopted = false;
	} else if (count > 0) {
		log_info("outbox rows that were written for direct: readers go to the broker, as suspect rows=%" PRId64,
			 count);
	}
}

/* Once; tried again with the next lease. */
static void adopt(struct relay *relay)
{
	if (relay->adopted)
		return;
	relay->adopted = true;
	store_outbox_adopt(relay->store, on_adopted, relay);
}

static void on_lease_timer(void *user)
{
	struct relay *relay = user;
	int64_t until_ms = atomic_load(&relay->until_ms);

	relay_broker_ready(relay);
	adopt(relay);
	if (relay->leasing)
		return;
	if (until_ms != 0 && clock_boot_ms() >= until_ms)
		lapse(relay, "the store did not answer in time");
	else if (until_ms != 0 && is_cut_off(relay))
		lapse(relay, "the broker cannot be reached, and there are other relays");
	if (relay->role->draining)
		finish_drain(relay);
	else if (atomic_load(&relay->until_ms) != 0 || may_lease_anew(relay))
		lease(relay);
}

void relay_lane_rests(struct relay *relay)
{
	if (!relay->leasing && may_leave(relay))
		loop_timer_start(relay->lease_timer, 0, relay->conf->relay_lease_ms / EXTENSIONS);
	finish_drain(relay);
}

/* --- the role --- */

static void on_published(void *user, void *message_user, enum bus_fate fate, const char *reason)
{
	(void)user;
	lane_published(message_user, fate, reason);
}

/* Every enabled sink's queue, so that nothing is published before there is somewhere for it to go. */
static int open_publisher(struct relay *relay, struct error *err)
{
	const struct conf_model *conf = relay->conf;
	struct bus_queue *queues = arena_alloc(relay->role->arena, (conf->sink_count + 1) * sizeof(*queues));
	struct bus_publisher_options options = {.name = relay->role->title, .queues = queues,
						.window = (size_t)conf->relay_window, .published = on_published,
						.user = relay};

	for (size_t i = 0; i < conf->sink_count; i++)
		if (conf->sinks[i].enabled)
			queues[options.queue_count++] = (struct bus_queue){
				.name = conf->sinks[i].queue, .exchange = conf->sinks[i].exchange,
				.type = conf->sinks[i].exchange_type, .key = conf->sinks[i].key
			};
	relay->publisher = bus_publisher_open(relay->loop, conf->bus, &options, err);
	return relay->publisher != NULL ? 0 : -1;
}

/* Without a word to the store: has a process of this node committed anything? */
static void on_look(void *user)
{
	struct relay *relay = user;
	struct metrics *metrics = relay->role->metrics;
	uint64_t commits = metrics_total(metrics, METRIC_COMMITS) + metrics_total(metrics, METRIC_TASKS_CLAIMED);

	if (commits == relay->seen)
		return;
	relay->seen = commits;
	for (size_t i = 0; i < RELAY_LANES; i++)
		lane_wake(&relay->lanes[i]);
}

static void on_drain_deadline(void *user)
{
	struct relay *relay = user;

	log_warning("not everything is confirmed: what is not is sent again by the next relay");
	role_finished(relay->role);
}

static int start(struct role *role, struct error *err)
{
	struct relay *relay = mem_alloc(sizeof(*relay));
	char node[HOST_NAME_MAX + 1] = "node", id[UUID_TEXT_SIZE];

	role->state = relay;
	relay->role = role;
	relay->loop = role->loop;
	relay->conf = role->conf;
	relay->relays = 1;
	relay->connected_ms = clock_mono_ms();
	gethostname(node, sizeof(node) - 1);
	str_format(relay->name, sizeof(relay->name), "%.64s/%.40s/%.8s", node, role->title, uuid_random(id));
	relay->store = role_open_store(role, err);
	if (relay->store == NULL || open_publisher(relay, err) < 0)
		return -1;
	for (size_t i = 0; i < RELAY_LANES; i++)
		lane_init(&relay->lanes[i], relay);
	relay->lease_timer = loop_timer_new(role->loop, on_lease_timer, relay);
	relay->drain_timer = loop_timer_new(role->loop, on_drain_deadline, relay);
	relay->look_timer = loop_timer_new(role->loop, on_look, relay);
	loop_timer_start(relay->lease_timer, 0, relay->conf->relay_lease_ms / EXTENSIONS);
	loop_timer_start(relay->look_timer, LOOK_MS, LOOK_MS);
	return 0;
}

static void drain(struct role *role)
{
	struct relay *relay = role->state;

	loop_timer_start(relay->drain_timer, relay->conf->drain_ms / 3 * 2, 0);
	for (size_t i = 0; i < RELAY_LANES; i++)
		lane_wake(&relay->lanes[i]);
	finish_drain(relay);
}

static void stop(struct role *role)
{
	struct relay *relay = role->state;

	bus_publisher_close(&relay->publisher);
	store_close(&relay->store);
	for (size_t i = 0; i < RELAY_LANES; i++)
		lane_fini(&relay->lanes[i]);
	loop_timer_free(&relay->lease_timer);
	loop_timer_free(&relay->drain_timer);
	loop_timer_free(&relay->look_timer);
	mem_release(relay);
}

const struct role_def relay_role = {
	.name = "relay",
	.plugins = false,
	.start = start,
	.drain = drain,
	.stop = stop
};
