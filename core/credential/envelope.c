/* SPDX-License-Identifier: Apache-2.0 */
/* See envelope.h. */
#include "credential/envelope.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"

#define FORM "v1:"
#define MASK_LEAST 4	/* a shorter secret is no secret, and its text is everywhere */

/* Members that name an account, by preference: what the original's keys are made of. */
static const char *const account_names[] = {"user_id", "channel_id"};

int credential_keys_init(struct credential_keys *keys, const char *key, const char *const *old_keys,
			 size_t old_count, struct error *err)
{
	keys->keys = mem_alloc((old_count + 1) * sizeof(*keys->keys));
	keys->count = 0;
	for (size_t i = 0; i <= old_count; i++, keys->count++)
		if (secret_key_parse(&keys->keys[i], i == 0 ? key : old_keys[i - 1], err) != 0)
			return error_prefix(err, i == 0 ? "credentials.key" : "credentials.old_keys");
	return 0;
}

void credential_keys_fini(struct credential_keys *keys)
{
	if (keys->keys != NULL)
		explicit_bzero(keys->keys, keys->count * sizeof(*keys->keys));
	mem_free(&keys->keys);
	keys->count = 0;
}

/* --- what a source says of members --- */

static bool listed(const char *const *names, const char *name)
{
	for (size_t i = 0; names != NULL && names[i] != NULL; i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

bool credential_is_secret(const struct sl_source *source, const char *name)
{
	return source == NULL || !listed(source->public_fields, name);
}

static const char *member(const struct credential_member *members, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(members[i].name, name))
			return members[i].value;
	return NULL;
}

int credential_check(const struct sl_source *source, const struct credential_member *members, size_t count,
		     struct error *err)
{
	if (count == 0)
		return error_set(err, ERR_INPUT, "the credential has no members");
	for (size_t i = 0; i < count; i++) {
		if (member(members, i, members[i].name) != NULL)
			return error_set(err, ERR_INPUT, "member \"%s\" is there twice", members[i].name);
		if (source->fields != NULL && !listed(source->fields, members[i].name) &&
		    !listed(source->public_fields, members[i].name))
			return error_set(err, ERR_INPUT, "source %s knows no member \"%s\"", source->name,
					 members[i].name);
	}
	for (size_t i = 0; source->fields != NULL && source->fields[i] != NULL; i++)
		if (member(members, count, source->fields[i]) == NULL)
			return error_set(err, ERR_INPUT, "source %s needs a member \"%s\"", source->name,
					 source->fields[i]);
	if (source->auth_field != NULL && member(members, count, source->auth_field) == NULL &&
	    source->auth != SL_AUTH_OAUTH2)
		return error_set(err, ERR_INPUT, "source %s needs a member \"%s\"", source->name,
				 source->auth_field);
	return 0;
}

/* --- sealing --- */

void credential_seal(const struct credential_keys *keys, const char *source,
		     const struct credential_member *members, size_t count, struct buf *out)
{
	struct buf inner, sealed;
	struct jwrite w;

	buf_init(&inner);
	jwrite_init(&w, &inner);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "source", source);
	jwrite_object(&w, "members");
	for (size_t i = 0; i < count; i++)
		jwrite_string(&w, members[i].name, members[i].value);
	jwrite_end(&w);
	jwrite_end(&w);
	buf_init(&sealed);
	buf_printf(&sealed, FORM "%s:", keys->keys[0].id);
	secret_seal(&keys->keys[0], inner.data, inner.len, &sealed);
	secret_wipe(&inner);
	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "sealed", sealed.data);
	for (size_t i = 0; i < count; i++)
		if (!members[i].secret)
			jwrite_string(&w, members[i].name, members[i].value);
	jwrite_end(&w);
	buf_fini(&sealed);
}

/* The key's id, its length in *len_r, and what follows in *text_r; NULL: it is not sealed. */
static const char *sealed_parts(const struct json *root, size_t *len_r, const char **text_r)
{
	const char *sealed = json_string(json_member(root, "sealed"), NULL);

	if (sealed == NULL || !str_starts(sealed, FORM))
		return NULL;
	sealed += strlen(FORM);
	*len_r = strcspn(sealed, ":");
	*text_r = sealed[*len_r] == ':' ? sealed + *len_r + 1 : "";
	return sealed;
}

bool credential_is_current(const struct credential_keys *keys, const char *text)
{
	struct json_doc *doc = json_parse(text, strlen(text), NULL);
	const char *id, *rest;
	size_t len = 0;
	bool current;

	id = sealed_parts(json_root(doc), &len, &rest);
	current = id != NULL && len == strlen(keys->keys[0].id) && strncmp(id, keys->keys[0].id, len) == 0;
	json_doc_free(&doc);
	return current;
}

/* The members of an object, all but numbers and texts left out. */
static void read_members(const struct json *object, const struct sl_source *def, struct arena *arena,
			 struct credential_member **members_r, size_t *count_r)
{
	struct credential_member *members = arena_alloc(arena, (json_count(object) + 1) * sizeof(*members));
	const struct json *child;
	struct buf number;
	size_t count = 0;

