/* SPDX-License-Identifier: Apache-2.0 */
/* The bus's front: finds the driver and checks the arguments. Runs on the loop thread of its caller. */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/scheme.h"
#include "base/str.h"
#include "bus/driver.h"
#include "json/json.h"

#define LETTERS_CHECK(letters) assert((letters) != NULL && (letters)->magic == BUS_LETTERS_MAGIC)
#define PUBLISHER_CHECK(publisher) \
	assert((publisher) != NULL && (publisher)->magic == BUS_PUBLISHER_MAGIC)
#define READER_CHECK(reader) assert((reader) != NULL && (reader)->magic == BUS_READER_MAGIC)

static const struct driver {
	const char *scheme;
	const struct bus_ops *ops;
	const struct bus_publisher_ops *publisher_ops;	/* NULL: has none */
	const struct bus_letters_ops *letters_ops;
} drivers[] = {
	{"direct", &bus_direct_ops, NULL, &bus_direct_letters_ops},
#ifdef HAVE_RABBITMQ
	{"amqp", &bus_amqp_ops, &bus_amqp_publisher_ops, &bus_amqp_letters_ops},
	{"amqps", &bus_amqp_ops, &bus_amqp_publisher_ops, &bus_amqp_letters_ops},
#endif
};
#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))

static const struct driver *find_driver(const char *url, struct error *err)
{
	return scheme_find(drivers, DRIVERS, sizeof(drivers[0]), url, "bus", err);
}

int bus_check_url(const char *url, struct error *err)
{
	const struct driver *driver = find_driver(url, err);

	if (driver == NULL)
		return -1;
	return driver->ops->check != NULL ? driver->ops->check(url, err) : 0;
}

static const char *copy(struct arena *arena, const char *text)
{
	return text != NULL ? arena_strdup(arena, text) : NULL;
}

struct bus_queue bus_queue_copy(struct arena *arena, const struct bus_queue *queue)
{
	return (struct bus_queue){.name = copy(arena, queue->name),
				  .exchange = copy(arena, queue->exchange),
				  .type = copy(arena, queue->type),
				  .key = copy(arena, queue->key)};
}

struct bus_reader *bus_open(struct loop *loop, const char *url, struct store *store,
			    const struct bus_options *options, struct error *err)
{
	const struct driver *driver = find_driver(url, err);
	struct bus_reader base = {.magic = BUS_READER_MAGIC, .loop = loop, .options = *options};
	struct bus_reader *reader;

	assert(options->queue != NULL && options->messages != NULL);
	if (driver == NULL)
		return NULL;
	base.ops = driver->ops;
	base.texts = arena_new();
	if (base.options.unacked_messages == 0 || base.options.unacked_messages > BUS_UNACKED_MAX)
		base.options.unacked_messages = BUS_UNACKED_MAX;
	base.stats.unacked_most = base.options.unacked_messages;
	if (base.options.unacked_bytes == 0)
		base.options.unacked_bytes = 64 * 1024 * 1024;
	if (base.options.body_max == 0)
		base.options.body_max = BUS_BODY_MAX;
	base.options.queue = copy(base.texts, options->queue);
	base.options.exchange = copy(base.texts, options->exchange);
	base.options.type = copy(base.texts, options->type);
	base.options.key = copy(base.texts, options->key);
	base.options.state = copy(base.texts, options->state);
	reader = base.ops->open(&base, url, store, err);
	if (reader == NULL)
		arena_free(&base.texts);
	return reader;
}

void bus_ack(struct bus_reader *reader, const uint64_t *tags, size_t count)
{
	READER_CHECK(reader);
	if (count > 0)
		reader->ops->ack(reader, tags, count);
}

void bus_reject(struct bus_reader *reader, const uint64_t *tags, size_t tag_count,
		const struct bus_letter *letters, size_t letter_count, bus_done_fn *done, void *user)
{
	READER_CHECK(reader);
	assert(letter_count > 0);
	reader->ops->reject(reader, tags, tag_count, letters, letter_count, done, user);
}

bool bus_holds(const struct bus_reader *reader, const uint64_t *tags, size_t count)
{
	READER_CHECK(reader);
	return reader->ops->holds == NULL || reader->ops->holds(reader, tags, count);
}

bool bus_distrust(struct bus_reader *reader, const uint64_t *tags, size_t count)
{
	READER_CHECK(reader);
	if (reader->ops->distrust == NULL)
		return false;
	reader->ops->distrust(reader, tags, count);
	return true;
}

