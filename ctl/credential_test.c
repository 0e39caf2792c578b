/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl credential test: opens credentials and, where there is a way, asks the
 * upstream what they are worth. What it says for good is written to the store.
 */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/model.h"
#include "credential/graph.h"
#include "credential/oauth.h"
#include "http/http.h"
#include "json/jwrite.h"
#include "loop/loop.h"
#include "vault.h"

#define TOKEN_WAIT_MS 30000
#define ANSWER_MAX (1 << 20)

const struct ctl_option credential_test_options[] = {
	{"app-token", 0, "FILE",
	 "ask the Graph API with the application's token in FILE, not with the credential's own"},
	{NULL, 0, NULL, NULL}};

struct test {
	struct vault vault;
	struct loop *loop;
	struct http_client *http;
	struct oauth *oauth;
	const char *app_token;		/* NULL: none was given */
};

struct result {
	const char *word;		/* "good", "bad", "unclear" */
	const char *text;
	bool disable, expired;		/* the store has to know */
};

/* --- asking --- */

struct exchange {
	struct http_response *response;
	struct error err;
	bool over;
};

static void on_response(void *user, struct http_response *response, const struct error *err)
{
	struct exchange *exchange = user;

	exchange->response = response;
	if (err != NULL)
		exchange->err = *err;
	exchange->over = true;
}

static const char *member(const struct vault_item *item, const char *name)
{
	for (size_t i = 0; i < item->count; i++)
		if (str_eq(item->members[i].name, name))
			return item->members[i].value;
	return NULL;
}

/* Text from outside, without the secrets it may repeat. */
static const char *masked(struct test *test, const struct vault_item *item, const char *text)
{
	const char *copy;
	struct buf out;

	buf_init(&out);
	credential_mask(item->members, item->count, text, &out);
	copy = arena_strndup(test->vault.ctl->arena, out.len > 0 ? out.data : "", out.len);
	buf_fini(&out);
	return copy;
}

static struct result unclear(struct test *test, const struct vault_item *item, const char *text)
{
	return (struct result){.word = "unclear", .text = masked(test, item, text)};
}

static struct result judge(struct test *test, const struct vault_item *item,
			   const struct http_response *response)
{
	struct graph_verdict verdict;
	char until[CLOCK_TEXT_SIZE];
	struct error err;

	if (graph_debug_read(response->body, response->body_len, test->app_token == NULL,
			     clock_wall_ms() / 1000, &verdict, &err) != 0)
		return unclear(test, item, err.text);
	if (verdict.state != GRAPH_GOOD)
		return (struct result){.word = "bad",
				       .text = masked(test, item, verdict.reason),
				       .disable = true,
				       .expired = verdict.state == GRAPH_DATA_EXPIRED};
	if (verdict.data_access_s == 0)
		return (struct result){.word = "good", .text = ""};
	return (struct result){.word = "good",
			       .text = arena_printf(test->vault.ctl->arena, "data access until %s",
						    clock_format(until, verdict.data_access_s))};
}

static struct result ask_graph(struct test *test, const struct vault_item *item)
{
	const struct conf_source *conf = conf_source(test->vault.ctl->setup.conf, item->source->name);
	const char *token = member(item, "token");
	struct http_request request = {.max_body = ANSWER_MAX};
	struct exchange exchange = {.over = false};
	struct result result;
	struct buf url;

	buf_init(&url);
	graph_debug_url(&url,
			conf != NULL && conf->base_url != NULL ? conf->base_url : item->source->base_url,
			token, test->app_token != NULL ? test->app_token : token);
	request.url = url.data;
	http_start(test->http, &request, on_response, &exchange);
	secret_wipe(&url);
	while (!exchange.over)
		loop_run_once(test->loop, 1000);
	if (exchange.response == NULL)
		return unclear(test, item, exchange.err.text);
	result = judge(test, item, exchange.response);
	http_response_free(&exchange.response);
	return result;
}

static struct result ask_token(struct test *test, const struct vault_item *item)
{
	int64_t end = clock_mono_ms() + TOKEN_WAIT_MS;
	struct oauth_answer answer;

