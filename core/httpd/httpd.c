/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server over libmicrohttpd: epoll threads of its own, plus one timer
 * thread that wakes delayed answers. A request that is not answered inside its
 * handler is suspended; answering resumes it.
 *
 * A request object has two owners: the connection (until libmicrohttpd reports
 * its end) and whoever must answer it. The last one frees it.
 *
 * One lock per server, held for a few instructions at a time, guards the lists
 * and what a request's two owners share.
 */
#include "httpd/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "log/log.h"

#define DEFAULT_BODY (1024 * 1024)
#define CONNECTION_MEMORY (64 * 1024)

struct httpd {
	struct MHD_Daemon *daemon;
	atomic_uint owners;		/* httpd_start's caller and every request */
	httpd_handler handler;
	void *data;
	size_t max_body;
	uint16_t port;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* the timer thread's */
	pthread_t timer;
	bool stopping;
	struct list requests;		/* suspended, not answered yet: link of httpd_request */
	struct list delayed;		/* suspended, answered, waiting: by due, earliest first */
};

struct httpd_request {
	struct httpd *httpd;
	struct MHD_Connection *connection;
	char *method, *path;		/* owned */
	struct buf body;
	bool too_large, dispatched, suspended;
	bool closed;			/* the connection is gone */
	bool answered;
	struct MHD_Response *response;	/* once answered */
	unsigned int status;
	int64_t due_ms;			/* monotonic */
	void (*done)(void *data, bool complete);
	void *done_data;
	unsigned int owners;
	struct list link;
};

struct cut_body {
	char *body;
	size_t cut_after;
	enum httpd_body ownership;
};

static void httpd_release(struct httpd *httpd)
{
	if (atomic_fetch_sub(&httpd->owners, 1) > 1)
		return;
	pthread_cond_destroy(&httpd->wake);
	pthread_mutex_destroy(&httpd->lock);
	mem_release(httpd);
}

static void request_release(struct httpd_request *request)
{
	struct httpd *httpd = request->httpd;

	mem_free(&request->method);
	mem_free(&request->path);
	buf_fini(&request->body);
	mem_release(request);
	httpd_release(httpd);
}

/* Under the lock. Returns true when the caller must free it after unlocking. */
static bool request_drop(struct httpd_request *request)
{
	return --request->owners == 0;
}

static ssize_t cut_read(void *data, uint64_t pos, char *out, size_t max)
{
	struct cut_body *cut = data;
	size_t n;

	if (pos >= cut->cut_after)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = cut->cut_after - (size_t)pos;
	if (n > max)
		n = max;
	memcpy(out, cut->body + pos, n);
	return (ssize_t)n;
}

static void cut_free(void *data)
{
	struct cut_body *cut = data;

	if (cut->ownership == HTTPD_OWNED)
		mem_free(&cut->body);
	mem_release(cut);
}

static struct MHD_Response *response_make(const struct httpd_reply *reply)
{
	struct MHD_Response *response;
	struct cut_body *cut;
	static char nothing[1];

	if (reply->cut && reply->body) {
		cut = mem_alloc(sizeof(*cut));
		cut->body = reply->body;
		cut->cut_after = reply->cut_after < reply->len ? reply->cut_after : reply->len;
		cut->ownership = reply->ownership;
		response = MHD_create_response_from_callback(reply->len, 16384, cut_read, cut, cut_free);
		if (!response)
			cut_free(cut);
	} else if (!reply->body) {
		response = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
	} else if (reply->ownership == HTTPD_OWNED) {
		response = MHD_create_response_from_buffer_with_free_callback(reply->len, reply->body,
									      mem_release);
	} else {
		response = MHD_create_response_from_buffer(reply->len, reply->body, MHD_RESPMEM_PERSISTENT);
	}
	for (size_t i = 0; response && i < reply->header_count; i++)
		MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
	return response;
}

/* Under the lock: lets libmicrohttpd call access_handler again, which then queues the answer. */
static void request_resume(struct httpd_request *request)
{
	list_remove(&request->link);
	request->suspended = false;
	MHD_resume_connection(request->connection);
}

/* Under the lock. Answers mostly come with the same delay, so the place is found from the end. */
static void request_delay(struct httpd_request *request)
{
	struct httpd *httpd = request->httpd;
	struct list *after = httpd->delayed.prev;

	while (after != &httpd->delayed
	       && list_entry(after, struct httpd_request, link)->due_ms > request->due_ms)
		after = after->prev;
	list_remove(&request->link);
	list_append(after->next, &request->link);
	if (after == &httpd->delayed)
		pthread_cond_signal(&httpd->wake);
}

