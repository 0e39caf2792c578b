/* SPDX-License-Identifier: Apache-2.0 */
/* The text forms of flows.yaml that need more than base/num: printing bounds, addresses. Any thread. */
#ifndef SLUICE_CONF_UNITS_H
#define SLUICE_CONF_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#define UNITS_TEXT_SIZE 32

/* In the largest unit that divides it: 90000 -> "90s", 65536 -> "64KiB". */
void units_duration(char out[UNITS_TEXT_SIZE], int64_t ms);
void units_size(char out[UNITS_TEXT_SIZE], int64_t bytes);

/* http://HOST[:PORT][/PATH] or https://; HOST and PATH may hold {handle}. */
bool units_is_http_url(const char *text);
/* HOST:PORT or [IPV6]:PORT; port 0 to 65535. */
bool units_is_address(const char *text);

#endif
