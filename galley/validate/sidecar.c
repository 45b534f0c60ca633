#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "galley/validate/tls.h"
#include "istio/networking/v1alpha3/sidecar.pb-c.h"

static void port(const struct check *c, const char *path, const Nw__SidecarPort *p)
{
	check_port(c, at(c, "%s.number", path), p->number);
	if (!is_protocol(p->protocol))
		fault(c, at(c, "%s.protocol", path), "\"%s\" is not a protocol", p->protocol);
}

static void bind_address(
	const struct check *c, const char *path, const char *s, bool none, uint32_t number)
{
	if (mt_str_empty(s)) {
		if (none && number)
			remark(c, path, "is missing: with captureMode NONE it is every address");
		return;
	}
	if (mt_str_prefix(s, "unix://")) {
		if (number)
			fault(c, path, "a Unix socket has no port: leave number out");
		return;
	}
	check_address(c, path, s);
}

static void default_endpoint(const struct check *c, const char *path, const char *s)
{
	char host[256];
	uint16_t number;
	struct mt_ip ip;

	if (mt_str_empty(s) || mt_str_prefix(s, "unix://"))
		return;
	if (mt_hostport_parse(s, host, &number) < 0 || !number ||
		(*host && mt_ip_parse(host, &ip) < 0))
		fault(c, path, "\"%s\" is not ADDRESS:PORT or unix:///PATH", s);
}

static void ingress(const struct check *c, size_t i, const Nw__IstioIngressListener *l)
{
	const char *path = at(c, "spec.ingress[%zu]", i);

	if (!l->port) {
		fault(c, at(c, "%s.port", path), "is missing");
		return;
	}
	port(c, at(c, "%s.port", path), l->port);
	bind_address(c, at(c, "%s.bind", path), l->bind, l->capture_mode == NW__CAPTURE_MODE__NONE,
		l->port->number);
	default_endpoint(c, at(c, "%s.defaultEndpoint", path), l->default_endpoint);
	galley_check_server_tls(c, at(c, "%s.tls", path), l->tls);
}

/* "ns/host" with "*", "." or "~" for ns. */
static void egress_host(const struct check *c, const char *path, const char *s)
{
	const char *slash = strchr(s, '/');

	if (!slash) {
		fault(c, path, "\"%s\" is not NAMESPACE/HOST", s);
		return;
	}
	const char *ns = mt_arena_strndup(c->arena, s, (size_t)(slash - s));
	if (strcmp(ns, "*") != 0 && strcmp(ns, ".") != 0 && strcmp(ns, "~") != 0 && !is_label(ns))
		fault(c, path, "\"%s\" is not a namespace, \"*\", \".\" or \"~\"", ns);
	check_host(c, path, slash + 1, true);
}

static void egress(const struct check *c, size_t i, const Nw__IstioEgressListener *l, size_t n)
{
	const char *path = at(c, "spec.egress[%zu]", i);
	bool none = l->capture_mode == NW__CAPTURE_MODE__NONE;

	if (!l->n_hosts)
		fault(c, at(c, "%s.hosts", path), "is missing");
	for (size_t h = 0; h < l->n_hosts; h++)
		egress_host(c, at(c, "%s.hosts[%zu]", path, h), l->hosts[h]);
	if (!l->port) {
		if (!mt_str_empty(l->bind))
			fault(c, at(c, "%s.port", path), "is missing: bind needs it");
		if (i + 1 != n)
			fault(c, path,
				"has no port, so it is for all that no other listener takes: it must be the last");
		return;
	}
	if (!mt_str_prefix(l->bind ? l->bind : "", "unix://"))
		port(c, at(c, "%s.port", path), l->port);
	bind_address(c, at(c, "%s.bind", path), l->bind, none, l->port->number);
}

void galley_check_sidecar(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__Sidecar *s = (const Nw__Sidecar *)spec;

	for (size_t i = 0; i < s->n_ingress; i++)
		ingress(c, i, s->ingress[i]);
	for (size_t i = 0; i < s->n_egress; i++)
		egress(c, i, s->egress[i], s->n_egress);
}
