/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task's parameters against what its flow declares: where the plugin is loaded
 * (core/flow) as where only its description is (the timer). Any thread.
 */
#ifndef SLUICE_CONF_PARAMS_H
#define SLUICE_CONF_PARAMS_H

#include <sluice/option.h>

#include "base/error.h"

struct arena;
struct json;
struct jwrite;

/* options end with name NULL; NULL: there are none. ERR_INPUT with everything that is wrong, parted by "; ". */
int conf_params_check(const struct sl_option *options, const struct json *params, struct error *err);
/* The parameter of that name; NULL: the flow declares none. */
const struct sl_option *conf_params_find(const struct sl_option *options, const char *name);
/*
 * Writes text as a value of the option's type: a number, true or false, a list
 * ("a,b" or JSON), any JSON. What does not fit its type is written as a text:
 * conf_params_check has the words for it. option NULL: a text.
 */
void conf_params_write(struct jwrite *w, const struct sl_option *option, const char *name, const char *text);
/* From the list of options that a probe printed. In the arena. */
const struct sl_option *conf_params_read(struct arena *arena, const struct json *options);

#endif
