/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints every key of flows.yaml as its line in flows.yaml(5) has to read, for
 * scripts/check-docs: name, type, then default and bounds.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/keys.h"
#include "conf/units.h"

static void print_bound(const struct conf_key *key, int64_t value)
{
	char text[UNITS_TEXT_SIZE];

	if (key->type == &conf_duration)
		units_duration(text, value);
	else if (key->type == &conf_size)
		units_size(text, value);
	else
		str_format(text, sizeof(text), "%" PRId64, value);
	printf("%s", text);
}

static void print_key(const char *path, const struct conf_key *key)
{
	bool bounds = key->min != 0 || key->max != 0;

	printf("%s%s %s", path, key->name, key->type->word);
	if (key->fallback != NULL)
		printf(" %s", key->fallback);
	else if ((key->flags & CONF_REQUIRED) != 0)
		printf(" required");
	if (bounds && key->max == INT64_MAX) {
		printf("; at least ");
		print_bound(key, key->min);
	} else if (bounds && key->type != &conf_text) {
		printf("; ");
		print_bound(key, key->min);
		if (key->max != key->min) {
			printf(" to ");
			print_bound(key, key->max);
		}
	}
	printf("\n");
}

static void print_section(struct arena *arena, const char *path, const struct conf_section *section)
{
	for (const struct conf_key *key = section->keys; key->name != NULL; key++) {
		if ((key->flags & (CONF_INTERNAL | section->without)) != 0)
			continue;
		print_key(path, key);
		if (key->section != NULL)
			print_section(arena, arena_printf(arena, "%s%s.%s", path, key->name,
							  key->type == &conf_map ? "NAME." : ""), key->section);
	}
}

int main(void)
{
	struct arena *arena = arena_new();

	print_section(arena, "", &conf_root_section);
	arena_free(&arena);
	return 0;
}
