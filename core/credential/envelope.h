/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A credential as the store keeps it, and back. The column holds one JSON
 * object: {"sealed": "v1:KEY:TEXT", "user_id": "17"}, all members sealed, those
 * that are public readable beside them for people. An object without "sealed"
 * was written by another program: its members are in clear. Any thread.
 */
#ifndef SLUICE_CREDENTIAL_ENVELOPE_H
#define SLUICE_CREDENTIAL_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#include <sluice/http.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/secret.h"

struct arena;

struct credential_member {
	const char *name, *value;
	bool secret;
};

/* The first seals, each opens. */
struct credential_keys {
	struct secret_key *keys;	/* owned */
	size_t count;
};
/* texts as secret_key_parse takes them; ERR_INPUT. Call fini whatever it returns. */
int credential_keys_init(struct credential_keys *keys, const char *key, const char *const *old_keys,
			 size_t old_count, struct error *err);
void credential_keys_fini(struct credential_keys *keys);

/* Whether the source says that a member of this name is none. source NULL: everything is secret. */
bool credential_is_secret(const struct sl_source *source, const char *name);
/* ERR_INPUT when members lack one that the source needs, or have one it does not know. */
int credential_check(const struct sl_source *source, const struct credential_member *members, size_t count,
		     struct error *err);

/*
 * Appends the object for the store. source: its name goes into the seal, so that no
 * row can pose as another source's.
 */
void credential_seal(const struct credential_keys *keys, const char *source,
		     const struct credential_member *members, size_t count, struct buf *out);
/*
 * Members in the order they were given, in the arena; what is secret is asked of
 * def (may be NULL). ERR_INPUT: no key opens it, it is another source's, or no object.
 */
int credential_open(const struct credential_keys *keys, const char *source, const struct sl_source *def,
		    const char *text, struct arena *arena, struct credential_member **members_r,
		    size_t *count_r, struct error *err);
/* Whether it is sealed with the first of the keys. */
bool credential_is_current(const struct credential_keys *keys, const char *text);

/*
 * Appends the idempotency_key: "SOURCE:USER_ID" where that is public, "SOURCE:HANDLE"
 * where credentials belong to handles, else "SOURCE:#" and a keyed hash of what
 * makes the credential that one. The same for the same credential and keys.
 */
void credential_identity(const struct credential_keys *keys, const struct sl_source *source,
			 const char *handle, const struct credential_member *members, size_t count,
			 struct buf *out);
/* Appends text with every secret in it replaced by "***". */
void credential_mask(const struct credential_member *members, size_t count, const char *text,
		     struct buf *out);

#endif
