/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The postgresql: driver: opening and closing, and the queue of requests over
 * the one connection, which is opened when there is work and closed after a
 * minute without. A request whose connection is lost starts again on the next
 * one until its time is over. Loop thread.
 */
#include "store/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define IDLE_MS 60000
/* Where processes share connections and others wait for one: idle for so long, or busy for so long, it is theirs. */
#define GATE_IDLE_MS 100
#define GATE_BUSY_MS 2000
#define GATE_RETRY_MS 20
#define CONNECT_MS 10000
#define WATCH_MS 1000
#define CLOSE_MS 10000
/* What the server is told; beyond it, with room for a slow answer, the connection counts as dead. */
#define STATEMENT_MS 30000
#define ANSWER_MS (STATEMENT_MS + 15000)
#define REPEATS_MAX 50
#define LIMITS                                                                                               \
	"SELECT set_config('statement_timeout', '30000', true), set_config('lock_timeout', '10000', true),"  \
	" set_config('idle_in_transaction_session_timeout', '10000', true),"                                 \
	" set_config('datestyle', 'ISO', true)"
/* The server's own way of packing large values takes longer than all the rest of writing them. */
#define PACKING ", set_config('default_toast_compression', 'lz4', true)"

static struct pg_store *pg_store(struct store *store)
{
	assert(store->ops == &store_postgres_ops);
	return (struct pg_store *)store;
}

/* --- requests --- */

void *pg_request_new(struct store *store, size_t size, void (*start)(struct pg_request *),
		     void (*answer)(struct pg_request *))
{
	struct arena *arena = arena_new();
	struct pg_request *request = arena_alloc(arena, size);

	request->store = pg_store(store);
	request->arena = arena;
	request->scratch = arena_new();
	request->until_ms = clock_mono_ms() + store->options.busy_ms;
	request->carried = 1;
	request->start = start;
	request->answer = answer;
	return request;
}

void pg_request_submit(struct pg_request *request)
{
	struct pg_store *store = request->store;

	list_append(&store->queue, &request->node);
	/* Not at once: what is asked for in this turn of the loop may share a transaction. */
	if (!loop_timer_active(store->kick))
		loop_timer_start(store->kick, 0, 0);
	if (!loop_timer_active(store->watch))
		loop_timer_start(store->watch, WATCH_MS, WATCH_MS);
}

struct pg_request *pg_take_queued(struct pg_store *store, void (*start)(struct pg_request *))
{
	struct pg_request *request;

	if (list_empty(&store->queue))
		return NULL;
	request = list_entry(store->queue.next, struct pg_request, node);
	if (request->start != start)
		return NULL;
	list_remove(&request->node);
	return request;
}

void pg_put_back(struct pg_request *request)
{
	list_append(request->store->queue.next, &request->node); /* before the first is after the head */
}

static void complete(struct pg_request *request)
{
	struct pg_store *store = request->store;
	struct arena *arena = request->arena, *scratch = request->scratch;

	if (request->wrote && request->err.code == ERR_NONE) {
		store->base.stats.transactions++;
		store->base.stats.grouped += request->carried;
	}
	if (!request->internal)
		store_answered(&store->base, &request->err);
	request->answer(request);
	arena_free(&scratch);
	arena_free(&arena);
}

void pg_finish_carried(struct pg_request *request, const struct error *err)
{
	request->err = *err;
	complete(request);
}

static void pump(struct pg_store *store);

void pg_finish(struct pg_request *request)
{
	struct pg_store *store = request->store;

	assert(store->current == request);
	store->current = NULL;
	complete(request);
	pump(store);
}

void pg_restart(struct pg_request *request)
{
	request->store->started = false;
	pump(request->store);
}

/* --- batches --- */

void pg_add_params(struct pg_request *request, const char *sql, const struct pg_param *params, size_t count)
{
	pg_conn_add(&request->store->conn, false, sql, params, count);
}

