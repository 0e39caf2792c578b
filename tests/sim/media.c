/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mobile API's shapes (user, media items), as three resellers hand them
 * on: arraybobo (profiles, reels), jotucker (profiles, posts) and rocketapi
 * (posts, reels, wrapped).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instagram.h"
#include "json/json.h"

static struct template *user_template, *items[3];

static const char *const user_source[] = {
	"{'user':{'strong_id__':'@profile_id@','pk':@profile_id@,'pk_id':'@profile_id@','id':'@profile_id@',"
	"'full_name':'@name@','username':'@handle@','biography':'@bio@','profile_pic_url':'@picture@',"
	"'hd_profile_pic_url_info':{'height':1080,'url':'@picture_hd@','width':1080},",
	"'hd_profile_pic_versions':[{'height':320,'url':'@picture_hd@','width':320},{'height':640,"
	"'url':'@picture_hd@','width':640}],'account_type':@account_type@,'is_private':false,"
	"'is_verified':@verified@,'is_business':true,'media_count':@media_count@,'follower_count':@followers@,"
	"'following_count':@following@,'fbid_v2':@fbid@,'interop_messaging_user_fbid':@fbid@,",
	"'category':'Product/service','category_id':@category_id@,'city_id':'0','city_name':'Pune',"
	"'latitude':18.52043,'longitude':73.85674,'public_email':'hello@@@handle@.example.com',"
	"'contact_phone_number':'','public_phone_country_code':'','public_phone_number':'','zip':'',"
	"'external_url':'https://shop.example.com/@handle@','external_lynx_url':'https://l.example.com/?u="
	"https%3A%2F%2Fshop.example.com%2F@handle@&e=AT3@hex_profile@@hex_profile@@hex_profile@',",
	"'bio_links':[{'link_id':17942@category_id@,'url':'https://shop.example.com/@handle@','lynx_url':"
	"'https://l.example.com/?u=https%3A%2F%2Fshop.example.com&e=AT2@hex_profile@@hex_profile@','link_type':"
	"'external','title':'','media_type':'none','image_url':'','is_pinned':false}],"
	"'biography_with_entities':{'raw_text':'@bio@','entities':[]},'has_chaining':true,'has_guides':false,",
	"'has_highlight_reels':true,'has_videos':true,'has_music_on_profile':false,'is_favorite':false,"
	"'is_memorialized':false,'merchant_checkout_style':'none','page_id':null,'page_name':'@name@',"
	"'profile_context':'','professional_conversion_suggested_account_type':3,'show_shoppable_feed':false,"
	"'total_clips_count':1,'total_igtv_videos':0,'usertags_count':12,'fan_club_info':{'fan_club_id':null,"
	"'fan_club_name':null,'subscriber_count':null},'pronouns':[],'account_badges':[],'mutual_followers_count':0,"
	"'active_standalone_fundraisers':{'total_count':0,'fundraisers':[]}},'status':'ok'}", NULL
};

#define USER_REF "{'pk':@profile_id@,'pk_id':'@profile_id@','id':'@profile_id@','username':'@handle@'," \
	"'full_name':'@name@','is_private':false,'is_verified':@verified@,'profile_pic_id':'31@profile_id@'," \
	"'profile_pic_url':'@picture@','account_badges':[],'is_unpublished':false," \
	"'show_account_transparency_details':true,'transparency_product_enabled':false}"
#define IMAGES "'image_versions2':{'candidates':[{'width':1440,'height':1800,'url':'@image_url@'}," \
	"{'width':640,'height':800,'url':'@thumb_url@'},{'width':320,'height':400,'url':'@thumb_url@'}]}"

static const char item_head[] =
	"{'strong_id__':'@pk@_@profile_id@','pk':@pk@,'id':'@pk@_@profile_id@','fbid':@graph_id@,"
	"'code':'@shortcode@','taken_at':@taken_at@,'device_timestamp':@taken_at@201337,'media_type':@media_type@,"
	"'product_type':'@product_type@','client_cache_key':'@hex@','filter_type':0,'like_count':@likes@,"
	"'comment_count':@comments@,'reshare_count':@reshares@,'has_liked':false,'like_and_view_counts_disabled':"
	"false,'comments_disabled':false,'can_viewer_reshare':true,'caption_is_edited':false,";
