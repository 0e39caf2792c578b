/* SPDX-License-Identifier: Apache-2.0 */
/*
 * So many places for all processes that open the same file: each process has
 * one or none. The kernel gives a place back when its process dies. Places are
 * locks on the file's bytes; who waits says so by a lock on one byte more.
 */
#ifndef SLUICE_STORE_GATE_H
#define SLUICE_STORE_GATE_H

#include <stdbool.h>

#include "base/error.h"

struct gate;

/* The file is made when it is missing. NULL and err when it cannot be used. */
struct gate *gate_open(const char *path, int places, struct error *err);
/* true: inside, also when it was before. false: full; ask again later. Others learn that somebody waits. */
bool gate_enter(struct gate *gate);
bool gate_inside(const struct gate *gate);
/* Leaves, and waits for nothing any more. */
void gate_leave(struct gate *gate);
/* Whether others wait. */
bool gate_wanted(const struct gate *gate);
/* Leaves. NULL tolerated. */
void gate_close(struct gate **gate);

#endif
