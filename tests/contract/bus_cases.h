/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the bus's contract test; each returns how many of its cases failed. */
#ifndef SLUICE_TESTS_BUS_CASES_H
#define SLUICE_TESTS_BUS_CASES_H

int bus_run_letter_cases(const char *url);	/* dead letters, as operators see them */

#endif
