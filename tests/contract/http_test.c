/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client against a loopback server that answers well and badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "http/http.h"
#include "http_server.h"
#include "loop/loop.h"

#define REQUEST(...) (&(struct http_request){__VA_ARGS__})

struct world {
	struct loop *loop;
	struct http_client *client;
	struct http_server *server;
	char url[600];
};

struct answer {
	struct http_transfer *transfer;
	struct http_response *response;
	struct error err;
	unsigned int calls;
};

static int set_up_with(void **state, unsigned int host_connections)
{
	struct http_options options = {.user_agent = "tester/1", .host_connections = host_connections};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->loop = loop_new();
	w->client = http_client_new(w->loop, &options);
	w->server = http_server_start();
	*state = w;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, 0);
}

static int set_up_two_connections(void **state)
{
	return set_up_with(state, 2);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	http_client_free(&w->client);
	http_server_stop(&w->server);
	loop_free(&w->loop);
	free(w);
	return 0;
}

static const char *url(struct world *w, const char *path)
{
	str_format(w->url, sizeof(w->url), "http://127.0.0.1:%u%s", http_server_port(w->server), path);
	return w->url;
}

static void on_done(void *user, struct http_response *response, const struct error *err)
{
	struct answer *a = user;

	assert_true((response == NULL) != (err == NULL));
	a->calls++;
	a->transfer = NULL;
	a->response = response;
	if (err != NULL)
		a->err = *err;
}

static void wait_calls(struct world *w, struct answer *a)
{
	int64_t until = clock_mono_ms() + 60000;

	while (a->calls == 0) {
		assert_true(clock_mono_ms() < until);
		loop_run_once(w->loop, 1000);
	}
	assert_int_equal(a->calls, 1);
}

static void ask(struct world *w, const struct http_request *request, struct answer *a)
{
	memset(a, 0, sizeof(*a));
	a->transfer = http_start(w->client, request, on_done, a);
	assert_int_equal(a->calls, 0);
	wait_calls(w, a);
	assert_int_equal(http_running(w->client), 0);
}

static void expect_body(struct world *w, const struct http_request *request, int status, const char *body)
{
	struct answer a;

	ask(w, request, &a);
	if (a.response == NULL)
		fail_msg("%s", a.err.text);
	assert_int_equal(a.response->status, status);
	assert_string_equal(a.response->body, body);
	assert_int_equal(a.response->body_len, strlen(body));
	http_response_free(&a.response);
	assert_null(a.response);
}

/* text: what the error says behind the origin; NULL when the words are curl's. */
static void expect_error(struct world *w, const struct http_request *request, enum error_code code,
			 const char *text)
{
	char expected[300];
	struct answer a;

	ask(w, request, &a);
	assert_null(a.response);
	assert_int_equal(a.err.code, code);
	str_format(expected, sizeof(expected), "http://127.0.0.1:%u: %s", http_server_port(w->server),
		   text ? text : "");
	if (text != NULL)
		assert_string_equal(a.err.text, expected);
	else
		assert_true(str_starts(a.err.text, expected));
	assert_null(strstr(a.err.text, "key"));
}

static void test_response_has_status_headers_body_time(void **state)
{
	struct world *w = *state;
	struct http_request request = {.url = url(w, "/ok")};
	struct answer a;

	ask(w, &request, &a);
	assert_non_null(a.response);
	assert_int_equal(a.response->status, 200);
	assert_string_equal(a.response->body, "hello");
	assert_int_equal(a.response->body_len, 5);
	assert_string_equal(a.response->effective_url, w->url);
	assert_true(a.response->total_us > 0);
	assert_int_equal(a.response->header_count, 4);
	assert_string_equal(a.response->headers[0].name, "Content-Length");
	assert_string_equal(http_header(a.response, "content-length", 0), "5");
	assert_string_equal(http_header(a.response, "X-MULTI", 0), "one");
	assert_string_equal(http_header(a.response, "X-MULTI", 1), "two");
	assert_null(http_header(a.response, "X-MULTI", 2));
	assert_string_equal(http_header(a.response, "X-Empty", 0), "");
	assert_null(http_header(a.response, "X-Mult", 0));
	http_response_free(&a.response);
}