void pg_add(struct pg_request *request, const char *sql, const char *types, ...)
{
	struct pg_param params[20];
	int64_t number;
	va_list ap;
	size_t i;

	assert(strlen(types) <= sizeof(params) / sizeof(params[0]));
	va_start(ap, types);
	for (i = 0; types[i] != '\0'; i++) {
		switch (types[i]) {
		case 'i':
			params[i] = pg_text(pg_int_text(request->scratch, va_arg(ap, int64_t)));
			break;
		case 'n':
			number = va_arg(ap, int64_t);
			params[i] = pg_text(number != 0 ? pg_int_text(request->scratch, number) : NULL);
			break;
		case 't':
			params[i] = pg_text(pg_clean(request->scratch, va_arg(ap, const char *)));
			break;
		case 'r':
			params[i] = pg_text(va_arg(ap, const char *));
			break;
		case 'a':
			params[i] = va_arg(ap, struct pg_param);
			break;
		default:
			assert(!"unknown parameter type");
		}
	}
	va_end(ap);
	pg_add_params(request, sql, params, i);
}

void pg_add_silent(struct pg_request *request, const char *sql)
{
	pg_conn_add(&request->store->conn, true, sql, NULL, 0);
}

void pg_add_limits(struct pg_request *request)
{
	pg_add_silent(request, request->store->lz4 ? LIMITS PACKING : LIMITS);
}

void pg_add_begin(struct pg_request *request)
{
	pg_add_silent(request, "BEGIN");
	pg_add_limits(request);
}

void pg_send(struct pg_request *request, void (*next)(struct pg_request *))
{
	request->next = next;
	pg_conn_sync(&request->store->conn);
}

void pg_send_commit(struct pg_request *request, void (*next)(struct pg_request *))
{
	request->committing = request->unclear = true;
	pg_send(request, next);
}

const struct pg_batch *pg_batch(const struct pg_request *request)
{
	return &request->store->conn.batch;
}

const struct pg_batch *pg_failure(const struct pg_request *request)
{
	return &request->store->failure;
}

/* --- the queue --- */

static void give_up(struct pg_request *request, enum error_code code, const char *why)
{
	error_set(&request->err, request->unclear ? ERR_UNCLEAR : code, "task store: %s%s",
		  request->unclear ? "whether it was committed is not known: " : "", why);
	pg_finish(request);
}

static void cancel_all(struct pg_store *store)
{
	if (store->current == NULL && !list_empty(&store->queue)) {
		store->current = list_entry(store->queue.next, struct pg_request, node);
		list_remove(&store->current->node);
		store->started = false;
	}
	if (store->current != NULL && !store->started)
		give_up(store->current, ERR_CANCELLED, "it is being closed");
}

static void give_back_connection(struct pg_store *store)
{
	pg_conn_close(&store->conn);
	if (store->gate != NULL)
		gate_leave(store->gate);
}

/* Between two requests: others may have waited for long enough. */
static void let_others_in(struct pg_store *store)
{
	if (store->gate == NULL || store->conn.phase != PG_IDLE || !gate_wanted(store->gate) ||
	    clock_mono_ms() - store->entered_ms < GATE_BUSY_MS)
		return;
	give_back_connection(store);
	loop_timer_start(store->retry, 2 * GATE_RETRY_MS, 0);
}

static void connect(struct pg_store *store)
{
	bool inside = store->gate == NULL || gate_inside(store->gate);

	if (!inside && !gate_enter(store->gate)) {
		str_format(store->conn.problem, sizeof(store->conn.problem),
			   "all %d connections of this node's workers are taken", store->base.options.gate_places);
		loop_timer_start(store->retry, GATE_RETRY_MS + (int64_t)(random_u64() % GATE_RETRY_MS), 0);
		return;
	}
	if (!inside)
		store->entered_ms = clock_mono_ms();
	pg_conn_open(&store->conn);
}

