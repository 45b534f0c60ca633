/* Jobs, plans and names: the frame that the files of translate/ share. */
#include "pilot/translate/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "pilot/filter/patch.h"
#include "pilot/filter/telemetry.h"
#include "pilot/model/secrets.h"
#include "pilot/translate/cluster.h"
#include "pilot/translate/endpoint.h"
#include "pilot/translate/grpc.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/route.h"

static struct pilot_job *job_base(
	const struct pilot_world *w, const struct pilot_proxy *p, struct mt_arena *a)
{
	struct pilot_job *j = MT_ANEW(a, struct pilot_job);
	j->w = w;
	j->ix = w->ix;
	j->mesh = &w->ix->mesh;
	j->p = p;
	j->a = a;
	j->noting = PILOT_TABLES;
	j->fp_shared = mt_hash_mix(j->mesh->hash,
		(uint64_t)p->type << 3 | (uint64_t)p->sds << 2 | (uint64_t)p->ipv6 << 1 | p->ipv4);
	for (size_t i = 0; i < j->ix->nsecrets; i++) {
		enum pilot_has has = pilot_proxy_has(p, j->ix->secrets[i], "");
		j->fp_shared = mt_hash_mix(j->fp_shared, mt_hash_str(j->ix->secrets[i]) + has);
	}
	return j;
}

struct pilot_job *pilot_job_endpoints(const struct pilot_world *w, const struct pilot_proxy *p,
	const uint8_t *scope, struct mt_arena *a)
{
	struct pilot_job *j = job_base(w, p, a);
	j->clusters = scope;
	if (p->type != PILOT_PROXYLESS)
		pilot_scope_patches(j);
	return j;
}

uint8_t *pilot_job_scope(const struct pilot_job *j)
{
	return j->p->type == PILOT_ROUTER ? NULL : mt_memdup(j->clusters, j->ix->nsvcs + 1);
}

struct pilot_job *pilot_job_new(
	const struct pilot_world *w, const struct pilot_proxy *p, struct mt_arena *a)
{
	struct pilot_job *j = job_base(w, p, a);
	j->clusters = j->marks = MT_ANEWN(a, uint8_t, w->ix->nsvcs + 1);
	j->fp = mt_hash_mix(j->fp_shared, (uint64_t)p->none << 1 | p->tproxy);
	j->fp = mt_hash_mix(j->fp, mt_hash_str(p->ns));
	j->fp = mt_hash_mix(j->fp, mt_hash_str(p->domain));
	for (size_t i = 0; i < j->ix->nlabel_keys; i++) {
		const char *v = pilot_label(p->labels, p->nlabels, j->ix->label_keys[i]);
		j->fp = mt_hash_mix(j->fp, v ? mt_hash_str(v) : 3);
	}
	/* Every change of rules plans the outbound listeners, every one of instances the inbound. */
	j->noting = PILOT_LISTENERS;
	if (p->type == PILOT_ROUTER) {
		pilot_scope_gateway(j);
	} else {
		pilot_scope_sidecar(j);
		j->noting = PILOT_LISTENERS_INBOUND;
		pilot_scope_inbound(j);
		j->noting = PILOT_LISTENERS;
	}
	pilot_scope_telemetry(j);
	if (p->type != PILOT_PROXYLESS)
		pilot_scope_patches(j);
	j->fp = mt_hash_mix(j->fp, j->telemetry.hash);
	j->noting = PILOT_TABLES;
	return j;
}

const struct pilot_notes *pilot_job_notes(const struct pilot_job *j)
{
	return &j->notes;
}

/* Reads nothing of the class but what fp_shared covers: the same for every class that has it. */
static bool is_shared(enum pilot_how how, const void *what)
{
	switch (how) {
	case PILOT_HOW_CLUSTER:
	case PILOT_HOW_CLUSTER_FIXED:
	case PILOT_HOW_PATCHED:
	case PILOT_HOW_ENDPOINTS: return true;
	case PILOT_HOW_VHOST: return ((const struct pilot_vhost_ref *)what)->nvs == 0;
	default: return false;
	}
}

void pilot_plan_add(struct pilot_job *j, struct pilot_plan *p, const char *name, uint64_t fp,
	enum pilot_how how, const void *what)
{
	uint64_t base = is_shared(how, what) ? j->fp_shared : j->fp;
	if (j->npatches)
		base = mt_hash_mix(base, pilot_patch_fp(j, how, name));
	struct pilot_item it = { name, mt_hash_mix(fp, base), what, (uint8_t)how };
	mt_vec_apush(j->a, p, it);
}

