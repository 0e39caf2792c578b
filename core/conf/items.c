/* SPDX-License-Identifier: Apache-2.0 */
/* See items.h. Everything of a file is in memory: it is read again with each slot, at once. */
#include "conf/items.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/params.h"
#include "json/json.h"
#include "json/jwrite.h"

#define COLUMNS_MAX 64

struct items {
	const struct sl_option *options;	/* borrowed */
	const char *what;			/* borrowed, or path */
	char *path;
	char print[SHA256_TEXT_SIZE];
	/* A list */
	struct json_doc *doc;
	const struct json *item;
	/* A file */
	struct buf text;
	size_t at;
	bool csv;
	long line;			/* that `at` stands in; of a list: the entry */
	char *columns[COLUMNS_MAX];
	size_t column_count;
};

void items_free(struct items **items)
{
	if (*items == NULL)
		return;
	json_doc_free(&(*items)->doc);
	buf_fini(&(*items)->text);
	for (size_t i = 0; i < (*items)->column_count; i++)
		mem_free(&(*items)->columns[i]);
	mem_free(&(*items)->path);
	mem_free(items);
}

const char *items_print(const struct items *items)
{
	return items->print;
}

struct items *items_from_json(const char *json, size_t len, const char *what, const struct sl_option *options,
			      struct error *err)
{
	struct json_doc *doc = json_parse(json, len, err);
	struct items *items;

	if (doc == NULL) {
		error_prefix(err, "%s", what);
		return NULL;
	}
	items = mem_alloc(sizeof(*items));
	buf_init(&items->text);
	items->doc = doc;
	items->item = json_first(json_root(doc));
	items->what = what;
	items->options = options;
	sha256_hex(items->print, json, len);
	return items;
}

/* --- CSV: fields with commas between them, in quotes where they hold commas, quotes ("") or line ends --- */

/* The field at items->at into out. Its end: ',', '\n', 0 at the end of the text, or -1: a quote is not closed. */
static int take_field(struct items *items, struct buf *out)
{
	const char *text = items->text.data;
	bool quoted = items->at < items->text.len && text[items->at] == '"';

	buf_clear(out);
	for (items->at += quoted; items->at < items->text.len; items->at++) {
		char c = text[items->at];

		items->line += c == '\n';
		if (quoted && c == '"' && text[items->at + 1] == '"')
			items->at++;
		else if (quoted && c == '"') {
			quoted = false;
			continue;
		} else if (!quoted && (c == ',' || c == '\n')) {
			items->at++;
			return c;
		} else if (!quoted && c == '\r' && text[items->at + 1] == '\n') {
			continue;
		}
		buf_addc(out, c);
	}
	return quoted ? -1 : 0;
}

static int read_header(struct items *items, struct error *err)
{
	struct buf field;
	int end = ',';

	buf_init(&field);
	while (end == ',' && items->column_count < COLUMNS_MAX) {
		end = take_field(items, &field);
		items->columns[items->column_count++] = mem_strdup(field.data != NULL ? field.data : "");
	}
	buf_fini(&field);
	if (end == ',' || end < 0)
		return error_set(err, ERR_INPUT, "%s:1: the first line must name up to %d parameters", items->what, COLUMNS_MAX);
	for (size_t i = 0; i < items->column_count; i++)
		if (conf_params_find(items->options, items->columns[i]) == NULL)
			return error_set(err, ERR_INPUT, "%s:1: the flow has no parameter \"%.64s\"", items->what,
					 items->columns[i]);
	return 0;
}

/* An empty field is a parameter that is not given. */
static int take_row(struct items *items, struct buf *out, struct error *err)
{
	long line = items->line;
	struct buf field;
	struct jwrite w;
	size_t count = 0;
	int end = ',';

	buf_init(&field);
	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	for (; end == ','; count++) {
		end = take_field(items, &field);
		if (count < items->column_count && field.len > 0)
			conf_params_write(&w, conf_params_find(items->options, items->columns[count]),
					  items->columns[count], field.data);
	}
	jwrite_end(&w);
	buf_fini(&field);
	if (end < 0)
		return error_set(err, ERR_INPUT, "%s:%ld: a quote that is not closed", items->what, line);
	if (count != items->column_count)
		return error_set(err, ERR_INPUT, "%s:%ld: %zu fields, but the first line has %zu", items->what, line, count,
				 items->column_count);
	return 0;
}

/* --- files --- */

