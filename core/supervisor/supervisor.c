/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's life: lock the state directory, start the children, serve signals, drain, leave. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/model.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "supervisor/supervisor.h"

static const int handled[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };

static struct child *find_pid(struct supervisor *supervisor, pid_t pid)
{
	for (size_t i = 0; i < supervisor->child_count; i++)
		if (supervisor->children[i]->pid == pid)
			return supervisor->children[i];
	return NULL;
}

static void reap(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *child = find_pid(supervisor, pid);

		if (child != NULL)
			child_ended(child, status);
		else
			reload_ended(supervisor, pid, status);
	}
	/* While all of it ends, who is gone is still shown. */
	if (!supervisor->draining)
		supervisor_sweep(supervisor);
	supervisor_child_changed(supervisor);
}

void supervisor_add(struct supervisor *supervisor, struct child *child)
{
	supervisor->children = mem_realloc(supervisor->children,
					   (supervisor->child_count + 1) * sizeof(*supervisor->children));
	supervisor->children[supervisor->child_count++] = child;
}

void supervisor_sweep(struct supervisor *supervisor)
{
	size_t kept = 0;

	for (size_t i = 0; i < supervisor->child_count; i++) {
		if (supervisor->children[i]->state == CHILD_GONE)
			child_free(&supervisor->children[i]);
		else
			supervisor->children[kept++] = supervisor->children[i];
	}
	supervisor->child_count = kept;
}

static void kill_all(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->child_count; i++)
		if (supervisor->children[i]->pid > 0)
			kill(supervisor->children[i]->pid, SIGKILL);
}

static void on_drain_timeout(void *user)
{
	struct supervisor *supervisor = user;

	log_warning("not drained within %lld s: killing what is left; its tasks run again later",
		    (long long)(supervisor->conf->drain_ms / 1000));
	kill_all(supervisor);
}

/* Workers first: what they still commit can then be taken by the relays, and that by the sinks. */
static int drain_rank(const struct child *child)
{
	return str_eq(child->role, "sink") ? 2 : str_eq(child->role, "relay") ? 1 : 0;
}

/* The rank whose turn it is, INT_MAX once every child is gone. */
static int lowest_rank(const struct supervisor *supervisor)
{
	int rank = INT_MAX;

	for (size_t i = 0; i < supervisor->child_count; i++)
		if (supervisor->children[i]->state != CHILD_GONE && drain_rank(supervisor->children[i]) < rank)
			rank = drain_rank(supervisor->children[i]);
	return rank;
}

static void drain_step(struct supervisor *supervisor)
{
	int rank = lowest_rank(supervisor), told;

	/* Who only waits to be started again is gone at once, so the next rank's turn may come at once too. */
	do {
		told = rank;
		for (size_t i = 0; i < supervisor->child_count; i++)
			if (drain_rank(supervisor->children[i]) <= rank)
				child_drain(supervisor->children[i]);
		rank = lowest_rank(supervisor);
	} while (rank != told);
	if (rank == INT_MAX)
		loop_stop(supervisor->loop);
}

static void begin_drain(struct supervisor *supervisor)
{
	if (supervisor->draining) {
		log_warning("told twice: stopping at once");
		kill_all(supervisor);
		return;
	}
	log_info("draining");
	supervisor->draining = true;
	loop_timer_start(supervisor->drain_timer, supervisor->conf->drain_ms, 0);
	drain_step(supervisor);
}

void supervisor_child_changed(struct supervisor *supervisor)
{
	if (supervisor->draining) {
		drain_step(supervisor);
		return;
	}
	if (supervisor->all_ready)
		return;
	for (size_t i = 0; i < supervisor->child_count; i++)
		if (supervisor->children[i]->state != CHILD_READY)
			return;
	supervisor->all_ready = true;
	log_info("ready processes=%zu start_ms=%lld", supervisor->child_count,
		 (long long)(clock_mono_ms() - supervisor->changed_ms));
}

