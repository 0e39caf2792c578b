/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building requests: what build asks for, the credential's place in it, and
 * the two texts of the URL (the real one and the one that may be shown). Runs
 * on the thread of the driver that owns the task.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "flow/internal.h"

#include "base/str.h"
#include "flow/secrets.h"
#include "http/url.h"
#include "plugin/plugin.h"

struct pairs {
	struct flow_pair *items;
	size_t count, cap;
};

struct sl_request {
	struct flow_call *call;
	const struct sl_source *source;
	const struct flow_credential *credential;
	struct arena *arena; /* the call's */
	struct flow_secrets *secrets;
	const char *base; /* {handle} replaced, no slash at the end */
	const char *method, *path, *absolute;
	struct pairs query, headers, form;
	const char *body;
	size_t body_len;
	const char *content_type;
	int64_t timeout_ms;
	int redirects;
	enum sl_result problem; /* SL_OK: none */
	const char *problem_text;
};

static void request_problem(struct sl_request *r, enum sl_result result, const char *text)
{
	if (r->problem != SL_OK)
		return;
	r->problem = result;
	r->problem_text = text;
}

static bool listed(const char *const *names, const char *name)
{
	for (size_t i = 0; names && names[i]; i++)
		if (!strcasecmp(names[i], name))
			return true;
	return false;
}

static void pairs_add(struct sl_request *r, struct pairs *pairs, const char *name, const char *value,
		      bool secret)
{
	if (pairs->count == pairs->cap) {
		size_t cap = pairs->cap ? pairs->cap * 2 : 8;
		struct flow_pair *items = arena_alloc(r->arena, cap * sizeof(*items));

		if (pairs->count)
			memcpy(items, pairs->items, pairs->count * sizeof(*items));
		pairs->items = items;
		pairs->cap = cap;
	}
	pairs->items[pairs->count++] = (struct flow_pair){
		arena_strdup(r->arena, name),
		arena_strdup(r->arena, value),
		secret || listed(r->source->secret_names, name),
	};
}

/* A member of the credential; NULL, and the credential is no good, when it has none. */
static const char *member_needed(struct sl_request *r, const char *field)
{
	for (size_t i = 0; r->credential && field && i < r->credential->count; i++)
		if (str_eq(r->credential->members[i].name, field) && r->credential->members[i].value)
			return r->credential->members[i].value;
	if (r->credential || !(r->source->flags & SL_SOURCE_ANONYMOUS))
		request_problem(r, SL_AUTH,
				arena_printf(r->arena, "The credential of %s lacks %s", r->source->name,
					     field ? field : "a field"));
	return NULL;
}

static bool is_token(const char *name)
{
	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", *c))
			return false;
	return *name != '\0';
}

static void header_add(struct sl_request *r, const char *name, const char *value, bool secret)
{
	if (!is_token(name) || strpbrk(value, "\r\n"))
		request_problem(r, secret ? SL_AUTH : SL_FAIL,
				arena_printf(r->arena, "Header \"%s\" is not well-formed", name));
	else
		pairs_add(r, &r->headers, name, value, secret);
}

/* --- URLs --- */

/* The base URL with the bound handle in its place. */
static const char *base_expand(struct sl_request *r, const char *base)
{
	const char *handle = r->call->handle;
	const char *at = strstr(base, "{handle}");
	size_t len = strlen(base);

	while (len && base[len - 1] == '/')
		len--;
	if (!at && !((r->source->flags & SL_SOURCE_BOUND) && !handle))
		return arena_strndup(r->arena, base, len);
	if (!handle || !*handle) {
		request_problem(r, SL_FAIL, "The call is not bound to a handle");
		return "";
	}
	for (const char *c = handle; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr(".-_", *c)) {
			request_problem(r, SL_FAIL, "The handle is no host name");
			return "";
		}
	return arena_printf(r->arena, "%.*s%s%.*s", (int)(at - base), base, handle,
			    (int)(len - (size_t)(at + strlen("{handle}") - base)), at + strlen("{handle}"));
}