const char *pilot_out_name(struct pilot_job *j, uint16_t port, const char *subset, const char *host)
{
	return mt_arena_printf(j->a, "outbound|%u|%s|%s", port, subset, host);
}

int pilot_cluster_name_parse(const char *name, struct pilot_cluster_name *ret)
{
	size_t n = strlen(name);
	if (n >= sizeof(ret->buf))
		return MT_INVALID;
	memcpy(ret->buf, name, n + 1);
	char *port = strchr(ret->buf, '|');
	char *subset = port ? strchr(port + 1, '|') : NULL;
	char *host = subset ? strchr(subset + 1, '|') : NULL;
	if (!host || strchr(host + 1, '|'))
		return MT_INVALID;
	*port++ = *subset++ = *host++ = '\0';
	bool inbound = strcmp(ret->buf, "inbound") == 0;
	char *end;
	unsigned long v = strtoul(port, &end, 10);
	if ((!inbound && strcmp(ret->buf, "outbound") != 0) || *end || end == port || v > 65535)
		return MT_INVALID;
	ret->inbound = inbound;
	ret->port = (uint16_t)v;
	ret->subset = subset;
	ret->host = host;
	return 0;
}

int pilot_job_service(struct pilot_job *j, const char *host, const char *ns, const char **ret_host)
{
	const char *full = pilot_host_resolve(j->a, host, ns, j->mesh->domain);
	int i = pilot_world_find(j->w, full, j->p->ns);
	if (i < 0 && !strchr(host, '.')) {
		/* A ServiceEntry may use a bare name. */
		i = pilot_world_find(j->w, host, j->p->ns);
		if (i >= 0)
			full = host;
	}
	*ret_host = full;
	return i;
}

const struct pilot_dr *pilot_job_dr(struct pilot_job *j, const char *host, int svc)
{
	return pilot_index_dr(j->ix, host, j->p, svc >= 0 ? j->ix->svcs[svc]->ns : j->p->ns);
}

/* "ns/host" of an egress listener against a namespace. */
static bool egress_ns(struct pilot_job *j, const char *host, const char *ns, const char **ret_host)
{
	const char *slash = strchr(host, '/');
	*ret_host = slash ? slash + 1 : host;
	if (!slash)
		return true;
	size_t n = (size_t)(slash - host);
	if (n == 1 && host[0] == '*')
		return true;
	if (n == 1 && host[0] == '.')
		return strcmp(ns, j->p->ns) == 0;
	return strlen(ns) == n && memcmp(host, ns, n) == 0;
}

bool pilot_egress_vs(struct pilot_job *j, const struct pilot_egress *e, const struct pilot_vs *vs)
{
	const Nw__VirtualService *s = vs->spec;
	if (!pilot_index_exported(j->ix, PILOT_EXPORT_VS, (const char *const *)s->export_to,
		    s->n_export_to, vs->obj->ns, j->p->ns))
		return false;
	if (!e->spec)
		return true;
	for (size_t i = 0; i < e->spec->n_hosts; i++) {
		const char *h;
		if (!egress_ns(j, e->spec->hosts[i], vs->obj->ns, &h))
			continue;
		for (size_t k = 0; k < vs->nhosts; k++)
			if (pilot_host_covers(h, vs->hosts[k]) ||
				pilot_host_covers(vs->hosts[k], h))
				return true;
	}
	return false;
}

static bool has_rules(
	struct pilot_job *j, const struct pilot_vs *vs, enum pilot_vs_rules rules, uint16_t port)
{
	switch (rules) {
	case PILOT_VS_HTTP: return pilot_vs_applies(j, vs, NULL, port);
	case PILOT_VS_TCP: return vs->spec->n_tcp;
	case PILOT_VS_TLS: return vs->spec->n_tls;
	}
	return false;
}

const struct pilot_vs *pilot_job_vs(struct pilot_job *j, const struct pilot_egress *e,
	const char *host, enum pilot_vs_rules rules, uint16_t port)
{
	const struct pilot_vs_host *v;
	size_t n = pilot_index_mesh_hosts(j->ix, host, &v);
	for (size_t i = 0; i < n; i++)
		if (pilot_egress_vs(j, e, v[i].vs) && has_rules(j, v[i].vs, rules, port))
			return v[i].vs;
	for (size_t i = 0; i < j->ix->nwild_hosts; i++) {
		const struct pilot_vs_host *h = &j->ix->wild_hosts[i];
		if (pilot_host_covers(h->host, host) && pilot_egress_vs(j, e, h->vs) &&
			has_rules(j, h->vs, rules, port))
			return h->vs;
	}
	return NULL;
}

