/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime of a role process; see role.h. */
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "plugin/plugin.h"
#include "role/channel.h"
#include "role/role.h"

/* How often memory is looked at: of a process that works, and at last of one that does nothing. */
#define SAMPLE_MS 1000
#define SAMPLE_IDLE_MS 60000

struct runtime {
	struct role role;
	struct json_doc *part;
	struct conf_model *conf;
	struct conf_model *limits;	/* owned: role.limits since it was told others; NULL */
	struct metrics *metrics;
	struct loop_fd *channel;
	struct loop_signal *term, *interrupt;
	struct loop_timer *sampler;
	int64_t sample_ms;
	clock_t sampled_at;		/* CPU time */
	int status;
	bool stopping;
};

/* One role per process, and its functions get only struct role. */
static struct runtime *runtime_of(struct role *role)
{
	return (struct runtime *)(void *)((char *)role - offsetof(struct runtime, role));
}

static void leave(struct runtime *rt, int status)
{
	rt->status = status;
	rt->stopping = true;
	loop_stop(rt->role.loop);
}

void role_finished(struct role *role)
{
	log_info("drained");
	leave(runtime_of(role), 0);
}

void role_failed(struct role *role, const char *text)
{
	log_error("cannot go on: %s", text);
	leave(runtime_of(role), 1);
}

void role_send(struct role *role, const char *json)
{
	struct error err;

	(void)role;
	if (channel_send(ROLE_CHANNEL_FD, json, strlen(json), -1, &err) != 0)
		log_warning("message to the supervisor lost: %s", err.text);
}

static void drain(struct runtime *rt)
{
	if (rt->role.draining) {
		/* Told twice: leave at once. Whatever runs is taken up again by lease expiry. */
		log_warning("stopping at once");
		_exit(0);
	}
	rt->role.draining = true;
	rt->role.def->drain(&rt->role);
}

static void on_signal(void *user, int signum)
{
	(void)signum;
	drain(user);
}

/* Closes fd. */
static struct json_doc *read_part(int fd, struct error *err)
{
	struct json_doc *doc = json_parse_fd(fd, err);

	if (doc == NULL)
		error_prefix(err, "fd %d holds no configuration: roles are started by sluiced", fd);
	close(fd);
	return doc;
}

static void begin_log(const struct json *part)
{
	enum log_level level = LOG_LEVEL_INFO;

	log_level_parse(json_string(json_member(part, "log_level"), NULL), &level);
	log_init(STDERR_FILENO, json_string(json_member(part, "title"), NULL), level);
}

/* The configuration was changed in what needs no other process: title, log level, limits. */
static void on_part(struct runtime *rt, int fd)
{
	struct error err;
	struct json_doc *part = read_part(fd, &err);
	struct conf_model *before = rt->limits, *conf;

	conf = part != NULL ? conf_part_read(json_member(json_root(part), "conf"), &err) : NULL;
	if (conf == NULL) {
		role_failed(&rt->role, err.text);
	} else {
		begin_log(json_root(part));
		rt->role.limits = rt->limits = conf;
		if (rt->role.def->limits_changed != NULL)
			rt->role.def->limits_changed(&rt->role);
		conf_free(&before);
	}
	json_doc_free(&part);
}

static void on_message(struct runtime *rt, const char *text, size_t len, int fd)
{
	struct error err;
	struct json_doc *doc = json_parse(text, len, &err);
	const struct json *message = doc != NULL ? json_root(doc) : NULL;

	if (json_member(message, "drain") != NULL) {
		/* A signal may have come first; only a second signal means at once. */
		if (!rt->role.draining)
			drain(rt);
	} else if (json_member(message, "stop") != NULL) {
		_exit(0);
	} else if (json_member(message, "part") != NULL && fd >= 0) {
		on_part(rt, fd);
	} else if (message != NULL && rt->role.def->message != NULL) {
		rt->role.def->message(&rt->role, message, fd);
	} else if (fd >= 0) {
		close(fd);
	}
	json_doc_free(&doc);
}

static void on_channel(void *user, int channel, unsigned int events)
{
	static char text[CHANNEL_MAX + 1];
	struct runtime *rt = user;
	int fd, len;

	(void)events;
	while (!rt->stopping && (len = channel_receive(channel, text, &fd)) != 0) {
		if (len < 0) {
			/* The supervisor is gone: a successor takes over by the leases. */
			log_warning("the supervisor is gone; leaving");
			_exit(1);
		}
		on_message(rt, text, (size_t)len, fd);
	}
}

