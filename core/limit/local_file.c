/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapped file: a head, a directory (hash and expiry of each slot, so that a
 * search touches few cache lines), the slots. A key lives in one of PROBES
 * slots from the place of its hash on; a slot whose record has expired is free.
 *
 * Kills: a slot's old content goes into the head before it is overwritten;
 * whoever finds the mutex left by a dead process puts it back. A survivor sees
 * all that the dead one stored, in program order, so only the compiler has to
 * be kept from changing that order (`settle`).
 *
 * Who holds the file holds a shared lock on it. Who gets it exclusively is
 * alone: then the file is checked, the mutex (which may be of another boot) is
 * made anew, and the time is set against the clocks. Power cuts: a slot never
 * spans two pages and carries a checksum; counts of the last half minute may
 * be lost, since nobody waits for the disk.
 */
#include "limit/local_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "base/uuid.h"
#include "log/log.h"

#define MAGIC "SLlimit"
#define LAYOUT 1
#define PAGE ((size_t)4096)
#define PROBES 32
#define PATIENCE_MS 50		/* for the mutex, which is held for microseconds */
#define OPEN_TRIES 50
#define BOOT_SIZE 40

struct entry {
	uint64_t hash;			/* 0: never used */
	int64_t expires_us;
};

struct slot {
	struct limit_record record;
	uint64_t check;
	char key[LIMIT_KEY_SIZE];
	char unused[56];
};
_Static_assert(sizeof(struct slot) == 1024, "four slots are a page");

struct undo {
	uint64_t index;
	struct entry entry;
	struct slot slot;
};

struct fixed {				/* does not change while the file lives */
	char magic[8];
	uint32_t version, head_size, slot_size, slots;
	uint64_t seed;
};

struct head {
	struct fixed fixed;
	uint64_t check;			/* of fixed */
	char boot[BOOT_SIZE];		/* the boot that base_us belongs to */
	int64_t base_us;		/* the file's time is this and CLOCK_BOOTTIME */
	int64_t last_us, last_wall_us;	/* when it was last asked */
	int64_t since_us;
	pthread_mutex_t mutex;
	_Atomic uint32_t undo_count;
	struct undo undo[LIMIT_ITEMS_MAX];
};

struct limit_file {
	int fd;
	size_t size, slots;
	struct head *head;
	struct entry *directory;
	struct slot *slot;
	bool stuck; /* the last one waited for the mutex in vain: the next does not wait */
};

/* --- sums and clocks --- */

static uint64_t mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return sum ^ sum >> 29;
}

static uint64_t sum_of(uint64_t sum, const void *bytes, size_t len)
{
	const char *at = bytes;
	uint64_t word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum = mix(sum, word);
	}
	word = 0;
	memcpy(&word, at, len);
	return mix(sum, word ^ (uint64_t)len << 56);
}

static uint64_t slot_sum(const struct head *head, const struct slot *slot)
{
	return sum_of(sum_of(head->fixed.seed, &slot->record, limit_record_size(&slot->record)), slot->key,
		      strnlen(slot->key, sizeof(slot->key)));
}

static uint64_t hash_of(const struct limit_file *file, const char *key)
{
	uint64_t hash = sum_of(file->head->fixed.seed, key, strlen(key));

	return hash != 0 ? hash : 1;
}

