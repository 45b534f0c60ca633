/* Mesh-wide settings. A field that a MeshConfig object leaves out keeps its default; proto3 has no
 * presence for numbers and booleans, so those defaults are the zero value's meaning wherever Istio
 * says so, and otherwise zero means "not said". */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/schema/pb.h"
#include "istio/mesh/v1alpha1/config.pb-c.h"
#include "pilot/model/index.h"

static int64_t dur_ns(const Google__Protobuf__Duration *d, int64_t def)
{
	if (!d || (!d->seconds && !d->nanos))
		return def;
	return d->seconds * MT_NS_PER_SEC + d->nanos;
}

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

static void defaults(struct pilot_mesh *m, const struct pilot_world_in *in)
{
	m->listen_port = 15001;
	m->inbound_port = 15006;
	m->connect_timeout_ns = 10 * MT_NS_PER_SEC;
	m->detection_timeout_ns = MT_NS_PER_SEC;
	m->redis_filter = in->local && in->local->redis_filter;
	m->allow_any = true;
	m->auto_mtls = true;
	m->root_namespace = in->root_namespace ? in->root_namespace : "istio-system";
	m->domain = in->domain ? in->domain : "cluster.local";
	m->trust_domain = in->trust_domain ? in->trust_domain : "cluster.local";
}

static void apply(struct pilot_mesh *m, const Mesh__MeshConfig *c)
{
	if (c->proxy_listen_port > 0)
		m->listen_port = (uint16_t)c->proxy_listen_port;
	if (c->proxy_inbound_listen_port > 0)
		m->inbound_port = (uint16_t)c->proxy_inbound_listen_port;
	m->http_port = (uint16_t)c->proxy_http_port;
	m->connect_timeout_ns = dur_ns(c->connect_timeout, m->connect_timeout_ns);
	if (c->protocol_detection_timeout)
		m->detection_timeout_ns = c->protocol_detection_timeout->seconds * MT_NS_PER_SEC +
			c->protocol_detection_timeout->nanos;
	if (c->outbound_traffic_policy)
		m->allow_any = c->outbound_traffic_policy->mode !=
			MESH__MESH_CONFIG__OUTBOUND_TRAFFIC_POLICY__MODE__REGISTRY_ONLY;
	m->inbound_as_addressed = c->inbound_traffic_policy &&
		c->inbound_traffic_policy->mode ==
			MESH__MESH_CONFIG__INBOUND_TRAFFIC_POLICY__MODE__PASSTHROUGH;
	if (c->enable_auto_mtls)
		m->auto_mtls = c->enable_auto_mtls->value;
	m->mtls_on = c->auth_policy == MESH__MESH_CONFIG__AUTH_POLICY__MUTUAL_TLS;
	m->access_log_file = or_null(c->access_log_file);
	m->access_log_format = or_null(c->access_log_format);
	m->access_log_json = c->access_log_encoding == MESH__MESH_CONFIG__ACCESS_LOG_ENCODING__JSON;
	m->mixer_check = c->disable_policy_checks ? NULL : or_null(c->mixer_check_server);
	m->mixer_report = or_null(c->mixer_report_server);
	m->fail_open = c->policy_check_fail_open;
	if (*c->root_namespace)
		m->root_namespace = c->root_namespace;
	if (*c->trust_domain)
		m->trust_domain = c->trust_domain;
	m->trust_aliases = (const char *const *)c->trust_domain_aliases;
	m->ntrust_aliases = c->n_trust_domain_aliases;
	m->tracing = c->enable_tracing;
}

void pilot_index_mesh(struct pilot_index *ix, const struct pilot_world_in *in)
{
	struct pilot_mesh *m = &ix->mesh;
	const struct mt_object *found = NULL;

	defaults(m, in);
	for (size_t i = 0; i < in->nconfigs; i++) {
		const struct mt_object *o = in->configs[i].obj;
		if (o->kind->spec != &mesh__mesh_config__descriptor)
			continue;
		if (strcmp(o->name, "default") != 0) {
			pilot_note_add(ix->arena, &ix->notes, in->configs[i].id, PILOT_NOTE_IGNORED,
				"", "only the object named default is read");
			continue;
		}
		found = o;
		m->id = in->configs[i].id;
	}
	static const Mesh__MeshConfig empty = MESH__MESH_CONFIG__INIT;
	m->spec = found ? (const Mesh__MeshConfig *)found->spec : &empty;
	if (found) {
		apply(m, m->spec);
		pilot_mesh_notes(ix);
	}
	/* Strings live as long as the object, which the index keeps; the caller's own do not. */
	m->root_namespace = mt_arena_strdup(ix->arena, m->root_namespace);
	m->domain = mt_arena_strdup(ix->arena, m->domain);
	m->trust_domain = mt_arena_strdup(ix->arena, m->trust_domain);
	m->control_plane_tls = in->local && in->local->control_plane_tls;
	m->mixer_spiffe_id = in->local && in->local->mixer_spiffe_id
		? mt_arena_strdup(ix->arena, in->local->mixer_spiffe_id)
		: mt_arena_printf(ix->arena, "spiffe://%s/ns/%s/sa/istio-mixer-service-account",
			  m->trust_domain, m->root_namespace);
	uint64_t h = found ? found->hash : 0;
	h = mt_hash_mix(h, mt_hash_str(m->domain));
	h = mt_hash_mix(h, mt_hash_str(m->root_namespace));
	h = mt_hash_mix(h, mt_hash_str(m->trust_domain));
	h = mt_hash_mix(h, mt_hash_str(m->mixer_spiffe_id));
	m->hash = mt_hash_mix(h, (uint64_t)m->redis_filter << 1 | m->control_plane_tls);
}
