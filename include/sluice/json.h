/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as plugins see it: read through opaque values (functions in host.h),
 * written with an append-only writer.
 */
#ifndef SLUICE_JSON_H
#define SLUICE_JSON_H

struct sl_json;		/* a value that was parsed; borrowed, valid inside the callback that got it */
struct sl_out;		/* a JSON document being written; of the task, valid inside the callback */

/* Walks the elements of an array or the members of an object. */
#define SL_EACH(h, item, container) \
	for ((item) = (h)->first(container); (item) != NULL; (item) = (h)->following(item))

#endif
