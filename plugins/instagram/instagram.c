/* SPDX-License-Identifier: Apache-2.0 */
/* Instagram: the descriptor. */
#include "instagram.h"

#include <stddef.h>

static const struct sl_source *const sources[] = {&graphapi, &arraybobo, &jotucker, &rocketapi, NULL};

static const struct sl_operation *const operations[] = {
	&profile_by_handle, &profile_by_id, &posts_by_id, &reels, &post_by_shortcode, NULL
};

static const struct sl_flow *const flows[] = {
	&refresh_profile_by_handle, &refresh_profile_by_profile_id, &refresh_profile_basic,
	&refresh_post_by_shortcode, NULL
};

static const struct sl_table *const tables[] = {&instagram_account, &instagram_post, NULL};

static const struct sl_stream *const streams[] = {&profile_log_events, &post_log_events, NULL};

SLUICE_PLUGIN(
	.name = "instagram", .version = "1.0", .doc = "Instagram profiles and posts from four providers",
	.sources = sources, .operations = operations, .flows = flows, .tables = tables, .streams = streams);
