/* SPDX-License-Identifier: Apache-2.0 */
/* Posts: embedded in a profile, page by page, reels, and one by its short code. */
#include <string.h>

#include "instagram.h"

static const struct sl_field graph_fields[] = {
	{SL_METRIC, "comments", "comments_count", SL_INT},
	{SL_METRIC, "likes", "like_count", SL_INT},
	{SL_DIMENSION, "handle", "username", SL_STR},
	{SL_DIMENSION, "post_id", "id", SL_STR},
	{SL_DIMENSION, "post_type_original", "media_type", SL_STR},
	{SL_DIMENSION, "display_url", "media_url", SL_STR},
	{SL_DIMENSION, "taken_at_timestamp", "timestamp", SL_TIME},
	{SL_DIMENSION, "caption", "caption", SL_STR},
	SL_END_OF_FIELDS
};

static const struct sl_field mobile_fields[] = {
	{SL_METRIC, "comments", "comment_count", SL_INT},
	{SL_METRIC, "likes", "like_count", SL_INT},
	{SL_METRIC, "view_count", "view_count", SL_INT},
	{SL_METRIC, "play_count", "play_count|ig_play_count", SL_INT},
	{SL_METRIC, "video_duration", "video_duration", SL_FLOAT},
	{SL_METRIC, "reshare_count", "reshare_count", SL_INT},
	{SL_DIMENSION, "profile_id", "user.pk|user.pk_id|user.id", SL_STR},
	{SL_DIMENSION, "handle", "user.username", SL_STR},
	{SL_DIMENSION, "full_name", "user.full_name", SL_STR},
	{SL_DIMENSION, "post_id", "pk|id", SL_STR},
	{SL_DIMENSION, "post_type_original", "media_type", SL_STR},
	{SL_DIMENSION, "product_type", "product_type", SL_STR},
	{SL_DIMENSION, "display_url",
		"video_versions.0.url|image_versions2.candidates.0.url|"
		"carousel_media.0.image_versions2.candidates.0.url",
		SL_STR},
	{SL_DIMENSION, "thumbnail_src",
		"image_versions2.candidates.0.url|carousel_media.0.image_versions2.candidates.0.url|"
		"thumbnail_url",
		SL_STR},
	{SL_DIMENSION, "taken_at_timestamp", "taken_at", SL_TIME},
	{SL_DIMENSION, "caption", "caption.text", SL_STR},
	{SL_DIMENSION, "user_tags", "usertags.in|usertags", SL_ANY},
	{SL_DIMENSION, "location", "location.name", SL_STR},
	{SL_DIMENSION, "location_city", "location.city", SL_STR},
	{SL_DIMENSION, "location_lat", "location.lat", SL_FLOAT},
	{SL_DIMENSION, "location_long", "location.lng", SL_FLOAT},
	{SL_DIMENSION, "is_paid_partnership", "is_paid_partnership", SL_BOOL},
	SL_END_OF_FIELDS
};

static const struct sl_field web_fields[] = {
	{SL_METRIC, "comments", "edge_media_to_comment.count|edge_media_to_parent_comment.count", SL_INT},
	{SL_METRIC, "likes", "edge_media_preview_like.count|edge_liked_by.count", SL_INT},
	{SL_METRIC, "view_count", "video_view_count", SL_INT},
	{SL_METRIC, "play_count", "video_play_count", SL_INT},
	{SL_METRIC, "video_duration", "video_duration", SL_FLOAT},
	{SL_DIMENSION, "profile_id", "owner.id", SL_STR},
	{SL_DIMENSION, "handle", "owner.username", SL_STR},
	{SL_DIMENSION, "full_name", "owner.full_name", SL_STR},
	{SL_DIMENSION, "post_id", "id", SL_STR},
	{SL_DIMENSION, "post_type_original", "__typename", SL_STR},
	{SL_DIMENSION, "product_type", "product_type", SL_STR},
	{SL_DIMENSION, "display_url", "display_url", SL_STR},
	{SL_DIMENSION, "thumbnail_src", "thumbnail_src|thumbnail_url|display_resources.0.src", SL_STR},
	{SL_DIMENSION, "taken_at_timestamp", "taken_at_timestamp", SL_TIME},
	{SL_DIMENSION, "caption", "edge_media_to_caption.edges.0.node.text", SL_STR},
	{SL_DIMENSION, "location", "location.name", SL_STR},
	{SL_DIMENSION, "location_lat", "location.lat", SL_FLOAT},
	{SL_DIMENSION, "location_long", "location.lng", SL_FLOAT},
	{SL_DIMENSION, "is_paid_partnership", "is_paid_partnership", SL_BOOL},
	SL_END_OF_FIELDS
};

