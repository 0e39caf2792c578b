/* SPDX-License-Identifier: Apache-2.0 */
/* Merges what the tasks of one commit group write. Runs on the driver's thread; knows no driver. */
#include "store/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "json/json.h"
#include "pack/frame.h"

#define REPLACEMENT "\xef\xbf\xbd"
/* Less is read and sent as fast as it is. */
#define PACK_BYTES 1024

/* --- outbox --- */

void group_outbox_init(struct group_outbox *outbox, const struct store_options *options)
{
	memset(outbox, 0, sizeof(*outbox));
	outbox->max_bytes = (size_t)options->outbox_row_bytes;
	outbox->max_events = (uint32_t)options->outbox_row_events;
	outbox->packs = options->packed;
}

void group_outbox_fini(struct group_outbox *outbox)
{
	size_t i;

	for (i = 0; i < outbox->count; i++) {
		mem_free(&outbox->rows[i].queue);
		buf_fini(&outbox->rows[i].payload);
		buf_fini(&outbox->rows[i].packed);
	}
	mem_free(&outbox->rows);
	outbox->count = outbox->cap = 0;
}

/* The row of queue that still takes len bytes and so many events. */
static struct group_row *open_row(struct group_outbox *outbox, const char *queue, size_t len, uint32_t events)
{
	struct group_row *row;
	size_t i;

	/* Only the newest row of a queue is open; queues are few. */
	for (i = outbox->count; i > 0; i--) {
		row = &outbox->rows[i - 1];
		if (strcmp(row->queue, queue) != 0)
			continue;
		if (row->payload.len + 1 + len <= outbox->max_bytes &&
		    row->events + events <= outbox->max_events)
			return row;
		break;
	}
	if (outbox->count == outbox->cap) {
		outbox->cap = outbox->cap == 0 ? 8 : outbox->cap * 2;
		outbox->rows = mem_realloc(outbox->rows, outbox->cap * sizeof(*outbox->rows));
	}
	row = &outbox->rows[outbox->count++];
	row->queue = mem_strdup(queue);
	row->events = 0;
	buf_init(&row->payload);
	buf_init(&row->packed);
	return row;
}

static void append(struct group_row *row, const char *payload, size_t len, uint32_t events)
{
	const char *end = payload + len, *nul;

	if (row->events > 0)
		buf_addc(&row->payload, '\n');
	while ((nul = memchr(payload, '\0', (size_t)(end - payload))) != NULL) {
		buf_add(&row->payload, payload, (size_t)(nul - payload));
		buf_adds(&row->payload, REPLACEMENT);
		payload = nul + 1;
	}
	buf_add(&row->payload, payload, (size_t)(end - payload));
	row->events += events;
}

void group_outbox_add(struct group_outbox *outbox, const char *queue, const char *payload, size_t len,
		      uint32_t events)
{
	const char *line, *end, *newline;

	while (len > 0 && payload[len - 1] == '\n')
		len--;
	if (len == 0)
		return;
	if (events <= 1 || (len <= outbox->max_bytes && events <= outbox->max_events)) {
		append(open_row(outbox, queue, len, events), payload, len, events);
		return;
	}
	end = payload + len;
	for (line = payload; line < end; line = newline + 1) {
		newline = memchr(line, '\n', (size_t)(end - line));
		if (newline == NULL)
			newline = end;
		if (newline > line)
			append(open_row(outbox, queue, (size_t)(newline - line), 1), line,
			       (size_t)(newline - line), 1);
	}
}

/* Events that are packed end with a newline, each: rows may then be joined by putting frame after frame. */
static void pack(struct group_row *row)
{
	size_t len = row->payload.len;

	buf_clear(&row->packed);
	buf_addc(&row->payload, '\n');
	frame_pack(&row->packed, row->payload.data, len + 1);
	row->payload.len = len;
	row->payload.data[len] = '\0';
	if (row->packed.len > len / 8 * 7)
		buf_clear(&row->packed);
}

void group_outbox_end(struct group_outbox *outbox)
{
	for (size_t i = 0; i < outbox->count; i++)
		/* One event is one message, which anybody may read. */
		if (outbox->packs && outbox->rows[i].events > 1 && outbox->rows[i].payload.len >= PACK_BYTES)
			pack(&outbox->rows[i]);
}

/* --- values --- */

