/* SPDX-License-Identifier: Apache-2.0 */
/* The sink role: takes queues into the warehouse. One process per instance; see role/role.h. */
#ifndef SLUICE_SINK_SINK_H
#define SLUICE_SINK_SINK_H

#include "role/role.h"

extern const struct role_def sink_role;

#endif
