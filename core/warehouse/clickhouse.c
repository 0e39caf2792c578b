/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the way to ClickHouse servers over HTTP: one kept connection per
 * handle and host, what is sent, what the answers mean. Statements and data go
 * in the body, settings in the address, user and password in headers. Runs in
 * the thread that owns the handle.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "base/uuid.h"
#include "http/http_sync.h"
#include "http/url.h"
#include "warehouse/clickhouse_hosts.h"
#include "warehouse/clickhouse_url.h"
#include "pack/compress.h"
#include "warehouse/driver.h"
#include "warehouse/outcome.h"
#include "warehouse/warehouse.h"

#define TABLE_BYTES ((size_t)16 << 20)
#define MAX_QUERY_SIZE "33554432"
#define CONNECT_MS 5000
#define NO_DEADLINE_MS ((int64_t)24 * 3600 * 1000)
#define ANSWER_BYTES ((size_t)1 << 20)
#define HEADERS 4
#define PIECES 3

struct connection {
	struct arena *arena;
	struct clickhouse_url url;
	struct http_sync *http;
	struct host_list *hosts;
	const char *headers[HEADERS];
	size_t header_count;
	const char *database;	/* of unqualified names; NULL: the user's */
	bool readonly;
};

/* One request, whichever host gets it. */
struct post {
	struct buf address;	/* what follows the origin */
	const char *headers[HEADERS + 1];
	struct http_piece pieces[PIECES];
	size_t piece_count;
	int64_t deadline_ms;
	size_t max_body;
	bool again;		/* quick, and may be sent again, to another host, when there was no answer */
};

/* Life */

static int clickhouse_open_as(bool tls, const char *rest, const struct warehouse_options *options, void **conn_r,
			      struct error *err)
{
	struct arena *arena = arena_new();
	struct connection *conn = arena_alloc(arena, sizeof(*conn));

	conn->arena = arena;
	if (clickhouse_url_parse(rest, tls, arena, &conn->url, err) < 0) {
		arena_free(&arena);
		return error_prefix(err, "%s", tls ? "clickhouses" : "clickhouse");
	}
	conn->hosts = hosts_new(conn->url.origins, conn->url.origin_count);
	if (conn->url.user)
		conn->headers[conn->header_count++] = arena_printf(arena, "X-ClickHouse-User: %s", conn->url.user);
	if (conn->url.password)
		conn->headers[conn->header_count++] = arena_printf(arena, "X-ClickHouse-Key: %s",
								   conn->url.password);
	conn->database = options->database ? arena_strdup(arena, options->database) : NULL;
	conn->readonly = options->readonly;
	conn->http = http_sync_new(conn->url.ca_file);
	*conn_r = conn;
	return 0;
}

static int clickhouse_open(const char *rest, const struct warehouse_options *options, void **conn_r,
			   struct error *err)
{
	return clickhouse_open_as(false, rest, options, conn_r, err);
}

static int clickhouses_open(const char *rest, const struct warehouse_options *options, void **conn_r,
			    struct error *err)
{
	return clickhouse_open_as(true, rest, options, conn_r, err);
}

static void clickhouse_close(void *state)
{
	struct connection *conn = state;
	struct arena *arena = conn->arena;

	http_sync_free(&conn->http);
	hosts_free(&conn->hosts);
	arena_free(&arena);
}

static size_t clickhouse_hosts(const void *state)
{
	return hosts_count(((const struct connection *)state)->hosts);
}

static bool clickhouse_silent(const void *state, size_t host)
{
	return hosts_silent(((const struct connection *)state)->hosts, host - 1);
}

static int64_t clickhouse_since(const void *state)
{
	return hosts_since_ms(((const struct connection *)state)->hosts);
}

/* Requests */

