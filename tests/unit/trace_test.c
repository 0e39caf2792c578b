/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces of requests: their form, and that no secret is in them, in whatever way
 * a credential is placed and an upstream spells what it was sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/str.h"
#include "flow/flow.h"
#include "flow/secrets.h"
#include "flow/trace.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "plugin/plugin.h"

#define ROUNDS 600

/* --- a plugin with a source of each kind --- */

static const char *const open_fields[] = {"user", NULL};
static const char *const secret_names[] = {"X-Session", "ticket", NULL};

#define SOURCE(number, kind, where, member)                                                                     \
	SL_SOURCE_INIT(.name = "s" #number, .base_url = "https://api.example/" #number, .auth = (kind),         \
		       .auth_name = (where), .auth_field = (member), .public_fields = open_fields,              \
		       .secret_names = secret_names, .doc = "d")

static const struct sl_source by_headers = SOURCE(0, SL_AUTH_HEADERS, NULL, NULL);
static const struct sl_source by_header = SOURCE(1, SL_AUTH_HEADER, "X-Key", "token");
static const struct sl_source by_query = SOURCE(2, SL_AUTH_QUERY, "k", "token");
static const struct sl_source by_bearer = SOURCE(3, SL_AUTH_BEARER, NULL, "token");
static const struct sl_source by_oauth = SOURCE(4, SL_AUTH_OAUTH2, "https://id.example/token", NULL);
static const struct sl_source by_hand = SOURCE(5, SL_AUTH_NONE, NULL, NULL);

static enum sl_result build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, struct sl_request *r)
{
	(void)t;
	h->get(r, "/path");
	h->query(r, "of", h->key(c));
	h->query(r, "ticket", "one way");
	h->header(r, "X-Session", "another");
	h->header(r, "X-Seen", "as it is");
	return SL_OK;
}

static enum sl_result build_by_hand(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				    struct sl_request *r)
{
	(void)t;
	h->post(r, "/path");
	h->secret_query(r, "q", "token");
	h->secret_header(r, "X-Hand", "Token ", "token");
	h->secret_form(r, "f", "token");
	h->form(r, "of", h->key(c));
	h->header(r, "X-User", h->credential(r, "user"));
	return SL_OK;
}

static enum sl_result parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			    const struct sl_response *re)
{
	(void)c;
	h->set_cursor(t, h->str(re->json, "next"));
	if (h->str(re->json, "next"))
		return SL_OK;
	return (h->fail)(t, SL_FAIL, h->str(re->json, "message"));	/* cmocka has a macro fail() */
}

#define OPERATION(number, from, builder)                                                                          \
	SL_OPERATION_INIT("o" #number, SL_HTTP,                                                                 \
			  (const struct sl_via[]){{&(from), builder, parse}, SL_END_OF_VIAS})

static const struct sl_operation o0 = OPERATION(0, by_headers, build), o1 = OPERATION(1, by_header, build),
				 o2 = OPERATION(2, by_query, build), o3 = OPERATION(3, by_bearer, build),
				 o4 = OPERATION(4, by_oauth, build), o5 = OPERATION(5, by_hand, build_by_hand);
static const struct sl_operation *const operations[] = {&o0, &o1, &o2, &o3, &o4, &o5, NULL};
#define KINDS 6

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (h->round(t) == 0)
		h->call(t, operations[h->param_int(t, "kind", 0)], "thing", NULL);
	else
		h->next(t, h->ended(t, 0), 0);
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	(void)h;
	(void)t;
	(void)rec;
	return SL_OK;
}

static const struct sl_option params[] = {{"kind", SL_INT, 0, "0", 0, KINDS - 1, "k", {NULL, NULL}},
					  SL_END_OF_OPTIONS};
static const struct sl_flow flow = SL_FLOW_INIT(.name = "ask", .platform = "T", .params = params, .operations = operations,
						.retrieve = retrieve, .emit = emit, .doc = "d");
static const struct sl_option options[] = {{"app_secret", SL_STR, SL_SECRET, NULL, 0, 0, "a", {NULL, NULL}},
					   SL_END_OF_OPTIONS};
static const struct sl_plugin descriptor = {
	sizeof(struct sl_plugin),
	SL_ABI_MAJOR,
	SL_ABI_MINOR,
	.name = "kinds",
	.version = "1",
	.doc = "d",
	.options = options,
	.sources = (const struct sl_source *const[]){&by_headers, &by_header, &by_query, &by_bearer, &by_oauth,
						     &by_hand, NULL},
	.operations = operations,
	.flows = (const struct sl_flow *const[]){&flow, NULL},
};

/* --- a task with its request under way --- */

