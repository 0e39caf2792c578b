/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of sources, for every driver: both speak the same SQL but for
 * their clock. NOW: an expression of SQL, the store's wall clock in ms. Any thread.
 */
#ifndef SLUICE_STORE_SOURCE_H
#define SLUICE_STORE_SOURCE_H

#include "store/store.h"

#define SOURCE_VALUES_MAX 6	/* parameters of a statement */

/* A row: source, handle, stopped, reason, node, failures, since, pause, how long until probe_at, probe. */
#define SOURCE_COLUMNS(NOW)                                                                                  \
	"SELECT source, handle, stopped, reason, node, failures, since, pause, probe_at - " NOW ", probe"    \
	" FROM source_state"
#define SOURCE_LIST(NOW) SOURCE_COLUMNS(NOW) " ORDER BY stopped DESC, since DESC, source, handle LIMIT $1"
#define SOURCE_ONE(NOW) SOURCE_COLUMNS(NOW) " WHERE source = $1 AND handle = $2 ORDER BY stopped DESC"

#define SOURCE_BREAKER " WHERE source = $1 AND handle = $2 AND stopped = 0"
#define SOURCE_DOUBLED "CASE WHEN pause * 2 < CAST($4 AS bigint) THEN pause * 2 ELSE CAST($4 AS bigint) END"

/* By enum store_source_action; for which values see source_values. */
#define SOURCE_STATEMENTS(NOW)                                                                               \
	{                                                                                                    \
		[STORE_SOURCE_OPEN] =                                                                        \
			"INSERT INTO source_state (source, handle, stopped, reason, node, failures, since,"  \
			" pause, probe_at) VALUES ($1, $2, 0, $3, $4, $5, " NOW ", $6, " NOW " + $6)"        \
			" ON CONFLICT DO NOTHING",                                                           \
		[STORE_SOURCE_PROBE] = "UPDATE source_state SET probe = $3, probe_at = " NOW " + $4"         \
				       SOURCE_BREAKER " AND (probe_at <= " NOW " OR probe = $3)",            \
		[STORE_SOURCE_FAILED] =                                                                      \
			"UPDATE source_state SET probe = NULL, failures = failures + 1, reason = $5,"        \
			" pause = " SOURCE_DOUBLED ", probe_at = " NOW " + " SOURCE_DOUBLED SOURCE_BREAKER   \
			" AND probe = $3",                                                                   \
		[STORE_SOURCE_LEAVE] = "UPDATE source_state SET probe = NULL, probe_at = " NOW               \
				       SOURCE_BREAKER " AND probe = $3",                                     \
		[STORE_SOURCE_CLOSE] = "DELETE FROM source_state" SOURCE_BREAKER,                            \
		[STORE_SOURCE_STOP] =                                                                        \
			"INSERT INTO source_state (source, handle, stopped, reason, node, failures, since,"  \
			" pause, probe_at) VALUES ($1, $2, 1, $3, $4, 0, " NOW ", 0, 0)"                     \
			" ON CONFLICT (source, handle, stopped) DO UPDATE SET reason = excluded.reason,"     \
			" node = excluded.node",                                                             \
		[STORE_SOURCE_START] = "DELETE FROM source_state WHERE source = $1"                          \
	}

/* What is asked of the store, and its answer; all in the request's arena, a copy: what asked may go. */
struct source_query {
	const char *change;		/* NULL: nothing is changed */
	const char *read;
	const char *values[SOURCE_VALUES_MAX];	/* $1 first, as texts: of change; the first ones are of read, too */
	size_t change_count, read_count;
	struct store_source *rows;
	size_t count;
	store_sources_fn *done;
	void *user;
};

/* read: SOURCE_LIST. */
void source_list(struct source_query *query, const char *read, struct arena *arena, size_t limit,
		 store_sources_fn *done, void *user);
/* statements: SOURCE_STATEMENTS; read: SOURCE_ONE. */
void source_change(struct source_query *query, const char *const *statements, const char *read, struct arena *arena,
		   const struct store_source_change *change, store_sources_fn *done, void *user);
void source_answer(const struct source_query *query, const struct error *err);

#endif
