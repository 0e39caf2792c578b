/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group commit of tasks, in two steps. The first batch locks the tasks of
 * all members that still hold their leases; the second, one pipeline, writes
 * everything and commits. When data is refused the transaction is run again
 * with a savepoint for each member. A connection that is lost after COMMIT was
 * sent leaves an unclear commit: the tasks, read with a lock, tell whether it
 * happened. Loop thread.
 */
#include "store/postgres.h"

#include <string.h>

#include "base/clock.h"
#include "store/task_event.h"

struct commit {
	struct pg_done base;
	struct store_commit *group;
	struct store_commit **members;	/* pointers to all of the group */
	struct task_row *rows;		/* beside each member that is not lost */
	size_t count;
	int64_t now;
	char now_text[CLOCK_TEXT_SIZE];
	const char *xid;		/* the transaction's number, once it was seen */
	bool one_by_one;
	size_t next;			/* one_by_one: the member that is written now */
};

static struct commit *commit_of(struct pg_request *request)
{
	return (struct commit *)request;
}

/* --- upserts --- */

static void upsert_sql(struct buf *sql, const struct store_table *table)
{
	struct buf values;
	size_t i, n = 1;

	buf_init(&values);
	buf_printf(sql, "INSERT INTO \"%s\" (", table->name);
	if (table->key_column != NULL) {
		enum store_type type = STORE_TEXT;

		for (i = 0; i < table->column_count; i++)
			if (strcmp(table->columns[i].name, table->key_column) == 0)
				type = table->columns[i].type;
		buf_printf(sql, "\"%s\"", table->key_column);
		buf_printf(&values, "k::%s", pg_type_name(type));
	}
	for (i = 0; i < table->column_count; i++) {
		if (!group_is_bound(table, &table->columns[i]))
			continue;
		buf_printf(sql, "%s\"%s\"", values.len > 0 ? ", " : "", table->columns[i].name);
		buf_printf(&values, "%sc%zu::%s", values.len > 0 ? ", " : "", n,
			   pg_type_name(table->columns[i].type));
		n++;
	}
	if (table->stamped) {
		buf_printf(sql, "%screated_at, updated_at", values.len > 0 ? ", " : "");
		buf_printf(&values, "%s$1::timestamp, $1::timestamp", values.len > 0 ? ", " : "");
	}
	/* $1 is the time, $2 the keys, $3 and so on the columns. */
	buf_printf(sql, ") SELECT %s FROM unnest($2::text[]", values.data);
	for (i = 1; i < n; i++)
		buf_printf(sql, ", $%zu::text[]", i + 2);
	buf_adds(sql, ") WITH ORDINALITY AS v (k");
	for (i = 1; i < n; i++)
		buf_printf(sql, ", c%zu", i);
	/* Rows in the order in which every group locks them. */
	buf_adds(sql, ", n) WHERE $1::text IS NOT NULL ORDER BY n");
	group_conflict_sql(sql, table);
	buf_fini(&values);
}

/* All rows of one table as one statement. */
static void add_table(struct pg_request *request, const struct store_upsert *upserts, size_t count,
		      const char *now_text)
{
	const struct store_table *table = upserts[0].table;
	struct arena *arena = request->scratch;
	struct pg_param *values = arena_alloc(arena, (table->column_count + 2) * sizeof(*values));
	const char **column = arena_alloc(arena, count * sizeof(*column));
	size_t n = 0, i, j;
	struct buf sql;

	values[n++] = pg_text(now_text);
	for (j = 0; j < count; j++)
		column[j] = upserts[j].key != NULL ? upserts[j].key : "";
	values[n++] = pg_texts(arena, column, count);
	for (i = 0; i < table->column_count; i++) {
		if (!group_is_bound(table, &table->columns[i]))
			continue;
		for (j = 0; j < count; j++)
			column[j] = pg_value(arena, table->columns[i].type, upserts[j].values[i]);
		values[n++] = pg_texts(arena, column, count);
	}
	buf_init(&sql);
	upsert_sql(&sql, table);
	pg_add_params(request, sql.data, values, n);
	buf_fini(&sql);
}

