/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client: libcurl's multi interface driven by the event loop. curl says
 * which sockets to watch and when to be woken; after each step the finished
 * transfers are called back. The loop's thread.
 */
#include "http/http.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "http/internal.h"
#include "loop/loop.h"

struct socket {
	struct list node;
	struct http_client *client;
	struct loop_fd *watch;
};

static void global_init(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
}

void client_global_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, global_init);
}

static void deliver(struct http_transfer *t, CURLcode code)
{
	struct http_client *client = t->client;
	struct http_response *response;

	list_remove(&t->node);
	response = transfer_result(t, code);
	client->running--;
	client->inside++;
	t->fn(t->user, response, response ? NULL : &t->err);
	client->inside--;
	transfer_free(&t);
}

static void deliver_finished(struct http_client *client)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
		struct http_transfer *t = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
		curl_multi_remove_handle(client->multi, t->easy);
		deliver(t, code);
	}
}

static void step(struct http_client *client, curl_socket_t fd, int events)
{
	int running;
	CURLMcode code = curl_multi_socket_action(client->multi, fd, events, &running);

	assert(code == CURLM_OK);
	(void)code;
	deliver_finished(client);
}

static void on_ready(void *user, int fd, unsigned int events)
{
	struct socket *s = user;

	step(s->client, fd, (events & LOOP_READ ? CURL_CSELECT_IN : 0) |
			    (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(void *user)
{
	step(user, CURL_SOCKET_TIMEOUT, 0);
}

static void on_refuse_timer(void *user)
{
	struct http_client *client = user;

	while (!list_empty(&client->refused))
		deliver(list_entry(client->refused.next, struct http_transfer, node), CURLE_OK);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket)
{
	struct http_client *client = user;
	struct socket *s = socket;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s != NULL) {
			loop_fd_free(&s->watch);
			list_remove(&s->node);
			mem_free(&s);
			curl_multi_assign(client->multi, fd, NULL);
		}
		return 0;
	}
	if (s == NULL) {
		s = mem_alloc(sizeof(*s));
		s->client = client;
		s->watch = loop_fd_new(client->loop, fd, on_ready, s);
		list_append(&client->sockets, &s->node);
		curl_multi_assign(client->multi, fd, s);
	}
	loop_fd_watch(s->watch, (what & CURL_POLL_IN ? LOOP_READ : 0u) |
				(what & CURL_POLL_OUT ? LOOP_WRITE : 0u));
	return 0;
}

static int on_curl_timer(CURLM *multi, long delay_ms, void *user)
{
	struct http_client *client = user;

	(void)multi;
	if (delay_ms < 0)
		loop_timer_stop(client->timer);
	else
		loop_timer_start(client->timer, delay_ms, 0);
	return 0;
}

struct http_client *http_client_new(struct loop *loop, const struct http_options *options)
{
	struct http_client *client = mem_alloc(sizeof(*client));

	client_global_init();
	client->loop = loop;
	client->multi = curl_multi_init();
	if (client->multi == NULL)
		abort();
	client->timer = loop_timer_new(loop, on_timer, client);
	client->refuse_timer = loop_timer_new(loop, on_refuse_timer, client);
	list_init(&client->transfers);
	list_init(&client->refused);
	list_init(&client->sockets);
	client->user_agent = mem_strdup(options->user_agent ? options->user_agent : "sluice/" SLUICE_VERSION);
	client->ca_file = options->ca_file ? mem_strdup(options->ca_file) : NULL;
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)options->host_connections);
	return client;
}

void http_client_free(struct http_client **client)
{
	struct http_client *c = *client;

	if (c == NULL)
		return;
	assert(c->inside == 0);
	while (!list_empty(&c->transfers) || !list_empty(&c->refused)) {
		struct list *head = list_empty(&c->transfers) ? &c->refused : &c->transfers;
		struct http_transfer *t = list_entry(head->next, struct http_transfer, node);

		http_cancel(&t);
	}
	while (c->spare_count > 0)
		curl_easy_cleanup(c->spare[--c->spare_count]);
	curl_multi_cleanup(c->multi);
	assert(list_empty(&c->sockets));
	loop_timer_free(&c->timer);
	loop_timer_free(&c->refuse_timer);
	mem_free(&c->user_agent);
	mem_free(&c->ca_file);
	mem_free(client);
}

size_t http_running(const struct http_client *client)
{
	return client->running;
}

CURL *client_easy(struct http_client *client)
{
	CURL *easy = client->spare_count > 0 ? client->spare[--client->spare_count] : curl_easy_init();

	if (easy == NULL)
		abort();
	return easy;
}

void client_easy_done(struct http_client *client, CURL *easy)
{
	if (client->spare_count == SPARE_MAX) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	client->spare[client->spare_count++] = easy;
}

struct http_transfer *http_start(struct http_client *client, const struct http_request *request,
				 http_done_fn *fn, void *user)
{
	struct http_transfer *t = transfer_new(client, request);

	t->fn = fn;
	t->user = user;
	client->running++;
	if (t->easy == NULL) {
		list_append(&client->refused, &t->node);
		loop_timer_start(client->refuse_timer, 0, 0);
		return t;
	}
	list_append(&client->transfers, &t->node);
	if (curl_multi_add_handle(client->multi, t->easy) != CURLM_OK)
		abort();
	return t;
}

void http_cancel(struct http_transfer **transfer)
{
	struct http_transfer *t = *transfer;

	if (t == NULL)
		return;
	list_remove(&t->node);
	t->client->running--;
	if (t->easy != NULL)
		curl_multi_remove_handle(t->client->multi, t->easy);
	transfer_free(transfer);
}
