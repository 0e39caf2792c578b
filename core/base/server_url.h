/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URL of a server, or of several that stand for one, taken apart. Pure; any thread.
 *
 *	//[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/PATH][?NAME=VALUE[&…]]
 *
 * An IPv6 address stands in brackets. User, password, path and values are percent-encoded.
 */
#ifndef SLUICE_BASE_SERVER_URL_H
#define SLUICE_BASE_SERVER_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct arena;

struct server_host {
	const char *name;		/* without brackets */
	int port;
	const char *shown;		/* "name:port", with brackets where they belong */
};

struct server_option {
	const char *name, *value;	/* the value decoded */
};

/* Decoded; everything lives in the arena. */
struct server_url {
	const char *user, *password;	/* NULL: not given; "" where nothing stands before or after the colon */
	struct server_host *hosts;	/* one or more; none with a socket's path */
	size_t host_count;
	const char *path;		/* what follows the "/" after the hosts, which holds none; NULL: none */
	struct server_option *options;
	size_t option_count;
};

/*
 * rest is what follows the scheme's colon. shape stands in messages as what the
 * URL must look like. ERR_INPUT says what is wrong and quotes no user, password or value.
 */
int server_url_parse(const char *rest, const char *shape, int default_port, struct arena *arena,
		     struct server_url *url_r, struct error *err);
/* The same for a socket: //[USER[:PASSWORD]@]/PATH[?NAME=VALUE[&…]]. path begins with "/" and may hold more. */
int server_url_parse_socket(const char *rest, const char *shape, struct arena *arena, struct server_url *url_r,
			    struct error *err);

#endif
