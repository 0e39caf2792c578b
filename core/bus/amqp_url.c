/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the URL of RabbitMQ brokers apart. Pure; any thread. */
#include "base/num.h"
#include "base/scheme.h"
#include "base/str.h"
#include "bus/amqp.h"

#define SHAPE "amqp://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]...][/VHOST][?OPTION=VALUE], the \"/\" of a vhost as %2f"
#define PORT 5672
#define TLS_PORT 5671
#define HEARTBEAT_S 10
#define HEARTBEAT_MAX_S 600

static int take_option(const char *name, const char *value, struct amqp_url *url, struct error *err)
{
	int64_t seconds;

	if (str_eq(name, "queues")) {
		url->quorum = str_eq(value, "quorum");
		if (url->quorum || str_eq(value, "classic"))
			return 0;
		return error_set(err, ERR_INPUT, "queues=%s: known are classic and quorum", value);
	}
	if (str_eq(name, "heartbeat")) {
		if (num_parse_int(value, &seconds) < 0 || seconds < 1 || seconds > HEARTBEAT_MAX_S)
			return error_set(err, ERR_INPUT, "heartbeat=%s: 1 to %d seconds", value, HEARTBEAT_MAX_S);
		url->heartbeat_s = (int)seconds;
		return 0;
	}
	if (str_eq(name, "ca"))
		url->ca_file = value;
	else if (str_eq(name, "cert"))
		url->cert_file = value;
	else if (str_eq(name, "key"))
		url->key_file = value;
	else
		return error_set(err, ERR_INPUT, "unknown option \"%s\": known are queues, heartbeat, ca, cert and key",
				 name);
	return 0;
}

int amqp_url_parse(const char *url, struct arena *arena, struct amqp_url *url_r, struct error *err)
{
	bool tls = str_starts(url, "amqps:");
	struct server_url parts;

	*url_r = (struct amqp_url){.tls = tls, .heartbeat_s = HEARTBEAT_S};
	if (server_url_parse(scheme_rest(url), SHAPE, tls ? TLS_PORT : PORT, arena, &parts, err) < 0)
		return -1;
	url_r->user = parts.user != NULL ? parts.user : "guest";
	url_r->password = parts.password != NULL ? parts.password : "guest";
	url_r->vhost = parts.path != NULL ? parts.path : "/";
	url_r->hosts = parts.hosts;
	url_r->host_count = parts.host_count;
	for (size_t i = 0; i < parts.option_count; i++)
		if (take_option(parts.options[i].name, parts.options[i].value, url_r, err) < 0)
			return -1;
	if ((url_r->cert_file == NULL) != (url_r->key_file == NULL))
		return error_set(err, ERR_INPUT, "cert and key are given together or not at all");
	return 0;
}
