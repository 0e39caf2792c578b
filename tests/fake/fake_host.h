/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host for unit tests of plugins: runs a flow on the real engine with canned
 * answers and returns everything it did as JSON lines, to be compared as text.
 * No I/O, no clock; one thread.
 *
 *	{"call":"posts","source":"api","method":"GET","url":"https://…?key=***","body":"…"}
 *	{"lookup":"account","key":"42"}
 *	{"record":{"type":"post","key":"1","source":"api","metrics":{…}}}
 *	{"upsert":"post","key":"1","values":{"likes":"5","title":null}}
 *	{"event":"post_log","data":{…}}
 *	{"result":null}   or   {"failure":"fail","text":"(403, 'Forbidden exception')"}
 */
#ifndef SLUICE_FAKE_HOST_H
#define SLUICE_FAKE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include <sluice/plugin.h>

#define FAKE_NOW 1700000000	/* 2023-11-14 22:13:20 */

/* One answer; each is used once, in order per operation. Lists end with operation NULL. */
struct fake_answer {
	const char *operation;	/* its name without the plugin's */
	const char *source;	/* NULL: of any source */
	int status;		/* 0: no answer (a lost connection) */
	const char *body;	/* of lookups: the rows, a JSON array of objects */
	const char *headers;	/* "Link: <…>; rel=\"next\"\nRetry-After: 5"; NULL: none */
};

struct fake {
	const struct sl_plugin *plugin;
	const struct fake_answer *answers;
	const char *const *sources;	/* that have a credential; NULL-terminated, or NULL: all */
	bool slices;			/* commit, save and resume after every response */
};

/*
 * The lines, on the heap (free with mem_release). Credentials have the members
 * their source asks for, each with the value "fake-MEMBER". A source that
 * answers SL_LIMIT or SL_AUTH has no credential from then on.
 */
char *fake_run(const struct fake *fake, const char *flow, const char *params);

#endif
