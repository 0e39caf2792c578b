/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store to test, on names that no other test uses, so that the same cases
 * run over an empty file and over a server that has seen other tests. The URL
 * comes from SLUICE_TEST_STORE; by default every test has a new SQLite file.
 */
#ifndef SLUICE_TESTS_STORE_FIXTURE_H
#define SLUICE_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "json/json.h"
#include "store/store_sync.h"

struct fixture {
	char url[300];
	char flow[40], other_flow[40];
	char queue[40], status_queue[40];
	struct store_options options;
	struct store_sync *sync;
	struct arena *arena;
	struct json_doc *doc;		/* the last JSON answer */
	struct error err;
};

/* The table the tests upsert into: one column of every type and rule. */
extern const struct store_table fixture_table;
extern const struct store_table fixture_log;	/* append-only */
enum fixture_column {
	COL_KEPT, COL_OVERWRITTEN, COL_ONCE, COL_COUNT, COL_RATIO, COL_FLAG, COL_JSON, COL_TIME, COL_TAGS,
	COLUMNS
};

/* For cmocka: fills *state with a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Opens one more store on the same URL, as another process would. */
struct store_sync *fixture_open(struct fixture *fx);
/* Closes the first store and opens it again with the options as they are now. */
void fixture_reopen(struct fixture *fx);
#define assert_good(fx, call) \
	do { \
		if ((call) != 0) \
			fail_msg("%s: %s", #call, (fx)->err.text); \
	} while (0)

/* One task of fx->flow; returns its id. */
int64_t fixture_submit(struct fixture *fx, int priority);
/* Claims up to slots tasks of fx->flow through sync. */
struct task_row *fixture_claim_from(struct fixture *fx, struct store_sync *sync, size_t slots,
				    int64_t lease_ms, bool alone, size_t *count_r);
/* Claims exactly one. */
struct task_row *fixture_claim(struct fixture *fx);
/* A commit of the task without output. */
struct store_commit fixture_commit(const struct task_row *row, enum store_end end);
/* Values for fixture_table, all NULL. */
const char **fixture_values(struct fixture *fx);
/* Commits one group and expects every member committed. */
void fixture_write(struct fixture *fx, struct store_commit *group, size_t count);
/* One task that is completed with these rows for the outbox. */
void fixture_emit(struct fixture *fx, const struct store_outbox *rows, size_t count);
/* Lets the leases of all tasks claimed with lease_ms = 1 run out, and rescues. */
int64_t fixture_rescue(struct fixture *fx);

/* JSON answers, parsed; valid until the next. */
const struct json *fixture_task(struct fixture *fx, int64_t id);
const struct json *fixture_row(struct fixture *fx, const char *key);	/* of fixture_table, or NULL */
size_t fixture_row_count(struct fixture *fx, const struct store_table *table, const char *column,
			 const char *value);
int64_t fixture_total(struct fixture *fx, const char *queue, const char *member);
/* The waiting events of queue, in order, as a JSON array. */
const struct json *fixture_events(struct fixture *fx, const char *queue);
void assert_json(const struct json *value, const char *path, const char *expected);

#endif
