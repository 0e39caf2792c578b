/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded responses: NAME.json is the body; beside it NAME.http may hold a
 * status line and header lines. Either alone will do. Blocking. Any thread.
 */
#ifndef SLUICE_HTTP_RECORDED_H
#define SLUICE_HTTP_RECORDED_H

#include "base/buf.h"
#include "http/http.h"

struct arena;

struct http_recorded {
	int status;			/* 200 when no file says otherwise */
	struct http_header *headers;	/* in the arena; without Content-Length and Connection */
	size_t header_count;
};

/* Appends the body. 0, or -1 when there is neither file (or none that can be read). */
int http_recorded_read(const char *name, struct arena *arena, struct http_recorded *recorded_r,
		       struct buf *body);

#endif
