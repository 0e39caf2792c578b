/* SPDX-License-Identifier: Apache-2.0 */
/* The instagram plugin on the fake host: sources in turn, paging, what is put together, errors, dialects. */
#include "plugin_run.h"

/* FAKE_NOW is 1700000000; 30 days before it is 1697408000. */
#define NEW_ "1699999000"
#define OLD_ "1690000000"

#define ITEM(code, taken, owner)                                                                             \
	"{'pk':'9" code "','code':'" code "','media_type':2,'taken_at':" taken                               \
	",'like_count':5,'comment_count':1,"                                                                 \
	"'play_count':11,'user':{'pk':" owner ",'username':'o" owner                                         \
	"'},'caption':{'text':'run #Sea, #42 #sun'},"                                                        \
	"'image_versions2':{'candidates':[{'url':'http://i/" code "'}]}}"

static const char PROFILE[] =
	"{'user':{'pk':42,'username':'abc','full_name':'A B','media_count':3,"
	"'follower_count':7,'following_count':8,'account_type':3,'is_private':false,'biography':'hi'}}";
static const char NO_ITEMS[] = "{'items':[],'more_available':false}";
static const char *const RESELLERS[] = {"rapidapi-arraybobo", "rapidapi-jotucker", "rocketapi", NULL};

