/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the URL of a Redis server apart. Pure; any thread. */
#include "base/arena.h"
#include "base/num.h"
#include "base/server_url.h"
#include "base/str.h"
#include "limit/redis.h"

#define SHAPE "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]"
#define SOCKET_SHAPE "redis+unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]"
#define PORT 6379
#define DATABASE_MAX 65535

static int take_database(const char *text, struct redis_target *target, struct error *err)
{
	if (num_parse_int(text, &target->database) < 0 || target->database < 0 ||
	    target->database > DATABASE_MAX || *text == '+' || *text == '-')
		return error_set(err, ERR_INPUT, "\"%.32s\" is not the number of a database", text);
	return 0;
}

static int take_user(const struct server_url *url, struct redis_target *target, struct error *err)
{
	if (url->user != NULL && url->password == NULL)
		return error_set(err, ERR_INPUT, "what stands before the @ is not [USER]:PASSWORD");
	target->user = url->user != NULL && *url->user != '\0' ? url->user : NULL;
	target->password = url->password;
	return 0;
}

static int take_socket(const struct server_url *url, struct redis_target *target, struct error *err)
{
	target->path = url->path;
	target->shown = url->path;
	if (url->option_count == 0)
		return 0;
	if (url->option_count > 1 || !str_eq(url->options[0].name, "db"))
		return error_set(err, ERR_INPUT, "only ?db=DATABASE may follow the path");
	return take_database(url->options[0].value, target, err);
}

static int take_host(const struct server_url *url, struct redis_target *target, struct error *err)
{
	if (url->host_count > 1 || url->option_count > 0)
		return error_set(err, ERR_INPUT, "it is one server, and only /DATABASE may follow it");
	target->host = url->hosts[0].name;
	target->port = url->hosts[0].port;
	target->shown = url->hosts[0].shown;
	return url->path != NULL ? take_database(url->path, target, err) : 0;
}

int redis_url_parse(const char *rest, bool is_unix, struct arena *arena, struct redis_target *target_r,
		    struct error *err)
{
	struct server_url url;
	int status = is_unix ? server_url_parse_socket(rest, SOCKET_SHAPE, arena, &url, err)
			     : server_url_parse(rest, SHAPE, PORT, arena, &url, err);

	*target_r = (struct redis_target){0};
	if (status < 0 || take_user(&url, target_r, err) < 0)
		return -1;
	return is_unix ? take_socket(&url, target_r, err) : take_host(&url, target_r, err);
}
