/* SPDX-License-Identifier: Apache-2.0 */
/* The flow engine, with a plugin of its own, through the fake host and by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../fake/fake_host.h"
#include "flow_plugin.h"

#include "base/arena.h"
#include "base/uuid.h"
#include "flow/internal.h"
#include "json/json.h"
#include "plugin/plugin.h"

/* --- through the fake host --- */

static void expect(const char *flow, const char *params, const struct fake_answer *answers,
		   const char *wanted)
{
	const struct fake fake = {.plugin = &flow_plugin, .answers = answers};
	char *lines = fake_run(&fake, flow, params);

	assert_string_equal(lines, wanted);
	mem_free(&lines);
}

static void runs_rounds_until_none_is_added(void **state)
{
	static const struct fake_answer answers[] = {
		{"items", "api", 200,
		 "{\"items\":[{\"id\":1,\"likes\":5},{\"id\":\"2\",\"name\":\"x\"}],\"next\":\"c1\"}", NULL},
		{"items", "api", 200, "{\"items\":[{\"id\":3}]}", NULL},
		{NULL, NULL, 0, NULL, NULL},
	};

	(void)state;
	expect("walk", "{\"of\":[\"a&b\"],\"most\":null,\"token\":\"t0p\"}", answers,
	       "{\"call\":\"items\",\"source\":\"api\",\"method\":\"GET\",\"url\":"
	       "\"https://api.example/v1/items%20list?of=a%26b&token=***&n=2&key=***\"}\n"
	       "{\"record\":{\"type\":\"item\",\"key\":\"1\",\"source\":\"api\",\"attributes\":{\"at\":null},"
	       "\"metrics\":{\"likes\":5},\"dimensions\":{\"title\":null}}}\n"
	       "{\"record\":{\"type\":\"item\",\"key\":\"2\",\"source\":\"api\",\"attributes\":{\"at\":null},"
	       "\"metrics\":{\"likes\":null},\"dimensions\":{\"title\":\"x\"}}}\n"
	       "{\"call\":\"items\",\"source\":\"api\",\"method\":\"GET\",\"url\":"
	       "\"https://api.example/v1/items%20list?of=a%26b&after=c1&token=***&n=2&key=***\"}\n"
	       "{\"record\":{\"type\":\"item\",\"key\":\"3\",\"source\":\"api\",\"attributes\":{\"at\":null},"
	       "\"metrics\":{\"likes\":null},\"dimensions\":{\"title\":null}}}\n"
	       "{\"event\":\"plain_log\",\"data\":{\"item_id\":\"1\",\"metrics\":{\"likes\":5}}}\n"
	       "{\"event\":\"plain_log\",\"data\":{\"item_id\":\"2\",\"metrics\":{\"likes\":null}}}\n"
	       "{\"event\":\"plain_log\",\"data\":{\"item_id\":\"3\",\"metrics\":{\"likes\":null}}}\n"
	       "{\"result\":{\"pages\":2,\"said\":[\"1\",\"2\",\"3\"],\"errors\":[],\"left behind\":0,"
	       "\"random\":2447196630207890599}}\n");
}

/* Only the last line: how it ended. */
static void expect_end(const char *flow, const char *params, const struct fake_answer *answers,
		       const char *wanted)
{
	const struct fake fake = {.plugin = &flow_plugin, .answers = answers};
	char *lines = fake_run(&fake, flow, params), *end = lines + strlen(lines) - 1;

	*end = '\0';
	while (end > lines && end[-1] != '\n')
		end--;
	assert_string_equal(end, wanted);
	mem_free(&lines);
}

#define WALK(more) "{\"of\":[\"x\"],\"most\":null" more "}"
#define END_OF_ANSWERS                                                                                       \
	{                                                                                                    \
		NULL, NULL, 0, NULL, NULL                                                                    \
	}

static void repeats_a_call_that_says_retry_and_then_gives_the_task_back(void **state)
{
	static const struct fake_answer mended[] = {
		{"items", "api", 500, "", NULL},
		{"items", "api", 0, "", NULL},
		{"items", "api", 200, "{}", NULL},
		END_OF_ANSWERS,
	};
	static const struct fake_answer broken[] = {
		{"items", "api", 500, "", NULL},
		{"items", "api", 502, "", NULL},
		{"items", "api", 503, "", NULL},
		END_OF_ANSWERS,
	};

	(void)state;
	expect_end("walk", WALK(""), mended,
		   "{\"result\":{\"pages\":1,\"said\":[],\"errors\":[],\"left "
		   "behind\":0,\"random\":6030737652051464351}}");
	expect_end("walk", WALK(""), broken,
		   "{\"failure\":\"retry\",\"text\":\"(503, 'Something went wrong')\"}");
}

static void tells_retrieve_of_a_reported_error_without_repeating_the_call(void **state)
{
	static const struct fake_answer answers[] = {
		{"items", "api", 500, "", NULL},
		{"items", "api", 404, "{}", NULL},
		{"items", "api", 200, "{\"items\":[{\"id\":1}],\"refuse\":\"fail\",\"say\":\"never\"}", NULL},
		END_OF_ANSWERS,
	};

	(void)state;
	expect_end("walk", "{\"of\":[\"x\",\"y\",\"z\"],\"most\":null,\"report\":true}", answers,
		   "{\"result\":{\"pages\":0,\"said\":[],\"errors\":[\"(500, 'Something went wrong')\","
		   "\"(404, 'Something went wrong')\",\"(200, 'no')\"],\"left "
		   "behind\":0,\"random\":6030737652051464351}}");
}

