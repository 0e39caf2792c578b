/* SPDX-License-Identifier: Apache-2.0 */
/* The answers that `sluicectl flow try` gives its calls: from files, rows, or the sources themselves. */
#include "try.h"

#include <string.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/str.h"
#include "http/http.h"
#include "http/recorded.h"
#include "json/json.h"
#include "loop/loop.h"
#include "plugin/store_table.h"
#include "setup/engine.h"
#include "store/store_sync.h"
#include "vault.h"

#define LOOKUP_ROWS 1000

int answer_init(struct try *try)
{
	const struct http_options options = { .user_agent = NULL };

	try->turns = map_new();
	try->loop = loop_new();
	try->http = http_client_new(try->loop, &options);
	return 0;
}

void answer_fini(struct try *try)
{
	http_client_free(&try->http);
	loop_free(&try->loop);
	map_free(&try->turns);
	mem_release(try->refused);
}

void answer_refuse(struct try *try, const struct flow_call *call)
{
	try->refused = mem_realloc(try->refused, (try->refused_count + 1) * sizeof(struct sl_source *));
	try->refused[try->refused_count++] = flow_call_source(call);
}

/* --- lookups --- */

/* The file that --rows names for a table, or NULL. */
static const char *rows_file(const struct ctl *ctl, const char *table)
{
	const char *option;

	for (size_t i = 0; (option = ctl_option_at(ctl, "rows", i)) != NULL; i++) {
		size_t len = strcspn(option, "=");

		if (option[len] == '=' && strlen(table) == len && strncmp(option, table, len) == 0)
			return option + len + 1;
	}
	return NULL;
}

static bool row_matches(const struct json *row, const char *column, const char *value)
{
	const struct json *found = json_member(row, column);
	const char *text = json_string(found, NULL);
	struct buf printed;
	bool same;

	if (text != NULL || found == NULL)
		return str_eq(text, value);
	buf_init(&printed);
	json_print(found, &printed);
	same = str_eq(printed.data, value);
	buf_fini(&printed);
	return same;
}

/* The rows of a JSON array where column is value, as an array again. */
static int filter_rows(const struct buf *body, const char *column, const char *value, struct buf *out,
		       struct error *err)
{
	struct json_doc *doc = json_parse(body->len > 0 ? body->data : "", body->len, err);
	const struct json *row;
	struct jwrite w;

	if (doc == NULL)
		return -1;
	jwrite_init(&w, out);
	jwrite_array(&w, NULL);
	for (row = json_first(json_root(doc)); row != NULL; row = json_next(row))
		if (row_matches(row, column, value))
			jwrite_value(&w, NULL, row);
	jwrite_end(&w);
	json_doc_free(&doc);
	return 0;
}

/* The rows of a lookup: --rows, else the recording, else, unless this is a replay, the store. */
static int find_rows(struct try *try, struct flow_call *call, struct buf *rows, struct error *err)
{
	const struct sl_table *table = flow_call_table(call);
	const char *column = flow_call_column(call), *key = flow_call_key(call);
	struct ctl *ctl = try->ctl;
	const char *file = rows_file(ctl, table->name);
	struct http_recorded recorded;
	struct buf body;
	int status = 0;

	if (file == NULL && try->replay == NULL) {
		if (ctl_open_store_if_there(ctl) == 0)
			return store_sync_lookup(ctl->store, plugin_store_table(ctl->arena, table), column,
						 key, LOOKUP_ROWS, rows, err);
		buf_adds(rows, "[]");
		return 0;
	}
	if (file != NULL && str_ends(file, ".json"))
		file = arena_strndup(ctl->arena, file, strlen(file) - strlen(".json"));
	buf_init(&body);
	if (http_recorded_read(file != NULL ? file : arena_printf(ctl->arena, "%s/%s", try->replay,
								  flow_call_operation(call)),
			       ctl->arena, &recorded, &body) == 0)
		status = filter_rows(&body, column, key, rows, err);
	else if (file != NULL)
		status = error_set(err, ERR_INPUT, "%s.json cannot be read", file);
	else
		buf_adds(rows, "[]");
	buf_fini(&body);
	return status;
}

