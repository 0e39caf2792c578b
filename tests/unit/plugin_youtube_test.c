/* SPDX-License-Identifier: Apache-2.0 */
/* The youtube plugin on the fake host: lots, paging of ids, quota, look-up, values. */
#include <stdio.h>

#include "base/buf.h"
#include "plugin_run.h"

#include "../../plugins/lib/lib.h"

static const char CHANNEL[] =
	"{'kind':'youtube#channelListResponse','items':[{'id':'UC1','snippet':{'title':'T',"
	"'publishedAt':'2007-08-23T00:34:43.000Z','thumbnails':{'default':{'url':'http://d'}}},"
	"'statistics':{'viewCount':'160361638000','subscriberCount':'12','hiddenSubscriberCount':false,"
	"'videoCount':'5'},'contentDetails':{'relatedPlaylists':{'uploads':'UU1'}}}]}";

static const char VIDEOS[] =
	"{'kind':'youtube#videoListResponse','items':["
	"{'id':'v1','snippet':{'channelId':'UC1','title':'long','publishedAt':'2019-03-21T20:37:49Z',"
	"'thumbnails':{'default':{'url':'http://d'}},'tags':['a','b'],'defaultAudioLanguage':'en'},"
	"'contentDetails':{'duration':'PT1M1S','licensedContent':true,'contentRating':{}},"
	"'statistics':{'viewCount':'9','commentCount':'2','favoriteCount':'0'}},"
	"{'id':'v2','snippet':{'channelId':'UC1','title':'short'},'contentDetails':{'duration':'PT60S'}}]}";

#define QUOTA                                                                                                \
	"{'error':{'code':403,'message':'exceeded','errors':[{'reason':'quotaExceeded','domain':'youtube."   \
	"quota'}]}}"

/* {"NAME":["p0","p1",…]} with n entries. */
static char *list_of(const char *name, size_t n)
{
	struct buf out;

	buf_init(&out);
	buf_printf(&out, "{'%s':[", name);
	for (size_t i = 0; i < n; i++)
		buf_printf(&out, "%s'p%zu'", i ? "," : "", i);
	buf_adds(&out, "]}");
	return buf_steal(&out);
}

static void channels_in_lots(void **state)
{
	const struct fake_answer answers[] = {
		{"channels", "ytapitoken", 200, CHANNEL, NULL},
		{"channels", "ytapitoken", 200, "{'kind':'youtube#channelListResponse'}", NULL},
		{NULL, NULL, 0, NULL, NULL}};
	char *params = list_of("channel_ids", 41), *out = run(answers, NULL, "refresh_yt_profiles", params);

	(void)state;
	assert_times(out, "{'call':'channels'", 2);
	assert_has(out, "https://youtube.googleapis.com/youtube/v3/"
			"channels?part=snippet%2Cstatistics%2CcontentDetails&id=p0%2C");
	assert_has(out, "&id=p40&maxResults=50&key=***'");
	assert_times(out, "{'event':'profile_log_events'", 1);
	assert_has(out, "'source':'ytapi','platform':'YOUTUBE','profile_id':'UC1','handle':'UC1'");
	assert_has(out, "'view_count':160361638000");
	assert_has(out, "'hidden_subscriber_count':0");
	assert_has(out, "'taken_at_timestamp':1187829283");
	assert_has(out, "'uploads_playlist_id':'UU1'");
	assert_has(out, "'published_at':'2007-08-23 00:34:43'");
	assert_has(out, "'uploads':'5'");
	mem_release(params);
	mem_release(out);
}

