/* SPDX-License-Identifier: Apache-2.0 */
/* What upstreams say of their limits, and what says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <sluice/http.h>

#include "base/clock.h"
#include "limit/feedback.h"

#define ALL 0xffU
#define NOW (INT64_C(1700000000) * 1000)	/* 2023-11-14 22:13:20 */
#define HOUR_MS (INT64_C(3600) * 1000)
#define DAY_MS (24 * HOUR_MS)

struct said {
	const char *name, *value;	/* one header; NULL: none */
	int64_t park_ms, left, left_ms;
};

static struct feedback read_headers(unsigned int declared, int status, const struct feedback_header *headers,
				    size_t count)
{
	const struct feedback_response response = {status, headers, count, "", 0};

	return feedback_read(declared, &response, NOW);
}

static void expect(unsigned int declared, int status, const struct said *said, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct feedback_header header = {said[i].name, said[i].value};
		struct feedback got = read_headers(declared, status, &header, 1);

		if (got.park_ms != said[i].park_ms || got.left_ms != said[i].left_ms ||
		    (got.left_ms > 0 && got.left != said[i].left))
			fail_msg("%s: %s: parks %lld ms, leaves %lld in %lld ms", said[i].name, said[i].value,
				 (long long)got.park_ms, (long long)got.left, (long long)got.left_ms);
	}
}
#define EXPECT(declared, status, said) expect(declared, status, said, sizeof(said) / sizeof((said)[0]))

static void test_retry_after(void **state)
{
	static const struct said said[] = {
		{"Retry-After", "30", 30000, 0, 0},
		{"retry-after", "0", 0, 0, 0},
		{"RETRY-AFTER", "Tue, 14 Nov 2023 22:14:20 GMT", 60000, 0, 0},
		{"Retry-After", "Tue, 14 Nov 2023 22:13:00 GMT", 0, 0, 0},
		{"Retry-After", "86401", DAY_MS, 0, 0},
		{"Retry-After", "9223372036854775807", DAY_MS, 0, 0},
		{"Retry-After", "-5", 0, 0, 0},
		{"Retry-After", "soon", 0, 0, 0},
		{"Retry-After", "", 0, 0, 0},
		{"Retry-After", "99999999999999999999", 0, 0, 0},
		{"Retry-Afterwards", "30", 0, 0, 0},
	};
	static const struct said nothing[] = {{"Retry-After", "30", 0, 0, 0}};

	(void)state;
	EXPECT(SL_FEEDBACK_RETRY_AFTER, 429, said);
	EXPECT(SL_FEEDBACK_RETRY_AFTER, 503, said);
	EXPECT(SL_FEEDBACK_RETRY_AFTER, 200, nothing);
	EXPECT(ALL & ~(unsigned int)SL_FEEDBACK_RETRY_AFTER, 429, nothing);
}

static struct feedback ratelimit(const char *remaining_name, const char *remaining, const char *reset_name,
				 const char *reset, const char *limit_name, const char *limit)
{
	const struct feedback_header headers[] = {
		{"Content-Type", "text/plain"}, {reset_name, reset}, {limit_name, limit}, {remaining_name, remaining}};

	return read_headers(SL_FEEDBACK_RATELIMIT_HEADERS, 200, headers, 4);
}

