/* SPDX-License-Identifier: Apache-2.0 */
/* A profile, by handle or by id. */
#include <string.h>

#include "instagram.h"

static const struct sl_field graph_fields[] = {
	{SL_METRIC, "media_count", "media_count", SL_INT},
	{SL_METRIC, "followers", "followers_count", SL_INT},
	{SL_METRIC, "following", "follows_count", SL_INT},
	{SL_DIMENSION, "profile_id", "ig_id", SL_STR},
	{SL_DIMENSION, "handle", "username", SL_STR},
	{SL_DIMENSION, "full_name", "name", SL_STR},
	{SL_DIMENSION, "bio", "biography", SL_STR},
	{SL_DIMENSION, "external_url", "website", SL_STR},
	{SL_DIMENSION, "fbid", "id", SL_STR},
	{SL_DIMENSION, "profile_pic_url", "profile_picture_url", SL_STR},
	SL_END_OF_FIELDS
};

static const struct sl_field mobile_fields[] = {
	{SL_METRIC, "media_count", "media_count", SL_INT},
	{SL_METRIC, "followers", "follower_count", SL_INT},
	{SL_METRIC, "following", "following_count", SL_INT},
	{SL_DIMENSION, "profile_id", "pk|pk_id|id", SL_STR},
	{SL_DIMENSION, "handle", "username", SL_STR},
	{SL_DIMENSION, "full_name", "full_name", SL_STR},
	{SL_DIMENSION, "bio", "biography", SL_STR},
	{SL_DIMENSION, "external_url", "external_url", SL_STR},
	{SL_DIMENSION, "fbid", "interop_messaging_user_fbid|fbid_v2", SL_STR},
	{SL_DIMENSION, "profile_pic_url",
		"hd_profile_pic_url_info.url|profile_pic_url_hd|profile_pic_url", SL_STR},
	{SL_DIMENSION, "category", "category|category_name", SL_STR},
	{SL_DIMENSION, "category_id", "category_id", SL_STR},
	{SL_DIMENSION, "city", "city_name", SL_STR},
	{SL_DIMENSION, "location_lat", "latitude", SL_FLOAT},
	{SL_DIMENSION, "location_long", "longitude", SL_FLOAT},
	{SL_DIMENSION, "public_email", "public_email", SL_STR},
	{SL_DIMENSION, "contact_phone", "contact_phone_number", SL_STR},
	{SL_DIMENSION, "is_private", "is_private", SL_BOOL},
	{SL_DIMENSION, "is_verified", "is_verified", SL_BOOL},
	{SL_DIMENSION, "is_business", "is_business", SL_BOOL},
	SL_END_OF_FIELDS
};

static const struct sl_field web_fields[] = {
	{SL_METRIC, "media_count", "edge_owner_to_timeline_media.count", SL_INT},
	{SL_METRIC, "followers", "edge_followed_by.count", SL_INT},
	{SL_METRIC, "following", "edge_follow.count", SL_INT},
	{SL_METRIC, "reels_media_count", "edge_felix_video_timeline.count", SL_INT},
	{SL_DIMENSION, "profile_id", "id", SL_STR},
	{SL_DIMENSION, "handle", "username", SL_STR},
	{SL_DIMENSION, "full_name", "full_name", SL_STR},
	{SL_DIMENSION, "bio", "biography", SL_STR},
	{SL_DIMENSION, "external_url", "external_url", SL_STR},
	{SL_DIMENSION, "fbid", "fbid", SL_STR},
	{SL_DIMENSION, "profile_pic_url", "profile_pic_url_hd|profile_pic_url", SL_STR},
	{SL_DIMENSION, "category", "category_name", SL_STR},
	{SL_DIMENSION, "business_category", "business_category_name", SL_STR},
	{SL_DIMENSION, "public_email", "business_email", SL_STR},
	{SL_DIMENSION, "contact_phone", "business_phone_number", SL_STR},
	{SL_DIMENSION, "is_private", "is_private", SL_BOOL},
	{SL_DIMENSION, "is_verified", "is_verified", SL_BOOL},
	{SL_DIMENSION, "is_business", "is_business_account", SL_BOOL},
	{SL_DIMENSION, "is_professional", "is_professional_account", SL_BOOL},
	SL_END_OF_FIELDS
};

/* Completes the record and leaves the facts the flow goes on with. */
static void profile_made(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			 struct sl_record *rec)
{
	if (!h->has(rec, SL_DIMENSION, "handle"))
		h->put_str(rec, SL_DIMENSION, "handle", h->arg(c, "handle"));
	h->put_str(rec, SL_ATTR, "handle", h->value(rec, SL_DIMENSION, "handle"));
	h->set_text(t, FACT_PROFILE_ID, h->record_key(rec));
	h->set_text(t, FACT_HANDLE, h->value(rec, SL_DIMENSION, "handle"));
	h->set_int(t, FACT_MEDIA_COUNT, h->value_int(rec, SL_METRIC, "media_count", 0));
}

/* --- Graph API --- */

/* The handle becomes part of an expression: only what handles are made of may stand there. */
static bool is_handle(const char *handle)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";

	return handle && *handle && handle[strspn(handle, allowed)] == '\0';
}

static enum sl_result graph_profile_build(const struct sl_host *h, struct sl_task *t,
					  const struct sl_call *c,
					  struct sl_request *r)
{
	const char *user = h->credential(r, "user_id"), *handle = h->arg(c, "handle");

