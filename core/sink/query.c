/* SPDX-License-Identifier: Apache-2.0 */
/* Queries of operators; see query.h for who runs what. */
#include "sink/query.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "loop/loop.h"
#include "warehouse/sql.h"
#include "warehouse/warehouse.h"

#define QUERIES_MAX 16
#define QUERY_DEADLINE_MS 60000
#define ANSWER_MAX ((size_t)64 << 20)
#define ANSWER_DEADLINE_MS 10000

struct query_service {
	struct loop_thread *thread;
	const char *url, *database;
	struct warehouse *reading, *writing;	/* the thread's; NULL until they are needed */
	size_t waiting;				/* queries taken and not answered */
	atomic_int answering;			/* threads that write */
};

struct query {
	struct loop_job job;			/* first */
	struct query_service *service;
	char *sql, *format;
	bool write;
	int fd;
	struct buf out, head;			/* the answer: head, then out */
};

/* --- which statements read --- */

/* Skips blanks and comments. */
static const char *skip_blank(const char *at)
{
	for (;;) {
		at += strspn(at, " \t\r\n\f\v");
		if (at[0] == '-' && at[1] == '-') {
			at += strcspn(at, "\n");
		} else if (at[0] == '/' && at[1] == '*') {
			const char *end = strstr(at + 2, "*/");

			at = end != NULL ? end + 2 : at + strlen(at);
		} else {
			return at;
		}
	}
}

/* Behind the word, quoted text or single character at. */
static const char *skip_token(const char *at)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	size_t len = strspn(at, word);
	char quote = *at;

	if (len > 0)
		return at + len;
	at++;
	if (quote != '\'' && quote != '"' && quote != '`')
		return at;
	while (*at != '\0' && *at != quote)
		at += *at == '\\' && at[1] != '\0' ? 2 : 1;
	return *at != '\0' ? at + 1 : at;
}

static bool is_word(const char *at, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(skip_token(at) - at) == len && strncasecmp(at, word, len) == 0;
}

int query_check(const char *sql, struct error *err)
{
	static const char *const reading[] = { "SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN" };
	const char *at = skip_blank(sql);
	bool reads = false;

	while (*at == '(')
		at = skip_blank(at + 1);
	for (size_t i = 0; i < sizeof(reading) / sizeof(reading[0]); i++)
		reads |= is_word(at, reading[i]);
	if (!reads)
		return error_set(err, ERR_INPUT, "only SELECT, WITH, SHOW, DESCRIBE, EXISTS and EXPLAIN read; "
				 "sluicectl query --write runs other statements");
	for (; *at != '\0'; at = skip_blank(skip_token(at))) {
		if (*at == ';' && *skip_blank(at + 1) != '\0')
			return error_set(err, ERR_INPUT, "one statement at a time");
		if (is_word(at, "INTO") && is_word(skip_blank(skip_token(at)), "OUTFILE"))
			return error_set(err, ERR_INPUT, "INTO OUTFILE writes a file");
	}
	return 0;
}

/* --- answers --- */

static void write_error(struct query *query, const char *text, int code)
{
	struct jwrite w;

	buf_clear(&query->head);
	buf_clear(&query->out);
	jwrite_init(&w, &query->head);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "error", text);
	jwrite_int(&w, "code", code);
	jwrite_end(&w);
	buf_addc(&query->head, '\n');
}

