/* SPDX-License-Identifier: Apache-2.0 */
/* Finding plugins: every NAME.so in a list of folders is probed and added to the catalogue. Supervisor and sluicectl. */
#ifndef SLUICE_PLUGIN_DISCOVER_H
#define SLUICE_PLUGIN_DISCOVER_H

#include "base/error.h"

struct conf_catalogue;

/* Told of each file that was refused; reason begins with the file's name. */
typedef void plugin_refused_fn(void *user, const char *reason);

/*
 * folders: colon-separated; NULL: $SLUICE_PLUGIN_PATH, else where make install
 * put them. Files are taken in the order of their names, so that of two that
 * offer the same the same one is refused each time. Returns how many plugins
 * were added, or -1 when a folder cannot be read or probes cannot be run.
 */
int plugin_discover(const char *program, const char *folders, struct conf_catalogue *catalogue,
		    plugin_refused_fn *refused, void *user, struct error *err);

#endif
