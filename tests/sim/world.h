/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The synthetic world: profiles, posts, channels, videos and orders, all
 * computed from a seed and a number, nothing stored. Keys turn into numbers and
 * back, so any endpoint can answer for any key and all providers agree.
 * Any thread after world_init.
 */
#ifndef SLUICE_SIM_WORLD_H
#define SLUICE_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_DAY 86400
#define WORLD_AGE_DAYS 45		/* posts, videos and orders are spread over this */
#define WORLD_MAX_ITEMS 4096		/* posts per profile, videos per channel, orders per shop: less than this */
#define WORLD_PROFILES_MAX (1 << 24)
#define WORLD_KEY_SIZE 64

enum entity_kind { ENTITY_PROFILE, ENTITY_POST, ENTITY_CHANNEL, ENTITY_VIDEO, ENTITY_ORDER, ENTITY_KINDS };

struct world {
	uint64_t seed;
	uint32_t profiles;		/* profiles, channels and shops 0 .. profiles - 1 exist */
	uint32_t orders;		/* per shop */
	int64_t now_s;			/* what ages are relative to: fixed for a run */
};

extern struct world world;		/* set once before the server starts */

struct profile {
	uint32_t n;
	char handle[32];
	int64_t id, fbid;
	uint64_t hash;
	int64_t followers, following;
	uint32_t posts;
};

enum post_type { POST_IMAGE, POST_VIDEO, POST_CAROUSEL };

struct post {
	const struct profile *owner;
	uint32_t i;			/* 0 is the newest */
	enum post_type type;
	int64_t pk, graph_id, taken_at;
	char shortcode[12];
	uint64_t hash;
	int64_t likes, comments, plays, duration_ms, reshares;
};

struct channel {
	uint32_t n;
	char id[25], uploads[25];
	uint64_t hash;
	int64_t views, subscribers, created_at;
	uint32_t videos;
};

struct video {
	const struct channel *owner;
	uint32_t i;
	char id[12];
	uint64_t hash;
	int64_t published_at, views, likes, comments, duration_s;
};

struct order {
	uint32_t shop, k;		/* k: 0 is the newest */
	int64_t id, created_at, updated_at;
	uint64_t hash;
	int64_t cents;
};

/* A well-mixed number from the seed, a kind of question and two numbers. */
uint64_t world_hash(unsigned int salt, uint64_t a, uint64_t b);

void profile_get(uint32_t n, struct profile *out);
bool profile_by_handle(const char *handle, struct profile *out);
bool profile_by_id(const char *id, struct profile *out);
void post_get(const struct profile *owner, uint32_t i, struct post *out);
/* Fills owner too; out->owner points at it. */
bool post_by_shortcode(const char *shortcode, struct profile *owner, struct post *out);

void channel_get(uint32_t n, struct channel *out);
/* len characters of id: a channel id or its uploads playlist. */
bool channel_by_id(const char *id, size_t len, const char *prefix, struct channel *out);
void video_get(const struct channel *owner, uint32_t i, struct video *out);
bool video_by_id(const char *id, size_t len, struct channel *owner, struct video *out);

/* shop-N or shop-N.example.com; *orders_r is 0 for shops named empty…; false when no such shop exists. */
bool shop_by_name(const char *name, uint32_t *shop_r, uint32_t *orders_r);
void order_get(uint32_t shop, uint32_t k, struct order *out);

/* Pages: an opaque text for a place in a list, and back (-1 when it is none of ours). */
void cursor_text(char out[WORLD_KEY_SIZE], uint32_t n, uint32_t place);
int64_t cursor_place(const char *text, uint32_t n);

/*
 * One number per entity, and the key other systems know it by. Profiles and
 * channels: n; posts, videos and orders: entity_number(n, i).
 */
uint64_t entity_number(uint32_t n, uint32_t i);
void entity_key(enum entity_kind kind, uint64_t number, char out[WORLD_KEY_SIZE]);

#endif