static void maps_statuses_to_results(void **state)
{
	static const struct {
		int status;
		const char *body, *end;
	} cases[] = {
		{400, "{}", "{\"failure\":\"fail\",\"text\":\"(400, 'Something went wrong')\"}"},
		{404, "{}", "{\"failure\":\"gone\",\"text\":\"(404, 'Something went wrong')\"}"},
		{410, "", "{\"failure\":\"gone\",\"text\":\"(410, 'Something went wrong')\"}"},
		{422, "{\"gone\":\"1\"}", "{\"failure\":\"gone\",\"text\":\"(404, \\\"It's gone\\\")\"}"},
		{200, "{\"refuse\":\"gone\"}", "{\"failure\":\"gone\",\"text\":\"(200, 'no')\"}"},
		{304, "{\"refuse\":\"fail\"}", "{\"failure\":\"fail\",\"text\":\"(304, 'no')\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct fake_answer answers[] = {
			{"items", "api", cases[i].status, cases[i].body, NULL},
			END_OF_ANSWERS,
		};

		expect_end("walk", WALK(""), answers, cases[i].end);
	}
}

static void goes_to_the_next_source_and_stays_there(void **state)
{
	static const struct fake_answer answers[] = {
		{"items", "api", 400, "{\"other\":\"not here\"}", NULL},
		{"items", "spare", 200, "{\"next\":\"2\"}", NULL},
		{"items", "spare", 200, "{}", NULL},
		END_OF_ANSWERS,
	};
	static const struct fake_answer none[] = {
		{"items", "api", 400, "{\"other\":\"not here\"}", NULL},
		{"items", "spare", 200, "{\"refuse\":\"source\"}", NULL},
		END_OF_ANSWERS,
	};
	static const char *const nobody[] = {NULL};
	struct fake fake = {.plugin = &flow_plugin, .answers = answers, .sources = nobody};
	char *lines;

	(void)state;
	expect("walk", WALK(""), answers,
	       "{\"call\":\"items\",\"source\":\"api\",\"method\":\"GET\",\"url\":"
	       "\"https://api.example/v1/items%20list?of=x&n=2&key=***\"}\n"
	       "{\"call\":\"items\",\"source\":\"spare\",\"method\":\"GET\",\"url\":"
	       "\"https://spare.example/items%20list?of=x&n=2\"}\n"
	       "{\"call\":\"items\",\"source\":\"spare\",\"method\":\"GET\",\"url\":"
	       "\"https://spare.example/items%20list?of=x&after=2&n=2\"}\n"
	       "{\"result\":{\"pages\":2,\"said\":[],\"errors\":[],\"left "
	       "behind\":0,\"random\":2447196630207890599}}\n");
	expect_end("walk", WALK(""), none, "{\"failure\":\"fail\",\"text\":\"(200, 'no')\"}");
	lines = fake_run(&fake, "walk", WALK(""));
	assert_string_equal(lines,
			    "{\"failure\":\"fail\",\"text\":\"No source is available at the moment\"}\n");
	mem_free(&lines);
	fake.answers = NULL;
	lines = fake_run(&fake, "try", "{\"what\":\"orders\"}");
	assert_string_equal(lines,
			    "{\"failure\":\"fail\",\"text\":\"No cred is available at the moment\"}\n");
	mem_free(&lines);
}

static void asks_for_another_credential_on_limit_and_auth(void **state)
{
	static const struct fake_answer answers[] = {
		{"items", "api", 429, "", NULL},
		{"items", "spare", 403, "", NULL},
		END_OF_ANSWERS,
	};
	static const struct fake_answer parked[] = {
		{"items", "api", 403, "", NULL},
		{"items", "spare", 429, "", NULL},
		END_OF_ANSWERS,
	};

	(void)state;
	expect_end("walk", WALK(""), answers,
		   "{\"failure\":\"fail\",\"text\":\"(403, 'Forbidden exception')\"}");
	expect_end("walk", WALK(""), parked,
		   "{\"failure\":\"retry\",\"text\":\"(429, 'Something went wrong')\"}");
}

static void joins_records_of_several_calls(void **state)
{
	static const struct fake_answer answers[] = {
		{"part", NULL, 200, "{\"id\":7,\"values\":{\"likes\":1,\"ratio\":null,\"x\":\"y\"}}", NULL},
		{"part", NULL, 200, "{\"id\":7,\"values\":{\"likes\":null,\"ratio\":0.5}}", NULL},
		{"part", NULL, 200, "{\"id\":7,\"values\":{\"likes\":3}}", NULL},
		END_OF_ANSWERS,
	};
	/* The same when every point where a slice may end is one: none lies inside the join. */
	struct fake fake = {.plugin = &flow_plugin, .answers = answers};
	char *lines = fake_run(&fake, "try", "{\"what\":\"join\"}"), *sliced;

	(void)state;
	assert_non_null(strstr(lines, "{\"record\":{\"type\":\"item\",\"key\":\"7\",\"source\":\"api\","
				      "\"metrics\":{\"likes\":3,\"ratio\":0.5,\"x\":\"y\"},"));
	mem_free(&lines);
	expect_end("try", "{\"what\":\"join\"}", answers, "{\"result\":null}");
	fake.slices = true;
	sliced = fake_run(&fake, "try", "{\"what\":\"join\"}");
	assert_non_null(strstr(sliced, "\"metrics\":{\"likes\":3,\"ratio\":0.5,\"x\":\"y\"}"));
	assert_null(strstr(strstr(sliced, "\"record\"") + 1, "\"record\""));
	mem_free(&sliced);
}

