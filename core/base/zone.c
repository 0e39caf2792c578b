/* SPDX-License-Identifier: Apache-2.0 */
/* See zone.h. */
#include "base/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/str.h"

#define FOLDER "/usr/share/zoneinfo"
#define DAY ((int64_t)86400)
#define YEAR (365 * DAY)
/* No zone changes its clocks twice within this. */
#define STEP (DAY / 4)

static bool is_zone_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < 100 && name[0] != '/' && name[0] != '.' && strstr(name, "..") == NULL &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+-") == len;
}

/* The C library takes any name and then shows UTC. */
static bool is_there(const char *name)
{
	const char *folder = getenv("TZDIR");
	char path[4096], magic[4] = "";
	FILE *in;
	bool good;

	if (!str_format(path, sizeof(path), "%s/%s", folder != NULL ? folder : FOLDER, name))
		return false;
	in = fopen(path, "re");
	if (in == NULL)
		return false;
	good = fread(magic, 1, sizeof(magic), in) == sizeof(magic) && memcmp(magic, "TZif", 4) == 0;
	fclose(in);
	return good;
}

static int64_t offset_at(int64_t utc_s)
{
	time_t when = (time_t)utc_s;
	struct tm tm;

	return localtime_r(&when, &tm) != NULL ? (int64_t)tm.tm_gmtoff : 0;
}

/* The change lies in (low, high]. */
static int64_t find_change(int64_t low, int64_t high)
{
	int64_t before = offset_at(low);

	while (high - low > 1) {
		int64_t middle = low + (high - low) / 2;

		if (offset_at(middle) == before)
			low = middle;
		else
			high = middle;
	}
	return high;
}

static struct zone *walk(struct arena *arena, int64_t now_s)
{
	struct zone *zone = arena_alloc(arena, sizeof(*zone));
	struct zone_change *changes = NULL;
	int64_t from = now_s - YEAR, to = now_s + ZONE_YEARS * YEAR, offset = offset_at(from);

	changes = arena_grow(arena, changes, zone->count, sizeof(*changes));
	changes[zone->count++] = (struct zone_change){from, offset};
	for (int64_t at = from; at < to; at += STEP) {
		int64_t next = offset_at(at + STEP);

		if (next == offset)
			continue;
		offset = next;
		changes = arena_grow(arena, changes, zone->count, sizeof(*changes));
		changes[zone->count++] = (struct zone_change){find_change(at, at + STEP), offset};
	}
	zone->changes = changes;
	return zone;
}

static const struct zone_change utc_change = {0, 0};
static const struct zone utc = {&utc_change, 1};

const struct zone *zone_load(struct arena *arena, const char *name, int64_t now_s, struct error *err)
{
	const char *old = getenv("TZ");
	char *kept = old != NULL ? mem_strdup(old) : NULL;
	const struct zone *zone = NULL;

	if (str_eq(name, "UTC")) {
		zone = &utc;
	} else if (!is_zone_name(name) || !is_there(name)) {
		error_set(err, ERR_INPUT, "there is no time zone \"%.64s\" (such as Asia/Kolkata) on this system", name);
	} else {
		setenv("TZ", name, 1);
		tzset();
		zone = walk(arena, now_s);
		if (kept != NULL)
			setenv("TZ", kept, 1);
		else
			unsetenv("TZ");
		tzset();
	}
	mem_release(kept);
	return zone;
}

/* Index of the change that counts at utc_s. */
static size_t change_at(const struct zone *zone, int64_t utc_s)
{
	size_t low = 0, high = zone->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (zone->changes[middle].at_s <= utc_s)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int64_t zone_offset(const struct zone *zone, int64_t utc_s)
{
	return zone->changes[change_at(zone, utc_s)].offset_s;
}

int64_t zone_next_change(const struct zone *zone, int64_t utc_s)
{
	size_t next = change_at(zone, utc_s);

	while (next < zone->count && zone->changes[next].at_s <= utc_s)
		next++;
	return next < zone->count ? zone->changes[next].at_s : INT64_MAX;
}

int64_t zone_instant(const struct zone *zone, int64_t wall_s)
{
	/* No offset is more than a day: what counts then is this one or one of the next. */
	size_t i = change_at(zone, wall_s - 2 * DAY);

	for (; i + 1 < zone->count; i++) {
		int64_t at = wall_s - zone->changes[i].offset_s;

		if (at < zone->changes[i + 1].at_s)
			break;
	}
	/* Before its offset begins: the clocks were put over it. */
	return i > 0 && wall_s - zone->changes[i].offset_s < zone->changes[i].at_s
		       ? zone->changes[i].at_s
		       : wall_s - zone->changes[i].offset_s;
}
