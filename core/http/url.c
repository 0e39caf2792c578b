/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, queries, Link headers and addresses. Pure functions; any thread. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/str.h"
#include "http/url.h"

static unsigned int default_port(const struct http_url *url)
{
	return url->tls ? 443 : 80;
}

/* ":8080" or nothing, up to end. */
static int parse_port(const char *text, const char *end, struct http_url *url)
{
	unsigned int port = 0;

	url->port = default_port(url);
	if (text == end)
		return 0;
	if (*text++ != ':')
		return -1;
	if (text == end)
		return 0;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		port = port * 10 + (unsigned int)(*text - '0');
		if (port > 65535)
			return -1;
	}
	url->port = port;
	return port > 0 ? 0 : -1;
}

/* Letters that some readers of URLs take for something else have no place in a host. */
static bool is_host(const char *text, size_t len)
{
	if (len >= 2 && text[0] == '[')
		return text[len - 1] == ']' && strspn(text + 1, "0123456789abcdefABCDEF:.") == len - 2;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= ' ' || strchr("\"#%/:<>?@[\\]^`{|}\x7f", text[i]) != NULL)
			return false;
	return len > 0;
}

int http_url_parse(const char *url, struct http_url *url_r)
{
	const char *end, *user_end, *host_end;

	memset(url_r, 0, sizeof(*url_r));
	if (url == NULL)
		return -1;
	if (strncasecmp(url, "https://", 8) == 0)
		url_r->tls = true;
	else if (strncasecmp(url, "http://", 7) != 0)
		return -1;
	url += url_r->tls ? 8 : 7;
	end = url + strcspn(url, "/?#");
	user_end = memrchr(url, '@', (size_t)(end - url));
	if (user_end != NULL) {
		if (memchr(url, '\\', (size_t)(user_end - url)) != NULL)
			return -1;
		url_r->has_user = true;
		url = user_end + 1;
	}
	host_end = *url == '[' ? memchr(url, ']', (size_t)(end - url)) : NULL;
	if (host_end != NULL)
		host_end++;
	else if ((host_end = memchr(url, ':', (size_t)(end - url))) == NULL)
		host_end = end;
	url_r->host = url;
	url_r->host_len = (size_t)(host_end - url);
	url_r->path = end;
	if (!is_host(url, url_r->host_len))
		return -1;
	return parse_port(host_end, end, url_r);
}

void http_url_origin(struct buf *out, const char *url)
{
	struct http_url parts;

	if (http_url_parse(url, &parts) < 0) {
		buf_addc(out, '?');
		return;
	}
	buf_adds(out, parts.tls ? "https://" : "http://");
	buf_add(out, parts.host, parts.host_len);
	if (parts.port != default_port(&parts))
		buf_printf(out, ":%u", parts.port);
}

bool http_same_origin(const char *a, const char *b)
{
	struct http_url left, right;

	return http_url_parse(a, &left) == 0 && http_url_parse(b, &right) == 0 && !left.has_user &&
	       !right.has_user && left.tls == right.tls && left.port == right.port &&
	       left.host_len == right.host_len && strncasecmp(left.host, right.host, left.host_len) == 0;
}

void http_add_form(struct buf *form, const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (form->len > 0 && form->data[form->len - 1] != '&' && form->data[form->len - 1] != '?')
		buf_addc(form, '&');
	str_url_encode(form, name, strlen(name));
	buf_addc(form, '=');
	str_url_encode(form, value, strlen(value));
}

void http_add_query(struct buf *url, const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (url->len == 0 || memchr(url->data, '?', url->len) == NULL)
		buf_addc(url, '?');
	http_add_form(url, name, value);
}

static const char *skip_space(const char *text)
{
	return text + strspn(text, " \t");
}

