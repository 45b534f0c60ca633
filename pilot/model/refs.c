#include "pilot/model/refs.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "pilot/model/host.h"
#include "pilot/model/secrets.h"

struct walk {
	struct mt_arena *a; /* scratch */
	const struct mt_object *o;
	const char *domain;
	MT_VEC(struct pilot_ref) out;
};

static struct pilot_ref *add(struct walk *w, enum pilot_ref_kind kind, const char *name)
{
	const struct pilot_ref r = { .kind = kind,
		.name = name,
		.bare = "",
		.subset = "",
		.key = "",
		.port_name = "",
		.path = "" };
	mt_vec_apush(w->a, &w->out, r);
	return &w->out.v[w->out.n - 1];
}

static void add_dest(struct walk *w, const Nw__Destination *d, const char *path)
{
	if (!d || mt_str_empty(d->host))
		return;
	struct mt_arena *a = w->a;
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
	r->key = mt_arena_printf(a, "%s %s", host, d->subset);
	r->path = path;
}

static void add_http(struct walk *w, const Nw__HTTPRoute *h, size_t i)
{
	struct mt_arena *a = w->a;
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
	struct mt_arena *a = w->a;
	const char *name = pilot_gateway_name(a, g, w->o->ns);
	if (strcmp(name, "mesh") == 0)
		return;
	struct pilot_ref *r = add(w, PILOT_REF_GATEWAY, name);
	r->path = mt_arena_printf(a, "spec.gateways[%zu]", i);
}

static void add_rule(struct walk *w, const Nw__VirtualService *s)
{
	for (size_t i = 0; i < s->n_gateways; i++)
		add_gateway(w, s->gateways[i], i);
	for (size_t i = 0; i < s->n_http; i++)
		add_http(w, s->http[i], i);
	for (size_t i = 0; i < s->n_tls; i++)
		for (size_t k = 0; k < s->tls[i]->n_route; k++)
			add_dest(w, s->tls[i]->route[k]->destination,
				mt_arena_printf(w->a, "spec.tls[%zu].route[%zu]", i, k));
	for (size_t i = 0; i < s->n_tcp; i++)
		for (size_t k = 0; k < s->tcp[i]->n_route; k++)
			add_dest(w, s->tcp[i]->route[k]->destination,
				mt_arena_printf(w->a, "spec.tcp[%zu].route[%zu]", i, k));
}

static void add_subsets(struct walk *w, const Nw__DestinationRule *s)
{
	const char *host = pilot_host_resolve(w->a, s->host, w->o->ns, w->domain);
	for (size_t i = 0; i < s->n_subsets; i++) {
		struct pilot_ref *r = add(w, PILOT_REF_SUBSET, host);
		r->subset = s->subsets[i]->name;
		r->key = mt_arena_printf(w->a, "%s %s", host, r->subset);
	}
}

struct secrets {
	struct walk *w;
	const char *path;
};

static void add_secret(void *ctx, const char *name, const char *suffix)
{
	const struct secrets *s = ctx;
	struct pilot_ref *r =
		add(s->w, PILOT_REF_SECRET, mt_arena_printf(s->w->a, "%s%s", name, suffix));
	r->path = s->path;
}

static void add_client_tls(struct walk *w, const Nw__ClientTLSSettings *t, const char *path)
{
	struct secrets s = { w, mt_arena_printf(w->a, "%s.tls", path) };
	if (t)
		pilot_client_secrets(t, add_secret, &s);
}

static void add_policy(struct walk *w, const Nw__TrafficPolicy *p, const char *path)
{
	if (!p)
		return;
	add_client_tls(w, p->tls, path);
	for (size_t i = 0; i < p->n_port_level_settings; i++)
		add_client_tls(w, p->port_level_settings[i]->tls,
			mt_arena_printf(w->a, "%s.portLevelSettings[%zu]", path, i));
}

static void add_policies(struct walk *w, const Nw__DestinationRule *s)
{
	add_policy(w, s->traffic_policy, "spec.trafficPolicy");
	for (size_t i = 0; i < s->n_subsets; i++)
		add_policy(w, s->subsets[i]->traffic_policy,
			mt_arena_printf(w->a, "spec.subsets[%zu].trafficPolicy", i));
}

static void add_servers(struct walk *w, const Nw__Gateway *g)
{
	for (size_t i = 0; i < g->n_servers; i++) {
		struct secrets s = { w, mt_arena_printf(w->a, "spec.servers[%zu].tls", i) };
		if (g->servers[i]->tls)
			pilot_server_secrets(g->servers[i]->tls, add_secret, &s);
	}
}

/* The strings of a reference, in one place. */
#define STRINGS(r)                                                                                 \
	{                                                                                          \
		&(r)->name, &(r)->bare, &(r)->subset, &(r)->key, &(r)->port_name, &(r)->path       \
	}
enum { NSTRINGS = 6 };

/* Copied into one block: the list may outlive that generation of the object. */
static struct pilot_refs *pack(struct walk *w)
{
	size_t bytes = 0;
	for (size_t i = 0; i < w->out.n; i++) {
		const char **const s[NSTRINGS] = STRINGS(&w->out.v[i]);
		for (size_t k = 0; k < NSTRINGS; k++)
			bytes += **s[k] ? strlen(*s[k]) + 1 : 0;
	}
	struct pilot_refs *r = mt_alloc(sizeof(*r) + w->out.n * sizeof(r->v[0]) + bytes);
	char *p = (char *)&r->v[w->out.n];
	mt_ref_init(&r->ref);
	for (r->n = 0; r->n < w->out.n; r->n++) {
		r->v[r->n] = w->out.v[r->n];
		r->secrets = r->secrets || r->v[r->n].kind == PILOT_REF_SECRET;
		const char **const s[NSTRINGS] = STRINGS(&r->v[r->n]);
		for (size_t k = 0; k < NSTRINGS; k++) {
			size_t n = strlen(*s[k]) + 1;
			if (n == 1) {
				*s[k] = "";
				continue;
			}
			*s[k] = memcpy(p, *s[k], n);
			p += n;
		}
	}
	return r;
}

struct pilot_refs *pilot_refs_of(const struct mt_object *o, const char *domain)
{
	if (o->kind->id != MT_KIND_VIRTUAL_SERVICE && o->kind->id != MT_KIND_DESTINATION_RULE &&
		o->kind->id != MT_KIND_GATEWAY)
		return NULL;
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct walk w = { .a = a, .o = o, .domain = domain };
	if (o->kind->id == MT_KIND_VIRTUAL_SERVICE)
		add_rule(&w, (const Nw__VirtualService *)o->spec);
	else if (o->kind->id == MT_KIND_GATEWAY)
		add_servers(&w, (const Nw__Gateway *)o->spec);
	else
		add_subsets(&w, (const Nw__DestinationRule *)o->spec);
	if (o->kind->id == MT_KIND_DESTINATION_RULE)
		add_policies(&w, (const Nw__DestinationRule *)o->spec);
	return w.out.n ? pack(&w) : NULL;
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
		mt_free(r);
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
	case PILOT_REF_SECRET:
		return mt_arena_printf(
			a, "%s: no proxy that it is for has the credential %s", r->path, r->name);
	}
	return "";
}
