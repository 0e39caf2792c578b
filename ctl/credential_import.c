/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl credential import: many credentials from a file. CSV with a line of
 * names (source, handle, limits, and members), a JSON array of objects, or an
 * object per line. A bad row is named with its line and left out, the others go in,
 * a hundred at a time; saying it again changes nothing.
 */
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "vault.h"

#define FILE_MAX ((size_t)256 << 20)
#define LOT 100
#define COLUMNS_MAX 64
#define LIMITS_MAX 16

struct import {
	struct vault vault;
	const char *path;
	struct buf text;
	size_t line;			/* of the row in hand, from 1; of an array: its number */
	const char *unit;		/* "line" or "entry" */
	size_t at, total;		/* bytes read, for the progress */
	struct store_credential lot[LOT];
	enum vault_outcome outcomes[LOT];
	size_t lot_count;
	size_t counts[3], bad;		/* by outcome */
};

static void complain_row(struct import *import, const struct error *err)
{
	vault_progress(import->vault.ctl, "bytes", 1, 1);
	ctl_fail("%s:%s%zu: %s", import->path, import->unit, import->line, err->text);
	import->bad++;
}

static int write_lot(struct import *import, struct error *err)
{
	int64_t ids[LOT];

	if (import->lot_count > 0 && store_sync_credential_put(import->vault.ctl->store, import->lot,
							       import->lot_count, ids, err) != 0)
		return -1;
	for (size_t i = 0; i < import->lot_count; i++)
		import->counts[import->outcomes[i]]++;
	import->lot_count = 0;
	return 0;
}

/* The item of one row, which was read well. -1: the store failed. */
static int take_item(struct import *import, const struct vault_item *item, struct error *err)
{
	enum vault_outcome outcome;
	struct error wrong;

	if (vault_item_check(item, &wrong) != 0) {
		complain_row(import, &wrong);
		return 0;
	}
	if (vault_row(&import->vault, item, &import->lot[import->lot_count], &outcome, err) != 0)
		return -1;
	vault_progress(import->vault.ctl, "bytes", import->at, import->total);
	if (outcome == VAULT_UNCHANGED) {
		import->counts[outcome]++;
		return 0;
	}
	import->outcomes[import->lot_count++] = outcome;
	return import->lot_count == LOT ? write_lot(import, err) : 0;
}

/* "100/30s, 20000/day" or "100/30s;20000/day". NULL and err->code when it is wrong; NULL alone when empty. */
static const char *split_limits(struct ctl *ctl, const char *text, struct error *err)
{
	const char *limits[LIMITS_MAX];
	size_t count = 0;

	error_clear(err);
	while (text != NULL && *text != '\0' && count < LIMITS_MAX) {
		size_t skip = strspn(text, " ,;"), len = strcspn(text + skip, ",;");

		if (len > 0)
			limits[count++] = arena_strndup(ctl->arena, text + skip, len);
		text += skip + len;
	}
	return count > 0 ? vault_limits(ctl, limits, count, err) : NULL;
}

/* --- JSON --- */

static int add_members(struct import *import, struct vault_item *item, const struct json *object,
		       struct error *err)
{
	struct arena *arena = import->vault.ctl->arena;

	if (json_type(object) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "\"credentials\" must be an object");
	item->members = arena_alloc(arena, (json_count(object) + 1) * sizeof(*item->members));
	for (const struct json *child = json_first(object); child != NULL; child = json_next(child)) {
		const char *value = json_string(child, NULL), *name = json_name(child);

		if (value == NULL || *value == '\0')
			return error_set(err, ERR_INPUT, "member \"%.64s\" must be a text that is not empty",
					 name);
		item->members[item->count++] = (struct credential_member){arena_strdup(arena, name),
			arena_strdup(arena, value), credential_is_secret(item->source, name)};
	}
	return 0;
}

static const char *text_of(struct import *import, const struct json *object, const char *name)
{
	const char *text = json_string(json_member(object, name), NULL);

	return text != NULL && *text != '\0' ? arena_strdup(import->vault.ctl->arena, text) : NULL;
}

static int read_object(struct import *import, const struct json *object, struct vault_item *item,
		       struct error *err)
{
	const char *source = text_of(import, object, "source"), *limits[LIMITS_MAX];
	const struct json *list = json_member(object, "limits"), *limit;
	size_t count = 0;

