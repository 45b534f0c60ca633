/* Planning route configurations: which there are, and their virtual hosts with fingerprints.
 *
 * A domain may stand once in a route configuration, or Envoy refuses it whole: the first virtual host
 * keeps a domain (services are sorted by name, rules by age), the others lose it and a note says so.
 * Ports in Host headers are ignored, but in the routes of an HTTP proxy port and of a Unix socket, where
 * the port tells services apart; on a socket a name without a port is the first of them. */
#include "pilot/translate/route.h"

#include <string.h>

#include "common/base/cidr.h"
#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/filter/patch.h"
#include "pilot/translate/grpc.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/names.h"

struct vhosts {
	struct pilot_job *j;
	struct pilot_route_ref *rc;
	struct pilot_names seen; /* domains */
	bool ports;              /* domains carry ports */
	bool socket;             /* of a Unix socket */
	const char *suffix;      /* ".svc.cluster.local" */
	size_t nsuffix;
};

static void add_domain(struct vhosts *v, struct pilot_vhost_ref *ref, const char *d)
{
	struct {
		const char **v;
		size_t n, cap;
	} list = { ref->domains, ref->ndomains, ref->cap };
	if (!pilot_names_put(&v->seen, d)) {
		if (ref->nvs)
			pilot_tally(v->j, PILOT_TALLY_vservice_dup_domain, "%s", d);
		return;
	}
	mt_vec_apush(v->j->a, &list, d);
	ref->domains = list.v;
	ref->ndomains = list.n;
	ref->cap = list.cap;
}

static void add_name(struct vhosts *v, struct pilot_vhost_ref *ref, const char *name, uint16_t port)
{
	if (v->socket ? !pilot_names_has(&v->seen, name) : !v->ports || port == 80)
		add_domain(v, ref, name);
	if (v->ports)
		add_domain(v, ref, mt_arena_printf(v->j->a, "%s:%u", name, port));
}

/* reviews.default.svc.cluster.local: "reviews" for its own namespace, "reviews.default" and
 * "reviews.default.svc" for all. */
static void short_names(
	struct vhosts *v, struct pilot_vhost_ref *ref, const char *host, uint16_t port)
{
	struct pilot_job *j = v->j;
	size_t n = strlen(host);
	if (n <= v->nsuffix || strcmp(host + n - v->nsuffix, v->suffix) != 0 ||
		pilot_host_is_wild(host))
		return;
	n -= v->nsuffix;
	const char *both = mt_arena_strndup(j->a, host, n); /* "reviews.default" */
	const char *dot = strrchr(both, '.');
	if (!dot)
		return;
	if (strcmp(dot + 1, j->p->ns) == 0)
		add_name(v, ref, mt_arena_strndup(j->a, both, (size_t)(dot - both)), port);
	add_name(v, ref, both, port);
	add_name(v, ref, mt_arena_strndup(j->a, host, n + strlen(".svc")), port);
}

static uint64_t vs_fp(struct pilot_job *j, const struct pilot_vs *vs)
{
	uint64_t h = vs->hash;
	for (size_t i = 0; i < vs->nhttp; i++) {
		const Nw__HTTPRoute *r = vs->http[i].spec;
		const struct pilot_vs *from = vs->http[i].from;
		for (size_t k = 0; k < r->n_route; k++)
			if (r->route[k]->destination)
				h = mt_hash_mix(
					h, pilot_dest_fp(j, r->route[k]->destination, from));
		if (r->mirror)
			h = mt_hash_mix(h, pilot_dest_fp(j, r->mirror, from));
		for (size_t k = 0; k < r->n_mirrors; k++)
			if (r->mirrors[k]->destination)
				h = mt_hash_mix(
					h, pilot_dest_fp(j, r->mirrors[k]->destination, from));
	}
	return h;
}

