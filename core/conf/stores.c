/* SPDX-License-Identifier: Apache-2.0 */
/* Which stores there are and which go together: tables, and the check of `stores`. Supervisor, sluicectl. */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/keys.h"

/* What may follow the scheme's colon. With NOTHING the colon may be left out: YAML wants `direct:` quoted. */
enum rest { NOTHING, ABSOLUTE_PATH, SLASHES, ANYTHING };

static const struct scheme {
	enum conf_family family;
	const char *name;
	enum rest rest;
	const char *same_as;		/* the name that this one means */
} schemes[] = {
	{CONF_TASKS, "sqlite", ABSOLUTE_PATH}, {CONF_TASKS, "postgresql", SLASHES},
	{CONF_TASKS, "postgres", SLASHES, "postgresql"},
	{CONF_OBJECTS, "file", ABSOLUTE_PATH}, {CONF_OBJECTS, "s3", ANYTHING},
	{CONF_BUS, "direct", NOTHING}, {CONF_BUS, "amqp", ANYTHING}, {CONF_BUS, "amqps", ANYTHING},
	{CONF_LIMITS, "local", NOTHING}, {CONF_LIMITS, "redis", ANYTHING},
	{CONF_LIMITS, "redis+unix", ANYTHING, "redis"},
	{CONF_WAREHOUSE, "chdb", ABSOLUTE_PATH}, {CONF_WAREHOUSE, "clickhouse", ANYTHING},
	{CONF_WAREHOUSE, "clickhouses", ANYTHING}
};
#define SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

/* The supported mixes, as flows.yaml(5) shows them. A scheme in none of them is not built yet. */
#define WITH_LIMITS(tasks, bus, limits) \
	{tasks, "file", bus, limits, "chdb"}, {tasks, "file", bus, limits, "clickhouse"}, \
	{tasks, "file", bus, limits, "clickhouses"}
#ifdef HAVE_REDIS
#define ANY_WAREHOUSE(tasks, bus) WITH_LIMITS(tasks, bus, "local"), WITH_LIMITS(tasks, bus, "redis")
#else
#define ANY_WAREHOUSE(tasks, bus) WITH_LIMITS(tasks, bus, "local")
#endif
static const char *const mixes[][CONF_FAMILIES] = {
	ANY_WAREHOUSE("sqlite", "direct"),
#ifdef HAVE_RABBITMQ
	ANY_WAREHOUSE("sqlite", "amqp"), ANY_WAREHOUSE("sqlite", "amqps"),
#endif
#ifdef HAVE_POSTGRESQL
	ANY_WAREHOUSE("postgresql", "direct"),
#ifdef HAVE_RABBITMQ
	ANY_WAREHOUSE("postgresql", "amqp"), ANY_WAREHOUSE("postgresql", "amqps"),
#endif
#endif
};
#define MIXES (sizeof(mixes) / sizeof(mixes[0]))

static const struct store {
	const char *key, *fallback;	/* fallback: after it comes the path below the state directory */
	const char *path, *example;
	size_t offset;
} stores[CONF_FAMILIES] = {
	[CONF_TASKS] = {"tasks", "sqlite:", "/sluice.db", "sqlite:${STATE}/sluice.db",
			offsetof(struct conf_model, tasks)},
	[CONF_OBJECTS] = {"objects", "file:", "/objects", "file:${STATE}/objects",
			  offsetof(struct conf_model, objects)},
	[CONF_BUS] = {"bus", "direct:", NULL, "direct", offsetof(struct conf_model, bus)},
	[CONF_LIMITS] = {"limits", "local:", NULL, "local", offsetof(struct conf_model, limits)},
	[CONF_WAREHOUSE] = {"warehouse", "chdb:", "/warehouse", "chdb:${STATE}/warehouse",
			    offsetof(struct conf_model, warehouse)}
};

static bool in_mix(size_t mix, enum conf_family family, const char *scheme)
{
	return str_eq(mixes[mix][family], scheme);
}

static bool built(enum conf_family family, const char *scheme)
{
	for (size_t mix = 0; mix < MIXES; mix++)
		if (in_mix(mix, family, scheme))
			return true;
	return false;
}

static void complain_not_built(struct conf_walk *walk, const struct conf_node *node, enum conf_family family,
			       const char *scheme)
{
	struct buf list;

	buf_init(&list);
	for (size_t i = 0; i < SCHEMES; i++)
		if (schemes[i].family == family && built(family, schemes[i].name))
			buf_printf(&list, "%s%s:", list.len > 0 ? ", " : "", schemes[i].name);
	conf_complain(walk, node, NULL, "\"%s:\" is not built yet: supported are %s", scheme, list.data);
	buf_fini(&list);
}

