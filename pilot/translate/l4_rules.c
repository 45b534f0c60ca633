/* tcp and tls rules of virtual services, as filter chains: of a sidecar's listener or a gateway's
 * server.
 *
 * Source labels and namespace, gateways and port are known here; server names and subnets become the
 * chain's match. Rules are in order, but Envoy takes the narrowest match, so a rule that is wider
 * than a later one does not hide it. */
#include <string.h>

#include "common/base/hash.h"
#include "pilot/translate/listener.h"

/* A match of either kind: the same conditions under two types. */
struct at {
	uint32_t port;
	const void *labels;
	size_t nlabels;
	char **gateways;
	size_t ngateways;
	const char *ns;
	char **dst;
	size_t ndst;
	char *const *src;
	size_t nsrc;
};

static bool applies(const struct pilot_l4_ctx *c, const struct at *m)
{
	struct pilot_job *j = c->c->j;
	return (!m->port || m->port == c->port) &&
		pilot_match_gateway(j, c->vs, c->server, m->gateways, m->ngateways) &&
		pilot_job_labels(j, m->labels, m->nlabels) &&
		(!*m->ns || strcmp(m->ns, j->p->ns) == 0);
}

/* The first destination's: a connection has one name. */
static void dynamic_dns(const struct pilot_l4_ctx *c, Listener__FilterChain *fc,
	Nw__RouteDestination **route, size_t n)
{
	struct pilot_job *j = c->c->j;
	const Nw__Destination *d = n ? route[0]->destination : NULL;
	const char *host;
	int svc = d ? pilot_job_service(j, d->host, c->vs->obj->ns, &host) : -1;
	if (svc < 0)
		return;
	const struct pilot_service *s = j->ix->svcs[svc];
	int k = d->port          ? pilot_service_port(s, (uint16_t)d->port->number)
		: s->nports == 1 ? 0
				 : pilot_service_port(s, c->port);
	if (k >= 0)
		pilot_dynamic_dns_chain(j, fc, s, (uint32_t)k);
}

static void chain(const struct pilot_l4_ctx *c, const struct at *m, struct pilot_chain_on *on,
	Nw__RouteDestination **route, size_t n)
{
	struct pilot_job *j = c->c->j;
	Listener__FilterChain *fc = pilot_chain_new(j, "",
		pilot_tcp_route_filter(j, &c->f, c->stat, route, n, c->vs, on->path, c->port));
	/* Commands can be sent to one cluster, not split among several. */
	const char *one = c->protocol == PILOT_REDIS && n == 1
		? pilot_dest_cluster(j, route[0]->destination, c->vs, on->path, c->port)
		: NULL;
	pilot_chain_protocol(j, fc, c->protocol, c->stat, one);
	dynamic_dns(c, fc, route, n);
	fc->transport_socket = c->socket;
	on->id = c->vs->id;
	on->dst = m->ndst ? m->dst : c->cidr;
	on->ndst = m->ndst ? m->ndst : c->ncidr;
	on->src = m->src;
	on->nsrc = m->nsrc;
	pilot_chains_add(c->c, on, fc);
}

/* Match k of a rule; a rule without matches has one that takes everything. */
static size_t tcp_matches(const Nw__TCPRoute *r)
{
	return r->n_match ? r->n_match : 1;
}

static struct at tcp_match(const Nw__TCPRoute *r, size_t k)
{
	static const Nw__L4MatchAttributes any = NW__L4_MATCH_ATTRIBUTES__INIT;
	const Nw__L4MatchAttributes *m = r->n_match ? r->match[k] : &any;
	return (struct at){ m->port, m->source_labels, m->n_source_labels, m->gateways,
		m->n_gateways, m->source_namespace, m->destination_subnets,
		m->n_destination_subnets, &m->source_subnet, *m->source_subnet ? 1 : 0 };
}

/* The rules from i on that are for this proxy and port, and that nothing can reach any more. */
static void never(const struct pilot_l4_ctx *c, size_t i)
{
	for (; i < c->vs->spec->n_tcp; i++) {
		const Nw__TCPRoute *r = c->vs->spec->tcp[i];
		bool here = false;
		for (size_t k = 0; k < tcp_matches(r) && !here; k++) {
			struct at at = tcp_match(r, k);
			here = applies(c, &at);
		}
		if (here)
			pilot_job_note(c->c->j, c->vs->id, PILOT_NOTE_IGNORED,
				mt_arena_printf(c->c->j->a, "spec.tcp[%zu]", i),
				"an earlier rule takes every connection");
	}
}

bool pilot_tcp_rules(const struct pilot_l4_ctx *c)
{
	for (size_t i = 0; i < c->vs->spec->n_tcp; i++) {
		const Nw__TCPRoute *r = c->vs->spec->tcp[i];
		for (size_t k = 0; k < tcp_matches(r); k++) {
			struct at at = tcp_match(r, k);
			if (!applies(c, &at))
				continue;
			struct pilot_chain_on on = { .sni = c->sni,
				.nsni = c->nsni,
				.path = mt_arena_printf(c->c->j->a, "spec.tcp[%zu]", i) };
			chain(c, &at, &on, r->route, r->n_route);
			if (at.ndst || at.nsrc)
				continue;
			never(c, i + 1);
			return true;
		}
	}
	return false;
}

bool pilot_tls_rules(const struct pilot_l4_ctx *c)
{
	bool found = false;
	for (size_t i = 0; i < c->vs->spec->n_tls; i++) {
		const Nw__TLSRoute *r = c->vs->spec->tls[i];
		for (size_t k = 0; k < r->n_match; k++) {
			const Nw__TLSMatchAttributes *m = r->match[k];
			struct at at = { m->port, m->source_labels, m->n_source_labels, m->gateways,
				m->n_gateways, m->source_namespace, m->destination_subnets,
				m->n_destination_subnets, &m->source_subnet,
				*m->source_subnet ? 1 : 0 };
			if (!applies(c, &at))
				continue;
			struct pilot_chain_on on = { .sni = m->sni_hosts,
				.nsni = m->n_sni_hosts,
				.path = mt_arena_printf(c->c->j->a, "spec.tls[%zu]", i) };
			chain(c, &at, &on, r->route, r->n_route);
			found = true;
		}
	}
	return found;
}

uint64_t pilot_l4_fp(struct pilot_job *j, const struct pilot_vs *vs)
{
	uint64_t h = vs->hash;
	for (size_t i = 0; i < vs->spec->n_tcp; i++)
		for (size_t k = 0; k < vs->spec->tcp[i]->n_route; k++)
			if (vs->spec->tcp[i]->route[k]->destination)
				h = mt_hash_mix(h,
					pilot_dest_fp(
						j, vs->spec->tcp[i]->route[k]->destination, vs));
	for (size_t i = 0; i < vs->spec->n_tls; i++)
		for (size_t k = 0; k < vs->spec->tls[i]->n_route; k++)
			if (vs->spec->tls[i]->route[k]->destination)
				h = mt_hash_mix(h,
					pilot_dest_fp(
						j, vs->spec->tls[i]->route[k]->destination, vs));
	return h;
}
