/* SPDX-License-Identifier: Apache-2.0 */
/* Queries of operators: which statements are taken as reading, and how answers reach their client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "fake/warehouse.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "loop/loop.h"
#include "sink/query.h"

#define DEADLINE_MS 60000

static void test_statements_that_read(void **state)
{
	static const char *const taken[] = {
		"SELECT 1", "select 1;", " \n-- a comment\n/* another */ SELECT 1 ; -- end", "(SELECT 1) UNION ALL (SELECT 2)",
		"WITH 1 AS x SELECT x", "SHOW TABLES", "DESCRIBE t", "desc t", "EXISTS TABLE t", "EXPLAIN SELECT 1",
		"SELECT ';' , 'INTO OUTFILE', \"a;b\", `c;d`", "SELECT 'it\\'s; drop'", "SELECT 1 AS into_outfile"
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (query_check(taken[i], &err) < 0)
			fail_msg("%s: %s", taken[i], err.text);
}

static void test_statements_that_do_not(void **state)
{
	static const struct {
		const char *sql, *reason;
	} refused[] = {
		{"", "only SELECT"}, {"INSERT INTO t VALUES (1)", "only SELECT"}, {"DROP TABLE t", "only SELECT"},
		{"SELECTED", "only SELECT"}, {"/* SELECT */ DROP TABLE t", "only SELECT"}, {"SET readonly = 0", "only SELECT"},
		{"SELECT 1; DROP TABLE t", "one statement"}, {"SELECT ''; SELECT 2", "one statement"},
		{"SELECT 1 /* ; */ ; /* x */ SELECT 2", "one statement"},
		{"SELECT 1 INTO OUTFILE '/tmp/x'", "INTO OUTFILE"}, {"SELECT 1 into/**/outfile '/tmp/x'", "INTO OUTFILE"},
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(query_check(refused[i].sql, &err), -1);
		if (strstr(err.text, refused[i].reason) == NULL)
			fail_msg("%s: \"%s\" does not say \"%s\"", refused[i].sql, err.text, refused[i].reason);
	}
}

struct bench {
	struct loop *loop;
	struct query_service *service;
};

static int setup(void **state)
{
	struct bench *bench = mem_alloc(sizeof(*bench));

	fake_warehouse_reset();
	bench->loop = loop_new();
	bench->service = query_service_new(bench->loop, "fake:", "_e");
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	query_service_free(&bench->service);
	loop_free(&bench->loop);
	mem_release(bench);
	return 0;
}

/* Hands a query over; returns our end of the connection. */
static int ask(struct bench *bench, const char *request)
{
	struct error err;
	struct json_doc *doc = json_parse(request, strlen(request), &err);
	int ends[2];

	assert_non_null(doc);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	query_serve(bench->service, json_root(doc), ends[1]);
	json_doc_free(&doc);
	return ends[0];
}

/* The whole answer, and closes our end. */
static void read_answer(struct bench *bench, int fd, struct buf *answer)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	char bytes[4096];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) != 0) {
		if (n > 0)
			buf_add(answer, bytes, (size_t)n);
		else
			loop_run_once(bench->loop, 10);
		assert_true(clock_mono_ms() < until);
	}
	close(fd);
}

static void expect_answer(struct bench *bench, const char *request, const char *wanted)
{
	struct buf answer;

	buf_init(&answer);
	read_answer(bench, ask(bench, request), &answer);
	assert_string_equal(answer.data, wanted);
	buf_fini(&answer);
}

static void test_answers(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_answer("{\"data\":[[1]]}\n", 15);
	expect_answer(bench, "{\"cmd\":\"query\",\"sql\":\"SELECT 1\"}", "{\"ok\":true,\"bytes\":15}\n{\"data\":[[1]]}\n");
	fake_warehouse_answer("", 0);
	expect_answer(bench, "{\"sql\":\"SELECT 1\",\"format\":\"TSV\"}", "{\"ok\":true,\"bytes\":0}\n");
	expect_answer(bench, "{\"sql\":\"INSERT INTO t VALUES (1)\",\"write\":true}", "{\"ok\":true,\"bytes\":0}\n");
}

static void test_errors(void **state)
{
	struct bench *bench = *state;

	expect_answer(bench, "{\"sql\":\"SELECT nonsense\"}",
		      "{\"error\":\"Code: 62. DB::Exception: no answer\",\"code\":62}\n");
	expect_answer(bench, "{\"cmd\":\"query\"}", "{\"error\":\"the query has no sql\",\"code\":0}\n");
	expect_answer(bench, "{\"sql\":\"SELECT 1; SELECT 2\"}",
		      "{\"error\":\"one statement at a time\",\"code\":0}\n");
}

static void test_an_answer_has_a_limit(void **state)
{
	struct bench *bench = *state;
	size_t size = ((size_t)64 << 20) + 1;
	char *bytes = mem_alloc(size);
	struct buf answer;

	fake_warehouse_answer(bytes, size);
	mem_release(bytes);
	buf_init(&answer);
	read_answer(bench, ask(bench, "{\"sql\":\"SELECT 1\"}"), &answer);
	assert_non_null(strstr(answer.data, "\"error\":\"the answer has 67108865 bytes"));
	buf_fini(&answer);
}

/* A client that reads nothing holds up neither the next query nor, for long, the end. */
static void test_a_slow_client_holds_up_nobody(void **state)
{
	struct bench *bench = *state;
	size_t size = (size_t)8 << 20;
	char *bytes = mem_alloc(size);
	int slow;

	fake_warehouse_answer(bytes, size);
	mem_release(bytes);
	slow = ask(bench, "{\"sql\":\"SELECT 1\"}");
	for (int i = 0; i < 20; i++)
		loop_run_once(bench->loop, 10);
	fake_warehouse_answer("x", 1);
	expect_answer(bench, "{\"sql\":\"SELECT 2\"}", "{\"ok\":true,\"bytes\":1}\nx");
	close(slow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statements_that_read),
		cmocka_unit_test(test_statements_that_do_not),
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_answer_has_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_slow_client_holds_up_nobody, setup, teardown),
	};

	fake_warehouse_add();
	return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
