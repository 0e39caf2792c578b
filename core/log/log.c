/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one static state per process, set before threads start; the level may change at any time. */
#include "log/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define LINE_SIZE 8192	/* longer lines are cut and end in "..." */

static int log_fd = STDERR_FILENO;
static bool log_colour;
static char log_role[128] = "sluice";
static atomic_int log_level_now = LOG_LEVEL_INFO;

static const struct {
	const char *name, *colour;
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", "\033[1;31m"},
	[LOG_LEVEL_WARNING] = {"warning", "\033[1;33m"},
	[LOG_LEVEL_INFO] = {"info", "\033[32m"},
	[LOG_LEVEL_DEBUG] = {"debug", "\033[2m"},
};

void log_init(int fd, const char *role, enum log_level level)
{
	log_fd = fd;
	log_colour = isatty(fd) == 1;
	str_format(log_role, sizeof(log_role), "%s", role);
	log_set_level(level);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *level_r)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (str_eq(name, levels[i].name)) {
			*level_r = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* A message is one line whatever it quotes: control characters become blanks. */
static void flatten(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = ' ';
}

static void write_line(const char *line, size_t len)
{
	ssize_t written;

	do
		written = write(log_fd, line, len);
	while (written < 0 && errno == EINTR);
	/* A log that cannot be written must not stop the work; there is nobody to tell. */
}

__attribute__((format(printf, 2, 0)))
static void log_write(enum log_level level, const char *fmt, va_list ap)
{
	char line[LINE_SIZE], stamp[CLOCK_TEXT_SIZE];
	const char *colour = log_colour ? levels[level].colour : "";
	const char *plain = log_colour ? "\033[0m" : "";
	int saved = errno;
	size_t head, len;
	int body;

	if (!log_enabled(level))
		return;
	clock_format_ms(stamp, clock_wall_ms());
	str_format(line, sizeof(line), "%s %s%s%s %s[%d] ", stamp, colour, levels[level].name, plain, log_role,
		   (int)getpid());
	head = strlen(line);
	body = vsnprintf(line + head, sizeof(line) - head - 1, fmt, ap);
	len = strlen(line);
	if (body >= (int)(sizeof(line) - head - 1))
		memcpy(line + len - 3, "...", 3);
	flatten(line + head, len - head);
	line[len++] = '\n';
	write_line(line, len);
	errno = saved;
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
}

void log_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_LEVEL_INFO, fmt, ap);
	va_end(ap);
}

void log_debug(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_LEVEL_DEBUG, fmt, ap);
	va_end(ap);
}

bool log_limited(int64_t *state, int64_t interval_ms)
{
	int64_t now = clock_mono_ms();

	/* 0 is "never yet": the monotonic clock may itself be younger than the interval. */
	if (*state != 0 && now - *state < interval_ms)
		return false;
	*state = now;
	return true;
}
