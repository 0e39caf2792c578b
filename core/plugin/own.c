/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's own copy of a plugin's descriptor. Structs that begin with a size
 * may be shorter in an older plugin; each is copied into a zeroed struct of
 * the host's size once, and every pointer between them is turned to the copy.
 */
#include <stdlib.h>
#include <string.h>

#include "plugin/internal.h"

/* Sizes of the first version, where it was shorter: up to the padding, as the compiler of then saw it. */
#define OPERATION_LEAST offsetof(struct sl_operation, cost)

static int pair_compare(const void *a, const void *b)
{
	const struct plugin_pair *x = a, *y = b;

	return x->theirs < y->theirs ? -1 : x->theirs > y->theirs;
}

const void *plugin_own(const struct plugin *plugin, const void *theirs)
{
	const struct plugin_pair wanted = { .theirs = theirs, .own = NULL };
	const struct plugin_pair *found = NULL;

	/* A plugin of sinks alone has no pairs. */
	if (plugin->pair_count > 0)
		found = bsearch(&wanted, plugin->pairs, plugin->pair_count, sizeof(wanted), pair_compare);
	return found != NULL ? found->own : NULL;
}

const void *plugin_theirs(const struct plugin *plugin, const void *own)
{
	for (size_t i = 0; i < plugin->pair_count; i++)
		if (plugin->pairs[i].own == own)
			return plugin->pairs[i].theirs;
	return NULL;
}

static void pair_add(struct plugin *plugin, const void *theirs, const void *own)
{
	if (plugin->pair_count == plugin->pair_cap) {
		plugin->pair_cap = plugin->pair_cap != 0 ? plugin->pair_cap * 2 : 32;
		plugin->pairs = mem_realloc(plugin->pairs, plugin->pair_cap * sizeof(*plugin->pairs));
	}
	plugin->pairs[plugin->pair_count++] = (struct plugin_pair){ theirs, own };
	qsort(plugin->pairs, plugin->pair_count, sizeof(*plugin->pairs), pair_compare);
}

/*
 * One sized struct: what names it in messages, ours the host's size, least the
 * size of its first version. NULL stays NULL; a struct met before gives the
 * same copy. *fresh_r: the copy is new, its pointers are still theirs.
 */
static void *own_one(struct plugin *plugin, const void *theirs, size_t ours, size_t least, const char *what,
		     bool *fresh_r, struct error *err)
{
	const void *known;
	size_t size;
	void *copy;

	*fresh_r = false;
	if (theirs == NULL || err->code != ERR_NONE)
		return NULL;
	known = plugin_own(plugin, theirs);
	if (known != NULL)
		return (void *)(uintptr_t)known;
	memcpy(&size, theirs, sizeof(size));
	if (size < least || size > 64 * 1024) {
		error_set(err, ERR_INPUT, "one %s says its size is %zu bytes; this host knows %zu to %d", what, size,
			  least, 64 * 1024);
		return NULL;
	}
	copy = arena_alloc(plugin->arena, ours);
	memcpy(copy, theirs, size < ours ? size : ours);
	*(size_t *)copy = size < ours ? size : ours;
	pair_add(plugin, theirs, copy);
	*fresh_r = true;
	return copy;
}

static const struct sl_source *own_source(struct plugin *plugin, const struct sl_source *theirs, struct error *err)
{
	bool fresh;

	return own_one(plugin, theirs, sizeof(*theirs), sizeof(*theirs), "source", &fresh, err);
}

static const struct sl_table *own_table(struct plugin *plugin, const struct sl_table *theirs, struct error *err)
{
	bool fresh;

	return own_one(plugin, theirs, sizeof(*theirs), sizeof(*theirs), "table", &fresh, err);
}

static const struct sl_stream *own_stream(struct plugin *plugin, const struct sl_stream *theirs, struct error *err)
{
	bool fresh;

	return own_one(plugin, theirs, sizeof(*theirs), sizeof(*theirs), "stream", &fresh, err);
}

