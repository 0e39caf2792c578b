/* SPDX-License-Identifier: Apache-2.0 */
/* See pool.h. Each process that asks sources has one; its loop thread runs all of it. */
#include "credential/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "log/log.h"

#define REFRESH_MS 10000
#define STALE_MS 30000
#define WRITE_MS 5000
#define AGAIN_FIRST_MS 200	/* after trouble with the store */
#define AGAIN_CAP_MS 10000
#define REASON_MAX 300

static int64_t now_of(const struct credential_pool *pool)
{
	return pool->options.now_ms != NULL ? pool->options.now_ms() : clock_wall_ms();
}

/* --- choosing --- */

static void describe(const struct entry *entry, struct credential *out)
{
	*out = (struct credential){.id = entry->id, .handle = entry->handle, .members = entry->members,
				   .count = entry->count, .limits = entry->limits};
}

static bool usable(const struct credential_pool *pool, struct entry *entry, int64_t now_ms)
{
	return entry->enabled && entry->parked_until_ms <= now_ms && cache_open(pool, entry);
}

static bool answers(const struct entry *entry, const struct sl_source *source, const char *handle)
{
	return str_eq(entry->def->name, source->name) && (handle == NULL || str_eq(entry->handle, handle));
}

/* Of those that are busy the soonest; returns how many there are now. */
static size_t add_busy(struct entry *entry, struct entry **busy, size_t count, size_t max)
{
	size_t at = count;

	while (at > 0 && busy[at - 1]->busy_until_ms > entry->busy_until_ms)
		at--;
	if (at == max)
		return count;
	count += count < max;
	memmove(busy + at + 1, busy + at, (count - 1 - at) * sizeof(*busy));
	busy[at] = entry;
	return count;
}

static size_t group_candidates(struct credential_pool *pool, const struct group *group, bool by_handle,
			       struct entry *first, int64_t now_ms, struct entry **found, size_t max,
			       int64_t *soonest_ms_r)
{
	struct entry *busy[CREDENTIAL_CANDIDATES_MAX];
	size_t count = 0, busy_count = 0;
	struct list *node;

	if (first != NULL)
		found[count++] = first;
	for (node = group->members.next; node != &group->members && count < max; node = node->next) {
		struct entry *entry = by_handle ? list_entry(node, struct entry, by_handle)
						: list_entry(node, struct entry, by_source);

		if (!usable(pool, entry, now_ms)) {
			if (entry->enabled && !entry->broken && entry->parked_until_ms < *soonest_ms_r)
				*soonest_ms_r = entry->parked_until_ms;
		} else if (entry->busy_until_ms > now_ms && entry != first) {
			busy_count = add_busy(entry, busy, busy_count, max);
		} else if (entry != first) {
			found[count++] = entry;
		}
	}
	for (size_t i = 0; i < busy_count && count < max; i++)
		found[count++] = busy[i];
	return count;
}

size_t credential_pool_candidates(struct credential_pool *pool, const struct sl_source *source,
				  const char *handle, int64_t prefer, int64_t now_ms, struct credential *out,
				  size_t max, int64_t *soonest_ms_r)
{
	struct entry *first = prefer != 0 ? cache_find(pool, prefer) : NULL;
	const struct group *group = cache_group(pool, source->name, handle);
	struct entry *found[CREDENTIAL_CANDIDATES_MAX];
	size_t count;

	assert(max > 0 && max <= CREDENTIAL_CANDIDATES_MAX);
	*soonest_ms_r = INT64_MAX;
	if (!cache_asked(pool, now_ms, soonest_ms_r) || group == NULL)
		return 0;
	if (first != NULL && !(answers(first, source, handle) && usable(pool, first, now_ms)))
		first = NULL;
	count = group_candidates(pool, group, handle != NULL, first, now_ms, found, max, soonest_ms_r);
	for (size_t i = 0; i < count; i++)
		describe(found[i], &out[i]);
	return count;
}

bool credential_pool_usable(struct credential_pool *pool, int64_t id, int64_t now_ms)
{
	struct entry *entry = cache_find(pool, id);

	return entry != NULL && usable(pool, entry, now_ms);
}

bool credential_pool_busy(struct credential_pool *pool, int64_t id, int64_t for_ms)
{
	struct entry *entry = cache_find(pool, id);
	int64_t now = now_of(pool);
	bool known = entry == NULL || entry->busy_until_ms > now;

	if (entry != NULL)
		entry->busy_until_ms = now + (for_ms < CREDENTIAL_BUSY_CAP_MS ? for_ms : CREDENTIAL_BUSY_CAP_MS);
	return !known;
}

