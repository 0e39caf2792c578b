/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl credential list, show, enable, disable, park, remove. */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "vault.h"

#define LIST_DEFAULT 1000
#define REASON_CELL 70

const struct ctl_option credential_list_options[] = {
	{"source", 0, "SOURCE", "only those of this source"},
	{"limit", 0, "N", "at most N (1000)"},
	{NULL, 0, NULL, NULL}
};
const struct ctl_option credential_disable_options[] = {
	{"reason", 0, "TEXT", "why, for people"},
	{NULL, 0, NULL, NULL}
};
const struct ctl_option credential_park_options[] = {
	{"for", 0, "DURATION", "for how long: 30s, 10m, 2h, 1d"},
	{"reason", 0, "TEXT", "why, for people"},
	{NULL, 0, NULL, NULL}
};
const struct ctl_option credential_remove_options[] = {
	{"yes", 0, NULL, "really delete them"},
	{NULL, 0, NULL, NULL}
};

/* --- list and show --- */

static const char *time_text(struct ctl *ctl, int64_t ms)
{
	char text[CLOCK_TEXT_SIZE];

	return ms > 0 ? arena_strdup(ctl->arena, clock_format_ms(text, ms)) : NULL;
}

/* The idempotency_key is not among them: in rows of other programs it may hold a secret. */
static void write_columns(struct jwrite *w, struct ctl *ctl, const struct store_credential *row)
{
	jwrite_int(w, "id", row->id);
	jwrite_string(w, "source", row->source);
	jwrite_string(w, "handle", row->handle);
	jwrite_string(w, "state", vault_state(row));
	jwrite_bool(w, "enabled", row->enabled);
	jwrite_string(w, "disabled_till", time_text(ctl, row->disabled_till_ms));
	jwrite_string(w, "reason", row->reason);
	jwrite_int(w, "failures", row->failures);
	jwrite_bool(w, "data_access_expired", row->data_access_expired);
	jwrite_string(w, "limits", row->limits);
	jwrite_string(w, "key_id", row->key_id);
	jwrite_string(w, "last_used_at", time_text(ctl, row->last_used_ms));
	jwrite_string(w, "created_at", row->created_at);
	jwrite_string(w, "updated_at", row->updated_at);
}

static void print_list(struct ctl *ctl, const struct store_credential *rows, size_t count)
{
	struct table *table = table_new(ctl, "ID> SOURCE HANDLE STATE UNTIL LAST-USED LIMITS REASON");

	for (size_t i = 0; i < count; i++) {
		const char *state = vault_state(&rows[i]);

		table_printf(table, "%lld", (long long)rows[i].id);
		table_cell(table, rows[i].source);
		table_cell(table, rows[i].handle);
		table_cell(table, state);
		table_cell(table, str_eq(state, "parked") ? time_text(ctl, rows[i].disabled_till_ms) : NULL);
		table_cell(table, time_text(ctl, rows[i].last_used_ms));
		table_cell(table, rows[i].limits);
		table_cut(table, str_eq(state, "usable") ? NULL : rows[i].reason, REASON_CELL);
	}
	table_print(table, stdout);
}

static void print_json_list(struct ctl *ctl, const struct store_credential *rows, size_t count)
{
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < count; i++) {
		jwrite_object(&w, NULL);
		write_columns(&w, ctl, &rows[i]);
		jwrite_end(&w);
	}
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

int cmd_credential_list(struct ctl *ctl)
{
	const char *source = ctl_option(ctl, "source");
	struct store_credential *rows;
	struct vault vault;
	struct error err;
	long long limit;
	size_t count;
	int status = CTL_OK;

	if (ctl_option_number(ctl, "limit", LIST_DEFAULT, &limit) != 0)
		return CTL_USAGE;
	if (vault_open(&vault, ctl, false) != 0)
		status = CTL_FAILED;
	else if (vault_read(&vault, source, (size_t)limit, &rows, &count, &err) != 0)
		status = ctl_fail("the task store: %s", err.text);
	else if (ctl->json)
		print_json_list(ctl, rows, count);
	else
		print_list(ctl, rows, count);
	vault_close(&vault);
	return status;
}

static void write_members(struct jwrite *w, const struct vault_item *item)
{
	jwrite_object(w, "credentials");
	for (size_t i = 0; i < item->count; i++)
		jwrite_string(w, item->members[i].name,
			      item->members[i].secret ? "***" : item->members[i].value);
	jwrite_end(w);
}

