/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_bench [FILE]: how many documents per second are parsed and then read
 * with 200 path lookups. Without FILE, a document of about 50 kB with 12 posts
 * is made up.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "json/json.h"
#include "json/jwrite.h"

#define LOOKUPS 200
#define PATHS 5

static void write_post(struct jwrite *w, int post)
{
	char name[32];

	jwrite_object(w, NULL);
	jwrite_object(w, "node");
	jwrite_int(w, "id", 3000000000000000000 + post);
	jwrite_string(w, "shortcode", "CxYzAbCdEfG");
	for (int field = 0; field < 60; field++) {
		snprintf(name, sizeof(name), "field_number_%d", field);
		jwrite_string(w, name, "https://cdn.example/path/to/a/picture/with/a/long/name.jpg");
	}
	jwrite_object(w, "statistics");
	jwrite_int(w, "like_count", 1234 + post);
	jwrite_double(w, "rate", 0.25 * post);
	jwrite_end(w);
	jwrite_end(w);
	jwrite_end(w);
}

static void make_document(struct buf *out)
{
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_object(&w, "data");
	jwrite_array(&w, "edges");
	for (int post = 0; post < 12; post++)
		write_post(&w, post);
	jwrite_end(&w);
	jwrite_end(&w);
	jwrite_end(&w);
}

static int read_file(const char *name, struct buf *out)
{
	FILE *file = fopen(name, "rb");
	size_t got;

	if (file == NULL) {
		perror(name);
		return -1;
	}
	while ((got = fread(buf_reserve(out, 65536), 1, 65536, file)) > 0)
		out->len += got;
	fclose(file);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const paths[PATHS] = {
		"node.id", "node.shortcode", "node.missing|node.field_number_59",
		"node.statistics.like_count", "node.statistics.rate",
	};
	struct error err = {.code = ERR_NONE};
	struct buf text;
	int64_t start, elapsed, docs = 0;
	size_t found = 0;

	buf_init(&text);
	if (argc > 1 && read_file(argv[1], &text) < 0)
		return 1;
	if (argc == 1)
		make_document(&text);
	start = clock_mono_ms();
	do {
		for (int i = 0; i < 100; i++) {
			struct json_doc *doc = json_parse(text.data, text.len, &err);
			const struct json *edges = json_at(json_root(doc), "data.edges");
			const struct json *edge = json_first(edges);

			if (doc == NULL) {
				fprintf(stderr, "%s\n", err.text);
				return 1;
			}
			for (int k = 0; k < LOOKUPS; k++) {
				found += json_at(edge, paths[(size_t)k % PATHS]) != NULL;
				edge = json_next(edge) ? json_next(edge) : json_first(edges);
			}
			json_doc_free(&doc);
		}
		docs += 100;
		elapsed = clock_mono_ms() - start;
	} while (elapsed < 2000);
	printf("%zu bytes, %d lookups (%zu found): %.0f documents/s, %.0f MB/s\n", text.len, LOOKUPS,
	       found / (size_t)docs, (double)docs * 1000 / (double)elapsed,
	       (double)docs * (double)text.len / 1000 / (double)elapsed);
	buf_fini(&text);
	return 0;
}
