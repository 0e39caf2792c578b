/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP/1.1 server on a free loopback port, in threads of its own, that
 * answers by path and misbehaves on request:
 *   /ok /status/NNN    "hello" with headers
 *   /echo              the request itself
 *   /count             "CONNECTION REQUEST", both counted from 1
 *   /slow              a response that never comes
 *   /drip              headers, then a body that never comes
 *   /cut /cut-chunk    less than was promised, then the end
 *   /bytes/NNN         that many bytes
 *   /endless           chunks for ever
 *   /headers           more header lines than anyone needs
 *   /gzip /bomb        "hello", and 64 MiB of zeros, encoded
 *   /redirect?TARGET   302 to TARGET
 *   /loop              302 to itself
 *   /garbage           no HTTP
 */
#ifndef TESTS_HTTP_SERVER_H
#define TESTS_HTTP_SERVER_H

#include <stddef.h>

struct http_server;

struct http_server *http_server_start(void);
void http_server_stop(struct http_server **server);
unsigned int http_server_port(const struct http_server *server);
/* Connections accepted since the start; the most that were open at once. */
size_t http_server_connections(struct http_server *server);
size_t http_server_most(struct http_server *server);
/* Waits until no connection is open; -1 when some still are after ten seconds. */
int http_server_wait_idle(struct http_server *server);

#endif
