/* SPDX-License-Identifier: Apache-2.0 */
/* From KEY=VALUE words to a JSON object, each value by the type the flow declares. */
#include "ctl.h"

#include <string.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/params.h"
#include "json/json.h"
#include "json/jwrite.h"

/* One key with every value it was given. */
struct param {
	const char *key;
	const struct sl_option *option;		/* NULL: the flow declares none */
	const char **values;
	size_t count;
};

const char *params_index(struct ctl *ctl, const char *text, long long index)
{
	const char *mark = text != NULL && index >= 0 ? strstr(text, "{i}") : NULL;

	while (mark != NULL) {
		size_t before = (size_t)(mark - text);

		text = arena_printf(ctl->arena, "%.*s%lld%s", (int)before, text, index, mark + 3);
		mark = strstr(text + before, "{i}");
	}
	return text;
}

static struct param *find_param(struct param *params, size_t *count, const char *key)
{
	for (size_t i = 0; i < *count; i++)
		if (str_eq(params[i].key, key))
			return &params[i];
	params[*count].key = key;
	return &params[(*count)++];
}

bool ctl_write_json(struct jwrite *w, const char *key, const char *text)
{
	struct json_doc *doc = json_parse(text, strlen(text), NULL);

	if (doc == NULL)
		return false;
	jwrite_value(w, key, json_root(doc));
	json_doc_free(&doc);
	return true;
}

/* What does not fit its type is passed on as a text: the schema has the words for it. */
static void write_param(struct ctl *ctl, struct jwrite *w, const struct param *param)
{
	if (param->count == 1 && str_eq(param->values[0], "null")) {
		jwrite_null(w, param->key);
		return;
	}
	if (param->count == 1) {
		conf_params_write(w, param->option, param->key, param->values[0]);
		return;
	}
	jwrite_array(w, param->key);
	for (size_t i = 0; i < param->count; i++) {
		char *rest = NULL, *word = strtok_r(arena_strdup(ctl->arena, param->values[i]), ",", &rest);

		for (; word != NULL; word = strtok_r(NULL, ",", &rest))
			jwrite_string(w, NULL, word);
	}
	jwrite_end(w);
}

static int collect(struct ctl *ctl, const struct sl_flow *flow, const char *const *words, size_t word_count,
		   long long index, struct param *params, size_t *count_r, struct error *err)
{
	*count_r = 0;
	for (size_t i = 0; i < word_count; i++) {
		const char *equals = strchr(words[i], '=');
		struct param *param;

		if (equals == NULL || equals == words[i])
			return error_set(err, ERR_INPUT, "\"%s\" is no KEY=VALUE", words[i]);
		param = find_param(params, count_r,
				   arena_strndup(ctl->arena, words[i], (size_t)(equals - words[i])));
		param->option = conf_params_find(flow->params, param->key);
		if (param->values == NULL)
			param->values = arena_alloc(ctl->arena, word_count * sizeof(*param->values));
		else if (param->option == NULL || param->option->type != SL_LIST)
			return error_set(err, ERR_INPUT, "\"%s\" is given twice, but it is no list",
					 param->key);
		param->values[param->count++] = params_index(ctl, equals + 1, index);
	}
	return 0;
}

static bool overridden(const struct param *params, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(params[i].key, key))
			return true;
	return false;
}

char *params_make(struct ctl *ctl, const struct sl_flow *flow, const char *base, const char *const *words,
		  size_t word_count, long long index, struct error *err)
{
	struct param *params = arena_alloc(ctl->arena, (word_count + 1) * sizeof(*params));
	const char *text = params_index(ctl, base, index);
	struct json_doc *doc = NULL;
	const struct json *member;
	struct jwrite w;
	struct buf out;
	size_t count;
	char *made;

	if (collect(ctl, flow, words, word_count, index, params, &count, err) != 0)
		return NULL;
	if (text != NULL) {
		doc = json_parse(text, strlen(text), err);
		if (doc == NULL || json_type(json_root(doc)) != JSON_OBJECT) {
			if (doc != NULL)
				error_set(err, ERR_INPUT, "not an object");
			json_doc_free(&doc);
			return NULL;
		}
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	for (member = doc != NULL ? json_first(json_root(doc)) : NULL; member != NULL;
	     member = json_next(member))
		if (!overridden(params, count, json_name(member)))
			jwrite_value(&w, json_name(member), member);
	for (size_t i = 0; i < count; i++)
		write_param(ctl, &w, &params[i]);
	jwrite_end(&w);
	json_doc_free(&doc);
	made = arena_strndup(ctl->arena, out.data, out.len);
	buf_fini(&out);
	return made;
}
