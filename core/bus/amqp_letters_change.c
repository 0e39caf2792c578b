/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends dead letters of a broker again, or deletes them: got from error.QUEUE,
 * published to QUEUE, confirmed, and only then acknowledged. What was not
 * acknowledged when this ends, however it ends, is where it was. The caller's
 * thread, which blocks.
 */
#include <poll.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "bus/amqp_letters.h"
#include "json/json.h"
#include "json/jwrite.h"

/* On their way at once. */
#define WINDOW 100
#define WINDOW_BYTES ((size_t)8 * 1024 * 1024)
#define CONFIRM_MS 30000

struct window {
	struct amqp_letters *letters;
	struct arena *arena;		/* of the letters in it */
	struct map *known;		/* letters by id; values: indexes + 1 */
	struct amqp_got got[WINDOW];
	uint64_t seq[WINDOW];		/* what it was published as; 0: a repeat of another */
	bool confirmed[WINDOW];
	size_t count, bytes, open;	/* open: published, not confirmed */
	uint64_t next_seq;
	bool returned, nacked, in_return;
	uint64_t return_left;
};

static void empty(struct window *window)
{
	arena_free(&window->arena);
	map_free(&window->known);
	window->arena = arena_new();
	window->known = map_new();
	window->count = window->bytes = window->open = 0;
	memset(window->confirmed, 0, sizeof(window->confirmed));
	memset(window->seq, 0, sizeof(window->seq));
}

/* The same event under the same name; its count and first time go along. Others' messages go as they were. */
static int send_again(struct window *window, const struct amqp_got *got, struct error *err)
{
	const struct bus_parked *letter = &got->letter;
	struct bus_header headers[] = {{"x-sluice-id", letter->id}, {"x-sluice-first", letter->first}};
	struct bus_outgoing out = {.exchange = "",
				   .key = letter->queue,
				   .body = letter->payload,
				   .len = letter->len,
				   .events = got->ours ? 1 : 0,
				   .id = got->message_id,
				   .redo = true,
				   .headers = headers,
				   .header_count = got->ours ? 2 : 0};
	struct json_doc *doc =
		letter->headers != NULL ? json_parse(letter->headers, strlen(letter->headers), NULL) : NULL;
	const struct json *header = doc != NULL ? json_first(json_root(doc)) : NULL;
	struct jwrite w;
	struct buf more;
	int rc;

	buf_init(&more);
	jwrite_init(&w, &more);
	jwrite_object(&w, NULL);
	for (; header != NULL; header = json_next(header))
		if (!str_eq(json_name(header), "x-retry-count"))	/* it is tried anew */
			jwrite_value(&w, json_name(header), header);
	if (got->ours)
		jwrite_int(&w, "x-sluice-count", letter->count);
	jwrite_end(&w);
	out.more = more.data;
	rc = amqp_send(&window->letters->conn, AMQP_SIDE, &out, err);
	json_doc_free(&doc);
	buf_fini(&more);
	return rc;
}

static void confirm(struct window *window, uint64_t tag, bool multiple)
{
	for (size_t i = 0; i < window->count; i++)
		if (window->seq[i] != 0 && !window->confirmed[i] &&
		    (window->seq[i] == tag || (multiple && window->seq[i] < tag))) {
			window->confirmed[i] = true;
			window->open--;
		}
}

static int on_method(struct window *window, const amqp_method_t *method, struct error *err)
{
	const amqp_basic_ack_t *ack = method->decoded;
	const amqp_basic_nack_t *nack = method->decoded;
	const amqp_channel_close_t *closed = method->decoded;

	switch (method->id) {
	case AMQP_BASIC_ACK_METHOD:
		confirm(window, ack->delivery_tag, ack->multiple);
		return 0;
	case AMQP_BASIC_NACK_METHOD:
		window->nacked = true;
		confirm(window, nack->delivery_tag, nack->multiple);
		return 0;
	case AMQP_BASIC_RETURN_METHOD:
		window->returned = window->in_return = true;
		return 0;
	case AMQP_CHANNEL_CLOSE_METHOD:
		return error_set(err, ERR_IO, "the broker closed the channel: %d %.*s", closed->reply_code,
				 (int)(closed->reply_text.len < 400 ? closed->reply_text.len : 400),
				 (const char *)closed->reply_text.bytes);
	default:
		return error_set(err, ERR_IO, "unexpected method 0x%08X", method->id);
	}
}

static int on_frame(struct window *window, const amqp_frame_t *frame, struct error *err)
{
	if (frame->frame_type == AMQP_FRAME_METHOD)
		return on_method(window, &frame->payload.method, err);
	/* The content of a returned message. */
	if (frame->frame_type == AMQP_FRAME_HEADER)
		window->return_left = frame->payload.properties.body_size;
	else
		window->return_left -= frame->payload.body_fragment.len;
	window->in_return = window->return_left > 0;
	return 0;
}

