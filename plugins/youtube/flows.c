/* SPDX-License-Identifier: Apache-2.0 */
/* The four flows: lists of ids in lots of 40, and two ways to come by the ids of videos. */
#include <string.h>

#include "youtube.h"

#define LOT 40
#define DEFAULT_MOST 50

/* One call for each lot of a list. */
static void ask_lots(const struct sl_host *h, struct sl_task *t, const struct sl_operation *operation,
		     const char *list)
{
	const char *ids;

	SL_BATCHES(h, t, list, LOT, ids)
		h->call(t, operation, ids, "ids", ids, NULL);
}

static enum sl_result profiles_retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (h->round(t) == 0)
		ask_lots(h, t, &channels, "channel_ids");
	return SL_OK;
}

static enum sl_result posts_retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (h->round(t) == 0)
		ask_lots(h, t, &videos, "post_ids");
	return SL_OK;
}

/* A page of ids ended: the next one, or the videos. most INT64_MAX: all pages. */
static void ids_ended(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, int64_t most)
{
	if (h->outcome(c) == SL_OK && paging_more(h, t, c, h->operation(c)->name, most, 0))
		h->next(t, c, 0);
	else
		ask_lots(h, t, &videos, FACT_POST_IDS);
}

/* A date becomes the first or last second of that day; a complete time stays what it is. */
static const char *bound(const struct sl_host *h, struct sl_task *t, const char *date, const char *time)
{
	return date && strlen(date) == strlen("2024-01-31") ? h->format(t, "%sT%sZ", date, time) : date;
}

static void search(const struct sl_host *h, struct sl_task *t)
{
	const struct sl_json *filter = h->param_json(t, "filter");
	const char *id = h->param(t, "channel_id");
	const char *after = bound(h, t, h->str(filter, "start_date"), "00:00:00");
	const char *before = bound(h, t, h->str(filter, "end_date"), "23:59:59");
	int64_t most = h->param_int(t, "max_posts", DEFAULT_MOST) - 1;
	struct sl_call *c;

	if (after && before)
		most = INT64_MAX;
	h->set_int(t, "most", most);
	c = h->call(t, &search_by_channel, id, "channel_id", id, "after", after, "before", before, NULL);
	h->on_error(c, SL_ON_ERROR_REPORT);
}

/* Searches are dear: once the quota is used up, what was found so far is refreshed. */
static bool is_quota(const struct sl_host *h, const struct sl_call *c)
{
	const char *text = h->outcome_text(c);

	return h->outcome(c) == SL_LIMIT || (text && strstr(text, QUOTA_EXCEEDED));
}

static enum sl_result by_channel_retrieve(const struct sl_host *h, struct sl_task *t)
{
	const struct sl_call *c = h->ended(t, 0);

	if (h->round(t) == 0) {
		search(h, t);
	} else if (c && h->operation(c) == &search_by_channel) {
		if (h->outcome(c) != SL_OK && !is_quota(h, c))
			return fail_with_call(h, t, c);
		ids_ended(h, t, c, h->get_int(t, "most", 0));
	}
	return SL_OK;
}

static enum sl_result by_playlist_retrieve(const struct sl_host *h, struct sl_task *t)
{
	const struct sl_call *c = h->ended(t, 0);

	if (h->round(t) == 0) {
		h->call(t, &uploads_playlist, h->param(t, "channel_id"), NULL);
	} else if (c && h->operation(c) == &uploads_playlist) {
		const char *playlist = h->get_text(t, FACT_UPLOADS);

		h->call(t, &playlist_items, playlist, "playlist_id", playlist, NULL);
	} else if (c && h->operation(c) == &playlist_items) {
		ids_ended(h, t, c, h->param_int(t, "max_posts", INT64_MAX) - 1);
	}
	return SL_OK;
}

static enum sl_result profiles_emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	h->upsert(t, &youtube_account, rec);
	h->event(t, &profile_log_events, rec);
	return SL_OK;
}

