/* SPDX-License-Identifier: Apache-2.0 */
/* See scheme.h. */
#include "base/scheme.h"

#include <string.h>

#include "base/buf.h"

const void *scheme_find(const void *table, size_t count, size_t entry_size, const char *url, const char *family,
			struct error *err)
{
	size_t len = strcspn(url, ":");
	struct buf known;

	buf_init(&known);
	for (size_t i = 0; i < count; i++) {
		const char *entry = (const char *)table + i * entry_size;
		const char *scheme = *(const char *const *)(const void *)entry;

		if (url[len] == ':' && strlen(scheme) == len && memcmp(url, scheme, len) == 0) {
			buf_fini(&known);
			return entry;
		}
		buf_printf(&known, "%s%s:", i > 0 ? ", " : "", scheme);
	}
	error_set(err, ERR_INPUT, "no %s driver for this URL (there are: %s)", family, known.data);
	buf_fini(&known);
	return NULL;
}

const char *scheme_rest(const char *url)
{
	return strchr(url, ':') + 1;
}