static void test_ratelimit_headers(void **state)
{
	struct feedback said = ratelimit("X-RateLimit-Remaining", "7", "X-RateLimit-Reset", "60", "X-RateLimit-Limit",
					 "100");

	(void)state;
	assert_int_equal(said.park_ms, 0);
	assert_int_equal(said.left, 7);
	assert_int_equal(said.left_ms, 60000);
	/* Half is left: nobody has to slow down yet. */
	said = ratelimit("X-RateLimit-Remaining", "51", "X-RateLimit-Reset", "60", "X-RateLimit-Limit", "100");
	assert_int_equal(said.left_ms, 0);
	/* Since 1970, in seconds and in milliseconds; other spellings. */
	said = ratelimit("x-rate-limit-remaining", "0", "x-rate-limit-reset", "1700000090", "other", "1");
	assert_int_equal(said.park_ms, 90000);
	said = ratelimit("RateLimit_Remaining", "0", "RATELIMIT-RESET", "1700000005500", "other", "1");
	assert_int_equal(said.park_ms, 5500);
	said = ratelimit("x-ratelimit-requests-remaining", "3", "x-ratelimit-requests-reset", "1.2", "other", "1");
	assert_int_equal(said.left, 3);
	assert_int_equal(said.left_ms, 2000);
	said = ratelimit("RateLimit-Remaining", "3, 3;w=1", "RateLimit-Reset", "5", "RateLimit-Limit", "10, 10;w=1");
	assert_int_equal(said.left, 3);
	said = ratelimit("x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "6m0s", "X", "1");
	assert_int_equal(said.park_ms, 360000);
	said = ratelimit("x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "120ms", "X", "1");
	assert_int_equal(said.park_ms, 120);
	/* A month ahead: said again before. */
	said = ratelimit("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "2600000", "X-RateLimit-Limit", "10");
	assert_int_equal(said.park_ms, DAY_MS);
	/* In the past; another budget's reset; none at all. */
	said = ratelimit("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1699999999", "X-RateLimit-Limit", "10");
	assert_int_equal(said.park_ms, 0);
	said = ratelimit("X-RateLimit-Daily-Remaining", "5", "X-RateLimit-Hourly-Reset", "60", "X", "1");
	assert_int_equal(said.left_ms, 0);
	said = ratelimit("X-RateLimit-Remaining", "0", "X", "60", "X", "1");
	assert_int_equal(said.park_ms, 60000);
}

static void test_ratelimit_of_several_budgets(void **state)
{
	const struct feedback_header headers[] = {
		{"X-RateLimit-Day-Remaining", "2"}, {"X-RateLimit-Day-Reset", "1000"},
		{"X-RateLimit-Minute-Remaining", "1"}, {"X-RateLimit-Minute-Reset", "10"},
		{"X-RateLimit-Hour-Remaining", "0"}, {"X-RateLimit-Hour-Reset", "100"}};
	struct feedback said = read_headers(SL_FEEDBACK_RATELIMIT_HEADERS, 200, headers, 6);

	(void)state;
	assert_int_equal(said.park_ms, 100000);
	assert_int_equal(said.left, 1);
	assert_int_equal(said.left_ms, 10000);
}

static void test_ratelimit_bad(void **state)
{
	static const char *const bad[] = {"", "-1", "many", "0x10", "1e3", "99999999999999999999999", "1.2.3", "0abc", " 5"};
	static const struct said said[] = {
		{"X-RateLimit-Remaining", "5", 0, 0, 0},
		{"X-Remaining", "0", 0, 0, 0},
		{"RateLimitless", "0", 0, 0, 0},
		{"X-RateLimit-Remaining-of-a-name-that-is-much-longer-than-any-header-that-anybody-sends", "0", 0, 0, 0},
	};

	(void)state;
	EXPECT(SL_FEEDBACK_RATELIMIT_HEADERS, 200, said);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct feedback got = ratelimit("X-RateLimit-Remaining", bad[i], "X-RateLimit-Reset", "9", "X", "1");

		assert_int_equal(got.park_ms, 0);
		assert_int_equal(got.left_ms, 0);
		got = ratelimit("X-RateLimit-Remaining", "4", "X-RateLimit-Reset", bad[i], "X", "1");
		assert_int_equal(got.left_ms, 0);
	}
}

static void test_shopify_bucket(void **state)
{
	static const struct said said[] = {
		{"X-Shopify-Shop-Api-Call-Limit", "1/40", 0, 0, 0},
		{"x-shopify-shop-api-call-limit", "32/40", 0, 8, 1000},
		{"X-Shopify-Shop-Api-Call-Limit", "40/40", 1000, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "45/40", 1000, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "32", 0, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "/40", 0, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "32/", 0, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "32/0", 0, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "-3/40", 0, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "a/b", 0, 0, 0},
		{"X-Shopify-Shop-Api-Call-Limit", "99999999999999999999999999999/40", 0, 0, 0},
	};

	(void)state;
	EXPECT(SL_FEEDBACK_SHOPIFY, 200, said);
}

static struct feedback body_of(unsigned int declared, int status, const char *body, int64_t now_ms)
{
	const struct feedback_response response = {status, NULL, 0, body, strlen(body)};

	return feedback_read(declared, &response, now_ms);
}

static void test_shopify_cost(void **state)
{
	struct feedback said = body_of(SL_FEEDBACK_SHOPIFY, 200,
		"{\"extensions\":{\"cost\":{\"requestedQueryCost\":100,\"throttleStatus\":{\"maximumAvailable\":1000.0,"
		"\"currentlyAvailable\":350,\"restoreRate\":50.0}}}}", NOW);

	(void)state;
	assert_int_equal(said.left, 3);
	assert_int_equal(said.left_ms, 1000);
	said = body_of(SL_FEEDBACK_SHOPIFY, 200,
		"{\"extensions\":{\"cost\":{\"requestedQueryCost\":100,\"throttleStatus\":{\"maximumAvailable\":1000.0,"
		"\"currentlyAvailable\":50,\"restoreRate\":50.0}}}}", NOW);
	assert_int_equal(said.park_ms, 1001);
	said = body_of(SL_FEEDBACK_SHOPIFY, 200,
		"{\"extensions\":{\"cost\":{\"requestedQueryCost\":100,\"throttleStatus\":{\"maximumAvailable\":1000.0,"
		"\"currentlyAvailable\":900,\"restoreRate\":50.0}}}}", NOW);
	assert_int_equal(said.left_ms, 0);
	said = body_of(SL_FEEDBACK_SHOPIFY, 200,
		"{\"extensions\":{\"cost\":{\"requestedQueryCost\":100,\"throttleStatus\":{\"maximumAvailable\":1000.0,"
		"\"currentlyAvailable\":50,\"restoreRate\":0}}}}", NOW);
	assert_int_equal(said.park_ms, 0);
	said = body_of(SL_FEEDBACK_SHOPIFY, 200, "{\"extensions\":{\"cost\":{\"throttleStatus\":[1]}}", NOW);
	assert_int_equal(said.park_ms + said.left_ms, 0);
	said = body_of(ALL & ~(unsigned int)SL_FEEDBACK_SHOPIFY, 200,
		"{\"extensions\":{\"cost\":{\"requestedQueryCost\":100,\"throttleStatus\":{\"maximumAvailable\":1000.0,"
		"\"currentlyAvailable\":50,\"restoreRate\":50.0}}}}", NOW);
	assert_int_equal(said.park_ms, 0);
}

static void test_meta(void **state)
{
	static const struct said said[] = {
		{"X-App-Usage", "{\"call_count\":99,\"total_time\":25,\"total_cputime\":12}", 0, 0, 0},
		{"x-app-usage", "{\"call_count\":28,\"total_time\":100,\"total_cputime\":12}", 300000, 0, 0},
		{"X-App-Usage", "{\"call_count\":28,\"total_time\":1,\"total_cputime\":103.5}", 300000, 0, 0},
		{"X-App-Usage", "{\"call_count\":[100]}", 0, 0, 0},
		{"X-App-Usage", "call_count=100", 0, 0, 0},
		{"X-App-Usage", "", 0, 0, 0},
		{"X-Business-Use-Case-Usage",
		 "{\"17841\":[{\"type\":\"instagram\",\"call_count\":100,\"total_cputime\":25,\"total_time\":25,"
		 "\"estimated_time_to_regain_access\":19}]}", 19 * 60000, 0, 0},
		{"X-Business-Use-Case-Usage",
		 "{\"1\":[{\"call_count\":1}],\"2\":[{\"call_count\":2},{\"call_count\":100,"
		 "\"estimated_time_to_regain_access\":0}]}", 300000, 0, 0},
		{"X-Business-Use-Case-Usage",
		 "{\"1\":[{\"estimated_time_to_regain_access\":99999999999}]}", DAY_MS, 0, 0},
		{"X-Business-Use-Case-Usage", "{\"1\":[{\"call_count\":99,\"estimated_time_to_regain_access\":0}]}", 0, 0, 0},
		{"X-Business-Use-Case-Usage", "{\"1\":\"many\",\"2\":[null,7]}", 0, 0, 0},
		{"X-Business-Use-Case-Usage", "[[[[", 0, 0, 0},
	};

	(void)state;
	EXPECT(SL_FEEDBACK_META_USAGE, 200, said);
}

static int64_t at(const char *text)
{
	int64_t time_ms;

	assert_int_equal(clock_parse(text, strlen(text), &time_ms), 0);
	return time_ms;
}

static void test_midnight_in_california(void **state)
{
	static const char *const cases[][2] = {
		{"2023-11-14 22:13:20", "2023-11-15 08:00:00"},		/* winter */
		{"2023-11-14 07:59:59", "2023-11-14 08:00:00"},
		{"2023-11-14 08:00:00", "2023-11-15 08:00:00"},
		{"2023-07-01 06:59:59", "2023-07-01 07:00:00"},		/* summer */
		{"2023-07-01 07:00:00", "2023-07-02 07:00:00"},
		{"2023-03-12 08:30:00", "2023-03-13 07:00:00"},		/* a day of 23 hours */
		{"2023-11-05 07:30:00", "2023-11-06 08:00:00"},		/* a day of 25 */
		{"2024-03-10 09:59:59", "2024-03-11 07:00:00"},
		{"2026-03-08 10:00:00", "2026-03-09 07:00:00"},
		{"2026-11-01 08:59:59", "2026-11-02 08:00:00"},
		{"2027-12-31 23:00:00", "2028-01-01 08:00:00"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(at(cases[i][0]) + feedback_midnight_ms(at(cases[i][0])), at(cases[i][1]));
}

static void test_google_quota(void **state)
{
	static const char quota[] = "{\"error\":{\"code\":403,\"errors\":[{\"reason\":\"quotaExceeded\"}]}}";
	static const char pace[] = "{\"error\":{\"code\":403,\"errors\":[{\"reason\":\"rateLimitExceeded\"}]}}";
	int64_t now = at("2023-11-05 07:30:00");

	(void)state;
	assert_int_equal(body_of(SL_FEEDBACK_GOOGLE_QUOTA, 403, quota, now).park_ms, 24 * HOUR_MS + HOUR_MS / 2);
	assert_int_equal(body_of(SL_FEEDBACK_GOOGLE_QUOTA, 400, quota, now).park_ms, 0);
	assert_int_equal(body_of(SL_FEEDBACK_GOOGLE_QUOTA, 403, pace, now).park_ms, 0);
	assert_int_equal(body_of(SL_FEEDBACK_GOOGLE_QUOTA, 403, "{\"error\":{\"errors\":\"quotaExceeded\"}}", now).park_ms, 0);
	assert_int_equal(body_of(SL_FEEDBACK_GOOGLE_QUOTA, 403, "", now).park_ms, 0);
	assert_int_equal(body_of(ALL & ~(unsigned int)SL_FEEDBACK_GOOGLE_QUOTA, 403, quota, now).park_ms, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_ratelimit_headers),
		cmocka_unit_test(test_ratelimit_of_several_budgets),
		cmocka_unit_test(test_ratelimit_bad),
		cmocka_unit_test(test_shopify_bucket),
		cmocka_unit_test(test_shopify_cost),
		cmocka_unit_test(test_meta),
		cmocka_unit_test(test_midnight_in_california),
		cmocka_unit_test(test_google_quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
