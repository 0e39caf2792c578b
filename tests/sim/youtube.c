/* SPDX-License-Identifier: Apache-2.0 */
/* YouTube Data API v3: channels, videos, playlist items (uploads), search within a channel. */
#include <stdio.h>
#include <string.h>

#include "pool.h"
#include "sim.h"
#include "template.h"

#define PAGE_DEFAULT 5
#define PAGE_MOST 50

struct source {
	const struct channel *channel;
	const struct video *video;
};

enum hole {
	CHANNEL_ID, UPLOADS, CHANNEL_TITLE, CHANNEL_TEXT, CUSTOM_URL, CHANNEL_TIME, CHANNEL_VIEWS, SUBSCRIBERS,
	VIDEO_COUNT, CHANNEL_HEX,
	VIDEO_ID, TITLE, DESCRIPTION, PUBLISHED, VIEWS, LIKES, COMMENTS, DURATION, POSITION, HEX, CATEGORY
};

static const char *const hole_names[] = {
	"channel_id", "uploads", "channel_title", "channel_text", "custom_url", "channel_time", "channel_views",
	"subscribers", "video_count", "channel_hex",
	"video_id", "title", "description", "published", "views", "likes", "comments", "duration", "position", "hex",
	"category", NULL
};

static struct template *channel_template, *video_template, *item_template, *search_template;

static const char *const channel_source[] = {
	"{'kind':'youtube#channel','etag':'@channel_hex@','id':'@channel_id@','snippet':{'title':'@channel_title@',"
	"'description':'@channel_text@','customUrl':'@custom_url@','publishedAt':'@channel_time@','thumbnails':{"
	"'default':{'url':'https://yt3.example.com/ytc/@channel_hex@=s88-c-k-c0x00ffffff-no-rj','width':88,"
	"'height':88},'medium':{'url':'https://yt3.example.com/ytc/@channel_hex@=s240-c-k-c0x00ffffff-no-rj',"
	"'width':240,'height':240},'high':{'url':'https://yt3.example.com/ytc/@channel_hex@=s800-c-k-no-rj',"
	"'width':800,'height':800}},'localized':{'title':'@channel_title@','description':'@channel_text@'},"
	"'country':'IN'},'contentDetails':{'relatedPlaylists':{'likes':'','uploads':'@uploads@'}},'statistics':{"
	"'viewCount':'@channel_views@','subscriberCount':'@subscribers@','hiddenSubscriberCount':false,"
	"'videoCount':'@video_count@'}}", NULL
};

#define THUMBNAILS "'thumbnails':{'default':{'url':'https://i.ytimg.example.com/vi/@video_id@/default.jpg'," \
	"'width':120,'height':90},'medium':{'url':'https://i.ytimg.example.com/vi/@video_id@/mqdefault.jpg'," \
	"'width':320,'height':180},'high':{'url':'https://i.ytimg.example.com/vi/@video_id@/hqdefault.jpg'," \
	"'width':480,'height':360},'standard':{'url':'https://i.ytimg.example.com/vi/@video_id@/sddefault.jpg'," \
	"'width':640,'height':480},'maxres':{'url':'https://i.ytimg.example.com/vi/@video_id@/maxresdefault.jpg'," \
	"'width':1280,'height':720}}"

static const char *const video_source[] = {
	"{'kind':'youtube#video','etag':'@hex@','id':'@video_id@','snippet':{'publishedAt':'@published@',"
	"'channelId':'@channel_id@','title':'@title@','description':'@description@'," THUMBNAILS
	",'channelTitle':'@channel_title@','tags':['design','weekend project','@channel_title@','how to'],"
	"'categoryId':'@category@','liveBroadcastContent':'none','defaultLanguage':'en','localized':{'title':"
	"'@title@','description':'@description@'},'defaultAudioLanguage':'en-IN'},'contentDetails':{'duration':"
	"'@duration@','dimension':'2d','definition':'hd','caption':'false','licensedContent':true,"
	"'contentRating':{},'projection':'rectangular'},'statistics':{'viewCount':'@views@','likeCount':'@likes@',"
	"'favoriteCount':'0','commentCount':'@comments@'}}", NULL
};

static const char *const item_source[] = {
	"{'kind':'youtube#playlistItem','etag':'@hex@','id':'VVVfc2lt@hex@@hex@','snippet':{'publishedAt':"
	"'@published@','channelId':'@channel_id@','title':'@title@','description':'@description@'," THUMBNAILS
	",'channelTitle':'@channel_title@','playlistId':'@uploads@','position':@position@,'resourceId':{'kind':"
	"'youtube#video','videoId':'@video_id@'},'videoOwnerChannelTitle':'@channel_title@',"
	"'videoOwnerChannelId':'@channel_id@'},'contentDetails':{'videoId':'@video_id@','videoPublishedAt':"
	"'@published@'},'status':{'privacyStatus':'public'}}", NULL
};

