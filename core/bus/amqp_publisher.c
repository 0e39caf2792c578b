/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing with confirms, on a thread and a connection of its own. Messages
 * pass through three lists: given (the loop adds, the mutex guards), waiting
 * to be written, and written but not confirmed (both the thread's). Answers
 * come back to the loop in a list.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "bus/amqp.h"
#include "bus/driver.h"
#include "log/log.h"

#define WINDOW 1000
/* What a writable socket surely takes; more may block, which is bearable but not wanted. */
#define WRITE_BYTES 16384
#define LOG_MS 10000

struct message {
	struct list node;
	struct bus_outgoing out;	/* its texts are in bytes */
	struct bus_header headers[BUS_HEADERS];
	uint64_t seq;
	enum bus_fate fate;		/* BUS_CONFIRMED until something else is known */
	char reason[200];
	char bytes[];
};

struct amqp_publisher {
	struct bus_publisher base;
	struct amqp_link link;
	struct loop_queue *back;
	size_t window;
	struct bus_queue *queues;	/* in link.arena */
	size_t queue_count;
	pthread_mutex_t mutex;		/* guards given and done */
	struct list given, done;
	bool busy, closed;		/* inside a callback; closed there */

	/* the thread's */
	struct list waiting, written, answered;
	size_t written_count;
	uint64_t seq;
	struct {			/* a returned message being read */
		bool open;
		char exchange[256], key[256], reason[200];
		uint64_t left;
	} returning;
	int64_t blocked_log;
	bool was_blocked;
	atomic_bool connected, blocked;
};

static struct amqp_publisher *publisher_of(struct amqp_link *link)
{
	return (struct amqp_publisher *)((char *)link - offsetof(struct amqp_publisher, link));
}

/* --- the loop's side --- */

static char *keep(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = *at;

	memcpy(copy, text, size);
	*at += size;
	return copy;
}

static struct message *message_new(const struct bus_outgoing *out)
{
	size_t size = strlen(out->exchange) + strlen(out->key) + out->len + strlen(out->id) + 4, i;
	struct message *message;
	char *at;

	assert(out->header_count <= BUS_HEADERS);
	for (i = 0; i < out->header_count; i++)
		size += strlen(out->headers[i].name) + strlen(out->headers[i].value) + 2;
	if (out->more != NULL)
		size += strlen(out->more) + 1;
	message = mem_alloc(sizeof(*message) + size);
	at = message->bytes;
	message->out = *out;
	message->out.exchange = keep(&at, out->exchange);
	message->out.key = keep(&at, out->key);
	message->out.id = keep(&at, out->id);
	for (i = 0; i < out->header_count; i++)
		message->headers[i] = (struct bus_header){keep(&at, out->headers[i].name),
							  keep(&at, out->headers[i].value)};
	message->out.headers = message->headers;
	if (out->more != NULL)
		message->out.more = keep(&at, out->more);
	memcpy(at, out->body, out->len);
	message->out.body = at;
	return message;
}

static void free_all(struct list *messages)
{
	struct list *pos, *following;

	list_each_safe (pos, following, messages)
		mem_release(list_entry(pos, struct message, node));
	list_init(messages);
}

static void destroy(struct amqp_publisher *publisher)
{
	pthread_mutex_destroy(&publisher->mutex);
	mem_release(publisher);
}

static void count_fate(struct bus_publisher_stats *stats, enum bus_fate fate)
{
	stats->waiting--;
	stats->confirmed += fate == BUS_CONFIRMED;
	stats->returned += fate == BUS_RETURNED;
	stats->nacked += fate == BUS_NACKED;
	stats->unclear += fate == BUS_UNCLEAR;
}

/* A callback may close the publisher, which is then kept until this is done. */
static void on_done(void *user, void *item)
{
	struct amqp_publisher *publisher = user;
	struct list done;

	(void)item;
	list_init(&done);
	pthread_mutex_lock(&publisher->mutex);
	list_move(&done, &publisher->done);
	pthread_mutex_unlock(&publisher->mutex);
	publisher->busy = true;
	while (!list_empty(&done) && !publisher->closed) {
		struct message *message = list_entry(done.next, struct message, node);

		list_remove(&message->node);
		count_fate(&publisher->base.stats, message->fate);
		publisher->base.published(publisher->base.user, message->out.user, message->fate,
					  message->reason[0] != '\0' ? message->reason : NULL);
		mem_release(message);
	}
	free_all(&done);
	publisher->busy = false;
	if (publisher->closed)
		destroy(publisher);
}

static void amqp_publish(struct bus_publisher *base, const struct bus_outgoing *messages, size_t count)
{
	struct amqp_publisher *publisher = (struct amqp_publisher *)base;
	struct list fresh;
	size_t i;

	list_init(&fresh);
	for (i = 0; i < count; i++)
		list_append(&fresh, &message_new(&messages[i])->node);
	base->stats.waiting += count;
	pthread_mutex_lock(&publisher->mutex);
	list_move(&publisher->given, &fresh);
	pthread_mutex_unlock(&publisher->mutex);
	amqp_link_wake(&publisher->link);
}

/* --- the thread: answers --- */

static void answer(struct amqp_publisher *publisher, struct message *message, enum bus_fate fate)
{
	list_remove(&message->node);
	if (message->seq != 0)
		publisher->written_count--;
	message->fate = fate;
	list_append(&publisher->answered, &message->node);
}

static void post_answers(struct amqp_publisher *publisher)
{
	bool first;

	if (list_empty(&publisher->answered))
		return;
	pthread_mutex_lock(&publisher->mutex);
	first = list_empty(&publisher->done);
	list_move(&publisher->done, &publisher->answered);
	pthread_mutex_unlock(&publisher->mutex);
	if (first)
		loop_queue_post(publisher->back, publisher);
}

static void settle(struct amqp_publisher *publisher, uint64_t tag, bool multiple, enum bus_fate fate)
{
	struct list *pos, *following;

	list_each_safe (pos, following, &publisher->written) {
		struct message *message = list_entry(pos, struct message, node);

		if (message->seq > tag)
			break;
		if (multiple || message->seq == tag)
			answer(publisher, message, message->fate == BUS_RETURNED ? BUS_RETURNED : fate);
	}
}

/* The confirmation of a returned message follows, and then tells its fate. */
static void mark_returned(struct amqp_publisher *publisher, const amqp_basic_properties_t *properties)
{
	struct list *pos;

	list_each (pos, &publisher->written) {
		struct message *message = list_entry(pos, struct message, node);
		const struct bus_outgoing *out = &message->out;

		if (message->fate == BUS_CONFIRMED && str_eq(out->exchange, publisher->returning.exchange) &&
		    str_eq(out->key, publisher->returning.key) &&
		    (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) &&
		    properties->message_id.len == strlen(out->id) &&
		    memcmp(properties->message_id.bytes, out->id, properties->message_id.len) == 0) {
			message->fate = BUS_RETURNED;
			str_format(message->reason, sizeof(message->reason), "%s", publisher->returning.reason);
			return;
		}
	}
}

static void begin_return(struct amqp_publisher *publisher, const amqp_basic_return_t *returned)
{
	publisher->returning.open = true;
	str_format(publisher->returning.exchange, sizeof(publisher->returning.exchange), "%.*s",
		   (int)returned->exchange.len, (const char *)returned->exchange.bytes);
	str_format(publisher->returning.key, sizeof(publisher->returning.key), "%.*s", (int)returned->routing_key.len,
		   (const char *)returned->routing_key.bytes);
	str_format(publisher->returning.reason, sizeof(publisher->returning.reason), "%d %.*s", returned->reply_code,
		   (int)(returned->reply_text.len < 150 ? returned->reply_text.len : 150),
		   (const char *)returned->reply_text.bytes);
}

/* Usually an exchange that is not there; what was sent to it, was sent to nobody. */
static int channel_closed(struct amqp_publisher *publisher, const amqp_channel_close_t *close, struct error *err)
{
	char text[400], exchange[300];
	struct list *pos, *following;

	str_format(text, sizeof(text), "%d %.*s", close->reply_code,
		   (int)(close->reply_text.len < 380 ? close->reply_text.len : 380),
		   (const char *)close->reply_text.bytes);
	list_each_safe (pos, following, &publisher->written) {
		struct message *message = list_entry(pos, struct message, node);

		str_format(exchange, sizeof(exchange), "exchange '%s'", message->out.exchange);
		if (close->reply_code != 404 || strstr(text, exchange) == NULL)
			continue;
		str_format(message->reason, sizeof(message->reason), "%.199s", text);
		answer(publisher, message, BUS_RETURNED);
	}
	return error_set(err, ERR_IO, "the broker closed the channel: %s", text);
}

static int on_method(struct amqp_publisher *publisher, const amqp_method_t *method, struct error *err)
{
	const amqp_basic_ack_t *ack;
	const amqp_basic_nack_t *nack;

	switch (method->id) {
	case AMQP_BASIC_ACK_METHOD:
		ack = method->decoded;
		settle(publisher, ack->delivery_tag, ack->multiple, BUS_CONFIRMED);
		return 0;
	case AMQP_BASIC_NACK_METHOD:
		nack = method->decoded;
		settle(publisher, nack->delivery_tag, nack->multiple, BUS_NACKED);
		return 0;
	case AMQP_BASIC_RETURN_METHOD:
		begin_return(publisher, method->decoded);
		return 0;
	case AMQP_CHANNEL_CLOSE_METHOD:
		return channel_closed(publisher, method->decoded, err);
	default:
		return error_set(err, ERR_IO, "unexpected method 0x%08X", method->id);
	}
}

static int read_frames(struct amqp_publisher *publisher, struct error *err)
{
	struct amqp_conn *conn = &publisher->link.conn;
	amqp_frame_t frame;
	int rc;

	while ((rc = amqp_conn_frame(conn, &frame, err)) > 0) {
		if (frame.frame_type == AMQP_FRAME_HEADER && publisher->returning.open) {
			publisher->returning.left = frame.payload.properties.body_size;
			mark_returned(publisher, frame.payload.properties.decoded);
		} else if (frame.frame_type == AMQP_FRAME_BODY && publisher->returning.open) {
			publisher->returning.left -= frame.payload.body_fragment.len;
		} else if (frame.frame_type == AMQP_FRAME_METHOD && on_method(publisher, &frame.payload.method, err) < 0) {
			return -1;
		}
		if (frame.frame_type != AMQP_FRAME_METHOD && publisher->returning.left == 0)
			publisher->returning.open = false;
		if (!publisher->returning.open)
			amqp_conn_release(conn, AMQP_MAIN);
	}
	return rc;
}

/* --- the thread: writing --- */

static int write_message(struct amqp_publisher *publisher, struct message *message, struct error *err)
{
	message->seq = ++publisher->seq;
	list_remove(&message->node);
	list_append(&publisher->written, &message->node);
	publisher->written_count++;
	return amqp_send(&publisher->link.conn, AMQP_MAIN, &message->out, err);
}

static bool may_write(const struct amqp_publisher *publisher)
{
	return !list_empty(&publisher->waiting) && publisher->written_count < publisher->window &&
	       !publisher->link.conn.blocked;
}

/* As much as a writable socket takes. The lease is looked at right before each message. */
static int write_some(struct amqp_publisher *publisher, struct error *err)
{
	size_t bytes = 0;

	while (may_write(publisher) && bytes < WRITE_BYTES) {
		struct message *message = list_entry(publisher->waiting.next, struct message, node);

		if (message->out.until_ms != NULL && clock_boot_ms() >= atomic_load(message->out.until_ms)) {
			answer(publisher, message, BUS_UNSENT);
			continue;
		}
		bytes += message->out.len + 300;
		if (write_message(publisher, message, err) < 0)
			return -1;
	}
	return 0;
}

static int setup(struct amqp_link *link, struct error *err)
{
	struct amqp_publisher *publisher = publisher_of(link);

	for (size_t i = 0; i < publisher->queue_count; i++)
		if (amqp_declare(&link->conn, &publisher->queues[i], NULL, err) < 0)
			return -1;
	publisher->seq = 0;
	publisher->returning.open = false;
	amqp_confirm_select(link->conn.state, AMQP_MAIN);
	return amqp_conn_check(&link->conn, "asking for confirms", amqp_get_rpc_reply(link->conn.state), err);
}

static void lost(struct amqp_publisher *publisher, const struct error *err)
{
	amqp_link_lost(&publisher->link, err);
	while (!list_empty(&publisher->written)) {
		struct message *message = list_entry(publisher->written.next, struct message, node);

		answer(publisher, message, message->fate == BUS_RETURNED ? BUS_RETURNED : BUS_UNCLEAR);
	}
}

static void tell_blocked(struct amqp_publisher *publisher)
{
	const struct amqp_conn *conn = &publisher->link.conn;

	if (conn->blocked != publisher->was_blocked) {
		if (!conn->blocked)
			log_info("the broker takes messages again connection=\"%s\"", publisher->link.name);
		else if (log_limited(&publisher->blocked_log, LOG_MS))
			log_warning("the broker takes no messages, they wait connection=\"%s\": %s", publisher->link.name,
				    conn->blocked_reason);
	}
	publisher->was_blocked = conn->blocked;
	atomic_store(&publisher->connected, conn->state != NULL);
	atomic_store(&publisher->blocked, conn->state != NULL && conn->blocked);
}

static void take_given(struct amqp_publisher *publisher)
{
	pthread_mutex_lock(&publisher->mutex);
	list_move(&publisher->waiting, &publisher->given);
	pthread_mutex_unlock(&publisher->mutex);
}

static void body(struct amqp_link *link)
{
	struct amqp_publisher *publisher = publisher_of(link);
	struct error err;
	short ready = 0;

	while (!atomic_load(&link->stop)) {
		take_given(publisher);
		if (!amqp_link_connect(link, setup)) {
			tell_blocked(publisher);
			amqp_conn_wait(&link->conn, 0, link->wake, amqp_link_patience_ms(link));
			continue;
		}
		if (read_frames(publisher, &err) < 0 || ((ready & POLLOUT) && write_some(publisher, &err) < 0))
			lost(publisher, &err);
		tell_blocked(publisher);
		post_answers(publisher);
		ready = amqp_conn_wait(&link->conn, (short)(POLLIN | (may_write(publisher) ? POLLOUT : 0)), link->wake,
				       link->conn.state != NULL ? amqp_conn_pause_ms(&link->conn) : 0);
	}
}

/* --- life --- */

static struct bus_publisher *amqp_publisher_open(const struct bus_publisher *base, struct loop *loop, const char *url,
						 const struct bus_publisher_options *options, struct error *err)
{
	struct amqp_publisher *publisher = mem_alloc(sizeof(*publisher));
	struct arena *arena;
	size_t i;

	publisher->base = *base;
	publisher->window = options->window > 0 ? options->window : WINDOW;
	if (amqp_link_init(&publisher->link, url, options->name, err) < 0) {
		mem_release(publisher);
		return NULL;
	}
	arena = publisher->link.arena;
	publisher->queue_count = options->queue_count;
	publisher->queues = arena_alloc(arena, (options->queue_count + 1) * sizeof(*publisher->queues));
	for (i = 0; i < options->queue_count; i++)
		publisher->queues[i] = bus_queue_copy(arena, &options->queues[i]);
	pthread_mutex_init(&publisher->mutex, NULL);
	list_init(&publisher->given);
	list_init(&publisher->done);
	list_init(&publisher->waiting);
	list_init(&publisher->written);
	list_init(&publisher->answered);
	publisher->back = loop_queue_new(loop, on_done, publisher, false);
	amqp_link_start(&publisher->link, loop, body);
	return &publisher->base;
}

static void amqp_publisher_stats(const struct bus_publisher *base, struct bus_publisher_stats *stats_r)
{
	const struct amqp_publisher *publisher = (const struct amqp_publisher *)base;

	stats_r->connected = atomic_load(&publisher->connected);
	stats_r->blocked = atomic_load(&publisher->blocked);
}

static void amqp_publisher_close(struct bus_publisher *base)
{
	struct amqp_publisher *publisher = (struct amqp_publisher *)base;

	publisher->closed = true;
	amqp_link_fini(&publisher->link);
	loop_queue_free(&publisher->back);
	free_all(&publisher->given);
	free_all(&publisher->done);
	free_all(&publisher->waiting);
	free_all(&publisher->written);
	free_all(&publisher->answered);
	if (!publisher->busy)
		destroy(publisher);
}

const struct bus_publisher_ops bus_amqp_publisher_ops = {
	.open = amqp_publisher_open,
	.publish = amqp_publish,
	.stats = amqp_publisher_stats,
	.close = amqp_publisher_close,
};
