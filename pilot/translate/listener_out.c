/* Outbound listeners: which there are, and their chains.
 *
 * HTTP services of a port share one listener on the wildcard address; the Host header decides. A TCP
 * service has the listener of its virtual address, or without one the wildcard: there the first (by
 * name) has the port. TLS services share a wildcard listener by server name. What cannot be told
 * apart is noted, the first stays: an update with a conflict in it would be refused whole. */
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/translate/listener.h"

struct outs {
	struct pilot_job *j;
	struct pilot_out_listener *v;
	size_t n;
	size_t cap;
};

static struct pilot_out_listener *get(
	struct outs *o, const struct pilot_egress *e, const char *bind, uint16_t port)
{
	/* The last ones are the likeliest: services come in order of ports and egress listeners. */
	for (size_t i = o->n; i-- > 0;)
		if (o->v[i].port == port && strcmp(o->v[i].bind, bind) == 0)
			return &o->v[i];
	struct pilot_out_listener l = { .name = pilot_listener_name(o->j, bind, port),
		.bind = bind,
		.port = port,
		.capture = e->capture,
		.egress = e };
	mt_vec_apush(o->j->a, o, l);
	return &o->v[o->n - 1];
}

static bool is_sni(const struct pilot_job *j, const struct pilot_out_target *t)
{
	return pilot_protocol_is_tls(j->ix->svcs[t->svc]->ports[t->port].protocol);
}

static const struct pilot_vs *rules_of(
	struct pilot_job *j, const struct pilot_egress *e, const struct pilot_out_target *t)
{
	const struct pilot_service *s = j->ix->svcs[t->svc];
	return pilot_job_vs(j, e, s->hostname, is_sni(j, t) ? PILOT_VS_TLS : PILOT_VS_TCP,
		s->ports[t->port].number);
}

static uint64_t target_fp(
	struct pilot_job *j, const struct pilot_egress *e, const struct pilot_out_target *t)
{
	const struct pilot_service *s = j->ix->svcs[t->svc];
	const struct pilot_vs *vs = rules_of(j, e, t);
	const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, (int)t->svc);
	uint64_t h = mt_hash_mix(s->hash, dr ? dr->hash : 0);
	return mt_hash_mix(h, vs ? pilot_l4_fp(j, vs) : 0);
}

static void push_target(struct outs *o, const struct pilot_egress *e, struct pilot_out_listener *l,
	struct pilot_out_target t)
{
	struct pilot_job *j = o->j;
	const struct pilot_service *s = j->ix->svcs[t.svc];
	for (size_t i = 0; i < l->n && !is_sni(j, &t) && !t.cidr; i++)
		if (!is_sni(j, &l->v[i]) && !l->v[i].cidr) {
			pilot_job_note(j, s->id, PILOT_NOTE_SHADOWED, "spec.ports",
				"port %u of %s is taken by %s", l->port, s->hostname,
				j->ix->svcs[l->v[i].svc]->hostname);
			pilot_tally(j, PILOT_TALLY_conflict_outbound_listener_tcp_over_current_tcp,
				"%s:%u", s->hostname, l->port);
			return;
		}
	mt_vec_apush(j->a, l, t);
	l->fp = mt_hash_mix(l->fp, target_fp(j, e, &t));
	l->fp = mt_hash_mix(l->fp, (uint64_t)t.port << 1 | (t.cidr != NULL));
}

/* Where a port of a service is listened on; a Unix socket has none. */
static uint16_t port_of(const struct pilot_egress *e, const struct pilot_service *s, uint32_t port)
{
	return e->port || e->unix_socket ? e->port : s->ports[port].number;
}

