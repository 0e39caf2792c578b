/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store's schema lacks, as statements: planned here for every driver,
 * shown to administrators or run by the driver itself. Drivers say what is
 * there and how their SQL spells it. No I/O; any thread.
 */
#ifndef SLUICE_STORE_SCHEMA_H
#define SLUICE_STORE_SCHEMA_H

#include "store/driver.h"

struct store_dialect {
	const char *id_column;		/* "id INTEGER PRIMARY KEY" */
	/* The key is part of CREATE TABLE, and comes with nothing else; false: it is a unique index. */
	bool inline_key;
	const char *(*type_name)(enum store_type type);
	/* Whether a column of this type holds the values too. */
	bool (*fits)(enum store_type type, const char *there);
	/* The statement that makes a column's type right, or makes room for one that is. */
	const char *(*retype)(struct arena *arena, const char *table, const char *column,
			      enum store_type type);
};

struct store_there {			/* what a store has of a table; zeroed: nothing */
	bool table;
	const struct store_column_there {
		const char *name, *type;
	} *columns;
	size_t column_count;
	bool key; /* a unique index over the key alone; without meaning when it is inline */
	const bool *indexes; /* one per index of the declaration; may be NULL when there is no table */
};

/* Adds the step that makes or widens a table, when one is needed, and what is wrong with it. */
void store_plan_table(struct arena *arena, const struct store_dialect *dialect,
		      const struct store_table *table, const struct store_there *there,
		      struct store_schema *schema);
/*
 * Adds a migration; version is the one it leads to. before and after are
 * statements around its own, or NULL; now is the expression for the time.
 */
void store_plan_migration(struct arena *arena, int64_t version, const struct store_migration *migration,
			  const char *before, const char *after, const char *now,
			  struct store_schema *schema);
void store_plan_finding(struct arena *arena, struct store_schema *schema, enum store_finding_kind kind,
			const char *todo, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The version's findings: newer or older than the program. false: newer, so that nothing else can be said. */
bool store_plan_version(struct arena *arena, struct store_schema *schema);
/* The first finding that no step puts right, as an error. 0 when there is none. */
int store_plan_error(const struct store_schema *schema, struct error *err);

#endif
