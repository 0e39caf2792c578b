/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the URL of a Redis server apart. Pure; any thread. */
#include <string.h>

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "limit/redis.h"

#define PORT 6379
#define DATABASE_MAX 65535

static int parse_user(const char *text, size_t len, struct arena *arena, struct redis_target *target,
		      struct error *err)
{
	const char *colon = memchr(text, ':', len);
	size_t user = colon != NULL ? (size_t)(colon - text) : len;

	if (colon == NULL)
		return error_set(err, ERR_INPUT, "what stands before the @ is not [USER]:PASSWORD");
	target->user = user > 0 ? str_url_decode(arena, text, user) : NULL;
	target->password = str_url_decode(arena, colon + 1, len - user - 1);
	if ((user > 0 && target->user == NULL) || target->password == NULL)
		return error_set(err, ERR_INPUT, "user or password is not percent-encoded as in a URL");
	return 0;
}

static int parse_host(const char *text, size_t len, struct arena *arena, struct redis_target *target,
		      struct error *err)
{
	const char *bracket = len > 0 && *text == '[' ? memchr(text, ']', len) : NULL;
	size_t name = bracket != NULL ? (size_t)(bracket + 1 - text) : strcspn(text, ":/?#");
	int64_t port = PORT;

	if (name > len)
		name = len;
	target->host =
		bracket != NULL ? arena_strndup(arena, text + 1, name - 2) : arena_strndup(arena, text, name);
	if (name < len && (text[name] != ':' ||
			   num_parse_int(arena_strndup(arena, text + name + 1, len - name - 1), &port) < 0))
		port = 0;
	if (*target->host == '\0' || strpbrk(target->host, " @[]") != NULL || port < 1 || port > 65535)
		return error_set(err, ERR_INPUT,
				 "must look like redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], special "
				 "characters percent-encoded");
	target->port = (int)port;
	target->shown =
		arena_printf(arena, bracket != NULL ? "[%s]:%d" : "%s:%d", target->host, target->port);
	return 0;
}

static int parse_database(const char *text, struct redis_target *target, struct error *err)
{
	if (*text == '\0')
		return 0;
	if (num_parse_int(text, &target->database) < 0 || target->database < 0 ||
	    target->database > DATABASE_MAX || *text == '+' || *text == '-')
		return error_set(err, ERR_INPUT, "\"%.32s\" is not the number of a database", text);
	return 0;
}

static int parse_path(const char *text, struct arena *arena, struct redis_target *target, struct error *err)
{
	size_t len = strcspn(text, "?");

	target->path = *text == '/' && len > 1 ? str_url_decode(arena, text, len) : NULL;
	if (target->path == NULL)
		return error_set(err, ERR_INPUT,
				 "must look like redis+unix://[USER:PASSWORD@]/PATH[?db=DATABASE]");
	target->shown = target->path;
	if (text[len] == '\0')
		return 0;
	if (!str_starts(text + len, "?db="))
		return error_set(err, ERR_INPUT, "only ?db=DATABASE may follow the path");
	return parse_database(text + len + 4, target, err);
}

int redis_url_parse(const char *rest, bool is_unix, struct arena *arena, struct redis_target *target_r,
		    struct error *err)
{
	const char *end, *at;

	*target_r = (struct redis_target){0};
	if (!str_starts(rest, "//"))
		return error_set(err, ERR_INPUT, is_unix ? "must look like redis+unix:///PATH" :
				 "must look like redis://HOST");
	rest += 2;
	end = rest + strcspn(rest, "/?#");
	at = memrchr(rest, '@', (size_t)(end - rest));
	if (at != NULL && parse_user(rest, (size_t)(at - rest), arena, target_r, err) < 0)
		return -1;
	if (at != NULL)
		rest = at + 1;
	if (is_unix)
		return parse_path(rest, arena, target_r, err);
	if (parse_host(rest, (size_t)(end - rest), arena, target_r, err) < 0)
		return -1;
	if (*end != '\0' && *end != '/')
		return error_set(err, ERR_INPUT, "only /DATABASE may follow the host");
	return parse_database(*end == '/' ? end + 1 : end, target_r, err);
}