static void add_target(struct outs *o, const struct pilot_egress *e, const char *bind, uint32_t svc,
	uint32_t port, const char *cidr)
{
	struct pilot_job *j = o->j;
	const struct pilot_service *s = j->ix->svcs[svc];
	struct pilot_out_listener *l = get(o, e, bind, port_of(e, s, port));
	struct pilot_out_target t = { svc, port, cidr };
	if (l->egress != e)
		return;
	if (l->route) {
		pilot_job_note(j, s->id, PILOT_NOTE_SHADOWED, "spec.ports",
			"port %u of %s is taken by an HTTP listener", l->port, s->hostname);
		pilot_tally(j, PILOT_TALLY_conflict_outbound_listener_tcp_over_current_http,
			"%s:%u", s->hostname, l->port);
		return;
	}
	push_target(o, e, l, t);
}

/* NULL: another egress listener has the address. */
static struct pilot_out_listener *http_listener(struct outs *o, const struct pilot_egress *e,
	const char *bind, uint16_t port, const char *route, enum pilot_protocol protocol)
{
	struct pilot_out_listener *l = get(o, e, bind, port);
	if (l->egress != e)
		return NULL;
	if (!l->route) {
		if (l->n)
			pilot_tally(o->j,
				PILOT_TALLY_conflict_outbound_listener_http_over_current_tcp, "%s",
				l->name);
		l->route = route ? route : mt_arena_printf(o->j->a, "%u", port);
		l->n = 0;
		l->fp = mt_hash_mix(mt_hash_str(l->route), 5);
	}
	if (!(l->protocols & 1u << protocol)) {
		l->protocols |= 1u << protocol;
		if (protocol != PILOT_HTTP)
			l->fp = mt_hash_mix(l->fp, protocol);
	}
	return l;
}

static const char *any(const struct pilot_job *j)
{
	return j->p->ipv4 || !j->p->ipv6 ? "0.0.0.0" : "::";
}

static void tcp_service(struct outs *o, const struct pilot_egress *e, uint32_t svc, uint32_t port)
{
	const struct pilot_service *s = o->j->ix->svcs[svc];
	struct mt_ip ip;
	if (e->bind) {
		add_target(o, e, e->bind, svc, port, NULL);
		return;
	}
	for (size_t i = 0; i < s->naddresses; i++)
		if (mt_ip_parse(s->addresses[i], &ip) == 0)
			add_target(o, e, s->addresses[i], svc, port, NULL);
		else
			add_target(o, e, any(o->j), svc, port, s->addresses[i]);
	if (!s->naddresses)
		add_target(o, e, any(o->j), svc, port, NULL);
}

/* A port of which nobody said what it speaks. Its virtual address has a listener of its own. Without
 * one it shares the wildcard address: what looks like HTTP goes by its Host there, for the rest there
 * is only one service, the first. */
static void detected(struct outs *o, const struct pilot_egress *e, uint32_t svc, uint32_t port,
	const char *route)
{
	struct pilot_job *j = o->j;
	const struct pilot_service *s = j->ix->svcs[svc];
	uint16_t number = port_of(e, s, port);
	struct pilot_out_target t = { svc, port, NULL };
	struct mt_ip ip;
	bool own = false;
	for (size_t i = 0; i < s->naddresses && !e->bind; i++) {
		if (mt_ip_parse(s->addresses[i], &ip) < 0)
			continue;
		own = true;
		if (get(o, e, s->addresses[i], number)->route) {
			pilot_job_note(j, s->id, PILOT_NOTE_SHADOWED, "spec.ports",
				"%s:%u is taken by another service", s->addresses[i], number);
			continue;
		}
		struct pilot_out_listener *l = http_listener(o, e, s->addresses[i], number,
			mt_arena_printf(j->a, "%s:%u", s->hostname, number), PILOT_AUTO);
		if (!l)
			continue;
		l->one = true;
		push_target(o, e, l, t);
	}
	if (own)
		return;
	struct pilot_out_listener *l =
		http_listener(o, e, e->bind ? e->bind : any(j), number, route, PILOT_AUTO);
	if (!l)
		return;
	for (size_t i = 0; i < s->naddresses && !e->bind; i++) {
		t.cidr = s->addresses[i];
		push_target(o, e, l, t);
	}
	if (!t.cidr)
		push_target(o, e, l, t);
}

