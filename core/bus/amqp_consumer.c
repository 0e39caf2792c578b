/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that receives; see amqp_consumer.h. Functions marked "loop" run on the loop's thread, the rest here. */
#include "bus/amqp_consumer.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "log/log.h"
#include "pack/frame.h"

#define TAG_SIZE 24
/* Messages that come one by one are handed over together, so long after the first. */
#define LINGER_MS 2
/* More makes no sink faster, and all of it comes again, as suspect, when the connection is lost. */
#define PREFETCH_MAX 20000
#define ID_SIZE 300		/* a message-id of 255 bytes and the number of an event in it */
#define PREFETCH_QUORUM 2000	/* what quorum queues allow */
/* Few, for they may have to wait for minutes, and what waits must leave room for others. */
#define PREFETCH_SIDE 50
/*
 * A broker ends a connection that nobody reads for half a minute, and then all
 * it has becomes suspect. So whoever is held up for so long ends consuming,
 * reads what is on its way, and goes on when there is room.
 */
#define HELD_UP_MAX_MS 5000
#define HELD_UP_LOOK_MS 1000
/* What is on its way then: buffers of the network, and a few hundred messages, as they travel. More goes back … */
#define ON_ITS_WAY_MAX ((size_t)32 * 1024 * 1024)
/* … and what is packed by whoever wants to fill our memory. */
#define UNPACKED_MAX (8 * ON_ITS_WAY_MAX)
#define UNPACKED_KEPT ((size_t)4 * 1024 * 1024)	/* memory that is kept for the next packed message */
/* Paused for longer, deliveries go back for others: no broker waits for acknowledgements for ever. */
#define PAUSE_MAX_MS 300000

static struct amqp_consumer *consumer_of(struct amqp_link *link)
{
	return (struct amqp_consumer *)((char *)link - offsetof(struct amqp_consumer, link));
}

/* --- loop --- */

void amqp_consumer_take(struct amqp_consumer *consumer, struct list *batches)
{
	pthread_mutex_lock(&consumer->mutex);
	list_move(batches, &consumer->done);
	pthread_mutex_unlock(&consumer->mutex);
}

void amqp_consumer_give(struct amqp_consumer *consumer, struct amqp_batch *batch)
{
	amqp_spares_put(&consumer->spares, batch);
}

void amqp_consumer_tell(struct amqp_consumer *consumer, const struct amqp_verdict *verdicts, size_t count)
{
	if (count == 0)
		return;
	pthread_mutex_lock(&consumer->mutex);
	if (consumer->verdict_count + count > consumer->verdict_cap) {
		consumer->verdict_cap = (consumer->verdict_count + count) * 2;
		consumer->verdicts =
			mem_realloc(consumer->verdicts, consumer->verdict_cap * sizeof(*consumer->verdicts));
	}
	memcpy(consumer->verdicts + consumer->verdict_count, verdicts, count * sizeof(*verdicts));
	consumer->verdict_count += count;
	pthread_mutex_unlock(&consumer->mutex);
	amqp_link_wake(&consumer->link);
}

static bool is_full(struct amqp_consumer *consumer)
{
	return atomic_load(&consumer->held) >= consumer->max_messages ||
	       atomic_load(&consumer->held_bytes) >= consumer->max_bytes;
}

void amqp_consumer_resolved(struct amqp_consumer *consumer, size_t count, size_t bytes)
{
	bool full = is_full(consumer);

	atomic_fetch_sub(&consumer->held, count);
	atomic_fetch_sub(&consumer->held_bytes, bytes);
	if (full && !is_full(consumer))
		amqp_link_wake(&consumer->link);
}

void amqp_consumer_pause(struct amqp_consumer *consumer, bool paused)
{
	pthread_mutex_lock(&consumer->mutex);
	consumer->paused = paused;
	pthread_mutex_unlock(&consumer->mutex);
	amqp_link_wake(&consumer->link);
}

void amqp_consumer_cancel(struct amqp_consumer *consumer)
{
	pthread_mutex_lock(&consumer->mutex);
	consumer->cancelled = true;
	consumer->paused = false;
	pthread_mutex_unlock(&consumer->mutex);
	amqp_link_wake(&consumer->link);
}

unsigned int amqp_consumer_settle(struct amqp_consumer *consumer)
{
	unsigned int number;

	pthread_mutex_lock(&consumer->mutex);
	number = ++consumer->settle_asked;
	pthread_mutex_unlock(&consumer->mutex);
	amqp_link_wake(&consumer->link);
	return number;
}

