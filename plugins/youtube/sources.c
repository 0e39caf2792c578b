/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways to the Data API, and what its errors mean. */
#include <string.h>

#include "youtube.h"

static bool is_one_of(const char *text, const char *const *list)
{
	for (; text && *list; list++)
		if (strcmp(text, *list) == 0)
			return true;
	return false;
}

/*
 * Quotas start anew at midnight in California: 07:00 or 08:00 UTC. The later
 * of the two is never too early.
 */
static int64_t until_new_quota(int64_t now)
{
	const int64_t since = (now - 8 * 3600) % DAY_S;

	return DAY_S - since;
}

/*
 * 403 is mostly the quota; some reasons speak of the key or of what was asked
 * for instead. A search does not wait for the next day's quota: its flow goes
 * on with what was found, so the answer is the source's and not the key's.
 */
static enum sl_result forbidden(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				const struct sl_response *re)
{
	static const char *const denied[] = {
		"forbidden", "insufficientPermissions", "commentsDisabled", "subscriptionForbidden",
		"playlistItemsNotAccessible", "channelClosed", "channelSuspended", "SERVICE_UNAVAILABLE", NULL
	};
	static const char *const key[] = {
		"accessNotConfigured", "API_KEY_SERVICE_BLOCKED", "ipRefererBlocked", NULL
	};
	static const char *const pace[] = {"rateLimitExceeded", "userRateLimitExceeded", NULL};
	const char *reason = h->str(re->json, "error.errors.0.reason");
	const char *message = h->str(re->json, "error.message|message");

	if (is_one_of(h->str(re->json, "error.details.0.reason"), key) || is_one_of(reason, key))
		return h->fail(t, SL_AUTH, message);
	if (is_one_of(reason, denied))
		return h->fail(t, SL_FAIL, message);
	if (is_one_of(reason, pace)) {
		h->park(t, 60);
		return h->fail(t, SL_LIMIT, QUOTA_EXCEEDED);
	}
	if (h->operation(c) == &search_by_channel)
		return h->fail(t, SL_SOURCE, QUOTA_EXCEEDED);
	h->park(t, reason ? until_new_quota(h->now(t)) : 60);
	return h->fail(t, SL_LIMIT, QUOTA_EXCEEDED);
}

static enum sl_result v3_error(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			       const struct sl_response *re)
{
	const char *reason = h->str(re->json, "error.errors.0.reason");

	if (re->status == 403)
		return forbidden(h, t, c, re);
	if (re->status == 429)
		return h->fail(t, SL_LIMIT, QUOTA_EXCEEDED);
	if (reason && strcmp(reason, "keyInvalid") == 0)
		return h->fail(t, SL_AUTH, h->str(re->json, "error.message"));
	return SL_OK;
}

static const char *const key_fields[] = {"key", NULL};

const struct sl_source ytapitoken = SL_SOURCE_INIT(
	.name = "ytapitoken", .base_url = "https://youtube.googleapis.com", .flags = SL_SOURCE_COSTS,
	.auth = SL_AUTH_QUERY, .auth_name = "key", .auth_field = "key", .fields = key_fields,
	.feedback = SL_FEEDBACK_RETRY_AFTER | SL_FEEDBACK_GOOGLE_QUOTA, .error = v3_error,
	.doc = "YouTube Data API with an API key; credential: key");

/* The name of the offer is no secret. */
static const char *const v31_public[] = {"X-RapidAPI-Host", NULL};
static const char *const v31_limits[] = {"500/60s", NULL};

const struct sl_source yt_v31 = SL_SOURCE_INIT(
	.name = "yt-v31", .base_url = "https://youtube-v31.p.rapidapi.com",
	.auth = SL_AUTH_HEADERS, .public_fields = v31_public, .limits = v31_limits,
	.feedback = SL_FEEDBACK_RETRY_AFTER, .error = v3_error,
	.doc = "YouTube v3.1 on RapidAPI; the credential's members are headers");
