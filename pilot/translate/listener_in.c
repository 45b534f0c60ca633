/* Inbound listeners and chains.
 *
 * Mutual TLS of a port: STRICT has one chain that requires it, and no other chain may match, so that
 * plaintext is refused. PERMISSIVE has two: the mesh's own TLS is told by its ALPN ("istio"), all
 * else, the application's own TLS included, passes as it is. DISABLE has the second alone. A Sidecar's
 * ingress listener may end TLS of its own in the second.
 *
 * A port of which nobody says what it speaks has a chain for HTTP beside each of the two: in plaintext
 * the first bytes tell, under the mesh's TLS what the sender offers (pilot/filter/alpn.c). */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/tls.h"

/* The Sidecar's TLS for who comes without the mesh's own. */
static Core__TransportSocket *own_tls(
	struct pilot_job *j, const struct pilot_inbound *in, bool http)
{
	return pilot_tls_server(j, in->tls, http, j->sidecar->id, "spec.ingress",
		mt_arena_printf(j->a, "port %u", in->port));
}

static Listener__FilterChain *closed(struct pilot_job *j, const struct pilot_inbound *in)
{
	struct pilot_filter_in f = { j, PILOT_AT_INBOUND, in, 0 };
	return pilot_chain_new(j, mt_arena_printf(j->a, "%sclosed", in->cluster),
		pilot_tcp_filter(j, &f, "BlackHoleCluster", "BlackHoleCluster"));
}

/* Closed when its own TLS has no certificate: nothing comes in, rather than plaintext. */
static Listener__FilterChain *chain(
	struct pilot_job *j, const struct pilot_inbound *in, bool tls, bool http)
{
	struct pilot_filter_in f = { j, PILOT_AT_INBOUND, in, 1u << in->protocol };
	Listener__Filter *filter;
	if (http) {
		struct pilot_hcm h = { .f = f,
			.rds = in->cluster,
			.mtls = tls,
			.stat_prefix = mt_arena_printf(j->a, "inbound_%s_%u",
				in->bind && !mt_str_prefix(in->bind, "unix://") ? in->bind
										: "0.0.0.0",
				in->port) };
		filter = pilot_hcm_filter(j, &h);
	} else {
		filter = pilot_tcp_filter(j, &f, in->cluster, in->cluster);
	}
	Listener__FilterChain *c = pilot_chain_new(
		j, mt_arena_printf(j->a, "%s%s", in->cluster, tls ? "mtls" : "plain"), filter);
	if (!http)
		pilot_chain_protocol(j, c, in->protocol, in->cluster, in->cluster);
	if (tls)
		c->transport_socket = pilot_tls_mesh_downstream(j, http);
	else if (in->tls && !(c->transport_socket = own_tls(j, in, http)))
		return closed(j, in);
	return c;
}

/* Adds a chain for the port, named as what it is for. */
static Listener__FilterChain *add(struct pilot_job *j, Listener__Listener *l,
	const struct pilot_inbound *in, bool tls, bool http)
{
	Listener__FilterChain *c = chain(j, in, tls, http);
	if (http && in->protocol == PILOT_AUTO)
		c->name = mt_arena_printf(j->a, "%s-http", c->name);
	if (in->capture)
		pilot_chain_match(j, c)->destination_port = pb_u32(j->a, in->port);
	pb_add(j->a, l, filter_chains, c);
	return c;
}

/* Chains for the mesh's own TLS. Envoy does not go back on a match: either all of them name the
 * transport protocol or none does. */
static void add_mesh(struct pilot_job *j, Listener__Listener *l, const struct pilot_inbound *in)
{
	bool mixed = in->mtls == PILOT_MTLS_PERMISSIVE;
	Listener__FilterChain *c = add(j, l, in, true, pilot_protocol_is_http(in->protocol));
	if (mixed) {
		pilot_chain_match(j, c)->transport_protocol = pb_s("tls");
		pb_add(j->a, pilot_chain_match(j, c), application_protocols, pb_s("istio"));
		pilot_tls_inspector(j, l);
	}
	if (in->protocol != PILOT_AUTO)
		return;
	c = add(j, l, in, true, true);
	if (mixed)
		pilot_chain_match(j, c)->transport_protocol = pb_s("tls");
	for (size_t i = 0; i < pilot_nalpn_http; i++)
		pb_add(j->a, pilot_chain_match(j, c), application_protocols,
			pb_s(pilot_alpn_http[i]));
	pilot_tls_inspector(j, l);
}

