/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pool's files share: cache.c knows the store's rows, pool.c chooses
 * among them and writes what is said of them. Loop thread.
 */
#ifndef SLUICE_CREDENTIAL_INTERNAL_H
#define SLUICE_CREDENTIAL_INTERNAL_H

#include "base/arena.h"
#include "base/backoff.h"
#include "base/list.h"
#include "base/map.h"
#include "credential/pool.h"
#include "loop/loop.h"
#include "store/store.h"

struct group {			/* the credentials of a source, or of one of its handles */
	struct list members;	/* least recently used first */
	size_t count;
};

struct entry {
	struct list by_source, by_handle;
	struct group *source, *owner;	/* owner NULL: nobody's */
	const struct sl_source *def;
	int64_t id;
	char *handle, *text, *limits;	/* owned; NULL for null */
	bool enabled;
	int64_t parked_until_ms, failures, last_used_ms;
	int64_t busy_until_ms;		/* what this process was told by the limiter */
	bool used;			/* since that was written */
	size_t unwritten;		/* changes the store has not confirmed */
	uint64_t known;			/* readings up to this one are older than what is known here */
	uint64_t seen;			/* the last reading that had it */
	struct arena *arena;		/* of the members, opened when first wanted */
	struct credential_member *members;
	size_t count;
	bool broken;			/* no key opens it */
};

struct change {
	struct list node;
	struct store_credential_change what;
	char *reason;			/* owned */
};

struct credential_pool {
	struct loop *loop;
	struct store *store;
	const struct credential_keys *keys;
	const struct sl_source *const *sources;
	const char **names;
	size_t source_count;
	struct credential_pool_options options;
	struct map *entries;		/* id as text → struct entry */
	struct map *groups;		/* "source" and "source\x1fhandle" → struct group */
	uint64_t reading;		/* number of the reading under way, or of the last one */
	bool busy, loaded;
	bool asked;			/* since the last reading began */
	bool closed;			/* its owner has gone: freed when the store has answered */
	int64_t last_id;		/* where the next page begins */
	int64_t read_ms,
		failed_ms; /* loop time of the last good and the last bad end of a reading; 0 = none */
	struct loop_timer *read_timer, *write_timer;
	struct list changes, sending;	/* struct change: waiting, and with the store */
	bool writing;
	struct backoff trouble;
	int64_t complained_ms;
};

/* --- cache.c --- */
struct entry *cache_find(const struct credential_pool *pool, int64_t id);
/* Of a source, or of one of its handles; NULL: nobody is in it. */
struct group *cache_group(const struct credential_pool *pool, const char *source, const char *handle);
/* Opens the entry's members. False when no key opens it. */
bool cache_open(const struct credential_pool *pool, struct entry *entry);
void cache_entry_free(struct entry *entry);
/* Begins to read the rows again; user is the pool. Also its timer's callback. */
void cache_read(void *user);
/*
 * Somebody asks: what is known is kept fresh. false: it is so old that it has to be
 * read first, which begins; ask again at *again_ms_r of the wall clock.
 */
bool cache_asked(struct credential_pool *pool, int64_t now_ms, int64_t *again_ms_r);
/* None can be used: is it worth looking again? Wall time to ask at, or INT64_MAX. */
int64_t cache_look_again(struct credential_pool *pool, int64_t now_ms);
/* Forgets a closed pool, once the store owes it no answer. */
void cache_closed(struct credential_pool *pool);
/* Logs trouble with the store, at most once a minute. */
void cache_complain(struct credential_pool *pool, const char *what, const struct error *err);

#endif
