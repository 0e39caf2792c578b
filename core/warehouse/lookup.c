/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the question "which of these rows are there?". Identities go as a
 * table along with the query, in as few statements as the driver's bounds
 * allow. Runs in the thread that owns the handle.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "warehouse/internal.h"
#include "warehouse/sql.h"

/* A profile may say otherwise: a part of the answer would be taken for all of it. */
#define WHOLE " SETTINGS read_overflow_mode = 'throw', set_overflow_mode = 'throw', distinct_overflow_mode = 'throw', " \
	"result_overflow_mode = 'throw', timeout_overflow_mode = 'throw', skip_unavailable_shards = 0"

struct sorted {
	const struct warehouse_text *ids;
	uint32_t *order;	/* indexes of ids, by bytes */
	size_t count;
};

int warehouse_text_compare(const struct warehouse_text *a, const struct warehouse_text *b)
{
	size_t len = a->len < b->len ? a->len : b->len;
	int diff = len ? memcmp(a->bytes, b->bytes, len) : 0;

	return diff ? diff : (a->len > b->len) - (a->len < b->len);
}

static int order_compare(const void *a, const void *b, void *context)
{
	const struct warehouse_text *ids = context;

	return warehouse_text_compare(&ids[*(const uint32_t *)a], &ids[*(const uint32_t *)b]);
}

static void sort_ids(struct sorted *sorted, struct warehouse_text *ids, size_t count)
{
	sorted->ids = ids;
	sorted->count = count;
	sorted->order = mem_alloc(count * sizeof(*sorted->order));
	for (size_t i = 0; i < count; i++)
		sorted->order[i] = (uint32_t)i;
	qsort_r(sorted->order, count, sizeof(*sorted->order), order_compare, ids);
}