static int64_t clock_now(void)
{
	return INT64_C(1700000000000);
}

static const char *option_value(const struct plugin *plugin, const char *name)
{
	(void)plugin;
	return str_eq(name, "app_secret") ? "app+secret/of=mine" : NULL;
}

static const struct flow_env env = {.store_id = "store", .event_max = 1 << 20, .facts_max = 1 << 20,
				    .slice_records = 10, .slice_bytes = 1 << 20, .calls_in_flight = 2,
				    .now_ms = clock_now, .option = option_value};
static struct plugin_set *set;
static const struct plugin *plugin;

static struct flow_task *begin(int kind, const struct flow_pair *members, size_t count, struct flow_call **call_r,
			       struct flow_request *request_r)
{
	const struct flow_credential credential = {members, count};
	enum flow_step step;
	struct error err;
	struct flow_task *task;
	char given[32];
	int64_t delay;

	snprintf(given, sizeof(given), "{\"kind\":%d}", kind);
	task = flow_task_new(&env, plugin, plugin_find_flow(set, "ask", NULL), 7, 0, given, NULL, &err);
	assert_non_null(task);
	flow_task_resume(task);
	*call_r = flow_task_next_call(task, &delay);
	assert_non_null(*call_r);
	flow_call_choose(*call_r, flow_call_candidate(*call_r, 0));
	assert_int_equal(flow_call_request(*call_r, NULL, &credential, request_r, &step), 0);
	return task;
}

static struct flow_trace trace_of(const struct flow_request *request, const char *body)
{
	return (struct flow_trace){
		.id = "ID", .host = "node-1", .service = "beat", .sent_ms = INT64_C(1700000000123), .taken_ms = 2345,
		.request = request, .flow = "ask", .source = "s", .task = 7, .status = 200, .remote = "192.0.2.1",
		.body = body, .body_len = body != NULL ? strlen(body) : 0
	};
}

/* --- the ways a secret may be spelled --- */

/* As upstreams' and our own encoders do: all but letters and digits, or every byte. */
static void percent(struct buf *out, const char *text, bool all, const char *mark, bool upper)
{
	for (; *text; text++)
		if (!all && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", *text))
			buf_addc(out, *text);
		else
			buf_printf(out, upper ? "%s%02X" : "%s%02x", mark, (unsigned char)*text);
}

static void base64(struct buf *out, const char *text, size_t len, bool url)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";

	for (size_t i = 0; i < len; i += 3) {
		unsigned int word = 0;

		for (size_t k = 0; k < 3; k++)
			word = word << 8 | (i + k < len ? (unsigned char)text[i + k] : 0);
		for (size_t k = 0; k < 4; k++) {
			unsigned int six = word >> (18 - 6 * k) & 63;

			if (i + k > len)
				buf_adds(out, url ? "" : "=");
			else
				buf_addc(out, digits[url && six > 61 ? six + 2 : six]);
		}
	}
}

static void json_text(struct buf *out, const char *text)
{
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_string(&w, NULL, text);
}

#define SPELLINGS 11
/* The number-th way to write secret. */
static char *spell(const char *secret, int number)
{
	struct buf out, pair;

	buf_init(&out);
	buf_init(&pair);
	buf_printf(&pair, "%.*suser:%s%.*s", number % 3, "ab", secret, number % 2, "!");
	switch (number) {
	case 0:
		buf_adds(&out, secret);
		break;
	case 1:
		percent(&out, secret, false, "%", true);
		break;
	case 2:
		percent(&out, secret, true, "%", false);
		break;
	case 3:
		percent(&out, secret, false, "%25", true);
		break;
	case 4:
		json_text(&out, secret);
		break;
	case 5:
		percent(&out, secret, false, "\\u00", false);
		break;
	default:
		base64(&out, pair.data, pair.len, number > 8);
		break;
	}
	buf_fini(&pair);
	return buf_steal(&out);
}

/* --- telling whether one is there --- */

static size_t decode64(const char *text, size_t len, unsigned char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t count = 0;
	unsigned int word = 0, bits = 0;

	for (size_t i = 0; i < len; i++) {
		char c = (char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);

		word = word << 6 | (unsigned int)(strchr(digits, c) - digits);
		bits += 6;
		if (bits >= 8)
			out[count++] = (unsigned char)(word >> (bits -= 8));
	}
	return count;
}

static bool in_bytes(const unsigned char *bytes, size_t len, const char *secret)
{
	size_t n = strlen(secret);

	for (size_t i = 0; i + n <= len; i++)
		if (!memcmp(bytes + i, secret, n))
			return true;
	return false;
}