const char *group_clean(struct arena *arena, const char *text, size_t *len)
{
	const char *end = text + *len;
	char *clean, *out;
	size_t nuls = 0, i;

	for (i = 0; i < *len; i++)
		nuls += text[i] == '\0';
	if (nuls == 0)
		return text;
	out = clean = arena_alloc(arena, *len + nuls * 2 + 1);
	for (; text < end; text++) {
		if (*text != '\0') {
			*out++ = *text;
			continue;
		}
		memcpy(out, REPLACEMENT, 3);
		out += 3;
	}
	*len = (size_t)(out - clean);
	return clean;
}

const char *group_clean_json(struct arena *arena, const char *json)
{
	char *clean, *p;

	if (strstr(json, "\\u0000") == NULL)
		return json;
	clean = arena_strdup(arena, json);
	for (p = clean; *p != '\0'; p++) {
		if (*p != '\\')
			continue;
		if (strncmp(p, "\\u0000", 6) == 0)
			memcpy(p, "\\ufffd", 6);
		if (p[1] != '\0') /* the escaped character is not the start of an escape itself */
			p++;
	}
	return clean;
}

static int bad_value(struct error *err, const struct store_upsert *upsert, const struct store_column *column,
		     const char *value, const char *wanted)
{
	return error_set(err, ERR_CONTENT, "%s.%s of \"%s\": \"%.80s\" is not %s", upsert->table->name,
			 column->name, upsert->key != NULL ? upsert->key : "", value, wanted);
}

static const char *boolean(const char *value)
{
	static const char *const yes[] = {"true", "t", "1"}, *const no[] = {"false", "f", "0"};
	size_t i;

	for (i = 0; i < 3; i++) {
		if (strcmp(value, yes[i]) == 0)
			return "1";
		if (strcmp(value, no[i]) == 0)
			return "0";
	}
	return NULL;
}

static int check_json(const struct store_upsert *upsert, const struct store_column *column, const char *value,
		      struct error *err)
{
	struct json_doc *doc = json_parse(value, strlen(value), NULL);
	bool good =
		doc != NULL && (column->type != STORE_TEXT_ARRAY || json_type(json_root(doc)) == JSON_ARRAY);

	json_doc_free(&doc);
	return good ? 0
		    : bad_value(err, upsert, column, value,
				column->type == STORE_TEXT_ARRAY ? "a JSON list" : "JSON");
}

/* *value as the column's type wants it. An empty text means nothing except where it overwrites a text. */
static int check_value(struct arena *arena, const struct store_upsert *upsert,
		       const struct store_column *column, const char **value, struct error *err)
{
	int64_t integer;
	double number;

	if (*value == NULL)
		return 0;
	if (**value == '\0' && (column->type != STORE_TEXT || column->rule != STORE_OVERWRITE)) {
		*value = NULL;
		return 0;
	}
	if (!str_is_utf8(*value, strlen(*value)))
		return error_set(err, ERR_CONTENT, "%s.%s: the text is not UTF-8", upsert->table->name,
				 column->name);
	switch (column->type) {
	case STORE_BIGINT:
		return num_parse_int(*value, &integer) == 0
			       ? 0
			       : bad_value(err, upsert, column, *value, "a 64-bit integer");
	case STORE_DOUBLE:
		return num_parse_double(*value, &number) == 0
			       ? 0
			       : bad_value(err, upsert, column, *value, "a number");
	case STORE_BOOLEAN:
		if (boolean(*value) == NULL)
			return bad_value(err, upsert, column, *value, "true or false");
		*value = boolean(*value);
		return 0;
	case STORE_TIMESTAMP:
		return clock_parse(*value, strlen(*value), &integer) == 0
			       ? 0
			       : bad_value(err, upsert, column, *value, "a time");
	case STORE_JSON:
	case STORE_TEXT_ARRAY:
		*value = group_clean_json(arena, *value);
		return check_json(upsert, column, *value, err);
	case STORE_TEXT:
		return 0;
	}
	return 0;
}

/* --- merging --- */

struct entry {
	struct store_upsert upsert;
	size_t order;
};

static int compare(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;
	int order = strcmp(left->upsert.table->name, right->upsert.table->name);

	if (order == 0 && left->upsert.key != NULL)
		order = strcmp(left->upsert.key, right->upsert.key);
	if (order == 0)
		order = left->order < right->order ? -1 : 1;
	return order;
}

static int collect(struct arena *arena, const struct store_upsert *from, struct entry *entry,
		   struct error *err)
{
	const struct store_table *table = from->table;
	const char **values;
	size_t i;