	if (json_type(object) != JSON_OBJECT || source == NULL)
		return error_set(err, ERR_INPUT, "it must be an object with \"source\" and \"credentials\"");
	item->source = vault_source(import->vault.ctl, source, err);
	if (item->source == NULL)
		return -1;
	item->handle = text_of(import, object, "handle");
	for (limit = json_first(list); limit != NULL && count < LIMITS_MAX; limit = json_next(limit))
		limits[count++] = json_string(limit, NULL) != NULL ? json_string(limit, NULL) : "";
	error_clear(err);
	item->limits = json_string(list, NULL) != NULL
			       ? split_limits(import->vault.ctl, json_string(list, NULL), err)
		       : count > 0 ? vault_limits(import->vault.ctl, limits, count, err)
				   : NULL;
	if (err->code != ERR_NONE)
		return -1;
	return add_members(import, item, json_member(object, "credentials"), err);
}

static int take_object(struct import *import, const struct json *object, struct error *err)
{
	struct vault_item item = {.source = NULL};
	struct error wrong;

	if (read_object(import, object, &item, &wrong) == 0)
		return take_item(import, &item, err);
	complain_row(import, &wrong);
	return 0;
}

static int import_array(struct import *import, struct error *err)
{
	struct json_doc *doc = json_parse(import->text.data, import->text.len, err);
	int rc = 0;

	if (doc == NULL)
		return error_prefix(err, "%s", import->path);
	import->unit = " entry ";
	import->total = json_count(json_root(doc));
	for (const struct json *row = json_first(json_root(doc)); row != NULL && rc == 0;
	     row = json_next(row)) {
		import->line++;
		import->at = import->line;
		rc = take_object(import, row, err);
	}
	json_doc_free(&doc);
	return rc;
}

static int import_lines(struct import *import, struct error *err)
{
	const char *text = import->text.data, *end = text + import->text.len;
	int rc = 0;

	for (; text < end && rc == 0; text += strcspn(text, "\n") + 1) {
		size_t len = strcspn(text, "\n");
		struct json_doc *doc;
		struct error wrong;

		import->line++;
		import->at = (size_t)(text - import->text.data);
		if (strspn(text, " \t\r") >= len)
			continue;
		doc = json_parse(text, len, &wrong);
		if (doc != NULL)
			rc = take_object(import, json_root(doc), err);
		else
			complain_row(import, &wrong);
		json_doc_free(&doc);
	}
	return rc;
}

/* --- CSV --- */

struct csv {
	char *at;			/* what comes next; the text is changed as fields are read */
	size_t line;			/* of what comes next */
	char *fields[COLUMNS_MAX];
	size_t count;
};

/* A quoted field: "" stands for one quote. Returns where it ends, NULL: it does not. */
static char *quoted(struct csv *csv, char *in)
{
	char *out = in;

	for (in++; *in != '\0'; in++) {
		if (*in == '\n')
			csv->line++;
		if (*in == '"' && in[1] != '"') {
			*out = '\0';
			return in + 1;
		}
		in += *in == '"';
		*out++ = *in;
	}
	return NULL;
}

/* One row. 1, or 0 at the end, or -1 and err: the row is not well-formed; what follows is read on. */
static int csv_next(struct csv *csv, struct error *err)
{
	char *in = csv->at;

	csv->count = 0;
	if (*in == '\0')
		return 0;
	for (;;) {
		char *field = in, *end;

		end = *in == '"' ? quoted(csv, in) : in + strcspn(in, ",\n");
		if (end == NULL) {
			csv->at = in + strlen(in);
			return error_set(err, ERR_INPUT, "a quote is not closed");
		}
		if (end > field && *end != ',' && end[-1] == '\r')
			end[-1] = '\0';
		if (*end == '\r' && end[1] == '\n')
			*end++ = '\0';
		if (csv->count < COLUMNS_MAX)
			csv->fields[csv->count] = field;
		csv->count++;
		if (*end != ',') {
			char *stop = end + strcspn(end, "\n");

			csv->line += *stop == '\n';
			csv->at = stop + (*stop != '\0');
			if (stop != end)
				return error_set(err, ERR_INPUT, "something stands behind a closing quote");
			*end = '\0';
			return 1;
		}
		*end = '\0';
		in = end + 1;
	}
}

static int read_row(struct import *import, const struct csv *names, const struct csv *row,
		    struct vault_item *item, struct error *err)
{
	struct ctl *ctl = import->vault.ctl;
	const char *source = NULL;

