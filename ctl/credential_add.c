/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl credential add: one credential, its secrets from files or standard input. */
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "vault.h"

#define MEMBERS_MAX 64
#define FILE_MAX ((size_t)1 << 20)

const struct ctl_option credential_add_options[] = {
	{"file", 0, "FILE", "take members from a JSON object in FILE; - is standard input"},
	{"handle", 0, "HANDLE", "whose credential it is: a name, a channel, a shop's host"},
	{"limit", 0, "N/T", "a limit of its own, such as 100/30s or 20000/day; repeatable"},
	{NULL, 0, NULL, NULL}
};

/* NAME=@FILE, NAME=-, and NAME=VALUE where the source says that NAME is no secret. */
static int take_word(struct ctl *ctl, struct vault_item *item, const char *word, struct error *err)
{
	const char *equals = strchr(word, '='), *name, *value;

	if (equals == NULL || equals == word)
		return error_set(err, ERR_INPUT,
				 "members are NAME=@FILE, NAME=- or, if they are no secrets, NAME=VALUE");
	name = arena_strndup(ctl->arena, word, (size_t)(equals - word));
	value = equals + 1;
	if (item->count == MEMBERS_MAX)
		return error_set(err, ERR_INPUT, "a credential has at most %d members", MEMBERS_MAX);
	if (*value == '@' || str_eq(value, "-")) {
		value = vault_secret(ctl, *value == '@' ? value + 1 : value, err);
		if (value == NULL)
			return -1;
	} else if (credential_is_secret(item->source, name)) {
		return error_set(err, ERR_INPUT,
				 "%s is a secret, and others can see a command line: write %s=@FILE, or "
				 "%s=- for standard input",
				 name, name, name);
	}
	item->members[item->count++] =
		(struct credential_member){name, value, credential_is_secret(item->source, name)};
	return 0;
}

static int take_object(struct ctl *ctl, struct vault_item *item, const struct json *object, struct error *err)
{
	const struct json *child;

	if (json_type(object) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "it is no JSON object");
	for (child = json_first(object); child != NULL; child = json_next(child)) {
		const char *value = json_string(child, NULL),
			   *name = arena_strdup(ctl->arena, json_name(child));

		if (value == NULL || *value == '\0')
			return error_set(err, ERR_INPUT, "member \"%.64s\" must be a text that is not empty",
					 name);
		if (item->count == MEMBERS_MAX)
			return error_set(err, ERR_INPUT, "a credential has at most %d members", MEMBERS_MAX);
		item->members[item->count++] = (struct credential_member){
			name, arena_strdup(ctl->arena, value), credential_is_secret(item->source, name)};
	}
	return 0;
}

static int take_file(struct ctl *ctl, struct vault_item *item, const char *path, struct error *err)
{
	struct json_doc *doc = NULL;
	struct buf text;
	int rc = -1;

	buf_init(&text);
	if (vault_file(path, FILE_MAX, &text, err) == 0) {
		doc = json_parse(text.data, text.len, err);
		rc = doc == NULL ? -1 : take_object(ctl, item, json_root(doc), err);
		if (rc != 0)
			error_prefix(err, "%s", path);
	}
	json_doc_free(&doc);
	secret_wipe(&text);
	return rc;
}

/* All that the command line says. */
static int take(struct ctl *ctl, struct vault_item *item, struct error *err)
{
	const char *file = ctl_option(ctl, "file"), *limits[16];
	size_t count = 0;

	item->source = vault_source(ctl, ctl->args[0], err);
	if (item->source == NULL)
		return -1;
	item->handle = ctl_option(ctl, "handle");
	while (count < sizeof(limits) / sizeof(limits[0]) &&
	       (limits[count] = ctl_option_at(ctl, "limit", count)) != NULL)
		count++;
	item->limits = vault_limits(ctl, limits, count, err);
	if (item->limits == NULL && count > 0)
		return -1;
	item->members = arena_alloc(ctl->arena, MEMBERS_MAX * sizeof(*item->members));
	if (file != NULL && take_file(ctl, item, file, err) != 0)
		return -1;
	for (size_t i = 1; i < ctl->arg_count; i++)
		if (take_word(ctl, item, ctl->args[i], err) != 0)
			return -1;
	return vault_item_check(item, err);
}

static void print_added(const struct ctl *ctl, int64_t id, const char *outcome)
{
	struct jwrite w;
	struct buf out;

	if (!ctl->json) {
		printf("credential %lld %s\n", (long long)id, outcome);
		return;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_int(&w, "id", id);
	jwrite_string(&w, "outcome", outcome);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

int cmd_credential_add(struct ctl *ctl)
{
	struct vault_item item = {.source = NULL};
	struct store_credential row;
	enum vault_outcome outcome;
	struct vault vault;
	struct error err;
	int64_t id = 0;
	int status = CTL_FAILED;

	if (vault_open(&vault, ctl, true) != 0) {
		status = CTL_FAILED;
	} else if (take(ctl, &item, &err) != 0 || vault_row(&vault, &item, &row, &outcome, &err) != 0) {
		ctl_fail("%s", err.text);
	} else if (outcome == VAULT_UNCHANGED) {
		print_added(ctl, row.id, vault_outcome_names[outcome]);
		status = CTL_OK;
	} else if (store_sync_credential_put(ctl->store, &row, 1, &id, &err) != 0) {
		ctl_fail("the task store: %s", err.text);
	} else {
		print_added(ctl, id, vault_outcome_names[outcome]);
		status = CTL_OK;
	}
	vault_close(&vault);
	return status;
}
