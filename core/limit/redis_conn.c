/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a Redis server on the loop, and what hiredis 0.14 leaves to
 * its callers: looking the host up without blocking, time-outs, reconnecting.
 * Loop thread; `look_up` runs on the resolver's.
 *
 * hiredis frees its context by itself when a connection breaks. Its `cleanup`
 * hook is the one place that is always told, whoever began it; what follows
 * from the loss waits until hiredis has left the stack.
 */
#include "limit/redis.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "log/log.h"

#define RETRY_FIRST_MS 100
#define RETRY_CAP_MS 5000
#define LOG_MS 10000

static void attempt(struct redis_conn *conn);

/* --- losing it --- */

static void say_lost(struct redis_conn *conn)
{
	if (log_limited(&conn->log_state, LOG_MS))
		log_warning("limits: no connection to Redis server=%s: %s", conn->target->shown,
			    conn->problem);
}

/* hiredis has left the stack and there is no context any more. */
static void after_lost(struct redis_conn *conn)
{
	int64_t pause = backoff_next(&conn->backoff);

	if (conn->down_since_ms == 0)
		conn->down_since_ms = loop_now_ms(conn->loop);
	say_lost(conn);
	/* Another address of the host, if there is one, is tried next. */
	if (conn->phase != REDIS_READY && ++conn->address >= conn->address_count)
		conn->address_count = 0;
	conn->phase = REDIS_CLOSED;
	conn->loading = false;
	conn->retry_ms = loop_now_ms(conn->loop) + pause;
	loop_timer_start(conn->timer, pause, 0);
	conn->on_lost(conn->user);
}

void redis_conn_cut(struct redis_conn *conn, const char *why)
{
	redisAsyncContext *context = conn->context;

	str_format(conn->problem, sizeof(conn->problem), "%s", why);
	conn->context = NULL;
	if (context != NULL)
		redisAsyncFree(context);
	if (!conn->inside)
		after_lost(conn);
}

/* --- hiredis' hooks --- */

static void watch(struct redis_conn *conn, unsigned int events)
{
	conn->events = events;
	if (conn->fd != NULL)
		loop_fd_watch(conn->fd, events);
}

static void add_read(void *user)
{
	struct redis_conn *conn = user;

	watch(conn, conn->events | LOOP_READ);
}

static void del_read(void *user)
{
	struct redis_conn *conn = user;

	watch(conn, conn->events & ~(unsigned int)LOOP_READ);
}

static void add_write(void *user)
{
	struct redis_conn *conn = user;

	watch(conn, conn->events | LOOP_WRITE);
}

static void del_write(void *user)
{
	struct redis_conn *conn = user;

	watch(conn, conn->events & ~(unsigned int)LOOP_WRITE);
}

/* The socket is about to be closed. */
static void cleanup(void *user)
{
	struct redis_conn *conn = user;

	loop_fd_free(&conn->fd);
	if (conn->context == NULL)
		return;
	str_format(conn->problem, sizeof(conn->problem), "%s",
		   conn->context->err != 0 ? conn->context->errstr : "closed");
	conn->context = NULL;
}

static void on_fd(void *user, int fd, unsigned int events)
{
	struct redis_conn *conn = user;
	redisAsyncContext *context = conn->context;

	(void)fd;
	conn->inside = true;
	if (events & LOOP_WRITE)
		redisAsyncHandleWrite(context);
	if (conn->context == context && (events & LOOP_READ))
		redisAsyncHandleRead(context);
	conn->inside = false;
	if (conn->context == NULL)
		after_lost(conn);
}

void redis_conn_send(struct redis_conn *conn, redisCallbackFn *fn, void *user, int argc, const char **argv,
		     const size_t *lengths)
{
	redisAsyncCommandArgv(conn->context, fn, user, argc, argv, lengths);
}

/* --- the greeting --- */

