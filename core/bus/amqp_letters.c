/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dead letters of the amqp: bus: what lies in error.QUEUE. They are got
 * without being acknowledged, each time on a connection of its own; those that
 * are not acknowledged return to their places when it ends. The caller's
 * thread, which blocks.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "base/uuid.h"
#include "bus/amqp_letters.h"
#include "json/json.h"
#include "json/jwrite.h"

/* Looked at per queue to find what a list shows; letters that are named are looked for everywhere. */
#define SCAN_MESSAGES 10000
#define SCAN_BYTES ((size_t)256 * 1024 * 1024)

/* --- connecting --- */

int amqp_letters_open_channel(struct amqp_conn *conn, amqp_channel_t channel, struct error *err)
{
	amqp_channel_open(conn->state, channel);
	return amqp_conn_check(conn, "opening a channel", amqp_get_rpc_reply(conn->state), err);
}

/* Any of the hosts will do. */
int amqp_letters_connect(struct amqp_letters *letters, struct error *err)
{
	for (size_t i = 0; i < letters->url.host_count; i++)
		if (amqp_conn_open(&letters->conn, err) == 0)
			return 0;
	return -1;
}

int amqp_letters_ready(struct amqp_conn *conn, const char *queue, uint32_t *count_r, struct error *err)
{
	const amqp_queue_declare_ok_t *ok;
	amqp_channel_close_ok_t close_ok = {.dummy = 0};
	amqp_rpc_reply_t reply;

	ok = amqp_queue_declare(conn->state, AMQP_MAIN, amqp_cstring_bytes(queue), 1, 0, 0, 0, amqp_empty_table);
	*count_r = ok != NULL ? ok->message_count : 0;
	reply = amqp_get_rpc_reply(conn->state);
	if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD &&
	    ((const amqp_channel_close_t *)reply.reply.decoded)->reply_code == AMQP_NOT_FOUND) {
		amqp_send_method(conn->state, AMQP_MAIN, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
		return amqp_letters_open_channel(conn, AMQP_MAIN, err);
	}
	return amqp_conn_check(conn, queue, reply, err) < 0 ? -1 : 1;
}

/* --- getting --- */

static const char *text_header(struct arena *arena, const amqp_basic_properties_t *properties, const char *name)
{
	const amqp_field_value_t *value = amqp_header(properties, name);

	if (value == NULL || (value->kind != AMQP_FIELD_KIND_UTF8 && value->kind != AMQP_FIELD_KIND_BYTES))
		return "";
	return amqp_text(arena, value->value.bytes);
}

/* Of a message that others have put there. */
static const char *publish_time(struct arena *arena, const amqp_basic_properties_t *properties)
{
	if (!(properties->_flags & AMQP_BASIC_TIMESTAMP_FLAG) || properties->timestamp > INT32_MAX * (uint64_t)4)
		return "";
	return clock_format_ms(arena_alloc(arena, CLOCK_TEXT_SIZE), (int64_t)properties->timestamp * 1000);
}

/* What the message had to say before it became a letter. */
static const char *original_headers(struct arena *arena, const amqp_basic_properties_t *properties, bool ours)
{
	struct json_doc *doc;
	const struct json *header;
	struct buf all, out;
	const char *text = NULL;
	struct jwrite w;

	buf_init(&all);
	buf_init(&out);
	amqp_headers_json(properties, &all);
	doc = all.len > 0 ? json_parse(all.data, all.len, NULL) : NULL;
	header = doc != NULL ? json_first(json_root(doc)) : NULL;
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	for (; header != NULL; header = json_next(header))
		if (!ours || (!str_starts(json_name(header), "x-sluice-") && !str_eq(json_name(header), "x-retry-count")))
			jwrite_value(&w, json_name(header), header);
	jwrite_end(&w);
	if (out.len > strlen("{}"))
		text = arena_strndup(arena, out.data, out.len);
	json_doc_free(&doc);
	buf_fini(&out);
	buf_fini(&all);
	return text;
}

