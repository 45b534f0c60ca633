/* What the registries know: registryz, endpointz, endpointShardz, workloadz. All in a worker, from a
 * world that is held. */
#include <string.h>

#include "pilot/page/page.h"

static json_t *labels_json(const struct pilot_endpoint *e)
{
	json_t *labels = json_object();

	for (size_t k = 0; k < e->nlabels; k++)
		json_object_set_new(labels, e->labels[k].key, json_string(e->labels[k].value));
	return labels;
}

static json_t *ports_json(const struct pilot_service *s, const struct pilot_endpoint *e)
{
	json_t *ports = json_object();

	for (size_t k = 0; k < s->nports; k++)
		if (e->ports[k])
			json_object_set_new(ports, s->ports[k].name, json_integer(e->ports[k]));
	return ports;
}

static void put(json_t *j, const char *key, const char *value)
{
	if (*value)
		json_object_set_new(j, key, json_string(value));
}

static json_t *endpoint_json(
	const struct page_work *w, const struct pilot_service *s, const struct pilot_endpoint *e)
{
	json_t *j = json_pack("{s:s, s:o, s:o, s:b, s:b, s:s}", "address", e->address, "ports",
		ports_json(s, e), "labels", labels_json(e), "mtls", e->mtls, "healthy",
		!e->unhealthy, "serviceAccount", e->service_account);
	put(j, "region", e->region);
	put(j, "zone", e->zone);
	put(j, "subzone", e->subzone);
	put(j, "network", e->network);
	put(j, "cluster", e->cluster);
	put(j, "workload", e->workload);
	if (e->weight)
		json_object_set_new(j, "weight", json_integer(e->weight));
	json_object_set_new(j, "objects", page_objects_json(w, &e->id, 1));
	return j;
}

static json_t *service_json(
	const struct page_work *w, const struct pilot_service *s, const struct pilot_endpoints *eps)
{
	static const char *const resolutions[] = { "NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN",
		"DYNAMIC_DNS" };
	json_t *ports = json_array(), *addresses = json_array();

	for (size_t i = 0; i < s->naddresses; i++)
		json_array_append_new(addresses, json_string(s->addresses[i]));
	for (size_t i = 0; i < s->nports; i++)
		json_array_append_new(ports,
			json_pack("{s:s, s:i, s:s}", "name", s->ports[i].name, "port",
				(int)s->ports[i].number, "protocol",
				pilot_protocol_name(s->ports[i].protocol)));
	const char *resolution = (size_t)s->resolution < MT_ARRAY_SIZE(resolutions)
		? resolutions[s->resolution]
		: "other";
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:i, s:o}", "hostname", s->hostname,
		"namespace", s->ns, "registry", s->registry, "resolution", resolution, "external",
		s->external, "addresses", addresses, "ports", ports, "endpointCount", (int)eps->n,
		"objects", page_objects_json(w, &s->id, 1));
}

static json_t *endpoints_json(
	const struct page_work *w, const struct pilot_service *s, const struct pilot_endpoints *eps)
{
	json_t *all = json_array();

	for (size_t i = 0; i < eps->n; i++)
		json_array_append_new(all, endpoint_json(w, s, &eps->v[i]));
	return all;
}

/* Calls one for each service that is asked for. */
static json_t *each(struct page_work *w,
	json_t *(*one)(struct page_work *w, const struct pilot_service *s,
		const struct pilot_endpoints *eps))
{
	json_t *all = json_array();

	for (size_t i = 0; w->world && i < pilot_world_nservices(w->world); i++) {
		const struct pilot_endpoints *eps;
		const struct pilot_service *s = pilot_world_service(w->world, i, &eps);
		if (!w->host || strcmp(w->host, s->hostname) == 0)
			json_array_append_new(all, one(w, s, eps));
	}
	return all;
}