static void put(struct vhosts *v, const char *name, const struct pilot_vhost_ref *tmp)
{
	struct pilot_job *j = v->j;
	if (!tmp->ndomains)
		return;
	struct pilot_vhost_ref *ref = MT_ANEW(j->a, struct pilot_vhost_ref);
	*ref = *tmp;
	uint64_t fp = mt_hash_mix(mt_hash_str(name), (uint64_t)ref->kind << 32 | ref->port);
	fp = mt_hash_mix(fp, (uint64_t)ref->passthrough << 1 | ref->require_tls);
	fp = ref->passthrough ? mt_hash_mix(fp, mt_hash_str(v->j->unknown)) : fp;
	for (size_t i = 0; i < ref->ndomains; i++)
		fp = mt_hash_mix(fp, mt_hash_str(ref->domains[i]));
	if (ref->svc >= 0) {
		const struct pilot_service *s = j->ix->svcs[ref->svc];
		const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, ref->svc);
		fp = mt_hash_mix(fp, mt_hash_mix(s->hash, dr ? dr->hash : 0));
	}
	for (size_t i = 0; i < ref->nvs; i++)
		fp = mt_hash_mix(fp, vs_fp(j, ref->vs[i]));
	if (ref->server)
		fp = mt_hash_mix(fp, mt_hash_str(ref->server->gw->name));
	fp = mt_hash_mix(fp, pilot_prov_rivals_fp(j, ref));
	pilot_plan_add(j, &v->rc->vhosts, name, fp, PILOT_HOW_VHOST, ref);
}

static void one_vs(struct vhosts *v, struct pilot_vhost_ref *ref, const struct pilot_vs *vs)
{
	if (!vs)
		return;
	ref->vs = MT_ANEWN(v->j->a, const struct pilot_vs *, 1);
	ref->vs[0] = vs;
	ref->nvs = 1;
}

static void service_vhost(struct vhosts *v, uint32_t svc, uint16_t port)
{
	struct pilot_job *j = v->j;
	const struct pilot_service *s = j->ix->svcs[svc];
	struct pilot_vhost_ref ref = { .kind = PILOT_VHOST_SERVICE, .svc = (int)svc, .port = port };
	struct mt_ip ip;
	one_vs(v, &ref, pilot_job_vs(j, v->rc->egress, s->hostname, PILOT_VS_HTTP, port));
	add_name(v, &ref, s->hostname, port);
	short_names(v, &ref, s->hostname, port);
	for (size_t i = 0; i < s->naddresses; i++)
		if (mt_ip_parse(s->addresses[i], &ip) == 0)
			add_name(v, &ref,
				ip.len == 16 ? mt_arena_printf(j->a, "[%s]", s->addresses[i])
					     : s->addresses[i],
				port);
	put(v, mt_arena_printf(j->a, "%s:%u", s->hostname, port), &ref);
}

static void rule_vhost(struct vhosts *v, const struct pilot_vs *vs, const char *host, uint16_t port)
{
	struct pilot_vhost_ref ref = { .kind = PILOT_VHOST_RULE, .svc = -1, .port = port };
	one_vs(v, &ref, vs);
	add_name(v, &ref, host, port);
	short_names(v, &ref, host, port);
	put(v, mt_arena_printf(v->j->a, "%s:%u", host, port), &ref);
}

/* Hosts that only a virtual service knows. */
static void rule_vhosts(struct vhosts *v)
{
	struct pilot_job *j = v->j;
	uint16_t port = v->rc->port ? v->rc->port : 80;
	for (size_t i = 0; i < j->ix->nvss; i++) {
		const struct pilot_vs *vs = &j->ix->vss[i];
		if (!vs->mesh || !pilot_egress_vs(j, v->rc->egress, vs) ||
			!pilot_vs_applies(j, vs, NULL, port))
			continue;
		for (size_t k = 0; k < vs->nhosts; k++) {
			if (pilot_world_find(j->w, vs->hosts[k], j->p->ns) >= 0)
				continue;
			rule_vhost(v, vs, vs->hosts[k], port);
		}
	}
}

/* On its own address a service is meant whatever the Host says. */
static void only_vhost(struct vhosts *v, uint32_t svc, uint16_t port)
{
	const struct pilot_service *s = v->j->ix->svcs[svc];
	struct pilot_vhost_ref ref = { .kind = PILOT_VHOST_SERVICE, .svc = (int)svc, .port = port };
	one_vs(v, &ref, pilot_job_vs(v->j, v->rc->egress, s->hostname, PILOT_VS_HTTP, port));
	add_domain(v, &ref, "*");
	put(v, mt_arena_printf(v->j->a, "%s:%u", s->hostname, port), &ref);
}

