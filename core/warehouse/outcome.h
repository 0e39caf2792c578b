/* SPDX-License-Identifier: Apache-2.0 */
/* What ClickHouse's error codes mean for the rows and for the caller. Any thread. */
#ifndef SLUICE_WAREHOUSE_OUTCOME_H
#define SLUICE_WAREHOUSE_OUTCOME_H

#include "base/error.h"

/* The number in "Code: 27. DB::Exception: ..."; 0 when text has none. */
int outcome_code(const char *text);
/* Of a failed INSERT. fallback is the driver's own judgement, used when the code tells nothing. */
enum error_code outcome_insert(int code, const char *text, enum error_code fallback);
/* Of any other failed statement. */
enum error_code outcome_query(int code, enum error_code fallback);

#endif
