/* SPDX-License-Identifier: Apache-2.0 */
/* Owns batches of deliveries and those that wait to be used again. See the header for threads. */
#include "bus/amqp_batch.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/uuid.h"

#define BATCH_BYTES ((size_t)1024 * 1024)
/* Batches kept for the next ones; not those that a large message has made larger than this. */
#define SPARES_MAX 4
#define SPARE_BYTES (4 * BATCH_BYTES)
#define REST_MS 10000

static size_t keep_text(struct amqp_batch *batch, const char *text, size_t len)
{
	size_t at = batch->texts.len;

	buf_add(&batch->texts, text, len);
	buf_addc(&batch->texts, '\0');
	return at;
}

void amqp_batch_add(struct amqp_batch *batch, const struct amqp_delivery *delivery)
{
	struct amqp_delivery *item;
	const char *id = delivery->id;
	char hash[SHA256_TEXT_SIZE];

	assert(batch->count < AMQP_BATCH_MESSAGES);
	item = &batch->items[batch->count++];
	*item = *delivery;
	if (id == NULL)
		id = sha256_hex(hash, delivery->body, delivery->len);
	item->body_at = keep_text(batch, delivery->body, delivery->len);
	item->id_at = keep_text(batch, id, strlen(id));
	if (delivery->headers != NULL)
		item->headers_at = keep_text(batch, delivery->headers, strlen(delivery->headers));
	if (delivery->problem != NULL)
		item->problem_at = keep_text(batch, delivery->problem, strlen(delivery->problem));
	batch->bytes += delivery->bytes;
}

bool amqp_batch_full(const struct amqp_batch *batch)
{
	return batch->count == AMQP_BATCH_MESSAGES || batch->bytes >= BATCH_BYTES;
}

void amqp_batch_end(struct amqp_batch *batch)
{
	const char *texts = batch->texts.data;

	for (size_t i = 0; i < batch->count; i++) {
		struct amqp_delivery *item = &batch->items[i];

		item->body = texts + item->body_at;
		item->id = texts + item->id_at;
		item->headers = item->headers != NULL ? texts + item->headers_at : NULL;
		item->problem = item->problem != NULL ? texts + item->problem_at : NULL;
	}
}

void amqp_batch_free(struct amqp_batch *batch)
{
	if (batch == NULL)
		return;
	buf_fini(&batch->texts);
	mem_release(batch);
}

void amqp_batches_free(struct list *batches)
{
	struct list *pos, *following;

	list_each_safe (pos, following, batches)
		amqp_batch_free(list_entry(pos, struct amqp_batch, node));
	list_init(batches);
}

void amqp_spares_init(struct amqp_spares *spares)
{
	pthread_mutex_init(&spares->mutex, NULL);
	list_init(&spares->batches);
	spares->count = 0;
	spares->used_ms = 0;
}

void amqp_spares_fini(struct amqp_spares *spares)
{
	amqp_batches_free(&spares->batches);
	pthread_mutex_destroy(&spares->mutex);
}

struct amqp_batch *amqp_spares_get(struct amqp_spares *spares, uint32_t generation)
{
	struct amqp_batch *batch = NULL;

	pthread_mutex_lock(&spares->mutex);
	spares->used_ms = clock_mono_ms();
	if (spares->count > 0) {
		spares->count--;
		batch = list_entry(spares->batches.next, struct amqp_batch, node);
		list_remove(&batch->node);
	}
	pthread_mutex_unlock(&spares->mutex);
	if (batch == NULL) {
		batch = mem_alloc(sizeof(*batch));
		list_init(&batch->node);
	}
	buf_clear(&batch->texts);
	batch->count = batch->bytes = 0;
	batch->generation = generation;
	return batch;
}

void amqp_spares_put(struct amqp_spares *spares, struct amqp_batch *batch)
{
	pthread_mutex_lock(&spares->mutex);
	if (spares->count < SPARES_MAX && batch->texts.cap <= SPARE_BYTES) {
		list_append(&spares->batches, &batch->node);
		spares->count++;
		batch = NULL;
	}
	pthread_mutex_unlock(&spares->mutex);
	amqp_batch_free(batch);
}

void amqp_spares_rest(struct amqp_spares *spares)
{
	struct list idle;

	list_init(&idle);
	pthread_mutex_lock(&spares->mutex);
	if (clock_mono_ms() - spares->used_ms >= REST_MS) {
		list_move(&idle, &spares->batches);
		spares->count = 0;
	}
	pthread_mutex_unlock(&spares->mutex);
	amqp_batches_free(&idle);
}