static const char item_middle[] =
	"'caption':{'pk':'18@profile_id@','created_at':@taken_at@,'content_type':'comment','type':1,'status':"
	"'Active','media_id':@pk@,'user_id':@profile_id@,'text':'@caption@','user':" USER_REF "},"
	"'user':" USER_REF ",'owner':" USER_REF ",'usertags':{'in':[{'user':{'pk':@tag_id@,"
	"'username':'@tag_handle@','full_name':'@tag_name@','is_private':false,"
	"'is_verified':false},'position':[0.4142,0.7071]}]},"
	"'is_paid_partnership':@sponsor@,'sponsor_tags':[{'permission':true,'sponsor':{'pk':@tag_id@,'username':"
	"'@tag_handle@','full_name':'@tag_name@'}}],'location':{'pk':110@category_id@,'name':'@location@',"
	"'short_name':'@location@','city':'','lng':73.85674,'lat':18.52043,'external_source':'facebook_places'},";
static const char item_tail[] =
	"'organic_tracking_token':'eyJ2ZXJzaW9uIjo1LCJwYXlsb2FkIjp7ImlzX2FuYWx5dGljc190cmFja2VkIjp0cnVlLCJ1dWlkIjoi"
	"@hex@@hex@@hex@@hex@','original_width':1440,'original_height':1800,'deleted_reason':0,'integrity_review_"
	"decision':'pending','commerce_integrity_review_decision':'','music_metadata':null,'has_shared_to_fb':0,"
	"'is_unified_video':false,'should_request_ads':false,'is_visual_reply_commenter_notice_enabled':true,"
	"'photo_of_you':false,'can_see_insights_as_brand':false,'is_in_profile_grid':false,'profile_grid_control_"
	"enabled':false,'is_organic_product_tagging_eligible':false,'can_viewer_save':true,'is_cutout_sticker_"
	"allowed':true,'sharing_friction_info':{'should_have_sharing_friction':false,'bloks_app_url':null,"
	"'sharing_friction_payload':null},'coauthor_producers':[],'invited_coauthor_producers':[],'facepile_top_"
	"likers':[],'top_likers':[],'media_notes':{'items':[]},'fb_user_tags':{'in':[]},'crosspost_metadata':{}}";

static const char item_image[] = IMAGES ",";
static const char item_video[] = IMAGES ",'play_count':@plays@,'ig_play_count':@plays@,'view_count':@views@,"
	"'video_duration':@duration@,'has_audio':true,'number_of_qualities':2,'is_dash_eligible':1,"
	"'video_versions':[{'type':101,'width':720,'height':1280,'id':'@hex@','url':'@video_url@'},{'type':102,"
	"'width':480,'height':854,'id':'@hex@','url':'@video_url@'}],'clips_metadata':{'audio_type':"
	"'original_sounds','original_sound_info':{'audio_asset_id':@graph_id@,'original_audio_title':"
	"'Original audio','duration_in_ms':17000,'ig_artist':" USER_REF "},'music_info':null},";
static const char item_carousel[] = "'carousel_media_count':3,'carousel_media':["
	"{'id':'@pk@1_@profile_id@','pk':@graph_id@,'media_type':1," IMAGES ",'original_width':1440},"
	"{'id':'@pk@2_@profile_id@','pk':@graph_id@,'media_type':1," IMAGES ",'original_width':1440},"
	"{'id':'@pk@3_@profile_id@','pk':@graph_id@,'media_type':1," IMAGES ",'original_width':1440}],";

void media_init(void)
{
	static const char *const kinds[] = {item_image, item_video, item_carousel};

	user_template = instagram_template(user_source);
	for (int i = 0; i < 3; i++)
		items[i] = instagram_template((const char *const[]){item_head, kinds[i], item_middle, item_tail,
								    NULL});
}

static void item_put(struct buf *out, const struct post *post)
{
	instagram_post_put(items[post->type], out, post);
}

static void wrapped_put(struct buf *out, const struct post *post)
{
	buf_adds(out, "{\"media\":");
	item_put(out, post);
	buf_addc(out, '}');
}

static void user_answer(struct sim_request *request, const char *id, const char *handle)
{
	struct profile profile;

	request->operation = "profile";
	sim_set(request->key, id[0] ? id : handle);
	if (!(id[0] ? profile_by_id(id, &profile) : profile_by_handle(handle, &profile))) {
		sim_fixed(request, 200, "{'message':'User not found','status':'fail'}");
		return;
	}
	sim_fixed(request, 200, "");
	instagram_profile_put(user_template, &request->body, &profile);
	sim_served(request, ENTITY_PROFILE, profile.n);
}

void arraybobo_info(struct sim_request *request)
{
	user_answer(request, sim_query(request, "id_user"), sim_query(request, "user"));
}

void jotucker_user(struct sim_request *request)
{
	user_answer(request, sim_query(request, "user_id"), sim_query(request, "user_name"));
}

