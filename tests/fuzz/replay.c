/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files named on the command line: how a corpus is replayed without a fuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	struct buf bytes;

	buf_init(&bytes);
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t got;

		if (file == NULL) {
			perror(argv[i]);
			return 1;
		}
		buf_clear(&bytes);
		while ((got = fread(buf_reserve(&bytes, 4096), 1, 4096, file)) > 0)
			bytes.len += got;
		fclose(file);
		LLVMFuzzerTestOneInput((const uint8_t *)bytes.data, bytes.len);
	}
	buf_fini(&bytes);
	printf("%d inputs\n", argc - 1);
	return 0;
}
