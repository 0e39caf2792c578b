/* SPDX-License-Identifier: Apache-2.0 */
/* Compressing the body of a request. Pure; any thread. */
#include "http/gzip.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/buf.h"
#include "http/http_sync.h"

#define STEP ((size_t)1 << 20)		/* zlib counts in unsigned int */
#define ROOM ((size_t)64 << 10)
#define GZIP_FORMAT 16			/* added to the window's bits */

static void run(z_stream *stream, int flush, struct buf *out)
{
	int status;

	do {
		stream->next_out = (unsigned char *)buf_reserve(out, ROOM);
		stream->avail_out = (unsigned int)ROOM;
		status = deflate(stream, flush);
		assert(status != Z_STREAM_ERROR);
		out->len += ROOM - stream->avail_out;
		out->data[out->len] = '\0';
	} while (stream->avail_out == 0 || (flush == Z_FINISH && status != Z_STREAM_END));
}

void http_gzip(struct buf *out, const struct http_piece *pieces, size_t piece_count)
{
	z_stream stream = { .zalloc = Z_NULL };

	if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + GZIP_FORMAT, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	for (size_t i = 0; i < piece_count; i++)
		for (size_t at = 0; at < pieces[i].len; at += STEP) {
			size_t len = pieces[i].len - at < STEP ? pieces[i].len - at : STEP;

			stream.next_in = (unsigned char *)(uintptr_t)pieces[i].bytes + at;
			stream.avail_in = (unsigned int)len;
			run(&stream, Z_NO_FLUSH, out);
		}
	run(&stream, Z_FINISH, out);
	deflateEnd(&stream);
}
