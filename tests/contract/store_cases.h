/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the store's contract test; each returns how many of its cases failed. */
#ifndef SLUICE_TESTS_STORE_CASES_H
#define SLUICE_TESTS_STORE_CASES_H

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int store_run_commit_cases(void);	/* what a commit writes, and what is read */
int store_run_credential_cases(void);	/* credentials */
int store_run_failure_cases(void);	/* failures that flows remember */
int store_run_source_cases(void);	/* what is known of sources */
int store_run_letter_cases(void);	/* dead letters */
int store_run_schema_cases(void);	/* what administrators see of the schema */
int store_run_schedule_cases(void);	/* schedules, and the removal of old tasks */
int store_run_relay_cases(void);	/* how relays share the outbox */
int store_run_process_cases(void);	/* several processes, and processes that are killed */

#endif
