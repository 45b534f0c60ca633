/* Planning listeners, and what all listeners share.
 *
 *   ADDRESS_PORT      outbound: HTTP (one a port, routes by RDS), TCP and TLS services; gateways;
 *                     with captureMode NONE inbound too
 *   virtualOutbound   15001: takes what was redirected, hands it to the listener of its original
 *                     destination, or passes it through or drops it
 *   virtualInbound    15006: every captured inbound port, a filter chain each */
#include "pilot/translate/listener.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/translate/mesh_settings.h"

const char *pilot_listener_name(struct pilot_job *j, const char *bind, uint16_t port)
{
	if (mt_str_prefix(bind, "unix://"))
		return bind;
	return mt_arena_printf(j->a, "%s_%u", bind, port);
}

Listener__Listener *pilot_listener_new(struct pilot_job *j, const char *name, const char *bind,
	uint16_t port, Core__TrafficDirection dir)
{
	Listener__Listener *l = pb_new(j->a, listener__listener);
	l->name = pb_s(name);
	l->address = pb_bind(j->a, bind, port);
	l->traffic_direction = dir;
	const Google__Protobuf__Int32Value *buffer =
		pilot_connection_settings(j)->listener_per_connection_buffer_limit_bytes;
	if (buffer && buffer->value > 0)
		l->per_connection_buffer_limit_bytes = pb_u32(j->a, (uint32_t)buffer->value);
	if (j->p->ipv4 && j->p->ipv6 && strcmp(bind, "0.0.0.0") == 0) {
		/* Every address, of both families. */
		Listener__AdditionalAddress *more = pb_new(j->a, listener__additional_address);
		more->address = pb_bind(j->a, "::", port);
		pb_add(j->a, l, additional_addresses, more);
	}
	return l;
}

Listener__FilterChain *pilot_chain_new(struct pilot_job *j, const char *name, Listener__Filter *f)
{
	Listener__FilterChain *c = pb_new(j->a, listener__filter_chain);
	c->name = pb_s(name);
	pb_add(j->a, c, filters, f);
	return c;
}

Listener__FilterChainMatch *pilot_chain_match(struct pilot_job *j, Listener__FilterChain *c)
{
	if (!c->filter_chain_match)
		c->filter_chain_match = pb_new(j->a, listener__filter_chain_match);
	return c->filter_chain_match;
}

void pilot_listener_filter(
	struct pilot_job *j, Listener__Listener *l, const char *name, const char *type)
{
	for (size_t i = 0; i < l->n_listener_filters; i++)
		if (strcmp(l->listener_filters[i]->name, name) == 0)
			return;
	Listener__ListenerFilter *f = pb_new(j->a, listener__listener_filter);
	f->name = pb_s(name);
	f->config_type_case = LISTENER__LISTENER_FILTER__CONFIG_TYPE_TYPED_CONFIG;
	f->typed_config = mt_pb_any(j->a, mt_pb_new(mt_pb_type(type), j->a));
	pb_add(j->a, l, listener_filters, f);
}

/* A protocol in which the server speaks first sends nothing to inspect: go on without. */
static void inspection_time(struct pilot_job *j, Listener__Listener *l)
{
	l->listener_filters_timeout = pb_dur(j->a, j->mesh->detection_timeout_ns);
	l->continue_on_listener_filters_timeout = true;
}

void pilot_tls_inspector(struct pilot_job *j, Listener__Listener *l)
{
	pilot_listener_filter(j, l, "envoy.filters.listener.tls_inspector",
		"envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector");
	inspection_time(j, l);
}

void pilot_http_inspector(struct pilot_job *j, Listener__Listener *l)
{
	pilot_listener_filter(j, l, "envoy.filters.listener.http_inspector",
		"envoy.extensions.filters.listener.http_inspector.v3.HttpInspector");
	inspection_time(j, l);
}

void pilot_match_http(struct pilot_job *j, Listener__FilterChain *c)
{
	static const char *const names[] = { "http/1.0", "http/1.1", "h2c" };
	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++)
		pb_add(j->a, pilot_chain_match(j, c), application_protocols, pb_s(names[i]));
}

static uint64_t inbound_fp(const struct pilot_inbound *in)
{
	uint64_t h = mt_hash_mix(mt_hash_str(in->cluster), (uint64_t)in->protocol << 8 | in->mtls);
	h = mt_hash_mix(h, in->mtls_id);
	h = mt_hash_mix(h, in->bind ? mt_hash_str(in->bind) : 0);
	h = mt_hash_mix(h, in->svc ? in->svc->hash : 0);
	return mt_hash_mix(h, in->svc_port);
}

uint64_t pilot_proxy_fp(const struct pilot_job *j)
{
	uint64_t h = mt_hash_mix(mt_hash_str(j->p->id), mt_hash_str(j->p->workload));
	h = mt_hash_mix(h, mt_hash_str(j->p->service_account));
	for (size_t i = 0; i < j->p->nips; i++)
		h = mt_hash_mix(h, mt_hash_str(j->p->ips[i]));
	for (size_t i = 0; i < j->p->nlabels; i++)
		h = mt_hash_mix(h,
			mt_hash_mix(mt_hash_str(j->p->labels[i].key),
				mt_hash_str(j->p->labels[i].value)));
	return h;
}

