/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin contract. A plugin is a shared object NAME.so that exports one
 * constant, sluice_plugin_v1, made with SLUICE_PLUGIN. It includes nothing else
 * of Sluice and links nothing of it. See sluice-plugin(3).
 *
 * Compatibility: the major version is in the symbol's name. Within a major,
 * structs that begin with a size are only ever appended to, and the host uses
 * the part a plugin was built with; the others never change.
 *
 *   minor 0: first
 *   minor 1: sl_operation.cost, SL_SOURCE_COSTS, SL_FEEDBACK_GOOGLE_QUOTA
 */
#ifndef SLUICE_PLUGIN_H
#define SLUICE_PLUGIN_H

#include "flow.h"
#include "host.h"
#include "http.h"
#include "json.h"
#include "option.h"
#include "sink.h"
#include "table.h"

#define SL_ABI_MAJOR 1
#define SL_ABI_MINOR 1

/* Lists are NULL-terminated arrays of pointers, or NULL. Everything stays valid as long as the object is loaded. */
struct sl_plugin {
	size_t size;
	unsigned int abi_major, abi_minor;
	const char *name;		/* [a-z][a-z0-9_-]*, the file's name without .so */
	const char *version;
	const char *doc;		/* one line */
	const struct sl_option *options;
	const struct sl_source *const *sources;
	const struct sl_operation *const *operations;
	const struct sl_flow *const *flows;
	const struct sl_table *const *tables;
	const struct sl_stream *const *streams;
	const struct sl_sink *const *sinks;
	const struct sl_listener *const *listeners;
};

#if defined(__GNUC__)
#define SL_EXPORT __attribute__((visibility("default")))
#else
#define SL_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif
extern SL_EXPORT const struct sl_plugin sluice_plugin_v1;
#ifdef __cplusplus
}
#endif

/* SLUICE_PLUGIN(.name = "example", .version = "1.0", .flows = flows); */
#define SLUICE_PLUGIN(...) \
	const struct sl_plugin sluice_plugin_v1 = { \
		sizeof(struct sl_plugin), SL_ABI_MAJOR, SL_ABI_MINOR, __VA_ARGS__ }

#endif
