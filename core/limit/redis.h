/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the driver redis: share. Only they include hiredis. Loop thread. */
#ifndef SLUICE_LIMIT_REDIS_H
#define SLUICE_LIMIT_REDIS_H

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "base/backoff.h"
#include "base/error.h"
#include "loop/loop.h"

struct arena;

/* --- redis_url.c --- */
struct redis_target {
	const char *host;		/* NULL: path */
	int port;
	const char *path;		/* of a socket */
	const char *user, *password;	/* NULL: none */
	int64_t database;
	const char *shown;		/* for messages: without user and password */
};
/* rest: what follows "redis:" or "redis+unix:". */
int redis_url_parse(const char *rest, bool is_unix, struct arena *arena, struct redis_target *target_r,
		    struct error *err);

/* --- redis_script.c: the algorithm of window.h in Lua; its arguments are told there --- */
extern const char redis_script[];

/* --- redis_conn.c: one connection, made again and again --- */
#define REDIS_ADDRESSES_MAX 8
#define REDIS_ADDRESS_SIZE 64
#define REDIS_RUN_SIZE 64
#define REDIS_SHA_SIZE 64

enum redis_phase {
	REDIS_CLOSED,		/* waits for the next attempt */
	REDIS_RESOLVING,	/* the resolver's thread looks the host up */
	REDIS_GREETING,		/* connecting, then AUTH, SELECT, INFO, SCRIPT LOAD */
	REDIS_READY
};

struct redis_conn {
	struct loop *loop;
	const struct redis_target *target;
	int64_t timeout_ms;		/* to be ready */
	void (*on_ready)(void *user);
	void (*on_lost)(void *user);	/* once for each attempt that failed or connection that went */
	void *user;

	enum redis_phase phase;
	redisAsyncContext *context;	/* NULL: none, or hiredis is about to free it */
	struct loop_fd *fd;
	unsigned int events;
	bool inside;			/* hiredis is on the stack */
	struct loop_timer *timer;	/* the next attempt; or being ready takes too long */
	int64_t retry_ms;		/* loop time of the next attempt */
	struct backoff backoff;
	char problem[200];
	int64_t down_since_ms;		/* 0: it worked since then, or was never tried */
	int64_t log_state;

	struct loop_thread *resolver;
	struct loop_job lookup;
	char addresses[REDIS_ADDRESSES_MAX][REDIS_ADDRESS_SIZE];
	size_t address_count, address;	/* the one to try next */
	char lookup_error[100];

	char run[REDIS_RUN_SIZE];	/* the server's run id: another one after each start */
	char sha[REDIS_SHA_SIZE];	/* of the script */
	bool loading;			/* SCRIPT LOAD is under way again */
};
/* Begins with the first attempt. */
void redis_conn_open(struct redis_conn *conn);
/* No callback comes any more; replies that are missing come as NULL, from inside the call. */
void redis_conn_close(struct redis_conn *conn);
/* Of no use: gone, and made again after a pause. on_lost comes from inside unless hiredis is on the stack. */
void redis_conn_cut(struct redis_conn *conn, const char *why);
/* REDIS_READY. fn gets a NULL reply when the connection goes first. */
void redis_conn_send(struct redis_conn *conn, redisCallbackFn *fn, void *user, int argc, const char **argv,
		     const size_t *lengths);
/* The server has forgotten the script. */
void redis_conn_load_again(struct redis_conn *conn);
/* Until there may be a connection again, milliseconds. */
int64_t redis_conn_patience_ms(const struct redis_conn *conn);
/* It was of use: the next pause is a short one again. */
void redis_conn_worked(struct redis_conn *conn);

#endif
