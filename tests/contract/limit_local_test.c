/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is local:'s alone: processes that are killed or stopped with the file in
 * their hands, restarts, files that are damaged or somebody else's, no room.
 */
#include "limit_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "limit/local_file.h"
#include "limit_model.h"

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define SLOTS 8192
#define CHILDREN 4
#define KILLS 60
#define GRANTS_MAX 100000

static const char *path_of(const struct fixture *fx)
{
	static char path[100];

	str_format(path, sizeof(path), "%s/limits", fx->state);
	return path;
}

/* Real time from now on. */
static void use_clock(struct fixture *fx)
{
	fx->options.now_us = NULL;
	fixture_reopen(fx);
}

/* Where in the file those bytes are, the n-th time; fails when they are not there. */
static off_t find_in_file(const struct fixture *fx, const char *text, int nth)
{
	int fd = open(path_of(fx), O_RDONLY);
	struct stat st;
	const char *bytes, *at;
	off_t offset;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	at = bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(bytes != MAP_FAILED);
	for (at--; nth > 0; nth--) {
		at++;
		at = memmem(at, (size_t)(bytes + st.st_size - at), text, strlen(text));
		assert_non_null(at);
	}
	offset = at - bytes;
	munmap((void *)(uintptr_t)bytes, (size_t)st.st_size);
	close(fd);
	return offset;
}

static void change_byte(const struct fixture *fx, off_t offset)
{
	int fd = open(path_of(fx), O_RDWR);
	char byte;

	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

static void assert_used_up(struct fixture *fx)
{
	struct limit_answer answer = fixture_ask(fx, "a", "5/20s", 1);

	assert_int_equal(answer.verdict, LIMIT_WAIT);
	assert_in_range(answer.wait_ms, 1000, 21000);
}

static void counters_outlive_a_restart(void **state)
{
	struct fixture *fx = *state;

	use_clock(fx);
	assert_answer(fixture_ask(fx, "a", "5/20s,20000/day", 5), LIMIT_GRANTED, 0);
	fixture_reopen(fx);
	assert_used_up(fx);
	assert_int_equal(fixture_ask(fx, "a", "6/day", 2).verdict, LIMIT_WAIT);
	assert_answer(fixture_ask(fx, "b", "5/20s", 5), LIMIT_GRANTED, 0);
}

static void time_goes_on_over_a_reboot(void **state)
{
	struct fixture *fx = *state;
	struct limit_answer answer;
	char boot[64] = "";
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
	int64_t before;

	if (file == NULL || fgets(boot, 37, file) == NULL)
		skip();
	fclose(file);
	use_clock(fx);
	answer = fixture_ask(fx, "a", "5/20s", 5);
	assert_int_equal(answer.verdict, LIMIT_GRANTED);
	before = answer.grant.taken_us;
	limit_close(&fx->limiter);
	change_byte(fx, find_in_file(fx, boot, 1));	/* written in another boot */
	fx->limiter = fixture_open(fx);
	assert_used_up(fx);
	answer = fixture_ask(fx, "b", "5/20s", 5);
	assert_true(answer.grant.taken_us >= before);
	assert_true(answer.grant.taken_us - before < 3600 * SECOND);
}

static void a_damaged_file_starts_with_nothing_left(void **state)
{
	struct fixture *fx = *state;
	FILE *file;

	use_clock(fx);
	assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_GRANTED, 0);
	limit_close(&fx->limiter);
	change_byte(fx, find_in_file(fx, fx->prefix, 1));
	fx->limiter = fixture_open(fx);
	assert_used_up(fx);
	limit_close(&fx->limiter);
	change_byte(fx, find_in_file(fx, "SLlimit", 1));
	fx->limiter = fixture_open(fx);
	assert_used_up(fx);
	limit_close(&fx->limiter);
	assert_int_equal(truncate(path_of(fx), 5000), 0);
	fx->limiter = fixture_open(fx);
	assert_used_up(fx);
	limit_close(&fx->limiter);
	file = fopen(path_of(fx), "w");
	fputs("something else\n", file);
	fclose(file);
	fx->limiter = fixture_open(fx);
	assert_used_up(fx);
	/* Of another size. */
	fx->options.slots = 100;
	fixture_reopen(fx);
	assert_used_up(fx);
	/* Gone altogether: as at the very beginning. */
	limit_close(&fx->limiter);
	assert_int_equal(unlink(path_of(fx)), 0);
	fx->limiter = fixture_open(fx);
	assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_GRANTED, 0);
}