static void sidecar_vhosts(struct vhosts *v)
{
	struct pilot_job *j = v->j;
	const struct pilot_egress *e = v->rc->egress;
	if (v->rc->one >= 0) {
		only_vhost(v, (uint32_t)v->rc->one, v->rc->port);
		return;
	}
	for (size_t i = 0; i < e->nsvcs; i++) {
		const struct pilot_service *s = j->ix->svcs[e->svcs[i]];
		for (size_t k = 0; k < s->nports; k++)
			if ((pilot_protocol_is_http(s->ports[k].protocol) ||
				    s->ports[k].protocol == PILOT_AUTO) &&
				(!v->rc->port || s->ports[k].number == v->rc->port))
				service_vhost(v, e->svcs[i], s->ports[k].number);
	}
	if (v->rc->any_host)
		rule_vhosts(v);
	/* What is not captured has no destination of its own to go on to. */
	struct pilot_vhost_ref any = { .kind = PILOT_VHOST_ANY,
		.svc = -1,
		.port = v->rc->port,
		.passthrough = j->passthrough && (e->capture || j->has_egress_proxy) };
	add_domain(v, &any, "*");
	put(v, any.passthrough ? "allow_any" : "block_all", &any);
}

/* A host of a virtual service on the servers of one gateway port: rules of all virtual services that
 * claim exactly this host are joined, the oldest first. */
static void gateway_host(struct vhosts *v, const struct pilot_gw_server *s, const char *host)
{
	struct pilot_job *j = v->j;
	uint16_t port = (uint16_t)s->spec->port->number;
	struct pilot_vhost_ref ref = {
		.kind = PILOT_VHOST_RULE, .svc = -1, .port = port, .server = s
	};
	MT_VEC(const struct pilot_vs *) list = { 0 };
	for (size_t i = 0; i < j->ix->nvss; i++) {
		const struct pilot_vs *vs = &j->ix->vss[i];
		const char **hosts;
		size_t n =
			pilot_vs_applies(j, vs, s, port) ? pilot_server_hosts(j, s, vs, &hosts) : 0;
		for (size_t k = 0; k < n; k++)
			if (strcmp(hosts[k], host) == 0) {
				mt_vec_apush(j->a, &list, vs);
				break;
			}
	}
	ref.vs = list.v;
	ref.nvs = list.n;
	ref.require_tls = s->spec->tls && s->spec->tls->https_redirect;
	add_name(v, &ref, host, port);
	put(v, mt_arena_printf(j->a, "%s:%u", host, port), &ref);
}

static void server_vhosts(struct vhosts *v, const struct pilot_gw_server *s)
{
	struct pilot_job *j = v->j;
	uint16_t port = (uint16_t)s->spec->port->number;
	for (size_t i = 0; i < j->ix->nvss; i++) {
		const struct pilot_vs *vs = &j->ix->vss[i];
		const char **hosts;
		size_t n =
			pilot_vs_applies(j, vs, s, port) ? pilot_server_hosts(j, s, vs, &hosts) : 0;
		for (size_t k = 0; k < n; k++)
			gateway_host(v, s, hosts[k]);
	}
	if (!s->spec->tls || !s->spec->tls->https_redirect)
		return;
	for (size_t i = 0; i < s->spec->n_hosts; i++) {
		const char *slash = strchr(s->spec->hosts[i], '/');
		const char *host = slash ? slash + 1 : s->spec->hosts[i];
		struct pilot_vhost_ref ref = { .kind = PILOT_VHOST_REDIRECT,
			.svc = -1,
			.server = s,
			.port = (uint16_t)s->spec->port->number,
			.require_tls = true };
		add_name(v, &ref, host, ref.port);
		put(v, mt_arena_printf(j->a, "%s:%u", host, ref.port), &ref);
	}
}

