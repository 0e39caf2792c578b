/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four flows. A profile's refresh is one join: the profile, its posts and
 * its reels come out once each, however many answers spoke of them.
 */
#include <string.h>

#include "instagram.h"

#define JOIN "profile"
#define MOST_POSTS 50
#define MOST_REELS 10
#define MAX_AGE (30 * DAY_S)

static void ask_profile(const struct sl_host *h, struct sl_task *t, const struct sl_operation *operation,
			const char *arg, const char *value)
{
	h->join(h->call(t, operation, value, arg, value, NULL), JOIN);
}

static void ask_page(const struct sl_host *h, struct sl_task *t, const struct sl_operation *operation)
{
	const char *id = h->get_text(t, FACT_PROFILE_ID);
	struct sl_call *c = h->call(t, operation, id, "profile_id", id, NULL);

	h->join(c, JOIN);
	h->on_error(c, SL_ON_ERROR_REPORT);
}

/* Posts and reels are a bonus: an error ends their paging, is counted, and keeps what there is. */
static void page_ended(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, int64_t most)
{
	const char *name = h->operation(c)->name;

	if (h->outcome(c) != SL_OK) {
		h->set_int(t, h->format(t, "%s.errors", name), 1);
		h->debug(t, "%s: %s", name, h->outcome_text(c));
	} else if (paging_more(h, t, c, name, most, MAX_AGE)) {
		h->next(t, c, 0);
	}
}

static void page_result(const struct sl_host *h, struct sl_task *t, struct sl_out *out,
			const struct sl_operation *operation)
{
	h->out_object(out, operation->name);
	h->out_int(out, "count", paging_count(h, t, operation->name));
	h->out_int(out, "errors", h->get_int(t, h->format(t, "%s.errors", operation->name), 0));
	h->out_end(out);
}

static void put_result(const struct sl_host *h, struct sl_task *t, bool pages)
{
	struct sl_out *out = h->out(t);

	h->out_object(out, NULL);
	h->out_str(out, "profile_id", h->get_text(t, FACT_PROFILE_ID));
	h->out_str(out, "handle", h->get_text(t, FACT_HANDLE));
	if (pages) {
		page_result(h, t, out, &posts_by_id);
		page_result(h, t, out, &reels);
	}
	h->out_end(out);
	h->result(t, out);
}

/* Every round but the first of a full refresh. */
static enum sl_result go_on(const struct sl_host *h, struct sl_task *t)
{
	const struct sl_call *c;

	for (size_t i = 0; (c = h->ended(t, i)) != NULL; i++) {
		if (h->operation(c) == &posts_by_id) {
			page_ended(h, t, c, MOST_POSTS);
		} else if (h->operation(c) == &reels) {
			page_ended(h, t, c, MOST_REELS);
		} else {
			ask_page(h, t, &posts_by_id);
			if (h->get_int(t, FACT_MEDIA_COUNT, 0) > 0)
				ask_page(h, t, &reels);
		}
	}
	put_result(h, t, true);
	return SL_OK;
}

static enum sl_result by_handle_retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (h->round(t) > 0)
		return go_on(h, t);
	ask_profile(h, t, &profile_by_handle, "handle", h->param(t, "handle"));
	return SL_OK;
}

static enum sl_result by_id_retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (h->round(t) > 0)
		return go_on(h, t);
	ask_profile(h, t, &profile_by_id, "profile_id", h->param(t, "profile_id"));
	return SL_OK;
}

static enum sl_result basic_retrieve(const struct sl_host *h, struct sl_task *t)
{
	const char *id = h->param(t, "profile_id"), *handle = h->param(t, "handle");

	if (h->round(t) > 0)
		put_result(h, t, false);
	else if (id && *id)
		ask_profile(h, t, &profile_by_id, "profile_id", id);
	else if (handle && *handle)
		ask_profile(h, t, &profile_by_handle, "handle", handle);
	else
		return h->fail(t, SL_FAIL, "profile_id or handle must be given");
	return SL_OK;
}

static enum sl_result post_retrieve(const struct sl_host *h, struct sl_task *t)
{
	const char *code = h->param(t, "shortcode");

	if (h->round(t) == 0)
		h->call(t, &post_by_shortcode, code, "shortcode", code, NULL);
	return SL_OK;
}