static void on_signal(void *user, int signum)
{
	struct supervisor *supervisor = user;
	struct buf status;

	switch (signum) {
	case SIGCHLD:
		reap(supervisor);
		break;
	case SIGTERM:
	case SIGINT:
		begin_drain(supervisor);
		break;
	case SIGUSR2:
		buf_init(&status);
		supervisor_status(supervisor, &status);
		log_info("state %s", status.data);
		buf_fini(&status);
		break;
	case SIGHUP:
		reload_now(supervisor);
		break;
	default:
		log_info("signal %d (%s) has no effect", signum, strsignal(signum));
		break;
	}
}

static int open_state(const char *state, struct error *err)
{
	char path[4096], holder[32] = "";
	ssize_t n;
	int fd;

	if (mkdir(state, 0700) != 0 && errno != EEXIST)
		return error_errno(err, "state directory %s", state);
	if (!str_format(path, sizeof(path), "%s/lock", state))
		return error_set(err, ERR_INPUT, "the state directory's path is too long: %s", state);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		n = pread(fd, holder, sizeof(holder) - 1, 0);
		close(fd);
		return error_set(err, ERR_BUSY,
				 "state directory %s is in use by sluiced with pid %.*s: stop it, or choose another (--state)",
				 state, n > 0 ? (int)strcspn(holder, "\n") : 1, n > 0 ? holder : "?");
	}
	str_format(holder, sizeof(holder), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, strlen(holder), 0) < 0) {
		error_errno(err, "%s", path);
		close(fd);
		return -1;
	}
	return fd;
}

static void start_children(struct supervisor *supervisor)
{
	struct plan plan;

	plan_make(&plan, supervisor->conf);
	for (size_t i = 0; i < plan.count; i++) {
		struct part_sums sums;

		child_sums(supervisor->conf, &plan.list[i], &sums);
		supervisor_add(supervisor, child_new(supervisor, &plan.list[i], &sums));
	}
	plan_fini(&plan);
	for (size_t i = 0; i < supervisor->child_count; i++)
		child_start(supervisor->children[i]);
}

static int start_all(struct supervisor *supervisor, struct error *err)
{
	supervisor->metrics = metrics_create(err);
	if (supervisor->metrics == NULL)
		return -1;
	supervisor->control = control_new(supervisor, err);
	if (supervisor->control == NULL)
		return -1;
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		supervisor->signals[i] = loop_signal_new(supervisor->loop, handled[i], on_signal, supervisor);
	supervisor->drain_timer = loop_timer_new(supervisor->loop, on_drain_timeout, supervisor);
	supervisor->reload = reload_new(supervisor);
	start_children(supervisor);
	return 0;
}

static void stop_all(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->child_count; i++)
		child_free(&supervisor->children[i]);
	mem_release(supervisor->children);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		loop_signal_free(&supervisor->signals[i]);
	loop_timer_free(&supervisor->drain_timer);
	control_free(&supervisor->control);
	reload_free(&supervisor->reload);
	metrics_free(&supervisor->metrics);
	loop_free(&supervisor->loop);
	conf_free(&supervisor->reloaded);
}

int supervisor_run(const struct conf_model *conf, const struct supervisor_start *start)
{
	struct supervisor supervisor = { .conf = conf, .start = start, .started_ms = clock_mono_ms(),
					 .changed_ms = clock_mono_ms() };
	struct error err = { .code = ERR_NONE };
	int lock = open_state(conf->state, &err);
	int status = 1;

	if (lock < 0) {
		log_error("%s", err.text);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	supervisor.loop = loop_new();
	log_info("starting version=%s config=%s state=%s mode=%s", SLUICE_VERSION, conf->file, conf->state,
		 conf->mode == CONF_SINGLE ? "single" : "processes");
	if (start_all(&supervisor, &err) == 0) {
		loop_run(supervisor.loop);
		log_info("stopped");
		status = 0;
	} else {
		log_error("cannot start: %s", err.text);
	}
	stop_all(&supervisor);
	close(lock);
	return status;
}