static int read_text(struct items *items, struct error *err)
{
	FILE *in = fopen(items->path, "re");
	size_t n = 1;
	int rc = 0;

	if (in == NULL)
		return error_errno(err, "%s", items->path);
	while (n > 0 && items->text.len <= ITEMS_FILE_MAX) {
		n = fread(buf_reserve(&items->text, 65536), 1, 65536, in);
		items->text.len += n;
	}
	if (ferror(in))
		rc = error_errno(err, "%s", items->path);
	else if (items->text.len > ITEMS_FILE_MAX)
		rc = error_set(err, ERR_INPUT, "%s: larger than %zu MiB", items->path, ITEMS_FILE_MAX >> 20);
	fclose(in);
	buf_addc(&items->text, '\0');
	items->text.len--;
	sha256_hex(items->print, items->text.data, items->text.len);
	return rc;
}

struct items *items_from_file(const char *path, const struct sl_option *options, struct error *err)
{
	struct items *items = mem_alloc(sizeof(*items));

	buf_init(&items->text);
	items->options = options;
	items->what = items->path = mem_strdup(path);
	items->line = 1;
	items->csv = str_ends(path, ".csv");
	if (read_text(items, err) < 0 || (items->csv && read_header(items, err) < 0))
		items_free(&items);
	return items;
}

/* --- one after the other --- */

/* Columns of a query come as the store has them: numbers for booleans, texts for lists. NULL is not given. */
static void write_member(struct jwrite *w, const struct sl_option *option, const struct json *member)
{
	const char *name = json_name(member), *text = json_string(member, NULL);
	int64_t number;

	if (text != NULL && option != NULL && option->type != SL_STR)
		conf_params_write(w, option, name, text);
	else if (option != NULL && option->type == SL_BOOL && json_type(member) == JSON_INT &&
		 json_int(member, &number) && (number == 0 || number == 1))
		jwrite_bool(w, name, number == 1);
	else if (json_type(member) != JSON_NULL || option == NULL || (option->flags & SL_NULLABLE) != 0)
		jwrite_value(w, name, member);
}

static int take_item(struct items *items, struct buf *out, struct error *err)
{
	const struct json *item = items->item;
	struct jwrite w;

	items->item = json_next(item);
	items->line++;
	if (json_type(item) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "%s: entry %ld is no object", items->what, items->line);
	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	for (const struct json *member = json_first(item); member != NULL; member = json_next(member))
		write_member(&w, conf_params_find(items->options, json_name(member)), member);
	jwrite_end(&w);
	return 0;
}

/* The line at items->at; it ends with the text or a line end. */
static void take_line(struct items *items, struct buf *out)
{
	const char *start = items->text.data + items->at;
	const char *end = memchr(start, '\n', items->text.len - items->at);
	size_t len = end != NULL ? (size_t)(end - start) : items->text.len - items->at;

	buf_add(out, start, len);
	items->at += len + (end != NULL);
	items->line++;
}

static bool is_blank(const struct items *items)
{
	const char *text = items->text.data + items->at;
	size_t blanks = strspn(text, " \t\r");

	return text[blanks] == '\n' || items->at + blanks >= items->text.len;
}

static int check(struct items *items, long line, struct buf *out, struct error *err)
{
	struct json_doc *doc = json_parse(out->data, out->len, err);
	int rc = doc != NULL ? conf_params_check(items->options, json_root(doc), err) : -1;

	if (rc == 0 && items->doc == NULL && !items->csv) {
		/* However it was written, the same parameters are the same text. */
		buf_clear(out);
		json_print(json_root(doc), out);
	}
	json_doc_free(&doc);
	if (rc < 0 && items->doc != NULL)
		error_prefix(err, "%s: entry %ld", items->what, line);
	else if (rc < 0)
		error_prefix(err, "%s:%ld", items->what, line);
	return rc < 0 ? -1 : 1;
}

int items_next(struct items *items, struct buf *out, struct error *err)
{
	long line;
	int rc = 0;

	buf_clear(out);
	if (items->doc != NULL) {
		if (items->item == NULL)
			return 0;
		rc = take_item(items, out, err);
		line = items->line;
	} else {
		for (; items->at < items->text.len && is_blank(items); buf_clear(out))
			take_line(items, out);
		if (items->at >= items->text.len)
			return 0;
		line = items->line;
		if (items->csv)
			rc = take_row(items, out, err);
		else
			take_line(items, out);
	}
	return rc < 0 ? -1 : check(items, line, out, err);
}
