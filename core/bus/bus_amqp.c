/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The amqp: bus, as its reader sees it. What may have been inserted before is
 * not delivered but moved to suspect.QUEUE, whose single active consumer gets
 * it marked suspect; what cannot be inserted goes to error.QUEUE. Both are
 * published on another connection, and confirmed before the original is
 * acknowledged. All of it runs on the sink's loop thread.
 *
 * Tags count up per channel, the channel in the lowest bit. Entries of one
 * channel are in the order of the broker's own tags, so that a run of resolved
 * ones at the beginning needs one acknowledgement.
 */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "bus/amqp_consumer.h"
#include "bus/driver.h"
#include "log/log.h"

#define RETRY_MS 1000

struct entry {
	uint64_t delivery;
	uint32_t generation;
	bool resolved;
	bool told;		/* acknowledged by itself, or given back */
	size_t bytes;
};

struct channel {		/* a ring of entries */
	struct entry *entries;
	size_t cap, count;
	uint64_t first;		/* number of the first; the ring's index is the number modulo cap */
};

struct settle {
	struct list node;
	unsigned int number;
	bus_done_fn *done;
	void *user;
};

struct amqp_reader {
	struct bus_reader base;
	struct bus_queue queue;		/* in base.texts */
	struct amqp_consumer consumer;
	struct channel channels[2];
	struct buf verdicts;		/* struct amqp_verdict, told at the end of each turn */
	struct bus_message messages[AMQP_BATCH_MESSAGES];	/* of the batch that is being delivered */
	struct bus_publisher *publisher; /* made when needed */
	char *url;
	struct list settles, parcels, rejections;
	uint64_t lost;			/* connections, as far as they are counted */
	struct loop_timer *again_timer;	/* gives back what could not be moved */
	struct buf again;		/* its tags */
	int64_t log_state;
	char *state_path;		/* a file that is there while the end is not known to be clean; or NULL */
	bool busy, closed;		/* inside a callback; closed there */
};

/* A message on its way to suspect.QUEUE or error.QUEUE. */
struct parcel {
	struct list node;
	struct rejection *rejection;	/* NULL: moved */
	uint64_t tag;
};

struct rejection {
	struct list node;
	uint64_t *tags;
	size_t tag_count, left, letters;
	struct error err;
	bus_done_fn *done;
	void *user;
};

static struct amqp_reader *reader_of(const struct bus_reader *reader)
{
	assert(reader->ops == &bus_amqp_ops);
	return (struct amqp_reader *)(uintptr_t)reader;
}

static void rejection_free(struct rejection *rejection)
{
	list_remove(&rejection->node);
	mem_release(rejection->tags);
	mem_release(rejection);
}

static void destroy(struct amqp_reader *reader)
{
	struct list *pos, *following;

	list_each_safe (pos, following, &reader->settles)
		mem_release(list_entry(pos, struct settle, node));
	list_each_safe (pos, following, &reader->parcels)
		mem_release(list_entry(pos, struct parcel, node));
	list_each_safe (pos, following, &reader->rejections)
		rejection_free(list_entry(pos, struct rejection, node));
	mem_release(reader->channels[0].entries);
	mem_release(reader->channels[1].entries);
	buf_fini(&reader->verdicts);
	buf_fini(&reader->again);
	mem_release(reader->url);
	mem_release(reader->state_path);
	arena_free(&reader->base.texts);
	reader->base.magic = 0;
	mem_release(reader);
}

/* Around everything that calls back: false when the reader is gone. */
static bool leave_callback(struct amqp_reader *reader)
{
	reader->busy = false;
	if (!reader->closed)
		return true;
	destroy(reader);
	return false;
}

/* --- entries --- */

static struct entry *entry_at(struct channel *channel, uint64_t number)
{
	assert(number >= channel->first && number < channel->first + channel->count);
	return &channel->entries[number % channel->cap];
}

static struct entry *find(struct amqp_reader *reader, uint64_t tag)
{
	return entry_at(&reader->channels[tag & 1], tag >> 1);
}

