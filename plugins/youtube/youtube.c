/* SPDX-License-Identifier: Apache-2.0 */
/* YouTube: the descriptor. */
#include "youtube.h"

static const struct sl_source *const sources[] = {&ytapitoken, &yt_v31, NULL};
static const struct sl_operation *const operations[] = {
	&channels, &videos, &playlist_items, &search_by_channel, &uploads_playlist, NULL
};
static const struct sl_flow *const flows[] = {
	&refresh_yt_profiles, &refresh_yt_posts, &refresh_yt_posts_by_channel_id,
	&refresh_yt_posts_by_playlist_id, NULL
};
static const struct sl_table *const tables[] = {&youtube_account, &youtube_post, NULL};
static const struct sl_stream *const streams[] = {&profile_log_events, &post_log_events, NULL};

SLUICE_PLUGIN(
	.name = "youtube", .version = "1.0", .doc = "YouTube channels and videos through the Data API",
	.sources = sources, .operations = operations, .flows = flows, .tables = tables, .streams = streams);