	for (child = json_first(object); child != NULL; child = json_next(child)) {
		const char *value = json_string(child, NULL), *name = json_name(child);

		if (value == NULL && (json_type(child) == JSON_INT || json_type(child) == JSON_UINT)) {
			buf_init(&number);
			json_print(child, &number);
			value = arena_strndup(arena, number.data, number.len);
			buf_fini(&number);
		}
		if (value != NULL && *value != '\0')
			members[count++] = (struct credential_member){arena_strdup(arena, name),
				arena_strdup(arena, value), credential_is_secret(def, name)};
	}
	*members_r = members;
	*count_r = count;
}

static const struct secret_key *find_key(const struct credential_keys *keys, const char *id, size_t len)
{
	for (size_t i = 0; i < keys->count; i++)
		if (strlen(keys->keys[i].id) == len && strncmp(keys->keys[i].id, id, len) == 0)
			return &keys->keys[i];
	return NULL;
}

/* The sealed object parsed; NULL and err. */
static struct json_doc *unseal(const struct credential_keys *keys, const char *id, size_t len,
			       const char *text, struct error *err)
{
	const struct secret_key *key = find_key(keys, id, len);
	struct json_doc *doc = NULL;
	struct buf inner;

	if (key == NULL) {
		error_set(err, ERR_INPUT,
			  "it is sealed with key %.*s, which is neither credentials.key nor one of "
			  "credentials.old_keys",
			  (int)(len > 16 ? 16 : len), id);
		return NULL;
	}
	buf_init(&inner);
	if (secret_open(key, text, &inner, err) == 0)
		doc = json_parse(inner.data, inner.len, err);
	secret_wipe(&inner);
	return doc;
}

int credential_open(const struct credential_keys *keys, const char *source, const struct sl_source *def,
		    const char *text, struct arena *arena, struct credential_member **members_r,
		    size_t *count_r, struct error *err)
{
	struct json_doc *doc = json_parse(text, strlen(text), NULL), *inner;
	const struct json *root = json_root(doc);
	const char *id, *rest;
	size_t len;
	int rc = 0;

	*members_r = NULL;
	*count_r = 0;
	if (json_type(root) != JSON_OBJECT) {
		json_doc_free(&doc);
		return error_set(err, ERR_INPUT, "it is no JSON object");
	}
	id = sealed_parts(root, &len, &rest);
	if (id == NULL) {
		read_members(root, def, arena, members_r, count_r);
	} else if ((inner = unseal(keys, id, len, rest, err)) == NULL) {
		rc = -1;
	} else {
		if (str_eq(json_string(json_member(json_root(inner), "source"), NULL), source))
			read_members(json_member(json_root(inner), "members"), def, arena, members_r,
				     count_r);
		else
			rc = error_set(err, ERR_INPUT, "it was sealed for another source");
		json_doc_free(&inner);
	}
	json_doc_free(&doc);
	if (rc == 0 && *count_r == 0)
		rc = error_set(err, ERR_INPUT, "it has no members");
	return rc;
}

/* --- names --- */

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct credential_member *const *)a)->name,
		      (*(const struct credential_member *const *)b)->name);
}

/* The one member that counts, or all of them in the order of their names. */
static void hashed(const struct credential_keys *keys, const char *field,
		   const struct credential_member *members, size_t count, char out[SECRET_HASH_SIZE])
{
	const char *value = field != NULL ? member(members, count, field) : NULL;
	const struct credential_member **sorted = mem_alloc((count + 1) * sizeof(*sorted));
	struct buf all;

	buf_init(&all);
	for (size_t i = 0; i < count; i++)
		sorted[i] = &members[i];
	qsort(sorted, count, sizeof(const struct credential_member *), compare_names);
	for (size_t i = 0; i < count && value == NULL; i++) {
		buf_add(&all, sorted[i]->name, strlen(sorted[i]->name) + 1);
		buf_add(&all, sorted[i]->value, strlen(sorted[i]->value) + 1);
	}
	if (value != NULL)
		buf_adds(&all, value);
	secret_hash(&keys->keys[0], all.data, all.len, out);
	secret_wipe(&all);
	mem_release(sorted);
}

void credential_identity(const struct credential_keys *keys, const struct sl_source *source,
			 const char *handle, const struct credential_member *members, size_t count,
			 struct buf *out)
{
	char hash[SECRET_HASH_SIZE];

	for (size_t i = 0; i < sizeof(account_names) / sizeof(account_names[0]); i++) {
		const char *value = member(members, count, account_names[i]);

		if (value != NULL && !credential_is_secret(source, account_names[i])) {
			buf_printf(out, "%s:%s", source->name, value);
			return;
		}
	}
	if ((source->flags & SL_SOURCE_BOUND) != 0 && handle != NULL) {
		buf_printf(out, "%s:%s", source->name, handle);
		return;
	}
	hashed(keys, source->auth == SL_AUTH_OAUTH2 ? "refresh_token" : source->auth_field, members, count,
	       hash);
	buf_printf(out, "%s:#%s", source->name, hash);
}

void credential_mask(const struct credential_member *members, size_t count, const char *text, struct buf *out)
{
	while (*text != '\0') {
		size_t hit = 0;

		for (size_t i = 0; i < count && hit == 0; i++) {
			size_t len = strlen(members[i].value);

			if (members[i].secret && len >= MASK_LEAST &&
			    strncmp(text, members[i].value, len) == 0)
				hit = len;
		}
		if (hit > 0)
			buf_adds(out, "***");
		else
			buf_addc(out, *text);
		text += hit > 0 ? hit : 1;
	}
}
