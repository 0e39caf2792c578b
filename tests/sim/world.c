/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers to keys and back. A key hides its number behind a multiplication
 * modulo 2^40, so keys look unrelated and still need no table.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOW40 ((UINT64_C(1) << 40) - 1)
#define SCRAMBLE UINT64_C(0x9e3779b97f)
#define SCRAMBLE_OFFSET UINT64_C(0x6d2b79f5)
#define PK_HIGH (UINT64_C(0x29a224) << 40)
#define VIDEO_HIGH (UINT64_C(0x7b31c5) << 40)
#define CURSOR_HIGH (UINT64_C(0x416fd2) << 40)
#define PROFILE_ID_FIRST INT64_C(2000000000)
#define PROFILE_ID_STEP 7919
#define ORDER_ID_FIRST INT64_C(5000000000000)

struct world world;

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t world_hash(unsigned int salt, uint64_t a, uint64_t b)
{
	return mix(mix(mix(world.seed ^ ((uint64_t)salt << 56)) ^ a) ^ b);
}

static uint64_t scramble(uint64_t x)
{
	return (x ^ SCRAMBLE_OFFSET) * SCRAMBLE & LOW40;
}

/* Newton's iteration for the inverse of an odd number: each step doubles the correct bits. */
static uint64_t unscramble(uint64_t x)
{
	uint64_t inverse = SCRAMBLE;

	for (int i = 0; i < 5; i++)
		inverse *= 2 - SCRAMBLE * inverse;
	return (x * inverse & LOW40) ^ SCRAMBLE_OFFSET;
}

static void encode11(char out[12], uint64_t value)
{
	for (int i = 10; i >= 0; i--) {
		out[i] = digits64[value & 63];
		value >>= 6;
	}
	out[11] = '\0';
}

/* 11 digits whose high part is as expected, back to the 40 bits below; false otherwise. */
static bool decode11(const char *text, uint64_t high, uint64_t *low_r)
{
	uint64_t value = 0;

	for (int i = 0; i < 11; i++) {
		const char *digit = text[i] ? strchr(digits64, text[i]) : NULL;

		if (!digit || (i == 0 && digit - digits64 > 15))
			return false;
		value = value << 6 | (uint64_t)(digit - digits64);
	}
	if ((value & ~LOW40) != high)
		return false;
	*low_r = unscramble(value & LOW40);
	return true;
}

uint64_t entity_number(uint32_t n, uint32_t i)
{
	return (uint64_t)n * WORLD_MAX_ITEMS + i;
}

/* "prefix17" -> 17, when all the rest is a number below the limit. */
static bool number_after(const char *text, const char *prefix, uint32_t limit, uint32_t *n_r)
{
	const size_t len = strlen(prefix);
	char *end;
	unsigned long n;

	if (strncmp(text, prefix, len) != 0 || text[len] < '0' || text[len] > '9')
		return false;
	if (text[len] == '0' && text[len + 1] >= '0' && text[len + 1] <= '9')
		return false;
	n = strtoul(text + len, &end, 10);
	if ((*end != '\0' && *end != '.') || n >= limit)
		return false;
	*n_r = (uint32_t)n;
	return true;
}

void profile_get(uint32_t n, struct profile *out)
{
	const uint64_t h = world_hash(1, n, 0);

	out->n = n;
	out->hash = h;
	snprintf(out->handle, sizeof(out->handle), "user_%u", n);
	out->id = PROFILE_ID_FIRST + (int64_t)n * PROFILE_ID_STEP;
	out->fbid = INT64_C(17841400000000000) + (int64_t)n * 104729;
	out->followers = (INT64_C(400) << (h % 14)) + (int64_t)(h >> 20) % 397;
	out->following = 40 + (int64_t)(h >> 32) % 2900;
	/* one profile in 50 has never posted */
	out->posts = n % 50 == 49 ? 0 : 24 + (uint32_t)(h >> 44) % 57;
}

bool profile_by_handle(const char *handle, struct profile *out)
{
	uint32_t n;

	if (!handle || strchr(handle, '.') || !number_after(handle, "user_", world.profiles, &n))
		return false;
	profile_get(n, out);
	return true;
}

