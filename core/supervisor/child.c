/* SPDX-License-Identifier: Apache-2.0 */
/* One role instance: start it, hear from it, drain it, write its obituary, start it again. Supervisor only. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "role/channel.h"
#include "role/role.h"
#include "supervisor/supervisor.h"

#define OBITUARY_TASKS 20
#define STEADY_MS 60000		/* who lived that long starts again without delay */

static const char *const state_names[] = {
	[CHILD_WAITING] = "waiting", [CHILD_STARTING] = "starting", [CHILD_READY] = "ready",
	[CHILD_DRAINING] = "draining", [CHILD_GONE] = "gone"
};

const char *child_state_name(enum child_state state)
{
	return state_names[state];
}

static void set_state(struct child *child, enum child_state state)
{
	child->state = state;
	child->since_ms = clock_mono_ms();
}

static void on_timer(void *user)
{
	struct child *child = user;

	if (child->state == CHILD_WAITING) {
		child_start(child);
	} else if (child->state == CHILD_DRAINING) {
		log_warning("not drained in time for a changed configuration: killed, its tasks run again later role=\"%s\" pid=%d",
			    child->title, (int)child->pid);
		kill(child->pid, SIGKILL);
	} else if (child->state == CHILD_STARTING) {
		str_format(child->failure, sizeof(child->failure), "not ready within %lld s",
			   (long long)(child->supervisor->conf->ready_timeout_ms / 1000));
		kill(child->pid, SIGKILL);
	}
}

static void forget_names(struct child *child)
{
	for (size_t i = 0; i < child->name_count; i++)
		mem_release(child->names[i]);
	mem_release(child->names);
	mem_release(child->key);
	mem_release(child->title);
}

void child_adopt(struct child *child, const struct planned *planned, const struct part_sums *sums)
{
	forget_names(child);
	child->key = mem_strdup(planned->key);
	child->title = mem_strdup(planned->title);
	child->names = mem_alloc((planned->name_count + 1) * sizeof(*child->names));
	child->name_count = planned->name_count;
	for (size_t i = 0; i < planned->name_count; i++)
		child->names[i] = mem_strdup(planned->names[i]);
	child->sums = *sums;
	backoff_bound(&child->backoff, child->supervisor->conf->restart_first_ms,
		      child->supervisor->conf->restart_cap_ms);
}

struct child *child_new(struct supervisor *supervisor, const struct planned *planned,
			const struct part_sums *sums)
{
	struct child *child = mem_alloc(sizeof(*child));

	child->supervisor = supervisor;
	child->role = planned->role;
	child->channel = -1;
	child->timer = loop_timer_new(supervisor->loop, on_timer, child);
	child_adopt(child, planned, sums);
	set_state(child, CHILD_WAITING);
	return child;
}

static void close_channel(struct child *child)
{
	loop_fd_free(&child->channel_watch);
	if (child->channel >= 0)
		close(child->channel);
	child->channel = -1;
}

void child_free(struct child **child)
{
	if (*child == NULL)
		return;
	close_channel(*child);
	loop_timer_free(&(*child)->timer);
	forget_names(*child);
	mem_free(child);
}

static enum conf_role conf_role_of(const char *role)
{
	return str_eq(role, "worker") ? CONF_FOR_WORKER
	       : str_eq(role, "sink") ? CONF_FOR_SINK
	       : str_eq(role, "relay") ? CONF_FOR_RELAY
				       : CONF_FOR_TIMER;
}

static void add_to_sum(const struct conf_model *part, const struct planned *planned, char out[SHA256_TEXT_SIZE])
{
	struct buf text;

	buf_init(&text);
	for (size_t i = 0; i < planned->name_count; i++)
		buf_printf(&text, "%s\n", planned->names[i]);
	conf_part_json(part, &text);
	sha256_hex(out, text.data, text.len);
	explicit_bzero(text.data, text.len);
	buf_fini(&text);
}

/*
 * Neither title nor slot are in it: one more worker changes the number of all,
 * and is no reason to start any of them afresh.
 */
