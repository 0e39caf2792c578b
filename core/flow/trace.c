/* SPDX-License-Identifier: Apache-2.0 */
/* See trace.h. */
#include "flow/trace.h"

#include <string.h>

#include "base/clock.h"
#include "flow/secrets.h"
#include "json/jwrite.h"

#define URI_MAX 8192
#define HEADER_MAX 1024
#define HEADERS_MAX 64
#define ERROR_MAX 1024
#define STARS "***"

static void hidden(struct jwrite *w, const char *name, const struct flow_secrets *secrets, const char *text, size_t len,
		   size_t max)
{
	struct buf shown;

	buf_init(&shown);
	flow_secrets_hide(secrets, text ? text : "", text ? len : 0, max, &shown);
	jwrite_stringn(w, name, shown.data ? shown.data : "", shown.len);
	buf_fini(&shown);
}

static void write_headers(struct jwrite *w, const struct flow_request *request, bool all)
{
	size_t count = all ? request->header_count : 0;

	jwrite_object(w, "headers");
	for (size_t i = 0; i < count && i < HEADERS_MAX; i++) {
		const struct flow_pair *header = &request->headers[i];

		if (header->secret)
			jwrite_string(w, header->name, STARS);
		else
			hidden(w, header->name, request->secrets, header->value, strlen(header->value), HEADER_MAX);
	}
	jwrite_end(w);
}

static const char *text_of(const char *text)
{
	return text ? text : "";
}

static void write_event(const struct flow_trace *trace, size_t body_max, bool all, struct buf *out)
{
	const struct flow_request *request = trace->request;
	const struct flow_secrets *secrets = request->secrets;
	char time[CLOCK_TEXT_SIZE];
	struct jwrite w;

	clock_format_ms(time, trace->sent_ms);
	time[strcspn(time, " ")] = 'T';
	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "id", trace->id);
	/* Readers spell it both ways: the one that used to fill the table looked for the second. */
	jwrite_string(&w, "hostname", text_of(trace->host));
	jwrite_string(&w, "hostName", text_of(trace->host));
	jwrite_string(&w, "serviceName", text_of(trace->service));
	jwrite_string(&w, "timestamp", time);
	jwrite_int(&w, "timeTaken", trace->taken_ms / 1000);
	jwrite_int(&w, "timeTakenMs", trace->taken_ms);
	jwrite_string(&w, "method", request->method);
	hidden(&w, "uri", secrets, request->shown_url, strlen(request->shown_url), URI_MAX);
	write_headers(&w, request, all);
	jwrite_int(&w, "responseStatus", trace->status);
	jwrite_string(&w, "remoteAddress", text_of(trace->remote));
	jwrite_bool(&w, "onlyRequest", false);
	hidden(&w, "requestBody", secrets, request->body, request->body_len, all ? body_max : 0);
	hidden(&w, "responseBody", secrets, trace->body, trace->body_len, all ? body_max : 0);
	jwrite_string(&w, "flow", text_of(trace->flow));
	jwrite_string(&w, "source", text_of(trace->source));
	jwrite_int(&w, "task", trace->task);
	if (trace->error)
		hidden(&w, "error", secrets, trace->error, strlen(trace->error), ERROR_MAX);
	jwrite_end(&w);
}

void flow_trace_print(const struct flow_trace *trace, size_t body_max, size_t event_max, struct buf *out)
{
	size_t before = out->len;

	write_event(trace, body_max, true, out);
	if (out->len - before <= event_max)
		return;
	out->len = before;
	write_event(trace, 0, false, out);
}

bool flow_trace_drawn(uint64_t seed, int64_t commit_seq, uint64_t number, double share)
{
	uint64_t z = seed ^ (uint64_t)commit_seq * UINT64_C(0xd1342543de82ef95);

	/* SplitMix64, the number-th step from there. */
	z += (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (double)(z >> 11) / (double)(UINT64_C(1) << 53) < share;
}
