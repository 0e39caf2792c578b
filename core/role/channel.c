/* SPDX-License-Identifier: Apache-2.0 */
/* See channel.h. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "role/channel.h"

union control {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int channel_send(int channel, const char *json, size_t len, int fd, struct error *err)
{
	struct iovec part = { .iov_base = (void *)(uintptr_t)json, .iov_len = len };
	union control control;
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (len > CHANNEL_MAX)
		return error_set(err, ERR_LIMIT, "a message of %zu bytes does not fit the channel", len);
	if (fd >= 0) {
		struct cmsghdr *head;

		memset(&control, 0, sizeof(control));
		message.msg_control = control.space;
		message.msg_controllen = sizeof(control.space);
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(int));
	}
	while (sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == ENOBUFS)
			return error_set(err, ERR_BUSY, "the other side does not read its channel");
		return error_errno(err, "channel");
	}
	return 0;
}

int channel_receive(int channel, char *buf, int *fd_r)
{
	struct iovec part = { .iov_base = buf, .iov_len = CHANNEL_MAX };
	union control control;
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space,
				  .msg_controllen = sizeof(control.space) };
	struct cmsghdr *head;
	ssize_t n;

	*fd_r = -1;
	do
		n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0)
		return -1;
	head = CMSG_FIRSTHDR(&message);
	if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
	    head->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd_r, CMSG_DATA(head), sizeof(int));
	buf[n] = '\0';
	return (int)n;
}
