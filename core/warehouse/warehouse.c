/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns handles: driver lookup, the server's features, INSERT statements with
 * their pinned settings. Runs in the thread that owns the handle.
 */
#include "warehouse/warehouse.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "warehouse/clickhouse_url.h"
#include "warehouse/driver.h"
#include "warehouse/internal.h"
#include "warehouse/native.h"
#include "warehouse/outcome.h"
#include "warehouse/sql.h"

#define QUERY_OUTPUT_MAX ((size_t)256 << 20)

#define DRIVERS_MAX 8

static const struct warehouse_ops *drivers[DRIVERS_MAX] = {
	&warehouse_chdb, &warehouse_clickhouse, &warehouse_clickhouses
};

void warehouse_add_driver(const struct warehouse_ops *ops)
{
	size_t i = 0;

	while (drivers[i] && drivers[i] != ops)
		i++;
	assert(i < DRIVERS_MAX - 1);
	drivers[i] = ops;
}

static const struct warehouse_ops *driver_of(const char *url, const char **rest_r)
{
	size_t len = strcspn(url, ":");

	if (url[len] != ':')
		return NULL;
	*rest_r = url + len + 1;
	for (size_t i = 0; drivers[i]; i++)
		if (strlen(drivers[i]->scheme) == len && memcmp(drivers[i]->scheme, url, len) == 0)
			return drivers[i];
	return NULL;
}

static void learn(struct warehouse_features *f, const char *name)
{
	const struct { const char *name; bool *flag; } known[] = {
		{"set insert_deduplication_token", &f->dedup_token},
		{"set deduplicate_insert", &f->dedup_switch},
		{"set async_insert", &f->async_insert},
		{"set log_comment", &f->log_comment},
		{"set insert_distributed_sync", &f->distributed_sync},
		{"utc 1", &f->utc},
		{"mt non_replicated_deduplication_window", &f->dedup_window},
		{"mt fsync_after_insert", &f->fsync},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq(known[i].name, name))
			*known[i].flag = true;
	if (str_starts(name, "version "))
		str_format(f->version, sizeof(f->version), "%s", name + strlen("version "));
}

static int ask_features(struct warehouse *wh, struct error *err)
{
	static const char sql[] =
		"SELECT concat('version ', version()) UNION ALL "
		"SELECT concat('utc ', toString(toUInt8(timezone() IN ('UTC', 'Etc/UTC', 'UCT', 'Etc/UCT', "
		"'Universal', 'Zulu')))) UNION ALL "
		"SELECT concat('set ', name) FROM system.settings WHERE name IN ("
		"'insert_deduplication_token', 'deduplicate_insert', 'async_insert', 'log_comment', "
		"'insert_distributed_sync') "
		"UNION ALL "
		"SELECT concat('mt ', name) FROM system.merge_tree_settings WHERE name IN "
		"('non_replicated_deduplication_window', 'fsync_after_insert')";
	struct driver_query query = {.sql = sql, .deadline_ms = WAREHOUSE_LOOK_MS, .again = true};
	struct buf out, field;
	const char *at, *end;
	int rc;

	buf_init(&out);
	buf_init(&field);
	rc = warehouse_ask(wh, &query, &out, err);
	if (rc == 0) {
		at = out.data;
		end = out.data + out.len;
		while (sql_tsv_field(&at, end, &field))
			learn(&wh->features, field.data);
		wh->features.dies_with_process = wh->ops->dies_with_process;
		wh->features.quorum = wh->ops->quorum;
	} else {
		error_prefix(err, "asking the warehouse for its version");
	}
	buf_fini(&field);
	buf_fini(&out);
	return rc;
}

struct warehouse *warehouse_open(const char *url, const struct warehouse_options *options, struct error *err)
{
	static const struct warehouse_options defaults;
	const char *rest = NULL;
	const struct warehouse_ops *ops = driver_of(url, &rest);
	struct warehouse *wh;

	if (!ops) {
		/* Not the whole of it: a password may stand there. */
		error_set(err, ERR_INPUT, "warehouse %.*s: no driver for this URL (known: chdb:DIR, "
			  "clickhouse://HOST/DATABASE, clickhouses://HOST/DATABASE)", (int)strcspn(url, ":"), url);
		return NULL;
	}
	wh = mem_alloc(sizeof(*wh));
	wh->ops = ops;
	if (ops->open(rest, options ? options : &defaults, &wh->conn, err) < 0) {
		error_prefix(err, "warehouse");
		mem_free(&wh);
		return NULL;
	}
	if (ask_features(wh, err) < 0)
		warehouse_close(&wh);
	return wh;
}

void warehouse_close(struct warehouse **wh)
{
	if (!*wh)
		return;
	(*wh)->ops->close((*wh)->conn);
	mem_free(wh);
}

int warehouse_check_url(const char *url, struct error *err)
{
	const char *rest;
	const struct warehouse_ops *ops = driver_of(url, &rest);

	if (!ops)
		return error_set(err, ERR_INPUT, "no warehouse driver for this URL");
	return ops->check ? ops->check(rest, err) : 0;
}

bool warehouse_remote(const char *url)
{
	const char *rest;
	const struct warehouse_ops *ops = driver_of(url, &rest);

	return ops && ops->hosts;
}

const char *warehouse_database(const char *url, struct arena *arena)
{
	const char *rest = NULL;
	const struct warehouse_ops *ops = driver_of(url, &rest);
	struct clickhouse_url parts;

	if (!ops || !ops->hosts || clickhouse_url_parse(rest, false, arena, &parts, NULL) < 0)
		return NULL;
	return parts.database;
}

