#include "galley/analyze/analyze.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"
#include "istio/networking/v1alpha3/service_entry.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "istio/policy/v1beta1/policy.pb-c.h"

enum { NAME_MAX_ = 600 };

struct analysis {
	const struct galley_store *store;
	const char *domain;
	struct mt_diags *out;
	struct mt_map *hosts;   /* of service entries, completed; "*.x" as written */
	struct mt_map *subsets; /* "host subset" of destination rules */
	struct mt_map *ruled;   /* hosts of destination rules */
};

/* A short name is of the object's own namespace. Returns buf. */
static const char *complete(
	const struct analysis *a, const struct mt_object *o, const char *host, char *buf)
{
	if (strchr(host, '.') || *host == '*')
		snprintf(buf, NAME_MAX_, "%s", host);
	else
		snprintf(buf, NAME_MAX_, "%s.%s.%s", host, o->ns, a->domain);
	return buf;
}

static void collect(void *ctx, struct mt_object *o)
{
	struct analysis *a = ctx;
	char host[NAME_MAX_], key[2 * NAME_MAX_];

	if (o->kind->id == MT_KIND_SERVICE_ENTRY) {
		const Nw__ServiceEntry *se = (const Nw__ServiceEntry *)o->spec;
		for (size_t i = 0; i < se->n_hosts; i++)
			mt_map_put(a->hosts, complete(a, o, se->hosts[i], host), a);
	} else if (o->kind->id == MT_KIND_DESTINATION_RULE) {
		const Nw__DestinationRule *dr = (const Nw__DestinationRule *)o->spec;
		complete(a, o, dr->host, host);
		mt_map_put(a->ruled, host, a);
		for (size_t i = 0; i < dr->n_subsets; i++) {
			snprintf(key, sizeof(key), "%s %s", host, dr->subsets[i]->name);
			mt_map_put(a->subsets, key, a);
		}
	}
}

static bool host_known(const struct analysis *a, const char *host)
{
	char wild[NAME_MAX_ + 2];

	if (mt_map_get(a->hosts, host))
		return true;
	for (const char *dot = strchr(host, '.'); dot; dot = strchr(dot + 1, '.')) {
		snprintf(wild, sizeof(wild), "*%s", dot);
		if (mt_map_get(a->hosts, wild))
			return true;
	}
	return mt_map_get(a->hosts, "*") != NULL;
}

static void destination(
	struct analysis *a, const struct mt_object *o, const char *path, const Nw__Destination *d)
{
	char host[NAME_MAX_], key[2 * NAME_MAX_], at[200];

	if (!d || mt_str_empty(d->host))
		return;
	complete(a, o, d->host, host);
	snprintf(at, sizeof(at), "%s.host", path);
	if (!host_known(a, host))
		mt_object_diag(o, a->out, MT_SEV_WARNING, at, "no service is known as %s", host);
	if (mt_str_empty(d->subset))
		return;
	snprintf(key, sizeof(key), "%s %s", host, d->subset);
	snprintf(at, sizeof(at), "%s.subset", path);
	if (!mt_map_get(a->subsets, key))
		mt_object_diag(o, a->out, MT_SEV_WARNING, at,
			mt_map_get(a->ruled, host)
				? "the DestinationRule of %s has no subset %s"
				: "no DestinationRule of %s defines the subset %s",
			host, d->subset);
}

static void gateways(struct analysis *a, const struct mt_object *o, char *const *v, size_t n)
{
	char key[NAME_MAX_], at[64];

	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i], "mesh") == 0)
			continue;
		snprintf(key, sizeof(key), "%s%s%s", strchr(v[i], '/') ? "" : o->ns,
			strchr(v[i], '/') ? "" : "/", v[i]);
		snprintf(at, sizeof(at), "spec.gateways[%zu]", i);
		if (!galley_store_find(a->store, &mt_kinds[MT_KIND_GATEWAY], key))
			mt_object_diag(
				o, a->out, MT_SEV_WARNING, at, "there is no Gateway %s", key);
	}
}

static void delegate(struct analysis *a, const struct mt_object *o, size_t i, const Nw__Delegate *d)
{
	char key[2 * NAME_MAX_], path[64];

	snprintf(key, sizeof(key), "%s/%s", mt_str_empty(d->namespace_) ? o->ns : d->namespace_,
		d->name);
	snprintf(path, sizeof(path), "spec.http[%zu].delegate", i);
	const struct mt_object *leaf =
		galley_store_find(a->store, &mt_kinds[MT_KIND_VIRTUAL_SERVICE], key);
	if (!leaf)
		mt_object_diag(
			o, a->out, MT_SEV_WARNING, path, "there is no VirtualService %s", key);
	else if (((const Nw__VirtualService *)leaf->spec)->n_hosts)
		mt_object_diag(o, a->out, MT_SEV_WARNING, path,
			"VirtualService %s has hosts: it is no delegate", key);
}

