/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URL of ClickHouse servers, taken apart; no I/O. Any thread.
 *
 *	clickhouse://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/DATABASE][?OPTION=VALUE[&…]]
 *
 * clickhouses: is the same over TLS. User, password and database are
 * percent-encoded. Options: compression (none, gzip, lz4, zstd), ca (a
 * PEM file).
 */
#ifndef SLUICE_WAREHOUSE_CLICKHOUSE_URL_H
#define SLUICE_WAREHOUSE_CLICKHOUSE_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "pack/compress.h"

struct arena;
struct error;

struct clickhouse_url {
	const char **origins;		/* "http://host:port", as given, one or more */
	size_t origin_count;
	const char *user, *password;	/* NULL: none */
	const char *database;		/* NULL: none */
	const char *ca_file;		/* NULL: the system's authorities */
	enum compression compression;	/* of inserts */
};

/*
 * rest is what follows "clickhouse:" or, with tls, "clickhouses:". Everything
 * lives in arena. ERR_INPUT says what is wrong and never quotes the password.
 */
int clickhouse_url_parse(const char *rest, bool tls, struct arena *arena, struct clickhouse_url *url_r,
			 struct error *err);

#endif
