/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine behind the schema: walks a tree against the tables and the
 * tables against a struct. Knows no key by name. Runs in the supervisor
 * (fill, write) and in every role (read).
 */
#include "conf/schema.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"

#define SHOWN_MAX 60		/* bytes of a value in a message */
#define LIST_MAX 1000		/* entries of a list of texts */

void conf_complain(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key,
		   const char *fmt, ...)
{
	struct buf text;
	va_list ap;

	buf_init(&text);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	conf_errors_add(walk->errors, node->line, node->column, "%s%s%s%s", walk->context,
			key != NULL ? key->name : "", key != NULL ? ": " : "", text.data);
	buf_fini(&text);
}

/* A URL's password, if it has one, becomes ***. */
static void mask_password(struct buf *out, const char *text)
{
	const char *slashes = strstr(text, "://");
	const char *at = slashes != NULL ? strrchr(slashes, '@') : NULL;
	const char *colon = at != NULL ? memchr(slashes + 3, ':', (size_t)(at - slashes - 3)) : NULL;

	if (colon == NULL) {
		buf_adds(out, text);
		return;
	}
	buf_add(out, text, (size_t)(colon + 1 - text));
	buf_adds(out, "***");
	buf_adds(out, at);
}

const char *conf_show(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key)
{
	struct buf text;
	char *shown;
	size_t cut = SHOWN_MAX;

	if (node->kind == CONF_SEQUENCE)
		return "a list";
	if (node->kind == CONF_MAPPING)
		return "a mapping";
	if (node->secret || (key != NULL && (key->flags & CONF_HIDDEN) != 0))
		return "***";
	buf_init(&text);
	mask_password(&text, node->raw);
	while (cut < text.len && cut > 0 && ((unsigned char)text.data[cut] & 0xc0) == 0x80)
		cut--;
	if (text.len <= SHOWN_MAX)
		shown = arena_printf(walk->arena, "\"%s\"", text.len > 0 ? text.data : "");
	else
		shown = arena_printf(walk->arena, "\"%.*s...\"", (int)cut, text.data);
	for (char *p = shown; *p != '\0'; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	buf_fini(&text);
	return shown;
}

const char *conf_nearest(struct conf_walk *walk, const char *word, const char *const *names, size_t count)
{
	const char *nearest = str_nearest(word, names, count);

	return nearest != NULL ? arena_printf(walk->arena, " (did you mean \"%s\"?)", nearest) : "";
}

const char *conf_scalar(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key)
{
	if (node->kind == CONF_SCALAR && !conf_is_null(node))
		return node->text;
	if (node->kind == CONF_SCALAR)
		conf_complain(walk, node, key, "has no value; it must be %s", key->type->what);
	else
		conf_complain(walk, node, key, "must be %s, not %s", key->type->what, conf_show(walk, node, key));
	return NULL;
}

static bool key_applies(const struct conf_section *section, const struct conf_key *key)
{
	return (key->flags & (section->without | CONF_INTERNAL)) == 0;
}

static const struct conf_key *find_key(const struct conf_section *section, const char *name)
{
	for (const struct conf_key *key = section->keys; key->name != NULL; key++)
		if (key_applies(section, key) && str_eq(key->name, name))
			return key;
	return NULL;
}

static void complain_unknown(struct conf_walk *walk, const struct conf_node *child, const struct conf_section *section)
{
	size_t count = 0;
	const char **names;

	for (const struct conf_key *key = section->keys; key->name != NULL; key++)
		count++;
	names = arena_alloc(walk->arena, count * sizeof(*names));
	count = 0;
	for (const struct conf_key *key = section->keys; key->name != NULL; key++)
		if (key_applies(section, key))
			names[count++] = key->name;
	conf_errors_add(walk->errors, child->key_line, child->key_column, "%sunknown key \"%.64s\"%s", walk->context,
			child->key, conf_nearest(walk, child->key, names, count));
}

void conf_section_init(struct arena *arena, const struct conf_section *section, void *base)
{
	struct conf_errors errors;
	struct conf_walk walk = {.arena = arena, .errors = &errors, .context = ""};

	conf_errors_init(&errors, "default");
	for (const struct conf_key *key = section->keys; key->name != NULL; key++) {
		struct conf_node node = {.kind = CONF_SCALAR, .text = key->fallback, .raw = key->fallback};

		if ((key->flags & section->without) != 0)
			continue;
		if (key->fallback != NULL)
			key->type->fill(&walk, &node, key, base);
		else if (key->type == &conf_struct)
			conf_section_init(arena, key->section, conf_field(base, key->offset));
	}
	assert(errors.count == 0);
	conf_errors_fini(&errors);
}

void conf_section_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_section *section,
		       void *base)
{
	const struct conf_key *bare = section->bare != NULL ? find_key(section, section->bare) : NULL;

	if (bare != NULL && node->kind == CONF_SCALAR && !conf_is_null(node)) {
		bare->type->fill(walk, node, bare, base);
		return;
	}
	if (node->kind != CONF_MAPPING) {
		if (!conf_is_null(node) && !node->bad)
			conf_complain(walk, node, NULL, "must be a mapping, not %s", conf_show(walk, node, NULL));
		return;
	}
	/* In the order of the schema, since defaults are read before what inherits them. */
	for (const struct conf_key *key = section->keys; key->name != NULL; key++) {
		const struct conf_node *child = key_applies(section, key) ? conf_child(node, key->name) : NULL;

		if (child != NULL && !child->bad)
			key->type->fill(walk, child, key, base);
		else if (child == NULL && (key->flags & CONF_REQUIRED) != 0 && key_applies(section, key))
			conf_complain(walk, node, NULL, "missing key \"%s\"", key->name);
	}
	for (const struct conf_node *child = node->first; child != NULL; child = child->next)
		if (find_key(section, child->key) == NULL)
			complain_unknown(walk, child, section);
}

