/* Which object applies: the sidecar of a proxy, the destination rule of a host, the mutual TLS mode
 * of a port. Nearest wins: workload, then namespace, then mesh (root namespace). */
#include <string.h>

#include "common/base/strs.h"
#include "istio/authentication/v1alpha1/authentication.pb-c.h"
#include "istio/security/v1beta1/security.pb-c.h"
#include "pilot/model/host.h"
#include "pilot/model/index.h"

const struct pilot_sidecar *pilot_index_sidecar(
	const struct pilot_index *ix, const struct pilot_proxy *p)
{
	const struct pilot_sidecar *ns = NULL, *root = NULL;
	for (size_t i = 0; i < ix->nsidecars; i++) {
		const struct pilot_sidecar *s = &ix->sidecars[i];
		const Nw__WorkloadSelector *sel = s->spec->workload_selector;
		bool own = strcmp(s->obj->ns, p->ns) == 0;
		if (sel && sel->n_labels) {
			bool match = own;
			for (size_t k = 0; match && k < sel->n_labels; k++)
				match = mt_streq(
					pilot_label(p->labels, p->nlabels, sel->labels[k]->key),
					sel->labels[k]->value);
			if (match)
				return s;
		} else if (own && !ns) {
			ns = s;
		} else if (!root && strcmp(s->obj->ns, ix->mesh.root_namespace) == 0) {
			root = s;
		}
	}
	return ns ? ns : root;
}

bool pilot_index_exported(const struct pilot_index *ix, enum pilot_export kind,
	const char *const *to, size_t n, const char *own_ns, const char *from_ns)
{
	const Mesh__MeshConfig *m = ix->mesh.spec;
	if (n)
		return pilot_exported(to, n, own_ns, from_ns);
	switch (kind) {
	case PILOT_EXPORT_SERVICE:
		return pilot_exported((const char *const *)m->default_service_export_to,
			m->n_default_service_export_to, own_ns, from_ns);
	case PILOT_EXPORT_VS:
		return pilot_exported((const char *const *)m->default_virtual_service_export_to,
			m->n_default_virtual_service_export_to, own_ns, from_ns);
	default:
		return pilot_exported((const char *const *)m->default_destination_rule_export_to,
			m->n_default_destination_rule_export_to, own_ns, from_ns);
	}
}

/* Without a selector a rule is for everybody who sees it; with one, for the workloads of its own
 * namespace that it selects. */
static bool dr_applies(const struct pilot_dr *dr, const struct pilot_proxy *p)
{
	bool own = strcmp(dr->ns, p->ns) == 0;
	if (!dr->selector)
		return own || pilot_exported(dr->export_to, dr->nexport_to, dr->ns, p->ns);
	for (size_t i = 0; own && i < dr->selector->n_match_labels; i++)
		own = mt_streq(
			pilot_label(p->labels, p->nlabels, dr->selector->match_labels[i]->key),
			dr->selector->match_labels[i]->value);
	return own;
}

static const struct pilot_dr *dr_of(
	const struct pilot_index *ix, const char *host, const char *ns, const struct pilot_proxy *p)
{
	size_t lo = 0, hi = ix->ndrs;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int r = strcmp(ix->drs[mid].host, host);
		if (!r)
			r = strcmp(ix->drs[mid].ns, ns);
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < ix->ndrs && strcmp(ix->drs[lo].host, host) == 0 &&
		strcmp(ix->drs[lo].ns, ns) == 0;
		lo++)
		if (dr_applies(&ix->drs[lo], p))
			return &ix->drs[lo];
	for (size_t i = 0; i < ix->nwild_drs; i++) {
		const struct pilot_dr *dr = ix->wild_drs[i];
		if (strcmp(dr->ns, ns) == 0 && pilot_host_covers(dr->host, host) &&
			dr_applies(dr, p))
			return dr;
	}
	return NULL;
}

const struct pilot_dr *pilot_index_dr(const struct pilot_index *ix, const char *host,
	const struct pilot_proxy *p, const char *svc_ns)
{
	const struct pilot_dr *dr = dr_of(ix, host, p->ns, p);
	if (!dr && strcmp(svc_ns, p->ns) != 0)
		dr = dr_of(ix, host, svc_ns, p);
	if (!dr && strcmp(ix->mesh.root_namespace, p->ns) != 0)
		dr = dr_of(ix, host, ix->mesh.root_namespace, p);
	return dr;
}

