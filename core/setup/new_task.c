/* SPDX-License-Identifier: Apache-2.0 */
/* See new_task.h. */
#include "setup/new_task.h"

#include "base/arena.h"
#include "base/buf.h"
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
		.max_attempts = conf->attempts
	};
	buf_fini(&text);
	return 0;
}
