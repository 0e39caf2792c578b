/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors travel upward as values: a function that can fail returns -1 (or
 * NULL) and fills the caller's struct error, its last parameter. Callers add
 * context on the way up; only the function that handles an error logs it.
 * Any thread.
 */
#ifndef SLUICE_BASE_ERROR_H
#define SLUICE_BASE_ERROR_H

#include <stddef.h>

enum error_code {
	ERR_NONE = 0,
	ERR_INPUT,	/* what came from outside is wrong; repeating cannot help */
	ERR_IO,		/* a system call or a server failed; repeating may help */
	ERR_BUSY,	/* somebody else holds it; repeating will help */
	ERR_TIMEOUT,
	ERR_NOT_FOUND,
	ERR_LIMIT,	/* a configured bound was reached */
	ERR_UNCLEAR,	/* the outcome is unknown: read it back, do not repeat */
	ERR_CONTENT,	/* a store or warehouse refused the data itself */
	ERR_CANCELLED
};

struct error {
	enum error_code code;
	char text[1000];	/* always terminated; cut with "..." when longer */
};

/* Sets code and text. Returns -1, so that `return error_set(...)` reads well. err may be NULL. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* As error_set with ERR_IO, appending ": " and the text of errno. */
int error_errno(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "<context>: " before the text. Returns -1. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void error_clear(struct error *err);

#endif
