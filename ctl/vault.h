/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl credential: what its commands share. vault.c opens what they work on,
 * credential.c lists and changes, credential_add.c and credential_import.c bring
 * new ones in, credential_test.c asks the upstream, credential_rotate.c seals anew.
 * Nothing here ever prints a secret.
 */
#ifndef SLUICE_CTL_VAULT_H
#define SLUICE_CTL_VAULT_H

#include "credential/envelope.h"
#include "ctl.h"
#include "store/store_sync.h"

struct map;

struct vault {
	struct ctl *ctl;
	struct credential_keys keys;	/* count 0: none is configured */
	struct map *known;		/* vault_find: source → struct map of identities */
};

/* A credential in clear; everything in the arena of ctl. */
struct vault_item {
	const struct sl_source *source;
	const char *handle, *limits;	/* NULL: none */
	struct credential_member *members;
	size_t count;
};

/*
 * Configuration, plugins, store and keys; needs_key: having none is a complaint.
 * Call close whatever it returns.
 */
int vault_open(struct vault *vault, struct ctl *ctl, bool needs_key);
void vault_close(struct vault *vault);

/* A source that a plugin has; NULL and err. */
const struct sl_source *vault_source(struct ctl *ctl, const char *name, struct error *err);
/*
 * The rows of the command's arguments, which are ids, in their order; complains
 * about those that are not there.
 */
int vault_rows(struct vault *vault, struct store_credential **rows_r, size_t *count_r);
/* All rows (of a source, unless NULL), by id. */
int vault_read(struct vault *vault, const char *source, size_t limit, struct store_credential **rows_r,
	       size_t *count_r, struct error *err);
/* Opens a row. The source may be one that no plugin has any more: then everything in it is secret. */
int vault_item_open(struct vault *vault, const struct store_credential *row, struct vault_item *item_r,
		    struct error *err);
/* Whether the item may be one of its source: members, handle, limits. */
int vault_item_check(const struct vault_item *item, struct error *err);
/* "100/30s" each; the joined text, or NULL and err. */
const char *vault_limits(struct ctl *ctl, const char *const *limits, size_t count, struct error *err);

enum vault_outcome { VAULT_ADDED, VAULT_CHANGED, VAULT_UNCHANGED };
extern const char *const vault_outcome_names[];
/*
 * The row that makes the item the store's: new, or in place of the one there is.
 * VAULT_UNCHANGED: there is nothing to write. -1 and err.
 */
int vault_row(struct vault *vault, const struct vault_item *item, struct store_credential *row_r,
	      enum vault_outcome *outcome_r, struct error *err);
/*
 * For `flow try`: a usable credential of the source, of the handle unless that is
 * NULL, and nothing is said of it. false: there is no pool, no store, or none in it.
 */
bool vault_pick(struct ctl *ctl, const struct sl_source *source, const char *handle,
		struct vault_item *item_r);
/* "usable", "parked" or "disabled". */
const char *vault_state(const struct store_credential *row);

/* Reads all of a file, "-" is standard input, at most max bytes. 0, or -1 and err. */
int vault_file(const char *path, size_t max, struct buf *out, struct error *err);
/* The text of a secret's file, without the end of its line; NULL and err. */
const char *vault_secret(struct ctl *ctl, const char *path, struct error *err);
/* A bar on a terminal's standard error, and nothing elsewhere. done == total takes it away. */
void vault_progress(const struct ctl *ctl, const char *what, size_t done, size_t total);

#endif
