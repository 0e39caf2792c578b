/* SPDX-License-Identifier: Apache-2.0 */
/* Making a task of a flow: its parameters checked, everything else as the configuration says. Any thread. */
#ifndef SLUICE_SETUP_NEW_TASK_H
#define SLUICE_SETUP_NEW_TASK_H

#include <sluice/option.h>

#include "base/error.h"
#include "store/store.h"

struct arena;
struct conf_flow;
struct json;

/*
 * Fills *task_r; texts in the arena, names borrowed from conf. options are the
 * parameters that the flow declares. The unique key is made of those that
 * flows.yaml names (unique:), NULL when it names none; skip is NULL for a flow
 * without skip_after. ERR_INPUT with the schema's message.
 */
int new_task_make(struct store_new_task *task_r, struct arena *arena, const struct conf_flow *conf,
		  const struct sl_option *options, const struct json *params, struct error *err);

/*
 * What a task with these parameters is for, as skip_after counts failures: those
 * of unique:, else all that are not null, spelled the same however a store or a
 * person spelled them. In the arena.
 */
const char *new_task_key(struct arena *arena, const struct conf_flow *conf, const struct json *params);

#endif
