/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading plugins into this process: file checks, dlopen, the copy, the
 * checks, the set. The only file that calls dlopen for plugins; it runs before
 * threads start, in workers, sinks, the probe and sluicectl, never in the
 * supervisor. Nothing is ever unloaded while the set lives.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"
#include "plugin/internal.h"

#define PLUGIN_FILE_MAX (256L * 1024 * 1024)

struct plugin_set *plugin_set_new(void)
{
	return mem_alloc(sizeof(struct plugin_set));
}

static void plugin_free(struct plugin *plugin)
{
	mem_release(plugin->pairs);
	arena_free(&plugin->arena);
	mem_release(plugin);
}

void plugin_set_free(struct plugin_set **set)
{
	if (*set == NULL)
		return;
	for (size_t i = 0; i < (*set)->count; i++)
		plugin_free((*set)->plugins[i]);
	mem_release((*set)->plugins);
	mem_free(set);
}

/* Whoever may write the file, or its folder, may run code as us. */
static int check_writers(const char *what, const struct stat *st, struct error *err)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return error_set(err, ERR_INPUT, "%s belongs to user %u, neither root nor the user of this process",
				 what, (unsigned int)st->st_uid);
	if ((st->st_mode & S_IWOTH) != 0)
		return error_set(err, ERR_INPUT, "%s may be written by others (chmod o-w)", what);
	if ((st->st_mode & S_IWGRP) != 0 && st->st_gid != 0 && st->st_gid != getegid())
		return error_set(err, ERR_INPUT, "%s may be written by group %u (chmod g-w)", what,
				 (unsigned int)st->st_gid);
	return 0;
}

static int check_folder(const char *path, struct error *err)
{
	char *copy = mem_strdup(path);
	struct stat st;
	int result = -1;

	if (stat(dirname(copy), &st) != 0)
		error_errno(err, "its folder cannot be read");
	else
		result = check_writers("its folder", &st, err);
	mem_release(copy);
	return result;
}

/* The folder of the name, and the one a symbolic link leads to. */
static int check_folders(const char *path, struct error *err)
{
	char *target = realpath(path, NULL);
	int result = -1;

	if (target == NULL)
		error_errno(err, "its folder cannot be read");
	else if (check_folder(path, err) == 0)
		result = check_folder(target, err);
	free(target);
	return result;
}

/* Reads the file once: permissions, identity and hash belong to the same open file. */
static int file_identity(const char *path, struct plugin_file *file, struct error *err)
{
	struct stat st;
	struct buf content;
	ssize_t got = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int result = -1;

	buf_init(&content);
	if (fd < 0) {
		error_errno(err, "cannot be opened");
		goto out;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		error_set(err, ERR_INPUT, "is not a regular file");
		goto out;
	}
	if (st.st_size > PLUGIN_FILE_MAX) {
		error_set(err, ERR_INPUT, "is larger than %ld MiB", PLUGIN_FILE_MAX / 1024 / 1024);
		goto out;
	}
	if (check_writers("the file", &st, err) != 0 || check_folders(path, err) != 0)
		goto out;
	while (got > 0 && content.len <= (size_t)st.st_size) {
		got = read(fd, buf_reserve(&content, 65536), 65536);
		if (got > 0)
			content.len += (size_t)got;
	}
	if (got < 0) {
		error_errno(err, "cannot be read");
		goto out;
	}
	*file = (struct plugin_file){ .device = st.st_dev, .inode = st.st_ino, .size = content.len };
	sha256_hex(file->sha256, content.data != NULL ? content.data : "", content.len);
	result = 0;
out:
	if (fd >= 0)
		close(fd);
	buf_fini(&content);
	return result;
}

static bool same_file(const struct plugin_file *a, const struct plugin_file *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       strcmp(a->sha256, b->sha256) == 0;
}

/* NULL and the linker's own words on failure. */
static void *open_file(const char *path, struct error *err)
{
	struct buf file;
	const char *reason;
	void *object;

	buf_init(&file);
	/* Without a slash dlopen would search the system's folders instead of taking this file. */
	buf_printf(&file, "%s%s", strchr(path, '/') != NULL ? "" : "./", path);
	/* A symbol that is missing must be refused here, not found in the middle of a task. */
	object = dlopen(file.data, RTLD_NOW | RTLD_LOCAL);
	if (object == NULL) {
		reason = dlerror();
		/* The caller names the file already. */
		if (str_starts(reason, file.data) && str_starts(reason + file.len, ": "))
			reason += file.len + 2;
		error_set(err, ERR_INPUT, "cannot be loaded: %s", reason);
	}
	buf_fini(&file);
	return object;
}

static const struct sl_plugin *open_object(const char *path, struct error *err)
{
	const struct sl_plugin *descriptor;
	void *object = open_file(path, err);

	if (object == NULL)
		return NULL;
	descriptor = dlsym(object, "sluice_plugin_v1");
	if (descriptor == NULL)
		error_set(err, ERR_INPUT,
			  "exports no sluice_plugin_v1: it is no Sluice plugin, or one for another major version");
	return descriptor;
}

