/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hints about new tasks. Whoever submits notifies, at most ten times a second
 * and outside its transactions, since the server lets one notifying transaction
 * commit at a time; whoever listens (a node's timer) keeps a connection of its
 * own for it. Through a pooler that hands out connections per transaction
 * listening hears nothing, and polling alone remains. Loop thread.
 */
#include "store/postgres.h"

#include <string.h>

#include "base/clock.h"

#define HINT_EVERY_MS 100
#define RECONNECT_FIRST_MS 1000
#define RECONNECT_MAX_MS 60000

/* --- notifying --- */

struct hint {
	struct list node;
	char *flow;			/* owned */
};

static void hinted(struct pg_request *request)
{
	pg_finish(request);
}

static void drop_hints(struct pg_store *store)
{
	struct list *node, *next;

	list_each_safe(node, next, &store->hints)
	{
		struct hint *hint = list_entry(node, struct hint, node);

		list_remove(node);
		mem_free(&hint->flow);
		mem_release(hint);
	}
}

static void hint_start(struct pg_request *request)
{
	struct list *node;

	if (list_empty(&request->store->hints)) { /* sent on a connection that was lost */
		pg_finish(request);
		return;
	}
	list_each(node, &request->store->hints)
		pg_add(request, "SELECT pg_notify('" PG_CHANNEL "', $1)", "t",
		       list_entry(node, struct hint, node)->flow);
	drop_hints(request->store);
	pg_send(request, hinted);
}

static void hint_answer(struct pg_request *request)
{
	(void)request;
}

static void send_hints(void *user)
{
	struct pg_store *store = user;
	struct pg_request *request;

	if (store->closing || list_empty(&store->hints))
		return;
	store->hinted_ms = clock_mono_ms();
	request = pg_request_new(&store->base, sizeof(*request), hint_start, hint_answer);
	request->internal = true;
	pg_request_submit(request);
}

void pg_hint(struct pg_store *store, const char *flow)
{
	int64_t wait = store->hinted_ms + HINT_EVERY_MS - clock_mono_ms();
	struct hint *hint;
	struct list *node;

	if (store->closing)
		return;
	list_each(node, &store->hints)
		if (strcmp(list_entry(node, struct hint, node)->flow, flow) == 0)
			return;
	hint = mem_alloc(sizeof(*hint));
	hint->flow = mem_strdup(flow);
	list_append(&store->hints, &hint->node);
	if (store->hint == NULL)
		store->hint = loop_timer_new(store->base.loop, send_hints, store);
	if (!loop_timer_active(store->hint))
		loop_timer_start(store->hint, wait > 0 ? wait : 0, 0);
}

/* --- listening --- */

struct pg_listener {
	struct pg_conn conn;
	struct loop_timer *again;
	struct backoff backoff;
	store_hint_fn *fn;
	void *user;
};

static void listen_again(void *user)
{
	struct pg_listener *listener = user;

	if (listener->conn.phase == PG_CLOSED)
		pg_conn_open(&listener->conn);
}

static void on_ready(void *user)
{
	struct pg_listener *listener = user;

	pg_conn_add(&listener->conn, true, "LISTEN " PG_CHANNEL, NULL, 0);
	pg_conn_sync(&listener->conn);
}

static void on_batch(void *user)
{
	struct pg_listener *listener = user;

	if (listener->conn.batch.error.code != ERR_NONE)
		return;
	backoff_reset(&listener->backoff);
	/* What came while nobody listened. */
	listener->fn(listener->user, NULL);
}

static void on_lost(void *user)
{
	struct pg_listener *listener = user;

	loop_timer_start(listener->again, backoff_next(&listener->backoff), 0);
}

static void on_notify(void *user, const char *payload)
{
	struct pg_listener *listener = user;

	listener->fn(listener->user, payload);
}

static void stop_listening(struct pg_store *store)
{
	struct pg_listener *listener = store->listener;

	if (listener == NULL)
		return;
	store->listener = NULL;
	pg_conn_close(&listener->conn);
	loop_timer_free(&listener->again);
	mem_release(listener);
}

void pg_listen(struct store *base, store_hint_fn *fn, void *user)
{
	struct pg_store *store = (struct pg_store *)base;
	struct pg_listener *listener = mem_alloc(sizeof(*listener));

	stop_listening(store);
	store->listener = listener;
	listener->fn = fn;
	listener->user = user;
	listener->again = loop_timer_new(base->loop, listen_again, listener);
	backoff_init(&listener->backoff, RECONNECT_FIRST_MS, RECONNECT_MAX_MS);
	listener->conn = (struct pg_conn){.loop = base->loop,
					  .target = &store->target,
					  .on_ready = on_ready,
					  .on_batch = on_batch,
					  .on_lost = on_lost,
					  .on_notify = on_notify,
					  .user = listener};
	loop_timer_start(listener->again, 0, 0);
}

void pg_listen_close(struct pg_store *store)
{
	stop_listening(store);
	drop_hints(store);
	loop_timer_free(&store->hint);
}
