/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns libyaml's events into a tree with positions. The only file that knows
 * libyaml. Runs in the supervisor and in sluicectl. No recursion: the depth is
 * bounded by an array, the work by the file's size.
 */
#include "conf/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yaml.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"
#include "conf/expand.h"

struct level {
	struct conf_node *node;
	struct map *keys;		/* mapping: key -> the node that has it (owned) */
	const char *key;		/* mapping: a key waiting for its value */
	unsigned int key_line, key_column;
	bool repeated;			/* the waiting key was there before: drop its value */
};

struct builder {
	struct arena *arena;
	struct conf_errors *errors;
	struct conf_expand expand;
	struct conf_node *root;
	struct level levels[CONF_DEPTH_MAX];
	unsigned int depth, nodes, documents;
	bool stop;			/* after an error that leaves no tree */
};

static unsigned int mark_line(const yaml_mark_t *mark)
{
	return (unsigned int)mark->line + 1;
}

static unsigned int mark_column(const yaml_mark_t *mark)
{
	return (unsigned int)mark->column + 1;
}

#define fatal(b, line, column, ...) \
	((b)->stop = true, conf_errors_add((b)->errors, (line), (column), __VA_ARGS__))

/* Places the node under the open container; a mapping's scalar without a waiting key becomes that key. */
static void attach(struct builder *b, struct conf_node *node)
{
	struct level *level;
	struct conf_node *parent;

	if (b->depth == 0) {
		b->root = node;
		return;
	}
	level = &b->levels[b->depth - 1];
	parent = level->node;
	if (parent->kind == CONF_MAPPING) {
		node->key = level->key;
		node->key_line = level->key_line;
		node->key_column = level->key_column;
		level->key = NULL;
		if (level->repeated)
			return;
		map_put(level->keys, node->key, node);
	}
	if (parent->last != NULL)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	parent->count++;
}

static bool wants_key(const struct builder *b)
{
	const struct level *level = b->depth > 0 ? &b->levels[b->depth - 1] : NULL;

	return level != NULL && level->node->kind == CONF_MAPPING && level->key == NULL;
}