static int64_t clock_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* "" when the system does not say: then every first opener goes by the wall clock, as after a boot. */
static void read_boot(char boot[BOOT_SIZE])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, boot, BOOT_SIZE - 1) : 0;

	boot[len > 0 ? len : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

/* --- one transaction --- */

static void settle(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

void limit_file_rollback(struct limit_file *file)
{
	struct head *head = file->head;

	settle();
	for (uint32_t i = atomic_load(&head->undo_count); i > 0; i--) {
		const struct undo *undo = &head->undo[i - 1];

		file->slot[undo->index] = undo->slot;
		file->directory[undo->index] = undo->entry;
	}
	settle();
	atomic_store(&head->undo_count, 0);
}

static struct timespec deadline(void)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += PATIENCE_MS * 1000000L;
	end.tv_sec += end.tv_nsec / 1000000000L;
	end.tv_nsec %= 1000000000L;
	return end;
}

int limit_file_lock(struct limit_file *file)
{
	int status = pthread_mutex_trylock(&file->head->mutex);
	struct timespec end;

	if (status == EBUSY && !file->stuck) {
		end = deadline();
		status = pthread_mutex_clocklock(&file->head->mutex, CLOCK_MONOTONIC, &end);
	}
	file->stuck = status != 0 && status != EOWNERDEAD;
	if (status == EOWNERDEAD) {
		limit_file_rollback(file);
		pthread_mutex_consistent(&file->head->mutex);
		return 1;
	}
	return status == 0 ? 0 : -1;
}

void limit_file_unlock(struct limit_file *file)
{
	settle();
	atomic_store(&file->head->undo_count, 0);
	pthread_mutex_unlock(&file->head->mutex);
}

int64_t limit_file_now_us(struct limit_file *file)
{
	struct head *head = file->head;
	int64_t now = head->base_us + clock_us(CLOCK_BOOTTIME);

	if (now > head->last_us)
		head->last_us = now;
	head->last_wall_us = clock_us(CLOCK_REALTIME);
	return head->last_us;
}

int64_t limit_file_since_us(const struct limit_file *file)
{
	return file->head->since_us;
}

/* The slot of the key; else -1, and one that it may have (-1: none), and how soon there will be one. */
static int64_t search(const struct limit_file *file, const char *key, int64_t now_us, int64_t *free_r,
		      int64_t *wait_us_r)
{
	uint64_t hash = hash_of(file, key);
	int64_t soonest = INT64_MAX;

	*free_r = -1;
	for (uint64_t i = 0; i < PROBES && i < file->slots; i++) {
		uint64_t index = (hash + i) % file->slots;
		const struct entry *entry = &file->directory[index];

		if (entry->hash == hash && entry->expires_us > now_us && str_eq(file->slot[index].key, key))
			return (int64_t)index;
		if (entry->expires_us <= now_us && *free_r < 0)
			*free_r = (int64_t)index;
		if (entry->expires_us < soonest)
			soonest = entry->expires_us;
		if (entry->hash == 0)
			break;
	}
	*wait_us_r = soonest - now_us;
	return -1;
}

const struct limit_record *limit_file_find(struct limit_file *file, const char *key, int64_t now_us)
{
	int64_t unused, wait_us, index = search(file, key, now_us, &unused, &wait_us);

	return index >= 0 ? &file->slot[index].record : NULL;
}

int limit_file_write(struct limit_file *file, const char *key, const struct limit_record *record,
		     int64_t now_us, int64_t *wait_us_r)
{
	struct head *head = file->head;
	int64_t free_slot, index = search(file, key, now_us, &free_slot, wait_us_r);
	int64_t expires_us = limit_record_expires(record);
	uint32_t count = atomic_load(&head->undo_count);
	struct slot *slot;

	if (index < 0 && expires_us <= now_us)
		return 0;
	if (index < 0)
		index = free_slot;
	if (index < 0)
		return -1;
	assert(count < LIMIT_ITEMS_MAX);
	slot = &file->slot[index];
	head->undo[count] = (struct undo){(uint64_t)index, file->directory[index], *slot};
	settle();
	atomic_store(&head->undo_count, count + 1);
	settle();
	memcpy(&slot->record, record, limit_record_size(record));
	str_format(slot->key, sizeof(slot->key), "%s", key);
	slot->check = slot_sum(head, slot);
	file->directory[index] = (struct entry){hash_of(file, key), expires_us > now_us ? expires_us : 0};
	return 0;
}

/* --- opening --- */

static size_t directory_at(void)
{
	return (sizeof(struct head) + PAGE - 1) / PAGE * PAGE;
}

static size_t slots_at(size_t slots)
{
	return directory_at() + (slots * sizeof(struct entry) + PAGE - 1) / PAGE * PAGE;
}

static int map(struct limit_file *file, struct error *err)
{
	char *base = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);

	if (base == MAP_FAILED)
		return error_errno(err, "cannot map it");
	file->head = (struct head *)(void *)base;
	file->directory = (struct entry *)(void *)(base + directory_at());
	file->slot = (struct slot *)(void *)(base + slots_at(file->slots));
	return 0;
}

static void unmap(struct limit_file *file)
{
	if (file->head != NULL)
		munmap(file->head, file->size);
	file->head = NULL;
}

static bool head_is_good(const struct limit_file *file)
{
	const struct head *head = file->head;
	const struct fixed wanted = {.magic = MAGIC, .version = LAYOUT, .head_size = sizeof(*head),
				     .slot_size = sizeof(struct slot), .slots = (uint32_t)file->slots,
				     .seed = head->fixed.seed};

	return memcmp(&head->fixed, &wanted, sizeof(wanted)) == 0 &&
	       head->check == sum_of(0, &head->fixed, sizeof(head->fixed));
}

static bool slot_is_good(const struct head *head, const struct slot *slot)
{
	return slot->record.window_count <= LIMIT_WINDOWS_MAX && slot->key[LIMIT_KEY_SIZE - 1] == '\0' &&
	       slot->check == slot_sum(head, slot);
}

/* Everything, after what a dead process left was taken back. Alone. */
static bool is_good(struct limit_file *file)
{
	struct head *head = file->head;
	uint32_t undo_count;

	if (!head_is_good(file))
		return false;
	undo_count = atomic_load(&head->undo_count);
	if (undo_count > LIMIT_ITEMS_MAX)
		return false;
	for (uint32_t i = 0; i < undo_count; i++)
		if (head->undo[i].index >= file->slots)
			return false;
	limit_file_rollback(file);
	for (size_t i = 0; i < file->slots; i++)
		if (file->directory[i].hash != 0 && !slot_is_good(head, &file->slot[i]))
			return false;
	return true;
}