static void gateway_vhosts(struct vhosts *v)
{
	struct pilot_job *j = v->j;
	if (v->rc->server)
		server_vhosts(v, v->rc->server);
	for (size_t i = 0; i < j->ngws && !v->rc->server; i++)
		for (size_t k = 0;
			j->gws[i].plain_http && &j->gws[i] == v->rc->gateway && k < j->gws[i].n;
			k++)
			server_vhosts(v, &j->gws[i].v[k]);
	struct pilot_vhost_ref any = { .kind = PILOT_VHOST_ANY, .svc = -1, .port = v->rc->port };
	add_domain(v, &any, "*");
	put(v, mt_arena_printf(j->a, "blackhole:%u", v->rc->port), &any);
}

/* The port of a Host header tells services apart. */
static bool has_ports(const struct pilot_route_ref *rc)
{
	const struct pilot_egress *e = rc->egress;
	return e && (e->unix_socket || (e->port && e->protocol == PILOT_HTTP_PROXY));
}

static void add_route(struct pilot_job *j, struct pilot_plan *p, struct pilot_route_ref *rc)
{
	struct vhosts v = { .j = j,
		.rc = rc,
		.seen = { .a = j->a },
		.ports = has_ports(rc),
		.socket = rc->egress && rc->egress->unix_socket };
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i].name, rc->name) == 0)
			return;
	v.suffix = mt_arena_printf(j->a, ".svc.%s", j->mesh->domain);
	v.nsuffix = strlen(v.suffix);
	if (rc->gateway || rc->server)
		gateway_vhosts(&v);
	else
		sidecar_vhosts(&v);
	pilot_patch_vhosts(j, rc);
	uint64_t fp = v.ports;
	for (size_t i = 0; i < rc->vhosts.n && !j->p->vhds; i++)
		fp = mt_hash_mix(fp, rc->vhosts.v[i].fp);
	pilot_plan_add(j, p, rc->name, fp, PILOT_HOW_ROUTE, rc);
}

static struct vhosts alone(struct pilot_job *j, struct pilot_route_ref *rc)
{
	struct vhosts v = { .j = j, .rc = rc, .seen = { .a = j->a } };
	v.suffix = mt_arena_printf(j->a, ".svc.%s", j->mesh->domain);
	v.nsuffix = strlen(v.suffix);
	return v;
}

void pilot_plan_route_of(
	struct pilot_job *j, struct pilot_plan *p, struct pilot_route_ref *rc, uint32_t svc)
{
	struct vhosts v = alone(j, rc);
	service_vhost(&v, svc, rc->port);
	pilot_plan_add(j, p, rc->name, rc->vhosts.n ? rc->vhosts.v[0].fp : 0, PILOT_HOW_ROUTE, rc);
}

void pilot_plan_route_rule(struct pilot_job *j, struct pilot_plan *p, struct pilot_route_ref *rc,
	const struct pilot_vs *vs, const char *host)
{
	struct vhosts v = alone(j, rc);
	rule_vhost(&v, vs, host, rc->port);
	pilot_plan_add(j, p, rc->name, rc->vhosts.n ? rc->vhosts.v[0].fp : 0, PILOT_HOW_ROUTE, rc);
}

static void gateway_routes(struct pilot_job *j, struct pilot_plan *p)
{
	for (size_t i = 0; i < j->ngws; i++) {
		const struct pilot_gw_port *g = &j->gws[i];
		for (size_t k = 0; k < g->n; k++) {
			const Nw__Server *s = g->v[k].spec;
			enum pilot_protocol proto = PILOT_TCP;
			pilot_protocol_parse(s->port->protocol, &proto);
			struct pilot_route_ref *rc = MT_ANEW(j->a, struct pilot_route_ref);
			rc->one = -1;
			rc->port = g->port;
			if (g->plain_http) {
				rc->gateway = g;
				rc->name = pilot_http_route(j, g);
			} else if (s->tls && !pilot_server_auto(s) &&
				s->tls->mode != NW__SERVER_TLSSETTINGS__TLSMODE__PASSTHROUGH &&
				(proto == PILOT_HTTPS || pilot_protocol_is_http(proto))) {
				rc->server = &g->v[k];
				rc->name = pilot_https_route(j, &g->v[k]);
			} else {
				continue;
			}
			add_route(j, p, rc);
		}
	}
}

