/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server, asked over a plain socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "httpd/httpd.h"

static atomic_int done_complete, done_broken;
static struct httpd_request *_Atomic kept;	/* what /later hands to the test */

static void done(void *data, bool complete)
{
	assert_ptr_equal(data, &done_complete);
	atomic_fetch_add(complete ? &done_complete : &done_broken, 1);
}

static void echo(struct httpd_request *request, struct httpd_reply *reply)
{
	const char *query = httpd_query(request, "q"), *header = httpd_header_in(request, "x-test");
	struct buf out;
	size_t len;

	buf_init(&out);
	buf_printf(&out, "%s %s q=%s h=%s ", httpd_method(request), httpd_path(request), query ? query : "-",
		   header ? header : "-");
	buf_adds(&out, httpd_body(request, &len));
	buf_printf(&out, " %zu", len);
	reply->len = out.len;
	reply->body = buf_steal(&out);
	reply->ownership = HTTPD_OWNED;
}

static void handler(void *data, struct httpd_request *request)
{
	static char fixed[] = "0123456789";
	static const struct httpd_header header = {"X-Answer", "yes"};
	struct httpd_reply reply = {.status = 200, .body = fixed, .len = 10, .headers = &header, .header_count = 1,
				    .done = done, .done_data = &done_complete};
	const char *path = httpd_path(request);

	assert_string_equal(data, "data");
	if (str_eq(path, "/later")) {
		atomic_store(&kept, request);
		return;
	}
	if (str_starts(path, "/echo"))
		echo(request, &reply);
	reply.delay_ms = str_eq(path, "/slow") ? 200 : str_eq(path, "/never") ? 3600000 : 0;
	reply.cut = str_eq(path, "/cut");
	reply.cut_after = 4;
	if (str_eq(path, "/empty")) {
		reply.body = NULL;
		reply.status = 204;
	}
	httpd_answer(request, &reply);
}

static struct httpd *start(unsigned int threads)
{
	static char data[] = "data";
	const struct httpd_config config = {.threads = threads, .max_body = 1000, .handler = handler, .data = data};
	struct error err;
	struct httpd *httpd;

	atomic_store(&done_complete, 0);
	atomic_store(&done_broken, 0);
	atomic_store(&kept, NULL);
	httpd = httpd_start(&config, &err);
	assert_non_null(httpd);
	assert_int_not_equal(httpd_port(httpd), 0);
	return httpd;
}

static int ask(struct httpd *httpd, const char *request)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(httpd_port(httpd))};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	return fd;
}

