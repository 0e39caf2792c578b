/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a family's drivers takes a URL: by what stands before its first colon. Pure; any thread. */
#ifndef SLUICE_BASE_SCHEME_H
#define SLUICE_BASE_SCHEME_H

#include <stddef.h>

#include "base/error.h"

/*
 * The entry of a table whose scheme the URL has; each entry begins with its
 * scheme, a const char *. NULL: none; then err (NULL tolerated) names all of
 * them, as drivers of family.
 */
const void *scheme_find(const void *table, size_t count, size_t entry_size, const char *url, const char *family,
			struct error *err);
/* What follows the scheme's colon; the URL has one. */
const char *scheme_rest(const char *url);

#endif
