/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts made once from the seed: captions, titles, names, the endless query
 * strings of picture links. All are ready to stand inside a JSON string.
 * Any thread after pool_init.
 */
#ifndef SLUICE_SIM_POOL_H
#define SLUICE_SIM_POOL_H

#include <stdint.h>

struct buf;

void pool_init(void);

/* The text chosen by hash. */
void put_caption(struct buf *out, uint64_t hash);	/* 200 to 2,000 bytes, non-ASCII, hashtags */
void put_title(struct buf *out, uint64_t hash);		/* 20 to 90 bytes */
void put_name(struct buf *out, uint64_t hash);		/* two words */
void put_bio(struct buf *out, uint64_t hash);
/* https://<host>/<path><id>_n.<ext>?<several hundred bytes> */
void put_media_url(struct buf *out, const char *kind, int64_t id, const char *ext, uint64_t hash);
void put_hex(struct buf *out, uint64_t hash, unsigned int digits);

#endif
