/* SPDX-License-Identifier: Apache-2.0 */
/* Compressing the body of a request (zlib behind this header). Any thread. */
#ifndef SLUICE_HTTP_GZIP_H
#define SLUICE_HTTP_GZIP_H

#include <stddef.h>

struct buf;
struct http_piece;

/* Appends the pieces, one after the other, as one gzip member; fast rather than small. */
void http_gzip(struct buf *out, const struct http_piece *pieces, size_t piece_count);

#endif