	if (!user)
		return h->fail(t, SL_AUTH, "the credential has no user_id");
	if (!is_handle(handle))
		return h->fail(t, SL_SOURCE, "Invalid username");
	h->get(r, h->format(t, "/%s", user));
	h->query(r, "fields", h->format(t,
		"business_discovery.username(%s){id,ig_id,name,website,followers_count,follows_count,"
		"profile_picture_url,username,biography,media_count,media{id,user_id,username,comments_count,"
		"like_count,media_type,media_url,caption,timestamp,permalink}}", handle));
	return SL_OK;
}

static enum sl_result graph_profile_parse(const struct sl_host *h, struct sl_task *t,
					  const struct sl_call *c,
					  const struct sl_response *re)
{
	const struct sl_json *user = h->at(re->json, "business_discovery");
	const char *id = h->str(user, "ig_id");
	struct sl_record *rec;

	if (!id || !*id)
		return h->fail(t, SL_SOURCE, "API Failure");
	rec = h->record(t, &profile_type, id, user, graph_fields);
	h->put_bool(rec, SL_DIMENSION, "is_business_or_creator", true);
	profile_made(h, t, c, rec);
	embedded_posts(h, t, user);
	return SL_OK;
}

/* --- resellers --- */

static enum sl_result arraybobo_by_handle_build(const struct sl_host *h, struct sl_task *t,
						const struct sl_call *c,
						struct sl_request *r)
{
	(void)t;
	h->get(r, "/ig/info_username/");
	h->query(r, "user", h->arg(c, "handle"));
	return SL_OK;
}

static enum sl_result arraybobo_by_id_build(const struct sl_host *h, struct sl_task *t,
					    const struct sl_call *c,
					    struct sl_request *r)
{
	(void)t;
	h->get(r, "/ig/info/");
	h->query(r, "id_user", h->arg(c, "profile_id"));
	return SL_OK;
}

static enum sl_result jotucker_profile_build(const struct sl_host *h, struct sl_task *t,
					     const struct sl_call *c,
					     struct sl_request *r)
{
	(void)t;
	h->get(r, "/user_info_by_id");
	h->query(r, "user_id", h->arg(c, "profile_id"));
	h->query(r, "user_name", h->arg(c, "handle"));
	return SL_OK;
}

/* True when the body has the member "user" and it is null: nobody has this name or id. */
static bool user_is_null(const struct sl_host *h, const struct sl_json *json)
{
	const struct sl_json *holder = h->at(json, "data|graphql|response"), *member;

	SL_EACH(h, member, h->is_object(holder) ? holder : json) {
		const char *name = h->name(member);

		if (name && strcmp(name, "user") == 0)
			return strcmp(h->raw(member), "null") == 0;
	}
	return false;
}

static enum sl_result no_profile(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	const char *text = h->arg(c, "profile_id") ? "Invalid user id" : "Invalid username";
	const char *message = h->str(re->json, "message|error|detail");

	if (h->is_object(re->json) && user_is_null(h, re->json))
		return h->fail(t, SL_GONE, text);
	if (message && (strstr(message, "not found") || strstr(message, "ot exist")))
		return h->fail(t, SL_GONE, text);
	return no_answer(h, t, re, "API Failure");
}

static enum sl_result profile_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				    const struct sl_response *re)
{
	static const char *const types[] = {NULL, "personal", "business", "creator"};
	const struct sl_json *user = h->at(re->json,
		"data.user|graphql.user|response.user|response.body.user|user");
	const char *handle = h->arg(c, "handle"), *id = h->arg(c, "profile_id"), *found;
	struct sl_record *rec;
	int64_t type;
	bool web;

	if (!user && h->str(re->json, "username"))
		user = re->json;
	found = h->str(user, "pk|pk_id|id");
	if (!found || !*found)
		return no_profile(h, t, c, re);
	if (id && strcmp(id, found) != 0)
		return h->fail(t, SL_SOURCE, "Invalid user id");
	if (handle && h->str(user, "username") && !same_name(handle, h->str(user, "username")))
		return h->fail(t, SL_SOURCE, "Invalid username");
	web = h->at(user, "edge_followed_by|edge_follow|edge_owner_to_timeline_media") != NULL;
	rec = h->record(t, &profile_type, found, user, web ? web_fields : mobile_fields);
	type = h->integer(user, "account_type", 0);
	if (!web)
		h->put_str(rec, SL_DIMENSION, "profile_type", type >= 1 && type <= 3 ? types[type] : NULL);
	profile_made(h, t, c, rec);
	embedded_posts(h, t, user);
	return SL_OK;
}

static const struct sl_via by_handle_vias[] = {
	{&graphapi, graph_profile_build, graph_profile_parse},
	{&arraybobo, arraybobo_by_handle_build, profile_parse},
	{&jotucker, jotucker_profile_build, profile_parse},
	SL_END_OF_VIAS
};

const struct sl_operation profile_by_handle = SL_OPERATION_INIT(
	.name = "profile_by_handle", .via = by_handle_vias,
	.doc = "A profile by its handle, with recent posts if any");

static const struct sl_via by_id_vias[] = {
	{&jotucker, jotucker_profile_build, profile_parse},
	{&arraybobo, arraybobo_by_id_build, profile_parse},
	SL_END_OF_VIAS
};

const struct sl_operation profile_by_id = SL_OPERATION_INIT(
	.name = "profile_by_id", .via = by_id_vias, .doc = "A profile by its id");
