/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a sink's batches and its breaker. All of it runs on the loop's thread but batch_attempt. */
#include "sink/consumer.h"

#include <assert.h>
#include <inttypes.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/list.h"
#include "bus/bus.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "sink/batch.h"
#include "sink/decode.h"
#include "sink/table.h"

#define BATCHES 2
#define LOG_MS 10000
/* Before the breaker opens: a hiccup is over soon. */
#define RETRY_FIRST_MS 50
#define RETRY_CAP_MS 1000
#define PARK_RETRY_MS 1000
/* Of its memory a batch uses such a part, or it is not kept. */
#define SHRUNK 16
/* Without a batch for so long, memory that waits for one is given back. */
#define IDLE_MS 10000

struct consumer {
	struct consumer_options options;
	int64_t start_ms;		/* inserts of a process before this one began earlier */
	struct bus_reader *reader;
	struct loop_thread *thread;
	struct writer writer;		/* the thread's while a batch is running */
	struct batch *filling;		/* or NULL */
	struct batch *spare;		/* an empty one that was used, or NULL */
	size_t batches;			/* in use: filling, sealed, running or parking */
	struct list sealed;		/* waiting for an attempt, in order */
	struct batch *running;		/* or NULL */
	struct list parking;		/* resolved, their letters on the way to the store */
	struct loop_timer *age_timer;	/* seals the filling batch */
	struct loop_timer *retry_timer;	/* no attempt while it runs */
	struct loop_timer *wake_timer;	/* the first suspects may go then */
	struct loop_timer *park_timer;	/* parks again what the store did not take */
	struct loop_timer *idle_timer;	/* gives spare memory back */
	struct backoff retry, probe, busy;
	bool shared;			/* others may get what this one holds: a broker's queue */
	unsigned int failures;		/* in a row */
	bool open;
	size_t rows, bytes, rows_peak;
	size_t unacked_most;		/* messages that the bus delivers at once */
	uint64_t attempts;
	bool paused, draining, settling, settled;
	bool last_call;		/* draining: what still comes is to be dealt with */
	consumer_done_fn *drained;
	void *drained_user;
	int64_t log_state, dead_log_state;
};

/* Gauges are of the process: the sum over its consumers, all on one thread. */
static size_t all_rows, all_bytes;

static void pump(struct consumer *consumer);

static const char *name_of(const struct consumer *consumer)
{
	return consumer->options.table->sink->name;
}

static void hold(struct consumer *consumer, size_t rows, size_t bytes)
{
	consumer->rows += rows;
	consumer->bytes += bytes;
	if (consumer->rows > consumer->rows_peak)
		consumer->rows_peak = consumer->rows;
	all_rows += rows;
	all_bytes += bytes;
	metric_set(METRIC_BUFFER_ROWS, all_rows);
	metric_set(METRIC_BUFFER_BYTES, all_bytes);
}

static void release(struct consumer *consumer, struct batch **batch)
{
	consumer->rows -= (*batch)->events;
	consumer->bytes -= (*batch)->body.len;
	all_rows -= (*batch)->events;
	all_bytes -= (*batch)->body.len;
	metric_set(METRIC_BUFFER_ROWS, all_rows);
	metric_set(METRIC_BUFFER_BYTES, all_bytes);
	/* With one beside it that is full, as many as may be held at all; not what was made for much more. */
	if (--consumer->batches < BATCHES && consumer->spare == NULL &&
	    (*batch)->body.len >= (*batch)->body.cap / SHRUNK) {
		consumer->spare = *batch;
		batch_clear(consumer->spare);
		*batch = NULL;
		loop_timer_start(consumer->idle_timer, IDLE_MS, 0);
		return;
	}
	batch_free(batch);
}

static void on_idle(void *user)
{
	struct consumer *consumer = user;

	if (consumer->running != NULL) {
		loop_timer_start(consumer->idle_timer, IDLE_MS, 0);
		return;
	}
	batch_free(&consumer->spare);
	writer_shrink(&consumer->writer);
}

static struct batch *next_batch(struct consumer *consumer)
{
	struct batch *batch = consumer->spare;

	consumer->spare = NULL;
	consumer->batches++;
	return batch != NULL ? batch : batch_new(consumer);
}

