/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the question "which of these rows are there?": identities go as IN
 * lists in as few statements as the server's statement length allows. Runs in
 * the thread that owns the handle.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "warehouse/internal.h"
#include "warehouse/sql.h"

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
		sql_text(sql, bounds[i].value, strlen(bounds[i].value));
	}
}

/* Adds ids to sql until it is full; returns how many. */
static size_t add_ids(struct buf *sql, size_t limit, const struct warehouse_text *ids, size_t count)
{
	size_t n = 0;

	do {
		buf_addc(sql, n ? ',' : '(');
		sql_text(sql, ids[n].bytes, ids[n].len);
		n++;
		/* Escaping at most doubles an identity; 4 bytes are quotes, comma and last bracket. */
	} while (n < count && sql->len + 2 * ids[n].len + 4 < limit);
	buf_addc(sql, ')');
	return n;
}

int warehouse_lookup(struct warehouse *wh, const struct warehouse_lookup *lookup, bool *found_r,
		     struct error *err)
{
	struct buf head, sql, out;
	struct sorted sorted;
	size_t done = 0;
	int rc = 0;

	memset(found_r, 0, lookup->id_count * sizeof(*found_r));
	if (lookup->id_count == 0)
		return 0;
	buf_init(&head);
	buf_init(&sql);
	buf_init(&out);
	sort_ids(&sorted, (struct warehouse_text *)(uintptr_t)lookup->ids, lookup->id_count);
	buf_adds(&head, "SELECT DISTINCT assumeNotNull(toString(");
	sql_name(&head, lookup->column);
	buf_adds(&head, ")) FROM ");
	sql_table(&head, lookup->database, lookup->table);
	buf_adds(&head, " WHERE 1");
	for (size_t i = 0; i < lookup->filter_count; i++)
		add_filter(&head, &lookup->filters[i]);
	buf_adds(&head, " AND ");
	sql_name(&head, lookup->column);
	buf_adds(&head, " IN ");
	while (rc == 0 && done < lookup->id_count) {
		buf_clear(&sql);
		buf_clear(&out);
		buf_add(&sql, head.data, head.len);
		done += add_ids(&sql, wh->ops->query_bytes, lookup->ids + done, lookup->id_count - done);
		rc = warehouse_query(wh, sql.data, "RowBinary", lookup->deadline_ms, &out, err);
		if (rc == 0)
			rc = mark_all(&sorted, &out, found_r, err);
	}
	if (rc < 0)
		error_prefix(err, "looking up %s in %s.%s", lookup->column, lookup->database, lookup->table);
	mem_free(&sorted.order);
	buf_fini(&head);
	buf_fini(&sql);
	buf_fini(&out);
	return rc;
}
