/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lane's cycle: a turn in the store (delete what arrived, read and note what
 * is next), publish it, wait until each message has its end, and again. Loop
 * thread.
 */
#include <string.h>

#include "base/clock.h"
#include "conf/model.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "relay/internal.h"

#define TURN_ROWS 1000
#define TURN_BYTES ((size_t)4 << 20)
#define REST_MS 250
#define IDLE_CAP_MS 1500		/* this node's commits are seen sooner: relay.c */
#define AGAIN_MS 500		/* before a message is published once more, or letters are written again */
#define LOG_MS 10000

static void step(struct lane *lane);

static void on_timer(void *user)
{
	step(user);
}

static void go_on_in(struct lane *lane, int64_t delay_ms)
{
	loop_timer_start(lane->timer, delay_ms > 0 ? delay_ms : 0, 0);
}

static void rest(struct lane *lane, int64_t delay_ms)
{
	lane->busy = false;
	go_on_in(lane, delay_ms);
	relay_lane_rests(lane->relay);
}

/* --- the rows' end --- */

static void clear_rows(struct lane *lane)
{
	lane->rows = NULL;
	lane->row_count = 0;
	arena_reset(lane->arena);
}

static void on_deleted(void *user, const struct error *err)
{
	struct lane *lane = user;

	if (err->code != ERR_NONE) {
		relay_store_trouble(lane->relay, "deleting outbox rows", err);
		rest(lane, backoff_next(&lane->trouble));
		return;
	}
	lane->sent_count = 0;
	rest(lane, 0);
}

static void add_redo(struct lane *lane, const int64_t *ids, size_t count)
{
	if (count == 0)
		return;
	lane->redo = mem_realloc(lane->redo, (lane->redo_count + count) * sizeof(*lane->redo));
	memcpy(lane->redo + lane->redo_count, ids, count * sizeof(*ids));
	lane->redo_count += count;
}

/*
 * Every parcel has its end: what arrived is deleted with the next turn. Of
 * what did not, a part may be there: should the leases go on, it is redo.
 */
static void rows_ended(struct lane *lane)
{
	size_t kept = lane->sent_count;
	bool fresh = lane->redoing == 0;

	lane->sent = mem_realloc(lane->sent, (kept + lane->row_count + 1) * sizeof(*lane->sent));
	for (size_t i = 0; i < lane->row_count; i++)
		if (!lane->kept[i])
			lane->sent[lane->sent_count++] = lane->rows[i].id;
		else if (fresh)
			add_redo(lane, &lane->rows[i].id, 1);
	if (!fresh && lane->sent_count == kept + lane->row_count) {
		/* Others may have been added meanwhile. */
		lane->redo_count -= lane->redoing;
		memmove(lane->redo, lane->redo + lane->redoing, lane->redo_count * sizeof(*lane->redo));
	}
	lane->redoing = 0;
	clear_rows(lane);
	if (lane->full || lane->sent_count == kept)
		rest(lane, 0);
	else
		rest(lane, lane->turned_ms + lane->relay->conf->relay_age_ms - loop_now_ms(lane->relay->loop));
}

static void parcel_ended(struct parcel *parcel)
{
	struct lane *lane = parcel->lane;

	if (--lane->open == 0)
		rows_ended(lane);
}

static void keep_rows(struct parcel *parcel)
{
	for (size_t i = parcel->from; i < parcel->to; i++)
		parcel->lane->kept[i] = true;
}

/* --- publishing --- */

static void publish(struct lane *lane, struct parcel *parcel)
{
	metric_add(METRIC_RELAY_PUBLISHED, 1);
	if (parcel->message.redo)
		metric_add(METRIC_RELAY_REDO, 1);
	bus_publish(lane->relay->publisher, &parcel->message, 1);
}

static void on_made(struct lane *lane, struct parcel *parcel)
{
	lane->open++;
	publish(lane, parcel);
}

static void on_letters(void *user, const struct error *err);

static void on_again(void *user)
{
	struct lane *lane = user;
	struct list waiting;

	list_init(&waiting);
	list_move(&waiting, &lane->again);
	while (!list_empty(&waiting)) {
		struct parcel *parcel = list_entry(waiting.next, struct parcel, node);

		list_remove(&parcel->node);
		if (parcel->letters != NULL)
			store_dead_letter(lane->relay->store, parcel->letters, parcel->letter_count, on_letters, parcel);
		else
			publish(lane, parcel);
	}
}

