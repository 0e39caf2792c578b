/* SPDX-License-Identifier: Apache-2.0 */
/* See recorded.h. */
#include "http/recorded.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"

#define FILE_MOST ((size_t)64 << 20)

/* Appends the whole file. Returns 0, or -1 when there is none or it is too large. */
static int file_read(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "re");
	size_t n;

	if (file == NULL)
		return -1;
	do {
		n = fread(buf_reserve(out, 65536), 1, 65536, file);
		out->len += n;
		out->data[out->len] = '\0';
	} while (n > 0 && out->len < FILE_MOST);
	fclose(file);
	return n == 0 ? 0 : -1;
}

/* "HTTP/1.1 429 Too Many Requests" and header lines. */
static void head_read(struct http_recorded *recorded, struct arena *arena, char *text)
{
	char *line = strsep(&text, "\n"), *value;
	size_t lines = 1;

	for (const char *c = text; c != NULL && *c != '\0'; c++)
		lines += *c == '\n';
	recorded->headers = arena_alloc(arena, lines * sizeof(*recorded->headers));
	sscanf(line, "HTTP/%*s %d", &recorded->status);
	while ((line = strsep(&text, "\n")) != NULL) {
		line[strcspn(line, "\r")] = '\0';
		value = strchr(line, ':');
		if (value == NULL)
			continue;
		*value++ = '\0';
		value += strspn(value, " ");
		if (strcasecmp(line, "Content-Length") != 0 && strcasecmp(line, "Connection") != 0)
			recorded->headers[recorded->header_count++] = (struct http_header){ line, value };
	}
}

int http_recorded_read(const char *name, struct arena *arena, struct http_recorded *recorded_r,
		       struct buf *body)
{
	struct buf head;
	bool found;

	*recorded_r = (struct http_recorded){ .status = 200 };
	found = file_read(arena_printf(arena, "%s.json", name), body) == 0;
	buf_init(&head);
	if (file_read(arena_printf(arena, "%s.http", name), &head) == 0 && head.len > 0) {
		found = true;
		head_read(recorded_r, arena, arena_strndup(arena, head.data, head.len));
	}
	buf_fini(&head);
	return found ? 0 : -1;
}
