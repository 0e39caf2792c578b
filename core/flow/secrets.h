/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must not be shown of a source's requests and answers, and texts with ***
 * in its place. Secret are the values given here, wherever they stand: as they
 * are, percent-encoded (once or twice), with JSON's escapes, or inside of
 * something that is base64 (such as user:password); and whatever stands behind a
 * secret name in a query, a form, a JSON object or a header. One thread.
 */
#ifndef SLUICE_FLOW_SECRETS_H
#define SLUICE_FLOW_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct buf;
struct flow_secrets;

/* A value that is shorter cannot be told from other text: it is hidden where it was placed alone. */
#define SECRET_MIN 4

/*
 * Lives in the arena, and everything it is told is copied there. It begins with
 * the names that are secret everywhere: Authorization, Cookie, access_token, ….
 */
struct flow_secrets *flow_secrets_new(struct arena *arena);
/* The value of a header, parameter or member of that name, in any case. */
void flow_secrets_add_name(struct flow_secrets *secrets, const char *name);
/* The value of a parameter of that name: in queries and forms alone, for the name may be an everyday word. */
void flow_secrets_add_parameter(struct flow_secrets *secrets, const char *name);
/* Of "Bearer abc" also abc by itself. NULL and what is shorter than SECRET_MIN: nothing. */
void flow_secrets_add_value(struct flow_secrets *secrets, const char *value);

/* Whether the value of a header of that name is secret. */
bool flow_secrets_has_name(const struct flow_secrets *secrets, const char *name);
/* Appends at most max bytes of text with *** for secrets; none is cut into a part that shows. */
void flow_secrets_hide(const struct flow_secrets *secrets, const char *text, size_t len, size_t max,
		       struct buf *out);
/* text itself, or a copy in the arena without the secret values; names mean nothing here. secrets NULL: text. */
const char *flow_secrets_hide_values(const struct flow_secrets *secrets, struct arena *arena, const char *text);

#endif
