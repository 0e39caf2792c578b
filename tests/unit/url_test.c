/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, queries, Link headers, and which addresses are public. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/url.h"

static void test_urls_are_taken_apart(void **state)
{
	struct http_url url;

	(void)state;
	assert_int_equal(http_url_parse("HTTPS://user:p@ss@API.example.com:8443/a?b#c", &url), 0);
	assert_true(url.tls && url.has_user);
	assert_int_equal(url.port, 8443);
	assert_int_equal(url.host_len, 15);
	assert_memory_equal(url.host, "API.example.com", 15);
	assert_string_equal(url.path, "/a?b#c");
	assert_int_equal(http_url_parse("http://[::1]:80", &url), 0);
	assert_int_equal(url.host_len, 5);
	assert_int_equal(url.port, 80);
	assert_string_equal(url.path, "");
	assert_int_equal(http_url_parse("https://a?x", &url), 0);
	assert_int_equal(url.port, 443);
	assert_int_equal(http_url_parse("https://a:/x", &url), 0);
	assert_int_equal(url.port, 443);
}

static void test_what_is_no_url_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "/relative", "example.com", "ftp://a/", "file:///etc/passwd", "http:/a", "http://", "http:///a",
		"http://a:0/", "http://a:65536/", "http://a:8x/", "http://a b/", "http://a\\@b/", "http://a\\b/",
		"http://[::1/", "http://[g]/", "http://::1/", "http://a\n/", "http://@/", "http://a%2fb/",
	};
	struct http_url url;

	(void)state;
	assert_int_equal(http_url_parse(NULL, &url), -1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (http_url_parse(bad[i], &url) != -1)
			fail_msg("%s is taken for a URL", bad[i]);
}

static void assert_origin(const char *url, const char *expected)
{
	struct buf out;

	buf_init(&out);
	http_url_origin(&out, url);
	assert_string_equal(out.data, expected);
	buf_fini(&out);
}

static void test_origin_has_no_secrets(void **state)
{
	(void)state;
	assert_origin("https://user:secret@a.example/path?key=secret", "https://a.example");
	assert_origin("http://a.example:443/", "http://a.example:443");
	assert_origin("http://a.example:80/", "http://a.example");
	assert_origin("nothing", "?");
}

static void test_same_origin(void **state)
{
	(void)state;
	assert_true(http_same_origin("https://a.example/x", "HTTPS://A.example:443/y?z"));
	assert_true(http_same_origin("http://a.example:80", "http://a.example/"));
	assert_false(http_same_origin("https://a.example/", "http://a.example/"));
	assert_false(http_same_origin("https://a.example/", "https://a.example:444/"));
	assert_false(http_same_origin("https://a.example/", "https://b.example/"));
	assert_false(http_same_origin("https://a.example/", "https://a.example.evil/"));
	assert_false(http_same_origin("https://a.example/", "https://a.example@evil/"));
	assert_false(http_same_origin("https://a.example/", "https://evil\\@a.example/"));
	assert_false(http_same_origin("https://a.example/", "/relative"));
	assert_false(http_same_origin("/x", "/x"));
	assert_false(http_same_origin(NULL, NULL));
}

static void test_queries_and_forms(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out);
	buf_adds(&out, "https://a/b");
	http_add_query(&out, "first", "1");
	http_add_query(&out, "none", NULL);
	http_add_query(&out, "with space", "a&b=c/\xc3\xa9+~");
	assert_string_equal(out.data, "https://a/b?first=1&with%20space=a%26b%3Dc%2F%C3%A9%2B~");
	buf_clear(&out);
	buf_adds(&out, "https://a/b?");
	http_add_query(&out, "x", "");
	http_add_query(&out, "y", "2");
	assert_string_equal(out.data, "https://a/b?x=&y=2");
	buf_clear(&out);
	http_add_form(&out, "grant_type", "refresh_token");
	http_add_form(&out, "token", "a b");
	assert_string_equal(out.data, "grant_type=refresh_token&token=a%20b");
	buf_fini(&out);
}

static void assert_next(const char *header, const char *expected)
{
	size_t len;
	const char *target = http_link_next(header, &len);

	if (expected == NULL) {
		assert_null(target);
		return;
	}
	assert_non_null(target);
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(target, expected, len);
}

static void test_next_link(void **state)
{
	(void)state;
	assert_next("<https://s.example/admin/orders.json?page_info=abc&limit=250>; rel=\"next\"",
		    "https://s.example/admin/orders.json?page_info=abc&limit=250");
	assert_next("<https://s/p>; rel=\"previous\", <https://s/n,1;2>; rel=\"next\"", "https://s/n,1;2");
	assert_next("<https://s/n>;rel=next,<https://s/l>;rel=last", "https://s/n");
	assert_next(" ,, <a> ; title=\"x, \\\"y\\\"; rel=next\" , <b> ; REL = \"last Next\"", "b");
	assert_next("<a>; rel=prev; rel=next", NULL);
	assert_next("<a>; rel=\"nextish\"", NULL);
	assert_next("<a>; xrel=next", NULL);
	assert_next("<a>; rel=\"prev\"", NULL);
	assert_next("<a", NULL);
	assert_next("<a>; rel=\"next", "a");
	assert_next("<a>; rel", NULL);
	assert_next("<a>; crossorigin; rel=next", "a");
	assert_next("", NULL);
	assert_next("garbage", NULL);
	assert_next(NULL, NULL);
}

static void test_public_addresses(void **state)
{
	static const char *const public[] = {
		"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.255", "198.20.0.1",
		"2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
		"2002:808:808::1",
	};
	static const char *const other[] = {
		"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.8", "192.0.2.1", "198.18.0.1",
		"198.51.100.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1",
		"fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "2001::1", "::ffff:127.0.0.1",
		"::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "3fff::1", "::127.0.0.1", "fec0::1",
		"fe80::1%lo", "", "8.8.8", "localhost",
	};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr unix_address = {.sa_family = AF_UNIX};

	(void)state;
	for (size_t i = 0; i < sizeof(public) / sizeof(*public); i++)
		if (!http_address_text_public(public[i]))
			fail_msg("%s is not taken for public", public[i]);
	for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++)
		if (http_address_text_public(other[i]))
			fail_msg("%s is taken for public", other[i]);
	inet_pton(AF_INET, "8.8.8.8", &v4.sin_addr);
	assert_true(http_address_public((struct sockaddr *)&v4));
	inet_pton(AF_INET, "127.0.0.1", &v4.sin_addr);
	assert_false(http_address_public((struct sockaddr *)&v4));
	inet_pton(AF_INET6, "::1", &v6.sin6_addr);
	assert_false(http_address_public((struct sockaddr *)&v6));
	assert_false(http_address_public(&unix_address));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls_are_taken_apart),
		cmocka_unit_test(test_what_is_no_url_is_refused),
		cmocka_unit_test(test_origin_has_no_secrets),
		cmocka_unit_test(test_same_origin),
		cmocka_unit_test(test_queries_and_forms),
		cmocka_unit_test(test_next_link),
		cmocka_unit_test(test_public_addresses),
	};

	return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