static void on_sample(void *user)
{
	struct runtime *rt = user;
	clock_t now = clock();
	bool worked = now - rt->sampled_at > CLOCKS_PER_SEC / 100;

	if (!worked && rt->sample_ms == SAMPLE_MS)
		malloc_trim(0);
	metrics_sample_memory();
	rt->sampled_at = now;
	/* Waking a hundred processes each second is most of what they cost while there is nothing to do. */
	rt->sample_ms = worked || rt->sample_ms == 0 ? SAMPLE_MS : rt->sample_ms * 2;
	if (rt->sample_ms > SAMPLE_IDLE_MS)
		rt->sample_ms = SAMPLE_IDLE_MS;
	loop_timer_start(rt->sampler, rt->sample_ms, 0);
}

static int load_plugins(struct role *role, struct error *err)
{
	role->plugins = plugin_set_new();
	for (size_t i = 0; i < role->conf->plugin_count; i++) {
		const struct conf_plugin *seen = &role->conf->plugins[i];
		struct plugin_file expected = { .device = seen->device, .inode = seen->inode, .size = seen->size };

		str_format(expected.sha256, sizeof(expected.sha256), "%s", seen->sha256);
		if (plugin_load(role->plugins, seen->path, &expected, NULL, err) != 0)
			return -1;
	}
	return 0;
}

static int attach(struct runtime *rt, struct error *err)
{
	struct role *role = &rt->role;
	int64_t slot = -1;

	rt->part = read_part(ROLE_PART_FD, err);
	if (rt->part == NULL)
		return -1;
	role->part = json_root(rt->part);
	role->title = json_string(json_member(role->part, "title"), NULL);
	begin_log(role->part);
	rt->conf = conf_part_read(json_member(role->part, "conf"), err);
	if (rt->conf == NULL)
		return -1;
	role->conf = role->limits = rt->conf;
	rt->metrics = metrics_map(ROLE_METRICS_FD, err);
	if (rt->metrics == NULL)
		return -1;
	role->metrics = rt->metrics;
	if (json_int(json_member(role->part, "slot"), &slot) && slot >= 0)
		metrics_use(metrics_slot_at(rt->metrics, (size_t)slot));
	if (role->def->plugins && load_plugins(role, err) != 0)
		return -1;
	return 0;
}

static int run(struct runtime *rt, struct error *err)
{
	struct role *role = &rt->role;

	role->loop = loop_new();
	rt->term = loop_signal_new(role->loop, SIGTERM, on_signal, rt);
	rt->interrupt = loop_signal_new(role->loop, SIGINT, on_signal, rt);
	rt->channel = loop_fd_new(role->loop, ROLE_CHANNEL_FD, on_channel, rt);
	rt->sampler = loop_timer_new(role->loop, on_sample, rt);
	loop_timer_start(rt->sampler, 0, 0);
	if (role->def->start(role, err) != 0)
		return -1;
	role_send(role, "{\"ready\":true}");
	loop_fd_watch(rt->channel, LOOP_READ);
	loop_run(role->loop);
	role->def->stop(role);
	loop_timer_free(&rt->sampler);
	loop_fd_free(&rt->channel);
	loop_signal_free(&rt->interrupt);
	loop_signal_free(&rt->term);
	loop_free(&role->loop);
	return 0;
}

/* Ends with the supervisor, whatever state this process is in. */
static void follow_parent(void)
{
	pid_t parent = getppid();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

/*
 * What a group of tasks or a batch took, the next one takes again: not given
 * back and faulted in anew each time, but when there is no next one (on_sample).
 */
static void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

int role_main(const struct role_def *def)
{
	static struct runtime rt;
	struct error err = { .code = ERR_NONE };

	follow_parent();
	keep_memory();
	signal(SIGPIPE, SIG_IGN);
	/* For the supervisor, also when somebody sends it to every sluiced there is. */
	signal(SIGHUP, SIG_IGN);
	log_init(STDERR_FILENO, def->name, LOG_LEVEL_INFO);
	rt.role.def = def;
	rt.role.arena = arena_new();
	if (attach(&rt, &err) != 0 || run(&rt, &err) != 0) {
		struct buf reason;
		struct jwrite w;

		log_error("cannot start: %s", err.text);
		buf_init(&reason);
		jwrite_init(&w, &reason);
		jwrite_object(&w, NULL);
		jwrite_string(&w, "failed", err.text);
		jwrite_end(&w);
		role_send(&rt.role, reason.data);
		_exit(1);
	}
	plugin_set_free(&rt.role.plugins);
	conf_free(&rt.limits);
	conf_free(&rt.conf);
	json_doc_free(&rt.part);
	metrics_free(&rt.metrics);
	arena_free(&rt.role.arena);
	return rt.status;
}