static void make_mutex(struct head *head)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	memset(&head->mutex, 0, sizeof(head->mutex));
	pthread_mutex_init(&head->mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

/* The file's time goes on where it stood, by what the wall clock says has passed meanwhile. */
static void set_clock(struct head *head)
{
	int64_t wall = clock_us(CLOCK_REALTIME), passed = wall - head->last_wall_us;
	char boot[BOOT_SIZE];

	read_boot(boot);
	if (*boot != '\0' && str_eq(boot, head->boot))
		return;
	head->last_us += passed > 0 ? passed : 0;
	head->last_wall_us = wall;
	head->base_us = head->last_us - clock_us(CLOCK_BOOTTIME);
	memcpy(head->boot, boot, sizeof(boot));
}

/* lost: something was there that is not known any more. */
static int make(struct limit_file *file, bool lost, struct error *err)
{
	int status;
	struct head *head;

	unmap(file);
	if (ftruncate(file->fd, 0) < 0)
		return error_errno(err, "cannot empty it");
	/* All of it on the disk now: a full disk later would be a signal in the middle of a decision. */
	status = posix_fallocate(file->fd, 0, (off_t)file->size);
	if (status != 0) {
		errno = status;
		return error_errno(err, "cannot make room for %zu bytes", file->size);
	}
	if (map(file, err) < 0)
		return -1;
	head = file->head;
	head->fixed = (struct fixed){.version = LAYOUT,
				     .head_size = sizeof(*head),
				     .slot_size = sizeof(struct slot),
				     .slots = (uint32_t)file->slots,
				     .seed = random_u64()};
	set_clock(head);
	head->since_us = lost ? head->last_us : 0;
	/* Last: it says that the rest is there. */
	settle();
	memcpy(head->fixed.magic, MAGIC, sizeof(MAGIC));
	head->check = sum_of(0, &head->fixed, sizeof(head->fixed));
	return 0;
}

/* This process alone has the file. */
static int prepare(struct limit_file *file, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return error_errno(err, "cannot look at it");
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_INPUT, "not a file: move it away");
	if (st.st_size == (off_t)file->size && map(file, err) < 0)
		return -1;
	if (file->head == NULL || !is_good(file)) {
		if (st.st_size > 0)
			log_warning("limits: the file is damaged, or of another version or size: made anew, "
				    "as if "
				    "everything had been used up just now file=\"%s\"",
				    path);
		if (make(file, st.st_size > 0, err) < 0)
			return -1;
	}
	set_clock(file->head);
	make_mutex(file->head);
	return 0;
}

/* Somebody else has the file, and has prepared it. 0: so it is; 1: not so, he went in the middle. */
static int join(struct limit_file *file, struct error *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return error_errno(err, "cannot look at it");
	if (st.st_size == (off_t)file->size) {
		if (map(file, err) < 0)
			return -1;
		if (head_is_good(file))
			return 0;
	}
	unmap(file);
	return 1;
}

static int lock_shared(int fd)
{
	int status;

	do
		status = flock(fd, LOCK_SH);
	while (status < 0 && errno == EINTR);
	return status;
}

static int share(struct limit_file *file, const char *path, struct error *err)
{
	int status = 1;

	for (int i = 0; i < OPEN_TRIES && status == 1; i++) {
		bool alone = flock(file->fd, LOCK_EX | LOCK_NB) == 0;

		status = alone ? prepare(file, path, err) : 1;
		/* Others may get in between and prepare it too; nobody has used it yet then. */
		if (status >= 0 && lock_shared(file->fd) < 0)
			return error_errno(err, "cannot lock it");
		if (!alone)
			status = join(file, err);
		if (status == 1)
			flock(file->fd, LOCK_UN);
	}
	return status == 1 ? error_set(err, ERR_INPUT,
				       "another process has it with another size, or another version")
			   : status;
}

struct limit_file *limit_file_open(const char *path, size_t slots, struct error *err)
{
	struct limit_file *file = mem_alloc(sizeof(*file));

	assert(slots > 0 && slots <= 1 << 20);
	file->slots = slots;
	file->size = slots_at(slots) + slots * sizeof(struct slot);
	file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (file->fd < 0)
		error_errno(err, "%s", path);
	else if (share(file, path, err) == 0)
		return file;
	else
		error_prefix(err, "%s", path);
	limit_file_close(&file);
	return NULL;
}

void limit_file_close(struct limit_file **file)
{
	if (*file == NULL)
		return;
	unmap(*file);
	if ((*file)->fd >= 0)
		close((*file)->fd);
	mem_free(file);
}