static void add_upserts(struct commit *commit, const struct store_upsert *upserts, size_t count)
{
	size_t from, to;

	for (from = 0; from < count; from = to) {
		for (to = from + 1; to < count && upserts[to].table == upserts[from].table; to++)
			;
		add_table(&commit->base.request, upserts + from, to - from, commit->now_text);
	}
}

/* --- task rows --- */

enum { ROW_ID, ROW_END, ROW_STATUS, ROW_DATA, ROW_CODE, ROW_CHECKPOINT, ROW_LEASE, ROW_AFTER, ROW_COLUMNS };

static enum task_status status_after(enum store_end end)
{
	switch (end) {
	case STORE_SLICE:
		return TASK_PROCESSING;
	case STORE_RELEASE:
	case STORE_RETRY:
		return TASK_PENDING;
	case STORE_COMPLETE:
		return TASK_COMPLETE;
	case STORE_FAIL:
		return TASK_FAILED;
	}
	return TASK_FAILED;
}

static void row_values(struct commit *commit, const struct store_commit *member,
		       const char **columns[ROW_COLUMNS], size_t n)
{
	static const char *const ends[] = {"slice", "release", "retry", "complete", "fail"};
	struct arena *arena = commit->base.request.scratch;
	bool later = member->run_after_ms > commit->now;

	columns[ROW_ID][n] = pg_int_text(arena, member->task_id);
	columns[ROW_END][n] = ends[member->end];
	columns[ROW_STATUS][n] = task_status_name(status_after(member->end));
	columns[ROW_DATA][n] = pg_clean(arena, member->data);
	columns[ROW_CODE][n] = member->end == STORE_COMPLETE ? NULL : pg_clean(arena, member->error_code);
	columns[ROW_CHECKPOINT][n] = pg_clean(arena, member->checkpoint);
	/* A time of this machine's clock: leases are kept by the server's. */
	columns[ROW_LEASE][n] =
		pg_int_text(arena, member->end == STORE_SLICE ? member->lease_until_ms - commit->now : 0);
	columns[ROW_AFTER][n] = later ? pg_int_text(arena, member->run_after_ms) : NULL;
}

static void add_rows(struct commit *commit, struct store_commit *const *members, size_t count)
{
	struct pg_request *request = &commit->base.request;
	const char **columns[ROW_COLUMNS];
	struct pg_param values[ROW_COLUMNS + 1];
	size_t n = 0, i;

	for (i = 0; i < ROW_COLUMNS; i++)
		columns[i] = arena_alloc(request->scratch, (count + 1) * sizeof(**columns));
	for (i = 0; i < count; i++)
		if (members[i]->outcome == STORE_COMMITTED)
			row_values(commit, members[i], columns, n++);
	if (n == 0)
		return;
	for (i = 0; i < ROW_COLUMNS; i++)
		values[i] = i == ROW_ID || i == ROW_LEASE || i == ROW_AFTER
				    ? pg_text(pg_array_text(request->scratch, columns[i], n))
				    : pg_texts(request->scratch, columns[i], n);
	values[ROW_COLUMNS] = pg_text(commit->now_text);
	pg_add_params(
		request,
		"UPDATE scrape_request_log s SET commit_seq = s.commit_seq + 1, status = m.status,"
		" data = CASE WHEN m.ending IN ('slice', 'release') THEN s.data ELSE m.data END,"
		" error_code = CASE WHEN m.ending IN ('slice', 'release') THEN s.error_code ELSE m.code END,"
		" scraped_at = CASE WHEN m.ending IN ('complete', 'fail') THEN $9::timestamp ELSE s.scraped_at END,"
		" checkpoint = CASE WHEN m.ending = 'fail' THEN s.checkpoint WHEN m.ending = 'complete' THEN NULL"
		" ELSE m.checkpoint END,"
		" run_after = CASE WHEN m.ending IN ('release', 'retry') THEN m.run_after ELSE s.run_after END,"
		" picked_at = CASE WHEN m.ending IN ('release', 'retry') THEN NULL ELSE s.picked_at END,"
		" attempt = CASE m.ending WHEN 'slice' THEN 0 WHEN 'retry' THEN s.attempt + 1 ELSE s.attempt END,"
		" crashes = CASE m.ending WHEN 'slice' THEN 0 ELSE s.crashes END,"
		" crashes_alone = CASE m.ending WHEN 'slice' THEN 0 ELSE s.crashes_alone END,"
		" lease_until = CASE m.ending WHEN 'slice' THEN " PG_NOW_MS " + m.lease END,"
		" lease_token = CASE m.ending WHEN 'slice' THEN s.lease_token END,"
		" alone = s.alone AND m.ending = 'slice'"
		" FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
		" $7::bigint[], $8::bigint[]) AS m (id, ending, status, data, code, checkpoint, lease, run_after)"
		" WHERE s.id = m.id",
		values, ROW_COLUMNS + 1);
}