/* The chain takes TLS that is not the mesh's own: where a chain for the mesh's stands beside it,
 * one without a transport protocol does not get it. */
static Listener__FilterChain *other_tls(struct pilot_job *j, Listener__FilterChain *c)
{
	pilot_chain_match(j, c)->transport_protocol = pb_s("tls");
	c->name = mt_arena_printf(j->a, "%s-tls", c->name);
	return c;
}

/* The application's own TLS, whatever is in it. */
static void add_other_tls(
	struct pilot_job *j, Listener__Listener *l, const struct pilot_inbound *in)
{
	struct pilot_filter_in f = { j, PILOT_AT_INBOUND, in, 1u << in->protocol };
	Listener__FilterChain *c = pilot_chain_new(j, mt_arena_printf(j->a, "%splain", in->cluster),
		pilot_tcp_filter(j, &f, in->cluster, in->cluster));
	if (in->capture)
		pilot_chain_match(j, c)->destination_port = pb_u32(j->a, in->port);
	pb_add(j->a, l, filter_chains, other_tls(j, c));
}

/* Chains for who comes without the mesh's own TLS. */
static void add_plain(struct pilot_job *j, Listener__Listener *l, const struct pilot_inbound *in)
{
	bool http = pilot_protocol_is_http(in->protocol), mixed = in->mtls == PILOT_MTLS_PERMISSIVE;
	Listener__FilterChain *c = add(j, l, in, false, http);
	if (mixed && in->tls)
		other_tls(j, c);
	else if (mixed && !http)
		add_other_tls(j, l, in);
	if (in->protocol == PILOT_AUTO && !in->tls) {
		pilot_match_http(j, add(j, l, in, false, true));
		pilot_http_inspector(j, l);
	}
}

static void add_chains(struct pilot_job *j, Listener__Listener *l, const struct pilot_inbound *in)
{
	if (in->mtls != PILOT_MTLS_DISABLE)
		add_mesh(j, l, in);
	if (in->mtls != PILOT_MTLS_STRICT) {
		add_plain(j, l, in);
	} else if (in->tls) {
		pilot_job_note(j, j->sidecar->id, PILOT_NOTE_IGNORED, "spec.ingress",
			"tls of port %u: mutual TLS of the mesh is required there", in->port);
	}
	pilot_prov_add(j, in->svc ? in->svc->id : 0);
	pilot_prov_add(j, in->mtls_id);
}

Listener__Listener *pilot_build_inbound_own(struct pilot_job *j, const struct pilot_inbound *in)
{
	Listener__Listener *l = pilot_listener_new(j, pilot_listener_name(j, in->bind, in->port),
		in->bind, in->port, CORE__TRAFFIC_DIRECTION__INBOUND);
	add_chains(j, l, in);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	return l;
}

/* A strict port of a proxy without certificates: closed. */
static void add_closed(struct pilot_job *j, Listener__Listener *l, const struct pilot_inbound *in)
{
	Listener__FilterChain *c = closed(j, in);
	pilot_chain_match(j, c)->destination_port = pb_u32(j->a, in->port);
	pb_add(j->a, l, filter_chains, c);
	pilot_job_note(j, in->mtls_id, PILOT_NOTE_PENDING, "",
		"port %u is strict and the proxy has no certificates", in->port);
}

/* Ports that no service has: passed on, under the workload's mutual TLS mode. */
static void add_rest(struct pilot_job *j, Listener__Listener *l)
{
	struct pilot_filter_in f = { j, PILOT_AT_INBOUND, NULL, 0 };
	static const char cluster[] = "InboundPassthroughCluster";
	uint32_t id;
	struct pilot_mtls_query q = {
		.ns = j->p->ns, .labels = j->p->labels, .nlabels = j->p->nlabels
	};
	enum pilot_mtls mode = pilot_index_mtls(j->ix, &q, &id);
	bool closed = mode == PILOT_MTLS_STRICT && !j->p->sds;
	if (mode != PILOT_MTLS_DISABLE && j->p->sds) {
		Listener__FilterChain *c =
			pilot_chain_new(j, "rest-mtls", pilot_tcp_filter(j, &f, cluster, cluster));
		c->transport_socket = pilot_tls_mesh_downstream(j, false);
		if (mode == PILOT_MTLS_PERMISSIVE) {
			pilot_chain_match(j, c)->transport_protocol = pb_s("tls");
			pb_add(j->a, pilot_chain_match(j, c), application_protocols, pb_s("istio"));
			pilot_tls_inspector(j, l);
		}
		pb_add(j->a, l, filter_chains, c);
	}
	if (mode != PILOT_MTLS_STRICT || closed) {
		const char *to = closed ? "BlackHoleCluster" : cluster;
		pb_add(j->a, l, filter_chains,
			pilot_chain_new(j, "rest-plain", pilot_tcp_filter(j, &f, to, to)));
		if (mode == PILOT_MTLS_PERMISSIVE && j->p->sds)
			pb_add(j->a, l, filter_chains,
				other_tls(j,
					pilot_chain_new(
						j, "rest-plain", pilot_tcp_filter(j, &f, to, to))));
	}
	pilot_prov_add(j, id);
}

