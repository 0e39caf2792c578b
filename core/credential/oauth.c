/* SPDX-License-Identifier: Apache-2.0 */
/* See oauth.h. Workers and `sluicectl credential test`; loop thread. */
#include "credential/oauth.h"

#include <string.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/map.h"
#include "base/str.h"
#include "base/uuid.h"
#include "http/http.h"
#include "http/url.h"
#include "json/json.h"
#include "loop/loop.h"

#define EARLY_MS 60000			/* a token this near its end is fetched anew */
#define LIFE_S 300			/* of one whose life the server does not tell */
#define LIFE_MAX_S 86400
#define FRESH_MS 5000			/* a token so new is not the one that was refused */
#define LOOKING_MS 50			/* while it is fetched, ask again after so long */
#define AGAIN_FIRST_MS 1000
#define AGAIN_CAP_MS 60000
#define TIMEOUT_MS 15000
#define ANSWER_MAX (64 << 10)
#define TOKENS_MAX 4096			/* beyond it those that have ended are forgotten */

static const char *const needed[] = {"client_id", "client_secret", "refresh_token"};
#define NEEDED (sizeof(needed) / sizeof(needed[0]))

struct token {
	struct oauth *oauth;
	struct http_transfer *transfer;
	char *text;			/* owned; NULL: none */
	int64_t until_ms;		/* loop time: the text is good so long, or nothing is tried before */
	int64_t fetched_ms;		/* loop time */
	bool refused;
	char reason[200];
	struct backoff trouble;
};

struct oauth {
	struct loop *loop;
	struct http_client *http;
	struct map *tokens;		/* by a hash of what they are fetched with */
};

struct oauth *oauth_new(struct loop *loop, struct http_client *http)
{
	struct oauth *oauth = mem_alloc(sizeof(*oauth));

	oauth->loop = loop;
	oauth->http = http;
	oauth->tokens = map_new();
	return oauth;
}

static void forget_text(struct token *token)
{
	if (token->text != NULL)
		explicit_bzero(token->text, strlen(token->text));
	mem_free(&token->text);
}

static void token_free(struct token *token)
{
	http_cancel(&token->transfer);
	forget_text(token);
	mem_release(token);
}

/* Forgets those that have ended, or all. */
static void sweep(struct oauth *oauth, bool all)
{
	struct map *kept = map_new();
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(oauth->tokens, &cursor, &name, &value)) {
		struct token *token = value;

		if (!all && (token->transfer != NULL || token->until_ms > loop_now_ms(oauth->loop)))
			map_put(kept, name, token);
		else
			token_free(token);
	}
	map_free(&oauth->tokens);
	oauth->tokens = kept;
}

void oauth_free(struct oauth **oauth)
{
	if (*oauth == NULL)
		return;
	sweep(*oauth, true);
	map_free(&(*oauth)->tokens);
	mem_free(oauth);
}

static const char *member(const struct credential_member *members, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(members[i].name, name))
			return members[i].value;
	return NULL;
}

/* --- the answer --- */

static void failed(struct token *token, const char *reason)
{
	str_format(token->reason, sizeof(token->reason), "no access token: %s", reason);
	token->until_ms = loop_now_ms(token->oauth->loop) + backoff_next(&token->trouble);
}

/* The server says that what it was given will never do. */
static bool is_final(const char *code)
{
	return str_eq(code, "invalid_grant") || str_eq(code, "invalid_client") ||
	       str_eq(code, "unauthorized_client");
}

static void take(struct token *token, const struct json *root)
{
	const char *text = json_string(json_member(root, "access_token"), NULL);
	int64_t life_s = LIFE_S, life_ms;

	if (text == NULL || *text == '\0') {
		failed(token, "the answer holds none");
		return;
	}
	json_int(json_member(root, "expires_in"), &life_s);
	life_ms = (life_s < 1 ? 1 : life_s > LIFE_MAX_S ? LIFE_MAX_S : life_s) * 1000;
	forget_text(token);
	token->text = mem_strdup(text);
	token->fetched_ms = loop_now_ms(token->oauth->loop);
	token->until_ms =
		loop_now_ms(token->oauth->loop) + (life_ms > 2 * EARLY_MS ? life_ms - EARLY_MS : life_ms / 2);
	backoff_reset(&token->trouble);
	token->reason[0] = '\0';
}