bool pilot_job_labels(struct pilot_job *j, const void *entries, size_t n)
{
	/* Every map<string,string> entry has the same layout. */
	Nw__HTTPMatchRequest__SourceLabelsEntry *const *v = entries;
	for (size_t i = 0; i < n; i++)
		if (!mt_streq(pilot_label(j->p->labels, j->p->nlabels, v[i]->key), v[i]->value))
			return false;
	return true;
}

static bool has_subset(const struct pilot_dr *dr, const char *name)
{
	for (size_t i = 0; dr && i < dr->nsubsets; i++)
		if (strcmp(dr->subsets[i].spec->name, name) == 0)
			return true;
	return false;
}

static uint16_t dest_port(
	struct pilot_job *j, const Nw__Destination *d, int svc, uint16_t listen_port)
{
	if (d->port && d->port->number)
		return (uint16_t)d->port->number;
	if (svc < 0)
		return listen_port;
	const struct pilot_service *s = j->ix->svcs[svc];
	if (d->port && d->port->port_case == NW__PORT_SELECTOR__PORT_NAME)
		for (size_t i = 0; i < s->nports; i++)
			if (strcmp(s->ports[i].name, d->port->name) == 0)
				return s->ports[i].number;
	return s->nports == 1 ? s->ports[0].number : listen_port;
}

const char *pilot_dest_cluster(struct pilot_job *j, const Nw__Destination *d,
	const struct pilot_vs *vs, const char *path, uint16_t listen_port)
{
	const char *host;
	int svc = pilot_job_service(j, d->host, vs->obj->ns, &host);
	uint16_t port = dest_port(j, d, svc, listen_port);
	if (svc < 0)
		pilot_job_note_about(j, route_nocluster_no_service, vs->id, PILOT_NOTE_PENDING,
			path, "no service %s", host);
	else if (pilot_service_port(j->ix->svcs[svc], port) < 0)
		pilot_job_note_about(j, route_cluster_no_port, vs->id, PILOT_NOTE_PENDING, path,
			"service %s has no port %u", host, port);
	if (*d->subset && !has_subset(pilot_job_dr(j, host, svc), d->subset))
		pilot_job_note(j, vs->id, PILOT_NOTE_PENDING, path,
			"no destination rule has subset %s of %s", d->subset, host);
	return pilot_out_name(j, port, d->subset, host);
}

uint64_t pilot_dest_fp(struct pilot_job *j, const Nw__Destination *d, const struct pilot_vs *vs)
{
	const char *host;
	int svc = pilot_job_service(j, d->host, vs->obj->ns, &host);
	const struct pilot_dr *dr = pilot_job_dr(j, host, svc);
	return mt_hash_mix(svc >= 0 ? j->ix->svcs[svc]->hash : 1, dr ? dr->hash : 2);
}

static int by_name(const void *pa, const void *pb)
{
	return strcmp(((const struct pilot_item *)pa)->name, ((const struct pilot_item *)pb)->name);
}

/* Two sources may name one resource (two listeners on one address): the first stays. */
static void sort_plan(struct pilot_job *j, enum pilot_table t, struct pilot_plan *p)
{
	if (p->n > 1)
		qsort(p->v, p->n, sizeof(*p->v), by_name);
	size_t k = 0;
	for (size_t i = 0; i < p->n; i++)
		if (!k || strcmp(p->v[k - 1].name, p->v[i].name) != 0)
			p->v[k++] = p->v[i];
		else if (t == PILOT_CLUSTERS)
			pilot_tally(j, PILOT_TALLY_duplicate_envoy_clusters, "%s", p->v[i].name);
	p->n = k;
}

const struct pilot_plan *pilot_job_routes(struct pilot_job *j)
{
	if (!j->routes) {
		struct pilot_plan *p = MT_ANEW(j->a, struct pilot_plan);
		int8_t was = j->noting;
		j->noting = PILOT_ROUTES; /* whoever asks first */
		pilot_plan_routes(j, p);
		j->noting = was;
		j->routes = p;
	}
	return j->routes;
}

