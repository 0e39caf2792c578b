/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints every key of flows.yaml as its line in flows.yaml(5) has to read, for
 * scripts/check-docs: name, type, default and bounds.
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

/* "word" stands for its choices. */
static void print_type(const struct conf_key *key)
{
	if (key->words == NULL)
		printf("%s", key->type->word);
	for (size_t i = 0; key->words != NULL && key->words[i] != NULL; i++)
		printf("%s%s", i == 0 ? "" : "|", key->words[i]);
}

static void print_key(const char *path, const struct conf_key *key)
{
	bool bounds = (key->min != 0 || key->max != 0) && key->type != &conf_text;
	const char *given = (key->flags & CONF_REQUIRED) != 0 ? "required" : key->fallback;

	printf(".It Cm %s%s Ar ", path, key->name);
	print_type(key);
	if (given != NULL || bounds)
		printf(" Pq %s%s", given != NULL ? given : "", given != NULL && bounds ? "; " : "");
	if (bounds && key->max == INT64_MAX)
		printf("at least ");
	if (bounds)
		print_bound(key, key->min);
	if (bounds && key->max != INT64_MAX && key->max != key->min) {
		printf(" to ");
		print_bound(key, key->max);
	}
	printf("\n");
}

static void print_section(struct arena *arena, const char *path, const struct conf_section *section)
{
	for (const struct conf_key *key = section->keys; key->name != NULL; key++) {
		if ((key->flags & (CONF_INTERNAL | section->without)) != 0)
			continue;
		if (key->section == NULL)
			print_key(path, key);
		else
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
