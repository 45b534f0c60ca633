/* Class keys. What stands in a key is exactly what translation reads of a proxy:
 *
 *   clusters   type, namespace, sidecar object, whether its agent has certificates, which of the
 *              credentials that rules name it has, address family, the labels that selectors mention;
 *              locality too when hosts resolved by name depend on it
 *   endpoints  those, and locality, network, cluster
 *   listeners  those of clusters, domain, interception mode, the labels that selectors mention
 *   routes     the same, and whether virtual hosts are resources of their own
 *   inbound    those, and the service instances; addresses and workload facts when something of the
 *              proxy itself is in the resources (captureMode NONE, facts for Mixer)
 *
 * Envoy's version is in every key: what one version gets another may not understand. */
#include "pilot/model/class.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "istio/security/v1beta1/security.pb-c.h"
#include "pilot/model/envoy_filter.h"
#include "pilot/model/secrets.h"

typedef Nw__HTTPMatchRequest__SourceLabelsEntry kv_entry; /* all map<string,string> look like it */

struct keys {
	const char **v;
	size_t n;
	size_t cap;
};

static void add_keys(struct pilot_index *ix, struct keys *k, const void *entries, size_t n)
{
	kv_entry *const *e = entries;
	for (size_t i = 0; i < n; i++)
		mt_vec_apush(ix->arena, k, e[i]->key);
}

static void add_vs(struct pilot_index *ix, struct keys *k, const Nw__VirtualService *s)
{
	for (size_t i = 0; i < s->n_http; i++)
		for (size_t m = 0; m < s->http[i]->n_match; m++)
			add_keys(ix, k, s->http[i]->match[m]->source_labels,
				s->http[i]->match[m]->n_source_labels);
	for (size_t i = 0; i < s->n_tcp; i++)
		for (size_t m = 0; m < s->tcp[i]->n_match; m++)
			add_keys(ix, k, s->tcp[i]->match[m]->source_labels,
				s->tcp[i]->match[m]->n_source_labels);
	for (size_t i = 0; i < s->n_tls; i++)
		for (size_t m = 0; m < s->tls[i]->n_match; m++)
			add_keys(ix, k, s->tls[i]->match[m]->source_labels,
				s->tls[i]->match[m]->n_source_labels);
}

static void add_patch(
	struct pilot_index *ix, struct keys *labels, struct keys *meta, const struct pilot_patch *p)
{
	const Nw__EnvoyFilter__ProxyMatch *m = p->match ? p->match->proxy : NULL;
	add_keys(ix, labels, p->spec->workload_labels, p->spec->n_workload_labels);
	if (p->spec->workload_selector)
		add_keys(ix, labels, p->spec->workload_selector->labels,
			p->spec->workload_selector->n_labels);
	if (m)
		add_keys(ix, meta, m->metadata, m->n_metadata);
	if (m && !mt_str_empty(m->proxy_version))
		mt_vec_apush(ix->arena, meta, "ISTIO_VERSION");
}

/* Sorts; each once. Returns how many. */
static size_t unique(struct keys *k)
{
	size_t n = 0;
	if (k->n > 1)
		qsort(k->v, k->n, sizeof(*k->v), mt_strcmpp);
	for (size_t i = 0; i < k->n; i++)
		if (!n || strcmp(k->v[n - 1], k->v[i]) != 0)
			k->v[n++] = k->v[i];
	return n;
}

/* Tracers that name the service in their configuration take it from these. */
static void add_service_names(struct pilot_index *ix, struct keys *k)
{
	const Mesh__ProxyConfig *c = ix->mesh.spec->default_config;
	bool named = c && c->tracing && c->tracing->tracer_case == MESH__TRACING__TRACER_DATADOG;
	for (size_t i = 0; i < ix->mesh.spec->n_extension_providers; i++) {
		const Mesh__MeshConfig__ExtensionProvider *p =
			ix->mesh.spec->extension_providers[i];
		named = named ||
			p->provider_case ==
				MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_OPENTELEMETRY ||
			p->provider_case == MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_DATADOG;
	}
	if (!named)
		return;
	mt_vec_apush(ix->arena, k, "app");
	mt_vec_apush(ix->arena, k, "service.istio.io/canonical-name");
}

static void add_ranks(
	struct pilot_index *ix, struct keys *k, const Nw__LocalityLoadBalancerSetting *l)
{
	for (size_t i = 0; l && i < l->n_failover_priority; i++)
		mt_vec_apush(ix->arena, k,
			mt_arena_strndup(ix->arena, l->failover_priority[i],
				strcspn(l->failover_priority[i], "=")));
}

static void add_policy(struct pilot_index *ix, struct keys *k, const Nw__TrafficPolicy *p)
{
	if (!p)
		return;
	if (p->load_balancer)
		add_ranks(ix, k, p->load_balancer->locality_lb_setting);
	for (size_t i = 0; i < p->n_port_level_settings; i++)
		if (p->port_level_settings[i]->load_balancer)
			add_ranks(ix, k,
				p->port_level_settings[i]->load_balancer->locality_lb_setting);
}

