/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task store driver implements. store.c finds the driver by the scheme
 * of the URL and calls it through this table; nobody else includes this file.
 * The meaning of each operation is in store.h; here stands what a driver owes
 * beyond that. Every member must be there unless it says otherwise.
 */
#ifndef SLUICE_STORE_DRIVER_H
#define SLUICE_STORE_DRIVER_H

#include "base/uuid.h"
#include "store/store.h"

#define STORE_MAGIC 0x53746f72u

/* First member of every driver's own store. */
struct store {
	unsigned int magic;
	const struct store_ops *ops;
	struct loop *loop;
	struct store_options options;	/* defaults filled in; status_queues copied, owned */
	char id[UUID_TEXT_SIZE];	/* set by open */
	struct store_stats stats;	/* loop thread; transactions, grouped and busy_ms are the driver's */
};

struct store_ops {
	bool shared;			/* by several nodes */
	/* Whether rest, the URL after "scheme:", can be one; opens nothing. NULL: it can. */
	int (*check)(const char *rest, struct error *err);
	const char *scheme;		/* "sqlite": what stands before the first ':' of the URL */
	/*
	 * Connects, creates and migrates (create) or refuses. base holds loop and
	 * options; the driver moves it into its own struct. rest is the URL after
	 * "scheme:". Refuses a schema newer than the program with ERR_INPUT.
	 */
	struct store *(*open)(const struct store *base, const char *rest, bool create, struct error *err);
	/* Lets transactions under way end; answers all that wait with ERR_CANCELLED; frees. */
	void (*close)(struct store *store);
	/* Safe when several processes do it at once. */
	int (*ensure_tables)(struct store *store, const struct store_table *const *tables, size_t count,
			     struct error *err);

