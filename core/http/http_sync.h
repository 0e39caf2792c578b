/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests that block, for threads which have nothing else to do. A
 * client belongs to one thread and keeps its connections for its next
 * requests; the rules of http.h about schemes, certificates, proxies and
 * limits hold here too. A request is never sent twice.
 */
#ifndef SLUICE_HTTP_HTTP_SYNC_H
#define SLUICE_HTTP_HTTP_SYNC_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "http/http.h"

struct http_sync;

struct http_piece {
	const void *bytes;
	size_t len;
};

struct http_sync_request {
	const char *url;			/* absolute */
	const char *const *headers;		/* "Name: value", NULL-terminated; or NULL */
	const struct http_piece *pieces;	/* the body: these, one after the other; borrowed */
	size_t piece_count;
	int64_t timeout_ms;			/* to the last byte of the response; 0: the default */
	int64_t connect_timeout_ms;		/* 0: the default */
	size_t max_body;			/* of the response, decoded; 0: the default */
};

/* How far a request got that has no response. */
enum http_sent {
	HTTP_SENT_NOTHING,	/* there was no connection: the server knows nothing of it */
	HTTP_SENT_PART,		/* the server cannot have all of the body */
	HTTP_SENT_ALL		/* it may have */
};

/* ca_file: PEM with the authorities to trust, copied; NULL: the system's. */
struct http_sync *http_sync_new(const char *ca_file);
/* NULL tolerated; sets *sync to NULL. */
void http_sync_free(struct http_sync **sync);

/*
 * Posts and waits. The response, of any status, is the caller's
 * (http_response_free); NULL with the codes and texts of http_done_fn.
 * *sent_r is set in each case.
 */
struct http_response *http_sync_post(struct http_sync *sync, const struct http_sync_request *request,
				     enum http_sent *sent_r, struct error *err);

#endif
