/* Patches of listeners, their filter chains, network filters and HTTP filters.
 *
 * Every patch, in its order, walks the listener: is the listener meant, then each chain, then what is
 * in it. Connection managers are packed in their filters: they are opened, changed and packed again,
 * once for each patch that is for HTTP filters. */
#include "pilot/filter/patch_listener.h"

#include <string.h>

#include "common/base/strs.h"
#include "common/schema/envoy_patch.h"
#include "common/schema/pb_merge.h"
#include "pilot/translate/listener.h"

#define TO(name) NW__ENVOY_FILTER__APPLY_TO__##name
#define OP(name) NW__ENVOY_FILTER__PATCH__OPERATION__##name
#define IN(name) NW__ENVOY_FILTER__PATCH_CONTEXT__##name

static const char hcm_name[] = "envoy.filters.network.http_connection_manager";

struct place {
	struct pilot_job *j;
	pilot_patch_context context;
	const char *name;
	const char *bind;
	uint16_t port;
	bool virtual; /* its own port is not one of a service */
};

static const Nw__EnvoyFilter__ListenerMatch *listener_match(const struct pilot_patch *p)
{
	const Nw__EnvoyFilter__EnvoyConfigObjectMatch *m = p->match;
	return m &&
			m->object_types_case ==
				NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_LISTENER
		? m->listener
		: NULL;
}

static bool name_is(const char *name, const char *want, bool prefix)
{
	return prefix ? mt_str_prefix(name, want) : strcmp(name, want) == 0;
}

/* A port of this number has that name, in a service or a Sidecar's or Gateway's listener. */
static bool port_named(const struct place *at, uint16_t port, const char *want, bool prefix)
{
	struct pilot_job *j = at->j;
	bool inbound = at->context == IN(SIDECAR_INBOUND);
	for (size_t i = 0; inbound && i < j->ninbound; i++) {
		int k = j->inbound[i].svc
			? pilot_service_port(j->inbound[i].svc, j->inbound[i].svc_port)
			: -1;
		if (k >= 0 && j->inbound[i].port == port &&
			name_is(j->inbound[i].svc->ports[k].name, want, prefix))
			return true;
	}
	for (size_t i = 0; i < j->ngws; i++)
		for (size_t k = 0; j->gws[i].port == port && k < j->gws[i].n; k++)
			if (name_is(j->gws[i].v[k].spec->port->name, want, prefix))
				return true;
	for (size_t i = 0; !inbound && !j->ngws && i < j->ix->nsvcs; i++) {
		int k = j->clusters[i] ? pilot_service_port(j->ix->svcs[i], port) : -1;
		if (k >= 0 && name_is(j->ix->svcs[i]->ports[k].name, want, prefix))
			return true;
	}
	return false;
}

static bool is_meant(const struct place *at, const struct pilot_patch *p)
{
	const Nw__EnvoyFilter__ListenerMatch *m = listener_match(p);
	const Nw__EnvoyFilter__DeprecatedListenerMatch *o = p->old;
	bool any_port = at->virtual && p->to != TO(LISTENER); /* then chains have ports */
	if (m && *m->name && strcmp(m->name, at->name) != 0)
		return false;
	if (m && m->port_number && !any_port && m->port_number != at->port)
		return false;
	if (m && *m->port_name && !any_port && !port_named(at, at->port, m->port_name, false))
		return false;
	if (o && o->port_number && !any_port && o->port_number != at->port)
		return false;
	if (o && *o->port_name_prefix && !any_port &&
		!port_named(at, at->port, o->port_name_prefix, true))
		return false;
	for (size_t i = 0; o && i < o->n_address; i++)
		if (strcmp(o->address[i], at->bind) == 0)
			return true;
	return !o || !o->n_address;
}

/* ---- chains ---- */

static bool is_http(const Listener__FilterChain *c)
{
	for (size_t i = 0; i < c->n_filters; i++)
		if (strcmp(c->filters[i]->name, hcm_name) == 0)
			return true;
	return false;
}

/* One of a list separated by commas is among v. */
static bool among(const char *list, char **v, size_t n)
{
	while (*list) {
		size_t len = strcspn(list, ",");
		for (size_t i = 0; i < n; i++)
			if (strlen(v[i]) == len && memcmp(v[i], list, len) == 0)
				return true;
		list += len + (list[len] == ',');
	}
	return false;
}