static const char *const search_source[] = {
	"{'kind':'youtube#searchResult','etag':'@hex@','id':{'kind':'youtube#video','videoId':'@video_id@'}}", NULL
};

static void put_duration(struct buf *out, int64_t seconds)
{
	const int64_t parts[] = {seconds / 3600, seconds / 60 % 60, seconds % 60};

	buf_adds(out, "PT");
	for (int i = 0; i < 3; i++)
		if (parts[i]) {
			put_int(out, parts[i]);
			buf_addc(out, "HMS"[i]);
		}
}

static void fill_channel(struct buf *out, int hole, const struct channel *c)
{
	switch (hole) {
	case CHANNEL_ID: buf_adds(out, c->id); break;
	case UPLOADS: buf_adds(out, c->uploads); break;
	case CHANNEL_TITLE: put_name(out, c->hash); break;
	case CHANNEL_TEXT: put_caption(out, c->hash); break;
	case CUSTOM_URL:
		buf_adds(out, "@channel");
		put_int(out, c->n);
		break;
	case CHANNEL_TIME: put_time(out, c->created_at, "Z"); break;
	case CHANNEL_VIEWS: put_int(out, c->views); break;
	case SUBSCRIBERS: put_int(out, c->subscribers); break;
	case VIDEO_COUNT: put_int(out, c->videos); break;
	default: put_hex(out, c->hash, 16);
	}
}

static void fill(struct buf *out, int hole, const void *data)
{
	const struct source *source = data;
	const struct video *v = source->video;

	switch (hole) {
	case VIDEO_ID: buf_adds(out, v->id); break;
	case TITLE: put_title(out, v->hash); break;
	case DESCRIPTION: put_caption(out, v->hash); break;
	case PUBLISHED: put_time(out, v->published_at, "Z"); break;
	case VIEWS: put_int(out, v->views); break;
	case LIKES: put_int(out, v->likes); break;
	case COMMENTS: put_int(out, v->comments); break;
	case DURATION: put_duration(out, v->duration_s); break;
	case POSITION: put_int(out, v->i); break;
	case CATEGORY: put_int(out, 1 + (int64_t)(v->hash >> 45) % 29); break;
	case HEX: put_hex(out, v->hash, 16); break;
	default: fill_channel(out, hole, source->channel);
	}
}

void youtube_init(void)
{
	channel_template = template_new(hole_names, fill, channel_source);
	video_template = template_new(hole_names, fill, video_source);
	item_template = template_new(hole_names, fill, item_source);
	search_template = template_new(hole_names, fill, search_source);
}

/* True, and answered, when the key is one that real life would refuse. */
static bool refused(struct sim_request *request)
{
	if (strncmp(sim_query(request, "key"), "bad", 3) != 0)
		return false;
	sim_fixed(request, 400,
		  "{'error':{'code':400,'message':'API key not valid. Please pass a valid API key.','errors':"
		  "[{'message':'API key not valid. Please pass a valid API key.','domain':'global','reason':"
		  "'badRequest'}],'status':'INVALID_ARGUMENT'}}");
	return true;
}

static void list_begin(struct sim_request *request, const char *kind)
{
	request->status = 200;
	buf_printf(&request->body, "{\"kind\":\"youtube#%sListResponse\",\"etag\":\"", kind);
	put_hex(&request->body, world_hash(30, request->key[0] ? (uint64_t)request->key[0] : 0, 0), 16);
	buf_adds(&request->body, "\",\"items\":[");
}

static void list_end(struct sim_request *request, unsigned int total, unsigned int page, uint32_t n,
		     uint32_t next)
{
	char text[WORLD_KEY_SIZE];

	buf_adds(&request->body, "],");
	if (next) {
		cursor_text(text, n, next);
		buf_printf(&request->body, "\"nextPageToken\":\"%s\",", text);
	}
	buf_printf(&request->body, "\"pageInfo\":{\"totalResults\":%u,\"resultsPerPage\":%u}}", total, page);
}

/* One of the comma-separated ids: appends its object and notes it, or does nothing when unknown. */
static bool channel_put(struct sim_request *request, const char *id, size_t len, bool first)
{
	struct channel channel;

	if (!channel_by_id(id, len, "UC", &channel))
		return false;
	if (!first)
		buf_addc(&request->body, ',');
	template_render(channel_template, &request->body, &(struct source){&channel, NULL});
	sim_served(request, ENTITY_CHANNEL, channel.n);
	return true;
}

