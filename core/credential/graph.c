/* SPDX-License-Identifier: Apache-2.0 */
/* See graph.h. */
#include "credential/graph.h"

#include <string.h>

#include "base/str.h"
#include "http/url.h"
#include "json/json.h"

#define DATA_GRACE_S (7 * 86400)
#define CODE_BAD_TOKEN 190

/* What business discovery and insights need. */
static const char *const scopes[] = {
	"instagram_basic", "instagram_manage_insights", "pages_read_engagement", "pages_show_list"
};

void graph_debug_url(struct buf *out, const char *base_url, const char *token, const char *by)
{
	size_t len = strlen(base_url);

	while (len > 0 && base_url[len - 1] == '/')
		len--;
	buf_add(out, base_url, len);
	buf_adds(out, "/debug_token");
	http_add_query(out, "input_token", token);
	http_add_query(out, "access_token", by);
}

static bool has_scope(const struct json *list, const char *scope)
{
	for (const struct json *item = json_first(list); item != NULL; item = json_next(item))
		if (str_eq(json_string(item, NULL), scope))
			return true;
	return false;
}

static void judge(const struct json *data, int64_t now_s, struct graph_verdict *verdict)
{
	const char *message = json_string(json_at(data, "error.message"), NULL);
	bool valid = false;

	json_bool(json_member(data, "is_valid"), &valid);
	json_int(json_member(data, "expires_at"), &verdict->expires_s);
	json_int(json_member(data, "data_access_expires_at"), &verdict->data_access_s);
	verdict->state = GRAPH_INVALID;
	if (!valid) {
		str_format(verdict->reason, sizeof(verdict->reason), "token invalid%s%.200s",
			   message != NULL ? ": " : "", message != NULL ? message : "");
		return;
	}
	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
		if (has_scope(json_member(data, "scopes"), scopes[i]))
			continue;
		str_format(verdict->reason, sizeof(verdict->reason), "token invalid: scope %s is missing",
			   scopes[i]);
		return;
	}
	verdict->state = GRAPH_GOOD;
	if (verdict->data_access_s == 0 || verdict->data_access_s >= now_s - DATA_GRACE_S)
		return;
	verdict->state = GRAPH_DATA_EXPIRED;
	str_format(verdict->reason, sizeof(verdict->reason), "data access expired");
}

int graph_debug_read(const char *body, size_t len, bool own, int64_t now_s, struct graph_verdict *verdict_r,
		     struct error *err)
{
	struct json_doc *doc = json_parse(body, len, NULL);
	const struct json *root = json_root(doc), *data = json_member(root, "data");
	const char *message = json_string(json_at(root, "error.message"), NULL);
	int64_t code = 0;
	int rc = 0;

	*verdict_r = (struct graph_verdict){.state = GRAPH_GOOD};
	json_int(json_at(root, "error.code"), &code);
	if (json_type(data) == JSON_OBJECT) {
		judge(data, now_s, verdict_r);
	} else if (own && code == CODE_BAD_TOKEN) {
		verdict_r->state = GRAPH_INVALID;
		str_format(verdict_r->reason, sizeof(verdict_r->reason), "token invalid: %.200s",
			   message != NULL ? message : "refused");
	} else {
		rc = error_set(err, ERR_IO, "debug_token: %.200s",
			       message != NULL ? message : "not the answer that was expected");
	}
	json_doc_free(&doc);
	return rc;
}
