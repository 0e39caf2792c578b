/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <string.h>

#include "base/buf.h"
#include "template.h"
#include "world.h"

#define POOL 64

static struct buf captions[POOL], titles[POOL], queries[POOL];

static const char *const words[] = {
	"morning", "light", "coffee", "garden", "river", "market", "winter", "recipe", "studio", "linen",
	"bread", "harbour", "colour", "journey", "weekend", "mountain", "ceramic", "summer", "kitchen", "street",
	"ocean", "forest", "vintage", "project", "paper", "little", "golden", "quiet", "fresh", "handmade",
	"running", "training", "design", "music", "evening", "letter", "window", "travel", "new", "favourite",
	"caf\xc3\xa9", "fa\xc3\xa7""ade", "ma\xc3\xb1""ana",
	"\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8\xe0\xa5\x8d\xe0\xa4\xa4\xe0\xa5\x87",
	"\\u2728", "\\ud83c\\udf3f", "\\ud83d\\udd25", "\\u2764\\ufe0f"
};
static const char *const adjectives[] = {
	"Amber", "Blue", "Coral", "Dusty", "Early", "Fern", "Golden", "Hidden",
	"Indigo", "Juniper", "Little", "Maple", "North", "Olive", "Paper", "Salt"
};
static const char *const nouns[] = {
	"Kitchen", "Studio", "Atelier", "Garden", "Runners", "Journal", "Supply", "Works",
	"Market", "Press", "Travels", "Goods", "Ceramics", "Records", "Outdoors", "Daily"
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void words_add(struct buf *out, unsigned int salt, unsigned int n, size_t until)
{
	const size_t start = out->len;

	for (unsigned int w = 0; out->len - start < until; w++) {
		const uint64_t h = world_hash(salt, n, w);

		buf_adds(out, words[h % COUNT(words)]);
		if (h >> 32 & 15)
			buf_addc(out, ' ');
		else
			buf_adds(out, until > 150 ? ".\\n\\n" : " ");
	}
}

static void caption_make(unsigned int n)
{
	struct buf *out = &captions[n];

	buf_init(out);
	words_add(out, 10, n, 150 + world_hash(11, n, 0) % 1500);
	for (unsigned int t = 0; t < 3 + n % 9; t++) {
		buf_adds(out, " #");
		buf_adds(out, words[world_hash(12, n, t) % 40]);
	}
	if (n % 4 == 0)
		buf_adds(out, " \\\"quoted\\\" & more \\/ end");
}

static void query_make(unsigned int n)
{
	struct buf *out = &queries[n];

	buf_init(out);
	buf_adds(out, "?stp=dst-jpg_e35_p1080x1080_tt6&_nc_cat=");
	put_int(out, 100 + n);
	buf_adds(out, "&ccb=7-5&_nc_sid=");
	put_hex(out, world_hash(13, n, 0), 6);
	buf_adds(out, "&efg=");
	for (unsigned int i = 0; i < 14; i++)
		put_hex(out, world_hash(14, n, i), 16);
	buf_adds(out, "%3D&_nc_ohc=");
	put_hex(out, world_hash(15, n, 0), 16);
	buf_adds(out, "&_nc_zt=23&_nc_ht=scontent.example.com&_nc_gid=");
	put_hex(out, world_hash(15, n, 1), 16);
	buf_adds(out, "&oh=00_");
	for (unsigned int i = 2; i < 4; i++)
		put_hex(out, world_hash(15, n, i), 16);
	buf_adds(out, "&oe=");
	put_hex(out, world_hash(15, n, 9), 8);
}

void pool_init(void)
{
	for (unsigned int n = 0; n < POOL; n++) {
		caption_make(n);
		query_make(n);
		buf_init(&titles[n]);
		words_add(&titles[n], 16, n, 20 + n);
		buf_addc(&titles[n], '!');
	}
}

static void put_buf(struct buf *out, const struct buf *text)
{
	buf_add(out, text->data, text->len);
}

void put_caption(struct buf *out, uint64_t hash)
{
	put_buf(out, &captions[(hash >> 5) % POOL]);
}

void put_title(struct buf *out, uint64_t hash)
{
	put_buf(out, &titles[(hash >> 7) % POOL]);
}

void put_name(struct buf *out, uint64_t hash)
{
	buf_adds(out, adjectives[(hash >> 9) % COUNT(adjectives)]);
	buf_addc(out, ' ');
	buf_adds(out, nouns[(hash >> 15) % COUNT(nouns)]);
}

void put_bio(struct buf *out, uint64_t hash)
{
	put_name(out, hash >> 2);
	buf_adds(out, " \\u2728 | ");
	put_buf(out, &titles[(hash >> 21) % POOL]);
	buf_adds(out, "\\n\\ud83d\\udccd by the sea\\nhello@shop.example.com");
}

void put_media_url(struct buf *out, const char *kind, int64_t id, const char *ext, uint64_t hash)
{
	buf_adds(out, "https://scontent.example.com/v/");
	buf_adds(out, kind);
	buf_addc(out, '/');
	put_int(out, id);
	buf_adds(out, "_n.");
	buf_adds(out, ext);
	put_buf(out, &queries[(hash >> 11) % POOL]);
}

void put_hex(struct buf *out, uint64_t hash, unsigned int digits)
{
	char text[16];

	for (unsigned int i = 0; i < digits; i++)
		text[i] = "0123456789abcdef"[hash >> (4 * i) & 15];
	buf_add(out, text, digits);
}
