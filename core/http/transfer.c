/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: its options, the limits on what comes back, and the response
 * or error that it ends with. The loop's thread.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "http/internal.h"
#include "http/url.h"

/* Every option set here is known to the curl that configure asks for: a failure is a bug or no memory. */
#define SETOPT(t, option, value) \
	do { \
		CURLcode code_ = curl_easy_setopt((t)->easy, option, value); \
		assert(code_ == CURLE_OK); \
		(void)code_; \
	} while (0)

/* Refuses once: the first reason stays. */
static void refuse(struct http_transfer *t, enum error_code code, const char *what)
{
	if (t->err.code == ERR_NONE)
		error_set(&t->err, code, "%s", what);
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct http_transfer *t = user;
	size_t len = size * count;

	if (len > t->max_body - t->body.len) {
		if (t->err.code == ERR_NONE)
			error_set(&t->err, ERR_LIMIT, "the response is larger than %zu bytes", t->max_body);
		return 0;
	}
	buf_add(&t->body, data, len);
	return len;
}

static void add_line(struct http_transfer *t, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	const char *value, *end = line + len;

	if (colon == NULL)
		return;
	value = colon + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (t->line_count == t->line_cap) {
		size_t cap = t->line_cap ? t->line_cap * 2 : 32;
		struct http_header *lines = arena_alloc(t->arena, cap * sizeof(*lines));

		if (t->line_count > 0)
			memcpy(lines, t->lines, t->line_count * sizeof(*lines));
		t->lines = lines;
		t->line_cap = cap;
	}
	t->lines[t->line_count].name = arena_strndup(t->arena, line, (size_t)(colon - line));
	t->lines[t->line_count++].value = arena_strndup(t->arena, value, (size_t)(end - value));
}

/* One line, its CR LF included. A status line begins anew: after 1xx, and after a redirect. */
static size_t on_header(char *data, size_t size, size_t count, void *user)
{
	struct http_transfer *t = user;
	size_t len = size * count, text = len;

	t->lines_size += len;
	if (t->lines_size > HTTP_HEADERS_MAX) {
		error_set(&t->err, ERR_LIMIT, "the response's headers are larger than %zu bytes",
			  HTTP_HEADERS_MAX);
		return 0;
	}
	while (text > 0 && (data[text - 1] == '\n' || data[text - 1] == '\r'))
		text--;
	if (!t->in_headers && text >= 5 && memcmp(data, "HTTP/", 5) == 0) {
		t->in_headers = true;
		t->line_count = 0;
		buf_clear(&t->body);
	} else if (text == 0) {
		t->in_headers = false;
	} else if (t->in_headers) {
		add_line(t, data, text);
	}
	return len;
}

static curl_socket_t on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_transfer *t = user;

	(void)purpose;
	if (t->public_only && !http_address_public(&address->addr)) {
		refuse(t, ERR_INPUT, "the address is not public");
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/*
 * Before each request is written, on new and on reused connections: the last
 * place where a reused connection to an address that is not public, or a
 * redirect that would carry headers or a body to another origin, can be stopped.
 */
static int on_before_request(void *user, char *remote, char *local, int remote_port, int local_port)
{
	struct http_transfer *t = user;
	char *url = NULL;

	(void)local;
	(void)remote_port;
	(void)local_port;
	t->began = true;
	if (t->public_only && !http_address_text_public(remote)) {
		refuse(t, ERR_INPUT, "the address is not public");
		return CURL_PREREQFUNC_ABORT;
	}
	curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
	if (t->follow && t->carries && strcmp(t->url, url) != 0 && !http_same_origin(t->url, url)) {
		refuse(t, ERR_INPUT, "a redirect leads to another origin");
		return CURL_PREREQFUNC_ABORT;
	}
	if (t->on_began != NULL)
		t->on_began(t->user);
	return CURL_PREREQFUNC_OK;
}

static bool is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f ||
		    strchr("\"(),/:;<=>?@[\\]{}", text[i]) != NULL)
			return false;
	return len > 0;
}

static void append_header(struct http_transfer *t, const char *line)
{
	struct curl_slist *headers = curl_slist_append(t->headers, line);

	if (headers == NULL)
		abort();
	t->headers = headers;
}

static int set_headers(struct http_transfer *t, const struct http_request *request)
{
	const char *const *line;

	/* What curl would add by itself. */
	append_header(t, "Expect:");
	append_header(t, "Content-Type:");
	for (line = request->headers; line != NULL && *line != NULL; line++) {
		const char *colon = strchr(*line, ':');
		size_t name_len = colon ? (size_t)(colon - *line) : 0;

		if (!is_token(*line, name_len) || strpbrk(*line, "\r\n") != NULL)
			return error_set(&t->err, ERR_INPUT, "a header is malformed");
		if (colon[1 + strspn(colon + 1, " \t")] == '\0') {
			/* curl sends an empty header only when it is spelled so. */
			append_header(t, arena_printf(t->arena, "%.*s;", (int)name_len, *line));
		} else {
			append_header(t, *line);
		}
		t->carries = true;
	}
	SETOPT(t, CURLOPT_HTTPHEADER, t->headers);
	return 0;
}