/* Does the next thing that can be done at once; false when there is none. */
static bool step(struct pg_store *store)
{
	if (store->closing) {
		cancel_all(store);
		return store->current == NULL && !list_empty(&store->queue);
	}
	if (store->current == NULL) {
		if (list_empty(&store->queue)) {
			store->idle_ms = clock_mono_ms();
			loop_timer_start(store->idle, store->gate != NULL ? GATE_IDLE_MS : IDLE_MS, 0);
			loop_timer_stop(store->watch);
			return false;
		}
		let_others_in(store);
		store->current = list_entry(store->queue.next, struct pg_request, node);
		list_remove(&store->current->node);
		store->started = false;
		loop_timer_stop(store->idle);
	}
	if (store->conn.phase == PG_CLOSED && !loop_timer_active(store->retry))
		connect(store);
	if (store->conn.phase != PG_IDLE || store->started)
		return false;
	store->started = true;
	store->current->handles_errors = false;
	error_clear(&store->current->err);
	arena_reset(store->current->scratch);
	store->current->start(store->current);
	return store->current == NULL || !store->started;
}

/* Answers call back into the store; only the outermost call goes through the queue. */
static void pump(struct pg_store *store)
{
	if (store->pumping)
		return;
	store->pumping = true;
	while (step(store))
		;
	store->pumping = false;
}

static void on_kick(void *user)
{
	pump(user);
}

static void on_idle(void *user)
{
	struct pg_store *store = user;

	if (store->current != NULL || !list_empty(&store->queue))
		return;
	if (store->gate != NULL && !gate_wanted(store->gate) && clock_mono_ms() - store->idle_ms < IDLE_MS)
		loop_timer_start(store->idle, GATE_IDLE_MS, 0);
	else if (store->conn.phase == PG_IDLE)
		give_back_connection(store);
	else if (store->gate != NULL && store->conn.phase == PG_CLOSED)
		gate_leave(store->gate);
}

/* --- what can go wrong --- */

static void on_lost(void *user)
{
	struct pg_store *store = user;
	struct pg_request *request = store->current;

	store->rolling_back = false;
	if (request == NULL)
		return; /* the next request opens another */
	store->started = false;
	request->committing = false;
	/* Many may have lost theirs at once; one that worked until now is likely to be had again. */
	if (store->conn.worked)
		loop_timer_start(store->retry, (int64_t)(random_u64() % 20), 0);
	else
		loop_timer_start(store->retry, backoff_next(&store->backoff), 0);
	store->conn.worked = false;
	if (clock_mono_ms() >= request->until_ms)
		give_up(request, ERR_IO, store->conn.problem);
	else if (store->closing)
		pump(store);
}

static void lose(struct pg_store *store, const char *problem)
{
	str_format(store->conn.problem, sizeof(store->conn.problem), "%s", problem);
	pg_conn_close(&store->conn);
	on_lost(store);
}

/* The server goes down, has no room, or is one that takes no writes: another connection may do better. */
static bool is_server_away(const char *state)
{
	static const char *const states[] = {"57P01", "57P02", "57P03", "57P05", "53300", "25006", "25P03"};
	size_t i;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(state, states[i]) == 0)
			return true;
	return strncmp(state, "08", 2) == 0;
}

/* Others were in the way: the same again will do. */
static bool is_conflict(const char *state)
{
	return strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 || strcmp(state, "55P03") == 0;
}

/* The failed transaction is over. */
static void settle_failure(struct pg_store *store)
{
	struct pg_request *request = store->current;
	const struct pg_batch *failure = &store->failure;

	if (is_server_away(failure->state) && !(request->reads_only && strcmp(failure->state, "25006") == 0)) {
		lose(store, failure->error.text);
		return;
	}
	if (is_conflict(failure->state) && !store->closing && request->repeats < REPEATS_MAX &&
	    clock_mono_ms() < request->until_ms) {
		request->repeats++;
		store->started = false;
		loop_timer_start(store->kick, (int64_t)(random_u64() % (uint64_t)(request->repeats * 10)), 0);
		return;
	}
	if (pg_conn_distrusts(&store->conn, failure->state)) {
		store->started = false;
		return;
	}
	if (request->failed != NULL && request->failed(request))
		return;
	request->err = failure->error;
	pg_finish(request);
}