int64_t credential_pool_look(struct credential_pool *pool, int64_t now_ms)
{
	return cache_look_again(pool, now_ms);
}

bool credential_pool_find(struct credential_pool *pool, int64_t id, struct credential *out)
{
	struct entry *entry = cache_find(pool, id);

	if (entry == NULL || !cache_open(pool, entry))
		return false;
	describe(entry, out);
	return true;
}

/* --- what is said of them --- */

static void change_free(struct change *change)
{
	list_remove(&change->node);
	mem_release(change->reason);
	mem_release(change);
}

static void on_written(void *user, int64_t count, const struct error *err)
{
	struct credential_pool *pool = user;
	struct list *node, *next;

	(void)count;
	pool->writing = false;
	if (pool->closed) {
		cache_closed(pool);
		return;
	}
	if (err->code != ERR_NONE) {
		cache_complain(pool, "written", err);
		/* Before what came meanwhile: order matters. */
		list_move(&pool->sending, &pool->changes);
		list_move(&pool->changes, &pool->sending);
		loop_timer_start(pool->write_timer, backoff_next(&pool->trouble), 0);
		return;
	}
	list_each_safe(node, next, &pool->sending) {
		struct change *change = list_entry(node, struct change, node);
		struct entry *entry = cache_find(pool, change->what.id);

		if (entry != NULL && change->what.action != STORE_CREDENTIAL_USED) {
			entry->unwritten--;
			entry->known = pool->reading;
		}
		change_free(change);
	}
	loop_timer_start(pool->write_timer, list_empty(&pool->changes) ? pool->options.write_ms : 0, 0);
}

static struct change *add_change(struct credential_pool *pool, int64_t id,
				 enum store_credential_action action)
{
	struct change *change = mem_alloc(sizeof(*change));

	change->what = (struct store_credential_change){.action = action, .id = id};
	list_append(&pool->changes, &change->node);
	return change;
}

/* Of what was used since the last time. */
static void add_uses(struct credential_pool *pool)
{
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(pool->entries, &cursor, &name, &value)) {
		struct entry *entry = value;

		if (!entry->used)
			continue;
		entry->used = false;
		add_change(pool, entry->id, STORE_CREDENTIAL_USED)->what.at_ms = entry->last_used_ms;
	}
}

static void write_changes(struct credential_pool *pool)
{
	struct store_credential_change *all;
	struct list *node;
	size_t count = 0;

	if (pool->writing)
		return;
	add_uses(pool);
	if (list_empty(&pool->changes)) {
		loop_timer_start(pool->write_timer, pool->options.write_ms, 0);
		return;
	}
	list_move(&pool->sending, &pool->changes);
	list_each(node, &pool->sending)
		count++;
	all = mem_alloc(count * sizeof(*all));
	count = 0;
	list_each(node, &pool->sending)
		all[count++] = list_entry(node, struct change, node)->what;
	pool->writing = true;
	store_credential_change(pool->store, all, count, on_written, pool);
	mem_release(all);
}

static void on_write_timer(void *user)
{
	write_changes(user);
}

/* Something was said of the entry that others have to know at once. */
static void say(struct credential_pool *pool, struct entry *entry, enum store_credential_action action,
		const char *reason)
{
	struct change *change = add_change(pool, entry->id, action);

	entry->unwritten++;
	change->what.at_ms = entry->parked_until_ms;
	change->what.failures = entry->failures;
	change->reason = reason != NULL ? mem_strdup(reason) : NULL;
	change->what.reason = change->reason;
	loop_timer_start(pool->write_timer, 0, 0);
}

/* The reason as it may be kept and shown. */
static void mask(const struct credential_pool *pool, struct entry *entry, const char *reason, struct buf *out)
{
	buf_init(out);
	if (cache_open(pool, entry))
		credential_mask(entry->members, entry->count, reason, out);
	if (out->len > REASON_MAX) {
		size_t end = REASON_MAX;

		while (end > 0 && ((unsigned char)out->data[end] & 0xc0) == 0x80)
			end--;
		out->len = end;
		out->data[end] = '\0';
	}
	if (out->data == NULL)
		buf_adds(out, "");
}

void credential_pool_took(struct credential_pool *pool, int64_t id)
{
	struct entry *entry = cache_find(pool, id);
	int64_t now = now_of(pool);

	if (entry == NULL)
		return;
	if (now > entry->last_used_ms)
		entry->last_used_ms = now;
	entry->used = true;
	list_remove(&entry->by_source);
	list_append(&entry->source->members, &entry->by_source);
	if (entry->owner != NULL) {
		list_remove(&entry->by_handle);
		list_append(&entry->owner->members, &entry->by_handle);
	}
}

