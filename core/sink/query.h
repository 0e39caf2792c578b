/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries of operators on the warehouse that this process holds. The loop's
 * thread takes them, a thread of its own asks, and a short-lived one per answer
 * writes it, so that neither a slow query nor a slow client holds up a sink.
 *
 * Request: {"sql":…, "format":…?, "write":true?}. Answer on the descriptor:
 * one line {"ok":true,"bytes":N} and N bytes, or the line {"error":…,"code":N};
 * then it is closed. Without "write" only one statement that reads is taken,
 * and its session is read-only. The format is JSONCompact unless one is named.
 */
#ifndef SLUICE_SINK_QUERY_H
#define SLUICE_SINK_QUERY_H

#include "base/error.h"

struct json;
struct loop;
struct query_service;

/* url, database: borrowed. The warehouse is opened by the first query. */
struct query_service *query_service_new(struct loop *loop, const char *url, const char *database);
/* Takes fd over. */
void query_serve(struct query_service *service, const struct json *request, int fd);
/* Waits for the query under way and for answers being written. NULL tolerated. */
void query_service_free(struct query_service **service);

/* Whether sql is one statement that only reads; err says why not. */
int query_check(const char *sql, struct error *err);

#endif
