/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the URL of ClickHouse servers apart. Pure; any thread. */
#include "warehouse/clickhouse_url.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/server_url.h"
#include "base/str.h"
#include "http/url.h"

#define SHAPE "clickhouse://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]...][/DATABASE][?OPTION=VALUE]"
#define PORT 8123
#define TLS_PORT 8443

static int take_hosts(const struct server_url *url, bool tls, struct arena *arena, struct clickhouse_url *url_r,
		      struct error *err)
{
	struct http_url parts;

	url_r->origins = arena_alloc(arena, url->host_count * sizeof(*url_r->origins));
	for (size_t i = 0; i < url->host_count; i++) {
		const char *origin = arena_printf(arena, "%s://%s", tls ? "https" : "http", url->hosts[i].shown);

		if (http_url_parse(origin, &parts) < 0 || *parts.path != '\0')
			return error_set(err, ERR_INPUT, "\"%s\" is not the name of a host", url->hosts[i].name);
		url_r->origins[url_r->origin_count++] = origin;
	}
	return 0;
}

static int take_option(const char *name, const char *value, struct clickhouse_url *url, struct error *err)
{
	if (str_eq(name, "compression"))
		return compress_find(value, &url->compression, err);
	if (!str_eq(name, "ca"))
		return error_set(err, ERR_INPUT, "unknown option \"%s\": known are compression and ca", name);
	url->ca_file = value;
	return 0;
}

int clickhouse_url_parse(const char *rest, bool tls, struct arena *arena, struct clickhouse_url *url_r,
			 struct error *err)
{
	struct server_url url;

	*url_r = (struct clickhouse_url){.compression = compress_default()};
	if (server_url_parse(rest, SHAPE, tls ? TLS_PORT : PORT, arena, &url, err) < 0 ||
	    take_hosts(&url, tls, arena, url_r, err) < 0)
		return -1;
	url_r->user = url.user;
	url_r->password = url.password;
	url_r->database = url.path;
	for (size_t i = 0; i < url.option_count; i++)
		if (take_option(url.options[i].name, url.options[i].value, url_r, err) < 0)
			return -1;
	return 0;
}
