/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the postgresql: driver connects: what the URL leaves open, and blocking
 * connections for start-up. Loop thread.
 */
#include "store/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define SYSTEM_ROOTS "/etc/ssl/certs/ca-certificates.crt"

const char *pg_message(char *out, size_t size, const char *text)
{
	size_t len = 0;

	/* Lines that begin with a tab are advice. */
	for (; text != NULL && *text != '\0' && len + 1 < size; text++) {
		if (*text == '\n' && text[1] == '\t')
			text += strcspn(text + 1, "\n");
		else
			out[len++] = (char)(*text == '\n' || *text == '\t' ? ' ' : *text);
	}
	while (len > 0 && out[len - 1] == ' ')
		len--;
	out[len] = '\0';
	return out;
}

static enum error_code code_of(const char *state)
{
	if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0)
		return ERR_CONTENT;
	if (strncmp(state, "40", 2) == 0 || strcmp(state, "55P03") == 0)
		return ERR_BUSY;
	if (strcmp(state, "57014") == 0)
		return ERR_TIMEOUT;
	return ERR_IO;
}

int pg_error(struct error *err, const PGconn *conn, const PGresult *result)
{
	const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	char text[500];

	if (state == NULL)
		return error_set(err, ERR_IO, "task store: %s",
				 pg_message(text, sizeof(text), result != NULL ? PQresultErrorMessage(result)
									       : PQerrorMessage(conn)));
	return error_set(err, code_of(state), "task store: %s (SQLSTATE %s)",
			 pg_message(text, sizeof(text), PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)),
			 state);
}

/* --- the URL --- */

static void set(struct pg_target *target, size_t *count, const char *key, const char *value)
{
	target->keys[*count] = arena_strdup(target->arena, key);
	target->values[(*count)++] = arena_strdup(target->arena, value);
}

static const char *get(const struct pg_target *target, const char *key)
{
	size_t i;

	for (i = 0; target->keys[i] != NULL; i++)
		if (strcmp(target->keys[i], key) == 0)
			return target->values[i];
	return NULL;
}

static bool is_local(const char *host, size_t len)
{
	static const char *const names[] = {"localhost", "::1"};
	size_t i;

	if (len == 0 || host[0] == '/' || host[0] == '@' || (len > 4 && strncmp(host, "127.", 4) == 0))
		return true;
	for (i = 0; i < 2; i++)
		if (strlen(names[i]) == len && strncmp(names[i], host, len) == 0)
			return true;
	return false;
}

/* Whether nothing leaves this machine: every host of the list is a socket or a loopback address. */
static bool all_local(const char *hosts)
{
	size_t len;

	for (; hosts != NULL && *hosts != '\0'; hosts += len + (hosts[len] == ',')) {
		len = strcspn(hosts, ",");
		if (!is_local(hosts, len))
			return false;
	}
	return true;
}

/* libpq's own default, "prefer", takes any certificate and plain text too. */
static void add_tls(struct pg_target *target, size_t *count)
{
	const char *hosts = get(target, "hostaddr"), *home = getenv("HOME");
	char own_roots[300];

	if (hosts == NULL)
		hosts = get(target, "host");
	if (hosts == NULL)
		hosts = getenv("PGHOST");
	if (get(target, "sslmode") == NULL && getenv("PGSSLMODE") == NULL && !all_local(hosts))
		set(target, count, "sslmode", "verify-full");
	str_format(own_roots, sizeof(own_roots), "%s/.postgresql/root.crt", home != NULL ? home : "");
	if (get(target, "sslmode") != NULL && str_starts(get(target, "sslmode"), "verify-") &&
	    get(target, "sslrootcert") == NULL && getenv("PGSSLROOTCERT") == NULL &&
	    access(own_roots, R_OK) < 0 && access(SYSTEM_ROOTS, R_OK) == 0)
		set(target, count, "sslrootcert", SYSTEM_ROOTS);
}