static void test_any_status_is_a_response(void **state)
{
	struct world *w = *state;

	expect_body(w, REQUEST(.url = url(w, "/status/404")), 404, "hello");
	expect_body(w, REQUEST(.url = url(w, "/status/503")), 503, "hello");
	expect_body(w, REQUEST(.url = url(w, "/redirect?/ok")), 302, "moved");
	expect_body(w, REQUEST(.url = url(w, "/bytes/0")), 200, "");
	expect_body(w, REQUEST(.url = url(w, "/bytes/1"), .max_body = 1), 200, "x");
	expect_body(w, REQUEST(.url = url(w, "/ok"), .method = "HEAD"), 200, "");
}

static void expect_echo(struct world *w, struct http_request *request, const char *head, const char *tail)
{
	char expected[1000];

	request->url = url(w, "/echo");
	str_format(expected, sizeof(expected),
		   "%s /echo HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: tester/1\r\nAccept: */*\r\n"
		   "Accept-Encoding: gzip, deflate\r\n%s", head, http_server_port(w->server), tail);
	expect_body(w, request, 200, expected);
}

static void test_requests_are_sent_as_written(void **state)
{
	static const char *const headers[] = {
		"Content-Type: application/json", "X-Key: k e y", "X-None:", NULL,
	};
	struct world *w = *state;

	expect_echo(w, REQUEST(.headers = NULL), "GET", "\r\n");
	expect_echo(w, REQUEST(.headers = headers), "GET",
		    "Content-Type: application/json\r\nX-Key: k e y\r\nX-None:\r\n\r\n");
	expect_echo(w, REQUEST(.body = "{}", .body_len = 2, .headers = headers), "POST",
		    "Content-Type: application/json\r\nX-Key: k e y\r\nX-None:\r\n"
		    "Content-Length: 2\r\n\r\n{}");
	expect_echo(w, REQUEST(.body = "abc", .body_len = 3), "POST", "Content-Length: 3\r\n\r\nabc");
	expect_echo(w, REQUEST(.method = "POST"), "POST", "Content-Length: 0\r\n\r\n");
	expect_echo(w, REQUEST(.method = "PUT", .body = "abc", .body_len = 3), "PUT",
		    "Content-Length: 3\r\n\r\nabc");
	expect_echo(w, REQUEST(.method = "GET", .body = "abc", .body_len = 3), "GET",
		    "Content-Length: 3\r\n\r\nabc");
	expect_echo(w, REQUEST(.method = "DELETE"), "DELETE", "\r\n");
}

static void test_wrong_requests_are_refused(void **state)
{
	static const char *const split[] = {"X-Key: a\r\nX-Other: b", NULL};
	static const char *const nameless[] = {": a", NULL};
	static const char *const plain[] = {"key", NULL};
	struct world *w = *state;
	struct answer a;

	expect_error(w, REQUEST(.url = url(w, "/ok"), .headers = split), ERR_INPUT, "a header is malformed");
	expect_error(w, REQUEST(.url = w->url, .headers = nameless), ERR_INPUT, "a header is malformed");
	expect_error(w, REQUEST(.url = w->url, .headers = plain), ERR_INPUT, "a header is malformed");
	expect_error(w, REQUEST(.url = w->url, .method = "GET /x"), ERR_INPUT, "the method is malformed");
	ask(w, REQUEST(.url = "file:///etc/passwd"), &a);
	assert_int_equal(a.err.code, ERR_INPUT);
	assert_string_equal(a.err.text, "?: the URL is malformed or neither http nor https");
	ask(w, REQUEST(.url = NULL), &a);
	assert_int_equal(a.err.code, ERR_INPUT);
	ask(w, REQUEST(.url = "http://127.0.0.1/a b?key"), &a);
	assert_int_equal(a.err.code, ERR_INPUT);
	assert_null(strstr(a.err.text, "key"));
	assert_int_equal(http_server_connections(w->server), 0);
}

static void test_slow_responses_time_out(void **state)
{
	struct world *w = *state;

	expect_error(w, REQUEST(.url = url(w, "/slow"), .timeout_ms = 100), ERR_TIMEOUT, NULL);
	expect_error(w, REQUEST(.url = url(w, "/drip"), .timeout_ms = 100), ERR_TIMEOUT, NULL);
	assert_int_equal(http_server_wait_idle(w->server), 0);
}

static void test_cut_responses_are_errors(void **state)
{
	static const char *const paths[] = {"/cut", "/cut-chunk", "/garbage", "/nothing?key=1"};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		expect_error(w, REQUEST(.url = url(w, paths[i])), ERR_IO, NULL);
}

