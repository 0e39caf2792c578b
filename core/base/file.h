/* SPDX-License-Identifier: Apache-2.0 */
/* What write(2) leaves to its callers. Any thread. */
#ifndef SLUICE_BASE_FILE_H
#define SLUICE_BASE_FILE_H

#include <stddef.h>

/* All of it, however often that takes. 0, or -1 and errno. Also between fork and exec. */
int file_write_all(int fd, const void *bytes, size_t len);

#endif
