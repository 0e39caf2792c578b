/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: a chain of blocks, the newest first; a request too large for a block gets one of its own. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)4096)	/* the first; each further one doubles up to the largest */
#define BLOCK_LARGEST ((size_t)256 * 1024)
#define ALIGNMENT alignof(max_align_t)

struct block {
	struct block *next;
	size_t size;		/* of data */
	size_t used;
	alignas(max_align_t) char data[];
};

struct arena {
	struct block *blocks;	/* the first one is filled; NULL before the first request */
	size_t used;
};

static void out_of_memory(size_t size)
{
	fprintf(stderr, "sluice: out of memory: %zu bytes requested\n", size);
	abort();
}

void *mem_alloc(size_t size)
{
	void *memory = calloc(1, size ? size : 1);

	if (!memory)
		out_of_memory(size);
	return memory;
}

void *mem_realloc(void *old, size_t size)
{
	void *memory = realloc(old, size ? size : 1);

	if (!memory)
		out_of_memory(size);
	return memory;
}

char *mem_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(mem_alloc(size), text, size);
}

void mem_release(void *memory)
{
	free(memory);
}

struct arena *arena_new(void)
{
	return mem_alloc(sizeof(struct arena));
}

static void free_blocks(struct block *block)
{
	while (block) {
		struct block *next = block->next;

		free(block);
		block = next;
	}
}

void arena_free(struct arena **arena)
{
	if (!*arena)
		return;
	free_blocks((*arena)->blocks);
	mem_free(arena);
}

void arena_reset(struct arena *arena)
{
	struct block *keep = arena->blocks;

	arena->used = 0;
	if (!keep)
		return;
	free_blocks(keep->next);
	keep->next = NULL;
	if (keep->size > BLOCK_LARGEST) {
		free(keep);
		arena->blocks = NULL;
		return;
	}
	keep->used = 0;
}

static struct block *block_new(size_t size)
{
	struct block *block;

	if (size > SIZE_MAX - sizeof(*block))
		out_of_memory(size);
	block = malloc(sizeof(*block) + size);
	if (!block)
		out_of_memory(size);
	block->next = NULL;
	block->size = size;
	block->used = 0;
	return block;
}

/* A block with room for size bytes; a large request goes behind the first, which keeps being filled. */
static struct block *block_for(struct arena *arena, size_t size)
{
	struct block *first = arena->blocks;
	struct block *fresh;
	size_t room;

	if (first && first->size - first->used >= size)
		return first;
	room = first ? first->size * 2 : BLOCK_SIZE;
	if (room > BLOCK_LARGEST)
		room = BLOCK_LARGEST;
	if (size > room / 4) {
		fresh = block_new(size);
		if (first) {
			fresh->next = first->next;
			first->next = fresh;
			return fresh;
		}
	} else {
		fresh = block_new(room);
		fresh->next = first;
	}
	arena->blocks = fresh;
	return fresh;
}

void *arena_room(struct arena *arena, size_t size)
{
	struct block *block;
	size_t rounded;
	char *memory;

	if (size > SIZE_MAX - ALIGNMENT)
		out_of_memory(size);
	rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (rounded == 0)
		rounded = ALIGNMENT;
	block = block_for(arena, rounded);
	memory = block->data + block->used;
	block->used += rounded;
	arena->used += rounded;
	return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	return memset(arena_room(arena, size), 0, size);
}

void *arena_grow(struct arena *arena, void *items, size_t count, size_t size)
{
	void *grown;

	if (count != 0 && (count & (count - 1)) != 0)
		return items;
	grown = arena_alloc(arena, (count == 0 ? 1 : count * 2) * size);
	if (count > 0)
		memcpy(grown, items, count * size);
	return grown;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_strndup(struct arena *arena, const char *bytes, size_t len)
{
	char *copy = arena_room(arena, len + 1);

	if (len)
		memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(arena, fmt, ap);
	va_end(ap);
	return text;
}

char *arena_vprintf(struct arena *arena, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;
	char *text;
	int len;

	va_copy(again, ap);
	len = vsnprintf(small, sizeof(small), fmt, ap);
	if (len < 0)
		abort();	/* a format of ours that the C library refuses */
	if ((size_t)len < sizeof(small)) {
		text = arena_strndup(arena, small, (size_t)len);
	} else {
		text = arena_room(arena, (size_t)len + 1);
		vsnprintf(text, (size_t)len + 1, fmt, again);
	}
	va_end(again);
	return text;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}
