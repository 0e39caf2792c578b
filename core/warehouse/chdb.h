/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded engine, libchdb.so, loaded when the first chdb: handle opens.
 * It is looked for, in this order: warehouse_options.library, the environment's
 * SLUICE_CHDB, the newest ${XDG_CACHE_HOME:-$HOME/.cache}/sluice/chdb/ * /libchdb.so
 * (where scripts/chdb puts it), the dynamic linker's own search.
 *
 * One engine and one data directory per process, any number of handles; a
 * second process is refused with ERR_BUSY. The engine leaves our signal
 * handlers alone but blocks SIGPIPE in the thread that opens a handle.
 */
#ifndef SLUICE_WAREHOUSE_CHDB_H
#define SLUICE_WAREHOUSE_CHDB_H

struct buf;

/* Appends the path that would be loaded; a bare "libchdb.so" means the dynamic linker's search. */
void chdb_find_library(const char *option, struct buf *path);

#endif
