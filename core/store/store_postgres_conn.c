/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the postgresql: driver on the loop, in pipeline mode: it
 * is opened without blocking, carries one batch of statements at a time and
 * tells when it is lost. Loop thread.
 */
#include "store/postgres.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "base/uuid.h"

#define PREFIX "task store: "
#define STATEMENTS_MAX 64	/* texts that are remembered, each of which costs the server up to 140 kB; some have a number that varies */
/*
 * Plans are kept for so long, and for so many batches: one that was made for a
 * table while it was empty reads all of it, and nobody tells the server how
 * fast it grows.
 */
#define PLANS_MS 5000
#define PLANS_BATCHES 100

/* A text that was sent before. */
struct pg_statement {
	char name[48];			/* "": it was not prepared yet */
};

/* A message of the batch whose answer is to come. */
struct pg_sent {
	bool silent;			/* nobody wants its result */
	struct pg_statement *prepares;	/* NULL: it runs something */
};

static void ignore_notice(void *user, const char *message)
{
	(void)user;
	(void)message;
}

static void clear_batch(struct pg_conn *conn)
{
	size_t i;

	for (i = 0; i < conn->batch.count; i++)
		PQclear(conn->batch.results[i]);
	conn->batch.count = 0;
	error_clear(&conn->batch.error);
	conn->batch.state[0] = conn->batch.constraint[0] = conn->batch.detail[0] = '\0';
	conn->sent_count = conn->received = 0;
}

static void forget_statements(struct pg_conn *conn)
{
	size_t cursor = 0;
	const char *sql;
	void *statement;

	if (conn->statements == NULL)
		return;
	while (map_next(conn->statements, &cursor, &sql, &statement))
		mem_release(statement);
	map_free(&conn->statements);
}

void pg_conn_close(struct pg_conn *conn)
{
	/* The handle goes first: PQfinish closes its descriptor. */
	loop_fd_free(&conn->fd);
	PQfinish(conn->pg);
	conn->pg = NULL;
	conn->phase = PG_CLOSED;
	clear_batch(conn);
	forget_statements(conn);
	mem_free(&conn->batch.results);
	mem_free(&conn->sent);
	conn->cap = conn->sent_cap = 0;
}

static void lose(struct pg_conn *conn)
{
	const char *text = conn->batch.error.text;

	if (conn->batch.error.code != ERR_NONE)
		str_format(conn->problem, sizeof(conn->problem), "%s",
			   str_starts(text, PREFIX) ? text + strlen(PREFIX) : text);
	else
		pg_message(conn->problem, sizeof(conn->problem), PQerrorMessage(conn->pg));
	pg_conn_close(conn);
	conn->on_lost(conn->user);
}

/* --- opening --- */

static void on_socket(void *user, int fd, unsigned int events)
{
	(void)fd;
	pg_conn_io(user, events);
}

/* libpq may have changed to another socket, even one of the same number. */
static void watch(struct pg_conn *conn, unsigned int events)
{
	if (conn->phase == PG_CONNECTING || conn->fd == NULL) {
		loop_fd_free(&conn->fd);
		conn->socket = PQsocket(conn->pg);
		conn->fd = loop_fd_new(conn->loop, conn->socket, on_socket, conn);
	}
	loop_fd_watch(conn->fd, events);
}

static void connected(struct pg_conn *conn)
{
	PQsetNoticeProcessor(conn->pg, ignore_notice, NULL);
	if (PQsetnonblocking(conn->pg, 1) != 0 || PQenterPipelineMode(conn->pg) != 1) {
		lose(conn);
		return;
	}
	watch(conn, LOOP_READ);
	conn->phase = PG_IDLE;
	conn->on_ready(conn->user);
}

static void go_on_connecting(struct pg_conn *conn)
{
	/* Before libpq closes the socket under it. */
	loop_fd_free(&conn->fd);
	switch (PQconnectPoll(conn->pg)) {
	case PGRES_POLLING_OK:
		connected(conn);
		break;
	case PGRES_POLLING_READING:
		watch(conn, LOOP_READ);
		break;
	case PGRES_POLLING_WRITING:
		watch(conn, LOOP_WRITE);
		break;
	default:
		lose(conn);
	}
}

