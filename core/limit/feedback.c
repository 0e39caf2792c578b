/* SPDX-License-Identifier: Apache-2.0 */
/* See feedback.h. */
#include "limit/feedback.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <sluice/http.h>

#include "base/num.h"
#include "base/str.h"
#include "json/json.h"

#define SECOND_MS INT64_C(1000)
#define DAY_S INT64_C(86400)
#define NO_RESET_MS (60 * SECOND_MS)		/* nothing left, and nobody says until when */
#define META_FULL_MS (300 * SECOND_MS)		/* used up, over an hour that slides */
#define META_MEMBERS_MAX 100			/* accounts in one header */
#define FUTURE_S INT64_C(1000000000)		/* above: a time since 1970, in seconds … */
#define FUTURE_MS INT64_C(1000000000000)	/* … or in milliseconds */

static int64_t bounded(int64_t ms)
{
	return ms < 0 ? 0 : ms > FEEDBACK_MAX_MS ? FEEDBACK_MAX_MS : ms;
}

static void park(struct feedback *feedback, int64_t ms)
{
	ms = bounded(ms);
	if (ms > feedback->park_ms)
		feedback->park_ms = ms;
}

/* Of several statements the one that leaves less counts. */
static void leave(struct feedback *feedback, int64_t left, int64_t ms)
{
	if (ms <= 0 || left < 0 || (feedback->left_ms > 0 && feedback->left <= left))
		return;
	feedback->left = left;
	feedback->left_ms = bounded(ms);
}

static const char *header(const struct feedback_response *response, const char *name)
{
	for (size_t i = 0; i < response->header_count; i++)
		if (strcasecmp(response->headers[i].name, name) == 0)
			return response->headers[i].value;
	return NULL;
}

/* --- Retry-After --- */

int64_t feedback_retry_after_ms(const char *value, int64_t now_ms)
{
	int64_t seconds;
	struct tm tm;

	if (num_parse_int(value, &seconds) == 0)
		return seconds > FEEDBACK_MAX_MS / SECOND_MS ? FEEDBACK_MAX_MS : bounded(seconds * SECOND_MS);
	memset(&tm, 0, sizeof(tm));
	if (strptime(value, "%a, %d %b %Y %H:%M:%S", &tm) == NULL)
		return 0;
	return bounded((int64_t)timegm(&tm) * SECOND_MS - now_ms);
}

/* --- X-RateLimit-*: any spelling, and one for each of several budgets --- */

enum ratelimit { RATELIMIT_NONE, RATELIMIT_REMAINING, RATELIMIT_RESET, RATELIMIT_LIMIT };

/*
 * "X-RateLimit-Requests-Remaining" or "x-ratelimit-remaining-requests": which it
 * is, and "requests" as scope. Hyphens and the size of letters do not count.
 */
static enum ratelimit ratelimit_name(const char *name, char scope[64])
{
	static const struct {
		const char *end;
		enum ratelimit is;
	} ends[] = {{"remaining", RATELIMIT_REMAINING}, {"reset", RATELIMIT_RESET}, {"limit", RATELIMIT_LIMIT}};
	char plain[64];
	size_t len = 0;
	const char *at = plain;

	for (; *name != '\0'; name++) {
		if (*name == '-' || *name == '_')
			continue;
		if (len + 1 == sizeof(plain))
			return RATELIMIT_NONE;
		plain[len++] = (char)tolower((unsigned char)*name);
	}
	plain[len] = '\0';
	if (*at == 'x')
		at++;
	if (!str_starts(at, "ratelimit"))
		return RATELIMIT_NONE;
	at += strlen("ratelimit");
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (str_ends(at, ends[i].end)) {
			str_format(scope, 64, "%.*s", (int)(strlen(at) - strlen(ends[i].end)), at);
			return ends[i].is;
		}
		if (str_starts(at, ends[i].end)) {
			str_format(scope, 64, "%s", at + strlen(ends[i].end));
			return ends[i].is;
		}
	}
	return RATELIMIT_NONE;
}

/* A number at the beginning: "42", "1.5", "10, 10;w=1"; fractions count up. -1 when there is none. */
static int64_t leading_number(const char *value)
{
	int64_t number = 0;

	if (!isdigit((unsigned char)*value))
		return -1;
	for (; isdigit((unsigned char)*value); value++) {
		if (number > INT64_MAX / 10 - 10)
			return -1;
		number = number * 10 + (*value - '0');
	}
	if (*value == '.') {
		value++;
		number += strspn(value, "0") < strspn(value, "0123456789");
		value += strspn(value, "0123456789");
	}
	return strchr(" ,;", *value) != NULL ? number : -1;		/* the end too */
}