static void leaves_nothing_of_a_response_whose_emit_fails(void **state)
{
	static const struct fake_answer answers[] = {
		{"items", "api", 200, "{\"items\":[{\"id\":1}],\"next\":\"2\"}", NULL},
		{"items", "api", 200, "{\"items\":[{\"id\":2},{\"id\":3,\"likes\":666}]}", NULL},
		END_OF_ANSWERS,
	};
	const struct fake fake = {.plugin = &flow_plugin, .answers = answers};
	char *lines = fake_run(&fake, "walk", WALK(""));

	(void)state;
	assert_non_null(strstr(
		lines, "{\"event\":\"plain_log\",\"data\":{\"item_id\":\"1\",\"metrics\":{\"likes\":null}}}\n"
		       "{\"failure\":\"fail\",\"text\":\"(200, 'cursed')\"}\n"));
	mem_free(&lines);
}

static void writes_events_and_rows_exactly(void **state)
{
	static const struct fake_answer answers[] = {
		{"part", NULL, 200,
		 "{\"id\":\"k\\\"1\",\"values\":{\"likes\":9007199254740993,\"ratio\":1.5,\"big\":"
		 "18446744073709551615}}",
		 NULL},
		END_OF_ANSWERS,
	};
	char id[UUID_TEXT_SIZE], wanted[2048];

	(void)state;
	uuid_from(id, "fake/1/0/0", strlen("fake/1/0/0"));
	snprintf(wanted, sizeof(wanted),
		 "{\"call\":\"part\",\"source\":\"api\",\"method\":\"GET\",\"url\":"
		 "\"https://api.example/v1/items%%20list?of=part&n=2&key=***\"}\n"
		 "{\"record\":{\"type\":\"item\",\"key\":\"k\\\"1\",\"source\":\"api\",\"attributes\":{"
		 "\"at\":86461},"
		 "\"metrics\":{\"likes\":9007199254740993,\"ratio\":1.5,\"big\":18446744073709551615},"
		 "\"dimensions\":{\"public\":true,\"tags\":[\"a\",\"b\"],\"raw\":{\"d\":[1.5,null]}}}}\n"
		 "{\"upsert\":\"item\",\"key\":\"k\\\"1\",\"values\":{\"likes\":\"9007199254740993\","
		 "\"ratio\":\"1.5\",\"title\":null,\"public\":\"true\",\"tags\":\"[\\\"a\\\",\\\"b\\\"]\","
		 "\"raw\":\"{\\\"d\\\":[1.5,null]}\",\"metrics\":\"{\\\"likes\\\":9007199254740993,"
		 "\\\"ratio\\\":1.5,"
		 "\\\"big\\\":18446744073709551615}\",\"at\":\"1970-01-02 00:01:01\"}}\n"
		 "{\"event\":\"item_log\",\"data\":{\"event_id\":\"%s\",\"source\":\"api\",\"platform\":"
		 "\"TEST\","
		 "\"kind\":\"item\",\"item_id\":\"k\\\"1\",\"title\":null,\"publish_time\":\"1970-01-02 "
		 "00:01:01\","
		 "\"event_timestamp\":\"2023-11-14 "
		 "22:13:20\",\"metrics\":{\"likes\":9007199254740993,\"ratio\":1.5,"
		 "\"big\":18446744073709551615}}}\n"
		 "{\"result\":null}\n",
		 id);
	expect("try",
	       "{\"extra\":\"{\\\"public\\\":true,\\\"tags\\\":[\\\"a\\\",\\\"b\\\"],\\\"raw\\\":{\\\"d\\\":["
	       "1.5,null]},"
	       "\\\"at\\\":\\\"1970-01-02T02:01:01+02:00\\\"}\"}",
	       answers, wanted);
}

static void makes_stubs_looks_up_rows_and_speaks_of_pages(void **state)
{
	static const struct fake_answer answers[] = {
		{"row", NULL, 200, "[{\"title\":\"t\"}]", NULL},
		{"part", NULL, 200, "{\"id\":1,\"values\":{\"likes\":[2]}}", NULL},
		END_OF_ANSWERS,
	};
	const struct fake fake = {.plugin = &flow_plugin, .answers = answers};
	char *lines;

	(void)state;
	lines = fake_run(&fake, "try", "{\"what\":\"stub\"}");
	assert_non_null(strstr(lines, "{\"record\":{\"type\":\"item\",\"key\":\"s1\",\"source\":\"\","));
	assert_null(strstr(lines, "\"key\":\"\""));
	mem_free(&lines);
	expect("try", "{\"what\":\"row\"}", answers,
	       "{\"lookup\":\"row\",\"key\":\"1\"}\n{\"result\":null}\n");
	lines = fake_run(&fake, "try", "{\"what\":\"page\"}");
	assert_non_null(strstr(lines, "{\"event\":\"free_log\",\"data\":{\"of\":\"page\",\"likes\":[2]}}\n"));
	mem_free(&lines);
}

static void repeats_the_page_of_a_call_that_failed(void **state)
{
	static const struct fake_answer answers[] = {
		{"part", NULL, 500, "", NULL},
		{"part", NULL, 200, "{}", NULL},
		END_OF_ANSWERS,
	};
	static const char call[] =
		"{\"call\":\"part\",\"source\":\"api\",\"method\":\"GET\",\"url\":"
		"\"https://api.example/v1/items%20list?of=again&token=***&n=2&key=***\"}\n";
	char wanted[512];

	(void)state;
	snprintf(wanted, sizeof(wanted), "%s%s{\"result\":null}\n", call, call);
	expect("try", "{\"what\":\"again\"}", answers, wanted);
}