unsigned int amqp_consumer_settled(struct amqp_consumer *consumer)
{
	unsigned int number;

	pthread_mutex_lock(&consumer->mutex);
	number = consumer->settled;
	pthread_mutex_unlock(&consumer->mutex);
	return number;
}

/* --- what has come --- */

static void post_batch(struct amqp_consumer *consumer)
{
	struct amqp_batch *batch = consumer->batch;

	consumer->lingered = false;
	if (batch == NULL)
		return;
	amqp_batch_end(batch);
	pthread_mutex_lock(&consumer->mutex);
	list_append(&consumer->done, &batch->node);
	pthread_mutex_unlock(&consumer->mutex);
	consumer->batch = NULL;
	loop_queue_post(consumer->back, consumer);
}

/*
 * The body, unpacked where it is packed; as it came, and why, when that cannot be done.
 * How it begins tells, not content-encoding, which a letter that is sent again has not.
 */
static const struct buf *read_body(struct amqp_consumer *consumer, bool side, struct amqp_delivery *delivery)
{
	const struct buf *body = &consumer->reading[side].body;
	char *problem = consumer->reading[side].problem;
	struct error err;

	if (delivery->problem != NULL || !frame_is(body->data, body->len) || body->len > consumer->body_max)
		return body;
	buf_clear(&consumer->unpacked);
	if (frame_unpack(&consumer->unpacked, body->data, body->len, consumer->body_max, &err) == 0)
		return &consumer->unpacked;
	str_format(problem, sizeof(consumer->reading[side].problem), "%s", err.text);
	delivery->problem = problem;
	return body;
}

/* What body and headers of a message are to be taken for, and how large they are. */
static void complete(struct amqp_consumer *consumer, bool side, struct amqp_delivery *delivery)
{
	const struct buf *headers = &consumer->reading[side].headers, *body = read_body(consumer, side, delivery);
	char *problem = consumer->reading[side].problem;

	delivery->body = body->len > 0 ? body->data : "";
	delivery->len = body->len;
	delivery->headers = headers->len > 0 ? headers->data : NULL;
	delivery->bytes = body->len + headers->len;
	if (delivery->problem != NULL || body->len <= consumer->body_max)
		return;
	str_format(problem, sizeof(consumer->reading[side].problem),
		   "the message has %zu bytes: sinks take %zu at most", body->len, consumer->body_max);
	delivery->problem = problem;
}

static void add_delivery(struct amqp_consumer *consumer, bool side)
{
	struct amqp_delivery *delivery = &consumer->reading[side].delivery;

	complete(consumer, side, delivery);
	if (consumer->batch == NULL)
		consumer->batch = amqp_spares_get(&consumer->spares, atomic_load(&consumer->generation));
	amqp_batch_add(consumer->batch, delivery);
	if (consumer->unpacked.cap > UNPACKED_KEPT)
		buf_fini(&consumer->unpacked);
	atomic_fetch_add(&consumer->held, 1);
	atomic_fetch_add(&consumer->held_bytes, delivery->bytes);
	if (amqp_batch_full(consumer->batch))
		post_batch(consumer);
}

/* Whether an event of it may have been inserted before. */
static bool is_suspect(struct amqp_consumer *consumer, const struct amqp_delivery *delivery,
		       const amqp_basic_properties_t *properties)
{
	bool old = consumer->suspects_left > 0 ||
		   (delivery->created_ms != 0 && delivery->created_ms <= consumer->suspect_until_ms);

	if (consumer->suspects_left > 0)
		consumer->suspects_left--;
	return old || delivery->suspect || delivery->letter || amqp_header_int(properties, "x-sluice-redo") != 0;
}

static void begin_delivery(struct amqp_consumer *consumer, bool side, const amqp_basic_deliver_t *deliver)
{
	memset(&consumer->reading[side].delivery, 0, sizeof(consumer->reading[side].delivery));
	consumer->reading[side].open = true;
	consumer->reading[side].delivery.tag = deliver->delivery_tag;
	consumer->reading[side].delivery.side = side;
	consumer->reading[side].delivery.suspect = deliver->redelivered;
	buf_clear(&consumer->reading[side].body);
	buf_clear(&consumer->reading[side].headers);
}