static void read_properties(struct amqp_got *got, const amqp_basic_properties_t *properties, struct arena *arena)
{
	struct bus_parked *letter = &got->letter;
	int64_t count = amqp_header_int(properties, "x-sluice-count");
	char hash[SHA256_TEXT_SIZE];

	letter->id = text_header(arena, properties, "x-sluice-id");
	got->ours = *letter->id != '\0';
	if ((properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) && properties->message_id.len > 0)
		got->message_id = amqp_text(arena, properties->message_id);
	else
		got->message_id = arena_strdup(arena, sha256_hex(hash, letter->payload, letter->len));
	if (!got->ours)
		letter->id = got->message_id;
	letter->code = text_header(arena, properties, "x-sluice-code");
	letter->reason = text_header(arena, properties, "x-sluice-reason");
	letter->first = text_header(arena, properties, "x-sluice-first");
	letter->last = text_header(arena, properties, "x-sluice-last");
	if (!got->ours)
		letter->first = letter->last = publish_time(arena, properties);
	letter->count = count > 0 ? count : 1;
	letter->headers = original_headers(arena, properties, got->ours);
}

int amqp_letters_get(struct amqp_conn *conn, const char *queue, const char *place, struct arena *arena,
		     struct amqp_got *got_r, struct error *err)
{
	amqp_rpc_reply_t reply = amqp_basic_get(conn->state, AMQP_MAIN, amqp_cstring_bytes(place), 0);
	amqp_message_t message;

	if (amqp_conn_check(conn, place, reply, err) < 0)
		return -1;
	if (reply.reply.id != AMQP_BASIC_GET_OK_METHOD)
		return 0;
	*got_r = (struct amqp_got){.tag = ((const amqp_basic_get_ok_t *)reply.reply.decoded)->delivery_tag};
	if (amqp_conn_check(conn, place, amqp_read_message(conn->state, AMQP_MAIN, &message, 0), err) < 0)
		return -1;
	got_r->letter.queue = queue;
	got_r->letter.payload = arena_strndup(arena, message.body.bytes, message.body.len);
	got_r->letter.len = message.body.len;
	read_properties(got_r, &message.properties, arena);
	amqp_destroy_message(&message);
	amqp_conn_release(conn, AMQP_MAIN);
	return 1;
}

bool amqp_letters_wanted(const struct bus_letters_filter *filter, const char *id)
{
	bool is = filter->id_count == 0;

	for (size_t i = 0; i < filter->id_count; i++)
		if (str_eq(filter->ids[i], id))
			is = filter->found[i] = true;
	return is;
}

/* --- reading --- */

struct reading {
	const struct bus_letters_filter *filter;
	struct arena *arena;
	struct map *known;		/* rows of the queue by id; values: indexes + 1 */
	struct bus_parked *rows;
	size_t count, scanned_bytes;
	bool more;
};

static bool earlier(const char *a, const char *b)
{
	return *a != '\0' && (*b == '\0' || strcmp(a, b) < 0);
}

void amqp_letters_merge(struct bus_parked *row, const struct bus_parked *repeat, struct arena *arena)
{
	row->count += repeat->count;
	if (earlier(repeat->first, row->first))
		row->first = arena_strdup(arena, repeat->first);
	if (!earlier(repeat->last, row->last)) {
		row->last = arena_strdup(arena, repeat->last);
		row->reason = arena_strdup(arena, repeat->reason);
		row->code = arena_strdup(arena, repeat->code);
	}
}

static void keep(struct reading *reading, const struct bus_parked *letter)
{
	struct arena *arena = reading->arena;
	struct bus_parked *row;

	reading->rows = arena_grow(arena, reading->rows, reading->count, sizeof(*reading->rows));
	row = &reading->rows[reading->count++];
	*row = *letter;
	row->id = arena_strdup(arena, letter->id);
	row->queue = arena_strdup(arena, letter->queue);
	row->code = arena_strdup(arena, letter->code);
	row->reason = arena_strdup(arena, letter->reason);
	row->first = arena_strdup(arena, letter->first);
	row->last = arena_strdup(arena, letter->last);
	row->headers = letter->headers != NULL ? arena_strdup(arena, letter->headers) : NULL;
	row->payload = reading->filter->payload ? arena_strndup(arena, letter->payload, letter->len) : NULL;
	map_put(reading->known, row->id, (void *)reading->count);
}

