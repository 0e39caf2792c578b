/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The right to read a queue of the outbox: one reader at a time among all
 * processes of all nodes that share the task store. A successor on the same
 * node, that is with the same state directory, has it at once, for its
 * predecessor is dead; others wait until it has run out. Loop thread.
 */
#ifndef SLUICE_BUS_DIRECT_HOLD_H
#define SLUICE_BUS_DIRECT_HOLD_H

#include <stdbool.h>

#include "base/error.h"

struct direct_hold;
struct loop;
struct store;

struct direct_hold_options {
	struct loop *loop;
	struct store *store;		/* borrowed until the hold is freed */
	const char *queue;		/* copied */
	const char *state;		/* the node's folder */
	void (*got)(void *user);	/* once; never from inside a call */
	void (*lost)(void *user);	/* once, after got: it may be somebody else's now */
	void *user;
};
/* Asks for it, for ever. NULL: the folder cannot be used. */
struct direct_hold *direct_hold_new(const struct direct_hold_options *options, struct error *err);
/* Whether it is held at this moment. */
bool direct_hold_is(const struct direct_hold *hold);
/* No callback any more. NULL tolerated. */
void direct_hold_free(struct direct_hold **hold);

#endif
