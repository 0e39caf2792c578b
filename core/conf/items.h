/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of parameters that a schedule makes tasks of, read one by one: JSON
 * objects in a list or one a line, or the rows of a CSV file whose first row
 * names the parameters. One thread.
 */
#ifndef SLUICE_CONF_ITEMS_H
#define SLUICE_CONF_ITEMS_H

#include <sluice/option.h>
#include <stddef.h>

#include "base/error.h"
#include "base/uuid.h"

#define ITEMS_FILE_MAX ((size_t)64 << 20)	/* bytes of a file; a larger one is not read */

struct buf;
struct items;

/* what: how errors call the list: "params", "query"; options as for conf_params_check, borrowed like what. */
struct items *items_from_json(const char *json, size_t len, const char *what, const struct sl_option *options,
			      struct error *err);
/* A name that ends with .csv: CSV; else JSON lines. */
struct items *items_from_file(const char *path, const struct sl_option *options, struct error *err);
void items_free(struct items **items);
/* Changes with any byte of the list. Valid as long as the items. */
const char *items_print(const struct items *items);
/*
 * The next: 1, with the object, whose parameters were checked, in out (emptied
 * first); 0 at the end; -1 and err, which says where it stands, when this one is
 * wrong: the next call goes on behind it.
 */
int items_next(struct items *items, struct buf *out, struct error *err);

#endif
