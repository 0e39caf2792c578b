/* SPDX-License-Identifier: Apache-2.0 */
/* Channels, videos, and the two ways to find a channel's videos. */
#include <string.h>

#include "youtube.h"

#define SOURCE_LABEL "ytapi"	/* what readers of the events know both sources as */

static const struct sl_field channel_fields[] = {
	{SL_METRIC, "video_count", "statistics.videoCount", SL_INT},
	{SL_METRIC, "subscriber_count", "statistics.subscriberCount", SL_INT},
	{SL_METRIC, "view_count", "statistics.viewCount", SL_INT},
	{SL_DIMENSION, "title", "snippet.title", SL_STR},
	{SL_DIMENSION, "description", "snippet.description", SL_STR},
	{SL_DIMENSION, "custom_url", "snippet.customUrl", SL_STR},
	{SL_DIMENSION, "taken_at_timestamp", "snippet.publishedAt", SL_TIME},
	{SL_DIMENSION, "thumbnails", "snippet.thumbnails", SL_JSON_TEXT},
	{SL_DIMENSION, "thumbnail", "snippet.thumbnails.default.url", SL_STR},
	{SL_DIMENSION, "country", "snippet.country", SL_STR},
	{SL_DIMENSION, "uploads_playlist_id", "contentDetails.relatedPlaylists.uploads", SL_STR},
	SL_END_OF_FIELDS
};

static const struct sl_field video_fields[] = {
	{SL_ATTR, "channel_id", "snippet.channelId", SL_STR},
	{SL_METRIC, "comments", "statistics.commentCount", SL_INT},
	{SL_METRIC, "favourite_count", "statistics.favoriteCount", SL_INT},
	{SL_METRIC, "likes", "statistics.likeCount", SL_INT},
	{SL_METRIC, "view_count", "statistics.viewCount", SL_INT},
	{SL_DIMENSION, "title", "snippet.title", SL_STR},
	{SL_DIMENSION, "channel_title", "snippet.channelTitle", SL_STR},
	{SL_DIMENSION, "description", "snippet.description", SL_STR},
	{SL_DIMENSION, "duration", "contentDetails.duration", SL_STR},
	{SL_DIMENSION, "taken_at_timestamp", "snippet.publishedAt", SL_TIME},
	{SL_DIMENSION, "thumbnails", "snippet.thumbnails", SL_JSON_TEXT},
	{SL_DIMENSION, "thumbnail", "snippet.thumbnails.default.url", SL_STR},
	{SL_DIMENSION, "tags", "snippet.tags", SL_JSON_TEXT},
	{SL_DIMENSION, "category_id", "snippet.categoryId", SL_STR},
	{SL_DIMENSION, "audio_language", "snippet.defaultAudioLanguage", SL_STR},
	{SL_DIMENSION, "is_licensed", "contentDetails.licensedContent", SL_BOOL},
	{SL_DIMENSION, "content_rating", "contentDetails.contentRating", SL_JSON_TEXT},
	{SL_DIMENSION, "definition", "contentDetails.definition", SL_STR},
	SL_END_OF_FIELDS
};

/* --- requests: the same for both sources, but for where they are --- */

static void get(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, struct sl_request *r,
		const char *list)
{
	const bool bare = strcmp(h->source(c), yt_v31.name) == 0;

	h->get(r, h->format(t, bare ? "/%s" : "/youtube/v3/%s", list));
}

static void list_request(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			 struct sl_request *r, const char *list)
{
	get(h, t, c, r, list);
	h->query(r, "part", "snippet,statistics,contentDetails");
	h->query(r, "id", h->arg(c, "ids"));
	h->query_int(r, "maxResults", 50);
}

static enum sl_result channels_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				     struct sl_request *r)
{
	list_request(h, t, c, r, "channels");
	return SL_OK;
}

static enum sl_result videos_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   struct sl_request *r)
{
	list_request(h, t, c, r, "videos");
	return SL_OK;
}

static enum sl_result playlist_items_build(const struct sl_host *h, struct sl_task *t,
					   const struct sl_call *c, struct sl_request *r)
{
	get(h, t, c, r, "playlistItems");
	h->query(r, "part", "snippet,contentDetails,status,id");
	h->query(r, "playlistId", h->arg(c, "playlist_id"));
	h->query_int(r, "maxResults", 50);
	h->query(r, "pageToken", h->cursor(c));
	return SL_OK;
}

static enum sl_result search_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   struct sl_request *r)
{
	get(h, t, c, r, "search");
	h->query(r, "channelId", h->arg(c, "channel_id"));
	h->query(r, "part", "id");
	h->query(r, "order", "date");
	h->query_int(r, "maxResults", 50);
	h->query(r, "publishedAfter", h->arg(c, "after"));
	h->query(r, "publishedBefore", h->arg(c, "before"));
	h->query(r, "pageToken", h->cursor(c));
	return SL_OK;
}

/* --- answers --- */

/* No items at all is an answer too: nobody has the ids. Anything but an object is none. */
static bool is_list(const struct sl_host *h, const struct sl_json *json)
{
	return h->is_object(json) && (h->is_array(h->at(json, "items")) || h->str(json, "kind"));
}

static enum sl_result no_list(const struct sl_host *h, struct sl_task *t, const struct sl_response *re)
{
	return h->fail(t, re->json ? SL_SOURCE : SL_RETRY, "API Failure");
}

