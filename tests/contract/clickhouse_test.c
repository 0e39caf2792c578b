/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of ClickHouse servers against servers that answer badly or not
 * at all, by script: what it sends, what each end of a request means, which
 * host is asked. What a real server makes of it is tested by warehouse_test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "warehouse/native.h"
#include "warehouse/warehouse.h"

#define FEATURES "version 26.7.2.1\nutc 1\nset async_insert\nset insert_deduplication_token\n" \
	"set deduplicate_insert\nset log_comment\nset insert_distributed_sync\nmt fsync_after_insert\n"

#define CLIENTS 8

enum act { ANSWER, CUT, CUT_IN_BODY, HANG };

struct step {
	enum act act;
	const char *status;	/* NULL: 200 OK */
	const char *headers;	/* each with its CR LF; or NULL */
	const char *body;
	size_t body_len;	/* 0: of the text */
};

struct fake {
	int fd;
	unsigned int port;
	pthread_t thread;
	const struct step *step;	/* of the next request that is not the question for features */
	size_t steps;
	atomic_size_t connections, requests, pings;
	atomic_bool stop, stopped;	/* ended; answers nobody until it goes on */
	atomic_int client;		/* the socket being served, or -1 */
	struct buf in;			/* what is being received */
	struct buf last;		/* the last request; read it between requests only */
};

static struct fake *fakes[2];

/* The servers. */

