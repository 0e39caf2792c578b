/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned columns, and numbers as people read them. */
#include "ctl.h"

#include <stdarg.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "json/json.h"

struct table {
	struct ctl *ctl;
	size_t columns;
	const char **names;
	bool *right;
	size_t *widths;
	char **cells;		/* row by row; owned by the arena */
	size_t count, cap;
};

/* Characters of well-formed UTF-8. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static struct table *new_table(struct ctl *ctl, size_t columns)
{
	struct table *table = arena_alloc(ctl->arena, sizeof(*table));

	table->ctl = ctl;
	table->names = arena_alloc(ctl->arena, columns * sizeof(*table->names));
	table->right = arena_alloc(ctl->arena, columns * sizeof(*table->right));
	table->widths = arena_alloc(ctl->arena, columns * sizeof(*table->widths));
	return table;
}

static void add_column(struct table *table, const char *name, bool right)
{
	table->names[table->columns] = name;
	table->right[table->columns] = right;
	table->widths[table->columns++] = width_of(name);
}

struct table *table_new(struct ctl *ctl, const char *columns)
{
	struct table *table = new_table(ctl, strlen(columns) + 1);
	char *rest = NULL, *word = strtok_r(arena_strdup(ctl->arena, columns), " ", &rest);

	for (; word != NULL; word = strtok_r(NULL, " ", &rest)) {
		bool right = str_ends(word, ">");

		if (right)
			word[strlen(word) - 1] = '\0';
		add_column(table, word, right);
	}
	return table;
}

struct table *table_new_names(struct ctl *ctl, const char *const *names, size_t count)
{
	struct table *table = new_table(ctl, count);

	for (size_t i = 0; i < count; i++)
		add_column(table, names[i], false);
	return table;
}

void table_right(struct table *table, size_t column)
{
	table->right[column] = true;
}

void table_cell(struct table *table, const char *text)
{
	char *cell = arena_strdup(table->ctl->arena, text != NULL ? text : "");
	size_t column = table->count % table->columns, width;

	/* What came from outside moves no cursor. */
	for (char *c = cell; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	if (table->count == table->cap) {
		size_t cap = table->cap > 0 ? table->cap * 2 : 64;
		char **grown = arena_alloc(table->ctl->arena, cap * sizeof(*grown));

		if (table->count > 0)
			memcpy(grown, table->cells, table->count * sizeof(*grown));
		table->cells = grown;
		table->cap = cap;
	}
	table->cells[table->count++] = cell;
	width = width_of(cell);
	if (width > table->widths[column])
		table->widths[column] = width;
}

void table_printf(struct table *table, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	table_cell(table, arena_vprintf(table->ctl->arena, fmt, ap));
	va_end(ap);
}

void table_cut(struct table *table, const char *text, size_t max)
{
	size_t len = text != NULL ? strlen(text) : 0, end = len;

	if (len > max)
		for (end = max - 3; end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80; )
			end--;
	if (end > 0)
		table_printf(table, "%.*s%s", (int)end, text, end < len ? "..." : "");
	else
		table_cell(table, "");
}

void table_json(struct table *table, const struct json *value)
{
	const char *text = json_string(value, NULL);
	struct buf out;

	if (text != NULL || json_type(value) == JSON_NULL) {
		table_cell(table, text);
		return;
	}
	buf_init(&out);
	json_print(value, &out);
	table_cell(table, out.data);
	buf_fini(&out);
}

void table_texts(struct table *table, const struct json *list)
{
	const char *text = "";
	const struct json *item;

	if (json_type(list) != JSON_ARRAY) {
		table_json(table, list);
		return;
	}
	for (item = json_first(list); item != NULL; item = json_next(item))
		text = arena_printf(table->ctl->arena, "%s%s%s", text, text[0] != '\0' ? ", " : "",
				    json_string(item, NULL));
	table_cell(table, text);
}

static const char *color_of(const char *cell)
{
	static const struct { const char *word, *start; } colors[] = {
		{"FAILED", "\033[31m"}, {"COMPLETE", "\033[32m"}, {"PROCESSING", "\033[33m"},
		{"ready", "\033[32m"}, {"waiting", "\033[31m"}
	};

	for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++)
		if (str_eq(colors[i].word, cell))
			return colors[i].start;
	return NULL;
}

static void print_cell(const struct table *table, FILE *out, size_t column, const char *text,
		       const char *start)
{
	int gap = (int)(table->widths[column] - width_of(text));
	bool last = column + 1 == table->columns;

	if (column > 0)
		fputs("  ", out);
	if (table->right[column])
		fprintf(out, "%*s", gap, "");
	if (start != NULL && table->ctl->color)
		fprintf(out, "%s%s\033[0m", start, text);
	else
		fputs(text, out);
	if (last)
		fputc('\n', out);
	else if (!table->right[column])
		fprintf(out, "%*s", gap, "");
}

void table_print(const struct table *table, FILE *out)
{
	for (size_t i = 0; i < table->columns; i++)
		print_cell(table, out, i, table->names[i], "\033[1m");
	for (size_t i = 0; i < table->count; i++)
		print_cell(table, out, i % table->columns, table->cells[i], color_of(table->cells[i]));
}

void table_or_json(const struct table *table, struct buf *json)
{
	if (table->ctl->json)
		puts(json->data);
	else
		table_print(table, stdout);
	buf_fini(json);
}

const char *text_seconds(struct ctl *ctl, long long seconds)
{
	if (seconds < 60)
		return arena_printf(ctl->arena, "%llds", seconds);
	if (seconds < 3600)
		return arena_printf(ctl->arena, "%lldm%02llds", seconds / 60, seconds % 60);
	if (seconds < 86400)
		return arena_printf(ctl->arena, "%lldh%02lldm", seconds / 3600, seconds / 60 % 60);
	return arena_printf(ctl->arena, "%lldd%02lldh", seconds / 86400, seconds / 3600 % 24);
}

const char *text_bytes(struct ctl *ctl, unsigned long long bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1024;
	return arena_printf(ctl->arena, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}
