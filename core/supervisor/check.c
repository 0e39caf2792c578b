/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the configuration again, both sides: the parent in the supervisor, the
 * child a process of its own, `sluiced -x check`. It takes its time - each plugin
 * is probed, which is up to ten seconds for one that hangs, lists of schedules
 * are read - and meanwhile the supervisor must hear its roles: one that became
 * ready would else be taken for one that did not. What comes back is the whole
 * model as JSON, as roles get their parts of it, in memory that has no name: it
 * holds secrets. It is written and read by the same version of the program.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "setup/setup.h"
#include "supervisor/supervisor.h"

#define ANSWER_FD 3

/* --- the child --- */

static void on_refused(void *user, const char *reason)
{
	jwrite_string(user, NULL, reason);
}

int check_main(int argc, char **argv)
{
	const struct setup_options options = {
		.file = argv[0], .state = argv[1], .plugins = argc > 2 ? argv[2] : NULL};
	struct buf answer, wrong, conf;
	struct setup setup;
	struct error err;
	struct jwrite w;
	int status;

	buf_init(&answer);
	buf_init(&wrong);
	buf_init(&conf);
	jwrite_init(&w, &answer);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "version", SLUICE_VERSION);
	jwrite_array(&w, "refused");
	status = setup_init(&setup, &options, &err);
	if (status != 0)
		buf_printf(&wrong, "%s\n", err.text);
	else
		status = setup_load(&setup, &options, true, on_refused, &w, &wrong);
	jwrite_end(&w);
	if (status != 0) {
		jwrite_string(&w, "wrong", wrong.data != NULL ? wrong.data : "");
	} else {
		conf_part_json(setup.conf, &conf);
		jwrite_raw(&w, "conf", conf.data, conf.len);
	}
	jwrite_end(&w);
	status = file_write_all(ANSWER_FD, answer.data, answer.len) == 0 ? 0 : 1;
	buf_fini(&conf);
	buf_fini(&wrong);
	buf_fini(&answer);
	setup_fini(&setup);
	return status;
}

/* --- the parent --- */

/* In the child, between fork and exec: only calls that are safe there. */
static void become_check(const struct supervisor_start *start, int answer)
{
	sigset_t none;
	int high = fcntl(answer, F_DUPFD, 16);

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(high, ANSWER_FD) < 0)
		_exit(126);
	close_range(ANSWER_FD + 1, ~0U, 0);
	execl(start->program, "sluiced: check", "-x", "check", start->file, start->state, start->plugins,
	      (char *)NULL);
	_exit(127);
}

pid_t check_start(const struct supervisor_start *start, int *fd_r, struct error *err)
{
	int fd = memfd_create("sluice-check", MFD_CLOEXEC);
	pid_t pid;

	if (fd < 0)
		return error_errno(err, "memfd_create");
	pid = fork();
	if (pid == 0)
		become_check(start, fd);
	if (pid < 0) {
		error_errno(err, "fork");
		close(fd);
		return -1;
	}
	*fd_r = fd;
	return pid;
}

static int describe_status(int status, struct error *err)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return error_set(err, ERR_IO, "it was killed: it may take %d s", CHECK_TIMEOUT_MS / 1000);
	if (WIFSIGNALED(status))
		return error_set(err, ERR_IO, "it crashed (signal %d, %s)", WTERMSIG(status),
				 strsignal(WTERMSIG(status)));
	return error_set(err, ERR_IO, "it left with status %d: can the program be run?", WEXITSTATUS(status));
}

static int read_answer(struct check_answer *answer, int fd, struct error *err)
{
	const struct json *root;

	answer->doc = json_parse_fd(fd, err);
	if (answer->doc == NULL)
		return -1;
	root = json_root(answer->doc);
	if (!str_eq(json_string(json_member(root, "version"), NULL), SLUICE_VERSION))
		return error_set(err, ERR_INPUT, "the program was replaced by version %s: restart the daemon",
				 json_string(json_member(root, "version"), NULL));
	answer->refused = json_member(root, "refused");
	answer->wrong = json_string(json_member(root, "wrong"), NULL);
	if (answer->wrong != NULL)
		return 0;
	answer->conf = conf_part_read(json_member(root, "conf"), err);
	return answer->conf == NULL ? -1 : 0;
}

int check_read(struct check_answer *answer, int fd, int status, struct error *err)
{
	int result;

	*answer = (struct check_answer){.doc = NULL};
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		result = read_answer(answer, fd, err);
	else
		result = describe_status(status, err);
	return result == 0 ? 0 : error_prefix(err, "checking the configuration");
}

void check_fini(struct check_answer *answer)
{
	conf_free(&answer->conf);
	json_doc_free(&answer->doc);
}