/* The owner and the place of a page; false when the answer is already an error. */
static bool page_start(struct sim_request *request, const char *id, const char *cursor, struct profile *owner,
		       uint32_t *place_r)
{
	int64_t place;

	sim_set(request->key, id);
	sim_set(request->cursor, cursor);
	if (!profile_by_id(id, owner)) {
		sim_fixed(request, 200, "{'message':'User not found','status':'fail'}");
		return false;
	}
	place = sim_place(request, request->cursor, owner->n);
	*place_r = place < 0 ? 0 : (uint32_t)place;
	return place >= 0;
}

/* items[].media and paging_info, with something around it. */
static void reels_answer(struct sim_request *request, const char *id, const char *cursor, const char *before,
			 const char *after)
{
	char text[WORLD_KEY_SIZE];
	struct profile owner;
	uint32_t place;

	request->operation = "reels";
	if (!page_start(request, id, cursor, &owner, &place))
		return;
	sim_fixed(request, 200, before);
	sim_fixed(request, 200, "{'items':[");
	place = instagram_page(request, &owner, place, INSTAGRAM_PAGE, true, wrapped_put);
	cursor_text(text, owner.n, place);
	buf_printf(&request->body, "],\"paging_info\":{\"max_id\":\"%s\",\"more_available\":%s},\"status\":\"ok\"}",
		   place ? text : "", place ? "true" : "false");
	sim_fixed(request, 200, after);
}

void arraybobo_reels(struct sim_request *request)
{
	reels_answer(request, sim_query(request, "id_user"), sim_query(request, "max_id"), "", "");
}

void jotucker_posts(struct sim_request *request)
{
	char text[WORLD_KEY_SIZE];
	struct profile owner;
	uint32_t place;

	request->operation = "posts";
	if (!page_start(request, sim_query(request, "user_id"), sim_query(request, "max_id"), &owner, &place))
		return;
	sim_fixed(request, 200, "{'items':[");
	/* the mobile API gives twelve however many were asked for */
	place = instagram_page(request, &owner, place,
			       sim_query_count(request, "batch_size", INSTAGRAM_PAGE, INSTAGRAM_PAGE), false,
			       item_put);
	cursor_text(text, owner.n, place);
	sim_fixed(request, 200, "],'auto_load_more_enabled':true,'num_results':12,");
	if (place)
		buf_printf(&request->body, "\"next_max_id\":\"%s\",\"more_available\":true", text);
	else
		buf_adds(&request->body, "\"next_max_id\":null,\"more_available\":false");
	sim_fixed(request, 200, ",'status':'ok'}");
}

void jotucker_post(struct sim_request *request)
{
	struct profile owner;
	struct post post;

	request->operation = "post";
	sim_set(request->key, sim_query(request, "short_code"));
	if (!post_by_shortcode(request->key, &owner, &post)) {
		sim_fixed(request, 200, "{'items':[],'num_results':0,'more_available':false,'status':'ok'}");
		return;
	}
	instagram_single(request, &post, "{'items':[", item_put,
			 "],'num_results':1,'more_available':false,'auto_load_more_enabled':false,"
			 "'status':'ok'}");
}

/* The request's JSON body as text members; a member that is a number too. */
static void body_member(struct sim_request *request, const char *name, char out[SIM_TEXT])
{
	size_t len;
	const char *bytes = httpd_body(request->http, &len);
	struct json_doc *doc = json_parse(bytes, len, NULL);
	const struct json *value = doc ? json_member(json_root(doc), name) : NULL;
	int64_t number;

	out[0] = '\0';
	if (json_type(value) == JSON_STRING)
		sim_set(out, json_string(value, NULL));
	else if (json_int(value, &number))
		snprintf(out, SIM_TEXT, "%lld", (long long)number);
	if (doc)
		json_doc_free(&doc);
}

#define ROCKET_BEFORE "{'status':'done','response':{'status_code':200,'content_type':'application/json; " \
	"charset=utf-8','body':"

void rocketapi_post(struct sim_request *request)
{
	struct profile owner;
	struct post post;

	request->operation = "post";
	body_member(request, "shortcode", request->key);
	if (!post_by_shortcode(request->key, &owner, &post)) {
		sim_fixed(request, 200, "{'status':'done','response':{'status_code':404,'content_type':"
			  "'application/json','body':{'message':'Media not found or unavailable','status':'fail'}}}");
		return;
	}
	instagram_single(request, &post, ROCKET_BEFORE "{'items':[", item_put,
			 "],'num_results':1,'more_available':false,'auto_load_more_enabled':false,"
			 "'status':'ok'}}}");
}

void rocketapi_clips(struct sim_request *request)
{
	char id[SIM_TEXT], cursor[SIM_TEXT];

	body_member(request, "id", id);
	body_member(request, "max_id", cursor);
	reels_answer(request, id, cursor, ROCKET_BEFORE, "}}");
}
