/* SPDX-License-Identifier: Apache-2.0 */
/* Time: three clocks and the two text forms. Wall times are UTC throughout. Any thread. */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void);	/* CLOCK_MONOTONIC: timers, back-off */
int64_t clock_boot_ms(void);	/* CLOCK_BOOTTIME: leases (counts while suspended) */
int64_t clock_wall_ms(void);	/* CLOCK_REALTIME: what people and other systems read */

#define CLOCK_TEXT_SIZE 32
/* "YYYY-MM-DD HH:MM:SS", the original system's form. Returns out. */
char *clock_format(char out[CLOCK_TEXT_SIZE], int64_t epoch_s);
/* "YYYY-MM-DD HH:MM:SS.mmm" */
char *clock_format_ms(char out[CLOCK_TEXT_SIZE], int64_t epoch_ms);
/*
 * Reads ISO 8601 and the form above: date, optional time with 'T' or ' ',
 * optional fraction, optional Z, +hh:mm or +hhmm (none = UTC). All of the text.
 * Returns 0, or -1 when it is not a valid time.
 */
int clock_parse(const char *text, size_t len, int64_t *epoch_ms_r);

#endif
