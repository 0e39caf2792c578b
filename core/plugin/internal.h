/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of core/plugin share. */
#ifndef SLUICE_PLUGIN_INTERNAL_H
#define SLUICE_PLUGIN_INTERNAL_H

#include <stdbool.h>

#include "base/arena.h"
#include "plugin/plugin.h"

struct plugin_pair {
	const void *theirs, *own;
};

struct plugin {
	struct arena *arena;		/* the descriptor's copy and all below it */
	char *path;			/* in arena */
	struct plugin_file file;
	struct sl_plugin descriptor;
	struct plugin_pair *pairs;	/* sorted by theirs */
	size_t pair_count, pair_cap;
};

struct plugin_set {
	struct plugin **plugins;
	size_t count;
};

/* Walks a NULL-terminated array of pointers that may itself be NULL. */
#define PLUGIN_EACH(pos, list) \
	for (size_t pos##_i = 0; (list) != NULL && ((pos) = (list)[pos##_i]) != NULL; pos##_i++)

/*
 * own.c: copies theirs (of the size it says it has) and every sized struct
 * below it into plugin, so that the host never reads past what an older plugin
 * was built with. ERR_INPUT when a size is not plausible.
 */
int plugin_copy(struct plugin *plugin, const struct sl_plugin *theirs, struct error *err);

/* check.c: everything that can be refused by looking at the copy, alone and beside the others of set. */
int plugin_check(const struct plugin_set *set, const struct plugin *plugin, const char *file_name,
		 struct error *err);

#endif