/* Two rounds: HTTP first, so that it has the wildcard address of its ports. */
static void catch_all(struct outs *o, const struct pilot_egress *e, bool http)
{
	struct pilot_job *j = o->j;
	for (size_t i = 0; i < e->nsvcs; i++) {
		const struct pilot_service *s = j->ix->svcs[e->svcs[i]];
		for (uint32_t k = 0; k < s->nports; k++) {
			bool own = false; /* another egress listener has this port */
			for (size_t m = 0; m < j->negress; m++)
				own = own || j->egress[m].port == s->ports[k].number;
			enum pilot_protocol p = s->ports[k].protocol;
			if (own || p == PILOT_UDP ||
				(pilot_protocol_is_http(p) || p == PILOT_AUTO) != http)
				continue;
			if (p == PILOT_AUTO)
				detected(o, e, e->svcs[i], k, NULL);
			else if (http)
				http_listener(o, e, e->bind ? e->bind : any(j), s->ports[k].number,
					NULL, p);
			else
				tcp_service(o, e, e->svcs[i], k);
		}
	}
}

static void one_target(struct outs *o, const struct pilot_egress *e, uint32_t svc, uint32_t port)
{
	struct pilot_job *j = o->j;
	bool http = pilot_protocol_is_http(e->protocol), unsaid = e->protocol == PILOT_AUTO;
	enum pilot_protocol p = j->ix->svcs[svc]->ports[port].protocol;
	if (unsaid && !pilot_protocol_is_http(p) && p != PILOT_UDP)
		detected(o, e, svc, port, e->route);
	else if (pilot_protocol_is_http(p) && (http || unsaid))
		http_listener(o, e, e->bind ? e->bind : any(j), e->port, e->route, p);
	else if (!http && !unsaid && !pilot_protocol_is_http(p) && p != PILOT_UDP)
		tcp_service(o, e, svc, port);
}

static void one_port(struct outs *o, const struct pilot_egress *e)
{
	struct pilot_job *j = o->j;
	const char *bind = e->bind ? e->bind : any(j);
	if (e->protocol == PILOT_UDP) {
		pilot_job_note(j, j->sidecar->id, PILOT_NOTE_IGNORED, "spec.egress",
			"UDP port %u is not carried by the mesh", e->port);
		return;
	}
	if (pilot_protocol_is_http(e->protocol) || e->protocol == PILOT_AUTO)
		http_listener(o, e, bind, e->port, e->route, e->protocol);
	for (size_t i = 0; i < e->nsvcs; i++) {
		const struct pilot_service *s = j->ix->svcs[e->svcs[i]];
		for (uint32_t k = 0; k < s->nports; k++)
			if (!e->port || s->ports[k].number == e->port)
				one_target(o, e, e->svcs[i], k);
	}
}

size_t pilot_out_listeners(struct pilot_job *j, struct pilot_out_listener **ret)
{
	struct outs o = { .j = j };
	for (size_t i = 0; i < j->negress; i++)
		if (j->egress[i].port || j->egress[i].unix_socket)
			one_port(&o, &j->egress[i]);
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < j->negress; i++)
			if (!j->egress[i].port && !j->egress[i].unix_socket)
				catch_all(&o, &j->egress[i], round == 0);
	size_t n = 0;
	for (size_t i = 0; i < o.n; i++)
		if (o.v[i].route || o.v[i].n)
			o.v[n++] = o.v[i];
	*ret = o.v;
	return n;
}

/* ---- chains ---- */

