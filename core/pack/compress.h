/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an insert may be packed with on its way to a server (liblz4, libzstd
 * and zlib behind this header). Any thread.
 */
#ifndef SLUICE_PACK_COMPRESS_H
#define SLUICE_PACK_COMPRESS_H

#include <stddef.h>

struct buf;
struct error;
struct http_piece;

enum compression { COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_LZ4, COMPRESS_ZSTD };

/* What is used when nobody says: lz4 where this build has it. */
enum compression compress_default(void);
/* ERR_INPUT, with the names there are: no such name, or the library was not there when this was built. */
int compress_find(const char *name, enum compression *how_r, struct error *err);
/*
 * Appends the pieces, one after the other, packed; not for COMPRESS_NONE. lz4
 * and zstd as the blocks of ClickHouse's own protocol, without checksums.
 */
void compress_pieces(struct buf *out, enum compression how, const struct http_piece *pieces, size_t piece_count);

#endif
