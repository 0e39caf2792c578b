/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a program of Sluice finds its configuration, its state directory and its
 * plugins, and puts the three together. sluiced and sluicectl; one thread.
 */
#ifndef SLUICE_SETUP_SETUP_H
#define SLUICE_SETUP_SETUP_H

#include <stdbool.h>

#include <sluice/table.h>

#include "base/buf.h"
#include "base/error.h"
#include "plugin/discover.h"
#include "store/store.h"

struct arena;
struct conf_catalogue;
struct conf_model;
struct plugin_set;

/* What the command line said; NULL = nothing. */
struct setup_options {
	const char *file;	/* else $SLUICE_CONFIG, else SYSCONFDIR/sluice/flows.yaml */
	const char *state;	/* else $SLUICE_STATE, else where make install put it */
	const char *plugins;	/* colon-separated; else $SLUICE_PLUGIN_PATH, else plugins.path, … */
};

struct setup {
	struct arena *arena;
	char *program;			/* the file this process runs, for probes and roles */
	const char *file;
	const char *state;		/* absolute */
	struct conf_catalogue *catalogue;
	struct conf_model *conf;	/* defaults alone when there is no file */
};

/*
 * Settles file and state, without reading anything. program is found by
 * /proc/self/exe. Call setup_fini whatever the others return.
 */
int setup_init(struct setup *setup, const struct setup_options *options, struct error *err);
/*
 * Reads the file, probes the plugins and checks the file against them. refused
 * is told of each plugin that is left out. -1: everything that is wrong is in
 * wrong, one line each. needed false: a file that nobody named may be missing;
 * then conf holds the defaults.
 */
int setup_load(struct setup *setup, const struct setup_options *options, bool needed,
	       plugin_refused_fn *refused, void *user, struct buf *wrong);
void setup_fini(struct setup *setup);

/* Loads what was probed into this process: the same files, or ERR_INPUT. */
int setup_load_plugins(const struct setup *setup, struct plugin_set *set, struct error *err);

/* Where traces of requests leave: as the original's. */
extern const struct sl_stream setup_traces;

/* How every process opens the task store; texts in the arena. */
struct store_options setup_store_options(const struct conf_model *conf, struct arena *arena);

#endif
