/* SPDX-License-Identifier: Apache-2.0 */
/* The hash map: open addressing with linear probing; removal moves followers back, so there are no tombstones. */
#include "base/map.h"

#include <stdint.h>
#include <string.h>

#include <sodium.h>

#include "base/arena.h"
#include "base/uuid.h"

_Static_assert(crypto_shorthash_KEYBYTES == 16, "the seed is two words");

struct entry {
	char *key;	/* owned; NULL = free */
	void *value;
	uint64_t hash;
};

struct map {
	struct entry *entries;
	size_t size;	/* a power of two */
	size_t count;
	unsigned char seed[crypto_shorthash_KEYBYTES];
};

#define FIRST_SIZE ((size_t)16)

struct map *map_new(void)
{
	struct map *map = mem_alloc(sizeof(*map));

	random_bytes(map->seed, sizeof(map->seed));
	map->size = FIRST_SIZE;
	map->entries = mem_alloc(map->size * sizeof(*map->entries));
	return map;
}

void map_free(struct map **map)
{
	if (!*map)
		return;
	for (size_t i = 0; i < (*map)->size; i++)
		mem_release((*map)->entries[i].key);
	mem_release((*map)->entries);
	mem_free(map);
}

static uint64_t hash_key(const struct map *map, const char *key)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t hash;

	crypto_shorthash(out, (const unsigned char *)key, strlen(key), map->seed);
	memcpy(&hash, out, sizeof(hash));
	return hash;
}

/* The entry with this key, or the free one where it belongs. */
static struct entry *find(const struct map *map, const char *key, uint64_t hash)
{
	size_t at = hash & (map->size - 1);

	while (map->entries[at].key &&
	       (map->entries[at].hash != hash || strcmp(map->entries[at].key, key) != 0))
		at = (at + 1) & (map->size - 1);
	return &map->entries[at];
}

void *map_get(const struct map *map, const char *key)
{
	return find(map, key, hash_key(map, key))->value;
}

static void grow(struct map *map)
{
	struct entry *old = map->entries;
	size_t old_size = map->size;

	map->size *= 2;
	map->entries = mem_alloc(map->size * sizeof(*map->entries));
	for (size_t i = 0; i < old_size; i++)
		if (old[i].key)
			*find(map, old[i].key, old[i].hash) = old[i];
	mem_release(old);
}

void *map_put(struct map *map, const char *key, void *value)
{
	uint64_t hash = hash_key(map, key);
	struct entry *entry = find(map, key, hash);
	void *before = entry->value;

	if (!entry->key) {
		if ((map->count + 1) * 4 > map->size * 3) {
			grow(map);
			entry = find(map, key, hash);
		}
		entry->key = mem_strdup(key);
		entry->hash = hash;
		map->count++;
	}
	entry->value = value;
	return before;
}

void *map_remove(struct map *map, const char *key)
{
	struct entry *entry = find(map, key, hash_key(map, key));
	size_t mask = map->size - 1;
	size_t hole = (size_t)(entry - map->entries);
	void *value = entry->value;

	if (!entry->key)
		return NULL;
	mem_release(entry->key);
	map->count--;
	/* A follower moves into the hole unless it would then stand before its home. */
	for (size_t at = (hole + 1) & mask; map->entries[at].key; at = (at + 1) & mask) {
		size_t home = map->entries[at].hash & mask;

		if (((at - home) & mask) >= ((at - hole) & mask)) {
			map->entries[hole] = map->entries[at];
			hole = at;
		}
	}
	memset(&map->entries[hole], 0, sizeof(map->entries[hole]));
	return value;
}

size_t map_count(const struct map *map)
{
	return map->count;
}

bool map_next(const struct map *map, size_t *cursor, const char **key_r, void **value_r)
{
	for (; *cursor < map->size; (*cursor)++) {
		const struct entry *entry = &map->entries[*cursor];

		if (!entry->key)
			continue;
		if (key_r)
			*key_r = entry->key;
		if (value_r)
			*value_r = entry->value;
		(*cursor)++;
		return true;
	}
	return false;
}