static void later(struct parcel *parcel)
{
	struct lane *lane = parcel->lane;

	list_append(&lane->again, &parcel->node);
	if (!loop_timer_active(lane->again_timer))
		loop_timer_start(lane->again_timer, AGAIN_MS, 0);
}

static void on_letters(void *user, const struct error *err)
{
	struct parcel *parcel = user;

	if (err->code != ERR_NONE) {
		relay_store_trouble(parcel->lane->relay, "setting unroutable events aside", err);
		later(parcel);
		return;
	}
	metric_add(METRIC_RELAY_DEAD, parcel->letter_count);
	parcel_ended(parcel);
}

static void returned(struct parcel *parcel, const char *reason)
{
	struct relay *relay = parcel->lane->relay;
	const struct bus_outgoing *message = &parcel->message;

	if (relay_drops(relay, message->exchange, message->key)) {
		metric_add(METRIC_RELAY_DROPPED, message->events);
		parcel_ended(parcel);
		return;
	}
	if (log_limited(&relay->dead_log_state, LOG_MS))
		log_warning("no queue takes these events, they become dead letters exchange=\"%s\" key=\"%s\" events=%u: %s",
			    message->exchange, message->key, message->events, reason != NULL ? reason : "returned");
	compose_letters(parcel, reason);
	store_dead_letter(relay->store, parcel->letters, parcel->letter_count, on_letters, parcel);
}

void lane_published(struct parcel *parcel, enum bus_fate fate, const char *reason)
{
	struct relay *relay = parcel->lane->relay;

	switch (fate) {
	case BUS_CONFIRMED:
		metric_add(METRIC_RELAY_MESSAGES, 1);
		metric_add(METRIC_RELAY_EVENTS, parcel->message.events);
		parcel_ended(parcel);
		return;
	case BUS_RETURNED:
		returned(parcel, reason);
		return;
	case BUS_UNSENT:
		break;
	case BUS_NACKED:
	case BUS_UNCLEAR:
	default:
		/* It may be there, in one queue or in all. */
		parcel->message.redo = true;
		if (relay_may_send(relay)) {
			later(parcel);
			return;
		}
		break;
	}
	/* The rows are noted: whoever has the shard next sends them as redo. */
	keep_rows(parcel);
	parcel_ended(parcel);
}

/* --- reading --- */

/* But for the payloads: only compose reads them, and only now. */
static void copy_rows(struct lane *lane, const struct store_outbox_row *rows, size_t count)
{
	lane->rows = arena_alloc(lane->arena, (count + 1) * sizeof(*lane->rows));
	lane->kept = arena_alloc(lane->arena, (count + 1) * sizeof(*lane->kept));
	lane->row_count = count;
	for (size_t i = 0; i < count; i++) {
		lane->rows[i] = rows[i];
		lane->rows[i].queue = arena_strdup(lane->arena, rows[i].queue);
		if (rows[i].headers != NULL)
			lane->rows[i].headers = arena_strdup(lane->arena, rows[i].headers);
	}
}

static void send(struct lane *lane, const struct store_outbox_row *rows, size_t count)
{
	copy_rows(lane, rows, count);
	/* One more, so that the lane does not end while it is being filled. */
	lane->open = 1;
	compose(lane, lane->redoing > 0, on_made);
	if (--lane->open == 0)
		rows_ended(lane);
}

static void on_redo_rows(void *user, const struct store_outbox_row *rows, size_t count, const struct error *err)
{
	struct lane *lane = user;

	if (err->code != ERR_NONE) {
		lane->redoing = 0;
		relay_store_trouble(lane->relay, "reading outbox rows", err);
		rest(lane, backoff_next(&lane->trouble));
		return;
	}
	backoff_reset(&lane->trouble);
	if (count > 0)
		log_info("sending again what may have arrived rows=%zu", count);
	lane->full = true;
	send(lane, rows, count);
}

static bool has_shard(const struct store_shard *held, size_t count, int shard)
{
	for (size_t i = 0; i < count; i++)
		if (held[i].shard == shard)
			return true;
	return false;
}

static void drop_lost(struct lane *lane, const struct store_shard *held, size_t count)
{
	for (size_t i = 0; i < lane->asked_count; i++)
		if (!has_shard(held, count, lane->asked[i].shard) && lane_remove(lane, &lane->asked[i]))
			log_warning("a shard of the outbox has passed to another relay shard=%d", lane->asked[i].shard);
}