/* --- totals --- */

static void add_totals(struct commit *commit, size_t from, size_t count)
{
	struct pg_request *request = &commit->base.request;
	struct arena *arena = request->scratch;
	const char **ended = arena_alloc(arena, count * sizeof(*ended));
	const char **status = arena_alloc(arena, count * sizeof(*status));
	const char **flows = arena_alloc(arena, count * sizeof(*flows));
	int64_t *requests = arena_alloc(arena, count * sizeof(*requests));
	int64_t *events = arena_alloc(arena, count * sizeof(*events));
	size_t ends = 0, n = 0, i;

	for (i = from; i < from + count; i++) {
		const struct store_commit *member = commit->members[i];

		if (member->outcome != STORE_COMMITTED)
			continue;
		if (member->end == STORE_COMPLETE || member->end == STORE_FAIL) {
			status[ends] = task_status_name(status_after(member->end));
			ended[ends++] = commit->rows[i].flow;
		}
		if (member->requests > 0 || member->events > 0) {
			requests[n] = member->requests;
			events[n] = member->events;
			flows[n++] = commit->rows[i].flow;
		}
	}
	if (ends > 0)
		pg_add(request,
		       "INSERT INTO task_total AS t (flow, status, shard, tasks) SELECT flow, status, $3, count(*)"
		       " FROM unnest($1::text[], $2::text[]) m (flow, status) GROUP BY flow, status"
		       " ORDER BY flow, status"
		       " ON CONFLICT (flow, status, shard) DO UPDATE SET tasks = t.tasks + excluded.tasks",
		       "aai", pg_texts(arena, ended, ends), pg_texts(arena, status, ends),
		       (int64_t)request->store->shard);
	if (n > 0)
		pg_add(request,
		       "INSERT INTO flow_total AS t (flow, shard, requests, events) SELECT flow, $4, sum(requests),"
		       " sum(events) FROM unnest($1::text[], $2::bigint[], $3::bigint[]) m (flow, requests, events)"
		       " GROUP BY flow ORDER BY flow ON CONFLICT (flow, shard) DO UPDATE SET"
		       " requests = t.requests + excluded.requests, events = t.events + excluded.events",
		       "arri", pg_texts(arena, flows, n), pg_ints(arena, requests, n), pg_ints(arena, events, n),
		       (int64_t)request->store->shard);
}

/* --- both steps --- */

/* Statements for these members. -1: their data cannot be written; nothing was added. */
static int add_members(struct commit *commit, size_t from, size_t count, struct error *err)
{
	struct pg_request *request = &commit->base.request;
	struct group_outbox outbox;
	struct store_upsert *upserts;
	size_t upsert_count, i, j;

	if (group_upserts(request->scratch, commit->members + from, count, &upserts, &upsert_count, err) < 0)
		return -1;
	add_upserts(commit, upserts, upsert_count);
	group_outbox_init(&outbox, &request->store->base.options);
	for (i = from; i < from + count; i++) {
		const struct store_commit *member = commit->members[i];
		struct task_row row = commit->rows[i];

		if (member->outcome != STORE_COMMITTED)
			continue;
		for (j = 0; j < member->outbox_count; j++)
			group_outbox_add(&outbox, member->outbox[j].queue, member->outbox[j].payload,
					 member->outbox[j].payload_len, member->outbox[j].events);
		if (member->end == STORE_SLICE)
			continue;
		row.status = status_after(member->end);
		if (row.status == TASK_PENDING)
			row.picked_at = NULL;
		task_event_add(&outbox, &row, commit->now, &request->store->base.options);
	}
	pg_add_outbox(request, &outbox, commit->now);
	group_outbox_fini(&outbox);
	add_rows(commit, commit->members + from, count);
	add_totals(commit, from, count);
	pg_add_failures(request, commit->members + from, commit->rows + from, count, commit->now);
	return 0;
}

