/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens of OAuth 2.0 credentials: fetched with the refresh token, kept
 * in memory until a minute before they end. Of many who ask for one only the
 * first fetches it. Loop thread; nothing is ever written anywhere.
 */
#ifndef SLUICE_CREDENTIAL_OAUTH_H
#define SLUICE_CREDENTIAL_OAUTH_H

#include <stddef.h>
#include <stdint.h>

#include "credential/envelope.h"

struct http_client;
struct loop;
struct oauth;

enum oauth_state {
	OAUTH_READY,	/* token: borrowed until control goes back to the loop */
	OAUTH_WAIT,	/* it is being fetched, or could not be: ask again in wait_ms */
	OAUTH_REFUSED	/* for good; told once, asking again tries again */
};
struct oauth_answer {
	enum oauth_state state;
	const char *token;
	int64_t wait_ms;
	char reason[200];	/* of OAUTH_REFUSED, and of a wait after a failure; no secret in it */
};

/* http is borrowed. */
struct oauth *oauth_new(struct loop *loop, struct http_client *http);
/* Before the client. Sets *oauth to NULL; NULL tolerated. */
void oauth_free(struct oauth **oauth);
/* members: refresh_token, client_id, client_secret; url: where they are exchanged. */
void oauth_ask(struct oauth *oauth, const char *url, const struct credential_member *members, size_t count,
	       struct oauth_answer *answer);
/*
 * The upstream refused an access token: the next one who asks gets another, unless
 * this one was fetched only just now and whoever was refused had an older one.
 */
void oauth_renew(struct oauth *oauth, const char *url, const struct credential_member *members, size_t count);

#endif