void httpd_answer(struct httpd_request *request, const struct httpd_reply *reply)
{
	struct httpd *httpd = request->httpd;
	struct MHD_Response *response = response_make(reply);
	void (*done)(void *data, bool complete) = NULL;
	bool release;

	pthread_mutex_lock(&httpd->lock);
	request->answered = true;
	request->response = response;
	request->status = reply->status;
	request->done = reply->done;
	request->done_data = reply->done_data;
	/* one more, because the clock was rounded down */
	request->due_ms = reply->delay_ms > 0 ? clock_mono_ms() + reply->delay_ms + 1 : 0;
	if (request->closed) {
		done = request->done;
		request->done = NULL;
	} else if (request->suspended && !httpd->stopping) {
		if (request->due_ms)
			request_delay(request);
		else
			request_resume(request);
	}
	release = request_drop(request);
	pthread_mutex_unlock(&httpd->lock);
	if (done)
		done(reply->done_data, false);
	if (release) {
		if (response)
			MHD_destroy_response(response);
		request_release(request);
	}
}

static enum MHD_Result request_queue(struct httpd_request *request)
{
	struct httpd *httpd = request->httpd;
	struct MHD_Response *response;
	enum MHD_Result result;

	pthread_mutex_lock(&httpd->lock);
	/* a delayed answer that httpd_stop woke is not due */
	response = httpd->stopping && request->due_ms ? NULL : request->response;
	if (response)
		request->response = NULL;
	pthread_mutex_unlock(&httpd->lock);
	if (!response)
		return MHD_NO;
	result = MHD_queue_response(request->connection, request->status, response);
	MHD_destroy_response(response);
	return result;
}

static void *timer_main(void *data)
{
	struct httpd *httpd = data;
	struct httpd_request *first;
	struct timespec until;
	int64_t now;

	pthread_mutex_lock(&httpd->lock);
	while (!httpd->stopping) {
		if (list_empty(&httpd->delayed)) {
			pthread_cond_wait(&httpd->wake, &httpd->lock);
			continue;
		}
		first = list_entry(httpd->delayed.next, struct httpd_request, link);
		now = clock_mono_ms();
		if (first->due_ms <= now) {
			request_resume(first);
			continue;
		}
		until.tv_sec = first->due_ms / 1000;
		until.tv_nsec = first->due_ms % 1000 * 1000000;
		pthread_cond_timedwait(&httpd->wake, &httpd->lock, &until);
	}
	pthread_mutex_unlock(&httpd->lock);
	return NULL;
}

static struct httpd_request *request_new(struct httpd *httpd, struct MHD_Connection *connection,
					 const char *method, const char *path)
{
	struct httpd_request *request = mem_alloc(sizeof(*request));

	atomic_fetch_add(&httpd->owners, 1);
	request->httpd = httpd;
	request->connection = connection;
	request->method = mem_strdup(method);
	request->path = mem_strdup(path);
	request->owners = 1;
	buf_init(&request->body);
	list_init(&request->link);
	return request;
}

static enum MHD_Result too_large_queue(struct MHD_Connection *connection)
{
	const struct httpd_reply reply = {.status = 413};
	struct MHD_Response *response = response_make(&reply);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	result = MHD_queue_response(connection, reply.status, response);
	MHD_destroy_response(response);
	return result;
}

/* The whole request is here: runs the handler, then queues its answer or suspends the connection. */
static enum MHD_Result request_dispatch(struct httpd_request *request)
{
	struct httpd *httpd = request->httpd;
	bool now;

	if (request->too_large)
		return too_large_queue(request->connection);
	request->dispatched = true;
	request->owners = 2;
	httpd->handler(httpd->data, request);
	pthread_mutex_lock(&httpd->lock);
	now = request->answered && !request->due_ms;
	if (!now && httpd->stopping) {
		pthread_mutex_unlock(&httpd->lock);
		return MHD_NO;
	}
	if (!now) {
		MHD_suspend_connection(request->connection);
		request->suspended = true;
		if (request->answered)
			request_delay(request);
		else
			list_append(&httpd->requests, &request->link);
	}
	pthread_mutex_unlock(&httpd->lock);
	return now ? request_queue(request) : MHD_YES;
}

