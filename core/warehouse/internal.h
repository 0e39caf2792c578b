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
/* One that is away does not answer within this; a statement that only looks takes less. */
#define WAREHOUSE_LOOK_MS 5000
/* warehouse_query of something that does no harm twice, output as TSV. */
int warehouse_run(struct warehouse *wh, const struct buf *sql, int64_t deadline_ms, struct buf *out,
		  struct error *err);

#endif