/* In any run of base64's characters, read from each of its first four. */
static bool in_base64(const char *text, const char *secret)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
	unsigned char bytes[8192];

	for (size_t run; *text; text += run ? run : 1) {
		run = strspn(text, alphabet);
		for (size_t from = 0; from < 4 && from < run && run < sizeof(bytes); from++)
			if (in_bytes(bytes, decode64(text + from, run - from, bytes), secret))
				return true;
	}
	return false;
}

static void assert_hidden(const char *event, const char *secret, const char *what)
{
	struct arena *arena = arena_new();
	struct error err;
	struct json_doc *doc = json_parse(event, strlen(event), &err);
	static const char *const members[] = {"uri", "requestBody", "responseBody", "error"};

	assert_non_null(doc);
	if (strstr(event, secret) || in_base64(event, secret))
		fail_msg("%s: %s shows %s", what, event, secret);
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
		const char *text = json_string(json_member(json_root(doc), members[i]), NULL);

		struct buf once;

		if (!text)
			continue;
		if (strstr(text, secret) || in_base64(text, secret))
			fail_msg("%s: %s shows %s", what, text, secret);
		/* Decoded leniently: a piece at a time, for the rest may be no encoding at all. */
		buf_init(&once);
		for (; *text; text++) {
			const char *piece = *text == '%' ? str_url_decode(arena, text, strlen(text) < 3 ? strlen(text) : 3)
							 : NULL;

			buf_addc(&once, piece ? *piece : *text);
			text += piece ? 2 : 0;
		}
		buf_adds(&once, "");
		if (once.data && strstr(once.data, secret))
			fail_msg("%s: %s holds %s", what, once.data, secret);
		buf_fini(&once);
	}
	json_doc_free(&doc);
	arena_free(&arena);
}

/* None of the spellings stands in the answer's body any more; they are released. */
static void assert_gone(const char *event, char **spelled)
{
	struct error err;
	struct json_doc *doc = json_parse(event, strlen(event), &err);
	const char *text = json_string(json_member(json_root(doc), "responseBody"), NULL);

	assert_non_null(text);
	for (int i = 0; i < SPELLINGS; i++) {
		if (strstr(text, spelled[i]))
			fail_msg("%s shows %s", text, spelled[i]);
		mem_release(spelled[i]);
	}
	json_doc_free(&doc);
}

/* --- tests --- */

static uint64_t random_state;

static unsigned int draw(unsigned int below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)(random_state >> 33) % below;
}

/* What header values may hold; the odd ones often. */
static void make_secret(char *out, size_t size, unsigned int least)
{
	static const char odd[] = " %&+/=\"\\'<>?#;:,{}[]~.-_";
	size_t len = least + draw((unsigned int)(size - least));

	for (size_t i = 0; i < len; i++)
		out[i] = draw(4) == 0 && i > 0 && i + 1 < len ? odd[draw(sizeof(odd) - 1)] : (char)('A' + draw(26) + 32 * draw(2));
	out[len] = '\0';
}

static void hides_a_secret_however_it_is_placed_and_repeated(void **state)
{
	(void)state;
	random_state = 1;
	for (int round = 0; round < ROUNDS; round++) {
		char token[40], other[40];
		const struct flow_pair members[] = {{"token", token, true}, {"access_token", other, true},
						    {"user", "joe", true}};
		int kind = round % KINDS;
		struct flow_request request;
		struct flow_call *call;
		struct flow_task *task;
		struct flow_trace trace;
		struct buf body, event;
		char *spelled_all[SPELLINGS];

		make_secret(token, sizeof(token), 6);
		make_secret(other, sizeof(other), 6);
		task = begin(kind, members, 3, &call, &request);
		buf_init(&body);
		buf_init(&event);
		buf_printf(&body, "{\"user\":\"joe\",\"echo\":\"");
		for (int i = 0; i < SPELLINGS; i++) {
			char *spelled = spell(i % 2 ? token : other, (round + i) % SPELLINGS);

			buf_printf(&body, "%s %s ", draw(2) ? "<" : "x=", spelled);
			spelled_all[i] = spelled;
		}
		buf_printf(&body, "\"}");
		trace = trace_of(&request, body.data);
		trace.error = token;
		flow_trace_print(&trace, draw(8) ? 65536 : draw(400), 1 << 20, &event);
		assert_hidden(event.data, token, flow_call_operation(call));
		assert_hidden(event.data, other, flow_call_operation(call));
		assert_hidden(event.data, "one way", flow_call_operation(call));
		assert_hidden(event.data, "another", flow_call_operation(call));
		assert_null(strstr(request.shown_url, token));
		assert_gone(event.data, spelled_all);
		flow_task_free(&task);
		buf_fini(&body);
		buf_fini(&event);
	}
}

