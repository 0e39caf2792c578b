/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a broker, and what librabbitmq leaves to its callers:
 * capabilities, heartbeats, blocked connections, time-outs, memory. The thread
 * that owns the connection; amqp_conn_cut any.
 */
#include "bus/amqp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

#define CONNECT_MS 5000
#define HANDSHAKE_MS 10000
#define RPC_MS 30000		/* declaring a quorum queue may take its time */
#define CLOSE_MS 2000
#define FRAME_MAX 131072
#define CHANNELS 8
/* Where Debian and its kin keep them; the library knows no default. */
#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

void amqp_conn_init(struct amqp_conn *conn, const struct amqp_url *url, const char *name)
{
	memset(conn, 0, sizeof(*conn));
	conn->url = url;
	conn->name = name;
	conn->fd = -1;
	pthread_mutex_init(&conn->mutex, NULL);
}

void amqp_conn_fini(struct amqp_conn *conn)
{
	assert(conn->state == NULL);
	pthread_mutex_destroy(&conn->mutex);
}

/* --- what went wrong --- */

static const char *one_line(amqp_bytes_t text, char *out, size_t size)
{
	str_format(out, size, "%.*s", (int)(text.len < 700 ? text.len : 700), (const char *)text.bytes);
	return out;
}

static int closed_by_broker(struct amqp_conn *conn, const char *what, const amqp_method_t *method, struct error *err)
{
	char text[720];

	if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *close = method->decoded;
		/* 403 to 406: what was asked for cannot be had, however often it is asked for. */
		bool input = close->reply_code >= 403 && close->reply_code <= 406;

		return error_set(err, input ? ERR_INPUT : ERR_IO, "%s: the broker says: %s", what,
				 one_line(close->reply_text, text, sizeof(text)));
	}
	if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
		const amqp_connection_close_t *close = method->decoded;
		amqp_connection_close_ok_t ok;

		memset(&ok, 0, sizeof(ok));
		amqp_send_method(conn->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
		return error_set(err, ERR_IO, "%s: the broker closes the connection: %s", what,
				 one_line(close->reply_text, text, sizeof(text)));
	}
	return error_set(err, ERR_IO, "%s: unexpected method 0x%08X", what, method->id);
}

int amqp_conn_status(struct amqp_conn *conn, const char *what, int status, struct error *err)
{
	if (conn->cut)
		return error_set(err, ERR_CANCELLED, "%s: cut off", what);
	if (status == AMQP_STATUS_OK)
		return 0;
	return error_set(err, status == AMQP_STATUS_TIMEOUT ? ERR_TIMEOUT : ERR_IO, "%s: %s", what,
			 amqp_error_string2(status));
}

int amqp_conn_check(struct amqp_conn *conn, const char *what, amqp_rpc_reply_t reply, struct error *err)
{
	switch (reply.reply_type) {
	case AMQP_RESPONSE_NORMAL:
		return amqp_conn_status(conn, what, AMQP_STATUS_OK, err);
	case AMQP_RESPONSE_LIBRARY_EXCEPTION:
		return amqp_conn_status(conn, what, reply.library_error, err);
	case AMQP_RESPONSE_SERVER_EXCEPTION:
		return closed_by_broker(conn, what, &reply.reply, err);
	case AMQP_RESPONSE_NONE:
	default:
		return error_set(err, ERR_IO, "%s: the connection ended", what);
	}
}

/* --- connecting --- */

