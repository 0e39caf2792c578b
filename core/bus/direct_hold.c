/* SPDX-License-Identifier: Apache-2.0 */
/* See direct_hold.h. The boot clock counts: it goes on while the machine sleeps. */
#include "bus/direct_hold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "log/log.h"
#include "loop/loop.h"
#include "store/store.h"

#define HOLD_MS 15000
#define ASK_MS (HOLD_MS / 3)
#define MARGIN_MS 1000
#define LOG_MS 60000

struct direct_hold {
	struct direct_hold_options options;
	struct arena *arena;
	const char *name, *holder;
	int64_t until_ms;		/* boot clock */
	int64_t asked_ms;		/* boot clock: when the request under way was made */
	bool got, lost, asking, freed;
	struct loop_timer *timer;
	int64_t log_state;
};

static void destroy(struct direct_hold *hold)
{
	arena_free(&hold->arena);
	mem_release(hold);
}

bool direct_hold_is(const struct direct_hold *hold)
{
	return hold->got && !hold->lost && clock_boot_ms() < hold->until_ms;
}

static void lose(struct direct_hold *hold)
{
	hold->lost = true;
	loop_timer_stop(hold->timer);
	hold->options.lost(hold->options.user);
}

static void on_held(void *user, int64_t count, const struct error *err)
{
	struct direct_hold *hold = user;
	bool first = false;

	hold->asking = false;
	if (hold->freed) {
		destroy(hold);
		return;
	}
	if (hold->lost)
		return;
	if (err->code == ERR_NONE && count > 0) {
		first = !hold->got;
		hold->got = true;
		hold->until_ms = hold->asked_ms + HOLD_MS - MARGIN_MS;
	} else if (err->code == ERR_NONE && hold->got) {
		lose(hold);
		return;
	} else if (err->code == ERR_NONE && log_limited(&hold->log_state, LOG_MS)) {
		log_info("another node reads this queue: waiting for it to end queue=%s", hold->options.queue);
	}
	if (first)
		hold->options.got(hold->options.user);
}

static void on_timer(void *user)
{
	struct direct_hold *hold = user;

	if (hold->got && !direct_hold_is(hold)) {
		lose(hold);
		return;
	}
	if (hold->asking)
		return;
	hold->asking = true;
	hold->asked_ms = clock_boot_ms();
	store_hold(hold->options.store, hold->name, hold->holder, HOLD_MS, on_held, hold);
}

/* Who this node is: a name in its state directory, drawn once. */
static const char *node_name(struct arena *arena, const char *state, struct error *err)
{
	const char *path = arena_printf(arena, "%s/node", state);
	const char *fresh = arena_printf(arena, "%s/node.%d", state, (int)getpid());
	char name[UUID_TEXT_SIZE] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0 && errno == ENOENT) {
		fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, uuid_random(name), UUID_TEXT_SIZE - 1) != UUID_TEXT_SIZE - 1 || fsync(fd) != 0) {
			error_errno(err, "%s", fresh);
			close(fd);
			return NULL;
		}
		close(fd);
		/* Whoever is first has named the node. */
		if (link(fresh, path) != 0 && errno != EEXIST) {
			error_errno(err, "%s", path);
			unlink(fresh);
			return NULL;
		}
		unlink(fresh);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	len = fd >= 0 ? read(fd, name, UUID_TEXT_SIZE - 1) : -1;
	if (fd >= 0)
		close(fd);
	if (len != UUID_TEXT_SIZE - 1) {
		error_set(err, ERR_INPUT, "%s holds no name of this node: remove it", path);
		return NULL;
	}
	return arena_strndup(arena, name, UUID_TEXT_SIZE - 1);
}

struct direct_hold *direct_hold_new(const struct direct_hold_options *options, struct error *err)
{
	struct direct_hold *hold = mem_alloc(sizeof(*hold));

	hold->options = *options;
	hold->arena = arena_new();
	hold->options.queue = arena_strdup(hold->arena, options->queue);
	hold->name = arena_printf(hold->arena, "read %s", options->queue);
	hold->holder = node_name(hold->arena, options->state, err);
	if (hold->holder == NULL) {
		destroy(hold);
		return NULL;
	}
	hold->timer = loop_timer_new(options->loop, on_timer, hold);
	loop_timer_start(hold->timer, 0, ASK_MS);
	return hold;
}

void direct_hold_free(struct direct_hold **handle)
{
	struct direct_hold *hold = *handle;

	*handle = NULL;
	if (hold == NULL)
		return;
	loop_timer_free(&hold->timer);
	hold->freed = true;
	if (!hold->asking)
		destroy(hold);
}