static void plan(struct pilot_job *j, enum pilot_table t, struct pilot_plan *ret)
{
	struct pilot_plan p = { 0 };
	if (j->p->type == PILOT_PROXYLESS && t != PILOT_ENDPOINTS) {
		pilot_plan_grpc(j, t, &p);
		sort_plan(j, t, &p);
		*ret = p;
		return;
	}
	switch (t) {
	case PILOT_CLUSTERS: pilot_plan_clusters(j, &p); break;
	case PILOT_CLUSTERS_INBOUND: pilot_plan_clusters_inbound(j, &p); break;
	case PILOT_ENDPOINTS: pilot_plan_endpoints(j, &p); break;
	case PILOT_LISTENERS: pilot_plan_listeners(j, &p); break;
	case PILOT_LISTENERS_INBOUND: pilot_plan_listeners_inbound(j, &p); break;
	case PILOT_ROUTES_INBOUND: pilot_plan_routes_inbound(j, &p); break;
	case PILOT_ROUTES:
		p.n = p.cap = pilot_job_routes(j)->n;
		p.v = mt_arena_memdup(j->a, j->routes->v, p.n * sizeof(*p.v));
		break;
	case PILOT_VIRTUAL_HOSTS: pilot_plan_virtual_hosts(j, &p); break;
	case PILOT_TABLES: break;
	}
	pilot_patch_plan(j, t, &p);
	sort_plan(j, t, &p);
	*ret = p;
}

void pilot_plan(struct pilot_job *j, enum pilot_table t, struct pilot_plan *ret)
{
	int8_t was = j->noting;
	j->noting = (int8_t)t;
	plan(j, t, ret);
	j->noting = was;
}

bool pilot_plan_one(
	struct pilot_job *j, enum pilot_table t, const char *name, struct pilot_item *ret)
{
	if (t == PILOT_ENDPOINTS)
		return pilot_plan_endpoints_one(j, name, ret);
	struct pilot_plan p;
	pilot_plan(j, t, &p);
	for (size_t i = 0; i < p.n; i++)
		if (strcmp(p.v[i].name, name) == 0) {
			*ret = p.v[i];
			return true;
		}
	return false;
}

static int id_cmp(const void *pa, const void *pb)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
	return (a > b) - (a < b);
}

void pilot_built_finish(struct pilot_job *j, struct pilot_built *b)
{
	if (j->prov.n > 1)
		qsort(j->prov.v, j->prov.n, sizeof(*j->prov.v), id_cmp);
	size_t k = 0;
	for (size_t i = 0; i < j->prov.n; i++)
		if (!k || j->prov.v[k - 1] != j->prov.v[i])
			j->prov.v[k++] = j->prov.v[i];
	b->prov = j->prov.v;
	b->nprov = k;
	j->prov = (struct pilot_prov){ 0 };
}

void pilot_build(struct pilot_job *j, const struct pilot_item *it, struct pilot_built *ret)
{
	struct pilot_built b = { .name = it->name };
	int8_t was = j->noting;
	j->noting = PILOT_NOTE_BUILT;
	j->prov = (struct pilot_prov){ 0 };
	switch ((enum pilot_how)it->how) {
	case PILOT_HOW_CLUSTER:
	case PILOT_HOW_CLUSTER_FIXED:
	case PILOT_HOW_CLUSTER_INBOUND:
		pilot_prov_add(j, j->mesh->id);
		b.msg = pilot_build_cluster(j, it);
		break;
	case PILOT_HOW_ENDPOINTS: b.msg = pilot_build_endpoints(j, it); break;
	case PILOT_HOW_LISTENER_OUT:
	case PILOT_HOW_LISTENER_VIRTUAL_OUT:
	case PILOT_HOW_LISTENER_VIRTUAL_IN:
	case PILOT_HOW_LISTENER_IN:
	case PILOT_HOW_LISTENER_GATEWAY:
		pilot_prov_add(j, j->mesh->id);
		b.msg = pilot_build_listener(j, it);
		break;
	case PILOT_HOW_ROUTE_INBOUND: b.msg = pilot_build_route_inbound(j, it); break;
	case PILOT_HOW_ROUTE: b.msg = pilot_build_route(j, it); break;
	case PILOT_HOW_PATCHED: b.msg = pilot_patch_added(j, it->what); break;
	case PILOT_HOW_VHOST_APART: b.msg = pilot_build_vhost_apart(j, it); break;
	case PILOT_HOW_VHOST: b.msg = pilot_build_vhost(j, it); break;
	case PILOT_HOW_GRPC_LISTENER:
	case PILOT_HOW_GRPC_SERVER: b.msg = pilot_build_grpc(j, it); break;
	}
	if (j->p->type == PILOT_PROXYLESS)
		b.msg = pilot_grpc_cut(j, it, b.msg);
	else
		pilot_patch_built(j, it, b.msg);
	pilot_built_finish(j, &b);
	j->noting = was;
	*ret = b;
}
