/* The rules of the index: virtual services by host, gateways, sidecars, policies; destination rules have
 * a file of their own, destination.c.
 *
 * "Oldest wins" is the rule wherever two objects claim one thing: by time of creation, then by
 * namespace and name so that the order never depends on the order of arrival. What loses is noted. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "istio/authentication/v1alpha1/authentication.pb-c.h"
#include "istio/networking/v1beta1/proxy_config.pb-c.h"
#include "istio/security/v1beta1/security.pb-c.h"
#include "pilot/model/envoy_filter.h"
#include "pilot/model/host.h"
#include "pilot/model/index.h"
#include "pilot/model/telemetry.h"

int pilot_config_by_age(const void *pa, const void *pb)
{
	const struct pilot_config *a = pa, *b = pb;
	if (a->obj->created_ns != b->obj->created_ns)
		return a->obj->created_ns < b->obj->created_ns ? -1 : 1;
	int r = strcmp(a->obj->ns, b->obj->ns);
	return r ? r : strcmp(a->obj->name, b->obj->name);
}

size_t pilot_index_of_type(struct pilot_index *ix, const struct pilot_world_in *in,
	const ProtobufCMessageDescriptor *d, struct pilot_config **ret)
{
	size_t n = 0;
	for (size_t i = 0; i < in->nconfigs; i++)
		n += in->configs[i].obj->kind->spec == d;
	struct pilot_config *v = MT_ANEWN(ix->arena, struct pilot_config, n + 1);
	n = 0;
	for (size_t i = 0; i < in->nconfigs; i++)
		if (in->configs[i].obj->kind->spec == d)
			v[n++] = in->configs[i];
	qsort(v, n, sizeof(*v), pilot_config_by_age);
	*ret = v;
	return n;
}

static void vs_gateways(struct pilot_index *ix, struct pilot_vs *vs)
{
	const Nw__VirtualService *s = vs->spec;
	vs->gateways = MT_ANEWN(ix->arena, const char *, s->n_gateways + 1);
	vs->mesh = s->n_gateways == 0;
	for (size_t i = 0; i < s->n_gateways; i++) {
		const char *g = pilot_gateway_name(ix->arena, s->gateways[i], vs->obj->ns);
		if (strcmp(g, "mesh") == 0)
			vs->mesh = true;
		else
			vs->gateways[vs->ngateways++] = g;
	}
}

static int by_host(const void *pa, const void *pb)
{
	const struct pilot_vs_host *a = pa, *b = pb;
	int r = strcmp(a->host, b->host);
	return r ? r : (a->vs > b->vs) - (a->vs < b->vs); /* one array, oldest first */
}

static int by_length(const void *pa, const void *pb)
{
	const struct pilot_vs_host *a = pa, *b = pb;
	size_t na = strlen(a->host), nb = strlen(b->host);
	return na != nb ? (na > nb ? -1 : 1) : by_host(pa, pb);
}

/* Where a virtual service is seen: its own list, or the mesh's default. */
static size_t seen_in(
	const struct pilot_index *ix, const struct pilot_vs *vs, const char *const **ret)
{
	const Mesh__MeshConfig *m = ix->mesh.spec;
	bool own = vs->spec->n_export_to;
	*ret = (const char *const *)(own ? vs->spec->export_to
					 : m->default_virtual_service_export_to);
	return own ? vs->spec->n_export_to : m->n_default_virtual_service_export_to;
}

/* Some namespace sees both. */
static bool meet(const struct pilot_index *ix, const struct pilot_vs *a, const struct pilot_vs *b)
{
	const char *const *to, *const *bto;
	size_t n = seen_in(ix, a, &to), bn = seen_in(ix, b, &bto);
	bool nobody = bn == 1 && strcmp(bto[0], "~") == 0;
	for (size_t i = 0; i < n; i++) {
		const char *ns = strcmp(to[i], ".") == 0 ? a->obj->ns : to[i];
		/* "*" is seen where the other is: in some namespace, unless that is nobody's. */
		if (strcmp(ns, "*") == 0 ? !nobody : pilot_exported(bto, bn, b->obj->ns, ns))
			return true;
	}
	return n == 0 && !nobody;
}

/* HTTP, TCP and TLS rules of one host may come from different objects. */
static bool same_rules(const struct pilot_vs *a, const struct pilot_vs *b)
{
	return (a->nhttp && b->nhttp) || (a->spec->n_tcp && b->spec->n_tcp) ||
		(a->spec->n_tls && b->spec->n_tls);
}