/* The chains of a virtual listener have the ports that a match speaks of. */
static bool chain_port(
	const struct place *at, const struct pilot_patch *p, const Listener__FilterChain *c)
{
	const Nw__EnvoyFilter__ListenerMatch *m = listener_match(p);
	const Listener__FilterChainMatch *fm = c->filter_chain_match;
	uint32_t have = fm && fm->destination_port ? fm->destination_port->value : 0;
	uint32_t want = m && m->port_number ? m->port_number : p->old ? p->old->port_number : 0;
	const char *name = m ? m->port_name : p->old ? p->old->port_name_prefix : "";
	if (!at->virtual)
		return true;
	if (want && want != have)
		return false;
	return !*name || (have && port_named(at, (uint16_t)have, name, p->old != NULL));
}

static bool chain_meant(
	const struct place *at, const struct pilot_patch *p, const Listener__FilterChain *c)
{
	static const Listener__FilterChainMatch none = LISTENER__FILTER_CHAIN_MATCH__INIT;
	const Nw__EnvoyFilter__ListenerMatch *lm = listener_match(p);
	const Nw__EnvoyFilter__ListenerMatch__FilterChainMatch *m = lm ? lm->filter_chain : NULL;
	const Listener__FilterChainMatch *fm =
		c->filter_chain_match ? c->filter_chain_match : &none;
	if (!chain_port(at, p, c))
		return false;
	if (p->old && p->old->listener_protocol) {
		bool http = p->old->listener_protocol ==
			NW__ENVOY_FILTER__DEPRECATED_LISTENER_MATCH__LISTENER_PROTOCOL__HTTP;
		if (http != is_http(c))
			return false;
	}
	if (!m)
		return true;
	if (*m->name && strcmp(m->name, c->name) != 0)
		return false;
	if (*m->sni && !among(m->sni, fm->server_names, fm->n_server_names))
		return false;
	if (*m->transport_protocol && strcmp(m->transport_protocol, fm->transport_protocol) != 0)
		return false;
	if (*m->application_protocols &&
		!among(m->application_protocols, fm->application_protocols,
			fm->n_application_protocols))
		return false;
	return !m->destination_port ||
		(fm->destination_port && fm->destination_port->value == m->destination_port);
}

/* ---- what is in a chain ---- */

static Hcm__HttpConnectionManager *open_hcm(struct pilot_job *j, Listener__Filter *f)
{
	if (strcmp(f->name, hcm_name) != 0 ||
		f->config_type_case != LISTENER__FILTER__CONFIG_TYPE_TYPED_CONFIG)
		return NULL;
	ProtobufCMessage *m = mt_pb_any_unpack(f->typed_config, j->a, NULL);
	return m && m->descriptor == &hcm__http_connection_manager__descriptor
		? (Hcm__HttpConnectionManager *)m
		: NULL;
}

static void not_there(const struct place *at, const struct pilot_patch *p)
{
	pilot_job_note(at->j, p->id, PILOT_NOTE_IGNORED, p->path, "%s has no filter %s", at->name,
		*p->target ? p->target : "that the match could mean");
}

/* The network filter whose HTTP filters a patch means; "": of every connection manager. */
static const char *manager(const struct pilot_patch *p)
{
	const Nw__EnvoyFilter__ListenerMatch *m = listener_match(p);
	return m && m->filter_chain && m->filter_chain->filter
		? mt_patch_filter_name(m->filter_chain->filter->name)
		: "";
}

static void http_filters(
	const struct place *at, const struct pilot_patch *p, Listener__FilterChain *c)
{
	struct pilot_job *j = at->j;
	const char *wanted = manager(p);
	if (*wanted && strcmp(wanted, hcm_name) != 0) {
		pilot_job_note(
			j, p->id, PILOT_NOTE_IGNORED, p->path, "%s has no HTTP filters", wanted);
		return;
	}
	for (size_t i = 0; i < c->n_filters; i++) {
		Hcm__HttpConnectionManager *m = open_hcm(j, c->filters[i]);
		if (!m)
			continue;
		struct pilot_patch_list l = { (ProtobufCMessage ***)&m->http_filters,
			&m->n_http_filters, true };
		if (pilot_patch_list(j, p, &l, false))
			c->filters[i]->typed_config = mt_pb_any(j->a, &m->base);
		else
			not_there(at, p);
	}
}

