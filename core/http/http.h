/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests on the event loop (libcurl behind this header). One client per
 * process holds the connections; they are kept alive and used again. All of it
 * belongs to the loop's thread; callbacks come from the loop, never from
 * inside http_start or http_cancel.
 *
 * http and https only; certificates are checked; no proxy, no cookies, nothing
 * from the environment. gzip and deflate are asked for and undone.
 */
#ifndef SLUICE_HTTP_HTTP_H
#define SLUICE_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct loop;
struct http_client;
struct http_transfer;		/* one running request */

struct http_options {
	const char *user_agent;		/* NULL: "sluice/<version>" */
	unsigned int host_connections;	/* at once to one host and port; more requests wait. 0: no bound */
	const char *ca_file;		/* PEM; NULL: the system's */
};

#define HTTP_TIMEOUT_MS 30000
#define HTTP_CONNECT_TIMEOUT_MS 5000
#define HTTP_BODY_MAX ((size_t)16 << 20)
#define HTTP_HEADERS_MAX ((size_t)256 << 10)	/* all header lines of a response */
#define HTTP_REDIRECTS_MAX 5

/* What to ask. Everything is copied by http_start. */
struct http_request {
	const char *method;		/* NULL: GET, or POST when there is a body */
	const char *url;		/* absolute */
	const char *const *headers;	/* "Name: value", NULL-terminated; or NULL */
	const void *body;
	size_t body_len;
	/* From start to last byte; one that waits for a free connection may be told later. 0: the default. */
	int64_t timeout_ms;
	int64_t connect_timeout_ms;	/* 0: the default */
	size_t max_body;		/* of the response, decoded; 0: the default */
	/*
	 * Follow up to HTTP_REDIRECTS_MAX redirects; they may leave the origin
	 * only without headers and body, so that no credential goes elsewhere.
	 * Without it a 3xx is a response like any other.
	 */
	bool follow_redirects;
	bool public_only;		/* refuse addresses that are not public, before connecting */
	/*
	 * There is a connection and the request is about to be written; once more when it
	 * has to be written again. With http_start's user. Must not call any http_ function. May be NULL.
	 */
	void (*began)(void *user);
};

struct http_header {
	const char *name, *value;	/* value without surrounding space */
};

/* Owned by whom the callback hands it to. */
struct http_response {
	int status;
	const struct http_header *headers;	/* of the last response, in order */
	size_t header_count;
	const char *body;		/* decoded; NUL-terminated after body_len; never NULL */
	size_t body_len;
	int64_t total_us;
	const char *effective_url;
	const char *remote;		/* address that answered, without port */
	struct arena *arena;		/* private: holds all but body */
};

/*
 * Called once per request unless cancelled; the transfer is gone when it
 * returns. Either response (free it with http_response_free) or err is not
 * NULL. Any status is a response. err->code:
 *   ERR_TIMEOUT  a time-out passed
 *   ERR_LIMIT    the body or the headers are too large
 *   ERR_INPUT    the request is wrong or not permitted; repeating cannot help
 *   ERR_IO       resolving, connecting, TLS, or the response was cut short
 * err->text names scheme, host and port, never path, query or headers.
 */
typedef void http_done_fn(void *user, struct http_response *response, const struct error *err);

struct http_client *http_client_new(struct loop *loop, const struct http_options *options);
/* Cancels what is running. Not from inside a callback. Sets *client to NULL. */
void http_client_free(struct http_client **client);
size_t http_running(const struct http_client *client);

struct http_transfer *http_start(struct http_client *client, const struct http_request *request,
				 http_done_fn *fn, void *user);
/* No callback comes any more. Sets *transfer to NULL; NULL tolerated. Not for one that was called back. */
void http_cancel(struct http_transfer **transfer);

/* The index-th value of a header, in order; name in any case. NULL when there are no more. */
const char *http_header(const struct http_response *response, const char *name, size_t index);
void http_response_free(struct http_response **response);

#endif