static void test_refused_connection_is_an_error(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);	/* bound, not listening: nobody else takes the port */
	socklen_t len = sizeof(address);
	struct world *w = *state;
	struct answer a;

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	str_format(w->url, sizeof(w->url), "http://127.0.0.1:%u/?key", ntohs(address.sin_port));
	ask(w, REQUEST(.url = w->url), &a);
	assert_int_equal(a.err.code, ERR_IO);
	assert_true(str_starts(a.err.text, "http://127.0.0.1:"));
	assert_null(strstr(a.err.text, "key"));
	close(fd);
}

static void test_large_responses_are_refused(void **state)
{
	struct world *w = *state;

	expect_error(w, REQUEST(.url = url(w, "/bytes/1001"), .max_body = 1000), ERR_LIMIT,
		     "the response is larger than 1000 bytes");
	expect_error(w, REQUEST(.url = url(w, "/endless"), .max_body = 100000), ERR_LIMIT,
		     "the response is larger than 100000 bytes");
	expect_error(w, REQUEST(.url = url(w, "/endless")), ERR_LIMIT,
		     "the response is larger than 16777216 bytes");
	expect_error(w, REQUEST(.url = url(w, "/headers")), ERR_LIMIT,
		     "the response's headers are larger than 262144 bytes");
}

static void test_the_limit_holds_for_what_is_decoded(void **state)
{
	struct world *w = *state;

	expect_body(w, REQUEST(.url = url(w, "/gzip")), 200, "hello");
	expect_error(w, REQUEST(.url = url(w, "/gzip"), .max_body = 4), ERR_LIMIT,
		     "the response is larger than 4 bytes");
	expect_error(w, REQUEST(.url = url(w, "/bomb")), ERR_LIMIT,
		     "the response is larger than 16777216 bytes");
}

static void test_connections_are_used_again(void **state)
{
	struct world *w = *state;
	char expected[32];

	for (int i = 1; i <= 5; i++) {
		str_format(expected, sizeof(expected), "1 %d", i);
		expect_body(w, REQUEST(.url = url(w, "/count")), 200, expected);
	}
	assert_int_equal(http_server_connections(w->server), 1);
}

static void test_redirects_are_followed_when_asked(void **state)
{
	static const char *const headers[] = {"X-Key: key", NULL};
	struct world *w = *state;
	char away[100], path[100];

	expect_body(w, REQUEST(.url = url(w, "/redirect?/ok"), .follow_redirects = true), 200, "hello");
	expect_body(w, REQUEST(.url = w->url, .follow_redirects = true, .headers = headers), 200, "hello");
	expect_error(w, REQUEST(.url = url(w, "/loop"), .follow_redirects = true), ERR_INPUT, NULL);
	expect_error(w, REQUEST(.url = url(w, "/redirect?file:///etc/passwd"), .follow_redirects = true),
		     ERR_IO, NULL);
	str_format(away, sizeof(away), "http://localhost:%u/ok", http_server_port(w->server));
	str_format(path, sizeof(path), "/redirect?%s", away);
	expect_body(w, REQUEST(.url = url(w, path), .follow_redirects = true), 200, "hello");
	expect_error(w, REQUEST(.url = w->url, .follow_redirects = true, .headers = headers), ERR_INPUT,
		     "a redirect leads to another origin");
}

static void test_addresses_that_are_not_public_are_refused(void **state)
{
	struct world *w = *state;

	expect_error(w, REQUEST(.url = url(w, "/ok"), .public_only = true), ERR_INPUT,
		     "the address is not public");
	assert_int_equal(http_server_connections(w->server), 0);
	/* Nor may a connection that another request left behind be used. */
	expect_body(w, REQUEST(.url = url(w, "/ok")), 200, "hello");
	expect_error(w, REQUEST(.url = url(w, "/ok"), .public_only = true), ERR_INPUT,
		     "the address is not public");
	assert_int_equal(http_server_connections(w->server), 1);
}