static void note_shadowed(struct pilot_index *ix)
{
	for (size_t i = 1; i < ix->nmesh_hosts; i++) {
		const struct pilot_vs_host *b = &ix->mesh_hosts[i];
		for (size_t k = i; k-- > 0 && strcmp(ix->mesh_hosts[k].host, b->host) == 0;) {
			const struct pilot_vs *a = ix->mesh_hosts[k].vs;
			if (a == b->vs || !same_rules(a, b->vs) || !meet(ix, a, b->vs))
				continue;
			pilot_note_add(ix->arena, &ix->notes, b->vs->id, PILOT_NOTE_SHADOWED,
				"spec.hosts", "%s is older and has host %s too", a->obj->name,
				b->host);
			break;
		}
	}
}

static void index_vs(struct pilot_index *ix, const struct pilot_world_in *in)
{
	struct pilot_config *c;
	size_t n = pilot_index_of_type(ix, in, &nw__virtual_service__descriptor, &c), hosts = 0;
	ix->vss = MT_ANEWN(ix->arena, struct pilot_vs, n + 1);
	for (size_t i = 0; i < n; i++) {
		struct pilot_vs *vs = &ix->vss[ix->nvss++];
		vs->id = c[i].id;
		vs->obj = c[i].obj;
		vs->spec = (const Nw__VirtualService *)c[i].obj->spec;
		vs->hosts = MT_ANEWN(ix->arena, const char *, vs->spec->n_hosts + 1);
		for (size_t k = 0; k < vs->spec->n_hosts; k++)
			vs->hosts[vs->nhosts++] = pilot_host_resolve(
				ix->arena, vs->spec->hosts[k], vs->obj->ns, ix->mesh.domain);
		vs_gateways(ix, vs);
		hosts += vs->nhosts;
	}
	pilot_index_delegates(ix);
	ix->mesh_hosts = MT_ANEWN(ix->arena, struct pilot_vs_host, hosts + 1);
	ix->wild_hosts = MT_ANEWN(ix->arena, struct pilot_vs_host, hosts + 1);
	for (size_t i = 0; i < ix->nvss; i++)
		for (size_t k = 0; ix->vss[i].mesh && k < ix->vss[i].nhosts; k++) {
			struct pilot_vs_host h = { ix->vss[i].hosts[k], &ix->vss[i] };
			ix->mesh_hosts[ix->nmesh_hosts++] = h;
			if (pilot_host_is_wild(h.host))
				ix->wild_hosts[ix->nwild_hosts++] = h;
		}
	qsort(ix->mesh_hosts, ix->nmesh_hosts, sizeof(*ix->mesh_hosts), by_host);
	qsort(ix->wild_hosts, ix->nwild_hosts, sizeof(*ix->wild_hosts), by_length);
	note_shadowed(ix);
}

static struct pilot_peer_auth *index_auth(struct pilot_index *ix, const struct pilot_world_in *in,
	const ProtobufCMessageDescriptor *d, size_t *ret_n)
{
	struct pilot_config *c;
	size_t n = pilot_index_of_type(ix, in, d, &c);
	struct pilot_peer_auth *v = MT_ANEWN(ix->arena, struct pilot_peer_auth, n + 1);
	for (size_t i = 0; i < n; i++) {
		v[i] = (struct pilot_peer_auth){ c[i].id, c[i].obj };
		ix->auth_hash = mt_hash_mix(ix->auth_hash, mt_hash_mix(c[i].obj->hash, c[i].id));
	}
	*ret_n = n;
	return v;
}