static void post_init(struct post *post, const struct connection *conn, int64_t deadline_ms, size_t max_body)
{
	memset(post, 0, sizeof(*post));
	buf_init(&post->address);
	buf_adds(&post->address, "/?wait_end_of_query=1");
	memcpy(post->headers, conn->headers, conn->header_count * sizeof(*post->headers));
	post->deadline_ms = deadline_ms > 0 ? deadline_ms : NO_DEADLINE_MS;
	post->max_body = max_body;
	if (conn->database)
		http_add_query(&post->address, "database", conn->database);
	if (deadline_ms > 0) {
		char seconds[32];

		/* Whole ones: older servers know no others. */
		str_format(seconds, sizeof(seconds), "%" PRId64, (deadline_ms + 999) / 1000);
		http_add_query(&post->address, "max_execution_time", seconds);
		/* A profile may say otherwise: that what was done until then is enough. */
		http_add_query(&post->address, "timeout_overflow_mode", "throw");
	}
}

static void post_header(struct post *post, const char *line)
{
	size_t n = 0;

	while (post->headers[n])
		n++;
	assert(n < HEADERS);
	post->headers[n] = line;
}

static void post_piece(struct post *post, const void *bytes, size_t len)
{
	assert(post->piece_count < PIECES);
	post->pieces[post->piece_count++] = (struct http_piece){bytes, len};
}

/* Sending */

static struct http_response *post_to(struct connection *conn, size_t at, const struct post *post, int64_t until_ms,
				     enum http_sent *sent_r, struct error *err)
{
	int64_t left = until_ms - clock_mono_ms();
	struct http_sync_request request = {
		.headers = post->headers, .pieces = post->pieces, .piece_count = post->piece_count,
		.timeout_ms = left > 0 ? left : 1, .connect_timeout_ms = left < CONNECT_MS && left > 0 ? left : CONNECT_MS,
		.max_body = post->max_body
	};
	struct http_response *response;
	struct buf url;

	buf_init(&url);
	buf_adds(&url, hosts_origin(conn->hosts, at));
	buf_add(&url, post->address.data, post->address.len);
	request.url = url.data;
	response = http_sync_post(conn->http, &request, sent_r, err);
	buf_fini(&url);
	return response;
}

/* Asks something harmless: a host that gave no answer, before it is trusted with anything else or given up. */
static bool answers(struct connection *conn, size_t at, int64_t deadline_ms, struct error *err)
{
	struct http_response *response;
	enum http_sent sent;
	struct post post;

	deadline_ms = deadline_ms < 1 ? 1 : deadline_ms < CONNECT_MS ? deadline_ms : CONNECT_MS;
	post_init(&post, conn, deadline_ms, ANSWER_BYTES);
	post_piece(&post, "SELECT 1", strlen("SELECT 1"));
	response = post_to(conn, at, &post, clock_mono_ms() + deadline_ms, &sent, err);
	hosts_mark(conn->hosts, at, response);
	buf_fini(&post.address);
	if (!response)
		return false;
	http_response_free(&response);
	return true;
}

/* post_to, and what it says about the host: one that is slow at something is not away, and what is too long is an answer. */
static struct http_response *ask(struct connection *conn, size_t at, const struct post *post, int64_t until_ms,
				 enum http_sent *sent_r, struct error *err)
{
	struct http_response *response = post_to(conn, at, post, until_ms, sent_r, err);

	if (!response && err->code == ERR_TIMEOUT && *sent_r != HTTP_SENT_NOTHING && !post->again)
		answers(conn, at, post->deadline_ms, &(struct error){0});
	else
		hosts_mark(conn->hosts, at, response || err->code == ERR_LIMIT || err->code == ERR_INPUT);
	return response;
}

/* Tries the next host only as long as none can know of the request, unless it may be sent again. */
static struct http_response *send_post(struct connection *conn, const struct post *post, enum http_sent *sent_r,
				       struct error *err)
{
	size_t count = hosts_count(conn->hosts), at;
	int64_t until = clock_mono_ms() + post->deadline_ms;
	bool *tried = mem_alloc(count * sizeof(*tried));
	struct http_response *response = NULL;

