/* Mesh-wide settings: istio.mesh.v1alpha1.MeshConfig's defaults, then what the MeshConfig object
 * "default" says, then facts from Pilot's own options. Plain data, owned by the world. */
#pragma once

#include "common/base/macros.h"
#include "istio/mesh/v1alpha1/config.pb-c.h"

/* From Pilot's options. */
struct pilot_mesh_local {
	bool control_plane_tls; /* Mixer is called with mutual TLS */
	bool redis_filter;
	const char *
		mixer_spiffe_id; /* whom to expect there; NULL: spiffe://TRUST/ns/ROOT/sa/istio-mixer-service-account */
};

struct pilot_mesh {
	uint32_t id; /* of the object, 0: defaults only */
	uint64_t hash;
	const Mesh__MeshConfig
		*spec;         /* the object's, or an empty one: for what is used in one place */
	uint16_t listen_port;  /* 15001 */
	uint16_t inbound_port; /* 15006 */
	uint16_t http_port;    /* proxyHttpPort, 0 none */
	int64_t connect_timeout_ns;    /* 10 s */
	int64_t detection_timeout_ns;  /* 1 s; 0: waits as long as it takes */
	bool redis_filter;             /* Redis is spoken, not passed on */
	bool allow_any;                /* outboundTrafficPolicy; the default */
	bool inbound_as_addressed;     /* inboundTrafficPolicy PASSTHROUGH */
	bool auto_mtls;                /* the default */
	bool mtls_on;                  /* authPolicy MUTUAL_TLS: inbound default STRICT */
	const char *access_log_file;   /* NULL none */
	const char *access_log_format; /* NULL Envoy's own */
	bool access_log_json;
	const char *mixer_check;  /* "host:port", NULL: no checks */
	const char *mixer_report; /* NULL: no reports */
	bool fail_open;           /* policyCheckFailOpen */
	bool control_plane_tls;
	const char *mixer_spiffe_id;
	const char *root_namespace;
	const char *domain;
	const char *trust_domain;
	const char *const *trust_aliases;
	size_t ntrust_aliases;
	bool tracing;
};
