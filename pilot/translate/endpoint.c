/* Load assignments: the endpoints of a service's port and subset, grouped by locality.
 *
 * The fingerprint covers all endpoints of the service, the destination rule, and of the proxy what
 * locality.c reads: an endpoint of v1 that changes builds v2's assignment again too, finds it equal,
 * and sends nothing. */
#include "pilot/translate/endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/expr/wire.h"
#include "pilot/translate/cluster.h"
#include "pilot/translate/policy.h"

static const Nw__Subset *find_subset(const struct pilot_dr *dr, const char *name, uint32_t *ret_id)
{
	for (size_t i = 0; dr && i < dr->nsubsets; i++)
		if (strcmp(dr->subsets[i].spec->name, name) == 0) {
			*ret_id = dr->subsets[i].id;
			return dr->subsets[i].spec;
		}
	return NULL;
}

static bool in_subset(const struct pilot_endpoint *e, const Nw__Subset *s)
{
	for (size_t i = 0; s && i < s->n_labels; i++)
		if (!mt_streq(pilot_label(e->labels, e->nlabels, s->labels[i]->key),
			    s->labels[i]->value))
			return false;
	return true;
}

static bool by_eds(const struct pilot_job *j, const struct pilot_cluster_ref *ref)
{
	return j->ix->svcs[ref->svc]->resolution == PILOT_RES_STATIC;
}

static struct pilot_policy policy_of(
	struct pilot_job *j, const struct pilot_dr *dr, const struct pilot_cluster_ref *ref)
{
	struct pilot_policy pol;
	pilot_policy_resolve(
		j->mesh, dr, ref->subset, j->ix->svcs[ref->svc]->ports[ref->port].number, &pol);
	return pol;
}

uint64_t pilot_endpoints_place_fp(
	struct pilot_job *j, const struct pilot_dr *dr, const struct pilot_cluster_ref *ref)
{
	struct pilot_policy pol = policy_of(j, dr, ref);
	struct pilot_locality l = pilot_locality_of(j, &pol);
	return pilot_locality_fp(j, &l);
}

static uint64_t endpoints_fp(
	struct pilot_job *j, const struct pilot_dr *dr, const struct pilot_cluster_ref *ref)
{
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	uint64_t h = mt_hash_mix(pilot_world_eps(j->w, ref->svc)->hash, s->hash);
	h = mt_hash_mix(mt_hash_mix(h, j->ix->auth_hash), dr ? dr->hash : 0);
	h = mt_hash_mix(h, pilot_endpoints_place_fp(j, dr, ref));
	return mt_hash_mix(h, j->mesh->mixer_report != NULL);
}

/* A cluster with endpoints that are discovered: PASSTHROUGH turns one into a cluster without. */
static bool discovered(
	struct pilot_job *j, const struct pilot_dr *dr, const struct pilot_cluster_ref *ref)
{
	struct pilot_policy pol = policy_of(j, dr, ref);
	return by_eds(j, ref) && !pilot_policy_is_passthrough(&pol);
}

static const struct pilot_dr *dr_of(struct pilot_job *j, const struct pilot_cluster_ref *ref)
{
	return pilot_job_dr(j, j->ix->svcs[ref->svc]->hostname, (int)ref->svc);
}

void pilot_plan_endpoints(struct pilot_job *j, struct pilot_plan *p)
{
	struct pilot_plan clusters = { 0 };
	pilot_plan_clusters(j, &clusters);
	for (size_t i = 0; i < clusters.n; i++) {
		const struct pilot_cluster_ref *ref = clusters.v[i].what;
		if (clusters.v[i].how != PILOT_HOW_CLUSTER)
			continue;
		const struct pilot_dr *dr = dr_of(j, ref);
		if (discovered(j, dr, ref))
			pilot_plan_add(j, p, clusters.v[i].name, endpoints_fp(j, dr, ref),
				PILOT_HOW_ENDPOINTS, ref);
	}
}

bool pilot_plan_endpoints_one(struct pilot_job *j, const char *name, struct pilot_item *ret)
{
	struct pilot_cluster_name cn;
	bool sni = pilot_sni_cluster(j, name, &cn);
	if (!sni && (pilot_cluster_name_parse(name, &cn) < 0 || cn.inbound))
		return false;
	int svc = pilot_world_find(j->w, cn.host, j->p->ns);
	if (svc < 0 || !j->clusters[svc])
		return false;
	int port = pilot_service_port(j->ix->svcs[svc], cn.port);
	uint32_t id;
	const struct pilot_dr *dr = pilot_job_dr(j, cn.host, svc);
	if (port < 0 || (*cn.subset && !find_subset(dr, cn.subset, &id)))
		return false;
	struct pilot_cluster_ref *ref = MT_ANEW(j->a, struct pilot_cluster_ref);
	*ref = (struct pilot_cluster_ref){ (uint32_t)svc, (uint32_t)port,
		mt_arena_strdup(j->a, cn.subset), sni };
	if (!discovered(j, dr, ref))
		return false;
	struct pilot_plan p = { 0 };
	pilot_plan_add(j, &p, mt_arena_strdup(j->a, name), endpoints_fp(j, dr, ref),
		PILOT_HOW_ENDPOINTS, ref);
	*ret = p.v[0];
	return true;
}

