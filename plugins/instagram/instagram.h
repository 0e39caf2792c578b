/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instagram: what the plugin's parts share. Operations are one thing to ask of
 * any of the four sources; answers come in three dialects (Graph API, mobile
 * items, web nodes), told apart by their shape and not by their source.
 */
#ifndef SLUICE_PLUGINS_INSTAGRAM_H
#define SLUICE_PLUGINS_INSTAGRAM_H

#include "../lib/lib.h"

/* sources.c */
extern const struct sl_source graphapi, arraybobo, jotucker, rocketapi;
/*
 * A 200 that does not hold what was asked for: an unreadable body is asked for again,
 * else the next source is.
 */
enum sl_result no_answer(const struct sl_host *h, struct sl_task *t, const struct sl_response *re,
			 const char *text);

/* profile.c */
extern const struct sl_operation profile_by_handle, profile_by_id;

/* posts.c */
extern const struct sl_operation posts_by_id, reels, post_by_shortcode;
/* Makes records of the posts that came inside a profile: user is the object that holds them. */
void embedded_posts(const struct sl_host *h, struct sl_task *t, const struct sl_json *user);

/* tables.c */
extern const struct sl_table instagram_account, instagram_post;

/* flows.c */
extern const struct sl_flow refresh_profile_by_handle, refresh_profile_by_profile_id, refresh_profile_basic,
	refresh_post_by_shortcode;

/* Facts that parse leaves for retrieve and emit. Pages are counted under the operation's name. */
#define FACT_PROFILE_ID "profile_id"	/* of the profile being refreshed */
#define FACT_HANDLE "handle"
#define FACT_MEDIA_COUNT "media_count"

#endif
