/* SPDX-License-Identifier: Apache-2.0 */
/* The warehouse in memory: a list of rows, a list of tables and one mutex around it all. */
#include "fake/warehouse.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "warehouse/driver.h"
#include "warehouse/native.h"
#include "warehouse/warehouse.h"

#define TABLES 8
#define ID_MAX 80

struct fake_row {
	char id[ID_MAX];
	int table;
	uint32_t at;
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t opened;
	bool closed, away, deaf;
	char question[2000];
	int orphan_age_ms;
	size_t waiting, lookups, mixed, unsorted, orphans;
	struct fake_row *rows;
	size_t count, cap;
	struct {
		char name[64];
		enum fake_fault fault;
		int times;
		size_t tries, inserts;
	} tables[TABLES];
	char refuse[ID_MAX];
	char tokens[1000][80];
	size_t token_count;
	char *answer;
	size_t answer_len;
} fake = { .mutex = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER };

static int table_of(const char *name)
{
	int i = 0;

	while (i < TABLES && fake.tables[i].name[0] != '\0' && !str_eq(fake.tables[i].name, name))
		i++;
	assert(i < TABLES);
	str_format(fake.tables[i].name, sizeof(fake.tables[i].name), "%s", name);
	return i;
}

static void add(int table, const char *id, size_t len, uint32_t at)
{
	if (fake.count == fake.cap) {
		fake.cap = fake.cap == 0 ? 1024 : fake.cap * 2;
		fake.rows = mem_realloc(fake.rows, fake.cap * sizeof(*fake.rows));
	}
	assert(len < ID_MAX);
	fake.rows[fake.count].table = table;
	fake.rows[fake.count].at = at;
	str_format(fake.rows[fake.count].id, ID_MAX, "%.*s", (int)len, id);
	fake.count++;
}

/* --- reading a block --- */

static uint64_t read_varint(const char **at)
{
	uint64_t value = 0;
	unsigned int shift = 0;

	do {
		value |= (uint64_t)(**at & 0x7f) << shift;
		shift += 7;
	} while (*(*at)++ & 0x80);
	return value;
}

/* Adds the block's rows behind the others, not yet counted as taken; returns how many. */
static size_t read_block(int table, const char *data, size_t len)
{
	const char *at = data;
	uint64_t columns = read_varint(&at), rows = read_varint(&at);
	size_t first = fake.count;

	for (uint64_t r = 0; r < rows; r++)
		add(table, "", 0, 0);
	for (uint64_t c = 0; c < columns; c++) {
		struct native_type type;
		char name[64], type_text[64];
		size_t n = read_varint(&at);

		str_format(name, sizeof(name), "%.*s", (int)n, at);
		at += n;
		n = read_varint(&at);
		str_format(type_text, sizeof(type_text), "%.*s", (int)n, at);
		at += n;
		if (native_type_parse(type_text, &type, NULL) < 0)
			assert(!"a known type");
		at += type.nullable ? rows : 0;
		for (uint64_t r = 0; r < rows; r++) {
			n = type.kind == NATIVE_STRING ? read_varint(&at) : type.width;
			if (str_eq(name, "id"))
				str_format(fake.rows[first + r].id, ID_MAX, "%.*s", (int)n, at);
			if (str_eq(name, "at"))
				memcpy(&fake.rows[first + r].at, at, sizeof(uint32_t));
			at += n;
		}
	}
	assert(at == data + len);
	return rows;
}

/* --- the driver --- */

static int fake_open(const char *rest, const struct warehouse_options *options, void **conn_r, struct error *err)
{
	(void)rest;
	(void)options;
	(void)err;
	*conn_r = &fake;
	return 0;
}

static void fake_close(void *conn)
{
	(void)conn;
}

static int failed(int code, int *code_r, enum error_code kind, struct error *err, const char *text)
{
	*code_r = code;
	return error_set(err, kind, "%s", text);
}

