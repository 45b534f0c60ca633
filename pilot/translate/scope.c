/* What a sidecar sees: the egress listeners of its Sidecar object with the services that each lets
 * in, and the ports on which its own workload is served.
 *
 * Without a Sidecar object there is one egress listener, the catch-all, with every service that is
 * exported to the namespace. A destination of a rule that is let in has clusters too, even when the
 * egress hosts leave the service itself out: the rule could not be obeyed otherwise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/translate/job.h"

static bool egress_has(
	struct pilot_job *j, const struct pilot_egress *e, const struct pilot_service *s)
{
	if (!pilot_index_exported(
		    j->ix, PILOT_EXPORT_SERVICE, s->export_to, s->nexport_to, s->ns, j->p->ns))
		return false;
	if (e->port && e->protocol != PILOT_HTTP_PROXY && pilot_service_port(s, e->port) < 0)
		return false;
	if (!e->spec)
		return true;
	for (size_t i = 0; i < e->spec->n_hosts; i++) {
		const char *h = e->spec->hosts[i], *slash = strchr(h, '/');
		if (slash) {
			size_t n = (size_t)(slash - h);
			bool any = n == 1 && *h == '*';
			bool own = n == 1 && *h == '.' && strcmp(s->ns, j->p->ns) == 0;
			bool named = strlen(s->ns) == n && memcmp(h, s->ns, n) == 0;
			if (!any && !own && !named)
				continue;
			h = slash + 1;
		}
		if (pilot_host_covers(h, s->hostname))
			return true;
	}
	return false;
}

/* Of the services of one hostname only the one that the namespace sees is taken. */
static void egress_services(struct pilot_job *j, struct pilot_egress *e)
{
	e->svcs = MT_ANEWN(j->a, uint32_t, j->ix->nsvcs + 1);
	for (size_t i = 0; i < j->ix->nsvcs; i++) {
		const struct pilot_service *s = j->ix->svcs[i];
		bool twin = (i > 0 && strcmp(j->ix->svcs[i - 1]->hostname, s->hostname) == 0) ||
			(i + 1 < j->ix->nsvcs &&
				strcmp(j->ix->svcs[i + 1]->hostname, s->hostname) == 0);
		if (!egress_has(j, e, s))
			continue;
		if (twin && pilot_world_find(j->w, s->hostname, j->p->ns) != (int)i)
			continue;
		e->svcs[e->nsvcs++] = (uint32_t)i;
		j->marks[i] = 1;
		j->dynamic_dns = j->dynamic_dns || s->resolution == PILOT_RES_DYNAMIC_DNS;
	}
	j->fp = mt_hash_mix(j->fp, j->dynamic_dns);
}

static void mark(struct pilot_job *j, const Nw__Destination *d, const struct pilot_vs *vs)
{
	const char *host;
	int i = d ? pilot_job_service(j, d->host, vs->obj->ns, &host) : -1;
	if (i >= 0)
		j->marks[i] = 1;
}

static void mark_destinations(struct pilot_job *j, const struct pilot_vs *vs)
{
	const Nw__VirtualService *s = vs->spec;
	for (size_t i = 0; i < vs->nhttp; i++) {
		const struct pilot_http *h = &vs->http[i];
		for (size_t k = 0; k < h->spec->n_route; k++)
			mark(j, h->spec->route[k]->destination, h->from);
		mark(j, h->spec->mirror, h->from);
		for (size_t k = 0; k < h->spec->n_mirrors; k++)
			mark(j, h->spec->mirrors[k]->destination, h->from);
	}
	for (size_t i = 0; i < s->n_tcp; i++)
		for (size_t k = 0; k < s->tcp[i]->n_route; k++)
			mark(j, s->tcp[i]->route[k]->destination, vs);
	for (size_t i = 0; i < s->n_tls; i++)
		for (size_t k = 0; k < s->tls[i]->n_route; k++)
			mark(j, s->tls[i]->route[k]->destination, vs);
}

static void egress_spec(
	struct pilot_job *j, struct pilot_egress *e, const Nw__IstioEgressListener *l)
{
	e->spec = l;
	e->capture = l->capture_mode != NW__CAPTURE_MODE__NONE &&
		!(l->capture_mode == NW__CAPTURE_MODE__DEFAULT && j->p->none);
	e->bind = *l->bind ? l->bind : e->capture ? NULL : "127.0.0.1";
	if (!l->port)
		return;
	e->port = (uint16_t)l->port->number;
	e->protocol = pilot_protocol_of(l->port->protocol, l->port->name, e->port);
	e->unix_socket = e->bind && mt_str_prefix(e->bind, "unix://");
	if (e->unix_socket)
		e->capture = false;
	if (!pilot_protocol_is_http(e->protocol) && e->protocol != PILOT_AUTO)
		return;
	e->route = mt_arena_printf(j->a, "%u", e->port);
	if (e->unix_socket)
		e->route = e->bind;
	for (const struct pilot_egress *o = j->egress; o < e; o++)
		if (o->route && strcmp(o->route, e->route) == 0) {
			/* Two listeners on one port: the second needs routes of its own. */
			e->route = mt_arena_printf(j->a, "%s:%u", e->bind ? e->bind : "", e->port);
			break;
		}
}

