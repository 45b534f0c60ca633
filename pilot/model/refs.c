#include "pilot/model/refs.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strs.h"
#include "common/base/vec.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "pilot/model/host.h"

struct walk {
	struct pilot_refs *out;
	const struct mt_object *o;
	const char *domain;
};

static struct pilot_ref *add(struct walk *w, enum pilot_ref_kind kind, const char *name)
{
	const struct pilot_ref r = {
		.kind = kind, .name = name, .bare = "", .subset = "", .port_name = "", .path = ""
	};
	mt_vec_apush(w->out->arena, w->out, r);
	return &w->out->v[w->out->n - 1];
}

static void add_dest(struct walk *w, const Nw__Destination *d, const char *path)
{
	if (!d || mt_str_empty(d->host))
		return;
	struct mt_arena *a = w->out->arena;
	const char *host = pilot_host_resolve(a, d->host, w->o->ns, w->domain);
	const char *bare = strchr(d->host, '.') ? "" : d->host;
	struct pilot_ref *r = add(w, PILOT_REF_SERVICE, host);
	r->bare = bare;
	r->path = path;
	if (d->port && d->port->port_case == NW__PORT_SELECTOR__PORT_NAME)
		r->port_name = d->port->name;
	else if (d->port)
		r->port = (uint16_t)d->port->number;
	if (mt_str_empty(d->subset))
		return;
	r = add(w, PILOT_REF_SUBSET, host);
	r->bare = bare;
	r->subset = d->subset;
	r->path = path;
}

static void add_http(struct walk *w, const Nw__HTTPRoute *h, size_t i)
{
	struct mt_arena *a = w->out->arena;
	for (size_t k = 0; k < h->n_route; k++)
		add_dest(w, h->route[k]->destination,
			mt_arena_printf(a, "spec.http[%zu].route[%zu]", i, k));
	add_dest(w, h->mirror, mt_arena_printf(a, "spec.http[%zu].mirror", i));
	for (size_t k = 0; k < h->n_mirrors; k++)
		add_dest(w, h->mirrors[k]->destination,
			mt_arena_printf(a, "spec.http[%zu].mirrors[%zu]", i, k));
	if (!h->delegate)
		return;
	const char *ns = mt_str_empty(h->delegate->namespace_) ? w->o->ns : h->delegate->namespace_;
	struct pilot_ref *r =
		add(w, PILOT_REF_DELEGATE, mt_arena_printf(a, "%s/%s", ns, h->delegate->name));
	r->path = mt_arena_printf(a, "spec.http[%zu].delegate", i);
}

static void add_gateway(struct walk *w, const char *g, size_t i)
{
	struct mt_arena *a = w->out->arena;
	const char *name = mt_arena_strdup(a, pilot_gateway_name(a, g, w->o->ns));
	if (strcmp(name, "mesh") == 0)
		return;
	struct pilot_ref *r = add(w, PILOT_REF_GATEWAY, name);
	r->path = mt_arena_printf(a, "spec.gateways[%zu]", i);
}

/* Strings of the object's own are copied: the list may outlive that generation. */
static void own_strings(struct pilot_refs *r)
{
	for (size_t i = 0; i < r->n; i++) {
		r->v[i].bare = mt_arena_strdup(r->arena, r->v[i].bare);
		r->v[i].subset = mt_arena_strdup(r->arena, r->v[i].subset);
		r->v[i].port_name = mt_arena_strdup(r->arena, r->v[i].port_name);
	}
}

struct pilot_refs *pilot_refs_of(const struct mt_object *o, const char *domain)
{
	if (o->kind->id != MT_KIND_VIRTUAL_SERVICE)
		return NULL;
	const Nw__VirtualService *s = (const Nw__VirtualService *)o->spec;
	struct mt_arena *a = mt_arena_new(0);
	struct pilot_refs *r = MT_ANEW(a, struct pilot_refs);
	struct walk w = { r, o, domain };
	mt_ref_init(&r->ref);
	r->arena = a;
	for (size_t i = 0; i < s->n_gateways; i++)
		add_gateway(&w, s->gateways[i], i);
	for (size_t i = 0; i < s->n_http; i++)
		add_http(&w, s->http[i], i);
	for (size_t i = 0; i < s->n_tls; i++)
		for (size_t k = 0; k < s->tls[i]->n_route; k++)
			add_dest(&w, s->tls[i]->route[k]->destination,
				mt_arena_printf(a, "spec.tls[%zu].route[%zu]", i, k));
	for (size_t i = 0; i < s->n_tcp; i++)
		for (size_t k = 0; k < s->tcp[i]->n_route; k++)
			add_dest(&w, s->tcp[i]->route[k]->destination,
				mt_arena_printf(a, "spec.tcp[%zu].route[%zu]", i, k));
	own_strings(r);
	if (r->n)
		return r;
	mt_arena_free(a);
	return NULL;
}

struct pilot_refs *pilot_refs_ref(struct pilot_refs *r)
{
	if (r)
		mt_ref_get(&r->ref);
	return r;
}

void pilot_refs_unref(struct pilot_refs *r)
{
	if (r && mt_ref_put(&r->ref))
		mt_arena_free(r->arena);
}

const char *pilot_ref_missing(struct mt_arena *a, const struct pilot_ref *r)
{
	switch (r->kind) {
	case PILOT_REF_SERVICE:
		if (r->port)
			return mt_arena_printf(
				a, "%s: no service %s with port %u", r->path, r->name, r->port);
		if (*r->port_name)
			return mt_arena_printf(a, "%s: no service %s with port %s", r->path,
				r->name, r->port_name);
		return mt_arena_printf(a, "%s: no service %s", r->path, r->name);
	case PILOT_REF_SUBSET:
		return mt_arena_printf(a, "%s: no destination rule has subset %s of %s", r->path,
			r->subset, r->name);
	case PILOT_REF_DELEGATE:
		return mt_arena_printf(a, "%s: no virtual service %s", r->path, r->name);
	case PILOT_REF_GATEWAY: return mt_arena_printf(a, "%s: no gateway %s", r->path, r->name);
	}
	return "";
}
