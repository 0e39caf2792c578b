/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The direct: bus: the sink reads the task store's outbox; a message is an
 * outbox row, its tag the row's id, and acknowledging deletes it. Rows that
 * were there when the reader started may have been inserted by one before it,
 * and are suspect. Runs on the sink's loop thread.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "bus/direct_hold.h"
#include "bus/driver.h"
#include "log/log.h"
#include "loop/loop.h"
#include "pack/frame.h"
#include "store/store.h"

#define READ_ROWS 512
#define READ_BYTES ((size_t)8 * 1024 * 1024)
#define IDLE_FIRST_MS 200
#define IDLE_MAX_MS 1000

/* A row that was delivered and still exists. */
struct entry {
	int64_t id;
	size_t bytes;
	bool acked;
};

struct settle {
	struct list node;
	bus_done_fn *done;
	void *user;
};

struct direct {
	struct bus_reader base;
	struct store *store;
	struct loop_timer *read_timer; /* the next look when idle, or after an error */
	struct loop_timer *delete_timer; /* the next try of a deletion, or a settle that is due */
	struct backoff read_backoff, delete_backoff;
	int64_t idle_ms;
	int64_t start_id; /* rows up to it are suspect … */
	int64_t start_ms; /* … and wait from then on (wall clock) */
	struct direct_hold *hold; /* NULL: nobody else can read the queue */
	bool started, paused, reading, nudged, closed;
	unsigned int requests; /* the store's answers that are still to come */
	struct entry *entries; /* sorted by id */
	size_t count, cap;
	int64_t *deleting; /* ids of the deletion under way, else NULL */
	size_t deleting_count;
	size_t acked; /* entries that are acked */
	struct list settles;
	int64_t log_state;
};

static void look(struct direct *direct);

static struct direct *direct_of(struct bus_reader *reader)
{
	assert(reader->ops == &bus_direct_ops);
	return (struct direct *)reader;
}

static void destroy(struct direct *direct)
{
	struct list *pos, *following;

	list_each_safe (pos, following, &direct->settles)
		mem_release(list_entry(pos, struct settle, node));
	arena_free(&direct->base.texts);
	mem_free(&direct->entries);
	mem_free(&direct->deleting);
	direct->base.magic = 0;
	mem_release(direct);
}

/* Every answer of the store begins with this: false when the reader was closed meanwhile. */
static bool answered(struct direct *direct, const struct error *err)
{
	direct->requests--;
	if (direct->closed) {
		if (direct->requests == 0)
			destroy(direct);
		return false;
	}
	if (err->code != ERR_NONE) {
		direct->base.stats.errors++;
		if (log_limited(&direct->log_state, 10000))
			log_warning("bus queue=%s: %s", direct->base.options.queue, err->text);
	}
	return true;
}

/* --- rows in flight --- */

