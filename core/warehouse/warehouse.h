/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The warehouse: ClickHouse, in this process (chdb:DIR) or on servers
 * (clickhouse://), behind one interface. Every call blocks; it is made from a
 * consumer's own thread, never from a loop. A handle serves one thread at a
 * time; open one per thread.
 *
 * Identifiers and values given here are quoted and escaped inside; types,
 * engines, partition, order and default expressions are SQL of the program
 * and its plugins and are not.
 */
#ifndef SLUICE_WAREHOUSE_WAREHOUSE_H
#define SLUICE_WAREHOUSE_WAREHOUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;
struct error;
struct native_block;
struct warehouse;

struct warehouse_options {
	const char *library;	/* chdb: path of libchdb.so; NULL: see chdb.h */
	int64_t memory;		/* chdb: bytes for the engine; 0: 2 GiB */
	int threads;		/* chdb: per query; 0: 2 */
	const char *database;	/* of unqualified names, must be there; NULL: whichever the server gives */
	bool readonly;		/* statements may read, and set nothing but limits */
};

/* What the server knows, asked once by warehouse_open. */
struct warehouse_features {
	char version[64];
	bool dedup_token;	/* INSERT takes insert_deduplication_token */
	bool dedup_window;	/* plain MergeTree tables can remember tokens */
	bool dedup_switch;	/* the setting deduplicate_insert exists and overrides the older ones */
	bool async_insert;	/* the setting exists (and must be pinned to 0) */
	bool log_comment;
	bool fsync;		/* tables can be told to fsync each insert */
	bool quorum;		/* insert_quorum means something: several replicas */
	bool distributed_sync;	/* an INSERT into a Distributed table can be told to wait for the shards */
	bool utc;		/* plain DateTime columns are read and partitioned in UTC */
	bool dies_with_process;	/* an INSERT cannot outlive the process that made it */
};

/* What has happened to a row when its insert has succeeded. */
enum warehouse_durability {
	WAREHOUSE_INSERTED,	/* survives the process, not a power cut */
	WAREHOUSE_FSYNC,	/* on disk; a property of the table, see warehouse_ensure_table */
	WAREHOUSE_QUORUM	/* on several replicas */
};

/*
 * url: chdb:DIR, or clickhouse://… and clickhouses://… (see clickhouse_url.h).
 * ERR_INPUT: no driver for the scheme, bad URL, or the library is missing;
 * ERR_BUSY: another process has the directory; ERR_IO otherwise: no host
 * answers, among others. options may be NULL.
 */
struct warehouse *warehouse_open(const char *url, const struct warehouse_options *options, struct error *err);
/* NULL tolerated; sets *wh to NULL. */
void warehouse_close(struct warehouse **wh);
/* borrowed, as long as the handle */
const struct warehouse_features *warehouse_features(const struct warehouse *wh);
/* 0, or -1 and err when no driver takes the URL. Opens nothing. */
int warehouse_check_url(const char *url, struct error *err);
/* Whether the URL is of servers, which may be away while this process runs. */
bool warehouse_remote(const char *url);
/* The database that the URL names, in arena, or NULL. The URL is not checked otherwise. */
const char *warehouse_database(const char *url, struct arena *arena);
/*
 * Monotonic time since which every host has answered whenever it was asked; 0:
 * it is in this process; INT64_MAX: one gave no answer when last asked, or was
 * never asked. All handles of a process know the same.
 */
int64_t warehouse_since_ms(const struct warehouse *wh);
/* The ClickHouse error code of the last failed call, 0 when the server gave none. */
int warehouse_code(const struct warehouse *wh);

struct warehouse_insert {
	const char *database;
	const char *table;
	const struct native_block *block;	/* names the columns; borrowed during the call */
	const struct buf *data;			/* an encoded part of block; NULL: all of it */
	const char *query_id;			/* names node, sink and consumer; NULL: none */
	const char *dedup_token;		/* NULL: the server is told not to deduplicate */
	int64_t deadline_ms;			/* from now; 0: none */
	enum warehouse_durability durability;
};

/*
 * Inserts, all or nothing when the rows are of one partition. On -1 the code
 * says what to do:
 *   ERR_CONTENT  the server refused this data (warehouse_code says why): bisect
 *   ERR_BUSY     too many parts or queries: back-pressure, repeat later
 *   ERR_UNCLEAR  the rows may have arrived: look them up, never just repeat
 *   ERR_IO       nothing arrived; the table's or the server's fault: back off
 *   ERR_INPUT    this durability is not to be had here
 */
int warehouse_insert(struct warehouse *wh, const struct warehouse_insert *insert, struct error *err);

/*
 * Runs one statement and appends its output in a ClickHouse format ("TSV",
 * "JSON", "RowBinary"...; ignored where the statement has its own FORMAT) to
 * out. out may be NULL. ERR_INPUT: the statement is wrong; ERR_NOT_FOUND: no
 * such table or database; ERR_TIMEOUT; ERR_LIMIT: more than 256 MiB of output.
 */
int warehouse_query(struct warehouse *wh, const char *sql, const char *format, int64_t deadline_ms,
		    struct buf *out, struct error *err);

struct warehouse_column {
	const char *name;
	const char *type;
	const char *default_kind;	/* found: "", DEFAULT, MATERIALIZED, ALIAS...; declared: NULL */
	const char *default_expr;	/* SQL; NULL or "": none */
};

struct warehouse_table {
	const char *database;
	const char *name;
	const struct warehouse_column *columns;
	size_t column_count;
	const char *engine;		/* "MergeTree", "ReplacingMergeTree(ver)" */
	const char *partition_by;	/* SQL; NULL or "": none */
	const char *order_by;		/* SQL, without the outer brackets; NULL or "": tuple() */
	const char *settings;		/* SQL "a = 1, b = 2"; NULL or "": none */
	/*
	 * The table is made with the Replacing variant of engine, ordered by this
	 * column at the end: of rows equal in partition and order one remains, at a
	 * merge or with FINAL. NULL: engine as it stands.
	 */
	const char *identity;
	enum warehouse_durability durability;
};

/*
 * Describes a table as it is: columns in order, engine, partition and sorting
 * key (settings and durability are not filled). Everything lives in arena.
 * NULL with ERR_NOT_FOUND when there is none.
 */
const struct warehouse_table *warehouse_describe(struct warehouse *wh, struct arena *arena,
						 const char *database, const char *table, struct error *err);

/* CREATE DATABASE and CREATE TABLE, each IF NOT EXISTS. */
int warehouse_create_table(struct warehouse *wh, const struct warehouse_table *spec, struct error *err);

/*
 * On every host that answers, and one has to: creates the table when there is
 * none; else compares. A declared column that
 * is missing, computed, or of another type is ERR_INPUT with a text that names
 * table, column and both types and says what to do; columns beyond the
 * declared ones are fine. Brings durability and memory of repeats of an
 * existing MergeTree table up to what it would be made with; a quorum needs a
 * Replicated engine, declared or there; with an identity an existing MergeTree
 * table has to be a Replacing one that is ordered by it, else ERR_INPUT.
 */
int warehouse_ensure_table(struct warehouse *wh, const struct warehouse_table *spec, struct error *err);

/*
 * Compares as warehouse_ensure_table does, on every host that answers, and
 * changes nothing: ERR_NOT_FOUND when a host has no such table, ERR_INPUT when it
 * differs. advice is replaced by what could be better, if anything.
 */
int warehouse_check_table(struct warehouse *wh, const struct warehouse_table *spec, struct buf *advice,
			  struct error *err);

struct warehouse_text {
	const char *bytes;
	size_t len;
};

/* By bytes, a prefix before what it begins. Any thread. */
int warehouse_text_compare(const struct warehouse_text *a, const struct warehouse_text *b);

/*
 * column IN (values), or from <= column <= to; what is NULL is open. The column
 * is a String, or with time a DateTime and from and to are times in UTC.
 */
struct warehouse_filter {
	const char *column;
	const struct warehouse_text *values;
	size_t value_count;
	const char *from, *to;
	bool time;
};

struct warehouse_lookup {
	const char *database;
	const char *table;
	const char *column;			/* the identity */
	const struct warehouse_filter *filters;	/* all must hold: the key prefix, the partition */
	size_t filter_count;
	const struct warehouse_text *ids;
	size_t id_count;
	int64_t deadline_ms;			/* for each statement; large lists take several */
};

/*
 * Sets found_r[i] for each identity that the table holds, on any host of the
 * URL, clears it for the others. Fails when a host does not answer.
 */
int warehouse_lookup(struct warehouse *wh, const struct warehouse_lookup *lookup, bool *found_r,
		     struct error *err);

struct warehouse_orphans {
	const char *database;
	const char *table;
	const char *query_id;	/* a part of the query ids that count */
	int64_t older_ms;	/* those that run for longer */
	int64_t kill_ms;	/* those that run for longer still are told to stop; 0: never */
	int64_t deadline_ms;	/* for each statement */
};

/*
 * INSERTs that go on although nobody waits for them: how many into this table
 * are at work on all hosts, into *running_r; those just told to stop count
 * until they have. 0 where an INSERT dies with its process.
 */
int warehouse_orphans(struct warehouse *wh, const struct warehouse_orphans *orphans, size_t *running_r,
		      struct error *err);

#endif
