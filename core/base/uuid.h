/* SPDX-License-Identifier: Apache-2.0 */
/* Identifiers and random bytes from the kernel's generator. Any thread; safe after fork. */
#ifndef SLUICE_BASE_UUID_H
#define SLUICE_BASE_UUID_H

#include <stddef.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37

void random_bytes(void *out, size_t len);
uint64_t random_u64(void);
/* A random (version 4) UUID in lower-case text. Returns out. */
char *uuid_random(char out[UUID_TEXT_SIZE]);
/* A version 8 UUID from the hash of the bytes: the same bytes give the same identifier for ever. */
char *uuid_from(char out[UUID_TEXT_SIZE], const void *bytes, size_t len);
/* Two hexadecimal digits for each byte; out has room for 2 * len + 1. Returns out. */
char *hex_text(char *out, const void *bytes, size_t len);
/* SHA-256 as 64 hexadecimal digits. */
#define SHA256_TEXT_SIZE 65
char *sha256_hex(char out[SHA256_TEXT_SIZE], const void *bytes, size_t len);

#endif
