/* Listeners of gateways: one for each address and port of the servers that select this proxy.
 *
 * Plain HTTP servers of a port share one route configuration, "http.PORT". Each HTTPS server has a
 * filter chain, chosen by server name, with routes of its own: "https.PORT.NAME.GATEWAY.NAMESPACE".
 * TLS that is passed through and TCP go by the tls and tcp rules of the virtual services. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/tls.h"

const char *pilot_https_route(struct pilot_job *j, const struct pilot_gw_server *s)
{
	return mt_arena_printf(j->a, "https.%u.%s.%s.%s", s->spec->port->number,
		s->spec->port->name, s->gw->obj->name, s->gw->obj->ns);
}

/* What a server's host ("ns/host", "./host", "*" + "/host" or "host") and a virtual service's have in
 * common: the narrower of the two, NULL nothing. */
static const char *common_host(
	const struct pilot_gw_server *s, const char *pattern, const char *vs_ns, const char *host)
{
	const char *slash = strchr(pattern, '/');
	if (slash) {
		size_t n = (size_t)(slash - pattern);
		bool any = n == 1 && *pattern == '*';
		bool own = n == 1 && *pattern == '.' && strcmp(vs_ns, s->gw->obj->ns) == 0;
		if (!any && !own && (strlen(vs_ns) != n || memcmp(pattern, vs_ns, n) != 0))
			return NULL;
		pattern = slash + 1;
	}
	if (pilot_host_covers(pattern, host))
		return host;
	return pilot_host_covers(host, pattern) ? pattern : NULL;
}

size_t pilot_server_hosts(struct pilot_job *j, const struct pilot_gw_server *s,
	const struct pilot_vs *vs, const char ***ret)
{
	const Nw__VirtualService *spec = vs->spec;
	MT_VEC(const char *) out = { 0 };
	bool bound = false;
	*ret = NULL;
	for (size_t i = 0; i < vs->ngateways; i++)
		bound = bound || strcmp(vs->gateways[i], s->gw->name) == 0;
	if (!bound ||
		!pilot_index_exported(j->ix, PILOT_EXPORT_VS, (const char *const *)spec->export_to,
			spec->n_export_to, vs->obj->ns, j->p->ns))
		return 0;
	for (size_t k = 0; k < vs->nhosts; k++)
		for (size_t i = 0; i < s->spec->n_hosts; i++) {
			const char *h =
				common_host(s, s->spec->hosts[i], vs->obj->ns, vs->hosts[k]);
			if (h)
				mt_vec_apush(j->a, &out, h);
		}
	*ret = out.v;
	return out.n;
}

/* Server names of a chain: the hosts without namespaces; "*" means any, so no match at all. */
static void server_names(struct pilot_job *j, Listener__FilterChain *c, char **hosts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *slash = strchr(hosts[i], '/'), *h = slash ? slash + 1 : hosts[i];
		if (strcmp(h, "*") == 0) {
			if (c->filter_chain_match)
				c->filter_chain_match->n_server_names = 0;
			return;
		}
		pb_add(j->a, pilot_chain_match(j, c), server_names, pb_s(h));
	}
}

struct gw_chains {
	struct pilot_job *j;
	Listener__Listener *l;
	struct pilot_filter_in f;
};

/* Envoy refuses a listener in which two chains match the same: by server names here. */
static void put_chain(struct gw_chains *c, uint32_t id, Listener__FilterChain *fc)
{
	struct pilot_job *j = c->j;
	const Listener__FilterChainMatch *m = fc->filter_chain_match;
	if (m && m->n_server_names) {
		pilot_tls_inspector(j, c->l);
		Listener__FilterChainMatch *keep = fc->filter_chain_match;
		size_t n = 0;
		for (size_t i = 0; i < keep->n_server_names; i++) {
			bool dup = false;
			for (size_t k = 0; k < c->l->n_filter_chains; k++) {
				const Listener__FilterChainMatch *o =
					c->l->filter_chains[k]->filter_chain_match;
				for (size_t s = 0; o && s < o->n_server_names; s++)
					dup = dup ||
						strcmp(o->server_names[s], keep->server_names[i]) ==
							0;
			}
			if (dup)
				pilot_job_note(j, id, PILOT_NOTE_SHADOWED, "spec",
					"server name %s of %s is taken", keep->server_names[i],
					c->l->name);
			else
				keep->server_names[n++] = keep->server_names[i];
		}
		keep->n_server_names = n;
		if (n)
			pb_add(j->a, c->l, filter_chains, fc);
	} else if (c->l->default_filter_chain) {
		pilot_job_note(j, id, PILOT_NOTE_SHADOWED, "spec", "%s has a server for any name",
			c->l->name);
		return;
	} else {
		c->l->default_filter_chain = fc;
	}
	pilot_prov_add(j, id);
}

static void https_chain(struct gw_chains *c, const struct pilot_gw_server *s)
{
	struct pilot_job *j = c->j;
	Core__TransportSocket *socket = pilot_tls_server(j, s, true);
	if (!socket)
		return;
	struct pilot_hcm h = { .f = c->f,
		.rds = pilot_https_route(j, s),
		.stat_prefix = mt_arena_printf(j->a, "outbound_%s", c->l->name) };
	Listener__FilterChain *fc = pilot_chain_new(j, h.rds, pilot_hcm_filter(j, &h));
	fc->transport_socket = socket;
	server_names(j, fc, s->spec->hosts, s->spec->n_hosts);
	put_chain(c, s->gw->id, fc);
}

