/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the URL of ClickHouse servers apart. Pure; any thread. */
#include "warehouse/clickhouse_url.h"

#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "http/url.h"

#define PORT "8123"
#define TLS_PORT "8443"

static int parse_user(const char *text, size_t len, struct arena *arena, struct clickhouse_url *url,
		      struct error *err)
{
	const char *colon = memchr(text, ':', len);
	size_t user = colon ? (size_t)(colon - text) : len;

	url->user = str_url_decode(arena, text, user);
	if (colon)
		url->password = str_url_decode(arena, colon + 1, len - user - 1);
	if (!url->user || (colon && !url->password))
		return error_set(err, ERR_INPUT, "user or password is not percent-encoded as in a URL");
	return 0;
}

static int add_host(const char *text, size_t len, bool tls, struct arena *arena, struct clickhouse_url *url,
		    struct error *err)
{
	const char *bracket = len && *text == '[' ? memchr(text, ']', len) : NULL;
	size_t host = bracket ? (size_t)(bracket + 1 - text) : 0;
	bool port = memchr(text + host, ':', len - host) != NULL;
	const char *origin = arena_printf(arena, "%s://%.*s%s%s", tls ? "https" : "http", (int)len, text,
					  port ? "" : ":", port ? "" : tls ? TLS_PORT : PORT);
	struct http_url parts;

	if (http_url_parse(origin, &parts) < 0 || *parts.path)
		return error_set(err, ERR_INPUT, "what stands before the database is not [USER[:PASSWORD]@]"
				 "HOST[:PORT][,HOST[:PORT]...], special characters percent-encoded");
	url->origins[url->origin_count++] = origin;
	return 0;
}

static int parse_hosts(const char *text, size_t len, bool tls, struct arena *arena, struct clickhouse_url *url,
		       struct error *err)
{
	const char *end = text + len;
	size_t count = 1;

	for (const char *at = text; at < end; at++)
		count += *at == ',';
	url->origins = arena_alloc(arena, count * sizeof(*url->origins));
	for (; count > 0; count--) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma ? comma : end;

		if (add_host(text, (size_t)(stop - text), tls, arena, url, err) < 0)
			return -1;
		text = stop + (comma != NULL);
	}
	return 0;
}

static int parse_option(const char *name, size_t name_len, const char *value, struct clickhouse_url *url,
			struct error *err)
{
	if (name_len == strlen("compression") && memcmp(name, "compression", name_len) == 0)
		return compress_find(value, &url->compression, err);
	if (name_len == strlen("ca") && memcmp(name, "ca", name_len) == 0) {
		url->ca_file = value;
		return 0;
	}
	return error_set(err, ERR_INPUT, "unknown option \"%.*s\": known are compression and ca", (int)name_len,
			 name);
}

static int parse_options(const char *text, struct arena *arena, struct clickhouse_url *url, struct error *err)
{
	while (*text) {
		size_t len = strcspn(text, "&"), name = strcspn(text, "=&");
		const char *value = name < len ? str_url_decode(arena, text + name + 1, len - name - 1) : NULL;

		if (!value)
			return error_set(err, ERR_INPUT, "an option is not NAME=VALUE");
		if (parse_option(text, name, value, url, err) < 0)
			return -1;
		text += len + (text[len] == '&');
	}
	return 0;
}

int clickhouse_url_parse(const char *rest, bool tls, struct arena *arena, struct clickhouse_url *url_r,
			 struct error *err)
{
	const char *end, *at, *path;
	size_t path_len;

	memset(url_r, 0, sizeof(*url_r));
	url_r->compression = compress_default();
	if (!str_starts(rest, "//"))
		return error_set(err, ERR_INPUT, "must look like clickhouse://HOST:PORT/DATABASE");
	rest += 2;
	end = rest + strcspn(rest, "/?#");
	at = memrchr(rest, '@', (size_t)(end - rest));
	if (at && parse_user(rest, (size_t)(at - rest), arena, url_r, err) < 0)
		return -1;
	if (at)
		rest = at + 1;
	if (parse_hosts(rest, (size_t)(end - rest), tls, arena, url_r, err) < 0)
		return -1;
	path = *end == '/' ? end + 1 : end;
	path_len = strcspn(path, "/?#");
	if (path_len > 0)
		url_r->database = str_url_decode(arena, path, path_len);
	if ((path_len > 0 && !url_r->database) || (path[path_len] && path[path_len] != '?'))
		return error_set(err, ERR_INPUT, "one database may follow the hosts");
	return path[path_len] ? parse_options(path + path_len + 1, arena, url_r, err) : 0;
}
