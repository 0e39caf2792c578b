/* SPDX-License-Identifier: Apache-2.0 */
/* A sink's table and plan. Start-up on the loop thread, afterwards read by the sink's thread. */
#include "sink/table.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/str.h"
#include "log/log.h"
#include "sink/decode.h"

#define DAY_S 86400
/* The warehouse's database where its URL names none. */
#define DATABASE "_e"

const char *sink_database(const char *warehouse, struct arena *arena)
{
	const char *database = warehouse_database(warehouse, arena);

	return database != NULL ? database : DATABASE;
}

static int find_column(const struct sink_table *table, const char *name)
{
	for (size_t i = 0; name != NULL && i < table->column_count; i++)
		if (str_eq(table->columns[i].name, name))
			return (int)i;
	return -1;
}

/* The time column's month or day, as the plugin wrote it: toYYYYMM(x) or toYYYYMMDD(x). */
static enum sink_split read_split(const struct sink_table *table)
{
	const struct sl_sink *sink = table->sink;
	char month[128], day[128];

	if (sink->partition_by == NULL || *sink->partition_by == '\0')
		return SPLIT_NONE;
	if (table->time_column < 0 || table->columns[table->time_column].type.kind != NATIVE_DATETIME)
		return SPLIT_UNKNOWN;
	str_format(month, sizeof(month), "toYYYYMM(%s)", sink->time_column);
	str_format(day, sizeof(day), "toYYYYMMDD(%s)", sink->time_column);
	if (str_eq(sink->partition_by, month))
		return SPLIT_MONTH;
	return str_eq(sink->partition_by, day) ? SPLIT_DAY : SPLIT_UNKNOWN;
}

static int read_column(const struct sl_sink_column *from, struct sink_column *column, struct error *err)
{
	column->name = from->name;
	column->type_text = from->type;
	column->path = from->path != NULL ? from->path : from->name;
	column->plain = *column->path != '\0' && strpbrk(column->path, ".|") == NULL;
	column->flags = from->flags;
	column->fallback = from->fallback;
	return native_type_parse(from->type, &column->type, err);
}

static int read_columns(struct sink_table *table, struct arena *arena, struct error *err)
{
	const struct sl_sink_column *from = table->sink->columns;

	while (from[table->column_count].name != NULL)
		table->column_count++;
	table->columns = arena_alloc(arena, table->column_count * sizeof(*table->columns));
	for (size_t i = 0; i < table->column_count; i++)
		if (read_column(&from[i], &table->columns[i], err) < 0)
			return error_prefix(err, "sink %s: column %s", table->sink->name, from[i].name);
	return 0;
}

/* A fallback that does not fit would be found out only by the first event that needs it. */
static int check_fallbacks(const struct sink_table *table, struct error *err)
{
	struct native_block *block = sink_table_block(table);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < table->column_count; i++)
		if (table->columns[i].fallback != NULL)
			rc = decode_text(block, i, table->columns[i].fallback, strlen(table->columns[i].fallback), err);
	native_block_free(&block);
	return rc < 0 ? error_prefix(err, "sink %s: fallback", table->sink->name) : 0;
}

/* A column by which rows can be put in order here. */
static bool is_sortable(const struct native_type *type)
{
	return !type->nullable && type->kind != NATIVE_FLOAT;
}

/* Up to the first expression that is more than a column's name. */
static void read_order(struct sink_table *table, struct arena *arena)
{
	const char *at = table->sink->order_by;

	table->order = arena_alloc(arena, (table->column_count + 1) * sizeof(*table->order));
	while (at != NULL && *at != '\0' && table->order_count < table->column_count) {
		size_t len = strcspn(at, ", ");
		char *name = arena_strndup(arena, at, len);
		int column = find_column(table, name);

		if (column < 0 || !is_sortable(&table->columns[column].type))
			return;
		table->order[table->order_count++] = (size_t)column;
		at += len + strspn(at + len, ", ");
	}
}

const struct sink_table *sink_table_new(const struct sl_sink *sink, const char *database, const char *table,
					struct arena *arena, struct error *err)
{
	struct sink_table *plan = arena_alloc(arena, sizeof(*plan));
	int identity;

	plan->sink = sink;
	plan->database = database;
	plan->name = table;
	if (read_columns(plan, arena, err) < 0)
		return NULL;
	identity = find_column(plan, sink->identity);
	assert(identity >= 0);		/* the loader refuses a sink without one */
	plan->identity = (size_t)identity;
	plan->time_column = find_column(plan, sink->time_column);
	plan->split = read_split(plan);
	while (sink->prefix != NULL && sink->prefix[plan->prefix_count] != NULL)
		plan->prefix_count++;
	plan->prefix = arena_alloc(arena, (plan->prefix_count + 1) * sizeof(*plan->prefix));
	for (size_t i = 0; i < plan->prefix_count; i++)
		plan->prefix[i] = (size_t)find_column(plan, sink->prefix[i]);
	read_order(plan, arena);
	return check_fallbacks(plan, err) < 0 ? NULL : plan;
}

/* text, an SQL expression, has name as a word of it. */
static bool names(const char *text, const char *name)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	while (text != NULL && *text != '\0') {
		size_t len = strspn(text, word);

		if (len == strlen(name) && memcmp(text, name, len) == 0)
			return true;
		text += len > 0 ? len : 1;
	}
	return false;
}