static void add_defaults(struct pg_target *target, size_t *count)
{
	static const char *const defaults[][2] = {
		{"application_name", "sluice"},
		{"client_encoding", "UTF8"},
		{"connect_timeout", "10"},
		/* A peer that is gone without a word is noticed within a minute. */
		{"keepalives_idle", "30"},
		{"keepalives_interval", "10"},
		{"keepalives_count", "3"},
		{"tcp_user_timeout", "30000"},
	};
	const char *hosts = get(target, "host");
	size_t i;

	for (i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (get(target, defaults[i][0]) == NULL)
			set(target, count, defaults[i][0], defaults[i][1]);
	/* Of several hosts the one that takes writes: after a fail-over it is another. */
	if (hosts != NULL && strchr(hosts, ',') != NULL && get(target, "target_session_attrs") == NULL)
		set(target, count, "target_session_attrs", "read-write");
	add_tls(target, count);
}

int pg_target_parse(struct pg_target *target, const char *rest, struct error *err)
{
	PQconninfoOption *options, *option;
	char *message = NULL, told[200] = "";
	size_t count = 0;

	target->arena = arena_new();
	options = PQconninfoParse(arena_printf(target->arena, "postgresql:%s", rest), &message);
	if (options == NULL) {
		/* Most of its messages show a part of the URL, which may be the password. */
		if (message != NULL && str_starts(message, "invalid URI query parameter"))
			pg_message(told, sizeof(told), message);
		error_set(err, ERR_INPUT, "the task store's URL is not one that PostgreSQL knows%s%s",
			  *told != '\0' ? ": " : "", told);
		PQfreemem(message);
		pg_target_free(target);
		return -1;
	}
	for (option = options; option->keyword != NULL; option++)
		count++;
	target->keys = arena_alloc(target->arena, (count + 16) * sizeof(*target->keys));
	target->values = arena_alloc(target->arena, (count + 16) * sizeof(*target->values));
	count = 0;
	for (option = options; option->keyword != NULL; option++)
		if (option->val != NULL && *option->val != '\0')
			set(target, &count, option->keyword, option->val);
	PQconninfoFree(options);
	add_defaults(target, &count);
	return 0;
}

void pg_target_free(struct pg_target *target)
{
	arena_free(&target->arena);
}

/* --- blocking connections --- */

static void ignore_notice(void *user, const char *message)
{
	(void)user;
	(void)message;
}

/* libpq gives no SQLSTATE for a connection that was refused: by the server's own words. */
static bool passes(const char *message)
{
	static const char *const texts[] = {"too many", "remaining connection slots", "starting up",
					    "shutting down", "recovery", "no more connections allowed",
					    /* cut while it was being opened */
					    "closed the connection unexpectedly", "reset by peer"};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strstr(message, texts[i]) != NULL)
			return true;
	return false;
}

int pg_blocking(const struct pg_target *target, int64_t wait_ms,
		int (*work)(PGconn *, void *, struct error *), void *user, struct error *err)
{
	int64_t end = clock_mono_ms() + wait_ms, pause_ms;
	struct backoff backoff;
	struct timespec pause;
	int rc;

	backoff_init(&backoff, 50, 2000);
	for (;;) {
		PGconn *conn = PQconnectdbParams(target->keys, target->values, 0);
		bool again;

		if (PQstatus(conn) == CONNECTION_OK) {
			PQsetNoticeProcessor(conn, ignore_notice, NULL);
			rc = work(conn, user, err);
			/* Lost on the way: what it did is undone, or will be found done. */
			again = rc < 0 && PQstatus(conn) == CONNECTION_BAD;
		} else {
			rc = pg_error(err, conn, NULL);
			again = passes(PQerrorMessage(conn));
		}
		PQfinish(conn);
		pause_ms = backoff_next(&backoff);
		if (!again || clock_mono_ms() + pause_ms > end)
			return rc;
		pause.tv_sec = pause_ms / 1000;
		pause.tv_nsec = pause_ms % 1000 * 1000000;
		nanosleep(&pause, NULL);
	}
}

PGresult *pg_exec_blocking(PGconn *conn, struct error *err, const char *sql, const char *types, ...)
{
	struct arena *arena = arena_new();
	const char *values[8];
	PGresult *result;
	va_list ap;
	int count = 0;

	va_start(ap, types);
	for (; types[count] != '\0'; count++)
		values[count] = types[count] == 'i' ? pg_int_text(arena, va_arg(ap, int64_t))
						    : va_arg(ap, const char *);
	va_end(ap);
	/* Without parameters several statements may stand in one text. */
	result = count > 0 ? PQexecParams(conn, sql, count, NULL, values, NULL, NULL, 0) : PQexec(conn, sql);
	arena_free(&arena);
	if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
		return result;
	pg_error(err, conn, result);
	PQclear(result);
	return NULL;
}