static const char *ratelimit_value(const struct feedback_response *response, enum ratelimit wanted, const char *scope)
{
	char other[64];

	for (size_t i = 0; i < response->header_count; i++)
		if (ratelimit_name(response->headers[i].name, other) == wanted && str_eq(other, scope))
			return response->headers[i].value;
	return "";
}

/* "6m0s", "120ms"; -1 when it is none. */
static int64_t duration_ms(const char *text)
{
	int64_t sum = 0, part;
	char piece[24];

	if (*text == '\0')
		return -1;
	while (*text != '\0') {
		size_t len = strspn(text, "0123456789.");

		len += strspn(text + len, "abcdefghijklmnopqrstuvwxyz");
		if (len == 0 || !str_format(piece, sizeof(piece), "%.*s", (int)len, text) ||
		    num_parse_duration(piece, &part) != 0 || part < 0)
			return -1;
		sum = bounded(sum + bounded(part));
		text += len;
	}
	return sum;
}

/* A duration, seconds from now or since 1970, or milliseconds since then; -1 when it is none of them. */
static int64_t reset_ms(const char *text, int64_t now_ms)
{
	int64_t value = leading_number(text);

	if (value < 0)
		return duration_ms(text);
	if (value >= FUTURE_MS)
		return bounded(value - now_ms);
	if (value >= FUTURE_S)
		return bounded(value * SECOND_MS - now_ms);
	return value > FEEDBACK_MAX_MS / SECOND_MS ? FEEDBACK_MAX_MS : value * SECOND_MS;
}

static void read_ratelimit(const struct feedback_response *response, int64_t now_ms, struct feedback *feedback)
{
	char scope[64];

	for (size_t i = 0; i < response->header_count; i++) {
		int64_t left, limit, ms;

		if (ratelimit_name(response->headers[i].name, scope) != RATELIMIT_REMAINING)
			continue;
		left = leading_number(response->headers[i].value);
		limit = leading_number(ratelimit_value(response, RATELIMIT_LIMIT, scope));
		ms = reset_ms(ratelimit_value(response, RATELIMIT_RESET, scope), now_ms);
		if (left == 0)
			park(feedback, ms >= 0 ? ms : NO_RESET_MS);
		else if (left > 0 && (limit < 0 || left <= limit / 2))
			leave(feedback, left, ms);
	}
}

/* --- Shopify: a bucket that leaks --- */

/* "32/40": forty at once, and a twentieth of them flows out each second. */
static void read_shopify_bucket(const char *value, struct feedback *feedback)
{
	const char *slash = strchr(value, '/');
	int64_t used = -1, size = -1;
	char text[24];

	if (slash != NULL && str_format(text, sizeof(text), "%.*s", (int)(slash - value), value)) {
		used = leading_number(text);
		size = leading_number(slash + 1);
	}
	if (used < 0 || size <= 0)
		return;
	if (used >= size)
		park(feedback, SECOND_MS);
	else if (size - used <= size / 2)
		leave(feedback, size - used, SECOND_MS);
}

/* GraphQL: points, of which a query like the last takes so many. */
static void read_shopify_cost(const struct feedback_response *response, struct feedback *feedback)
{
	struct json_doc *doc = NULL;
	const struct json *cost;
	double most, left, pace, query = 1;

	if (response->body_len > 0 && memmem(response->body, response->body_len, "throttleStatus", 14) != NULL)
		doc = json_parse(response->body, response->body_len, NULL);
	cost = doc != NULL ? json_at(json_root(doc), "extensions.cost") : NULL;
	json_double(json_at(cost, "requestedQueryCost"), &query);
	if (query >= 1 && json_double(json_at(cost, "throttleStatus.maximumAvailable"), &most) &&
	    json_double(json_at(cost, "throttleStatus.currentlyAvailable"), &left) &&
	    json_double(json_at(cost, "throttleStatus.restoreRate"), &pace) && pace > 0 && left >= 0) {
		if (left < query)
			park(feedback, (int64_t)((query - left) / pace * (double)SECOND_MS) + 1);
		else if (left <= most / 2)
			leave(feedback, (int64_t)(left / query), SECOND_MS);
	}
	json_doc_free(&doc);
}

/* --- Meta: per cent of what may be used --- */

