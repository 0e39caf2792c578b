/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of the control socket; core/supervisor/control.c says what is spoken. */
#include "ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "json/jwrite.h"

int daemon_connect(const struct ctl *ctl, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (!str_format(address.sun_path, sizeof(address.sun_path), "%s/control.sock", ctl->setup.state))
		return error_set(err, ERR_INPUT, "the state directory's path is too long for a socket: %s",
				 ctl->setup.state);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, "socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		error_set(err, ERR_NOT_FOUND, "no daemon runs on %s", ctl->setup.state);
	else
		error_errno(err, "%s", address.sun_path);
	close(fd);
	return -1;
}

/* Appends what has come; 0 at the end, -1 on an error. */
static ssize_t read_some(int fd, struct buf *in, struct error *err)
{
	ssize_t n;

	do
		n = recv(fd, buf_reserve(in, 65536), 65536, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(err, "the daemon's answer");
	in->len += (size_t)n;
	in->data[in->len] = '\0';
	return n;
}

int daemon_read(int fd, struct buf *rest, size_t len, struct error *err)
{
	while (rest->len < len) {
		ssize_t n = read_some(fd, rest, err);

		if (n < 0)
			return -1;
		if (n == 0)
			return error_set(err, ERR_IO, "the daemon's answer was cut short");
	}
	return 0;
}

int daemon_ask(int fd, const char *request, struct buf *line, struct buf *rest, struct error *err)
{
	size_t sent = 0, len = strlen(request);
	const char *end = NULL;

	while (sent < len) {
		ssize_t n = send(fd, request + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return error_errno(err, "the daemon takes no request");
		sent += n > 0 ? (size_t)n : 0;
	}
	if (send(fd, "\n", 1, MSG_NOSIGNAL) != 1)
		return error_errno(err, "the daemon takes no request");
	while (end == NULL) {
		ssize_t n = read_some(fd, rest, err);

		if (n < 0)
			return -1;
		if (n == 0)
			return error_set(err, ERR_IO, "the daemon gave no answer");
		end = memchr(rest->data, '\n', rest->len);
	}
	buf_add(line, rest->data, (size_t)(end - rest->data));
	buf_consume(rest, (size_t)(end - rest->data) + 1);
	return 0;
}

void daemon_nudge(const struct ctl *ctl, const char *flow)
{
	struct buf line, rest, request;
	struct error err;
	struct jwrite w;
	int fd = daemon_connect(ctl, &err);

	if (fd < 0)
		return;
	buf_init(&line);
	buf_init(&rest);
	buf_init(&request);
	jwrite_init(&w, &request);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "cmd", "nudge");
	jwrite_array(&w, "nudge");
	jwrite_string(&w, NULL, flow);
	jwrite_end(&w);
	jwrite_end(&w);
	daemon_ask(fd, request.data, &line, &rest, &err);
	buf_fini(&request);
	buf_fini(&rest);
	buf_fini(&line);
	close(fd);
}
