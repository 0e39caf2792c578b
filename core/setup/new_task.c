/* SPDX-License-Identifier: Apache-2.0 */
/* See new_task.h. */
#include "setup/new_task.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"
#include "conf/model.h"
#include "conf/params.h"
#include "json/json.h"
#include "json/jwrite.h"

static const char *unique_key(struct arena *arena, const struct conf_flow *conf, const struct json *params)
{
	struct jwrite w;
	struct buf out;
	const char *key;

	if (conf->unique_count == 0)
		return NULL;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	for (size_t i = 0; i < conf->unique_count; i++)
		jwrite_value(&w, conf->unique[i], json_member(params, conf->unique[i]));
	jwrite_end(&w);
	key = arena_strndup(arena, out.data, out.len);
	buf_fini(&out);
	return key;
}

/* --- what a task is for --- */

#define KEY_MAX 500			/* bytes; of a longer one a hash takes the rest's place */
#define DEPTH_MAX 50			/* what is nested deeper stays as it is spelled */

static void write_canonical(struct jwrite *w, const char *name, const struct json *value);

static int by_name(const void *a, const void *b)
{
	return strcmp(json_name(*(const struct json *const *)a), json_name(*(const struct json *const *)b));
}

/* In the order of their names: a store may give them back in any. */
static void write_members(struct jwrite *w, const struct json *object, bool nulls)
{
	const struct json **members = mem_alloc((json_count(object) + 1) * sizeof(*members));
	size_t count = 0;

	for (const struct json *member = json_first(object); member != NULL; member = json_next(member))
		if (nulls || json_type(member) != JSON_NULL)
			members[count++] = member;
	qsort(members, count, sizeof(*members), by_name);
	for (size_t i = 0; i < count; i++)
		write_canonical(w, json_name(members[i]), members[i]);
	mem_release(members);
}

/* A store may also spell numbers in another way: 1e2, 100.0, 100. */
static void write_number(struct jwrite *w, const char *name, const struct json *value)
{
	int64_t integer;
	double number;

	if (json_int(value, &integer))
		jwrite_int(w, name, integer);
	else if (json_double(value, &number))
		jwrite_double(w, name, number);
	else
		jwrite_value(w, name, value);
}

static void write_canonical(struct jwrite *w, const char *name, const struct json *value)
{
	switch (w->depth < DEPTH_MAX ? json_type(value) : JSON_NULL) {
	case JSON_OBJECT:
		jwrite_object(w, name);
		write_members(w, value, true);
		jwrite_end(w);
		break;
	case JSON_ARRAY:
		jwrite_array(w, name);
		for (const struct json *item = json_first(value); item != NULL; item = json_next(item))
			write_canonical(w, NULL, item);
		jwrite_end(w);
		break;
	case JSON_INT:
	case JSON_DOUBLE:
		write_number(w, name, value);
		break;
	default:
		jwrite_value(w, name, value);
		break;
	}
}

static const char *short_key(struct arena *arena, const struct buf *key)
{
	char hash[SHA256_TEXT_SIZE];
	size_t used = 0, room = KEY_MAX - SHA256_TEXT_SIZE - 4;

	if (key->len <= KEY_MAX)
		return arena_strndup(arena, key->data, key->len);
	while (used + (size_t)abs(str_utf8_step(key->data + used, key->len - used)) <= room)
		used += (size_t)abs(str_utf8_step(key->data + used, key->len - used));
	sha256_hex(hash, key->data, key->len);
	return arena_printf(arena, "%.*s... %s", (int)used, key->data, hash);
}

const char *new_task_key(struct arena *arena, const struct conf_flow *conf, const struct json *params)
{
	struct jwrite w;
	struct buf out;
	const char *key;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	for (size_t i = 0; i < conf->unique_count; i++)
		write_canonical(&w, conf->unique[i], json_member(params, conf->unique[i]));
	if (conf->unique_count == 0)
		write_members(&w, params, false);
	jwrite_end(&w);
	key = short_key(arena, &out);
	buf_fini(&out);
	return key;
}

static struct store_skip *make_skip(struct arena *arena, const struct conf_flow *conf, const struct json *params)
{
	struct store_skip *skip;

	if (conf->skip.failures == 0)
		return NULL;
	skip = arena_alloc(arena, sizeof(*skip));
	*skip = (struct store_skip){.key = new_task_key(arena, conf, params), .failures = conf->skip.failures,
				    .period_ms = conf->skip.period_ms};
	return skip;
}

int new_task_make(struct store_new_task *task_r, struct arena *arena, const struct conf_flow *conf,
		  const struct sl_option *options, const struct json *params, struct error *err)
{
	struct buf text;

	if (conf_params_check(options, params, err) != 0)
		return error_prefix(err, "flow \"%s\"", conf->name);
	buf_init(&text);
	json_print(params, &text);
	*task_r = (struct store_new_task){
		.flow = conf->name,
		.platform = conf->platform,
		.params = arena_strndup(arena, text.data, text.len),
		.unique_key = unique_key(arena, conf, params),
		.priority = conf->priority,
		.max_attempts = conf->attempts,
		.skip = make_skip(arena, conf, params)
	};
	buf_fini(&text);
	return 0;
}