/* Appends a path with everything encoded that would end it; a segment of dots is refused. */
static void path_add(struct sl_request *r, struct buf *out, const char *path)
{
	const char *segment = path;

	if (*path != '/')
		buf_addc(out, '/');
	for (const char *c = path;; c++) {
		if (*c == '/' || !*c) {
			size_t len = (size_t)(c - segment);

			if ((len == 1 && segment[0] == '.') ||
			    (len == 2 && segment[0] == '.' && segment[1] == '.'))
				request_problem(r, SL_FAIL, "The path has a segment of dots");
			segment = c + 1;
		}
		if (!*c)
			return;
		if (isalnum((unsigned char)*c) || strchr("/-._~!$&'()*+,;=:@%", *c))
			buf_addc(out, *c);
		else
			str_url_encode(out, c, 1);
	}
}

/* Copies the query of a link that is followed: without the parameter that the credential sets, secrets
 * masked. */
static void query_copy(const struct sl_request *r, struct buf *out, const char *query, bool shown)
{
	const char *own = r->source->auth == SL_AUTH_QUERY ? r->source->auth_name : NULL;
	char separator = '?';

	while (*query && *query != '#') {
		size_t len = strcspn(query, "&#");
		const char *equals = memchr(query, '=', len);
		char name[128];

		str_format(name, sizeof(name), "%.*s", (int)(equals ? (size_t)(equals - query) : len), query);
		if (len && !(own && r->credential && !strcasecmp(name, own))) {
			buf_addc(out, separator);
			separator = '&';
			if (shown && equals &&
			    (listed(r->source->secret_names, name) || (own && !strcasecmp(name, own))))
				buf_printf(out, "%s=***", name);
			else
				buf_add(out, query, len);
		}
		query += len + (query[len] == '&');
	}
}

static void link_add(struct sl_request *r, struct buf *out, bool shown)
{
	struct http_url link;
	size_t path_len;

	if (http_url_parse(r->absolute, &link) || link.has_user) {
		request_problem(r, SL_FAIL, "link is no URL");
		return;
	}
	if (*r->base && !http_same_origin(r->base, r->absolute)) {
		request_problem(r, SL_FAIL, "link leaves the origin");
		return;
	}
	for (const unsigned char *c = (const unsigned char *)link.path; *c; c++)
		if (*c <= ' ' || *c == 0x7f)
			request_problem(r, SL_FAIL, "link is no URL");
	path_len = strcspn(link.path, "?#");
	buf_add(out, r->absolute, (size_t)(link.path - r->absolute) + path_len);
	if (link.path[path_len] == '?')
		query_copy(r, out, link.path + path_len + 1, shown);
}

static const char *url_make(struct sl_request *r, bool shown)
{
	struct buf out;
	const char *url;

	buf_init(&out);
	if (r->absolute) {
		link_add(r, &out, shown);
	} else if (*r->base) {
		buf_adds(&out, r->base);
		path_add(r, &out, r->path);
	} else {
		request_problem(r, SL_FAIL, "The source has no base URL");
	}
	for (size_t i = 0; i < r->query.count; i++) {
		const struct flow_pair *pair = &r->query.items[i];

		http_add_query(&out, pair->name, shown && pair->secret ? "" : pair->value);
		if (shown && pair->secret)
			buf_adds(&out, "***");
	}
	url = arena_strndup(r->arena, out.data ? out.data : "", out.len);
	buf_fini(&out);
	return url;
}

/* --- the credential --- */

