/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong on purpose, decided by the seed and the how-manieth request of a key it is. */
#ifndef SLUICE_SIM_FAULT_H
#define SLUICE_SIM_FAULT_H

#include "base/error.h"
#include "sim.h"

/* Before the server starts. spec: as in --help. 0, or -1 naming what is wrong. */
int fault_add(const char *spec, struct error *err);
/* Changes a finished answer when a fault strikes. Any server thread. */
void fault_apply(struct sim_request *request);

#endif