/* Everything until the server closes. */
static char *answer(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	struct buf out;
	ssize_t n;

	buf_init(&out);
	do {
		assert_int_equal(poll(&poll_fd, 1, 30000), 1);
		n = recv(fd, buf_reserve(&out, 4096), 4096, 0);
		out.len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	close(fd);
	buf_addc(&out, '\0');
	return buf_steal(&out);
}

static void expect(struct httpd *httpd, const char *request, const char *status, const char *body)
{
	char *text = answer(ask(httpd, request));

	assert_true(str_starts(text, status));
	assert_true(str_ends(text, body));
	mem_free(&text);
}

static void wait_for(const atomic_int *value, int wanted)
{
	for (int i = 0; i < 3000 && atomic_load(value) != wanted; i++)
		usleep(10000);
	assert_int_equal(atomic_load(value), wanted);
}

static void handler_sees_the_request(void **state)
{
	struct httpd *httpd = start(1);

	(void)state;
	expect(httpd, "GET /echo%20x?q=a%2Fb&r=1 HTTP/1.1\r\nHost: x\r\nX-Test: hi\r\nConnection: close\r\n\r\n",
	       "HTTP/1.1 200 ", "\r\n\r\nGET /echo x q=a/b h=hi  0");
	expect(httpd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
	       "HTTP/1.1 200 ", "\r\n\r\nPOST /echo q=- h=- hello 5");
	expect(httpd, "GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
	       "HTTP/1.1 200 ", "\r\n\r\nGET /echo q=- h=- {} 2");
	expect(httpd, "GET /fixed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 ",
	       "\r\n\r\n0123456789");
	expect(httpd, "GET /empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 204 ", "\r\n\r\n");
	wait_for(&done_complete, 5);
	httpd_stop(&httpd);
	assert_null(httpd);
	assert_int_equal(atomic_load(&done_broken), 0);
}

static void too_large_body_is_refused(void **state)
{
	struct httpd *httpd = start(1);
	char request[2000], body[1002];

	(void)state;
	memset(body, 'x', sizeof(body) - 1);
	body[1001] = '\0';
	str_format(request, sizeof(request),
		   "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nConnection: close\r\n\r\n%s", body);
	expect(httpd, request, "HTTP/1.1 413 ", "\r\n\r\n");
	httpd_stop(&httpd);
}

static void cut_answer_ends_early(void **state)
{
	struct httpd *httpd = start(1);

	(void)state;
	expect(httpd, "GET /cut HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", "\r\n\r\n0123");
	wait_for(&done_broken, 1);
	httpd_stop(&httpd);
}

static void delayed_answers_hold_no_thread(void **state)
{
	struct httpd *httpd = start(1);
	const int64_t begin = clock_mono_ms();
	char *text;
	int fds[40];

	(void)state;
	for (int i = 0; i < 40; i++)
		fds[i] = ask(httpd, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	for (int i = 0; i < 40; i++) {
		text = answer(fds[i]);
		assert_true(str_ends(text, "0123456789"));
		mem_free(&text);
	}
	/* 8 s if they were answered one by one */
	assert_in_range(clock_mono_ms() - begin, 200, 7000);
	httpd_stop(&httpd);
}

static struct httpd_request *kept_take(void)
{
	struct httpd_request *request = NULL;

	for (int i = 0; i < 3000 && !(request = atomic_exchange(&kept, NULL)); i++)
		usleep(10000);
	assert_non_null(request);
	return request;
}

static void answer_from_another_thread(void **state)
{
	struct httpd *httpd = start(2);
	char text[] = "late";
	const struct httpd_reply reply = {.status = 201, .body = text, .len = 4};
	char *got;
	int fd;

	(void)state;
	fd = ask(httpd, "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	httpd_answer(kept_take(), &reply);
	got = answer(fd);
	assert_true(str_starts(got, "HTTP/1.1 201 ") && str_ends(got, "\r\n\r\nlate"));
	mem_free(&got);
	httpd_stop(&httpd);
}

static void stop_ends_what_is_unanswered(void **state)
{
	struct httpd *httpd = start(1);
	const struct httpd_reply reply = {.status = 200, .done = done, .done_data = &done_complete};
	struct httpd_request *request;
	int later, never;

	(void)state;
	never = ask(httpd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
	later = ask(httpd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	request = kept_take();
	httpd_stop(&httpd);
	httpd_answer(request, &reply);
	wait_for(&done_broken, 2);
	assert_int_equal(atomic_load(&done_complete), 0);
	close(later);
	close(never);
}

static void errors_say_why(void **state)
{
	struct httpd *httpd = start(1);
	struct httpd_config config = {.port = httpd_port(httpd), .handler = handler};
	struct error err;
	char text[100];

	(void)state;
	assert_null(httpd_start(&config, &err));
	str_format(text, sizeof(text), "cannot listen on 127.0.0.1 port %u: Address already in use", config.port);
	assert_string_equal(err.text, text);
	config.address = "localhost";
	assert_null(httpd_start(&config, &err));
	assert_string_equal(err.text, "\"localhost\" is not an IP address");
	httpd_stop(&httpd);
	httpd_stop(&httpd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handler_sees_the_request),
		cmocka_unit_test(too_large_body_is_refused),
		cmocka_unit_test(cut_answer_ends_early),
		cmocka_unit_test(delayed_answers_hold_no_thread),
		cmocka_unit_test(answer_from_another_thread),
		cmocka_unit_test(stop_ends_what_is_unanswered),
		cmocka_unit_test(errors_say_why)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
