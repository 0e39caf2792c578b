/* SPDX-License-Identifier: Apache-2.0 */
/* The timer role: wakes workers and does the store's housekeeping. One process per instance; see role/role.h. */
#ifndef SLUICE_TIMER_TIMER_H
#define SLUICE_TIMER_TIMER_H

#include "role/role.h"

extern const struct role_def timer_role;

#endif