static void grow(struct channel *channel)
{
	size_t cap = channel->cap == 0 ? 1024 : channel->cap * 2;
	struct entry *entries = mem_alloc(cap * sizeof(*entries));

	for (uint64_t number = channel->first; number < channel->first + channel->count; number++)
		entries[number % cap] = channel->entries[number % channel->cap];
	mem_release(channel->entries);
	channel->entries = entries;
	channel->cap = cap;
}

static uint64_t add_entry(struct amqp_reader *reader, const struct amqp_delivery *delivery, uint32_t generation)
{
	struct channel *channel = &reader->channels[delivery->side];
	uint64_t number = channel->first + channel->count;

	if (channel->count == channel->cap)
		grow(channel);
	channel->count++;
	*entry_at(channel, number) =
		(struct entry){.delivery = delivery->tag, .generation = generation, .bytes = delivery->bytes};
	reader->base.stats.unacked++;
	reader->base.stats.unacked_bytes += delivery->bytes;
	return number << 1 | (uint64_t)delivery->side;
}

static void add_verdict(struct amqp_reader *reader, const struct entry *entry, bool side, bool multiple, bool again)
{
	struct amqp_verdict verdict = {.generation = entry->generation,
				       .side = side,
				       .multiple = multiple,
				       .again = again,
				       .tag = entry->delivery};

	buf_add(&reader->verdicts, &verdict, sizeof(verdict));
}

/* One acknowledgement for all entries at the beginning that are resolved. */
static void pop_resolved(struct amqp_reader *reader, bool side)
{
	struct channel *channel = &reader->channels[side];
	uint32_t generation = atomic_load(&reader->consumer.generation);
	struct entry last = {.told = true};

	while (channel->count > 0 && entry_at(channel, channel->first)->resolved) {
		struct entry *entry = entry_at(channel, channel->first);

		if (!entry->told && entry->generation == generation)
			last = *entry;
		channel->first++;
		channel->count--;
	}
	if (!last.told)
		add_verdict(reader, &last, side, true, false);
}

static void tell(struct amqp_reader *reader)
{
	amqp_consumer_tell(&reader->consumer, (const struct amqp_verdict *)(const void *)reader->verdicts.data,
			   reader->verdicts.len / sizeof(struct amqp_verdict));
	buf_clear(&reader->verdicts);
}

/* again: give them back instead of acknowledging them. */
static void resolve(struct amqp_reader *reader, const uint64_t *tags, size_t count, bool again)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		struct entry *entry = find(reader, tags[i]);

		assert(!entry->resolved);
		entry->resolved = true;
		bytes += entry->bytes;
		if (again) {
			entry->told = true;
			add_verdict(reader, entry, tags[i] & 1, false, true);
		}
	}
	pop_resolved(reader, false);
	pop_resolved(reader, true);
	/* What waits behind others is acknowledged by itself. */
	for (size_t i = 0; i < count && !again; i++) {
		struct channel *channel = &reader->channels[tags[i] & 1];

		if (tags[i] >> 1 >= channel->first) {
			struct entry *entry = find(reader, tags[i]);

			entry->told = true;
			add_verdict(reader, entry, tags[i] & 1, false, false);
		}
	}
	reader->base.stats.unacked -= count;
	reader->base.stats.unacked_bytes -= bytes;
	tell(reader);
	amqp_consumer_resolved(&reader->consumer, count, bytes);
}

static void amqp_ack(struct bus_reader *base, const uint64_t *tags, size_t count)
{
	base->stats.acked += count;
	resolve(reader_of(base), tags, count, false);
}

static bool amqp_holds(const struct bus_reader *base, const uint64_t *tags, size_t count)
{
	struct amqp_reader *reader = reader_of(base);
	uint32_t generation = atomic_load(&reader->consumer.generation);

	for (size_t i = 0; i < count; i++)
		if (find(reader, tags[i])->generation != generation)
			return false;
	return true;
}

static void amqp_distrust(struct bus_reader *base, const uint64_t *tags, size_t count)
{
	resolve(reader_of(base), tags, count, true);
}