bool profile_by_id(const char *id, struct profile *out)
{
	char *end;
	int64_t value;

	if (!id || id[0] < '1' || id[0] > '9')
		return false;
	value = strtoll(id, &end, 10) - PROFILE_ID_FIRST;
	if (*end != '\0' || value < 0 || value % PROFILE_ID_STEP != 0
	    || value / PROFILE_ID_STEP >= world.profiles)
		return false;
	profile_get((uint32_t)(value / PROFILE_ID_STEP), out);
	return true;
}

/* The i-th newest of count things spread over the world's days: each in its own share of them. */
static int64_t spread_time(uint32_t i, uint32_t count, uint64_t hash)
{
	const int64_t share = WORLD_AGE_DAYS * (int64_t)WORLD_DAY / count;

	return world.now_s - 600 - i * share - (int64_t)(hash >> 8) % (share > 1 ? share : 1);
}

void post_get(const struct profile *owner, uint32_t i, struct post *out)
{
	const uint64_t h = world_hash(2, owner->n, i);
	const uint64_t low = scramble(entity_number(owner->n, i));

	out->owner = owner;
	out->i = i;
	out->hash = h;
	out->type = (enum post_type)(h % 3);
	out->pk = (int64_t)(PK_HIGH | low);
	out->graph_id = INT64_C(17900000000000000) + (int64_t)low;
	encode11(out->shortcode, PK_HIGH | low);
	out->taken_at = spread_time(i, owner->posts, h);
	out->likes = owner->followers * (int64_t)(10 + (h >> 10) % 70) / 1000 + (int64_t)(h >> 17) % 10;
	out->comments = out->likes / (int64_t)(15 + (h >> 24) % 50) + (int64_t)(h >> 30) % 4;
	out->plays = out->type == POST_VIDEO ? out->likes * (int64_t)(8 + (h >> 33) % 12) + 11 : 0;
	out->duration_ms = 5000 + (int64_t)(h >> 38) % 85000;
	out->reshares = out->likes / 25;
}

bool post_by_shortcode(const char *shortcode, struct profile *owner, struct post *out)
{
	uint64_t number;

	if (!shortcode || strlen(shortcode) != 11 || !decode11(shortcode, PK_HIGH, &number))
		return false;
	if (number / WORLD_MAX_ITEMS >= world.profiles)
		return false;
	profile_get((uint32_t)(number / WORLD_MAX_ITEMS), owner);
	if (number % WORLD_MAX_ITEMS >= owner->posts)
		return false;
	post_get(owner, (uint32_t)(number % WORLD_MAX_ITEMS), out);
	return true;
}

static uint64_t channel_low(uint32_t n)
{
	return scramble(entity_number(n, WORLD_MAX_ITEMS - 1));
}

void channel_get(uint32_t n, struct channel *out)
{
	const uint64_t h = world_hash(3, n, 0);
	const uint64_t low = channel_low(n);

	out->n = n;
	out->hash = h;
	memcpy(out->id, "UC", 2);
	encode11(out->id + 2, VIDEO_HIGH | low);
	encode11(out->id + 13, mix(low) & (UINT64_MAX >> 2));
	memcpy(out->uploads, out->id, sizeof(out->id));
	out->uploads[1] = 'U';
	out->videos = n % 50 == 49 ? 0 : 20 + (uint32_t)(h >> 12) % 121;
	out->subscribers = ((INT64_C(300) << (h % 15)) / 100 + 1) * 100;
	out->views = out->subscribers * (int64_t)(80 + (h >> 20) % 900);
	out->created_at = world.now_s - (400 + (int64_t)(h >> 28) % 4000) * WORLD_DAY;
}

bool channel_by_id(const char *id, size_t len, const char *prefix, struct channel *out)
{
	uint64_t number;

	if (len != 24 || strncmp(id, prefix, 2) != 0 || !decode11(id + 2, VIDEO_HIGH, &number))
		return false;
	if (number / WORLD_MAX_ITEMS >= world.profiles)
		return false;
	channel_get((uint32_t)(number / WORLD_MAX_ITEMS), out);
	return strncmp(out->id + 2, id + 2, 22) == 0;
}

