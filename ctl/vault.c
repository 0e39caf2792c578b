/* SPDX-License-Identifier: Apache-2.0 */
/* See vault.h. */
#include "vault.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/num.h"
#include "base/rate.h"
#include "base/str.h"
#include "conf/model.h"
#include "plugin/plugin.h"

#define PAGE 500
#define SECRET_MAX ((size_t)64 << 10)
#define BAR 30

const char *const vault_outcome_names[] = {"added", "changed", "unchanged"};

/* What is known of one credential of a source that was read. */
struct known {
	struct store_credential row;
	struct vault_item item;
};

int vault_open(struct vault *vault, struct ctl *ctl, bool needs_key)
{
	const struct conf_model *conf;
	struct error err;

	*vault = (struct vault){.ctl = ctl, .known = map_new()};
	if (ctl_load(ctl, needs_key) != 0 || ctl_load_plugins(ctl) != 0)
		return -1;
	conf = ctl->setup.conf;
	if (conf->credential_key == NULL && needs_key) {
		ctl_fail("%s: there is no credentials.key to seal credentials with; make one with 'openssl "
			 "rand -hex 32 "
			 ">FILE' and write credentials: {key: !file FILE}",
			 ctl->setup.file);
		return -1;
	}
	if (conf->credential_key != NULL &&
	    credential_keys_init(&vault->keys, conf->credential_key, conf->old_keys, conf->old_key_count,
				 &err) != 0) {
		ctl_fail("%s", err.text);
		return -1;
	}
	return ctl_open_store(ctl, needs_key);
}

void vault_close(struct vault *vault)
{
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(vault->known, &cursor, &name, &value)) {
		struct map *of_source = value;

		map_free(&of_source);
	}
	map_free(&vault->known);
	credential_keys_fini(&vault->keys);
}

/* --- sources --- */

const struct sl_source *vault_source(struct ctl *ctl, const char *name, struct error *err)
{
	const char *names[256], *near;
	size_t count = 0;

	for (size_t i = 0; i < plugin_count(ctl->plugins); i++) {
		const struct sl_source *const *own = plugin_descriptor(plugin_at(ctl->plugins, i))->sources;

		for (; own != NULL && *own != NULL; own++) {
			if (str_eq((*own)->name, name))
				return *own;
			if (count < sizeof(names) / sizeof(names[0]))
				names[count++] = (*own)->name;
		}
	}
	near = str_nearest(name, names, count);
	error_set(err, ERR_INPUT, near != NULL ? "no plugin has a source \"%.64s\" (did you mean \"%s\"?)"
					       : "no plugin has a source \"%.64s\"", name, near);
	return NULL;
}

/* --- rows --- */

int vault_read(struct vault *vault, const char *source, size_t limit, struct store_credential **rows_r,
	       size_t *count_r, struct error *err)
{
	struct store_credential_filter filter = {.sources = &source, .source_count = source != NULL ? 1 : 0};
	struct arena *arena = vault->ctl->arena;
	size_t got = PAGE;

	*rows_r = NULL;
	*count_r = 0;
	while (got == PAGE && *count_r < limit) {
		struct store_credential *page;

		filter.limit = PAGE;
		if (store_sync_credential_read(vault->ctl->store, &filter, arena, &page, &got, err) != 0)
			return -1;
		for (size_t i = 0; i < got && *count_r < limit; i++) {
			*rows_r = arena_grow(arena, *rows_r, *count_r, sizeof(**rows_r));
			(*rows_r)[(*count_r)++] = page[i];
			filter.after_id = page[i].id;
		}
	}
	return 0;
}

int vault_rows(struct vault *vault, struct store_credential **rows_r, size_t *count_r)
{
	struct ctl *ctl = vault->ctl;
	int status = 0;

	*count_r = 0;
	*rows_r = arena_alloc(ctl->arena, ctl->arg_count * sizeof(**rows_r));
	for (size_t i = 0; i < ctl->arg_count; i++) {
		struct store_credential_filter filter = {.id_count = 1, .limit = 1};
		struct store_credential *row;
		struct error err;
		int64_t id;
		size_t got;

		if (num_parse_int(ctl->args[i], &id) != 0 || id < 1) {
			ctl_fail("\"%s\" is no credential's number; 'sluicectl credential list' shows them",
				 ctl->args[i]);
			return -1;
		}
		filter.ids = &id;
		if (store_sync_credential_read(ctl->store, &filter, ctl->arena, &row, &got, &err) != 0) {
			ctl_fail("the task store: %s", err.text);
			return -1;
		}
		if (got == 1)
			(*rows_r)[(*count_r)++] = row[0];
		else
			status = ctl_fail("there is no credential %lld", (long long)id) == CTL_OK ? 0 : -1;
	}
	return status;
}

