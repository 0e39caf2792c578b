/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"

#define FILE_MOST (64 * 1024 * 1024)

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

/* Appends the whole file. Returns 0, or -1 when there is none or it is too large. */
static int file_read(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "re");
	size_t n;

	if (!file)
		return -1;
	do {
		n = fread(buf_reserve(out, 65536), 1, 65536, file);
		out->len += n;
	} while (n > 0 && out->len < FILE_MOST);
	fclose(file);
	return n == 0 ? 0 : -1;
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

/* "HTTP/1.1 429 Too Many Requests" and header lines. */
static void head_read(struct sim_request *request, char *text)
{
	char *line, *value;
	unsigned int status;

	line = strsep(&text, "\n");
	if (sscanf(line, "HTTP/%*s %u", &status) == 1)
		request->status = status;
	while ((line = strsep(&text, "\n"))) {
		line[strcspn(line, "\r")] = '\0';
		value = strchr(line, ':');
		if (!value)
			continue;
		*value++ = '\0';
		value += strspn(value, " ");
		if (strcasecmp(line, "Content-Type") == 0)
			sim_set(request->type, value);
		else if (strcasecmp(line, "Content-Length") != 0 && strcasecmp(line, "Connection") != 0)
			sim_header(request, line, "%s", value);
	}
}

/* True when the body or the head of this name exists; both are then in the request. */
static bool try_name(struct sim_request *request, const char *name)
{
	char path[2000];
	struct buf head;
	bool found;

	request->status = 200;
	if (!str_format(path, sizeof(path), "%s.json", name))
		return false;
	found = file_read(path, &request->body) == 0;
	buf_init(&head);
	if (str_format(path, sizeof(path), "%s.http", name) && file_read(path, &head) == 0 && head.len > 0) {
		found = true;
		head_read(request, head.data);
	}
	buf_fini(&head);
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
