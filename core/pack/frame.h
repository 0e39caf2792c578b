/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes packed as LZ4 frames, the format that every LZ4 library and lz4(1)
 * read. Frames one after the other unpack to their contents one after the
 * other. No state, any thread.
 */
#ifndef SLUICE_PACK_FRAME_H
#define SLUICE_PACK_FRAME_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct error;

#define FRAME_ENCODING "lz4"		/* what content-encoding calls it */

/* Whether this build has it: without, frame_pack may not be called and frame_unpack fails. */
bool frame_available(void);
/* Whether the bytes begin as a frame does; no JSON does. */
bool frame_is(const char *bytes, size_t len);
/* Appends the bytes as one frame. */
void frame_pack(struct buf *out, const char *bytes, size_t len);
/*
 * Appends what frames unpack to. ERR_CONTENT: they are damaged, cut off, or
 * have more than max bytes in them; what was appended until then is undefined.
 */
int frame_unpack(struct buf *out, const char *frames, size_t len, size_t max, struct error *err);

#endif