/* proxyHttpPort: an HTTP proxy for applications that are told of it (http_proxy), beside what the
 * scope has; it sees what the catch-all listener sees. */
static void http_proxy(struct pilot_job *j)
{
	struct pilot_egress *e = &j->egress[j->negress];
	for (size_t i = 0; i < j->negress; i++)
		if (j->egress[i].port == j->mesh->http_port)
			return;
	*e = (struct pilot_egress){ .spec = j->egress[j->negress - 1].spec,
		.port = j->mesh->http_port,
		.protocol = PILOT_HTTP_PROXY,
		.bind = j->p->ipv4 || !j->p->ipv6 ? "127.0.0.1" : "::1",
		.route = "http_proxy" };
	j->negress++;
}

/* Where connections to what nobody knows go. */
static void unknown_traffic(struct pilot_job *j, const Nw__Sidecar *s)
{
	const Nw__OutboundTrafficPolicy *p = s ? s->outbound_traffic_policy : NULL;
	const Nw__Destination *d = p ? p->egress_proxy : NULL;
	const char *host;
	j->unknown = j->passthrough ? "PassthroughCluster" : "BlackHoleCluster";
	if (!j->passthrough || !d)
		return;
	int svc = pilot_job_service(j, d->host, j->sidecar->obj->ns, &host);
	uint16_t port = d->port ? (uint16_t)d->port->number : 0;
	if (svc < 0 || !j->clusters[svc] || pilot_service_port(j->ix->svcs[svc], port) < 0) {
		/* Nothing goes out past the proxy that was asked for. */
		j->unknown = "BlackHoleCluster";
		j->passthrough = false;
		pilot_job_note(j, j->sidecar->id, PILOT_NOTE_PENDING,
			"spec.outboundTrafficPolicy.egressProxy",
			"port %u of %s is not among what egress lets in", port, host);
		return;
	}
	j->unknown = pilot_out_name(j, port, d->subset, host);
	j->has_egress_proxy = true;
}

void pilot_scope_sidecar(struct pilot_job *j)
{
	j->sidecar = pilot_index_sidecar(j->ix, j->p);
	const Nw__Sidecar *s = j->sidecar ? j->sidecar->spec : NULL;
	size_t n = s ? s->n_egress : 0;
	j->passthrough = j->mesh->allow_any;
	if (s && s->outbound_traffic_policy)
		j->passthrough = s->outbound_traffic_policy->mode ==
			NW__OUTBOUND_TRAFFIC_POLICY__MODE__ALLOW_ANY;
	j->negress = n ? n : 1;
	j->egress = MT_ANEWN(j->a, struct pilot_egress, j->negress + 1);
	if (n) {
		for (size_t i = 0; i < n; i++)
			egress_spec(j, &j->egress[i], s->egress[i]);
	} else {
		j->egress[0].capture = !j->p->none;
		j->egress[0].bind = j->p->none ? "127.0.0.1" : NULL;
	}
	if (j->mesh->http_port)
		http_proxy(j);
	for (size_t i = 0; i < j->negress; i++)
		egress_services(j, &j->egress[i]);
	for (size_t k = 0; k < j->ix->nvss; k++)
		for (size_t i = 0; i < j->negress && j->ix->vss[k].mesh; i++)
			if (pilot_egress_vs(j, &j->egress[i], &j->ix->vss[k]))
				mark_destinations(j, &j->ix->vss[k]);
	unknown_traffic(j, s);
	j->fp = mt_hash_mix(j->fp, mt_hash_str(j->unknown));
	if (j->sidecar)
		j->fp = mt_hash_mix(j->fp, mt_hash_mix(j->sidecar->obj->hash, j->sidecar->id));
}

static const char *short_name(struct pilot_job *j, const struct pilot_service *s)
{
	return mt_arena_strndup(j->a, s->hostname, strcspn(s->hostname, "."));
}

