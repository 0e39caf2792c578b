/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task store for programs without a loop of their own (sluicectl): each
 * function runs a private loop until the answer has come. 0, or -1 and err.
 * One thread at a time.
 */
#ifndef SLUICE_STORE_STORE_SYNC_H
#define SLUICE_STORE_STORE_SYNC_H

#include "store/store.h"

struct arena;
struct buf;
struct store_sync;

struct store_sync *store_sync_open(const char *url, const struct store_options *options, bool create,
				   struct error *err);
void store_sync_close(struct store_sync **sync);
/* Both borrowed: for what has no function here. The loop is run by the caller then. */
struct store *store_sync_store(struct store_sync *sync);
struct loop *store_sync_loop(struct store_sync *sync);

/* ids_r: room for count. */
int store_sync_submit(struct store_sync *sync, const struct store_new_task *tasks, size_t count,
		      int64_t *ids_r, struct error *err);
/* rows_r with all their texts are copied into the arena. */
int store_sync_claim(struct store_sync *sync, struct store_claim *claim, struct arena *arena,
		     struct task_row **rows_r, size_t *count_r, struct error *err);
int store_sync_commit(struct store_sync *sync, struct store_commit *group, size_t count, struct error *err);
int store_sync_extend(struct store_sync *sync, struct store_lease *leases, size_t count, int64_t lease_ms,
		      struct error *err);
int store_sync_rescue(struct store_sync *sync, int64_t *count_r, struct error *err);
int store_sync_progress(struct store_sync *sync, const int64_t *ids, size_t count, struct store_depth *depth_r,
			struct error *err);
/* rows_r and names are copied into the arena. */
int store_sync_depths(struct store_sync *sync, struct arena *arena, struct store_depth **rows_r,
		      size_t *count_r, struct error *err);
int store_sync_ready(struct store_sync *sync, struct arena *arena, struct store_depth **rows_r,
		     size_t *count_r, struct error *err);
int store_sync_outbox_read(struct store_sync *sync, const char *queue, const int64_t *skip, size_t skip_count,
			   size_t max_rows, size_t max_bytes, struct arena *arena,
			   struct store_outbox_row **rows_r, size_t *count_r, struct error *err);
int store_sync_outbox_delete(struct store_sync *sync, const int64_t *ids, size_t count, struct error *err);
int store_sync_outbox_last(struct store_sync *sync, int64_t *id_r, struct error *err);
int store_sync_outbox_bytes(struct store_sync *sync, int64_t *bytes_r, struct error *err);
int store_sync_dead_letter(struct store_sync *sync, const struct store_dead *letters, size_t count,
			   struct error *err);
/* rows_r with all their texts are copied into the arena. */
int store_sync_dead_read(struct store_sync *sync, const struct store_letter_filter *filter, struct arena *arena,
			 struct store_letter **rows_r, size_t *count_r, struct error *err);
int store_sync_dead_replay(struct store_sync *sync, const int64_t *ids, size_t count, int64_t *count_r,
			   struct error *err);
int store_sync_dead_drop(struct store_sync *sync, const int64_t *ids, size_t count, int64_t *count_r,
			 struct error *err);
/* All schedules; after a step, the schedule or none (count_r 0). rows_r with all their texts are copied into the arena. */
int store_sync_schedules(struct store_sync *sync, struct arena *arena, struct store_schedule **rows_r,
			 size_t *count_r, struct error *err);
int store_sync_slot(struct store_sync *sync, const struct store_slot *step, struct arena *arena,
		    struct store_schedule **rows_r, size_t *count_r, struct error *err);
/* rows_r with all their texts are copied into the arena. */
int store_sync_failures(struct store_sync *sync, const struct store_failure_filter *filter, struct arena *arena,
			struct store_failure **rows_r, size_t *count_r, struct error *err);
int store_sync_forget(struct store_sync *sync, const struct store_forget *forget, int64_t *count_r, struct error *err);
int store_sync_sweep(struct store_sync *sync, struct store_sweep *sweep, struct error *err);
/* ids_r: room for count. */
int store_sync_credential_put(struct store_sync *sync, const struct store_credential *rows, size_t count,
			      int64_t *ids_r, struct error *err);
/* rows_r with all their texts are copied into the arena. */
int store_sync_credential_read(struct store_sync *sync, const struct store_credential_filter *filter,
			       struct arena *arena, struct store_credential **rows_r, size_t *count_r,
			       struct error *err);
int store_sync_credential_change(struct store_sync *sync, const struct store_credential_change *changes,
				 size_t count, int64_t *count_r, struct error *err);
/* rows_r with all their texts are copied into the arena. */
int store_sync_sources(struct store_sync *sync, size_t limit, struct arena *arena, struct store_source **rows_r,
		       size_t *count_r, struct error *err);
int store_sync_source_change(struct store_sync *sync, const struct store_source_change *change, struct arena *arena,
			     struct store_source **rows_r, size_t *count_r, struct error *err);
/* JSON is appended to out. */
int store_sync_query(struct store_sync *sync, const char *sql, size_t max_rows, struct buf *out, struct error *err);
int store_sync_lookup(struct store_sync *sync, const struct store_table *table, const char *column,
		      const char *value, size_t limit, struct buf *out, struct error *err);
int store_sync_task_list(struct store_sync *sync, const struct store_task_filter *filter, struct buf *out,
			 struct error *err);
int store_sync_task_get(struct store_sync *sync, int64_t id, struct buf *out, struct error *err);
int store_sync_dead_list(struct store_sync *sync, const char *queue, size_t limit, struct buf *out,
			 struct error *err);
int store_sync_outbox_totals(struct store_sync *sync, struct buf *out, struct error *err);

#endif
