/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what this process knows about servers: one list for all handles, behind a mutex. Any thread. */
#include "warehouse/clickhouse_hosts.h"

#include <pthread.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "base/uuid.h"

/* A host that gave no answer is left alone for so long, doubling. */
#define SILENT_FIRST_MS 1000
#define SILENT_CAP_MS 60000

struct host {
	struct list node;
	char *origin;
	unsigned int users;
	bool silent;
	int64_t since_ms;	/* first answer since it was made, or after it was silent; 0: none yet */
	int64_t pause_until_ms;	/* silent: not before */
	struct backoff backoff;
};

struct host_list {
	struct host **hosts;
	size_t count, own;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* Those that some handle uses. */
static struct list known = { &known, &known };

static struct host *take(const char *origin)
{
	struct list *pos;
	struct host *host;

	list_each(pos, &known) {
		host = list_entry(pos, struct host, node);
		if (str_eq(host->origin, origin)) {
			host->users++;
			return host;
		}
	}
	host = mem_alloc(sizeof(*host));
	host->origin = mem_strdup(origin);
	host->users = 1;
	backoff_init(&host->backoff, SILENT_FIRST_MS, SILENT_CAP_MS);
	list_append(&known, &host->node);
	return host;
}

static void give_back(struct host *host)
{
	if (--host->users > 0)
		return;
	list_remove(&host->node);
	mem_free(&host->origin);
	mem_release(host);
}

struct host_list *hosts_new(const char *const *origins, size_t count)
{
	struct host_list *hosts = mem_alloc(sizeof(*hosts));

	hosts->hosts = mem_alloc(count * sizeof(struct host *));
	hosts->count = count;
	hosts->own = (size_t)(random_u64() % count);
	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < count; i++)
		hosts->hosts[i] = take(origins[i]);
	pthread_mutex_unlock(&mutex);
	return hosts;
}

void hosts_free(struct host_list **handle)
{
	struct host_list *hosts = *handle;

	if (!hosts)
		return;
	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < hosts->count; i++)
		give_back(hosts->hosts[i]);
	pthread_mutex_unlock(&mutex);
	mem_free(&hosts->hosts);
	mem_free(handle);
}

size_t hosts_count(const struct host_list *hosts)
{
	return hosts->count;
}

const char *hosts_origin(const struct host_list *hosts, size_t at)
{
	return hosts->hosts[at]->origin;
}

size_t hosts_choose(const struct host_list *hosts, const bool *tried)
{
	int64_t now = clock_mono_ms();
	size_t best = hosts->count;

	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < hosts->count; i++) {
		size_t at = (hosts->own + i) % hosts->count;
		const struct host *host = hosts->hosts[at];

		if (tried[at])
			continue;
		if (!host->silent || host->pause_until_ms <= now) {
			best = at;
			break;
		}
		if (best == hosts->count || host->pause_until_ms < hosts->hosts[best]->pause_until_ms)
			best = at;
	}
	pthread_mutex_unlock(&mutex);
	return best;
}

void hosts_leave(struct host_list *hosts)
{
	hosts->own = (hosts->own + 1) % hosts->count;
}

void hosts_mark(struct host_list *hosts, size_t at, bool answered)
{
	struct host *host = hosts->hosts[at];

	pthread_mutex_lock(&mutex);
	if (answered) {
		if (host->silent || host->since_ms == 0)
			host->since_ms = clock_mono_ms();
		backoff_reset(&host->backoff);
	} else {
		host->pause_until_ms = clock_mono_ms() + backoff_next(&host->backoff);
	}
	host->silent = !answered;
	pthread_mutex_unlock(&mutex);
}

bool hosts_silent(const struct host_list *hosts, size_t at)
{
	bool silent;

	pthread_mutex_lock(&mutex);
	silent = hosts->hosts[at]->silent;
	pthread_mutex_unlock(&mutex);
	return silent;
}

int64_t hosts_since_ms(const struct host_list *hosts)
{
	int64_t since = 0;

	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < hosts->count; i++) {
		const struct host *host = hosts->hosts[i];
		int64_t its = host->silent || host->since_ms == 0 ? INT64_MAX : host->since_ms;

		since = its > since ? its : since;
	}
	pthread_mutex_unlock(&mutex);
	return since;
}
