/* SPDX-License-Identifier: Apache-2.0 */
/* The worker role: claims tasks, runs their flows, commits what they made. One process per instance; see role/role.h. */
#ifndef SLUICE_WORKER_WORKER_H
#define SLUICE_WORKER_WORKER_H

#include "role/role.h"

extern const struct role_def worker_role;

#endif
