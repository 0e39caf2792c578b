/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: STATE/control.sock, for the daemon's own user. A client
 * sends one JSON object on one line and gets one JSON object back:
 *
 *     {"cmd":"status"}            the daemon's state
 *     {"cmd":"nudge","nudge":[…]} tasks of these flows are waiting
 *     {"cmd":"stop"}              drain and leave
 *     {"cmd":"source","source":…,"stopped":…} no requests to it, or requests again
 *     {"cmd":"reload","check":…}  read the configuration again, or tell what would change
 *     {"cmd":"query","sql":…}     handed to the sink process with the connection
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <signal.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "loop/loop.h"
#include "role/channel.h"
#include "supervisor/supervisor.h"

#define CLIENT_TIMEOUT_MS 10000
#define CLIENTS_MAX 64

struct control {
	struct supervisor *supervisor;
	char path[108];
	int fd;
	struct loop_fd *watch;
	struct list clients;
	size_t client_count;
	struct client *reloader;	/* waits for control_reloaded; NULL: nobody, or gone */
};

struct client {
	struct list node;
	struct control *control;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *deadline;
	struct buf in, out;
	size_t sent;
};

static void client_free(struct client *client)
{
	list_remove(&client->node);
	if (client->control->reloader == client)
		client->control->reloader = NULL;
	client->control->client_count--;
	loop_fd_free(&client->watch);
	loop_timer_free(&client->deadline);
	if (client->fd >= 0)
		close(client->fd);
	buf_fini(&client->in);
	buf_fini(&client->out);
	mem_release(client);
}

static void on_deadline(void *user)
{
	client_free(user);
}

static void answer_error(struct client *client, const char *text)
{
	struct jwrite w;

	jwrite_init(&w, &client->out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "error", text);
	jwrite_end(&w);
}

/* The sink answers on the connection itself; ours is only closed. Returns true when it was handed over. */
static bool hand_over(struct client *client)
{
	struct child *sink = supervisor_find(client->control->supervisor, "sink");

	if (sink == NULL) {
		answer_error(client, "no sink process is ready: the warehouse cannot be asked now");
		return false;
	}
	if (child_send(sink, client->in.data, client->fd) != 0) {
		answer_error(client, "the sink process takes no further queries now");
		return false;
	}
	return true;
}

/* Returns true when the answer comes later. */
static bool reload(struct client *client, const struct json *request)
{
	struct control *control = client->control;
	struct error err;
	bool only_check = false;

	json_bool(json_member(request, "check"), &only_check);
	if (reload_ask(control->supervisor, only_check, &err) != 0) {
		answer_error(client, err.text);
		return false;
	}
	control->reloader = client;
	loop_timer_start(client->deadline, CHECK_TIMEOUT_MS + CLIENT_TIMEOUT_MS, 0);
	return true;
}

enum served { ANSWERED, LATER, HANDED_OVER };

/* Carries out one request. */
static enum served serve(struct client *client)
{
	struct supervisor *supervisor = client->control->supervisor;
	struct error err;
	struct json_doc *doc = json_parse(client->in.data, client->in.len, &err);
	const char *cmd = doc != NULL ? json_string(json_member(json_root(doc), "cmd"), NULL) : NULL;
	enum served served = ANSWERED;

	if (doc == NULL) {
		answer_error(client, err.text);
	} else if (str_eq(cmd, "status")) {
		supervisor_status(supervisor, &client->out);
	} else if (str_eq(cmd, "nudge")) {
		supervisor_nudge(supervisor, client->in.data);
		buf_adds(&client->out, "{}");
	} else if (str_eq(cmd, "stop")) {
		buf_adds(&client->out, "{}");
		kill(getpid(), SIGTERM);
	} else if (str_eq(cmd, "query")) {
		served = hand_over(client) ? HANDED_OVER : ANSWERED;
	} else if (str_eq(cmd, "reload")) {
		served = reload(client, json_root(doc)) ? LATER : ANSWERED;
	} else {
		answer_error(client, "unknown command: known are status, nudge, query, reload and stop");
	}
	json_doc_free(&doc);
	return served;
}