size_t pilot_index_mesh_hosts(
	const struct pilot_index *ix, const char *host, const struct pilot_vs_host **ret)
{
	size_t lo = 0, hi = ix->nmesh_hosts, n = 0;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (strcmp(ix->mesh_hosts[mid].host, host) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret = &ix->mesh_hosts[lo];
	while (lo + n < ix->nmesh_hosts && strcmp(ix->mesh_hosts[lo + n].host, host) == 0)
		n++;
	return n;
}

static enum pilot_mtls peer_mode(const Sec__PeerAuthentication *s, uint16_t port)
{
	const Sec__PeerAuthentication__MutualTLS *m = s->mtls;
	for (size_t i = 0; port && i < s->n_port_level_mtls; i++)
		if (s->port_level_mtls[i]->key == port && s->port_level_mtls[i]->value &&
			s->port_level_mtls[i]->value->mode)
			m = s->port_level_mtls[i]->value;
	switch (m ? m->mode : SEC__PEER_AUTHENTICATION__MUTUAL_TLS__MODE__UNSET) {
	case SEC__PEER_AUTHENTICATION__MUTUAL_TLS__MODE__DISABLE: return PILOT_MTLS_DISABLE;
	case SEC__PEER_AUTHENTICATION__MUTUAL_TLS__MODE__PERMISSIVE: return PILOT_MTLS_PERMISSIVE;
	case SEC__PEER_AUTHENTICATION__MUTUAL_TLS__MODE__STRICT: return PILOT_MTLS_STRICT;
	default: return PILOT_MTLS_UNSET;
	}
}

/* 0 workload, 1 namespace, 2 mesh; -1: does not apply. */
static int peer_level(const struct pilot_index *ix, const struct pilot_peer_auth *pa,
	const struct pilot_mtls_query *q)
{
	const Sec__PeerAuthentication *s = (const Sec__PeerAuthentication *)pa->obj->spec;
	bool own = strcmp(pa->obj->ns, q->ns) == 0;
	if (s->selector && s->selector->n_match_labels) {
		for (size_t i = 0; i < s->selector->n_match_labels; i++)
			if (!mt_streq(pilot_label(q->labels, q->nlabels,
					      s->selector->match_labels[i]->key),
				    s->selector->match_labels[i]->value))
				return -1;
		return own ? 0 : -1;
	}
	if (own)
		return 1;
	return strcmp(pa->obj->ns, ix->mesh.root_namespace) == 0 ? 2 : -1;
}

static bool policy_targets(const Authn__Policy *s, const char *service, uint16_t port)
{
	for (size_t i = 0; i < s->n_targets; i++) {
		const Authn__TargetSelector *t = s->targets[i];
		if (!service || strcmp(t->name, service) != 0)
			continue;
		if (!t->n_ports)
			return true;
		for (size_t k = 0; k < t->n_ports; k++)
			if (t->ports[k]->port_case == AUTHN__PORT_SELECTOR__PORT_NUMBER &&
				t->ports[k]->number == port)
				return true;
	}
	return false;
}

static enum pilot_mtls policy_mode(const Authn__Policy *s)
{
	for (size_t i = 0; i < s->n_peers; i++) {
		if (s->peers[i]->params_case != AUTHN__PEER_AUTHENTICATION_METHOD__PARAMS_MTLS)
			continue;
		const Authn__MutualTls *m = s->peers[i]->mtls;
		return m->allow_tls || m->mode == AUTHN__MUTUAL_TLS__MODE__PERMISSIVE ||
				s->peer_is_optional
			? PILOT_MTLS_PERMISSIVE
			: PILOT_MTLS_STRICT;
	}
	return PILOT_MTLS_DISABLE; /* a policy without mtls asks for plaintext */
}

/* authentication.istio.io: by service, then of the namespace, then MeshPolicy. */
static enum pilot_mtls legacy_mode(
	const struct pilot_index *ix, const struct pilot_mtls_query *q, uint32_t *ret_id)
{
	const struct pilot_peer_auth *level[3] = { 0 };
	for (size_t i = 0; i < ix->npolicies; i++) {
		const struct pilot_peer_auth *pa = &ix->policies[i];
		const Authn__Policy *s = (const Authn__Policy *)pa->obj->spec;
		int at = -1;
		if (pa->obj->kind->scope == MT_SCOPE_CLUSTER)
			at = 2;
		else if (strcmp(pa->obj->ns, q->ns) == 0)
			at = !s->n_targets                                       ? 1
				: policy_targets(s, q->service, q->service_port) ? 0
										 : -1;
		if (at >= 0 && !level[at])
			level[at] = pa;
	}
	for (int i = 0; i < 3; i++)
		if (level[i]) {
			*ret_id = level[i]->id;
			return policy_mode((const Authn__Policy *)level[i]->obj->spec);
		}
	return PILOT_MTLS_UNSET;
}

enum pilot_mtls pilot_index_mtls(
	const struct pilot_index *ix, const struct pilot_mtls_query *q, uint32_t *ret_id)
{
	const struct pilot_peer_auth *level[3] = { 0 };
	enum pilot_mtls mode[3] = { 0 };
	for (size_t i = 0; i < ix->npeers; i++) {
		int at = peer_level(ix, &ix->peers[i], q);
		if (at < 0 || level[at])
			continue;
		level[at] = &ix->peers[i];
		/* Ports are a workload's: only a selector makes them mean something. */
		mode[at] = peer_mode((const Sec__PeerAuthentication *)ix->peers[i].obj->spec,
			at == 0 ? q->port : 0);
	}
	*ret_id = 0;
	for (int i = 0; i < 3; i++)
		if (mode[i] != PILOT_MTLS_UNSET) {
			*ret_id = level[i]->id;
			return mode[i];
		}
	enum pilot_mtls m = legacy_mode(ix, q, ret_id);
	if (m != PILOT_MTLS_UNSET)
		return m;
	return ix->mesh.mtls_on ? PILOT_MTLS_STRICT : PILOT_MTLS_PERMISSIVE;
}