static void read_meta_usage(const struct json *usage, struct feedback *feedback)
{
	static const char *const figures[] = {"call_count", "total_time", "total_cputime"};
	double percent;
	int64_t minutes;

	if (json_int(json_member(usage, "estimated_time_to_regain_access"), &minutes) && minutes > 0) {
		park(feedback, minutes > DAY_S / 60 ? FEEDBACK_MAX_MS : minutes * 60 * SECOND_MS);
		return;
	}
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (json_double(json_member(usage, figures[i]), &percent) && percent >= 100)
			park(feedback, META_FULL_MS);
}

static void read_meta(const struct feedback_response *response, struct feedback *feedback)
{
	static const char *const names[] = {"X-App-Usage", "X-Business-Use-Case-Usage"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = header(response, names[i]);
		struct json_doc *doc = value != NULL ? json_parse(value, strlen(value), NULL) : NULL;
		const struct json *root = doc != NULL ? json_root(doc) : NULL, *account, *usage;
		size_t seen = 0;

		read_meta_usage(root, feedback);
		/* Of business use cases: a list for each account. */
		for (account = json_first(root); account != NULL; account = json_next(account))
			for (usage = json_first(account); usage != NULL && seen++ < META_MEMBERS_MAX;
			     usage = json_next(usage))
				read_meta_usage(usage, feedback);
		json_doc_free(&doc);
	}
}

/* --- Google: a quota of the day, which begins at midnight in California --- */

/* The day of the n-th Sunday of a month, in days since 1970. */
static int64_t nth_sunday(int year, int month, int n)
{
	struct tm tm = {.tm_year = year, .tm_mon = month, .tm_mday = 1};
	int64_t first = (int64_t)timegm(&tm) / DAY_S;

	/* The first of January 1970 was a Thursday. */
	return first + (10 - first % 7) % 7 + (int64_t)(n - 1) * 7;
}

/* Seconds that California is behind: summer time from the second Sunday of March, 2:00, to the first of November. */
static int64_t california_behind(int64_t time_s)
{
	time_t local = (time_t)(time_s - 8 * 3600);
	struct tm tm;
	int64_t begin, end;

	gmtime_r(&local, &tm);
	begin = nth_sunday(tm.tm_year, 2, 2) * DAY_S + 10 * 3600;	/* 2:00, eight hours behind */
	end = nth_sunday(tm.tm_year, 10, 1) * DAY_S + 9 * 3600;		/* 2:00, seven hours behind */
	return time_s >= begin && time_s < end ? 7 * 3600 : 8 * 3600;
}

int64_t feedback_midnight_ms(int64_t now_ms)
{
	int64_t now_s = now_ms / SECOND_MS, behind = california_behind(now_s);
	int64_t midnight = ((now_s - behind) / DAY_S + 1) * DAY_S + behind;

	/* The clocks may have been changed by then. */
	midnight += california_behind(midnight) - behind;
	return midnight * SECOND_MS - now_ms;
}

static void read_google(const struct feedback_response *response, int64_t now_ms, struct feedback *feedback)
{
	struct json_doc *doc = response->status == 403 ? json_parse(response->body, response->body_len, NULL) : NULL;
	const struct json *error = doc != NULL ? json_first(json_at(json_root(doc), "error.errors")) : NULL;

	for (; error != NULL; error = json_next(error)) {
		const char *reason = json_string(json_member(error, "reason"), NULL);

		if (str_eq(reason, "quotaExceeded") || str_eq(reason, "dailyLimitExceeded"))
			/* A day of 25 hours is cut nowhere else. */
			feedback->park_ms = feedback_midnight_ms(now_ms);
	}
	json_doc_free(&doc);
}

struct feedback feedback_read(unsigned int declared, const struct feedback_response *response, int64_t now_ms)
{
	struct feedback feedback = {0};
	const char *value;

	if ((declared & SL_FEEDBACK_RETRY_AFTER) != 0 && response->status >= 400 &&
	    (value = header(response, "Retry-After")) != NULL)
		park(&feedback, feedback_retry_after_ms(value, now_ms));
	if ((declared & SL_FEEDBACK_RATELIMIT_HEADERS) != 0)
		read_ratelimit(response, now_ms, &feedback);
	if ((declared & SL_FEEDBACK_SHOPIFY) != 0) {
		value = header(response, "X-Shopify-Shop-Api-Call-Limit");
		if (value != NULL)
			read_shopify_bucket(value, &feedback);
		read_shopify_cost(response, &feedback);
	}
	if ((declared & SL_FEEDBACK_META_USAGE) != 0)
		read_meta(response, &feedback);
	if ((declared & SL_FEEDBACK_GOOGLE_QUOTA) != 0)
		read_google(response, now_ms, &feedback);
	return feedback;
}
