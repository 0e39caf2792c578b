/* SPDX-License-Identifier: Apache-2.0 */
/* What the Graph API says of one of its tokens (debug_token). No I/O. Any thread. */
#ifndef SLUICE_CREDENTIAL_GRAPH_H
#define SLUICE_CREDENTIAL_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define GRAPH_SOURCE "graphapi"	/* the source whose credentials these are */

enum graph_state {
	GRAPH_GOOD,
	GRAPH_INVALID,		/* it has ended, was revoked, or lacks a scope */
	GRAPH_DATA_EXPIRED	/* the access to data ended more than seven days ago */
};
struct graph_verdict {
	enum graph_state state;
	char reason[300];			/* "" when it is good */
	int64_t expires_s, data_access_s;	/* epoch; 0: never, or not said */
};

/* Appends the URL to ask; by: the token that asks (an application's, or the same one). It holds secrets. */
void graph_debug_url(struct buf *out, const char *base_url, const char *token, const char *by);
/*
 * Reads an answer. own: the token asked for itself. -1 and err when it says nothing
 * of the token: one of a limit, or of the other token that asked.
 */
int graph_debug_read(const char *body, size_t len, bool own, int64_t now_s, struct graph_verdict *verdict_r,
		     struct error *err);

#endif