/* Whether a batch may be tried as soon as none runs: suspects wait for their time. */
static bool has_ripe(const struct consumer *consumer)
{
	const struct list *pos;

	list_each(pos, &consumer->sealed)
		if (list_entry(pos, struct batch, node)->not_before_ms <= loop_now_ms(consumer->options.loop))
			return true;
	return false;
}

/* The breaker is open and there is nothing to try the table with: some messages have to come. */
static bool lacks_probe(const struct consumer *consumer)
{
	return consumer->running == NULL && !loop_timer_active(consumer->retry_timer) && !has_ripe(consumer);
}

/* Rows are bounded here; bytes and messages by the bus, which counts them anyway. */
static void regulate(struct consumer *consumer)
{
	bool pause = (consumer->open && !lacks_probe(consumer)) || consumer->rows >= BATCHES * consumer->options.batch_rows;

	if (pause == consumer->paused || consumer->draining)
		return;
	consumer->paused = pause;
	if (pause)
		bus_pause(consumer->reader);
	else
		bus_resume(consumer->reader);
}

/* --- draining --- */

static bool is_idle(const struct consumer *consumer)
{
	return consumer->running == NULL && consumer->filling == NULL && list_empty(&consumer->sealed) &&
	       list_empty(&consumer->parking);
}

static void finish_drain(struct consumer *consumer);

static void on_settled(void *user, const struct error *err)
{
	struct consumer *consumer = user;

	(void)err;
	consumer->settling = false;
	consumer->settled = is_idle(consumer);		/* what had been sent may have come meanwhile */
	if (consumer->settled)
		consumer->drained(consumer->drained_user);
	else
		finish_drain(consumer);
}

static void finish_drain(struct consumer *consumer)
{
	if (!consumer->draining || consumer->settling || consumer->settled || !is_idle(consumer))
		return;
	consumer->settling = true;
	bus_settle(consumer->reader, on_settled, consumer);
}

/*
 * The messages are not this consumer's to insert any more: what it still holds
 * goes back, to be looked up by the queue's resolver; the rest went by itself.
 */
static void forget(struct consumer *consumer, struct batch *batch)
{
	for (size_t i = 0; i < batch->message_count; i++) {
		const uint64_t *tag = &batch->tags[i];

		if (!bus_holds(consumer->reader, tag, 1))
			bus_ack(consumer->reader, tag, 1);	/* only frees its place */
		else
			bus_distrust(consumer->reader, tag, 1);
	}
	release(consumer, &batch);
}

/*
 * Whether the batch may be inserted now. Not when the broker has given its
 * messages to somebody else, and not when a copy of one may be looked up before
 * this insert would be over.
 */
static bool may_begin(const struct consumer *consumer, const struct batch *batch)
{
	const struct consumer_options *options = &consumer->options;
	int64_t age_ms = loop_now_ms(options->loop) - batch->taken_ms;

	return bus_holds(consumer->reader, batch->tags, batch->message_count) &&
	       (!consumer->shared || batch->resolver || age_ms <= options->suspect_wait_ms - options->deadline_ms);
}

/* The queue still has all of it. */
static void abandon(struct consumer *consumer, struct list *batches)
{
	struct list *pos, *following;

	list_each_safe(pos, following, batches) {
		struct batch *batch = list_entry(pos, struct batch, node);

		release(consumer, &batch);
	}
}

/* --- resolved batches --- */

static void on_parked(void *user, const struct error *err)
{
	struct batch *batch = user;
	struct consumer *consumer = batch->owner;

	if (err->code != ERR_NONE) {
		if (log_limited(&consumer->log_state, LOG_MS))
			log_warning("dead letters wait sink=%s: %s", name_of(consumer), err->text);
		if (!loop_timer_active(consumer->park_timer))
			loop_timer_start(consumer->park_timer, PARK_RETRY_MS, 0);
		batch->not_before_ms = 1;	/* marks it for the timer */
		return;
	}
	metric_add(METRIC_SINK_DEAD, batch->letter_count);
	release(consumer, &batch);
	regulate(consumer);
	finish_drain(consumer);
}

static void park(struct consumer *consumer, struct batch *batch)
{
	batch->not_before_ms = 0;
	bus_reject(consumer->reader, batch->tags, batch->message_count, batch->letters, batch->letter_count, on_parked,
		   batch);
}

static void on_park_timer(void *user)
{
	struct consumer *consumer = user;
	struct list *pos, *following;

	list_each_safe(pos, following, &consumer->parking) {
		struct batch *batch = list_entry(pos, struct batch, node);

		if (batch->not_before_ms != 0)
			park(consumer, batch);
	}
}