	for (;;) {
		oauth_ask(test->oauth, item->source->auth_name, item->members, item->count, &answer);
		if (answer.state == OAUTH_READY)
			return (struct result){.word = "good", .text = "an access token was given"};
		if (answer.state == OAUTH_REFUSED)
			return (struct result){
				.word = "bad", .text = masked(test, item, answer.reason), .disable = true};
		if (answer.reason[0] != '\0' || clock_mono_ms() > end)
			return unclear(test, item,
				       answer.reason[0] != '\0' ? answer.reason : "no answer in time");
		loop_run_once(test->loop, answer.wait_ms);
	}
}

static struct result look(struct test *test, const struct store_credential *row)
{
	struct vault_item item;
	struct error err;

	if (vault_item_open(&test->vault, row, &item, &err) != 0)
		return (struct result){.word = "bad", .text = arena_strdup(test->vault.ctl->arena, err.text)};
	if (item.source == NULL)
		return (struct result){.word = "unclear", .text = "no plugin has its source"};
	if (vault_item_check(&item, &err) != 0)
		return (struct result){.word = "bad", .text = arena_strdup(test->vault.ctl->arena, err.text)};
	if (str_eq(item.source->name, GRAPH_SOURCE))
		return ask_graph(test, &item);
	if (item.source->auth == SL_AUTH_OAUTH2)
		return ask_token(test, &item);
	return (struct result){.word = "good", .text = "complete; the source has no way to be asked"};
}

/* --- the command --- */

static int record(struct test *test, const struct store_credential *row, const struct result *result,
		  struct error *err)
{
	const struct store_credential_change change = {
		.action = result->expired ? STORE_CREDENTIAL_EXPIRE : STORE_CREDENTIAL_DISABLE, .id = row->id,
		.reason = result->text
	};
	int64_t count;

	return result->disable ? store_sync_credential_change(test->vault.ctl->store, &change, 1, &count, err)
			       : 0;
}

static void print_results(struct ctl *ctl, const struct store_credential *rows, const struct result *results,
			  size_t count)
{
	struct table *table = table_new(ctl, "ID> SOURCE RESULT TEXT");
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < count; i++) {
		table_printf(table, "%lld", (long long)rows[i].id);
		table_cell(table, rows[i].source);
		table_cell(table, results[i].word);
		table_cell(table, results[i].text);
		jwrite_object(&w, NULL);
		jwrite_int(&w, "id", rows[i].id);
		jwrite_string(&w, "source", rows[i].source);
		jwrite_string(&w, "result", results[i].word);
		jwrite_string(&w, "text", results[i].text);
		jwrite_end(&w);
	}
	jwrite_end(&w);
	table_or_json(table, &out);
}

static int run(struct test *test)
{
	struct ctl *ctl = test->vault.ctl;
	struct store_credential *rows;
	struct result *results;
	struct error err;
	size_t count;
	int status;

	status = vault_rows(&test->vault, &rows, &count) == 0 ? CTL_OK : CTL_FAILED;
	results = arena_alloc(ctl->arena, (count + 1) * sizeof(*results));
	for (size_t i = 0; i < count; i++) {
		results[i] = look(test, &rows[i]);
		if (!str_eq(results[i].word, "good"))
			status = CTL_FAILED;
		if (record(test, &rows[i], &results[i], &err) != 0)
			status = ctl_fail("the task store: %s", err.text);
	}
	if (count > 0)
		print_results(ctl, rows, results, count);
	return status;
}

int cmd_credential_test(struct ctl *ctl)
{
	const struct http_options options = {.user_agent = NULL};
	const char *file = ctl_option(ctl, "app-token");
	struct test test = {.app_token = NULL};
	struct error err;
	int status = CTL_FAILED;

	if (vault_open(&test.vault, ctl, true) == 0) {
		test.loop = loop_new();
		test.http = http_client_new(test.loop, &options);
		test.oauth = oauth_new(test.loop, test.http);
		if (file != NULL && (test.app_token = vault_secret(ctl, file, &err)) == NULL)
			ctl_fail("%s", err.text);
		else
			status = run(&test);
		oauth_free(&test.oauth);
		http_client_free(&test.http);
		loop_free(&test.loop);
	}
	vault_close(&test.vault);
	return status;
}