static size_t content_length(const char *head)
{
	const char *line = strcasestr(head, "\r\nContent-Length:");

	return line ? strtoul(line + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

/* One request into fake->in; false at the end of the connection, or when no more of it is wanted. */
static bool receive(struct fake *fake, int fd)
{
	const char *end = NULL;

	buf_clear(&fake->in);
	while (!(end && fake->in.len >= (size_t)(end + 4 - fake->in.data) + content_length(fake->in.data))) {
		ssize_t got = recv(fd, buf_reserve(&fake->in, 4096), 4096, 0);

		if (got <= 0 || (fake->steps && fake->step->act == CUT_IN_BODY))
			return false;
		fake->in.len += (size_t)got;
		fake->in.data[fake->in.len] = '\0';
		end = strstr(fake->in.data, "\r\n\r\n");
	}
	return true;
}

static void answer(int fd, const struct step *step)
{
	size_t len = step->body_len ? step->body_len : step->body ? strlen(step->body) : 0;
	struct buf out;

	buf_init(&out);
	buf_printf(&out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", step->status ? step->status : "200 OK", len,
		   step->headers ? step->headers : "");
	buf_add(&out, step->body ? step->body : "", len);
	send(fd, out.data, out.len, MSG_NOSIGNAL);
	buf_fini(&out);
}

/* False when the connection is to end. */
static bool serve_one(struct fake *fake, int fd)
{
	static const struct step fine, features = {.body = FEATURES};
	const struct step *step;

	if (!receive(fake, fd))
		return false;
	if (strstr(fake->in.data, "SELECT concat('version ")) {
		answer(fd, &features);
		return true;
	}
	if (str_ends(fake->in.data, "\r\n\r\nSELECT 1") && !(fake->steps && fake->step->act == HANG)) {
		fake->pings++;
		answer(fd, &fine);
		return true;
	}
	step = fake->steps ? fake->step : &fine;
	fake->requests++;
	buf_clear(&fake->last);
	buf_add(&fake->last, fake->in.data, fake->in.len);
	if (fake->steps) {
		fake->steps--;
		fake->step++;
	}
	if (step->act == HANG)
		while (!fake->stop && recv(fd, (char[1]){0}, 1, 0) > 0)
			;
	if (step->act != ANSWER)
		return false;
	answer(fd, step);
	return true;
}

/* Serves the clients one request at a time: polls[0] is the listener. */
static void *serve(void *user)
{
	struct fake *fake = user;
	struct pollfd polls[1 + CLIENTS] = {{.fd = fake->fd, .events = POLLIN}};
	nfds_t count = 1;

	while (poll(polls, count, -1) > 0 && !fake->stop) {
		while (fake->stopped && !fake->stop)
			usleep(10000);
		for (nfds_t i = count - 1; i > 0; i--) {
			if (!polls[i].revents)
				continue;
			fake->client = polls[i].fd;
			if (!serve_one(fake, polls[i].fd)) {
				close(polls[i].fd);
				polls[i] = polls[--count];
			}
			fake->client = -1;
		}
		if (polls[0].revents && count <= CLIENTS) {
			int fd = accept(fake->fd, NULL, NULL);

			if (fd < 0)
				break;
			fake->connections++;
			polls[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
		}
	}
	while (count > 1)
		close(polls[--count].fd);
	return NULL;
}

static struct fake *fake_start(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct fake *fake = calloc(1, sizeof(*fake));
	socklen_t len = sizeof(address);

	assert_non_null(fake);
	fake->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fake->fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fake->fd, 16), 0);
	assert_int_equal(getsockname(fake->fd, (struct sockaddr *)&address, &len), 0);
	fake->client = -1;
	fake->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
	return fake;
}

static void fake_stop(struct fake **fake)
{
	if (!*fake)
		return;
	(*fake)->stop = true;
	shutdown((*fake)->fd, SHUT_RDWR);
	if ((*fake)->client >= 0)
		shutdown((*fake)->client, SHUT_RDWR);
	pthread_join((*fake)->thread, NULL);
	close((*fake)->fd);
	buf_fini(&(*fake)->in);
	buf_fini(&(*fake)->last);
	free(*fake);
	*fake = NULL;
}

static int set_up(void **state)
{
	(void)state;
	fakes[0] = fake_start();
	fakes[1] = fake_start();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_stop(&fakes[0]);
	fake_stop(&fakes[1]);
	return 0;
}

/* Takes the script; the server waits for the next request or connection then. */
static void script(struct fake *fake, const struct step *steps, size_t count)
{
	fake->step = steps;
	fake->steps = count;
}

/* The driver */

static struct warehouse *open_on(const char *hosts, const char *options)
{
	struct error err = {0};
	struct warehouse *wh;
	char url[200];

	snprintf(url, sizeof(url), "clickhouse://me:s3cr%%20t@%s/_e%s", hosts, options);
	wh = warehouse_open(url, NULL, &err);
	if (!wh)
		fail_msg("%s", err.text);
	return wh;
}

static struct warehouse *open_first(const char *options)
{
	char host[64];

	snprintf(host, sizeof(host), "127.0.0.1:%u", fakes[0]->port);
	return open_on(host, options);
}

static struct warehouse *open_both(void)
{
	char hosts[64];

	snprintf(hosts, sizeof(hosts), "127.0.0.1:%u,127.0.0.1:%u", fakes[0]->port, fakes[1]->port);
	return open_on(hosts, "");
}

static int insert(struct warehouse *wh, size_t rows, int64_t deadline_ms, struct error *err)
{
	struct native_block *block = native_block_new();
	struct warehouse_insert what = {
		.database = "_e", .table = "t", .block = block, .query_id = "node/sink/1/7", .dedup_token = "to&ken",
		.deadline_ms = deadline_ms
	};
	int rc;

	native_block_add(block, "id", "String", NULL);
	for (size_t i = 0; i < rows; i++) {
		native_put_string(block, 0, "0123456789", 10, NULL);
		native_block_end_row(block);
	}
	memset(err, 0, sizeof(*err));
	rc = warehouse_insert(wh, &what, err);
	native_block_free(&block);
	return rc;
}

static void test_what_is_sent(void **state)
{
	struct warehouse *wh = open_first("?compression=none");
	struct error err;
	const char *body;

	(void)state;
	assert_int_equal(insert(wh, 1, 1500, &err), 0);
	assert_true(str_starts(fakes[0]->last.data, "POST /?wait_end_of_query=1&max_execution_time=2&timeout_overflow_mode=throw&query_id=node%2Fsink%2F1"
		"%2F7&async_insert=0&insert_deduplication_token=to%26ken&deduplicate_insert=enable&log_comment=node%2F"
		"sink%2F1%2F7&insert_distributed_sync=1 HTTP/1.1\r\n"));
	assert_non_null(strstr(fakes[0]->last.data, "\r\nX-ClickHouse-User: me\r\n"));
	assert_non_null(strstr(fakes[0]->last.data, "\r\nX-ClickHouse-Key: s3cr t\r\n"));
	body = strstr(fakes[0]->last.data, "\r\n\r\n") + 4;
	assert_true(str_starts(body, "INSERT INTO `_e`.`t` (`id`) FORMAT Native\n\x01\x01\x02id\x06String\x0a" "0123456789"));
	warehouse_close(&wh);

	wh = open_first("?compression=gzip");
	assert_int_equal(insert(wh, 1000, 0, &err), 0);
	assert_non_null(strstr(fakes[0]->last.data, "\r\nContent-Encoding: gzip\r\n"));
	assert_true(str_starts(strstr(fakes[0]->last.data, "\r\n\r\n") + 4, "\x1f\x8b"));
	assert_true(fakes[0]->last.len < 2000);
	warehouse_close(&wh);
#ifdef HAVE_LZ4
	wh = open_first("");
	assert_int_equal(insert(wh, 1000, 0, &err), 0);
	assert_non_null(strstr(fakes[0]->last.data, "&decompress=1&http_native_compression_disable_checksumming_on_"
			       "decompress=1 "));
	assert_null(strstr(fakes[0]->last.data, "Content-Encoding"));
	assert_true(fakes[0]->last.len < 2000);
	warehouse_close(&wh);
#endif
}

static void test_a_connection_is_kept(void **state)
{
	struct warehouse *wh = open_first("");
	struct error err;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(insert(wh, 10, 5000, &err), 0);
	assert_int_equal(fakes[0]->requests, 5);
	assert_int_equal(fakes[0]->connections, 1);
	warehouse_close(&wh);
}

static void test_how_an_insert_ends(void **state)
{
	static const struct { struct step step; enum error_code wanted; int code; const char *text; } cases[] = {
		{{ANSWER, "500 Internal Server Error", NULL, "Code: 252. DB::Exception: Too many parts (300)\n", 0},
		 ERR_BUSY, 252, "Too many parts"},
		{{ANSWER, "500 Internal Server Error", NULL, "Code: 27, e.displayText() = DB::Exception: Cannot parse", 0},
		 ERR_CONTENT, 27, "Cannot parse"},
		{{ANSWER, "404 Not Found", "X-ClickHouse-Exception-Code: 60\r\n", "no table", 0}, ERR_IO, 60, "no table"},
		{{ANSWER, "500 Internal Server Error", NULL, "Code: 159. DB::Exception: Timeout exceeded", 0},
		 ERR_UNCLEAR, 159, "Timeout"},
		{{ANSWER, NULL, NULL, "Code: 241. DB::Exception: Memory limit", 0}, ERR_IO, 241, "Memory limit"},
		{{ANSWER, NULL, "X-ClickHouse-Exception-Code: 469\r\n", "violated", 0}, ERR_CONTENT, 469, "violated"},
		{{ANSWER, NULL, NULL, "<html>welcome", 0}, ERR_UNCLEAR, 0, "welcome"},
		{{ANSWER, "502 Bad Gateway", NULL, "<html>", 0}, ERR_UNCLEAR, 0, "502"},
		{{ANSWER, "403 Forbidden", NULL, "<html>", 0}, ERR_IO, 0, "403"},
		{{CUT, NULL, NULL, NULL, 0}, ERR_UNCLEAR, 0, "http://127.0.0.1"},
		{{HANG, NULL, NULL, NULL, 0}, ERR_UNCLEAR, 0, "http://127.0.0.1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct warehouse *wh = open_first("");
		size_t requests = fakes[0]->requests;
		struct error err;

		script(fakes[0], &cases[i].step, 1);
		assert_int_equal(insert(wh, 10, 700, &err), -1);
		if (err.code != cases[i].wanted || !strstr(err.text, cases[i].text))
			fail_msg("case %zu: code %d: %s", i, err.code, err.text);
		assert_int_equal(warehouse_code(wh), cases[i].code);
		assert_null(strstr(err.text, "s3cr"));
		assert_int_equal(fakes[0]->requests, requests + 1);	/* never twice */
		warehouse_close(&wh);
	}
}

/* What is cut before its end cannot have been inserted. */
static void test_a_body_cut_short(void **state)
{
	static const struct step cut = {.act = CUT_IN_BODY};
	struct warehouse *wh = open_first("?compression=none");
	struct error err;

	(void)state;
	script(fakes[0], &cut, 1);
	assert_int_equal(insert(wh, 2000000, 20000, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	script(fakes[0], NULL, 0);
	warehouse_close(&wh);
}

static void test_a_kept_connection_that_died(void **state)
{
	static const struct step cut = {.act = CUT};
	struct warehouse *wh = open_first("");
	struct error err;

	(void)state;
	assert_int_equal(insert(wh, 10, 5000, &err), 0);
	script(fakes[0], &cut, 1);
	assert_int_equal(insert(wh, 10, 5000, &err), -1);
	assert_int_equal(err.code, ERR_UNCLEAR);
	assert_int_equal(fakes[0]->requests, 2);
	assert_int_equal(insert(wh, 10, 5000, &err), 0);
	assert_int_equal(fakes[0]->requests, 3);
	warehouse_close(&wh);
}

static void test_a_dead_host(void **state)
{
	struct warehouse *wh = open_both();
	struct error err;

	(void)state;
	fake_stop(&fakes[0]);
	for (int i = 0; i < 4; i++)
		assert_int_equal(insert(wh, 10, 5000, &err), 0);
	assert_int_equal(fakes[1]->requests, 4);
	fake_stop(&fakes[1]);
	assert_int_equal(insert(wh, 10, 5000, &err), -1);
	assert_true(err.code == ERR_IO || err.code == ERR_UNCLEAR);
	assert_int_equal(insert(wh, 10, 5000, &err), -1);
	assert_int_equal(err.code, ERR_IO);	/* nothing was sent */
	warehouse_close(&wh);
}

/* Rows go to the other host at once, of every handle; this one is asked before it is trusted with rows again. */
static void test_a_host_that_hangs(void **state)
{
	struct warehouse *wh = open_both(), *second;
	struct fake *own, *other;
	struct error err;

	(void)state;
	assert_int_equal(insert(wh, 10, 5000, &err), 0);
	own = fakes[fakes[0]->requests == 1 ? 0 : 1];
	other = fakes[fakes[0]->requests == 1 ? 1 : 0];
	own->stopped = true;
	assert_int_equal(insert(wh, 10, 300, &err), -1);
	assert_int_equal(err.code, ERR_UNCLEAR);
	assert_true(warehouse_since_ms(wh) == INT64_MAX);
	second = open_both();
	assert_int_equal(insert(wh, 10, 5000, &err), 0);
	assert_int_equal(insert(second, 10, 5000, &err), 0);
	assert_int_equal(other->requests, 2);
	assert_int_equal(own->requests, 1);
	own->stopped = false;			/* it reads the insert and the question that it kept waiting */
	for (int i = 0; i < 1200 && own->requests < 3; i++) {
		usleep(50000);
		assert_int_equal(insert(wh, 10, 5000, &err), 0);
	}
	assert_int_equal(own->requests, 3);
	assert_true(own->pings >= 2);
	assert_true(warehouse_since_ms(second) < INT64_MAX);
	warehouse_close(&second);
	warehouse_close(&wh);
}

/* It takes too long for one insert, and answers otherwise: nothing has to wait for its return. */
static void test_a_host_that_is_slow(void **state)
{
	static const struct step hang = {.act = HANG};
	struct warehouse *wh = open_first("");
	struct error err;
	int64_t since;

	(void)state;
	since = warehouse_since_ms(wh);
	script(fakes[0], &hang, 1);
	assert_int_equal(insert(wh, 10, 300, &err), -1);
	assert_int_equal(err.code, ERR_UNCLEAR);
	assert_int_equal(fakes[0]->pings, 1);
	assert_true(warehouse_since_ms(wh) == since);
	assert_int_equal(insert(wh, 10, 5000, &err), 0);
	assert_int_equal(fakes[0]->pings, 1);
	warehouse_close(&wh);
}

static void test_a_host_that_fails_is_left(void **state)
{
	static const struct step broken = {.status = "500 Internal Server Error",
					   .body = "Code: 242. DB::Exception: Table is in readonly mode"};
	struct warehouse *wh = open_both();
	struct error err;

	(void)state;
	script(fakes[0], &broken, 1);
	script(fakes[1], &broken, 1);
	assert_int_equal(insert(wh, 10, 5000, &err), -1);
	assert_int_equal(insert(wh, 10, 5000, &err), -1);
	assert_int_equal(fakes[0]->requests, 1);
	assert_int_equal(fakes[1]->requests, 1);
	warehouse_close(&wh);
}

static void test_every_host_is_looked_into(void **state)
{
	static const struct step first[] = {{.body = "id\tString\t\t\n"}, {.body = "MergeTree\t\tid\t\n"},
					    {.body = "\x01" "a"}};
	static const struct step other[] = {{.body = "id\tString\t\t\n"}, {.body = "MergeTree\t\tid\t\n"},
					    {.body = "\x01" "b"}};
	static const struct warehouse_text ids[] = {{"a", 1}, {"b", 1}, {"c", 1}};
	const struct warehouse_lookup lookup = {.database = "_e", .table = "t", .column = "id", .ids = ids, .id_count = 3,
						.deadline_ms = 5000};
	struct warehouse *wh = open_both();
	struct error err = {0};
	bool found[3], on_first;

	(void)state;
	/* The table is described by whichever host is in use. */
	insert(wh, 1, 5000, &err);
	on_first = fakes[0]->requests == 1;
	script(fakes[0], on_first ? first : first + 2, on_first ? 3 : 1);
	script(fakes[1], on_first ? other + 2 : other, on_first ? 1 : 3);
	if (warehouse_lookup(wh, &lookup, found, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(found[0] && found[1] && !found[2]);
	assert_non_null(strstr(fakes[0]->last.data, "name=\"sluice_ids\""));
	assert_non_null(strstr(fakes[0]->last.data, "\r\n\r\na\nb\nc\n\r\n--"));
	fake_stop(&fakes[on_first ? 1 : 0]);
	script(fakes[on_first ? 0 : 1], first, 3);
	assert_int_equal(warehouse_lookup(wh, &lookup, found, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	warehouse_close(&wh);
}

static void test_an_exception_behind_output(void **state)
{
	static const struct step late = {
		.headers = "X-ClickHouse-Exception-Tag: abcdefgh\r\n",
		.body = "1\n2\n\r\n__exception__\r\nabcdefgh\r\nCode: 241. DB::Exception: Memory limit\r\n9 abcdefgh\r\n"
	};
	static const struct step plain = {.body = "Code: 241. DB::Exception: as a text of a table\n"};
	struct warehouse *wh = open_first("");
	struct error err = {0};
	struct buf out;

	(void)state;
	buf_init(&out);
	script(fakes[0], &late, 1);
	assert_int_equal(warehouse_query(wh, "SELECT n", "TSV", 5000, &out, &err), -1);
	assert_int_equal(warehouse_code(wh), 241);
	assert_int_equal(out.len, 0);
	script(fakes[0], &plain, 1);
	assert_int_equal(warehouse_query(wh, "SELECT n", "TSV", 5000, &out, &err), 0);
	assert_string_equal(out.data, plain.body);
	script(fakes[0], &plain, 1);
	assert_int_equal(warehouse_query(wh, "CREATE DATABASE d", "TSV", 5000, NULL, &err), -1);
	buf_fini(&out);
	warehouse_close(&wh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		CASE(test_what_is_sent), CASE(test_a_connection_is_kept), CASE(test_how_an_insert_ends),
		CASE(test_a_body_cut_short), CASE(test_a_kept_connection_that_died), CASE(test_a_dead_host),
		CASE(test_a_host_that_hangs), CASE(test_a_host_that_is_slow),
		CASE(test_a_host_that_fails_is_left), CASE(test_every_host_is_looked_into),
		CASE(test_an_exception_behind_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