/* How the event is named, if it is a letter that was sent again, or else the message. */
static void read_id(struct amqp_delivery *delivery, const amqp_basic_properties_t *properties, char id[ID_SIZE])
{
	const amqp_field_value_t *letter = amqp_header(properties, "x-sluice-id");
	amqp_bytes_t text = {.len = 0};

	if (letter != NULL && (letter->kind == AMQP_FIELD_KIND_UTF8 || letter->kind == AMQP_FIELD_KIND_BYTES))
		text = letter->value.bytes;
	delivery->letter = text.len > 0 && text.len < ID_SIZE;
	if (!delivery->letter && (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG))
		text = properties->message_id;
	if (text.len == 0 || text.len >= ID_SIZE)
		return;
	str_format(id, ID_SIZE, "%.*s", (int)text.len, (const char *)text.bytes);
	delivery->id = id;
}

static void read_header(struct amqp_consumer *consumer, bool side, const amqp_frame_t *frame, char id[ID_SIZE])
{
	const amqp_basic_properties_t *properties = frame->payload.properties.decoded;
	struct amqp_delivery *delivery = &consumer->reading[side].delivery;
	int64_t now = clock_wall_ms();

	consumer->reading[side].left = frame->payload.properties.body_size;
	delivery->events = (uint32_t)amqp_header_int(properties, "x-sluice-events");
	if ((properties->_flags & AMQP_BASIC_TIMESTAMP_FLAG) && properties->timestamp < INT64_MAX / 1000)
		delivery->created_ms = (int64_t)properties->timestamp * 1000;
	read_id(delivery, properties, id);
	amqp_headers_json(properties, &consumer->reading[side].headers);
	delivery->problem = amqp_problem(properties, consumer->reading[side].problem);
	if (!side) {
		delivery->suspect = is_suspect(consumer, delivery, properties);
		return;
	}
	if (consumer->resolver_ms == 0)
		consumer->resolver_ms = now;
	delivery->suspect = true;
	delivery->suspect_ms = amqp_header_int(properties, "x-sluice-suspect-ms");
	if (delivery->suspect_ms < consumer->resolver_ms || delivery->suspect_ms > now)
		delivery->suspect_ms = delivery->suspect_ms > now ? now : consumer->resolver_ms;
}

/* --- settling: what was told before a request was answered is known --- */

static void settled(struct amqp_consumer *consumer)
{
	/* What came before the answer is told before it. */
	post_batch(consumer);
	pthread_mutex_lock(&consumer->mutex);
	consumer->settled = consumer->settling;
	pthread_mutex_unlock(&consumer->mutex);
	loop_queue_post(consumer->back, consumer);
}

static uint16_t prefetch(const struct amqp_consumer *consumer, bool side)
{
	size_t most = consumer->link.url.quorum ? PREFETCH_QUORUM : PREFETCH_MAX;

	if (side)
		most = PREFETCH_SIDE;
	return (uint16_t)(consumer->max_messages < most ? consumer->max_messages : most);
}

size_t amqp_consumer_prefetch(const struct amqp_consumer *consumer)
{
	return prefetch(consumer, false);
}

/* Names are not used twice: what is acknowledged late must not give the next consumer more room. */
static amqp_bytes_t consumer_tag(const struct amqp_consumer *consumer, char tag[TAG_SIZE])
{
	str_format(tag, TAG_SIZE, "sluice-%u", consumer->consumed);
	return amqp_cstring_bytes(tag);
}

static int ask_to_end(struct amqp_consumer *consumer, struct error *err)
{
	struct amqp_conn *conn = &consumer->link.conn;
	char tag[TAG_SIZE];
	amqp_basic_cancel_t cancel = {.consumer_tag = consumer_tag(consumer, tag)};

	consumer->consuming = ENDING;
	return amqp_conn_status(conn, "ending the consumption",
				amqp_send_method(conn->state, AMQP_MAIN, AMQP_BASIC_CANCEL_METHOD, &cancel), err);
}

static int ask_to_begin(struct amqp_consumer *consumer, struct error *err)
{
	struct amqp_conn *conn = &consumer->link.conn;
	char tag[TAG_SIZE];
	amqp_basic_consume_t begin = {.queue = amqp_cstring_bytes(consumer->queue.name)};

	consumer->consumed++;
	begin.consumer_tag = consumer_tag(consumer, tag);
	consumer->consuming = BEGINNING;
	return amqp_conn_status(conn, "consuming again",
				amqp_send_method(conn->state, AMQP_MAIN, AMQP_BASIC_CONSUME_METHOD, &begin), err);
}