void pg_conn_open(struct pg_conn *conn)
{
	assert(conn->phase == PG_CLOSED);
	clear_batch(conn);
	conn->since_ms = clock_mono_ms();
	conn->phase = PG_CONNECTING;
	conn->pg = PQconnectStartParams(conn->target->keys, conn->target->values, 0);
	if (conn->pg == NULL || PQstatus(conn->pg) == CONNECTION_BAD)
		lose(conn);
	else
		watch(conn, LOOP_WRITE); /* as libpq says: at first as if PQconnectPoll had asked for it */
}

/* --- batches --- */

/* A failure is the connection's, and shows when the answer is read. */
static void note_sent(struct pg_conn *conn, bool silent, struct pg_statement *prepares)
{
	if (conn->sent_count == conn->sent_cap) {
		conn->sent_cap = conn->sent_cap == 0 ? 16 : conn->sent_cap * 2;
		conn->sent = mem_realloc(conn->sent, conn->sent_cap * sizeof(*conn->sent));
	}
	conn->sent[conn->sent_count++] = (struct pg_sent){silent, prepares};
}

static void send_command(struct pg_conn *conn, const char *sql)
{
	PQsendQueryParams(conn->pg, sql, 0, NULL, NULL, NULL, NULL, 0);
	note_sent(conn, true, NULL);
}

/* Between two transactions: what the server keeps for this connection stays fresh and bounded. */
static void tidy_statements(struct pg_conn *conn)
{
	if (conn->unprepared || PQtransactionStatus(conn->pg) != PQTRANS_IDLE)
		return;
	if (conn->statements != NULL && map_count(conn->statements) >= STATEMENTS_MAX) {
		forget_statements(conn);
		send_command(conn, "DEALLOCATE ALL");
	}
	if (conn->statements == NULL) {
		conn->statements = map_new();
		conn->planned_ms = clock_mono_ms();
		conn->planned_batches = 0;
	} else if (++conn->planned_batches > PLANS_BATCHES && clock_mono_ms() - conn->planned_ms > PLANS_MS) {
		conn->planned_ms = clock_mono_ms();
		conn->planned_batches = 0;
		send_command(conn, "DISCARD PLANS");
	}
}

/* BEGIN, COMMIT and the like: there is nothing to plan. */
static bool is_command(const char *sql, size_t count)
{
	return count == 0 && !str_starts(sql, "SELECT ");
}

/* Prepared the second time it is sent. NULL: it is to be sent as it is. */
static const char *prepared_name(struct pg_conn *conn, const char *sql, size_t count)
{
	struct pg_statement *statement;
	char id[UUID_TEXT_SIZE];

	if (conn->statements == NULL || is_command(sql, count))
		return NULL;
	statement = map_get(conn->statements, sql);
	if (statement == NULL) {
		map_put(conn->statements, sql, mem_alloc(sizeof(*statement)));
		return NULL;
	}
	if (statement->name[0] == '\0') {
		/* No other process may have one of this name, should a pooler share the connection. */
		str_format(statement->name, sizeof(statement->name), "sluice-%s", uuid_random(id));
		PQsendPrepare(conn->pg, statement->name, sql, (int)count, NULL);
		note_sent(conn, true, statement);
	}
	return statement->name;
}

void pg_conn_add(struct pg_conn *conn, bool silent, const char *sql, const struct pg_param *params, size_t count)
{
	const char *values[PG_PARAMS_MAX], *name;
	int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
	size_t i;

	assert(conn->phase == PG_IDLE && count <= PG_PARAMS_MAX);
	if (conn->sent_count == 0) {
		clear_batch(conn);
		tidy_statements(conn);
	}
	for (i = 0; i < count; i++) {
		values[i] = params[i].data;
		lengths[i] = params[i].len;
		formats[i] = params[i].binary;
	}
	name = prepared_name(conn, sql, count);
	if (name != NULL)
		PQsendQueryPrepared(conn->pg, name, (int)count, values, lengths, formats, 0);
	else
		PQsendQueryParams(conn->pg, sql, (int)count, NULL, values, lengths, formats, 0);
	note_sent(conn, silent, NULL);
}