int vault_item_open(struct vault *vault, const struct store_credential *row, struct vault_item *item_r,
		    struct error *err)
{
	struct error unknown;

	*item_r = (struct vault_item){.handle = row->handle, .limits = row->limits};
	item_r->source = row->source != NULL ? vault_source(vault->ctl, row->source, &unknown) : NULL;
	if (row->credentials == NULL || row->source == NULL)
		return error_set(err, ERR_INPUT, "it is empty");
	return credential_open(&vault->keys, row->source, item_r->source, row->credentials, vault->ctl->arena,
			       &item_r->members, &item_r->count, err);
}

const char *vault_state(const struct store_credential *row)
{
	if (!row->enabled)
		return "disabled";
	return row->disabled_till_ms > clock_wall_ms() ? "parked" : "usable";
}

static bool pick(struct vault *vault, const struct sl_source *source, const char *handle,
		 struct vault_item *item_r)
{
	struct store_credential *rows;
	struct error err;
	size_t count;

	if (vault_read(vault, source->name, SIZE_MAX, &rows, &count, &err) != 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (str_eq(vault_state(&rows[i]), "usable") &&
		    (handle == NULL || str_eq(rows[i].handle, handle)) &&
		    vault_item_open(vault, &rows[i], item_r, &err) == 0)
			return true;
	return false;
}

bool vault_pick(struct ctl *ctl, const struct sl_source *source, const char *handle,
		struct vault_item *item_r)
{
	const struct conf_model *conf = ctl->setup.conf;
	const struct conf_source *own = conf_source(conf, source->name);
	struct vault vault = {.ctl = ctl};
	struct error err;
	bool found;

	if (conf->credential_key == NULL || (own != NULL && !own->pool) || ctl_open_store_if_there(ctl) != 0)
		return false;
	found = credential_keys_init(&vault.keys, conf->credential_key, conf->old_keys, conf->old_key_count,
				     &err) == 0 &&
		pick(&vault, source, handle, item_r);
	credential_keys_fini(&vault.keys);
	return found;
}

/* --- what goes in --- */

int vault_item_check(const struct vault_item *item, struct error *err)
{
	if (credential_check(item->source, item->members, item->count, err) != 0)
		return -1;
	if ((item->source->flags & SL_SOURCE_BOUND) != 0 && item->handle == NULL)
		return error_set(err, ERR_INPUT,
				 "credentials of source %s belong to handles: say whose it is",
				 item->source->name);
	return 0;
}

const char *vault_limits(struct ctl *ctl, const char *const *limits, size_t count, struct error *err)
{
	const char *joined = NULL;

	for (size_t i = 0; i < count; i++) {
		struct rate rate;

		if (rate_parse(limits[i], &rate) != 0) {
			error_set(err, ERR_INPUT, "\"%.64s\" is no limit such as 100/30s or 20000/day",
				  limits[i]);
			return NULL;
		}
		joined = i == 0 ? arena_strdup(ctl->arena, limits[i])
				: arena_printf(ctl->arena, "%s, %s", joined, limits[i]);
	}
	return joined;
}

static bool has_member(const struct vault_item *item, const struct credential_member *wanted)
{
	for (size_t i = 0; i < item->count; i++)
		if (str_eq(item->members[i].name, wanted->name))
			return str_eq(item->members[i].value, wanted->value);
	return false;
}

static bool same(const struct vault_item *a, const struct vault_item *b)
{
	if (a->count != b->count || !str_eq(a->handle, b->handle) || !str_eq(a->limits, b->limits))
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!has_member(b, &a->members[i]))
			return false;
	return true;
}

static const char *identity(struct vault *vault, const struct vault_item *item)
{
	const char *text;
	struct buf out;

	buf_init(&out);
	credential_identity(&vault->keys, item->source, item->handle, item->members, item->count, &out);
	text = arena_strndup(vault->ctl->arena, out.data, out.len);
	buf_fini(&out);
	return text;
}

