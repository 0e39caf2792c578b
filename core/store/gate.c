/* SPDX-License-Identifier: Apache-2.0 */
/* See gate.h. The locks belong to the open file, so that threads and other files of the process do not matter. */
#include "store/gate.h"

#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/uuid.h"

struct gate {
	int fd, places;
	int place;		/* -1: outside */
	bool waiting;
};

static bool lock(const struct gate *gate, short type, int byte)
{
	struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(gate->fd, F_OFD_SETLK, &range) == 0;
}

static void wait_no_more(struct gate *gate)
{
	if (gate->waiting)
		lock(gate, F_UNLCK, gate->places);
	gate->waiting = false;
}

struct gate *gate_open(const char *path, int places, struct error *err)
{
	struct gate *gate;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0) {
		error_errno(err, "%s", path);
		return NULL;
	}
	gate = mem_alloc(sizeof(*gate));
	*gate = (struct gate){.fd = fd, .places = places, .place = -1};
	return gate;
}

bool gate_enter(struct gate *gate)
{
	int first = (int)(random_u64() % (uint64_t)gate->places);

	if (gate->place >= 0)
		return true;
	for (int i = 0; i < gate->places; i++) {
		int place = (first + i) % gate->places;

		if (lock(gate, F_WRLCK, place)) {
			gate->place = place;
			wait_no_more(gate);
			return true;
		}
	}
	gate->waiting = lock(gate, F_RDLCK, gate->places);
	return false;
}

bool gate_inside(const struct gate *gate)
{
	return gate->place >= 0;
}

void gate_leave(struct gate *gate)
{
	if (gate->place >= 0)
		lock(gate, F_UNLCK, gate->place);
	gate->place = -1;
	wait_no_more(gate);
}

bool gate_wanted(const struct gate *gate)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = gate->places, .l_len = 1};

	return fcntl(gate->fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

void gate_close(struct gate **gate)
{
	if (*gate == NULL)
		return;
	close((*gate)->fd);
	mem_free(gate);
}