	do {
		at = hosts_choose(conn->hosts, tried);
		tried[at] = true;
		if (post->again) {
			until = clock_mono_ms() + post->deadline_ms;
		} else if (hosts_silent(conn->hosts, at) &&
			   !answers(conn, at, (until - clock_mono_ms()) / 2, err)) {	/* the other half is the next host's */
			*sent_r = HTTP_SENT_NOTHING;
			continue;
		}
		response = ask(conn, at, post, until, sent_r, err);
	} while (!response && (post->again || (*sent_r == HTTP_SENT_NOTHING && clock_mono_ms() < until)) &&
		 hosts_choose(conn->hosts, tried) < count);
	mem_free(&tried);
	return response;
}

/* Answers */

enum output {
	NO_OUTPUT,	/* the statement has none */
	IGNORED,	/* nobody reads it */
	OUTPUT
};

/*
 * Where in the answer to a request that went well at first an exception
 * stands, or NULL. Behind output newer servers mark it; older ones were asked
 * to wait for the end and then tell by status.
 */
static const char *late_exception(const struct http_response *response, enum output output)
{
	const char *tag = http_header(response, "X-ClickHouse-Exception-Tag", 0);
	const char *found;
	struct buf mark_text;

	if (output == NO_OUTPUT && response->body_len > 0)
		return response->body;
	if (output != OUTPUT && str_starts(response->body, "Code: "))
		return response->body;
	if (!tag)
		return NULL;
	buf_init(&mark_text);
	buf_printf(&mark_text, "__exception__\r\n%s\r\n", tag);
	found = memmem(response->body, response->body_len, mark_text.data, mark_text.len);
	found = found ? found + mark_text.len : NULL;
	buf_fini(&mark_text);
	return found;
}

/*
 * 0 when the statement went well. Else the server's text, and its code where
 * there is one: without any it was not ClickHouse that answered.
 */
static int judge(const struct http_response *response, enum output output, enum error_code nameless, int *code_r,
		 struct error *err)
{
	const char *header = http_header(response, "X-ClickHouse-Exception-Code", 0);
	const char *text = response->status == 200 && !header ? late_exception(response, output) : response->body;
	size_t len;

	if (!text)
		return 0;
	len = strcspn(text, "\r\n");
	*code_r = header ? (int)strtol(header, NULL, 10) : 0;
	if (*code_r == 0)
		*code_r = outcome_code(text);
	if (*code_r != 0)
		return error_set(err, ERR_IO, "%.*s", (int)len, text);
	/* Refused before anything was done with it. */
	if (response->status >= 400 && response->status < 500 && response->status != 408)
		nameless = ERR_IO;
	return error_set(err, nameless, "HTTP status %d%s%.*s", response->status, len ? ": " : "", (int)len, text);
}

/* Statements */

/* The statement and the table as a form: the address has no room for long statements. */
static void add_form(struct post *post, const struct driver_query *query, struct arena *arena)
{
	const struct driver_table *table = query->table;
	char boundary[UUID_TEXT_SIZE];

	uuid_random(boundary);
	http_add_query(&post->address, arena_printf(arena, "%s_structure", table->name), table->structure);
	http_add_query(&post->address, arena_printf(arena, "%s_format", table->name), "TSV");
	post_header(post, arena_printf(arena, "Content-Type: multipart/form-data; boundary=%s", boundary));
	post_piece(post, arena_printf(arena, "--%s\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n%s\r\n"
				      "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"data\"\r\n\r\n",
				      boundary, query->sql, boundary, table->name), 0);
	post->pieces[0].len = strlen(post->pieces[0].bytes);
	post_piece(post, table->data, table->len);
	post_piece(post, arena_printf(arena, "\r\n--%s--\r\n", boundary), UUID_TEXT_SIZE - 1 + strlen("\r\n----\r\n"));
}

static int clickhouse_query(void *state, const struct driver_query *query, struct buf *out, int *code_r,
			    struct error *err)
{
	struct connection *conn = state;
	struct arena *arena = arena_new();
	struct http_response *response;
	enum http_sent sent;
	struct post post;
	int rc = -1;