/* Since when there has been no use for more. */
static void note_held_up(struct amqp_consumer *consumer, bool paused)
{
	if (!paused && !is_full(consumer))
		consumer->held_up_ms = 0;
	else if (consumer->held_up_ms == 0)
		consumer->held_up_ms = clock_mono_ms();
}

static bool held_up_for(const struct amqp_consumer *consumer, int64_t ms)
{
	return consumer->held_up_ms != 0 && clock_mono_ms() - consumer->held_up_ms > ms;
}

/* Consumes while there is room for what comes, and not any more when nothing is to come. */
static int keep_consuming(struct amqp_consumer *consumer, struct error *err)
{
	bool cancelled;

	pthread_mutex_lock(&consumer->mutex);
	cancelled = consumer->cancelled;
	pthread_mutex_unlock(&consumer->mutex);
	if (consumer->consuming == CONSUMING && (cancelled || held_up_for(consumer, HELD_UP_MAX_MS)))
		return ask_to_end(consumer, err);
	if (consumer->consuming == ENDED && !cancelled && consumer->held_up_ms == 0)
		return ask_to_begin(consumer, err);
	return 0;
}

/* Whether a settle is asked for that nothing holds up. */
static bool may_settle(struct amqp_consumer *consumer, unsigned int *asked_r)
{
	pthread_mutex_lock(&consumer->mutex);
	*asked_r = consumer->settle_asked;
	pthread_mutex_unlock(&consumer->mutex);
	return *asked_r != consumer->settling && consumer->answers == 0 &&
	       (consumer->consuming == CONSUMING || consumer->consuming == ENDED);
}

/* Asks both channels for something harmless; they answer in order. */
static int ask_to_settle(struct amqp_consumer *consumer, struct error *err)
{
	struct amqp_conn *conn = &consumer->link.conn;
	unsigned int asked;

	if (!may_settle(consumer, &asked))
		return 0;
	consumer->settling = asked;
	for (int side = 0; side < 2; side++) {
		amqp_basic_qos_t qos = {.prefetch_count = prefetch(consumer, side)};

		if (amqp_conn_status(conn, "settling",
				     amqp_send_method(conn->state, side ? AMQP_SIDE : AMQP_MAIN, AMQP_BASIC_QOS_METHOD,
						      &qos),
				     err) < 0)
			return -1;
		consumer->answers++;
	}
	return 0;
}

/* Without a connection nothing is under way: what was not acknowledged comes again. */
static void settle_without_connection(struct amqp_consumer *consumer)
{
	unsigned int asked, before;

	pthread_mutex_lock(&consumer->mutex);
	asked = consumer->settle_asked;
	before = consumer->settled;
	pthread_mutex_unlock(&consumer->mutex);
	consumer->answers = 0;
	consumer->settling = asked;
	if (asked != before)
		settled(consumer);
}

/* --- frames --- */

static int nack(struct amqp_consumer *consumer, bool side, uint64_t tag, struct error *err)
{
	return amqp_conn_status(&consumer->link.conn, "giving back",
				amqp_basic_nack(consumer->link.conn.state, side ? AMQP_SIDE : AMQP_MAIN, tag, 0, 1), err);
}

static int on_method(struct amqp_consumer *consumer, bool side, const amqp_method_t *method, struct error *err)
{
	const amqp_channel_close_t *close;

	switch (method->id) {
	case AMQP_BASIC_DELIVER_METHOD:
		begin_delivery(consumer, side, method->decoded);
		return 0;
	case AMQP_BASIC_QOS_OK_METHOD:
		if (consumer->answers > 0 && --consumer->answers == 0)
			settled(consumer);
		return 0;
	case AMQP_BASIC_CANCEL_OK_METHOD:
		consumer->consuming = ENDED;
		return 0;
	case AMQP_BASIC_CONSUME_OK_METHOD:
		consumer->consuming = CONSUMING;
		return 0;
	case AMQP_BASIC_CANCEL_METHOD:
		return error_set(err, ERR_IO, "the broker cancelled the consumer: the queue was deleted, or moved");
	case AMQP_CHANNEL_CLOSE_METHOD:
		close = method->decoded;
		return error_set(err, ERR_IO, "the broker closed the channel: %d %.*s", close->reply_code,
				 (int)(close->reply_text.len < 400 ? close->reply_text.len : 400),
				 (const char *)close->reply_text.bytes);
	default:
		return error_set(err, ERR_IO, "unexpected method 0x%08X", method->id);
	}
}