/* All are in the queue when this returns 0. */
static int wait_confirmed(struct window *window, const char *queue, struct error *err)
{
	struct amqp_conn *conn = &window->letters->conn;
	int64_t end = clock_mono_ms() + CONFIRM_MS;
	amqp_frame_t frame;

	while (window->open > 0) {
		int rc = amqp_conn_frame(conn, &frame, err);

		if (rc < 0 || (rc > 0 && on_frame(window, &frame, err) < 0))
			return -1;
		if (rc > 0 && !window->in_return)
			amqp_conn_release(conn, AMQP_SIDE);
		if (rc > 0)
			continue;
		if (clock_mono_ms() >= end)
			return conn->blocked ? error_set(err, ERR_BUSY,
							 "the broker takes no messages (%s): try again when it does",
							 conn->blocked_reason)
					     : error_set(err, ERR_TIMEOUT, "the broker confirms nothing");
		amqp_conn_wait(conn, POLLIN, -1, 1000);
	}
	if (window->returned)
		return error_set(err, ERR_NOT_FOUND, "there is no queue \"%s\" on the broker: its sink makes it, start "
				 "sluiced", queue);
	if (window->nacked)
		return error_set(err, ERR_IO, "the broker could not keep a message in queue \"%s\"", queue);
	return 0;
}

/* Acknowledged one by one: what lies between them may be none of ours. */
static int acknowledge(struct window *window, struct error *err)
{
	struct amqp_conn *conn = &window->letters->conn;

	for (size_t i = 0; i < window->count; i++)
		if (amqp_conn_status(conn, "acknowledging",
				     amqp_basic_ack(conn->state, AMQP_MAIN, window->got[i].tag, 0), err) < 0)
			return -1;
	return 0;
}

/* The letters of the window to where they belong, and away from where they were. */
static int flush(struct window *window, enum bus_letters_action action, const char *queue, size_t *done,
		 struct error *err)
{
	for (size_t i = 0; i < window->count && action == BUS_REPLAY; i++) {
		if ((size_t)map_get(window->known, window->got[i].letter.id) != i + 1)
			continue;
		window->seq[i] = window->next_seq++;
		window->open++;
		if (send_again(window, &window->got[i], err) < 0)
			return -1;
	}
	if (wait_confirmed(window, queue, err) < 0 || acknowledge(window, err) < 0)
		return -1;
	*done += map_count(window->known);
	empty(window);
	return 0;
}

static void add(struct window *window, const struct amqp_got *got)
{
	size_t known = (size_t)map_get(window->known, got->letter.id);

	window->got[window->count++] = *got;
	window->bytes += got->letter.len;
	if (known > 0)
		amqp_letters_merge(&window->got[known - 1].letter, &got->letter, window->arena);
	else
		map_put(window->known, got->letter.id, (void *)window->count);
}

static bool is_full(const struct window *window)
{
	return window->count == WINDOW || window->bytes >= WINDOW_BYTES;
}

/* Those that come back meanwhile lie behind the ones there are now, and are not taken again. */
static int change_queue(struct window *window, enum bus_letters_action action, const char *queue,
			const struct bus_letters_filter *filter, bus_progress_fn *progress, void *user, size_t *done,
			struct error *err)
{
	struct amqp_conn *conn = &window->letters->conn;
	char place[300];
	uint32_t ready, i;
	int rc;

	str_format(place, sizeof(place), AMQP_ERROR_PREFIX "%s", queue);
	rc = amqp_letters_ready(conn, place, &ready, err);
	empty(window);
	for (i = 0; rc > 0 && i < ready; i++) {
		struct amqp_got got;

		if (filter->limit > 0 && *done + map_count(window->known) >= filter->limit)
			break;
		rc = amqp_letters_get(conn, queue, place, window->arena, &got, err);
		if (rc > 0 && amqp_letters_wanted(filter, got.letter.id))
			add(window, &got);
		else if (rc > 0)
			window->bytes += got.letter.len;	/* in the arena all the same, until it is emptied */
		if (rc > 0 && is_full(window) && flush(window, action, queue, done, err) < 0)
			rc = -1;
		if (rc > 0 && progress != NULL && (i + 1) % WINDOW == 0)
			progress(user, i + 1, ready);
	}
	if (rc >= 0 && window->count > 0 && flush(window, action, queue, done, err) < 0)
		rc = -1;
	if (rc >= 0 && progress != NULL && i > 0)
		progress(user, i, ready);
	return rc < 0 ? -1 : 0;
}

static int begin(struct amqp_letters *letters, struct error *err)
{
	if (amqp_letters_connect(letters, err) < 0 || amqp_letters_open_channel(&letters->conn, AMQP_SIDE, err) < 0)
		return -1;
	amqp_confirm_select(letters->conn.state, AMQP_SIDE);
	return amqp_conn_check(&letters->conn, "asking for confirms", amqp_get_rpc_reply(letters->conn.state), err);
}

int amqp_letters_change(struct bus_letters *base, enum bus_letters_action action,
		       const struct bus_letters_filter *filter, bus_progress_fn *progress, void *user, size_t *done_r,
		       struct error *err)
{
	struct amqp_letters *letters = (struct amqp_letters *)base;
	struct window *window = mem_alloc(sizeof(*window));
	const char *const *queues;
	size_t count;
	int rc;

	window->letters = letters;
	window->next_seq = 1;
	queues = amqp_letters_queues(base, filter, &count);
	rc = begin(letters, err);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = change_queue(window, action, queues[i], filter, progress, user, done_r, err);
	amqp_conn_close(&letters->conn);
	arena_free(&window->arena);
	map_free(&window->known);
	mem_release(window);
	return rc;
}
