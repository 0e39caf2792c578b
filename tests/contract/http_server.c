/* SPDX-License-Identifier: Apache-2.0 */
/* The server of http_test: one thread accepts, one more per connection. */
#include "http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct http_server {
	int fd;
	unsigned int port;
	int stop[2];			/* a pipe: readable for ever once closed */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	size_t connections, open, most;
};

struct connection {
	struct http_server *server;
	int fd;
	size_t number, requests;
	struct buf in;
};

static int send_all(struct connection *c, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return -1;
		bytes += sent;
		len -= (size_t)sent;
	}
	return 0;
}

static int reply(struct connection *c, const char *status, const char *headers, const char *body,
		 size_t len)
{
	struct buf out;
	int result;

	buf_init(&out);
	buf_printf(&out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, len, headers);
	buf_add(&out, body, len);
	result = send_all(c, out.data, out.len);
	buf_fini(&out);
	return result;
}

/* Waits until bytes, or the end, come from the client: 1; or the server stops: 0. */
static int wait_client(struct connection *c)
{
	struct pollfd fds[2] = {
		{.fd = c->fd, .events = POLLIN}, {.fd = c->server->stop[0], .events = POLLIN},
	};

	if (poll(fds, 2, -1) < 0 || fds[1].revents)
		return 0;
	return 1;
}

static int reply_gzip(struct connection *c, const char *command)
{
	FILE *pipe = popen(command, "r");
	struct buf body;
	size_t got;
	int result;

	buf_init(&body);
	while (pipe && (got = fread(buf_reserve(&body, 65536), 1, 65536, pipe)) > 0)
		body.len += got;
	if (pipe)
		pclose(pipe);
	result = reply(c, "200 OK", "Content-Encoding: gzip\r\n", body.data, body.len);
	buf_fini(&body);
	return result;
}

static int reply_endless(struct connection *c)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	char chunk[6 + 4096 + 3];
	int result = send_all(c, head, strlen(head));

	str_format(chunk, sizeof(chunk), "1000\r\n%04096d\r\n", 0);
	while (result == 0)
		result = send_all(c, chunk, strlen(chunk));
	return -1;
}

static int reply_headers(struct connection *c)
{
	struct buf headers;
	int result;

	buf_init(&headers);
	for (int i = 0; i < 400; i++)
		buf_printf(&headers, "X-Long-%d: %01000d\r\n", i, i);
	result = reply(c, "200 OK", headers.data, "", 0);
	buf_fini(&headers);
	return result;
}

static int reply_number(struct connection *c, size_t len)
{
	char *body = mem_alloc(len);
	int result;

	memset(body, 'x', len);
	result = reply(c, "200 OK", "", body, len);
	mem_free(&body);
	return result;
}

static int send_text(struct connection *c, const char *text)
{
	return send_all(c, text, strlen(text));
}

static int reply_redirect(struct connection *c, const char *target)
{
	char line[512];

	str_format(line, sizeof(line), "Location: %s\r\n", target);
	return reply(c, "302 Found", line, "moved", 5);
}

