/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugins in this process: loading with every check, and looking things up by
 * name. Loaded before threads start, never unloaded. The supervisor does not
 * use plugin_load: it runs the probe role (probe.h) and reads its JSON.
 */
#ifndef SLUICE_PLUGIN_PLUGIN_H
#define SLUICE_PLUGIN_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include <sluice/plugin.h>

#include "base/error.h"

struct buf;
struct plugin;
struct plugin_set;	/* the plugins of this process */

/* What identifies a file's content: a worker loads only what the probe saw. */
struct plugin_file {
	uint64_t device, inode, size;
	char sha256[65];
};

struct plugin_set *plugin_set_new(void);
void plugin_set_free(struct plugin_set **set);
/*
 * Loads path into the set. expected: the identity the probe reported, or NULL.
 * Refusals are ERR_INPUT and read "FILE: plugin NAME: reason". On success
 * *plugin_r (may be NULL) is borrowed from the set.
 */
int plugin_load(struct plugin_set *set, const char *path, const struct plugin_file *expected,
		const struct plugin **plugin_r, struct error *err);

/*
 * Adds a descriptor that is linked into the program (unit tests, fake hosts):
 * the same checks but for the file's. path is what messages name.
 */
int plugin_add_static(struct plugin_set *set, const char *path, const struct sl_plugin *descriptor,
		      const struct plugin **plugin_r, struct error *err);

size_t plugin_count(const struct plugin_set *set);
const struct plugin *plugin_at(const struct plugin_set *set, size_t index);
const struct sl_plugin *plugin_descriptor(const struct plugin *plugin);	/* the host's own copy */
const char *plugin_path(const struct plugin *plugin);
const struct plugin_file *plugin_file(const struct plugin *plugin);

/*
 * The host's copy of a struct the plugin declared and now passes by its own
 * address (an operation, table, stream or source); NULL when it never declared it.
 */
const void *plugin_own(const struct plugin *plugin, const void *theirs);
/* The address in the plugin of a struct the host copied: what its callbacks compare with. */
const void *plugin_theirs(const struct plugin *plugin, const void *own);

/* By name over all plugins; NULL when there is none. plugin_r may be NULL. */
const struct sl_flow *plugin_find_flow(const struct plugin_set *set, const char *name, const struct plugin **plugin_r);
const struct sl_sink *plugin_find_sink(const struct plugin_set *set, const char *name, const struct plugin **plugin_r);
const struct sl_stream *plugin_find_stream(const struct plugin_set *set, const char *name);
/* name is "plugin.operation". */
const struct sl_operation *plugin_find_operation(const struct plugin_set *set, const char *name);

const char *plugin_kind_name(enum sl_kind kind);	/* "http", "lookup", … */

/* Appends the descriptor as JSON: what the probe prints and `sluicectl plugin show` reads. */
void plugin_print(const struct plugin *plugin, struct buf *out);

#endif
