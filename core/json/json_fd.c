/* SPDX-License-Identifier: Apache-2.0 */
/* A document in a file that has no name. Any thread. */
#include "json/json.h"

#include <sys/mman.h>
#include <sys/stat.h>

struct json_doc *json_parse_fd(int fd, struct error *err)
{
	struct json_doc *doc;
	struct stat st;
	void *bytes;

	if (fstat(fd, &st) != 0) {
		error_errno(err, "fstat");
		return NULL;
	}
	if (st.st_size == 0) {
		error_set(err, ERR_IO, "nothing was written");
		return NULL;
	}
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED) {
		error_errno(err, "mmap");
		return NULL;
	}
	doc = json_parse(bytes, (size_t)st.st_size, err);
	munmap(bytes, (size_t)st.st_size);
	return doc;
}