/* Whether what is not consumed any more is too much to be kept. The suspects' own channel sends few. */
static bool is_overfull(struct amqp_consumer *consumer, bool side)
{
	return !side && (atomic_load(&consumer->held) >= 2 * consumer->max_messages ||
			 consumer->surplus >= ON_ITS_WAY_MAX ||
			 atomic_load(&consumer->held_bytes) >= consumer->max_bytes + UNPACKED_MAX);
}

/* Counts what comes while there is no room. */
static void note_surplus(struct amqp_consumer *consumer, bool side)
{
	if (side)
		return;
	if (atomic_load(&consumer->held_bytes) < consumer->max_bytes)
		consumer->surplus = 0;
	else
		consumer->surplus += consumer->reading[side].body.len;
}

/* A message is complete. While paused it may come because an answer was waited for: then it goes back. */
static int end_delivery(struct amqp_consumer *consumer, bool side, bool paused, struct error *err)
{
	bool back;

	note_surplus(consumer, side);
	back = (paused && consumer->answers > 0) || is_overfull(consumer, side);
	consumer->reading[side].open = false;
	if (back)
		return nack(consumer, side, consumer->reading[side].delivery.tag, err);
	add_delivery(consumer, side);
	return 0;
}

static int on_frame(struct amqp_consumer *consumer, const amqp_frame_t *frame, char id[2][ID_SIZE], bool paused,
		    struct error *err)
{
	bool side = frame->channel == AMQP_SIDE, content = frame->frame_type != AMQP_FRAME_METHOD;
	const amqp_bytes_t *piece = &frame->payload.body_fragment;

	if (content && !consumer->reading[side].open)
		return error_set(err, ERR_IO, "content without a delivery");
	if (frame->frame_type == AMQP_FRAME_METHOD && on_method(consumer, side, &frame->payload.method, err) < 0)
		return -1;
	if (frame->frame_type == AMQP_FRAME_HEADER)
		read_header(consumer, side, frame, id[side]);
	if (frame->frame_type == AMQP_FRAME_BODY) {
		if (piece->len > consumer->reading[side].left)
			return error_set(err, ERR_IO, "more content than announced");
		buf_add(&consumer->reading[side].body, piece->bytes, piece->len);
		consumer->reading[side].left -= piece->len;
	}
	if (content && consumer->reading[side].left == 0 && end_delivery(consumer, side, paused, err) < 0)
		return -1;
	if (!consumer->reading[side].open)
		amqp_conn_release(&consumer->link.conn, side ? AMQP_SIDE : AMQP_MAIN);
	return 0;
}

/* Not while there is no room, unless what is on its way has to be read to the end. */
static bool may_read(struct amqp_consumer *consumer, bool paused)
{
	return !(paused || is_full(consumer)) || consumer->answers > 0 || consumer->consuming != CONSUMING;
}

/* Reads what is there, as far as there is room for it. 1: there may be more. */
static int read_frames(struct amqp_consumer *consumer, bool paused, struct error *err)
{
	static _Thread_local char id[2][ID_SIZE];
	size_t budget = 4 * AMQP_BATCH_MESSAGES;
	amqp_frame_t frame;
	int rc;

	while (budget-- > 0) {
		if (!may_read(consumer, paused))
			return 0;
		rc = amqp_conn_frame(&consumer->link.conn, &frame, err);
		if (rc > 0)
			rc = on_frame(consumer, &frame, id, paused, err) < 0 ? -1 : 1;
		if (rc <= 0)
			return rc;
	}
	return 1;
}

/* --- verdicts --- */