/* Returns 0 to go on with this connection, -1 to close it. */
static int answer(struct connection *c, const char *path, const char *request, size_t request_len)
{
	char text[128];

	if (str_eq(path, "/ok"))
		return reply(c, "200 OK", "X-Multi: one\r\nx-multi:  two \r\nX-Empty:\r\n", "hello", 5);
	if (str_starts(path, "/status/")) {
		str_format(text, sizeof(text), "%s Whatever", path + 8);
		return reply(c, text, "", "hello", 5);
	}
	if (str_eq(path, "/echo"))
		return reply(c, "200 OK", "", request, request_len);
	if (str_eq(path, "/count")) {
		str_format(text, sizeof(text), "%zu %zu", c->number, c->requests);
		return reply(c, "200 OK", "", text, strlen(text));
	}
	if (str_starts(path, "/bytes/"))
		return reply_number(c, strtoul(path + 7, NULL, 10));
	if (str_starts(path, "/redirect?"))
		return reply_redirect(c, path + 10);
	if (str_eq(path, "/loop"))
		return reply_redirect(c, "/loop");
	if (str_eq(path, "/endless"))
		return reply_endless(c);
	if (str_eq(path, "/headers"))
		return reply_headers(c);
	if (str_eq(path, "/gzip"))
		return reply_gzip(c, "printf hello | gzip");
	if (str_eq(path, "/bomb"))
		return reply_gzip(c, "head -c 67108864 /dev/zero | gzip -9");
	if (str_eq(path, "/cut"))
		send_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
	else if (str_eq(path, "/cut-chunk"))
		send_text(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	else if (str_eq(path, "/garbage"))
		send_text(c, "\001\002\003 this is not HTTP\r\n\r\n");
	else if (str_eq(path, "/drip"))
		send_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
	if (str_eq(path, "/drip") || str_eq(path, "/slow"))
		wait_client(c);
	return -1;
}

/* Reads one request; returns its length with its body, or 0 at the end. */
static size_t read_request(struct connection *c)
{
	for (;;) {
		char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
		ssize_t got;

		if (end != NULL) {
			const char *length = strcasestr(c->in.data, "\r\nContent-Length: ");
			size_t need = (size_t)(end + 4 - c->in.data);

			if (length != NULL && length < end)
				need += strtoul(length + 18, NULL, 10);
			if (c->in.len >= need)
				return need;
		}
		if (wait_client(c) == 0)
			return 0;
		got = recv(c->fd, buf_reserve(&c->in, 65536), 65536, 0);
		if (got <= 0)
			return 0;
		c->in.len += (size_t)got;
		c->in.data[c->in.len] = '\0';
	}
}

static void *serve(void *argument)
{
	struct connection *c = argument;
	size_t len;
	int going = 0;

	while (going == 0 && (len = read_request(c)) > 0) {
		char path[512] = "";

		c->requests++;
		sscanf(c->in.data, "%*s %511s", path);
		going = answer(c, path, c->in.data, len);
		buf_consume(&c->in, len);
	}
	close(c->fd);
	buf_fini(&c->in);
	pthread_mutex_lock(&c->server->lock);
	if (--c->server->open == 0)
		pthread_cond_broadcast(&c->server->idle);
	pthread_mutex_unlock(&c->server->lock);
	mem_free(&c);
	return NULL;
}

static void *accept_all(void *argument)
{
	struct http_server *server = argument;
	struct pollfd fds[2] = {
		{.fd = server->fd, .events = POLLIN}, {.fd = server->stop[0], .events = POLLIN},
	};

	while (poll(fds, 2, -1) >= 0 && fds[1].revents == 0) {
		int fd = accept(server->fd, NULL, NULL);
		struct connection *c;
		pthread_t thread;

		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		c = mem_alloc(sizeof(*c));
		c->server = server;
		c->fd = fd;
		buf_init(&c->in);
		pthread_mutex_lock(&server->lock);
		c->number = ++server->connections;
		if (++server->open > server->most)
			server->most = server->open;
		pthread_mutex_unlock(&server->lock);
		if (pthread_create(&thread, NULL, serve, c) != 0)
			abort();
		pthread_detach(thread);
	}
	return NULL;
}

struct http_server *http_server_start(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct http_server *server = mem_alloc(sizeof(*server));
	socklen_t len = sizeof(address);

	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->idle, NULL);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->fd < 0 || bind(server->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(server->fd, 512) < 0 || getsockname(server->fd, (struct sockaddr *)&address, &len) < 0 ||
	    pipe(server->stop) < 0)
		abort();
	server->port = ntohs(address.sin_port);
	if (pthread_create(&server->thread, NULL, accept_all, server) != 0)
		abort();
	return server;
}

int http_server_wait_idle(struct http_server *server)
{
	struct timespec until;
	int result = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&server->lock);
	while (server->open > 0 && result == 0)
		result = pthread_cond_timedwait(&server->idle, &server->lock, &until);
	pthread_mutex_unlock(&server->lock);
	return result ? -1 : 0;
}

void http_server_stop(struct http_server **server)
{
	struct http_server *s = *server;

	close(s->stop[1]);
	pthread_join(s->thread, NULL);
	if (http_server_wait_idle(s) < 0)
		abort();
	close(s->fd);
	close(s->stop[0]);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	mem_free(server);
}

unsigned int http_server_port(const struct http_server *server)
{
	return server->port;
}

static size_t locked(struct http_server *server, const size_t *value)
{
	size_t result;

	pthread_mutex_lock(&server->lock);
	result = *value;
	pthread_mutex_unlock(&server->lock);
	return result;
}

size_t http_server_connections(struct http_server *server)
{
	return locked(server, &server->connections);
}

size_t http_server_most(struct http_server *server)
{
	return locked(server, &server->most);
}