static enum sl_result channels_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				     const struct sl_response *re)
{
	const struct sl_json *item;

	(void)c;
	if (!is_list(h, re->json))
		return no_list(h, t, re);
	SL_EACH(h, item, h->at(re->json, "items")) {
		struct sl_record *rec = h->record(t, &profile_type, h->str(item, "id"), item, channel_fields);
		const bool hidden = h->boolean(item, "statistics.hiddenSubscriberCount", false);

		h->set_source(rec, SOURCE_LABEL);
		h->put_str(rec, SL_ATTR, "handle", h->str(item, "id"));
		if (h->at(item, "statistics.hiddenSubscriberCount")) {
			h->put_int(rec, SL_METRIC, "hidden_subscriber_count", hidden);
			h->put_bool(rec, SL_ATTR, "is_subscriber_count_hidden", hidden);
		} else {
			h->put_null(rec, SL_METRIC, "hidden_subscriber_count");
		}
	}
	return SL_OK;
}

static enum sl_result videos_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   const struct sl_response *re)
{
	const struct sl_json *item;

	(void)c;
	if (!is_list(h, re->json))
		return no_list(h, t, re);
	SL_EACH(h, item, h->at(re->json, "items")) {
		struct sl_record *rec = h->record(t, &post_type, h->str(item, "id"), item, video_fields);

		h->set_source(rec, SOURCE_LABEL);
		h->put_str(rec, SL_ATTR, "profile_id", h->str(item, "snippet.channelId"));
		h->put_str(rec, SL_ATTR, "handle", h->str(item, "snippet.channelId"));
		if (duration_seconds(h->str(item, "contentDetails.duration")) > 60)
			h->put_str(rec, SL_DIMENSION, "post_type", "video");
	}
	return SL_OK;
}

/* Both pages of ids: what is at path in each item is remembered, once. */
static enum sl_result ids_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				const struct sl_response *re, const char *path)
{
	const struct sl_json *item;

	if (!is_list(h, re->json))
		return no_list(h, t, re);
	SL_EACH(h, item, h->at(re->json, "items")) {
		const char *id = h->str(item, path);

		if (!id || h->contains(t, FACT_POST_IDS, id))
			continue;
		h->append(t, FACT_POST_IDS, id);
		paging_note(h, t, h->operation(c)->name, 0);
	}
	h->set_cursor(t, h->str(re->json, "nextPageToken"));
	return SL_OK;
}

static enum sl_result playlist_items_parse(const struct sl_host *h, struct sl_task *t,
					   const struct sl_call *c, const struct sl_response *re)
{
	return ids_parse(h, t, c, re, "contentDetails.videoId|snippet.resourceId.videoId");
}

static enum sl_result search_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   const struct sl_response *re)
{
	return ids_parse(h, t, c, re, "id.videoId");
}

static enum sl_result uploads_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				    const struct sl_response *re)
{
	const char *id = h->str(re->json, "0.uploads_playlist_id");

	if (!h->at(re->json, "0"))
		return h->fail(t, SL_FAIL, h->format(t, "channel %s is not in youtube_account: "
						     "refresh_yt_profiles must have run for it", h->key(c)));
	if (!id || !*id)
		return h->fail(t, SL_FAIL, h->format(t, "youtube_account knows no uploads_playlist_id of "
						     "channel %s", h->key(c)));
	h->set_text(t, FACT_UPLOADS, id);
	return SL_OK;
}

static const struct sl_via channels_vias[] = {
	{&ytapitoken, channels_build, channels_parse},
	{&yt_v31, channels_build, channels_parse},
	SL_END_OF_VIAS
};
const struct sl_operation channels = SL_OPERATION_INIT(
	.name = "channels", .via = channels_vias, .doc = "Up to 50 channels by their ids");

static const struct sl_via videos_vias[] = {
	{&ytapitoken, videos_build, videos_parse}, {&yt_v31, videos_build, videos_parse}, SL_END_OF_VIAS
};
const struct sl_operation videos = SL_OPERATION_INIT(
	.name = "videos", .via = videos_vias, .doc = "Up to 50 videos by their ids");

static const struct sl_via playlist_items_vias[] = {
	{&ytapitoken, playlist_items_build, playlist_items_parse},
	{&yt_v31, playlist_items_build, playlist_items_parse},
	SL_END_OF_VIAS
};
const struct sl_operation playlist_items = SL_OPERATION_INIT(
	.name = "playlist_items", .via = playlist_items_vias, .doc = "A page of a playlist's video ids");

static const struct sl_via search_vias[] = {
	{&ytapitoken, search_build, search_parse}, {&yt_v31, search_build, search_parse}, SL_END_OF_VIAS
};
const struct sl_operation search_by_channel = SL_OPERATION_INIT(
	.name = "search_by_channel", .via = search_vias,
	.doc = "A page of a channel's video ids, newest first", .cost = 100);

static const struct sl_via uploads_vias[] = {{NULL, NULL, uploads_parse}, SL_END_OF_VIAS};
const struct sl_operation uploads_playlist = SL_OPERATION_INIT(
	.name = "uploads_playlist", .kind = SL_LOOKUP, .via = uploads_vias,
	.table = &youtube_account, .column = "channel_id", .doc = "The playlist of a channel's uploads");
