/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Current state: instagram_account and instagram_post. Nulls and empty texts keep what is
 * there. Data only.
 */
#include "instagram.h"

#define D SL_DIMENSION
#define M SL_METRIC

static const struct sl_column account_columns[] = {
	{"profile_id", SL_TEXT, SL_KEEP, D, "profile_id"},
	{"handle", SL_TEXT, SL_KEEP, D, "handle"},
	{"full_name", SL_TEXT, SL_KEEP, D, "full_name"},
	{"profile_type", SL_TEXT, SL_KEEP, D, "profile_type"},
	{"biography", SL_TEXT, SL_KEEP, D, "bio"},
	{"followers", SL_BIGINT, SL_KEEP, M, "followers"},
	{"following", SL_BIGINT, SL_KEEP, M, "following"},
	{"media_count", SL_BIGINT, SL_KEEP, M, "media_count"},
	{"profile_pic_url", SL_TEXT, SL_KEEP, D, "profile_pic_url"},
	{"category", SL_TEXT, SL_KEEP, D, "category"},
	{"category_id", SL_TEXT, SL_KEEP, D, "category_id"},
	{"fbid", SL_TEXT, SL_KEEP, D, "fbid"},
	{"is_business_or_creator", SL_BOOLEAN, SL_KEEP, D, "is_business_or_creator"},
	{"is_creator", SL_BOOLEAN, SL_KEEP, D, NULL},
	{"is_in_gcc_collection", SL_BOOLEAN, SL_KEEP, D, NULL},
	{"is_private", SL_BOOLEAN, SL_KEEP, D, "is_private"},
	{"is_verified", SL_BOOLEAN, SL_KEEP, D, "is_verified"},
	{"on_gcc", SL_BOOLEAN, SL_KEEP, D, NULL},
	{"refreshed_at", SL_TIMESTAMP, SL_KEEP, D, NULL},
	{"avg_comments", SL_DOUBLE, SL_KEEP, D, NULL},
	{"avg_engagement", SL_DOUBLE, SL_KEEP, D, NULL},
	{"avg_impressions", SL_DOUBLE, SL_KEEP, D, NULL},
	{"avg_likes", SL_DOUBLE, SL_KEEP, D, NULL},
	{"avg_reach", SL_DOUBLE, SL_KEEP, D, NULL},
	{"avg_reels_plays", SL_DOUBLE, SL_KEEP, D, NULL},
	SL_END_OF_COLUMNS
};

static const char *const account_indexes[] = {"handle", NULL};

const struct sl_table instagram_account = SL_TABLE_INIT(
	.name = "instagram_account", .key_column = "profile_id", .flags = SL_TABLE_STAMPED,
	.columns = account_columns, .indexes = account_indexes, .doc = "Instagram profiles as last seen");

static const struct sl_column post_columns[] = {
	{"profile_id", SL_TEXT, SL_KEEP, D, "profile_id"},
	{"handle", SL_TEXT, SL_KEEP, D, "handle"},
	{"post_id", SL_TEXT, SL_KEEP, D, "post_id"},
	{"post_type", SL_TEXT, SL_KEEP, D, "post_type"},
	{"content_type", SL_TEXT, SL_KEEP, D, "content_type"},
	{"caption", SL_TEXT, SL_KEEP, D, "caption"},
	{"shortcode", SL_TEXT, SL_KEEP, D, "short_code"},
	{"likes", SL_BIGINT, SL_KEEP, M, "likes"},
	{"views", SL_BIGINT, SL_KEEP, M, "view_count"},
	{"plays", SL_BIGINT, SL_KEEP, M, "play_count"},
	{"comments", SL_BIGINT, SL_KEEP, M, "comments"},
	{"reach", SL_BIGINT, SL_KEEP, M, "reach"},
	{"saved", SL_BIGINT, SL_KEEP, M, "saved"},
	{"shares", SL_BIGINT, SL_KEEP, M, "shares"},
	{"impressions", SL_BIGINT, SL_KEEP, M, "impressions"},
	{"interactions", SL_BIGINT, SL_KEEP, M, "interactions"},
	{"taps_forward", SL_BIGINT, SL_KEEP, M, "tap_forward"},
	{"taps_back", SL_BIGINT, SL_KEEP, M, "tap_back"},
	{"exits", SL_BIGINT, SL_KEEP, M, "tap_exit"},
	{"replies", SL_BIGINT, SL_KEEP, M, "replies"},
	{"navigation", SL_BIGINT, SL_KEEP, M, "navigation"},
	{"profile_activity", SL_BIGINT, SL_KEEP, M, "profile_activity"},
	{"profile_visits", SL_BIGINT, SL_KEEP, M, "profile_visits"},
	{"follows", SL_BIGINT, SL_KEEP, M, "follows"},
	{"video_views", SL_BIGINT, SL_KEEP, M, "video_views"},
	{"automatic_forward", SL_BIGINT, SL_KEEP, M, "automatic_forward"},
	{"swipe_back", SL_BIGINT, SL_KEEP, M, "swipe_back"},
	{"swipe_down", SL_BIGINT, SL_KEEP, M, "swipe_down"},
	{"swipe_forward", SL_BIGINT, SL_KEEP, M, "swipe_forward"},
	{"swipe_up", SL_BIGINT, SL_KEEP, M, "swipe_up"},
	{"engagement", SL_DOUBLE, SL_KEEP, M, "engagement"},
	{"display_url", SL_TEXT, SL_KEEP, D, "display_url"},
	{"thumbnail_url", SL_TEXT, SL_KEEP, D, "thumbnail_src"},
	{"keywords", SL_TEXT, SL_KEEP, D, "keywords"},
	{"publish_time", SL_TIMESTAMP, SL_KEEP, D, "taken_at_timestamp"},
	{"story_links", SL_TEXT_ARRAY, SL_KEEP, D, "story_links"},
	{"story_hashtags", SL_TEXT_ARRAY, SL_KEEP, D, "story_hashtags"},
	{"profile_follower", SL_BIGINT, SL_ONCE, M, "profile_follower"},
	{"profile_er", SL_DOUBLE, SL_ONCE, M, "profile_er"},
	{"profile_static_er", SL_DOUBLE, SL_ONCE, M, "profile_static_er"},
	{"profile_reels_er", SL_DOUBLE, SL_ONCE, M, "profile_reels_er"},
	SL_END_OF_COLUMNS
};

static const char *const post_indexes[] = {"profile_id", NULL};

const struct sl_table instagram_post = SL_TABLE_INIT(
	.name = "instagram_post", .key_column = "shortcode", .flags = SL_TABLE_STAMPED,
	.columns = post_columns, .indexes = post_indexes, .doc = "Instagram posts as last seen");