	post_init(&post, conn, query->deadline_ms, query->max_bytes);
	http_add_query(&post.address, "default_format", query->format);
	http_add_query(&post.address, "max_query_size", MAX_QUERY_SIZE);
	if (conn->readonly)
		http_add_query(&post.address, "readonly", "2");
	if (query->table)
		add_form(&post, query, arena);
	else
		post_piece(&post, query->sql, query->len);
	post.again = query->again;
	response = query->host ? ask(conn, query->host - 1, &post, clock_mono_ms() + post.deadline_ms, &sent, err) :
		send_post(conn, &post, &sent, err);
	if (response) {
		rc = judge(response, out ? OUTPUT : IGNORED, ERR_IO, code_r, err);
		if (rc == 0 && out)
			buf_add(out, response->body, response->body_len);
		http_response_free(&response);
	}
	buf_fini(&post.address);
	arena_free(&arena);
	return rc;
}

/* What no answer means for the rows. */
static int no_answer(enum http_sent sent, struct error *err)
{
	if (sent == HTTP_SENT_ALL)
		err->code = ERR_UNCLEAR;
	else if (err->code != ERR_INPUT)
		err->code = ERR_IO;
	return -1;
}

/* Instead of its pieces the post has one, packed; the bytes are packed's. */
static void pack(struct post *post, enum compression how, struct buf *packed)
{
	if (how == COMPRESS_NONE)
		return;
	compress_pieces(packed, how, post->pieces, post->piece_count);
	post->piece_count = 0;
	post_piece(post, packed->data, packed->len);
	if (how == COMPRESS_GZIP) {
		post_header(post, "Content-Encoding: gzip");
		return;
	}
	http_add_query(&post->address, "decompress", "1");
	http_add_query(&post->address, "http_native_compression_disable_checksumming_on_decompress", "1");
}

static int clickhouse_insert(void *state, const struct driver_insert *insert, int *code_r, struct error *err)
{
	struct connection *conn = state;
	struct http_response *response;
	struct buf sql, packed;
	enum http_sent sent;
	struct post post;
	int rc;

	buf_init(&sql);
	buf_init(&packed);
	buf_adds(&sql, insert->into);
	buf_adds(&sql, " FORMAT Native\n");
	post_init(&post, conn, insert->deadline_ms, ANSWER_BYTES);
	if (insert->query_id)
		http_add_query(&post.address, "query_id", insert->query_id);
	for (size_t i = 0; i < insert->setting_count; i++)
		http_add_query(&post.address, insert->settings[i].name, insert->settings[i].value);
	post_piece(&post, sql.data, sql.len);
	post_piece(&post, insert->data, insert->len);
	pack(&post, conn->url.compression, &packed);
	response = send_post(conn, &post, &sent, err);
	rc = response ? judge(response, NO_OUTPUT, ERR_UNCLEAR, code_r, err) : no_answer(sent, err);
	if (response && rc < 0 && outcome_insert(*code_r, err->text, err->code) != ERR_CONTENT)
		hosts_leave(conn->hosts);
	if (response)
		http_response_free(&response);
	buf_fini(&post.address);
	buf_fini(&sql);
	buf_fini(&packed);
	return rc;
}

static int clickhouse_check(const char *rest, struct error *err)
{
	struct arena *arena = arena_new();
	struct clickhouse_url parts;
	int status = clickhouse_url_parse(rest, false, arena, &parts, err);

	arena_free(&arena);
	return status;
}

#define OPS(name, opener) { \
	.scheme = name, .quorum = true, .table_bytes = TABLE_BYTES, .check = clickhouse_check, .open = opener, \
	.hosts = clickhouse_hosts, .silent = clickhouse_silent, .since = clickhouse_since, \
	.close = clickhouse_close, .query = clickhouse_query, .insert = clickhouse_insert \
}

const struct warehouse_ops warehouse_clickhouse = OPS("clickhouse", clickhouse_open);
const struct warehouse_ops warehouse_clickhouses = OPS("clickhouses", clickhouses_open);