static bool for_gateway(struct pilot_job *j, char **gateways, size_t n, const struct pilot_vs *vs,
	const struct pilot_gw_server *s)
{
	for (size_t i = 0; i < n; i++) {
		const char *g = strchr(gateways[i], '/')
			? gateways[i]
			: mt_arena_printf(j->a, "%s/%s", vs->obj->ns, gateways[i]);
		if (strcmp(g, s->gw->name) == 0)
			return true;
	}
	return n == 0;
}

static void tls_chains(
	struct gw_chains *c, const struct pilot_gw_server *s, const struct pilot_vs *vs)
{
	struct pilot_job *j = c->j;
	uint16_t port = (uint16_t)s->spec->port->number;
	for (size_t i = 0; i < vs->spec->n_tls; i++) {
		const Nw__TLSRoute *r = vs->spec->tls[i];
		for (size_t m = 0; m < r->n_match; m++) {
			const Nw__TLSMatchAttributes *at = r->match[m];
			if ((at->port && at->port != port) ||
				!for_gateway(j, at->gateways, at->n_gateways, vs, s))
				continue;
			Listener__FilterChain *fc = pilot_chain_new(j, "",
				pilot_tcp_route_filter(j, &c->f,
					mt_arena_printf(j->a, "outbound_%s", c->l->name), r->route,
					r->n_route, vs, port));
			server_names(j, fc, at->sni_hosts, at->n_sni_hosts);
			put_chain(c, vs->id, fc);
		}
	}
}

static void tcp_chains(
	struct gw_chains *c, const struct pilot_gw_server *s, const struct pilot_vs *vs)
{
	struct pilot_job *j = c->j;
	uint16_t port = (uint16_t)s->spec->port->number;
	Core__TransportSocket *socket = NULL;
	if (s->spec->tls && s->spec->tls->mode != NW__SERVER_TLSSETTINGS__TLSMODE__PASSTHROUGH &&
		!(socket = pilot_tls_server(j, s, false)))
		return;
	for (size_t i = 0; i < vs->spec->n_tcp; i++) {
		const Nw__TCPRoute *r = vs->spec->tcp[i];
		bool applies = r->n_match == 0;
		for (size_t m = 0; m < r->n_match; m++)
			applies = applies ||
				((!r->match[m]->port || r->match[m]->port == port) &&
					for_gateway(j, r->match[m]->gateways,
						r->match[m]->n_gateways, vs, s));
		if (!applies)
			continue;
		const char *stat = mt_arena_printf(j->a, "outbound_%s", c->l->name);
		enum pilot_protocol p = PILOT_TCP;
		pilot_protocol_parse(s->spec->port->protocol, &p);
		Listener__FilterChain *fc = pilot_chain_new(j, "",
			pilot_tcp_route_filter(j, &c->f, stat, r->route, r->n_route, vs, port));
		pilot_chain_protocol(j, fc, p, stat, NULL);
		fc->transport_socket = socket;
		if (socket)
			server_names(j, fc, s->spec->hosts, s->spec->n_hosts);
		put_chain(c, vs->id, fc);
		return;
	}
}

static void server_chains(struct gw_chains *c, const struct pilot_gw_server *s)
{
	struct pilot_job *j = c->j;
	enum pilot_protocol p = PILOT_TCP;
	pilot_protocol_parse(s->spec->port->protocol, &p);
	bool terminate =
		s->spec->tls && s->spec->tls->mode != NW__SERVER_TLSSETTINGS__TLSMODE__PASSTHROUGH;
	if (s->spec->tls &&
		s->spec->tls->mode == NW__SERVER_TLSSETTINGS__TLSMODE__AUTO_PASSTHROUGH) {
		pilot_job_note(j, s->gw->id, PILOT_NOTE_IGNORED, "spec.servers",
			"AUTO_PASSTHROUGH is not served");
		return;
	}
	if (terminate && (p == PILOT_HTTPS || pilot_protocol_is_http(p))) {
		https_chain(c, s);
		return;
	}
	for (size_t i = 0; i < j->ix->nvss; i++) {
		const struct pilot_vs *vs = &j->ix->vss[i];
		const char **hosts;
		if (!pilot_server_hosts(j, s, vs, &hosts))
			continue;
		if (pilot_protocol_is_tls(p) && !terminate)
			tls_chains(c, s, vs);
		else
			tcp_chains(c, s, vs);
	}
}

Listener__Listener *pilot_build_gateway(struct pilot_job *j, const struct pilot_gw_port *g)
{
	struct gw_chains c = { .j = j, .f = { j, PILOT_AT_GATEWAY, NULL, 0 } };
	Listener__Listener *l = pilot_listener_new(j, pilot_listener_name(j, g->bind, g->port),
		g->bind, g->port, CORE__TRAFFIC_DIRECTION__OUTBOUND);
	c.l = l;
	for (size_t i = 0; i < g->n; i++) {
		enum pilot_protocol p = PILOT_TCP;
		pilot_protocol_parse(g->v[i].spec->port->protocol, &p);
		c.f.protocols |= 1u << p;
		pilot_prov_add(j, g->v[i].gw->id);
	}
	if (g->plain_http) {
		struct pilot_hcm h = { .f = c.f,
			.rds = mt_arena_printf(j->a, "http.%u", g->port),
			.stat_prefix = mt_arena_printf(j->a, "outbound_%s", l->name) };
		pb_add(j->a, l, filter_chains, pilot_chain_new(j, "", pilot_hcm_filter(j, &h)));
		return l;
	}
	for (size_t i = 0; i < g->n; i++)
		server_chains(&c, &g->v[i]);
	if (!l->n_filter_chains && !l->default_filter_chain)
		l->default_filter_chain = pilot_chain_new(
			j, "", pilot_tcp_filter(j, &c.f, "BlackHoleCluster", "BlackHoleCluster"));
	return l;
}
