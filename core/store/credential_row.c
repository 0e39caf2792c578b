/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials and changes of them, copied for the time a request waits. Any thread. */
#include <string.h>

#include "base/arena.h"
#include "store/driver.h"

static void copy_text(struct arena *arena, const char **text)
{
	if (*text != NULL)
		*text = arena_strdup(arena, *text);
}

static void *copy_items(struct arena *arena, const void *items, size_t count, size_t size)
{
	void *copy = arena_alloc(arena, (count + 1) * size);

	if (count > 0)
		memcpy(copy, items, count * size);
	return copy;
}

struct store_credential *store_credentials_copy(struct arena *arena, const struct store_credential *rows,
						size_t count)
{
	struct store_credential *copy = copy_items(arena, rows, count, sizeof(*rows));

	for (size_t i = 0; i < count; i++) {
		copy_text(arena, &copy[i].idempotency_key);
		copy_text(arena, &copy[i].source);
		copy_text(arena, &copy[i].handle);
		copy_text(arena, &copy[i].credentials);
		copy_text(arena, &copy[i].key_id);
		copy_text(arena, &copy[i].limits);
	}
	return copy;
}

struct store_credential_change *store_credential_changes_copy(struct arena *arena,
							      const struct store_credential_change *changes,
							      size_t count)
{
	struct store_credential_change *copy = copy_items(arena, changes, count, sizeof(*changes));

	for (size_t i = 0; i < count; i++) {
		copy_text(arena, &copy[i].reason);
		copy_text(arena, &copy[i].was);
		copy_text(arena, &copy[i].credentials);
		copy_text(arena, &copy[i].key_id);
		copy_text(arena, &copy[i].idempotency_key);
	}
	return copy;
}