static void credential_place(struct sl_request *r)
{
	const struct sl_source *source = r->source;
	const struct flow_credential *credential = r->credential;
	const char *value;

	for (size_t i = 0; credential && source->fields && source->fields[i]; i++)
		member_needed(r, source->fields[i]);
	if (!credential) {
		if (source->auth != SL_AUTH_NONE && !(source->flags & SL_SOURCE_ANONYMOUS))
			request_problem(r, SL_AUTH,
					arena_printf(r->arena, "%s needs a credential", source->name));
		return;
	}
	switch (source->auth) {
	case SL_AUTH_HEADERS:
		for (size_t i = 0; i < credential->count; i++)
			header_add(r, credential->members[i].name, credential->members[i].value,
				   !listed(source->public_fields, credential->members[i].name));
		return;
	case SL_AUTH_HEADER:
		value = member_needed(r, source->auth_field);
		if (value)
			header_add(r, source->auth_name, value, true);
		return;
	case SL_AUTH_QUERY:
		value = member_needed(r, source->auth_field);
		if (value)
			pairs_add(r, &r->query, source->auth_name, value, true);
		return;
	case SL_AUTH_BEARER:
	case SL_AUTH_OAUTH2:
		value = member_needed(r,
				      source->auth == SL_AUTH_OAUTH2 ? "access_token" : source->auth_field);
		if (value)
			header_add(r, "Authorization", arena_printf(r->arena, "Bearer %s", value), true);
		return;
	default:
		return;
	}
}

/* --- what must not be shown --- */

/* Everything in a credential that is not declared public, and the plugin's own secret options. */
static void secrets_collect(struct sl_request *r, struct flow_call *call)
{
	const struct flow_task *task = call->task;
	const struct sl_option *option = task->descriptor->options;
	struct flow_secrets *secrets = flow_secrets_new(r->arena);

	for (size_t i = 0; r->source->secret_names && r->source->secret_names[i]; i++)
		flow_secrets_add_name(secrets, r->source->secret_names[i]);
	for (size_t i = 0; r->credential && i < r->credential->count; i++)
		if (!listed(r->source->public_fields, r->credential->members[i].name))
			flow_secrets_add_value(secrets, r->credential->members[i].value);
	for (; task->env->option && option && option->name; option++)
		if (option->flags & SL_SECRET)
			flow_secrets_add_value(secrets, task->env->option(task->plugin, option->name));
	r->secrets = secrets;
	call->secrets = secrets;
}

/*
 * What build and the credential put behind secret names. Too short a value is
 * known by its place alone.
 */
static void secrets_place(struct sl_request *r)
{
	const struct pairs *const lists[] = {&r->query, &r->form, &r->headers};

	for (size_t l = 0; l < sizeof(lists) / sizeof(*lists); l++)
		for (size_t i = 0; i < lists[l]->count; i++)
			if (lists[l]->items[i].secret) {
				flow_secrets_add_parameter(r->secrets, lists[l]->items[i].name);
				flow_secrets_add_value(r->secrets, lists[l]->items[i].value);
			}
	if (r->source->auth == SL_AUTH_QUERY)
		flow_secrets_add_parameter(r->secrets, r->source->auth_name);
	for (size_t i = 0; i < r->headers.count; i++) {
		struct flow_pair *header = &r->headers.items[i];

		header->secret = header->secret || flow_secrets_has_name(r->secrets, header->name) ||
				 !str_eq(flow_secrets_hide_values(r->secrets, r->arena, header->value), header->value);
	}
}

static const char *url_show(struct sl_request *r)
{
	const char *url = url_make(r, true), *shown;
	struct buf out;

	buf_init(&out);
	flow_secrets_hide(r->secrets, url, strlen(url), SIZE_MAX, &out);
	shown = arena_strndup(r->arena, out.data ? out.data : "", out.len);
	buf_fini(&out);
	return shown;
}

