/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this directory share about a handle. */
#ifndef SLUICE_WAREHOUSE_INTERNAL_H
#define SLUICE_WAREHOUSE_INTERNAL_H

#include "warehouse/driver.h"
#include "warehouse/warehouse.h"

struct warehouse {
	const struct warehouse_ops *ops;
	void *conn;
	struct warehouse_features features;
	int code;
};

/* warehouse_query without a deadline, output as TSV. */
int warehouse_run(struct warehouse *wh, const struct buf *sql, struct buf *out, struct error *err);

#endif
