/* TLS sockets. Secrets travel over SDS only, never inside other resources: a renewed certificate
 * changes no cluster and no listener. */
#include "pilot/translate/tls_parts.h"

#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "common/schema/tls_names.h"
#include "pilot/model/secrets.h"

static const char upstream_name[] = "envoy.transport_sockets.tls";

Tls__SdsSecretConfig *pilot_tls_sds(struct pilot_job *j, const char *name)
{
	struct mt_arena *a = j->a;
	Core__ApiConfigSource *api = pb_new(a, core__api_config_source);
	api->api_type = CORE__API_CONFIG_SOURCE__API_TYPE__GRPC;
	api->transport_api_version = CORE__API_VERSION__V3;
	api->set_node_on_first_message_only = true;
	pb_add(a, api, grpc_services, pb_grpc(a, "sds-grpc", 0));
	Core__ConfigSource *cs = pb_new(a, core__config_source);
	cs->config_source_specifier_case =
		CORE__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_API_CONFIG_SOURCE;
	cs->api_config_source = api;
	cs->resource_api_version = CORE__API_VERSION__V3;
	cs->initial_fetch_timeout = pb_dur(a, 0);
	Tls__SdsSecretConfig *m = pb_new(a, tls__sds_secret_config);
	m->name = pb_s(name);
	m->sds_config = cs;
	return m;
}

static void add_san(struct pilot_job *j, Tls__CertificateValidationContext *v,
	Tls__SubjectAltNameMatcher__SanType type, Matcher__StringMatcher *match)
{
	Tls__SubjectAltNameMatcher *m = pb_new(j->a, tls__subject_alt_name_matcher);
	m->san_type = type;
	m->matcher = match;
	pb_add(j->a, v, match_typed_subject_alt_names, m);
}

static const char *spiffe_of(struct pilot_job *j, const char *account)
{
	if (mt_str_prefix(account, "spiffe://"))
		return account;
	const char *slash = strchr(account, '/');
	return mt_arena_printf(j->a, "spiffe://%s/ns/%.*s/sa/%s", j->mesh->trust_domain,
		(int)(slash - account), account, slash + 1);
}

/* Any identity of the mesh's trust domains. */
void pilot_tls_san_mesh(struct pilot_job *j, Tls__CertificateValidationContext *v)
{
	add_san(j, v, TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI,
		pb_prefix(j->a, mt_arena_printf(j->a, "spiffe://%s/", j->mesh->trust_domain)));
	for (size_t i = 0; i < j->mesh->ntrust_aliases; i++)
		add_san(j, v, TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI,
			pb_prefix(j->a,
				mt_arena_printf(j->a, "spiffe://%s/", j->mesh->trust_aliases[i])));
}

void pilot_tls_set_validation(struct pilot_job *j, Tls__CommonTlsContext *c,
	Tls__CertificateValidationContext *v, const char *root)
{
	Tls__CommonTlsContext__CombinedCertificateValidationContext *m =
		pb_new(j->a, tls__common_tls_context__combined_certificate_validation_context);
	m->default_validation_context = v;
	m->validation_context_sds_secret_config = pilot_tls_sds(j, root);
	c->validation_context_type_case =
		TLS__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_COMBINED_VALIDATION_CONTEXT;
	c->combined_validation_context = m;
}

/* What Envoy would refuse is noted with the mesh configuration, and left out here. */
static Tls__CommonTlsContext *common(struct pilot_job *j, const Mesh__MeshConfig__TLSConfig *t)
{
	Tls__CommonTlsContext *c = pb_new(j->a, tls__common_tls_context);
	Tls__TlsParameters *p = c->tls_params = pb_new(j->a, tls__tls_parameters);
	bool only13 =
		t && t->min_protocol_version == MESH__MESH_CONFIG__TLSCONFIG__TLSPROTOCOL__TLSV1_3;
	p->tls_minimum_protocol_version = only13 ? TLS__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3
						 : TLS__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_2;
	p->tls_maximum_protocol_version = TLS__TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3;
	for (size_t i = 0; t && i < t->n_cipher_suites; i++)
		if (mt_tls_is_cipher(t->cipher_suites[i]))
			pb_add(j->a, p, cipher_suites, t->cipher_suites[i]);
	for (size_t i = 0; t && i < t->n_ecdh_curves; i++)
		if (mt_tls_is_curve(t->ecdh_curves[i]))
			pb_add(j->a, p, ecdh_curves, t->ecdh_curves[i]);
	return c;
}

Tls__CommonTlsContext *pilot_tls_common(struct pilot_job *j)
{
	return common(j, j->mesh->spec->tls_defaults);
}

Tls__CommonTlsContext *pilot_tls_mesh_common(
	struct pilot_job *j, Tls__CertificateValidationContext *v)
{
	Tls__CommonTlsContext *c = common(j, j->mesh->spec->mesh_mtls);
	pb_add(j->a, c, tls_certificate_sds_secret_configs, pilot_tls_sds(j, "default"));
	pilot_tls_set_validation(j, c, v, "ROOTCA");
	return c;
}

