/* SPDX-License-Identifier: Apache-2.0 */
/* The web's GraphQL nodes, as arraybobo hands them on: pages of posts, one post. */
#include <string.h>

#include "instagram.h"

static struct template *nodes[3], *singles[3];

static const char node_head[] =
	"{'__typename':'@typename@','id':'@pk@','shortcode':'@shortcode@','dimensions':{'height':1350,'width':1080},"
	"'display_url':'@image_url@','gating_info':null,'fact_check_overall_rating':null,'fact_check_information':"
	"null,'media_overlay_info':null,'sensitivity_friction_info':null,'media_preview':null,'is_video':@is_video@,"
	"'accessibility_caption':'Photo by @name@ on a table. May be an image of text.','owner':{'id':"
	"'@profile_id@','username':'@handle@'},'edge_media_to_tagged_user':{'edges':[{'node':{'user':{'full_name':"
	"'@tag_name@','followed_by_viewer':false,'id':'@tag_id@','is_verified':false,'username':'@tag_handle@'},"
	"'x':0.5,'y':0.61}}]},'edge_media_to_sponsor_user':{'edges':[{'node':{'sponsor':{'id':'@tag_id@',"
	"'username':'@tag_handle@'}}}]},'edge_media_to_caption':{'edges':[{'node':{'text':'@caption@'}}]},"
	"'edge_media_to_comment':{'count':@comments@},'edge_media_preview_like':{'count':@likes@},"
	"'edge_liked_by':{'count':@likes@},'comments_disabled':false,'taken_at_timestamp':@taken_at@,"
	"'location':{'id':'110@category_id@','has_public_page':true,'name':'@location@','slug':'place'},"
	"'nft_asset_info':null,'coauthor_producers':[],'pinned_for_users':[],'viewer_can_reshare':true,";
static const char node_thumbs[] =
	"'thumbnail_src':'@thumb_url@','thumbnail_resources':[{'src':'@thumb_url@','config_width':150,"
	"'config_height':150},{'src':'@thumb_url@','config_width':320,'config_height':320},{'src':'@thumb_url@',"
	"'config_width':640,'config_height':640}]";
static const char node_resources[] =
	",'display_resources':[{'src':'@thumb_url@','config_width':640,'config_height':800},{'src':'@image_url@',"
	"'config_width':1080,'config_height':1350}],'is_paid_partnership':@sponsor@,'is_ad':false,"
	"'product_type':'@product_type@'";
static const char node_video[] =
	"'has_audio':true,'tracking_token':'eyJ2ZXJzaW9uIjo1LCJwYXlsb2FkIjp7@hex@@hex@','dash_info':{"
	"'is_dash_eligible':true,'video_dash_manifest':null,'number_of_qualities':0},'video_url':'@video_url@',"
	"'video_view_count':@views@,'video_play_count':@plays@,'video_duration':@duration@,";
static const char node_children[] =
	"'edge_sidecar_to_children':{'edges':[{'node':{'__typename':'GraphImage','id':'@graph_id@','display_url':"
	"'@image_url@','is_video':false}},{'node':{'__typename':'GraphImage','id':'@graph_id@1','display_url':"
	"'@image_url@','is_video':false}}]},";

void web_init(void)
{
	static const char *const kinds[] = {"", node_video, node_children};

	for (int i = 0; i < 3; i++) {
		nodes[i] = instagram_template((const char *const[]){node_head, kinds[i], node_thumbs, "}", NULL});
		singles[i] = instagram_template((const char *const[]){node_head, kinds[i], node_thumbs,
								      node_resources, "}", NULL});
	}
}

static void edge_put(struct buf *out, const struct post *post)
{
	buf_adds(out, "{\"node\":");
	instagram_post_put(nodes[post->type], out, post);
	buf_addc(out, '}');
}

static void single_put(struct buf *out, const struct post *post)
{
	instagram_post_put(singles[post->type], out, post);
}

void arraybobo_posts(struct sim_request *request)
{
	char text[WORLD_KEY_SIZE];
	struct profile owner;
	int64_t place;
	uint32_t next;

	request->operation = "posts";
	sim_set(request->key, sim_query(request, "id_user"));
	sim_set(request->cursor, sim_query(request, "end_cursor"));
	if (!profile_by_id(request->key, &owner)) {
		sim_fixed(request, 200, "{'data':{'user':null},'status':'ok'}");
		return;
	}
	place = sim_place(request, request->cursor, owner.n);
	if (place < 0)
		return;
	sim_fixed(request, 200, "{'data':{'user':{'edge_owner_to_timeline_media':{'edges':[");
	next = instagram_page(request, &owner, (uint32_t)place, INSTAGRAM_PAGE, false, edge_put);
	cursor_text(text, owner.n, next);
	buf_printf(&request->body, "],\"count\":%u,\"page_info\":{\"has_next_page\":%s,\"end_cursor\":\"%s\"}}}},",
		   owner.posts, next ? "true" : "false", next ? text : "");
	sim_fixed(request, 200, "'status':'ok'}");
}

void arraybobo_post(struct sim_request *request)
{
	struct profile owner;
	struct post post;

	request->operation = "post";
	sim_set(request->key, sim_query(request, "shortcode"));
	if (!post_by_shortcode(request->key, &owner, &post)) {
		sim_fixed(request, 404, "{'message':'Media not found or unavailable','status':'fail'}");
		return;
	}
	instagram_single(request, &post, "", single_put, "");
}
