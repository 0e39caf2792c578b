/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the queues of the sinks plugin bring, and the rows it becomes: a folder
 * tests/sinks/NAME for each sink, decoded by plugin_sinks_test, taken through a
 * warehouse by sink_tables_test, a corpus for sink_fuzz.
 *
 *   original.json   a message as other producers send it: one object
 *   merged.ndjson   as Sluice sends it: an object per line
 *   rows            of both, in the order of their identities: the cells of all
 *                   columns but insert_timestamp, with '|' between them; times
 *                   in seconds since 1970, \N for NULL
 */
#ifndef SLUICE_TEST_SINK_CASE_H
#define SLUICE_TEST_SINK_CASE_H

#include <stdbool.h>

struct batch;
struct buf;

/* Appends the file to out; fails the test when there is none. */
void sink_case_read(const char *sink, const char *file, struct buf *out);
/* Both messages, original.json first. suspect: as if they might have been inserted before. */
struct batch *sink_case_batch(const char *sink, bool suspect);

#endif
