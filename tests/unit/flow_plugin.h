/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that walks pages ("walk") and tries single things ("try"), for flow_test.c. */
#ifndef SLUICE_FLOW_PLUGIN_H
#define SLUICE_FLOW_PLUGIN_H

#include <sluice/plugin.h>

extern const struct sl_plugin flow_plugin;

#endif