/* A post without an owner is the refreshed profile's; one with another owner is a collaboration with it. */
static void settle_owner(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	const char *refreshed = h->get_text(t, FACT_PROFILE_ID);
	const char *owner = h->value(rec, SL_DIMENSION, "profile_id");

	if (refreshed && (!owner || !*owner)) {
		h->put_str(rec, SL_DIMENSION, "profile_id", refreshed);
		if (!h->has(rec, SL_DIMENSION, "handle"))
			h->put_str(rec, SL_DIMENSION, "handle", h->get_text(t, FACT_HANDLE));
	} else if (refreshed && strcmp(refreshed, owner) != 0) {
		h->put_str(rec, SL_DIMENSION, "collab_profile_id", refreshed);
	}
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	if (h->record_type(rec) == &profile_type) {
		h->upsert(t, &instagram_account, rec);
		h->event(t, &profile_log_events, rec);
		return SL_OK;
	}
	settle_owner(h, t, rec);
	h->set_source(rec, h->value(rec, SL_ATTR, "source"));
	h->put_str(rec, SL_DIMENSION, "keywords", "");
	h->put_str(rec, SL_ATTR, "profile_id", h->value(rec, SL_DIMENSION, "profile_id"));
	h->put_str(rec, SL_ATTR, "handle", h->value(rec, SL_DIMENSION, "handle"));
	h->upsert(t, &instagram_post, rec);
	h->event(t, &post_log_events, rec);
	return SL_OK;
}

#define PLATFORM "INSTAGRAM"

static const struct sl_table *const tables[] = {&instagram_account, &instagram_post, NULL};
static const struct sl_stream *const streams[] = {&profile_log_events, &post_log_events, NULL};

static const struct sl_option by_handle_params[] = {
	{"handle", SL_STR, SL_REQUIRED, NULL, 1, 64, "user name, without @", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const by_handle_operations[] = {
	&profile_by_handle, &posts_by_id, &reels, NULL
};

const struct sl_flow refresh_profile_by_handle = SL_FLOW_INIT(
	.name = "refresh_profile_by_handle", .platform = PLATFORM, .params = by_handle_params,
	.operations = by_handle_operations, .tables = tables, .streams = streams,
	.retrieve = by_handle_retrieve, .emit = emit,
	.doc = "A profile, its recent posts and its recent reels");

static const struct sl_option by_id_params[] = {
	{"profile_id", SL_STR, SL_REQUIRED, NULL, 1, 32, "Instagram's number of the profile", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const by_id_operations[] = {&profile_by_id, &posts_by_id, &reels, NULL};

const struct sl_flow refresh_profile_by_profile_id = SL_FLOW_INIT(
	.name = "refresh_profile_by_profile_id", .platform = PLATFORM, .params = by_id_params,
	.operations = by_id_operations, .tables = tables, .streams = streams,
	.retrieve = by_id_retrieve, .emit = emit,
	.doc = "A profile, its recent posts and its recent reels, by id");

static const struct sl_option basic_params[] = {
	{"profile_id", SL_STR, SL_REQUIRED | SL_NULLABLE, NULL, 0, 32, "preferred when both are given",
		{NULL, NULL}},
	{"handle", SL_STR, SL_REQUIRED | SL_NULLABLE, NULL, 0, 64, "user name, without @", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const basic_operations[] = {&profile_by_id, &profile_by_handle, NULL};

const struct sl_flow refresh_profile_basic = SL_FLOW_INIT(
	.name = "refresh_profile_basic", .platform = PLATFORM, .params = basic_params,
	.operations = basic_operations, .tables = tables, .streams = streams,
	.retrieve = basic_retrieve, .emit = emit, .doc = "A profile and the posts that come with it");

static const struct sl_option post_params[] = {
	{"shortcode", SL_STR, SL_REQUIRED, NULL, 1, 64, "the code in the post's address", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const post_operations[] = {&post_by_shortcode, NULL};
static const struct sl_table *const post_tables[] = {&instagram_post, NULL};
static const struct sl_stream *const post_streams[] = {&post_log_events, NULL};

const struct sl_flow refresh_post_by_shortcode = SL_FLOW_INIT(
	.name = "refresh_post_by_shortcode", .platform = PLATFORM, .params = post_params,
	.operations = post_operations, .tables = post_tables, .streams = post_streams,
	.retrieve = post_retrieve, .emit = emit, .doc = "One post");