/* --- moving and parking --- */

static void give_back_later(struct amqp_reader *reader, uint64_t tag, const char *reason)
{
	reader->base.stats.errors++;
	if (log_limited(&reader->log_state, 10000))
		log_warning("suspect messages wait queue=%s: %s", reader->queue.name, reason);
	buf_add(&reader->again, &tag, sizeof(tag));
	if (!loop_timer_active(reader->again_timer))
		loop_timer_start(reader->again_timer, RETRY_MS, 0);
}

static void on_again(void *user)
{
	struct amqp_reader *reader = user;
	struct buf tags = reader->again;

	buf_init(&reader->again);
	resolve(reader, (const uint64_t *)(const void *)tags.data, tags.len / sizeof(uint64_t), true);
	buf_fini(&tags);
}

static const char *fate_text(enum bus_fate fate, const char *reason)
{
	if (reason != NULL)
		return reason;
	return fate == BUS_NACKED ? "the broker could not keep a message" : "the connection was lost while publishing";
}

static void end_letter(struct amqp_reader *reader, struct rejection *rejection, enum bus_fate fate, const char *reason)
{
	if (fate != BUS_CONFIRMED)
		error_set(&rejection->err, ERR_IO, AMQP_ERROR_PREFIX "%s: %s", reader->queue.name,
			  fate_text(fate, reason));
	if (--rejection->left > 0)
		return;
	if (rejection->err.code == ERR_NONE) {
		reader->base.stats.rejected += rejection->letters;
		amqp_ack(&reader->base, rejection->tags, rejection->tag_count);
	}
	reader->busy = true;
	rejection->done(rejection->user, &rejection->err);
	rejection_free(rejection);
	leave_callback(reader);
}

static void on_published(void *user, void *message_user, enum bus_fate fate, const char *reason)
{
	struct amqp_reader *reader = user;
	struct parcel *parcel = message_user;
	struct rejection *rejection = parcel->rejection;
	uint64_t tag = parcel->tag;

	list_remove(&parcel->node);
	mem_release(parcel);
	if (rejection != NULL)
		end_letter(reader, rejection, fate, reason);
	else if (fate == BUS_CONFIRMED)
		resolve(reader, &tag, 1, false);
	else
		give_back_later(reader, tag, fate_text(fate, reason));
}

static struct bus_publisher *publisher(struct amqp_reader *reader)
{
	struct bus_publisher_options options = {.queues = &reader->queue,
						.queue_count = 1,
						.published = on_published,
						.user = reader};
	struct error err;
	char name[200];

	if (reader->publisher == NULL) {
		str_format(name, sizeof(name), "sink %s: suspects and dead letters", reader->queue.name);
		options.name = name;
		reader->publisher = bus_publisher_open(reader->base.loop, reader->url, &options, &err);
		assert(reader->publisher != NULL);	/* the URL was good for the consumer */
	}
	return reader->publisher;
}

static void move(struct amqp_reader *reader, const struct amqp_delivery *delivery, uint64_t tag)
{
	struct parcel *parcel = mem_alloc(sizeof(*parcel));
	struct arena *arena = arena_new();
	char key[280];
	struct bus_outgoing out = {.exchange = "",
				   .key = key,
				   .body = delivery->body,
				   .len = delivery->len,
				   .events = delivery->events,
				   .id = amqp_message_id(arena, delivery->id),
				   .suspect_ms = clock_wall_ms(),
				   .more = delivery->headers,
				   .user = parcel};

	parcel->tag = tag;
	list_append(&reader->parcels, &parcel->node);
	str_format(key, sizeof(key), AMQP_SUSPECT_PREFIX "%s", reader->queue.name);
	bus_publish(publisher(reader), &out, 1);
	arena_free(&arena);
}