const struct sink_table *sink_table_replacing(const struct sink_table *table, struct arena *arena, struct error *err)
{
	struct sink_table *replacing = arena_alloc(arena, sizeof(*replacing));

	for (size_t i = 0; i < table->column_count; i++) {
		const char *name = table->columns[i].name;

		if (table->columns[i].flags & SL_COLUMN_NOW &&
		    (names(table->sink->order_by, name) || names(table->sink->partition_by, name))) {
			error_set(err, ERR_INPUT, "sink %s: warehouse.engine cannot be replacing: the table's order or "
				  "partition has %s, which is another for each insert", table->sink->name, name);
			return NULL;
		}
	}
	*replacing = *table;
	replacing->replacing = true;
	return replacing;
}

/* As the warehouse wants to hear it; all in the arena. */
static struct warehouse_table spec_of(const struct sink_table *table, enum warehouse_durability durability,
				      struct arena *arena)
{
	struct warehouse_column *columns = arena_alloc(arena, table->column_count * sizeof(*columns));

	for (size_t i = 0; i < table->column_count; i++) {
		columns[i].name = table->columns[i].name;
		columns[i].type = table->columns[i].type_text;
	}
	return (struct warehouse_table){
		.database = table->database, .name = table->name,
		.columns = columns, .column_count = table->column_count,
		.engine = table->sink->engine, .partition_by = table->sink->partition_by,
		.order_by = table->sink->order_by, .durability = durability,
		.identity = table->replacing ? table->columns[table->identity].name : NULL
	};
}

int sink_table_ensure(const struct sink_table *table, struct warehouse *wh,
		      enum warehouse_durability durability, struct error *err)
{
	struct arena *arena = arena_new();
	struct warehouse_table spec = spec_of(table, durability, arena);
	int rc = warehouse_ensure_table(wh, &spec, err);

	arena_free(&arena);
	return rc < 0 ? error_prefix(err, "sink %s", table->sink->name) : 0;
}

int sink_table_check(const struct sink_table *table, struct warehouse *wh,
		     enum warehouse_durability durability, struct buf *advice, struct error *err)
{
	struct arena *arena = arena_new();
	struct warehouse_table spec = spec_of(table, durability, arena);
	int rc = warehouse_check_table(wh, &spec, advice, err);

	arena_free(&arena);
	return rc < 0 ? error_prefix(err, "sink %s", table->sink->name) : 0;
}

struct warehouse *sink_table_open(const struct sink_table *table, const char *url,
				  enum warehouse_durability *durability, struct error *err)
{
	struct warehouse *wh = warehouse_open(url, NULL, err);

	if (wh == NULL)
		return NULL;
	if (*durability == WAREHOUSE_FSYNC && !warehouse_features(wh)->fsync) {
		log_warning("this warehouse cannot fsync an insert: a power cut may cost the last rows sink=%s",
			    table->sink->name);
		*durability = WAREHOUSE_INSERTED;
	}
	if (sink_table_ensure(table, wh, *durability, err) < 0)
		warehouse_close(&wh);
	return wh;
}

struct native_block *sink_table_block(const struct sink_table *table)
{
	struct native_block *block = native_block_new();
	struct error err;

	for (size_t i = 0; i < table->column_count; i++)
		if (native_block_add(block, table->columns[i].name, table->columns[i].type_text, &err) < 0)
			assert(!"types and names were checked before");
	return block;
}

static int compare_cells(const struct native_block *block, size_t column, size_t left, size_t right)
{
	size_t left_len, right_len;
	const char *left_text, *right_text;
	int64_t a, b;
	int order;

	if (native_block_type(block, column)->kind != NATIVE_STRING) {
		a = native_cell_int(block, column, left);
		b = native_cell_int(block, column, right);
		return (a > b) - (a < b);
	}
	left_text = native_cell_string(block, column, left, &left_len);
	right_text = native_cell_string(block, column, right, &right_len);
	order = memcmp(left_text, right_text, left_len < right_len ? left_len : right_len);
	return order != 0 ? order : (left_len > right_len) - (left_len < right_len);
}

int sink_table_compare(const struct sink_table *table, const struct native_block *block, size_t left, size_t right)
{
	int order = 0;

	for (size_t i = 0; order == 0 && i < table->order_count; i++)
		order = compare_cells(block, table->order[i], left, right);
	return order;
}

int64_t sink_table_partition(const struct sink_table *table, const struct native_block *block, size_t row)
{
	static _Thread_local int64_t cached_day = -1, cached_month;
	size_t column = (size_t)table->time_column;
	int64_t day;
	time_t time;
	struct tm tm;

	if (table->split != SPLIT_MONTH && table->split != SPLIT_DAY)
		return 0;
	if (native_cell_is_null(block, column, row))
		return -1;
	day = native_cell_int(block, column, row) / DAY_S;
	if (table->split == SPLIT_DAY)
		return day;
	if (day != cached_day) {
		time = (time_t)(day * DAY_S);
		gmtime_r(&time, &tm);
		cached_day = day;
		cached_month = (int64_t)tm.tm_year * 12 + tm.tm_mon;
	}
	return cached_month;
}
