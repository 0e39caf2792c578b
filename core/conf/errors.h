/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a configuration file: every error of one run, each with
 * its place, printed in the order of the file. One thread.
 */
#ifndef SLUICE_CONF_ERRORS_H
#define SLUICE_CONF_ERRORS_H

#include <stddef.h>

struct arena;
struct buf;

#define CONF_ERRORS_SHOWN 20	/* the rest is only counted */
#define CONF_ERRORS_KEPT 500

struct conf_error {
	unsigned int line, column;	/* from 1; line 0 = the file as a whole */
	size_t order;			/* of discovery, so that sorting keeps it */
	const char *text;		/* owned by the arena */
};

struct conf_errors {
	struct arena *arena;		/* owned */
	const char *path;		/* as the user wrote it (copied) */
	struct conf_error *list;	/* owned; the first CONF_ERRORS_KEPT of count */
	size_t count;
};

void conf_errors_init(struct conf_errors *errors, const char *path);
void conf_errors_fini(struct conf_errors *errors);
void conf_errors_add(struct conf_errors *errors, unsigned int line, unsigned int column, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Appends one line per error, "flows.yaml:12:7: text", at most CONF_ERRORS_SHOWN, then how many more. */
void conf_errors_print(struct conf_errors *errors, struct buf *out);

#endif
