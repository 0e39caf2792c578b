/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"
#include "http/recorded.h"

static char *folder;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *ordinals;	/* under lock: path -> int * */

int replay_open(const char *dir, struct error *err)
{
	struct stat st;

	if (stat(dir, &st) < 0)
		return error_errno(err, "cannot read %s", dir);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ERR_INPUT, "%s is not a folder", dir);
	folder = mem_strdup(dir);
	ordinals = map_new();
	return 0;
}

static int ordinal_next(const char *path)
{
	int *count, n;

	pthread_mutex_lock(&lock);
	count = map_get(ordinals, path);
	if (!count) {
		count = mem_alloc(sizeof(*count));
		map_put(ordinals, path, count);
	}
	n = ++*count;
	pthread_mutex_unlock(&lock);
	return n;
}

/* True when there is a recording of this name; it is then in the request. */
static bool try_name(struct sim_request *request, const char *name)
{
	struct arena *arena = arena_new();
	struct http_recorded recorded;
	bool found = http_recorded_read(name, arena, &recorded, &request->body) == 0;

	request->status = (unsigned int)recorded.status;
	for (size_t i = 0; i < recorded.header_count; i++) {
		const struct http_header *header = &recorded.headers[i];

		if (strcasecmp(header->name, "Content-Type") == 0)
			sim_set(request->type, header->value);
		else
			sim_header(request, header->name, "%s", header->value);
	}
	arena_free(&arena);
	return found;
}

void replay_serve(struct sim_request *request)
{
	char name[1900];
	char path[1000];
	size_t len;
	int n;

	request->source = "replay";
	sim_set(request->key, httpd_path(request->http));
	if (str_format(path, sizeof(path), "%s", httpd_path(request->http)) && !strstr(path, "..")) {
		len = strlen(path);
		while (len > 1 && path[len - 1] == '/')
			path[--len] = '\0';
		n = ordinal_next(path);
		if (str_format(name, sizeof(name), "%s%s.%d", folder, path, n) && try_name(request, name))
			return;
		if (str_format(name, sizeof(name), "%s%s", folder, path) && try_name(request, name))
			return;
	}
	sim_fixed(request, 404, "{'message':'Not recorded'}");
}