static void publish_letter(struct amqp_reader *reader, const struct bus_letter *letter, struct rejection *rejection)
{
	struct parcel *parcel = mem_alloc(sizeof(*parcel));
	struct arena *arena = arena_new();
	struct bus_outgoing out = amqp_letter(arena, reader->queue.name, letter);

	parcel->rejection = rejection;
	list_append(&reader->parcels, &parcel->node);
	out.user = parcel;
	bus_publish(publisher(reader), &out, 1);
	arena_free(&arena);
}

static void amqp_reject(struct bus_reader *base, const uint64_t *tags, size_t tag_count,
			const struct bus_letter *letters, size_t letter_count, bus_done_fn *done, void *user)
{
	struct amqp_reader *reader = reader_of(base);
	struct rejection *rejection = mem_alloc(sizeof(*rejection));

	list_append(&reader->rejections, &rejection->node);
	rejection->tags = mem_alloc((tag_count + 1) * sizeof(*tags));
	if (tag_count > 0)
		memcpy(rejection->tags, tags, tag_count * sizeof(*tags));
	rejection->tag_count = tag_count;
	rejection->left = rejection->letters = letter_count;
	rejection->done = done;
	rejection->user = user;
	for (size_t i = 0; i < letter_count; i++)
		publish_letter(reader, &letters[i], rejection);
}

/* --- what comes --- */

static void take_batch(struct amqp_reader *reader, const struct amqp_batch *batch)
{
	struct bus_message *messages = reader->messages;
	size_t count = 0;

	for (size_t i = 0; i < batch->count; i++) {
		const struct amqp_delivery *item = &batch->items[i];
		uint64_t tag = add_entry(reader, item, batch->generation);

		/* What is never inserted cannot double. */
		if (item->suspect && !item->side && item->problem == NULL) {
			move(reader, item, tag);
			continue;
		}
		messages[count++] = (struct bus_message){.tag = tag,
							 .id = item->id,
							 .body = item->body,
							 .len = item->len,
							 .events = item->events,
							 .created_ms = item->created_ms,
							 .suspect = item->suspect && item->problem == NULL,
							 .problem = item->problem,
							 .suspect_ms = item->suspect_ms,
							 .letter = item->letter,
							 .headers = item->headers};
	}
	reader->base.stats.delivered += count;
	if (count > 0)
		reader->base.options.messages(reader->base.options.user, messages, count);
}

/* Of a connection that is lost: all of it comes again. */
static void drop_batch(struct amqp_reader *reader, const struct amqp_batch *batch)
{
	amqp_consumer_resolved(&reader->consumer, batch->count, batch->bytes);
}

static void answer_settles(struct amqp_reader *reader)
{
	unsigned int settled = reader->closed ? 0 : amqp_consumer_settled(&reader->consumer);
	struct error none = {.code = ERR_NONE};

	while (!reader->closed && !list_empty(&reader->settles)) {
		struct settle *settle = list_entry(reader->settles.next, struct settle, node);
		bus_done_fn *done = settle->done;
		void *user = settle->user;

		if ((int)(settled - settle->number) < 0)
			return;
		list_remove(&settle->node);
		mem_release(settle);
		done(user, &none);
	}
}

static void on_news(void *user, void *item)
{
	struct amqp_reader *reader = user;
	struct list batches;
	uint64_t lost;

	(void)item;
	list_init(&batches);
	amqp_consumer_take(&reader->consumer, &batches);
	lost = atomic_load(&reader->consumer.lost);
	reader->base.stats.errors += lost - reader->lost;
	reader->lost = lost;
	reader->busy = true;
	while (!list_empty(&batches)) {
		struct amqp_batch *batch = list_entry(batches.next, struct amqp_batch, node);

		list_remove(&batch->node);
		if (!reader->closed && batch->generation == atomic_load(&reader->consumer.generation))
			take_batch(reader, batch);
		else if (!reader->closed)
			drop_batch(reader, batch);
		amqp_consumer_give(&reader->consumer, batch);
	}
	answer_settles(reader);
	leave_callback(reader);
}

