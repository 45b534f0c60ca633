/* ServiceEntry: services that are written down instead of found.
 *
 * Each host becomes a service; the endpoints are made once and shared by all of them. They stand in
 * the object itself, or workloadSelector names labels and every WorkloadEntry of the namespace that
 * has them is one. Galley has validated the objects, but what arrives is checked again where a mistake
 * would make a resource that a proxy rejects: ports, protocols, addresses. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "istio/networking/v1alpha3/service_entry.pb-c.h"
#include "pilot/model/host.h"
#include "pilot/model/service.h"

static int kv_cmp(const void *a, const void *b)
{
	return strcmp(((const struct mt_kv *)a)->key, ((const struct mt_kv *)b)->key);
}

static const char *const *copy_strs(struct mt_arena *a, char **v, size_t n)
{
	const char **r = MT_ANEWN(a, const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		r[i] = mt_arena_strdup(a, v[i]);
	return r;
}

static int convert_ports(
	const Nw__ServiceEntry *e, struct mt_arena *a, struct pilot_service *s, struct mt_err *err)
{
	struct pilot_port *p = MT_ANEWN(a, struct pilot_port, e->n_ports + 1);
	for (size_t i = 0; i < e->n_ports; i++) {
		const Nw__ServicePort *in = e->ports[i];
		char path[64];
		snprintf(path, sizeof(path), "spec.ports[%zu]", i);
		if (!in->number || in->number > 65535 || in->target_port > 65535)
			return mt_fail(err, MT_INVALID, path, "%u is not a port", in->number);
		p[i].number = (uint16_t)in->number;
		p[i].target = (uint16_t)(in->target_port ? in->target_port : in->number);
		p[i].name = mt_arena_strdup(a, in->name);
		if (*in->protocol && pilot_protocol_parse(in->protocol, &p[i].protocol) < 0)
			return mt_fail(err, MT_INVALID, path, "unknown protocol %s", in->protocol);
		p[i].protocol = pilot_protocol_of(in->protocol, in->name, p[i].number);
	}
	s->ports = p;
	s->nports = e->n_ports;
	return 0;
}

/* "region/zone/subzone" */
static void split_locality(struct mt_arena *a, const char *text, struct pilot_endpoint *ep)
{
	char *r = mt_arena_strdup(a, text);
	char *z = strchr(r, '/');
	if (z)
		*z++ = '\0';
	char *s = z ? strchr(z, '/') : NULL;
	if (s)
		*s++ = '\0';
	ep->region = r;
	ep->zone = z ? z : "";
	ep->subzone = s ? s : "";
}

/* Labels of the object's metadata go before those of its spec. */
static void endpoint_labels(struct mt_arena *a, const Nw__WorkloadEntry *w,
	const struct mt_object *meta, struct pilot_endpoint *ep)
{
	size_t n = 0, nmeta = meta ? meta->nlabels : 0;
	struct mt_kv *kv = MT_ANEWN(a, struct mt_kv, w->n_labels + nmeta + 1);
	for (size_t i = 0; i < nmeta; i++)
		kv[n++] = (struct mt_kv){ mt_arena_strdup(a, meta->labels[i].key),
			mt_arena_strdup(a, meta->labels[i].value) };
	for (size_t i = 0; i < w->n_labels; i++)
		if (!pilot_label(kv, nmeta, w->labels[i]->key))
			kv[n++] = (struct mt_kv){ mt_arena_strdup(a, w->labels[i]->key),
				mt_arena_strdup(a, w->labels[i]->value) };
	qsort(kv, n, sizeof(*kv), kv_cmp);
	ep->labels = kv;
	ep->nlabels = n;
	ep->mtls = mt_streq(pilot_label(kv, n, "security.istio.io/tlsMode"), "istio");
	const char *name = pilot_label(kv, n, "service.istio.io/workload-name");
	ep->workload = name ? name : "";
}