static void test_cancelled_requests_never_call_back(void **state)
{
	struct http_request request = {.method = "?!"};
	struct world *w = *state;
	struct answer slow = {.calls = 0}, refused = {.calls = 0}, ok = {.calls = 0};

	request.url = url(w, "/slow");
	slow.transfer = http_start(w->client, REQUEST(.url = w->url), on_done, &slow);
	while (http_server_connections(w->server) == 0)
		loop_run_once(w->loop, 1000);
	refused.transfer = http_start(w->client, &request, on_done, &refused);
	assert_int_equal(http_running(w->client), 2);
	http_cancel(&slow.transfer);
	http_cancel(&refused.transfer);
	assert_null(slow.transfer);
	http_cancel(&slow.transfer);
	assert_int_equal(http_running(w->client), 0);
	ok.transfer = http_start(w->client, REQUEST(.url = url(w, "/ok")), on_done, &ok);
	wait_calls(w, &ok);
	http_response_free(&ok.response);
	assert_int_equal(slow.calls + refused.calls, 0);
	/* One that is still running when its client goes. */
	slow.transfer = http_start(w->client, REQUEST(.url = url(w, "/slow")), on_done, &slow);
	loop_run_once(w->loop, 1000);
	http_client_free(&w->client);
	assert_int_equal(slow.calls, 0);
	w->client = http_client_new(w->loop, &(struct http_options){.user_agent = NULL});
}

struct chain {
	struct world *w;
	struct http_transfer *victim;
	unsigned int calls;
};

/* Starts the next request, and cancels another one, inside a callback. */
static void on_chain(void *user, struct http_response *response, const struct error *err)
{
	struct chain *chain = user;

	assert_null(err);
	http_response_free(&response);
	if (chain->calls++ == 0)
		http_cancel(&chain->victim);
	if (chain->calls < 10)
		http_start(chain->w->client, REQUEST(.url = url(chain->w, "/ok")), on_chain, chain);
}

static void test_callbacks_may_start_and_cancel(void **state)
{
	struct world *w = *state;
	struct chain chain = {.w = w};
	struct answer victim = {.calls = 0};
	int64_t until = clock_mono_ms() + 60000;

	chain.victim = http_start(w->client, REQUEST(.url = url(w, "/slow")), on_done, &victim);
	http_start(w->client, REQUEST(.url = url(w, "/ok")), on_chain, &chain);
	while (chain.calls < 10 && clock_mono_ms() < until)
		loop_run_once(w->loop, 1000);
	assert_int_equal(chain.calls, 10);
	assert_int_equal(victim.calls, 0);
	assert_int_equal(http_running(w->client), 0);
}

static void run_many(struct world *w, size_t count)
{
	struct answer *answers = calloc(count, sizeof(*answers));

	assert_non_null(answers);
	for (size_t i = 0; i < count; i++)
		answers[i].transfer = http_start(w->client, REQUEST(.url = url(w, "/bytes/20000")),
						 on_done, &answers[i]);
	assert_int_equal(http_running(w->client), count);
	for (size_t i = 0; i < count; i++) {
		wait_calls(w, &answers[i]);
		if (answers[i].response == NULL)
			fail_msg("%s", answers[i].err.text);
		assert_int_equal(answers[i].response->body_len, 20000);
		http_response_free(&answers[i].response);
	}
	assert_int_equal(http_running(w->client), 0);
	free(answers);
}

static void test_many_requests_at_once(void **state)
{
	run_many(*state, 200);
}

static void test_connections_to_a_host_are_bounded(void **state)
{
	struct world *w = *state;

	run_many(w, 50);
	assert_int_equal(http_server_connections(w->server), 2);
	assert_int_equal(http_server_most(w->server), 2);
}

#define HTTP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HTTP_TEST(test_response_has_status_headers_body_time),
		HTTP_TEST(test_any_status_is_a_response),
		HTTP_TEST(test_requests_are_sent_as_written),
		HTTP_TEST(test_wrong_requests_are_refused),
		HTTP_TEST(test_slow_responses_time_out),
		HTTP_TEST(test_cut_responses_are_errors),
		HTTP_TEST(test_refused_connection_is_an_error),
		HTTP_TEST(test_large_responses_are_refused),
		HTTP_TEST(test_the_limit_holds_for_what_is_decoded),
		HTTP_TEST(test_connections_are_used_again),
		HTTP_TEST(test_redirects_are_followed_when_asked),
		HTTP_TEST(test_addresses_that_are_not_public_are_refused),
		HTTP_TEST(test_cancelled_requests_never_call_back),
		HTTP_TEST(test_callbacks_may_start_and_cancel),
		HTTP_TEST(test_many_requests_at_once),
		cmocka_unit_test_setup_teardown(test_connections_to_a_host_are_bounded,
						set_up_two_connections,
						tear_down),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