static void target_chains(struct pilot_chains *c, const struct pilot_out_listener *o,
	const struct pilot_filter_in *f, const struct pilot_out_target *t)
{
	struct pilot_job *j = c->j;
	const struct pilot_service *s = j->ix->svcs[t->svc];
	uint16_t port = s->ports[t->port].number;
	const struct pilot_vs *vs = rules_of(j, o->egress, t);
	const char *cluster = pilot_out_name(j, port, "", s->hostname);
	char *cidr = pb_s(t->cidr), *name = pb_s(s->hostname);
	struct pilot_l4_ctx at = { .c = c,
		.f = *f,
		.vs = vs,
		.port = port,
		.protocol = s->ports[t->port].protocol,
		.stat = cluster,
		.cidr = &cidr,
		.ncidr = t->cidr ? 1 : 0 };
	bool sni = is_sni(j, t);
	/* On a virtual address of its own the service needs no name to be told. */
	bool own = strcmp(o->bind, any(j)) != 0 && !o->egress->bind;
	pilot_prov_add(j, s->id);
	if (vs && (sni ? pilot_tls_rules(&at) : pilot_tcp_rules(&at)))
		return;
	Listener__FilterChain *fc =
		pilot_chain_new(j, "", pilot_tcp_filter(j, f, cluster, cluster));
	pilot_chain_protocol(j, fc, at.protocol, cluster, cluster);
	pilot_dynamic_dns_chain(j, fc, s, t->port);
	pilot_chains_add(c,
		&(struct pilot_chain_on){ .id = s->id,
			.path = "spec.ports",
			.sni = &name,
			.nsni = sni && !own,
			.dst = &cidr,
			.ndst = at.ncidr },
		fc);
}

/* The chain for HTTP: the only one, or the one for what looks like it. A block of addresses needs its
 * own, since Envoy looks at the destination first. */
static void http_chains(
	struct pilot_chains *c, const struct pilot_out_listener *o, const struct pilot_filter_in *f)
{
	struct pilot_job *j = c->j;
	struct pilot_hcm h = { .f = *f,
		.rds = o->route,
		.stat_prefix = mt_arena_printf(j->a, "outbound_%s", o->name) };
	Listener__FilterChain *all =
		pilot_chain_new(j, o->n ? "http" : "", pilot_hcm_filter(j, &h));
	pb_add(j->a, c->l, filter_chains, all);
	if (!o->n)
		return;
	pilot_http_inspector(j, c->l);
	pilot_match_http(j, all);
	for (size_t i = 0; i < o->n; i++) {
		Core__CidrRange *r = o->v[i].cidr ? pb_cidr(j->a, o->v[i].cidr) : NULL;
		if (!r)
			continue;
		/* With a filter of its own: patches change filters in place. */
		Listener__FilterChain *fc = pilot_chain_new(
			j, mt_arena_printf(j->a, "http-%s", o->v[i].cidr), pilot_hcm_filter(j, &h));
		pilot_match_http(j, fc);
		pb_add(j->a, fc->filter_chain_match, prefix_ranges, r);
		pb_add(j->a, c->l, filter_chains, fc);
	}
}

Listener__Listener *pilot_build_out(struct pilot_job *j, const struct pilot_out_listener *o)
{
	struct pilot_filter_in f = { j, PILOT_AT_OUTBOUND, NULL, o->protocols };
	Listener__Listener *l =
		pilot_listener_new(j, o->name, o->bind, o->port, CORE__TRAFFIC_DIRECTION__OUTBOUND);
	if (o->capture)
		l->bind_to_port = pb_bool(j->a, false);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	struct pilot_chains c = { .j = j, .l = l };
	if (o->route)
		http_chains(&c, o, &f);
	if (o->route && !o->n)
		return l;
	for (size_t i = 0; i < o->n; i++)
		target_chains(&c, o, &f, &o->v[i]);
	if (!l->default_filter_chain && o->capture) {
		const char *to = j->unknown;
		l->default_filter_chain = pilot_chain_new(j, "", pilot_tcp_filter(j, &f, to, to));
	}
	return l;
}
