/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-sim: a stand-in for the web APIs that the plugins call, with synthetic
 * data, faults on purpose and books of what was served. Development and tests
 * only. The main thread waits for signals; requests are answered in the HTTP
 * server's threads.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "fault.h"
#include "json/jwrite.h"
#include "pool.h"
#include "record.h"
#include "replay.h"
#include "sim.h"

#ifndef SLUICE_VERSION
#define SLUICE_VERSION "development"
#endif

#define KEYS_MOST 10000

struct options {
	int64_t port, threads, latency_ms;
	const char *port_file, *log_file, *replay;
};

static struct options options = {.threads = 1};

static const char help[] =
	"Usage: sluice-sim [OPTION]...\n"
	"Serve synthetic Instagram, YouTube and Shopify APIs on 127.0.0.1.\n"
	"\n"
	"  --port N         listen on port N; 0, the default, takes a free one\n"
	"  --port-file F    write the port's number to F when ready\n"
	"  --log F          append a line of JSON per request to F (flushed every second)\n"
	"  --seed N         choose the data; the same seed gives the same data (1)\n"
	"  --profiles N     how many profiles, channels and shops there are (1000)\n"
	"  --orders N       orders per shop, at most 4000 (60)\n"
	"  --now EPOCH      the second that the ages of posts, videos and orders are\n"
	"                   counted from (the current hour)\n"
	"  --latency MS     answer no sooner than after MS milliseconds\n"
	"  --threads N      server threads (1)\n"
	"  --fault SPEC     go wrong on purpose; may be given several times\n"
	"  --replay DIR     serve recorded responses and nothing else\n"
	"  --help, --version\n"
	"\n"
	"When ready it prints one line: listening on http://127.0.0.1:PORT\n"
	"SIGTERM and SIGINT end it with status 0; wrong options end it with status 2.\n"
	"\n"
	"WHAT IT SERVES\n"
	"Each source has its own prefix, to be used as its base URL:\n"
	"  /graphapi         v12.0/ID with business_discovery, profile and media pages\n"
	"  /arraybobo        ig/info ig/info_username ig/posts ig/post_info ig/reels_posts\n"
	"  /jotucker         user_info_by_id medias_v2 media_info_v2\n"
	"  /rocketapi        instagram/media/get_info_by_shortcode instagram/user/get_clips\n"
	"  /ytapitoken       youtube/v3/{channels,videos,playlistItems,search}\n"
	"  /yt-v31           {channels,videos,playlistItems,search}\n"
	"  /shopify/STORE    admin/api/VERSION/orders.json\n"
	"Profiles are user_0 to user_N; stores are shop-0 to shop-N, with or without a\n"
	"domain behind; stores whose name begins with \"empty\" have no orders. Other keys\n"
	"are listed by /_sim/keys. Every 50th profile and channel (49, 99, ...) is empty.\n"
	"  /graphapi         v12.0/debug_token: of a token that begins with \"expired\" the\n"
	"                    access to data ended; one with \"scopeless\" lacks a scope\n"
	"A credential that begins with \"bad\" is refused; any other, and none, will do.\n"
	"The log's \"credential\" is the secret that came with the request.\n"
	"\n"
	"CONTROL\n"
	"  GET /_sim/stats         counts by source, operation and status; distinct\n"
	"                          profiles, posts, channels, videos and orders served\n"
	"  GET /_sim/mark?name=X   let what is counted since the mark start again\n"
	"  GET /_sim/keys?kind=K&from=N&count=N\n"
	"                          keys that exist; K is handle, profile, post, channel,\n"
	"                          playlist, video or store\n"
	"Something counts as served when a plugin can make a record of it, and the answer\n"
	"had status 200, was not spoiled by a fault and was sent completely.\n"
	"\n"
	"FAULTS\n"
	"SPEC is a list of words with commas between. Which requests:\n"
	"  source=NAME op=NAME key=REGEX credential=SECRET   (none given = all)\n"
	"  rate=R     a share of them, from 0 to 1; which ones depends on the seed and on\n"
	"             how often the key was asked for, so that a run can be repeated\n"
	"  first=N    only the first N requests of each key\n"
	"and one kind:\n"
	"  status=N or N (401), 5xx   that status, with the provider's error body;\n"
	"                             retry_after=S adds the header\n"
	"  slow=MS    the answer comes later\n"
	"  cut[=N]    the connection ends after N bytes of the body, or half of it\n"
	"  badjson    half the body, then rubbish\n"
	"  schema     valid JSON of another shape\n"
	"  empty      no body\n"
	"Operations are profile, posts, post, reels, channels, videos, playlistItems,\n"
	"search and orders. Sources are graphapi, rapidapi-arraybobo, rapidapi-jotucker,\n"
	"rocketapi, ytapitoken, yt-v31 and shopify. Example:\n"
	"  --fault 'source=rapidapi-jotucker,op=posts,rate=0.1,status=429,retry_after=1'\n"
	"\n"
	"REPLAY\n"
	"A request of path P is answered with DIR/P.json, the n-th one with DIR/P.n.json\n"
	"where that exists. DIR/P.http (DIR/P.n.http) may hold a status line and headers.\n";

