/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue needs on the broker. The thread that owns the connection. */
#include "bus/amqp.h"

#include <string.h>

#include "base/arena.h"
#include "base/str.h"

/* Names what is declared, and how: the broker's half of a conflict follows in its own words. */
static int declare(struct amqp_conn *conn, const char *name, bool quorum, bool single, uint32_t *waiting_r,
		   struct error *err)
{
	amqp_table_entry_t entries[2];
	amqp_table_t arguments = {.num_entries = 0, .entries = entries};
	const amqp_queue_declare_ok_t *ok;
	char what[400];

	if (quorum)
		entries[arguments.num_entries++] = (amqp_table_entry_t){
			.key = amqp_cstring_bytes("x-queue-type"),
			.value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("quorum")}};
	if (single)
		entries[arguments.num_entries++] = (amqp_table_entry_t){
			.key = amqp_cstring_bytes("x-single-active-consumer"),
			.value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
	str_format(what, sizeof(what), "queue \"%s\" as a durable %s queue%s", name, quorum ? "quorum" : "classic",
		   single ? " with a single active consumer" : " without further arguments");
	ok = amqp_queue_declare(conn->state, AMQP_MAIN, amqp_cstring_bytes(name), 0, 1, 0, 0, arguments);
	if (ok != NULL && waiting_r != NULL)
		*waiting_r = ok->message_count;
	return amqp_conn_check(conn, what, amqp_get_rpc_reply(conn->state), err);
}

static int declare_exchange(struct amqp_conn *conn, const struct bus_queue *queue, struct error *err)
{
	char what[300];

	str_format(what, sizeof(what), "exchange \"%s\" as a durable %s exchange", queue->exchange, queue->type);
	amqp_exchange_declare(conn->state, AMQP_MAIN, amqp_cstring_bytes(queue->exchange),
			      amqp_cstring_bytes(queue->type), 0, 1, 0, 0, amqp_empty_table);
	return amqp_conn_check(conn, what, amqp_get_rpc_reply(conn->state), err);
}

static int bind(struct amqp_conn *conn, const struct bus_queue *queue, struct error *err)
{
	char what[500];

	str_format(what, sizeof(what), "binding queue \"%s\" to exchange \"%s\" by \"%s\"", queue->name,
		   queue->exchange, queue->key);
	amqp_queue_bind(conn->state, AMQP_MAIN, amqp_cstring_bytes(queue->name), amqp_cstring_bytes(queue->exchange),
			amqp_cstring_bytes(queue->key), amqp_empty_table);
	return amqp_conn_check(conn, what, amqp_get_rpc_reply(conn->state), err);
}

int amqp_declare(struct amqp_conn *conn, const struct bus_queue *queue, uint32_t *waiting_r, struct error *err)
{
	bool quorum = conn->url->quorum, exchange = queue->exchange != NULL && *queue->exchange != '\0';
	char side[280];

	if (exchange && declare_exchange(conn, queue, err) < 0)
		return -1;
	if (declare(conn, queue->name, quorum, false, waiting_r, err) < 0)
		return -1;
	if (exchange && bind(conn, queue, err) < 0)
		return -1;
	str_format(side, sizeof(side), AMQP_ERROR_PREFIX "%s", queue->name);
	if (declare(conn, side, false, false, NULL, err) < 0)
		return -1;
	str_format(side, sizeof(side), AMQP_SUSPECT_PREFIX "%s", queue->name);
	return declare(conn, side, quorum, true, NULL, err);
}
