/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server for loopback and trusted networks: the gateway's
 * HTTP API and the test simulator. Requests are read whole (body included, up
 * to a limit) before the handler sees them; answers may come at once, later,
 * or from another thread, without holding a thread meanwhile.
 */
#ifndef SLUICE_HTTPD_HTTPD_H
#define SLUICE_HTTPD_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct httpd;
struct httpd_request;

/*
 * Called in a server thread once per request. Must see to it that
 * httpd_answer is called exactly once for the request: inside the handler, or
 * later from any thread.
 */
typedef void (*httpd_handler)(void *data, struct httpd_request *request);

struct httpd_config {
	const char *address;		/* NULL = 127.0.0.1; IPv4 or IPv6 literal */
	uint16_t port;			/* 0 = a free one; ask httpd_port */
	int listen_fd;			/* a bound, listening socket to take over; 0 or less = open one */
	unsigned int threads;		/* 0 = 1 */
	unsigned int max_connections;	/* 0 = 1000; more are refused at accept */
	size_t max_body;		/* bytes; 0 = 1 MiB; more is answered 413 */
	unsigned int idle_timeout_s;	/* a connection without traffic is closed; 0 = 60 */
	httpd_handler handler;
	void *data;			/* handed to handler */
};

enum httpd_body {
	HTTPD_STATIC,	/* borrowed until httpd_stop */
	HTTPD_OWNED	/* mem_alloc'ed (or buf_steal); released by the server */
};

struct httpd_header {
	const char *name, *value;
};

/* Zero-initialise, set what is needed. Headers are copied by httpd_answer. */
struct httpd_reply {
	unsigned int status;
	char *body;			/* NULL = empty */
	size_t len;
	enum httpd_body ownership;
	const struct httpd_header *headers;
	size_t header_count;
	int64_t delay_ms;		/* answer no earlier than this from now */
	bool cut;			/* announce the whole body, close the connection after cut_after bytes of it */
	size_t cut_after;
	/*
	 * NULL or called once, in a server thread: complete tells whether the
	 * whole answer was handed to the network.
	 */
	void (*done)(void *data, bool complete);
	void *done_data;
};

/* Starts the threads. Returns NULL on error (address in use, bad address). */
struct httpd *httpd_start(const struct httpd_config *config, struct error *err);
/*
 * Closes the listening socket, cancels delayed answers and requests still
 * unanswered (a later httpd_answer for them only releases), ends the threads.
 * NULL tolerated; sets *httpd to NULL.
 */
void httpd_stop(struct httpd **httpd);
uint16_t httpd_port(const struct httpd *httpd);

/* Readers: borrowed until httpd_answer. The path is percent-decoded. */
const char *httpd_method(const struct httpd_request *request);
const char *httpd_path(const struct httpd_request *request);
const char *httpd_body(const struct httpd_request *request, size_t *len_r);	/* never NULL, NUL-terminated */
/* NULL when absent; first of several; header names without regard to case. Only inside the handler. */
const char *httpd_query(struct httpd_request *request, const char *name);
const char *httpd_header_in(struct httpd_request *request, const char *name);

/* Any thread. Takes the reply's body when owned; the request must not be used afterwards. */
void httpd_answer(struct httpd_request *request, const struct httpd_reply *reply);

#endif