static void complain_unknown(struct conf_walk *walk, const struct conf_node *node, enum conf_family family,
			     const char *scheme)
{
	const char *names[SCHEMES];
	size_t count = 0;

	for (size_t i = 0; i < SCHEMES; i++)
		if (schemes[i].family == family)
			names[count++] = schemes[i].name;
	conf_complain(walk, node, NULL, "there is no kind \"%.32s:\"%s", scheme,
		      conf_nearest(walk, scheme, names, count));
}

/* Returns the scheme when the URL is one of the family and built, else NULL after reporting. */
static const char *check_store(struct conf_walk *walk, const struct conf_root *root, const struct conf_node *node,
			       enum conf_family family, const char *url)
{
	const char *colon = strchr(url, ':');
	char *scheme = arena_strndup(walk->arena, url, colon != NULL ? (size_t)(colon - url) : 0);
	const struct scheme *found = NULL;
	struct error err;

	if (colon == NULL) {
		conf_complain(walk, node, NULL, "must be a URL such as %s, not %s", stores[family].example,
			      conf_show(walk, node, NULL));
		return NULL;
	}
	if (family == CONF_LIMITS && str_eq(scheme, "rediss")) {
		conf_complain(walk, node, NULL, "\"rediss:\" cannot be had: the Redis client library has no TLS here");
		return NULL;
	}
	for (size_t i = 0; i < SCHEMES; i++)
		if (schemes[i].family == family && str_eq(schemes[i].name, scheme))
			found = &schemes[i];
	if (found == NULL) {
		complain_unknown(walk, node, family, scheme);
	} else if (!built(family, found->same_as != NULL ? found->same_as : scheme)) {
		complain_not_built(walk, node, family, scheme);
	} else if (found->rest == NOTHING && colon[1] != '\0') {
		conf_complain(walk, node, NULL, "nothing may follow \"%s:\"", scheme);
	} else if (found->rest == ABSOLUTE_PATH && colon[1] != '/') {
		conf_complain(walk, node, NULL, "\"%s:\" needs an absolute path, such as %s", scheme,
			      stores[family].example);
	} else if (found->rest == SLASHES && !str_starts(colon, "://")) {
		conf_complain(walk, node, NULL, "\"%s:\" needs two slashes, such as %s://USER@HOST/DATABASE", scheme,
			      scheme);
	} else if (root->catalogue->check_url != NULL && root->catalogue->check_url(family, url, &err) < 0) {
		conf_complain(walk, node, NULL, "%s", err.text);
	} else {
		return found->same_as != NULL ? found->same_as : scheme;
	}
	return NULL;
}

static void check_mix(struct conf_walk *walk, const struct conf_node *node, const char *const used[CONF_FAMILIES])
{
	for (size_t mix = 0; mix < MIXES; mix++) {
		size_t family = 0;

		while (family < CONF_FAMILIES && in_mix(mix, (enum conf_family)family, used[family]))
			family++;
		if (family == CONF_FAMILIES)
			return;
	}
	conf_complain(walk, node, NULL, "these stores do not go together; flows.yaml(5) lists the mixes that do");
}

void conf_stores_check(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_node *section = conf_child(file, "stores");
	const char *used[CONF_FAMILIES];
	bool complete = true;

	for (size_t i = 0; i < CONF_FAMILIES; i++) {
		const struct conf_node *node = conf_child(section, stores[i].key);
		const char **url = conf_field(&root->model, stores[i].offset);

		walk->context = arena_printf(walk->arena, "stores: %s: ", stores[i].key);
		if (*url == NULL && node == NULL)
			*url = arena_printf(walk->arena, "%s%s%s", stores[i].fallback,
					    stores[i].path != NULL ? root->model.state : "",
					    stores[i].path != NULL ? stores[i].path : "");
		for (size_t j = 0; *url != NULL && j < SCHEMES; j++)
			if (schemes[j].family == i && schemes[j].rest == NOTHING && str_eq(schemes[j].name, *url))
				*url = arena_printf(walk->arena, "%s:", schemes[j].name);
		used[i] = *url != NULL ? check_store(walk, root, node != NULL ? node : file,
						      (enum conf_family)i, *url)
				       : NULL;
		complete = complete && used[i] != NULL;
	}
	walk->context = "stores: ";
	if (complete)
		check_mix(walk, section != NULL ? section : file, used);
	walk->context = "";
}