static int64_t park_ms(int64_t failures)
{
	int64_t ms = CREDENTIAL_PARK_FIRST_MS;

	for (; failures > 0 && ms < CREDENTIAL_PARK_CAP_MS; failures--)
		ms *= 2;
	return ms < CREDENTIAL_PARK_CAP_MS ? ms : CREDENTIAL_PARK_CAP_MS;
}

void credential_pool_park(struct credential_pool *pool, int64_t id, int64_t for_ms, const char *reason)
{
	struct entry *entry = cache_find(pool, id);
	int64_t now = now_of(pool);
	struct buf text;

	if (entry == NULL || (for_ms <= 0 && entry->parked_until_ms > now))
		return;
	if (now + (for_ms > 0 ? for_ms : 1) <= entry->parked_until_ms)
		return;
	entry->parked_until_ms = now + (for_ms > 0 ? for_ms : park_ms(entry->failures));
	if (for_ms <= 0)
		entry->failures++;
	mask(pool, entry, reason, &text);
	log_info("credential parked id=%" PRId64 " source=%s ms=%" PRId64 " reason=%s", id, entry->def->name,
		 entry->parked_until_ms - now, text.data);
	say(pool, entry, STORE_CREDENTIAL_PARK, text.data);
	buf_fini(&text);
}

void credential_pool_disable(struct credential_pool *pool, int64_t id, const char *reason)
{
	struct entry *entry = cache_find(pool, id);
	struct buf text;

	if (entry == NULL || !entry->enabled)
		return;
	entry->enabled = false;
	mask(pool, entry, reason, &text);
	log_error("credential disabled, until somebody enables it id=%" PRId64 " source=%s reason=%s", id,
		  entry->def->name, text.data);
	say(pool, entry, STORE_CREDENTIAL_DISABLE, text.data);
	buf_fini(&text);
}

void credential_pool_worked(struct credential_pool *pool, int64_t id)
{
	struct entry *entry = cache_find(pool, id);

	/* What was under way when it was parked says nothing of what comes after. */
	if (entry == NULL || entry->failures == 0 || entry->parked_until_ms > now_of(pool))
		return;
	entry->failures = 0;
	entry->parked_until_ms = 0;
	say(pool, entry, STORE_CREDENTIAL_WORKED, NULL);
}

/* --- the pool --- */

struct credential_pool *credential_pool_new(struct loop *loop, struct store *store,
					    const struct credential_keys *keys,
					    const struct sl_source *const *sources, size_t source_count,
					    const struct credential_pool_options *options)
{
	struct credential_pool *pool = mem_alloc(sizeof(*pool));

	pool->loop = loop;
	pool->store = store;
	pool->keys = keys;
	pool->sources = sources;
	pool->source_count = source_count;
	pool->names = mem_alloc((source_count + 1) * sizeof(*pool->names));
	for (size_t i = 0; i < source_count; i++)
		pool->names[i] = sources[i]->name;
	pool->options = *options;
	if (pool->options.refresh_ms == 0)
		pool->options.refresh_ms = REFRESH_MS;
	if (pool->options.stale_ms == 0)
		pool->options.stale_ms = STALE_MS;
	if (pool->options.write_ms == 0)
		pool->options.write_ms = WRITE_MS;
	pool->entries = map_new();
	pool->groups = map_new();
	list_init(&pool->changes);
	list_init(&pool->sending);
	backoff_init(&pool->trouble, AGAIN_FIRST_MS, AGAIN_CAP_MS);
	pool->read_timer = loop_timer_new(loop, cache_read, pool);
	pool->write_timer = loop_timer_new(loop, on_write_timer, pool);
	loop_timer_start(pool->write_timer, pool->options.write_ms, 0);
	if (source_count > 0)
		cache_read(pool);
	return pool;
}

static void free_changes(struct list *changes)
{
	struct list *node, *next;

	list_each_safe(node, next, changes)
		change_free(list_entry(node, struct change, node));
}

void credential_pool_free(struct credential_pool **pool)
{
	const char *name;
	void *value;
	size_t cursor = 0;

	if (*pool == NULL)
		return;
	loop_timer_free(&(*pool)->read_timer);
	loop_timer_free(&(*pool)->write_timer);
	free_changes(&(*pool)->changes);
	free_changes(&(*pool)->sending);
	while (map_next((*pool)->entries, &cursor, &name, &value))
		cache_entry_free(value);
	for (cursor = 0; map_next((*pool)->groups, &cursor, &name, &value); )
		mem_release(value);
	map_free(&(*pool)->entries);
	map_free(&(*pool)->groups);
	mem_release((*pool)->names);
	(*pool)->closed = true;
	cache_closed(*pool);
	*pool = NULL;
}