/* The end of a parameter's value, which starts at text: a token or a quoted string. */
static const char *value_end(const char *text)
{
	if (*text != '"')
		return text + strcspn(text, " \t;,");
	for (text++; *text != '\0' && *text != '"'; text++)
		if (*text == '\\' && text[1] != '\0')
			text++;
	return *text == '"' ? text + 1 : text;
}

/* Whether one of the space-separated relations is "next". */
static bool has_next(const char *text, size_t len)
{
	while (len > 0) {
		size_t word = 0;

		while (word < len && text[word] != ' ' && text[word] != '\t' && text[word] != '"')
			word++;
		if (word == 4 && strncasecmp(text, "next", 4) == 0)
			return true;
		word += word < len;
		text += word;
		len -= word;
	}
	return false;
}

/* Reads the parameters of one link; returns where they end. Only the first rel counts. */
static const char *link_parameters(const char *text, bool *next_r)
{
	bool seen = false;

	*next_r = false;
	while (*(text = skip_space(text)) == ';') {
		const char *name = skip_space(text + 1), *value;
		size_t len = strcspn(name, " \t=;,");
		bool rel = len == 3 && strncasecmp(name, "rel", 3) == 0;

		text = skip_space(name + len);
		if (*text != '=')
			continue;
		value = skip_space(text + 1);
		text = value_end(value);
		if (rel && !seen) {
			seen = true;
			*next_r = has_next(value, (size_t)(text - value));
		}
	}
	return text;
}

const char *http_link_next(const char *link_header, size_t *len_r)
{
	const char *text = link_header;

	*len_r = 0;
	while (text != NULL && *(text += strspn(text, " \t,")) == '<') {
		const char *target = text + 1, *end = strchr(target, '>');
		bool next;

		if (end == NULL)
			return NULL;
		text = link_parameters(end + 1, &next);
		if (next) {
			*len_r = (size_t)(end - target);
			return target;
		}
	}
	return NULL;
}

static bool public_v4(const unsigned char *bytes)
{
	/* IANA special-purpose address registry: what is not globally reachable, and what is no host. */
	static const struct {
		uint32_t net;
		int bits;
	} others[] = {
		{0x00000000, 8}, {0x0a000000, 8}, {0x64400000, 10}, {0x7f000000, 8}, {0xa9fe0000, 16},
		{0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
		{0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 3},
	};
	uint32_t address = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
			   (uint32_t)bytes[2] << 8 | bytes[3];

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if ((address ^ others[i].net) >> (32 - others[i].bits) == 0)
			return false;
	return true;
}

static bool public_v6(const unsigned char *bytes)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};

	if (memcmp(bytes, mapped, sizeof(mapped)) == 0 || memcmp(bytes, nat64, sizeof(nat64)) == 0)
		return public_v4(bytes + 12);
	if ((bytes[0] & 0xe0) != 0x20)
		return false;			/* not global unicast */
	if (bytes[0] == 0x20 && bytes[1] == 0x02)
		return public_v4(bytes + 2);	/* 6to4 */
	if (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] < 0x02)
		return false;			/* protocol assignments: Teredo, ORCHID, benchmarking */
	if (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] == 0x0d && bytes[3] == 0xb8)
		return false;			/* documentation */
	return !(bytes[0] == 0x3f && bytes[1] == 0xff && bytes[2] < 0x10);
}

bool http_address_public(const struct sockaddr *address)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	switch (address->sa_family) {
	case AF_INET:
		memcpy(&v4, address, sizeof(v4));
		return public_v4((const unsigned char *)&v4.sin_addr);
	case AF_INET6:
		memcpy(&v6, address, sizeof(v6));
		return public_v6(v6.sin6_addr.s6_addr);
	default:
		return false;
	}
}

bool http_address_text_public(const char *address)
{
	unsigned char bytes[16];

	if (inet_pton(AF_INET, address, bytes) == 1)
		return public_v4(bytes);
	return inet_pton(AF_INET6, address, bytes) == 1 && public_v6(bytes);
}
