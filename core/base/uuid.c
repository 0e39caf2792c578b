/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes, identifiers and hashes: with backoff, map and secret, where libsodium is used. */
#include "base/uuid.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

_Static_assert(SHA256_TEXT_SIZE == 2 * crypto_hash_sha256_BYTES + 1, "two digits per byte and a NUL");

static void start(void)
{
	if (sodium_init() < 0)
		abort();	/* no source of random bytes: nothing here could be trusted */
}

void random_bytes(void *out, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
	randombytes_buf(out, len);
}

uint64_t random_u64(void)
{
	uint64_t value;

	random_bytes(&value, sizeof(value));
	return value;
}

static char *uuid_text(char out[UUID_TEXT_SIZE], unsigned char bytes[16], unsigned int version)
{
	static const char digits[] = "0123456789abcdef";
	char *to = out;

	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | version << 4);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
	return out;
}

char *uuid_random(char out[UUID_TEXT_SIZE])
{
	unsigned char bytes[16];

	random_bytes(bytes, sizeof(bytes));
	return uuid_text(out, bytes, 4);
}

char *uuid_from(char out[UUID_TEXT_SIZE], const void *bytes, size_t len)
{
	unsigned char hash[16];

	crypto_generichash(hash, sizeof(hash), bytes, len, NULL, 0);
	return uuid_text(out, hash, 8);
}

char *hex_text(char *out, const void *bytes, size_t len)
{
	return sodium_bin2hex(out, 2 * len + 1, bytes, len);
}

char *sha256_hex(char out[SHA256_TEXT_SIZE], const void *bytes, size_t len)
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, bytes, len);
	return hex_text(out, hash, sizeof(hash));
}