void child_sums(const struct conf_model *conf, const struct planned *planned, struct part_sums *sums_r)
{
	struct arena *arena = arena_new();
	struct conf_model part;

	conf_part(&part, arena, conf, conf_role_of(planned->role), planned->names, planned->name_count);
	add_to_sum(&part, planned, sums_r->whole);
	conf_part_fixed(&part, arena);
	add_to_sum(&part, planned, sums_r->fixed);
	arena_free(&arena);
}

/* What the role gets to know, no more. */
static void write_part(const struct child *child, struct buf *out)
{
	struct arena *arena = arena_new();
	const char **names = arena_alloc(arena, (child->name_count + 1) * sizeof(*names));
	struct conf_model part;
	struct buf conf;
	struct jwrite w;

	for (size_t i = 0; i < child->name_count; i++)
		names[i] = child->names[i];
	conf_part(&part, arena, child->supervisor->conf, conf_role_of(child->role), names, child->name_count);
	buf_init(&conf);
	conf_part_json(&part, &conf);
	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "title", child->title);
	jwrite_string(&w, "log_level", part.log_level);
	jwrite_uint(&w, "slot", child->slot_index);
	jwrite_array(&w, str_eq(child->role, "sink") ? "sinks" : "flows");
	for (size_t i = 0; i < child->name_count; i++)
		jwrite_string(&w, NULL, child->names[i]);
	jwrite_end(&w);
	jwrite_raw(&w, "conf", conf.data, conf.len);
	jwrite_end(&w);
	explicit_bzero(conf.data, conf.len);
	buf_fini(&conf);
	arena_free(&arena);
}

/* The part in memory that nobody can change any more. */
static int sealed_part(const struct child *child, struct error *err)
{
	struct buf part;
	int fd = memfd_create("sluice-part", MFD_CLOEXEC | MFD_ALLOW_SEALING), status;

	if (fd < 0)
		return error_errno(err, "memfd_create");
	buf_init(&part);
	write_part(child, &part);
	status = file_write_all(fd, part.data, part.len);
	explicit_bzero(part.data, part.len);
	if (status != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
		error_errno(err, "writing the role's configuration");
		close(fd);
		fd = -1;
	}
	buf_fini(&part);
	return fd;
}

/* In the child, between fork and exec: only calls that are safe there. */
static void become_role(const struct child *child, int channel, int part, int metrics)
{
	char title[128];
	sigset_t none;
	/* Out of the way of 3, 4 and 5 first, so that no dup2 overwrites one that is still needed. */
	int fds[3] = { fcntl(channel, F_DUPFD, 16), fcntl(part, F_DUPFD, 16), fcntl(metrics, F_DUPFD, 16) };

	/* A terminal's interrupt is for the supervisor, which drains the roles in their order. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(fds[0], ROLE_CHANNEL_FD) < 0 || dup2(fds[1], ROLE_PART_FD) < 0 || dup2(fds[2], ROLE_METRICS_FD) < 0)
		_exit(126);
	close_range(6, ~0U, 0);
	str_format(title, sizeof(title), "sluiced: %s", child->title);
	execl(child->supervisor->start->program, title, "-x", child->role, (char *)NULL);
	_exit(127);
}

static void on_message(struct child *child, const char *text, size_t len)
{
	struct error err;
	struct json_doc *doc = json_parse(text, len, &err);
	const struct json *message = doc != NULL ? json_root(doc) : NULL;
	const char *failure = json_string(json_member(message, "failed"), NULL);

	if (json_member(message, "ready") != NULL) {
		/* One that was told to drain before it was ready drains. */
		if (child->state != CHILD_STARTING)
			goto out;
		loop_timer_stop(child->timer);
		set_state(child, CHILD_READY);
		log_debug("ready role=\"%s\" pid=%d", child->title, (int)child->pid);
		supervisor_child_changed(child->supervisor);
	} else if (failure != NULL) {
		str_format(child->failure, sizeof(child->failure), "%s", failure);
	} else if (json_member(message, "nudge") != NULL) {
		supervisor_nudge(child->supervisor, text);
	} else if (json_member(message, "sources") != NULL) {
		supervisor_sources(child->supervisor, text);
	} else {
		log_warning("message not understood role=\"%s\"", child->title);
	}
