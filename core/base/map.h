/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from text to pointer, keyed with a per-process random seed (input cannot choose collisions). */
#ifndef SLUICE_BASE_MAP_H
#define SLUICE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map;

struct map *map_new(void);
void map_free(struct map **map);			/* values are the caller's */
void *map_get(const struct map *map, const char *key);	/* NULL when absent */
/* Copies key. Returns the value it replaces, or NULL. value must not be NULL. */
void *map_put(struct map *map, const char *key, void *value);
void *map_remove(struct map *map, const char *key);
size_t map_count(const struct map *map);
/* Iterates in no particular order: start with *cursor = 0. false at the end. The map must not change meanwhile. */
bool map_next(const struct map *map, size_t *cursor, const char **key_r, void **value_r);

#endif
