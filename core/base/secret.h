/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets at rest: a key of 32 bytes, texts sealed with it (XSalsa20-Poly1305
 * under a random nonce), and hashes that nobody can compare without it. Keys
 * for the two uses derive from the one given. Any thread.
 */
#ifndef SLUICE_BASE_SECRET_H
#define SLUICE_BASE_SECRET_H

#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

#define SECRET_KEY_BYTES 32
#define SECRET_ID_SIZE 17	/* of a key's name in text */
#define SECRET_HASH_SIZE 33	/* of a hash in text */

struct secret_key {
	unsigned char seal[SECRET_KEY_BYTES], hash[SECRET_KEY_BYTES];
	char id[SECRET_ID_SIZE];	/* names the key and tells nothing of it; may be shown */
};

/* text: 64 hexadecimal digits, or base64 of 32 bytes. ERR_INPUT says how to make one, and never shows text.
 */
int secret_key_parse(struct secret_key *key, const char *text, struct error *err);
/* Appends the sealed text in base64; sealing the same twice gives different texts. */
void secret_seal(const struct secret_key *key, const void *bytes, size_t len, struct buf *out);
/* The opposite, appended. ERR_INPUT: it is damaged, or was sealed with another key. */
int secret_open(const struct secret_key *key, const char *sealed, struct buf *out, struct error *err);
/* 128 bits of a keyed hash as hexadecimal digits. Returns out. */
char *secret_hash(const struct secret_key *key, const void *bytes, size_t len, char out[SECRET_HASH_SIZE]);
/* Overwrites what a buffer held, then frees it. */
void secret_wipe(struct buf *buf);

#endif