bool bus_last_call(struct bus_reader *reader)
{
	READER_CHECK(reader);
	if (reader->ops->last_call == NULL) {
		reader->ops->pause(reader);
		return false;
	}
	reader->ops->last_call(reader);
	return true;
}

void bus_pause(struct bus_reader *reader)
{
	READER_CHECK(reader);
	reader->ops->pause(reader);
}

void bus_resume(struct bus_reader *reader)
{
	READER_CHECK(reader);
	reader->ops->resume(reader);
}

void bus_nudge(struct bus_reader *reader)
{
	READER_CHECK(reader);
	reader->ops->nudge(reader);
}

void bus_reader_stats(const struct bus_reader *reader, struct bus_stats *stats_r)
{
	READER_CHECK(reader);
	*stats_r = reader->stats;
}

void bus_settle(struct bus_reader *reader, bus_done_fn *done, void *user)
{
	READER_CHECK(reader);
	reader->ops->settle(reader, done, user);
}

void bus_close(struct bus_reader **reader)
{
	if (*reader == NULL)
		return;
	READER_CHECK(*reader);
	(*reader)->ops->close(*reader);
	*reader = NULL;
}

/* --- publishing --- */

const char *bus_address(struct arena *arena, const char *exchange, const char *key)
{
	struct buf text;
	const char *address;

	buf_init(&text);
	str_url_encode(&text, exchange, strlen(exchange));
	buf_addc(&text, '/');
	str_url_encode(&text, key, strlen(key));
	address = arena_strdup(arena, text.data);
	buf_fini(&text);
	return address;
}

struct bus_place bus_address_read(struct arena *arena, const char *text)
{
	const char *slash = strchr(text, '/'), *exchange, *key;

	if (slash == NULL)
		return (struct bus_place){.exchange = "", .key = text, .queue = true};
	exchange = str_url_decode(arena, text, (size_t)(slash - text));
	key = str_url_decode(arena, slash + 1, strlen(slash + 1));
	/* Only bus_address writes them; what somebody else put there goes to nobody, with that as the reason. */
	if (exchange == NULL || key == NULL)
		return (struct bus_place){.exchange = "", .key = text};
	return (struct bus_place){.exchange = exchange, .key = key};
}

bool bus_publishes(const char *url)
{
	const struct driver *driver = find_driver(url, NULL);

	return driver != NULL && driver->publisher_ops != NULL;
}

struct bus_publisher *bus_publisher_open(struct loop *loop, const char *url,
					 const struct bus_publisher_options *options, struct error *err)
{
	const struct driver *driver = find_driver(url, err);
	struct bus_publisher base = {
		.magic = BUS_PUBLISHER_MAGIC, .published = options->published, .user = options->user};

	assert(options->published != NULL && options->name != NULL);
	if (driver == NULL)
		return NULL;
	base.ops = driver->publisher_ops;
	if (base.ops == NULL) {
		error_set(err, ERR_INPUT, "nothing is published to %s:", driver->scheme);
		return NULL;
	}
	return base.ops->open(&base, loop, url, options, err);
}

void bus_publish(struct bus_publisher *publisher, const struct bus_outgoing *messages, size_t count)
{
	PUBLISHER_CHECK(publisher);
	if (count > 0)
		publisher->ops->publish(publisher, messages, count);
}

void bus_publisher_stats(const struct bus_publisher *publisher, struct bus_publisher_stats *stats_r)
{
	PUBLISHER_CHECK(publisher);
	*stats_r = publisher->stats;
	publisher->ops->stats(publisher, stats_r);
}

void bus_publisher_close(struct bus_publisher **publisher)
{
	if (*publisher == NULL)
		return;
	PUBLISHER_CHECK(*publisher);
	(*publisher)->ops->close(*publisher);
	*publisher = NULL;
}

/* --- letters --- */

struct bus_history bus_history_of(const struct json *headers)
{
	struct bus_history history = {.id = json_string(json_member(headers, "x-sluice-id"), NULL)};
	size_t len = 0;
	const char *first = json_string(json_member(headers, "x-sluice-first"), &len);

	if (first == NULL || clock_parse(first, len, &history.first_ms) < 0)
		history.first_ms = 0;
	if (!json_int(json_member(headers, "x-sluice-count"), &history.count) || history.count < 0)
		history.count = 0;
	return history;
}

struct bus_history bus_history_read(struct arena *arena, const char *headers)
{
	struct json_doc *doc = headers != NULL ? json_parse(headers, strlen(headers), NULL) : NULL;
	struct bus_history history = bus_history_of(doc != NULL ? json_root(doc) : NULL);