static void print_columns(struct ctl *ctl, const struct json *row)
{
	struct table *table = table_new(ctl, "COLUMN VALUE");

	for (const struct json *column = json_first(row); column != NULL; column = json_next(column)) {
		table_cell(table, json_name(column));
		table_json(table, column);
	}
	table_print(table, stdout);
}

static int show(struct vault *vault, const struct store_credential *row)
{
	struct ctl *ctl = vault->ctl;
	struct vault_item item;
	struct json_doc *doc;
	struct jwrite w;
	struct buf out;
	struct error err;
	int status = CTL_OK;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	write_columns(&w, ctl, row);
	if (vault_item_open(vault, row, &item, &err) == 0)
		write_members(&w, &item);
	else
		status = ctl_fail("credential %lld: %s", (long long)row->id, err.text);
	jwrite_end(&w);
	doc = ctl->json ? NULL : json_parse(out.data, out.len, &err);
	if (doc != NULL)
		print_columns(ctl, json_root(doc));
	else
		puts(out.data);
	json_doc_free(&doc);
	buf_fini(&out);
	return status;
}

int cmd_credential_show(struct ctl *ctl)
{
	struct store_credential *rows;
	struct vault vault;
	size_t count;
	int status = CTL_FAILED;

	if (vault_open(&vault, ctl, false) == 0 && vault_rows(&vault, &rows, &count) == 0)
		status = show(&vault, &rows[0]);
	vault_close(&vault);
	return status;
}

/* --- changes --- */

static void print_changed(const struct ctl *ctl, const char *verb, size_t named, int64_t changed)
{
	struct jwrite w;
	struct buf out;

	if (!ctl->json) {
		printf("%lld of %zu credential%s %s\n", (long long)changed, named, named == 1 ? "" : "s",
		       verb);
		return;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_uint(&w, "named", named);
	jwrite_int(&w, verb, changed);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

/* The same for all that are named; those that are not there are told, and the others changed. */
static int change(struct ctl *ctl, struct store_credential_change what, const char *verb)
{
	struct store_credential_change *changes;
	struct store_credential *rows = NULL;
	struct vault vault;
	struct error err;
	int64_t changed = 0;
	size_t count = 0;
	int status = CTL_FAILED;

	if (vault_open(&vault, ctl, false) == 0) {
		status = vault_rows(&vault, &rows, &count) == 0 ? CTL_OK : CTL_FAILED;
		changes = arena_alloc(ctl->arena, (count + 1) * sizeof(*changes));
		for (size_t i = 0; i < count; i++) {
			changes[i] = what;
			changes[i].id = rows[i].id;
		}
		if (count > 0 &&
		    store_sync_credential_change(ctl->store, changes, count, &changed, &err) != 0)
			status = ctl_fail("the task store: %s", err.text);
		else if (count > 0)
			print_changed(ctl, verb, count, changed);
	}
	vault_close(&vault);
	return status;
}

int cmd_credential_enable(struct ctl *ctl)
{
	return change(ctl, (struct store_credential_change){.action = STORE_CREDENTIAL_ENABLE}, "enabled");
}

int cmd_credential_disable(struct ctl *ctl)
{
	const char *reason = ctl_option(ctl, "reason");

	return change(ctl, (struct store_credential_change){.action = STORE_CREDENTIAL_DISABLE,
							    .reason = reason != NULL ? reason : "by command"},
		      "disabled");
}

int cmd_credential_park(struct ctl *ctl)
{
	const char *reason = ctl_option(ctl, "reason"), *text = ctl_option(ctl, "for");
	int64_t for_ms;

	if (text == NULL)
		return ctl_usage(ctl, "for how long? Say --for DURATION");
	if (num_parse_duration(text, &for_ms) != 0 || for_ms < 1)
		return ctl_usage(ctl, "--for %s: must be a duration such as 30s, 10m, 2h or 1d", text);
	return change(ctl, (struct store_credential_change){.action = STORE_CREDENTIAL_PARK,
							    .at_ms = clock_wall_ms() + for_ms,
							    .reason = reason != NULL ? reason : "by command"},
		      "parked");
}

int cmd_credential_remove(struct ctl *ctl)
{
	if (ctl_option(ctl, "yes") == NULL)
		return ctl_usage(ctl, "credential remove deletes for good: say --yes");
	return change(ctl, (struct store_credential_change){.action = STORE_CREDENTIAL_REMOVE}, "removed");
}