static void take_key(struct builder *b, const yaml_event_t *event)
{
	struct level *level = &b->levels[b->depth - 1];
	const struct conf_node *before;

	level->key = arena_strndup(b->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
	level->key_line = mark_line(&event->start_mark);
	level->key_column = mark_column(&event->start_mark);
	before = map_get(level->keys, level->key);
	level->repeated = before != NULL;
	if (level->repeated)
		conf_errors_add(b->errors, level->key_line, level->key_column,
				"duplicate key \"%.64s\" (first at line %u)", level->key, before->key_line);
}

static struct conf_node *new_node(struct builder *b, enum conf_kind kind, const yaml_event_t *event)
{
	struct conf_node *node = arena_alloc(b->arena, sizeof(*node));

	node->kind = kind;
	node->line = mark_line(&event->start_mark);
	node->column = mark_column(&event->start_mark);
	if (++b->nodes > CONF_NODES_MAX)
		fatal(b, node->line, node->column, "more than %u values", CONF_NODES_MAX);
	return node;
}

static void take_scalar(struct builder *b, const yaml_event_t *event)
{
	const char *tag = (const char *)event->data.scalar.tag;
	struct conf_node *node = new_node(b, CONF_SCALAR, event);

	node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	node->raw = arena_strndup(b->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
	node->text = "";
	if (memchr(event->data.scalar.value, '\0', event->data.scalar.length) != NULL) {
		node->bad = true;
		conf_errors_add(b->errors, node->line, node->column, "a value must not contain a NUL character");
	} else if (tag == NULL || str_eq(tag, "!")) {
		conf_expand_scalar(&b->expand, node);
	} else if (str_eq(tag, "!file")) {
		conf_expand_file(&b->expand, node);
	} else {
		node->bad = true;
		conf_errors_add(b->errors, node->line, node->column, "unknown tag \"%.64s\" (there is only !file)", tag);
	}
	attach(b, node);
}

static void open_container(struct builder *b, enum conf_kind kind, const yaml_char_t *tag, const yaml_event_t *event)
{
	struct conf_node *node = new_node(b, kind, event);
	struct level *level;

	if (tag != NULL)
		conf_errors_add(b->errors, node->line, node->column, "a tag (\"%.64s\") is for a single value",
				(const char *)tag);
	if (b->depth == CONF_DEPTH_MAX)
		fatal(b, node->line, node->column, "nested deeper than %u levels", CONF_DEPTH_MAX);
	if (b->stop)
		return;
	attach(b, node);
	level = &b->levels[b->depth++];
	memset(level, 0, sizeof(*level));
	level->node = node;
	if (kind == CONF_MAPPING)
		level->keys = map_new();
}

static const yaml_char_t *event_anchor(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor;
	default:
		return NULL;
	}
}

static void take_event(struct builder *b, const yaml_event_t *event)
{
	unsigned int line = mark_line(&event->start_mark), column = mark_column(&event->start_mark);

	if (event->type == YAML_DOCUMENT_START_EVENT && ++b->documents > 1)
		fatal(b, line, column, "a second document begins here; the file holds exactly one");
	else if (event->type == YAML_ALIAS_EVENT)
		fatal(b, line, column, "aliases are not supported (\"*%.64s\")", (const char *)event->data.alias.anchor);
	else if (event_anchor(event) != NULL)
		fatal(b, line, column, "anchors are not supported (\"&%.64s\")", (const char *)event_anchor(event));
	else if (wants_key(b) && (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT))
		fatal(b, line, column, "a key must be a plain word");
	else if (event->type == YAML_SCALAR_EVENT && wants_key(b))
		take_key(b, event);
	else if (event->type == YAML_SCALAR_EVENT)
		take_scalar(b, event);
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		open_container(b, CONF_SEQUENCE, event->data.sequence_start.tag, event);
	else if (event->type == YAML_MAPPING_START_EVENT)
		open_container(b, CONF_MAPPING, event->data.mapping_start.tag, event);
	else if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT)
		map_free(&b->levels[--b->depth].keys);
}

/* Where the byte at that offset stands. */
static void locate(const char *bytes, size_t offset, unsigned int *line_r, unsigned int *column_r)
{
	*line_r = *column_r = 1;
	for (size_t i = 0; i < offset; i++) {
		if (bytes[i] == '\n') {
			(*line_r)++;
			*column_r = 1;
		} else if (((unsigned char)bytes[i] & 0xc0) != 0x80) {
			(*column_r)++;
		}
	}
}

/* Length of the longest valid UTF-8 prefix, found a line at a time so that str_is_utf8 stays the only judge. */
static size_t utf8_prefix(const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		const char *end = memchr(bytes + done, '\n', len - done);
		size_t line = end != NULL ? (size_t)(end - bytes) + 1 - done : len - done;

		if (str_is_utf8(bytes + done, line)) {
			done += line;
			continue;
		}
		for (size_t i = 0; i < line;) {
			size_t step = 1;

			while (step < 4 && i + step < line && ((unsigned char)bytes[done + i + step] & 0xc0) == 0x80)
				step++;
			if (!str_is_utf8(bytes + done + i, step))
				return done + i;
			i += step;
		}
		return done;
	}
	return len;
}

/* What libyaml would refuse with a text that helps nobody. Returns 0, or -1 after reporting. */
static int check_bytes(const char *bytes, size_t len, struct conf_errors *errors)
{
	size_t valid = utf8_prefix(bytes, len);
	unsigned int line, column;
	bool indent = true;

	if (valid < len) {
		locate(bytes, valid, &line, &column);
		conf_errors_add(errors, line, column, "not UTF-8 text (byte 0x%02x)", (unsigned char)bytes[valid]);
		return -1;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if ((c >= ' ' && c != 0x7f) || c == '\n' || c == '\r' || (c == '\t' && !indent)) {
			indent = c == '\n' || (indent && c == ' ');
			continue;
		}
		locate(bytes, i, &line, &column);
		if (c == '\t')
			conf_errors_add(errors, line, column, "a tab in the indentation; use spaces");
		else
			conf_errors_add(errors, line, column, "a control character (byte 0x%02x)", c);
		return -1;
	}
	return 0;
}

