/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of flows.yaml as data: every key with its type, bounds, default
 * and one line of documentation, and where its value goes in a struct. The
 * same tables check a file, set the defaults, print a configuration as JSON
 * for a role, read it there, and are compared with the manual. One thread.
 */
#ifndef SLUICE_CONF_SCHEMA_H
#define SLUICE_CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "conf/errors.h"
#include "conf/yaml.h"

struct arena;
struct json;
struct jwrite;
struct conf_key;
struct conf_section;

enum conf_key_flags {
	CONF_REQUIRED = 1,	/* must be given */
	CONF_HIDDEN = 2,	/* a secret: its value is never in a message */
	CONF_INTERNAL = 4,	/* not a key of the file: set by conf/check, travels in the JSON */
	CONF_OWN = 8,		/* of one flow only: not a key of `defaults` */
	CONF_FILE_ONLY = 16	/* a key of the file whose value does not travel in the JSON */
};

/* A validation under way. */
struct conf_walk {
	struct arena *arena;		/* of the model (borrowed) */
	struct conf_errors *errors;	/* borrowed */
	const char *context;		/* "" or `flow "x": batch: ` */
	void *user;			/* the caller's; for custom types and section init */
};

struct conf_type {
	const char *word;		/* as the manual calls it: "duration" */
	const char *what;		/* as a message calls it: "a duration such as 500ms, 30s or 10m" */
	/* Checks node and stores its value in the field of base, or reports. node is neither NULL nor bad. */
	void (*fill)(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base);
	void (*write)(struct jwrite *w, const struct conf_key *key, const void *base);
	/* value is the member written by write, never NULL. */
	int (*read)(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		    struct error *err);
};

struct conf_key {
	const char *name;
	const struct conf_type *type;
	size_t offset;			/* of the value in its section's struct */
	unsigned int flags;		/* enum conf_key_flags */
	const char *fallback;		/* the default as it would be written, NULL = none */
	int64_t min, max;		/* numbers, durations (ms), sizes; length of texts. Both 0 = no bound */
	const char *const *words;	/* conf_word: the choices, NULL-terminated, in the order of the enum */
	const struct conf_section *section;	/* conf_struct, conf_map */
	size_t count_offset;		/* conf_map, conf_texts and other lists: of the size_t beside the array */
	const char *doc;
};

struct conf_section {
	const char *noun;		/* conf_map: what one entry is: "flow" */
	size_t size;			/* conf_map: of one entry's struct, whose first member is const char *name */
	const struct conf_key *keys;	/* ends with name NULL */
	const char *bare;		/* a text instead of the mapping is the value of this key; NULL: there is none such */
	unsigned int without;		/* keys with any of these flags are no keys here */
	/* conf_map: before an entry is filled, after its defaults are set (may be NULL). */
	void (*init)(struct conf_walk *walk, void *entry);
};

/* bool, int, int64_t, double, const char *, int64_t (ms), int64_t (bytes), int (index into words) */
extern const struct conf_type conf_bool, conf_int, conf_long, conf_float, conf_text, conf_duration, conf_size, conf_word;
/* const char *: [a-z][a-z0-9_-]*; http(s) URL; HOST:PORT */
extern const struct conf_type conf_name, conf_http_url, conf_address;
/* const char *const * and a size_t: a list of texts without repetition; the same of "100/30s" */
extern const struct conf_type conf_texts, conf_limits;
/* struct conf_pair * and a size_t: a mapping of texts; parameters to "1/s", at most CONF_ITEMS_MAX */
extern const struct conf_type conf_pairs, conf_items;
/* unsigned int: a set of enum conf_outcome */
extern const struct conf_type conf_outcomes;
/* struct conf_skip: "3 failures / 180d" */
extern const struct conf_type conf_skip;
/* a struct inside the struct; an array of structs (pointer and size_t) keyed by name */
extern const struct conf_type conf_struct, conf_map;

/* Sets every default. base is zeroed. */
void conf_section_init(struct arena *arena, const struct conf_section *section, void *base);
/* Checks a mapping (or an empty value) against the section and fills base; what is absent stays as it is. */
void conf_section_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_section *section,
		       void *base);
/* Writes the members of base into the object that is open. */
void conf_section_write(struct jwrite *w, const struct conf_section *section, const void *base);
int conf_section_read(struct arena *arena, const struct json *object, const struct conf_section *section, void *base,
		      struct error *err);

/* For custom types. */
static inline void *conf_field(void *base, size_t offset) { return (char *)base + offset; }
static inline const void *conf_field_of(const void *base, size_t offset) { return (const char *)base + offset; }
/* Reports "<context><key>: <text>" at node; key may be NULL. */
void conf_complain(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The node's text when it is a scalar with a value, else NULL after reporting that it must be type->what. */
const char *conf_scalar(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key);
/* The value as a message may show it: quoted and shortened, secrets and passwords masked. From the walk's arena. */
const char *conf_show(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key);
/* ` (did you mean "x"?)` or "". From the walk's arena. */
const char *conf_nearest(struct conf_walk *walk, const char *word, const char *const *names, size_t count);

/* A list's array and count (conf_map, conf_texts and custom lists). */
void conf_list_store(const struct conf_key *key, void *base, void *items, size_t count);
void *conf_list_items(const struct conf_key *key, const void *base);
size_t conf_list_count(const struct conf_key *key, const void *base);
/* What conf_texts writes and reads, for lists that check more. */
void conf_texts_write(struct jwrite *w, const struct conf_key *key, const void *base);
int conf_texts_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		    struct error *err);

#endif