static int set_method(struct http_transfer *t, const struct http_request *request)
{
	const char *method = request->method;

	if (method == NULL)
		method = request->body != NULL ? "POST" : "GET";
	if (!is_token(method, strlen(method)))
		return error_set(&t->err, ERR_INPUT, "the method is malformed");
	if (str_eq(method, "HEAD")) {
		SETOPT(t, CURLOPT_NOBODY, 1L);
		return 0;
	}
	if (request->body != NULL || str_eq(method, "POST")) {
		SETOPT(t, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
		SETOPT(t, CURLOPT_COPYPOSTFIELDS, request->body ? request->body : "");
	}
	if (!str_eq(method, request->body != NULL || str_eq(method, "POST") ? "POST" : "GET"))
		SETOPT(t, CURLOPT_CUSTOMREQUEST, method);
	return 0;
}

static void set_callbacks(struct http_transfer *t)
{
	SETOPT(t, CURLOPT_PRIVATE, t);
	SETOPT(t, CURLOPT_ERRORBUFFER, t->curl_text);
	SETOPT(t, CURLOPT_WRITEFUNCTION, on_body);
	SETOPT(t, CURLOPT_WRITEDATA, t);
	SETOPT(t, CURLOPT_HEADERFUNCTION, on_header);
	SETOPT(t, CURLOPT_HEADERDATA, t);
	SETOPT(t, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SETOPT(t, CURLOPT_OPENSOCKETDATA, t);
	SETOPT(t, CURLOPT_PREREQFUNCTION, on_before_request);
	SETOPT(t, CURLOPT_PREREQDATA, t);
}

static void set_options(struct http_transfer *t, const struct http_request *request)
{
	int64_t timeout = request->timeout_ms ? request->timeout_ms : HTTP_TIMEOUT_MS;
	int64_t connect = request->connect_timeout_ms ? request->connect_timeout_ms : HTTP_CONNECT_TIMEOUT_MS;

	SETOPT(t, CURLOPT_URL, t->url);
	SETOPT(t, CURLOPT_PROTOCOLS_STR, "http,https");
	SETOPT(t, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	SETOPT(t, CURLOPT_FOLLOWLOCATION, request->follow_redirects ? 1L : 0L);
	SETOPT(t, CURLOPT_MAXREDIRS, (long)HTTP_REDIRECTS_MAX);
	SETOPT(t, CURLOPT_TIMEOUT_MS, (long)timeout);
	SETOPT(t, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
	SETOPT(t, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	SETOPT(t, CURLOPT_USERAGENT, t->client->user_agent);
	SETOPT(t, CURLOPT_PROXY, "");
	SETOPT(t, CURLOPT_NOSIGNAL, 1L);
	if (t->client->ca_file != NULL)
		SETOPT(t, CURLOPT_CAINFO, t->client->ca_file);
}

struct http_transfer *transfer_new(struct http_client *client, const struct http_request *request)
{
	struct http_transfer *t = mem_alloc(sizeof(*t));
	struct http_url url;

	t->client = client;
	t->arena = arena_new();
	t->url = arena_strdup(t->arena, request->url ? request->url : "");
	t->max_body = request->max_body ? request->max_body : HTTP_BODY_MAX;
	t->follow = request->follow_redirects;
	t->public_only = request->public_only;
	t->on_began = request->began;
	t->carries = request->body != NULL;
	buf_init(&t->body);
	if (http_url_parse(t->url, &url) < 0) {
		error_set(&t->err, ERR_INPUT, "the URL is malformed or neither http nor https");
		return t;
	}
	t->easy = client_easy(client);
	set_callbacks(t);
	set_options(t, request);
	if (set_headers(t, request) < 0 || set_method(t, request) < 0) {
		client_easy_done(client, t->easy);
		t->easy = NULL;
	}
	return t;
}

void transfer_free(struct http_transfer **transfer)
{
	struct http_transfer *t = *transfer;

	if (t == NULL)
		return;
	if (t->easy != NULL)
		client_easy_done(t->client, t->easy);
	curl_slist_free_all(t->headers);
	buf_fini(&t->body);
	arena_free(&t->arena);
	mem_free(transfer);
}

static enum error_code error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_TOO_MANY_REDIRECTS:
		return ERR_INPUT;
	default:
		return ERR_IO;
	}
}

/* What our callbacks said, else what curl says unless it quotes the URL, behind the origin. */
static void set_error(struct http_transfer *t, CURLcode code)
{
	struct http_url url;
	struct buf origin;

	if (t->err.code == ERR_NONE) {
		bool secret = http_url_parse(t->url, &url) < 0 ||
			      (strlen(url.path) > 1 && strstr(t->curl_text, url.path) != NULL);

		error_set(&t->err, error_of(code), "%s",
			  secret || t->curl_text[0] == '\0' ? curl_easy_strerror(code) : t->curl_text);
	}
	buf_init(&origin);
	http_url_origin(&origin, t->url);
	error_prefix(&t->err, "%s", origin.data);
	buf_fini(&origin);
}

struct http_response *transfer_result(struct http_transfer *t, CURLcode code)
{
	struct http_response *response;
	curl_off_t total = 0;
	char *url = NULL, *remote = NULL;
	long status = 0;

	if (code != CURLE_OK || t->err.code != ERR_NONE) {
		set_error(t, code);
		return NULL;
	}
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME_T, &total);
	curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
	curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &remote);
	response = mem_alloc(sizeof(*response));
	response->status = (int)status;
	response->headers = t->lines;
	response->header_count = t->line_count;
	response->body_len = t->body.len;
	response->body = buf_steal(&t->body);
	response->total_us = total;
	response->effective_url = arena_strdup(t->arena, url ? url : t->url);
	response->remote = arena_strdup(t->arena, remote ? remote : "");
	response->arena = t->arena;
	t->arena = NULL;
	return response;
}

const char *http_header(const struct http_response *response, const char *name, size_t index)
{
	for (size_t i = 0; i < response->header_count; i++)
		if (strcasecmp(response->headers[i].name, name) == 0 && index-- == 0)
			return response->headers[i].value;
	return NULL;
}

void http_response_free(struct http_response **response)
{
	if (*response == NULL)
		return;
	mem_release((char *)(uintptr_t)(*response)->body);
	arena_free(&(*response)->arena);
	mem_free(response);
}