static Core__TransportSocket *upstream(
	struct pilot_job *j, Tls__CommonTlsContext *c, const char *sni)
{
	Tls__UpstreamTlsContext *u = pb_new(j->a, tls__upstream_tls_context);
	u->common_tls_context = c;
	if (!mt_str_empty(sni))
		u->sni = pb_s(sni);
	return pb_socket(j->a, upstream_name, &u->base);
}

Core__TransportSocket *pilot_tls_mesh_upstream(struct pilot_job *j, const struct pilot_service *s,
	const struct pilot_endpoints *eps, const Nw__ClientTLSSettings *tls, const char *sni,
	bool h2)
{
	Tls__CertificateValidationContext *v = pb_new(j->a, tls__certificate_validation_context);
	if (tls && tls->n_subject_alt_names)
		for (size_t i = 0; i < tls->n_subject_alt_names; i++)
			add_san(j, v, TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI,
				pb_exact(j->a, tls->subject_alt_names[i]));
	else
		for (size_t i = 0; i < eps->naccounts; i++)
			add_san(j, v, TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI,
				pb_exact(j->a, spiffe_of(j, eps->accounts[i])));
	for (size_t i = 0; i < s->nsans; i++)
		add_san(j, v, TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI,
			pb_exact(j->a, s->sans[i]));
	if (!v->n_match_typed_subject_alt_names)
		pilot_tls_san_mesh(j, v); /* nobody said whose: at least one of ours */
	Tls__CommonTlsContext *c = pilot_tls_mesh_common(j, v);
	/* "istio" tells the other side's filter chains that this is the mesh's own TLS. */
	pb_add(j->a, c, alpn_protocols, pb_s("istio"));
	if (h2)
		pb_add(j->a, c, alpn_protocols, pb_s("h2"));
	return upstream(j, c, tls && *tls->sni ? tls->sni : sni);
}

Core__TransportSocket *pilot_tls_daemon(struct pilot_job *j, const char *spiffe_id)
{
	Tls__CertificateValidationContext *v = pb_new(j->a, tls__certificate_validation_context);
	add_san(j, v, TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI, pb_exact(j->a, spiffe_id));
	Tls__CommonTlsContext *c = pilot_tls_mesh_common(j, v);
	pb_add(j->a, c, alpn_protocols, pb_s("h2"));
	return upstream(j, c, NULL);
}

/* ---- certificates in files ----
 * With an agent they travel over SDS, so that a changed file is noticed; without one Envoy reads the
 * files itself when the resource arrives. */

static Core__DataSource *file(struct pilot_job *j, const char *path)
{
	Core__DataSource *d = pb_new(j->a, core__data_source);
	d->specifier_case = CORE__DATA_SOURCE__SPECIFIER_FILENAME;
	d->filename = pb_s(path);
	return d;
}

void pilot_tls_file_cert(
	struct pilot_job *j, Tls__CommonTlsContext *c, const char *cert, const char *key)
{
	if (j->p->sds) {
		pb_add(j->a, c, tls_certificate_sds_secret_configs,
			pilot_tls_sds(j, mt_arena_printf(j->a, "file-cert:%s~%s", cert, key)));
		return;
	}
	Tls__TlsCertificate *t = pb_new(j->a, tls__tls_certificate);
	t->certificate_chain = file(j, cert);
	t->private_key = file(j, key);
	pb_add(j->a, c, tls_certificates, t);
}

/* The roots that the operating system trusts: an agent knows where they lie, Envoy is told where they
 * mostly do. */
static const char os_roots[] = "/etc/ssl/certs/ca-certificates.crt";

void pilot_tls_file_roots(struct pilot_job *j, Tls__CommonTlsContext *c,
	Tls__CertificateValidationContext *v, const char *path, const char *crl)
{
	if (!path)
		path = j->p->sds ? "system" : os_roots;
	if (j->p->sds) {
		pilot_tls_set_validation(j, c, v,
			*crl ? mt_arena_printf(j->a, "file-root:%s~%s", path, crl)
			     : mt_arena_printf(j->a, "file-root:%s", path));
		return;
	}
	v->trusted_ca = file(j, path);
	if (*crl)
		v->crl = file(j, crl);
	c->validation_context_type_case =
		TLS__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT;
	c->validation_context = v;
}

/* A name is written without its type: its form tells. */
static Tls__SubjectAltNameMatcher__SanType san_type(const char *san)
{
	struct mt_ip ip;
	if (strstr(san, "://"))
		return TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI;
	if (mt_ip_parse(san, &ip) == 0)
		return TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__IP_ADDRESS;
	return strchr(san, '@') ? TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__EMAIL
				: TLS__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS;
}

Tls__CertificateValidationContext *pilot_tls_named(
	struct pilot_job *j, const char *const *sans, size_t n)
{
	Tls__CertificateValidationContext *v = pb_new(j->a, tls__certificate_validation_context);
	for (size_t i = 0; i < n; i++)
		add_san(j, v, san_type(sans[i]), pb_exact(j->a, sans[i]));
	return v;
}