/* Those that select its clients, and those by which a client ranks endpoints ("key" or "key=value"). */
static void add_dr(struct pilot_index *ix, struct keys *k, const struct pilot_dr *dr)
{
	if (dr->selector)
		add_keys(ix, k, dr->selector->match_labels, dr->selector->n_match_labels);
	add_policy(ix, k, dr->policy);
	for (size_t i = 0; i < dr->nsubsets; i++)
		add_policy(ix, k, dr->subsets[i].spec->traffic_policy);
}

/* Where the names of secrets go. */
struct naming {
	struct pilot_index *ix;
	struct keys *k;
};

static void add_secret(void *ctx, const char *name, const char *suffix)
{
	struct naming *n = ctx;
	mt_vec_apush(n->ix->arena, n->k, mt_arena_printf(n->ix->arena, "%s%s", name, suffix));
}

static void add_client_tls(struct naming *n, const Nw__TrafficPolicy *p)
{
	if (!p)
		return;
	if (p->tls)
		pilot_client_secrets(p->tls, add_secret, n);
	for (size_t i = 0; i < p->n_port_level_settings; i++)
		if (p->port_level_settings[i]->tls)
			pilot_client_secrets(p->port_level_settings[i]->tls, add_secret, n);
}

static void index_secrets(struct pilot_index *ix)
{
	struct keys k = { 0 };
	struct naming n = { ix, &k };
	for (size_t i = 0; i < ix->ndrs; i++) {
		add_client_tls(&n, ix->drs[i].policy);
		for (size_t s = 0; s < ix->drs[i].nsubsets; s++)
			add_client_tls(&n, ix->drs[i].subsets[s].spec->traffic_policy);
	}
	for (size_t i = 0; i < ix->ngws; i++)
		for (size_t s = 0; s < ix->gws[i].spec->n_servers; s++)
			if (ix->gws[i].spec->servers[s]->tls)
				pilot_server_secrets(
					ix->gws[i].spec->servers[s]->tls, add_secret, &n);
	for (size_t i = 0; i < ix->nsidecars; i++)
		for (size_t s = 0; s < ix->sidecars[i].spec->n_ingress; s++)
			if (ix->sidecars[i].spec->ingress[s]->tls)
				pilot_server_secrets(
					ix->sidecars[i].spec->ingress[s]->tls, add_secret, &n);
	ix->nsecrets = unique(&k);
	ix->secrets = k.v;
}

void pilot_index_keys(struct pilot_index *ix)
{
	index_secrets(ix);

	struct keys k = { 0 }, meta = { 0 };
	for (size_t i = 0; i < ix->nvss; i++)
		add_vs(ix, &k, ix->vss[i].spec);
	for (size_t i = 0; i < ix->ndrs; i++)
		add_dr(ix, &k, &ix->drs[i]);
	add_ranks(ix, &k, ix->mesh.spec->locality_lb_setting);
	for (size_t i = 0; i < ix->ngws; i++)
		add_keys(ix, &k, ix->gws[i].spec->selector, ix->gws[i].spec->n_selector);
	for (size_t i = 0; i < ix->nsidecars; i++)
		if (ix->sidecars[i].spec->workload_selector)
			add_keys(ix, &k, ix->sidecars[i].spec->workload_selector->labels,
				ix->sidecars[i].spec->workload_selector->n_labels);
	for (size_t i = 0; i < ix->npeers; i++) {
		const Sec__PeerAuthentication *s =
			(const Sec__PeerAuthentication *)ix->peers[i].obj->spec;
		if (s->selector)
			add_keys(ix, &k, s->selector->match_labels, s->selector->n_match_labels);
	}
	for (size_t i = 0; i < ix->ntelemetries; i++)
		if (ix->telemetries[i].spec->selector)
			add_keys(ix, &k, ix->telemetries[i].spec->selector->match_labels,
				ix->telemetries[i].spec->selector->n_match_labels);
	for (size_t i = 0; i < ix->npatches; i++)
		add_patch(ix, &k, &meta, &ix->patches[i]);
	ix->nmeta_keys = unique(&meta);
	ix->meta_keys = meta.v;
	add_service_names(ix, &k);
	ix->nlabel_keys = unique(&k);
	ix->label_keys = k.v;
}

/* Values come from outside: lengths keep two different lists from spelling one text. */
static void text(struct mt_buf *b, const char *name, const char *value)
{
	mt_buf_printf(b, " %s=%zu:%s", name, strlen(value), value);
}

static void key_labels(struct mt_buf *b, const struct pilot_index *ix, const struct pilot_proxy *p)
{
	for (size_t i = 0; i < ix->nlabel_keys; i++) {
		const char *v = pilot_label(p->labels, p->nlabels, ix->label_keys[i]);
		if (v)
			text(b, ix->label_keys[i], v);
	}
	for (size_t i = 0; i < ix->nmeta_keys; i++) {
		const char *v = pilot_label(p->meta, p->nmeta, ix->meta_keys[i]);
		if (!v)
			continue;
		mt_buf_adds(b, " meta");
		text(b, ix->meta_keys[i], v);
	}
}