static void resolve(struct consumer *consumer, struct batch *batch)
{
	if (batch->letter_count > 0) {
		if (log_limited(&consumer->dead_log_state, LOG_MS))
			log_warning("dead letters sink=%s count=%zu code=\"%s\": %s", name_of(consumer),
				    batch->letter_count, batch->letters[0].code, batch->letters[0].reason);
		list_append(&consumer->parking, &batch->node);
		park(consumer, batch);
		return;
	}
	bus_ack(consumer->reader, batch->tags, batch->message_count);
	release(consumer, &batch);
}

/* --- attempts --- */

static void succeeded(struct consumer *consumer)
{
	if (consumer->open)
		log_info("the table takes rows again sink=%s", name_of(consumer));
	consumer->open = false;
	consumer->failures = 0;
	backoff_reset(&consumer->retry);
	backoff_reset(&consumer->probe);
	backoff_reset(&consumer->busy);
}

/* How long to wait after a failed attempt; opens the breaker when it was one too many. */
static int64_t failed(struct consumer *consumer, const struct batch *batch)
{
	consumer->failures++;
	if (!consumer->open && consumer->failures >= consumer->options.breaker_failures) {
		consumer->open = true;
		log_error("the table takes no rows, consuming pauses sink=%s failures=%u: %s", name_of(consumer),
			  consumer->failures, batch->err.text);
	} else if (log_limited(&consumer->log_state, LOG_MS)) {
		log_warning("insert failed sink=%s failures=%u: %s", name_of(consumer), consumer->failures,
			    batch->err.text);
	}
	return backoff_next(consumer->open ? &consumer->probe : &consumer->retry);
}

static void count(const struct batch_counts *counts)
{
	metric_add(METRIC_SINK_ROWS, counts->rows);
	metric_add(METRIC_SINK_BATCHES, counts->inserts);
	metric_add(METRIC_SINK_ERRORS, counts->errors);
	metric_add(METRIC_SINK_SUSPECTS, counts->suspects);
	metric_add(METRIC_SINK_REPEATS, counts->repeats);
}

static void put_back(struct consumer *consumer, struct batch *batch)
{
	int64_t wait_ms;

	if (batch->outcome == BATCH_UNCLEAR && consumer->shared && !batch->resolver) {
		wait_ms = failed(consumer, batch);
		forget(consumer, batch);
		if (!consumer->draining)
			loop_timer_start(consumer->retry_timer, wait_ms, 0);
		return;
	}
	list_append(consumer->sealed.next, &batch->node);	/* before the first */
	if (batch->outcome == BATCH_UNCLEAR)
		batch->not_before_ms = loop_now_ms(consumer->options.loop) + consumer->options.suspect_wait_ms;
	if (batch->outcome == BATCH_EARLY) {		/* others may go on */
		batch->not_before_ms = loop_now_ms(consumer->options.loop) + batch->wait_ms;
		if (batch->err.code != ERR_NONE && log_limited(&consumer->log_state, LOG_MS))
			log_warning("suspect events wait sink=%s: %s", name_of(consumer), batch->err.text);
		if (consumer->draining)
			abandon(consumer, &consumer->sealed);
		return;
	}
	if (batch->outcome == BATCH_BUSY) {
		wait_ms = backoff_next(&consumer->busy);
		if (log_limited(&consumer->log_state, LOG_MS))
			log_warning("the warehouse asks to wait sink=%s ms=%" PRId64 ": %s", name_of(consumer), wait_ms,
				    batch->err.text);
	} else {
		wait_ms = failed(consumer, batch);
	}
	if (consumer->draining)
		abandon(consumer, &consumer->sealed);
	else
		loop_timer_start(consumer->retry_timer, wait_ms, 0);
}

static void on_attempt(struct loop_job *job)
{
	struct batch *batch = (struct batch *)(void *)job;
	struct consumer *consumer = batch->owner;

	consumer->running = NULL;
	consumer->attempts++;
	count(&batch->counts);
	if (consumer->reader == NULL) {		/* being freed */
		release(consumer, &batch);
		return;
	}
	if (batch->outcome == BATCH_DONE) {
		succeeded(consumer);
		resolve(consumer, batch);
	} else {
		put_back(consumer, batch);
	}
	regulate(consumer);
	pump(consumer);
	finish_drain(consumer);
}

