/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, queries, Link headers and addresses, without any I/O. Any thread. */
#ifndef SLUICE_HTTP_URL_H
#define SLUICE_HTTP_URL_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct sockaddr;

/* Parts of an absolute http or https URL, borrowed from its text. */
struct http_url {
	bool tls;
	const char *host;	/* an IPv6 address with its brackets */
	size_t host_len;
	unsigned int port;	/* the scheme's when not written */
	bool has_user;		/* user[:password]@ stands before the host */
	const char *path;	/* what follows host and port, maybe empty: path, query, fragment */
};

/* Returns 0, or -1 when url is none that this program would ask. */
int http_url_parse(const char *url, struct http_url *url_r);
/* Appends "https://host:port" of url, the port only when it is not the scheme's; "?" when it is no URL. */
void http_url_origin(struct buf *out, const char *url);
/* Same scheme, host and port; false when either is no URL or names a user. */
bool http_same_origin(const char *a, const char *b);

/* Appends "?name=value" or "&name=value" to the URL in url, percent-encoded. NULL value: nothing. */
void http_add_query(struct buf *url, const char *name, const char *value);
/* The same for a form body: "name=value" or "&name=value". */
void http_add_form(struct buf *form, const char *name, const char *value);

/*
 * The target of the first link with relation "next" in a Link header's value
 * (RFC 8288), borrowed from it. NULL when there is none.
 */
const char *http_link_next(const char *link_header, size_t *len_r);

/* An address of the public Internet: not private, loopback, link-local, multicast or reserved. */
bool http_address_public(const struct sockaddr *address);
/* The same for an address as text, without brackets. false when it is none. */
bool http_address_text_public(const char *address);

#endif