static enum flow_step answer_lookup(struct try *try, struct flow_call *call)
{
	enum flow_step step;
	struct error err;
	struct buf rows;

	buf_init(&rows);
	if (find_rows(try, call, &rows, &err) == 0) {
		step = flow_call_rows(call, rows.data, rows.len);
	} else {
		try_error(try, call, "%s", err.text);
		step = flow_call_failed(call, SL_FAIL, 0, err.text);
	}
	buf_fini(&rows);
	return step;
}

/* --- sources --- */

/* A source that is not really asked needs no real credential: one with every member that it names. */
static struct flow_credential placeholder(struct ctl *ctl, const struct sl_source *source)
{
	struct flow_pair *members;
	size_t count = 0;

	while (source->fields != NULL && source->fields[count] != NULL)
		count++;
	members = arena_alloc(ctl->arena, (count + 1) * sizeof(*members));
	for (size_t i = 0; i < count; i++)
		members[i] = (struct flow_pair){ source->fields[i], "none", true };
	if (count == 0 && source->auth_field != NULL)
		members[count++] = (struct flow_pair){ source->auth_field, "none", true };
	return (struct flow_credential){ members, count };
}

/* --upstream for a source: SOURCE=URL, else URL alone; NULL: not given. */
static const char *upstream(const struct ctl *ctl, const char *source)
{
	const char *option, *general = NULL;

	for (size_t i = 0; (option = ctl_option_at(ctl, "upstream", i)) != NULL; i++) {
		size_t len = strcspn(option, "=:");

		if (option[len] != '=')
			general = option;
		else if (strlen(source) == len && strncmp(option, source, len) == 0)
			return option + len + 1;
	}
	return general;
}

static bool usable(const struct try *try, const struct sl_source *source)
{
	const char *only = ctl_option(try->ctl, "source");

	if (only != NULL && !str_eq(only, source->name))
		return false;
	for (size_t i = 0; i < try->refused_count; i++)
		if (try->refused[i] == source)
			return false;
	return true;
}

/* One of the pool. OAuth 2.0 wants an access token first, which is not fetched here. */
static bool from_pool(struct try *try, const struct sl_source *source, const struct flow_call *call,
		      struct flow_credential *credential)
{
	struct flow_pair *members;
	struct vault_item item;

	if (source->auth == SL_AUTH_OAUTH2 || !vault_pick(try->ctl, source, flow_call_handle(call), &item))
		return false;
	members = arena_alloc(try->ctl->arena, item.count * sizeof(*members));
	for (size_t i = 0; i < item.count; i++)
		members[i] = (struct flow_pair){ item.members[i].name, item.members[i].value, item.members[i].secret };
	*credential = (struct flow_credential){ members, item.count };
	return true;
}

/* Chooses a source and what it is asked with; false when none is left. */
static bool choose(struct try *try, struct flow_call *call, const char **base_url,
		   struct flow_credential *credential)
{
	const struct sl_source *sources[ENGINE_CANDIDATES_MAX];
	double weights[ENGINE_CANDIDATES_MAX];
	size_t count = engine_candidates(try->ctl->setup.conf, try->conf, call, sources, weights);

	for (size_t i = 0; i < count; i++) {
		const char *other = upstream(try->ctl, sources[i]->name);
		bool has;

		if (!usable(try, sources[i]))
			continue;
		has = engine_credential(try->ctl->setup.conf, sources[i], try->ctl->arena, base_url,
					credential);
		if (!has && try->replay == NULL && other == NULL)
			has = from_pool(try, sources[i], call, credential);
		if (!has && try->replay == NULL && other == NULL) {
			try_error(try, call,
				  "%s has no credential: configure one and name the file with -f FILE",
				  sources[i]->name);
			continue;
		}
		if (!has)
			*credential = placeholder(try->ctl, sources[i]);
		if (other != NULL)
			*base_url = other;
		flow_call_choose(call, sources[i]);
		return true;
	}
	return false;
}

