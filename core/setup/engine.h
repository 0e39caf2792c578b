/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What drives the flow engine takes from the configuration: its limits, a
 * call's sources in the order wanted, base URLs, credentials, requests. The
 * worker and `sluicectl flow try`; the process's one thread that runs flows.
 */
#ifndef SLUICE_SETUP_ENGINE_H
#define SLUICE_SETUP_ENGINE_H

#include "flow/flow.h"
#include "http/http.h"

struct arena;
struct conf_flow;
struct conf_model;

#define ENGINE_CANDIDATES_MAX 32

/* conf must outlive every task: the plugins' options are read from it. One configuration per process. */
struct flow_env engine_env(const struct conf_model *conf, const char *store_id);

/*
 * The call's candidates in the order that flows.yaml wants, else in the
 * operation's, with their weights (0 in an ordered list); at most
 * ENGINE_CANDIDATES_MAX. flow NULL: every source is allowed.
 */
size_t engine_candidates(const struct conf_model *conf, const struct conf_flow *flow,
			 const struct flow_call *call, const struct sl_source **out, double *weights);

/*
 * The source's base URL (NULL: its own) and static credential, its member list
 * in the arena. false when it needs a credential and flows.yaml has none.
 */
bool engine_credential(const struct conf_model *conf, const struct sl_source *source, struct arena *arena,
		       const char **base_url_r, struct flow_credential *credential_r);

/* The built request as the HTTP client takes it; in the arena, or borrowed from built. */
struct http_request engine_request(const struct conf_model *conf, const struct flow_request *built,
				   struct arena *arena);

#endif
