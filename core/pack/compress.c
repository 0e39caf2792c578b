/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the packing of inserts; no state. A block of ClickHouse's own protocol
 * (which its HTTP interface undoes with decompress=1, in every version) is a
 * checksum of 16 bytes, the method, the size of what follows the checksum, the
 * size unpacked, and the data.
 */
#include "pack/compress.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "http/gzip.h"
#include "http/http_sync.h"

#define BLOCK ((size_t)1 << 20)		/* what the server's own clients use */
#define CHECKSUM 16			/* left zero: the server is told not to look */
#define HEADER 9
#define ZSTD_LEVEL 1

#define METHOD_LZ4 0x82
#define METHOD_ZSTD 0x90

enum compression compress_default(void)
{
#ifdef HAVE_LZ4
	return COMPRESS_LZ4;
#else
	return COMPRESS_NONE;
#endif
}

int compress_find(const char *name, enum compression *how_r, struct error *err)
{
	static const struct { const char *name; enum compression how; } known[] = {
		{"none", COMPRESS_NONE}, {"gzip", COMPRESS_GZIP},
#ifdef HAVE_LZ4
		{"lz4", COMPRESS_LZ4},
#endif
#ifdef HAVE_ZSTD
		{"zstd", COMPRESS_ZSTD},
#endif
	};
	struct buf names;

	buf_init(&names);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (str_eq(known[i].name, name)) {
			*how_r = known[i].how;
			buf_fini(&names);
			return 0;
		}
		buf_printf(&names, "%s%s", i ? ", " : "", known[i].name);
	}
	error_set(err, ERR_INPUT, "compression=%s: this build of sluice has %s", name, names.data);
	buf_fini(&names);
	return -1;
}

#if defined(HAVE_LZ4) || defined(HAVE_ZSTD)
/* Little-endian, whatever this machine is. */
static void put_u32(char *at, size_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (char)(value >> (8 * i) & 0xff);
}

static size_t bound_of(enum compression how)
{
	size_t bound = 0;

#ifdef HAVE_LZ4
	if (how == COMPRESS_LZ4)
		bound = (size_t)LZ4_compressBound((int)BLOCK);
#endif
#ifdef HAVE_ZSTD
	if (how == COMPRESS_ZSTD)
		bound = ZSTD_compressBound(BLOCK);
#endif
	assert(bound > 0);
	return bound;
}

/* One reason to fail remains, which is no memory. */
static size_t pack(enum compression how, char *to, size_t room, const char *from, size_t len)
{
	size_t packed = 0;

#ifdef HAVE_LZ4
	if (how == COMPRESS_LZ4)
		packed = (size_t)LZ4_compress_default(from, to, (int)len, (int)room);
#endif
#ifdef HAVE_ZSTD
	if (how == COMPRESS_ZSTD)
		packed = ZSTD_compress(to, room, from, len, ZSTD_LEVEL);
#endif
	if (packed == 0 || packed > room)
		abort();
	return packed;
}

static void add_block(struct buf *out, enum compression how, const char *bytes, size_t len)
{
	size_t room = bound_of(how), packed;
	char *at = buf_reserve(out, CHECKSUM + HEADER + room);

	packed = pack(how, at + CHECKSUM + HEADER, room, bytes, len);
	memset(at, 0, CHECKSUM);
	at += CHECKSUM;
	*at = (char)(how == COMPRESS_LZ4 ? METHOD_LZ4 : METHOD_ZSTD);
	put_u32(at + 1, HEADER + packed);
	put_u32(at + 5, len);
	out->len += CHECKSUM + HEADER + packed;
	out->data[out->len] = '\0';
}
#else
static void add_block(struct buf *out, enum compression how, const char *bytes, size_t len)
{
	(void)out;
	(void)how;
	(void)bytes;
	(void)len;
	assert(!"no such compression in this build");
}
#endif

void compress_pieces(struct buf *out, enum compression how, const struct http_piece *pieces, size_t piece_count)
{
	if (how == COMPRESS_GZIP) {
		http_gzip(out, pieces, piece_count);
		return;
	}
	for (size_t i = 0; i < piece_count; i++)
		for (size_t at = 0; at < pieces[i].len; at += BLOCK)
			add_block(out, how, (const char *)pieces[i].bytes + at,
				  pieces[i].len - at < BLOCK ? pieces[i].len - at : BLOCK);
}
