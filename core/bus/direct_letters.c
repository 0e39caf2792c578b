/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dead letters of the direct: bus: rows of the task store. A letter's name
 * is the row's number. The caller's thread, which blocks.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/num.h"
#include "bus/driver.h"
#include "store/store_sync.h"

#define PAGE 500		/* letters read at once */
#define LOT 100			/* letters changed in one transaction */

struct direct_letters {
	struct bus_letters base;
	struct store_sync *store;
};

static struct store_sync *store_of(struct bus_letters *letters)
{
	return ((struct direct_letters *)letters)->store;
}

static struct bus_letters *direct_open(const struct bus_letters *base, const char *url, struct store_sync *store,
				       struct error *err)
{
	struct direct_letters *letters = mem_alloc(sizeof(*letters));

	(void)url;
	(void)err;
	letters->base = *base;
	letters->store = store;
	return &letters->base;
}

static int direct_has_queue(struct bus_letters *letters, const char *queue, struct error *err)
{
	struct store_letter_filter filter = {.queue = queue, .limit = 1};
	struct arena *arena = arena_new();
	struct store_letter *rows;
	size_t count = 0;
	int rc = store_sync_dead_read(store_of(letters), &filter, arena, &rows, &count, err);

	arena_free(&arena);
	return rc < 0 ? -1 : count > 0;
}

/* The ids that are numbers; what is none is not there. */
static const int64_t *numbers(struct arena *arena, const struct bus_letters_filter *filter, size_t *count_r)
{
	int64_t *ids = arena_alloc(arena, (filter->id_count + 1) * sizeof(*ids));

	*count_r = 0;
	for (size_t i = 0; i < filter->id_count; i++)
		if (num_parse_int(filter->ids[i], &ids[*count_r]) == 0)
			++*count_r;
	return ids;
}

static void mark_found(const struct bus_letters_filter *filter, int64_t id)
{
	int64_t number;

	for (size_t i = 0; i < filter->id_count; i++)
		if (num_parse_int(filter->ids[i], &number) == 0 && number == id)
			filter->found[i] = true;
}

/* One page of what the filter wants; none when it names ids of which none is a number. */
static int read_page(struct bus_letters *letters, const struct bus_letters_filter *filter, int64_t after_id,
		     size_t limit, struct arena *arena, struct store_letter **rows_r, size_t *count_r,
		     struct error *err)
{
	struct store_letter_filter wanted = {
		.queue = filter->queue, .after_id = after_id, .limit = limit, .payload = filter->payload};

	*count_r = 0;
	wanted.ids = numbers(arena, filter, &wanted.id_count);
	if (filter->id_count > 0 && wanted.id_count == 0)
		return 0;
	if (store_sync_dead_read(store_of(letters), &wanted, arena, rows_r, count_r, err) < 0)
		return -1;
	for (size_t i = 0; i < *count_r && filter->id_count > 0; i++)
		mark_found(filter, (*rows_r)[i].id);
	return 0;
}

static const char *or_empty(const char *text)
{
	return text != NULL ? text : "";
}

static int direct_read(struct bus_letters *letters, const struct bus_letters_filter *filter, struct arena *arena,
		       struct bus_parked **rows_r, size_t *count_r, bool *more_r, struct error *err)
{
	size_t limit = filter->limit > 0 ? filter->limit : SIZE_MAX / 4, count;
	struct store_letter *found;

	if (read_page(letters, filter, 0, limit + 1, arena, &found, &count, err) < 0)
		return -1;
	*more_r = count > limit;
	*count_r = *more_r ? limit : count;
	*rows_r = arena_alloc(arena, (*count_r + 1) * sizeof(**rows_r));
	for (size_t i = 0; i < *count_r; i++)
		(*rows_r)[i] = (struct bus_parked){
			.id = arena_printf(arena, "%" PRId64, found[i].id),
			.queue = found[i].queue,
			.code = or_empty(found[i].code),
			.reason = or_empty(found[i].reason),
			.first = found[i].first_at,
			.last = found[i].last_at,
			.count = found[i].count,
			.payload = found[i].payload,
			.len = found[i].payload_len,
		};
	return 0;
}

/* What is there now: letters that come back meanwhile have new numbers and are not taken again. */
static int collect(struct bus_letters *letters, const struct bus_letters_filter *filter, struct buf *ids,
		   struct error *err)
{
	size_t limit = filter->limit > 0 ? filter->limit : SIZE_MAX, count = PAGE, total = 0;
	int64_t after_id = 0;

	while (count == PAGE && total < limit) {
		struct arena *arena = arena_new();
		struct store_letter *rows;
		size_t page = limit - total < PAGE ? limit - total : PAGE;
		int rc = read_page(letters, filter, after_id, page, arena, &rows, &count, err);

		for (size_t i = 0; rc == 0 && i < count; i++) {
			buf_add(ids, &rows[i].id, sizeof(rows[i].id));
			after_id = rows[i].id > after_id ? rows[i].id : after_id;
		}
		arena_free(&arena);
		if (rc < 0)
			return -1;
		total += count;
	}
	return 0;
}

static int direct_change(struct bus_letters *letters, enum bus_letters_action action,
			 const struct bus_letters_filter *filter, bus_progress_fn *progress, void *user, size_t *done_r,
			 struct error *err)
{
	struct bus_letters_filter wanted = *filter;
	const int64_t *ids;
	struct buf list;
	size_t total, at = 0;
	int64_t count;
	int rc;

	wanted.payload = false;
	buf_init(&list);
	rc = collect(letters, &wanted, &list, err);
	ids = (const int64_t *)(const void *)list.data;
	total = list.len / sizeof(*ids);
	while (rc == 0 && at < total) {
		size_t lot = total - at < LOT ? total - at : LOT;

		rc = action == BUS_REPLAY ? store_sync_dead_replay(store_of(letters), ids + at, lot, &count, err)
					  : store_sync_dead_drop(store_of(letters), ids + at, lot, &count, err);
		if (rc == 0)
			*done_r += (size_t)count;
		at += lot;
		if (rc == 0 && progress != NULL)
			progress(user, at, total);
	}
	buf_fini(&list);
	return rc;
}

static void direct_close(struct bus_letters *letters)
{
	mem_release(letters);
}

const struct bus_letters_ops bus_direct_letters_ops = {
	.open = direct_open,
	.has_queue = direct_has_queue,
	.read = direct_read,
	.change = direct_change,
	.close = direct_close,
};
