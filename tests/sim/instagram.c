/* SPDX-License-Identifier: Apache-2.0 */
#include "instagram.h"

#include <string.h>

#include "base/buf.h"
#include "pool.h"

struct source {
	const struct profile *profile;
	const struct post *post;
};

enum hole {
	HANDLE, PROFILE_ID, FBID, NAME, BIO, FOLLOWERS, FOLLOWING, MEDIA_COUNT, PICTURE, PICTURE_HD, ACCOUNT_TYPE,
	CATEGORY_ID, VERIFIED, HEX_PROFILE,
	PK, SHORTCODE, GRAPH_ID, TAKEN_AT, TAKEN_ISO, LIKES, COMMENTS, PLAYS, VIEWS, DURATION, RESHARES, CAPTION,
	IMAGE_URL, THUMB_URL, VIDEO_URL, GRAPH_URL, GRAPH_TYPE, PERMALINK, MEDIA_TYPE, PRODUCT_TYPE, TYPENAME,
	IS_VIDEO, TAG_HANDLE, TAG_ID, TAG_NAME, LOCATION, HEX, SPONSOR
};

static const char *const hole_names[] = {
	"handle", "profile_id", "fbid", "name", "bio", "followers", "following", "media_count", "picture",
	"picture_hd", "account_type", "category_id", "verified", "hex_profile",
	"pk", "shortcode", "graph_id", "taken_at", "taken_iso", "likes", "comments", "plays", "views", "duration",
	"reshares", "caption", "image_url", "thumb_url", "video_url", "graph_url", "graph_type", "permalink",
	"media_type", "product_type", "typename", "is_video", "tag_handle", "tag_id", "tag_name", "location", "hex",
	"sponsor", NULL
};

static const char *const graph_types[] = {"IMAGE", "VIDEO", "CAROUSEL_ALBUM"};
static const char *const media_types[] = {"1", "2", "8"};
static const char *const product_types[] = {"feed", "clips", "carousel_container"};
static const char *const typenames[] = {"GraphImage", "GraphVideo", "GraphSidecar"};

static void fill_profile(struct buf *out, int hole, const struct profile *p)
{
	switch (hole) {
	case HANDLE: buf_adds(out, p->handle); break;
	case PROFILE_ID: put_int(out, p->id); break;
	case FBID: put_int(out, p->fbid); break;
	case NAME: put_name(out, p->hash); break;
	case BIO: put_bio(out, p->hash); break;
	case FOLLOWERS: put_int(out, p->followers); break;
	case FOLLOWING: put_int(out, p->following); break;
	case MEDIA_COUNT: put_int(out, p->posts); break;
	case PICTURE: put_media_url(out, "t51.2885-19", p->id, "jpg", p->hash); break;
	case PICTURE_HD: put_media_url(out, "t51.2885-19/hd", p->id, "jpg", p->hash >> 3); break;
	case ACCOUNT_TYPE: put_int(out, 1 + (int64_t)(p->hash >> 40) % 3); break;
	case CATEGORY_ID: put_int(out, 2200 + (int64_t)(p->hash >> 42) % 300); break;
	case VERIFIED: buf_adds(out, p->hash >> 50 & 7 ? "false" : "true"); break;
	default: put_hex(out, p->hash, 16);
	}
}

static void put_permalink(struct buf *out, const struct post *t)
{
	buf_adds(out, t->type == POST_VIDEO ? "https://www.instagram.com/reel/" : "https://www.instagram.com/p/");
	buf_adds(out, t->shortcode);
	buf_addc(out, '/');
}

static void fill_tagged(struct buf *out, int hole, const struct post *t)
{
	struct profile other;

	profile_get((uint32_t)(world_hash(20, t->hash, 0) % world.profiles), &other);
	fill_profile(out, hole == TAG_HANDLE ? HANDLE : hole == TAG_ID ? PROFILE_ID : NAME, &other);
}

