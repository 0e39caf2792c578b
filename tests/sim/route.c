/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint answers which path. */
#include <string.h>

#include "base/str.h"
#include "sim.h"

struct route {
	const char *path;	/* whole, without a slash at the end; "…/" = everything below */
	const char *source;
	sim_endpoint endpoint;
};

static const struct route routes[] = {
	{"/graphapi/", "graphapi", graph_user},
	{"/arraybobo/ig/info", "rapidapi-arraybobo", arraybobo_info},
	{"/arraybobo/ig/info_username", "rapidapi-arraybobo", arraybobo_info},
	{"/arraybobo/ig/posts", "rapidapi-arraybobo", arraybobo_posts},
	{"/arraybobo/ig/post_info", "rapidapi-arraybobo", arraybobo_post},
	{"/arraybobo/ig/reels_posts", "rapidapi-arraybobo", arraybobo_reels},
	{"/jotucker/user_info_by_id", "rapidapi-jotucker", jotucker_user},
	{"/jotucker/medias_v2", "rapidapi-jotucker", jotucker_posts},
	{"/jotucker/media_info_v2", "rapidapi-jotucker", jotucker_post},
	{"/rocketapi/instagram/media/get_info_by_shortcode", "rocketapi", rocketapi_post},
	{"/rocketapi/instagram/user/get_clips", "rocketapi", rocketapi_clips},
	{"/ytapitoken/youtube/v3/channels", "ytapitoken", youtube_channels},
	{"/ytapitoken/youtube/v3/videos", "ytapitoken", youtube_videos},
	{"/ytapitoken/youtube/v3/playlistItems", "ytapitoken", youtube_playlist_items},
	{"/ytapitoken/youtube/v3/search", "ytapitoken", youtube_search},
	{"/yt-v31/channels", "yt-v31", youtube_channels},
	{"/yt-v31/videos", "yt-v31", youtube_videos},
	{"/yt-v31/playlistItems", "yt-v31", youtube_playlist_items},
	{"/yt-v31/search", "yt-v31", youtube_search},
	{"/shopify/", "shopify", shopify_orders}
};

static bool matches(const struct route *route, const char *path)
{
	const size_t len = strlen(route->path);

	if (strncmp(path, route->path, len) != 0)
		return false;
	return route->path[len - 1] == '/' || !path[len] || str_eq(path + len, "/");
}

/* Where the providers look for it. */
static void find_credential(struct sim_request *request)
{
	static const char *const headers[] = {"X-RapidAPI-Key", "Authorization", "X-Shopify-Access-Token"};
	static const char *const parameters[] = {"access_token", "key"};
	const char *value = NULL;

	for (size_t i = 0; !value && i < sizeof(headers) / sizeof(headers[0]); i++)
		value = httpd_header_in(request->http, headers[i]);
	for (size_t i = 0; !value && i < sizeof(parameters) / sizeof(parameters[0]); i++)
		value = httpd_query(request->http, parameters[i]);
	sim_set(request->credential, value ? value : "");
}

/* RapidAPI's front door, before any endpoint. */
static bool refused(struct sim_request *request)
{
	if (!httpd_header_in(request->http, "X-RapidAPI-Key") || !str_starts(request->credential, "bad"))
		return false;
	sim_fixed(request, 401, "{'message':'Invalid API key. Go to https://docs.example.com/keys for more info.'}");
	return true;
}

void route_serve(struct sim_request *request)
{
	const char *path = httpd_path(request->http);

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!matches(&routes[i], path))
			continue;
		request->source = routes[i].source;
		request->path = strchr(path + 1, '/');
		buf_reserve(&request->body, 60000);
		find_credential(request);
		if (!refused(request))
			routes[i].endpoint(request);
		return;
	}
	sim_fixed(request, 404, "{'message':'No such endpoint'}");
}