/* The endpoint takes mutual TLS, unless a policy switched it off there: its proxy would then take the
 * handshake for the application's. */
static bool takes_mtls(struct pilot_job *j, const struct pilot_service *s,
	const struct pilot_endpoint *e, size_t port)
{
	uint32_t id;
	if (!e->mtls || (!j->ix->npeers && !j->ix->npolicies))
		return e->mtls;
	struct pilot_mtls_query q = { .ns = e->ns,
		.labels = e->labels,
		.nlabels = e->nlabels,
		.port = e->ports[port],
		.service = mt_arena_strndup(j->a, s->hostname, strcspn(s->hostname, ".")),
		.service_port = s->ports[port].number };
	bool takes = pilot_index_mtls(j->ix, &q, &id) != PILOT_MTLS_DISABLE;
	pilot_prov_add(j, id);
	return takes;
}

/* What a report of the calling proxy says of the endpoint that it chose: pilot/filter/mixer.c makes its
 * access logs carry this. */
static const char *describe(struct pilot_job *j, const struct pilot_endpoint *e)
{
	static const char *const labels[] = { "app", "version" };
	struct mt_buf b = { 0 };
	mt_wire_add(&b, "destination.workload.name", e->workload);
	mt_wire_add(&b, "destination.workload.namespace", e->ns);
	if (e->mtls && *e->service_account)
		mt_wire_add(&b, "destination.principal",
			mt_str_prefix(e->service_account, "spiffe://")
				? e->service_account
				: mt_arena_printf(j->a, "spiffe://%s/ns/%s/sa/%s",
					  j->mesh->trust_domain, e->ns, e->service_account));
	for (size_t i = 0; i < MT_ARRAY_SIZE(labels); i++)
		mt_wire_add_entry(&b, "destination.labels", labels[i],
			pilot_label(e->labels, e->nlabels, labels[i]));
	const char *text = mt_arena_strdup(j->a, mt_buf_str(&b));
	mt_buf_clear(&b);
	return text;
}

static Endpoint__LbEndpoint *lb_endpoint(struct pilot_job *j, const struct pilot_service *s,
	const struct pilot_endpoint *e, size_t port)
{
	Endpoint__Endpoint *ep = pb_new(j->a, endpoint__endpoint);
	const char *addr =
		e->unix_socket ? mt_arena_printf(j->a, "unix://%s", e->address) : e->address;
	ep->address = pb_bind(j->a, addr, e->ports[port]);
	Endpoint__LbEndpoint *m = pb_new(j->a, endpoint__lb_endpoint);
	m->host_identifier_case = ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
	m->endpoint = ep;
	m->load_balancing_weight = pb_u32(j->a, e->weight ? e->weight : 1);
	if (takes_mtls(j, s, e, port))
		pb_metadata_add(
			j->a, &m->metadata, "envoy.transport_socket_match", "tlsMode", "istio");
	if (j->mesh->mixer_report)
		pb_metadata_add(j->a, &m->metadata, "istio", "destination", describe(j, e));
	return m;
}

/* Nothing is sent to what is not well, or where the proxy has no address to send from. */
static bool usable(const struct pilot_job *j, const struct pilot_endpoint *e)
{
	struct mt_ip ip;
	if (e->unhealthy)
		return false;
	if (e->unix_socket || mt_ip_parse(e->address, &ip) < 0)
		return true;
	bool v6 = strchr(e->address, ':') != NULL;
	return v6 ? j->p->ipv6 : j->p->ipv4 || !j->p->ipv6;
}

struct ranked {
	const struct pilot_endpoint *e;
	unsigned rank;
};

/* By rank and locality: what is equal in both is one group. */
static int group_cmp(const struct ranked *a, const struct ranked *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	int r = strcmp(a->e->region, b->e->region);
	if (!r)
		r = strcmp(a->e->zone, b->e->zone);
	return r ? r : strcmp(a->e->subzone, b->e->subzone);
}

static int ranked_cmp(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;
	int r = group_cmp(a, b);
	if (!r)
		r = strcmp(a->e->address, b->e->address);
	return r ? r : (a->e > b->e) - (a->e < b->e);
}

static Endpoint__LocalityLbEndpoints *locality(struct pilot_job *j, const struct pilot_endpoint *e)
{
	Endpoint__LocalityLbEndpoints *l = pb_new(j->a, endpoint__locality_lb_endpoints);
	l->load_balancing_weight = pb_u32(j->a, 0);
	if (*e->region || *e->zone || *e->subzone) {
		l->locality = pb_new(j->a, core__locality);
		l->locality->region = pb_s(e->region);
		l->locality->zone = pb_s(e->zone);
		l->locality->sub_zone = pb_s(e->subzone);
	}
	return l;
}