/* A second service on the same port: the first one stays. */
static void shadowed_inbound(
	struct pilot_job *j, const struct pilot_inbound *first, const struct pilot_inbound *in)
{
	if (first->svc && in->svc && first->svc->id != in->svc->id)
		pilot_job_note(j, in->svc->id, PILOT_NOTE_SHADOWED, "spec.ports",
			"port %u of the workload is served as %s", in->port, first->svc->hostname);
}

static void inbound_done(struct pilot_job *j, struct pilot_inbound *in)
{
	for (size_t i = 0; i < j->ninbound; i++)
		if (&j->inbound[i] != in && j->inbound[i].port == in->port &&
			mt_streq(j->inbound[i].bind, in->bind)) {
			pilot_tally(j, PILOT_TALLY_conflict_inbound_listener, "%s:%u",
				j->p->workload, in->port);
			return shadowed_inbound(j, &j->inbound[i], in);
		}
	in->cluster = mt_arena_printf(j->a, "inbound|%u||", in->port);
	struct pilot_mtls_query q = { .ns = j->p->ns,
		.labels = j->p->labels,
		.nlabels = j->p->nlabels,
		.port = in->port,
		.service = in->svc ? short_name(j, in->svc) : NULL,
		.service_port = in->svc_port };
	in->mtls = pilot_index_mtls(j->ix, &q, &in->mtls_id);
	if (in->mtls == PILOT_MTLS_PERMISSIVE && !j->p->sds)
		in->mtls = PILOT_MTLS_DISABLE; /* no certificate to answer with */
	j->ninbound++;
}

/* defaultEndpoint: "127.0.0.1:PORT", "0.0.0.0:PORT" (the workload's address), unix:///PATH. */
static void ingress_target(
	struct pilot_job *j, const Nw__IstioIngressListener *l, struct pilot_inbound *in)
{
	char host[256];
	uint16_t port;
	in->to = j->p->ipv4 || !j->p->ipv6 ? "127.0.0.1" : "::1";
	in->to_port = in->port;
	in->as_addressed = !*l->default_endpoint && in->capture && j->mesh->inbound_as_addressed;
	if (mt_str_prefix(l->default_endpoint, "unix://")) {
		in->to = l->default_endpoint;
	} else if (*l->default_endpoint &&
		mt_hostport_parse(l->default_endpoint, host, &port) == 0) {
		in->to_port = port;
		if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
			in->to = j->p->ips[0];
		else if (*host)
			in->to = mt_arena_strdup(j->a, host);
	}
}

static void inbound_ingress(struct pilot_job *j, const Nw__IstioIngressListener *l,
	const struct pilot_instance *inst, size_t ninst)
{
	struct pilot_inbound *in = &j->inbound[j->ninbound];
	if (!l->port)
		return;
	*in = (struct pilot_inbound){ .port = (uint16_t)l->port->number };
	in->protocol = pilot_protocol_of(l->port->protocol, l->port->name, in->port);
	if (in->protocol == PILOT_UDP) {
		pilot_job_note(j, j->sidecar->id, PILOT_NOTE_IGNORED, "spec.ingress",
			"UDP port %u is not carried by the mesh", in->port);
		return;
	}
	in->capture = l->capture_mode != NW__CAPTURE_MODE__NONE &&
		!(l->capture_mode == NW__CAPTURE_MODE__DEFAULT && j->p->none);
	in->bind = *l->bind ? l->bind : in->capture ? NULL : j->p->ips[0];
	ingress_target(j, l, in);
	in->tls = l->tls;
	in->pool =
		l->connection_pool ? l->connection_pool : j->sidecar->spec->inbound_connection_pool;
	for (size_t i = 0; i < ninst && !in->svc; i++) {
		const struct pilot_service *s = j->ix->svcs[inst[i].service];
		const struct pilot_endpoint *e =
			&pilot_world_eps(j->w, inst[i].service)->v[inst[i].endpoint];
		for (size_t k = 0; k < s->nports; k++)
			if (e->ports[k] == in->port) {
				in->svc = s;
				in->ep = e;
				in->svc_port = s->ports[k].number;
				break;
			}
	}
	inbound_done(j, in);
}

