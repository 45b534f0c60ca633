/* Listeners of gateways: one for each address and port of the servers that select this proxy.
 *
 * Plain HTTP servers of a port share one route configuration, "http.PORT" ("http.PORT.ADDRESS" when
 * they bind an address of their own). Each HTTPS server has a filter chain, chosen by server name,
 * with routes of its own: "https.PORT.NAME.GATEWAY.NAMESPACE". TLS that is passed through and TCP go
 * by the tls and tcp rules of the virtual services, or, with AUTO_PASSTHROUGH, by the name alone
 * (gateway_sni.c). */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/mesh_settings.h"
#include "pilot/translate/tls.h"

const char *pilot_https_route(struct pilot_job *j, const struct pilot_gw_server *s)
{
	const char *name = s->spec->port->name;
	for (size_t i = 0; !*name && i < s->gw->spec->n_servers; i++)
		if (s->gw->spec->servers[i] == s->spec) /* nobody named it: by its place */
			name = mt_arena_printf(j->a, "%zu", i);
	return mt_arena_printf(j->a, "https.%u.%s.%s.%s", s->spec->port->number, name,
		s->gw->obj->name, s->gw->obj->ns);
}

const char *pilot_http_route(struct pilot_job *j, const struct pilot_gw_port *g)
{
	const struct pilot_gw_server *s = &g->v[0];
	return *s->spec->bind ? mt_arena_printf(j->a, "http.%u.%s", g->port, g->bind)
			      : mt_arena_printf(j->a, "http.%u", g->port);
}

/* The operator's name of a server goes before the listener's. */
static const char *stat_prefix(
	struct pilot_job *j, const Listener__Listener *l, const struct pilot_gw_server *s)
{
	return mt_arena_printf(j->a, "outbound_%s", *s->spec->name ? s->spec->name : l->name);
}

const char *pilot_gw_host(
	const struct pilot_gw_server *s, const char *pattern, const char *ns, const char *host)
{
	const char *slash = strchr(pattern, '/');
	if (slash) {
		size_t n = (size_t)(slash - pattern);
		bool any = n == 1 && *pattern == '*';
		bool own = n == 1 && *pattern == '.' && strcmp(ns, s->gw->obj->ns) == 0;
		if (!any && !own && (strlen(ns) != n || memcmp(pattern, ns, n) != 0))
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
				pilot_gw_host(s, s->spec->hosts[i], vs->obj->ns, vs->hosts[k]);
			if (h)
				mt_vec_apush(j->a, &out, h);
		}
	*ret = out.v;
	return out.n;
}

/* Hosts of a server without their namespaces. */
static char **server_names(struct pilot_job *j, const struct pilot_gw_server *s)
{
	char **v = MT_ANEWN(j->a, char *, s->spec->n_hosts + 1);
	for (size_t i = 0; i < s->spec->n_hosts; i++) {
		const char *slash = strchr(s->spec->hosts[i], '/');
		v[i] = pb_s(slash ? slash + 1 : s->spec->hosts[i]);
	}
	return v;
}

static Core__TransportSocket *tls_socket(
	struct pilot_job *j, const struct pilot_gw_server *s, bool http)
{
	return pilot_tls_server(j, s->spec->tls, http, s->gw->id, "spec.servers",
		mt_arena_printf(j->a, "port %u", s->spec->port->number));
}

static void https_chain(struct pilot_gw_chains *c, const struct pilot_gw_server *s)
{
	struct pilot_job *j = c->j;
	Core__TransportSocket *socket = tls_socket(j, s, true);
	if (!socket)
		return;
	struct pilot_hcm h = { .f = c->f,
		.rds = pilot_https_route(j, s),
		.stat_prefix = stat_prefix(j, c->out.l, s) };
	Listener__FilterChain *fc = pilot_chain_new(j, h.rds, pilot_hcm_filter(j, &h));
	fc->transport_socket = socket;
	pilot_chains_add(&c->out,
		&(struct pilot_chain_on){ .id = s->gw->id,
			.path = "spec.servers",
			.sni = server_names(j, s),
			.nsni = s->spec->n_hosts },
		fc);
}

static void l4_chains(struct pilot_gw_chains *c, const struct pilot_gw_server *s,
	const struct pilot_vs *vs, bool terminate)
{
	struct pilot_job *j = c->j;
	struct pilot_l4_ctx at = { .c = &c->out,
		.f = c->f,
		.vs = vs,
		.server = s,
		.port = (uint16_t)s->spec->port->number,
		.stat = stat_prefix(j, c->out.l, s) };
	pilot_protocol_parse(s->spec->port->protocol, &at.protocol);
	if (pilot_protocol_is_tls(at.protocol) && !terminate) {
		pilot_tls_rules(&at);
		return;
	}
	if (terminate) {
		if (!vs->spec->n_tcp || !(at.socket = tls_socket(j, s, false)))
			return;
		at.sni = server_names(j, s);
		at.nsni = s->spec->n_hosts;
	}
	pilot_tcp_rules(&at);
}

static void server_chains(struct pilot_gw_chains *c, const struct pilot_gw_server *s)
{
	struct pilot_job *j = c->j;
	enum pilot_protocol p = PILOT_TCP;
	pilot_protocol_parse(s->spec->port->protocol, &p);
	bool terminate =
		s->spec->tls && s->spec->tls->mode != NW__SERVER_TLSSETTINGS__TLSMODE__PASSTHROUGH;
	if (pilot_server_auto(s->spec)) {
		pilot_gw_auto(c, s);
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
		l4_chains(c, s, vs, terminate);
	}
}

Listener__Listener *pilot_build_gateway(struct pilot_job *j, const struct pilot_gw_port *g)
{
	struct pilot_gw_chains c = { .j = j, .f = { j, PILOT_AT_GATEWAY, NULL, 0 } };
	Listener__Listener *l = pilot_listener_new(j, pilot_listener_name(j, g->bind, g->port),
		g->bind, g->port, CORE__TRAFFIC_DIRECTION__OUTBOUND);
	if (pilot_reads_proxy_protocol(j))
		pilot_listener_filter(j, l, "envoy.filters.listener.proxy_protocol",
			"envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol");
	c.out = (struct pilot_chains){ .j = j, .l = l };
	for (size_t i = 0; i < g->n; i++) {
		enum pilot_protocol p = PILOT_TCP;
		pilot_protocol_parse(g->v[i].spec->port->protocol, &p);
		c.f.protocols |= 1u << p;
		pilot_prov_add(j, g->v[i].gw->id);
		if (*g->v[i].spec->default_endpoint)
			pilot_job_note(j, g->v[i].gw->id, PILOT_NOTE_IGNORED, "spec.servers",
				"port %u: defaultEndpoint has no effect: routes decide", g->port);
	}
	if (g->plain_http) {
		struct pilot_hcm h = { .f = c.f,
			.rds = pilot_http_route(j, g),
			.stat_prefix = g->n == 1 ? stat_prefix(j, l, &g->v[0])
						 : mt_arena_printf(j->a, "outbound_%s", l->name) };
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