static void fill_media(struct buf *out, int hole, const struct post *t)
{
	const bool video = t->type == POST_VIDEO;

	switch (hole) {
	case IMAGE_URL: put_media_url(out, "t51.29350-15", t->pk, "jpg", t->hash); break;
	case THUMB_URL: put_media_url(out, "t51.29350-15/c0.1", t->pk, "jpg", t->hash >> 1); break;
	case VIDEO_URL: put_media_url(out, "t66.30100-16", t->pk, "mp4", t->hash >> 2); break;
	case GRAPH_URL: put_media_url(out, video ? "o1/v" : "t51.29350-15", t->graph_id, video ? "mp4" : "jpg",
				      t->hash >> 3); break;
	case GRAPH_TYPE: buf_adds(out, graph_types[t->type]); break;
	case PERMALINK: put_permalink(out, t); break;
	case MEDIA_TYPE: buf_adds(out, media_types[t->type]); break;
	case PRODUCT_TYPE: buf_adds(out, product_types[t->type]); break;
	case TYPENAME: buf_adds(out, typenames[t->type]); break;
	case IS_VIDEO: buf_adds(out, video ? "true" : "false"); break;
	case TAG_HANDLE: case TAG_ID: case TAG_NAME: fill_tagged(out, hole, t); break;
	case LOCATION: put_name(out, t->hash >> 13); break;
	case SPONSOR: buf_adds(out, t->hash >> 51 & 15 ? "false" : "true"); break;
	default: put_hex(out, t->hash, 16);
	}
}

static void fill_post(struct buf *out, int hole, const struct post *t)
{
	switch (hole) {
	case PK: put_int(out, t->pk); break;
	case SHORTCODE: buf_adds(out, t->shortcode); break;
	case GRAPH_ID: put_int(out, t->graph_id); break;
	case TAKEN_AT: put_int(out, t->taken_at); break;
	case TAKEN_ISO: put_time(out, t->taken_at, "+0000"); break;
	case LIKES: put_int(out, t->likes); break;
	case COMMENTS: put_int(out, t->comments); break;
	case PLAYS: put_int(out, t->plays); break;
	case VIEWS: put_int(out, t->plays * 9 / 10); break;
	case DURATION:
		put_int(out, t->duration_ms / 1000);
		buf_addc(out, '.');
		put_int(out, 100 + t->duration_ms % 900);
		break;
	case RESHARES: put_int(out, t->reshares); break;
	case CAPTION: put_caption(out, t->hash); break;
	default: fill_media(out, hole, t);
	}
}

static void fill(struct buf *out, int hole, const void *data)
{
	const struct source *source = data;

	if (hole <= HEX_PROFILE)
		fill_profile(out, hole, source->profile);
	else
		fill_post(out, hole, source->post);
}

struct template *instagram_template(const char *const *sources)
{
	return template_new(hole_names, fill, sources);
}

void instagram_post_put(const struct template *tmpl, struct buf *out, const struct post *post)
{
	template_render(tmpl, out, &(struct source){post->owner, post});
}

void instagram_profile_put(const struct template *tmpl, struct buf *out, const struct profile *profile)
{
	template_render(tmpl, out, &(struct source){profile, NULL});
}

uint32_t instagram_page(struct sim_request *request, const struct profile *owner, uint32_t place,
			unsigned int most, bool reels, instagram_render render)
{
	unsigned int count = 0;
	struct post post;

	for (; place < owner->posts; place++) {
		post_get(owner, place, &post);
		if (reels && post.type != POST_VIDEO)
			continue;
		if (count == most)
			return place;
		if (count++)
			buf_addc(&request->body, ',');
		render(&request->body, &post);
		sim_served(request, ENTITY_POST, entity_number(owner->n, place));
	}
	return 0;
}

void instagram_single(struct sim_request *request, const struct post *post, const char *before,
		      instagram_render render, const char *after)
{
	sim_fixed(request, 200, before);
	render(&request->body, post);
	sim_fixed(request, 200, after);
	sim_served(request, ENTITY_POST, entity_number(post->owner->n, post->i));
}