/* Whom to trust: the credential's roots, the file's, else the operating system's. */
static void client_roots(struct pilot_job *j, Tls__CommonTlsContext *c,
	Tls__CertificateValidationContext *v, const Nw__ClientTLSSettings *tls)
{
	if (*tls->ca_crl)
		v->crl = file(j, tls->ca_crl);
	if (*tls->credential_name)
		pilot_tls_set_validation(j, c, v,
			mt_arena_printf(j->a, "kubernetes://%s-cacert", tls->credential_name));
	else
		pilot_tls_file_roots(
			j, c, v, *tls->ca_certificates ? tls->ca_certificates : NULL, "");
}

bool pilot_tls_verifies(const struct pilot_job *j, const Nw__ClientTLSSettings *tls)
{
	const Google__Protobuf__BoolValue *mesh = j->mesh->spec->verify_certificate_at_client;
	if (tls->insecure_skip_verify)
		return !tls->insecure_skip_verify->value;
	return !mesh || mesh->value || *tls->ca_certificates || *tls->credential_name;
}

/* A secret that never comes must not keep the cluster, and with it every later one, from being taken:
 * after a while it is there and refuses connections. */
static void bounded(struct pilot_job *j, Tls__SdsSecretConfig *m)
{
	m->sds_config->initial_fetch_timeout = pb_dur(j->a, 5 * MT_NS_PER_SEC);
}

struct lacking {
	const struct pilot_proxy *p;
	bool *any;
};

/* One that is missing would keep the cluster from being taken. */
static void lacks(void *ctx, const char *name, const char *suffix)
{
	const struct lacking *l = ctx;
	*l->any = *l->any || pilot_proxy_has(l->p, name, suffix) == PILOT_HAS_NOT;
}

Core__TransportSocket *pilot_tls_upstream(struct pilot_job *j, const Nw__ClientTLSSettings *tls,
	const struct pilot_service *s, bool h2)
{
	Tls__CommonTlsContext *c = pilot_tls_common(j);
	bool own = tls->n_subject_alt_names;
	Tls__CertificateValidationContext *v =
		pilot_tls_named(j, own ? (const char *const *)tls->subject_alt_names : s->sans,
			own ? tls->n_subject_alt_names : s->nsans);
	const char *sni = *tls->sni ? tls->sni : pilot_host_is_wild(s->hostname) ? "" : s->hostname;
	bool lacking = false;
	pilot_client_secrets(tls, lacks, &(struct lacking){ j->p, &lacking });
	if (lacking)
		return NULL;
	if (tls->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__MUTUAL) {
		if (*tls->credential_name)
			pb_add(j->a, c, tls_certificate_sds_secret_configs,
				pilot_tls_sds(j,
					mt_arena_printf(
						j->a, "kubernetes://%s", tls->credential_name)));
		else
			pilot_tls_file_cert(j, c, tls->client_certificate, tls->private_key);
	}
	if (pilot_tls_verifies(j, tls))
		client_roots(j, c, v, tls);
	if (h2)
		pb_add(j->a, c, alpn_protocols, pb_s("h2"));
	for (size_t i = 0; i < c->n_tls_certificate_sds_secret_configs; i++)
		bounded(j, c->tls_certificate_sds_secret_configs[i]);
	if (c->validation_context_type_case ==
		TLS__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_COMBINED_VALIDATION_CONTEXT)
		bounded(j, c->combined_validation_context->validation_context_sds_secret_config);
	Tls__UpstreamTlsContext *u = pb_new(j->a, tls__upstream_tls_context);
	u->common_tls_context = c;
	u->sni = pb_s(sni);
	/* A chain to a root that signs for everybody proves nothing by itself: the name has to be the
	 * host's, unless names were given, or a name to ask for that is not the server's own. */
	u->auto_sni_san_validation = pilot_tls_verifies(j, tls) && *sni && !*tls->sni &&
		!v->n_match_typed_subject_alt_names;
	return pb_socket(j->a, upstream_name, &u->base);
}

Core__TransportSocket *pilot_tls_downstream(
	struct pilot_job *j, Tls__CommonTlsContext *c, bool mutual)
{
	Tls__DownstreamTlsContext *d = pb_new(j->a, tls__downstream_tls_context);
	d->common_tls_context = c;
	d->require_client_certificate = pb_bool(j->a, mutual);
	return pb_socket(j->a, upstream_name, &d->base);
}

void pilot_tls_http_alpn(struct pilot_job *j, Tls__CommonTlsContext *c)
{
	pb_add(j->a, c, alpn_protocols, pb_s("h2"));
	pb_add(j->a, c, alpn_protocols, pb_s("http/1.1"));
}

Core__TransportSocket *pilot_tls_mesh_downstream(struct pilot_job *j, bool http)
{
	Tls__CertificateValidationContext *v = pb_new(j->a, tls__certificate_validation_context);
	pilot_tls_san_mesh(j, v);
	Tls__CommonTlsContext *c = pilot_tls_mesh_common(j, v);
	if (http)
		pilot_tls_http_alpn(j, c);
	return pilot_tls_downstream(j, c, true);
}
