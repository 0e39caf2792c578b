/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With what a source may be asked: the pool's credentials and the static one of
 * flows.yaml, with their access tokens where the source wants one.
 */
#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"
#include "conf/model.h"
#include "credential/oauth.h"
#include "credential/pool.h"
#include "log/log.h"
#include "plugin/plugin.h"
#include "setup/engine.h"
#include "worker/internal.h"

#define TOKEN_MEMBER "access_token"

/* --- the pool --- */

static bool wants_pool(const struct worker *worker, const struct sl_source *source)
{
	const struct conf_source *conf = conf_source(worker->conf, source->name);

	return conf == NULL || conf->pool;
}

static bool listed(const struct sl_source *const *sources, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(sources[i]->name, name))
			return true;
	return false;
}

/* The sources of this process's flows' plugins that may use the pool, each name once. */
static const struct sl_source *const *pool_sources(struct worker *worker, size_t *count_r)
{
	const struct sl_source **sources = NULL;
	size_t count = 0;

	for (size_t i = 0; i < worker->flow_count; i++) {
		const struct sl_source *const *own = plugin_descriptor(worker->flows[i].plugin)->sources;

		for (; own != NULL && *own != NULL; own++) {
			if (!wants_pool(worker, *own) || listed(sources, count, (*own)->name))
				continue;
			sources = arena_grow(worker->role->arena, sources, count, sizeof(*sources));
			sources[count++] = *own;
		}
	}
	*count_r = count;
	return sources;
}

int choose_init(struct worker *worker, struct error *err)
{
	const struct credential_pool_options options = {.refresh_ms = 0};
	const struct conf_model *conf = worker->conf;
	const struct sl_source *const *sources;
	size_t count;

	worker->oauth = oauth_new(worker->loop, worker->http);
	if (conf->credential_key == NULL)
		return 0;
	worker->credential_keys = mem_alloc(sizeof(*worker->credential_keys));
	if (credential_keys_init(worker->credential_keys, conf->credential_key, conf->old_keys,
				 conf->old_key_count, err) != 0)
		return -1;
	sources = pool_sources(worker, &count);
	if (count > 0)
		worker->credentials = credential_pool_new(worker->loop, worker->store,
							  worker->credential_keys, sources, count, &options);
	return 0;
}

void choose_fini(struct worker *worker)
{
	oauth_free(&worker->oauth);
	credential_pool_free(&worker->credentials);
	if (worker->credential_keys != NULL)
		credential_keys_fini(worker->credential_keys);
	mem_free(&worker->credential_keys);
}

/* --- access tokens --- */

/* Without its access token the permission is worth nothing: false, and *wait_ms says when it may be there. */
static bool add_token(struct worker *worker, const struct sl_source *source, struct arena *scratch,
		      struct permission *with, int64_t *wait_ms)
{
	struct flow_credential *credential = &with->credential;
	struct flow_pair *members = arena_alloc(scratch, (credential->count + 1) * sizeof(*members));
	struct credential_member *own = arena_alloc(scratch, (credential->count + 1) * sizeof(*own));
	struct oauth_answer answer;

	for (size_t i = 0; i < credential->count; i++) {
		members[i] = credential->members[i];
		own[i] = (struct credential_member){members[i].name, members[i].value, true};
	}
	/* Nothing to exchange: an anonymous source. */
	if (credential->count == 0)
		return true;
	oauth_ask(worker->oauth, source->auth_name, own, credential->count, &answer);
	if (answer.state == OAUTH_READY) {
		members[credential->count] =
			(struct flow_pair){TOKEN_MEMBER, arena_strdup(scratch, answer.token), true};
		*credential = (struct flow_credential){members, credential->count + 1};
		return true;
	}
	if (answer.state == OAUTH_REFUSED && with->credential_id != 0)
		credential_pool_disable(worker->credentials, with->credential_id, answer.reason);
	/* A static one goes on without: the request that cannot be built retires it, as any refusal does. */
	if (answer.state == OAUTH_REFUSED && with->credential_id == 0) {
		log_error("credential of flows.yaml: source=%s: %s", source->name, answer.reason);
		return true;
	}
	if (answer.state == OAUTH_WAIT && answer.wait_ms < *wait_ms)
		*wait_ms = answer.wait_ms;
	return false;
}

