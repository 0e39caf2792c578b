/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl credential rotate-key: seals with credentials.key what another key
 * sealed, or nobody. In small steps; what is done is seen in the rows themselves, so
 * it may be stopped and begun again at any time, while workers run.
 */
#include "base/arena.h"
#include "json/jwrite.h"
#include "vault.h"

#define STEP 100

struct rotation {
	struct vault vault;
	size_t total, seen, sealed, current, failed, taken; /* taken: changed by somebody else meanwhile */
};

/* The change that seals the row anew; false after telling why there is none. */
static bool seal(struct rotation *rotation, const struct store_credential *row,
		 struct store_credential_change *out)
{
	struct vault *vault = &rotation->vault;
	struct arena *arena = vault->ctl->arena;
	struct vault_item item;
	struct buf sealed, name;
	struct error err;

	if (row->credentials != NULL && credential_is_current(&vault->keys, row->credentials)) {
		rotation->current++;
		return false;
	}
	if (vault_item_open(vault, row, &item, &err) != 0 ||
	    (item.source == NULL && vault_source(vault->ctl, row->source, &err) == NULL)) {
		ctl_fail("credential %lld is left as it is: %s", (long long)row->id, err.text);
		rotation->failed++;
		return false;
	}
	buf_init(&sealed);
	buf_init(&name);
	credential_seal(&vault->keys, item.source->name, item.members, item.count, &sealed);
	credential_identity(&vault->keys, item.source, item.handle, item.members, item.count, &name);
	*out = (struct store_credential_change){.action = STORE_CREDENTIAL_SEAL,
						.id = row->id,
						.was = row->credentials,
						.credentials = arena_strndup(arena, sealed.data, sealed.len),
						.key_id = vault->keys.keys[0].id,
						.idempotency_key = arena_strndup(arena, name.data, name.len)};
	buf_fini(&sealed);
	buf_fini(&name);
	return true;
}

static int step(struct rotation *rotation, const struct store_credential *rows, size_t count,
		struct error *err)
{
	struct store_credential_change changes[STEP];
	int64_t changed = 0;
	size_t wanted = 0;

	for (size_t i = 0; i < count; i++)
		if (seal(rotation, &rows[i], &changes[wanted]))
			wanted++;
	if (wanted > 0 &&
	    store_sync_credential_change(rotation->vault.ctl->store, changes, wanted, &changed, err) != 0)
		return -1;
	rotation->sealed += (size_t)changed;
	rotation->taken += wanted - (size_t)changed;
	rotation->seen += count;
	vault_progress(rotation->vault.ctl, "credentials", rotation->seen, rotation->total);
	return 0;
}

static int rotate(struct rotation *rotation, struct error *err)
{
	struct store_credential *rows;
	size_t count;

	if (vault_read(&rotation->vault, NULL, SIZE_MAX, &rows, &count, err) != 0)
		return -1;
	rotation->total = count;
	for (size_t at = 0; at < count; at += STEP)
		if (step(rotation, rows + at, count - at < STEP ? count - at : STEP, err) != 0)
			return -1;
	return 0;
}

static void print_rotated(const struct rotation *rotation)
{
	struct jwrite w;
	struct buf out;

	if (!rotation->vault.ctl->json) {
		printf("%zu sealed anew, %zu were already, %zu left as they are\n", rotation->sealed,
		       rotation->current, rotation->failed + rotation->taken);
		return;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_uint(&w, "sealed", rotation->sealed);
	jwrite_uint(&w, "current", rotation->current);
	jwrite_uint(&w, "left", rotation->failed + rotation->taken);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

int cmd_credential_rotate(struct ctl *ctl)
{
	struct rotation rotation = {.total = 0};
	struct error err;
	int status = CTL_FAILED;

	if (vault_open(&rotation.vault, ctl, true) == 0) {
		int rc = rotate(&rotation, &err);

		vault_progress(ctl, "credentials", 1, 1);
		print_rotated(&rotation);
		if (rc != 0)
			ctl_fail("the task store: %s; what is not sealed anew is as it was, so this may be "
				 "repeated",
				 err.text);
		else if (rotation.taken > 0)
			ctl_fail("%zu were changed meanwhile: say it again", rotation.taken);
		else
			status = rotation.failed > 0 ? CTL_FAILED : CTL_OK;
	}
	vault_close(&rotation.vault);
	return status;
}