static void videos_values(void **state)
{
	const struct fake_answer answers[] = {{"videos", "yt-v31", 200, VIDEOS, NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	const char *const sources[] = {"yt-v31", NULL};
	char *out = run(answers, sources, "refresh_yt_posts", "{'post_ids':['v1','v2'],'topic':'run'}");

	(void)state;
	assert_has(out, "'url':'https://youtube-v31.p.rapidapi.com/videos?part=");
	assert_has(out,
		   "'source':'ytapi','platform':'YOUTUBE','profile_id':'UC1','handle':'UC1','shortcode':'v1',"
		   "'publish_time':'2019-03-21 20:37:49'");
	assert_has(out, "'metrics':{'comments':2,'favourite_count':0,'likes':null,'view_count':9}");
	assert_times(out, "'topic':'run'", 4);
	assert_times(out, "'post_type':'video'",
		     3); /* v1: record, row, event; v2 lasts a minute and is none */
	assert_times(out, "'playlist_id':'", 0);
	assert_has(out, "'tags':'[\\'a\\',\\'b\\']'");
	assert_has(out, "'shortcode':'v2','publish_time':null");
	mem_release(out);
}

static const char PAGE[] =
	"{'kind':'x','nextPageToken':'T2','items':[{'id':{'videoId':'v1'}},{'id':{'videoId':'v1'}},"
	"{'id':{'playlistId':'no'}}]}";

/* The quota ends on the second page: what was found is refreshed. */
static void quota_keeps_what_there_is(void **state)
{
	const char *const one[] = {"ytapitoken", NULL};
	const struct fake_answer answers[] = {{"search_by_channel", "ytapitoken", 200, PAGE, NULL},
					      {"search_by_channel", "ytapitoken", 403, QUOTA, NULL},
					      {"videos", "yt-v31", 200, VIDEOS, NULL},
					      {"videos", "ytapitoken", 200, VIDEOS, NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_yt_posts_by_channel_id",
			"{'channel_id':'UC1','filter':"
			"{'start_date':'2023-01-01','end_date':'2023-01-31'}}");

	(void)state;
	assert_has(out, "search?channelId=UC1&part=id&order=date&maxResults=50&publishedAfter=2023-01-01T00%"
			"3A00%3A00Z&"
			"publishedBefore=2023-01-31T23%3A59%3A59Z&key=***");
	assert_has(out, "pageToken=T2");
	assert_has(out, "id=v1&");
	assert_times(out, "{'event':'post_log_events'", 2);
	mem_release(out);
	out = run(answers, one, "refresh_yt_posts_by_channel_id",
		  "{'channel_id':'UC1','filter':{'start_date':'2023-01-01','end_date':'2023-01-31'}}");
	assert_times(out, "{'event':'post_log_events'", 2);
	assert_times(out, "yt-v31", 0);
	mem_release(out);
}

static void search_stops(void **state)
{
	const struct fake_answer answers[] = {{"search_by_channel", NULL, 200, PAGE, NULL},
					      {"videos", NULL, 200, VIDEOS, NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	const struct fake_answer failing[] = {{"search_by_channel", NULL, 403,
					       "{'error':{'message':'no','errors':[{'reason':'forbidden'}]}}",
					       NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out =
		run(answers, NULL, "refresh_yt_posts_by_channel_id", "{'channel_id':'UC1','max_posts':1}");

	(void)state;
	assert_times(out, "{'call':'search_by_channel'", 1);
	assert_times(out, "{'call':'videos'", 1);
	mem_release(out);
	out = run(failing, NULL, "refresh_yt_posts_by_channel_id", "{'channel_id':'UC1'}");
	assert_non_null(strstr(out, "{\"failure\":\"fail\",\"text\":\"(403, 'no')\"}"));
	mem_release(out);
}

static void by_playlist(void **state)
{
	const struct fake_answer answers[] = {
		{"uploads_playlist", NULL, 200, "[{'channel_id':'UC1','uploads_playlist_id':'UU1'}]", NULL},
		{"playlist_items", NULL, 200,
		 "{'nextPageToken':'T2','items':[{'contentDetails':{'videoId':'v1'}}]}", NULL},
		{"playlist_items", NULL, 200, "{'items':[{'snippet':{'resourceId':{'videoId':'v2'}}}]}",
		 NULL},
		{"videos", NULL, 200, VIDEOS, NULL},
		{NULL, NULL, 0, NULL, NULL}};
	const struct fake_answer missing[] = {{"uploads_playlist", NULL, 200, "[]", NULL},
					      {NULL, NULL, 0, NULL, NULL}};
	char *out = run(answers, NULL, "refresh_yt_posts_by_playlist_id",
			"{'channel_id':'UC1','max_posts':null}");

	(void)state;
	assert_has(out, "{'lookup':'uploads_playlist','key':'UC1'}");
	assert_has(out, "playlistItems?part=snippet%2CcontentDetails%2Cstatus%2Cid&playlistId=UU1&maxResults="
			"50&pageToken=T2");
	assert_has(out, "id=v1%2Cv2&");
	assert_times(out, "{'upsert':'youtube_post'", 2);
	mem_release(out);
	out = run(missing, NULL, "refresh_yt_posts_by_playlist_id", "{'channel_id':'UC1'}");
	assert_has(out, "{'failure':'fail'");
	assert_has(out, "channel UC1 is not in youtube_account");
	mem_release(out);
}

/* 403: the quota is the key's, other reasons are not; a bad key goes to the next source. */
static void errors(void **state)
{
	const struct fake_answer bad_key[] = {
		{"videos", "ytapitoken", 400,
		 "{'error':{'message':'Bad Request','errors':[{'reason':'keyInvalid'}]}}", NULL},
		{"videos", "yt-v31", 200, VIDEOS, NULL},
		{NULL, NULL, 0, NULL, NULL}};
	const struct fake_answer quota[] = {{"videos", NULL, 403, QUOTA, NULL},
					    {"videos", NULL, 403, QUOTA, NULL},
					    {NULL, NULL, 0, NULL, NULL}};
	char *out = run(bad_key, NULL, "refresh_yt_posts", "{'post_ids':['v1']}");

	(void)state;
	assert_times(out, "{'event':'post_log_events'", 2);
	mem_release(out);
	out = run(quota, NULL, "refresh_yt_posts", "{'post_ids':['v1']}");
	assert_has(out, "{'failure':'");
	assert_times(out, "{'event'", 0);
	mem_release(out);
}

static void durations(void **state)
{
	(void)state;
	assert_int_equal(duration_seconds("PT1H2M3S"), 3723);
	assert_int_equal(duration_seconds("P1DT1S"), 86401);
	assert_int_equal(duration_seconds("P0D"), 0);
	assert_int_equal(duration_seconds("P1W"), 604800);
	assert_int_equal(duration_seconds("PT"), -1);
	assert_int_equal(duration_seconds("PT5"), -1);
	assert_int_equal(duration_seconds("P1H"), -1);
	assert_int_equal(duration_seconds(""), -1);
	assert_int_equal(duration_seconds(NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(channels_in_lots),
		cmocka_unit_test(videos_values),
		cmocka_unit_test(quota_keeps_what_there_is),
		cmocka_unit_test(search_stops),
		cmocka_unit_test(by_playlist),
		cmocka_unit_test(errors),
		cmocka_unit_test(durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
