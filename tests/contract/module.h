/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of their own for plugin files under test. */
#ifndef SLUICE_TEST_MODULE_H
#define SLUICE_TEST_MODULE_H

#include <stddef.h>

/* A fresh folder that only its owner may write. On the heap; remove with module_folder_free. */
char *module_folder(void);
void module_folder_free(char **folder);
/* The path of name in folder. On the heap. */
char *module_path(const char *folder, const char *name);
/* Copies the file from to folder/name, mode 0644, and gives its path. On the heap. */
char *module_copy(const char *from, const char *folder, const char *name);
/* Copies tests/modules/NAME.so of the build tree. On the heap. */
char *module_built(const char *name, const char *folder);
void module_write(const char *path, const void *bytes, size_t len);

#endif