void video_get(const struct channel *owner, uint32_t i, struct video *out)
{
	const uint64_t h = world_hash(4, owner->n, i);

	out->owner = owner;
	out->i = i;
	out->hash = h;
	encode11(out->id, VIDEO_HIGH | scramble(entity_number(owner->n, i)));
	out->published_at = spread_time(i, owner->videos, h);
	out->views = owner->subscribers * (int64_t)(50 + (h >> 10) % 900) / 1000 + (int64_t)(h >> 20) % 100;
	out->likes = out->views * (int64_t)(10 + (h >> 27) % 60) / 1000;
	out->comments = out->likes / (int64_t)(8 + (h >> 33) % 40);
	out->duration_s = 20 + (int64_t)(h >> 38) % (h & 1 ? 40 : 3600);
}

bool video_by_id(const char *id, size_t len, struct channel *owner, struct video *out)
{
	uint64_t number;

	if (len != 11 || !decode11(id, VIDEO_HIGH, &number) || number / WORLD_MAX_ITEMS >= world.profiles)
		return false;
	channel_get((uint32_t)(number / WORLD_MAX_ITEMS), owner);
	if (number % WORLD_MAX_ITEMS >= owner->videos)
		return false;
	video_get(owner, (uint32_t)(number % WORLD_MAX_ITEMS), out);
	return true;
}

bool shop_by_name(const char *name, uint32_t *shop_r, uint32_t *orders_r)
{
	*shop_r = 0;
	*orders_r = 0;
	if (strncmp(name, "empty", 5) == 0)
		return true;
	*orders_r = world.orders;
	return number_after(name, "shop-", world.profiles, shop_r);
}

void order_get(uint32_t shop, uint32_t k, struct order *out)
{
	const uint64_t h = world_hash(5, shop, k);

	out->shop = shop;
	out->k = k;
	out->hash = h;
	/* newer orders have larger ids */
	out->id = ORDER_ID_FIRST + (int64_t)entity_number(shop, world.orders - 1 - k);
	out->created_at = spread_time(k, world.orders, h);
	out->updated_at = out->created_at + 120;
	out->cents = 490 + (int64_t)(h >> 16) % 29000;
}

void cursor_text(char out[WORLD_KEY_SIZE], uint32_t n, uint32_t place)
{
	memcpy(out, "QVFE", 4);
	encode11(out + 4, CURSOR_HIGH | scramble(entity_number(n, place)));
	memcpy(out + 15, "ZsaWNlb2ZhbGlzdA==", sizeof("ZsaWNlb2ZhbGlzdA=="));
}

int64_t cursor_place(const char *text, uint32_t n)
{
	uint64_t number;

	if (strlen(text) < 15 || strncmp(text, "QVFE", 4) != 0 || !decode11(text + 4, CURSOR_HIGH, &number)
	    || number / WORLD_MAX_ITEMS != n)
		return -1;
	return (int64_t)(number % WORLD_MAX_ITEMS);
}

void entity_key(enum entity_kind kind, uint64_t number, char out[WORLD_KEY_SIZE])
{
	struct profile profile;
	struct channel channel;
	struct order order;

	switch (kind) {
	case ENTITY_PROFILE:
		profile_get((uint32_t)number, &profile);
		snprintf(out, WORLD_KEY_SIZE, "%lld", (long long)profile.id);
		break;
	case ENTITY_POST:
		encode11(out, PK_HIGH | scramble(number));
		break;
	case ENTITY_CHANNEL:
		channel_get((uint32_t)number, &channel);
		memcpy(out, channel.id, sizeof(channel.id));
		break;
	case ENTITY_VIDEO:
		encode11(out, VIDEO_HIGH | scramble(number));
		break;
	default:
		order_get((uint32_t)(number / WORLD_MAX_ITEMS), (uint32_t)(number % WORLD_MAX_ITEMS), &order);
		snprintf(out, WORLD_KEY_SIZE, "%lld", (long long)order.id);
	}
}