const char *request_link_keep(const struct flow_call *call, struct arena *arena, const char *link)
{
	const char *query = link && str_starts(link, "http") ? strchr(link, '?') : NULL;
	const char *shown;
	struct buf out;

	if (!query || !call->secrets)
		return link;
	buf_init(&out);
	buf_add(&out, link, (size_t)(query - link));
	for (char separator = '?'; *query == '?' || *query == '&';) {
		size_t len = strcspn(query + 1, "&#");
		const char *equals = memchr(query + 1, '=', len);

		shown = equals ? arena_strndup(arena, equals + 1, (size_t)(query + 1 + len - equals - 1)) : NULL;
		if (!str_eq(flow_secrets_hide_values(call->secrets, arena, shown), "***")) {
			buf_addc(&out, separator);
			buf_add(&out, query + 1, len);
			separator = '&';
		}
		query += 1 + len;
	}
	buf_adds(&out, query);
	shown = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return shown;
}

/* --- the driver's side --- */

static void body_finish(struct sl_request *r)
{
	struct buf out;
	bool typed = false;

	if (r->form.count) {
		buf_init(&out);
		for (size_t i = 0; i < r->form.count; i++)
			http_add_form(&out, r->form.items[i].name, r->form.items[i].value);
		r->body = arena_strndup(r->arena, out.data, out.len);
		r->body_len = out.len;
		r->content_type = "application/x-www-form-urlencoded";
		buf_fini(&out);
	}
	for (size_t i = 0; i < r->headers.count; i++)
		typed = typed || !strcasecmp(r->headers.items[i].name, "Content-Type");
	if (r->body && r->content_type && !typed)
		header_add(r, "Content-Type", r->content_type, false);
}

static void request_finish(struct sl_request *r, struct flow_request *request)
{
	credential_place(r);
	body_finish(r);
	if (!r->path && !r->absolute) {
		request_problem(r, SL_FAIL, "build named no path");
		return;
	}
	secrets_place(r);
	*request = (struct flow_request){
		.method = r->method,
		.url = url_make(r, false),
		.shown_url = url_show(r),
		.secrets = r->secrets,
		.headers = r->headers.items,
		.header_count = r->headers.count,
		.body = r->body,
		.body_len = r->body_len,
		.timeout_ms = r->timeout_ms,
		.redirects = r->redirects,
		.public_only = !*r->base,
	};
}

int flow_call_request(struct flow_call *call, const char *base_url, const struct flow_credential *credential,
		      struct flow_request *request_r, enum flow_step *step_r)
{
	struct flow_task *task = call->task;
	struct sl_request r = {.call = call, .credential = credential, .method = "GET"};
	enum sl_result result = SL_FAIL;

	*step_r = FLOW_STEP_NONE;
	if (task->state != FLOW_CALLS || call->state != CALL_RUNNING || !call->via || !call->via->source)
		return -1;
	if (!call->arena)
		call->arena = arena_new();
	arena_reset(call->arena);
	r.arena = call->arena;
	r.source = call->via->source;
	secrets_collect(&r, call);
	r.base = base_expand(&r, base_url ? base_url : r.source->base_url);
	unit_begin(task);
	callback_enter(task, STAGE_BUILD, call, 0);
	if (r.problem == SL_OK)
		result = call->via->build(flow_host(), task_view(task), call_view(call),
					  (struct sl_request *)&r);
	result = callback_leave(task, result);
	unit_undo(task);
	if (task->fault) {
		task_fail(task, SL_FAIL, task->fault);
		return -1;
	}
	if (result == SL_OK)
		request_finish(&r, request_r);
	if (r.problem != SL_OK) {
		*step_r = call_conclude(call, r.problem, 0, r.problem_text, 0);
		call->lasting = false;
	} else if (result != SL_OK) {
		*step_r = call_conclude(call, result, task->failing.said ? task->failing.status : 0,
					task->failing.text, task->failing.park_s);
	}
	task_advance(task);
	return r.problem == SL_OK && result == SL_OK ? 0 : -1;
}

/* --- the host table --- */

static void host_get(struct sl_request *r, const char *path)
{
	r->method = "GET";
	r->path = arena_strdup(r->arena, path ? path : "");
}