/* True when all of it was sent before the deadline. */
static bool send_all(int fd, const struct buf *bytes, int64_t until_ms)
{
	size_t done = 0;

	while (done < bytes->len) {
		struct pollfd wait = { .fd = fd, .events = POLLOUT };
		int64_t left = until_ms - clock_mono_ms();
		ssize_t n;

		if (left <= 0 || poll(&wait, 1, (int)left) == 0)
			return false;
		n = send(fd, bytes->data + done, bytes->len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
	}
	return true;
}

static void query_free(struct query *query)
{
	close(query->fd);
	mem_free(&query->sql);
	mem_free(&query->format);
	buf_fini(&query->out);
	buf_fini(&query->head);
	mem_release(query);
}

static void *answer_main(void *user)
{
	struct query *query = user;
	struct query_service *service = query->service;
	int64_t until = clock_mono_ms() + ANSWER_DEADLINE_MS;

	if (!send_all(query->fd, &query->head, until) || !send_all(query->fd, &query->out, until))
		log_info("an answer of %zu bytes did not reach its client", query->out.len);
	query_free(query);
	atomic_fetch_sub(&service->answering, 1);
	return NULL;
}

static void answer(struct query *query)
{
	struct query_service *service = query->service;
	pthread_attr_t detached;
	pthread_t thread;
	int status;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	atomic_fetch_add(&service->answering, 1);
	status = pthread_create(&thread, &detached, answer_main, query);
	pthread_attr_destroy(&detached);
	if (status != 0) {
		log_warning("no thread for an answer (error %d)", status);
		atomic_fetch_sub(&service->answering, 1);
		query_free(query);
	}
}

/* --- asking --- */

static int create_database(const char *url, const char *database, struct error *err)
{
	struct warehouse *wh = warehouse_open(url, NULL, err);
	struct buf sql;
	int rc;

	if (wh == NULL)
		return -1;
	buf_init(&sql);
	buf_adds(&sql, "CREATE DATABASE IF NOT EXISTS ");
	sql_name(&sql, database);
	rc = warehouse_query(wh, sql.data, "TSV", QUERY_DEADLINE_MS, NULL, err);
	buf_fini(&sql);
	warehouse_close(&wh);
	return rc;
}

/* The session for this kind of statement, or NULL. */
static struct warehouse *session(struct query_service *service, bool write, struct error *err)
{
	struct warehouse **wh = write ? &service->writing : &service->reading;
	const struct warehouse_options options = { .database = service->database, .readonly = !write };

	if (*wh == NULL && create_database(service->url, service->database, err) == 0)
		*wh = warehouse_open(service->url, &options, err);
	return *wh;
}

static int ask(struct query *query, int *code_r, struct error *err)
{
	struct warehouse *wh;

	*code_r = 0;
	if (!query->write && query_check(query->sql, err) < 0)
		return -1;
	wh = session(query->service, query->write, err);
	if (wh == NULL)
		return -1;
	if (warehouse_query(wh, query->sql, query->format, QUERY_DEADLINE_MS, &query->out, err) < 0) {
		*code_r = warehouse_code(wh);
		return -1;
	}
	if (query->out.len > ANSWER_MAX)
		return error_set(err, ERR_LIMIT, "the answer has %zu bytes, more than the %zu allowed: ask for less",
				 query->out.len, ANSWER_MAX);
	return 0;
}

static void run_query(struct loop_job *job, struct loop_thread *thread)
{
	struct query *query = (struct query *)(void *)job;
	struct error err = { .code = ERR_NONE };
	int code;

	(void)thread;
	if (ask(query, &code, &err) < 0)
		write_error(query, err.text, code);
	else
		buf_printf(&query->head, "{\"ok\":true,\"bytes\":%zu}\n", query->out.len);
}

static void on_query(struct loop_job *job)
{
	struct query *query = (struct query *)(void *)job;

	query->service->waiting--;
	answer(query);
}

void query_serve(struct query_service *service, const struct json *request, int fd)
{
	const char *sql = json_string(json_member(request, "sql"), NULL);
	const char *format = json_string(json_member(request, "format"), NULL);
	struct query *query = mem_alloc(sizeof(*query));
	bool write = false;

	json_bool(json_member(request, "write"), &write);
	query->service = service;
	query->fd = fd;
	query->write = write;
	buf_init(&query->out);
	buf_init(&query->head);
	if (sql == NULL || service->waiting >= QUERIES_MAX || atomic_load(&service->answering) >= QUERIES_MAX) {
		write_error(query, sql == NULL ? "the query has no sql" : "too many queries at once", 0);
		answer(query);
		return;
	}
	query->sql = mem_strdup(sql);
	query->format = mem_strdup(format != NULL ? format : "JSONCompact");
	query->job.run = run_query;
	query->job.done = on_query;
	service->waiting++;
	loop_thread_submit(service->thread, &query->job);
}

/* --- life --- */

struct query_service *query_service_new(struct loop *loop, const char *url, const char *database)
{
	struct query_service *service = mem_alloc(sizeof(*service));

	service->thread = loop_thread_new(loop, "queries");
	service->url = url;
	service->database = database;
	return service;
}

void query_service_free(struct query_service **handle)
{
	struct query_service *service = *handle;

	if (service == NULL)
		return;
	loop_thread_free(&service->thread);
	while (atomic_load(&service->answering) > 0)
		poll(NULL, 0, 10);
	warehouse_close(&service->reading);
	warehouse_close(&service->writing);
	mem_free(handle);
}
