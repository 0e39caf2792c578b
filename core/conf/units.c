/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of flows.yaml beyond plain numbers. No state. */
#include "conf/units.h"

#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/str.h"

struct unit {
	const char *name;
	int64_t factor;
};

static void format_with_unit(char out[UNITS_TEXT_SIZE], int64_t value, const struct unit *units)
{
	while (units->factor > 1 && value % units->factor != 0)
		units++;
	str_format(out, UNITS_TEXT_SIZE, "%" PRId64 "%s", value / units->factor, units->name);
}

void units_duration(char out[UNITS_TEXT_SIZE], int64_t ms)
{
	static const struct unit units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

	format_with_unit(out, ms, ms == 0 ? units + 3 : units);
}

void units_size(char out[UNITS_TEXT_SIZE], int64_t bytes)
{
	static const struct unit units[] = {{"TiB", (int64_t)1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}};

	format_with_unit(out, bytes, bytes == 0 ? units + 4 : units);
}

/* Length of a host name, an address in brackets, or with {handle} as a part of it; 0 when there is none. */
static size_t host_length(const char *text, bool handle)
{
	const char *p = text;

	if (*p == '[') {
		size_t inside = strspn(p + 1, "0123456789abcdefABCDEF:.");

		return inside > 1 && p[1 + inside] == ']' ? inside + 2 : 0;
	}
	for (;;) {
		if (handle && str_starts(p, "{handle}"))
			p += 8;
		else if (isalnum((unsigned char)*p) || (p > text && (*p == '-' || *p == '.')))
			p++;
		else
			return (size_t)(p - text);
	}
}

/* text is ":PORT" up to its end or to stop. Returns what follows, NULL when it is no port. */
static const char *skip_port(const char *text, int least)
{
	int port = 0;
	size_t digits = strspn(text + 1, "0123456789");

	if (digits == 0 || digits > 5)
		return NULL;
	for (size_t i = 1; i <= digits; i++)
		port = port * 10 + (text[i] - '0');
	return port >= least && port <= 65535 ? text + 1 + digits : NULL;
}

bool units_is_address(const char *text)
{
	size_t host = host_length(text, false);
	const char *end = host > 0 && text[host] == ':' ? skip_port(text + host, 0) : NULL;

	return end != NULL && *end == '\0';
}

bool units_is_http_url(const char *text)
{
	size_t scheme = str_starts(text, "https://") ? 8 : str_starts(text, "http://") ? 7 : 0;
	size_t host = scheme > 0 ? host_length(text + scheme, true) : 0;
	const char *p = text + scheme + host;

	if (host == 0)
		return false;
	if (*p == ':' && (p = skip_port(p, 1)) == NULL)
		return false;
	if (*p != '\0' && *p != '/')
		return false;
	while (*p != '\0') {
		if (str_starts(p, "{handle}")) {
			p += 8;
			continue;
		}
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr("?#\"<>\\^`{|}", *p) != NULL)
			return false;
		p++;
	}
	return true;
}