static void amqp_settle(struct bus_reader *base, bus_done_fn *done, void *user)
{
	struct amqp_reader *reader = reader_of(base);
	struct settle *settle = mem_alloc(sizeof(*settle));

	settle->done = done;
	settle->user = user;
	settle->number = amqp_consumer_settle(&reader->consumer);
	list_append(&reader->settles, &settle->node);
}

static void amqp_last_call(struct bus_reader *base)
{
	amqp_consumer_cancel(&reader_of(base)->consumer);
}

static void amqp_pause(struct bus_reader *base)
{
	amqp_consumer_pause(&reader_of(base)->consumer, true);
}

static void amqp_resume(struct bus_reader *base)
{
	amqp_consumer_pause(&reader_of(base)->consumer, false);
}

static void amqp_nudge(struct bus_reader *base)
{
	(void)base;	/* the broker does that */
}

/* --- life --- */

/* Makes the file that tells of an unclean end. true when it was there: the last end was one. */
static bool mark_open(struct amqp_reader *reader)
{
	const struct bus_options *options = &reader->base.options;
	struct buf path;
	bool there;
	int fd;

	if (options->state == NULL)
		return false;
	buf_init(&path);
	buf_printf(&path, "%s/bus-", options->state);
	str_url_encode(&path, options->queue, strlen(options->queue));
	buf_printf(&path, "-%u.open", options->number);
	reader->state_path = buf_steal(&path);
	there = access(reader->state_path, F_OK) == 0;
	fd = open(reader->state_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		log_warning("%s cannot be made: after a crash of broker and sink together events may double",
			    reader->state_path);
		return there;
	}
	fsync(fd);
	close(fd);
	return there;
}

static struct bus_reader *amqp_open(const struct bus_reader *base, const char *url, struct store *store,
				    struct error *err)
{
	struct amqp_reader *reader = mem_alloc(sizeof(*reader));
	const struct bus_options *options = &base->options;

	(void)store;
	reader->base = *base;
	reader->queue = (struct bus_queue){options->queue, options->exchange, options->type, options->key};
	reader->channels[0].first = reader->channels[1].first = 1;
	reader->url = mem_strdup(url);
	buf_init(&reader->verdicts);
	buf_init(&reader->again);
	list_init(&reader->settles);
	list_init(&reader->parcels);
	list_init(&reader->rejections);
	if (amqp_consumer_init(&reader->consumer, base->loop, url, &reader->queue, options->unacked_messages,
			       options->unacked_bytes, options->body_max, mark_open(reader), on_news, reader, err) < 0) {
		reader->base.texts = NULL;
		destroy(reader);
		return NULL;
	}
	reader->base.stats.unacked_most = amqp_consumer_prefetch(&reader->consumer);
	reader->again_timer = loop_timer_new(base->loop, on_again, reader);
	return &reader->base;
}

static bool all_resolved(struct channel *channel)
{
	for (uint64_t number = channel->first; number < channel->first + channel->count; number++)
		if (!entry_at(channel, number)->resolved)
			return false;
	return true;
}

static void amqp_close(struct bus_reader *base)
{
	struct amqp_reader *reader = reader_of(base);
	bool clean = all_resolved(&reader->channels[0]);

	loop_timer_free(&reader->again_timer);
	bus_publisher_close(&reader->publisher);
	amqp_consumer_fini(&reader->consumer);
	if (clean && reader->consumer.ended_well && reader->state_path != NULL)
		unlink(reader->state_path);
	reader->closed = true;
	if (!reader->busy)
		destroy(reader);
}

static int check(const char *url, struct error *err)
{
	struct arena *arena = arena_new();
	struct amqp_url parts;
	int status = amqp_url_parse(url, arena, &parts, err);

	arena_free(&arena);
	return status;
}

const struct bus_ops bus_amqp_ops = {
	.check = check,
	.open = amqp_open,
	.ack = amqp_ack,
	.reject = amqp_reject,
	.holds = amqp_holds,
	.distrust = amqp_distrust,
	.last_call = amqp_last_call,
	.pause = amqp_pause,
	.resume = amqp_resume,
	.nudge = amqp_nudge,
	.settle = amqp_settle,
	.close = amqp_close,
};
