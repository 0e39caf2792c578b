/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables and secrets' files in flows.yaml. Runs in the supervisor and in sluicectl, before any role. */
#include "conf/expand.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#define complain(expand, node, ...) \
	((node)->bad = true, conf_errors_add((expand)->errors, (node)->line, (node)->column, __VA_ARGS__))

static const char *lookup(const struct conf_env *env, const char *name)
{
	if (str_eq(name, "STATE") && env->state != NULL)
		return env->state;
	return env->get != NULL ? env->get(env->context, name) : getenv(name);
}

/* Length of "${NAME}" at text, 0 when it is not a well-formed reference. */
static size_t reference_length(const char *text)
{
	const char *p = text + 2;

	if (!isalpha((unsigned char)*p) && *p != '_')
		return 0;
	while (isalnum((unsigned char)*p) || *p == '_')
		p++;
	return *p == '}' ? (size_t)(p + 1 - text) : 0;
}

static int append_variable(struct conf_expand *expand, struct conf_node *node, const char *text, size_t len,
			   struct buf *out)
{
	char *name = arena_strndup(expand->arena, text + 2, len - 3);
	const char *value = lookup(expand->env, name);

	if (value == NULL)
		complain(expand, node, "environment variable \"%s\" is not set", name);
	else if (!str_is_utf8(value, strlen(value)))
		complain(expand, node, "environment variable \"%s\" is not UTF-8 text", name);
	else if (out->len + strlen(value) > CONF_SECRET_MAX)
		complain(expand, node, "with \"%s\" expanded, the value is longer than 64 KiB", name);
	else
		buf_adds(out, value);
	return node->bad ? -1 : 0;
}

static int expand_into(struct conf_expand *expand, struct conf_node *node, struct buf *out)
{
	const char *p = node->raw;

	while (*p != '\0') {
		size_t plain = strcspn(p, "$");
		size_t len;

		buf_add(out, p, plain);
		p += plain;
		if (str_starts(p, "$${")) {
			buf_adds(out, "${");
			p += 3;
		} else if (!str_starts(p, "${")) {
			if (*p != '\0')
				buf_addc(out, *p++);
		} else if ((len = reference_length(p)) == 0) {
			complain(expand, node, "\"${\" without a variable's name and \"}\" (write $${ for a plain \"${\")");
			return -1;
		} else if (append_variable(expand, node, p, len, out) < 0) {
			return -1;
		} else {
			p += len;
		}
	}
	return 0;
}

static void set_text(struct conf_expand *expand, struct conf_node *node, const struct buf *text)
{
	expand->expanded += text->len;
	if (expand->expanded > CONF_EXPANDED_MAX) {
		complain(expand, node, "the expanded values are longer than 16 MiB together");
		return;
	}
	node->text = arena_strndup(expand->arena, text->len > 0 ? text->data : "", text->len);
}

void conf_expand_scalar(struct conf_expand *expand, struct conf_node *node)
{
	struct buf out;

	node->text = "";
	if (strchr(node->raw, '$') == NULL) {
		node->text = node->raw;
		return;
	}
	buf_init(&out);
	if (expand_into(expand, node, &out) == 0)
		set_text(expand, node, &out);
	buf_fini(&out);
}

/* O_NONBLOCK: opening a named pipe must not hang the check. Returns the descriptor or -1 after reporting. */
static int open_secret(struct conf_expand *expand, struct conf_node *node, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0) {
		complain(expand, node, "secret file \"%s\": %s", path, strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) < 0)
		complain(expand, node, "secret file \"%s\": %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		complain(expand, node, "secret file \"%s\" is not a regular file", path);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		complain(expand, node, "secret file \"%s\" may be written by group or others (mode %04o)", path,
			 (unsigned int)(st.st_mode & 07777));
	else if (st.st_size > (off_t)CONF_SECRET_MAX)
		complain(expand, node, "secret file \"%s\" is larger than 64 KiB", path);
	if (node->bad) {
		close(fd);
		return -1;
	}
	return fd;
}

static void check_secret(struct conf_expand *expand, struct conf_node *node, const char *path, struct buf *text)
{
	if (text->len > 0 && text->data[text->len - 1] == '\n')
		text->data[--text->len] = '\0';
	if (text->len > 0 && text->data[text->len - 1] == '\r')
		text->data[--text->len] = '\0';
	if (text->len == 0)
		complain(expand, node, "secret file \"%s\" is empty", path);
	else if (text->len > CONF_SECRET_MAX)
		complain(expand, node, "secret file \"%s\" is larger than 64 KiB", path);
	else if (memchr(text->data, '\0', text->len) != NULL || !str_is_utf8(text->data, text->len))
		complain(expand, node, "secret file \"%s\" is not UTF-8 text", path);
	else
		set_text(expand, node, text);
}

void conf_expand_file(struct conf_expand *expand, struct conf_node *node)
{
	struct buf text;
	const char *path;
	ssize_t got;
	int fd;

	conf_expand_scalar(expand, node);
	node->secret = true;
	if (node->bad)
		return;
	path = node->text;
	node->text = "";
	if (*path == '\0') {
		complain(expand, node, "!file needs a path");
		return;
	}
	if (*path != '/')
		path = arena_printf(expand->arena, "%s%s", expand->directory, path);
	if ((fd = open_secret(expand, node, path)) < 0)
		return;
	buf_init(&text);
	while ((got = read(fd, buf_reserve(&text, 4096), 4096)) > 0 && text.len <= CONF_SECRET_MAX)
		text.len += (size_t)got;
	if (got < 0)
		complain(expand, node, "secret file \"%s\": %s", path, strerror(errno));
	else
		check_secret(expand, node, path, &text);
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	buf_fini(&text);
	close(fd);
}