static void virtual_service(struct analysis *a, const struct mt_object *o)
{
	const Nw__VirtualService *vs = (const Nw__VirtualService *)o->spec;
	char path[128];

	gateways(a, o, vs->gateways, vs->n_gateways);
	for (size_t i = 0; i < vs->n_http; i++) {
		if (vs->http[i]->delegate)
			delegate(a, o, i, vs->http[i]->delegate);
		for (size_t k = 0; k < vs->http[i]->n_route; k++) {
			snprintf(path, sizeof(path), "spec.http[%zu].route[%zu].destination", i, k);
			destination(a, o, path, vs->http[i]->route[k]->destination);
		}
		snprintf(path, sizeof(path), "spec.http[%zu].mirror", i);
		destination(a, o, path, vs->http[i]->mirror);
		for (size_t k = 0; k < vs->http[i]->n_mirrors; k++) {
			snprintf(path, sizeof(path), "spec.http[%zu].mirrors[%zu].destination", i,
				k);
			destination(a, o, path, vs->http[i]->mirrors[k]->destination);
		}
	}
	for (size_t i = 0; i < vs->n_tcp; i++)
		for (size_t k = 0; k < vs->tcp[i]->n_route; k++) {
			snprintf(path, sizeof(path), "spec.tcp[%zu].route[%zu].destination", i, k);
			destination(a, o, path, vs->tcp[i]->route[k]->destination);
		}
	for (size_t i = 0; i < vs->n_tls; i++)
		for (size_t k = 0; k < vs->tls[i]->n_route; k++) {
			snprintf(path, sizeof(path), "spec.tls[%zu].route[%zu].destination", i, k);
			destination(a, o, path, vs->tls[i]->route[k]->destination);
		}
}

/* "name", "name.kind", "name.kind.namespace", or "name.namespace" of the generic kind. */
static bool mixer_object(const struct analysis *a, const struct mt_object *o, const char *ref,
	enum mt_kind_id generic)
{
	char name[NAME_MAX_], key[2 * NAME_MAX_];
	const char *dot = strchr(ref, '.'), *ns = o->ns;
	const struct mt_kind *kind = &mt_kinds[generic];

	snprintf(name, sizeof(name), "%.*s", (int)(dot ? dot - ref : (ptrdiff_t)strlen(ref)), ref);
	if (dot) {
		char word[NAME_MAX_];
		const char *next = strchr(dot + 1, '.');
		snprintf(word, sizeof(word), "%.*s",
			(int)(next ? next - dot - 1 : (ptrdiff_t)strlen(dot + 1)), dot + 1);
		const struct mt_kind *named = mt_kind_by_name(word);
		if (named && strcmp(named->group, kind->group) == 0) {
			kind = named;
			ns = next ? next + 1 : o->ns;
		} else {
			ns = dot + 1;
		}
	}
	snprintf(key, sizeof(key), "%s/%s", ns, name);
	return galley_store_find(a->store, kind, key) != NULL;
}

static void rule(struct analysis *a, const struct mt_object *o)
{
	const Policy__Rule *r = (const Policy__Rule *)o->spec;
	char path[96];

	for (size_t i = 0; i < r->n_actions; i++) {
		const Policy__Action *act = r->actions[i];
		snprintf(path, sizeof(path), "spec.actions[%zu].handler", i);
		if (!mixer_object(a, o, act->handler, MT_KIND_HANDLER))
			mt_object_diag(o, a->out, MT_SEV_WARNING, path, "there is no handler %s",
				act->handler);
		for (size_t k = 0; k < act->n_instances; k++) {
			snprintf(path, sizeof(path), "spec.actions[%zu].instances[%zu]", i, k);
			if (!mixer_object(a, o, act->instances[k], MT_KIND_INSTANCE))
				mt_object_diag(o, a->out, MT_SEV_WARNING, path,
					"there is no instance %s", act->instances[k]);
		}
	}
}

static void judge(void *ctx, struct mt_object *in_force)
{
	struct analysis *a = ctx;
	char key[NAME_MAX_];
	/* The newest text has the places. */
	const struct mt_object *o = galley_store_claim(
		a->store, in_force->kind, mt_object_key(in_force, key, sizeof(key)));

	if (!o)
		o = in_force;
	if (o->kind->id == MT_KIND_VIRTUAL_SERVICE)
		virtual_service(a, o);
	else if (o->kind->id == MT_KIND_RULE)
		rule(a, o);
}

void galley_analyze(const struct galley_store *s, const char *domain, struct mt_diags *out)
{
	struct analysis a = {
		.store = s,
		.domain = domain,
		.out = out,
		.hosts = mt_map_new(),
		.subsets = mt_map_new(),
		.ruled = mt_map_new(),
	};

	galley_store_each(s, collect, &a);
	galley_store_each(s, judge, &a);
	mt_map_free(a.hosts, NULL);
	mt_map_free(a.subsets, NULL);
	mt_map_free(a.ruled, NULL);
}