static void report_parser(struct builder *b, const yaml_parser_t *parser, const char *bytes)
{
	const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";
	unsigned int line = mark_line(&parser->problem_mark), column = mark_column(&parser->problem_mark);

	if (parser->error == YAML_READER_ERROR)
		locate(bytes, parser->problem_offset, &line, &column);
	if (strstr(problem, "mapping values are not allowed") != NULL)
		fatal(b, line, column, "a second \":\" on this line (quote a value that ends in a colon)");
	else if (parser->context != NULL)
		fatal(b, line, column, "%s (%s)", problem, parser->context);
	else
		fatal(b, line, column, "%s", problem);
}

struct conf_node *conf_yaml_parse(struct arena *arena, const char *bytes, size_t len, const char *directory,
				  const struct conf_env *env, struct conf_errors *errors)
{
	struct builder b = {.arena = arena, .errors = errors};
	yaml_parser_t parser;
	yaml_event_t event;
	bool end = false;

	if (len > CONF_FILE_MAX) {
		conf_errors_add(errors, 0, 0, "larger than 1 MiB");
		return NULL;
	}
	if (check_bytes(bytes, len, errors) < 0)
		return NULL;
	b.expand = (struct conf_expand){.arena = arena, .env = env, .directory = directory, .errors = errors};
	if (!yaml_parser_initialize(&parser)) {
		conf_errors_add(errors, 0, 0, "no memory for the YAML parser");
		return NULL;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, len);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	while (!end && !b.stop) {
		if (!yaml_parser_parse(&parser, &event)) {
			report_parser(&b, &parser, bytes);
			break;
		}
		end = event.type == YAML_STREAM_END_EVENT;
		take_event(&b, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	while (b.depth > 0)
		map_free(&b.levels[--b.depth].keys);
	if (!b.stop && b.root == NULL)
		fatal(&b, 0, 0, "the file is empty");
	return b.stop ? NULL : b.root;
}

/* At most CONF_FILE_MAX + 1 bytes. Returns 0, or -1 after reporting. */
static int read_file(const char *path, struct buf *out, struct conf_errors *errors)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got = 0;

	if (fd < 0) {
		conf_errors_add(errors, 0, 0, "cannot be opened: %s", strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > (off_t)CONF_FILE_MAX) {
		conf_errors_add(errors, 0, 0, "larger than 1 MiB (%lld bytes)", (long long)st.st_size);
		close(fd);
		return -1;
	}
	while (out->len <= CONF_FILE_MAX && (got = read(fd, buf_reserve(out, 65536), 65536)) > 0)
		out->len += (size_t)got;
	if (got < 0)
		conf_errors_add(errors, 0, 0, "cannot be read: %s", strerror(errno));
	close(fd);
	return got < 0 ? -1 : 0;
}

struct conf_node *conf_yaml_read(struct arena *arena, const char *path, const struct conf_env *env,
				 struct conf_errors *errors)
{
	const char *slash = strrchr(path, '/');
	const char *directory = slash == NULL ? "" : arena_strndup(arena, path, (size_t)(slash + 1 - path));
	struct conf_node *root = NULL;
	struct buf bytes;

	buf_init(&bytes);
	if (read_file(path, &bytes, errors) == 0)
		root = conf_yaml_parse(arena, bytes.len > 0 ? bytes.data : "", bytes.len, directory, env, errors);
	buf_fini(&bytes);
	return root;
}

const struct conf_node *conf_child(const struct conf_node *node, const char *key)
{
	if (node == NULL || node->kind != CONF_MAPPING)
		return NULL;
	for (const struct conf_node *child = node->first; child != NULL; child = child->next)
		if (str_eq(child->key, key))
			return child;
	return NULL;
}

bool conf_is_null(const struct conf_node *node)
{
	return node->kind == CONF_SCALAR && !node->quoted && !node->secret &&
	       (*node->raw == '\0' || str_eq(node->raw, "~") || str_eq(node->raw, "null"));
}
