/* SPDX-License-Identifier: Apache-2.0 */
/* What the three Instagram dialects (Graph, mobile items, web nodes) share. Any thread. */
#ifndef SLUICE_SIM_INSTAGRAM_H
#define SLUICE_SIM_INSTAGRAM_H

#include "sim.h"
#include "template.h"

#define INSTAGRAM_PAGE 12

/* A template whose holes are values of a post (and its owner) or of a profile. sources: NULL-terminated. */
struct template *instagram_template(const char *const *sources);
void instagram_post_put(const struct template *tmpl, struct buf *out, const struct post *post);
void instagram_profile_put(const struct template *tmpl, struct buf *out, const struct profile *profile);

/*
 * Appends up to most posts of owner from place on, comma-separated, each by
 * render; only reels when asked. Notes them as served. Returns the place after
 * the last one, or 0 when none is left behind it.
 */
typedef void (*instagram_render)(struct buf *out, const struct post *post);
uint32_t instagram_page(struct sim_request *request, const struct profile *owner, uint32_t place,
			unsigned int most, bool reels, instagram_render render);
/* Notes the one post as served and answers with the text around it. ' for ". */
void instagram_single(struct sim_request *request, const struct post *post, const char *before,
		      instagram_render render, const char *after);

#endif