static void written(struct pg_request *request)
{
	struct commit *commit = commit_of(request);
	size_t i;

	request->unclear = false; /* the tasks told */
	for (i = 0; i < commit->count; i++)
		request->wrote |= commit->group[i].outcome == STORE_COMMITTED;
	pg_finish(request);
}

static void send_commit(struct commit *commit)
{
	struct pg_request *request = &commit->base.request;

	pg_add_silent(request, "COMMIT");
	request->handles_errors = false;
	pg_send_commit(request, written);
}

/* --- one by one --- */

static void write_next(struct commit *commit);

static void refuse(struct store_commit *member, const struct error *why)
{
	member->outcome = STORE_REFUSED;
	member->error = *why;
}

static void member_undone(struct pg_request *request)
{
	commit_of(request)->next++;
	write_next(commit_of(request));
}

static void member_written(struct pg_request *request)
{
	struct commit *commit = commit_of(request);
	const struct pg_batch *batch = pg_batch(request);

	if (batch->error.code == ERR_NONE) {
		member_undone(request);
		return;
	}
	if (batch->error.code != ERR_CONTENT) {
		request->handles_errors = false;
		pg_fail(request);
		return;
	}
	refuse(commit->members[commit->next], &batch->error);
	pg_add_silent(request, "ROLLBACK TO member");
	pg_send(request, member_undone);
}

static void write_next(struct commit *commit)
{
	struct pg_request *request = &commit->base.request;
	struct error refused = {.code = ERR_NONE};

	for (; commit->next < commit->count; commit->next++) {
		if (commit->members[commit->next]->outcome != STORE_COMMITTED)
			continue;
		pg_add_silent(request, "SAVEPOINT member");
		if (add_members(commit, commit->next, 1, &refused) == 0) {
			pg_add_silent(request, "RELEASE member");
			request->handles_errors = true;
			pg_send(request, member_written);
			return;
		}
		/* The savepoint goes out with the next member's statements, and is as good as none. */
		refuse(commit->members[commit->next], &refused);
	}
	send_commit(commit);
}

/* --- the first step --- */

static void take_locked(struct commit *commit, const PGresult *result)
{
	struct arena *arena = commit->base.request.scratch;
	size_t i;
	int row;

	for (i = 0; i < commit->count; i++)
		commit->members[i]->outcome = STORE_LOST;
	for (row = 0; row < PQntuples(result); row++) {
		/* The last column is the member's place in the group, from 1. */
		i = (size_t)pg_get_int(result, row, PG_EVENT_COUNT) - 1;
		commit->members[i]->outcome = STORE_COMMITTED;
		pg_task_read(result, row, false, arena, &commit->rows[i]);
	}
}

static void locked(struct pg_request *request)
{
	struct commit *commit = commit_of(request);
	const struct pg_batch *batch = pg_batch(request);
	struct error refused = {.code = ERR_NONE};

	take_locked(commit, batch->results[0]);
	commit->xid = pg_get_text(batch->results[1], 0, 0, request->arena);
	commit->next = 0;
	if (!commit->one_by_one && add_members(commit, 0, commit->count, &refused) == 0) {
		send_commit(commit);
		return;
	}
	commit->one_by_one = true;
	write_next(commit);
}

static void lock_tasks(struct commit *commit)
{
	struct pg_request *request = &commit->base.request;
	struct arena *arena = request->scratch;
	int64_t *ids = arena_alloc(arena, (commit->count + 1) * sizeof(*ids));
	int64_t *tokens = arena_alloc(arena, (commit->count + 1) * sizeof(*tokens));
	int64_t *seqs = arena_alloc(arena, (commit->count + 1) * sizeof(*seqs));
	size_t i;

	for (i = 0; i < commit->count; i++) {
		ids[i] = commit->group[i].task_id;
		tokens[i] = commit->group[i].lease_token;
		seqs[i] = commit->group[i].commit_seq;
	}
	commit->now = clock_wall_ms();
	clock_format_ms(commit->now_text, commit->now);
	pg_add_begin(request);
	pg_add(request,
	       "SELECT " PG_EVENT_COLUMNS ", m.n FROM scrape_request_log s JOIN unnest($1::bigint[], $2::bigint[],"
	       " $3::bigint[]) WITH ORDINALITY m (id, token, seq, n) ON s.id = m.id AND s.lease_token = m.token AND"
	       " s.commit_seq = m.seq WHERE " PG_PROCESSING " ORDER BY s.id FOR UPDATE OF s",
	       "rrr", pg_ints(arena, ids, commit->count), pg_ints(arena, tokens, commit->count),
	       pg_ints(arena, seqs, commit->count));
	pg_add(request, "SELECT txid_current()", "");
	pg_send(request, locked);
}