static int tell(struct amqp_consumer *consumer, struct error *err)
{
	struct amqp_conn *conn = &consumer->link.conn;
	struct amqp_verdict *verdicts = consumer->telling;
	size_t count, cap = consumer->telling_cap;
	int rc = 0;

	pthread_mutex_lock(&consumer->mutex);
	consumer->telling = consumer->verdicts;
	consumer->telling_cap = consumer->verdict_cap;
	count = consumer->verdict_count;
	consumer->verdicts = verdicts;
	consumer->verdict_cap = cap;
	consumer->verdict_count = 0;
	pthread_mutex_unlock(&consumer->mutex);
	for (size_t i = 0; i < count && rc == 0; i++) {
		const struct amqp_verdict *verdict = &consumer->telling[i];

		if (verdict->generation != atomic_load(&consumer->generation) || conn->state == NULL)
			continue;
		if (verdict->again)
			rc = nack(consumer, verdict->side, verdict->tag, err);
		else
			rc = amqp_conn_status(conn, "acknowledging",
					      amqp_basic_ack(conn->state, verdict->side ? AMQP_SIDE : AMQP_MAIN,
							     verdict->tag, verdict->multiple),
					      err);
	}
	return rc;
}

/* --- connecting --- */

static int consume(struct amqp_consumer *consumer, bool side, struct error *err)
{
	struct amqp_conn *conn = &consumer->link.conn;
	amqp_channel_t channel = side ? AMQP_SIDE : AMQP_MAIN;
	char name[280], tag[TAG_SIZE];

	str_format(name, sizeof(name), "%s%s", side ? AMQP_SUSPECT_PREFIX : "", consumer->queue.name);
	amqp_basic_qos(conn->state, channel, 0, prefetch(consumer, side), 0);
	if (amqp_conn_check(conn, "setting the prefetch", amqp_get_rpc_reply(conn->state), err) < 0)
		return -1;
	amqp_basic_consume(conn->state, channel, amqp_cstring_bytes(name), consumer_tag(consumer, tag), 0, 0, 0,
			   amqp_empty_table);
	return amqp_conn_check(conn, "consuming", amqp_get_rpc_reply(conn->state), err);
}

static int setup(struct amqp_link *link, struct error *err)
{
	struct amqp_consumer *consumer = consumer_of(link);
	uint32_t waiting = 0;

	if (amqp_declare(&link->conn, &consumer->queue, &waiting, err) < 0)
		return -1;
	amqp_channel_open(link->conn.state, AMQP_SIDE);
	if (amqp_conn_check(&link->conn, "opening a channel", amqp_get_rpc_reply(link->conn.state), err) < 0)
		return -1;
	consumer->suspects_left = 0;
	consumer->suspect_until_ms = 0;
	if (consumer->distrust) {
		consumer->suspects_left = waiting;
		/* Times of messages have whole seconds. */
		consumer->suspect_until_ms = clock_wall_ms() + 1000;
	}
	consumer->resolver_ms = 0;
	consumer->consuming = CONSUMING;
	consumer->consumed = 0;
	consumer->held_up_ms = 0;
	consumer->reading[0].open = consumer->reading[1].open = false;
	consumer->answers = 0;
	if (consume(consumer, false, err) < 0 || consume(consumer, true, err) < 0)
		return -1;
	consumer->distrust = false;
	return 0;
}

/* The loop learns by the generation that nothing it holds is its own any more. */
static void forget_connection(struct amqp_consumer *consumer)
{
	atomic_fetch_add(&consumer->generation, 1);
	settle_without_connection(consumer);
	loop_queue_post(consumer->back, consumer);
}

static void lost(struct amqp_consumer *consumer, const struct error *err)
{
	post_batch(consumer);
	amqp_link_lost(&consumer->link, err);
	/* Whether the broker knows what it has delivered, it may have forgotten when it died. */
	consumer->distrust = true;
	atomic_fetch_add(&consumer->lost, 1);
	forget_connection(consumer);
}

/* Returns whether nothing more is to be handed over; *settling_r: somebody waits for a settle. */
static bool is_paused(struct amqp_consumer *consumer, bool *settling_r)
{
	bool paused;

	pthread_mutex_lock(&consumer->mutex);
	paused = consumer->paused;
	*settling_r = consumer->settle_asked != consumer->settled;
	pthread_mutex_unlock(&consumer->mutex);
	return paused;
}

static void drop_connection(struct amqp_consumer *consumer)
{
	if (consumer->link.conn.state != NULL) {
		log_info("paused for long, the messages go back to the broker queue=%s", consumer->queue.name);
		post_batch(consumer);
		amqp_conn_close(&consumer->link.conn);
		forget_connection(consumer);
	}
	amqp_conn_wait(&consumer->link.conn, 0, consumer->link.wake, 1000);
}