static void offers_what_needs_no_response(void **state)
{
	(void)state;
	expect("try", "{\"what\":\"host\",\"since\":\"1970-01-01T00:01:00Z\"}", NULL,
	       "{\"result\":[53,63,31,true,null,-1,\"https://a/3?x=1,2\",0,2000,60,\"/"
	       "orders\",250,\"1.5\",2.5,"
	       "{\"k\":null}]}\n");
}

static void print_facts(const struct facts *facts, const char *wanted)
{
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	facts_print(facts, &w);
	jwrite_end(&w);
	assert_int_equal(out.len, strlen(wanted));
	buf_fini(&out);
}

static void undoes_facts(void **state)
{
	struct facts facts;
	size_t bytes;
	char name[16];

	(void)state;
	facts_init(&facts);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%d", i);
		facts_append(&facts, "list", name);
	}
	facts_set_text(&facts, "text", "a");
	facts_set_int(&facts, "int", 1);
	facts_keep(&facts);
	bytes = facts.bytes;
	print_facts(&facts, "{\"int\":1,\"text\":\"a\",\"list\":[\"0\",\"1\",\"2\"]}");
	facts_append(&facts, "list", "3");
	facts_append(&facts, "new", "x");
	facts_set_int(&facts, "list", 5);
	facts_append(&facts, "list", "6");
	facts_set_text(&facts, "text", NULL);
	facts_append(&facts, "text", "7");
	facts_set_int(&facts, "int", 2);
	facts_set_int(&facts, "int", 3);
	facts_undo(&facts);
	assert_int_equal(facts.bytes, bytes);
	assert_int_equal(facts_count(&facts, "list"), 3);
	assert_string_equal(facts_item(&facts, "list", 2), "2");
	assert_int_equal(facts_count(&facts, "new"), 0);
	print_facts(&facts, "{\"int\":1,\"text\":\"a\",\"list\":[\"0\",\"1\",\"2\"]}");
	facts_fini(&facts);
}

static void fails_the_task_on_misuse_and_broken_limits(void **state)
{
	static const struct {
		const char *what, *text;
	} cases[] = {
		{"facts", "The task's facts take more than 1048576 bytes"},
		{"json", "result got JSON that is not finished"},
		{"unlisted", "Flow try calls an operation that it does not list"},
		{"blob", "this version carries out no blob calls"},
	};
	char params[64], wanted[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(params, sizeof(params), "{\"what\":\"%s\"}", cases[i].what);
		snprintf(wanted, sizeof(wanted), "{\"failure\":\"fail\",\"text\":\"%s\"}", cases[i].text);
		expect_end("try", params, NULL, wanted);
	}
}

static void keeps_links_within_the_origin(void **state)
{
	static const struct {
		const char *shop, *link, *text;
	} cases[] = {
		{"s.example", "https://s.example/next?page=2", NULL},
		{"s.example", "https://S.example:443/next", NULL},
		{"s.example", "http://s.example/next", "link leaves the origin"},
		{"s.example", "https://s.example:8443/next", "link leaves the origin"},
		{"s.example", "https://s.example.evil/next", "link leaves the origin"},
		{"s.example", "https://s.example@evil/next", "link is no URL"},
		{"s.example", "/next", "link is no URL"},
		{"evil/?", "https://evil/next", "The handle is no host name"},
		{"", "https://evil/next", "The call is not bound to a handle"},
	};
	static const struct fake_answer answers[] = {{"orders", NULL, 200, "{}", NULL}, END_OF_ANSWERS};
	char params[256], wanted[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(params, sizeof(params), "{\"what\":\"orders\",\"shop\":\"%s\",\"link\":\"%s\"}",
			 cases[i].shop, cases[i].link);
		snprintf(wanted, sizeof(wanted), "{\"failure\":\"fail\",\"text\":\"%s\"}", cases[i].text);
		expect_end("try", params, answers, cases[i].text ? wanted : "{\"result\":null}");
	}
	expect_end("try", "{\"what\":\"orders\",\"shop\":\"s\",\"path\":\"/a/../b\"}", answers,
		   "{\"failure\":\"fail\",\"text\":\"The path has a segment of dots\"}");
}

/* The fake host with slices ends a task after each response and resumes another from what it saved. */
static void gives_the_same_wherever_it_is_resumed(void **state)
{
	struct fake_answer answers[12] = {{NULL, NULL, 0, NULL, NULL}};
	char bodies[10][160], *whole, *sliced, *line, *save = NULL, *at;
	struct fake fake = {.plugin = &flow_plugin, .answers = answers};
	size_t compared = 0;

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(bodies[i], sizeof(bodies[i]),
			 "{\"items\":[{\"id\":%d,\"likes\":%d},{\"id\":\"z%d\"}],\"say\":\"b%d\"%s}", i,
			 i * 3, i, i, i < 8 ? ",\"next\":\"more\"" : "");
		answers[i] = (struct fake_answer){"items", "spare", 200, bodies[i], NULL};
	}
	answers[10] = (struct fake_answer){"items", "api", 400, "{\"other\":\"not here\"}", NULL};
	answers[11] = (struct fake_answer){NULL, NULL, 0, NULL, NULL};
	fake.sources = (const char *const[]){"spare", NULL};
	whole = fake_run(&fake, "walk", "{\"of\":[\"x\",\"y\"],\"most\":1}");
	fake.slices = true;
	sliced = fake_run(&fake, "walk", "{\"of\":[\"x\",\"y\"],\"most\":1}");
	for (at = sliced, line = strtok_r(whole, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "{\"event\"", 8) && strncmp(line, "{\"result\"", 9) &&
		    strncmp(line, "{\"call\"", 7))
			continue;
		compared++;
		assert_non_null(strstr(sliced, line));
		if (strncmp(line, "{\"call\"", 7)) {
			at = strstr(at, line); /* in the same order */
			assert_non_null(at);
		}
	}
	assert_int_equal(compared, 10 + 20 + 1);
	mem_free(&whole);
	mem_free(&sliced);
}