static int set_add(struct plugin_set *set, const char *path, const struct plugin_file *file,
		   const struct sl_plugin *theirs, const struct plugin **plugin_r, struct error *err)
{
	struct plugin *plugin = mem_alloc(sizeof(*plugin));
	char *copy = mem_strdup(path);

	plugin->arena = arena_new();
	plugin->path = arena_strdup(plugin->arena, path);
	if (file != NULL)
		plugin->file = *file;
	if (theirs->abi_major != SL_ABI_MAJOR) {
		error_set(err, ERR_INPUT, "is built for contract major %u; this host speaks %d", theirs->abi_major,
			  SL_ABI_MAJOR);
	} else if (plugin_copy(plugin, theirs, err) == 0 &&
		   plugin_check(set, plugin, basename(copy), err) == 0) {
		set->plugins = mem_realloc(set->plugins, (set->count + 1) * sizeof(*set->plugins));
		set->plugins[set->count++] = plugin;
		if (plugin_r != NULL)
			*plugin_r = plugin;
		plugin = NULL;
	}
	mem_release(copy);
	if (plugin == NULL)
		return 0;
	plugin_free(plugin);
	return -1;
}

int plugin_load(struct plugin_set *set, const char *path, const struct plugin_file *expected,
		const struct plugin **plugin_r, struct error *err)
{
	struct plugin_file file;
	struct error reason = { .code = ERR_NONE };
	const struct sl_plugin *theirs = NULL;

	if (file_identity(path, &file, &reason) == 0) {
		if (expected != NULL && !same_file(&file, expected))
			error_set(&reason, ERR_INPUT,
				  "changed since it was checked (reload or restart to check the new file)");
		else
			theirs = open_object(path, &reason);
	}
	if (theirs != NULL && set_add(set, path, &file, theirs, plugin_r, &reason) == 0)
		return 0;
	error_set(err, ERR_INPUT, "%s: plugin refused: %s", path, reason.text);
	return -1;
}

int plugin_add_static(struct plugin_set *set, const char *path, const struct sl_plugin *descriptor,
		      const struct plugin **plugin_r, struct error *err)
{
	struct error reason = { .code = ERR_NONE };

	if (set_add(set, path, NULL, descriptor, plugin_r, &reason) == 0)
		return 0;
	return error_set(err, ERR_INPUT, "%s: plugin refused: %s", path, reason.text);
}

size_t plugin_count(const struct plugin_set *set)
{
	return set->count;
}

const struct plugin *plugin_at(const struct plugin_set *set, size_t index)
{
	return index < set->count ? set->plugins[index] : NULL;
}

const struct sl_plugin *plugin_descriptor(const struct plugin *plugin)
{
	return &plugin->descriptor;
}

const char *plugin_path(const struct plugin *plugin)
{
	return plugin->path;
}

const struct plugin_file *plugin_file(const struct plugin *plugin)
{
	return &plugin->file;
}

/* Finds the struct named name in one list of every plugin. */
#define FIND(set, list, wanted, plugin_out) do { \
		for (size_t p_ = 0; p_ < (set)->count; p_++) \
			for (size_t i_ = 0; (set)->plugins[p_]->descriptor.list != NULL && \
			     (set)->plugins[p_]->descriptor.list[i_] != NULL; i_++) \
				if (str_eq((set)->plugins[p_]->descriptor.list[i_]->name, (wanted))) { \
					const struct plugin **where_ = (plugin_out); \
					if (where_ != NULL) \
						*where_ = (set)->plugins[p_]; \
					return (set)->plugins[p_]->descriptor.list[i_]; \
				} \
		return NULL; \
	} while (0)

const struct sl_flow *plugin_find_flow(const struct plugin_set *set, const char *name, const struct plugin **plugin_r)
{
	FIND(set, flows, name, plugin_r);
}

const struct sl_sink *plugin_find_sink(const struct plugin_set *set, const char *name, const struct plugin **plugin_r)
{
	FIND(set, sinks, name, plugin_r);
}

const struct sl_stream *plugin_find_stream(const struct plugin_set *set, const char *name)
{
	FIND(set, streams, name, NULL);
}

const struct sl_operation *plugin_find_operation(const struct plugin_set *set, const char *name)
{
	const struct sl_operation *operation;
	const char *dot = strchr(name, '.');

	for (size_t i = 0; dot != NULL && i < set->count; i++) {
		const struct sl_plugin *descriptor = &set->plugins[i]->descriptor;

		if (strlen(descriptor->name) != (size_t)(dot - name) ||
		    strncmp(descriptor->name, name, (size_t)(dot - name)) != 0)
			continue;
		PLUGIN_EACH(operation, descriptor->operations)
			if (str_eq(operation->name, dot + 1))
				return operation;
	}
	return NULL;
}
