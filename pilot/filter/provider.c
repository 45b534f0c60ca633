/* Where logs and spans go: a provider is a service of the mesh (then its cluster is one of those that
 * the proxy has anyway) or an address in the mesh configuration (then it has a cluster of its name). */
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/filter/telemetry.h"
#include "pilot/translate/endpoint.h"
#include "pilot/translate/policy.h"

struct target {
	const char *service; /* NULL: the provider has none */
	uint32_t port;
};

#define SERVICE_OF(CASE, member)                                                                   \
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_##CASE:                               \
		return (struct target)                                                             \
		{                                                                                  \
			p->member->service, p->member->port                                        \
		}

static struct target target_of(const Mesh__MeshConfig__ExtensionProvider *p)
{
	switch (p->provider_case) {
		SERVICE_OF(ZIPKIN, zipkin);
		SERVICE_OF(OPENTELEMETRY, opentelemetry);
		SERVICE_OF(DATADOG, datadog);
		SERVICE_OF(SKYWALKING, skywalking);
		SERVICE_OF(ENVOY_HTTP_ALS, envoy_http_als);
		SERVICE_OF(ENVOY_TCP_ALS, envoy_tcp_als);
		SERVICE_OF(ENVOY_OTEL_ALS, envoy_otel_als);
	default: return (struct target){ NULL, 0 };
	}
}

/* "HOST" or "NAMESPACE/HOST": index of the service, -1 none. */
static int service_of(struct pilot_job *j, const char *service, const char **ret_host)
{
	const char *slash = strchr(service, '/');
	return pilot_job_service(j, slash ? slash + 1 : service, j->mesh->root_namespace, ret_host);
}

bool pilot_provider(struct pilot_job *j, const char *name, uint32_t id, struct pilot_provider *ret)
{
	struct pilot_provider p = { .ext = pilot_mesh_provider(j->mesh, name) };
	if (!p.ext) {
		p.cluster = name;
		p.host = pilot_mesh_provider_address(j->mesh, name);
		if (p.host || strcmp(name, PILOT_PROVIDER_FILE) == 0) {
			*ret = p;
			return true;
		}
		pilot_job_note(j, id, PILOT_NOTE_PENDING, "spec",
			"the mesh configuration has no provider %s", name);
		return false;
	}
	struct target t = target_of(p.ext);
	if (!t.service) {
		*ret = p;
		return true;
	}
	int svc = service_of(j, t.service, &p.host);
	if (svc < 0 || pilot_service_port(j->ix->svcs[svc], (uint16_t)t.port) < 0) {
		pilot_job_note(j, id, PILOT_NOTE_PENDING, "spec",
			"provider %s: no service %s with port %u", name, p.host, t.port);
		return false;
	}
	p.cluster = pilot_out_name(j, (uint16_t)t.port, "", p.host);
	*ret = p;
	return true;
}

static void mark(struct pilot_job *j, const char *name)
{
	const Mesh__MeshConfig__ExtensionProvider *p =
		name ? pilot_mesh_provider(j->mesh, name) : NULL;
	const char *host;
	if (!p || !target_of(p).service)
		return;
	int svc = service_of(j, target_of(p).service, &host);
	/* A log or tracer begins when its service comes. */
	j->telemetry.hash = mt_hash_mix(j->telemetry.hash, svc >= 0 ? j->ix->svcs[svc]->hash : 1);
	if (svc >= 0)
		j->marks[svc] = 1;
}

void pilot_scope_telemetry(struct pilot_job *j)
{
	pilot_index_telemetry(j->ix, j->p, j->a, &j->telemetry);
	for (int s = 0; s < PILOT_SIDES; s++) {
		for (size_t i = 0; i < j->telemetry.side[s].nlogs; i++)
			mark(j, j->telemetry.side[s].logs[i].provider);
		mark(j, j->telemetry.side[s].trace.provider);
	}
}

/* ---- clusters of addresses ---- */

size_t pilot_provider_clusters(struct pilot_job *j, const char *ret[static PILOT_PROVIDER_CLUSTERS])
{
	static const char *const all[] = { PILOT_PROVIDER_ALS, PILOT_PROVIDER_TRACER };
	size_t n = 0;
	for (size_t i = 0; i < MT_ARRAY_SIZE(all); i++)
		if (!pilot_mesh_provider(j->mesh, all[i]) &&
			pilot_mesh_provider_address(j->mesh, all[i]))
			ret[n++] = all[i];
	return n;
}

Cluster__Cluster *pilot_provider_cluster(struct pilot_job *j, const char *name)
{
	const char *addr = pilot_mesh_provider_address(j->mesh, name);
	char host[256] = "";
	uint16_t port = 0;
	struct mt_ip ip;
	if (!addr)
		return NULL;
	Cluster__Cluster *c = pb_new(j->a, cluster__cluster);
	c->name = pb_s(name);
	c->connect_timeout = pb_dur(j->a, MT_NS_PER_SEC);
	c->cluster_discovery_type_case = CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
	pilot_prov_add(j, j->mesh->id);
	if (mt_hostport_parse(addr, host, &port) < 0 || !*host) {
		pilot_job_note(j, j->mesh->id, PILOT_NOTE_INVALID, "spec.defaultConfig",
			"%s is not HOST:PORT", addr);
		c->type = CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC;
		return c;
	}
	c->type = mt_ip_parse(host, &ip) == 0 ? CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC
					      : CLUSTER__CLUSTER__DISCOVERY_TYPE__STRICT_DNS;
	c->dns_lookup_family = CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__V4_PREFERRED;
	c->load_assignment = pilot_load_one(j, name, mt_arena_strdup(j->a, host), port);
	pilot_cluster_limits(j, c, NULL);
	pilot_cluster_http(
		j, c, strcmp(name, PILOT_PROVIDER_ALS) == 0 ? PILOT_GRPC : PILOT_HTTP, NULL, NULL);
	return c;
}
