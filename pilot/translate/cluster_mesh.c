/* The mesh configuration's part in clusters. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/strs.h"
#include "pilot/translate/cluster.h"

enum pilot_protocol pilot_cluster_protocol(struct pilot_job *j, const struct pilot_cluster_ref *ref,
	const Nw__ConnectionPoolSettings *pool)
{
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	const Nw__ConnectionPoolSettings__HTTPSettings *http = pool ? pool->http : NULL;
	enum pilot_protocol p = s->ports[ref->port].protocol;
	bool upgrade = !s->external &&
		j->mesh->spec->h2_upgrade_policy == MESH__MESH_CONFIG__H2_UPGRADE_POLICY__UPGRADE;
	if (p != PILOT_HTTP || (http && http->use_client_protocol))
		return p;
	switch (http ? http->h2_upgrade_policy
		     : NW__CONNECTION_POOL_SETTINGS__HTTPSETTINGS__H2_UPGRADE_POLICY__DEFAULT) {
	case NW__CONNECTION_POOL_SETTINGS__HTTPSETTINGS__H2_UPGRADE_POLICY__UPGRADE:
		return PILOT_HTTP2;
	case NW__CONNECTION_POOL_SETTINGS__HTTPSETTINGS__H2_UPGRADE_POLICY__DO_NOT_UPGRADE:
		return p;
	default: return upgrade ? PILOT_HTTP2 : p;
	}
}

static void keepalive(struct pilot_job *j, Cluster__Cluster *c)
{
	const Nw__ConnectionPoolSettings__TCPSettings__TcpKeepalive *k =
		j->mesh->spec->tcp_keepalive;
	if (!k || (c->upstream_connection_options && c->upstream_connection_options->tcp_keepalive))
		return;
	Core__TcpKeepalive *o = pb_new(j->a, core__tcp_keepalive);
	if (k->probes)
		o->keepalive_probes = pb_u32(j->a, k->probes);
	if (k->time)
		o->keepalive_time = pb_u32(j->a, (uint32_t)k->time->seconds);
	if (k->interval)
		o->keepalive_interval = pb_u32(j->a, (uint32_t)k->interval->seconds);
	if (!c->upstream_connection_options)
		c->upstream_connection_options = pb_new(j->a, cluster__upstream_connection_options);
	c->upstream_connection_options->tcp_keepalive = o;
}

struct names {
	const struct pilot_service *svc;
	const struct pilot_port *port;
	const char *subset;
};

static const char *variable(
	struct pilot_job *j, const struct names *n, const char *name, size_t len)
{
	static const char *const all[] = { "SERVICE", "SERVICE_FQDN", "SERVICE_PORT",
		"SERVICE_PORT_NAME", "TARGET_PORT", "SUBSET_NAME", "SERVICE_NAME" };
	size_t i = 0;
	while (i < MT_ARRAY_SIZE(all) && (strlen(all[i]) != len || strncmp(all[i], name, len) != 0))
		i++;
	switch (i) {
	case 0: /* "reviews.default": without the mesh's own domain */
	{
		const char *suffix = mt_arena_printf(j->a, ".svc.%s", j->mesh->domain);
		size_t cut = strlen(n->svc->hostname);
		if (mt_str_suffix(n->svc->hostname, suffix))
			cut -= strlen(suffix);
		return mt_arena_strndup(j->a, n->svc->hostname, cut);
	}
	case 1: return n->svc->hostname;
	case 2: return mt_arena_printf(j->a, "%u", n->port->number);
	case 3: return n->port->name;
	case 4: return mt_arena_printf(j->a, "%u", n->port->target);
	case 5: return n->subset;
	case 6: return mt_arena_strndup(j->a, n->svc->hostname, strcspn(n->svc->hostname, "."));
	default: return NULL;
	}
}

/* "%SERVICE%_%SERVICE_PORT%" with what stands for it here; what is not known stays as it is. */
static char *stat_name(struct pilot_job *j, const char *pattern, const struct names *n)
{
	struct mt_buf b = { 0 };
	for (const char *s = pattern; *s;) {
		const char *end = *s == '%' ? strchr(s + 1, '%') : NULL;
		const char *v = end ? variable(j, n, s + 1, (size_t)(end - s - 1)) : NULL;
		if (v) {
			mt_buf_adds(&b, v);
			s = end + 1;
		} else {
			mt_buf_addc(&b, *s++);
		}
	}
	char *r = mt_arena_strdup(j->a, mt_buf_str(&b));
	mt_buf_clear(&b);
	return r;
}

void pilot_cluster_mesh(
	struct pilot_job *j, Cluster__Cluster *c, const struct pilot_cluster_ref *ref)
{
	const Mesh__MeshConfig *m = j->mesh->spec;
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	struct names n = { s, &s->ports[ref->port], ref->subset };
	keepalive(j, c);
	if (s->resolution == PILOT_RES_DNS && m->dns_refresh_rate)
		c->dns_refresh_rate = pb_dur_dup(j->a, m->dns_refresh_rate);
	if (*m->outbound_cluster_stat_name)
		c->alt_stat_name = stat_name(j, m->outbound_cluster_stat_name, &n);
}

void pilot_cluster_mesh_inbound(
	struct pilot_job *j, Cluster__Cluster *c, const struct pilot_inbound *in)
{
	int i = in->svc ? pilot_service_port(in->svc, in->svc_port) : -1;
	if (i < 0 || !*j->mesh->spec->inbound_cluster_stat_name)
		return;
	struct names n = { in->svc, &in->svc->ports[i], "" };
	c->alt_stat_name = stat_name(j, j->mesh->spec->inbound_cluster_stat_name, &n);
}