static void one_chain(const struct place *at, const struct pilot_patch *p, Listener__FilterChain *c)
{
	struct pilot_patch_list l = { (ProtobufCMessage ***)&c->filters, &c->n_filters, true };
	if (!chain_meant(at, p, c))
		return;
	if (p->to == TO(HTTP_FILTER))
		http_filters(at, p, c);
	else if (p->to == TO(NETWORK_FILTER) && !pilot_patch_list(at->j, p, &l, false))
		not_there(at, p);
	else if (p->to == TO(FILTER_CHAIN) &&
		(p->op == OP(MERGE) || p->op == OP(MERGE_AND_REPLACE_LIST)))
		pilot_patch_merge(at->j, p, &c->base);
}

static void chain_removal(
	const struct place *at, const struct pilot_patch *p, Listener__Listener *l)
{
	size_t n = 0;
	bool hit = false;
	for (size_t i = 0; i < l->n_filter_chains; i++)
		if (!chain_meant(at, p, l->filter_chains[i]))
			l->filter_chains[n++] = l->filter_chains[i];
		else
			hit = true;
	l->n_filter_chains = n;
	if (l->default_filter_chain && chain_meant(at, p, l->default_filter_chain)) {
		l->default_filter_chain = NULL;
		hit = true;
	}
	if (hit)
		pilot_patch_hit(at->j, p);
}

static void one_patch(const struct place *at, const struct pilot_patch *p, Listener__Listener *l)
{
	struct pilot_patch_list filters = { (ProtobufCMessage ***)&l->listener_filters,
		&l->n_listener_filters, false };
	switch (p->to) {
	case TO(LISTENER):
		if (p->op == OP(MERGE) || p->op == OP(MERGE_AND_REPLACE_LIST))
			pilot_patch_merge(at->j, p, &l->base);
		return;
	case TO(LISTENER_FILTER):
		if (!pilot_patch_list(at->j, p, &filters, false))
			not_there(at, p);
		return;
	case TO(FILTER_CHAIN):
		if (p->op == OP(ADD)) {
			pb_add(at->j->a, l, filter_chains,
				(Listener__FilterChain *)pilot_patch_value(at->j, p));
			pilot_patch_hit(at->j, p);
			return;
		}
		if (p->op == OP(REMOVE)) {
			chain_removal(at, p, l);
			return;
		}
		break;
	default: break;
	}
	for (size_t i = 0; i < l->n_filter_chains; i++)
		one_chain(at, p, l->filter_chains[i]);
	if (l->default_filter_chain)
		one_chain(at, p, l->default_filter_chain);
}

static struct place place_of(
	struct pilot_job *j, pilot_patch_context context, const Listener__Listener *l)
{
	struct place at = { .j = j, .context = context, .name = l->name, .bind = "" };
	const Core__SocketAddress *s =
		l->address && l->address->address_case == CORE__ADDRESS__ADDRESS_SOCKET_ADDRESS
		? l->address->socket_address
		: NULL;
	at.virtual = strcmp(l->name, "virtualInbound") == 0 ||
		strcmp(l->name, "virtualOutbound") == 0;
	if (s) {
		at.bind = s->address;
		at.port = (uint16_t)s->port_value;
	}
	return at;
}

void pilot_patch_listener(struct pilot_job *j, pilot_patch_context context, Listener__Listener *l)
{
	struct place at = place_of(j, context, l);
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		if (!pilot_patch_in(p, context) || pilot_patch_is_route(p))
			continue;
		if (p->to != TO(CLUSTER) && p->to != TO(EXTENSION_CONFIG) && is_meant(&at, p))
			one_patch(&at, p, l);
	}
}

bool pilot_patch_listener_item(
	struct pilot_job *j, const struct pilot_patch *p, const struct pilot_item *it)
{
	struct pilot_item copy = *it;
	struct pilot_built b = { .name = it->name };
	struct pilot_prov prov = j->prov;
	if (it->how == PILOT_HOW_PATCHED)
		return false;
	/* Few have such patches: the listener itself tells where it stands. */
	b.msg = pilot_build_listener(j, &copy);
	j->prov = prov;
	struct place at = place_of(j, p->context, (const Listener__Listener *)b.msg);
	return is_meant(&at, p);
}