static void take_failure(struct pg_store *store)
{
	PGTransactionStatusType status = PQtransactionStatus(store->conn.pg);

	store->failure = store->conn.batch;
	store->failure.results = NULL;
	store->failure.count = 0;
	if (status != PQTRANS_INERROR && status != PQTRANS_INTRANS) {
		settle_failure(store);
		return;
	}
	store->rolling_back = true;
	pg_conn_add(&store->conn, true, "ROLLBACK", NULL, 0);
	pg_conn_sync(&store->conn);
}

void pg_fail(struct pg_request *request)
{
	take_failure(request->store);
}

static void on_batch(void *user)
{
	struct pg_store *store = user;
	struct pg_request *request = store->current;
	bool outermost = !store->pumping;

	store->pumping = true;
	/* Whatever the answer is, it is one. */
	if (request->committing)
		request->committing = request->unclear = false;
	if (store->rolling_back) {
		store->rolling_back = false;
		settle_failure(store);
	} else if (store->conn.batch.error.code != ERR_NONE && !request->handles_errors) {
		take_failure(store);
	} else {
		backoff_reset(&store->backoff);
		store->conn.worked = true;
		request->next(request);
	}
	if (outermost) {
		store->pumping = false;
		/* A repeat after a conflict waits for its timer. */
		if (store->current == NULL || !loop_timer_active(store->kick))
			pump(store);
	}
}

/* Without a connection: what waited too long is answered, so that callers hear of it. */
static void answer_late(struct pg_store *store)
{
	int64_t now = clock_mono_ms();
	struct list *node, *next;

	if (store->current != NULL && !store->started && now >= store->current->until_ms)
		give_up(store->current, ERR_IO, store->conn.problem);
	list_each_safe(node, next, &store->queue)
	{
		struct pg_request *request = list_entry(node, struct pg_request, node);

		if (now < request->until_ms)
			continue;
		list_remove(node);
		error_set(&request->err, ERR_IO, "task store: %s", store->conn.problem);
		complete(request);
	}
}

static void on_watch(void *user)
{
	struct pg_store *store = user;
	int64_t age = clock_mono_ms() - store->conn.since_ms;

	if (store->conn.phase == PG_CONNECTING && age > CONNECT_MS)
		lose(store, "no answer to connecting");
	else if (store->conn.phase == PG_SENT && age > ANSWER_MS)
		lose(store, "no answer from the server");
	if (store->conn.phase == PG_CLOSED || store->conn.phase == PG_CONNECTING)
		answer_late(store);
	pump(store);
}

/* --- answers --- */

void pg_answer_done(struct pg_request *request)
{
	struct pg_done *done = (struct pg_done *)request;

	done->done(done->user, &request->err);
}

void pg_answer_count(struct pg_request *request)
{
	struct pg_count *count = (struct pg_count *)request;

	count->done(count->user, count->count, &request->err);
}

/* --- opening and closing --- */

/* The schema, for pg_blocking. */
struct opening {
	struct pg_store *store;
	bool create;
	const struct store_table *const *tables;
	size_t count;
};

static int open_schema(PGconn *conn, void *user, struct error *err)
{
	struct opening *opening = user;

	return pg_schema_open(conn, opening->create, opening->store->base.id, &opening->store->lz4, err);
}

static int open_tables(PGconn *conn, void *user, struct error *err)
{
	struct opening *opening = user;

	return pg_schema_tables(conn, opening->tables, opening->count, err);
}

static struct store *driver_open(const struct store *base, const char *rest, bool create, struct error *err)
{
	struct pg_store *store = mem_alloc(sizeof(*store));
	struct opening opening = {.store = store, .create = create};

