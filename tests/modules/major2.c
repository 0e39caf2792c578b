/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin of the next major version of the contract looks like to this one. */
#include <sluice/plugin.h>

extern SL_EXPORT const struct sl_plugin sluice_plugin_v2;
const struct sl_plugin sluice_plugin_v2 = { sizeof(struct sl_plugin), 2, 0, .name = "major2", .version = "1.0" };