/* --- by hand --- */

static int64_t clock_now(void)
{
	return (int64_t)FAKE_NOW * 1000;
}

static struct flow_env env = {
	.store_id = "store",
	.event_max = 1000,
	.facts_max = 1 << 20,
	.slice_records = 2,
	.slice_bytes = 1 << 20,
	.calls_in_flight = 2,
	.call_retries = 2,
	.now_ms = clock_now,
};

struct hand {
	struct plugin_set *set;
	const struct plugin *plugin;
	struct flow_task *task;
};

static struct flow_task *open_task(struct hand *hand, const char *flow, const char *params,
				   const char *checkpoint)
{
	struct error err;

	if (!hand->set) {
		hand->set = plugin_set_new();
		assert_int_equal(plugin_add_static(hand->set, "test.so", &flow_plugin, &hand->plugin, &err),
				 0);
	}
	hand->task = flow_task_new(&env, hand->plugin, plugin_find_flow(hand->set, flow, NULL), 5, 3, params,
				   checkpoint, &err);
	assert_non_null(hand->task);
	flow_task_resume(hand->task);
	return hand->task;
}

static void close_task(struct hand *hand)
{
	flow_task_free(&hand->task);
	plugin_set_free(&hand->set);
}

static struct flow_call *take(struct flow_task *task)
{
	int64_t delay;
	struct flow_call *call = flow_task_next_call(task, &delay);

	if (call)
		flow_call_choose(call, flow_call_candidate(call, 0));
	return call;
}

static enum flow_step answer_call(struct flow_call *call, int status, const char *body)
{
	static const struct flow_pair headers[] = {{"retry-after", "7", false}};

	return flow_call_response(call, status, headers, 1, body, strlen(body));
}

#define THREE "{\"of\":[\"x\",\"y\",\"z\"],\"most\":1}"

static void parses_in_the_order_of_the_calls(void **state)
{
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task = open_task(&hand, "walk", THREE, NULL);
	struct flow_call *x = take(task), *y = take(task);
	struct flow_output output;
	char body[] = "{\"items\":[{\"id\":\"of y\"}],\"say\":\"y\"}";

	(void)state;
	assert_null(take(task)); /* two in flight */
	assert_int_equal(answer_call(y, 200, body), FLOW_STEP_NONE);
	memset(body, 'x', sizeof(body) - 1); /* what is held is a copy */
	assert_null(take(task));
	flow_task_output(task, &output);
	assert_int_equal(output.event_count, 0);
	assert_int_equal(answer_call(x, 200, "{\"items\":[{\"id\":\"of x\"}],\"say\":\"x\"}"),
			 FLOW_STEP_NONE);
	flow_task_output(task, &output);
	assert_int_equal(output.event_count, 2);
	assert_string_equal(output.events[0].json, "{\"item_id\":\"of x\",\"metrics\":{\"likes\":null}}");
	assert_string_equal(output.events[1].json, "{\"item_id\":\"of y\",\"metrics\":{\"likes\":null}}");
	assert_int_equal(flow_task_in_flight(task), 0);
	assert_true(flow_task_slice_due(task));
	assert_int_equal(answer_call(take(task), 200, "{}"), FLOW_STEP_NONE);
	assert_int_equal(flow_task_state(task), FLOW_DONE);
	assert_non_null(strstr(flow_task_result(task), "\"said\":[\"x\",\"of x\",\"y\",\"of y\"]"));
	close_task(&hand);
}

static void gives_back_a_held_call_whose_turn_asks_for_more(void **state)
{
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task = open_task(&hand, "walk", THREE, NULL);
	struct flow_call *x = take(task), *y = take(task);
	int64_t delay;

	(void)state;
	assert_int_equal(flow_call_step(y), FLOW_STEP_NONE);
	assert_int_equal(answer_call(y, 200, "{\"refuse\":\"limit\"}"), FLOW_STEP_NONE);
	assert_int_equal(answer_call(x, 200, "{}"), FLOW_STEP_NONE);
	assert_ptr_equal(flow_task_next_call(task, &delay), y);
	assert_int_equal(flow_call_step(y), FLOW_STEP_LIMIT);
	assert_int_equal(answer_call(y, 200, "{\"refuse\":\"retry\"}"), FLOW_STEP_AGAIN);
	assert_int_equal(flow_call_tries(y), 1);
	assert_int_equal(answer_call(y, 429, ""), FLOW_STEP_LIMIT);
	assert_int_equal(flow_call_parked_s(y), 7);
	assert_int_equal(answer_call(y, 200, "{}"), FLOW_STEP_NONE);
	assert_int_equal(flow_task_in_flight(task), 0);
	close_task(&hand);
}

static enum flow_retry ask_always(void *user, const struct flow_call *call)
{
	(void)call;
	++*(int *)user;
	return FLOW_RETRY_ASK;
}