/* --- an unclear commit --- */

static void not_committed(struct commit *commit)
{
	commit->base.request.unclear = false;
	pg_restart(&commit->base.request);
}

/* Moved on, all of them: by this group, or by others after the leases ran out. The server still knows. */
static void status_read(struct pg_request *request)
{
	const struct pg_batch *batch = pg_batch(request);

	request->handles_errors = false;
	/* A server that does not know the number any more, or never did, leaves what the tasks tell. */
	if (batch->error.code == ERR_NONE && strcmp(PQgetvalue(batch->results[0], 0, 0), "aborted") == 0)
		not_committed(commit_of(request));
	else
		written(request);
}

static void read_back_done(struct pg_request *request)
{
	struct commit *commit = commit_of(request);
	const PGresult *result = pg_batch(request)->results[0];
	int row;

	/* It was all or nothing: a task that stands where the group found it speaks for all. */
	for (row = 0; row < PQntuples(result); row++)
		if (pg_get_int(result, row, 0) != 0) {
			not_committed(commit);
			return;
		}
	pg_add_limits(request);
	pg_add(request, "SELECT txid_status($1)", "r", commit->xid);
	request->handles_errors = true;
	pg_send(request, status_read);
}

/* The lost transaction holds these rows until it is over: with the lock it is. */
static void read_back(struct commit *commit)
{
	struct pg_request *request = &commit->base.request;
	struct arena *arena = request->scratch;
	int64_t *ids = arena_alloc(arena, (commit->count + 1) * sizeof(*ids));
	int64_t *seqs = arena_alloc(arena, (commit->count + 1) * sizeof(*seqs));
	size_t n = 0, i;

	for (i = 0; i < commit->count; i++)
		if (commit->group[i].outcome == STORE_COMMITTED) {
			seqs[n] = commit->group[i].commit_seq;
			ids[n++] = commit->group[i].task_id;
		}
	pg_add_limits(request);
	pg_add(request,
	       "SELECT (s.commit_seq = m.seq)::int FROM scrape_request_log s JOIN unnest($1::bigint[],"
	       " $2::bigint[]) m (id, seq) ON s.id = m.id ORDER BY s.id FOR UPDATE OF s",
	       "rr", pg_ints(arena, ids, n), pg_ints(arena, seqs, n));
	pg_send(request, read_back_done);
}

static void commit_start(struct pg_request *request)
{
	struct commit *commit = commit_of(request);

	if (commit->count == 0)
		pg_finish(request);
	else if (request->unclear)
		read_back(commit);
	else
		lock_tasks(commit);
}

/* Some member's data was refused by the server: again, so that only its own task suffers. */
static bool commit_failed(struct pg_request *request)
{
	struct commit *commit = commit_of(request);

	if (pg_failure(request)->error.code != ERR_CONTENT || commit->one_by_one)
		return false;
	commit->one_by_one = true;
	pg_restart(request);
	return true;
}

void pg_commit(struct store *store, struct store_commit *group, size_t count, store_done_fn *done, void *user)
{
	struct commit *commit = pg_request_new(store, sizeof(*commit), commit_start, pg_answer_done);
	struct arena *arena = commit->base.request.arena;
	size_t i;

	commit->base.request.failed = commit_failed;
	commit->base.done = done;
	commit->base.user = user;
	commit->group = group;
	commit->count = count;
	commit->members = arena_alloc(arena, (count + 1) * sizeof(*commit->members));
	commit->rows = arena_alloc(arena, (count + 1) * sizeof(*commit->rows));
	for (i = 0; i < count; i++)
		commit->members[i] = &group[i];
	pg_request_submit(&commit->base.request);
}
