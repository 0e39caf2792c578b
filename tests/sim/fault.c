/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/num.h"
#include "base/str.h"

#define MAX_FAULTS 32

enum kind { KIND_NONE, KIND_STATUS, KIND_SLOW, KIND_CUT, KIND_BADJSON, KIND_SCHEMA, KIND_EMPTY };

struct fault {
	char *source, *operation, *credential;	/* NULL = any */
	char *retry_after;		/* NULL = no such header */
	regex_t key;
	bool has_key;
	double rate;
	int64_t first;			/* 0 = no bound */
	enum kind kind;
	int64_t value;			/* status, 0 = some 5xx; ms; bytes, -1 = half */
};

static struct fault faults[MAX_FAULTS];
static size_t fault_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *ordinals;		/* under lock: "source op key" -> int64_t *, requests so far */

static const char *const kind_names[] = {"", "status", "slow", "cut", "badjson", "schema", "empty"};

static int kind_set(struct fault *fault, enum kind kind, const char *value, int64_t fallback,
		    struct error *err)
{
	if (fault->kind != KIND_NONE)
		return error_set(err, ERR_INPUT, "two kinds of fault in one");
	fault->kind = kind;
	fault->value = fallback;
	if (value && (num_parse_int(value, &fault->value) < 0 || fault->value < 0))
		return error_set(err, ERR_INPUT, "\"%s\" is not a number", value);
	if (!value && (kind == KIND_STATUS || kind == KIND_SLOW) && fallback < 0)
		return error_set(err, ERR_INPUT, "%s needs a number", kind_names[kind]);
	if (kind == KIND_STATUS && fault->value != 0 && (fault->value < 200 || fault->value > 599))
		return error_set(err, ERR_INPUT, "%lld is no status", (long long)fault->value);
	return 0;
}

static int word_set(struct fault *fault, const char *word, const char *value, struct error *err)
{
	int64_t status;

	if (str_eq(word, "5xx"))
		return kind_set(fault, KIND_STATUS, NULL, 0, err);
	if (!value && strlen(word) == 3 && num_parse_int(word, &status) == 0)
		return kind_set(fault, KIND_STATUS, word, -1, err);
	for (enum kind kind = KIND_STATUS; kind <= KIND_EMPTY; kind++)
		if (str_eq(word, kind_names[kind]))
			return kind_set(fault, kind, value, -1, err);
	return error_set(err, ERR_INPUT, "unknown word \"%s\"", word);
}

static int item_set(struct fault *fault, const char *name, char *value, struct error *err)
{
	if (!value)
		return word_set(fault, name, NULL, err);
	if (str_eq(name, "source")) {
		fault->source = mem_strdup(value);
	} else if (str_eq(name, "op")) {
		fault->operation = mem_strdup(value);
	} else if (str_eq(name, "credential")) {
		fault->credential = mem_strdup(value);
	} else if (str_eq(name, "retry_after")) {
		fault->retry_after = mem_strdup(value);
	} else if (str_eq(name, "key")) {
		if (regcomp(&fault->key, value, REG_EXTENDED | REG_NOSUB))
			return error_set(err, ERR_INPUT, "\"%s\" is not a regular expression", value);
		fault->has_key = true;
	} else if (str_eq(name, "rate")) {
		if (num_parse_double(value, &fault->rate) < 0 || fault->rate < 0 || fault->rate > 1)
			return error_set(err, ERR_INPUT, "\"%s\" is not a number from 0 to 1", value);
	} else if (str_eq(name, "first")) {
		if (num_parse_int(value, &fault->first) < 0 || fault->first < 1)
			return error_set(err, ERR_INPUT, "\"%s\" is not a number from 1", value);
	} else {
		return word_set(fault, name, value, err);
	}
	return 0;
}

int fault_add(const char *spec, struct error *err)
{
	struct fault *fault = &faults[fault_count];
	char *text, *rest, *item, *value;
	int rc = 0;

	if (fault_count == MAX_FAULTS)
		return error_set(err, ERR_LIMIT, "more than %d faults", MAX_FAULTS);
	fault->rate = 1;
	text = rest = mem_strdup(spec);
	while (rc == 0 && (item = strsep(&rest, ","))) {
		value = strchr(item, '=');
		if (value)
			*value++ = '\0';
		rc = item_set(fault, item, value, err);
	}
	mem_release(text);
	if (rc == 0 && fault->kind == KIND_NONE)
		rc = error_set(err, ERR_INPUT, "no kind of fault is named");
	if (rc < 0)
		return error_prefix(err, "fault \"%s\"", spec);
	if (!ordinals)
		ordinals = map_new();
	fault_count++;
	return 0;
}

/* How many requests of this key came before. */
static int64_t ordinal_next(const struct sim_request *request)
{
	char name[SIM_TEXT + 64];
	int64_t *count, n;

	str_format(name, sizeof(name), "%s %s %s", request->source, request->operation, request->key);
	pthread_mutex_lock(&lock);
	count = map_get(ordinals, name);
	if (!count) {
		count = mem_alloc(sizeof(*count));
		map_put(ordinals, name, count);
	}
	n = (*count)++;
	pthread_mutex_unlock(&lock);
	return n;
}

