/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a warehouse driver implements. warehouse.c builds the statements,
 * pins the settings and judges the server's error codes, so that a driver
 * only carries bytes to its server and back.
 */
#ifndef SLUICE_WAREHOUSE_DRIVER_H
#define SLUICE_WAREHOUSE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct error;
struct warehouse_options;

struct driver_setting {
	const char *name;
	const char *value;	/* plain text, not yet quoted */
};

/* Rows that go along with a query, which reads them like a table. */
struct driver_table {
	const char *name;
	const char *structure;	/* "id String" */
	const char *data;	/* TSV */
	size_t len;
};

struct driver_query {
	const char *sql;
	size_t len;
	const char *format;	/* for the output where sql has no FORMAT of its own */
	int64_t deadline_ms;	/* from now; 0: none */
	size_t max_bytes;	/* more output is ERR_LIMIT */
	size_t host;		/* 0: any; else only the host-th of ops->hosts */
	bool again;		/* quick, and no harm twice: any host's answer will do, each has the whole deadline */
	const struct driver_table *table;	/* NULL: none */
};

struct driver_insert {
	const char *into;	/* "INSERT INTO `d`.`t` (`a`, `b`)": neither SETTINGS nor FORMAT yet */
	const struct driver_setting *settings;
	size_t setting_count;
	const char *data;	/* one Native block */
	size_t len;
	const char *query_id;	/* NULL: none */
	int64_t deadline_ms;	/* from now; 0: none */
};

/*
 * All calls block; a connection is used by one thread at a time, several
 * connections by several threads. A call that fails returns -1 with a text in
 * err and the ClickHouse error code, when the server gave one, in *code_r
 * (which the caller has set to 0).
 */
struct warehouse_ops {
	const char *scheme;		/* "chdb": what stands before the colon of the URL */
	bool dies_with_process;		/* an INSERT cannot outlive the process that made it */
	bool quorum;			/* insert_quorum means something */
	size_t table_bytes;		/* the most that a driver_table may hold */

	/* Whether rest, what follows "scheme:", can be one; opens nothing. NULL: it can. */
	int (*check)(const char *rest, struct error *err);

	/*
	 * Connects, now or with the first call. rest: several hosts and a database included; the driver chooses among its
	 * hosts by itself. ERR_INPUT when repeating cannot help, ERR_BUSY when
	 * somebody else has it, else ERR_IO.
	 */
	int (*open)(const char *rest, const struct warehouse_options *options, void **conn_r,
		    struct error *err);
	/* How many hosts a query may be put to one by one; NULL: 1. */
	size_t (*hosts)(const void *conn);
	/* Whether the host-th gave no answer when it was last asked; NULL: never. */
	bool (*silent)(const void *conn, size_t host);
	/* See warehouse_since_ms; NULL: 0. */
	int64_t (*since)(const void *conn);
	/* Ends the connection and frees it. */
	void (*close)(void *conn);
	/*
	 * Runs one statement, appends its output to out (which may be NULL). Its
	 * error codes: ERR_TIMEOUT, ERR_LIMIT, else ERR_IO. A connection that
	 * broke is opened again by the next call, on another host if there is one.
	 */
	int (*query)(void *conn, const struct driver_query *query, struct buf *out, int *code_r,
		     struct error *err);
	/*
	 * Inserts one block: all of it or, on -1, nothing (ERR_IO) or nobody knows
	 * (ERR_UNCLEAR: sent, but without an answer). Never repeats by itself.
	 */
	int (*insert)(void *conn, const struct driver_insert *insert, int *code_r, struct error *err);
};

/*
 * Makes a driver known beside those built in (tests bring their own). Before
 * threads start; ops stays borrowed.
 */
void warehouse_add_driver(const struct warehouse_ops *ops);

extern const struct warehouse_ops warehouse_chdb;
extern const struct warehouse_ops warehouse_clickhouse;
extern const struct warehouse_ops warehouse_clickhouses;

#endif
