/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the question whether INSERTs of ours still run that nobody waits for:
 * a server goes on with one whose client is gone. Runs in the thread that owns
 * the handle.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "warehouse/internal.h"
#include "warehouse/sql.h"

static void add_text(struct buf *sql, const char *text)
{
	sql_text(sql, text, strlen(text));
}

/* Newer servers show a statement without the quotes that it can do without: compared without any. */
static void make_question(const struct warehouse_orphans *orphans, struct buf *sql)
{
	struct buf into;

	buf_init(&into);
	buf_printf(&into, "INSERT INTO %s.%s ", orphans->database, orphans->table);
	buf_printf(sql, "SELECT query_id, elapsed * 1000 > %" PRId64 " FROM system.processes WHERE elapsed * 1000 > "
		   "%" PRId64 " AND position(replaceAll(query, '`', ''), ",
		   orphans->kill_ms > 0 ? orphans->kill_ms : INT64_MAX, orphans->older_ms);
	add_text(sql, into.data);
	buf_adds(sql, ") = 1 AND position(query_id, ");
	add_text(sql, orphans->query_id);
	buf_adds(sql, ") > 0");
	buf_fini(&into);
}

/* It may be over by now, or may not be ours to stop: whether it is gone is asked again anyway. */
static void kill_one(struct warehouse *wh, const struct warehouse_orphans *orphans, size_t host,
		     const struct buf *query_id)
{
	struct driver_query query = {.deadline_ms = orphans->deadline_ms, .host = host};
	struct buf sql;

	buf_init(&sql);
	buf_adds(&sql, "KILL QUERY WHERE query_id = ");
	sql_text(&sql, query_id->data, query_id->len);
	buf_adds(&sql, " ASYNC");
	query.sql = sql.data;
	warehouse_ask(wh, &query, NULL, NULL);
	buf_fini(&sql);
}

static int ask_host(struct warehouse *wh, const struct warehouse_orphans *orphans, const char *sql, size_t host,
		    size_t *running, struct error *err)
{
	struct driver_query query = {.sql = sql, .deadline_ms = orphans->deadline_ms, .host = host, .again = true};
	struct buf out, id, old;
	const char *at;
	int rc;

	buf_init(&out);
	buf_init(&id);
	buf_init(&old);
	rc = warehouse_ask(wh, &query, &out, err);
	at = out.data;
	while (rc == 0 && sql_tsv_field(&at, out.data + out.len, &id)) {
		sql_tsv_field(&at, out.data + out.len, &old);
		++*running;
		if (old.len == 1 && old.data[0] == '1')
			kill_one(wh, orphans, host, &id);
	}
	buf_fini(&old);
	buf_fini(&id);
	buf_fini(&out);
	return rc;
}

int warehouse_orphans(struct warehouse *wh, const struct warehouse_orphans *orphans, size_t *running_r,
		      struct error *err)
{
	size_t hosts = warehouse_hosts(wh);
	struct buf sql;
	int rc = 0;

	*running_r = 0;
	if (wh->ops->dies_with_process)
		return 0;
	buf_init(&sql);
	make_question(orphans, &sql);
	for (size_t host = 1; rc == 0 && host <= hosts; host++)
		rc = ask_host(wh, orphans, sql.data, hosts > 1 ? host : 0, running_r, err);
	if (rc < 0)
		error_prefix(err, "asking for running inserts into %s.%s", orphans->database, orphans->table);
	buf_fini(&sql);
	return rc;
}