	if ((from->key == NULL || *from->key == '\0') && table->key_column != NULL)
		return error_set(err, ERR_CONTENT, "%s: a row without %s", table->name, table->key_column);
	if (from->key != NULL && !str_is_utf8(from->key, strlen(from->key)))
		return error_set(err, ERR_CONTENT, "%s.%s: the key is not UTF-8", table->name,
				 table->key_column);
	values = arena_alloc(arena, (table->column_count + 1) * sizeof(*values));
	for (i = 0; i < table->column_count; i++) {
		values[i] = from->values[i];
		if (table->columns[i].written &&
		    check_value(arena, from, &table->columns[i], &values[i], err) < 0)
			return -1;
	}
	entry->upsert.table = table;
	entry->upsert.key = table->key_column != NULL ? from->key : NULL;
	entry->upsert.values = values;
	return 0;
}

/* Both speak of the same row, later after earlier: what writing one after the other would leave. */
static void merge(struct store_upsert *earlier, const struct store_upsert *later)
{
	const struct store_table *table = earlier->table;
	const char **values = (const char **)(uintptr_t)earlier->values;
	size_t i;

	for (i = 0; i < table->column_count; i++) {
		switch (table->columns[i].rule) {
		case STORE_KEEP:
			if (later->values[i] != NULL)
				values[i] = later->values[i];
			break;
		case STORE_OVERWRITE:
			values[i] = later->values[i];
			break;
		case STORE_ONCE:
			if (values[i] == NULL)
				values[i] = later->values[i];
			break;
		}
	}
}

int group_upserts(struct arena *arena, struct store_commit *const *members, size_t count,
		  struct store_upsert **upserts_r, size_t *upsert_count_r, struct error *err)
{
	struct store_upsert *upserts, *last = NULL;
	struct entry *entries;
	size_t total = 0, kept = 0, i, j;

	for (i = 0; i < count; i++)
		total += members[i]->outcome == STORE_COMMITTED ? members[i]->upsert_count : 0;
	entries = arena_alloc(arena, (total + 1) * sizeof(*entries));
	total = 0;
	for (i = 0; i < count; i++) {
		for (j = 0; members[i]->outcome == STORE_COMMITTED && j < members[i]->upsert_count; j++) {
			if (collect(arena, &members[i]->upserts[j], &entries[total], err) < 0)
				return -1;
			entries[total].order = total;
			total++;
		}
	}
	qsort(entries, total, sizeof(*entries), compare);
	upserts = arena_alloc(arena, (total + 1) * sizeof(*upserts));
	for (i = 0; i < total; i++) {
		const struct store_upsert *next = &entries[i].upsert;

		if (last != NULL && next->key != NULL && strcmp(last->table->name, next->table->name) == 0 &&
		    strcmp(last->key, next->key) == 0) {
			merge(last, next);
			continue;
		}
		last = &upserts[kept++];
		*last = *next;
	}
	*upserts_r = upserts;
	*upsert_count_r = kept;
	return 0;
}

/* --- SQL that every driver's dialect has --- */

static void add_rule(struct buf *sql, const struct store_table *table, const struct store_column *column)
{
	switch (column->rule) {
	case STORE_KEEP:
		buf_printf(sql, "\"%s\" = coalesce(excluded.\"%s\", \"%s\".\"%s\")", column->name,
			   column->name, table->name, column->name);
		break;
	case STORE_OVERWRITE:
		buf_printf(sql, "\"%s\" = excluded.\"%s\"", column->name, column->name);
		break;
	case STORE_ONCE:
		buf_printf(sql, "\"%s\" = coalesce(\"%s\".\"%s\", excluded.\"%s\")", column->name,
			   table->name, column->name, column->name);
		break;
	}
}

bool group_is_bound(const struct store_table *table, const struct store_column *column)
{
	if (!column->written || (table->key_column != NULL && strcmp(column->name, table->key_column) == 0))
		return false;
	return !table->stamped ||
	       (strcmp(column->name, "created_at") != 0 && strcmp(column->name, "updated_at") != 0);
}

void group_conflict_sql(struct buf *sql, const struct store_table *table)
{
	size_t i;

	if (table->key_column == NULL)
		return;
	buf_printf(sql, " ON CONFLICT (\"%s\") DO UPDATE SET \"%s\" = excluded.\"%s\"", table->key_column,
		   table->key_column, table->key_column);
	if (table->stamped)
		buf_adds(sql, ", updated_at = excluded.updated_at");
	for (i = 0; i < table->column_count; i++) {
		if (!group_is_bound(table, &table->columns[i]))
			continue;
		buf_adds(sql, ", ");
		add_rule(sql, table, &table->columns[i]);
	}
}