/* The connection the reply came on, when it is still in use and the reply is a good one; else NULL. */
static struct redis_conn *greeted(redisAsyncContext *context, const redisReply *reply, int type,
				  const char *what)
{
	struct redis_conn *conn = context->data;
	char text[200];

	if (reply == NULL || conn->context != context)
		return NULL;
	if (reply->type == type)
		return conn;
	str_format(text, sizeof(text), "%s: %s", what, reply->type == REDIS_REPLY_ERROR ? reply->str :
		   "an answer of an unexpected kind");
	redis_conn_cut(conn, text);
	return NULL;
}

static void on_auth(redisAsyncContext *context, void *reply, void *user)
{
	(void)user;
	greeted(context, reply, REDIS_REPLY_STATUS, "AUTH");
}

static void on_select(redisAsyncContext *context, void *reply, void *user)
{
	(void)user;
	greeted(context, reply, REDIS_REPLY_STATUS, "SELECT");
}

static void on_info(redisAsyncContext *context, void *reply, void *user)
{
	struct redis_conn *conn = greeted(context, reply, REDIS_REPLY_STRING, "INFO");
	const char *run = conn != NULL ? strstr(((redisReply *)reply)->str, "run_id:") : NULL;

	(void)user;
	if (conn == NULL)
		return;
	/* A server that hides it is trusted over a restart. */
	str_format(conn->run, sizeof(conn->run), "%.*s",
		   run != NULL ? (int)strspn(run + 7, "0123456789abcdef") : 0, run != NULL ? run + 7 : "");
	if (*conn->run == '\0')
		str_format(conn->run, sizeof(conn->run), "-");
}

static void on_script(redisAsyncContext *context, void *reply, void *user)
{
	struct redis_conn *conn = greeted(context, reply, REDIS_REPLY_STRING, "SCRIPT LOAD");

	(void)user;
	if (conn == NULL)
		return;
	str_format(conn->sha, sizeof(conn->sha), "%s", ((redisReply *)reply)->str);
	conn->loading = false;
	if (conn->phase == REDIS_READY)
		return;
	conn->phase = REDIS_READY;
	loop_timer_stop(conn->timer);
	conn->on_ready(conn->user);
}

static void load_script(struct redis_conn *conn)
{
	const char *argv[] = {"SCRIPT", "LOAD", redis_script};

	redisAsyncCommandArgv(conn->context, on_script, NULL, 3, argv, NULL);
}

void redis_conn_load_again(struct redis_conn *conn)
{
	if (!conn->loading)
		load_script(conn);
	conn->loading = true;
}

/* Sent at once, whatever is answered: the connection waits for nothing but the last answer. */
static void greet(struct redis_conn *conn)
{
	const struct redis_target *target = conn->target;
	const char *auth[] = {"AUTH", target->user != NULL ? target->user : target->password,
			      target->password};

	if (target->password != NULL)
		redisAsyncCommandArgv(conn->context, on_auth, NULL, target->user != NULL ? 3 : 2, auth, NULL);
	if (target->database != 0)
		redisAsyncCommand(conn->context, on_select, NULL, "SELECT %lld", (long long)target->database);
	redisAsyncCommand(conn->context, on_info, NULL, "INFO server");
	load_script(conn);
}

static void connect_to(struct redis_conn *conn, const char *address)
{
	redisAsyncContext *context = conn->target->path != NULL ? redisAsyncConnectUnix(conn->target->path) :
				     redisAsyncConnect(address, conn->target->port);

	conn->phase = REDIS_GREETING;
	loop_timer_start(conn->timer, conn->timeout_ms, 0);
	if (context == NULL || context->err != 0) {
		str_format(conn->problem, sizeof(conn->problem), "%s",
			   context != NULL ? context->errstr : "no memory");
		if (context != NULL)
			redisAsyncFree(context);
		after_lost(conn);
		return;
	}
	conn->context = context;
	fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);
	if (conn->target->path == NULL)
		redisEnableKeepAlive(&context->c);
	conn->events = 0;
	conn->fd = loop_fd_new(conn->loop, context->c.fd, on_fd, conn);
	context->data = conn;
	context->ev.data = conn;
	context->ev.addRead = add_read;
	context->ev.delRead = del_read;
	context->ev.addWrite = add_write;
	context->ev.delWrite = del_write;
	context->ev.cleanup = cleanup;
	greet(conn);
}