static void host_post(struct sl_request *r, const char *path)
{
	host_get(r, path);
	r->method = "POST";
}

static void host_follow(struct sl_request *r, const char *url)
{
	r->absolute = arena_strdup(r->arena, url ? url : "");
}

static void host_query(struct sl_request *r, const char *name, const char *value)
{
	if (value)
		pairs_add(r, &r->query, name, value, false);
}

static void host_query_int(struct sl_request *r, const char *name, int64_t value)
{
	host_query(r, name, arena_printf(r->arena, "%lld", (long long)value));
}

static void host_header(struct sl_request *r, const char *name, const char *value)
{
	if (value)
		header_add(r, name, value, false);
}

static void host_form(struct sl_request *r, const char *name, const char *value)
{
	if (value)
		pairs_add(r, &r->form, name, value, false);
}

static void host_body_json(struct sl_request *r, struct sl_out *out)
{
	const struct buf *text = out_finished(out, "body_json");

	if (!text)
		return;
	r->body = arena_strndup(r->arena, text->data, text->len);
	r->body_len = text->len;
	r->content_type = "application/json";
}

static void host_body_text(struct sl_request *r, const char *content_type, const char *text)
{
	r->body = arena_strdup(r->arena, text ? text : "");
	r->body_len = strlen(r->body);
	r->content_type = content_type ? arena_strdup(r->arena, content_type) : NULL;
}

static void host_timeout(struct sl_request *r, int64_t ms)
{
	r->timeout_ms = ms > 0 ? ms : 0;
}

static void host_redirects(struct sl_request *r, int most)
{
	r->redirects = most > 0 ? most : 0;
}

static const char *host_credential(const struct sl_request *r, const char *field)
{
	if (!field || !listed(r->source->public_fields, field))
		return NULL;
	for (size_t i = 0; r->credential && i < r->credential->count; i++)
		if (str_eq(r->credential->members[i].name, field))
			return r->credential->members[i].value;
	return NULL;
}

static void host_secret_query(struct sl_request *r, const char *name, const char *field)
{
	const char *value = member_needed(r, field);

	if (value)
		pairs_add(r, &r->query, name, value, true);
}

static void host_secret_header(struct sl_request *r, const char *name, const char *prefix, const char *field)
{
	const char *value = member_needed(r, field);

	if (value)
		header_add(r, name, arena_printf(r->arena, "%s%s", prefix ? prefix : "", value), true);
}

static void host_secret_form(struct sl_request *r, const char *name, const char *field)
{
	const char *value = member_needed(r, field);

	if (value)
		pairs_add(r, &r->form, name, value, true);
}

/* Parts of query and blob calls, which are refused before build. */
static void host_sql(struct sl_request *r, const char *statement)
{
	(void)statement;
	request_problem(r, SL_FAIL, "sql belongs to query calls");
}

static void host_sql_param(struct sl_request *r, const char *name, const char *value)
{
	(void)name;
	(void)value;
	request_problem(r, SL_FAIL, "sql_param belongs to query calls");
}

static void host_object(struct sl_request *r, const char *name, const char *content_type)
{
	(void)name;
	(void)content_type;
	request_problem(r, SL_FAIL, "object belongs to blob calls");
}

void host_request_section(struct sl_host *host)
{
	host->get = host_get;
	host->post = host_post;
	host->follow = host_follow;
	host->query = host_query;
	host->query_int = host_query_int;
	host->header = host_header;
	host->form = host_form;
	host->body_json = host_body_json;
	host->body_text = host_body_text;
	host->timeout = host_timeout;
	host->redirects = host_redirects;
	host->credential = host_credential;
	host->secret_query = host_secret_query;
	host->secret_header = host_secret_header;
	host->secret_form = host_secret_form;
	host->sql = host_sql;
	host->sql_param = host_sql_param;
	host->object = host_object;
}
