/* SPDX-License-Identifier: Apache-2.0 */
/* Current state: youtube_account and youtube_post. What an answer does not tell stays. Data only. */
#include "youtube.h"

#define D SL_DIMENSION
#define M SL_METRIC

static const struct sl_column account_columns[] = {
	{"channel_id", SL_TEXT, SL_KEEP, SL_ATTR, "handle"},
	{"title", SL_TEXT, SL_KEEP, D, "title"},
	{"description", SL_TEXT, SL_KEEP, D, "description"},
	{"custom_url", SL_TEXT, SL_KEEP, D, "custom_url"},
	{"published_at", SL_TIMESTAMP, SL_KEEP, D, "taken_at_timestamp"},
	{"thumbnails", SL_TEXT, SL_KEEP, D, "thumbnails"},
	{"thumbnail", SL_TEXT, SL_KEEP, D, "thumbnail"},
	{"is_subscriber_count_hidden", SL_BOOLEAN, SL_KEEP, SL_ATTR, "is_subscriber_count_hidden"},
	{"subscribers", SL_BIGINT, SL_KEEP, M, "subscriber_count"},
	{"uploads", SL_BIGINT, SL_KEEP, M, "video_count"},
	{"views", SL_BIGINT, SL_KEEP, M, "view_count"},
	{"country", SL_TEXT, SL_KEEP, D, "country"},
	{"uploads_playlist_id", SL_TEXT, SL_KEEP, D, "uploads_playlist_id"},
	{"is_verified", SL_BOOLEAN, SL_KEEP, D, "is_verified"},
	{"external_urls", SL_TEXT, SL_KEEP, D, "external_urls"},
	{"shorts", SL_BIGINT, SL_KEEP, D, NULL},
	{"username", SL_TEXT, SL_KEEP, D, NULL},
	{"gplsuid", SL_TEXT, SL_KEEP, D, NULL},
	{"yt_category_id", SL_TEXT, SL_KEEP, D, NULL},
	{"yt_category", SL_TEXT, SL_KEEP, D, NULL},
	{"locale", SL_TEXT, SL_KEEP, D, NULL},
	{"er12p", SL_DOUBLE, SL_KEEP, D, NULL},
	SL_END_OF_COLUMNS
};

const struct sl_table youtube_account = SL_TABLE_INIT(
	.name = "youtube_account", .key_column = "channel_id", .flags = SL_TABLE_STAMPED,
	.columns = account_columns, .doc = "YouTube channels as last seen");

static const struct sl_column post_columns[] = {
	{"shortcode", SL_TEXT, SL_KEEP, SL_ATTR, "shortcode"},
	{"channel_id", SL_TEXT, SL_KEEP, SL_ATTR, "channel_id"},
	{"title", SL_TEXT, SL_KEEP, D, "title"},
	{"description", SL_TEXT, SL_KEEP, D, "description"},
	{"thumbnails", SL_TEXT, SL_KEEP, D, "thumbnails"},
	{"thumbnail", SL_TEXT, SL_KEEP, D, "thumbnail"},
	{"tags", SL_TEXT, SL_KEEP, D, "tags"},
	{"channel_title", SL_TEXT, SL_KEEP, D, "channel_title"},
	{"duration", SL_TEXT, SL_KEEP, D, "duration"},
	{"category_id", SL_TEXT, SL_KEEP, D, "category_id"},
	{"category", SL_TEXT, SL_KEEP, D, "category"},
	{"audio_language", SL_TEXT, SL_KEEP, D, "audio_language"},
	{"content_rating", SL_TEXT, SL_KEEP, D, "content_rating"},
	{"playlist_id", SL_TEXT, SL_KEEP, D, "playlist_id"},
	{"privacy_status", SL_TEXT, SL_KEEP, D, "privacy_status"},
	{"keywords", SL_TEXT, SL_KEEP, D, "keywords"},
	{"views", SL_BIGINT, SL_KEEP, M, "view_count"},
	{"likes", SL_BIGINT, SL_KEEP, M, "likes"},
	{"favourites", SL_BIGINT, SL_KEEP, M, "favourite_count"},
	{"comments", SL_BIGINT, SL_KEEP, M, "comments"},
	{"is_licensed", SL_BOOLEAN, SL_KEEP, D, "is_licensed"},
	{"post_type", SL_TEXT, SL_KEEP, D, "post_type"},
	{"published_at", SL_TIMESTAMP, SL_KEEP, D, "taken_at_timestamp"},
	SL_END_OF_COLUMNS
};

static const char *const post_indexes[] = {"channel_id", NULL};

const struct sl_table youtube_post = SL_TABLE_INIT(
	.name = "youtube_post", .key_column = "shortcode", .flags = SL_TABLE_STAMPED,
	.columns = post_columns, .indexes = post_indexes, .doc = "YouTube videos as last seen");