static enum MHD_Result access_handler(void *data, struct MHD_Connection *connection, const char *url,
				      const char *method, const char *version, const char *upload,
				      size_t *upload_size, void **context)
{
	struct httpd *httpd = data;
	struct httpd_request *request = *context;

	(void)version;
	if (!request) {
		*context = request_new(httpd, connection, method, url);
		return MHD_YES;
	}
	if (*upload_size > 0) {
		if (*upload_size > httpd->max_body - request->body.len)
			request->too_large = true;
		else
			buf_add(&request->body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	if (!request->dispatched)
		return request_dispatch(request);
	return request_queue(request);
}

static void request_completed(void *data, struct MHD_Connection *connection, void **context,
			      enum MHD_RequestTerminationCode code)
{
	struct httpd *httpd = data;
	struct httpd_request *request = *context;
	void (*done)(void *done_data, bool complete);
	struct MHD_Response *unsent;
	bool release;

	(void)connection;
	if (!request)
		return;
	*context = NULL;
	pthread_mutex_lock(&httpd->lock);
	request->closed = true;
	list_remove(&request->link);
	done = request->done;
	request->done = NULL;
	unsent = request->response;
	request->response = NULL;
	release = request_drop(request);
	pthread_mutex_unlock(&httpd->lock);
	if (done)
		done(request->done_data, code == MHD_REQUEST_TERMINATED_COMPLETED_OK && !unsent);
	if (unsent)
		MHD_destroy_response(unsent);
	if (release)
		request_release(request);
}

__attribute__((format(printf, 2, 0)))
static void daemon_log(void *data, const char *fmt, va_list ap)
{
	char text[400];
	size_t len;

	(void)data;
	vsnprintf(text, sizeof(text), fmt, ap);
	len = strlen(text);
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	log_debug("http server: %s", text);
}

static int address_parse(const struct httpd_config *config, struct sockaddr_storage *out, struct error *err)
{
	const char *address = config->address ? config->address : "127.0.0.1";
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(config->port);
		return 0;
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(config->port);
		return 0;
	}
	return error_set(err, ERR_INPUT, "\"%s\" is not an IP address", address);
}

/* The socket is ours, not libmicrohttpd's, so that a failure to bind says why. */
static int listen_open(const struct httpd_config *config, struct error *err)
{
	struct sockaddr_storage address;
	const int on = 1;
	socklen_t len;
	int fd;

	if (config->listen_fd > 0)
		return config->listen_fd;
	if (address_parse(config, &address, err) < 0)
		return -1;
	len = address.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, "cannot open a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 1024) < 0) {
		error_errno(err, "cannot listen on %s port %u",
			    config->address ? config->address : "127.0.0.1", config->port);
		close(fd);
		return -1;
	}
	return fd;
}

static uint16_t listen_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static struct MHD_Daemon *daemon_start(struct httpd *httpd, const struct httpd_config *config, int fd)
{
	const unsigned int threads = config->threads > 1 ? config->threads : 1;
	const unsigned int connections = config->max_connections ? config->max_connections : 1000;
	const struct MHD_OptionItem pool[] = {
		{MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL},
		{MHD_OPTION_END, 0, NULL}
	};

	return MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		access_handler, httpd,
		MHD_OPTION_EXTERNAL_LOGGER, daemon_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, connections < threads ? threads : connections,
		MHD_OPTION_CONNECTION_TIMEOUT, config->idle_timeout_s ? config->idle_timeout_s : 60,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_NOTIFY_COMPLETED, request_completed, httpd,
		threads > 1 ? MHD_OPTION_ARRAY : MHD_OPTION_END, pool,
		MHD_OPTION_END);
}

struct httpd *httpd_start(const struct httpd_config *config, struct error *err)
{
	struct httpd *httpd;
	pthread_condattr_t attr;
	int fd = listen_open(config, err), rc;

	if (fd < 0)
		return NULL;
	httpd = mem_alloc(sizeof(*httpd));
	atomic_init(&httpd->owners, 1);
	httpd->handler = config->handler;
	httpd->data = config->data;
	httpd->max_body = config->max_body ? config->max_body : DEFAULT_BODY;
	httpd->port = listen_port(fd);
	list_init(&httpd->requests);
	list_init(&httpd->delayed);
	pthread_mutex_init(&httpd->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&httpd->wake, &attr);
	pthread_condattr_destroy(&attr);
	httpd->daemon = daemon_start(httpd, config, fd);
	if (!httpd->daemon) {
		error_set(err, ERR_IO, "cannot start the HTTP server");
		httpd_stop(&httpd);
		return NULL;
	}
	rc = pthread_create(&httpd->timer, NULL, timer_main, httpd);
	if (rc) {
		errno = rc;
		error_errno(err, "cannot start a thread");
		httpd_stop(&httpd);
		return NULL;
	}
	httpd->started = true;
	return httpd;
}

void httpd_stop(struct httpd **httpd_p)
{
	struct httpd *httpd = *httpd_p;

	if (!httpd)
		return;
	*httpd_p = NULL;
	pthread_mutex_lock(&httpd->lock);
	httpd->stopping = true;
	while (!list_empty(&httpd->delayed))
		request_resume(list_entry(httpd->delayed.next, struct httpd_request, link));
	while (!list_empty(&httpd->requests))
		request_resume(list_entry(httpd->requests.next, struct httpd_request, link));
	pthread_cond_signal(&httpd->wake);
	pthread_mutex_unlock(&httpd->lock);
	if (httpd->started)
		pthread_join(httpd->timer, NULL);
	if (httpd->daemon)
		MHD_stop_daemon(httpd->daemon);
	httpd_release(httpd);
}

uint16_t httpd_port(const struct httpd *httpd)
{
	return httpd->port;
}

const char *httpd_method(const struct httpd_request *request)
{
	return request->method;
}

const char *httpd_path(const struct httpd_request *request)
{
	return request->path;
}

const char *httpd_body(const struct httpd_request *request, size_t *len_r)
{
	if (len_r)
		*len_r = request->body.len;
	return request->body.data ? request->body.data : "";
}

const char *httpd_query(struct httpd_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *httpd_header_in(struct httpd_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}