static uint16_t target_port(const Nw__ServicePort *p)
{
	return (uint16_t)(p->target_port ? p->target_port : p->number);
}

static bool is_dns(const Nw__ServiceEntry *e)
{
	return e->resolution >= NW__SERVICE_ENTRY__RESOLUTION__DNS;
}

static int convert_address(const Nw__ServiceEntry *e, const Nw__WorkloadEntry *w, const char *path,
	struct mt_arena *a, struct pilot_endpoint *ep, struct mt_err *err)
{
	struct mt_ip ip;
	ep->unix_socket = mt_str_prefix(w->address, "unix://");
	ep->address = mt_arena_strdup(a, w->address + (ep->unix_socket ? strlen("unix://") : 0));
	if (!*w->address)
		return mt_fail(err, MT_INVALID, path,
			"has no address: what is reached by its network alone is no endpoint here");
	if (ep->unix_socket && is_dns(e))
		return mt_fail(err, MT_INVALID, path, "a Unix socket is not resolved");
	if (!ep->unix_socket && !is_dns(e) && mt_ip_parse(ep->address, &ip) < 0)
		return mt_fail(err, MT_INVALID, path, "%s is not an IP address", w->address);
	return 0;
}

/* meta: the WorkloadEntry object; NULL for what stands in the ServiceEntry itself. */
static int convert_endpoint(const struct mt_object *o, const Nw__WorkloadEntry *w,
	const struct mt_object *meta, const char *path, struct mt_arena *a,
	struct pilot_endpoint *ep, struct mt_err *err)
{
	const Nw__ServiceEntry *e = (const Nw__ServiceEntry *)o->spec;
	int r = convert_address(e, w, path, a, ep, err);
	if (r < 0)
		return r;
	uint16_t *ports = MT_ANEWN(a, uint16_t, e->n_ports + 1);
	for (size_t k = 0; k < e->n_ports; k++) {
		ports[k] = target_port(e->ports[k]);
		for (size_t m = 0; m < w->n_ports; m++)
			if (strcmp(w->ports[m]->key, e->ports[k]->name) == 0)
				ports[k] = (uint16_t)w->ports[m]->value;
	}
	ep->ports = ports;
	endpoint_labels(a, w, meta, ep);
	split_locality(a, w->locality, ep);
	ep->network = mt_arena_strdup(a, w->network);
	ep->cluster = "";
	ep->service_account = mt_arena_strdup(a, w->service_account);
	ep->ns = mt_arena_strdup(a, o->ns);
	ep->weight = w->weight;
	return 0;
}

/* A DNS service without endpoints is found by its own name. */
static void own_name(const struct mt_object *o, const Nw__ServiceEntry *e, const char *host,
	struct mt_arena *a, struct pilot_endpoint *ep)
{
	uint16_t *ports = MT_ANEWN(a, uint16_t, e->n_ports + 1);
	for (size_t k = 0; k < e->n_ports; k++)
		ports[k] = target_port(e->ports[k]);
	ep->address = mt_arena_strdup(a, host);
	ep->ports = ports;
	ep->labels = NULL;
	ep->region = ep->zone = ep->subzone = ep->network = ep->cluster = "";
	ep->service_account = ep->workload = "";
	ep->ns = mt_arena_strdup(a, o->ns);
}

bool pilot_service_entry_selects(const struct mt_object *o, const struct mt_object *workload)
{
	const Nw__ServiceEntry *e = (const Nw__ServiceEntry *)o->spec;
	const Nw__WorkloadEntry *w = (const Nw__WorkloadEntry *)workload->spec;
	const Nw__WorkloadSelector *s = e->workload_selector;

	if (!s || e->n_endpoints || strcmp(o->ns, workload->ns) != 0)
		return false;
	for (size_t i = 0; i < s->n_labels; i++) {
		const char *v = mt_object_label(workload, s->labels[i]->key);
		for (size_t k = 0; !v && k < w->n_labels; k++)
			if (strcmp(w->labels[k]->key, s->labels[i]->key) == 0)
				v = w->labels[k]->value;
		if (!mt_streq(v, s->labels[i]->value))
			return false;
	}
	return true;
}

