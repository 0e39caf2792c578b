/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of plugins share: a flow on the fake host, and its lines. ' stands for " in what they write.
 */
#ifndef SLUICE_PLUGIN_RUN_H
#define SLUICE_PLUGIN_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../fake/fake_host.h"
#include "base/arena.h"

static inline char *quoted(const char *text)
{
	char *copy = mem_strdup(text);

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	return copy;
}

/* What the flow did, on the heap. Bodies are written with ' for ". */
static inline char *run(const struct fake_answer *answers, const char *const *sources, const char *flow,
			const char *params)
{
	struct fake_answer copies[32];
	struct fake fake = {.plugin = &sluice_plugin_v1, .answers = copies, .sources = sources};
	char *text = quoted(params), *out;
	size_t n = 0;

	for (; answers && answers[n].operation; n++) {
		assert_true(n < 31);
		copies[n] = answers[n];
		copies[n].body = quoted(answers[n].body ? answers[n].body : "");
	}
	memset(&copies[n], 0, sizeof(copies[n]));
	out = fake_run(&fake, flow, text);
	mem_release(text);
	while (n-- > 0)
		mem_release((char *)(uintptr_t)copies[n].body);
	return out;
}

static inline size_t times(const char *out, const char *what)
{
	char *text = quoted(what);
	size_t n = 0;

	for (const char *at = out; (at = strstr(at, text)) != NULL; at += strlen(text))
		n++;
	mem_release(text);
	return n;
}

#define assert_has(out, what) check_times((out), (what), 1, false, __FILE__, __LINE__)
#define assert_times(out, what, n) check_times((out), (what), (n), true, __FILE__, __LINE__)

static inline void check_times(const char *out, const char *what, size_t n, int exactly, const char *file,
			       int line)
{
	const size_t found = times(out, what);

	if (exactly ? found == n : found >= n)
		return;
	print_error("%s:%d: %zu times, not %zu: %s\nin\n%s\n", file, line, found, n, what, out);
	fail();
}

#endif