static void keys_write(struct jwrite *w, const char *kind, uint32_t n)
{
	char key[WORLD_KEY_SIZE];
	struct profile profile;
	struct channel channel;

	if (str_eq(kind, "handle")) {
		profile_get(n, &profile);
		jwrite_string(w, NULL, profile.handle);
	} else if (str_eq(kind, "playlist")) {
		channel_get(n, &channel);
		jwrite_string(w, NULL, channel.uploads);
	} else if (str_eq(kind, "store")) {
		str_format(key, sizeof(key), "shop-%u", n);
		jwrite_string(w, NULL, key);
	} else {
		entity_key(str_eq(kind, "profile") ? ENTITY_PROFILE : ENTITY_CHANNEL, n, key);
		jwrite_string(w, NULL, key);
	}
}

/* Posts and videos are counted through: all of number 0, then all of number 1, and so on. */
static void items_write(struct jwrite *w, bool posts, unsigned int from, unsigned int count)
{
	char key[WORLD_KEY_SIZE];
	struct profile profile;
	struct channel channel;
	uint32_t items;

	for (uint32_t n = 0; n < world.profiles && count > 0; n++) {
		profile_get(n, &profile);
		channel_get(n, &channel);
		items = posts ? profile.posts : channel.videos;
		for (uint32_t i = from < items ? from : items; i < items && count > 0; i++, count--) {
			entity_key(posts ? ENTITY_POST : ENTITY_VIDEO, entity_number(n, i), key);
			jwrite_string(w, NULL, key);
		}
		from -= from < items ? from : items;
	}
}

static void keys_serve(struct sim_request *request)
{
	static const char *const kinds[] = {"handle", "profile", "channel", "playlist", "store", "post", "video"};
	const char *kind = sim_query(request, "kind");
	const unsigned int from = sim_query_count(request, "from", 0, UINT32_MAX);
	const unsigned int count = sim_query_count(request, "count", 100, KEYS_MOST);
	struct jwrite w;
	size_t at = 0;

	while (at < 7 && !str_eq(kind, kinds[at]))
		at++;
	if (at == 7) {
		sim_fixed(request, 400, "{'message':'Unknown kind'}");
		return;
	}
	request->status = 200;
	jwrite_init(&w, &request->body);
	jwrite_array(&w, NULL);
	if (at >= 5)
		items_write(&w, at == 5, from, count);
	for (uint32_t n = from; at < 5 && n < world.profiles && n - from < count; n++)
		keys_write(&w, kind, n);
	jwrite_end(&w);
}

static void control_serve(struct sim_request *request)
{
	const char *path = httpd_path(request->http);

	if (str_eq(path, "/_sim/keys")) {
		keys_serve(request);
		return;
	}
	request->status = 200;
	if (str_eq(path, "/_sim/stats")) {
		record_stats(&request->body);
	} else if (str_eq(path, "/_sim/mark")) {
		record_mark(sim_query(request, "name"));
		record_stats(&request->body);
	} else {
		sim_fixed(request, 404, "{'message':'No such endpoint'}");
	}
}

static void request_free(struct sim_request *request)
{
	mem_release(request->served);
	mem_release(request);
}

static void done(void *data, bool complete)
{
	struct sim_request *request = data;

	record_request(request, complete);
	request_free(request);
}

static void handle(void *data, struct httpd_request *http)
{
	struct sim_request *request = mem_alloc(sizeof(*request));
	const bool control = str_starts(httpd_path(http), "/_sim/");
	struct httpd_header headers[SIM_HEADERS + 1];
	struct httpd_reply reply = {.ownership = HTTPD_OWNED, .headers = headers};

	(void)data;
	request->http = http;
	request->arrived_ms = clock_wall_ms();
	request->source = request->operation = "";
	request->delay_ms = control ? 0 : options.latency_ms;
	buf_init(&request->body);
	if (control)
		control_serve(request);
	else if (options.replay)
		replay_serve(request);
	else
		route_serve(request);
	if (!control)
		fault_apply(request);
	memcpy(headers, request->headers, sizeof(request->headers));
	headers[request->header_count] = (struct httpd_header){"Content-Type",
		request->type[0] ? request->type : "application/json; charset=utf-8"};
	reply.header_count = request->header_count + 1;
	reply.status = request->status;
	reply.len = request->body.len;
	reply.body = buf_steal(&request->body);
	request->body.len = reply.len;
	reply.delay_ms = request->delay_ms;
	reply.cut = request->cut;
	reply.cut_after = request->cut_after;
	if (!control) {
		reply.done = done;
		reply.done_data = request;
	}
	httpd_answer(http, &reply);
	if (control)
		request_free(request);
}

