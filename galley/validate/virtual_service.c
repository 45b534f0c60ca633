/* VirtualService: hosts, gateways, and its TCP and TLS routes. HTTP routes are in http_route.c. */
#include <string.h>
#include <strings.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "galley/validate/check.h"
#include "galley/validate/http_route.h"

static void l4_destinations(
	const struct check *c, const char *path, Nw__RouteDestination *const *v, size_t n)
{
	int64_t sum = 0;

	if (!n)
		fault(c, at(c, "%s.route", path), "is missing: say where to");
	for (size_t i = 0; i < n; i++) {
		check_destination(
			c, at(c, "%s.route[%zu].destination", path, i), v[i]->destination);
		if (v[i]->weight < 0)
			fault(c, at(c, "%s.route[%zu].weight", path, i), "must not be negative");
		sum += v[i]->weight;
	}
	if (sum > UINT32_MAX)
		fault(c, at(c, "%s.route", path), "the weights add up to more than 4294967295");
	if (n > 1 && sum <= 0)
		fault(c, at(c, "%s.route", path), "the weights of %zu destinations are all zero",
			n);
}

/* A short host may stand for any name of the mesh. */
static bool is_of_hosts(const Nw__VirtualService *vs, const char *sni)
{
	for (size_t i = 0; i < vs->n_hosts; i++) {
		const char *h = vs->hosts[i];
		if (!strchr(h, '.') || strcasecmp(h, sni) == 0)
			return true;
		size_t n = strlen(h + 1), len = strlen(sni);
		if (*h == '*' && len > n && strcasecmp(sni + len - n, h + 1) == 0)
			return true;
	}
	return false;
}

static void tls_route(
	const struct check *c, size_t i, const Nw__VirtualService *vs, const Nw__TLSRoute *r)
{
	const char *path = at(c, "spec.tls[%zu]", i);

	if (!r->n_match)
		fault(c, at(c, "%s.match", path), "is missing: a TLS route is chosen by sniHosts");
	for (size_t m = 0; m < r->n_match; m++) {
		const Nw__TLSMatchAttributes *match = r->match[m];
		const char *mp = at(c, "%s.match[%zu]", path, m);
		if (!match->n_sni_hosts)
			fault(c, at(c, "%s.sniHosts", mp), "is missing");
		for (size_t s = 0; s < match->n_sni_hosts; s++) {
			const char *sp = at(c, "%s.sniHosts[%zu]", mp, s);
			check_host(c, sp, match->sni_hosts[s], true);
			if (!is_of_hosts(vs, match->sni_hosts[s]))
				remark(c, sp, "\"%s\" is none of spec.hosts", match->sni_hosts[s]);
		}
		for (size_t s = 0; s < match->n_destination_subnets; s++)
			check_cidr(c, at(c, "%s.destinationSubnets[%zu]", mp, s),
				match->destination_subnets[s]);
		if (match->port)
			check_port(c, at(c, "%s.port", mp), match->port);
		if (*match->source_subnet)
			check_cidr(c, at(c, "%s.sourceSubnet", mp), match->source_subnet);
		check_source(c, mp, match->source_labels, match->n_source_labels,
			match->source_namespace);
		for (size_t s = 0; s < match->n_gateways; s++)
			check_gateway_name(c, at(c, "%s.gateways[%zu]", mp, s), match->gateways[s]);
	}
	l4_destinations(c, path, r->route, r->n_route);
}

static void tcp_route(const struct check *c, size_t i, const Nw__TCPRoute *r)
{
	const char *path = at(c, "spec.tcp[%zu]", i);

	for (size_t m = 0; m < r->n_match; m++) {
		const Nw__L4MatchAttributes *match = r->match[m];
		const char *mp = at(c, "%s.match[%zu]", path, m);
		for (size_t s = 0; s < match->n_destination_subnets; s++)
			check_cidr(c, at(c, "%s.destinationSubnets[%zu]", mp, s),
				match->destination_subnets[s]);
		if (match->port)
			check_port(c, at(c, "%s.port", mp), match->port);
		if (*match->source_subnet)
			check_cidr(c, at(c, "%s.sourceSubnet", mp), match->source_subnet);
		check_source(c, mp, match->source_labels, match->n_source_labels,
			match->source_namespace);
		for (size_t s = 0; s < match->n_gateways; s++)
			check_gateway_name(c, at(c, "%s.gateways[%zu]", mp, s), match->gateways[s]);
	}
	l4_destinations(c, path, r->route, r->n_route);
}

static void hosts(const struct check *c, const Nw__VirtualService *vs)
{
	for (size_t i = 0; i < vs->n_hosts; i++) {
		const char *path = at(c, "spec.hosts[%zu]", i);
		struct mt_ip ip;
		if (mt_ip_parse(vs->hosts[i], &ip) < 0)
			check_host(c, path, vs->hosts[i], true);
		for (size_t k = 0; k < i; k++)
			if (strcmp(vs->hosts[k], vs->hosts[i]) == 0)
				fault(c, path, "\"%s\" stands here twice", vs->hosts[i]);
	}
	bool mesh = !vs->n_gateways;
	for (size_t i = 0; i < vs->n_gateways; i++)
		mesh = mesh || strcmp(vs->gateways[i], "mesh") == 0;
	for (size_t i = 0; mesh && i < vs->n_hosts; i++)
		if (strcmp(vs->hosts[i], "*") == 0)
			fault(c, at(c, "spec.hosts[%zu]", i),
				"\"*\" is only for gateways: name them in spec.gateways");
}

void galley_check_virtual_service(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__VirtualService *vs = (const Nw__VirtualService *)spec;
	bool delegated = !vs->n_hosts && vs->n_http &&
		!vs->n_gateways; /* the target of another's delegate */

	if (!vs->n_hosts && !delegated)
		fault(c, "spec.hosts", "is missing");
	hosts(c, vs);
	for (size_t i = 0; i < vs->n_gateways; i++)
		check_gateway_name(c, at(c, "spec.gateways[%zu]", i), vs->gateways[i]);
	if (!vs->n_http && !vs->n_tcp && !vs->n_tls)
		fault(c, "spec", "has no http, tcp or tls routes");
	for (size_t i = 0; i < vs->n_http; i++)
		galley_check_http_route(c, at(c, "spec.http[%zu]", i), vs->http[i]);
	for (size_t i = 0; delegated && i < vs->n_http; i++)
		if (vs->http[i]->delegate)
			fault(c, at(c, "spec.http[%zu].delegate", i),
				"a virtual service without hosts cannot delegate further");
	if (delegated && (vs->n_tcp || vs->n_tls))
		fault(c, vs->n_tcp ? "spec.tcp" : "spec.tls",
			"only HTTP rules are delegated: spec.hosts is missing");
	for (size_t i = 0; i < vs->n_tls; i++)
		tls_route(c, i, vs, vs->tls[i]);
	for (size_t i = 0; i < vs->n_tcp; i++)
		tcp_route(c, i, vs->tcp[i]);
	for (size_t i = 0; i + 1 < vs->n_http; i++)
		if (!vs->http[i]->n_match)
			remark(c, at(c, "spec.http[%zu]", i),
				"matches everything: the routes after it are never used");
	check_export_to(c, vs->export_to, vs->n_export_to);
}
