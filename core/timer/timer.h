/* SPDX-License-Identifier: Apache-2.0 */
/* The timer role: wakes workers; the active one of all nodes does the store's housekeeping and carries out schedules. One process per node; see role/role.h. */
#ifndef SLUICE_TIMER_TIMER_H
#define SLUICE_TIMER_TIMER_H

#include "role/role.h"

extern const struct role_def timer_role;

#endif
