/* SPDX-License-Identifier: Apache-2.0 */
/* See secret.h. */
#include "base/secret.h"

#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "base/arena.h"
#include "base/uuid.h"

#define VARIANT sodium_base64_VARIANT_ORIGINAL_NO_PADDING
#define NONCE crypto_secretbox_NONCEBYTES
#define EXTRA (crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES)
#define CONTEXT "sluicekey"	/* the first 8 characters count */

_Static_assert(SECRET_KEY_BYTES == crypto_secretbox_KEYBYTES && SECRET_KEY_BYTES == crypto_kdf_KEYBYTES &&
	       SECRET_KEY_BYTES == crypto_generichash_KEYBYTES, "one size of keys for all");

/* What a key is for; the numbers stay for ever. */
enum use { USE_SEAL = 1, USE_HASH = 2, USE_ID = 3 };

static bool all_in(const char *text, size_t len, const char *set)
{
	return strspn(text, set) == len;
}

static int decode(unsigned char bytes[SECRET_KEY_BYTES], const char *text)
{
	static const char hex[] = "0123456789abcdefABCDEF";
	size_t len = strlen(text), got;

	if (len == 2 * SECRET_KEY_BYTES && all_in(text, len, hex))
		return sodium_hex2bin(bytes, SECRET_KEY_BYTES, text, len, NULL, &got, NULL);
	while (len > 0 && text[len - 1] == '=')
		len--;
	if (sodium_base642bin(bytes, SECRET_KEY_BYTES, text, len, NULL, &got, NULL, VARIANT) == 0 &&
	    got == SECRET_KEY_BYTES)
		return 0;
	return sodium_base642bin(bytes, SECRET_KEY_BYTES, text, len, NULL, &got, NULL,
				 sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
			       got == SECRET_KEY_BYTES
		       ? 0
		       : -1;
}

int secret_key_parse(struct secret_key *key, const char *text, struct error *err)
{
	unsigned char bytes[SECRET_KEY_BYTES], id[16];

	if (decode(bytes, text) != 0)
		return error_set(err, ERR_INPUT,
				 "must be 32 random bytes, as 64 hexadecimal digits or base64 (a "
				 "passphrase is no key; make one with: openssl rand -hex 32)");
	crypto_kdf_derive_from_key(key->seal, sizeof(key->seal), USE_SEAL, CONTEXT, bytes);
	crypto_kdf_derive_from_key(key->hash, sizeof(key->hash), USE_HASH, CONTEXT, bytes);
	crypto_kdf_derive_from_key(id, sizeof(id), USE_ID, CONTEXT, bytes);
	sodium_bin2hex(key->id, sizeof(key->id), id, (SECRET_ID_SIZE - 1) / 2);
	sodium_memzero(bytes, sizeof(bytes));
	return 0;
}

void secret_seal(const struct secret_key *key, const void *bytes, size_t len, struct buf *out)
{
	unsigned char *box = mem_alloc(len + EXTRA);
	size_t size = sodium_base64_encoded_len(len + EXTRA, VARIANT);

	random_bytes(box, NONCE);
	crypto_secretbox_easy(box + NONCE, bytes, len, box, key->seal);
	sodium_bin2base64(buf_reserve(out, size), size, box, len + EXTRA, VARIANT);
	out->len += size - 1;
	mem_release(box);
}

int secret_open(const struct secret_key *key, const char *sealed, struct buf *out, struct error *err)
{
	size_t len = strlen(sealed), got = 0;
	unsigned char *box = mem_alloc(len + 1);
	int rc = -1;

	if (sodium_base642bin(box, len, sealed, len, NULL, &got, NULL, VARIANT) == 0 && got >= EXTRA)
		rc = crypto_secretbox_open_easy((unsigned char *)buf_reserve(out, got - EXTRA + 1),
						box + NONCE, got - NONCE, box, key->seal);
	mem_release(box);
	if (rc != 0)
		return error_set(err, ERR_INPUT, "the sealed text is damaged or was sealed with another key");
	out->len += got - EXTRA;
	out->data[out->len] = '\0';
	return 0;
}

char *secret_hash(const struct secret_key *key, const void *bytes, size_t len, char out[SECRET_HASH_SIZE])
{
	unsigned char hash[(SECRET_HASH_SIZE - 1) / 2];

	crypto_generichash(hash, sizeof(hash), bytes, len, key->hash, sizeof(key->hash));
	return sodium_bin2hex(out, SECRET_HASH_SIZE, hash, sizeof(hash));
}

void secret_wipe(struct buf *buf)
{
	if (buf->data != NULL)
		sodium_memzero(buf->data, buf->cap);
	buf_fini(buf);
}
