/* SPDX-License-Identifier: Apache-2.0 */
/* See sink_case.h. */
#include "sink_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/str.h"
#include "sink/batch.h"

void sink_case_read(const char *sink, const char *file, struct buf *out)
{
	const char *top = getenv("top_srcdir");
	char path[PATH_MAX], piece[4096];
	size_t len;
	FILE *in;

	str_format(path, sizeof(path), "%s/tests/sinks/%s/%s", top != NULL ? top : ".", sink, file);
	in = fopen(path, "r");
	if (in == NULL)
		fail_msg("there is no %s", path);
	while ((len = fread(piece, 1, sizeof(piece), in)) > 0)
		buf_add(out, piece, len);
	fclose(in);
}

struct batch *sink_case_batch(const char *sink, bool suspect)
{
	static const char *const files[] = {"original.json", "merged.ndjson"};
	struct batch *batch = batch_new(NULL);
	struct buf body;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		buf_init(&body);
		sink_case_read(sink, files[i], &body);
		batch_add(batch, &(struct bus_message){
			.tag = i + 1, .id = files[i], .body = body.data, .len = body.len,
			.suspect = suspect
		});
		buf_fini(&body);
	}
	return batch;
}
