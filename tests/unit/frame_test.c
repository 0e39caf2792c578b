/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and unpacking: what comes back, and what is said of frames that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "pack/frame.h"

#define PLENTY ((size_t)1 << 30)
#define SKIPPED 77		/* a build without lz4 */

/* Text that packs well, and then some that does not. */
static void fill(struct buf *out, size_t len)
{
	unsigned int seed = 1;

	buf_clear(out);
	while (out->len < len / 2)
		buf_printf(out, "{\"event\":%zu}\n", out->len);
	while (out->len < len) {
		seed = seed * 1103515245 + 12345;
		buf_addc(out, (char)(seed >> 16));
	}
	out->len = len;
}

static void assert_comes_back(const struct buf *bytes, const struct buf *frames)
{
	struct buf back;
	struct error err;

	buf_init(&back);
	buf_adds(&back, "before");
	assert_int_equal(frame_unpack(&back, frames->data, frames->len, bytes->len, &err), 0);
	assert_int_equal(back.len, 6 + bytes->len);
	assert_memory_equal(back.data, "before", 6);
	assert_memory_equal(back.data + 6, bytes->data, bytes->len);
	assert_int_equal(back.data[back.len], '\0');
	buf_fini(&back);
}

static void every_size_comes_back(void **state)
{
	static const size_t sizes[] = {1, 2, 100, 65535, 65536, 65537, 262143, 262144, 262145, 1000000, 5000000};
	struct buf bytes, frames;

	(void)state;
	buf_init(&bytes);
	buf_init(&frames);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill(&bytes, sizes[i]);
		buf_clear(&frames);
		frame_pack(&frames, bytes.data, bytes.len);
		assert_comes_back(&bytes, &frames);
	}
	buf_fini(&bytes);
	buf_fini(&frames);
}

static void frames_in_a_row_are_one_text(void **state)
{
	struct buf all, part, frames;

	(void)state;
	buf_init(&all);
	buf_init(&part);
	buf_init(&frames);
	for (size_t i = 1; i <= 20; i++) {
		fill(&part, i * i * 997);
		buf_add(&all, part.data, part.len);
		frame_pack(&frames, part.data, part.len);
	}
	assert_comes_back(&all, &frames);
	buf_fini(&all);
	buf_fini(&part);
	buf_fini(&frames);
}

static void assert_refused(const char *frames, size_t len, size_t max, const char *reason)
{
	struct buf back;
	struct error err = {.code = ERR_NONE};

	buf_init(&back);
	assert_int_equal(frame_unpack(&back, frames, len, max, &err), -1);
	assert_int_equal(err.code, ERR_CONTENT);
	if (strstr(err.text, reason) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", reason, err.text);
	buf_fini(&back);
}

static void what_is_cut_off_is_refused(void **state)
{
	struct buf bytes, frames;

	(void)state;
	buf_init(&bytes);
	buf_init(&frames);
	fill(&bytes, 3000);
	frame_pack(&frames, bytes.data, bytes.len);
	for (size_t len = 0; len < frames.len; len++)
		assert_refused(frames.data, len, PLENTY, "packed with lz4, and");
	/* A second frame that is not whole: the first one alone is no answer. */
	for (size_t len = 1, whole = frames.len; len < 20; len++) {
		buf_add(&frames, frames.data, len);
		assert_refused(frames.data, frames.len, PLENTY, "packed with lz4, and");
		frames.len = whole;
	}
	buf_fini(&bytes);
	buf_fini(&frames);
}

static void what_is_no_frame_is_refused(void **state)
{
	(void)state;
	assert_refused("{\"event_id\":\"1\"}", 16, PLENTY, "damaged");
	assert_refused("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10, PLENTY, "damaged");
}

/* Whatever is changed: an answer or an error, in bounded memory and time. */
static void any_damage_is_survived(void **state)
{
	struct buf bytes, frames, back;
	struct error err;

	(void)state;
	buf_init(&bytes);
	buf_init(&frames);
	buf_init(&back);
	fill(&bytes, 2000);
	frame_pack(&frames, bytes.data, bytes.len);
	for (size_t i = 0; i < frames.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			frames.data[i] = (char)(frames.data[i] ^ 1 << bit);
			buf_clear(&back);
			if (frame_unpack(&back, frames.data, frames.len, 10000, &err) == 0)
				assert_in_range(back.len, 0, 10000);
			frames.data[i] = (char)(frames.data[i] ^ 1 << bit);
		}
	assert_comes_back(&bytes, &frames);
	buf_fini(&bytes);
	buf_fini(&frames);
	buf_fini(&back);
}

static void more_than_is_allowed_is_refused_early(void **state)
{
	struct buf bytes, frames, back;
	struct error err;

	(void)state;
	buf_init(&bytes);
	buf_init(&frames);
	buf_init(&back);
	fill(&bytes, 1000);
	frame_pack(&frames, bytes.data, bytes.len);
	assert_refused(frames.data, frames.len, 999, "unpacked more than 999 bytes");
	/* A quarter of a megabyte that unpacks to 64. */
	memset(buf_reserve(&bytes, (size_t)64 << 20), 'x', (size_t)64 << 20);
	bytes.len = (size_t)64 << 20;
	buf_clear(&frames);
	frame_pack(&frames, bytes.data, bytes.len);
	assert_in_range(frames.len, 1, 1 << 19);
	assert_int_equal(frame_unpack(&back, frames.data, frames.len, 1 << 20, &err), -1);
	assert_in_range(back.cap, 1, 8 << 20);
	buf_fini(&bytes);
	buf_fini(&frames);
	buf_fini(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_comes_back),
		cmocka_unit_test(frames_in_a_row_are_one_text),
		cmocka_unit_test(what_is_cut_off_is_refused),
		cmocka_unit_test(what_is_no_frame_is_refused),
		cmocka_unit_test(any_damage_is_survived),
		cmocka_unit_test(more_than_is_allowed_is_refused_early),
	};

	return frame_available() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIPPED;
}