static void key_common(struct mt_buf *b, const struct pilot_world *w, const struct pilot_proxy *p)
{
	const struct pilot_sidecar *sc =
		p->type != PILOT_ROUTER ? pilot_index_sidecar(w->ix, p) : NULL;
	mt_buf_printf(b, "%s envoy=%d.%d.%d ip=%d%d sds=%d none=%d tproxy=%d sidecar=%u",
		pilot_proxy_type_name(p->type), p->major, p->minor, p->patch, p->ipv4, p->ipv6,
		p->sds, p->none, p->tproxy, sc ? sc->id : 0);
	text(b, "ns", p->ns);
	text(b, "domain", p->domain);
	if (p->credentials)
		mt_buf_adds(b, " credentials");
	for (size_t i = 0; p->credentials && i < w->ix->nsecrets; i++)
		if (pilot_proxy_has(p, w->ix->secrets[i], "") == PILOT_HAS)
			text(b, "credential", w->ix->secrets[i]);
	/* The gateways that select a router are known by its labels. */
	key_labels(b, w->ix, p);
}

static void key_place(struct mt_buf *b, const struct pilot_proxy *p)
{
	text(b, "region", p->region);
	text(b, "zone", p->zone);
	text(b, "subzone", p->subzone);
	text(b, "network", p->network);
	text(b, "cluster", p->cluster_id);
}

static void key_inbound(struct mt_buf *b, const struct pilot_world *w, const struct pilot_proxy *p,
	const struct pilot_instance *inst, size_t n, bool own_addresses)
{
	for (size_t i = 0; i < n; i++) {
		const struct pilot_endpoints *e = pilot_world_eps(w, inst[i].service);
		const struct pilot_service *s = w->ix->svcs[inst[i].service];
		text(b, "service", s->hostname);
		text(b, "in", s->ns);
		for (size_t k = 0; k < e->nports; k++)
			mt_buf_printf(b, " %u", e->v[inst[i].endpoint].ports[k]);
	}
	if (!own_addresses)
		return;
	for (size_t i = 0; i < p->nips; i++)
		text(b, "addr", p->ips[i]);
	text(b, "workload", p->workload);
	text(b, "id", p->id);
	text(b, "sa", p->service_account);
	for (size_t i = 0; i < p->nlabels; i++)
		text(b, p->labels[i].key, p->labels[i].value);
}

static bool has_ingress(const struct pilot_world *w, const struct pilot_proxy *p)
{
	const struct pilot_sidecar *sc =
		p->type != PILOT_ROUTER ? pilot_index_sidecar(w->ix, p) : NULL;
	return sc && sc->spec->n_ingress;
}

bool pilot_class_own_inbound_routes(const struct pilot_world *w)
{
	return w->ix->mesh.mixer_check || w->ix->mesh.mixer_report;
}

bool pilot_class_own_inbound(const struct pilot_world *w, const struct pilot_proxy *p)
{
	/* A server without a proxy asks for its own addresses. */
	return p->none || p->type == PILOT_PROXYLESS || pilot_class_own_inbound_routes(w) ||
		has_ingress(w, p);
}

static void finish(struct mt_buf *b, size_t common, struct mt_arena *a, struct pilot_class_key *ret)
{
	ret->text = mt_arena_strdup(a, mt_buf_str(b));
	ret->hash = mt_hash_str(ret->text);
	b->n = common;
	if (b->p)
		b->p[common] = '\0';
}

size_t pilot_class_keys(const struct pilot_world *w, const struct pilot_proxy *p,
	struct mt_arena *a, struct pilot_class_key ret[PILOT_TABLES])
{
	struct mt_buf b = { 0 };
	key_common(&b, w, p);
	size_t common = b.n;
	finish(&b, common, a, &ret[PILOT_LISTENERS]);
	ret[PILOT_CLUSTERS] = ret[PILOT_LISTENERS];
	mt_buf_printf(&b, " vhds=%d", p->vhds);
	finish(&b, common, a, &ret[PILOT_ROUTES]);
	ret[PILOT_VIRTUAL_HOSTS] = ret[PILOT_ROUTES];
	if (w->ix->dns_by_locality) {
		key_place(&b, p);
		finish(&b, common, a, &ret[PILOT_CLUSTERS]);
	}
	key_place(&b, p);
	finish(&b, common, a, &ret[PILOT_ENDPOINTS]);
	struct pilot_instance *inst;
	size_t n = pilot_world_instances(w, p, a, &inst);
	key_inbound(&b, w, p, inst, n, has_ingress(w, p));
	finish(&b, common, a, &ret[PILOT_CLUSTERS_INBOUND]);
	key_inbound(&b, w, p, inst, n, pilot_class_own_inbound(w, p));
	finish(&b, common, a, &ret[PILOT_LISTENERS_INBOUND]);
	key_inbound(&b, w, p, inst, n, pilot_class_own_inbound_routes(w));
	finish(&b, common, a, &ret[PILOT_ROUTES_INBOUND]);
	mt_buf_clear(&b);
	return n;
}