out:
	json_doc_free(&doc);
}

static void on_channel(void *user, int fd, unsigned int events)
{
	static char text[CHANNEL_MAX + 1];
	struct child *child = user;
	int attached, len;

	(void)events;
	while (child->channel == fd && (len = channel_receive(fd, text, &attached)) != 0) {
		if (attached >= 0)
			close(attached);
		if (len < 0) {
			/* Its end is seen by SIGCHLD; nothing more comes from here. */
			loop_fd_watch(child->channel_watch, 0);
			return;
		}
		on_message(child, text, (size_t)len);
	}
}

static int start(struct child *child, struct error *err)
{
	struct supervisor *supervisor = child->supervisor;
	int pair[2] = { -1, -1 }, part = -1, result = -1;

	child->slot = metrics_slot_take(supervisor->metrics, child->title, &child->slot_index);
	if (child->slot == NULL) {
		error_set(err, ERR_LIMIT, "more than %d processes", METRICS_SLOTS);
		goto out;
	}
	part = sealed_part(child, err);
	if (part < 0)
		goto out;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
		error_errno(err, "socketpair");
		goto out;
	}
	child->pid = fork();
	if (child->pid == 0)
		become_role(child, pair[1], part, metrics_fd(supervisor->metrics));
	if (child->pid < 0) {
		error_errno(err, "fork");
		goto out;
	}
	child->channel = pair[0];
	pair[0] = -1;
	result = 0;
out:
	if (pair[0] >= 0)
		close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	if (part >= 0)
		close(part);
	if (result != 0 && child->slot != NULL) {
		metrics_slot_fold(supervisor->metrics, child->slot);
		child->slot = NULL;
	}
	return result;
}

void child_start(struct child *child)
{
	struct error err;

	child->failure[0] = '\0';
	if (start(child, &err) != 0) {
		int64_t delay = backoff_next(&child->backoff);

		child->pid = 0;
		log_error("cannot start role=\"%s\" error=\"%s\" again_in_ms=%lld", child->title, err.text,
			  (long long)delay);
		loop_timer_start(child->timer, delay, 0);
		return;
	}
	metrics_slot_set_pid(child->slot, child->pid);
	child->channel_watch = loop_fd_new(child->supervisor->loop, child->channel, on_channel, child);
	loop_fd_watch(child->channel_watch, LOOP_READ);
	set_state(child, CHILD_STARTING);
	loop_timer_start(child->timer, child->supervisor->conf->ready_timeout_ms, 0);
}

int child_send(struct child *child, const char *json, int fd)
{
	struct error err;

	if (child->channel < 0)
		return -1;
	if (channel_send(child->channel, json, strlen(json), fd, &err) == 0)
		return 0;
	log_warning("message lost role=\"%s\" error=\"%s\"", child->title, err.text);
	return -1;
}

int child_tell(struct child *child)
{
	struct error err;
	int part, status;

	if (child->channel < 0)
		return 0;
	part = sealed_part(child, &err);
	if (part < 0) {
		log_error("role=\"%s\" error=\"%s\"", child->title, err.text);
		return -1;
	}
	status = child_send(child, "{\"part\":true}", part);
	close(part);
	return status;
}

void child_drain(struct child *child)
{
	child->again = false;
	if (child->state == CHILD_WAITING) {
		loop_timer_stop(child->timer);
		set_state(child, CHILD_GONE);
	} else if (child->state == CHILD_STARTING || child->state == CHILD_READY) {
		loop_timer_stop(child->timer);
		set_state(child, CHILD_DRAINING);
		if (child_send(child, "{\"drain\":true}", -1) != 0)
			kill(child->pid, SIGTERM);
	}
}

