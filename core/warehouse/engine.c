/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and makes the names of engines; no state. */
#include "warehouse/engine.h"

#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

#define PLAIN "MergeTree"
#define REPLICATED "Replicated"
#define REPLACING "Replacing"

bool engine_merges(const char *engine)
{
	return strstr(engine, PLAIN) != NULL;
}

bool engine_replaces(const char *engine)
{
	return strstr(engine, REPLACING PLAIN) != NULL;
}

bool engine_replicates(const char *engine)
{
	return str_starts(engine, REPLICATED) || str_starts(engine, "Shared");
}

int engine_add_replacing(struct buf *out, const char *engine, struct error *err)
{
	const char *rest = str_starts(engine, REPLICATED) ? engine + strlen(REPLICATED) : engine;

	if (engine_replaces(engine)) {
		buf_adds(out, engine);
		return 0;
	}
	if (!str_starts(rest, PLAIN))
		return error_set(err, ERR_INPUT, "the engine %s has no variant that replaces: declare another, or set "
				 "warehouse.engine to plain", engine);
	buf_printf(out, "%s" REPLACING "%s", rest == engine ? "" : REPLICATED, rest);
	return 0;
}

/* Behind the comma that ends the expression at, or at its end. Quotes and brackets keep theirs. */
static const char *skip_expression(const char *at)
{
	int depth = 0;

	for (; *at && (depth > 0 || *at != ','); at++) {
		if (*at == '\'' || *at == '`' || *at == '"') {
			char quote = *at++;

			while (*at && *at != quote)
				at += *at == '\\' && at[1] ? 2 : 1;
			if (!*at)
				break;
		}
		depth += (*at == '(') - (*at == ')');
	}
	return at;
}

bool engine_orders_by(const char *order_by, const char *column)
{
	size_t len = strlen(column);

	while (*order_by) {
		const char *at = order_by + strspn(order_by, " "), *end = skip_expression(at), *last = end;

		while (last > at && last[-1] == ' ')
			last--;
		if (last - at >= 2 && *at == '`' && last[-1] == '`') {
			at++;
			last--;
		}
		if ((size_t)(last - at) == len && memcmp(at, column, len) == 0)
			return true;
		order_by = end + (*end == ',');
	}
	return false;
}