static bool fall_back(void *user, const struct flow_call *call)
{
	(void)user;
	(void)call;
	return true;
}

static void gives_up_what_may_not_be_repeated(void **state)
{
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task = open_task(&hand, "walk", THREE, NULL);
	struct flow_call *x = take(task), *y = take(task);
	const char *text;
	int64_t delay;
	int asked = 0;

	(void)state;
	env.may_retry = ask_always;
	env.user = &asked;
	/* Leave was given. */
	assert_int_equal(answer_call(x, 503, ""), FLOW_STEP_ASK);
	assert_int_equal(flow_call_tries(x), 1);
	/* One that is held: asked for when its turn comes. */
	assert_int_equal(answer_call(y, 200, "{\"refuse\":\"retry\"}"), FLOW_STEP_NONE);
	assert_int_equal(asked, 1);
	assert_int_equal(answer_call(x, 200, "{}"), FLOW_STEP_NONE);
	assert_int_equal(asked, 2);
	assert_ptr_equal(flow_task_next_call(task, &delay), y);
	assert_int_equal(flow_call_step(y), FLOW_STEP_ASK);
	/* Leave was refused: the next source, or what it ended with. */
	env.may_fall_back = fall_back;
	assert_int_equal(flow_call_give_up(y), FLOW_STEP_SOURCE);
	assert_string_equal(flow_call_candidate(y, 0)->name, "spare");
	assert_int_equal(flow_call_tries(y), 0);
	flow_call_choose(y, flow_call_candidate(y, 0));
	assert_int_equal(flow_call_failed(y, SL_RETRY, 502, "nobody there"), FLOW_STEP_ASK);
	env.may_fall_back = NULL;
	assert_int_equal(flow_call_give_up(y), FLOW_STEP_NONE);
	assert_int_equal(flow_task_state(task), FLOW_FAILED);
	assert_int_equal(flow_task_failure(task, &text), SL_RETRY);
	assert_string_equal(text, "(502, 'nobody there')");
	env.may_retry = NULL;
	env.user = NULL;
	close_task(&hand);
}

static void holds_answers_while_a_commit_is_under_way(void **state)
{
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task = open_task(&hand, "walk", THREE, NULL);
	struct flow_call *x = take(task), *y = take(task);
	struct flow_output output;
	struct buf before, after;

	(void)state;
	buf_init(&before);
	buf_init(&after);
	answer_call(x, 200, "{\"items\":[{\"id\":1}],\"say\":\"x\"}");
	flow_task_seal(task);
	flow_task_checkpoint(task, &before);
	answer_call(y, 200, "{\"items\":[{\"id\":2}],\"say\":\"y\"}");
	answer_call(take(task), 404, "{}");
	flow_task_checkpoint(task, &after);
	assert_string_equal(before.data, after.data);
	flow_task_output(task, &output);
	assert_int_equal(output.event_count, 1);
	flow_task_committed(task);
	flow_task_output(task, &output);
	assert_int_equal(output.event_count, 1);
	assert_string_equal(output.events[0].json, "{\"item_id\":\"2\",\"metrics\":{\"likes\":null}}");
	assert_int_equal(flow_task_state(task), FLOW_FAILED);
	flow_task_free(&hand.task);

	/* The saved one goes on with y and z, and retrieve finds all three. */
	task = open_task(&hand, "walk", THREE, before.data);
	y = take(task);
	assert_string_equal(flow_call_key(y), "y");
	answer_call(y, 200, "{\"say\":\"y\"}");
	answer_call(take(task), 200, "{\"say\":\"z\",\"next\":\"2\"}");
	assert_int_equal(flow_task_state(task), FLOW_CALLS);
	x = take(task);
	assert_string_equal(flow_call_key(x), "z");
	answer_call(x, 200, "{}");
	assert_non_null(strstr(flow_task_result(task), "\"pages\":4,\"said\":[\"x\",\"1\",\"y\",\"z\"]"));
	close_task(&hand);
	buf_fini(&before);
	buf_fini(&after);
}

static void keeps_the_credential_through_pages(void **state)
{
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task = open_task(&hand, "walk", THREE, NULL);
	struct flow_call *call = take(task);
	struct buf saved;

	(void)state;
	assert_int_equal(flow_call_credential(call), 0);
	assert_null(flow_call_refusal(call));
	flow_call_set_credential(call, 7);
	assert_int_equal(answer_call(call, 429, ""), FLOW_STEP_LIMIT);
	assert_string_equal(flow_call_refusal(call), "(429, 'Something went wrong')");
	flow_call_set_credential(call, 8);
	answer_call(call, 200, "{\"say\":\"x\",\"next\":\"2\"}");
	for (int i = 0; i < 2; i++) {
		call = take(task);
		flow_call_set_credential(call, 9);
		answer_call(call, 200, "{}");
	}
	/* The next page of x, here and where the task goes on after its checkpoint. */
	buf_init(&saved);
	flow_task_checkpoint(task, &saved);
	call = take(task);
	assert_string_equal(flow_call_key(call), "x");
	assert_int_equal(flow_call_credential(call), 8);
	flow_task_free(&hand.task);
	task = open_task(&hand, "walk", THREE, saved.data);
	assert_int_equal(flow_call_credential(take(task)), 8);
	close_task(&hand);
	buf_fini(&saved);
}

static const char *header(const struct flow_request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (!strcmp(request->headers[i].name, name))
			return request->headers[i].secret ? "secret" : request->headers[i].value;
	return NULL;
}

