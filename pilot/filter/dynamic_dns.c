/* Resolution DYNAMIC_DNS: a wildcard host whose names the proxy resolves itself, when a request (its host)
 * or a TLS connection (its server name) asks for one. A filter resolves the name and keeps it in a cache;
 * the cluster connects to what the cache says. All name the cache with the same settings, else Envoy
 * refuses the second. */
#include "envoy/extensions/clusters/dynamic_forward_proxy/v3/dynamic_forward_proxy.pb-c.h"
#include "envoy/extensions/filters/http/dynamic_forward_proxy/v3/dynamic_forward_proxy.pb-c.h"
#include "envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3/sni_dynamic_forward_proxy.pb-c.h"
#include "pilot/filter/filter.h"

/* Names come from requests: without a bound they would fill the memory. */
enum { NAMES_MAX = 1024 };

static Cdfp__DnsCacheConfig *cache(struct pilot_job *j)
{
	Cdfp__DnsCacheConfig *c = pb_new(j->a, cdfp__dns_cache_config);
	c->name = pb_s("dynamic-dns");
	c->dns_lookup_family = j->p->ipv6 && !j->p->ipv4
		? CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__V6_ONLY
		: j->p->ipv6 ? CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__ALL
			     : CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__V4_ONLY;
	c->max_hosts = pb_u32(j->a, NAMES_MAX);
	return c;
}

const ProtobufCMessage *pilot_filter_dynamic_dns(
	const struct pilot_filter_in *in, const char **ret_name)
{
	if (!in->j->dynamic_dns)
		return NULL;
	Httpdfp__FilterConfig *m = pb_new(in->j->a, httpdfp__filter_config);
	m->implementation_specifier_case =
		HTTPDFP__FILTER_CONFIG__IMPLEMENTATION_SPECIFIER_DNS_CACHE_CONFIG;
	m->dns_cache_config = cache(in->j);
	*ret_name = "envoy.filters.http.dynamic_forward_proxy";
	return &m->base;
}

bool pilot_dynamic_dns_has(const struct pilot_service *s, uint32_t port)
{
	enum pilot_protocol p = s->ports[port].protocol;
	return s->resolution == PILOT_RES_DYNAMIC_DNS &&
		(pilot_protocol_is_http(p) || pilot_protocol_is_tls(p));
}

void pilot_dynamic_dns_chain(
	struct pilot_job *j, Listener__FilterChain *c, const struct pilot_service *s, uint32_t port)
{
	if (!pilot_dynamic_dns_has(s, port) || !pilot_protocol_is_tls(s->ports[port].protocol))
		return;
	Snidfp__FilterConfig *m = pb_new(j->a, snidfp__filter_config);
	m->dns_cache_config = cache(j);
	m->port_specifier_case = SNIDFP__FILTER_CONFIG__PORT_SPECIFIER_PORT_VALUE;
	m->port_value = s->ports[port].number;
	pb_add(j->a, c, filters, NULL);
	for (size_t i = c->n_filters - 1; i > 0; i--)
		c->filters[i] = c->filters[i - 1];
	c->filters[0] =
		pb_filter(j->a, "envoy.filters.network.sni_dynamic_forward_proxy", &m->base);
}

void pilot_dynamic_dns_cluster(struct pilot_job *j, Cluster__Cluster *c)
{
	Dfpcluster__ClusterConfig *m = pb_new(j->a, dfpcluster__cluster_config);
	m->cluster_implementation_specifier_case =
		DFPCLUSTER__CLUSTER_CONFIG__CLUSTER_IMPLEMENTATION_SPECIFIER_DNS_CACHE_CONFIG;
	m->dns_cache_config = cache(j);
	m->allow_insecure_cluster_options = true; /* plaintext too, as other services have it */
	Cluster__Cluster__CustomClusterType *t =
		pb_new(j->a, cluster__cluster__custom_cluster_type);
	t->name = pb_s("envoy.clusters.dynamic_forward_proxy");
	t->typed_config = mt_pb_any(j->a, &m->base);
	c->type = 0;
	c->cluster_discovery_type_case = CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_CLUSTER_TYPE;
	c->cluster_type = t;
	c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
}
