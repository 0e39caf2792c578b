/* SPDX-License-Identifier: Apache-2.0 */
/* Results, types and options: what the other headers of the plugin contract share. */
#ifndef SLUICE_OPTION_H
#define SLUICE_OPTION_H

#include <stddef.h>
#include <stdint.h>

/*
 * The result of a callback is an instruction to the host. Only SL_OK keeps
 * what the callback did; any other result leaves nothing of it behind.
 */
enum sl_result {
	SL_OK = 0,
	SL_RETRY,	/* back off, then the same call again; after call.retries the task */
	SL_LIMIT,	/* park this credential (h->park says until when), go on with another */
	SL_AUTH,	/* this credential is no good: retire it, go on with another */
	SL_SOURCE,	/* this source can't: repeat the operation with the next one */
	SL_GONE,	/* does not exist: permanent, counted apart from failures */
	SL_FAIL		/* permanent */
};

/* What a value is: of an option, a parameter, a field of a record. */
enum sl_type {
	SL_STR = 1,	/* text; a number becomes its digits */
	SL_INT,		/* 64-bit signed; text that is wholly digits is accepted */
	SL_FLOAT,
	SL_BOOL,
	SL_TIME,	/* seconds since 1970 UTC; ISO 8601 text and numbers are accepted */
	SL_ANY,		/* any JSON, kept as it is */
	SL_JSON_TEXT,	/* any JSON, kept as a text that holds its JSON */
	SL_LIST,	/* parameters: a list of texts */
	SL_OBJECT,	/* parameters: an object */
	SL_DURATION,	/* options: milliseconds, written 30s */
	SL_SIZE		/* options: bytes, written 16MiB */
};

enum sl_option_flags {
	SL_REQUIRED = 1,	/* must be given */
	SL_SECRET = 2,		/* never printed */
	SL_RELOAD = 4,		/* may change on reload without restarting the role */
	SL_NULLABLE = 8		/* parameters: null counts as given */
};

/*
 * One setting below plugins.NAME in flows.yaml, or one parameter of a flow.
 * Lists of them end with an entry whose name is NULL. min and max bound
 * numbers, and the length of texts and lists; both 0 = no bound.
 */
struct sl_option {
	const char *name;
	enum sl_type type;
	unsigned int flags;
	const char *fallback;	/* the default as it would be written in flows.yaml, or NULL */
	int64_t min, max;
	const char *doc;	/* one line */
	const void *reserved[2];
};

#define SL_END_OF_OPTIONS { NULL, (enum sl_type)0, 0, NULL, 0, 0, NULL, { NULL, NULL } }

#endif
