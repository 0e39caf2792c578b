/* SPDX-License-Identifier: Apache-2.0 */
/* The four providers, and what their errors mean. */
#include <string.h>

#include "instagram.h"

#define GENERAL_ERROR "Something went wrong"

enum sl_result no_answer(const struct sl_host *h, struct sl_task *t, const struct sl_response *re,
			 const char *text)
{
	return h->fail(t, re->json ? SL_SOURCE : SL_RETRY, text);
}

/*
 * Graph API. Application, user, page and custom call budgets.
 */
static bool is_limit_code(int64_t code)
{
	return code == 4 || code == 17 || code == 32 || code == 613 || code == 80002;
}

/*
 * Whatever a profile's look-up fails with, another provider may know it: the
 * Graph API sees business accounts only. Limits and bad tokens are the
 * credential's and told as such.
 */
static enum sl_result graph_error(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				  const struct sl_response *re)
{
	const int64_t code = h->integer(re->json, "error.code", 0);
	const char *message = h->str(re->json, "error.message");

	(void)c;
	if (!message)
		message = re->status == 403 ? "Forbidden exception" : GENERAL_ERROR;
	if (is_limit_code(code) || re->status == 429)
		return h->fail(t, SL_LIMIT, message);
	if (code == 190 || re->status == 401)
		return h->fail(t, SL_AUTH, message);
	return h->fail(t, SL_SOURCE, message);
}

static const char *const graph_fields[] = {"token", "user_id", NULL};
static const char *const graph_public[] = {"user_id", NULL};

const struct sl_source graphapi = SL_SOURCE_INIT(
	.name = "graphapi", .base_url = "https://graph.facebook.com/v12.0",
	.auth = SL_AUTH_QUERY, .auth_name = "access_token", .auth_field = "token",
	.fields = graph_fields, .public_fields = graph_public,
	.feedback = SL_FEEDBACK_META_USAGE | SL_FEEDBACK_RETRY_AFTER, .error = graph_error,
	.doc = "Instagram Graph API (business discovery); credential: token, user_id");

/* The resellers of the mobile and web interface. */

static bool says(const char *text, const char *part)
{
	return text && strstr(text, part) != NULL;
}

/* 401 with "wait a few minutes" is Instagram slowing the provider down, not the key. */
static enum sl_result unauthorised(const struct sl_host *h, struct sl_task *t, const char *message)
{
	if (says(message, "wait a few minutes"))
		return h->fail(t, SL_LIMIT, message);
	return h->fail(t, SL_AUTH, message ? message : GENERAL_ERROR);
}

static enum sl_result reseller_error(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				     const struct sl_response *re)
{
	const char *message = h->str(re->json, "message");

	(void)c;
	switch (re->status) {
	case 401:
		return unauthorised(h, t, message);
	case 403:
		return h->fail(t, SL_AUTH, "Forbidden exception");
	case 429:
		return h->fail(t, SL_LIMIT, GENERAL_ERROR);
	case 404:
	case 410:
		if (says(message, "ndpoint") || says(message, "API"))	/* the offer is gone,
		    not the profile */
			return h->fail(t, SL_SOURCE, GENERAL_ERROR);
		return h->fail(t, SL_GONE, GENERAL_ERROR);
	default:
		return h->fail(t, re->status == 408 || re->status >= 500 ? SL_RETRY : SL_SOURCE,
			       GENERAL_ERROR);
	}
}

/* The name of the offer is no secret. */
static const char *const rapidapi_public[] = {"X-RapidAPI-Host", NULL};
static const char *const arraybobo_limits[] = {"100/30s", NULL};
static const char *const jotucker_limits[] = {"5/1s", NULL};
static const char *const rocketapi_limits[] = {"100/30s", NULL};

const struct sl_source arraybobo = SL_SOURCE_INIT(
	.name = "rapidapi-arraybobo", .base_url = "https://instagram-scraper-2022.p.rapidapi.com",
	.auth = SL_AUTH_HEADERS, .public_fields = rapidapi_public, .limits = arraybobo_limits,
	.feedback = SL_FEEDBACK_RETRY_AFTER, .error = reseller_error,
	.doc = "Instagram Scraper 2022 on RapidAPI; the credential's members are headers");

const struct sl_source jotucker = SL_SOURCE_INIT(
	.name = "rapidapi-jotucker", .base_url = "https://instagram-scraper2.p.rapidapi.com",
	.auth = SL_AUTH_HEADERS, .public_fields = rapidapi_public, .limits = jotucker_limits,
	.feedback = SL_FEEDBACK_RETRY_AFTER, .error = reseller_error,
	.doc = "Instagram Scraper 2 on RapidAPI; the credential's members are headers");

const struct sl_source rocketapi = SL_SOURCE_INIT(
	.name = "rocketapi", .base_url = "https://v1.rocketapi.io",
	.auth = SL_AUTH_HEADERS, .limits = rocketapi_limits,
	.feedback = SL_FEEDBACK_RETRY_AFTER, .error = reseller_error,
	.doc = "RocketAPI; the credential's members are headers");
