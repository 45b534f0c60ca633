#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "galley/validate/tls.h"
#include "galley/validate/workload.h"

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

static const char no_localhost[] = "has no effect: the way to the application is in plaintext";

static void ingress_tls(const struct check *c, const char *path, const Nw__ServerTLSSettings *t)
{
	if (!t)
		return;
	if (t->https_redirect)
		fault(c, at(c, "%s.httpsRedirect", path), "has no place in an ingress listener");
	if (t->mode != NW__SERVER_TLSSETTINGS__TLSMODE__SIMPLE &&
		t->mode != NW__SERVER_TLSSETTINGS__TLSMODE__MUTUAL &&
		t->mode != NW__SERVER_TLSSETTINGS__TLSMODE__OPTIONAL_MUTUAL)
		fault(c, at(c, "%s.mode", path),
			"is not SIMPLE, MUTUAL or OPTIONAL_MUTUAL: others have no place in an ingress listener");
	else
		galley_check_server_tls(c, path, t);
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
	ingress_tls(c, at(c, "%s.tls", path), l->tls);
	if (l->localhost_client_tls)
		remark(c, at(c, "%s.localhostClientTls", path), "%s", no_localhost);
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
	if (l->localhost_server_tls)
		remark(c, at(c, "%s.localhostServerTls", path), "%s", no_localhost);
	if (mt_str_prefix(l->bind, "unix://") && l->capture_mode == NW__CAPTURE_MODE__IPTABLES)
		fault(c, at(c, "%s.captureMode", path), "nothing is captured on a Unix socket");
	if (!mt_str_prefix(l->bind, "unix://"))
		port(c, at(c, "%s.port", path), l->port);
	bind_address(c, at(c, "%s.bind", path), l->bind, none, l->port->number);
}

/* Two listeners on one address would be one. */
static void unique(const struct check *c, const Nw__Sidecar *s)
{
	for (size_t i = 0; i < s->n_ingress; i++)
		for (size_t k = 0; k < i; k++)
			if (s->ingress[i]->port && s->ingress[k]->port &&
				s->ingress[i]->port->number == s->ingress[k]->port->number &&
				strcmp(s->ingress[i]->bind, s->ingress[k]->bind) == 0)
				fault(c, at(c, "spec.ingress[%zu].port.number", i),
					"%u stands here twice", s->ingress[i]->port->number);
	for (size_t i = 0; i < s->n_egress; i++)
		for (size_t k = 0; k < i; k++)
			if (s->egress[i]->port && s->egress[k]->port &&
				s->egress[i]->port->number == s->egress[k]->port->number &&
				strcmp(s->egress[i]->bind, s->egress[k]->bind) == 0)
				fault(c, at(c, "spec.egress[%zu].port.number", i),
					"%u stands here twice", s->egress[i]->port->number);
}

static void outbound_policy(const struct check *c, const Nw__OutboundTrafficPolicy *p)
{
	if (!p || !p->egress_proxy)
		return;
	if (p->mode != NW__OUTBOUND_TRAFFIC_POLICY__MODE__ALLOW_ANY)
		fault(c, "spec.outboundTrafficPolicy.egressProxy", "needs mode ALLOW_ANY");
	check_destination(c, "spec.outboundTrafficPolicy.egressProxy", p->egress_proxy);
	if (is_label(p->egress_proxy->host))
		fault(c, "spec.outboundTrafficPolicy.egressProxy.host",
			"\"%s\" is not written in full", p->egress_proxy->host);
	if (!p->egress_proxy->port)
		fault(c, "spec.outboundTrafficPolicy.egressProxy.port", "is missing");
}

void galley_check_sidecar(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__Sidecar *s = (const Nw__Sidecar *)spec;

	for (size_t i = 0; i < s->n_ingress; i++)
		ingress(c, i, s->ingress[i]);
	for (size_t i = 0; i < s->n_egress; i++)
		egress(c, i, s->egress[i], s->n_egress);
	unique(c, s);
	outbound_policy(c, s->outbound_traffic_policy);
	galley_check_workload_selector(c, "spec.workloadSelector", s->workload_selector);
	if (s->localhost)
		remark(c, "spec.localhost", "%s", no_localhost);
}
