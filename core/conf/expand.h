/* SPDX-License-Identifier: Apache-2.0 */
/* What a scalar of flows.yaml stands for: ${NAME} and !file. Part of conf/yaml; one thread. */
#ifndef SLUICE_CONF_EXPAND_H
#define SLUICE_CONF_EXPAND_H

#include "conf/yaml.h"

struct arena;

struct conf_expand {
	struct arena *arena;		/* borrowed */
	const struct conf_env *env;	/* borrowed */
	const char *directory;		/* borrowed: what relative secret paths start with */
	struct conf_errors *errors;	/* borrowed */
	size_t expanded;		/* bytes so far, against CONF_EXPANDED_MAX */
};

/* Sets node->text from node->raw; on an error reports it, sets node->bad and leaves an empty text. */
void conf_expand_scalar(struct conf_expand *expand, struct conf_node *node);
/* The same, then replaces the text, a path, by the contents of that file and marks the node secret. */
void conf_expand_file(struct conf_expand *expand, struct conf_node *node);

#endif