static void inbound_instance(struct pilot_job *j, const struct pilot_instance *inst)
{
	const struct pilot_service *s = j->ix->svcs[inst->service];
	const struct pilot_endpoint *e = &pilot_world_eps(j->w, inst->service)->v[inst->endpoint];
	for (size_t k = 0; k < s->nports; k++) {
		struct pilot_inbound *in = &j->inbound[j->ninbound];
		if (!e->ports[k] || s->ports[k].protocol == PILOT_UDP)
			continue;
		*in = (struct pilot_inbound){ .port = e->ports[k],
			.protocol = s->ports[k].protocol,
			.capture = !j->p->none,
			.bind = j->p->none ? e->address : NULL,
			.to = j->p->ipv4 || !j->p->ipv6 ? "127.0.0.1" : "::1",
			.to_port = e->ports[k],
			.as_addressed = !j->p->none && j->mesh->inbound_as_addressed,
			.svc = s,
			.ep = e,
			.svc_port = s->ports[k].number,
			.pool = j->sidecar ? j->sidecar->spec->inbound_connection_pool : NULL };
		inbound_done(j, in);
	}
}

void pilot_scope_inbound(struct pilot_job *j)
{
	struct pilot_instance *inst;
	size_t n = pilot_world_instances(j->w, j->p, j->a, &inst), max = 0;
	const Nw__Sidecar *s = j->sidecar ? j->sidecar->spec : NULL;
	for (size_t i = 0; i < n; i++)
		max += j->ix->svcs[inst[i].service]->nports;
	if (s)
		max += s->n_ingress;
	j->inbound = MT_ANEWN(j->a, struct pilot_inbound, max + 1);
	if (s && s->n_ingress)
		for (size_t i = 0; i < s->n_ingress; i++)
			inbound_ingress(j, s->ingress[i], inst, n);
	else
		for (size_t i = 0; i < n; i++)
			inbound_instance(j, &inst[i]);
}

static struct pilot_gw_port *gw_port(struct pilot_job *j, const char *bind, uint16_t port)
{
	for (size_t i = 0; i < j->ngws; i++)
		if (j->gws[i].port == port && strcmp(j->gws[i].bind, bind) == 0)
			return &j->gws[i];
	struct pilot_gw_port *g = &j->gws[j->ngws++];
	g->bind = bind;
	g->port = port;
	return g;
}

bool pilot_server_plain_http(const Nw__Server *s)
{
	enum pilot_protocol p = PILOT_TCP;
	pilot_protocol_parse(s->port->protocol, &p);
	return pilot_protocol_is_http(p) &&
		(!s->tls || s->tls->https_redirect ||
			s->tls->mode == NW__SERVER_TLSSETTINGS__TLSMODE__PASSTHROUGH);
}

static void add_server(struct pilot_job *j, const struct pilot_gw *gw, const Nw__Server *s)
{
	bool unix_socket = mt_str_prefix(s->bind, "unix://");
	if (!s->port || (!s->port->number && !unix_socket) || s->port->number > 65535)
		return;
	if (pilot_protocol_of(s->port->protocol, "", (uint16_t)s->port->number) == PILOT_UDP) {
		pilot_job_note(j, gw->id, PILOT_NOTE_IGNORED, "spec.servers",
			"UDP port %u is not carried by the mesh", s->port->number);
		return;
	}
	const char *bind = *s->bind ? s->bind : j->p->ipv4 || !j->p->ipv6 ? "0.0.0.0" : "::";
	struct pilot_gw_port *g = gw_port(j, bind, (uint16_t)s->port->number);
	bool http = pilot_server_plain_http(s);
	if (!g->n)
		g->plain_http = http;
	if (g->plain_http != http) {
		pilot_job_note(j, gw->id, PILOT_NOTE_SHADOWED, "spec.servers",
			"port %u is taken by another protocol", g->port);
		return;
	}
	struct pilot_gw_server v = { gw, s };
	mt_vec_apush(j->a, g, v);
}

void pilot_scope_gateway(struct pilot_job *j)
{
	size_t max = 0;
	for (size_t i = 0; i < j->ix->ngws; i++)
		max += j->ix->gws[i].spec->n_servers;
	j->pilot_in_gateway = true;
	j->unknown = "BlackHoleCluster";
	j->gws = MT_ANEWN(j->a, struct pilot_gw_port, max + 1);
	for (size_t i = 0; i < j->ix->ngws; i++) {
		const struct pilot_gw *gw = &j->ix->gws[i];
		if (!pilot_job_labels(j, gw->spec->selector, gw->spec->n_selector))
			continue;
		for (size_t k = 0; k < gw->spec->n_servers; k++)
			add_server(j, gw, gw->spec->servers[k]);
		j->fp = mt_hash_mix(j->fp, mt_hash_mix(gw->obj->hash, gw->id));
	}
	struct pilot_egress *e = MT_ANEW(j->a, struct pilot_egress);
	egress_services(j, e);
	j->egress = e;
	j->negress = 1;
	for (size_t k = 0; k < j->ix->nvss; k++)
		if (j->ix->vss[k].ngateways)
			mark_destinations(j, &j->ix->vss[k]);
}
