/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the amqp: driver: where the broker is, one connection to it, and what
 * has to exist there. A connection belongs to one thread, which may block in
 * any of these functions for no longer than their time-outs say; only
 * amqp_conn_cut may be called by another.
 */
#ifndef SLUICE_BUS_AMQP_H
#define SLUICE_BUS_AMQP_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <amqp.h>
#include <amqp_framing.h>

#include "base/backoff.h"
#include "base/error.h"
#include "base/server_url.h"
#include "bus/bus.h"
#include "loop/loop.h"

struct arena;
struct buf;

/*
 * --- where: amqp_url.c ---
 *
 *	amqp://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/VHOST][?OPTION=VALUE[&…]]
 *
 * amqps: is the same over TLS, verified. User, password and vhost are
 * percent-encoded. Options: queues (classic, quorum), heartbeat (seconds), ca,
 * cert and key (PEM files).
 */
struct amqp_url {
	bool tls;
	const struct server_host *hosts;
	size_t host_count;
	const char *user, *password;	/* guest when not given */
	const char *vhost;		/* "/" when not given */
	const char *ca_file, *cert_file, *key_file;	/* NULL: the system's authorities, no certificate */
	int heartbeat_s;
	bool quorum;			/* what queues are declared as */
};
/* All in arena. Errors never quote the password. */
int amqp_url_parse(const char *url, struct arena *arena, struct amqp_url *url_r, struct error *err);

/* --- one connection: amqp_conn.c --- */
enum { AMQP_MAIN = 1, AMQP_SIDE = 2 };	/* channels */

struct amqp_conn {
	const struct amqp_url *url;
	const char *name;		/* what the broker's operator sees */
	size_t host;			/* the next to try */
	amqp_connection_state_t state;	/* NULL: not connected */
	int64_t sent_ms;		/* monotonic: when a heartbeat was last sent by amqp_conn_beat */
	bool blocked;			/* the broker takes no more messages */
	char blocked_reason[120];
	pthread_mutex_t mutex;		/* guards fd against amqp_conn_cut */
	int fd;				/* -1: not connected */
	bool cut;			/* every use fails from now on */
};

void amqp_conn_init(struct amqp_conn *conn, const struct amqp_url *url, const char *name);
void amqp_conn_fini(struct amqp_conn *conn);
/* Tries the next host; returns with AMQP_MAIN open, or -1 within about 20 s. */
int amqp_conn_open(struct amqp_conn *conn, struct error *err);
/* Politely, but for no longer than two seconds. */
void amqp_conn_close(struct amqp_conn *conn);
/* What the broker said, or the library, about the last call. 0, or -1: close the connection. */
int amqp_conn_check(struct amqp_conn *conn, const char *what, amqp_rpc_reply_t reply, struct error *err);
/* The same for functions that return a status. */
int amqp_conn_status(struct amqp_conn *conn, const char *what, int status, struct error *err);
/*
 * The next frame that is there already: 1; 0 = none; -1 = the connection is
 * lost. Heartbeats, blocked and unblocked are handled here. Frames are valid
 * until amqp_conn_release.
 */
int amqp_conn_frame(struct amqp_conn *conn, amqp_frame_t *frame_r, struct error *err);
/* After a whole message or method: memory of the channel's frames. */
void amqp_conn_release(struct amqp_conn *conn, amqp_channel_t channel);
/* Keeps a connection alive that is not being read. -1 = lost. */
int amqp_conn_beat(struct amqp_conn *conn, struct error *err);
/* Longest time between two calls of amqp_conn_frame or amqp_conn_beat. */
int amqp_conn_pause_ms(const struct amqp_conn *conn);
/* Waits for the socket (events of poll) or for wake (an eventfd, emptied). Returns what the socket has. */
short amqp_conn_wait(struct amqp_conn *conn, short events, int wake, int timeout_ms);
/* Any thread: the owner's blocking call returns soon, and fails. */
void amqp_conn_cut(struct amqp_conn *conn);

/* --- a thread of its own with a connection: amqp_link.c --- */
struct amqp_link {
	struct loop_job job;
	struct loop_thread *thread;
	struct arena *arena;		/* the URL */
	struct amqp_url url;
	char name[200];
	struct amqp_conn conn;		/* the thread's */
	int wake;			/* eventfd */
	atomic_bool stop;		/* asks the thread to leave its body */
	sem_t ended;
	struct backoff backoff;
	int64_t retry_ms;		/* monotonic: no connection is tried earlier */
	int64_t log_state;
	int64_t down_since_ms;		/* monotonic; 0: connected, or never tried */
	void (*body)(struct amqp_link *link);	/* the thread's whole life */
};
/* url: whole. -1 when it is wrong; nothing is started then. */
int amqp_link_init(struct amqp_link *link, const char *url, const char *name, struct error *err);
void amqp_link_start(struct amqp_link *link, struct loop *loop, void (*body)(struct amqp_link *link));
void amqp_link_wake(struct amqp_link *link);	/* any thread */
/* Ends the thread, within two seconds and a little, and frees everything. */
void amqp_link_fini(struct amqp_link *link);
/*
 * The thread: connects, unless it is too early, and calls setup. true: there is
 * a connection. Logs what goes wrong.
 */
bool amqp_link_connect(struct amqp_link *link, int (*setup)(struct amqp_link *link, struct error *err));
/* The thread: the connection is lost. */
void amqp_link_lost(struct amqp_link *link, const struct error *err);
/* The thread: until the next attempt to connect. */
int amqp_link_patience_ms(const struct amqp_link *link);

/* --- what has to exist: amqp_declare.c --- */
#define AMQP_ERROR_PREFIX "error."
#define AMQP_SUSPECT_PREFIX "suspect."
/*
 * Declares exchange, queue, binding, error.QUEUE and suspect.QUEUE on
 * AMQP_MAIN. What is there with other properties is ERR_INPUT naming both.
 * waiting_r (or NULL): the messages that are ready in the queue.
 */
int amqp_declare(struct amqp_conn *conn, const struct bus_queue *queue, uint32_t *waiting_r, struct error *err);

/* --- messages: amqp_message.c --- */
/* Writes one, persistent and mandatory. What becomes of it is told by the channel, when it confirms. */
int amqp_send(struct amqp_conn *conn, amqp_channel_t channel, const struct bus_outgoing *out, struct error *err);
/* What may stand in message-id for id: itself, or the hash of one that is too long, in the arena. */
const char *amqp_message_id(struct arena *arena, const char *id);
/* The headers as bus_message has them; out is empty when none is worth keeping. */
void amqp_headers_json(const amqp_basic_properties_t *properties, struct buf *out);
/* What a letter of queue is published with. All in the arena, or borrowed from the letter; user is not set. */
struct bus_outgoing amqp_letter(struct arena *arena, const char *queue, const struct bus_letter *letter);

/* --- properties and headers --- */
const char *amqp_text(struct arena *arena, amqp_bytes_t bytes);
/* A header of a message; NULL when it has none. */
const amqp_field_value_t *amqp_header(const amqp_basic_properties_t *properties, const char *name);
/*
 * Why a sink cannot read such a message, whatever is in its body; NULL: it can
 * try. Other producers may say of their JSON what they like, or nothing.
 */
#define AMQP_PROBLEM_SIZE 256
const char *amqp_problem(const amqp_basic_properties_t *properties, char text[AMQP_PROBLEM_SIZE]);
int64_t amqp_header_int(const amqp_basic_properties_t *properties, const char *name);	/* 0: none */

#endif