static void what_is_no_file_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct error err;
	char other[110];

	/* Somebody has it with another number of slots. */
	fx->options.slots = 64;
	assert_null(limit_open(fx->loop, "local:", &fx->options, &err));
	assert_non_null(strstr(err.text, "another size"));
	limit_close(&fx->limiter);
	assert_int_equal(unlink(path_of(fx)), 0);
	str_format(other, sizeof(other), "%s.other", path_of(fx));
	assert_int_equal(symlink(other, path_of(fx)), 0);
	assert_null(limit_open(fx->loop, "local:", &fx->options, &err));
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(unlink(path_of(fx)), 0);
	assert_int_equal(mkfifo(path_of(fx), 0600), 0);
	assert_null(limit_open(fx->loop, "local:", &fx->options, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(unlink(path_of(fx)), 0);
	fx->limiter = fixture_open(fx);
}

static void no_room_is_an_answer(void **state)
{
	struct fixture *fx = *state;
	static const char *const names[] = {"a", "b", "c", "d"};
	struct limit_answer answer;
	struct limit_stats stats;

	limit_close(&fx->limiter);
	assert_int_equal(unlink(path_of(fx)), 0);
	fx->options.slots = 4;
	fx->limiter = fixture_open(fx);
	for (int i = 0; i < 4; i++) {
		assert_answer(fixture_ask(fx, names[i], "2/20s", 1), LIMIT_GRANTED, 0);
		fx->now_us += SECOND;
	}
	answer = fixture_ask(fx, "e", "2/20s", 1);
	assert_answer(answer, LIMIT_FULL, 17000);
	/* With one that has its place: nothing is taken of it. */
	answer = fixture_ask_two(fx, "a", "2/20s", "e", "2/20s");
	assert_answer(answer, LIMIT_FULL, 18000);	/* a was about to stay longer */
	assert_int_equal(answer.slowest, 1);
	assert_answer(fixture_ask(fx, "a", "2/20s", 1), LIMIT_GRANTED, 0);
	limit_park(fx->limiter, fixture_key(fx, "f"), 1000);
	/* What says nothing needs no room. */
	assert_answer(fixture_ask(fx, "g", NULL, 1), LIMIT_GRANTED, 0);
	limit_stats(fx->limiter, &stats);
	assert_int_equal(stats.full, 2);
	assert_int_equal(stats.dropped, 1);
	fx->now_us += 18 * SECOND;
	assert_answer(fixture_ask(fx, "e", "2/20s", 2), LIMIT_GRANTED, 0);
	assert_answer(fixture_ask(fx, "c", "2/20s", 1), LIMIT_GRANTED, 0);
}

/* --- killed and stopped processes --- */

static struct limit_file *open_file(struct fixture *fx)
{
	struct error err;
	struct limit_file *file = limit_file_open(path_of(fx), SLOTS, &err);

	if (file == NULL)
		fail_msg("%s", err.text);
	return file;
}

/* In a process of its own: writes so many of the keys as if it took them, then stands there or dies. */
static pid_t interrupted(struct fixture *fx, int writes, int signal_number)
{
	static const char *const names[] = {"a", "b"};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct limit_file *file = open_file(fx);
		int64_t wait_us;

		if (limit_file_lock(file) < 0)
			_exit(1);
		for (int i = 0; i < writes; i++) {
			struct limit_record record = {.parked_us = fx->now_us + 1000 * SECOND};

			limit_file_write(file, fixture_key(fx, names[i]), &record, fx->now_us, &wait_us);
		}
		raise(signal_number);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(signal_number == SIGSTOP ? WIFSTOPPED(status) : WIFSIGNALED(status));
	return pid;
}

static void killed_in_the_middle_is_taken_back(void **state)
{
	struct fixture *fx = *state;
	struct limit_stats stats;

	for (int writes = 0; writes <= 2; writes++) {
		interrupted(fx, writes, SIGKILL);
		assert_answer(fixture_ask_two(fx, "a", "5/20s", "b", "5/20s"), LIMIT_GRANTED, 0);
		limit_stats(fx->limiter, &stats);
		assert_int_equal(stats.repaired, (uint64_t)writes + 1);
	}
	/* Nobody was left to see it. */
	limit_close(&fx->limiter);
	interrupted(fx, 2, SIGKILL);
	fx->limiter = fixture_open(fx);
	assert_answer(fixture_ask_two(fx, "a", "5/20s", "b", "5/20s"), LIMIT_GRANTED, 0);
	assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_GRANTED, 0);
	assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_WAIT, 21000);
}