static void run_attempt(struct loop_job *job, struct loop_thread *thread)
{
	struct batch *batch = (struct batch *)(void *)job;
	struct consumer *consumer = batch->owner;

	(void)thread;
	batch_attempt(batch, &consumer->writer);
}

static void begin(struct consumer *consumer, struct batch *batch)
{
	list_remove(&batch->node);
	consumer->running = batch;
	batch->job.run = run_attempt;
	batch->job.done = on_attempt;
	loop_thread_submit(consumer->thread, &batch->job);
}

/* Starts the first batch that may go; suspects may have to wait while others go. */
static void pump(struct consumer *consumer)
{
	int64_t now = loop_now_ms(consumer->options.loop), first = INT64_MAX;
	struct list *pos, *following;

	if (consumer->running != NULL || loop_timer_active(consumer->retry_timer))
		return;
	list_each_safe(pos, following, &consumer->sealed) {
		struct batch *batch = list_entry(pos, struct batch, node);

		if (batch->not_before_ms > now) {
			if (batch->not_before_ms < first)
				first = batch->not_before_ms;
			continue;
		}
		if (may_begin(consumer, batch)) {
			begin(consumer, batch);
			return;
		}
		if (!consumer->shared)		/* the end of this process is near */
			return;
		list_remove(&batch->node);
		forget(consumer, batch);
	}
	if (first == INT64_MAX)
		return;
	if (consumer->draining)
		abandon(consumer, &consumer->sealed);
	else
		loop_timer_start(consumer->wake_timer, first - now, 0);
}

static void on_wake(void *user)
{
	pump(user);
	regulate(user);
}

/* --- filling --- */

static void seal(struct consumer *consumer)
{
	struct batch *batch = consumer->filling;

	loop_timer_stop(consumer->age_timer);
	if (batch == NULL)
		return;
	consumer->filling = NULL;
	if (batch->suspect) {
		int64_t from_ms = consumer->start_ms;

		if (batch->suspect_ms != 0)
			from_ms = loop_now_ms(consumer->options.loop) - (clock_wall_ms() - batch->suspect_ms);
		batch->not_before_ms = from_ms + consumer->options.suspect_wait_ms;
	}
	list_append(&consumer->sealed, &batch->node);
	pump(consumer);
}

static void on_age(void *user)
{
	seal(user);
	regulate(user);
}

static bool has_room(const struct consumer *consumer, const struct bus_message *message)
{
	const struct batch *batch = consumer->filling;

	return batch->suspect == message->suspect &&
	       batch->events + batch_count_events(message) <= consumer->options.batch_rows &&
	       batch->body.len + message->len <= consumer->options.batch_bytes;
}

static void take(struct consumer *consumer, const struct bus_message *message)
{
	const struct consumer_options *options = &consumer->options;
	size_t events, bytes;
	struct batch *batch;

	if (consumer->filling != NULL && !has_room(consumer, message))
		seal(consumer);
	if (consumer->filling == NULL) {
		consumer->filling = next_batch(consumer);
		consumer->filling->resolver = message->suspect;
		consumer->filling->taken_ms = loop_now_ms(options->loop);
		loop_timer_start(consumer->age_timer, options->batch_age_ms, 0);
	}
	batch = consumer->filling;
	events = batch->events;
	bytes = batch->body.len;
	batch_add(batch, message);
	hold(consumer, batch->events - events, batch->body.len - bytes);
	/* Not more messages than leave room for another batch to fill meanwhile. */
	if (batch->events >= options->batch_rows || batch->body.len >= options->batch_bytes ||
	    batch->message_count >= consumer->unacked_most / BATCHES)
		seal(consumer);
}

static void on_lost(void *user)
{
	struct consumer *consumer = user;

	log_warning("another node reads the queue sink=%s", name_of(consumer));
	if (consumer->options.lost != NULL)
		consumer->options.lost(consumer->options.user);
}

static void on_messages(void *user, const struct bus_message *messages, size_t message_count)
{
	struct consumer *consumer = user;
	struct bus_stats stats;

	if (consumer->draining && !consumer->last_call)
		return;		/* never acknowledged: they stay in the queue */
	for (size_t i = 0; i < message_count; i++)
		take(consumer, &messages[i]);
	if (consumer->draining)
		seal(consumer);
	bus_reader_stats(consumer->reader, &stats);
	/* Nothing more will come to fill it. */
	if (stats.unacked >= consumer->unacked_most)
		seal(consumer);
	regulate(consumer);
}

