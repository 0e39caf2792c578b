/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries in memory that is used again: each keeps its own texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/uuid.h"
#include "bus/amqp_batch.h"

static void add(struct amqp_batch *batch, unsigned int number)
{
	char id[20], body[400], headers[20], problem[20];
	struct amqp_delivery delivery = { .tag = number, .id = id, .body = body, .events = number };

	str_format(id, sizeof(id), "id-%u", number);
	str_format(body, sizeof(body), "%*u", (int)(number % 300) + 5, number);
	delivery.len = strlen(body);
	delivery.bytes = delivery.len;
	if (number % 3 == 0) {
		str_format(headers, sizeof(headers), "{\"n\":%u}", number);
		delivery.headers = headers;
		delivery.bytes += strlen(headers);
	}
	if (number % 5 == 0) {
		str_format(problem, sizeof(problem), "number %u", number);
		delivery.problem = problem;
	}
	amqp_batch_add(batch, &delivery);
}

static void check(const struct amqp_delivery *item, unsigned int number)
{
	char text[400];

	assert_int_equal(item->tag, number);
	assert_int_equal(item->events, number);
	str_format(text, sizeof(text), "id-%u", number);
	assert_string_equal(item->id, text);
	str_format(text, sizeof(text), "%*u", (int)(number % 300) + 5, number);
	assert_string_equal(item->body, text);
	assert_int_equal(item->len, strlen(text));
	str_format(text, sizeof(text), "{\"n\":%u}", number);
	if (number % 3 == 0)
		assert_string_equal(item->headers, text);
	else
		assert_null(item->headers);
	str_format(text, sizeof(text), "number %u", number);
	if (number % 5 == 0)
		assert_string_equal(item->problem, text);
	else
		assert_null(item->problem);
}

static void test_a_batch_used_again_has_only_what_was_added_since(void **state)
{
	struct amqp_spares spares;
	struct amqp_batch *batch, *first = NULL;
	unsigned int from = 0;

	(void)state;
	amqp_spares_init(&spares);
	for (uint32_t round = 1; round <= 3; round++, from += 1000) {
		unsigned int count = round == 2 ? 3 : AMQP_BATCH_MESSAGES;

		batch = amqp_spares_get(&spares, round);
		if (first == NULL)
			first = batch;
		assert_ptr_equal(batch, first);
		assert_int_equal(batch->count, 0);
		assert_int_equal(batch->bytes, 0);
		assert_int_equal(batch->generation, round);
		for (unsigned int i = 0; i < count; i++) {
			assert_false(amqp_batch_full(batch));
			add(batch, from + i);
		}
		assert_int_equal(amqp_batch_full(batch), count == AMQP_BATCH_MESSAGES);
		amqp_batch_end(batch);
		assert_int_equal(batch->count, count);
		for (unsigned int i = 0; i < count; i++)
			check(&batch->items[i], from + i);
		amqp_spares_put(&spares, batch);
	}
	amqp_spares_fini(&spares);
}

static void test_without_an_id_the_body_names_a_message(void **state)
{
	struct amqp_delivery delivery = { .body = "{}", .len = 2, .bytes = 2 };
	struct amqp_spares spares;
	struct amqp_batch *batch;
	char hash[SHA256_TEXT_SIZE];

	(void)state;
	amqp_spares_init(&spares);
	batch = amqp_spares_get(&spares, 1);
	amqp_batch_add(batch, &delivery);
	delivery.body = "";
	delivery.len = delivery.bytes = 0;
	amqp_batch_add(batch, &delivery);
	amqp_batch_end(batch);
	assert_string_equal(batch->items[0].id, sha256_hex(hash, "{}", 2));
	assert_string_equal(batch->items[1].id, sha256_hex(hash, "", 0));
	assert_string_equal(batch->items[1].body, "");
	amqp_batch_free(batch);
	amqp_spares_fini(&spares);
}

static void test_bytes_fill_a_batch_and_a_huge_one_is_not_kept(void **state)
{
	struct amqp_spares spares;
	struct amqp_batch *batch;
	struct buf body;

	(void)state;
	buf_init(&body);
	memset(buf_reserve(&body, 8 << 20), 'x', 8 << 20);
	body.len = 8 << 20;
	amqp_spares_init(&spares);
	batch = amqp_spares_get(&spares, 1);
	amqp_batch_add(batch, &(struct amqp_delivery){
		.id = "large", .body = body.data, .len = body.len, .bytes = body.len
	});
	assert_true(amqp_batch_full(batch));
	amqp_batch_end(batch);
	assert_memory_equal(batch->items[0].body, body.data, body.len);
	amqp_spares_put(&spares, batch);
	assert_int_equal(spares.count, 0);
	amqp_spares_fini(&spares);
	buf_fini(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_batch_used_again_has_only_what_was_added_since),
		cmocka_unit_test(test_without_an_id_the_body_names_a_message),
		cmocka_unit_test(test_bytes_fill_a_batch_and_a_huge_one_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