static void places_credentials_and_hides_them(void **state)
{
	static const struct flow_pair members[] = {{"key", "s3 cret", true}, {"user", "joe", false}};
	static const struct flow_credential credential = {members, 2}, empty = {members, 0};
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task =
		open_task(&hand, "walk", "{\"of\":[\"x\"],\"most\":1,\"token\":\"t0k\"}", NULL);
	struct flow_call *call = take(task);
	struct flow_request request;
	enum flow_step step;

	(void)state;
	assert_int_equal(flow_call_request(call, "http://127.0.0.1:80/base/", &credential, &request, &step),
			 0);
	assert_string_equal(request.url,
			    "http://127.0.0.1:80/base/items%20list?of=x&token=t0k&n=2&key=s3%20cret");
	assert_string_equal(request.shown_url,
			    "http://127.0.0.1:80/base/items%20list?of=x&token=***&n=2&key=***");
	assert_int_equal(flow_call_request(call, NULL, &empty, &request, &step), -1);
	assert_int_equal(step, FLOW_STEP_AUTH);
	assert_int_equal(flow_call_request(call, NULL, NULL, &request, &step), -1);
	assert_int_equal(step, FLOW_STEP_AUTH);
	flow_call_choose(call, flow_call_candidate(call, 1));
	assert_int_equal(flow_call_request(call, NULL, &credential, &request, &step), 0);
	assert_string_equal(header(&request, "Authorization"), "secret");
	close_task(&hand);

	task = open_task(&hand, "try", "{\"what\":\"orders\",\"shop\":\"s\"}", NULL);
	call = take(task);
	assert_string_equal(flow_call_handle(call), "s");
	assert_int_equal(flow_call_request(call, NULL, &credential, &request, &step), 0);
	assert_string_equal(request.method, "POST");
	assert_string_equal(request.url, "https://s/admin/orders");
	assert_string_equal(request.body, "a%20b=c%26d&password=s3%20cret");
	assert_string_equal(header(&request, "Content-Type"), "application/x-www-form-urlencoded");
	assert_string_equal(header(&request, "X-Token"), "secret");
	assert_null(header(&request, "X-User")); /* not a public field */
	flow_task_free(&hand.task);
	task = open_task(&hand, "try", "{\"what\":\"orders\",\"shop\":\"s\",\"json\":\"\\\"\"}", NULL);
	assert_int_equal(flow_call_request(take(task), NULL, &credential, &request, &step), 0);
	assert_string_equal(request.body, "{\"q\":\"\\\"\"}");
	assert_string_equal(header(&request, "Content-Type"), "application/json");
	close_task(&hand);
}

static void refuses_an_event_over_the_limit(void **state)
{
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task = open_task(&hand, "try", "{}", NULL);
	char body[2000];
	const char *text;
	struct flow_output output;

	(void)state;
	snprintf(body, sizeof(body), "{\"id\":1,\"values\":{\"long\":\"%01000d\"}}", 0);
	answer_call(take(task), 200, body);
	assert_int_equal(flow_task_state(task), FLOW_FAILED);
	assert_int_equal(flow_task_failure(task, &text), SL_FAIL);
	assert_non_null(strstr(text, "An event of stream item_log takes "));
	flow_task_output(task, &output);
	assert_int_equal(output.upsert_count + output.event_count + output.records + output.bytes, 0);
	close_task(&hand);
}

/* Whether a task counts as failed for good after this of its only call: a status, 0: no answer, -1: nobody to ask. */
static bool lasts(int status, const char *body)
{
	struct hand hand = {NULL, NULL, NULL};
	struct flow_task *task = open_task(&hand, "walk", "{\"of\":[\"x\"],\"most\":1}", NULL);
	struct flow_call *call = take(task);
	bool lasting;

	while (call != NULL && flow_task_state(task) == FLOW_CALLS) {
		enum flow_step step = status > 0   ? answer_call(call, status, body)
				      : status < 0 ? flow_call_unavailable(call)
						   : flow_call_failed(call, SL_FAIL, 0, body);

		/* Who is refused has no other credential. */
		if (step == FLOW_STEP_LIMIT || step == FLOW_STEP_AUTH)
			flow_call_unavailable(call);
		else if (step != FLOW_STEP_NONE)
			flow_call_choose(call, flow_call_candidate(call, 0));
	}
	assert_int_equal(flow_task_state(task), FLOW_FAILED);
	lasting = flow_task_lasting(task);
	close_task(&hand);
	return lasting;
}

static void knows_what_failed_for_good(void **state)
{
	(void)state;
	assert_true(lasts(404, "{}"));
	assert_true(lasts(410, ""));
	assert_true(lasts(400, "{}"));
	assert_true(lasts(422, "{\"gone\":\"1\"}"));	/* as the source's own callback says */
	assert_true(lasts(200, "{\"refuse\":\"gone\"}"));
	assert_true(lasts(200, "{\"refuse\":\"fail\"}"));
	assert_false(lasts(500, ""));			/* retries are used up */
	assert_false(lasts(200, "{\"refuse\":\"retry\"}"));
	assert_false(lasts(200, "{\"refuse\":\"source\"}"));
	assert_false(lasts(403, ""));
	assert_false(lasts(429, ""));
	assert_false(lasts(-1, NULL));			/* no credential */
	assert_false(lasts(0, "the response is too large"));
}

