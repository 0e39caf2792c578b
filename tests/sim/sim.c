/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers for endpoints. Server threads. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/num.h"

const char *sim_query(struct sim_request *request, const char *name)
{
	const char *value = httpd_query(request->http, name);

	return value ? value : "";
}

unsigned int sim_query_count(struct sim_request *request, const char *name, unsigned int fallback,
			     unsigned int most)
{
	int64_t value;

	if (num_parse_int(sim_query(request, name), &value) < 0 || value < 1)
		return fallback;
	return value > (int64_t)most ? most : (unsigned int)value;
}

int64_t sim_query_time(struct sim_request *request, const char *name, int64_t fallback)
{
	const char *text = sim_query(request, name);
	int64_t ms;

	return text[0] && clock_parse(text, strlen(text), &ms) == 0 ? ms / 1000 : fallback;
}

void sim_set(char out[SIM_TEXT], const char *text)
{
	const size_t len = strnlen(text, SIM_TEXT - 1);

	memcpy(out, text, len);
	out[len] = '\0';
}

void sim_served(struct sim_request *request, enum entity_kind kind, uint64_t number)
{
	if (request->served_count == request->served_cap) {
		request->served_cap = request->served_cap ? 2 * request->served_cap : 16;
		request->served = mem_realloc(request->served, request->served_cap * sizeof(*request->served));
	}
	request->served[request->served_count++] = (struct entity){kind, number};
}

void sim_header(struct sim_request *request, const char *name, const char *fmt, ...)
{
	const size_t at = request->header_count;
	va_list ap;

	if (at == SIM_HEADERS)
		return;
	va_start(ap, fmt);
	vsnprintf(request->header_text[at], sizeof(request->header_text[at]), fmt, ap);
	va_end(ap);
	sim_set(request->header_name[at], name);
	request->headers[at] = (struct httpd_header){request->header_name[at], request->header_text[at]};
	request->header_count++;
}

void sim_fixed(struct sim_request *request, unsigned int status, const char *body)
{
	request->status = status;
	for (const char *c = body; *c; c++)
		buf_addc(&request->body, *c == '\'' ? '"' : *c);
}

int64_t sim_place(struct sim_request *request, const char *cursor, uint32_t n)
{
	const int64_t place = cursor[0] ? cursor_place(cursor, n) : 0;

	if (place < 0)
		sim_fixed(request, 400, "{'error':{'code':400,'message':'The request specifies an invalid page token.',"
			  "'errors':[{'message':'The request specifies an invalid page token.','domain':"
			  "'youtube.parameter','reason':'invalidPageToken'}]},'status':'fail'}");
	return place;
}
