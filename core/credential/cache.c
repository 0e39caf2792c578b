/* SPDX-License-Identifier: Apache-2.0 */
/* What the pool knows of the store's rows: entries, their groups, reading them again. Loop thread. */
#include "credential/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "log/log.h"

#define PAGE 1000
#define MISS_MS 1000		/* what was looked for and not found is not looked for again so soon */
#define LOOKING_MS 20		/* while it is looked for, ask again after so long */
#define TROUBLE_MS 60000

void cache_complain(struct credential_pool *pool, const char *what, const struct error *err)
{
	if (log_limited(&pool->complained_ms, TROUBLE_MS))
		log_warning("credentials cannot be %s: %s (tried again)", what, err->text);
}

/* --- entries and groups --- */

struct entry *cache_find(const struct credential_pool *pool, int64_t id)
{
	char name[32];

	str_format(name, sizeof(name), "%" PRId64, id);
	return map_get(pool->entries, name);
}

static void group_name(struct buf *name, const char *source, const char *handle)
{
	buf_init(name);
	buf_adds(name, source);
	if (handle != NULL)
		buf_printf(name, "\x1f%s", handle);
}

struct group *cache_group(const struct credential_pool *pool, const char *source, const char *handle)
{
	struct group *group;
	struct buf name;

	group_name(&name, source, handle);
	group = map_get(pool->groups, name.data);
	buf_fini(&name);
	return group;
}

static struct group *group_make(struct credential_pool *pool, const char *source, const char *handle)
{
	struct group *group = cache_group(pool, source, handle);
	struct buf name;

	if (group != NULL)
		return group;
	group = mem_alloc(sizeof(*group));
	list_init(&group->members);
	group_name(&name, source, handle);
	map_put(pool->groups, name.data, group);
	buf_fini(&name);
	return group;
}

/* Into the groups of its source and handle. */
static void entry_link(struct credential_pool *pool, struct entry *entry)
{
	entry->source = group_make(pool, entry->def->name, NULL);
	list_append(&entry->source->members, &entry->by_source);
	entry->source->count++;
	entry->owner = entry->handle != NULL ? group_make(pool, entry->def->name, entry->handle) : NULL;
	if (entry->owner == NULL)
		return;
	list_append(&entry->owner->members, &entry->by_handle);
	entry->owner->count++;
}

/* A group that nobody is in goes when the map is swept: handles come and go. */
static void entry_unlink(struct entry *entry)
{
	list_remove(&entry->by_source);
	list_remove(&entry->by_handle);
	if (entry->source != NULL)
		entry->source->count--;
	if (entry->owner != NULL)
		entry->owner->count--;
	entry->source = entry->owner = NULL;
}

static void forget_members(struct entry *entry)
{
	arena_free(&entry->arena);
	entry->members = NULL;
	entry->count = 0;
	entry->broken = false;
}

void cache_entry_free(struct entry *entry)
{
	entry_unlink(entry);
	forget_members(entry);
	mem_release(entry->handle);
	mem_release(entry->text);
	mem_release(entry->limits);
	mem_release(entry);
}

/* False when no key opens it. */
bool cache_open(const struct credential_pool *pool, struct entry *entry)
{
	struct error err;

	if (entry->members != NULL || entry->broken)
		return !entry->broken;
	entry->arena = arena_new();
	if (credential_open(pool->keys, entry->def->name, entry->def, entry->text, entry->arena,
			    &entry->members, &entry->count, &err) == 0)
		return true;
	forget_members(entry);
	entry->broken = true;
	log_error("credential cannot be opened id=%" PRId64 " source=%s: %s", entry->id, entry->def->name,
		  err.text);
	return false;
}

/* --- reading the store --- */

static const struct sl_source *source_find(const struct credential_pool *pool, const char *name)
{
	for (size_t i = 0; i < pool->source_count; i++)
		if (str_eq(pool->sources[i]->name, name))
			return pool->sources[i];
	return NULL;
}