static void stopped_in_the_middle_holds_nobody_up(void **state)
{
	struct fixture *fx = *state;
	pid_t pid = interrupted(fx, 1, SIGSTOP);

	for (int i = 0; i < 100; i++)
		assert_int_equal(fixture_ask(fx, "a", "5/20s", 1).verdict, LIMIT_AWAY);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_answer(fixture_ask(fx, "a", "5/20s", 1), LIMIT_GRANTED, 0);
}

struct shared {
	_Atomic uint32_t count;
	struct {
		int64_t time_us;
		int64_t source, handle;		/* cost; which handle */
	} grants[GRANTS_MAX];
};

/* Takes as fast as it can; written down after the grant: a kill in between only makes the list shorter. */
static void child(struct fixture *fx, struct shared *shared, uint64_t seed)
{
	for (fixture_reopen(fx);;) {
		char handle[8];
		int64_t which = model_below(&seed, 4);
		const struct limit_answer answer =
			(str_format(handle, sizeof(handle), "h%d", (int)which),
			 fixture_ask_two(fx, "source", "40/200ms,3000/day", handle, "15/150ms"));
		uint32_t at;

		if (answer.verdict != LIMIT_GRANTED)
			continue;
		at = atomic_fetch_add(&shared->count, 1);
		if (at >= GRANTS_MAX)
			_exit(0);
		shared->grants[at].source = 1;
		shared->grants[at].handle = which;
		shared->grants[at].time_us = answer.grant.taken_us;
	}
}

static int by_time(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

static void assert_promise(const struct shared *shared, int64_t handle, size_t most, int64_t period_us)
{
	static int64_t times[GRANTS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < shared->count && i < GRANTS_MAX; i++)
		if (shared->grants[i].time_us > 0 && (handle < 0 || shared->grants[i].handle == handle))
			times[count++] = shared->grants[i].time_us;
	qsort(times, count, sizeof(times[0]), by_time);
	assert_true(count > most);
	for (size_t i = most; i < count; i++)
		if (times[i] - times[i - most] < period_us)
			fail_msg("%zu and one in %lld us", most, (long long)(times[i] - times[i - most]));
}

static void kills_at_any_moment_break_nothing(void **state)
{
	struct fixture *fx = *state;
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[CHILDREN] = {0};
	uint64_t seed = (uint64_t)getpid();

	assert_true(shared != MAP_FAILED);
	use_clock(fx);
	for (int i = 0; i < KILLS; i++) {
		size_t which = (size_t)i % CHILDREN;

		if (pids[which] != 0) {
			kill(pids[which], SIGKILL);
			assert_int_equal(waitpid(pids[which], NULL, 0), pids[which]);
		}
		pids[which] = fork();
		if (pids[which] == 0)
			child(fx, shared, seed + (uint64_t)i);
		usleep((useconds_t)model_below(&seed, 20000));
	}
	/* On a busy machine the children may not have got far yet. */
	for (int64_t end = clock_mono_ms() + 60000; shared->count < 150 && clock_mono_ms() < end;)
		usleep(10000);
	for (size_t i = 0; i < CHILDREN; i++) {
		kill(pids[i], SIGKILL);
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
	}
	assert_promise(shared, -1, 40, 200000);
	for (int64_t handle = 0; handle < 4; handle++)
		assert_promise(shared, handle, 15, 150000);
	munmap(shared, sizeof(*shared));
	/* And all counts are of the day. */
	assert_int_equal(fixture_ask(fx, "source", "1/day", 1).verdict, LIMIT_WAIT);
	fixture_reopen(fx);
	assert_int_equal(fixture_ask(fx, "source", "1/day", 1).verdict, LIMIT_WAIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(counters_outlive_a_restart),
		CASE(time_goes_on_over_a_reboot),
		CASE(a_damaged_file_starts_with_nothing_left),
		CASE(what_is_no_file_is_refused),
		CASE(no_room_is_an_answer),
		CASE(killed_in_the_middle_is_taken_back),
		CASE(stopped_in_the_middle_holds_nobody_up),
		CASE(kills_at_any_moment_break_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
