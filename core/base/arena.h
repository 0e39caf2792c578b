/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory by lifetime: everything a task, a response or a configuration
 * revision needs comes from one arena and goes with it. Not thread-safe; one
 * thread owns an arena at a time.
 *
 * Allocation never returns NULL: when the system has no memory the process
 * says so and aborts. Every role may be killed at any instruction without
 * losing data, so dying is the one recovery that is always tested.
 */
#ifndef SLUICE_BASE_ARENA_H
#define SLUICE_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(void);
/* NULL tolerated; sets *arena to NULL. */
void arena_free(struct arena **arena);
/* Forgets everything allocated, keeps one block for reuse. */
void arena_reset(struct arena *arena);
/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *arena, size_t size);
/* The same, not zeroed: for bytes that are written at once. */
void *arena_room(struct arena *arena, size_t size);
/*
 * Room for one more in an array of the arena that grows by this function alone:
 * items itself, or a copy of twice the size where count has come to a power of
 * two, or is 0. The old one stays until the arena goes.
 */
void *arena_grow(struct arena *arena, void *items, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
/* Copies len bytes and adds a NUL. */
char *arena_strndup(struct arena *arena, const char *bytes, size_t len);
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Bytes handed out since arena_new or arena_reset: what limits are checked against. */
size_t arena_used(const struct arena *arena);

/* The heap for long-lived objects, under the same rule: zeroed, never NULL. */
void *mem_alloc(size_t size);
void *mem_realloc(void *old, size_t size);
char *mem_strdup(const char *text);
/* Frees and sets the pointer to NULL: mem_free(&x->name). */
#define mem_free(pointer) (mem_release(*(pointer)), *(pointer) = NULL)
void mem_release(void *memory);

#endif