	if (row->count != names->count)
		return error_set(err, ERR_INPUT, "it has %zu columns, the first line has %zu", row->count,
				 names->count);
	error_clear(err);
	for (size_t i = 0; i < row->count; i++) {
		if (str_eq(names->fields[i], "source"))
			source = row->fields[i];
		else if (str_eq(names->fields[i], "handle"))
			item->handle =
				*row->fields[i] != '\0' ? arena_strdup(ctl->arena, row->fields[i]) : NULL;
		else if (str_eq(names->fields[i], "limits"))
			item->limits = split_limits(ctl, row->fields[i], err);
	}
	if (err->code != ERR_NONE)
		return -1;
	item->source = vault_source(ctl, source, err);
	if (item->source == NULL)
		return -1;
	item->members = arena_alloc(ctl->arena, (row->count + 1) * sizeof(*item->members));
	for (size_t i = 0; i < row->count; i++) {
		const char *name = names->fields[i];

		if (str_eq(name, "source") || str_eq(name, "handle") || str_eq(name, "limits") ||
		    *row->fields[i] == '\0')
			continue;
		item->members[item->count++] = (struct credential_member){arena_strdup(ctl->arena, name),
			arena_strdup(ctl->arena, row->fields[i]), credential_is_secret(item->source, name)};
	}
	return 0;
}

static int csv_names(struct csv *csv, struct error *err)
{
	if (csv_next(csv, err) <= 0)
		return error_set(err, ERR_INPUT, "the first line has to name the columns");
	if (csv->count > COLUMNS_MAX)
		return error_set(err, ERR_INPUT, "there are more than %d columns", COLUMNS_MAX);
	for (size_t i = 0; i < csv->count; i++)
		if (str_eq(csv->fields[i], "source"))
			return 0;
	return error_set(err, ERR_INPUT, "the first line names no column \"source\"");
}

static int import_csv(struct import *import, struct error *err)
{
	struct csv names = {.at = import->text.data, .line = 1}, row;
	struct error wrong;
	int got, rc = 0;

	if (csv_names(&names, err) != 0)
		return error_prefix(err, "%s:1", import->path);
	row = (struct csv){.at = names.at, .line = names.line};
	for (;;) {
		struct vault_item item = {.source = NULL};

		import->line = row.line;
		import->at = (size_t)(row.at - import->text.data);
		got = csv_next(&row, &wrong);
		if (got == 0 || rc != 0)
			return rc;
		if (got > 0 && row.count == 1 && *row.fields[0] == '\0')
			continue;
		if (got < 0 || read_row(import, &names, &row, &item, &wrong) != 0)
			complain_row(import, &wrong);
		else
			rc = take_item(import, &item, err);
	}
}

/* --- the command --- */

static int import_file(struct import *import, struct error *err)
{
	const char *first;

	if (vault_file(import->path, FILE_MAX, &import->text, err) != 0)
		return -1;
	if (import->text.len == 0 || memchr(import->text.data, '\0', import->text.len) != NULL)
		return error_set(err, ERR_INPUT, "%s holds no text", import->path);
	import->total = import->text.len;
	if (str_starts(import->text.data, "\xef\xbb\xbf"))
		buf_consume(&import->text, 3);
	first = import->text.data + strspn(import->text.data, " \t\r\n");
	if (*first == '[')
		return import_array(import, err);
	return *first == '{' ? import_lines(import, err) : import_csv(import, err);
}

static void print_imported(const struct import *import)
{
	const size_t *counts = import->counts;
	struct jwrite w;
	struct buf out;

	if (!import->vault.ctl->json) {
		printf("%zu added, %zu changed, %zu unchanged, %zu bad\n", counts[VAULT_ADDED],
		       counts[VAULT_CHANGED], counts[VAULT_UNCHANGED], import->bad);
		return;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	for (int i = VAULT_ADDED; i <= VAULT_UNCHANGED; i++)
		jwrite_uint(&w, vault_outcome_names[i], counts[i]);
	jwrite_uint(&w, "bad", import->bad);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

int cmd_credential_import(struct ctl *ctl)
{
	struct import *import = arena_alloc(ctl->arena, sizeof(*import));
	struct error err;
	int status = CTL_FAILED;

	import->path = ctl->args[0];
	import->unit = "";
	buf_init(&import->text);
	if (vault_open(&import->vault, ctl, true) == 0) {
		int rc = import_file(import, &err);

		if (rc == 0)
			rc = write_lot(import, &err);
		vault_progress(ctl, "bytes", 1, 1);
		print_imported(import);
		if (rc != 0)
			ctl_fail("%s; what was not counted is not in, so this may be repeated", err.text);
		else
			status = import->bad > 0 ? CTL_FAILED : CTL_OK;
	}
	secret_wipe(&import->text);
	vault_close(&import->vault);
	return status;
}
