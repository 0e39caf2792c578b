/* SPDX-License-Identifier: Apache-2.0 */
/* See server_url.h. */
#include "base/server_url.h"

#include <string.h>

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"

#define PORT_MAX 65535

static int wrong_shape(const char *shape, struct error *err)
{
	return error_set(err, ERR_INPUT, "must look like %s, special characters percent-encoded", shape);
}

static size_t count_char(const char *text, const char *end, char c)
{
	size_t count = 0;

	for (; text < end; text++)
		count += *text == c;
	return count;
}

static int parse_user(const char *text, size_t len, struct arena *arena, struct server_url *url)
{
	const char *colon = memchr(text, ':', len);
	size_t user = colon != NULL ? (size_t)(colon - text) : len;

	url->user = str_url_decode(arena, text, user);
	if (colon != NULL)
		url->password = str_url_decode(arena, colon + 1, len - user - 1);
	return url->user != NULL && (colon == NULL || url->password != NULL) ? 0 : -1;
}

static int parse_host(const char *text, size_t len, int64_t port, struct arena *arena, struct server_host *host)
{
	const char *bracket = len > 0 && *text == '[' ? memchr(text, ']', len) : NULL;
	const char *colon = memchr(text, ':', len);
	size_t name = bracket != NULL ? (size_t)(bracket + 1 - text) : colon != NULL ? (size_t)(colon - text) : len;

	host->name = bracket != NULL ? arena_strndup(arena, text + 1, name - 2) : arena_strndup(arena, text, name);
	if (*host->name == '\0' || strpbrk(host->name, " @[]") != NULL)
		return -1;
	if (name < len && (text[name] != ':' ||
			   num_parse_int(arena_strndup(arena, text + name + 1, len - name - 1), &port) < 0))
		return -1;
	if (port < 1 || port > PORT_MAX)
		return -1;
	host->port = (int)port;
	host->shown = arena_printf(arena, bracket != NULL ? "[%s]:%d" : "%s:%d", host->name, host->port);
	return 0;
}

static int parse_hosts(const char *text, const char *end, int default_port, struct arena *arena,
		       struct server_url *url)
{
	size_t count = count_char(text, end, ',') + 1;

	url->hosts = arena_alloc(arena, count * sizeof(*url->hosts));
	for (; count > 0; count--) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma != NULL ? comma : end;

		if (parse_host(text, (size_t)(stop - text), default_port, arena, &url->hosts[url->host_count++]) < 0)
			return -1;
		text = stop + (comma != NULL);
	}
	return 0;
}

static int parse_options(const char *text, struct arena *arena, struct server_url *url, struct error *err)
{
	url->options = arena_alloc(arena, (count_char(text, text + strlen(text), '&') + 1) * sizeof(*url->options));
	while (*text != '\0') {
		size_t len = strcspn(text, "&"), name = strcspn(text, "=&");
		struct server_option *option = &url->options[url->option_count++];

		option->name = arena_strndup(arena, text, name);
		option->value = name < len ? str_url_decode(arena, text + name + 1, len - name - 1) : NULL;
		if (option->value == NULL)
			return error_set(err, ERR_INPUT, "an option is not NAME=VALUE, percent-encoded");
		text += len + (text[len] == '&');
	}
	return 0;
}

/* Leaves *rest at what follows "//[USER[:PASSWORD]@]". */
static int parse_begin(const char **rest, struct arena *arena, struct server_url *url)
{
	const char *text = *rest + 2, *at;

	*url = (struct server_url){0};
	if (!str_starts(*rest, "//"))
		return -1;
	at = memrchr(text, '@', strcspn(text, "/?#"));
	if (at != NULL && parse_user(text, (size_t)(at - text), arena, url) < 0)
		return -1;
	*rest = at != NULL ? at + 1 : text;
	return 0;
}

int server_url_parse(const char *rest, const char *shape, int default_port, struct arena *arena,
		     struct server_url *url_r, struct error *err)
{
	const char *end;
	size_t len;

	if (parse_begin(&rest, arena, url_r) < 0)
		return wrong_shape(shape, err);
	end = rest + strcspn(rest, "/?#");
	if (parse_hosts(rest, end, default_port, arena, url_r) < 0)
		return wrong_shape(shape, err);
	end += *end == '/';
	len = strcspn(end, "/?#");
	if (len > 0) {
		url_r->path = str_url_decode(arena, end, len);
		if (url_r->path == NULL)
			return wrong_shape(shape, err);
	}
	end += len;
	if (*end == '\0')
		return 0;
	return *end == '?' ? parse_options(end + 1, arena, url_r, err) : wrong_shape(shape, err);
}

int server_url_parse_socket(const char *rest, const char *shape, struct arena *arena, struct server_url *url_r,
			    struct error *err)
{
	size_t len;

	if (parse_begin(&rest, arena, url_r) < 0)
		return wrong_shape(shape, err);
	len = strcspn(rest, "?");
	url_r->path = *rest == '/' && len > 1 ? str_url_decode(arena, rest, len) : NULL;
	if (url_r->path == NULL)
		return wrong_shape(shape, err);
	return rest[len] == '\0' ? 0 : parse_options(rest + len + 1, arena, url_r, err);
}
