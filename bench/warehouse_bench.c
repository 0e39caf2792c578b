/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many rows per second a warehouse takes from one handle: the same blocks
 * of nine columns and about 400 bytes per row, encoded before the clock starts.
 * Also what this process's CPU was used for it: packing and sending.
 *
 *     bench/warehouse_bench [-n BLOCKS] [-r ROWS] URL
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/uuid.h"
#include "warehouse/native.h"
#include "warehouse/warehouse.h"

static const struct warehouse_column columns[] = {
	{"event_id", "String", NULL, NULL}, {"source", "String", NULL, NULL}, {"platform", "String", NULL, NULL},
	{"profile_id", "String", NULL, NULL}, {"handle", "Nullable(String)", NULL, NULL},
	{"event_timestamp", "DateTime", NULL, NULL}, {"insert_timestamp", "DateTime", NULL, NULL},
	{"metrics", "String", NULL, NULL}, {"dimensions", "String", NULL, NULL}
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const struct warehouse_table table = {
	.database = "sluice_bench", .name = "events", .columns = columns, .column_count = COLUMNS, .engine = "MergeTree",
	.partition_by = "toYYYYMM(event_timestamp)", .order_by = "platform, profile_id, event_timestamp"
};

static void die(const struct error *err)
{
	fprintf(stderr, "warehouse_bench: %s\n", err->text);
	exit(1);
}

static struct native_block *make_block(size_t rows)
{
	struct native_block *block = native_block_new();
	struct error err;
	char text[400];

	for (size_t i = 0; i < COLUMNS; i++)
		if (native_block_add(block, columns[i].name, columns[i].type, &err) < 0)
			die(&err);
	for (size_t i = 0; i < rows; i++) {
		const char *const texts[] = {uuid_random(text), "graphapi", "INSTAGRAM"};

		for (size_t c = 0; c < 3; c++)
			native_put_string(block, c, texts[c], strlen(texts[c]), NULL);
		snprintf(text, sizeof(text), "%" PRIu64, random_u64() % 1000000);
		native_put_string(block, 3, text, strlen(text), NULL);
		native_put_string(block, 4, text, strlen(text), NULL);
		native_put_time(block, 5, 1795000000 + (int64_t)(i % 3600), NULL);
		native_put_time(block, 6, 1795000000, NULL);
		snprintf(text, sizeof(text), "{\"followers\": %" PRIu64 ", \"following\": %" PRIu64 ", \"posts\": %" PRIu64
			 ", \"engagement\": 0.%06" PRIu64 "}", random_u64() % 1000000, random_u64() % 5000,
			 random_u64() % 2000, random_u64() % 1000000);
		native_put_string(block, 7, text, strlen(text), NULL);
		snprintf(text, sizeof(text), "{\"biography\": \"photos of places and of %" PRIx64 "\", \"category\": "
			 "\"creator\", \"profile_pic_url\": \"https://cdn.example/t51.2885-19/%" PRIu64 "_%" PRIu64
			 "_n.jpg\"}", random_u64(), random_u64() % 100000000, random_u64() % 10000000000000000);
		native_put_string(block, 8, text, strlen(text), NULL);
		native_block_end_row(block);
	}
	return block;
}

static double cpu_seconds(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		(double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void run(struct warehouse *wh, const struct native_block *block, int blocks)
{
	struct warehouse_insert insert = {.database = table.database, .table = table.name, .block = block,
					  .deadline_ms = 60000};
	size_t rows = native_block_rows(block);
	struct error err;
	struct buf data;
	int64_t start;
	double seconds, cpu;

	buf_init(&data);
	native_block_encode(block, 0, rows, &data);
	insert.data = &data;
	start = clock_mono_ms();
	cpu = cpu_seconds();
	for (int i = 0; i < blocks; i++)
		if (warehouse_insert(wh, &insert, &err) < 0)
			die(&err);
	seconds = (double)(clock_mono_ms() - start) / 1000.0;
	printf("%s: %d blocks of %zu rows, %.1f MB each: %.2f s (CPU here %.2f s), %.0f rows/s, %.0f MB/s\n",
	       warehouse_features(wh)->version, blocks, rows, (double)data.len / 1e6, seconds, cpu_seconds() - cpu,
	       (double)rows * blocks / seconds, (double)data.len * blocks / seconds / 1e6);
	buf_fini(&data);
}

int main(int argc, char **argv)
{
	struct native_block *block;
	struct warehouse *wh;
	struct error err;
	size_t rows = 50000;
	int option, blocks = 20;

	while ((option = getopt(argc, argv, "n:r:")) != -1) {
		if (option == 'n')
			blocks = atoi(optarg);
		else if (option == 'r')
			rows = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind != argc - 1 || blocks < 1 || rows < 1) {
		fprintf(stderr, "usage: warehouse_bench [-n BLOCKS] [-r ROWS] URL\n");
		return 2;
	}
	wh = warehouse_open(argv[optind], NULL, &err);
	if (!wh || warehouse_query(wh, "DROP DATABASE IF EXISTS sluice_bench", "TSV", 0, NULL, &err) < 0 ||
	    warehouse_ensure_table(wh, &table, &err) < 0)
		die(&err);
	block = make_block(rows);
	run(wh, block, blocks);
	if (warehouse_query(wh, "DROP DATABASE sluice_bench", "TSV", 0, NULL, &err) < 0)
		die(&err);
	native_block_free(&block);
	warehouse_close(&wh);
	return 0;
}
