/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client (http.c), one transfer (transfer.c) and the blocking client
 * (http_sync.c) share. The loop's thread; a blocking client's own.
 */
#ifndef SLUICE_HTTP_INTERNAL_H
#define SLUICE_HTTP_INTERNAL_H

#include <curl/curl.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "http/http.h"

#define SPARE_MAX 64		/* easy handles kept for reuse */

struct http_client {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer;	/* curl's */
	struct loop_timer *refuse_timer;	/* calls back what was refused before it began */
	struct list transfers;		/* running, oldest first */
	struct list refused;
	struct list sockets;
	size_t running;
	char *user_agent, *ca_file;
	CURL *spare[SPARE_MAX];
	size_t spare_count;
	unsigned int inside;		/* callbacks on the stack */
};

struct http_transfer {
	struct list node;		/* in the client's transfers or refused */
	struct http_client *client;
	http_done_fn *fn;
	void *user;
	void (*on_began)(void *user);	/* or NULL */
	CURL *easy;			/* NULL: refused */
	struct curl_slist *headers;
	struct arena *arena;		/* becomes the response's */
	char *url;
	size_t max_body;
	bool follow, public_only;
	bool carries;			/* headers or a body of the caller */
	bool began;			/* a connection stood and the request was about to be written */
	bool in_headers;		/* between a status line and its blank line */
	struct http_header *lines;
	size_t line_count, line_cap, lines_size;
	struct buf body;
	struct error err;		/* what our own callbacks refused */
	char curl_text[CURL_ERROR_SIZE];
};

/* A transfer with its easy handle set up; easy NULL and err filled when the request is refused. */
struct http_transfer *transfer_new(struct http_client *client, const struct http_request *request);
void transfer_free(struct http_transfer **transfer);
/* The response of a finished transfer, or NULL and t->err. */
struct http_response *transfer_result(struct http_transfer *t, CURLcode code);

/* Prepares libcurl, once per process. Any thread. */
void client_global_init(void);
CURL *client_easy(struct http_client *client);
void client_easy_done(struct http_client *client, CURL *easy);

#endif