static void print_request(struct try *try, const struct flow_call *call, const struct flow_request *request)
{
	try_begin(try, "request");
	jwrite_string(&try->w, "operation", flow_call_operation(call));
	jwrite_string(&try->w, "key", flow_call_key(call));
	jwrite_string(&try->w, "source", flow_call_source(call)->name);
	jwrite_string(&try->w, "method", request->method);
	jwrite_string(&try->w, "url", request->shown_url);
	jwrite_object(&try->w, "headers");
	for (size_t i = 0; i < request->header_count; i++)
		jwrite_string(&try->w, request->headers[i].name,
			      request->headers[i].secret ? "***" : request->headers[i].value);
	jwrite_end(&try->w);
	try_end(try);
}

static enum flow_step respond(struct try *try, struct flow_call *call, int status,
			      const struct http_header *headers, size_t header_count, const char *body,
			      size_t body_len)
{
	struct flow_pair *pairs = arena_alloc(try->ctl->arena, (header_count + 1) * sizeof(*pairs));

	for (size_t i = 0; i < header_count; i++)
		pairs[i] = (struct flow_pair){ headers[i].name, headers[i].value, false };
	return flow_call_response(call, status, pairs, header_count, body, body_len);
}

/* --- replay --- */

/* How many requests of the operation there were, this one included. */
static size_t turn_of(struct try *try, const char *operation)
{
	size_t *turn = map_get(try->turns, operation);

	if (turn == NULL) {
		turn = arena_alloc(try->ctl->arena, sizeof(*turn));
		map_put(try->turns, operation, turn);
	}
	return ++*turn;
}

static enum flow_step replay(struct try *try, struct flow_call *call)
{
	const char *operation = flow_call_operation(call);
	const char *name = arena_printf(try->ctl->arena, "%s/%s", try->replay, operation);
	const char *numbered = arena_printf(try->ctl->arena, "%s-%zu", name, turn_of(try, operation));
	struct http_recorded recorded;
	enum flow_step step;
	struct buf body;

	buf_init(&body);
	if (http_recorded_read(numbered, try->ctl->arena, &recorded, &body) == 0 ||
	    http_recorded_read(name, try->ctl->arena, &recorded, &body) == 0) {
		step = respond(try, call, recorded.status, recorded.headers, recorded.header_count,
			       body.data != NULL ? body.data : "", body.len);
	} else {
		const char *text = arena_printf(try->ctl->arena,
						"no recorded answer: neither %s.json nor %s.json is there",
						numbered, name);

		try_error(try, call, "%s", text);
		step = flow_call_failed(call, SL_FAIL, 0, text);
	}
	buf_fini(&body);
	return step;
}

/* --- http --- */

struct exchange {
	struct http_response *response;
	struct error err;
	bool answered;
};

static void on_response(void *user, struct http_response *response, const struct error *err)
{
	struct exchange *exchange = user;

	exchange->response = response;
	if (err != NULL)
		exchange->err = *err;
	exchange->answered = true;
}

static enum flow_step ask(struct try *try, struct flow_call *call, const struct flow_request *built)
{
	const struct http_request request = engine_request(try->ctl->setup.conf, built, try->ctl->arena);
	struct exchange exchange = { .answered = false };
	enum flow_step step;

	http_start(try->http, &request, on_response, &exchange);
	while (!exchange.answered)
		loop_run_once(try->loop, 1000);
	if (exchange.response == NULL) {
		bool again = exchange.err.code == ERR_TIMEOUT || exchange.err.code == ERR_IO;

		try_error(try, call, "%s", exchange.err.text);
		return flow_call_failed(call, again ? SL_RETRY : SL_FAIL, 0, exchange.err.text);
	}
	step = respond(try, call, exchange.response->status, exchange.response->headers,
		       exchange.response->header_count, exchange.response->body, exchange.response->body_len);
	http_response_free(&exchange.response);
	return step;
}

enum flow_step answer_call(struct try *try, struct flow_call *call)
{
	struct flow_credential credential;
	struct flow_request request;
	enum flow_step step;
	const char *base_url;

	if (flow_call_kind(call) == SL_LOOKUP)
		return answer_lookup(try, call);
	if (!choose(try, call, &base_url, &credential))
		return flow_call_unavailable(call);
	if (flow_call_request(call, base_url, &credential, &request, &step) != 0)
		return step;
	print_request(try, call, &request);
	return try->replay != NULL ? replay(try, call) : ask(try, call, &request);
}