static int64_t number(const char *name, const char *text, int64_t least, int64_t most)
{
	int64_t value;

	if (num_parse_int(text, &value) < 0 || value < least || value > most) {
		fprintf(stderr, "sluice-sim: --%s: \"%s\" is not a number from %lld to %lld\n", name, text,
			(long long)least, (long long)most);
		exit(2);
	}
	return value;
}

static void option_take(const char *name, const char *value, struct error *err)
{
	if (str_eq(name, "port"))
		options.port = number(name, value, 0, 65535);
	else if (str_eq(name, "port-file"))
		options.port_file = value;
	else if (str_eq(name, "log"))
		options.log_file = value;
	else if (str_eq(name, "seed"))
		world.seed = (uint64_t)number(name, value, 0, INT64_MAX);
	else if (str_eq(name, "profiles"))
		world.profiles = (uint32_t)number(name, value, 1, WORLD_PROFILES_MAX);
	else if (str_eq(name, "orders"))
		world.orders = (uint32_t)number(name, value, 1, 4000);
	else if (str_eq(name, "now"))
		world.now_s = number(name, value, 1000000000, 4000000000);
	else if (str_eq(name, "latency"))
		options.latency_ms = number(name, value, 0, 600000);
	else if (str_eq(name, "threads"))
		options.threads = number(name, value, 1, 64);
	else if (str_eq(name, "replay"))
		options.replay = value;
	else
		fault_add(value, err);
}

static void options_read(int argc, char **argv)
{
	static const struct option names[] = {
		{"port", required_argument, NULL, 0}, {"port-file", required_argument, NULL, 0},
		{"log", required_argument, NULL, 0}, {"seed", required_argument, NULL, 0},
		{"profiles", required_argument, NULL, 0}, {"orders", required_argument, NULL, 0},
		{"now", required_argument, NULL, 0}, {"latency", required_argument, NULL, 0},
		{"threads", required_argument, NULL, 0}, {"fault", required_argument, NULL, 0},
		{"replay", required_argument, NULL, 0}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}
	};
	struct error err = {.code = ERR_NONE};
	int c, index = 0;

	while ((c = getopt_long(argc, argv, "", names, &index)) >= 0) {
		if (c == 'h' || c == 'V') {
			fputs(c == 'h' ? help : "sluice-sim " SLUICE_VERSION "\n", stdout);
			exit(0);
		}
		if (c == '?')
			exit(2);
		option_take(names[index].name, optarg, &err);
		if (err.code) {
			fprintf(stderr, "sluice-sim: %s\n", err.text);
			exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sluice-sim: unexpected argument \"%s\"\n", argv[optind]);
		exit(2);
	}
}

/* Under another name first, so that a reader never sees half a number. */
static int port_write(const char *path, unsigned int port, struct error *err)
{
	char name[4000];
	FILE *file;

	str_format(name, sizeof(name), "%s.new", path);
	file = fopen(name, "we");
	if (!file)
		return error_errno(err, "cannot write %s", name);
	fprintf(file, "%u\n", port);
	if (fclose(file) != 0 || rename(name, path) < 0)
		return error_errno(err, "cannot write %s", path);
	return 0;
}

static struct httpd *start(struct error *err)
{
	const struct httpd_config config = {
		.port = (uint16_t)options.port,
		.threads = (unsigned int)options.threads,
		.max_connections = 4000,
		.handler = handle
	};
	struct httpd *httpd;

	pool_init();
	graph_init();
	media_init();
	web_init();
	youtube_init();
	shopify_init();
	if (record_open(options.log_file, err) < 0)
		return NULL;
	if (options.replay && replay_open(options.replay, err) < 0)
		return NULL;
	httpd = httpd_start(&config, err);
	if (httpd && options.port_file && port_write(options.port_file, httpd_port(httpd), err) < 0)
		httpd_stop(&httpd);
	return httpd;
}

int main(int argc, char **argv)
{
	const struct timespec second = {.tv_sec = 1};
	struct error err = {.code = ERR_NONE};
	struct httpd *httpd;
	sigset_t signals;

	world.seed = 1;
	world.profiles = 1000;
	world.orders = 60;
	world.now_s = clock_wall_ms() / 1000 / 3600 * 3600;
	options_read(argc, argv);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	httpd = start(&err);
	if (!httpd) {
		fprintf(stderr, "sluice-sim: %s\n", err.text);
		return 1;
	}
	printf("listening on http://127.0.0.1:%u\n", httpd_port(httpd));
	fflush(stdout);
	while (sigtimedwait(&signals, NULL, &second) < 0 && (errno == EAGAIN || errno == EINTR))
		record_flush();
	httpd_stop(&httpd);
	record_flush();
	return 0;
}
