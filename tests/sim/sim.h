/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulator's parts share: one request on its way through route,
 * endpoint, fault and record. Lives from the handler until the answer is sent.
 */
#ifndef SLUICE_SIM_SIM_H
#define SLUICE_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "httpd/httpd.h"
#include "world.h"

#define SIM_TEXT 256
#define SIM_HEADERS 4

struct entity {
	enum entity_kind kind;
	uint64_t number;
};

struct sim_request {
	struct httpd_request *http;	/* until answered */
	int64_t arrived_ms;		/* wall clock */
	const char *path;		/* below the source's prefix, "/" first; until answered */
	const char *source, *operation;	/* static; "" when no endpoint knows the request */
	char key[SIM_TEXT];		/* what was asked for: handle, id, short code, ids, store */
	char cursor[SIM_TEXT];		/* which page; "" = first */
	char credential[SIM_TEXT];	/* the secret that came with it; "" = none */
	unsigned int status;
	struct buf body;
	char type[SIM_TEXT];		/* content type; "" = JSON */
	struct httpd_header headers[SIM_HEADERS];
	char header_name[SIM_HEADERS][SIM_TEXT];
	char header_text[SIM_HEADERS][2 * SIM_TEXT];
	size_t header_count;
	struct entity *served;		/* what a plugin makes records of; owned */
	size_t served_count, served_cap;
	const char *fault;		/* static name, or NULL */
	bool void_body;			/* the fault leaves nothing to make records of */
	bool cut;			/* the connection is to end after cut_after bytes of the body */
	size_t cut_after;
	int64_t delay_ms;
};

/* Answers: the endpoint's whole work is to set key, cursor, status, body and served. */
typedef void (*sim_endpoint)(struct sim_request *request);

/* Helpers for endpoints. */
const char *sim_query(struct sim_request *request, const char *name);	/* "" when absent */
/* A number from the query within [1, most]; fallback when absent or not one. */
unsigned int sim_query_count(struct sim_request *request, const char *name, unsigned int fallback,
			     unsigned int most);
/* A time from the query in seconds; fallback when absent or not one. */
int64_t sim_query_time(struct sim_request *request, const char *name, int64_t fallback);
void sim_set(char out[SIM_TEXT], const char *text);			/* cut to fit */
void sim_served(struct sim_request *request, enum entity_kind kind, uint64_t number);
/* Name copied, value as by printf; what is too long is cut, a header too many is dropped. */
void sim_header(struct sim_request *request, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Sets the status and appends fixed JSON, ' for ". */
void sim_fixed(struct sim_request *request, unsigned int status, const char *body);
/* The place a page starts at; -1 (and a 400 answer) when the cursor is not one of ours. "" is place 0. */
int64_t sim_place(struct sim_request *request, const char *cursor, uint32_t n);

/* Finds source and endpoint by the path and lets it answer. Needs the *_init below. */
void route_serve(struct sim_request *request);

/* Each provider's endpoints; *_init makes its templates. */
void graph_init(void);
void graph_user(struct sim_request *request);

void media_init(void);
void arraybobo_info(struct sim_request *request);
void arraybobo_reels(struct sim_request *request);
void jotucker_user(struct sim_request *request);
void jotucker_posts(struct sim_request *request);
void jotucker_post(struct sim_request *request);
void rocketapi_post(struct sim_request *request);
void rocketapi_clips(struct sim_request *request);

void web_init(void);
void arraybobo_posts(struct sim_request *request);
void arraybobo_post(struct sim_request *request);

void youtube_init(void);
void youtube_channels(struct sim_request *request);
void youtube_videos(struct sim_request *request);
void youtube_playlist_items(struct sim_request *request);
void youtube_search(struct sim_request *request);

void shopify_init(void);
void shopify_orders(struct sim_request *request);

#endif