static struct timeval milliseconds(int64_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

static int new_socket(struct amqp_conn *conn, amqp_socket_t **socket_r, struct error *err)
{
	const struct amqp_url *url = conn->url;
	const char *ca = url->ca_file != NULL ? url->ca_file : SYSTEM_CA;

	if (!url->tls) {
		*socket_r = amqp_tcp_socket_new(conn->state);
		return *socket_r != NULL ? 0 : error_set(err, ERR_IO, "no socket");
	}
	*socket_r = amqp_ssl_socket_new(conn->state);
	if (*socket_r == NULL)
		return error_set(err, ERR_IO, "no TLS socket");
	amqp_ssl_socket_set_verify_peer(*socket_r, 1);
	amqp_ssl_socket_set_verify_hostname(*socket_r, 1);
	amqp_ssl_socket_set_ssl_versions(*socket_r, AMQP_TLSv1_2, AMQP_TLSvLATEST);
	if (amqp_ssl_socket_set_cacert(*socket_r, ca) != AMQP_STATUS_OK)
		return error_set(err, ERR_INPUT, "%s holds no certificate of an authority", ca);
	if (url->cert_file != NULL &&
	    amqp_ssl_socket_set_key(*socket_r, url->cert_file, url->key_file) != AMQP_STATUS_OK)
		return error_set(err, ERR_INPUT, "%s and %s are no certificate and its key", url->cert_file,
				 url->key_file);
	return 0;
}

static amqp_table_entry_t entry(const char *key, amqp_field_value_kind_t kind)
{
	return (amqp_table_entry_t){.key = amqp_cstring_bytes(key), .value = {.kind = (uint8_t)kind}};
}

/* Without being told that we understand it, the broker sends neither blocked nor a consumer's cancellation. */
static int login(struct amqp_conn *conn, struct error *err)
{
	static const char *const names[] = {"connection.blocked", "consumer_cancel_notify", "basic.nack",
					    "publisher_confirms", "authentication_failure_close"};
	enum { COUNT = sizeof(names) / sizeof(names[0]) };
	amqp_table_entry_t capabilities[COUNT], properties[3];
	amqp_table_t table = {.num_entries = 3, .entries = properties};

	for (size_t i = 0; i < COUNT; i++) {
		capabilities[i] = entry(names[i], AMQP_FIELD_KIND_BOOLEAN);
		capabilities[i].value.value.boolean = 1;
	}
	properties[0] = entry("capabilities", AMQP_FIELD_KIND_TABLE);
	properties[0].value.value.table = (amqp_table_t){.num_entries = COUNT, .entries = capabilities};
	properties[1] = entry("product", AMQP_FIELD_KIND_UTF8);
	properties[1].value.value.bytes = amqp_cstring_bytes("Sluice");
	properties[2] = entry("connection_name", AMQP_FIELD_KIND_UTF8);
	properties[2].value.value.bytes = amqp_cstring_bytes(conn->name);
	return amqp_conn_check(conn, "login",
			       amqp_login_with_properties(conn->state, conn->url->vhost, CHANNELS, FRAME_MAX,
							  conn->url->heartbeat_s, &table, AMQP_SASL_METHOD_PLAIN,
							  conn->url->user, conn->url->password),
			       err);
}

/* -1 when the connection was cut meanwhile. */
static int publish_fd(struct amqp_conn *conn, int fd)
{
	bool cut;

	pthread_mutex_lock(&conn->mutex);
	cut = conn->cut;
	conn->fd = fd;
	pthread_mutex_unlock(&conn->mutex);
	return cut ? -1 : 0;
}

static int connect_host(struct amqp_conn *conn, const struct server_host *host, struct error *err)
{
	struct timeval connect = milliseconds(CONNECT_MS), handshake = milliseconds(HANDSHAKE_MS);
	struct timeval rpc = milliseconds(RPC_MS);
	amqp_socket_t *socket;
	int on = 1;

	if (new_socket(conn, &socket, err) < 0)
		return -1;
	amqp_set_handshake_timeout(conn->state, &handshake);
	amqp_set_rpc_timeout(conn->state, &rpc);
	if (amqp_conn_status(conn, "connecting", amqp_socket_open_noblock(socket, host->name, host->port, &connect),
			     err) < 0)
		return -1;
	if (publish_fd(conn, amqp_get_sockfd(conn->state)) < 0)
		return error_set(err, ERR_CANCELLED, "cut off");
	setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (login(conn, err) < 0)
		return -1;
	amqp_channel_open(conn->state, AMQP_MAIN);
	return amqp_conn_check(conn, "opening a channel", amqp_get_rpc_reply(conn->state), err);
}

static void destroy(struct amqp_conn *conn)
{
	/* Not a number any more that another thread could shut down when it means something else. */
	publish_fd(conn, -1);
	amqp_destroy_connection(conn->state);
	conn->state = NULL;
}

int amqp_conn_open(struct amqp_conn *conn, struct error *err)
{
	const struct server_host *host = &conn->url->hosts[conn->host++ % conn->url->host_count];

	assert(conn->state == NULL);
	conn->blocked = false;
	conn->state = amqp_new_connection();
	if (conn->state == NULL)
		return error_set(err, ERR_IO, "no memory for a connection");
	if (connect_host(conn, host, err) < 0) {
		destroy(conn);
		return error_prefix(err, "broker %s:%d", host->name, host->port);
	}
	conn->sent_ms = clock_mono_ms();
	return 0;
}

void amqp_conn_close(struct amqp_conn *conn)
{
	struct timeval limit = milliseconds(CLOSE_MS);

	if (conn->state == NULL)
		return;
	amqp_set_rpc_timeout(conn->state, &limit);
	/* A blocked connection is not read by the broker: asking it to close would only take time. */
	if (!conn->blocked && !conn->cut)
		amqp_connection_close(conn->state, AMQP_REPLY_SUCCESS);
	destroy(conn);
}

void amqp_conn_cut(struct amqp_conn *conn)
{
	pthread_mutex_lock(&conn->mutex);
	conn->cut = true;
	if (conn->fd >= 0)
		shutdown(conn->fd, SHUT_RDWR);
	pthread_mutex_unlock(&conn->mutex);
}

/* --- frames --- */

/* true: the frame was about the connection and is done with. */
static bool handle_own(struct amqp_conn *conn, const amqp_frame_t *frame)
{
	const amqp_connection_blocked_t *blocked;

	if (frame->frame_type == AMQP_FRAME_HEARTBEAT)
		return true;
	if (frame->frame_type != AMQP_FRAME_METHOD || frame->channel != 0)
		return false;
	if (frame->payload.method.id == AMQP_CONNECTION_BLOCKED_METHOD) {
		blocked = frame->payload.method.decoded;
		conn->blocked = true;
		one_line(blocked->reason, conn->blocked_reason, sizeof(conn->blocked_reason));
		return true;
	}
	if (frame->payload.method.id == AMQP_CONNECTION_UNBLOCKED_METHOD) {
		conn->blocked = false;
		return true;
	}
	return false;
}

int amqp_conn_frame(struct amqp_conn *conn, amqp_frame_t *frame_r, struct error *err)
{
	struct timeval now = {0, 0};
	int status;

	do {
		status = amqp_simple_wait_frame_noblock(conn->state, frame_r, &now);
		if (status == AMQP_STATUS_TIMEOUT && !conn->cut)
			return 0;
		if (amqp_conn_status(conn, "reading", status, err) < 0)
			return -1;
	} while (handle_own(conn, frame_r));
	if (frame_r->frame_type == AMQP_FRAME_METHOD && frame_r->channel == 0)
		return closed_by_broker(conn, "reading", &frame_r->payload.method, err);
	return 1;
}

void amqp_conn_release(struct amqp_conn *conn, amqp_channel_t channel)
{
	amqp_maybe_release_buffers_on_channel(conn->state, channel);
}

int amqp_conn_beat(struct amqp_conn *conn, struct error *err)
{
	const amqp_frame_t beat = {.frame_type = AMQP_FRAME_HEARTBEAT, .channel = 0};
	int64_t now = clock_mono_ms();

	if (now - conn->sent_ms < amqp_conn_pause_ms(conn))
		return 0;
	conn->sent_ms = now;
	return amqp_conn_status(conn, "heartbeat", amqp_send_frame(conn->state, &beat), err);
}

int amqp_conn_pause_ms(const struct amqp_conn *conn)
{
	int agreed = conn->state != NULL ? amqp_get_heartbeat(conn->state) : 0;

	return agreed > 0 ? agreed * 1000 / 3 : 5000;
}

short amqp_conn_wait(struct amqp_conn *conn, short events, int wake, int timeout_ms)
{
	struct pollfd fds[2] = {{.fd = wake, .events = POLLIN}, {.fd = -1}};
	uint64_t count;

	if (conn->state != NULL) {
		fds[1] = (struct pollfd){.fd = amqp_get_sockfd(conn->state), .events = events};
		/* What the library has read already makes no socket readable. */
		if ((events & POLLIN) && (amqp_frames_enqueued(conn->state) || amqp_data_in_buffer(conn->state)))
			timeout_ms = 0;
	}
	if (poll(fds, 2, timeout_ms) < 0)
		return 0;
	if (fds[0].revents != 0 && read(wake, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN || errno == EINTR);
	return fds[1].revents;
}

/* --- properties and headers --- */

const char *amqp_text(struct arena *arena, amqp_bytes_t bytes)
{
	return arena_strndup(arena, bytes.bytes, bytes.len);
}

const amqp_field_value_t *amqp_header(const amqp_basic_properties_t *properties, const char *name)
{
	size_t len = strlen(name);

	if (!(properties->_flags & AMQP_BASIC_HEADERS_FLAG))
		return NULL;
	for (int i = 0; i < properties->headers.num_entries; i++) {
		const amqp_table_entry_t *header = &properties->headers.entries[i];

		if (header->key.len == len && memcmp(header->key.bytes, name, len) == 0)
			return &header->value;
	}
	return NULL;
}

int64_t amqp_header_int(const amqp_basic_properties_t *properties, const char *name)
{
	const amqp_field_value_t *value = amqp_header(properties, name);

	switch (value != NULL ? value->kind : 0) {
	case AMQP_FIELD_KIND_BOOLEAN: return value->value.boolean != 0;
	case AMQP_FIELD_KIND_I8: return value->value.i8;
	case AMQP_FIELD_KIND_U8: return value->value.u8;
	case AMQP_FIELD_KIND_I16: return value->value.i16;
	case AMQP_FIELD_KIND_U16: return value->value.u16;
	case AMQP_FIELD_KIND_I32: return value->value.i32;
	case AMQP_FIELD_KIND_U32: return value->value.u32;
	case AMQP_FIELD_KIND_I64: return value->value.i64;
	case AMQP_FIELD_KIND_U64: return (int64_t)value->value.u64;
	default: return 0;
	}
}
