/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON bodies that are ready but for a few values. A template's source is JSON
 * in which ' stands for ", @name@ is a hole and @@ is an @; it is cut into pieces once, at
 * start. Rendering copies the pieces and asks for the holes. Any thread after
 * template_new.
 */
#ifndef SLUICE_SIM_TEMPLATE_H
#define SLUICE_SIM_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct template;

/* Appends the value of hole number n (its index in the names given) for data. */
typedef void (*template_fill)(struct buf *out, int hole, const void *data);

/* names: NULL-terminated. An unknown hole is a bug and asserts. Never freed. */
struct template *template_new(const char *const *names, template_fill fill, const char *const *sources);
void template_render(const struct template *tmpl, struct buf *out, const void *data);

/* What fillers write with: faster than printf, which would cost more than all the rest. */
void put_int(struct buf *out, int64_t value);
/* 2026-01-31T10:00:00 and the zone's text */
void put_time(struct buf *out, int64_t epoch_s, const char *zone);

#endif
