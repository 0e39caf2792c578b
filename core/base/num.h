/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units, as people write them in flows.yaml. Return 0, or -1 when text is not one (all of it). */
#ifndef SLUICE_BASE_NUM_H
#define SLUICE_BASE_NUM_H

#include <stdint.h>

int num_parse_int(const char *text, int64_t *value_r);		/* decimal, sign allowed, range checked */
int num_parse_double(const char *text, double *value_r);	/* finite; independent of the locale */
int num_parse_duration(const char *text, int64_t *ms_r);	/* 250ms 30s 10m 2h 30d; a bare number is refused */
int num_parse_size(const char *text, int64_t *bytes_r);	/* 512 64KiB 32MiB 1GiB, kB MB GB = powers of 1000 */

#endif