/* The identities that come along (TSV, of a String without anything to escape) and the table has, as RowBinary. */
static void look_up(const struct driver_query *query, struct buf *out)
{
	const char *at = query->table->data, *end = at + query->table->len;
	char id[ID_MAX], from[80];

	str_format(fake.question, sizeof(fake.question), "%s", query->sql);
	for (; at < end; at = strchr(at, '\n') + 1) {
		str_format(id, sizeof(id), "%.*s", (int)strcspn(at, "\n"), at);
		fake.lookups++;
		for (size_t i = 0; i < fake.count; i++) {
			str_format(from, sizeof(from), ".`%s` ", fake.tables[fake.rows[i].table].name);
			if (!str_eq(fake.rows[i].id, id) || strstr(query->sql, from) == NULL)
				continue;
			buf_addc(out, (char)strlen(id));
			buf_adds(out, id);
		}
	}
}

/* The table that a statement is about is missing; making it helps. */
static bool is_missing(const char *sql)
{
	const char *name = strstr(sql, ".`");
	char table[64];
	int at;

	if (name == NULL)
		return false;
	str_format(table, sizeof(table), "%.*s", (int)strcspn(name + 2, "`"), name + 2);
	at = table_of(table);
	if (fake.tables[at].fault == FAKE_MISSING && str_starts(sql, "CREATE TABLE"))
		fake.tables[at].fault = FAKE_NONE;
	return fake.tables[at].fault == FAKE_MISSING;
}

/* Running for longer than the first bound of the question: who asks wants it stopped. */
static bool is_too_old(const char *sql)
{
	const char *bound = strstr(sql, "elapsed * 1000 > ");

	assert(bound != NULL);
	return fake.orphan_age_ms > strtoll(bound + strlen("elapsed * 1000 > "), NULL, 10);
}

