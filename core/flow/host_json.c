/* SPDX-License-Identifier: Apache-2.0 */
/* The host table's section for parse: JSON, response headers, links and the next cursor. */
#include <string.h>

#include "flow/internal.h"

#include "http/url.h"

static const char *host_response_header(const struct sl_response *re, const char *name)
{
	/* Every response a callback sees is the first member of an answer. */
	const struct flow_answer *answer = (const struct flow_answer *)(const void *)re;

	return re && name ? answer_header(answer, name) : NULL;
}

static const struct sl_json *host_at(const struct sl_json *value, const char *path)
{
	return json_view(json_at(json_of(value), path));
}

static const char *host_str(const struct sl_json *value, const char *path)
{
	return json_scalar_text(json_at(json_of(value), path), flow_scope.arena);
}

static int64_t host_integer(const struct sl_json *value, const char *path, int64_t fallback)
{
	int64_t integer;

	return json_int(json_at(json_of(value), path), &integer) ? integer : fallback;
}

static double host_number(const struct sl_json *value, const char *path, double fallback)
{
	double number;

	return json_double(json_at(json_of(value), path), &number) ? number : fallback;
}

static bool host_boolean(const struct sl_json *value, const char *path, bool fallback)
{
	bool truth;

	return json_bool(json_at(json_of(value), path), &truth) ? truth : fallback;
}

static bool host_is_object(const struct sl_json *value)
{
	return json_type(json_of(value)) == JSON_OBJECT;
}

static bool host_is_array(const struct sl_json *value)
{
	return json_type(json_of(value)) == JSON_ARRAY;
}

static size_t host_length(const struct sl_json *container)
{
	return json_count(json_of(container));
}

static const struct sl_json *host_first(const struct sl_json *container)
{
	return json_view(json_first(json_of(container)));
}

static const struct sl_json *host_following(const struct sl_json *item)
{
	return json_view(json_next(json_of(item)));
}

static const char *host_name(const struct sl_json *member)
{
	return json_name(json_of(member));
}

static const char *host_raw(const struct sl_json *value)
{
	struct buf out;
	const char *text;

	buf_init(&out);
	json_print(json_of(value), &out);
	text = arena_strndup(flow_scope.arena, out.data, out.len);
	buf_fini(&out);
	return text;
}

static const struct sl_json *host_parse_json(struct sl_task *t, const char *text)
{
	struct scope *scope = &flow_scope;
	struct json_doc *doc = text ? json_parse(text, strlen(text), NULL) : NULL;

	(void)t;
	if (!doc)
		return NULL;
	scope->docs = grow(scope->docs, scope->doc_count, &scope->doc_cap, sizeof(struct json_doc *));
	scope->docs[scope->doc_count++] = doc;
	return json_view(json_root(doc));
}

static const char *host_link_next(struct sl_task *t, const char *link)
{
	size_t len;
	const char *target = link ? http_link_next(link, &len) : NULL;

	return target ? arena_strndup(task_of(t)->scratch, target, len) : NULL;
}

static void host_set_cursor(struct sl_task *t, const char *cursor)
{
	struct flow_task *task = task_of(t);

	if (task->stage != STAGE_PARSE || !task->call) {
		task_fault(task, "set_cursor belongs in parse");
		return;
	}
	/* Checkpoints are stored: a link that repeats the credential gets it anew when it is followed. */
	cursor = request_link_keep(task->call, task->scratch, cursor);
	task->call->next_cursor = cursor && *cursor ? arena_strdup(task->calls.arena, cursor) : NULL;
}

void host_json_section(struct sl_host *host)
{
	host->response_header = host_response_header;
	host->at = host_at;
	host->str = host_str;
	host->integer = host_integer;
	host->number = host_number;
	host->boolean = host_boolean;
	host->is_object = host_is_object;
	host->is_array = host_is_array;
	host->length = host_length;
	host->first = host_first;
	host->following = host_following;
	host->name = host_name;
	host->raw = host_raw;
	host->parse_json = host_parse_json;
	host->link_next = host_link_next;
	host->set_cursor = host_set_cursor;
}