void pilot_plan_routes(struct pilot_job *j, struct pilot_plan *p)
{
	if (j->p->type == PILOT_ROUTER) {
		gateway_routes(j, p);
		return;
	}
	struct pilot_out_listener *v;
	size_t n = pilot_out_listeners(j, &v);
	for (size_t i = 0; i < n; i++) {
		if (!v[i].route)
			continue;
		struct pilot_route_ref *rc = MT_ANEW(j->a, struct pilot_route_ref);
		bool proxy = v[i].egress->port && v[i].egress->protocol == PILOT_HTTP_PROXY;
		rc->name = v[i].route;
		rc->one = v[i].one ? (int)v[i].v[0].svc : -1;
		rc->egress = v[i].egress;
		rc->port = proxy ? 0 : v[i].port;
		rc->any_host =
			proxy || v[i].egress->unix_socket || v[i].egress->port || v[i].port == 80;
		add_route(j, p, rc);
	}
}

static Route__RouteConfiguration *header(struct pilot_job *j, const struct pilot_item *it)
{
	const struct pilot_route_ref *rc = it->what;
	Route__RouteConfiguration *m = pb_new(j->a, route__route_configuration);
	m->name = pb_s(it->name);
	if (j->p->vhds) {
		/* On the stream that brought the table itself. */
		m->vhds = pb_new(j->a, route__vhds);
		m->vhds->config_source = pb_ads(j->a);
	}
	m->validate_clusters = pb_bool(j->a, false);
	m->ignore_port_in_host_matching = !has_ports(rc);
	/* An explicit limit of the answer's size is Envoy's own 4 kB; rules may say more. */
	m->max_direct_response_body_size_bytes = pb_u32(j->a, 1024 * 1024);
	pilot_mixer_source_header(j, m);
	pilot_patch_route_header(j, rc, m);
	return m;
}

void pilot_plan_route(
	struct pilot_job *j, const struct pilot_item *it, struct pilot_route_plan *ret)
{
	const struct pilot_route_ref *rc = it->what;
	int8_t was = j->noting;
	ret->header = (struct pilot_built){ .name = it->name };
	j->noting = PILOT_NOTE_BUILT;
	j->prov = (struct pilot_prov){ 0 };
	ret->header.msg = &header(j, it)->base;
	if (j->p->type == PILOT_PROXYLESS)
		pilot_grpc_cut(j, it, ret->header.msg);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	pilot_built_finish(j, &ret->header);
	j->noting = was;
	if (!j->p->vhds)
		ret->vhosts = rc->vhosts;
}

ProtobufCMessage *pilot_build_route(struct pilot_job *j, const struct pilot_item *it)
{
	const struct pilot_route_ref *rc = it->what;
	Route__RouteConfiguration *m = header(j, it);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	for (size_t i = 0; i < rc->vhosts.n && !j->p->vhds; i++)
		pb_add(j->a, m, virtual_hosts,
			(Route__VirtualHost *)pilot_build_vhost(j, &rc->vhosts.v[i]));
	return &m->base;
}

/* ---- virtual hosts as resources of their own ---- */

void pilot_plan_virtual_hosts(struct pilot_job *j, struct pilot_plan *p)
{
	const struct pilot_plan *routes = pilot_job_routes(j);
	for (size_t i = 0; j->p->vhds && i < routes->n; i++) {
		const struct pilot_route_ref *rc = routes->v[i].what;
		for (size_t k = 0; k < rc->vhosts.n; k++) {
			const struct pilot_item *host = &rc->vhosts.v[k];
			const char *name = mt_arena_printf(j->a, "%s/%s", rc->name, host->name);
			struct pilot_item it = { name, mt_hash_mix(host->fp, mt_hash_str(name)),
				host, PILOT_HOW_VHOST_APART };
			mt_vec_apush(j->a, p, it);
		}
	}
}

/* Envoy takes a removal of it only under the name that stands inside. */
ProtobufCMessage *pilot_build_vhost_apart(struct pilot_job *j, const struct pilot_item *it)
{
	struct pilot_built b;
	pilot_build(j, it->what, &b);
	((Route__VirtualHost *)b.msg)->name = pb_s(it->name);
	for (size_t i = 0; i < b.nprov; i++)
		pilot_prov_add(j, b.prov[i]);
	return b.msg;
}
