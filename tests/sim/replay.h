/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded responses from a folder: path P is answered with DIR/P.json, the
 * n-th request of it with DIR/P.n.json where that exists (n from 1). A file of
 * the same name ending in .http beside it gives a status line and headers.
 */
#ifndef SLUICE_SIM_REPLAY_H
#define SLUICE_SIM_REPLAY_H

#include "base/error.h"
#include "sim.h"

/* Before the server starts. */
int replay_open(const char *dir, struct error *err);
/* Any server thread. */
void replay_serve(struct sim_request *request);

#endif
