/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "json/jwrite.h"

#define FLUSH_BYTES (256 * 1024)
#define MAX_ROWS 512

/* Numbers seen, open addressing; a stored value is number + 1, 0 = free. */
struct set {
	uint64_t *slots;
	size_t size, count;
};

struct counts {
	int64_t requests;
	struct set seen[ENTITY_KINDS];
};

struct row {
	const char *source, *operation;	/* static */
	unsigned int status;
	int64_t count, since_mark;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static bool log_broken;
static struct buf lines;
static struct counts total, marked;
static char mark_name[SIM_TEXT];
static int64_t mark_ms;
static struct row rows[MAX_ROWS];
static size_t row_count;

static const char *const kind_names[ENTITY_KINDS] = {"profiles", "posts", "channels", "videos", "orders"};

static void set_put(struct set *set, uint64_t value)
{
	size_t at = (size_t)(value * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (set->size - 1);

	while (set->slots[at] && set->slots[at] != value)
		at = (at + 1) & (set->size - 1);
	set->count += set->slots[at] == 0;
	set->slots[at] = value;
}

static void set_add(struct set *set, uint64_t number)
{
	struct set larger = {.size = set->size ? 2 * set->size : 1024};

	if (set->count * 2 >= set->size) {
		larger.slots = mem_alloc(larger.size * sizeof(*larger.slots));
		for (size_t i = 0; i < set->size; i++)
			if (set->slots[i])
				set_put(&larger, set->slots[i]);
		mem_release(set->slots);
		*set = larger;
	}
	set_put(set, number + 1);
}

int record_open(const char *path, struct error *err)
{
	buf_init(&lines);
	if (!path)
		return 0;
	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	return log_fd < 0 ? error_errno(err, "cannot open %s", path) : 0;
}

/* Under the lock. */
static void flush(void)
{
	size_t at = 0;
	ssize_t n;

	while (at < lines.len && !log_broken) {
		n = write(log_fd, lines.data + at, lines.len - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			log_broken = true;
			perror("sluice-sim: cannot write the log");
			break;
		}
		at += (size_t)n;
	}
	buf_clear(&lines);
}

void record_flush(void)
{
	pthread_mutex_lock(&lock);
	flush();
	pthread_mutex_unlock(&lock);
}

static void served_write(struct jwrite *w, const struct sim_request *request)
{
	char key[WORLD_KEY_SIZE];
	bool open;

	for (unsigned int kind = 0; kind < ENTITY_KINDS; kind++) {
		open = false;
		for (size_t i = 0; i < request->served_count; i++) {
			if (request->served[i].kind != kind)
				continue;
			if (!open)
				jwrite_array(w, kind_names[kind]);
			open = true;
			entity_key(request->served[i].kind, request->served[i].number, key);
			jwrite_string(w, NULL, key);
		}
		if (open)
			jwrite_end(w);
	}
}

/* Under the lock. */
static void line_add(const struct sim_request *request, bool complete, bool served)
{
	struct jwrite w;

	jwrite_init(&w, &lines);
	jwrite_object(&w, NULL);
	jwrite_int(&w, "t", clock_wall_ms());
	jwrite_int(&w, "arrived", request->arrived_ms);
	jwrite_string(&w, "source", request->source);
	jwrite_string(&w, "op", request->operation);
	jwrite_string(&w, "key", request->key);
	jwrite_string(&w, "cursor", request->cursor);
	jwrite_string(&w, "credential", request->credential);
	jwrite_uint(&w, "status", request->status);
	jwrite_uint(&w, "bytes", request->body.len);
	jwrite_bool(&w, "complete", complete);
	if (request->fault)
		jwrite_string(&w, "fault", request->fault);
	if (served)
		served_write(&w, request);
	jwrite_end(&w);
	buf_addc(&lines, '\n');
	if (lines.len > FLUSH_BYTES)
		flush();
}

/* Under the lock. Sources, operations and statuses are few. */
static void row_add(const struct sim_request *request)
{
	struct row *row = rows;

	while (row < rows + row_count
	       && (row->status != request->status || !str_eq(row->operation, request->operation)
		   || !str_eq(row->source, request->source)))
		row++;
	if (row == rows + row_count) {
		if (row_count == MAX_ROWS)
			return;
		*row = (struct row){request->source, request->operation, request->status, 0, 0};
		row_count++;
	}
	row->count++;
	row->since_mark++;
}

void record_request(const struct sim_request *request, bool complete)
{
	const bool served = complete && request->status == 200 && !request->void_body;

	pthread_mutex_lock(&lock);
	total.requests++;
	marked.requests++;
	row_add(request);
	for (size_t i = 0; served && i < request->served_count; i++) {
		set_add(&total.seen[request->served[i].kind], request->served[i].number);
		set_add(&marked.seen[request->served[i].kind], request->served[i].number);
	}
	if (log_fd >= 0)
		line_add(request, complete, served);
	pthread_mutex_unlock(&lock);
}

void record_mark(const char *name)
{
	pthread_mutex_lock(&lock);
	sim_set(mark_name, name);
	mark_ms = clock_wall_ms();
	for (unsigned int kind = 0; kind < ENTITY_KINDS; kind++)
		mem_release(marked.seen[kind].slots);
	memset(&marked, 0, sizeof(marked));
	for (size_t i = 0; i < row_count; i++)
		rows[i].since_mark = 0;
	pthread_mutex_unlock(&lock);
}

static void counts_write(struct jwrite *w, const char *name, const struct counts *counts)
{
	jwrite_object(w, name);
	jwrite_int(w, "requests", counts->requests);
	for (unsigned int kind = 0; kind < ENTITY_KINDS; kind++)
		jwrite_uint(w, kind_names[kind], counts->seen[kind].count);
	jwrite_end(w);
}

void record_stats(struct buf *out)
{
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_uint(&w, "seed", world.seed);
	jwrite_int(&w, "now", world.now_s);
	pthread_mutex_lock(&lock);
	counts_write(&w, "since_start", &total);
	jwrite_string(&w, "mark", mark_name);
	jwrite_int(&w, "mark_ms", mark_ms);
	counts_write(&w, "since_mark", &marked);
	jwrite_array(&w, "requests");
	for (size_t i = 0; i < row_count; i++) {
		jwrite_object(&w, NULL);
		jwrite_string(&w, "source", rows[i].source);
		jwrite_string(&w, "operation", rows[i].operation);
		jwrite_uint(&w, "status", rows[i].status);
		jwrite_int(&w, "count", rows[i].count);
		jwrite_int(&w, "since_mark", rows[i].since_mark);
		jwrite_end(&w);
	}
	pthread_mutex_unlock(&lock);
	jwrite_end(&w);
	jwrite_end(&w);
}