static uint64_t proxy_fp(const struct pilot_job *j)
{
	return pilot_class_own_inbound(j->w, j->p) ? pilot_proxy_fp(j) : 0;
}

void pilot_plan_listeners(struct pilot_job *j, struct pilot_plan *p)
{
	if (j->p->type == PILOT_ROUTER) {
		for (size_t i = 0; i < j->ngws; i++) {
			uint64_t fp = proxy_fp(j);
			for (size_t k = 0; k < j->ix->nvss && !j->gws[i].plain_http; k++)
				if (j->ix->vss[k].ngateways)
					fp = mt_hash_mix(fp, pilot_l4_fp(j, &j->ix->vss[k]));
			fp = mt_hash_mix(fp, pilot_gw_auto_fp(j, &j->gws[i]));
			pilot_plan_add(j, p, pilot_listener_name(j, j->gws[i].bind, j->gws[i].port),
				fp, PILOT_HOW_LISTENER_GATEWAY, &j->gws[i]);
		}
		return;
	}
	struct pilot_out_listener *v;
	size_t n = pilot_out_listeners(j, &v);
	for (size_t i = 0; i < n; i++)
		pilot_plan_add(j, p, v[i].name, v[i].fp, PILOT_HOW_LISTENER_OUT, &v[i]);
	bool captured = false;
	for (size_t i = 0; i < j->negress; i++)
		captured = captured || j->egress[i].capture;
	if (captured && !j->p->none)
		pilot_plan_add(j, p, "virtualOutbound", 1, PILOT_HOW_LISTENER_VIRTUAL_OUT, NULL);
}

void pilot_plan_listeners_inbound(struct pilot_job *j, struct pilot_plan *p)
{
	bool captured = j->p->type == PILOT_SIDECAR && !j->p->none;
	bool ingress = j->sidecar && j->sidecar->spec->n_ingress;
	/* Ports without a service go by the policies too. */
	uint64_t own = proxy_fp(j), all = mt_hash_mix(own, j->ix->auth_hash);
	size_t ncaptured = 0;
	for (size_t i = 0; i < j->ninbound; i++) {
		const struct pilot_inbound *in = &j->inbound[i];
		if (in->capture) {
			all = mt_hash_mix(all, inbound_fp(in));
			ncaptured++;
			continue;
		}
		if (in->mtls == PILOT_MTLS_STRICT && !j->p->sds) {
			/* Without a certificate there is only plaintext, which this port refuses. */
			pilot_job_note(j, in->mtls_id, PILOT_NOTE_PENDING, "",
				"port %u is strict and the proxy has no certificates", in->port);
			continue;
		}
		pilot_plan_add(j, p, pilot_listener_name(j, in->bind, in->port),
			mt_hash_mix(own, inbound_fp(in)), PILOT_HOW_LISTENER_IN, in);
	}
	/* A Sidecar that binds all its ports itself captures nothing. */
	if (captured && (ncaptured || !ingress))
		pilot_plan_add(j, p, "virtualInbound", all, PILOT_HOW_LISTENER_VIRTUAL_IN, NULL);
}

static Listener__Listener *virtual_outbound(struct pilot_job *j)
{
	struct pilot_filter_in f = { j, PILOT_AT_OUTBOUND, NULL, 0 };
	const char *to = j->unknown;
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	Listener__Listener *l = pilot_listener_new(j, "virtualOutbound",
		j->p->ipv4 || !j->p->ipv6 ? "0.0.0.0" : "::", j->mesh->listen_port,
		CORE__TRAFFIC_DIRECTION__OUTBOUND);
	l->use_original_dst = pb_bool(j->a, true);
	if (j->p->tproxy)
		l->transparent = pb_bool(j->a, true);
	/* A connection to this very port was not redirected: never send it to itself. */
	Listener__FilterChain *self = pilot_chain_new(j, "virtualOutbound-trap",
		pilot_tcp_filter(j, &f, "BlackHoleCluster", "BlackHoleCluster"));
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0); /* outboundTrafficPolicy */
	pilot_chain_match(j, self)->destination_port = pb_u32(j->a, j->mesh->listen_port);
	pb_add(j->a, l, filter_chains, self);
	pb_add(j->a, l, filter_chains,
		pilot_chain_new(j, "virtualOutbound-rest", pilot_tcp_filter(j, &f, to, to)));
	return l;
}

ProtobufCMessage *pilot_build_listener(struct pilot_job *j, const struct pilot_item *it)
{
	switch ((enum pilot_how)it->how) {
	case PILOT_HOW_LISTENER_OUT: return &pilot_build_out(j, it->what)->base;
	case PILOT_HOW_LISTENER_VIRTUAL_OUT: return &virtual_outbound(j)->base;
	case PILOT_HOW_LISTENER_VIRTUAL_IN: return &pilot_build_inbound_virtual(j)->base;
	case PILOT_HOW_LISTENER_GATEWAY: return &pilot_build_gateway(j, it->what)->base;
	default: return &pilot_build_inbound_own(j, it->what)->base;
	}
}
