/* SPDX-License-Identifier: Apache-2.0 */
/* The relay role: outbox rows to the broker. */
#ifndef SLUICE_RELAY_RELAY_H
#define SLUICE_RELAY_RELAY_H

#include "role/role.h"

extern const struct role_def relay_role;

#endif
