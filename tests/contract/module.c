/* SPDX-License-Identifier: Apache-2.0 */
/* See module.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "module.h"

char *module_folder(void)
{
	const char *base = getenv("TMPDIR");
	char *folder = module_path(base != NULL ? base : "/tmp", "sluice-test-XXXXXX");

	assert_non_null(mkdtemp(folder));
	return folder;
}

void module_folder_free(char **folder)
{
	struct buf command;

	buf_init(&command);
	buf_printf(&command, "rm -rf '%s'", *folder);
	assert_int_equal(system(command.data), 0);
	buf_fini(&command);
	mem_free(folder);
}

char *module_path(const char *folder, const char *name)
{
	struct buf path;
	char *copy;

	buf_init(&path);
	buf_printf(&path, "%s/%s", folder, name);
	copy = mem_strdup(path.data);
	buf_fini(&path);
	return copy;
}

void module_write(const char *path, const void *bytes, size_t len)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(bytes, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

char *module_copy(const char *from, const char *folder, const char *name)
{
	char *path = module_path(folder, name);
	FILE *in = fopen(from, "r");
	struct buf bytes;
	size_t n;

	if (in == NULL)
		fail_msg("%s: cannot be opened", from);
	buf_init(&bytes);
	do {
		n = fread(buf_reserve(&bytes, 65536), 1, 65536, in);
		bytes.len += n;
	} while (n > 0);
	fclose(in);
	module_write(path, bytes.data, bytes.len);
	buf_fini(&bytes);
	return path;
}

char *module_built(const char *name, const char *folder)
{
	const char *build = getenv("top_builddir");
	struct buf from, file;
	char *path;

	buf_init(&from);
	buf_init(&file);
	buf_printf(&file, "%s.so", name);
	buf_printf(&from, "%s/tests/modules/.libs/%s", build != NULL ? build : ".", file.data);
	path = module_copy(from.data, folder, file.data);
	buf_fini(&from);
	buf_fini(&file);
	return path;
}