	store->base = *base;
	if (pg_target_parse(&store->target, rest, err) < 0) {
		mem_free(&store);
		return NULL;
	}
	/* The connection is not kept: a worker that has nothing to do holds none. */
	if (pg_blocking(&store->target, base->options.busy_ms, open_schema, &opening, err) < 0) {
		pg_target_free(&store->target);
		mem_free(&store);
		return NULL;
	}
	if (base->options.gate != NULL)
		store->gate = gate_open(base->options.gate, base->options.gate_places, err);
	if (base->options.gate != NULL && store->gate == NULL) {
		pg_target_free(&store->target);
		mem_free(&store);
		return NULL;
	}
	list_init(&store->queue);
	list_init(&store->hints);
	backoff_init(&store->backoff, 100, 5000);
	store->shard = (int)(random_u64() % 128);
	store->kick = loop_timer_new(base->loop, on_kick, store);
	store->retry = loop_timer_new(base->loop, on_kick, store);
	store->idle = loop_timer_new(base->loop, on_idle, store);
	store->watch = loop_timer_new(base->loop, on_watch, store);
	store->conn = (struct pg_conn){.loop = base->loop,
				       .target = &store->target,
				       .on_ready = on_kick,
				       .on_batch = on_batch,
				       .on_lost = on_lost,
				       .user = store};
	return &store->base;
}

static void driver_close(struct store *base)
{
	struct pg_store *store = pg_store(base);
	int64_t end = clock_mono_ms() + CLOSE_MS;

	store->closing = true;
	pg_listen_close(store);
	while (store->current != NULL && store->conn.phase == PG_SENT && clock_mono_ms() < end)
		pg_conn_wait(&store->conn, 100);
	store->started = false;
	pump(store);
	assert(store->current == NULL && list_empty(&store->queue));
	pg_conn_close(&store->conn);
	gate_close(&store->gate);
	loop_timer_free(&store->kick);
	loop_timer_free(&store->retry);
	loop_timer_free(&store->idle);
	loop_timer_free(&store->watch);
	pg_target_free(&store->target);
	store->base.magic = 0;
	mem_release(store);
}

/* Over a connection of its own: at start-up there is no other. */
static int ensure_tables(struct store *base, const struct store_table *const *tables, size_t count,
			 struct error *err)
{
	struct opening opening = {.store = pg_store(base), .tables = tables, .count = count};

	if (count == 0)
		return 0;
	return pg_blocking(&opening.store->target, base->options.busy_ms, open_tables, &opening, err);
}

static int check(const char *rest, struct error *err)
{
	struct pg_target target;

	if (pg_target_parse(&target, rest, err) < 0)
		return -1;
	pg_target_free(&target);
	return 0;
}

const struct store_ops store_postgres_ops = {
	.scheme = "postgresql",
	.shared = true,
	.check = check,
	.open = driver_open,
	.close = driver_close,
	.ensure_tables = ensure_tables,
	.schema_read = pg_look,
	.schema_whole = pg_schema_whole,
	.schema_apply = pg_apply,
	.submit = pg_submit,
	.claim = pg_claim,
	.commit = pg_commit,
	.extend = pg_extend,
	.rescue = pg_rescue,
	.ready = pg_ready,
	.schedules = pg_schedules,
	.slot = pg_slot,
	.query = pg_query,
	.sweep = pg_sweep,
	.failures = pg_failures,
	.forget = pg_forget,
	.lookup = pg_lookup,
	.outbox_read = pg_outbox_read,
	.outbox_last = pg_outbox_last,
	.outbox_delete = pg_outbox_delete,
	.shards_lease = pg_shards_lease,
	.turn = pg_turn,
	.outbox_get = pg_outbox_get,
	.hold = pg_hold,
	.outbox_adopt = pg_outbox_adopt,
	.dead_letter = pg_dead_letter,
	.dead_read = pg_dead_read,
	.dead_replay = pg_dead_replay,
	.dead_drop = pg_dead_drop,
	.credential_put = pg_credential_put,
	.credential_read = pg_credential_read,
	.credential_change = pg_credential_change,
	.sources = pg_sources,
	.source_change = pg_source_change,
	.outbox_bytes = pg_outbox_bytes,
	.task_list = pg_task_list,
	.task_get = pg_task_get,
	.progress = pg_progress,
	.depths = pg_depths,
	.dead_list = pg_dead_list,
	.outbox_totals = pg_outbox_totals,
	.listen = pg_listen,
};