/* --- life --- */

struct consumer *consumer_new(const struct consumer_options *options, struct error *err)
{
	struct consumer *consumer = mem_alloc(sizeof(*consumer));
	struct bus_options bus = { .queue = options->queue, .messages = on_messages, .lost = on_lost,
				   .user = consumer };
	struct bus_stats stats;

	consumer->options = *options;
	consumer->start_ms = loop_now_ms(options->loop);
	consumer->shared = bus_publishes(options->bus);
	list_init(&consumer->sealed);
	list_init(&consumer->parking);
	backoff_init(&consumer->retry, RETRY_FIRST_MS, RETRY_CAP_MS);
	backoff_init(&consumer->probe, options->breaker_first_ms, options->breaker_cap_ms);
	backoff_init(&consumer->busy, options->breaker_first_ms, options->breaker_cap_ms);
	consumer->writer = (struct writer){
		.table = options->table, .url = options->warehouse, .wh = options->wh, .node = options->node,
		.hold_ms = options->suspect_wait_ms, .away = options->wh == NULL,
		.deadline_ms = options->deadline_ms, .durability = options->durability,
		.decoder = decoder_new(options->table)
	};
	backoff_init(&consumer->writer.lookup, LOOKUP_FIRST_MS, LOOKUP_CAP_MS);
	consumer->age_timer = loop_timer_new(options->loop, on_age, consumer);
	consumer->retry_timer = loop_timer_new(options->loop, on_wake, consumer);
	consumer->wake_timer = loop_timer_new(options->loop, on_wake, consumer);
	consumer->park_timer = loop_timer_new(options->loop, on_park_timer, consumer);
	consumer->idle_timer = loop_timer_new(options->loop, on_idle, consumer);
	consumer->thread = loop_thread_new(options->loop, name_of(consumer));
	bus.exchange = options->exchange;
	bus.type = options->exchange_type;
	bus.key = options->key;
	bus.state = options->state;
	bus.number = options->number;
	bus.body_max = options->body_max;
	bus.unacked_messages = consumer->options.unacked_messages;
	bus.unacked_bytes = BATCHES * options->batch_bytes;
	consumer->reader = bus_open(options->loop, options->bus, options->store, &bus, err);
	if (consumer->reader == NULL) {
		error_prefix(err, "sink %s", name_of(consumer));
		consumer_free(&consumer);
		return NULL;
	}
	bus_reader_stats(consumer->reader, &stats);
	consumer->unacked_most = stats.unacked_most;
	return consumer;
}

void consumer_nudge(struct consumer *consumer)
{
	if (!consumer->draining)
		bus_nudge(consumer->reader);
}

void consumer_drain(struct consumer *consumer, consumer_done_fn *done, void *user)
{
	assert(!consumer->draining);
	consumer->draining = true;
	consumer->drained = done;
	consumer->drained_user = user;
	consumer->last_call = bus_last_call(consumer->reader) && !consumer->open;
	loop_timer_stop(consumer->retry_timer);
	seal(consumer);
	pump(consumer);
	finish_drain(consumer);
}

void consumer_stats(const struct consumer *consumer, struct consumer_stats *stats_r)
{
	*stats_r = (struct consumer_stats){
		.rows = consumer->rows, .bytes = consumer->bytes, .rows_peak = consumer->rows_peak,
		.paused = consumer->paused, .open = consumer->open, .attempts = consumer->attempts
	};
}

void consumer_free(struct consumer **handle)
{
	struct consumer *consumer = *handle;

	if (consumer == NULL)
		return;
	bus_close(&consumer->reader);
	loop_thread_free(&consumer->thread);
	abandon(consumer, &consumer->sealed);
	abandon(consumer, &consumer->parking);
	if (consumer->filling != NULL)
		release(consumer, &consumer->filling);
	batch_free(&consumer->spare);
	writer_shrink(&consumer->writer);
	loop_timer_free(&consumer->age_timer);
	loop_timer_free(&consumer->retry_timer);
	loop_timer_free(&consumer->wake_timer);
	loop_timer_free(&consumer->park_timer);
	loop_timer_free(&consumer->idle_timer);
	decoder_free(&consumer->writer.decoder);
	warehouse_close(&consumer->writer.wh);
	mem_free(handle);
}