static enum sl_result posts_emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	static const char *const given[] = {"playlist_id", "category", "topic"};

	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		if (h->param(t, given[i]))
			h->put_str(rec, SL_DIMENSION, given[i], h->param(t, given[i]));
	h->put_str(rec, SL_DIMENSION, "keywords", "");
	h->upsert(t, &youtube_post, rec);
	h->event(t, &post_log_events, rec);
	return SL_OK;
}

#define PLATFORM "YOUTUBE"
#define CHANNEL_ID {"channel_id", SL_STR, SL_REQUIRED, NULL, 1, 64, "the channel's id, UC...", {NULL, NULL}}

static const struct sl_table *const account_tables[] = {&youtube_account, NULL};
static const struct sl_table *const post_tables[] = {&youtube_post, NULL};
static const struct sl_stream *const profile_streams[] = {&profile_log_events, NULL};
static const struct sl_stream *const post_streams[] = {&post_log_events, NULL};

static const struct sl_option profiles_params[] = {
	{"channel_ids", SL_LIST, SL_REQUIRED, NULL, 1, 10000, "channel ids", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const profiles_operations[] = {&channels, NULL};

const struct sl_flow refresh_yt_profiles = SL_FLOW_INIT(
	.name = "refresh_yt_profiles", .platform = PLATFORM, .params = profiles_params,
	.operations = profiles_operations, .tables = account_tables, .streams = profile_streams,
	.retrieve = profiles_retrieve, .emit = profiles_emit, .doc = "Channels by their ids");

static const struct sl_option posts_params[] = {
	{"post_ids", SL_LIST, SL_REQUIRED, NULL, 1, 10000, "video ids", {NULL, NULL}},
	{"playlist_id", SL_STR, SL_NULLABLE, NULL, 0, 0, "playlist the videos were found in", {NULL, NULL}},
	{"category", SL_STR, SL_NULLABLE, NULL, 0, 0, "category the videos were found by", {NULL, NULL}},
	{"topic", SL_STR, SL_NULLABLE, NULL, 0, 0, "keyword the videos were found by", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const posts_operations[] = {&videos, NULL};

const struct sl_flow refresh_yt_posts = SL_FLOW_INIT(
	.name = "refresh_yt_posts", .platform = PLATFORM, .params = posts_params,
	.operations = posts_operations, .tables = post_tables, .streams = post_streams,
	.retrieve = posts_retrieve, .emit = posts_emit, .doc = "Videos by their ids");

static const struct sl_option by_channel_params[] = {
	CHANNEL_ID,
	{"filter", SL_ANY, SL_NULLABLE, NULL, 0, 0, "{start_date, end_date}; a word is ignored",
		{NULL, NULL}},
	{"max_posts", SL_INT, SL_NULLABLE, NULL, 1, 1000000, "how many to look for: 50", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const by_channel_operations[] = {&search_by_channel, &videos, NULL};

const struct sl_flow refresh_yt_posts_by_channel_id = SL_FLOW_INIT(
	.name = "refresh_yt_posts_by_channel_id", .platform = PLATFORM, .params = by_channel_params,
	.operations = by_channel_operations, .tables = post_tables, .streams = post_streams,
	.retrieve = by_channel_retrieve, .emit = posts_emit, .doc = "A channel's newest videos, by search");

static const struct sl_option by_playlist_params[] = {
	CHANNEL_ID,
	{"max_posts", SL_INT, SL_NULLABLE, NULL, 1, 1000000, "how many to look for; null: all", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const by_playlist_operations[] = {
	&uploads_playlist, &playlist_items, &videos, NULL
};

const struct sl_flow refresh_yt_posts_by_playlist_id = SL_FLOW_INIT(
	.name = "refresh_yt_posts_by_playlist_id", .platform = PLATFORM, .params = by_playlist_params,
	.operations = by_playlist_operations, .tables = post_tables, .streams = post_streams,
	.retrieve = by_playlist_retrieve, .emit = posts_emit,
	.doc = "A channel's videos, by its uploads playlist");