const struct warehouse_features *warehouse_features(const struct warehouse *wh)
{
	return &wh->features;
}

int warehouse_code(const struct warehouse *wh)
{
	return wh->code;
}

int warehouse_ask(struct warehouse *wh, struct driver_query *query, struct buf *out, struct error *err)
{
	struct error local = {0};

	query->len = strlen(query->sql);
	query->max_bytes = query->max_bytes ? query->max_bytes : QUERY_OUTPUT_MAX;
	query->format = query->format ? query->format : "TSV";
	query->host = query->host ? query->host : wh->host;
	wh->code = 0;
	if (wh->ops->query(wh->conn, query, out, &wh->code, &local) == 0)
		return 0;
	return error_set(err, outcome_query(wh->code, local.code), "%s", local.text);
}

int warehouse_query(struct warehouse *wh, const char *sql, const char *format, int64_t deadline_ms,
		    struct buf *out, struct error *err)
{
	struct driver_query query = {.sql = sql, .format = format, .deadline_ms = deadline_ms};

	return warehouse_ask(wh, &query, out, err);
}

size_t warehouse_hosts(const struct warehouse *wh)
{
	return wh->ops->hosts ? wh->ops->hosts(wh->conn) : 1;
}

int64_t warehouse_since_ms(const struct warehouse *wh)
{
	return wh->ops->since ? wh->ops->since(wh->conn) : 0;
}

int warehouse_run(struct warehouse *wh, const struct buf *sql, int64_t deadline_ms, struct buf *out,
		  struct error *err)
{
	struct driver_query query = {.sql = sql->data, .deadline_ms = deadline_ms, .again = true};

	return warehouse_ask(wh, &query, out, err);
}

#define SETTINGS_MAX 8
#define QUORUM_MS ((int64_t)600000)	/* the servers' own default */

/* Older servers know no majority, only a number. */
static const char *quorum_of(const struct warehouse_features *f)
{
	return strtol(f->version, NULL, 10) >= 23 ? "auto" : "2";
}

/* deadline: the insert's, as text; borrowed. */
static size_t insert_settings(const struct warehouse *wh, const struct warehouse_insert *insert,
			      const char *deadline, struct driver_setting *settings)
{
	const struct warehouse_features *f = &wh->features;
	bool dedup = insert->dedup_token && f->dedup_token;
	size_t n = 0;

	if (f->async_insert)
		settings[n++] = (struct driver_setting){"async_insert", "0"};
	if (dedup)
		settings[n++] = (struct driver_setting){"insert_deduplication_token", insert->dedup_token};
	/* Without a token equal blocks would count as repeats of each other. */
	if (f->dedup_switch)
		settings[n++] = (struct driver_setting){"deduplicate_insert", dedup ? "enable" : "disable"};
	else
		settings[n++] = (struct driver_setting){"insert_deduplicate", dedup ? "1" : "0"};
	if (f->log_comment && insert->query_id)
		settings[n++] = (struct driver_setting){"log_comment", insert->query_id};
	if (insert->durability == WAREHOUSE_QUORUM) {
		settings[n++] = (struct driver_setting){"insert_quorum", quorum_of(f)};
		settings[n++] = (struct driver_setting){"insert_quorum_timeout", deadline};
	}
	if (f->distributed_sync)
		settings[n++] = (struct driver_setting){"insert_distributed_sync", "1"};
	assert(n <= SETTINGS_MAX);
	return n;
}

static void insert_into(struct buf *sql, const struct warehouse_insert *insert)
{
	buf_adds(sql, "INSERT INTO ");
	sql_table(sql, insert->database, insert->table);
	for (size_t i = 0; i < native_block_columns(insert->block); i++) {
		buf_adds(sql, i ? ", " : " (");
		sql_name(sql, native_block_name(insert->block, i));
	}
	buf_addc(sql, ')');
}

int warehouse_insert(struct warehouse *wh, const struct warehouse_insert *insert, struct error *err)
{
	struct driver_setting settings[SETTINGS_MAX];
	struct driver_insert driver = {.settings = settings, .query_id = insert->query_id,
				       .deadline_ms = insert->deadline_ms};
	struct error local = {0};
	char deadline[32];
	struct buf sql, data;
	int rc;

	wh->code = 0;
	str_format(deadline, sizeof(deadline), "%" PRId64, insert->deadline_ms > 0 ? insert->deadline_ms :
		   QUORUM_MS);
	if (insert->durability == WAREHOUSE_QUORUM && !wh->features.quorum)
		return error_set(err, ERR_INPUT, "durability quorum needs replicas, which %s: has not",
				 wh->ops->scheme);
	buf_init(&sql);
	buf_init(&data);
	insert_into(&sql, insert);
	if (!insert->data)
		native_block_encode(insert->block, 0, native_block_rows(insert->block), &data);
	driver.into = sql.data;
	driver.setting_count = insert_settings(wh, insert, deadline, settings);
	driver.data = insert->data ? insert->data->data : data.data;
	driver.len = insert->data ? insert->data->len : data.len;
	rc = wh->ops->insert(wh->conn, &driver, &wh->code, &local);
	if (rc < 0)
		error_set(err, outcome_insert(wh->code, local.text, local.code), "inserting into %s.%s: %s",
			  insert->database, insert->table, local.text);
	buf_fini(&sql);
	buf_fini(&data);
	return rc;
}
