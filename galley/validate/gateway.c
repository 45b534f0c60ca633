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

static void server(const struct check *c, size_t i, const Nw__Server *s)
{
	const char *path = at(c, "spec.servers[%zu]", i);

	if (!s->port) {
		fault(c, at(c, "%s.port", path), "is missing");
		return;
	}
	check_port(c, at(c, "%s.port.number", path), s->port->number);
	if (mt_str_empty(s->port->protocol) || !is_protocol(s->port->protocol))
		fault(c, at(c, "%s.port.protocol", path),
			"\"%s\" is not HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS",
			s->port->protocol);
	if (!mt_str_empty(s->port->name) && !is_label(s->port->name))
		fault(c, at(c, "%s.port.name", path), "\"%s\" is not a port name", s->port->name);
	if (!s->n_hosts)
		fault(c, at(c, "%s.hosts", path), "is missing");
	for (size_t h = 0; h < s->n_hosts; h++)
		server_host(c, at(c, "%s.hosts[%zu]", path, h), s->hosts[h]);
	if (!mt_str_empty(s->bind))
		check_address(c, at(c, "%s.bind", path), s->bind);
	if (is_tls(s->port->protocol) && !s->tls)
		fault(c, at(c, "%s.tls", path), "is missing: protocol %s needs it",
			s->port->protocol);
	if (s->tls && !is_tls(s->port->protocol) && !s->tls->https_redirect &&
		s->tls->mode != NW__SERVER_TLSSETTINGS__TLSMODE__PASSTHROUGH)
		remark(c, at(c, "%s.tls", path), "has no effect with protocol %s",
			s->port->protocol);
	galley_check_server_tls(c, at(c, "%s.tls", path), s->tls);
}

void galley_check_gateway(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__Gateway *g = (const Nw__Gateway *)spec;

	if (!g->n_servers)
		fault(c, "spec.servers", "is missing");
	for (size_t i = 0; i < g->n_servers; i++)
		server(c, i, g->servers[i]);
}