/* A single web post has its video as what is displayed. */
static const struct sl_field web_single_fields[] = {
	{SL_DIMENSION, "display_url", "video_url|display_url", SL_STR},
	{SL_DIMENSION, "thumbnail_src", "display_resources.0.src|thumbnail_src|display_url", SL_STR},
	SL_END_OF_FIELDS
};

static const struct {
	const char *original, *type;
} post_types[] = {
	{"GraphImage", "image"}, {"XDTGraphImage", "image"}, {"1", "image"}, {"IMAGE", "image"},
	{"feed", "image"},
	{"GraphVideo", "reels"}, {"XDTGraphVideo", "reels"}, {"2", "reels"}, {"VIDEO", "reels"},
	{"clips", "reels"},
	{"GraphSidecar", "carousel"}, {"8", "carousel"}, {"CAROUSEL_ALBUM", "carousel"},
	{"carousel_container", "carousel"}, {"XDTGraphSidecar", "carousel"},
};

static const char *post_type_of(const char *original)
{
	for (size_t i = 0; original && i < sizeof(post_types) / sizeof(post_types[0]); i++)
		if (strcmp(post_types[i].original, original) == 0)
			return post_types[i].type;
	return NULL;
}

/* A list of what is at path in each element of list. */
static void put_list(const struct sl_host *h, struct sl_task *t, struct sl_record *rec, const char *key,
		     const struct sl_json *list, const char *path)
{
	struct sl_out *out = h->out(t);
	const struct sl_json *item;

	h->out_array(out, NULL);
	SL_EACH(h, item, list)
		if (h->at(item, path))
			h->out_json(out, NULL, h->at(item, path));
	h->out_end(out);
	h->put_out(rec, SL_DIMENSION, key, out);
}

/* user_sponsors: [{profile_id, handle}]. */
static void put_sponsors(const struct sl_host *h, struct sl_task *t, struct sl_record *rec,
			 const struct sl_json *list)
{
	struct sl_out *out = h->out(t);
	const struct sl_json *item;

	h->out_array(out, NULL);
	SL_EACH(h, item, list) {
		const struct sl_json *sponsor = h->at(item, "node.sponsor|sponsor");

		h->out_object(out, NULL);
		h->out_str(out, "profile_id", h->str(sponsor, "pk|id"));
		h->out_str(out, "handle", h->str(sponsor, "username"));
		h->out_end(out);
	}
	h->out_end(out);
	h->put_out(rec, SL_DIMENSION, "user_sponsors", out);
}

/* What every dialect's post gets besides its fields. Of several answers, the last is its source. */
static void post_made(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	if (!rec)
		return;
	h->put_str(rec, SL_ATTR, "source", h->record_source(rec));
	h->put_str(rec, SL_DIMENSION, "short_code", h->record_key(rec));
	h->put_str(rec, SL_DIMENSION, "post_type",
		   post_type_of(h->value(rec, SL_DIMENSION, "post_type_original")));
	h->put_str(rec, SL_DIMENSION, "hashtags", hashtags(h, t, h->value(rec, SL_DIMENSION, "caption")));
	if (h->value_int(rec, SL_METRIC, "likes", 0) < 0)	/* -1: the owner hides it */
		h->put_null(rec, SL_METRIC, "likes");
}

static struct sl_record *web_post(const struct sl_host *h, struct sl_task *t, const struct sl_json *node)
{
	const char *code = h->str(node, "shortcode|code");
	struct sl_record *rec = h->record(t, &post_type, code, node, web_fields);

	put_list(h, t, rec, "user_tags", h->at(node, "edge_media_to_tagged_user.edges"), "node");
	put_sponsors(h, t, rec, h->at(node, "edge_media_to_sponsor_user.edges"));
	post_made(h, t, rec);
	return rec;
}

static struct sl_record *mobile_post(const struct sl_host *h, struct sl_task *t, const struct sl_json *item)
{
	const char *code = h->str(item, "code|shortcode");
	struct sl_record *rec = h->record(t, &post_type, code, item, mobile_fields);

	put_sponsors(h, t, rec, h->at(item, "sponsor_tags"));
	post_made(h, t, rec);
	return rec;
}