	/*
	 * All below return at once and answer later on the loop thread, never
	 * from inside the call, exactly once, through store_answered.
	 */
	/* One transaction: rows, status events, all or none. */
	void (*submit)(struct store *store, const struct store_new_task *tasks, size_t count,
		       store_ids_fn *done, void *user);
	/* One transaction; cost independent of how many rows wait; no lock when nothing is ready. */
	void (*claim)(struct store *store, struct store_claim *claim, store_claimed_fn *done, void *user);
	/* The two steps of store_commit in one transaction; a data error falls back to one by one. */
	void (*commit)(struct store *store, struct store_commit *group, size_t count, store_done_fn *done,
		       void *user);
	void (*extend)(struct store *store, struct store_lease *leases, size_t count, int64_t lease_ms,
		       store_done_fn *done, void *user);
	/* Skips rows that others hold; bounded work per call. */
	void (*rescue)(struct store *store, store_count_fn *done, void *user);
	void (*ready)(struct store *store, store_depth_fn *done, void *user);
	void (*schedules)(struct store *store, store_schedules_fn *done, void *user);
	/* One transaction; what a step may do is in slot.h. */
	void (*slot)(struct store *store, const struct store_slot *step, store_schedules_fn *done, void *user);
	void (*query)(struct store *store, const char *sql, size_t max_rows, store_json_fn *done, void *user);
	void (*failures)(struct store *store, const struct store_failure_filter *filter, store_failures_fn *done,
			 void *user);
	void (*forget)(struct store *store, const struct store_forget *forget, store_count_fn *done, void *user);
	void (*sweep)(struct store *store, struct store_sweep *sweep, store_done_fn *done, void *user);
	void (*lookup)(struct store *store, const struct store_table *table, const char *column,
		       const char *value, size_t limit, store_json_fn *done, void *user);
	void (*outbox_read)(struct store *store, const char *queue, const int64_t *skip, size_t skip_count,
			    size_t max_rows, size_t max_bytes, store_outbox_fn *done, void *user);
	void (*outbox_last)(struct store *store, store_count_fn *done, void *user);
	void (*outbox_delete)(struct store *store, const int64_t *ids, size_t count, store_done_fn *done,
			      void *user);
	void (*shards_lease)(struct store *store, const struct store_shard_lease *lease, store_shards_fn *done,
			     void *user);
	void (*turn)(struct store *store, const struct store_turn *turn, store_turn_fn *done, void *user);
	void (*outbox_get)(struct store *store, const int64_t *ids, size_t count, store_outbox_fn *done,
			   void *user);
	void (*hold)(struct store *store, const char *name, const char *holder, int64_t hold_ms,
		     store_count_fn *done, void *user);
	void (*outbox_adopt)(struct store *store, store_count_fn *done, void *user);
	void (*dead_letter)(struct store *store, const struct store_dead *letters, size_t count,
			    store_done_fn *done, void *user);
	void (*dead_read)(struct store *store, const struct store_letter_filter *filter, store_letters_fn *done,
			  void *user);
	void (*dead_replay)(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
	void (*dead_drop)(struct store *store, const int64_t *ids, size_t count, store_count_fn *done, void *user);
	/* One transaction each; rows and changes are copied. */
	void (*credential_put)(struct store *store, const struct store_credential *rows, size_t count,
			       store_ids_fn *done, void *user);
	void (*credential_read)(struct store *store, const struct store_credential_filter *filter,
				store_credentials_fn *done, void *user);
	void (*credential_change)(struct store *store, const struct store_credential_change *changes,
				  size_t count, store_count_fn *done, void *user);
	void (*sources)(struct store *store, size_t limit, store_sources_fn *done, void *user);
	/* One transaction; the change is copied. Statement and values are in source.h. */
	void (*source_change)(struct store *store, const struct store_source_change *change,
			      store_sources_fn *done, void *user);
	void (*outbox_bytes)(struct store *store, store_count_fn *done, void *user);
	void (*task_list)(struct store *store, const struct store_task_filter *filter, store_json_fn *done,
			  void *user);
	void (*task_get)(struct store *store, int64_t id, store_json_fn *done, void *user);
	void (*progress)(struct store *store, const int64_t *ids, size_t count, store_depth_fn *done, void *user);
	void (*depths)(struct store *store, store_depth_fn *done, void *user);
	void (*dead_list)(struct store *store, const char *queue, size_t limit, store_json_fn *done,
			  void *user);
	void (*outbox_totals)(struct store *store, store_json_fn *done, void *user);
	/* rest: the URL after "scheme:". schema_r is zeroed. */
	int (*schema_read)(const char *rest, const struct store_table *const *tables, size_t count,
			   struct arena *arena, struct store_schema *schema_r, struct error *err);
	void (*schema_whole)(const struct store_table *const *tables, size_t count, struct arena *arena,
			     struct store_schema *schema_r);
	/* options: defaults filled in. */
	int (*schema_apply)(const char *rest, const struct store_options *options,
			    const struct store_table *const *tables, size_t count, store_applied_fn *applied,
			    void *user, struct error *err);
	/* NULL when the driver has no hints to give. */
	void (*listen)(struct store *store, store_hint_fn *fn, void *user);
};

extern const struct store_ops store_sqlite_ops;
#ifdef HAVE_POSTGRESQL
extern const struct store_ops store_postgres_ops;
#endif

/* A driver calls it right before each callback: keeps the statistics. */
void store_answered(struct store *store, const struct error *err);

/* --- what drivers share --- */
struct store_migration {		/* numbered from 1; appended to a driver's list, never changed */
	const char *name;
	const char *sql;
};
/* ERR_INPUT when the schema is newer than the program, or older and may not be changed. */
int store_check_version(int64_t version, int64_t newest, bool create, struct error *err);
/* A copy in the arena, texts included. */
struct store_credential *store_credentials_copy(struct arena *arena, const struct store_credential *rows,
						size_t count);
struct store_credential_change *
store_credential_changes_copy(struct arena *arena, const struct store_credential_change *changes, size_t count);
enum task_status task_status_from(const char *name);	/* of "PENDING", …; TASK_FAILED for anything else */
/* Refuses (ERR_INPUT) a plugin's table that has the name of one of the store's own. */
int store_check_table_name(const char *name, struct error *err);
/*
 * The payload of an outbox row that has headers begins with this character, which
 * no event does, and the headers, which end with the line.
 */
#define STORE_HEADERS_MARK "\x1e"
/* As much of a failed task's data as is remembered of it. */
const char *store_failure_text(char out[STORE_FAILURE_TEXT], const char *data);
/* Sets payload and headers of a row from what its column holds; text is changed and borrowed. */
void store_row_payload(struct store_outbox_row *row, char *text, size_t len);
/* The same of a row that is packed; bytes: of its events. */
void store_row_packed(struct store_outbox_row *row, const char *frames, size_t len, int64_t bytes);
/* The row of flow among those being collected, appended (zeroed) when it is new; all in the arena. */
struct store_depth *store_depth_of(struct arena *arena, struct store_depth **rows, size_t *count,
				   const char *flow);

#endif
