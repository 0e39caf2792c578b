/* SPDX-License-Identifier: Apache-2.0 */
/* See engine.h. */
#include "setup/engine.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/model.h"
#include "plugin/plugin.h"

/* The engine asks for options without saying for whom: there is one configuration per process. */
static const struct conf_model *process_conf;

static const char *option_value(const struct plugin *plugin, const char *name)
{
	for (size_t i = 0; i < process_conf->plugin_count; i++) {
		const struct conf_plugin *conf = &process_conf->plugins[i];

		if (!str_eq(conf->name, plugin_descriptor(plugin)->name))
			continue;
		for (size_t k = 0; k < conf->option_count; k++)
			if (str_eq(conf->options[k].name, name))
				return conf->options[k].value;
	}
	return NULL;
}

struct flow_env engine_env(const struct conf_model *conf, const char *store_id)
{
	process_conf = conf;
	return (struct flow_env){
		.store_id = store_id,
		.event_max = conf->event_max,
		.facts_max = conf->facts_max,
		.slice_records = conf->slice_records,
		.slice_bytes = conf->slice_bytes,
		.calls_in_flight = (unsigned int)conf->calls_in_flight,
		.call_retries = (unsigned int)conf->call_retries,
		.now_ms = clock_wall_ms,
		.option = option_value
	};
}

static bool flow_allows(const struct conf_flow *flow, const char *source)
{
	if (flow == NULL || flow->source_count == 0)
		return true;
	for (size_t i = 0; i < flow->source_count; i++)
		if (str_eq(flow->sources[i], source))
			return true;
	return false;
}

static const struct sl_source *find_candidate(const struct flow_call *call, const char *name)
{
	const struct sl_source *source;

	for (size_t i = 0; (source = flow_call_candidate(call, i)) != NULL; i++)
		if (str_eq(source->name, name))
			return source;
	return NULL;
}

size_t engine_candidates(const struct conf_model *conf, const struct conf_flow *flow,
			 const struct flow_call *call, const struct sl_source **out, double *weights)
{
	const struct conf_operation *operation = conf_operation(conf, flow_call_operation(call));
	size_t known = operation != NULL ? operation->source_count : 0, count = 0;
	const struct sl_source *source;

	for (size_t i = 0; count < ENGINE_CANDIDATES_MAX && (known == 0 || i < known); i++) {
		source = known > 0 ? find_candidate(call, operation->sources[i].source)
				   : flow_call_candidate(call, i);
		if (source == NULL && known == 0)
			break;
		if (source != NULL && flow_allows(flow, source->name)) {
			weights[count] = known > 0 && operation->weighted ? operation->sources[i].weight : 0;
			out[count++] = source;
		}
	}
	return count;
}

bool engine_credential(const struct conf_model *conf, const struct sl_source *source, struct arena *arena,
		       const char **base_url_r, struct flow_credential *credential_r)
{
	const struct conf_source *found = conf_source(conf, source->name);
	struct flow_pair *members;

	*base_url_r = found != NULL ? found->base_url : NULL;
	*credential_r = (struct flow_credential){ NULL, 0 };
	if (found == NULL || found->credential_count == 0)
		return (source->flags & SL_SOURCE_ANONYMOUS) != 0;
	members = arena_alloc(arena, found->credential_count * sizeof(*members));
	for (size_t i = 0; i < found->credential_count; i++)
		members[i] = (struct flow_pair){found->credential[i].name, found->credential[i].value, true};
	*credential_r = (struct flow_credential){ members, found->credential_count };
	return true;
}

struct http_request engine_request(const struct conf_model *conf, const struct flow_request *built,
				   struct arena *arena)
{
	const char **headers = arena_alloc(arena, (built->header_count + 1) * sizeof(*headers));

	for (size_t i = 0; i < built->header_count; i++)
		headers[i] = arena_printf(arena, "%s: %s", built->headers[i].name, built->headers[i].value);
	return (struct http_request){
		.method = built->method,
		.url = built->url,
		.headers = headers,
		.body = built->body,
		.body_len = built->body_len,
		.timeout_ms = built->timeout_ms > 0 ? built->timeout_ms : conf->request_timeout_ms,
		.connect_timeout_ms = conf->connect_timeout_ms,
		.max_body = (size_t)conf->response_max,
		.follow_redirects = built->redirects > 0,
		.public_only = built->public_only
	};
}
