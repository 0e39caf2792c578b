/* SPDX-License-Identifier: Apache-2.0 */
/* The probe, both sides: the parent in the supervisor and sluicectl, the child a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "plugin/plugin.h"
#include "plugin/probe.h"

#define PROBE_ANSWER_MAX (4u * 1024 * 1024)
#define PROBE_OK '+'		/* first byte of an answer: a descriptor follows */
#define PROBE_REFUSED '-'	/* a refusal's text follows */
#define PROBE_NO_EXEC '!'	/* written by the forked child: the program could not be run */

int probe_main(const char *file)
{
	const struct rlimit no_core = { 0, 0 };
	struct plugin_set *set = plugin_set_new();
	const struct plugin *plugin;
	struct error err = { .code = ERR_NONE };
	struct buf answer;
	int status;

	setrlimit(RLIMIT_CORE, &no_core);
	buf_init(&answer);
	if (plugin_load(set, file, NULL, &plugin, &err) == 0) {
		buf_addc(&answer, PROBE_OK);
		plugin_print(plugin, &answer);
	} else {
		buf_addc(&answer, PROBE_REFUSED);
		buf_adds(&answer, err.text);
	}
	buf_addc(&answer, '\n');
	status = file_write_all(PROBE_FD, answer.data, answer.len) == 0 ? 0 : 1;
	buf_fini(&answer);
	plugin_set_free(&set);
	/* Not exit: destructors of a plugin that was only looked at are not to run. */
	_exit(status);
}

static pid_t probe_start(const char *program, const char *file, int *fd_r, struct error *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		error_errno(err, "pipe");
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0 &&
		    (fds[1] == PROBE_FD ? fcntl(PROBE_FD, F_SETFD, 0) : dup2(fds[1], PROBE_FD)) >= 0)
			execl(program, "sluiced", "-x", "probe", file, (char *)NULL);
		file_write_all(PROBE_FD, (const char[]){ PROBE_NO_EXEC, '\n' }, 2);
		_exit(127);
	}
	close(fds[1]);
	if (pid < 0) {
		error_errno(err, "fork");
		close(fds[0]);
		return -1;
	}
	*fd_r = fds[0];
	return pid;
}

/* Reads until the child closes, the deadline or the bound. Returns false when time ran out. */
static bool probe_read(int fd, int64_t timeout_ms, struct buf *answer)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;

	while (answer->len < PROBE_ANSWER_MAX) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN, .revents = 0 };
		int64_t left = deadline - clock_mono_ms();
		ssize_t n;

		if (left <= 0)
			return false;
		if (poll(&pfd, 1, (int)left) <= 0)
			continue;
		n = read(fd, buf_reserve(answer, 65536), 65536);
		if (n > 0)
			answer->len += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return true;
	}
	return true;
}

static int probe_verdict(const char *program, const char *file, int status, bool in_time, int64_t timeout_ms,
			 struct buf *answer, struct buf *out, struct error *err)
{
	if (!in_time)
		return error_set(err, ERR_INPUT,
				 "%s: plugin refused: did not answer within %lld s (does its constructor wait?)", file,
				 (long long)(timeout_ms / 1000));
	if (answer->len >= PROBE_ANSWER_MAX)
		return error_set(err, ERR_INPUT, "%s: plugin refused: its descriptor takes more than %u MiB", file,
				 PROBE_ANSWER_MAX / 1024 / 1024);
	if (WIFSIGNALED(status))
		return error_set(err, ERR_INPUT, "%s: plugin refused: crashed while being loaded (signal %d, %s)", file,
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (answer->len < 2 || answer->data[answer->len - 1] != '\n')
		return error_set(err, ERR_INPUT, "%s: plugin refused: exited with status %d while being loaded", file,
				 WEXITSTATUS(status));
	if (answer->data[0] == PROBE_NO_EXEC)
		return error_set(err, ERR_IO, "%s: cannot be run to look at plugins", program);
	answer->data[--answer->len] = '\0';
	if (answer->data[0] != PROBE_OK)
		return error_set(err, ERR_INPUT, "%s", answer->data + 1);
	buf_add(out, answer->data + 1, answer->len - 1);
	return 0;
}

int probe_run(const char *program, const char *file, int64_t timeout_ms, struct buf *out, struct error *err)
{
	struct buf answer;
	bool in_time;
	int fd, status = 0, result;
	pid_t pid = probe_start(program, file, &fd, err);

	if (pid < 0)
		return -1;
	buf_init(&answer);
	in_time = probe_read(fd, timeout_ms, &answer);
	close(fd);
	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	result = probe_verdict(program, file, status, in_time, timeout_ms, &answer, out, err);
	buf_fini(&answer);
	return result;
}
