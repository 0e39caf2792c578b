/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place where names and values become ClickHouse SQL, and where its
 * TSV answers become text again. Any thread.
 */
#ifndef SLUICE_WAREHOUSE_SQL_H
#define SLUICE_WAREHOUSE_SQL_H

#include <stddef.h>

struct buf;

/* Appends an identifier in backquotes: any bytes stay one identifier. */
void sql_name(struct buf *out, const char *name);
/* Appends `database`.`table`. */
void sql_table(struct buf *out, const char *database, const char *table);
/* Appends a string literal in single quotes: any bytes, NUL too, stay one literal of just these bytes. */
void sql_text(struct buf *out, const char *bytes, size_t len);
/* Appends a value as a TSV field: any bytes, also "\\N", stay these bytes. */
void sql_tsv_text(struct buf *out, const char *bytes, size_t len);

/*
 * Puts the TSV field at *at, unescaped, in field (cleared first) and moves on.
 * Returns '\t' when the line goes on, '\n' at its last field, 0 at the end of
 * the text. A NULL reads as "\N" does: as the two bytes.
 */
char sql_tsv_field(const char **at, const char *end, struct buf *field);

#endif