bool choose_renew(struct worker *worker, const struct flow_call *engine)
{
	struct call *call = flow_call_user(engine);
	const struct sl_source *source = flow_call_source(engine);
	struct flow_credential fixed;
	struct credential_member *own;
	struct credential found;
	struct arena *scratch;
	const char *base_url;

	if (source == NULL || source->auth != SL_AUTH_OAUTH2 || call->renewed)
		return false;
	call->renewed = true;
	if (flow_call_credential(engine) != 0) {
		if (worker->credentials != NULL &&
		    credential_pool_find(worker->credentials, flow_call_credential(engine), &found))
			oauth_renew(worker->oauth, source->auth_name, found.members, found.count);
		return true;
	}
	scratch = arena_new();
	if (engine_credential(worker->conf, source, scratch, &base_url, &fixed)) {
		own = arena_alloc(scratch, (fixed.count + 1) * sizeof(*own));
		for (size_t i = 0; i < fixed.count; i++)
			own[i] = (struct credential_member){fixed.members[i].name, fixed.members[i].value,
							    true};
		oauth_renew(worker->oauth, source->auth_name, own, fixed.count);
	}
	arena_free(&scratch);
	return true;
}

/* --- choosing --- */

/*
 * A name for the limiter that tells a static credential from another and nothing
 * about it. Of what the configuration says alone: access tokens come and go.
 */
static const char *fixed_key(const struct sl_source *source, const struct flow_credential *credential,
			     const char *handle, struct arena *scratch)
{
	char hash[SHA256_TEXT_SIZE];
	struct buf members;

	if (credential->count == 0)
		return NULL;
	buf_init(&members);
	for (size_t i = 0; i < credential->count; i++)
		buf_printf(&members, "%s=%s\n", credential->members[i].name, credential->members[i].value);
	sha256_hex(hash, members.data, members.len);
	buf_fini(&members);
	return arena_printf(scratch, "credential/%s/%.12s%s%s", source->name, hash, handle != NULL ? "/" : "",
			    handle != NULL ? handle : "");
}

static void from_pool(const struct credential *credential, const char *base_url,
		      const struct sl_source *source, struct arena *scratch, struct permission *out)
{
	struct flow_pair *members = arena_alloc(scratch, (credential->count + 1) * sizeof(*members));

	/* Copied: the pool's own may change before the request is built. */
	for (size_t i = 0; i < credential->count; i++)
		members[i] = (struct flow_pair){arena_strdup(scratch, credential->members[i].name),
						arena_strdup(scratch, credential->members[i].value),
						credential->members[i].secret};
	*out = (struct permission){
		.source = source, .base_url = base_url, .credential = {members, credential->count},
		.credential_id = credential->id,
		.limits = credential->limits != NULL ? arena_strdup(scratch, credential->limits) : NULL,
		.limit_key = arena_printf(scratch, "credential/%s/#%lld", source->name, (long long)credential->id)
	};
}

size_t choose(struct worker *worker, const struct sl_source *source, const struct flow_call *call,
	      struct arena *scratch, struct permission *out, int64_t *wait_ms_r)
{
	int64_t now_ms = worker->env.now_ms(), soonest_ms = INT64_MAX;
	struct credential found[CHOOSE_MAX];
	struct permission fixed = {.source = source};
	bool pooled = worker->credentials != NULL && wants_pool(worker, source);
	size_t count = 0, kept = 0;
	bool has_fixed = engine_credential(worker->conf, source, scratch, &fixed.base_url, &fixed.credential);

	if (pooled)
		count = credential_pool_candidates(worker->credentials, source, flow_call_handle(call),
						   flow_call_credential(call), now_ms, found, CHOOSE_MAX,
						   &soonest_ms);
	if (pooled && count == 0 && !has_fixed && soonest_ms == INT64_MAX)
		soonest_ms = credential_pool_look(worker->credentials, now_ms);
	for (size_t i = 0; i < count; i++)
		from_pool(&found[i], fixed.base_url, source, scratch, &out[i]);
	if (has_fixed) {
		fixed.limit_key = fixed_key(source, &fixed.credential,
					    (source->flags & SL_SOURCE_BOUND) != 0 ? flow_call_handle(call) : NULL,
					    scratch);
		out[count++] = fixed;
	}
	*wait_ms_r = soonest_ms == INT64_MAX ? INT64_MAX : soonest_ms > now_ms ? soonest_ms - now_ms : 1;
	if (source->auth != SL_AUTH_OAUTH2)
		return count;
	for (size_t i = 0; i < count; i++)
		if (add_token(worker, source, scratch, &out[i], wait_ms_r))
			out[kept++] = out[i];
	return kept;
}
