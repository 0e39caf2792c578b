/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per message: time, level, role[pid], text, then key=value fields.
 * Levels are chosen for the reader at night: error = act now, warning = look
 * tomorrow, info = what happened, debug = off unless switched on. Writes one
 * write(2) per line, so lines of several processes never mix. Any thread.
 *
 * A message that may repeat without bound is limited by the caller with
 * log_limited. Secrets never reach this interface.
 */
#ifndef SLUICE_LOG_LOG_H
#define SLUICE_LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* role: "supervisor", "worker refresh_x 3/10" (copied). Colours only when fd is a terminal. */
void log_init(int fd, const char *role, enum log_level level);
void log_set_level(enum log_level level);
/* 0, or -1 when name is none of error, warning, info, debug. */
int log_level_parse(const char *name, enum log_level *level_r);
bool log_enabled(enum log_level level);

/* fields after the text are part of it: log_info("task failed flow=%s id=%lld", ...) */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* True at most once per interval; *state starts as 0 and belongs to the caller. */
bool log_limited(int64_t *state, int64_t interval_ms);

#endif