static void client_write(struct client *client)
{
	while (client->sent < client->out.len) {
		ssize_t n = send(client->fd, client->out.data + client->sent, client->out.len - client->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			loop_fd_watch(client->watch, LOOP_WRITE);
			return;
		}
		if (n <= 0)
			break;
		client->sent += (size_t)n;
	}
	client_free(client);
}

static void on_client(void *user, int fd, unsigned int events)
{
	struct client *client = user;
	char *end;
	ssize_t n;

	if ((events & LOOP_WRITE) != 0 && client->out.len > 0) {
		client_write(client);
		return;
	}
	n = recv(fd, buf_reserve(&client->in, 16384), 16384, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || client->in.len + (size_t)n > CHANNEL_MAX) {
		client_free(client);
		return;
	}
	client->in.len += (size_t)n;
	client->in.data[client->in.len] = '\0';
	end = memchr(client->in.data, '\n', client->in.len);
	if (end == NULL)
		return;
	*end = '\0';
	client->in.len = (size_t)(end - client->in.data);
	loop_fd_watch(client->watch, 0);
	switch (serve(client)) {
	case HANDED_OVER:
		client_free(client);
		break;
	case LATER:
		break;
	case ANSWERED:
	default:
		buf_addc(&client->out, '\n');
		client_write(client);
		break;
	}
}

void control_reloaded(struct control *control, const struct buf *answer)
{
	struct client *client = control->reloader;

	if (client == NULL)
		return;
	control->reloader = NULL;
	loop_timer_start(client->deadline, CLIENT_TIMEOUT_MS, 0);
	buf_add(&client->out, answer->data, answer->len);
	buf_addc(&client->out, '\n');
	client_write(client);
}

static void on_connection(void *user, int fd, unsigned int events)
{
	struct control *control = user;
	struct client *client;
	int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (connection < 0)
		return;
	if (control->client_count >= CLIENTS_MAX) {
		close(connection);
		return;
	}
	client = mem_alloc(sizeof(*client));
	client->control = control;
	client->fd = connection;
	buf_init(&client->in);
	buf_init(&client->out);
	list_append(&control->clients, &client->node);
	control->client_count++;
	client->watch = loop_fd_new(control->supervisor->loop, connection, on_client, client);
	client->deadline = loop_timer_new(control->supervisor->loop, on_deadline, client);
	loop_timer_start(client->deadline, CLIENT_TIMEOUT_MS, 0);
	loop_fd_watch(client->watch, LOOP_READ);
}

struct control *control_new(struct supervisor *supervisor, struct error *err)
{
	struct control *control = mem_alloc(sizeof(*control));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;

	control->supervisor = supervisor;
	list_init(&control->clients);
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (!str_format(control->path, sizeof(control->path), "%s/control.sock", supervisor->conf->state)) {
		error_set(err, ERR_INPUT, "the state directory's path is too long for a socket: %s",
			  supervisor->conf->state);
		goto fail;
	}
	memcpy(address.sun_path, control->path, sizeof(control->path));
	/* Ours by the lock of the state directory: what is left is a dead daemon's. */
	unlink(control->path);
	mask = umask(0177);
	if (control->fd < 0 || bind(control->fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(control->fd, 64) != 0) {
		umask(mask);
		error_errno(err, "%s", control->path);
		goto fail;
	}
	umask(mask);
	control->watch = loop_fd_new(supervisor->loop, control->fd, on_connection, control);
	loop_fd_watch(control->watch, LOOP_READ);
	return control;
fail:
	if (control->fd >= 0)
		close(control->fd);
	mem_release(control);
	return NULL;
}

void control_free(struct control **control)
{
	struct list *node, *next;

	if (*control == NULL)
		return;
	list_each_safe(node, next, &(*control)->clients)
		client_free(list_entry(node, struct client, node));
	loop_fd_free(&(*control)->watch);
	close((*control)->fd);
	unlink((*control)->path);
	mem_free(control);
}