static void refuse(struct token *token, const struct json *root, int status)
{
	const char *code = json_string(json_member(root, "error"), NULL);
	char reason[160];

	/* The server's longer text may repeat what it was given: the code alone is safe. */
	str_format(reason, sizeof(reason), "status %d%s%.60s", status, code != NULL ? ", " : "",
		   code != NULL ? code : "");
	if (status >= 400 && status < 500 && is_final(code)) {
		token->refused = true;
		str_format(token->reason, sizeof(token->reason), "the token server refuses it: %.60s", code);
		return;
	}
	failed(token, reason);
}

static void on_response(void *user, struct http_response *response, const struct error *err)
{
	struct token *token = user;
	struct json_doc *doc;

	token->transfer = NULL;
	if (response == NULL) {
		failed(token, err->text);
		return;
	}
	doc = json_parse(response->body, response->body_len, NULL);
	if (response->status == 200)
		take(token, json_root(doc));
	else
		refuse(token, json_root(doc), response->status);
	json_doc_free(&doc);
	http_response_free(&response);
}

static void fetch(struct token *token, const char *url, const struct credential_member *members, size_t count)
{
	const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
	struct http_request request = {.method = "POST",
				       .url = url,
				       .headers = headers,
				       .timeout_ms = TIMEOUT_MS,
				       .max_body = ANSWER_MAX};
	struct buf form;

	buf_init(&form);
	http_add_form(&form, "grant_type", "refresh_token");
	for (size_t i = 0; i < NEEDED; i++)
		http_add_form(&form, needed[i], member(members, count, needed[i]));
	request.body = form.data;
	request.body_len = form.len;
	token->transfer = http_start(token->oauth->http, &request, on_response, token);
	secret_wipe(&form);
}

/* --- asking --- */

static void token_name(char name[SHA256_TEXT_SIZE], const char *url, const struct credential_member *members,
		       size_t count)
{
	struct buf all;

	buf_init(&all);
	buf_add(&all, url, strlen(url) + 1);
	for (size_t i = 0; i < NEEDED; i++) {
		const char *value = member(members, count, needed[i]);

		buf_add(&all, value, strlen(value) + 1);
	}
	sha256_hex(name, all.data, all.len);
	secret_wipe(&all);
}

static bool complete(const struct credential_member *members, size_t count, const char **missing_r)
{
	for (size_t i = 0; i < NEEDED; i++) {
		*missing_r = needed[i];
		if (member(members, count, needed[i]) == NULL)
			return false;
	}
	return true;
}

static struct token *token_make(struct oauth *oauth, const char *name)
{
	struct token *token = map_get(oauth->tokens, name);

	if (token != NULL)
		return token;
	if (map_count(oauth->tokens) >= TOKENS_MAX)
		sweep(oauth, false);
	token = mem_alloc(sizeof(*token));
	token->oauth = oauth;
	backoff_init(&token->trouble, AGAIN_FIRST_MS, AGAIN_CAP_MS);
	map_put(oauth->tokens, name, token);
	return token;
}

void oauth_ask(struct oauth *oauth, const char *url, const struct credential_member *members, size_t count,
	       struct oauth_answer *answer)
{
	int64_t now = loop_now_ms(oauth->loop);
	char name[SHA256_TEXT_SIZE];
	const char *missing;
	struct token *token;

	*answer = (struct oauth_answer){.state = OAUTH_WAIT, .wait_ms = LOOKING_MS};
	if (!complete(members, count, &missing)) {
		answer->state = OAUTH_REFUSED;
		str_format(answer->reason, sizeof(answer->reason), "it has no %s", missing);
		return;
	}
	token_name(name, url, members, count);
	token = token_make(oauth, name);
	if (token->refused) {
		answer->state = OAUTH_REFUSED;
		str_format(answer->reason, sizeof(answer->reason), "%s", token->reason);
		map_remove(oauth->tokens, name);
		token_free(token);
	} else if (token->text != NULL && token->until_ms > now) {
		answer->state = OAUTH_READY;
		answer->token = token->text;
	} else if (token->transfer == NULL && token->until_ms > now) {
		str_format(answer->reason, sizeof(answer->reason), "%s", token->reason);
		answer->wait_ms = token->until_ms - now;
	} else if (token->transfer == NULL) {
		forget_text(token);
		fetch(token, url, members, count);
	}
}

void oauth_renew(struct oauth *oauth, const char *url, const struct credential_member *members, size_t count)
{
	char name[SHA256_TEXT_SIZE];
	const char *missing;
	struct token *token;

	if (!complete(members, count, &missing))
		return;
	token_name(name, url, members, count);
	token = map_get(oauth->tokens, name);
	if (token == NULL || token->text == NULL || loop_now_ms(oauth->loop) - token->fetched_ms < FRESH_MS)
		return;
	forget_text(token);
	token->until_ms = 0;
}