void conf_section_write(struct jwrite *w, const struct conf_section *section, const void *base)
{
	for (const struct conf_key *key = section->keys; key->name != NULL; key++)
		if ((key->flags & (section->without | CONF_FILE_ONLY)) == 0)
			key->type->write(w, key, base);
}

int conf_section_read(struct arena *arena, const struct json *object, const struct conf_section *section, void *base,
		      struct error *err)
{
	if (json_type(object) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "not an object");
	for (const struct conf_key *key = section->keys; key->name != NULL; key++) {
		const struct json *value;

		if ((key->flags & (section->without | CONF_FILE_ONLY)) != 0)
			continue;
		value = json_member(object, key->name);
		if (value == NULL)
			return error_set(err, ERR_INPUT, "%s: missing", key->name);
		if (key->type->read(arena, value, key, base, err) < 0)
			return -1;
	}
	return 0;
}

/* --- a struct inside a struct --- */

static void struct_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *context = walk->context;

	walk->context = arena_printf(walk->arena, "%s%s: ", context, key->name);
	conf_section_fill(walk, node, key->section, conf_field(base, key->offset));
	walk->context = context;
}

static void struct_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	jwrite_object(w, key->name);
	conf_section_write(w, key->section, conf_field_of(base, key->offset));
	jwrite_end(w);
}

static int struct_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		       struct error *err)
{
	if (conf_section_read(arena, value, key->section, conf_field(base, key->offset), err) < 0)
		return error_prefix(err, "%s", key->name);
	return 0;
}

const struct conf_type conf_struct = {"section", "a mapping", struct_fill, struct_write, struct_read};

/* --- lists: a pointer at offset, a size_t at count_offset --- */

void conf_list_store(const struct conf_key *key, void *base, void *items, size_t count)
{
	if (count == 0)
		items = NULL;
	memcpy(conf_field(base, key->offset), &items, sizeof(items));
	*(size_t *)conf_field(base, key->count_offset) = count;
}

void *conf_list_items(const struct conf_key *key, const void *base)
{
	void *items;

	memcpy(&items, conf_field_of(base, key->offset), sizeof(items));
	return items;
}

size_t conf_list_count(const struct conf_key *key, const void *base)
{
	return *(const size_t *)conf_field_of(base, key->count_offset);
}

