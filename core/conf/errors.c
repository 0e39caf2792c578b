/* SPDX-License-Identifier: Apache-2.0 */
/* Collects configuration errors and prints them in file order. Owns nothing beyond the list; any process. */
#include "conf/errors.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"

void conf_errors_init(struct conf_errors *errors, const char *path)
{
	errors->arena = arena_new();
	errors->path = arena_strdup(errors->arena, path);
	errors->list = mem_alloc(CONF_ERRORS_KEPT * sizeof(*errors->list));
	errors->count = 0;
}

void conf_errors_fini(struct conf_errors *errors)
{
	mem_free(&errors->list);
	arena_free(&errors->arena);
	errors->path = NULL;
	errors->count = 0;
}

void conf_errors_add(struct conf_errors *errors, unsigned int line, unsigned int column, const char *fmt, ...)
{
	if (errors->count < CONF_ERRORS_KEPT) {
		struct conf_error *error = &errors->list[errors->count];
		va_list ap;

		error->line = line;
		error->column = column;
		error->order = errors->count;
		va_start(ap, fmt);
		error->text = arena_vprintf(errors->arena, fmt, ap);
		va_end(ap);
	}
	errors->count++;
}

static int error_compare(const void *left, const void *right)
{
	const struct conf_error *a = left, *b = right;

	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	if (a->column != b->column)
		return a->column < b->column ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

void conf_errors_print(struct conf_errors *errors, struct buf *out)
{
	size_t kept = errors->count < CONF_ERRORS_KEPT ? errors->count : CONF_ERRORS_KEPT;
	size_t shown = kept < CONF_ERRORS_SHOWN ? kept : CONF_ERRORS_SHOWN;

	qsort(errors->list, kept, sizeof(*errors->list), error_compare);
	for (size_t i = 0; i < shown; i++) {
		const struct conf_error *error = &errors->list[i];

		if (error->line > 0)
			buf_printf(out, "%s:%u:%u: %s\n", errors->path, error->line, error->column, error->text);
		else
			buf_printf(out, "%s: %s\n", errors->path, error->text);
	}
	if (errors->count > shown)
		buf_printf(out, "%s: ... and %zu more error%s\n", errors->path, errors->count - shown,
			   errors->count - shown == 1 ? "" : "s");
}