static uint64_t text_hash(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash * UINT64_C(0x100000001b3);
}

static bool strikes(const struct fault *fault, const struct sim_request *request, int64_t ordinal)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (fault->source && !str_eq(fault->source, request->source))
		return false;
	if (fault->operation && !str_eq(fault->operation, request->operation))
		return false;
	if (fault->credential && !str_eq(fault->credential, request->credential))
		return false;
	if (fault->first && ordinal >= fault->first)
		return false;
	if (fault->has_key && regexec(&fault->key, request->key, 0, NULL, 0) != 0)
		return false;
	hash = text_hash(hash, request->source);
	hash = text_hash(hash, request->operation);
	hash = text_hash(hash, request->key);
	hash = text_hash(hash, request->cursor);
	hash = world_hash(100 + (unsigned int)(fault - faults), hash, (uint64_t)ordinal);
	return (double)(hash >> 11) < fault->rate * 0x1p53;
}

static void status_body(struct sim_request *request)
{
	const unsigned int status = request->status;
	const bool google = str_eq(request->source, "ytapitoken") || str_eq(request->source, "yt-v31");

	if (status >= 500) {
		sim_set(request->type, "text/html");
		sim_fixed(request, status, "<html><head><title>Server error</title></head><body><center><h1>Server error"
			  "</h1></center><hr><center>gateway</center></body></html>");
	} else if (str_eq(request->source, "graphapi")) {
		sim_fixed(request, status, status == 401 ?
			  "{'error':{'message':'Error validating access token: Session has expired','type':"
			  "'OAuthException','code':190,'error_subcode':463,'fbtrace_id':'AsimFault00000000'}}" :
			  "{'error':{'message':'(#4) Application request limit reached','type':'OAuthException',"
			  "'is_transient':true,'code':4,'fbtrace_id':'AsimFault00000000'}}");
	} else if (google && status == 403) {
		sim_fixed(request, status, "{'error':{'code':403,'message':'The request cannot be completed because you "
			  "have exceeded your quota.','errors':[{'message':'The request cannot be completed because "
			  "you have exceeded your quota.','domain':'youtube.quota','reason':'quotaExceeded'}]}}");
	} else if (google) {
		buf_printf(&request->body, "{\"error\":{\"code\":%u,\"message\":\"Refused\",\"errors\":[{\"message\":"
			   "\"Refused\",\"domain\":\"global\",\"reason\":\"%s\"}]}}", status,
			   status == 401 ? "authError" : status == 429 ? "rateLimitExceeded" : "badRequest");
	} else if (str_eq(request->source, "shopify")) {
		sim_fixed(request, status, status == 429 ?
			  "{'errors':'Exceeded 2 calls per second for api client. Reduce request rates to resume "
			  "uninterrupted service.'}" : "{'errors':'[API] Refused'}");
	} else {
		sim_fixed(request, status, status == 429 ?
			  "{'message':'You have exceeded the rate limit per minute for your plan, by the API provider'}" :
			  "{'message':'Refused','status':'fail'}");
	}
}

static void schema_change(struct sim_request *request)
{
	struct buf changed;

	buf_init(&changed);
	buf_adds(&changed, "{\"version\":2,\"result\":{\"payload\":");
	buf_add(&changed, request->body.data, request->body.len);
	buf_adds(&changed, "}}");
	buf_fini(&request->body);
	request->body = changed;
}

static void fault_do(const struct fault *fault, struct sim_request *request, int64_t ordinal)
{
	static const unsigned int server_errors[] = {500, 502, 503};
	const size_t len = request->body.len;

	request->void_body = true;
	request->fault = kind_names[fault->kind];
	switch (fault->kind) {
	case KIND_CUT:
		request->cut = true;
		request->cut_after = fault->value < 0 ? len / 2 : (size_t)fault->value;
		break;
	case KIND_BADJSON:
		request->body.len = len / 2;
		buf_adds(&request->body, "\x01<br>");
		break;
	case KIND_SCHEMA:
		schema_change(request);
		break;
	case KIND_EMPTY:
		buf_clear(&request->body);
		break;
	default:
		buf_clear(&request->body);
		request->header_count = 0;
		request->status = fault->value ? (unsigned int)fault->value : server_errors[ordinal % 3];
		status_body(request);
		if (fault->retry_after)
			sim_header(request, "Retry-After", "%s", fault->retry_after);
	}
}

void fault_apply(struct sim_request *request)
{
	int64_t ordinal;

	if (fault_count == 0 || !request->source[0])
		return;
	ordinal = ordinal_next(request);
	for (size_t i = 0; i < fault_count; i++) {
		if (!strikes(&faults[i], request, ordinal))
			continue;
		if (faults[i].kind == KIND_SLOW) {
			request->delay_ms += faults[i].value;
			if (!request->fault)
				request->fault = kind_names[KIND_SLOW];
		} else if (!request->void_body) {
			fault_do(&faults[i], request, ordinal);
		}
	}
}