/* The credentials of a source by what they are; read when first asked for. NULL and err. */
static struct map *known_of(struct vault *vault, const struct sl_source *source, struct error *err)
{
	struct map *of_source = map_get(vault->known, source->name);
	struct store_credential *rows;
	size_t count;

	if (of_source != NULL)
		return of_source;
	if (vault_read(vault, source->name, SIZE_MAX, &rows, &count, err) != 0)
		return NULL;
	of_source = map_new();
	map_put(vault->known, source->name, of_source);
	for (size_t i = 0; i < count; i++) {
		struct known *known = arena_alloc(vault->ctl->arena, sizeof(*known));
		struct error closed;

		known->row = rows[i];
		/* What no key opens is no one that could be told. */
		if (vault_item_open(vault, &rows[i], &known->item, &closed) == 0 &&
		    known->item.source != NULL)
			map_put(of_source, identity(vault, &known->item), known);
	}
	return of_source;
}

int vault_row(struct vault *vault, const struct vault_item *item, struct store_credential *row_r,
	      enum vault_outcome *outcome_r, struct error *err)
{
	const char *name = identity(vault, item);
	struct map *of_source = known_of(vault, item->source, err);
	struct known *known = of_source != NULL ? map_get(of_source, name) : NULL;
	struct buf sealed;

	if (of_source == NULL)
		return -1;
	*outcome_r = known == NULL ? VAULT_ADDED : VAULT_CHANGED;
	if (known != NULL && same(&known->item, item) &&
	    credential_is_current(&vault->keys, known->row.credentials))
		*outcome_r = VAULT_UNCHANGED;
	buf_init(&sealed);
	credential_seal(&vault->keys, item->source->name, item->members, item->count, &sealed);
	*row_r = (struct store_credential){.id = known != NULL ? known->row.id : 0,
					   .idempotency_key = name,
					   .source = item->source->name,
					   .handle = item->handle,
					   .limits = item->limits,
					   .key_id = vault->keys.keys[0].id,
					   .credentials =
						   arena_strndup(vault->ctl->arena, sealed.data, sealed.len)};
	buf_fini(&sealed);
	/* The same once more in one file is nothing new. */
	if (known == NULL) {
		known = arena_alloc(vault->ctl->arena, sizeof(*known));
		map_put(of_source, name, known);
	}
	known->row = *row_r;
	known->item = *item;
	return 0;
}

/* --- files and progress --- */

int vault_file(const char *path, size_t max, struct buf *out, struct error *err)
{
	int fd = str_eq(path, "-") ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return error_errno(err, "%s", path);
	while (n > 0 && out->len <= max) {
		n = read(fd, buf_reserve(out, 65536), 65536);
		if (n > 0)
			out->len += (size_t)n;
	}
	if (n < 0)
		error_errno(err, "%s", path);
	else if (out->len > max)
		n = error_set(err, ERR_INPUT, "%s is larger than %zu bytes", path, max);
	else
		out->data[out->len] = '\0';
	if (fd != STDIN_FILENO)
		close(fd);
	return n < 0 ? -1 : 0;
}

const char *vault_secret(struct ctl *ctl, const char *path, struct error *err)
{
	const char *text = NULL;
	struct buf out;

	buf_init(&out);
	if (vault_file(path, SECRET_MAX, &out, err) == 0) {
		while (out.len > 0 && strchr("\r\n", out.data[out.len - 1]) != NULL)
			out.len--;
		if (out.len == 0 || memchr(out.data, '\0', out.len) != NULL ||
		    !str_is_utf8(out.data, out.len))
			error_set(err, ERR_INPUT, "%s holds no text",
				  str_eq(path, "-") ? "standard input" : path);
		else
			text = arena_strndup(ctl->arena, out.data, out.len);
	}
	secret_wipe(&out);
	return text;
}

void vault_progress(const struct ctl *ctl, const char *what, size_t done, size_t total)
{
	static const char full[] = "##############################";
	int part = total > 0 ? (int)(done * BAR / total) : BAR;

	if (ctl->json || isatty(STDERR_FILENO) != 1)
		return;
	if (done >= total)
		fputs("\r\033[K", stderr);
	else
		fprintf(stderr, "\r[%-*.*s] %zu of %zu %s \033[K", BAR, part, full, done, total, what);
}
