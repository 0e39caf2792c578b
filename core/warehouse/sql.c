/* SPDX-License-Identifier: Apache-2.0 */
/* Owns quoting and escaping; no state. */
#include "warehouse/sql.h"

#include <string.h>

#include "base/buf.h"

static void escape(struct buf *out, char quote, const char *bytes, size_t len)
{
	buf_addc(out, quote);
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\0') {
			buf_add(out, "\\0", 2);
			continue;
		}
		if (bytes[i] == quote || bytes[i] == '\\')
			buf_addc(out, '\\');
		buf_addc(out, bytes[i]);
	}
	buf_addc(out, quote);
}

void sql_name(struct buf *out, const char *name)
{
	escape(out, '`', name, strlen(name));
}

void sql_table(struct buf *out, const char *database, const char *table)
{
	sql_name(out, database);
	buf_addc(out, '.');
	sql_name(out, table);
}

void sql_text(struct buf *out, const char *bytes, size_t len)
{
	escape(out, '\'', bytes, len);
}

void sql_tsv_text(struct buf *out, const char *bytes, size_t len)
{
	static const char plain[] = "\t\n\r\\", escaped[] = "tnr\\";

	for (size_t i = 0; i < len; i++) {
		const char *special = bytes[i] ? strchr(plain, bytes[i]) : NULL;

		if (special) {
			buf_addc(out, '\\');
			buf_addc(out, escaped[special - plain]);
		} else {
			buf_addc(out, bytes[i]);
		}
	}
}

static char unescape(char c)
{
	static const char from[] = "0bfnrt", to[] = "\0\b\f\n\r\t";
	const char *found = c ? strchr(from, c) : NULL;

	return found ? to[found - from] : c;
}

char sql_tsv_field(const char **at, const char *end, struct buf *field)
{
	const char *p = *at;
	char stop;

	buf_clear(field);
	if (p == end)
		return 0;
	while (p < end && *p != '\t' && *p != '\n') {
		if (*p == '\\' && p + 1 < end && p[1] != 'N')
			buf_addc(field, unescape(*++p));
		else
			buf_addc(field, *p);
		p++;
	}
	stop = p < end ? *p++ : '\n';
	*at = p;
	return stop;
}