static void mark(const struct sorted *sorted, const struct warehouse_text *id, bool *found)
{
	size_t low = 0, high = sorted->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (warehouse_text_compare(&sorted->ids[sorted->order[middle]], id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < sorted->count && warehouse_text_compare(&sorted->ids[sorted->order[low]], id) == 0; low++)
		found[sorted->order[low]] = true;
}

/* The answer is RowBinary of one String column: length as varint, bytes. */
static int mark_all(const struct sorted *sorted, const struct buf *out, bool *found, struct error *err)
{
	const char *at = out->data, *end = out->data + out->len;

	while (at < end) {
		struct warehouse_text id = {NULL, 0};
		unsigned shift = 0;

		do {
			id.len |= (size_t)(*at & 0x7f) << shift;
			shift += 7;
		} while ((*at++ & 0x80) && at < end && shift < 63);
		if (id.len > (size_t)(end - at))
			return error_set(err, ERR_IO, "the server's answer is cut");
		id.bytes = at;
		at += id.len;
		mark(sorted, &id, found);
	}
	return 0;
}

static void add_filter(struct buf *sql, const struct warehouse_filter *filter)
{
	const struct { const char *op, *value; } bounds[] = {{" >= ", filter->from}, {" <= ", filter->to}};

	for (size_t i = 0; i < filter->value_count; i++) {
		if (i == 0) {
			buf_adds(sql, " AND ");
			sql_name(sql, filter->column);
			buf_adds(sql, " IN (");
		}
		sql_text(sql, filter->values[i].bytes, filter->values[i].len);
		buf_addc(sql, i + 1 < filter->value_count ? ',' : ')');
	}
	for (size_t i = 0; i < 2; i++) {
		if (!bounds[i].value)
			continue;
		buf_adds(sql, " AND ");
		sql_name(sql, filter->column);
		buf_adds(sql, bounds[i].op);
		buf_adds(sql, filter->time ? "toDateTime(" : "");
		sql_text(sql, bounds[i].value, strlen(bounds[i].value));
		buf_adds(sql, filter->time ? ", 'UTC')" : "");
	}
}

/* One lookup under way. */
struct search {
	struct warehouse *wh;
	const struct warehouse_lookup *lookup;
	struct sorted sorted;
	struct buf head;	/* the statement */
	struct buf out;
	bool *found;
};

/* One statement, put to every host: a replica may not have yet what another has. */
static int ask_all(struct search *search, const char *sql, const struct driver_table *table, struct error *err)
{
	size_t hosts = warehouse_hosts(search->wh);

	for (size_t host = 1; host <= hosts; host++) {
		struct driver_query query = {
			.sql = sql, .format = "RowBinary", .deadline_ms = search->lookup->deadline_ms,
			.host = hosts > 1 ? host : 0, .table = table
		};

		buf_clear(&search->out);
		if (warehouse_ask(search->wh, &query, &search->out, err) < 0 ||
		    mark_all(&search->sorted, &search->out, search->found, err) < 0)
			return -1;
	}
	return 0;
}

/* "id TYPE" with the identity's own type: compared as anything else the primary key would be of no use. */
static int find_structure(struct search *search, struct buf *structure, struct error *err)
{
	const struct warehouse_lookup *lookup = search->lookup;
	struct arena *arena = arena_new();
	const struct warehouse_table *table = warehouse_describe(search->wh, arena, lookup->database, lookup->table,
								 err);

	for (size_t i = 0; table && i < table->column_count; i++)
		if (str_eq(table->columns[i].name, lookup->column))
			buf_printf(structure, "id %s", table->columns[i].type);
	arena_free(&arena);
	if (table && structure->len == 0)
		return error_set(err, ERR_NOT_FOUND, "there is no such column");
	return table ? 0 : -1;
}

/* In TSV: escaping at most doubles it. */
static size_t room_for(const struct warehouse_text *id)
{
	return 2 * id->len + 1;
}

static int ask_for_all(struct search *search, struct error *err)
{
	const struct warehouse_lookup *lookup = search->lookup;
	struct driver_table table = {.name = "sluice_ids"};
	struct buf structure, data;
	int rc;

	buf_init(&structure);
	buf_init(&data);
	rc = find_structure(search, &structure, err);
	buf_adds(&search->head, "(SELECT id FROM sluice_ids)" WHOLE);
	table.structure = structure.data;
	for (size_t i = 0; rc == 0 && i < lookup->id_count; i++) {
		sql_tsv_text(&data, lookup->ids[i].bytes, lookup->ids[i].len);
		buf_addc(&data, '\n');
		if (i + 1 < lookup->id_count && data.len + room_for(&lookup->ids[i + 1]) < search->wh->ops->table_bytes)
			continue;
		table.data = data.data;
		table.len = data.len;
		rc = ask_all(search, search->head.data, &table, err);
		buf_clear(&data);
	}
	buf_fini(&data);
	buf_fini(&structure);
	return rc;
}

int warehouse_lookup(struct warehouse *wh, const struct warehouse_lookup *lookup, bool *found_r,
		     struct error *err)
{
	struct search search = {.wh = wh, .lookup = lookup, .found = found_r};
	int rc;

	memset(found_r, 0, lookup->id_count * sizeof(*found_r));
	if (lookup->id_count == 0)
		return 0;
	buf_init(&search.head);
	buf_init(&search.out);
	sort_ids(&search.sorted, (struct warehouse_text *)(uintptr_t)lookup->ids, lookup->id_count);
	buf_adds(&search.head, "SELECT DISTINCT assumeNotNull(toString(");
	sql_name(&search.head, lookup->column);
	buf_adds(&search.head, ")) FROM ");
	sql_table(&search.head, lookup->database, lookup->table);
	buf_adds(&search.head, " WHERE 1");
	for (size_t i = 0; i < lookup->filter_count; i++)
		add_filter(&search.head, &lookup->filters[i]);
	buf_adds(&search.head, " AND ");
	sql_name(&search.head, lookup->column);
	buf_adds(&search.head, " IN ");
	rc = ask_for_all(&search, err);
	if (rc < 0)
		error_prefix(err, "looking up %s in %s.%s", lookup->column, lookup->database, lookup->table);
	mem_free(&search.sorted.order);
	buf_fini(&search.head);
	buf_fini(&search.out);
	return rc;
}