static void take(struct reading *reading, const struct bus_parked *letter)
{
	size_t known = (size_t)map_get(reading->known, letter->id);

	if (!amqp_letters_wanted(reading->filter, letter->id))
		return;
	if (known > 0)
		amqp_letters_merge(&reading->rows[known - 1], letter, reading->arena);
	else if (reading->filter->limit > 0 && reading->count == reading->filter->limit)
		reading->more = true;
	else
		keep(reading, letter);
}

static size_t scan_limit(const struct bus_letters_filter *filter)
{
	if (filter->id_count > 0 || filter->limit == 0)
		return SIZE_MAX;
	return filter->limit > SCAN_MESSAGES ? filter->limit : SCAN_MESSAGES;
}

static int read_queue(struct amqp_letters *letters, struct reading *reading, const char *queue, struct error *err)
{
	const char *place = arena_printf(reading->arena, AMQP_ERROR_PREFIX "%s", queue);
	size_t limit = scan_limit(reading->filter);
	uint32_t ready, i;
	int rc = amqp_letters_ready(&letters->conn, place, &ready, err);

	map_free(&reading->known);
	reading->known = map_new();
	for (i = 0; rc > 0 && i < ready; i++) {
		struct arena *arena;
		struct amqp_got got;

		if (i == limit || (limit < SIZE_MAX && reading->scanned_bytes > SCAN_BYTES)) {
			reading->more = true;
			break;
		}
		arena = arena_new();
		rc = amqp_letters_get(&letters->conn, queue, place, arena, &got, err);
		if (rc > 0) {
			reading->scanned_bytes += got.letter.len;
			take(reading, &got.letter);
		}
		arena_free(&arena);
	}
	return rc < 0 ? -1 : 0;
}

const char *const *amqp_letters_queues(const struct bus_letters *letters, const struct bus_letters_filter *filter,
				       size_t *count_r)
{
	*count_r = filter->queue != NULL ? 1 : letters->queue_count;
	return filter->queue != NULL ? &filter->queue : letters->queues;
}

static int amqp_read(struct bus_letters *base, const struct bus_letters_filter *filter, struct arena *arena,
		     struct bus_parked **rows_r, size_t *count_r, bool *more_r, struct error *err)
{
	struct amqp_letters *letters = (struct amqp_letters *)base;
	struct reading reading = {.filter = filter, .arena = arena};
	const char *const *queues;
	size_t count;
	int rc;

	queues = amqp_letters_queues(base, filter, &count);
	rc = amqp_letters_connect(letters, err);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = read_queue(letters, &reading, queues[i], err);
	amqp_conn_close(&letters->conn);
	map_free(&reading.known);
	*rows_r = reading.rows;
	*count_r = reading.count;
	*more_r = reading.more;
	return rc;
}

static int amqp_has_queue(struct bus_letters *base, const char *queue, struct error *err)
{
	struct amqp_letters *letters = (struct amqp_letters *)base;
	uint32_t ready;
	char place[300];
	int rc = 0;

	/* A name that long is none. */
	if (!str_format(place, sizeof(place), AMQP_ERROR_PREFIX "%s", queue) || strlen(place) > 255)
		return 0;
	if (amqp_letters_connect(letters, err) < 0)
		return -1;
	rc = amqp_letters_ready(&letters->conn, place, &ready, err);
	amqp_conn_close(&letters->conn);
	return rc;
}

/* --- life --- */

static struct bus_letters *amqp_open(const struct bus_letters *base, const char *url, struct store_sync *store,
				     struct error *err)
{
	struct amqp_letters *letters = mem_alloc(sizeof(*letters));

	(void)store;
	letters->base = *base;
	if (amqp_url_parse(url, base->arena, &letters->url, err) < 0) {
		error_prefix(err, "bus");
		mem_release(letters);
		return NULL;
	}
	amqp_conn_init(&letters->conn, &letters->url, "sluicectl dead");
	return &letters->base;
}

static void amqp_close(struct bus_letters *base)
{
	struct amqp_letters *letters = (struct amqp_letters *)base;

	amqp_conn_fini(&letters->conn);
	mem_release(letters);
}

const struct bus_letters_ops bus_amqp_letters_ops = {
	.open = amqp_open,
	.has_queue = amqp_has_queue,
	.read = amqp_read,
	.change = amqp_letters_change,
	.close = amqp_close,
};
