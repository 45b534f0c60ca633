#include <string.h>
#include <strings.h>

#include "common/base/strs.h"
#include "galley/validate/tls.h"

static bool is_tls(const char *protocol)
{
	return strcasecmp(protocol, "HTTPS") == 0 || strcasecmp(protocol, "TLS") == 0;
}

/* "ns/host", "./host", "*" + "/host" or a host alone. */
static void server_host(const struct check *c, const char *path, const char *s)
{
	const char *slash = strchr(s, '/');

	if (slash) {
		const char *ns = mt_arena_strndup(c->arena, s, (size_t)(slash - s));
		if (strcmp(ns, "*") != 0 && strcmp(ns, ".") != 0 && !is_label(ns))
			fault(c, path, "\"%s\" is not a namespace, \".\" or \"*\"", ns);
		s = slash + 1;
	}
	check_host(c, path, s, true);
}

static bool is_plain_http(const char *protocol)
{
	static const char *const http[] = { "HTTP", "HTTP2", "GRPC", "GRPC-WEB" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(http); i++)
		if (strcasecmp(http[i], protocol) == 0)
			return true;
	return false;
}

static bool serves(const char *protocol)
{
	static const char *const more[] = { "HTTPS", "TLS", "TCP", "MONGO" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(more); i++)
		if (strcasecmp(more[i], protocol) == 0)
			return true;
	return is_plain_http(protocol);
}

static void bind_to(const struct check *c, const char *path, const Nw__Server *s)
{
	bool unix_socket = mt_str_prefix(s->bind, "unix://");

	if (unix_socket && s->bind[7] != '/' && s->bind[7] != '@')
		fault(c, at(c, "%s.bind", path), "a Unix socket has an absolute path");
	else if (!unix_socket && !mt_str_empty(s->bind))
		check_address(c, at(c, "%s.bind", path), s->bind);
	if (unix_socket && s->port->number)
		fault(c, at(c, "%s.port.number", path), "a Unix socket has no port: leave it out");
	if (!unix_socket)
		check_port(c, at(c, "%s.port.number", path), s->port->number);
}

static void server_tls(const struct check *c, const char *path, const Nw__Server *s)
{
	const Nw__ServerTLSSettings *t = s->tls;

	if (is_tls(s->port->protocol) && !t)
		fault(c, at(c, "%s.tls", path), "is missing: protocol %s needs it",
			s->port->protocol);
	if (t && is_plain_http(s->port->protocol) && !t->https_redirect &&
		t->mode != NW__SERVER_TLSSETTINGS__TLSMODE__PASSTHROUGH)
		fault(c, at(c, "%s.tls", path), "has no place with protocol %s: use HTTPS",
			s->port->protocol);
	if (t && t->https_redirect && !is_plain_http(s->port->protocol))
		remark(c, at(c, "%s.tls.httpsRedirect", path), "has no effect with protocol %s",
			s->port->protocol);
	if (t && t->mode == NW__SERVER_TLSSETTINGS__TLSMODE__AUTO_PASSTHROUGH &&
		!is_tls(s->port->protocol))
		fault(c, at(c, "%s.tls.mode", path), "AUTO_PASSTHROUGH needs protocol TLS");
	galley_check_server_tls(c, at(c, "%s.tls", path), t);
}

static void server(const struct check *c, size_t i, const Nw__Server *s)
{
	const char *path = at(c, "spec.servers[%zu]", i);

	if (!s->port) {
		fault(c, at(c, "%s.port", path), "is missing");
		return;
	}
	bind_to(c, path, s);
	if (!serves(s->port->protocol))
		fault(c, at(c, "%s.port.protocol", path),
			"\"%s\" is not HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS",
			s->port->protocol);
	if (!mt_str_empty(s->port->name) && !is_label(s->port->name))
		fault(c, at(c, "%s.port.name", path), "\"%s\" is not a port name", s->port->name);
	if (!s->n_hosts)
		fault(c, at(c, "%s.hosts", path), "is missing");
	for (size_t h = 0; h < s->n_hosts; h++)
		server_host(c, at(c, "%s.hosts[%zu]", path, h), s->hosts[h]);
	if (!mt_str_empty(s->default_endpoint))
		remark(c, at(c, "%s.defaultEndpoint", path), "has no effect: routes decide");
	server_tls(c, path, s);
}

/* Port names tell the routes of HTTPS servers apart; names of servers their statistics. */
static void unique(const struct check *c, const Nw__Gateway *g, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		const Nw__Server *a = g->servers[k], *b = g->servers[i];
		if (a->port && b->port && !mt_str_empty(b->port->name) &&
			strcmp(a->port->name, b->port->name) == 0)
			fault(c, at(c, "spec.servers[%zu].port.name", i),
				"\"%s\" stands here twice", b->port->name);
		if (!mt_str_empty(b->name) && strcmp(a->name, b->name) == 0)
			fault(c, at(c, "spec.servers[%zu].name", i), "\"%s\" stands here twice",
				b->name);
	}
}

void galley_check_gateway(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__Gateway *g = (const Nw__Gateway *)spec;

	if (!g->n_servers)
		fault(c, "spec.servers", "is missing");
	for (size_t i = 0; i < g->n_servers; i++)
		server(c, i, g->servers[i]);
	for (size_t i = 0; i < g->n_servers; i++)
		unique(c, g, i);
	for (size_t i = 0; i < g->n_selector; i++)
		check_label(c, at(c, "spec.selector.%s", g->selector[i]->key), g->selector[i]->key,
			g->selector[i]->value);
}