/* The endpoints that serve the port and belong to the subset, in the order of their groups. */
static size_t members(struct pilot_job *j, const struct pilot_cluster_ref *ref,
	const Nw__Subset *sub, const struct pilot_locality *l, struct ranked **ret)
{
	const struct pilot_endpoints *eps = pilot_world_eps(j->w, ref->svc);
	struct ranked *v = MT_ANEWN(j->a, struct ranked, eps->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < eps->n; i++)
		if ((eps->v[i].ports[ref->port] || eps->v[i].unix_socket) &&
			usable(j, &eps->v[i]) && in_subset(&eps->v[i], sub))
			v[n++] = (struct ranked){ &eps->v[i],
				pilot_locality_rank(j, l, &eps->v[i]) };
	if (n > 1)
		qsort(v, n, sizeof(*v), ranked_cmp);
	*ret = v;
	return n;
}

Endpoint__ClusterLoadAssignment *pilot_load_assignment(
	struct pilot_job *j, const char *name, const struct pilot_cluster_ref *ref)
{
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	const struct pilot_dr *dr = dr_of(j, ref);
	uint32_t subset_id = 0;
	const Nw__Subset *sub = *ref->subset ? find_subset(dr, ref->subset, &subset_id) : NULL;
	struct pilot_policy pol = policy_of(j, dr, ref);
	struct pilot_locality loc = pilot_locality_of(j, &pol);
	Endpoint__ClusterLoadAssignment *m = pb_new(j->a, endpoint__cluster_load_assignment);
	m->cluster_name = pb_s(name);
	pilot_prov_add(j, s->id);
	pilot_prov_add(j, subset_id);
	for (size_t i = 0; dr && i < dr->nids && (pol.health || loc.how); i++)
		pilot_prov_add(j, dr->ids[i]);
	struct ranked *v;
	size_t n = members(j, ref, sub, &loc, &v);
	Endpoint__LocalityLbEndpoints *l = NULL;
	uint32_t priority = 0;
	for (size_t i = 0; i < n; i++) {
		if (!i || group_cmp(&v[i - 1], &v[i]) != 0) {
			priority += i && v[i].rank != v[i - 1].rank; /* without gaps */
			l = locality(j, v[i].e);
			l->priority = priority;
			pb_add(j->a, m, endpoints, l);
		}
		Endpoint__LbEndpoint *e = lb_endpoint(j, s, v[i].e, ref->port);
		if (pol.health && pol.health->port) {
			e->endpoint->health_check_config =
				pb_new(j->a, endpoint__endpoint__health_check_config);
			e->endpoint->health_check_config->port_value = pol.health->port;
		}
		l->load_balancing_weight->value += e->load_balancing_weight->value;
		pb_add(j->a, l, lb_endpoints, e);
		pilot_prov_add(j, v[i].e->id);
	}
	pilot_locality_weigh(j, &loc, m);
	return m;
}

Endpoint__ClusterLoadAssignment *pilot_load_one(
	struct pilot_job *j, const char *name, const char *addr, uint16_t port)
{
	Endpoint__LbEndpoint *e = pb_new(j->a, endpoint__lb_endpoint);
	e->host_identifier_case = ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
	e->endpoint = pb_new(j->a, endpoint__endpoint);
	e->endpoint->address = pb_bind(j->a, addr, port);
	Endpoint__LocalityLbEndpoints *l = pb_new(j->a, endpoint__locality_lb_endpoints);
	pb_add(j->a, l, lb_endpoints, e);
	Endpoint__ClusterLoadAssignment *m = pb_new(j->a, endpoint__cluster_load_assignment);
	m->cluster_name = pb_s(name);
	pb_add(j->a, m, endpoints, l);
	return m;
}

ProtobufCMessage *pilot_build_endpoints(struct pilot_job *j, const struct pilot_item *it)
{
	return &pilot_load_assignment(j, it->name, it->what)->base;
}

size_t pilot_clusters_of(struct pilot_job *j, uint32_t service, const char ***ret)
{
	const struct pilot_service *s = j->ix->svcs[service];
	const struct pilot_dr *dr =
		j->clusters[service] ? pilot_job_dr(j, s->hostname, (int)service) : NULL;
	MT_VEC(const char *) v = { 0 };
	for (uint32_t p = 0; j->clusters[service] && p < s->nports; p++) {
		for (size_t i = 0; i <= (dr ? dr->nsubsets : 0); i++) {
			const char *subset = i ? dr->subsets[i - 1].spec->name : "";
			const char *twin = pilot_sni_twin(j, s, p, subset);
			mt_vec_apush(j->a, &v,
				pilot_out_name(j, s->ports[p].number, subset, s->hostname));
			if (twin)
				mt_vec_apush(j->a, &v, twin);
		}
	}
	*ret = v.v;
	return v.n;
}