static int fake_query(void *conn, const struct driver_query *query, struct buf *out, int *code_r, struct error *err)
{
	int rc = 0;

	(void)conn;
	pthread_mutex_lock(&fake.mutex);
	if (fake.away)
		rc = failed(0, code_r, ERR_IO, err, "connection refused");
	else if (fake.deaf && (strstr(query->sql, "system.processes") != NULL ||
			       str_starts(query->sql, "SELECT DISTINCT")))
		rc = failed(0, code_r, ERR_TIMEOUT, err, "no answer");
	else if (is_missing(query->sql))
		rc = failed(60, code_r, ERR_IO, err, "Code: 60. DB::Exception: Table does not exist");
	else if (strstr(query->sql, "system.processes") != NULL)
		for (size_t i = 0; i < fake.orphans; i++)
			buf_printf(out, "node/events/1/%zu\t%d\n", i, is_too_old(query->sql));
	else if (str_starts(query->sql, "KILL QUERY WHERE query_id = 'node/events/1/"))
		fake.orphans--;
	else if (str_starts(query->sql, "DESCRIBE TABLE"))
		buf_adds(out, "id\tString\t\t\nv\tNullable(String)\t\t\nat\tDateTime\t\t\n");
	else if (strstr(query->sql, "FROM system.tables") != NULL)
		buf_adds(out, "MergeTree\t\tat\t\n");
	else if (strstr(query->sql, "system.settings") != NULL)
		buf_adds(out, "version 26.1\nutc 1\nset insert_deduplication_token\n");
	else if (str_starts(query->sql, "SELECT DISTINCT assumeNotNull"))
		look_up(query, out);
	else if (!str_starts(query->sql, "SELECT ") && !str_starts(query->sql, "INSERT "))
		rc = 0;
	else if (fake.answer == NULL)
		rc = failed(62, code_r, ERR_IO, err, "Code: 62. DB::Exception: no answer");
	else if (out != NULL)
		buf_add(out, fake.answer, fake.answer_len);
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

static bool is_refused(size_t first)
{
	for (size_t i = first; fake.refuse[0] != '\0' && i < fake.count; i++)
		if (strstr(fake.rows[i].id, fake.refuse) != NULL)
			return true;
	return false;
}

static bool comes_before(const struct fake_row *left, const struct fake_row *right)
{
	return left->at != right->at ? left->at < right->at : strcmp(left->id, right->id) < 0;
}

static void note_taken(int table, size_t first, const struct driver_insert *insert)
{
	int month = -1;
	struct tm tm;

	fake.tables[table].inserts++;
	for (size_t i = first; i < fake.count; i++) {
		time_t at = (time_t)fake.rows[i].at;

		gmtime_r(&at, &tm);
		if (month >= 0 && month != tm.tm_year * 12 + tm.tm_mon) {
			fake.mixed++;
			break;
		}
		month = tm.tm_year * 12 + tm.tm_mon;
	}
	for (size_t i = first + 1; i < fake.count; i++)
		if (comes_before(&fake.rows[i], &fake.rows[i - 1])) {
			fake.unsorted++;
			break;
		}
	for (size_t i = 0; i < insert->setting_count; i++)
		if (str_eq(insert->settings[i].name, "insert_deduplication_token") && fake.token_count < 1000)
			str_format(fake.tokens[fake.token_count++], sizeof(fake.tokens[0]), "%s",
				   insert->settings[i].value);
}

static int insert_into(int table, const struct driver_insert *insert, int *code_r, struct error *err)
{
	enum fake_fault fault = fake.tables[table].times != 0 ? fake.tables[table].fault : FAKE_NONE;
	size_t first = fake.count;
	int rc = 0;

	fake.tables[table].tries++;
	if (fake.tables[table].times > 0)
		fake.tables[table].times--;
	read_block(table, insert->data, insert->len);
	if (fault == FAKE_IO || fake.away)
		rc = failed(0, code_r, ERR_IO, err, "connection refused");
	else if (fault == FAKE_MISSING)
		rc = failed(60, code_r, ERR_IO, err, "Code: 60. DB::Exception: Table does not exist");
	else if (fault == FAKE_BUSY)
		rc = failed(252, code_r, ERR_IO, err, "Code: 252. DB::Exception: Too many parts (300)");
	else if (fault == FAKE_UNCLEAR_LOST || fault == FAKE_UNCLEAR_STORED)
		rc = failed(0, code_r, ERR_UNCLEAR, err, "no answer");
	else if (fault == FAKE_CONTENT || is_refused(first))
		rc = failed(53, code_r, ERR_IO, err, "Code: 53. DB::Exception: type mismatch");
	if (rc == 0)
		note_taken(table, first, insert);
	else if (fault != FAKE_UNCLEAR_STORED)
		fake.count = first;
	return rc;
}

static int fake_insert(void *conn, const struct driver_insert *insert, int *code_r, struct error *err)
{
	const char *name = strstr(insert->into, ".`");
	char table[64];
	int rc;

	(void)conn;
	assert(name != NULL);
	str_format(table, sizeof(table), "%.*s", (int)strcspn(name + 2, "`"), name + 2);
	pthread_mutex_lock(&fake.mutex);
	fake.waiting++;
	while (fake.closed)
		pthread_cond_wait(&fake.opened, &fake.mutex);
	fake.waiting--;
	rc = insert_into(table_of(table), insert, code_r, err);
	pthread_mutex_unlock(&fake.mutex);
	return rc;
}

static struct warehouse_ops ops = {
	.scheme = "fake", .dies_with_process = true, .table_bytes = 1 << 20,
	.open = fake_open, .close = fake_close, .query = fake_query, .insert = fake_insert
};

/* --- for tests --- */

void fake_warehouse_add(void)
{
	warehouse_add_driver(&ops);
}

void fake_warehouse_reset(void)
{
	pthread_mutex_lock(&fake.mutex);
	fake.closed = fake.away = fake.deaf = false;
	fake.question[0] = '\0';
	fake.orphans = 0;
	fake.orphan_age_ms = 0;
	ops.dies_with_process = true;
	fake.count = fake.lookups = fake.mixed = fake.unsorted = fake.token_count = 0;
	fake.refuse[0] = '\0';
	memset(fake.tables, 0, sizeof(fake.tables));
	mem_free(&fake.rows);
	mem_free(&fake.answer);
	fake.cap = 0;
	pthread_cond_broadcast(&fake.opened);
	pthread_mutex_unlock(&fake.mutex);
}

void fake_warehouse_fail(const char *table, enum fake_fault fault, int times)
{
	pthread_mutex_lock(&fake.mutex);
	fake.tables[table_of(table)].fault = fault;
	fake.tables[table_of(table)].times = times;
	pthread_mutex_unlock(&fake.mutex);
}

void fake_warehouse_orphans(size_t running)
{
	pthread_mutex_lock(&fake.mutex);
	ops.dies_with_process = false;
	fake.orphans = running;
	pthread_mutex_unlock(&fake.mutex);
}

void fake_warehouse_orphan_age(int ms)
{
	pthread_mutex_lock(&fake.mutex);
	fake.orphan_age_ms = ms;
	pthread_mutex_unlock(&fake.mutex);
}

void fake_warehouse_deaf(bool deaf)
{
	pthread_mutex_lock(&fake.mutex);
	fake.deaf = deaf;
	pthread_mutex_unlock(&fake.mutex);
}

const char *fake_warehouse_question(void)
{
	return fake.question;
}

void fake_warehouse_away(bool away)
{
	pthread_mutex_lock(&fake.mutex);
	fake.away = away;
	pthread_mutex_unlock(&fake.mutex);
}

void fake_warehouse_refuse_ids(const char *text)
{
	pthread_mutex_lock(&fake.mutex);
	str_format(fake.refuse, sizeof(fake.refuse), "%s", text != NULL ? text : "");
	pthread_mutex_unlock(&fake.mutex);
}

void fake_warehouse_gate(bool closed)
{
	pthread_mutex_lock(&fake.mutex);
	fake.closed = closed;
	pthread_cond_broadcast(&fake.opened);
	pthread_mutex_unlock(&fake.mutex);
}

void fake_warehouse_put(const char *table, const char *id)
{
	pthread_mutex_lock(&fake.mutex);
	add(table_of(table), id, strlen(id), 0);
	pthread_mutex_unlock(&fake.mutex);
}

size_t fake_warehouse_has(const char *table, const char *id)
{
	size_t found = 0;

	pthread_mutex_lock(&fake.mutex);
	for (size_t i = 0; i < fake.count; i++)
		found += fake.rows[i].table == table_of(table) && (id == NULL || str_eq(fake.rows[i].id, id));
	pthread_mutex_unlock(&fake.mutex);
	return found;
}

size_t fake_warehouse_rows(const char *table)
{
	return fake_warehouse_has(table, NULL);
}

static size_t read_locked(const size_t *value)
{
	size_t copy;

	pthread_mutex_lock(&fake.mutex);
	copy = *value;
	pthread_mutex_unlock(&fake.mutex);
	return copy;
}

size_t fake_warehouse_waiting(void)
{
	return read_locked(&fake.waiting);
}

size_t fake_warehouse_tries(const char *table)
{
	return read_locked(&fake.tables[table_of(table)].tries);
}

size_t fake_warehouse_inserts(const char *table)
{
	return read_locked(&fake.tables[table_of(table)].inserts);
}

size_t fake_warehouse_lookups(void)
{
	return read_locked(&fake.lookups);
}

size_t fake_warehouse_unsorted(void)
{
	return read_locked(&fake.unsorted);
}

size_t fake_warehouse_mixed(void)
{
	return read_locked(&fake.mixed);
}

bool fake_warehouse_tokens_differ(void)
{
	bool differ = true;

	pthread_mutex_lock(&fake.mutex);
	for (size_t i = 0; i < fake.token_count; i++)
		for (size_t k = 0; k < i; k++)
			differ = differ && !str_eq(fake.tokens[i], fake.tokens[k]);
	pthread_mutex_unlock(&fake.mutex);
	return differ;
}

void fake_warehouse_answer(const char *bytes, size_t len)
{
	pthread_mutex_lock(&fake.mutex);
	mem_free(&fake.answer);
	fake.answer = mem_alloc(len + 1);
	memcpy(fake.answer, bytes, len);
	fake.answer_len = len;
	pthread_mutex_unlock(&fake.mutex);
}