/* The short code is the last part but the trailing slash of ".../p/CODE/". */
static const char *permalink_code(const struct sl_host *h, struct sl_task *t, const char *permalink)
{
	const char *end, *start;

	if (!permalink)
		return NULL;
	end = permalink + strlen(permalink);
	while (end > permalink && end[-1] == '/')
		end--;
	for (start = end; start > permalink && start[-1] != '/';)
		start--;
	return h->format(t, "%.*s", (int)(end - start), start);
}

static void graph_post(const struct sl_host *h, struct sl_task *t, const struct sl_json *media)
{
	const char *code = h->str(media, "shortcode"), *type = h->str(media, "media_type");
	struct sl_record *rec;

	if (!code)
		code = permalink_code(h, t, h->str(media, "permalink"));
	rec = h->record(t, &post_type, code, media, graph_fields);
	h->put_str(rec, SL_DIMENSION, "thumbnail_src",
		   type && strcmp(type, "VIDEO") == 0 ? NULL : h->str(media, "media_url"));
	post_made(h, t, rec);
}

void embedded_posts(const struct sl_host *h, struct sl_task *t, const struct sl_json *user)
{
	const struct sl_json *item;

	SL_EACH(h, item, h->at(user, "media.data"))
		graph_post(h, t, item);
	SL_EACH(h, item, h->at(user, "edge_owner_to_timeline_media.edges"))
		web_post(h, t, h->at(item, "node"));
}

/* Counts a post of a page for the paging rule. */
static void note_post(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
		      struct sl_record *rec)
{
	if (rec)
		paging_note(h, t, h->operation(c)->name, h->value_int(rec, SL_DIMENSION,
			    "taken_at_timestamp", 0));
}

static enum sl_result web_page(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			       const struct sl_json *page)
{
	const struct sl_json *edge;

	SL_EACH(h, edge, h->at(page, "edges"))
		note_post(h, t, c, web_post(h, t, h->at(edge, "node")));
	if (h->boolean(page, "page_info.has_next_page", false))
		h->set_cursor(t, h->str(page, "page_info.end_cursor"));
	return SL_OK;
}

/* A page of posts or of reels, in either dialect. */
static enum sl_result page_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	const struct sl_json *page = h->at(re->json,
		"data.user.edge_owner_to_timeline_media|user.edge_owner_to_timeline_media|"
		"graphql.user.edge_owner_to_timeline_media");
	const struct sl_json *item;

	if (page)
		return web_page(h, t, c, page);
	page = h->at(re->json, "response.body|response|data");
	if (!h->is_array(h->at(page, "items")))
		page = re->json;
	if (!h->is_array(h->at(page, "items")))
		return no_answer(h, t, re, "API Failure");
	SL_EACH(h, item, h->at(page, "items")) {
		const struct sl_json *media = h->at(item, "media");

		note_post(h, t, c, mobile_post(h, t, media ? media : item));
	}
	if (h->boolean(page, "paging_info.more_available|more_available", true))
		h->set_cursor(t, h->str(page, "paging_info.max_id|next_max_id"));
	return SL_OK;
}

/* Answers with another post than the one asked for are no answers. */
static enum sl_result single_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   const struct sl_response *re)
{
	const struct sl_json *post = h->at(re->json,
		"data.shortcode_media|data.xdt_shortcode_media|graphql.shortcode_media|shortcode_media|"
		"response.body.items.0|response.items.0|data.items.0|items.0|media_or_ad|media|data");
	const char *code = h->str(post, "code|shortcode");
	struct sl_record *rec;

	if (!code) {
		post = re->json;
		code = h->str(post, "code|shortcode");
	}
	if (!code || strcmp(code, h->arg(c, "shortcode")) != 0)
		return no_answer(h, t, re, "API Failure");
	if (!h->str(post, "__typename")) {
		mobile_post(h, t, post);
		return SL_OK;
	}
	rec = web_post(h, t, post);
	h->fields(rec, post, web_single_fields);
	return SL_OK;
}

/* RocketAPI goes by the product type; what it is not given for falls back to the media type. */
static enum sl_result rocket_single_parse(const struct sl_host *h, struct sl_task *t,
					  const struct sl_call *c,
					  const struct sl_response *re)
{
	static const struct sl_field fields[] = {
		{SL_DIMENSION, "post_type_original", "product_type|media_type", SL_STR},
		SL_END_OF_FIELDS
	};
	const struct sl_json *post = h->at(re->json, "response.body.items.0|response.items.0|items.0");
	struct sl_record *rec;

	if (!post || !h->str(post, "code") || strcmp(h->str(post, "code"), h->arg(c, "shortcode")) != 0)
		return no_answer(h, t, re, "API Failure");
	rec = mobile_post(h, t, post);
	h->fields(rec, post, fields);
	h->put_str(rec, SL_DIMENSION, "post_type", post_type_of(h->value(rec, SL_DIMENSION,
		   "post_type_original")));
	return SL_OK;
}

