/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the bytes of flows.yaml to a tree of nodes that remember where they
 * stood. The subset of YAML is deliberately small: one document, no anchors or
 * aliases, no tabs in indentation, no tag but !file, keys are plain words.
 * Scalars are expanded here: ${NAME} is an environment variable ($${ is a
 * literal "${"), "!file PATH" the contents of a secret's file. One thread.
 */
#ifndef SLUICE_CONF_YAML_H
#define SLUICE_CONF_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/errors.h"

#define CONF_FILE_MAX (1u << 20)	/* bytes of the file; a larger one is not read */
#define CONF_DEPTH_MAX 32u
#define CONF_NODES_MAX 100000u
#define CONF_SECRET_MAX (64u << 10)	/* bytes of one expanded scalar or secret's file */
#define CONF_EXPANDED_MAX (16u << 20)	/* bytes of all expanded scalars together */

enum conf_kind { CONF_SCALAR, CONF_SEQUENCE, CONF_MAPPING };

struct conf_node {
	enum conf_kind kind;
	unsigned int line, column;	/* from 1; columns count characters */
	bool quoted;			/* a scalar that is text whatever it looks like */
	bool secret;			/* from !file: never to be printed */
	bool bad;			/* already reported (a variable that is not set): say no more about it */
	const char *text, *raw;		/* scalar: expanded, and as written (for messages) */
	const char *key;		/* name inside the parent mapping, else NULL */
	unsigned int key_line, key_column;
	struct conf_node *first, *last, *next;
	size_t count;			/* of children */
};

/* Where ${NAME} comes from. */
struct conf_env {
	const char *state;					/* ${STATE}: the state directory */
	const char *(*get)(void *context, const char *name);	/* NULL = getenv; NULL result = not set */
	void *context;
};

/*
 * Both return the root, allocated in arena, or NULL when the text is no YAML
 * at all. Errors that leave a tree (duplicate keys, variables not set) are
 * added to errors while the tree is still returned: count decides, not NULL.
 * directory is what a relative "!file PATH" starts from: "" or with a "/" at its end.
 */
struct conf_node *conf_yaml_parse(struct arena *arena, const char *bytes, size_t len, const char *directory,
				  const struct conf_env *env, struct conf_errors *errors);
struct conf_node *conf_yaml_read(struct arena *arena, const char *path, const struct conf_env *env,
				 struct conf_errors *errors);

/* The child of a mapping with that key, else NULL. node may be NULL or no mapping. */
const struct conf_node *conf_child(const struct conf_node *node, const char *key);
/* A key without a value: nothing, ~ or null, unquoted. */
bool conf_is_null(const struct conf_node *node);

#endif
