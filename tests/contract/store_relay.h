/* SPDX-License-Identifier: Apache-2.0 */
/* What the cases about relays share: the store's calls, answered at once; their errors fail the test. */
#ifndef SLUICE_TESTS_STORE_RELAY_H
#define SLUICE_TESTS_STORE_RELAY_H

#include "store_fixture.h"

struct relay_answer {			/* copied into an arena */
	struct arena *arena;
	bool answered;
	struct error err;
	struct store_shard shards[STORE_SHARDS];	/* of a turn: only their numbers */
	size_t count, noted_count, relays;
	struct store_outbox_row *rows;
	size_t row_count;
};

struct relay_answer *relay_lease(struct store_sync *sync, struct arena *arena, const struct store_shard_lease *request);
struct relay_answer *relay_turn(struct store_sync *sync, struct arena *arena, const struct store_turn *request);

/* Whether one of the shards has the id noted as being sent. */
bool relay_is_noted(const struct relay_answer *answer, int64_t id);

/* A fixture whose store is relayed and has no status events; its outbox is empty and no relay is alive. */
int relay_setup(void **state);
#define RELAY_CASE(name) cmocka_unit_test_setup_teardown(name, relay_setup, fixture_teardown)

int store_run_relay_process_cases(void);

#endif