static int workload_cmp(const void *a, const void *b)
{
	const struct pilot_workload *x = *(const struct pilot_workload *const *)a,
				    *y = *(const struct pilot_workload *const *)b;
	return strcmp(x->obj->name, y->obj->name);
}

static void leave_out(struct pilot_endpoints *eps, uint32_t id, const struct mt_err *err)
{
	struct pilot_left_out *v = MT_ANEWN(eps->arena, struct pilot_left_out, eps->nleft_out + 1);
	if (eps->nleft_out)
		memcpy(v, eps->left_out, eps->nleft_out * sizeof(*v));
	v[eps->nleft_out++] = (struct pilot_left_out){ id, mt_arena_strdup(eps->arena, err->path),
		mt_arena_strdup(eps->arena, err->msg) };
	eps->left_out = v;
}

/* One that cannot be used is left out: the others serve. */
static void selected_endpoints(const struct mt_object *o, const struct pilot_workload *w, size_t n,
	struct pilot_endpoints *eps)
{
	const struct pilot_workload **v =
		MT_ANEWN(eps->arena, const struct pilot_workload *, n + 1);
	size_t k = 0;
	for (size_t i = 0; i < n; i++)
		if (pilot_service_entry_selects(o, w[i].obj))
			v[k++] = &w[i];
	qsort(v, k, sizeof(*v), workload_cmp);
	eps->v = MT_ANEWN(eps->arena, struct pilot_endpoint, k + 1);
	for (size_t i = 0; i < k; i++) {
		struct pilot_endpoint *ep = &eps->v[eps->n];
		const Nw__WorkloadEntry *spec = (const Nw__WorkloadEntry *)v[i]->obj->spec;
		*ep = (struct pilot_endpoint){ 0 };
		struct mt_err err = { 0 };
		if (convert_endpoint(o, spec, v[i]->obj, "spec.address", eps->arena, ep, &err) <
			0) {
			leave_out(eps, v[i]->id, &err);
			continue;
		}
		ep->unhealthy = v[i]->unhealthy;
		ep->id = v[i]->id;
		if (!*ep->workload)
			ep->workload = mt_arena_strdup(eps->arena, v[i]->obj->name);
		eps->n++;
	}
}

static int written_endpoints(
	const struct mt_object *o, uint32_t id, struct pilot_endpoints *eps, struct mt_err *err)
{
	const Nw__ServiceEntry *e = (const Nw__ServiceEntry *)o->spec;
	eps->v = MT_ANEWN(eps->arena, struct pilot_endpoint, e->n_endpoints + 1);
	for (size_t i = 0; i < e->n_endpoints; i++) {
		char path[64];
		struct pilot_endpoint *ep = &eps->v[eps->n];
		struct mt_err why = { 0 };
		snprintf(path, sizeof(path), "spec.endpoints[%zu].address", i);
		int r = convert_endpoint(o, e->endpoints[i], NULL, path, eps->arena, ep, &why);
		if (r < 0 && !*e->endpoints[i]->address) {
			leave_out(eps, id, &why);
			continue;
		}
		if (r < 0) {
			if (err)
				*err = why;
			return r;
		}
		ep->id = id;
		eps->n++;
	}
	return 0;
}

static int convert_endpoints(const struct mt_object *o, uint32_t id, const char *host,
	const struct pilot_workload *w, size_t n, struct pilot_endpoints **ret, struct mt_err *err)
{
	const Nw__ServiceEntry *e = (const Nw__ServiceEntry *)o->spec;
	struct pilot_endpoints *eps = pilot_endpoints_new();
	int r = 0;
	eps->nports = e->n_ports;
	if (e->workload_selector && !e->n_endpoints) {
		selected_endpoints(o, w, n, eps);
	} else if (!e->n_endpoints && is_dns(e) && !pilot_host_is_wild(host)) {
		eps->n = 1;
		eps->v = MT_ANEWN(eps->arena, struct pilot_endpoint, 1);
		own_name(o, e, host, eps->arena, &eps->v[0]);
		eps->v[0].id = id;
	} else {
		r = written_endpoints(o, id, eps, err);
	}
	if (r < 0) {
		pilot_endpoints_unref(eps);
		return r;
	}
	pilot_endpoints_done(eps);
	*ret = eps;
	return 0;
}

