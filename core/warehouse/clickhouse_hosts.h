/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of several servers is asked. A handle has a host of its own to begin
 * with; whether a host answers is known to the whole process, so that one
 * handle finds out and the others are spared. A list belongs to one thread.
 */
#ifndef SLUICE_WAREHOUSE_CLICKHOUSE_HOSTS_H
#define SLUICE_WAREHOUSE_CLICKHOUSE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host_list;

/* Begins with a host at random. The origins are copied. */
struct host_list *hosts_new(const char *const *origins, size_t count);
/* NULL tolerated; sets *hosts to NULL. */
void hosts_free(struct host_list **hosts);
size_t hosts_count(const struct host_list *hosts);
const char *hosts_origin(const struct host_list *hosts, size_t at);

/*
 * The next to be asked of those not in tried: this handle's own when it is
 * well, else one that is; a silent one only when its pause is over or none is
 * well. hosts_count() when all were tried.
 */
size_t hosts_choose(const struct host_list *hosts, const bool *tried);
/* This handle's own host answers, but not as it should: the next becomes its own. */
void hosts_leave(struct host_list *hosts);

/* How a request to it ended. */
void hosts_mark(struct host_list *hosts, size_t at, bool answered);
/* It gave no answer when last asked. */
bool hosts_silent(const struct host_list *hosts, size_t at);
/* Monotonic time since which all answer, each whenever it was asked; INT64_MAX: one does not, or was never asked. */
int64_t hosts_since_ms(const struct host_list *hosts);

#endif