	history.id = copy(arena, history.id);
	json_doc_free(&doc);
	return history;
}

struct bus_letters *bus_letters_open(const char *url, struct store_sync *store, const char *const *queues,
				     size_t queue_count, struct error *err)
{
	const struct driver *driver = find_driver(url, err);
	struct bus_letters base = {.magic = BUS_LETTERS_MAGIC, .queue_count = queue_count};
	struct bus_letters *letters;
	const char **copies;

	if (driver == NULL)
		return NULL;
	base.ops = driver->letters_ops;
	base.arena = arena_new();
	base.queues = copies = arena_alloc(base.arena, (queue_count + 1) * sizeof(*copies));
	for (size_t i = 0; i < queue_count; i++)
		copies[i] = copy(base.arena, queues[i]);
	letters = base.ops->open(&base, url, store, err);
	if (letters == NULL)
		arena_free(&base.arena);
	else if (store != NULL && driver->letters_ops != &bus_direct_letters_ops)
		letters->stored = bus_letters_open("direct:", store, NULL, 0, err);
	return letters;
}

int bus_letters_has_queue(struct bus_letters *letters, const char *queue, struct error *err)
{
	int has = 0;

	LETTERS_CHECK(letters);
	if (letters->stored != NULL)
		has = bus_letters_has_queue(letters->stored, queue, err);
	return has != 0 ? has : letters->ops->has_queue(letters, queue, err);
}

/* What is left of the filter's limit after the store's letters; false: nothing. */
static bool reduce_limit(struct bus_letters_filter *filter, size_t taken)
{
	if (filter->limit == 0)
		return true;
	filter->limit -= taken < filter->limit ? taken : filter->limit;
	return filter->limit > 0;
}

static struct bus_parked *join(struct arena *arena, const struct bus_parked *first, size_t first_count,
			       const struct bus_parked *rest, size_t rest_count)
{
	struct bus_parked *all = arena_alloc(arena, (first_count + rest_count + 1) * sizeof(*all));

	if (first_count > 0)
		memcpy(all, first, first_count * sizeof(*all));
	if (rest_count > 0)
		memcpy(all + first_count, rest, rest_count * sizeof(*all));
	return all;
}

int bus_letters_read(struct bus_letters *letters, const struct bus_letters_filter *filter, struct arena *arena,
		     struct bus_parked **rows_r, size_t *count_r, bool *more_r, struct error *err)
{
	struct bus_letters_filter left = *filter;
	struct bus_parked *stored = NULL;
	size_t stored_count = 0;
	bool more = false;

	LETTERS_CHECK(letters);
	assert(filter->id_count == 0 || filter->found != NULL);
	*rows_r = NULL;
	*count_r = 0;
	*more_r = false;
	if (letters->stored != NULL &&
	    bus_letters_read(letters->stored, filter, arena, &stored, &stored_count, &more, err) < 0)
		return -1;
	/* With nothing left one is asked for, to know whether there are more. */
	if (!reduce_limit(&left, stored_count))
		left.limit = 1;
	if (letters->ops->read(letters, &left, arena, rows_r, count_r, more_r, err) < 0)
		return -1;
	if (filter->limit > 0 && stored_count + *count_r > filter->limit) {
		*count_r = filter->limit - stored_count;
		*more_r = true;
	}
	*more_r |= more;
	if (stored_count > 0)
		*rows_r = join(arena, stored, stored_count, *rows_r, *count_r);
	*count_r += stored_count;
	return 0;
}

int bus_letters_change(struct bus_letters *letters, enum bus_letters_action action,
		       const struct bus_letters_filter *filter, bus_progress_fn *progress, void *user,
		       size_t *done_r, struct error *err)
{
	struct bus_letters_filter left = *filter;
	size_t stored = 0;
	int rc = 0;

	LETTERS_CHECK(letters);
	assert(filter->id_count == 0 || filter->found != NULL);
	*done_r = 0;
	if (letters->stored != NULL)
		rc = bus_letters_change(letters->stored, action, filter, progress, user, &stored, err);
	if (rc == 0 && reduce_limit(&left, stored))
		rc = letters->ops->change(letters, action, &left, progress, user, done_r, err);
	*done_r += stored;
	return rc;
}

void bus_letters_close(struct bus_letters **letters)
{
	struct arena *arena;

	if (*letters == NULL)
		return;
	LETTERS_CHECK(*letters);
	bus_letters_close(&(*letters)->stored);
	arena = (*letters)->arena;
	(*letters)->ops->close(*letters);
	arena_free(&arena);
	*letters = NULL;
}
