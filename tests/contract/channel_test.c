/* SPDX-License-Identifier: Apache-2.0 */
/* The channel between the supervisor and a role: whole packets, descriptors, a full buffer, a peer that is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "role/channel.h"

struct ends {
	int a, b;
	char *text;	/* CHANNEL_MAX + 1 bytes */
	struct error err;
};

static int set_up(void **state)
{
	struct ends *ends = mem_alloc(sizeof(*ends));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	ends->a = pair[0];
	ends->b = pair[1];
	ends->text = mem_alloc(CHANNEL_MAX + 1);
	*state = ends;
	return 0;
}

static int tear_down(void **state)
{
	struct ends *ends = *state;

	close(ends->a);
	close(ends->b);
	mem_release(ends->text);
	mem_release(ends);
	return 0;
}

static void send_text(struct ends *ends, const char *text, int fd)
{
	assert_int_equal(channel_send(ends->a, text, strlen(text), fd, &ends->err), 0);
}

static void test_packets(void **state)
{
	struct ends *ends = *state;
	int fd = 99;

	assert_int_equal(channel_receive(ends->b, ends->text, &fd), 0);
	assert_int_equal(fd, -1);
	send_text(ends, "{\"ready\":true}", -1);
	send_text(ends, "{\"drain\":true}", -1);
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), 14);
	assert_string_equal(ends->text, "{\"ready\":true}");
	assert_int_equal(fd, -1);
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), 14);
	assert_string_equal(ends->text, "{\"drain\":true}");
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), 0);
}

static void test_descriptor(void **state)
{
	struct ends *ends = *state;
	int pipe_fds[2], fd;
	char byte;

	assert_int_equal(pipe(pipe_fds), 0);
	send_text(ends, "{\"query\":1}", pipe_fds[1]);
	close(pipe_fds[1]);
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), 11);
	assert_true(fd >= 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	/* Ours alone: when it is closed, the reader sees the end. */
	close(fd);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
	close(pipe_fds[0]);
}

static void test_largest(void **state)
{
	struct ends *ends = *state;
	char *big = mem_alloc(CHANNEL_MAX + 1);
	int fd;

	memset(big, 'x', CHANNEL_MAX + 1);
	assert_int_equal(channel_send(ends->a, big, CHANNEL_MAX, -1, &ends->err), 0);
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), CHANNEL_MAX);
	assert_int_equal(ends->text[CHANNEL_MAX], '\0');
	assert_memory_equal(ends->text, big, CHANNEL_MAX);
	assert_int_equal(channel_send(ends->a, big, CHANNEL_MAX + 1, -1, &ends->err), -1);
	assert_int_equal(ends->err.code, ERR_LIMIT);
	assert_string_equal(ends->err.text, "a message of 131073 bytes does not fit the channel");
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), 0);
	mem_release(big);
}

/* Who does not read cannot make the other side wait. */
static void test_full(void **state)
{
	struct ends *ends = *state;
	int fd, sent = 0, received = 0;

	while (channel_send(ends->a, "{\"nudge\":[]}", 12, -1, &ends->err) == 0) {
		sent++;
		assert_in_range(sent, 1, 1000000);
	}
	assert_int_equal(ends->err.code, ERR_BUSY);
	assert_string_equal(ends->err.text, "the other side does not read its channel");
	while (channel_receive(ends->b, ends->text, &fd) == 12)
		received++;
	assert_int_equal(received, sent);
	send_text(ends, "again", -1);
}

/* What was sent before the end still arrives; then the end, each time it is asked for. */
static void test_peer_gone(void **state)
{
	struct ends *ends = *state;
	int fd;

	send_text(ends, "{\"failed\":\"why\"}", -1);
	close(ends->a);
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), 16);
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), -1);
	assert_int_equal(channel_receive(ends->b, ends->text, &fd), -1);
	assert_int_equal(channel_send(ends->b, "x", 1, -1, &ends->err), -1);
	assert_int_equal(ends->err.code, ERR_IO);
	ends->a = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_packets), TEST(test_descriptor), TEST(test_largest), TEST(test_full), TEST(test_peer_gone)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