static void keeps_the_form_that_readers_know(void **state)
{
	static const struct flow_pair members[] = {{"token", "t0psecret", true}, {"user", "joe", true}};
	struct flow_request request;
	struct flow_call *call;
	struct flow_task *task = begin(5, members, 2, &call, &request);
	struct flow_trace trace = trace_of(&request, "{\"a\":\"b\\nc\",\"again\":\"t0psecret\"}");
	struct buf out;

	(void)state;
	buf_init(&out);
	flow_trace_print(&trace, 100, 2000, &out);
	assert_string_equal(out.data,
			    "{\"id\":\"ID\",\"hostname\":\"node-1\",\"hostName\":\"node-1\",\"serviceName\":\"beat\","
			    "\"timestamp\":\"2023-11-14T22:13:20.123\",\"timeTaken\":2,\"timeTakenMs\":2345,\"method\":\"POST\","
			    "\"uri\":\"https://api.example/5/path?q=***\",\"headers\":{\"X-Hand\":\"***\",\"X-User\":\"joe\","
			    "\"Content-Type\":\"application/x-www-form-urlencoded\"},\"responseStatus\":200,"
			    "\"remoteAddress\":\"192.0.2.1\",\"onlyRequest\":false,\"requestBody\":\"f=***&of=thing\","
			    "\"responseBody\":\"{\\\"a\\\":\\\"b\\\\nc\\\",\\\"again\\\":\\\"***\\\"}\",\"flow\":\"ask\","
			    "\"source\":\"s\",\"task\":7}");
	buf_clear(&out);
	trace.status = 0;
	trace.remote = trace.body = NULL;
	trace.error = "https://api.example: Connection refused";
	flow_trace_print(&trace, 8, 2000, &out);
	assert_non_null(strstr(out.data, "\"responseStatus\":0,\"remoteAddress\":\"\",\"onlyRequest\":false,"
					 "\"requestBody\":\"f=***&of\",\"responseBody\":\"\","));
	assert_non_null(strstr(out.data, "\"error\":\"https://api.example: Connection refused\"}"));
	buf_clear(&out);
	flow_trace_print(&trace, 100, 300, &out);
	assert_non_null(strstr(out.data, "\"headers\":{},"));
	assert_non_null(strstr(out.data, "\"requestBody\":\"\",\"responseBody\":\"\","));
	buf_fini(&out);
	flow_task_free(&task);
}

static void expect_hidden(struct flow_secrets *secrets, const char *text, const char *wanted)
{
	struct buf out;

	buf_init(&out);
	flow_secrets_hide(secrets, text, strlen(text), SIZE_MAX, &out);
	assert_string_equal(out.data, wanted);
	buf_fini(&out);
}

static void hides_what_stands_behind_a_secret_name(void **state)
{
	struct arena *arena = arena_new();
	struct flow_secrets *secrets = flow_secrets_new(arena);

	(void)state;
	flow_secrets_add_parameter(secrets, "key");
	flow_secrets_add_name(secrets, "ticket");
	flow_secrets_add_value(secrets, "abc");		/* too short to be looked for */
	flow_secrets_add_value(secrets, "Bearer so,secret");
	expect_hidden(secrets, "a=1&key=x y&ticket=1;b=abc", "a=1&key=*** y&ticket=***;b=abc");
	expect_hidden(secrets, "{\"key\": \"kept\", \"Ticket\" : \"a\\\"b\", \"b\":1}",
		      "{\"key\": \"kept\", \"Ticket\" : \"***\", \"b\":1}");
	expect_hidden(secrets, "{\"ticket\":12,\"access_token\":null,\"refresh_token\":[\"a\",\"b\"],\"password\":{\"x\":1}}",
		      "{\"ticket\":***,\"access_token\":null,\"refresh_token\":***],\"password\":{\"x\":1}}");
	expect_hidden(secrets, "\"next\":\"https:\\/\\/h\\/?access_token=AB\\u0026ticket=CD\\u0026n=1\"",
		      "\"next\":\"https:\\/\\/h\\/?access_token=***\\u0026ticket=***\\u0026n=1\"");
	expect_hidden(secrets, "\"{\\\"ticket\\\":\\\"ab\\\",\\\"c\\\":1}\"", "\"{\\\"ticket\\\":\\\"***\\\",\\\"c\\\":1}\"");
	expect_hidden(secrets, "u=https%3A%2F%2Fh%2F%3Fticket%3Dab%26n%3D1&m=2", "u=https%3A%2F%2Fh%2F%3Fticket%3D***%26n%3D1&m=2");
	expect_hidden(secrets, "Authorization: Basic abcdef\r\nX: y", "Authorization: ***\r\nX: y");
	expect_hidden(secrets, "my_ticket=1 tickets=2 ticket 3 ticket=", "my_ticket=1 tickets=2 ticket 3 ticket=");
	expect_hidden(secrets, "key=so,secret,x is so,secret", "key=***,x is ***");
	arena_free(&arena);
}