static const struct sl_sink *own_sink(struct plugin *plugin, const struct sl_sink *theirs, struct error *err)
{
	bool fresh;

	return own_one(plugin, theirs, sizeof(*theirs), sizeof(*theirs), "sink", &fresh, err);
}

static const struct sl_operation *own_operation(struct plugin *plugin, const struct sl_operation *theirs,
						struct error *err)
{
	bool fresh;
	struct sl_operation *own = own_one(plugin, theirs, sizeof(*own), OPERATION_LEAST, "operation", &fresh, err);
	struct sl_via *vias;
	size_t count = 0;

	if (!fresh)
		return own;
	own->table = own_table(plugin, own->table, err);
	if (own->via == NULL)
		return own;
	while (own->via[count].parse != NULL)
		count++;
	vias = arena_alloc(plugin->arena, (count + 1) * sizeof(*vias));
	memcpy(vias, own->via, (count + 1) * sizeof(*vias));
	for (size_t i = 0; i < count; i++)
		vias[i].source = own_source(plugin, vias[i].source, err);
	own->via = vias;
	return own;
}

/* A list of pointers to sized structs becomes a list of pointers to their copies. */
#define OWN_LIST(plugin, list, type, own_fn, err) do { \
		const struct type **copies_; \
		size_t n_ = 0; \
		if ((list) == NULL) \
			break; \
		while ((list)[n_] != NULL) \
			n_++; \
		copies_ = arena_alloc((plugin)->arena, (n_ + 1) * sizeof(*copies_)); \
		for (size_t i_ = 0; i_ < n_ && (err)->code == ERR_NONE; i_++) \
			copies_[i_] = own_fn((plugin), (list)[i_], (err)); \
		(list) = copies_; \
	} while (0)

static const struct sl_flow *own_flow(struct plugin *plugin, const struct sl_flow *theirs, struct error *err)
{
	bool fresh;
	struct sl_flow *own = own_one(plugin, theirs, sizeof(*own), sizeof(*own), "flow", &fresh, err);

	if (!fresh)
		return own;
	OWN_LIST(plugin, own->operations, sl_operation, own_operation, err);
	OWN_LIST(plugin, own->tables, sl_table, own_table, err);
	OWN_LIST(plugin, own->streams, sl_stream, own_stream, err);
	return own;
}

static const struct sl_listener *own_listener(struct plugin *plugin, const struct sl_listener *theirs,
					      struct error *err)
{
	bool fresh;
	struct sl_listener *own = own_one(plugin, theirs, sizeof(*own), sizeof(*own), "listener", &fresh, err);

	if (!fresh)
		return own;
	OWN_LIST(plugin, own->tables, sl_table, own_table, err);
	OWN_LIST(plugin, own->streams, sl_stream, own_stream, err);
	return own;
}

int plugin_copy(struct plugin *plugin, const struct sl_plugin *theirs, struct error *err)
{
	struct sl_plugin *own = &plugin->descriptor;
	size_t size = theirs->size;

	error_clear(err);
	if (size < sizeof(*own) || size > 64 * 1024)
		return error_set(err, ERR_INPUT, "its descriptor says its size is %zu bytes; this host knows %zu to %d",
				 size, sizeof(*own), 64 * 1024);
	memcpy(own, theirs, size < sizeof(*own) ? size : sizeof(*own));
	own->size = sizeof(*own);
	OWN_LIST(plugin, own->sources, sl_source, own_source, err);
	OWN_LIST(plugin, own->operations, sl_operation, own_operation, err);
	OWN_LIST(plugin, own->tables, sl_table, own_table, err);
	OWN_LIST(plugin, own->streams, sl_stream, own_stream, err);
	OWN_LIST(plugin, own->flows, sl_flow, own_flow, err);
	OWN_LIST(plugin, own->sinks, sl_sink, own_sink, err);
	OWN_LIST(plugin, own->listeners, sl_listener, own_listener, err);
	return err->code == ERR_NONE ? 0 : -1;
}