static void index_telemetry(struct pilot_index *ix, const struct pilot_world_in *in)
{
	struct pilot_config *c;
	size_t n = pilot_index_of_type(ix, in, &telemetry__telemetry__descriptor, &c);
	ix->telemetries = MT_ANEWN(ix->arena, struct pilot_telemetry_obj, n + 1);
	for (size_t i = 0; i < n; i++) {
		const Telemetry__Telemetry *s = (const Telemetry__Telemetry *)c[i].obj->spec;
		bool wide = (!s->selector || !s->selector->n_match_labels) && !s->targetref &&
			!s->n_targetrefs;
		ix->telemetries[i] = (struct pilot_telemetry_obj){ c[i].id, c[i].obj, s };
		pilot_telemetry_notes(ix, &ix->telemetries[i]);
		for (size_t k = 0; k < i && wide; k++) {
			const struct pilot_telemetry_obj *o = &ix->telemetries[k];
			if (strcmp(o->obj->ns, c[i].obj->ns) != 0 || o->spec->targetref ||
				o->spec->n_targetrefs ||
				(o->spec->selector && o->spec->selector->n_match_labels))
				continue;
			pilot_note_add(ix->arena, &ix->notes, c[i].id, PILOT_NOTE_SHADOWED, "",
				"%s is older and for the whole namespace too", o->obj->name);
			break;
		}
	}
	ix->ntelemetries = n;
}

/* Without a selector there is one for a namespace: the oldest. */
static void shadowed_sidecars(struct pilot_index *ix)
{
	for (size_t i = 0; i < ix->nsidecars; i++) {
		const struct pilot_sidecar *s = &ix->sidecars[i], *first = NULL;
		if (s->spec->workload_selector && s->spec->workload_selector->n_labels)
			continue;
		for (size_t k = 0; k < i && !first; k++)
			if (strcmp(ix->sidecars[k].obj->ns, s->obj->ns) == 0 &&
				!(ix->sidecars[k].spec->workload_selector &&
					ix->sidecars[k].spec->workload_selector->n_labels))
				first = &ix->sidecars[k];
		if (first)
			pilot_note_add(ix->arena, &ix->notes, s->id, PILOT_NOTE_SHADOWED, "",
				"Sidecar %s is older and for the whole namespace too",
				first->obj->name);
	}
}

/* They are for agents that start a proxy: pilot/agents_start.c. */
static void proxy_config_notes(struct pilot_index *ix, const struct pilot_world_in *in)
{
	struct pilot_config *c;
	size_t n = pilot_index_of_type(ix, in, &nwproxy__proxy_config__descriptor, &c);
	for (size_t i = 0; i < n; i++) {
		pilot_note_add(ix->arena, &ix->notes, c[i].id, PILOT_NOTE_IGNORED, "spec",
			"takes effect when the agent starts a proxy next");
		if (((const Nwproxy__ProxyConfig *)c[i].obj->spec)->image)
			pilot_note_add(ix->arena, &ix->notes, c[i].id, PILOT_NOTE_IGNORED,
				"spec.image", "the agent's --envoy is the proxy");
	}
}

static void index_rest(struct pilot_index *ix, const struct pilot_world_in *in)
{
	struct pilot_config *c;
	size_t n = pilot_index_of_type(ix, in, &nw__gateway__descriptor, &c);
	ix->gws = MT_ANEWN(ix->arena, struct pilot_gw, n + 1);
	for (ix->ngws = 0; ix->ngws < n; ix->ngws++)
		ix->gws[ix->ngws] = (struct pilot_gw){ c[ix->ngws].id, c[ix->ngws].obj,
			(const Nw__Gateway *)c[ix->ngws].obj->spec,
			mt_arena_printf(
				ix->arena, "%s/%s", c[ix->ngws].obj->ns, c[ix->ngws].obj->name) };
	n = pilot_index_of_type(ix, in, &nw__sidecar__descriptor, &c);
	ix->sidecars = MT_ANEWN(ix->arena, struct pilot_sidecar, n + 1);
	for (ix->nsidecars = 0; ix->nsidecars < n; ix->nsidecars++)
		ix->sidecars[ix->nsidecars] = (struct pilot_sidecar){ c[ix->nsidecars].id,
			c[ix->nsidecars].obj, (const Nw__Sidecar *)c[ix->nsidecars].obj->spec };
	index_telemetry(ix, in);
	proxy_config_notes(ix, in);
	n = pilot_index_of_type(ix, in, &nw__envoy_filter__descriptor, &c);
	pilot_index_patches(ix, c, n);
	shadowed_sidecars(ix);
	ix->peers = index_auth(ix, in, &sec__peer_authentication__descriptor, &ix->npeers);
	ix->policies = index_auth(ix, in, &authn__policy__descriptor, &ix->npolicies);
}

void pilot_index_rules(struct pilot_index *ix, const struct pilot_world_in *in)
{
	index_vs(ix, in);
	pilot_index_destinations(ix, in);
	index_rest(ix, in);
}
