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
	size_t host;	/* the one that statements go to which name none; 0: any */
};

/* How many hosts can be asked one by one: driver_query.host. */
size_t warehouse_hosts(const struct warehouse *wh);
/* warehouse_query with what only a driver_query can say; its format and max_bytes are set here when 0. */
int warehouse_ask(struct warehouse *wh, struct driver_query *query, struct buf *out, struct error *err);
/* warehouse_query without a deadline, output as TSV. */
int warehouse_run(struct warehouse *wh, const struct buf *sql, struct buf *out, struct error *err);

#endif
