/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapped file of `local:`: records by key, shared by processes of a node
 * and kept over restarts. What is done between lock and unlock happens as a
 * whole or not at all, whoever is killed in the middle. Any one thread.
 */
#ifndef SLUICE_LIMIT_LOCAL_FILE_H
#define SLUICE_LIMIT_LOCAL_FILE_H

#include "base/error.h"
#include "limit/driver.h"

struct limit_file;

/*
 * Makes the file, or opens it when it is whole and has so many slots. One that
 * is neither is made anew, as if everything had been used up just now. Other
 * processes that open it at the same time wait for each other.
 */
struct limit_file *limit_file_open(const char *path, size_t slots, struct error *err);
void limit_file_close(struct limit_file **file);

/*
 * 0; 1: somebody died inside, and what he had begun was taken back; -1: it is
 * held for too long (its holder is stopped) and is not locked.
 */
int limit_file_lock(struct limit_file *file);
/* Makes good what was written since limit_file_lock. */
void limit_file_unlock(struct limit_file *file);
/* Takes back what was written since limit_file_lock, which stays locked. */
void limit_file_rollback(struct limit_file *file);

/*
 * All below: while it is locked. The file's time goes on while no process has
 * it and over a reboot, and never goes back, whatever is done to the clock.
 */
int64_t limit_file_now_us(struct limit_file *file);
int64_t limit_file_since_us(const struct limit_file *file);	/* complete since then */
/* NULL: nothing is known of it. Until the next write. */
const struct limit_record *limit_file_find(struct limit_file *file, const char *key, int64_t now_us);
/* key is shorter than LIMIT_KEY_SIZE. -1: there is no place for it; one comes free after *wait_us_r. */
int limit_file_write(struct limit_file *file, const char *key, const struct limit_record *record,
		     int64_t now_us, int64_t *wait_us_r);

#endif