static bool video_put(struct sim_request *request, const char *id, size_t len, bool first)
{
	struct channel channel;
	struct video video;

	if (!video_by_id(id, len, &channel, &video))
		return false;
	if (!first)
		buf_addc(&request->body, ',');
	template_render(video_template, &request->body, &(struct source){&channel, &video});
	sim_served(request, ENTITY_VIDEO, entity_number(channel.n, video.i));
	return true;
}

static void by_ids(struct sim_request *request, const char *kind,
		   bool (*put)(struct sim_request *, const char *, size_t, bool))
{
	const char *id = sim_query(request, "id");
	unsigned int asked = 0, found = 0;

	sim_set(request->key, id);
	if (refused(request))
		return;
	if (!id[0]) {
		sim_fixed(request, 400, "{'error':{'code':400,'message':'No filter selected.','errors':[{'message':"
			  "'No filter selected.','domain':'youtube.parameter','reason':'missingRequiredParameter',"
			  "'location':'parameters.','locationType':'other'}]}}");
		return;
	}
	list_begin(request, kind);
	for (size_t len; *id; id += len + (id[len] == ',')) {
		len = strcspn(id, ",");
		if (++asked <= PAGE_MOST)
			found += put(request, id, len, found == 0);
	}
	list_end(request, found, found, 0, 0);
}

void youtube_channels(struct sim_request *request)
{
	request->operation = "channels";
	by_ids(request, "channel", channel_put);
}

void youtube_videos(struct sim_request *request)
{
	request->operation = "videos";
	by_ids(request, "video", video_put);
}

void youtube_playlist_items(struct sim_request *request)
{
	const unsigned int most = sim_query_count(request, "maxResults", PAGE_DEFAULT, PAGE_MOST);
	struct channel channel;
	struct video video;
	uint32_t i, end;
	int64_t place;

	request->operation = "playlistItems";
	sim_set(request->key, sim_query(request, "playlistId"));
	sim_set(request->cursor, sim_query(request, "pageToken"));
	if (refused(request))
		return;
	if (!channel_by_id(request->key, strlen(request->key), "UU", &channel)) {
		sim_fixed(request, 404, "{'error':{'code':404,'message':'The playlist cannot be found.','errors':"
			  "[{'message':'The playlist cannot be found.','domain':'youtube.playlistItem','reason':"
			  "'playlistNotFound','location':'playlistId','locationType':'parameter'}]}}");
		return;
	}
	place = sim_place(request, request->cursor, channel.n);
	if (place < 0)
		return;
	list_begin(request, "playlistItem");
	end = channel.videos - (uint32_t)place < most ? channel.videos : (uint32_t)place + most;
	for (i = (uint32_t)place; i < end; i++) {
		video_get(&channel, i, &video);
		if (i > place)
			buf_addc(&request->body, ',');
		template_render(item_template, &request->body, &(struct source){&channel, &video});
	}
	list_end(request, channel.videos, most, channel.n, end < channel.videos ? end : 0);
}

static void search_answer(struct sim_request *request, const struct channel *channel, uint32_t place)
{
	const unsigned int most = sim_query_count(request, "maxResults", PAGE_DEFAULT, PAGE_MOST);
	const int64_t after = sim_query_time(request, "publishedAfter", 0);
	const int64_t before = sim_query_time(request, "publishedBefore", INT64_MAX);
	unsigned int count = 0, total = 0;
	uint32_t next = 0;
	struct video video;

	list_begin(request, "search");
	for (uint32_t i = 0; i < channel->videos; i++) {
		video_get(channel, i, &video);
		if (video.published_at < after || video.published_at > before)
			continue;
		total++;
		if (i < place || next)
			continue;
		if (count == most) {
			next = i;
			continue;
		}
		if (count++)
			buf_addc(&request->body, ',');
		template_render(search_template, &request->body, &(struct source){channel, &video});
	}
	/* without a type the first page ends with the channel itself, as in real answers */
	if (place == 0 && !next && !sim_query(request, "type")[0])
		buf_printf(&request->body, "%s{\"kind\":\"youtube#searchResult\",\"etag\":\"sim\",\"id\":{\"kind\":"
			   "\"youtube#channel\",\"channelId\":\"%s\"}}", count ? "," : "", channel->id);
	list_end(request, total, most, channel->n, next);
}

void youtube_search(struct sim_request *request)
{
	struct channel channel = {.videos = 0};
	int64_t place;

	request->operation = "search";
	sim_set(request->key, sim_query(request, "channelId"));
	sim_set(request->cursor, sim_query(request, "pageToken"));
	if (refused(request))
		return;
	if (!channel_by_id(request->key, strlen(request->key), "UC", &channel)) {
		list_begin(request, "search");
		list_end(request, 0, 0, 0, 0);
		return;
	}
	place = sim_place(request, request->cursor, channel.n);
	if (place >= 0)
		search_answer(request, &channel, (uint32_t)place);
}