bool pg_conn_distrusts(struct pg_conn *conn, const char *state)
{
	/* No such statement; one of this name; one whose tables have changed. */
	static const char *const states[] = {"26000", "42P05", "0A000"};
	bool bad = false;

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		bad |= strcmp(state, states[i]) == 0;
	if (!bad || conn->unprepared)
		return false;
	conn->unprepared = true;
	forget_statements(conn);
	return true;
}

static void flush(struct pg_conn *conn)
{
	watch(conn, PQflush(conn->pg) == 1 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

void pg_conn_sync(struct pg_conn *conn)
{
	assert(conn->phase == PG_IDLE && conn->sent_count > 0);
	conn->phase = PG_SENT;
	conn->since_ms = clock_mono_ms();
	PQpipelineSync(conn->pg);
	flush(conn);
}

static void copy_field(char *out, size_t size, const PGresult *result, int field)
{
	pg_message(out, size, PQresultErrorField(result, field));
}

static void take_result(struct pg_conn *conn, PGresult *result)
{
	struct pg_batch *batch = &conn->batch;
	struct pg_sent sent = {.silent = true};

	if (conn->received < conn->sent_count)
		sent = conn->sent[conn->received++];
	/* Of one that was not reached, or was refused, the server knows nothing. */
	if (sent.prepares != NULL && PQresultStatus(result) != PGRES_COMMAND_OK)
		sent.prepares->name[0] = '\0';
	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		if (sent.silent)
			break;
		if (batch->count == conn->cap) {
			conn->cap = conn->cap == 0 ? 16 : conn->cap * 2;
			batch->results = mem_realloc(batch->results, conn->cap * sizeof(*batch->results));
		}
		batch->results[batch->count++] = result;
		return;
	case PGRES_PIPELINE_ABORTED:
		break;
	default:
		if (batch->error.code != ERR_NONE)
			break;
		pg_error(&batch->error, conn->pg, result);
		copy_field(batch->state, sizeof(batch->state), result, PG_DIAG_SQLSTATE);
		copy_field(batch->constraint, sizeof(batch->constraint), result, PG_DIAG_CONSTRAINT_NAME);
		copy_field(batch->detail, sizeof(batch->detail), result, PG_DIAG_MESSAGE_DETAIL);
	}
	PQclear(result);
}

static void read_results(struct pg_conn *conn)
{
	int nulls = 0;

	while (conn->phase == PG_SENT && PQisBusy(conn->pg) == 0) {
		PGresult *result = PQgetResult(conn->pg);

		/* One stands between the results of two statements; two mean that nothing more comes. */
		if (result == NULL) {
			if (++nulls > 1)
				return;
			continue;
		}
		nulls = 0;
		if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
			take_result(conn, result);
			continue;
		}
		PQclear(result);
		conn->phase = PG_IDLE;
		conn->sent_count = 0;
		conn->on_batch(conn->user);
		nulls = 0;
	}
}

static void read_notifications(struct pg_conn *conn)
{
	PGnotify *notify;

	while (conn->pg != NULL && (notify = PQnotifies(conn->pg)) != NULL) {
		if (conn->on_notify != NULL)
			conn->on_notify(conn->user, notify->extra);
		PQfreemem(notify);
	}
}

void pg_conn_io(struct pg_conn *conn, unsigned int events)
{
	if (conn->phase == PG_CONNECTING) {
		go_on_connecting(conn);
		return;
	}
	if ((events & LOOP_READ) != 0) {
		PQconsumeInput(conn->pg); /* what came before a failure is still read */
		read_results(conn);
		if (conn->pg != NULL && PQstatus(conn->pg) == CONNECTION_BAD) {
			lose(conn);
			return;
		}
		read_notifications(conn);
	}
	if (conn->phase == PG_SENT)
		flush(conn);
}

void pg_conn_wait(struct pg_conn *conn, int timeout_ms)
{
	struct pollfd fd = {.fd = PQsocket(conn->pg), .events = POLLIN};

	assert(conn->phase == PG_SENT);
	if (PQflush(conn->pg) == 1)
		fd.events |= POLLOUT;
	if (poll(&fd, 1, timeout_ms) > 0)
		pg_conn_io(conn, LOOP_READ);
}
