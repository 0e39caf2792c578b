/* SPDX-License-Identifier: Apache-2.0 */
/* The warehouse that a test program tests, and asking it. For the one file of a program that includes it. */
#ifndef SLUICE_TESTS_WAREHOUSE_ASK_H
#define SLUICE_TESTS_WAREHOUSE_ASK_H

static struct warehouse *wh;

static void must(int rc, const struct error *err)
{
	if (rc < 0)
		fail_msg("%s", err->text);
}

/* Runs sql and compares its TSV output. */
static void expect(const char *sql, const char *wanted)
{
	struct error err = {0};
	struct buf out;

	buf_init(&out);
	must(warehouse_query(wh, sql, "TSV", 60000, &out, &err), &err);
	assert_string_equal(out.data ? out.data : "", wanted);
	buf_fini(&out);
}

#endif