/* Mistakes of the plugin, and what this version does not carry out. */
static void misuse_is_not_for_good(void **state)
{
	static const char *const cases[] = {"json", "unlisted", "blob"};
	struct hand hand = {NULL, NULL, NULL};
	char params[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(params, sizeof(params), "{\"what\":\"%s\"}", cases[i]);
		assert_int_equal(flow_task_state(open_task(&hand, "try", params, NULL)), FLOW_FAILED);
		assert_false(flow_task_lasting(hand.task));
		flow_task_free(&hand.task);
	}
	close_task(&hand);
}

static void refuses_checkpoints_that_cannot_be_resumed(void **state)
{
	static const struct {
		const char *checkpoint, *text;
	} cases[] = {
		{"{\"version\":2}", "checkpoint: not of a version that can be read"},
		{"{\"version\":1,\"calls\":[{\"operation\":\"old\"}]}",
		 "checkpoint: the flow no longer calls operation \"old\""},
		{"{\"version\":1,\"calls\":[{\"operation\":\"items\",\"source\":\"old\"}]}",
		 "checkpoint: operation items is no longer answered by source \"old\""},
	};
	struct hand hand = {NULL, NULL, NULL};
	struct error err;

	(void)state;
	open_task(&hand, "walk", THREE, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_null(flow_task_new(&env, hand.plugin, plugin_find_flow(hand.set, "walk", NULL), 1, 0,
					  THREE, cases[i].checkpoint, &err));
		assert_string_equal(err.text, cases[i].text);
	}
	close_task(&hand);
}

static void checks_parameters(void **state)
{
	static const struct {
		const char *params, *text;
	} cases[] = {
		{"[]", "flow \"walk\": params must be an object"},
		{"{\"of\":[\"x\"],\"most\":null,\"tokn\":\"abc\"}",
		 "flow \"walk\": unknown parameter \"tokn\" (did you mean \"token\"?)"},
		{"{\"of\":[\"x\"],\"most\":1,\"zzzzzz\":1}", "flow \"walk\": unknown parameter \"zzzzzz\""},
		{"{}", "flow \"walk\": \"of\" is missing; \"most\" is missing"},
		{"{\"of\":null,\"most\":2}", "flow \"walk\": \"of\" is missing"},
		{"{\"of\":\"x\",\"most\":2}", "flow \"walk\": \"of\" must be a list of texts"},
		{"{\"of\":[[]],\"most\":2}", "flow \"walk\": \"of\" must be a list of texts"},
		{"{\"of\":[],\"most\":2}", "flow \"walk\": \"of\" must be at least 1 entries long"},
		{"{\"of\":[1,2,3,4],\"most\":2}", "flow \"walk\": \"of\" must be at most 3 entries long"},
		{"{\"of\":[1],\"most\":\"many\"}", "flow \"walk\": \"most\" must be a whole number"},
		{"{\"of\":[1],\"most\":0}", "flow \"walk\": \"most\" must be at least 1"},
		{"{\"of\":[1],\"most\":\"7\",\"report\":1}",
		 "flow \"walk\": \"report\" must be true or false"},
		{"{\"of\":[1],\"most\":1,\"token\":\"t\"}",
		 "flow \"walk\": \"token\" must be at least 2 characters long"},
		{"{\"of\":[1],\"most\":1,\"token\":{}}", "flow \"walk\": \"token\" must be a text"},
	};
	struct json_doc *doc;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		doc = json_parse(cases[i].params, strlen(cases[i].params), &err);
		assert_int_equal(flow_check_params(flow_plugin.flows[0], json_root(doc), &err), -1);
		assert_string_equal(err.text, cases[i].text);
		json_doc_free(&doc);
	}
	doc = json_parse(THREE, strlen(THREE), &err);
	assert_int_equal(flow_check_params(flow_plugin.flows[0], json_root(doc), &err), 0);
	json_doc_free(&doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_rounds_until_none_is_added),
		cmocka_unit_test(repeats_a_call_that_says_retry_and_then_gives_the_task_back),
		cmocka_unit_test(tells_retrieve_of_a_reported_error_without_repeating_the_call),
		cmocka_unit_test(maps_statuses_to_results),
		cmocka_unit_test(goes_to_the_next_source_and_stays_there),
		cmocka_unit_test(asks_for_another_credential_on_limit_and_auth),
		cmocka_unit_test(joins_records_of_several_calls),
		cmocka_unit_test(leaves_nothing_of_a_response_whose_emit_fails),
		cmocka_unit_test(writes_events_and_rows_exactly),
		cmocka_unit_test(makes_stubs_looks_up_rows_and_speaks_of_pages),
		cmocka_unit_test(repeats_the_page_of_a_call_that_failed),
		cmocka_unit_test(offers_what_needs_no_response),
		cmocka_unit_test(undoes_facts),
		cmocka_unit_test(fails_the_task_on_misuse_and_broken_limits),
		cmocka_unit_test(keeps_links_within_the_origin),
		cmocka_unit_test(gives_the_same_wherever_it_is_resumed),
		cmocka_unit_test(parses_in_the_order_of_the_calls),
		cmocka_unit_test(gives_back_a_held_call_whose_turn_asks_for_more),
		cmocka_unit_test(gives_up_what_may_not_be_repeated),
		cmocka_unit_test(holds_answers_while_a_commit_is_under_way),
		cmocka_unit_test(keeps_the_credential_through_pages),
		cmocka_unit_test(places_credentials_and_hides_them),
		cmocka_unit_test(refuses_an_event_over_the_limit),
		cmocka_unit_test(knows_what_failed_for_good),
		cmocka_unit_test(misuse_is_not_for_good),
		cmocka_unit_test(refuses_checkpoints_that_cannot_be_resumed),
		cmocka_unit_test(checks_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