/* Where id is, or would have to be. */
static size_t position(const struct direct *direct, int64_t id)
{
	size_t low = 0, high = direct->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (direct->entries[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct entry *find(const struct direct *direct, int64_t id)
{
	size_t at = position(direct, id);

	return at < direct->count && direct->entries[at].id == id ? &direct->entries[at] : NULL;
}

static void add_entry(struct direct *direct, int64_t id, size_t bytes)
{
	size_t at = position(direct, id);

	if (direct->count == direct->cap) {
		direct->cap = direct->cap == 0 ? 256 : direct->cap * 2;
		direct->entries = mem_realloc(direct->entries, direct->cap * sizeof(*direct->entries));
	}
	memmove(&direct->entries[at + 1], &direct->entries[at],
		(direct->count - at) * sizeof(*direct->entries));
	direct->entries[at] = (struct entry){.id = id, .bytes = bytes};
	direct->count++;
	direct->base.stats.unacked++;
	direct->base.stats.unacked_bytes += bytes;
}

/* --- deleting what is acknowledged --- */

static void on_deleted(void *user, const struct error *err);

static void delete_acked(struct direct *direct)
{
	size_t i, n = 0;

	if (direct->deleting != NULL || direct->acked == 0)
		return;
	direct->deleting = mem_alloc(direct->acked * sizeof(*direct->deleting));
	for (i = 0; i < direct->count; i++)
		if (direct->entries[i].acked)
			direct->deleting[n++] = direct->entries[i].id;
	assert(n == direct->acked);
	direct->deleting_count = n;
	direct->requests++;
	store_outbox_delete(direct->store, direct->deleting, n, on_deleted, direct);
}

static void answer_settles(struct direct *direct)
{
	struct error none = {.code = ERR_NONE};

	while (direct->acked == 0 && !list_empty(&direct->settles)) {
		struct settle *settle = list_entry(direct->settles.next, struct settle, node);
		bus_done_fn *done = settle->done;
		void *user = settle->user;

		list_remove(&settle->node);
		mem_release(settle);
		done(user, &none);
		if (direct->closed)
			return;
	}
}

/* A callback may close the reader, which is then kept until this is done with it. */
static void settle_all(struct direct *direct)
{
	direct->requests++;
	answer_settles(direct);
	direct->requests--;
	if (direct->closed && direct->requests == 0)
		destroy(direct);
}

/* The deleted rows are forgotten only now: until then the next read must pass them over. */
static void forget_deleted(struct direct *direct)
{
	size_t i, kept = 0, next = 0;

	for (i = 0; i < direct->count; i++) {
		if (next < direct->deleting_count && direct->entries[i].id == direct->deleting[next])
			next++;
		else
			direct->entries[kept++] = direct->entries[i];
	}
	assert(next == direct->deleting_count);
	direct->count = kept;
	direct->acked -= direct->deleting_count;
	direct->base.stats.unsettled = direct->acked;
}

static void on_deleted(void *user, const struct error *err)
{
	struct direct *direct = user;

	if (!answered(direct, err))
		return;
	if (err->code != ERR_NONE) {
		mem_free(&direct->deleting);
		loop_timer_start(direct->delete_timer, backoff_next(&direct->delete_backoff), 0);
		return;
	}
	backoff_reset(&direct->delete_backoff);
	forget_deleted(direct);
	mem_free(&direct->deleting);
	delete_acked(direct);
	settle_all(direct);
}

static void on_delete_timer(void *user)
{
	struct direct *direct = user;

	delete_acked(direct);
	settle_all(direct);
}

static void direct_ack(struct bus_reader *reader, const uint64_t *tags, size_t count)
{
	struct direct *direct = direct_of(reader);
	size_t i;

	for (i = 0; i < count; i++) {
		struct entry *entry = find(direct, (int64_t)tags[i]);

		assert(entry != NULL && !entry->acked);
		entry->acked = true;
		direct->acked++;
		reader->stats.acked++;
		reader->stats.unacked--;
		reader->stats.unacked_bytes -= entry->bytes;
	}
	reader->stats.unsettled = direct->acked;
	if (!loop_timer_active(direct->delete_timer))
		delete_acked(direct);
	look(direct);
}

static void direct_settle(struct bus_reader *reader, bus_done_fn *done, void *user)
{
	struct direct *direct = direct_of(reader);
	struct settle *settle = mem_alloc(sizeof(*settle));

	settle->done = done;
	settle->user = user;
	list_append(&direct->settles, &settle->node);
	if (direct->acked == 0)
		loop_timer_start(direct->delete_timer, 0, 0);
}

/* --- reading --- */

static void deliver(struct direct *direct, const struct store_outbox_row *rows, size_t count)
{
	struct arena *arena = arena_new();
	struct bus_message *messages = arena_alloc(arena, count * sizeof(*messages));
	size_t i;

	for (i = 0; i < count; i++) {
		const char *letter = bus_history_read(arena, rows[i].headers).id, *text, *problem = NULL;
		struct error err;
		size_t len;
		bool suspect = rows[i].id <= direct->start_id || letter != NULL;

		if (store_outbox_text(&rows[i], arena, &text, &len, &err) < 0)
			problem = arena_strdup(arena, err.text);
		add_entry(direct, rows[i].id, rows[i].bytes);
		messages[i] = (struct bus_message){
			.tag = (uint64_t)rows[i].id,
			.id = letter != NULL ? letter
					     : arena_printf(arena, "%s/%" PRId64, store_id(direct->store), rows[i].id),
			.body = text,
			.len = len,
			.problem = problem,
			.events = rows[i].events,
			.created_ms = rows[i].created_ms,
			.suspect = suspect,
			/* Another node's reader may have been at work until then. */
			.suspect_ms = suspect && direct->hold != NULL ? direct->start_ms : 0,
			.letter = letter != NULL,
			.headers = rows[i].headers,
		};
	}
	direct->base.stats.delivered += count;
	direct->base.options.messages(direct->base.options.user, messages, count);
	arena_free(&arena);
}

/* They wait for a program that can. */
static bool can_read(const struct store_outbox_row *rows, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].packed && !frame_available()) {
			error_set(err, ERR_INPUT, "events are packed with lz4, which this build of sluice has not");
			return false;
		}
	return true;
}

static void on_rows(void *user, const struct store_outbox_row *rows, size_t count, const struct error *answer)
{
	struct direct *direct = user;
	struct error err = *answer;
	bool good = err.code == ERR_NONE && can_read(rows, count, &err);

	direct->reading = false;
	if (!answered(direct, &err) || !direct->started)
		return;
	if (!good) {
		loop_timer_start(direct->read_timer, backoff_next(&direct->read_backoff), 0);
		return;
	}
	backoff_reset(&direct->read_backoff);
	if (count > 0) {
		direct->idle_ms = IDLE_FIRST_MS;
		direct->requests++;
		deliver(direct, rows, count);
		direct->requests--;
		if (direct->closed) {
			if (direct->requests == 0)
				destroy(direct);
			return;
		}
		look(direct);
		return;
	}
	if (direct->nudged) {
		look(direct);
		return;
	}
	loop_timer_start(direct->read_timer, direct->idle_ms, 0);
	direct->idle_ms = direct->idle_ms * 2 < IDLE_MAX_MS ? direct->idle_ms * 2 : IDLE_MAX_MS;
}

/* Asks for what is not in flight, as far as the limits let it. */
static void look(struct direct *direct)
{
	const struct bus_options *options = &direct->base.options;
	const struct bus_stats *stats = &direct->base.stats;
	size_t rows, bytes, i;
	int64_t *skip;

	if (!direct->started || direct->paused || direct->reading || direct->closed)
		return;
	if (stats->unacked >= options->unacked_messages || stats->unacked_bytes >= options->unacked_bytes)
		return; /* the next acknowledgement looks again */
	rows = options->unacked_messages - stats->unacked;
	bytes = options->unacked_bytes - stats->unacked_bytes;
	skip = mem_alloc((direct->count + 1) * sizeof(*skip));
	for (i = 0; i < direct->count; i++)
		skip[i] = direct->entries[i].id;
	loop_timer_stop(direct->read_timer);
	direct->reading = true;
	direct->nudged = false;
	direct->requests++;
	store_outbox_read(direct->store, options->queue, skip, direct->count,
			  rows < READ_ROWS ? rows : READ_ROWS, bytes < READ_BYTES ? bytes : READ_BYTES,
			  on_rows, direct);
	mem_release(skip);
}

static void on_last(void *user, int64_t last_id, const struct error *err)
{
	struct direct *direct = user;

	if (!answered(direct, err))
		return;
	if (err->code != ERR_NONE) {
		loop_timer_start(direct->read_timer, backoff_next(&direct->read_backoff), 0);
		return;
	}
	direct->start_id = last_id;
	direct->start_ms = clock_wall_ms();
	direct->started = true;
	look(direct);
}

static void begin(void *user)
{
	struct direct *direct = user;

	direct->requests++;
	store_outbox_last(direct->store, on_last, direct);
}

static void on_read_timer(void *user)
{
	struct direct *direct = user;

	if (direct->started)
		look(direct);
	else
		begin(direct);
}

static void on_lost(void *user)
{
	struct direct *direct = user;

	direct->started = false;
	loop_timer_stop(direct->read_timer);
	if (direct->base.options.lost != NULL)
		direct->base.options.lost(direct->base.options.user);
}

static bool direct_holds(const struct bus_reader *reader, const uint64_t *tags, size_t count)
{
	const struct direct *direct = (const struct direct *)reader;

	(void)tags;
	(void)count;
	return direct->hold == NULL || direct_hold_is(direct->hold);
}

static void direct_pause(struct bus_reader *reader)
{
	struct direct *direct = direct_of(reader);

	direct->paused = true;
	if (direct->started)
		loop_timer_stop(direct->read_timer);
}

static void direct_resume(struct bus_reader *reader)
{
	direct_of(reader)->paused = false;
	look(direct_of(reader));
}

static void direct_nudge(struct bus_reader *reader)
{
	struct direct *direct = direct_of(reader);

	direct->nudged = true;
	direct->idle_ms = IDLE_FIRST_MS;
	look(direct);
}

/* --- rejecting --- */

struct rejection {
	struct direct *direct;
	struct arena *arena; /* this struct and all it points to */
	struct store_dead *letters;
	size_t letter_count;
	uint64_t *tags;
	size_t tag_count;
	bus_done_fn *done;
	void *user;
};

static void on_parked(void *user, const struct error *err)
{
	struct rejection *rejection = user;
	struct direct *direct = rejection->direct;
	struct arena *arena = rejection->arena;

	if (answered(direct, err)) {
		if (err->code == ERR_NONE) {
			direct->base.stats.rejected += rejection->letter_count;
			bus_ack(&direct->base, rejection->tags, rejection->tag_count);
		}
		rejection->done(rejection->user, err);
	}
	arena_free(&arena);
}

static void direct_reject(struct bus_reader *reader, const uint64_t *tags, size_t tag_count,
			  const struct bus_letter *letters, size_t letter_count, bus_done_fn *done,
			  void *user)
{
	struct direct *direct = direct_of(reader);
	struct arena *arena = arena_new();
	struct rejection *rejection = arena_alloc(arena, sizeof(*rejection));
	size_t i;

	rejection->direct = direct;
	rejection->arena = arena;
	rejection->letters = arena_alloc(arena, letter_count * sizeof(*rejection->letters));
	rejection->letter_count = letter_count;
	rejection->tags = arena_alloc(arena, (tag_count + 1) * sizeof(*tags));
	if (tag_count > 0)
		memcpy(rejection->tags, tags, tag_count * sizeof(*tags));
	rejection->tag_count = tag_count;
	rejection->done = done;
	rejection->user = user;
	for (i = 0; i < letter_count; i++) {
		struct bus_history history = bus_history_read(arena, letters[i].headers);

		rejection->letters[i] = (struct store_dead){
			.queue = reader->options.queue,
			.payload = arena_strndup(arena, letters[i].payload, letters[i].len),
			.payload_len = letters[i].len,
			.reason = arena_strdup(arena, letters[i].reason != NULL ? letters[i].reason : ""),
			.code = arena_strdup(arena, letters[i].code != NULL ? letters[i].code : ""),
			.dedup_id =
				letters[i].dedup_id != NULL ? arena_strdup(arena, letters[i].dedup_id) : NULL,
			.first_ms = history.first_ms,
			.count = history.count,
		};
	}
	direct->requests++;
	store_dead_letter(direct->store, rejection->letters, letter_count, on_parked, rejection);
}

/* --- opening and closing --- */

static void direct_close(struct bus_reader *reader);

static struct bus_reader *direct_open(const struct bus_reader *base, const char *url, struct store *store,
				      struct error *err)
{
	struct direct_hold_options hold = {.got = begin, .lost = on_lost};
	const char *rest = strchr(url, ':') + 1;
	struct direct *direct;

	if (*rest != '\0') {
		error_set(err, ERR_INPUT, "direct: takes nothing after it, found \"%s\"", rest);
		return NULL;
	}
	assert(store != NULL);
	direct = mem_alloc(sizeof(*direct));
	direct->base = *base;
	direct->store = store;
	direct->idle_ms = IDLE_FIRST_MS;
	list_init(&direct->settles);
	backoff_init(&direct->read_backoff, 100, 5000);
	backoff_init(&direct->delete_backoff, 100, 5000);
	direct->read_timer = loop_timer_new(base->loop, on_read_timer, direct);
	direct->delete_timer = loop_timer_new(base->loop, on_delete_timer, direct);
	if (base->options.state == NULL || !store_shared(store)) {
		begin(direct);
		return &direct->base;
	}
	hold.loop = base->loop;
	hold.store = store;
	hold.queue = base->options.queue;
	hold.state = base->options.state;
	hold.user = direct;
	direct->hold = direct_hold_new(&hold, err);
	if (direct->hold == NULL) {
		direct->base.texts = NULL;
		direct_close(&direct->base);
		return NULL;
	}
	return &direct->base;
}

static void direct_close(struct bus_reader *reader)
{
	struct direct *direct = direct_of(reader);

	direct_hold_free(&direct->hold);
	loop_timer_free(&direct->read_timer);
	loop_timer_free(&direct->delete_timer);
	direct->closed = true;
	if (direct->requests == 0)
		destroy(direct);
}

const struct bus_ops bus_direct_ops = {
	.open = direct_open,
	.ack = direct_ack,
	.reject = direct_reject,
	.holds = direct_holds,
	.pause = direct_pause,
	.resume = direct_resume,
	.nudge = direct_nudge,
	.settle = direct_settle,
	.close = direct_close,
};