static void hides_what_an_upstream_says_of_a_secret(void **state)
{
	static const struct flow_pair members[] = {{"token", "t0p secret", true}};
	static const char answer[] = "{\"message\":\"t0p secret is no key, nor app+secret/of=mine\"}";
	struct buf checkpoint;
	struct flow_request request;
	struct flow_call *call;
	struct flow_task *task;
	const char *text;

	(void)state;
	task = begin(2, members, 1, &call, &request);
	flow_call_response(call, 200, NULL, 0, answer, strlen(answer));
	assert_int_equal(flow_task_state(task), FLOW_FAILED);
	flow_task_failure(task, &text);
	assert_string_equal(text, "(200, '*** is no key, nor ***')");
	flow_task_free(&task);

	task = begin(1, members, 1, &call, &request);
	flow_call_failed(call, SL_FAIL, 0, "no way to t0p%20secret");
	flow_task_failure(task, &text);
	assert_string_equal(text, "no way to ***");
	buf_init(&checkpoint);
	flow_task_checkpoint(task, &checkpoint);
	assert_null(strstr(checkpoint.data, "secret"));
	buf_fini(&checkpoint);
	flow_task_free(&task);
}

static void stores_no_link_with_a_secret(void **state)
{
	static const struct flow_pair members[] = {{"token", "t0p secret", true}};
	static const struct {
		const char *next, *kept;
	} cases[] = {
		{"https://api.example/2/path?k=t0p%20secret&after=9&x=t0p%20secrets#f", "https://api.example/2/path?after=9&x=t0p%20secrets#f"},
		{"https://api.example/2/path?after=9&k=t0p+secret", "https://api.example/2/path?after=9"},
		{"https://api.example/2/path?k=t0p%20secret", "https://api.example/2/path"},
		{"t0p secret?k=t0p secret", "t0p secret?k=t0p secret"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct flow_request request;
		struct flow_call *call;
		struct flow_task *task = begin(2, members, 1, &call, &request);
		struct buf answer, checkpoint;

		buf_init(&answer);
		buf_init(&checkpoint);
		buf_printf(&answer, "{\"next\":\"%s\"}", cases[i].next);
		flow_call_response(call, 200, NULL, 0, answer.data, answer.len);
		assert_int_equal(flow_task_state(task), FLOW_CALLS);
		flow_task_checkpoint(task, &checkpoint);
		buf_clear(&answer);
		buf_printf(&answer, "\"cursor\":\"%s\"", cases[i].kept);
		if (!strstr(checkpoint.data, answer.data))
			fail_msg("%s lacks %s", checkpoint.data, answer.data);
		flow_task_free(&task);
		buf_fini(&answer);
		buf_fini(&checkpoint);
	}
}

static void draws_the_same_share_wherever_it_is_asked(void **state)
{
	unsigned int drawn = 0, alike = 0;

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		bool first = flow_trace_drawn(99, 3, i, 0.25);

		assert_int_equal(flow_trace_drawn(99, 3, i, 0.25), first);
		assert_true(flow_trace_drawn(99, 3, i, 1));
		assert_false(flow_trace_drawn(99, 3, i, 0));
		drawn += first;
		alike += first == flow_trace_drawn(99, 4, i, 0.25);
	}
	assert_in_range(drawn, 2300, 2700);
	assert_in_range(alike, 5800, 6700);	/* another slice draws others: 5/8 agree by chance */
}

static int set_up(void **state)
{
	struct error err;

	(void)state;
	set = plugin_set_new();
	if (plugin_add_static(set, "kinds.so", &descriptor, &plugin, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.text);
	return -1;
}

static int tear_down(void **state)
{
	(void)state;
	plugin_set_free(&set);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hides_a_secret_however_it_is_placed_and_repeated),
		cmocka_unit_test(keeps_the_form_that_readers_know),
		cmocka_unit_test(hides_what_stands_behind_a_secret_name),
		cmocka_unit_test(hides_what_an_upstream_says_of_a_secret),
		cmocka_unit_test(stores_no_link_with_a_secret),
		cmocka_unit_test(draws_the_same_share_wherever_it_is_asked),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