/* One turn with a connection. */
static void turn(struct amqp_consumer *consumer, bool paused)
{
	struct amqp_conn *conn = &consumer->link.conn;
	unsigned int asked;
	struct error err;
	short ready;
	bool deaf;
	int rc;

	if (tell(consumer, &err) < 0 || keep_consuming(consumer, &err) < 0 || ask_to_settle(consumer, &err) < 0) {
		lost(consumer, &err);
		return;
	}
	if (may_read(consumer, paused))
		rc = read_frames(consumer, paused, &err);
	else
		rc = amqp_conn_beat(conn, &err);
	if (rc < 0) {
		lost(consumer, &err);
		return;
	}
	/* What has just been read may be the answer that the next question waits for. */
	if (rc > 0 || may_settle(consumer, &asked))
		return;
	if (consumer->batch != NULL && !consumer->lingered && !paused && !is_full(consumer)) {
		consumer->lingered = true;
		amqp_conn_wait(conn, 0, consumer->link.wake, LINGER_MS);
		return;
	}
	post_batch(consumer);
	deaf = !may_read(consumer, paused);
	ready = amqp_conn_wait(conn, deaf ? 0 : POLLIN, consumer->link.wake,
			       deaf ? HELD_UP_LOOK_MS : amqp_conn_pause_ms(conn));
	amqp_spares_rest(&consumer->spares);
	if (deaf && (ready & (POLLERR | POLLHUP))) {		/* nobody would read of it */
		error_set(&err, ERR_IO, "the connection ended");
		lost(consumer, &err);
	}
}

static void body(struct amqp_link *link)
{
	struct amqp_consumer *consumer = consumer_of(link);

	while (!atomic_load(&link->stop)) {
		bool settling, paused = is_paused(consumer, &settling);

		note_held_up(consumer, paused);
		if (paused && !settling && held_up_for(consumer, PAUSE_MAX_MS)) {
			drop_connection(consumer);
		} else if (amqp_link_connect(link, setup)) {
			turn(consumer, paused);
		} else {
			settle_without_connection(consumer);
			amqp_conn_wait(&link->conn, 0, link->wake, amqp_link_patience_ms(link));
		}
	}
	/* What the loop has told last. Without a connection only a consumer that never had one knows where it stands. */
	consumer->ended_well = !consumer->distrust && consumer->suspects_left == 0 &&
			       (link->conn.state != NULL ? tell(consumer, NULL) == 0
							 : atomic_load(&consumer->generation) == 0);
}

/* --- life; loop --- */

int amqp_consumer_init(struct amqp_consumer *consumer, struct loop *loop, const char *url, const struct bus_queue *queue,
		       size_t max_messages, size_t max_bytes, size_t body_max, bool distrust,
		       loop_item_fn *on_news, void *user, struct error *err)
{
	char name[200];

	str_format(name, sizeof(name), "sink %s", queue->name);
	if (amqp_link_init(&consumer->link, url, name, err) < 0)
		return -1;
	consumer->queue = *queue;
	consumer->max_messages = max_messages;
	consumer->max_bytes = max_bytes;
	consumer->body_max = body_max;
	consumer->distrust = distrust;
	pthread_mutex_init(&consumer->mutex, NULL);
	list_init(&consumer->done);
	amqp_spares_init(&consumer->spares);
	buf_init(&consumer->reading[0].body);
	buf_init(&consumer->reading[0].headers);
	buf_init(&consumer->reading[1].body);
	buf_init(&consumer->reading[1].headers);
	buf_init(&consumer->unpacked);
	consumer->back = loop_queue_new(loop, on_news, user, false);
	amqp_link_start(&consumer->link, loop, body);
	return 0;
}

void amqp_consumer_fini(struct amqp_consumer *consumer)
{
	amqp_link_fini(&consumer->link);
	loop_queue_free(&consumer->back);
	amqp_batch_free(consumer->batch);
	amqp_batches_free(&consumer->done);
	amqp_spares_fini(&consumer->spares);
	buf_fini(&consumer->reading[0].body);
	buf_fini(&consumer->reading[0].headers);
	buf_fini(&consumer->reading[1].body);
	buf_fini(&consumer->reading[1].headers);
	buf_fini(&consumer->unpacked);
	mem_release(consumer->verdicts);
	mem_release(consumer->telling);
	pthread_mutex_destroy(&consumer->mutex);
}
