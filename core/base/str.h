/* SPDX-License-Identifier: Apache-2.0 */
/* Text helpers without state. Any thread. */
#ifndef SLUICE_BASE_STR_H
#define SLUICE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct buf;

bool str_eq(const char *a, const char *b);	/* NULL equals only NULL */
bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);
/* The candidate nearest to word within edit distance 2 (a third of its length), else NULL. */
const char *str_nearest(const char *word, const char *const *candidates, size_t count);
/* [a-z][a-z0-9_-]*, 1 to 64 characters: names of plugins, flows, sinks. */
bool str_is_name(const char *text);
/*
 * What bytes (len > 0) starts with: n > 0, a well-formed UTF-8 sequence of n
 * bytes; -n, n bytes that one U+FFFD replaces.
 */
int str_utf8_step(const char *bytes, size_t len);
bool str_is_utf8(const char *bytes, size_t len);
/* Appends text percent-encoded for a URL query or path segment (RFC 3986 unreserved kept). */
void str_url_encode(struct buf *out, const char *text, size_t len);
/* The opposite, in the arena. NULL when an escape is malformed or stands for a control character. */
char *str_url_decode(struct arena *arena, const char *text, size_t len);
/* snprintf that always terminates; returns true when everything fitted. */
bool str_format(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