static enum pilot_resolution resolution_of(Nw__ServiceEntry__Resolution r)
{
	switch (r) {
	case NW__SERVICE_ENTRY__RESOLUTION__STATIC: return PILOT_RES_STATIC;
	case NW__SERVICE_ENTRY__RESOLUTION__DNS: return PILOT_RES_DNS;
	case NW__SERVICE_ENTRY__RESOLUTION__DNS_ROUND_ROBIN: return PILOT_RES_DNS_ROUND_ROBIN;
	case NW__SERVICE_ENTRY__RESOLUTION__DYNAMIC_DNS: return PILOT_RES_DYNAMIC_DNS;
	default: return PILOT_RES_NONE;
	}
}

static int convert_service(const struct mt_object *o, uint32_t id, const char *host,
	struct pilot_service **ret, struct mt_err *err)
{
	const Nw__ServiceEntry *e = (const Nw__ServiceEntry *)o->spec;
	struct pilot_service *s = pilot_service_new();
	struct mt_arena *a = s->arena;
	/* Hosts of a ServiceEntry are written in full; only the case is brought to order. */
	char *lower = mt_arena_strdup(a, host);
	for (char *c = lower; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	s->hostname = lower;
	s->ns = mt_arena_strdup(a, o->ns);
	s->name = mt_arena_strdup(a, o->name);
	s->registry = "ServiceEntry";
	s->addresses = copy_strs(a, e->addresses, e->n_addresses);
	s->naddresses = e->n_addresses;
	s->sans = copy_strs(a, e->subject_alt_names, e->n_subject_alt_names);
	s->nsans = e->n_subject_alt_names;
	s->export_to = copy_strs(a, e->export_to, e->n_export_to);
	s->nexport_to = e->n_export_to;
	s->external = e->location == NW__SERVICE_ENTRY__LOCATION__MESH_EXTERNAL;
	s->resolution = resolution_of(e->resolution);
	s->id = id;
	s->created_ns = o->created_ns;
	int r = convert_ports(e, a, s, err);
	if (r < 0) {
		pilot_service_unref(s);
		return r;
	}
	pilot_service_done(s);
	*ret = s;
	return 0;
}

int pilot_service_entry(const struct mt_object *o, uint32_t id, const struct pilot_workload *w,
	size_t n, struct pilot_services_in *out, struct mt_err *err)
{
	const Nw__ServiceEntry *e = (const Nw__ServiceEntry *)o->spec;
	struct pilot_services_in made = { 0 };
	struct pilot_endpoints *shared = NULL;
	int r = 0;

	for (size_t i = 0; i < e->n_hosts && r == 0; i++) {
		struct pilot_service_in in = { 0 };
		r = convert_service(o, id, e->hosts[i], &in.svc, err);
		if (r == 0 && shared && (e->n_endpoints || e->workload_selector))
			in.eps = pilot_endpoints_ref(shared);
		else if (r == 0)
			r = convert_endpoints(o, id, e->hosts[i], w, n, &in.eps, err);
		if (r < 0) {
			pilot_service_unref(in.svc);
			break;
		}
		shared = in.eps;
		mt_vec_push(&made, in);
	}
	if (r < 0) {
		pilot_services_in_clear(&made);
		return r;
	}
	for (size_t i = 0; i < made.n; i++)
		mt_vec_push(out, made.v[i]);
	mt_vec_clear(&made);
	return 0;
}