/* An array of structs, each beginning with its name. */
static void map_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *context = walk->context;
	size_t count = 0;
	char *items;

	if (node->kind != CONF_MAPPING) {
		if (!conf_is_null(node))
			conf_complain(walk, node, key, "must be a mapping of names, not %s",
				      conf_show(walk, node, key));
		return;
	}
	items = arena_alloc(walk->arena, node->count * key->section->size);
	for (const struct conf_node *child = node->first; child != NULL; child = child->next, count++) {
		void *item = items + count * key->section->size;
		const char *name = arena_strdup(walk->arena, child->key);

		walk->context = arena_printf(walk->arena, "%s \"%.64s\": ", key->section->noun, name);
		conf_section_init(walk->arena, key->section, item);
		if (key->section->init != NULL)
			key->section->init(walk, item);
		memcpy(item, &name, sizeof(name));
		conf_section_fill(walk, child, key->section, item);
	}
	walk->context = context;
	conf_list_store(key, base, items, count);
}

static void map_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	const char *items = conf_list_items(key, base);

	jwrite_object(w, key->name);
	for (size_t i = 0; i < conf_list_count(key, base); i++) {
		const char *item = items + i * key->section->size;
		const char *name;

		memcpy(&name, item, sizeof(name));
		jwrite_object(w, name);
		conf_section_write(w, key->section, item);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static int map_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		    struct error *err)
{
	char *items = arena_alloc(arena, json_count(value) * key->section->size);
	size_t count = 0;

	if (json_type(value) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "%s: not an object", key->name);
	for (const struct json *child = json_first(value); child != NULL; child = json_next(child), count++) {
		char *item = items + count * key->section->size;
		const char *name = arena_strdup(arena, json_name(child));

		memcpy(item, &name, sizeof(name));
		if (conf_section_read(arena, child, key->section, item, err) < 0)
			return error_prefix(err, "%s: %s", key->name, name);
	}
	conf_list_store(key, base, items, count);
	return 0;
}

const struct conf_type conf_map = {"map", "a mapping of names", map_fill, map_write, map_read};

static void texts_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char **items;
	size_t count = 0;

	if (node->kind != CONF_SEQUENCE) {
		conf_complain(walk, node, key, "must be a list such as [a, b], not %s", conf_show(walk, node, key));
		return;
	}
	if (node->count > LIST_MAX) {
		conf_complain(walk, node, key, "more than %d entries", LIST_MAX);
		return;
	}
	items = arena_alloc(walk->arena, node->count * sizeof(*items));
	for (const struct conf_node *child = node->first; child != NULL; child = child->next) {
		size_t before = 0;

		if (child->bad)
			continue;
		if (child->kind != CONF_SCALAR || conf_is_null(child) || *child->text == '\0') {
			conf_complain(walk, child, key, "must hold texts, not %s", conf_show(walk, child, key));
			continue;
		}
		while (before < count && !str_eq(items[before], child->text))
			before++;
		if (before < count)
			conf_complain(walk, child, key, "%s stands here twice", conf_show(walk, child, key));
		else
			items[count++] = arena_strdup(walk->arena, child->text);
	}
	conf_list_store(key, base, items, count);
}

void conf_texts_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	const char *const *items = conf_list_items(key, base);

	jwrite_array(w, key->name);
	for (size_t i = 0; i < conf_list_count(key, base); i++)
		jwrite_string(w, NULL, items[i]);
	jwrite_end(w);
}

int conf_texts_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		    struct error *err)
{
	const char **items = arena_alloc(arena, json_count(value) * sizeof(*items));
	size_t count = 0;

	for (const struct json *child = json_first(value); child != NULL; child = json_next(child)) {
		if (json_string(child, NULL) == NULL)
			return error_set(err, ERR_INPUT, "%s: not a list of texts", key->name);
		items[count++] = arena_strdup(arena, json_string(child, NULL));
	}
	conf_list_store(key, base, items, count);
	return 0;
}

const struct conf_type conf_texts = {"list", "a list of texts", texts_fill, conf_texts_write, conf_texts_read};
