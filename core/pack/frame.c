/* SPDX-License-Identifier: Apache-2.0 */
/* LZ4 frames. */
#include "pack/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LZ4
#include <lz4frame.h>
#endif

#include "base/buf.h"
#include "base/error.h"

bool frame_available(void)
{
#ifdef HAVE_LZ4
	return true;
#else
	return false;
#endif
}

bool frame_is(const char *bytes, size_t len)
{
	return len >= 4 && memcmp(bytes, "\x04\x22\x4d\x18", 4) == 0;
}

#ifdef HAVE_LZ4

/* Room for a block of the largest kind that frame_pack makes: less makes the library copy it once more. */
#define STEP ((size_t)256 * 1024)

void frame_pack(struct buf *out, const char *bytes, size_t len)
{
	LZ4F_preferences_t how = {.frameInfo = {.blockSizeID = LZ4F_max256KB, .blockMode = LZ4F_blockIndependent,
						.contentSize = len}};
	size_t room = LZ4F_compressFrameBound(len, &how);
	char *at = buf_reserve(out, room);
	size_t packed = LZ4F_compressFrame(at, room, bytes, len, &how);

	if (LZ4F_isError(packed))
		abort();		/* no memory: there is room for the worst */
	out->len += packed;
	out->data[out->len] = '\0';
}

/* As much as one call does. left_r: 0 at the end of a frame; made_r: bytes appended. */
static int unpack_some(LZ4F_dctx *context, struct buf *out, const char **at, const char *end, size_t *left_r,
		       size_t *made_r, struct error *err)
{
	size_t used = (size_t)(end - *at);
	char *to = buf_reserve(out, STEP);

	*made_r = STEP;
	*left_r = LZ4F_decompress(context, to, made_r, *at, &used, NULL);
	if (LZ4F_isError(*left_r) && strcmp(LZ4F_getErrorName(*left_r), "ERROR_allocation_failed") == 0)
		abort();		/* no memory */
	if (LZ4F_isError(*left_r))
		return error_set(err, ERR_CONTENT, "packed with lz4, and damaged: %s", LZ4F_getErrorName(*left_r));
	if (*at < end && used == 0 && *made_r == 0)
		return error_set(err, ERR_CONTENT, "packed with lz4, and damaged");
	*at += used;
	out->len += *made_r;
	out->data[out->len] = '\0';
	return 0;
}

static int unpack_all(LZ4F_dctx *context, struct buf *out, const char *at, size_t len, size_t max, struct error *err)
{
	const char *end = at + len;
	size_t start = out->len, left = 1, made = 1;

	/* At the end of the input there may be output that did not fit. */
	while (at < end || (left > 0 && made > 0)) {
		if (unpack_some(context, out, &at, end, &left, &made, err) < 0)
			return -1;
		if (out->len - start > max)
			return error_set(err, ERR_CONTENT, "packed with lz4, and unpacked more than %zu bytes", max);
	}
	return left == 0 ? 0 : error_set(err, ERR_CONTENT, "packed with lz4, and cut off");
}

int frame_unpack(struct buf *out, const char *frames, size_t len, size_t max, struct error *err)
{
	LZ4F_dctx *context;
	int rc;

	if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
		abort();		/* no memory */
	rc = unpack_all(context, out, frames, len, max, err);
	LZ4F_freeDecompressionContext(context);
	return rc;
}

#else

void frame_pack(struct buf *out, const char *bytes, size_t len)
{
	(void)out;
	(void)bytes;
	(void)len;
	assert(!"no lz4 in this build");
}

int frame_unpack(struct buf *out, const char *frames, size_t len, size_t max, struct error *err)
{
	(void)out;
	(void)frames;
	(void)len;
	(void)max;
	return error_set(err, ERR_CONTENT, "packed with lz4, which this build of sluice has not");
}

#endif