static void graph_fails_over(void **state)
{
	const struct fake_answer answers[] = {{"profile_by_handle", "graphapi", 400,
					       "{'error':{'code':110,'message':'Invalid user id'}}", NULL},
					      {"profile_by_handle", "rapidapi-arraybobo", 200, PROFILE, NULL},
					      {"posts_by_id", NULL, 200, NO_ITEMS, NULL},
					      {"reels", NULL, 200, NO_ITEMS, NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_profile_by_handle", "{'handle':'abc'}");

	(void)state;
	assert_has(out, "'url':'https://graph.facebook.com/v12.0/"
			"fake-user_id?fields=business_discovery.username%28abc");
	assert_has(out, "&access_token=***'");
	assert_has(out, "'url':'https://instagram-scraper-2022.p.rapidapi.com/ig/info_username/?user=abc'");
	assert_has(out,
		   "'url':'https://instagram-scraper2.p.rapidapi.com/medias_v2?user_id=42&batch_size=50'");
	assert_has(out, "'url':'https://instagram-scraper-2022.p.rapidapi.com/ig/reels_posts/?id_user=42'");
	assert_times(out, "{'upsert':'instagram_account','key':'42'", 1);
	assert_has(out, "'profile_type':'creator'");
	assert_times(out, "{'event':'profile_log_events'", 1);
	assert_has(out,
		   "'source':'rapidapi-arraybobo','platform':'INSTAGRAM','profile_id':'42','handle':'abc'");
	assert_has(out, "'metrics':{'media_count':3,'followers':7,'following':8}");
	assert_has(out, "{'result':{'profile_id':'42','handle':'abc','posts_by_id':{'count':0,'errors':0},"
			"'reels':{'count':0,'errors':0}}}");
	mem_release(out);
}

static const char GRAPH[] =
	"{'business_discovery':{'ig_id':42,'id':'178','username':'abc','media_count':2,"
	"'followers_count':10,'follows_count':3,'media':{'data':["
	"{'id':'1','comments_count':1,'like_count':2,'media_type':'VIDEO','media_url':'http://v/"
	"1','caption':'a',"
	"'timestamp':'2023-11-14T22:00:00+0000','permalink':'https://www.instagram.com/reel/AAA/'},"
	"{'id':'2','comments_count':1,'like_count':2,'media_type':'IMAGE','media_url':'http://i/2',"
	"'timestamp':'2023-11-14T22:00:00+0000','permalink':'https://www.instagram.com/p/BBB/'}]}},'id':'1'}";

/* The graph's post AAA, the page's AAA and the reel AAA are one post; CCC belongs to somebody else. */
static void each_post_once(void **state)
{
	const struct fake_answer answers[] = {
		{"profile_by_handle", "graphapi", 200, GRAPH, NULL},
		{"posts_by_id", NULL, 200,
		 "{'items':[" ITEM("AAA", NEW_, "42") "," ITEM("CCC", NEW_, "77") "]}", NULL},
		{"reels", NULL, 200,
		 "{'items':[{'media':" ITEM("AAA", NEW_, "42") "}],'paging_info':{'max_id':'',"
							       "'more_available':false}}",
		 NULL},
		{NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_profile_by_handle", "{'handle':'abc'}");

	(void)state;
	assert_times(out, "{'event':'profile_log_events'", 1);
	assert_times(out, "{'event':'post_log_events'", 3);
	assert_times(out, "{'upsert':'instagram_post'", 3);
	assert_times(out, "{'upsert':'instagram_post','key':'AAA'", 1);
	assert_times(out, "'shortcode':'AAA','publish_time'", 1);
	assert_has(out,
		   "'source':'rapidapi-arraybobo','platform':'INSTAGRAM','profile_id':'42','handle':'o42',"
		   "'shortcode':'AAA'");
	assert_has(out, "'source':'graphapi','platform':'INSTAGRAM','profile_id':'42','handle':'abc','"
			"shortcode':'BBB'");
	assert_has(out, "{'upsert':'instagram_post','key':'BBB','values':{'profile_id':'42','handle':'abc','"
			"post_id':'2',"
			"'post_type':'image'");
	assert_has(out,
		   "'profile_id':'77','handle':'o77','shortcode':'CCC','publish_time':'2023-11-14 21:56:40'");
	assert_times(out, "'collab_profile_id':'42'", 2); /* in the record and in the event of CCC */
	assert_has(out, "'hashtags':'#Sea,#sun'");
	assert_has(out, "'thumbnail_src':'http://i/2'");
	assert_has(out, "'is_business_or_creator':true");
	assert_has(out, "'keywords':''");
	assert_times(out, "recent_posts", 0);
	mem_release(out);
}

#define FIVE(n, taken)                                                                                       \
	ITEM(n "1", taken, "42")                                                                             \
	"," ITEM(n "2", taken, "42") "," ITEM(n "3", taken, "42") "," ITEM(n "4", taken, "42") "," ITEM(     \
		n "5", taken, "42")

/* Reels end above 10, at page granularity; posts end at the first page with an old one. */
static void paging_stops(void **state)
{
	const struct fake_answer answers[] = {
		{"profile_by_id", NULL, 200, PROFILE, NULL},
		{"posts_by_id", NULL, 200,
		 "{'items':[" FIVE("P", NEW_) "],'next_max_id':'p2','more_available':true}", NULL},
		{"posts_by_id", NULL, 200, "{'items':[" ITEM("O1", OLD_, "42") "],'next_max_id':'p3'}", NULL},
		{"reels", NULL, 200,
		 "{'items':[" FIVE("R", NEW_) "],'paging_info':{'max_id':'r2','more_available':true}}", NULL},
		{"reels", NULL, 200,
		 "{'items':[" FIVE("S", NEW_) "],'paging_info':{'max_id':'r3','more_available':true}}", NULL},
		{"reels", NULL, 200,
		 "{'items':[" FIVE("T", NEW_) "],'paging_info':{'max_id':'r4','more_available':true}}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_profile_by_profile_id", "{'profile_id':'42'}");

	(void)state;
	assert_has(out, "/user_info_by_id?user_id=42'");
	assert_has(out, "batch_size=50&max_id=p2'");
	assert_times(out, "max_id=p3", 0);
	assert_has(out, "max_id=r2'");
	assert_has(out, "max_id=r3'");
	assert_times(out, "max_id=r4", 0);
	assert_has(out, "'posts_by_id':{'count':6,'errors':0},'reels':{'count':15,'errors':0}");
	mem_release(out);
}

/* A page without posts ends paging, whatever it claims; no media, no reels. */
static void empty_page_ends(void **state)
{
	const struct fake_answer answers[] = {
		{"profile_by_id", NULL, 200, "{'user':{'pk':'42','username':'abc','media_count':0}}", NULL},
		{"posts_by_id", NULL, 200, "{'items':[],'next_max_id':'x','more_available':true}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_profile_by_profile_id", "{'profile_id':'42'}");

	(void)state;
	assert_times(out, "'call':'posts_by_id'", 1);
	assert_times(out, "'call':'reels'", 0);
	assert_has(out, "'reels':{'count':0,'errors':0}");
	mem_release(out);
}

/* The second page of posts and all reels fail: what there is stays, and the errors are counted. */
static void errors_are_tolerated(void **state)
{
	const struct fake_answer answers[] = {
		{"profile_by_id", NULL, 200, PROFILE, NULL},
		{"posts_by_id", NULL, 200, "{'items':[" ITEM("P1", NEW_, "42") "],'next_max_id':'p2'}", NULL},
		{"posts_by_id", NULL, 404, "{}", NULL},
		{"reels", NULL, 403, "{}", NULL},
		{"reels", NULL, 403, "{}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_profile_by_profile_id", "{'profile_id':'42'}");

	(void)state;
	assert_times(out, "{'event':'post_log_events'", 1);
	assert_times(out, "{'event':'profile_log_events'", 1);
	assert_has(out, "'posts_by_id':{'count':1,'errors':1},'reels':{'count':0,'errors':1}");
	mem_release(out);
}

static void expect_failure(const struct fake_answer *answers, const char *flow, const char *params,
			   const char *end)
{
	char *out = run(answers, RESELLERS, flow, params);

	assert_has(out, end);
	assert_times(out, "{'event'", 0);
	assert_times(out, "{'upsert'", 0);
	mem_release(out);
}

static void profile_errors(void **state)
{
	const struct fake_answer gone[] = {
		{"profile_by_handle", NULL, 200, "{'data':{'user':null},'status':'ok'}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	const struct fake_answer missing[] = {{"profile_by_id", NULL, 404, "{'message':'not here'}", NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	const struct fake_answer odd[] = {
		{"profile_by_handle", NULL, 200, "{'user':{'pk':1,'username':'else'}}", NULL},
		{"profile_by_handle", NULL, 200, "{'status':'fail','message':'login_required'}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	const struct fake_answer forbidden[] = {{"profile_by_id", NULL, 403, "{}", NULL},
						{"profile_by_id", NULL, 403, "{}", NULL},
						{NULL, NULL, 0, NULL, NULL}};

	(void)state;
	expect_failure(gone, "refresh_profile_by_handle", "{'handle':'abc'}",
		       "{'failure':'gone','text':'(200, ");
	expect_failure(missing, "refresh_profile_by_profile_id", "{'profile_id':'42'}",
		       "{'failure':'gone','text':'(404, ");
	expect_failure(odd, "refresh_profile_by_handle", "{'handle':'abc'}", "API Failure");
	expect_failure(forbidden, "refresh_profile_by_profile_id", "{'profile_id':'42'}", "{'failure':'");
	expect_failure(NULL, "refresh_profile_basic", "{'profile_id':null,'handle':null}",
		       "profile_id or handle must be given");
}

/* The number is preferred; no posts are paged; an unreadable body is asked for again. */
static void basic(void **state)
{
	const struct fake_answer answers[] = {{"profile_by_id", "rapidapi-jotucker", 200, "<html>", NULL},
					      {"profile_by_id", "rapidapi-jotucker", 200, PROFILE, NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_profile_basic", "{'profile_id':'42','handle':'zzz'}");

	(void)state;
	assert_times(out, "{'call'", 2);
	assert_has(out, "{'result':{'profile_id':'42','handle':'abc'}}");
	mem_release(out);
}

static void one_post(const char *source, const char *body, const char *want)
{
	const char *const sources[] = {source, NULL};
	const struct fake_answer answers[] = {{"post_by_shortcode", source, 200, body, NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, sources, "refresh_post_by_shortcode", "{'shortcode':'ABC'}");

	assert_times(out, "{'event':'post_log_events'", 1);
	assert_has(out, want);
	mem_release(out);
}

#define WEB_POST                                                                                             \
	"{'__typename':'GraphVideo','id':'3','shortcode':'ABC','display_url':'http://i/3',"                  \
	"'video_url':'http://v/3','display_resources':[{'src':'http://t/3'}],'video_view_count':4,"          \
	"'video_play_count':5,'video_duration':6.5,'taken_at_timestamp':" NEW_                               \
	",'owner':{'id':'42','username':'abc'},"                                                             \
	"'edge_media_to_parent_comment':{'count':7},'edge_media_preview_like':{'count':-1},"                 \
	"'edge_media_to_tagged_user':{'edges':[{'node':{'user':{'username':'t'}}}]},"                        \
	"'edge_media_to_sponsor_user':{'edges':[{'node':{'sponsor':{'id':'5','username':'s'}}}]}}"

static void dialects(void **state)
{
	(void)state;
	one_post("rapidapi-arraybobo", "{'data':{'shortcode_media':" WEB_POST "}}",
		 "'metrics':{'comments':7,'likes':null,'view_count':4,'play_count':5,'video_duration':6.5}");
	one_post("rapidapi-arraybobo", WEB_POST, "'display_url':'http://v/3','thumbnail_src':'http://t/3'");
	one_post("rapidapi-arraybobo", WEB_POST,
		 "'user_tags':[{'user':{'username':'t'}}],"
		 "'user_sponsors':[{'profile_id':'5','handle':'s'}]");
	one_post("rapidapi-jotucker", "{'items':[" ITEM("ABC", NEW_, "42") "]}", "'post_type':'reels'");
	one_post("rapidapi-jotucker", "{'media_or_ad':" ITEM("ABC", NEW_, "42") "}", "'plays':'11'");
	one_post("rocketapi",
		 "{'status':'done','response':{'status_code':200,'body':{'items':[{'pk':1,'code':'ABC',"
		 "'media_type':8,'product_type':'carousel_container','carousel_media':[{'image_versions2':"
		 "{'candidates':[{'url':'http://c/1'}]}}]}]}}}",
		 "'post_type':'carousel'");
}

/* Another post than the one asked for: the next source. */
static void wrong_post(void **state)
{
	const struct fake_answer answers[] = {
		{"post_by_shortcode", "rapidapi-arraybobo", 200, "{'items':[" ITEM("XYZ", NEW_, "42") "]}",
		 NULL},
		{"post_by_shortcode", "rapidapi-jotucker", 500, "{}", NULL},
		{"post_by_shortcode", "rapidapi-jotucker", 400, "{}", NULL},
		{"post_by_shortcode", "rocketapi", 200,
		 "{'response':{'body':{'items':[" ITEM("ABC", NEW_, "42") "]}}}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_post_by_shortcode", "{'shortcode':'ABC'}");

	(void)state;
	assert_times(out, "{'call'", 4);
	assert_has(out, "'source':'rocketapi','method':'GET',"
			"'url':'https://v1.rocketapi.io/instagram/media/"
			"get_info_by_shortcode','body':'{\\'shortcode\\':\\'ABC\\'}'");
	assert_times(out, "{'event':'post_log_events'", 1);
	mem_release(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(graph_fails_over),
		cmocka_unit_test(each_post_once),
		cmocka_unit_test(paging_stops),
		cmocka_unit_test(empty_page_ends),
		cmocka_unit_test(errors_are_tolerated),
		cmocka_unit_test(profile_errors),
		cmocka_unit_test(basic),
		cmocka_unit_test(dialects),
		cmocka_unit_test(wrong_post),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