/* --- finding it --- */

/* On the resolver's thread, which has addresses and lookup_error to itself meanwhile. */
static void look_up(struct loop_job *job, struct loop_thread *thread)
{
	struct redis_conn *conn = (struct redis_conn *)((char *)job - offsetof(struct redis_conn, lookup));
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *found = NULL;
	int status = getaddrinfo(conn->target->host, NULL, &hints, &found);

	(void)thread;
	conn->address_count = 0;
	for (const struct addrinfo *at = found; at != NULL && conn->address_count < REDIS_ADDRESSES_MAX;
	     at = at->ai_next)
		if (getnameinfo(at->ai_addr, at->ai_addrlen, conn->addresses[conn->address_count],
				REDIS_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0)
			conn->address_count++;
	str_format(conn->lookup_error, sizeof(conn->lookup_error), "%s",
		   status != 0 ? gai_strerror(status) : "it has no address");
	if (found != NULL)
		freeaddrinfo(found);
}

static void on_looked_up(struct loop_job *job)
{
	struct redis_conn *conn = (struct redis_conn *)((char *)job - offsetof(struct redis_conn, lookup));

	if (conn->phase != REDIS_RESOLVING)
		return;
	conn->address = 0;
	if (conn->address_count > 0) {
		connect_to(conn, conn->addresses[0]);
		return;
	}
	str_format(conn->problem, sizeof(conn->problem), "cannot find the host: %s", conn->lookup_error);
	after_lost(conn);
}

static bool is_address(const char *host)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static void attempt(struct redis_conn *conn)
{
	if (conn->target->path != NULL || is_address(conn->target->host)) {
		connect_to(conn, conn->target->host);
		return;
	}
	if (conn->address < conn->address_count) {
		connect_to(conn, conn->addresses[conn->address]);
		return;
	}
	conn->phase = REDIS_RESOLVING;
	if (conn->resolver == NULL)
		conn->resolver = loop_thread_new(conn->loop, "resolver");
	conn->lookup.run = look_up;
	conn->lookup.done = on_looked_up;
	loop_thread_submit(conn->resolver, &conn->lookup);
}

static void on_timer(void *user)
{
	struct redis_conn *conn = user;

	if (conn->phase == REDIS_GREETING)
		redis_conn_cut(conn, "no answer to the greeting");
	else if (conn->phase == REDIS_CLOSED)
		attempt(conn);
}

/* --- the whole of it --- */

void redis_conn_open(struct redis_conn *conn)
{
	backoff_init(&conn->backoff, RETRY_FIRST_MS, RETRY_CAP_MS);
	conn->timer = loop_timer_new(conn->loop, on_timer, conn);
	conn->phase = REDIS_CLOSED;
	conn->retry_ms = loop_now_ms(conn->loop);
	loop_timer_start(conn->timer, 0, 0);
}

void redis_conn_close(struct redis_conn *conn)
{
	redisAsyncContext *context = conn->context;

	conn->context = NULL;
	conn->phase = REDIS_CLOSED;
	if (context != NULL)
		redisAsyncFree(context);
	/* A look-up under way is waited for: the system's resolver cannot be interrupted. */
	loop_thread_free(&conn->resolver);
	loop_timer_free(&conn->timer);
}

int64_t redis_conn_patience_ms(const struct redis_conn *conn)
{
	int64_t wait =
		conn->phase == REDIS_CLOSED ? conn->retry_ms - loop_now_ms(conn->loop) : conn->timeout_ms / 4;

	return wait > 0 ? wait + 1 : 1;
}

void redis_conn_worked(struct redis_conn *conn)
{
	backoff_reset(&conn->backoff);
	conn->log_state = 0;
	if (conn->down_since_ms != 0)
		log_info("limits: Redis answers again server=%s after_ms=%lld", conn->target->shown,
			 (long long)(loop_now_ms(conn->loop) - conn->down_since_ms));
	conn->down_since_ms = 0;
}
