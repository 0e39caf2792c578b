/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking client: the transfers of http.c, each performed at once on the
 * one handle that keeps the connections. The thread of its owner.
 */
#include "http/http_sync.h"

#include <assert.h>
#include <string.h>

#include "http/internal.h"

/* Servers close a connection that idles for 3 s or more; one that was idle this long is not used again. */
#define REUSE_S 2L
/* With these last bytes missing a compressed body may still be whole for the server. */
#define TAIL_BYTES 64

struct http_sync {
	struct http_client client;	/* without a loop: only what transfers need */
};

/* A body on its way out. */
struct upload {
	const struct http_piece *pieces;
	size_t piece_count, piece, at;
	size_t total, taken;
};

struct http_sync *http_sync_new(const char *ca_file)
{
	struct http_sync *sync = mem_alloc(sizeof(*sync));

	client_global_init();
	sync->client.user_agent = mem_strdup("sluice/" SLUICE_VERSION);
	sync->client.ca_file = ca_file ? mem_strdup(ca_file) : NULL;
	return sync;
}

void http_sync_free(struct http_sync **handle)
{
	struct http_sync *sync = *handle;

	if (sync == NULL)
		return;
	while (sync->client.spare_count > 0)
		curl_easy_cleanup(sync->client.spare[--sync->client.spare_count]);
	mem_free(&sync->client.user_agent);
	mem_free(&sync->client.ca_file);
	mem_free(handle);
}

static size_t on_read(char *out, size_t size, size_t count, void *user)
{
	struct upload *upload = user;
	size_t room = size * count, done = 0;

	while (done < room && upload->piece < upload->piece_count) {
		const struct http_piece *piece = &upload->pieces[upload->piece];
		size_t len = piece->len - upload->at < room - done ? piece->len - upload->at : room - done;

		if (len > 0)
			memcpy(out + done, (const char *)piece->bytes + upload->at, len);
		done += len;
		upload->at += len;
		if (upload->at == piece->len) {
			upload->piece++;
			upload->at = 0;
		}
	}
	upload->taken += done;
	return done;
}

/*
 * Without a way to rewind the body curl cannot send it again by itself when a
 * kept connection turns out to be dead: an insert would arrive twice.
 */
static void set_upload(struct http_transfer *t, struct upload *upload)
{
	CURLcode code = curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, NULL);

	for (size_t i = 0; i < upload->piece_count; i++)
		upload->total += upload->pieces[i].len;
	code |= curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
	code |= curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)upload->total);
	code |= curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, on_read);
	code |= curl_easy_setopt(t->easy, CURLOPT_READDATA, upload);
	code |= curl_easy_setopt(t->easy, CURLOPT_MAXAGE_CONN, REUSE_S);
	/* The newer version would share one connection and gain nothing. */
	code |= curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	assert(code == CURLE_OK);
	(void)code;
}

static enum http_sent how_far(const struct http_transfer *t, const struct upload *upload)
{
	if (!t->began)
		return HTTP_SENT_NOTHING;
	return upload->taken + TAIL_BYTES > upload->total ? HTTP_SENT_ALL : HTTP_SENT_PART;
}

struct http_response *http_sync_post(struct http_sync *sync, const struct http_sync_request *request,
				     enum http_sent *sent_r, struct error *err)
{
	const struct http_request head = {
		.method = "POST", .url = request->url, .headers = request->headers,
		.timeout_ms = request->timeout_ms, .connect_timeout_ms = request->connect_timeout_ms,
		.max_body = request->max_body
	};
	struct http_transfer *t = transfer_new(&sync->client, &head);
	struct upload upload = { .pieces = request->pieces, .piece_count = request->piece_count };
	struct http_response *response = NULL;

	*sent_r = HTTP_SENT_NOTHING;
	if (t->easy != NULL) {
		set_upload(t, &upload);
		response = transfer_result(t, curl_easy_perform(t->easy));
		*sent_r = response != NULL ? HTTP_SENT_ALL : how_far(t, &upload);
	}
	if (response == NULL)
		error_set(err, t->err.code, "%s", t->err.text);
	transfer_free(&t);
	return response;
}