static void start(struct pilot *p, struct mt_http_req *r, json_t *(*make)(struct page_work *w))
{
	struct page_work *w = page_work_new(p, r, make);

	page_work_objects(w, p);
	if (push_current(p->push))
		w->world = pilot_world_ref(push_current(p->push));
	page_work_run(w, p->loop);
}

static json_t *one_service(
	struct page_work *w, const struct pilot_service *s, const struct pilot_endpoints *eps)
{
	return service_json(w, s, eps);
}

static json_t *make_registry(struct page_work *w)
{
	return each(w, one_service);
}

void pilot_page_registryz(void *ctx, struct mt_http_req *r)
{
	start(ctx, r, make_registry);
}

static json_t *one_with_endpoints(
	struct page_work *w, const struct pilot_service *s, const struct pilot_endpoints *eps)
{
	json_t *j = service_json(w, s, eps);

	json_object_set_new(j, "endpoints", endpoints_json(w, s, eps));
	return j;
}

static json_t *make_endpoints(struct page_work *w)
{
	return each(w, one_with_endpoints);
}

void pilot_page_endpointz(void *ctx, struct mt_http_req *r)
{
	start(ctx, r, make_endpoints);
}

/* By "registry/cluster", which is where an endpoint was reported. */
static json_t *one_sharded(
	struct page_work *w, const struct pilot_service *s, const struct pilot_endpoints *eps)
{
	json_t *shards = json_object();

	for (size_t i = 0; i < eps->n; i++) {
		const char *key = mt_arena_printf(w->arena, "%s%s%s", s->registry,
			*eps->v[i].cluster ? "/" : "", eps->v[i].cluster);
		json_t *shard = json_object_get(shards, key);
		if (!shard) {
			shard = json_array();
			json_object_set_new(shards, key, shard);
		}
		json_array_append_new(shard, endpoint_json(w, s, &eps->v[i]));
	}
	return json_pack(
		"{s:s, s:s, s:o}", "hostname", s->hostname, "namespace", s->ns, "shards", shards);
}

static json_t *make_shards(struct page_work *w)
{
	return each(w, one_sharded);
}

void pilot_page_endpointShardz(void *ctx, struct mt_http_req *r)
{
	start(ctx, r, make_shards);
}

/* ---- workloads ---- */

static json_t *workload_json(struct page_work *w, const struct pilot_proxy *pr)
{
	json_t *all = json_array(), *ips = json_array();
	struct pilot_instance *inst;
	size_t n = w->world ? pilot_world_instances(w->world, pr, w->arena, &inst) : 0;

	for (size_t i = 0; i < pr->nips; i++)
		json_array_append_new(ips, json_string(pr->ips[i]));
	for (size_t i = 0; i < n; i++) {
		const struct pilot_endpoints *eps;
		const struct pilot_service *s =
			pilot_world_service(w->world, inst[i].service, &eps);
		json_array_append_new(all,
			json_pack("{s:s, s:s, s:o}", "service", s->hostname, "namespace", s->ns,
				"endpoint", endpoint_json(w, s, &eps->v[inst[i].endpoint])));
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "proxy", pr->id, "workload",
		pr->workload, "namespace", pr->ns, "serviceAccount", pr->service_account,
		"addresses", ips, "instances", all);
}

static json_t *make_workloads(struct page_work *w)
{
	json_t *all = json_array();

	for (size_t i = 0; i < w->nproxies; i++)
		json_array_append_new(all, workload_json(w, w->proxies[i]));
	return all;
}

void pilot_page_workloadz(void *ctx, struct mt_http_req *r)
{
	struct pilot *p = ctx;
	const struct push_proxy *x;

	if (!page_proxy_if(p, r, &x))
		return;
	struct page_work *w = page_work_new(p, r, make_workloads);
	page_work_objects(w, p);
	if (push_current(p->push))
		w->world = pilot_world_ref(push_current(p->push));
	for (const struct push_proxy *y = x ? x : push_proxies(p->push); y; y = x ? NULL : y->next)
		page_work_proxy(w, y);
	page_work_run(w, p->loop);
}
