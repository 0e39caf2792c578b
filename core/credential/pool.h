/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credentials of some sources, as one process knows them: a cache of the
 * store's rows, read again every ten seconds while somebody asks, and at once when
 * one is missing.
 * What is said of a credential (parked, disabled, worked) holds here at once and is
 * written to the store, so that all nodes share it; when the store is away it is
 * written later. Loop thread.
 *
 * The one rule: a credential is usable when it is enabled and disabled_till has
 * passed or is not set. Times are of the wall clock, since nodes share them.
 */
#ifndef SLUICE_CREDENTIAL_POOL_H
#define SLUICE_CREDENTIAL_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "credential/envelope.h"

struct credential_pool;
struct loop;
struct store;

#define CREDENTIAL_PARK_FIRST_MS INT64_C(60000)		/* when nobody said how long, doubling … */
#define CREDENTIAL_PARK_CAP_MS INT64_C(3600000)		/* … up to this */
#define CREDENTIAL_BUSY_CAP_MS INT64_C(60000)
#define CREDENTIAL_CANDIDATES_MAX 16

/* Borrowed from the pool until control goes back to the loop. */
struct credential {
	int64_t id;
	const char *handle;		/* whose it is; NULL: nobody's */
	const struct credential_member *members;
	size_t count;
	const char *limits;		/* its own: "100/30s, 20000/day"; NULL: none */
};

struct credential_pool_options {	/* zeroed: the defaults */
	int64_t refresh_ms;		/* 10000 */
	int64_t stale_ms;		/* what was read longer ago is read again before it is used; 30000 */
	int64_t write_ms;		/* between writes of when credentials were used; 5000 */
	int64_t (*now_ms)(void);	/* tests: the wall clock */
};

/*
 * sources, keys and store are borrowed; the store may be closed before the pool is
 * freed, or after. Reading begins at once.
 */
struct credential_pool *credential_pool_new(struct loop *loop, struct store *store,
					    const struct credential_keys *keys,
					    const struct sl_source *const *sources, size_t source_count,
					    const struct credential_pool_options *options);
/* What was said and is not written yet is lost. Sets *pool to NULL; NULL tolerated. */
void credential_pool_free(struct credential_pool **pool);

/*
 * Credentials of source that may be used at now_ms, at most max: least recently used
 * first, and behind all others those that are busy, the soonest first. handle NULL: any of the source; else those of the handle alone. prefer:
 * an id that comes first if it may be used, 0 = none. When the answer is 0,
 * *soonest_ms_r is when the first that is parked may be used, or what is known is no
 * longer too old; INT64_MAX: there is none.
 */
size_t credential_pool_candidates(struct credential_pool *pool, const struct sl_source *source,
				  const char *handle, int64_t prefer, int64_t now_ms, struct credential *out,
				  size_t max, int64_t *soonest_ms_r);
/*
 * There is none: reads the store again, if that was not just done. When to ask again;
 * INT64_MAX: the store has none either.
 */
int64_t credential_pool_look(struct credential_pool *pool, int64_t now_ms);
/* Whether it may (still) be used. */
bool credential_pool_usable(struct credential_pool *pool, int64_t id, int64_t now_ms);
/*
 * Its limits leave no room for so long: this process tries others first, for
 * CREDENTIAL_BUSY_CAP_MS at most. false: that was known.
 */
bool credential_pool_busy(struct credential_pool *pool, int64_t id, int64_t for_ms);
/* Whether the pool knows the credential; *out is filled when it does. */
bool credential_pool_find(struct credential_pool *pool, int64_t id, struct credential *out);

/* Of an id that is gone nothing is said. */
void credential_pool_took(struct credential_pool *pool, int64_t id);
/*
 * for_ms 0: CREDENTIAL_PARK_FIRST_MS, doubling with each parking in a row; while it
 * is parked, more of the same news counts once. Never shortens. Secrets in the
 * reason are masked.
 */
void credential_pool_park(struct credential_pool *pool, int64_t id, int64_t for_ms, const char *reason);
/* Until somebody enables it. */
void credential_pool_disable(struct credential_pool *pool, int64_t id, const char *reason);
void credential_pool_worked(struct credential_pool *pool, int64_t id);

#endif