static char *copy(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

static void set_text(char **text, const char *value)
{
	if (str_eq(*text, value))
		return;
	mem_release(*text);
	*text = copy(value);
}

static struct entry *entry_make(struct credential_pool *pool, const struct store_credential *row,
				const struct sl_source *def)
{
	struct entry *entry = mem_alloc(sizeof(*entry));
	char name[32];

	entry->id = row->id;
	entry->def = def;
	entry->handle = copy(row->handle);
	list_init(&entry->by_source);
	list_init(&entry->by_handle);
	str_format(name, sizeof(name), "%" PRId64, row->id);
	map_put(pool->entries, name, entry);
	entry_link(pool, entry);
	return entry;
}

/* What this process said since the reading began, or has not written yet, is newer than the row. */
static void entry_take(struct credential_pool *pool, const struct store_credential *row)
{
	const struct sl_source *def = source_find(pool, row->source);
	struct entry *entry = cache_find(pool, row->id);

	if (def == NULL || row->credentials == NULL)
		return;
	if (entry == NULL)
		entry = entry_make(pool, row, def);
	entry->seen = pool->reading;
	if (entry->def != def || !str_eq(entry->handle, row->handle)) {
		entry_unlink(entry);
		entry->def = def;
		set_text(&entry->handle, row->handle);
		entry_link(pool, entry);
		forget_members(entry);
	}
	if (!str_eq(entry->text, row->credentials)) {
		forget_members(entry);
		set_text(&entry->text, row->credentials);
	}
	set_text(&entry->limits, row->limits);
	if (row->last_used_ms > entry->last_used_ms)
		entry->last_used_ms = row->last_used_ms;
	if (entry->unwritten > 0 || entry->known >= pool->reading)
		return;
	entry->enabled = row->enabled;
	entry->parked_until_ms = row->disabled_till_ms;
	entry->failures = row->failures;
}

static int by_use(const void *a, const void *b)
{
	const struct entry *left = *(const struct entry *const *)a, *right = *(const struct entry *const *)b;

	if (left->last_used_ms != right->last_used_ms)
		return left->last_used_ms < right->last_used_ms ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

/* Puts everything into the order of use anew: other processes use them too. */
static void sort_entries(struct credential_pool *pool)
{
	struct entry **all = mem_alloc((map_count(pool->entries) + 1) * sizeof(*all));
	size_t cursor = 0, count = 0;
	const char *name;
	void *value;

	while (map_next(pool->entries, &cursor, &name, &value))
		all[count++] = value;
	qsort(all, count, sizeof(struct entry *), by_use);
	for (size_t i = 0; i < count; i++) {
		entry_unlink(all[i]);
		entry_link(pool, all[i]);
	}
	mem_release(all);
}

/* Forgets what the reading did not have, and groups that are empty. */
static void sweep(struct credential_pool *pool)
{
	struct map *entries = map_new(), *groups = map_new();
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(pool->entries, &cursor, &name, &value)) {
		struct entry *entry = value;

		if (entry->seen == pool->reading)
			map_put(entries, name, entry);
		else
			cache_entry_free(entry);
	}
	for (cursor = 0; map_next(pool->groups, &cursor, &name, &value); ) {
		if (((struct group *)value)->count > 0)
			map_put(groups, name, value);
		else
			mem_release(value);
	}
	map_free(&pool->entries);
	map_free(&pool->groups);
	pool->entries = entries;
	pool->groups = groups;
}

void cache_closed(struct credential_pool *pool)
{
	if (!pool->busy && !pool->writing)
		mem_release(pool);
}

static void read_page(struct credential_pool *pool);

static void reading_over(struct credential_pool *pool, const struct error *err)
{
	int64_t now = loop_now_ms(pool->loop), delay = pool->options.refresh_ms;

	pool->busy = false;
	if (err->code == ERR_NONE) {
		sweep(pool);
		sort_entries(pool);
		pool->loaded = true;
		pool->read_ms = now;
		backoff_reset(&pool->trouble);
	} else {
		cache_complain(pool, "read", err);
		pool->failed_ms = now;
		delay = backoff_next(&pool->trouble);
	}
	/* A process that is idle leaves the store alone, so that it holds no connection. */
	if (pool->asked || err->code != ERR_NONE)
		loop_timer_start(pool->read_timer, delay, 0);
}

static void on_rows(void *user, const struct store_credential *rows, size_t count, const struct error *err)
{
	struct credential_pool *pool = user;

	if (pool->closed) {
		pool->busy = false;
		cache_closed(pool);
		return;
	}
	for (size_t i = 0; i < count; i++)
		entry_take(pool, &rows[i]);
	if (err->code != ERR_NONE || count < PAGE) {
		reading_over(pool, err);
		return;
	}
	pool->last_id = rows[count - 1].id;
	read_page(pool);
}

static void read_page(struct credential_pool *pool)
{
	const struct store_credential_filter filter = {.sources = pool->names,
						       .source_count = pool->source_count,
						       .after_id = pool->last_id,
						       .limit = PAGE};

	store_credential_read(pool->store, &filter, on_rows, pool);
}

void cache_read(void *user)
{
	struct credential_pool *pool = user;

	if (pool->busy)
		return;
	pool->busy = true;
	pool->asked = false;
	pool->reading++;
	pool->last_id = 0;
	read_page(pool);
}

bool cache_asked(struct credential_pool *pool, int64_t now_ms, int64_t *again_ms_r)
{
	int64_t age = loop_now_ms(pool->loop) - pool->read_ms;
	/* With a store that is away what is known has to do. */
	bool stale = pool->loaded && pool->failed_ms <= pool->read_ms && age > pool->options.stale_ms;

	pool->asked = true;
	if (!pool->busy && (stale || !loop_timer_active(pool->read_timer)))
		loop_timer_start(pool->read_timer,
				 stale || age > pool->options.refresh_ms ? 0 : pool->options.refresh_ms - age,
				 0);
	if (stale)
		*again_ms_r = now_ms + LOOKING_MS;
	return !stale;
}

/* None can be used: is it worth looking again? Wall time to ask at, or INT64_MAX. */
int64_t cache_look_again(struct credential_pool *pool, int64_t now_ms)
{
	int64_t now = loop_now_ms(pool->loop);

	if (pool->busy)
		return now_ms + LOOKING_MS;
	if (pool->failed_ms > pool->read_ms && now - pool->failed_ms < MISS_MS)
		return now_ms + MISS_MS;
	if (pool->loaded && now - pool->read_ms < MISS_MS)
		return INT64_MAX;
	loop_timer_start(pool->read_timer, 0, 0);
	return now_ms + LOOKING_MS;
}