void child_leave(struct child *child, bool again, int64_t drain_ms)
{
	bool told = child->state == CHILD_DRAINING;

	if (child->state == CHILD_WAITING && again) {
		/* What made it fail may have been changed. */
		loop_timer_stop(child->timer);
		backoff_reset(&child->backoff);
		child_start(child);
		return;
	}
	child_drain(child);
	child->again = again;
	if (child->state == CHILD_DRAINING && !told)
		loop_timer_start(child->timer, drain_ms, 0);
}

static void describe_end(int status, char *out, size_t size)
{
	if (WIFEXITED(status))
		str_format(out, size, "status=%d", WEXITSTATUS(status));
	else if (WTERMSIG(status) == SIGALRM)
		str_format(out, size, "signal=%d (a plugin's callback ran longer than 10 s)", WTERMSIG(status));
	else
		str_format(out, size, "signal=%d (%s) core=%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
			   WCOREDUMP(status) ? "yes" : "no");
}

/* What it died of and which tasks it leaves; they run again when their leases expire. */
static void obituary(const struct child *child, int status, int64_t delay_ms)
{
	int64_t ids[OBITUARY_TASKS];
	size_t running = metrics_slot_tasks(child->slot, ids, OBITUARY_TASKS);
	char end[160];
	struct buf tasks;

	buf_init(&tasks);
	for (size_t i = 0; i < running && i < OBITUARY_TASKS; i++)
		buf_printf(&tasks, "%s%lld", i > 0 ? "," : "", (long long)ids[i]);
	if (running > OBITUARY_TASKS)
		buf_printf(&tasks, ",… (%zu in all)", running);
	describe_end(status, end, sizeof(end));
	log_error("died role=\"%s\" pid=%d %s uptime_s=%lld tasks=[%s]%s%s%s again_in_ms=%lld", child->title,
		  (int)child->pid, end, (long long)((clock_mono_ms() - child->since_ms) / 1000),
		  tasks.len > 0 ? tasks.data : "", child->failure[0] != '\0' ? " reason=\"" : "", child->failure,
		  child->failure[0] != '\0' ? "\"" : "", (long long)delay_ms);
	buf_fini(&tasks);
}

bool child_ended(struct child *child, int status)
{
	int64_t task;
	/* Who leaves tasks behind has not left well, whatever its status: a plugin may call exit. */
	bool told, wanted, clean = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
			     metrics_slot_tasks(child->slot, &task, 1) == 0;
	int64_t uptime, delay = 0;

	/* Why it left may still wait in the channel. */
	on_channel(child, child->channel, LOOP_READ);
	told = child->state == CHILD_DRAINING;
	wanted = !told || child->again;
	uptime = child->state == CHILD_READY ? clock_mono_ms() - child->since_ms : 0;
	if (uptime >= STEADY_MS || told)
		backoff_reset(&child->backoff);
	/* Who leaves well right after its start, again and again, must not be started without a pause. */
	if (!told && (!clean || uptime < child->supervisor->conf->restart_first_ms))
		delay = backoff_next(&child->backoff);
	if (!clean)
		obituary(child, status, wanted ? delay : -1);
	else if (!told)
		log_info("left to be started afresh role=\"%s\" pid=%d again_in_ms=%lld", child->title, (int)child->pid,
			 (long long)delay);
	loop_timer_stop(child->timer);
	close_channel(child);
	for (int id = 0; id < METRIC_COUNT; id++)
		if (metric_defs[id].type == METRIC_COUNTER)
			child->ended[id] += metrics_slot_get(child->slot, (enum metric_id)id);
	metrics_slot_fold(child->supervisor->metrics, child->slot);
	child->slot = NULL;
	child->pid = 0;
	set_state(child, wanted ? CHILD_WAITING : CHILD_GONE);
	child->again = false;
	if (wanted) {
		child->restarts += !told;
		loop_timer_start(child->timer, delay, 0);
	}
	return wanted;
}
