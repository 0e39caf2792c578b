/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the URL of RabbitMQ brokers apart. Pure; any thread. */
#include <string.h>

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "bus/amqp.h"

#define PORT 5672
#define TLS_PORT 5671
#define HEARTBEAT_S 10
#define HEARTBEAT_MAX_S 600

static int parse_user(const char *text, size_t len, struct arena *arena, struct amqp_url *url, struct error *err)
{
	const char *colon = memchr(text, ':', len);
	size_t user = colon != NULL ? (size_t)(colon - text) : len;

	url->user = str_url_decode(arena, text, user);
	if (colon != NULL)
		url->password = str_url_decode(arena, colon + 1, len - user - 1);
	if (url->user == NULL || url->password == NULL)
		return error_set(err, ERR_INPUT, "user or password is not percent-encoded as in a URL");
	return 0;
}

static int parse_host(const char *text, size_t len, struct arena *arena, struct amqp_url *url, struct error *err)
{
	struct amqp_host *host = &url->hosts[url->host_count++];
	const char *bracket = len > 0 && *text == '[' ? memchr(text, ']', len) : NULL;
	size_t name = bracket != NULL ? (size_t)(bracket + 1 - text) : strcspn(text, ":,/?#");
	int64_t port = url->tls ? TLS_PORT : PORT;

	if (name > len)
		name = len;
	host->name = bracket != NULL ? arena_strndup(arena, text + 1, name - 2) : arena_strndup(arena, text, name);
	if (name < len && (text[name] != ':' ||
			   num_parse_int(arena_strndup(arena, text + name + 1, len - name - 1), &port) < 0))
		port = 0;
	if (*host->name == '\0' || strpbrk(host->name, " @[]") != NULL || port < 1 || port > 65535)
		return error_set(err, ERR_INPUT, "what stands before the vhost is not [USER[:PASSWORD]@]HOST[:PORT]"
				 "[,HOST[:PORT]...], special characters percent-encoded");
	host->port = (int)port;
	return 0;
}

static int parse_hosts(const char *text, size_t len, struct arena *arena, struct amqp_url *url, struct error *err)
{
	const char *end = text + len;
	size_t count = 1;

	for (const char *at = text; at < end; at++)
		count += *at == ',';
	url->hosts = arena_alloc(arena, count * sizeof(*url->hosts));
	for (; count > 0; count--) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma != NULL ? comma : end;

		if (parse_host(text, (size_t)(stop - text), arena, url, err) < 0)
			return -1;
		text = stop + (comma != NULL);
	}
	return 0;
}

static int parse_option(const char *name, const char *value, struct amqp_url *url, struct error *err)
{
	int64_t seconds;

	if (str_eq(name, "queues")) {
		url->quorum = str_eq(value, "quorum");
		if (url->quorum || str_eq(value, "classic"))
			return 0;
		return error_set(err, ERR_INPUT, "queues=%s: known are classic and quorum", value);
	}
	if (str_eq(name, "heartbeat")) {
		if (num_parse_int(value, &seconds) < 0 || seconds < 1 || seconds > HEARTBEAT_MAX_S)
			return error_set(err, ERR_INPUT, "heartbeat=%s: 1 to %d seconds", value, HEARTBEAT_MAX_S);
		url->heartbeat_s = (int)seconds;
		return 0;
	}
	if (str_eq(name, "ca"))
		url->ca_file = value;
	else if (str_eq(name, "cert"))
		url->cert_file = value;
	else if (str_eq(name, "key"))
		url->key_file = value;
	else
		return error_set(err, ERR_INPUT, "unknown option \"%s\": known are queues, heartbeat, ca, cert and key",
				 name);
	return 0;
}

static int parse_options(const char *text, struct arena *arena, struct amqp_url *url, struct error *err)
{
	while (*text != '\0') {
		size_t len = strcspn(text, "&"), name = strcspn(text, "=&");
		const char *value = name < len ? str_url_decode(arena, text + name + 1, len - name - 1) : NULL;

		if (value == NULL)
			return error_set(err, ERR_INPUT, "an option is not NAME=VALUE");
		if (parse_option(arena_strndup(arena, text, name), value, url, err) < 0)
			return -1;
		text += len + (text[len] == '&');
	}
	if ((url->cert_file == NULL) != (url->key_file == NULL))
		return error_set(err, ERR_INPUT, "cert and key are given together or not at all");
	return 0;
}

int amqp_url_parse(const char *rest, bool tls, struct arena *arena, struct amqp_url *url_r, struct error *err)
{
	const char *end, *at, *path;
	size_t path_len;

	*url_r = (struct amqp_url){.tls = tls, .user = "guest", .password = "guest", .vhost = "/",
				   .heartbeat_s = HEARTBEAT_S};
	if (!str_starts(rest, "//"))
		return error_set(err, ERR_INPUT, "must look like amqp://USER:PASSWORD@HOST/VHOST");
	rest += 2;
	end = rest + strcspn(rest, "/?#");
	at = memrchr(rest, '@', (size_t)(end - rest));
	if (at != NULL && parse_user(rest, (size_t)(at - rest), arena, url_r, err) < 0)
		return -1;
	if (at != NULL)
		rest = at + 1;
	if (parse_hosts(rest, (size_t)(end - rest), arena, url_r, err) < 0)
		return -1;
	path = *end == '/' ? end + 1 : end;
	path_len = strcspn(path, "/?#");
	if (path_len > 0)
		url_r->vhost = str_url_decode(arena, path, path_len);
	if (url_r->vhost == NULL || (path[path_len] != '\0' && path[path_len] != '?'))
		return error_set(err, ERR_INPUT, "one vhost may follow the hosts, its \"/\" written as %%2f");
	return path[path_len] != '\0' ? parse_options(path + path_len + 1, arena, url_r, err) : 0;
}