/* Only the ports that need it wait for first bytes. */
static void inspect_where_needed(struct pilot_job *j, Listener__Listener *l)
{
	Listener__ListenerFilterChainMatchPredicate__MatchSet *any =
		pb_new(j->a, listener__listener_filter_chain_match_predicate__match_set);
	Listener__ListenerFilterChainMatchPredicate *p, *not ;
	for (size_t i = 0; i < j->ninbound; i++) {
		if (!j->inbound[i].capture || j->inbound[i].protocol != PILOT_AUTO)
			continue;
		p = pb_new(j->a, listener__listener_filter_chain_match_predicate);
		p->rule_case =
			LISTENER__LISTENER_FILTER_CHAIN_MATCH_PREDICATE__RULE_DESTINATION_PORT_RANGE;
		p->destination_port_range = pb_new(j->a, etype__int32_range);
		p->destination_port_range->start = j->inbound[i].port;
		p->destination_port_range->end = j->inbound[i].port + 1;
		pb_add(j->a, any, rules, p);
	}
	p = any->n_rules ? any->rules[0] : NULL;
	if (any->n_rules > 1) {
		p = pb_new(j->a, listener__listener_filter_chain_match_predicate);
		p->rule_case = LISTENER__LISTENER_FILTER_CHAIN_MATCH_PREDICATE__RULE_OR_MATCH;
		p->or_match = any;
	}
	not = pb_new(j->a, listener__listener_filter_chain_match_predicate);
	not ->rule_case = LISTENER__LISTENER_FILTER_CHAIN_MATCH_PREDICATE__RULE_NOT_MATCH;
	not ->not_match = p;
	for (size_t i = 0; p && i < l->n_listener_filters; i++)
		if (strcmp(l->listener_filters[i]->name, "envoy.filters.listener.http_inspector") ==
			0)
			l->listener_filters[i]->filter_disabled = not ;
}

Listener__Listener *pilot_build_inbound_virtual(struct pilot_job *j)
{
	struct pilot_filter_in f = { j, PILOT_AT_INBOUND, NULL, 0 };
	Listener__Listener *l = pilot_listener_new(j, "virtualInbound",
		j->p->ipv4 || !j->p->ipv6 ? "0.0.0.0" : "::", j->mesh->inbound_port,
		CORE__TRAFFIC_DIRECTION__INBOUND);
	pilot_listener_filter(j, l, "envoy.filters.listener.original_dst",
		"envoy.extensions.filters.listener.original_dst.v3.OriginalDst");
	if (j->p->tproxy)
		l->transparent = pb_bool(j->a, true);
	/* Not redirected, so its destination is this listener: never send it to itself. */
	Listener__FilterChain *self = pilot_chain_new(j, "virtualInbound-trap",
		pilot_tcp_filter(j, &f, "BlackHoleCluster", "BlackHoleCluster"));
	pilot_chain_match(j, self)->destination_port = pb_u32(j->a, j->mesh->inbound_port);
	pb_add(j->a, l, filter_chains, self);
	for (size_t i = 0; i < j->ninbound; i++) {
		const struct pilot_inbound *in = &j->inbound[i];
		if (!in->capture || in->port == j->mesh->inbound_port)
			continue;
		if (in->mtls == PILOT_MTLS_STRICT && !j->p->sds)
			add_closed(j, l, in);
		else
			add_chains(j, l, in);
	}
	add_rest(j, l);
	inspect_where_needed(j, l);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	return l;
}