static void on_turn(void *user, const struct store_shard *held, size_t held_count,
		    const struct store_outbox_row *rows, size_t count, const struct error *err)
{
	struct lane *lane = user;
	size_t bytes = 0;

	if (err->code != ERR_NONE) {
		relay_store_trouble(lane->relay, "reading the outbox", err);
		rest(lane, backoff_next(&lane->trouble));
		return;
	}
	backoff_reset(&lane->trouble);
	lane->sent_count = 0;
	drop_lost(lane, held, held_count);
	if (count == 0) {
		lane->full = false;
		rest(lane, lane->shard_count > 0 ? backoff_next(&lane->idle) : REST_MS);
		return;
	}
	backoff_reset(&lane->idle);
	for (size_t i = 0; i < count; i++)
		bytes += rows[i].bytes;
	lane->full = count >= TURN_ROWS || bytes >= TURN_BYTES;
	send(lane, rows, count);
}

static bool may_read(const struct lane *lane)
{
	struct relay *relay = lane->relay;

	return !relay->role->draining && relay_may_send(relay) && relay_broker_ready(relay);
}

static void read_redo(struct lane *lane)
{
	lane->redoing = lane->redo_count < TURN_ROWS ? lane->redo_count : TURN_ROWS;
	store_outbox_get(lane->relay->store, lane->redo, lane->redoing, on_redo_rows, lane);
}

static void turn(struct lane *lane)
{
	struct store_turn request = {.shards = lane->asked, .sent = lane->sent, .sent_count = lane->sent_count,
				     .max_rows = TURN_ROWS, .max_bytes = TURN_BYTES};

	/* Each shard is first in its turn, so that none starves where rows are read shard by shard. */
	lane->rotation++;
	/* While shards leave nothing is begun: they go when all lanes are at rest. */
	if (may_read(lane) && lane->relay->leaving_count == 0)
		for (size_t i = 0; i < lane->shard_count; i++)
			lane->asked[request.shard_count++] = lane->shards[(i + lane->rotation) % lane->shard_count];
	lane->asked_count = request.shard_count;
	if (request.shard_count == 0 && request.sent_count == 0) {
		rest(lane, REST_MS);
		return;
	}
	lane->turned_ms = loop_now_ms(lane->relay->loop);
	store_turn(lane->relay->store, &request, on_turn, lane);
}

static void step(struct lane *lane)
{
	struct relay *relay = lane->relay;

	if (lane->busy)
		return;
	loop_timer_stop(lane->timer);
	lane->busy = true;
	if (lane->shard_count == 0 && relay->leaving_count == 0)
		lane->redo_count = 0;		/* somebody else's now */
	/* Before a turn, which would note other rows instead. */
	if (lane->redo_count > 0 && lane->sent_count > 0)
		store_outbox_delete(relay->store, lane->sent, lane->sent_count, on_deleted, lane);
	else if (lane->redo_count > 0 && may_read(lane))
		read_redo(lane);
	else if (lane->redo_count > 0)
		rest(lane, REST_MS);
	else
		turn(lane);
}

/* --- shards --- */

void lane_add(struct lane *lane, const struct store_shard *shard)
{
	lane->shards[lane->shard_count] = *shard;
	lane->shards[lane->shard_count].noted = NULL;
	lane->shards[lane->shard_count++].noted_count = 0;
	add_redo(lane, shard->noted, shard->noted_count);
}

bool lane_remove(struct lane *lane, const struct store_shard *shard)
{
	for (size_t i = 0; i < lane->shard_count; i++)
		if (lane->shards[i].shard == shard->shard && lane->shards[i].token == shard->token) {
			lane->shards[i] = lane->shards[--lane->shard_count];
			return true;
		}
	return false;
}

void lane_wake(struct lane *lane)
{
	if (!lane->busy)
		go_on_in(lane, 0);
}

bool lane_at_rest(const struct lane *lane)
{
	return !lane->busy && lane->sent_count == 0;
}

void lane_init(struct lane *lane, struct relay *relay)
{
	int64_t first = relay->conf->relay_age_ms > 10 ? relay->conf->relay_age_ms : 10;

	lane->relay = relay;
	lane->arena = arena_new();
	list_init(&lane->again);
	backoff_init(&lane->idle, first, first > IDLE_CAP_MS ? first : IDLE_CAP_MS);
	backoff_init(&lane->trouble, 100, 5000);
	lane->timer = loop_timer_new(relay->loop, on_timer, lane);
	lane->again_timer = loop_timer_new(relay->loop, on_again, lane);
}

void lane_fini(struct lane *lane)
{
	loop_timer_free(&lane->timer);
	loop_timer_free(&lane->again_timer);
	arena_free(&lane->arena);
	mem_free(&lane->redo);
	mem_free(&lane->sent);
}