/* --- requests --- */

static enum sl_result jotucker_posts_build(const struct sl_host *h, struct sl_task *t,
					   const struct sl_call *c,
					   struct sl_request *r)
{
	(void)t;
	h->get(r, "/medias_v2");
	h->query(r, "user_id", h->arg(c, "profile_id"));
	h->query_int(r, "batch_size", 50);
	h->query(r, "max_id", h->cursor(c));
	return SL_OK;
}

static enum sl_result arraybobo_posts_build(const struct sl_host *h, struct sl_task *t,
					    const struct sl_call *c,
					    struct sl_request *r)
{
	(void)t;
	h->get(r, "/ig/posts/");
	h->query(r, "id_user", h->arg(c, "profile_id"));
	h->query(r, "end_cursor", h->cursor(c));
	return SL_OK;
}

static enum sl_result arraybobo_reels_build(const struct sl_host *h, struct sl_task *t,
					    const struct sl_call *c,
					    struct sl_request *r)
{
	(void)t;
	h->get(r, "/ig/reels_posts/");
	h->query(r, "id_user", h->arg(c, "profile_id"));
	h->query(r, "max_id", h->cursor(c));
	return SL_OK;
}

static enum sl_result rocket_reels_build(const struct sl_host *h, struct sl_task *t,
					 const struct sl_call *c,
					 struct sl_request *r)
{
	struct sl_out *body = h->out(t);

	h->out_object(body, NULL);
	h->out_str(body, "id", h->arg(c, "profile_id"));
	if (h->cursor(c))
		h->out_str(body, "max_id", h->cursor(c));
	h->out_end(body);
	h->get(r, "/instagram/user/get_clips");
	h->body_json(r, body);
	return SL_OK;
}

static enum sl_result arraybobo_single_build(const struct sl_host *h, struct sl_task *t,
					     const struct sl_call *c,
					     struct sl_request *r)
{
	(void)t;
	h->get(r, "/ig/post_info/");
	h->query(r, "shortcode", h->arg(c, "shortcode"));
	return SL_OK;
}

static enum sl_result jotucker_single_build(const struct sl_host *h, struct sl_task *t,
					    const struct sl_call *c,
					    struct sl_request *r)
{
	(void)t;
	h->get(r, "/media_info_v2");
	h->query(r, "short_code", h->arg(c, "shortcode"));
	return SL_OK;
}

static enum sl_result rocket_single_build(const struct sl_host *h, struct sl_task *t,
					  const struct sl_call *c,
					  struct sl_request *r)
{
	struct sl_out *body = h->out(t);

	h->out_object(body, NULL);
	h->out_str(body, "shortcode", h->arg(c, "shortcode"));
	h->out_end(body);
	h->get(r, "/instagram/media/get_info_by_shortcode");
	h->body_json(r, body);
	return SL_OK;
}

static const struct sl_via posts_vias[] = {
	{&jotucker, jotucker_posts_build, page_parse},
	{&arraybobo, arraybobo_posts_build, page_parse},
	SL_END_OF_VIAS
};

const struct sl_operation posts_by_id = SL_OPERATION_INIT(
	.name = "posts_by_id", .via = posts_vias, .doc = "A page of a profile's posts, newest first");

static const struct sl_via reels_vias[] = {
	{&arraybobo, arraybobo_reels_build, page_parse},
	{&rocketapi, rocket_reels_build, page_parse},
	SL_END_OF_VIAS
};

const struct sl_operation reels = SL_OPERATION_INIT(
	.name = "reels", .via = reels_vias, .doc = "A page of a profile's reels, newest first");

static const struct sl_via single_vias[] = {
	{&arraybobo, arraybobo_single_build, single_parse},
	{&jotucker, jotucker_single_build, single_parse},
	{&rocketapi, rocket_single_build, rocket_single_parse},
	SL_END_OF_VIAS
};

const struct sl_operation post_by_shortcode = SL_OPERATION_INIT(
	.name = "post_by_shortcode", .via = single_vias, .doc = "One post");
