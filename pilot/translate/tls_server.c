/* TLS that a gateway or an ingress listener ends: certificates by file or by name, whom of the clients
 * to believe, versions and ciphers.
 *
 * By name, the agent serves `kubernetes://NAME` (certificate and key) and `kubernetes://NAME-cacert`
 * (roots, and a revocation list beside them) from the folder that it is allowed; a changed file is a
 * changed secret and changes no listener. */
#include <string.h>

#include "common/base/strs.h"
#include "common/schema/tls_names.h"
#include "pilot/model/secrets.h"
#include "pilot/translate/tls_parts.h"

struct server {
	struct pilot_job *j;
	const Nw__ServerTLSSettings *tls;
	uint32_t id;
	const char *path, *what;
};

static void note(const struct server *s, enum pilot_note_kind kind, const char *why)
{
	pilot_job_note(s->j, s->id, kind, s->path, "%s: %s", s->what, why);
}

static void cipher_suites(const struct server *s, Tls__TlsParameters *p)
{
	if (s->tls->n_cipher_suites)
		p->n_cipher_suites = 0; /* the mesh's */
	for (size_t i = 0; i < s->tls->n_cipher_suites; i++) {
		const char *name = s->tls->cipher_suites[i];
		bool twice = false;
		for (size_t k = 0; k < i; k++)
			twice = twice || strcmp(s->tls->cipher_suites[k], name) == 0;
		if (!mt_tls_is_cipher(name))
			note(s, PILOT_NOTE_IGNORED,
				mt_arena_printf(s->j->a, "cipher %s is not known", name));
		else if (!twice)
			pb_add(s->j->a, p, cipher_suites, pb_s(name));
	}
}

static void params(const struct server *s, Tls__CommonTlsContext *c)
{
	/* Both enumerations count alike. */
	if (s->tls->min_protocol_version)
		c->tls_params->tls_minimum_protocol_version =
			(Tls__TlsParameters__TlsProtocol)s->tls->min_protocol_version;
	if (s->tls->max_protocol_version)
		c->tls_params->tls_maximum_protocol_version =
			(Tls__TlsParameters__TlsProtocol)s->tls->max_protocol_version;
	cipher_suites(s, c->tls_params);
}

static const char *secret(const struct server *s, const char *name, const char *suffix)
{
	return mt_arena_printf(s->j->a, "kubernetes://%s%s", name, suffix);
}

/* The agent said which credentials it has, and this one is not among them: a chain that names it would
 * keep the whole listener waiting. */
struct lacking {
	const struct server *s;
	bool any;
};

static void lacks(void *ctx, const char *name, const char *suffix)
{
	struct lacking *l = ctx;
	if (pilot_proxy_has(l->s->j->p, name, suffix) != PILOT_HAS_NOT)
		return;
	l->any = true;
	note(l->s, PILOT_NOTE_PENDING,
		mt_arena_printf(l->s->j->a, "the proxy has no credential %s%s", name, suffix));
}

static bool lacks_any(const struct server *s)
{
	struct lacking l = { .s = s };
	pilot_server_secrets(s->tls, lacks, &l);
	return l.any;
}

/* false: names none. */
static bool certificates(const struct server *s, Tls__CommonTlsContext *c)
{
	const Nw__ServerTLSSettings *t = s->tls;
	struct pilot_job *j = s->j;
	if (*t->credential_name) {
		pb_add(j->a, c, tls_certificate_sds_secret_configs,
			pilot_tls_sds(j, secret(s, t->credential_name, "")));
		return true;
	}
	for (size_t i = 0; i < t->n_credential_names; i++)
		pb_add(j->a, c, tls_certificate_sds_secret_configs,
			pilot_tls_sds(j, secret(s, t->credential_names[i], "")));
	if (t->n_credential_names)
		return true;
	for (size_t i = 0; i < t->n_tls_certificates; i++)
		pilot_tls_file_cert(j, c, t->tls_certificates[i]->server_certificate,
			t->tls_certificates[i]->private_key);
	if (t->n_tls_certificates)
		return true;
	if (!*t->server_certificate || !*t->private_key)
		return false;
	pilot_tls_file_cert(j, c, t->server_certificate, t->private_key);
	return true;
}

/* Whom of the clients to believe. false: names no roots. */
static bool clients(const struct server *s, Tls__CommonTlsContext *c)
{
	const Nw__ServerTLSSettings *t = s->tls;
	struct pilot_job *j = s->j;
	bool any = t->insecure_skip_verify && t->insecure_skip_verify->value;
	Tls__CertificateValidationContext *v = pilot_tls_named(
		j, (const char *const *)t->subject_alt_names, any ? 0 : t->n_subject_alt_names);
	const char *files = t->ca_certificates;
	const char *name = pilot_server_roots(t);
	if (!*files && t->n_tls_certificates)
		files = t->tls_certificates[0]->ca_certificates;
	v->n_verify_certificate_spki = t->n_verify_certificate_spki;
	v->verify_certificate_spki = t->verify_certificate_spki;
	v->n_verify_certificate_hash = t->n_verify_certificate_hash;
	v->verify_certificate_hash = t->verify_certificate_hash;
	if (any)
		v->trust_chain_verification =
			TLS__CERTIFICATE_VALIDATION_CONTEXT__TRUST_CHAIN_VERIFICATION__ACCEPT_UNTRUSTED;
	if (*files && !*t->ca_cert_credential_name)
		pilot_tls_file_roots(j, c, v, files, t->ca_crl);
	else if (*name)
		pilot_tls_set_validation(j, c, v, secret(s, name, "-cacert"));
	else
		return false;
	return true;
}

static Core__TransportSocket *of_the_mesh(const struct server *s, bool http)
{
	Tls__CertificateValidationContext *v = pilot_tls_named(
		s->j, (const char *const *)s->tls->subject_alt_names, s->tls->n_subject_alt_names);
	if (!s->tls->n_subject_alt_names)
		pilot_tls_san_mesh(s->j, v);
	Tls__CommonTlsContext *c = pilot_tls_mesh_common(s->j, v);
	params(s, c);
	if (http)
		pilot_tls_http_alpn(s->j, c);
	return pilot_tls_downstream(s->j, c, true);
}

Core__TransportSocket *pilot_tls_server(struct pilot_job *j, const Nw__ServerTLSSettings *tls,
	bool http, uint32_t id, const char *path, const char *what)
{
	const struct server s = { j, tls, id, path, what };
	bool mesh = tls->mode == NW__SERVER_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL;
	bool mutual = tls->mode == NW__SERVER_TLSSETTINGS__TLSMODE__MUTUAL;
	bool optional = tls->mode == NW__SERVER_TLSSETTINGS__TLSMODE__OPTIONAL_MUTUAL;
	if (!j->p->sds &&
		(mesh || *tls->credential_name || tls->n_credential_names ||
			*tls->ca_cert_credential_name)) {
		note(&s, PILOT_NOTE_PENDING, "the proxy has no agent that serves certificates");
		return NULL;
	}
	if (mesh)
		return of_the_mesh(&s, http);
	if (lacks_any(&s))
		return NULL;
	Tls__CommonTlsContext *c = pilot_tls_common(j);
	params(&s, c);
	if (!certificates(&s, c)) {
		note(&s, PILOT_NOTE_INVALID, "names no certificate");
		return NULL;
	}
	if ((mutual || optional) && !clients(&s, c)) {
		note(&s, PILOT_NOTE_INVALID, "MUTUAL names no caCertificates");
		return NULL;
	}
	if (http)
		pilot_tls_http_alpn(j, c);
	return pilot_tls_downstream(j, c, mutual);
}
