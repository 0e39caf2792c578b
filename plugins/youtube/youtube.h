/* SPDX-License-Identifier: Apache-2.0 */
/* YouTube: what the plugin's parts share. Both sources speak the Data API, version 3. */
#ifndef SLUICE_PLUGINS_YOUTUBE_H
#define SLUICE_PLUGINS_YOUTUBE_H

#include "../lib/lib.h"

/* sources.c */
#define QUOTA_EXCEEDED "Quota exceeded"
extern const struct sl_source ytapitoken, yt_v31;

/* operations.c */
extern const struct sl_operation channels, videos, playlist_items, search_by_channel, uploads_playlist;
#define FACT_POST_IDS "post_ids"		/* list: what playlist_items and search_by_channel found */
#define FACT_UPLOADS "uploads_playlist_id"	/* what uploads_playlist found */

/* tables.c */
extern const struct sl_table youtube_account, youtube_post;

/* flows.c */
extern const struct sl_flow refresh_yt_profiles, refresh_yt_posts, refresh_yt_posts_by_channel_id,
	refresh_yt_posts_by_playlist_id;

#endif
