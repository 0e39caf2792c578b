/* SPDX-License-Identifier: Apache-2.0 */
/* Instagram Graph API: business discovery of a profile, with its media page by page. */
#include <string.h>

#include "base/str.h"
#include "instagram.h"

static struct template *profile_template, *media_template;

static const char *const profile_source[] = {
	"'id':'@fbid@','ig_id':@profile_id@,'name':'@name@','website':'https://shop.example.com/@handle@"
	"?utm_source=ig&utm_medium=social','followers_count':@followers@,'follows_count':@following@,"
	"'profile_picture_url':'@picture@','username':'@handle@','biography':'@bio@'", NULL
};

static const char *const media_source[] = {
	"{'id':'@graph_id@','username':'@handle@','comments_count':@comments@,'like_count':@likes@,"
	"'media_type':'@graph_type@','media_product_type':'FEED','media_url':'@graph_url@&_nc_vs=",
	"HBksFQIYUmlnX3hwdl9yZWVsc19wZXJtYW5lbnRfc3JfcHJvZC8@hex@@hex@@hex@@hex@_video_dashinit.mp4FQACyAESABU",
	"CGDpwYXNzdGhyb3VnaF9ldmVyc3RvcmUv@hex@@hex@@hex@@hex@FQICyAESACgAGAAbAogHdXNlX29pbAExEnByb2dyZXNzaXZl",
	"X3JlY2lwZQExFQAAJu@hex@@hex@vH9N3OxO5PFQIoAkMzLBdAQx3beyLQ5RgSZGFzaF9iYXNlbGluZV8xX3YxEQB1_gdl5p0BAA"
	"&_nc_rid=@hex@&ccb=9-4','thumbnail_url':'@thumb_url@','caption':'@caption@',"
	"'timestamp':'@taken_iso@','permalink':'@permalink@'}", NULL
};

void graph_init(void)
{
	profile_template = instagram_template(profile_source);
	media_template = instagram_template(media_source);
}

static void media_put(struct buf *out, const struct post *post)
{
	instagram_post_put(media_template, out, post);
}

/* Copies what stands in parentheses after name: "username(abc)" -> "abc". */
static void argument(const char *fields, const char *name, char out[SIM_TEXT])
{
	const char *start = strstr(fields, name);
	size_t len;

	out[0] = '\0';
	if (!start)
		return;
	start += strlen(name);
	len = strcspn(start, ")");
	if (len >= SIM_TEXT)
		len = SIM_TEXT - 1;
	memcpy(out, start, len);
	out[len] = '\0';
}

static unsigned int media_limit(const char *fields)
{
	char text[SIM_TEXT];
	unsigned int n = 0;

	argument(fields, ".limit(", text);
	for (const char *c = text; *c >= '0' && *c <= '9' && n < 1000; c++)
		n = n * 10 + (unsigned int)(*c - '0');
	return n == 0 || n > 50 ? INSTAGRAM_PAGE : n;
}

static void media_add(struct sim_request *request, const struct profile *profile, const char *fields,
		      uint32_t place)
{
	char cursor[WORLD_KEY_SIZE];
	uint32_t next;

	buf_adds(&request->body, ",\"media\":{\"data\":[");
	next = instagram_page(request, profile, place, media_limit(fields), false, media_put);
	cursor_text(cursor, profile->n, place);
	buf_printf(&request->body, "],\"paging\":{\"cursors\":{\"before\":\"%s\"", cursor);
	if (next) {
		cursor_text(cursor, profile->n, next);
		buf_printf(&request->body, ",\"after\":\"%s\"", cursor);
	}
	buf_adds(&request->body, "}}}");
}

static void unknown_user(struct sim_request *request)
{
	sim_fixed(request, 400,
		  "{'error':{'message':'Invalid user id','type':'OAuthException','code':110,"
		  "'error_subcode':2207013,'is_transient':false,'error_user_title':'Cannot find User',"
		  "'error_user_msg':'The user with this username cannot be found.',"
		  "'fbtrace_id':'AsimUnknownUser0'}}");
}

/* What a token is worth, by how its name begins. */
static void debug_token(struct sim_request *request)
{
	const char *token = sim_query(request, "input_token");
	const int64_t until = world.now_s + (str_starts(token, "expired") ? -10 : 60) * (int64_t)86400;

	request->operation = "debug_token";
	sim_set(request->credential, token);
	request->status = 200;
	buf_printf(&request->body, "{\"data\":{\"is_valid\":%s,\"expires_at\":0,\"data_access_expires_at\":%lld,\"scopes\":[",
		   str_starts(token, "bad") ? "false" : "true", (long long)until);
	sim_fixed(request, 200, "'instagram_basic','instagram_manage_insights','pages_read_engagement'");
	if (!str_starts(token, "scopeless"))
		sim_fixed(request, 200, ",'pages_show_list'");
	sim_fixed(request, 200, "],'type':'USER'}}");
}

void graph_user(struct sim_request *request)
{
	const char *fields = sim_query(request, "fields");
	const char *token = sim_query(request, "access_token");
	const bool wants_profile = strstr(fields, "followers_count") != NULL;
	const bool wants_media = strstr(fields, "media{") || strstr(fields, "media.");
	struct profile profile;
	int64_t place;

	if (str_ends(request->path, "/debug_token")) {
		debug_token(request);
		return;
	}
	request->operation = wants_profile ? "profile" : "posts";
	argument(fields, "business_discovery.username(", request->key);
	argument(fields, ".after(", request->cursor);
	if (!request->cursor[0])
		sim_set(request->cursor, sim_query(request, "after"));
	if (strncmp(token, "bad", 3) == 0) {
		sim_fixed(request, 400,
			  "{'error':{'message':'Invalid OAuth access token - Cannot parse access token',"
			  "'type':'OAuthException','code':190,'fbtrace_id':'AsimBadToken0000'}}");
		return;
	}
	if (!strstr(fields, "business_discovery")) {
		sim_fixed(request, 400,
			  "{'error':{'message':'(#100) Tried accessing nonexisting field','type':"
			  "'OAuthException','code':100,'fbtrace_id':'AsimBadField0000'}}");
		return;
	}
	if (!profile_by_handle(request->key, &profile)) {
		unknown_user(request);
		return;
	}
	place = sim_place(request, request->cursor, profile.n);
	if (place < 0)
		return;
	request->status = 200;
	buf_adds(&request->body, "{\"business_discovery\":{");
	if (wants_profile) {
		instagram_profile_put(profile_template, &request->body, &profile);
		buf_addc(&request->body, ',');
		sim_served(request, ENTITY_PROFILE, profile.n);
	}
	buf_printf(&request->body, "\"media_count\":%u", profile.posts);
	if (wants_media && profile.posts)
		media_add(request, &profile, fields, (uint32_t)place);
	sim_fixed(request, 200, "},'id':'17841406338772941'}");
}
