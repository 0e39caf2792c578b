/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: upstream APIs, and the requests and responses that go between. */
#ifndef SLUICE_HTTP_H
#define SLUICE_HTTP_H

#include "json.h"
#include "option.h"

struct sl_host;
struct sl_task;
struct sl_call;
struct sl_request;	/* built in build, with the functions of host.h */

/*
 * A response, valid inside parse, page and error. The host appends members;
 * a plugin reads only those its header knows.
 */
struct sl_response {
	int status;			/* 200, 404, … */
	const char *body;		/* raw bytes after content decoding, NUL-terminated */
	size_t body_len;
	const struct sl_json *json;	/* NULL when the body is not JSON */
};

/* How the host places a credential in each request of a source. */
enum sl_auth {
	SL_AUTH_NONE = 0,	/* nothing by itself: build places fields by name */
	SL_AUTH_HEADERS,	/* every member of the credential is a header */
	SL_AUTH_HEADER,		/* member auth_field in the header auth_name */
	SL_AUTH_QUERY,		/* member auth_field in the query parameter auth_name */
	SL_AUTH_BEARER,		/* member auth_field as "Authorization: Bearer" */
	SL_AUTH_OAUTH2		/* refresh_token, client_id, client_secret at auth_name (a URL) give a bearer */
};

/* Which statements of the upstream about its own limits the host obeys. */
enum sl_feedback {
	SL_FEEDBACK_RETRY_AFTER = 1,
	SL_FEEDBACK_RATELIMIT_HEADERS = 2,	/* X-RateLimit-Remaining and -Reset, any spelling */
	SL_FEEDBACK_SHOPIFY = 4,
	SL_FEEDBACK_META_USAGE = 8,
	SL_FEEDBACK_GOOGLE_QUOTA = 16	/* quotaExceeded: nothing until midnight in California */
};

enum sl_source_flags {
	SL_SOURCE_ANONYMOUS = 1,	/* works without a credential */
	SL_SOURCE_BOUND = 2,		/* a credential belongs to one handle: calls must be bound (h->bind) */
	SL_SOURCE_COSTS = 4		/* its limits count what operations cost, not requests */
};

/*
 * A source is one upstream API. base_url may contain {handle}, replaced by the
 * handle the call is bound to. base_url "": each request brings its own URL
 * (h->follow), which must be public: private addresses are refused.
 * Everything in a credential is a secret unless its name is in public_fields.
 * secret_names lists further headers and query parameters that must never be
 * shown.
 */
struct sl_source {
	size_t size;
	const char *name;
	const char *base_url;
	unsigned int flags;
	enum sl_auth auth;
	const char *auth_name;
	const char *auth_field;
	const char *const *fields;		/* members a credential must have; NULL-terminated, or NULL: any */
	const char *const *public_fields;	/* NULL-terminated, or NULL */
	const char *const *secret_names;	/* NULL-terminated, or NULL */
	const char *const *limits;		/* "100/30s", NULL-terminated, or NULL: unlimited */
	unsigned int feedback;
	/*
	 * Optional: what a status of 400 or more means here. Any result but SL_OK
	 * is final. Without it, or when it returns SL_OK, the host's own rules
	 * hold: 429 SL_LIMIT, 401 and 403 SL_AUTH, 404 and 410 SL_GONE, 408 and
	 * 5xx SL_RETRY, others SL_FAIL. It leaves nothing behind, and runs when
	 * the answer comes, not in the order of the calls.
	 */
	enum sl_result (*error)(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				const struct sl_response *re);
	const char *doc;
};

#define SL_SOURCE_INIT(...) { sizeof(struct sl_source), __VA_ARGS__ }

#endif
