#include "galley/validate/tls.h"

#include <string.h>

#include "common/base/strs.h"

static void need(const struct check *c, const char *path, const char *field, const char *value,
	const char *mode)
{
	if (mt_str_empty(value))
		fault(c, at(c, "%s.%s", path, field), "is missing: mode %s needs it", mode);
}

static void refuse(const struct check *c, const char *path, const char *field, const char *value,
	const char *mode)
{
	if (!mt_str_empty(value))
		fault(c, at(c, "%s.%s", path, field), "has no place with mode %s", mode);
}

/* A credential by name brings certificate, key and roots; files have no place beside it. */
static void client_credential(
	const struct check *c, const char *path, const Nw__ClientTLSSettings *t, bool mutual)
{
	if (mt_str_empty(t->credential_name)) {
		if (mutual) {
			need(c, path, "clientCertificate", t->client_certificate, "MUTUAL");
			need(c, path, "privateKey", t->private_key, "MUTUAL");
		}
		return;
	}
	if (mutual) {
		refuse(c, path, "clientCertificate", t->client_certificate,
			"MUTUAL and credentialName");
		refuse(c, path, "privateKey", t->private_key, "MUTUAL and credentialName");
	}
	refuse(c, path, "caCertificates", t->ca_certificates,
		"SIMPLE or MUTUAL and credentialName");
	refuse(c, path, "caCrl", t->ca_crl, "SIMPLE or MUTUAL and credentialName");
}

static void client_names(const struct check *c, const char *path, const Nw__ClientTLSSettings *t)
{
	for (size_t i = 0; i < t->n_subject_alt_names; i++)
		if (mt_str_empty(t->subject_alt_names[i]))
			fault(c, at(c, "%s.subjectAltNames[%zu]", path, i), "is empty");
	if (t->insecure_skip_verify && t->insecure_skip_verify->value &&
		(t->n_subject_alt_names || *t->ca_certificates || *t->ca_crl))
		remark(c, at(c, "%s.insecureSkipVerify", path),
			"makes caCertificates, caCrl and subjectAltNames have no effect");
}

void galley_check_client_tls(
	const struct check *c, const char *path, const Nw__ClientTLSSettings *t)
{
	if (!t)
		return;
	client_names(c, path, t);
	switch (t->mode) {
	case NW__CLIENT_TLSSETTINGS__TLSMODE__MUTUAL: client_credential(c, path, t, true); break;
	case NW__CLIENT_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL:
		refuse(c, path, "clientCertificate", t->client_certificate, "ISTIO_MUTUAL");
		refuse(c, path, "privateKey", t->private_key, "ISTIO_MUTUAL");
		refuse(c, path, "caCertificates", t->ca_certificates, "ISTIO_MUTUAL");
		refuse(c, path, "caCrl", t->ca_crl, "ISTIO_MUTUAL");
		if (!mt_str_empty(t->credential_name))
			remark(c, at(c, "%s.credentialName", path),
				"has no effect with mode ISTIO_MUTUAL");
		break;
	default:
		refuse(c, path, "clientCertificate", t->client_certificate, "DISABLE or SIMPLE");
		refuse(c, path, "privateKey", t->private_key, "DISABLE or SIMPLE");
		if (t->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__SIMPLE)
			client_credential(c, path, t, false);
	}
}

/* base64 of a SHA-256: 44 characters with the padding. */
static bool is_spki(const char *s)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	return strlen(s) == 44 && strspn(s, digits) == 43 && s[43] == '=';
}

/* hex of a SHA-256, with or without colons. */
static bool is_hash(const char *s)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	size_t n = strlen(s);

	if (n == 64)
		return strspn(s, digits) == 64;
	for (size_t i = 0; i < n; i++)
		if (i % 3 == 2 ? s[i] != ':' : !strchr(digits, s[i]))
			return false;
	return n == 95;
}

static void pins(const struct check *c, const char *path, const Nw__ServerTLSSettings *t)
{
	for (size_t i = 0; i < t->n_verify_certificate_spki; i++)
		if (!is_spki(t->verify_certificate_spki[i]))
			fault(c, at(c, "%s.verifyCertificateSpki[%zu]", path, i),
				"\"%s\" is not a SHA-256 in base64", t->verify_certificate_spki[i]);
	for (size_t i = 0; i < t->n_verify_certificate_hash; i++)
		if (!is_hash(t->verify_certificate_hash[i]))
			fault(c, at(c, "%s.verifyCertificateHash[%zu]", path, i),
				"\"%s\" is not a SHA-256 in hex", t->verify_certificate_hash[i]);
}

/* A name becomes a folder of the agent's credentials. */
static void credential(const struct check *c, const char *path, const char *s)
{
	if (!mt_str_empty(s) && !is_host(s, false))
		fault(c, path, "\"%s\" is not a name", s);
}

static void credentials(const struct check *c, const char *path, const Nw__ServerTLSSettings *t)
{
	credential(c, at(c, "%s.credentialName", path), t->credential_name);
	credential(c, at(c, "%s.caCertCredentialName", path), t->ca_cert_credential_name);
	for (size_t i = 0; i < t->n_credential_names; i++)
		credential(c, at(c, "%s.credentialNames[%zu]", path, i), t->credential_names[i]);
	if (!!*t->credential_name + !!t->n_credential_names + !!t->n_tls_certificates > 1)
		fault(c, path,
			"has more than one of credentialName, credentialNames and tlsCertificates");
	if (t->n_credential_names > 2)
		fault(c, at(c, "%s.credentialNames", path),
			"has more than two: one for each type of key");
	if (t->n_tls_certificates > 2)
		fault(c, at(c, "%s.tlsCertificates", path),
			"has more than two: one for each type of key");
	for (size_t i = 0; i < t->n_tls_certificates; i++) {
		const char *p = at(c, "%s.tlsCertificates[%zu]", path, i);
		if (mt_str_empty(t->tls_certificates[i]->server_certificate))
			fault(c, at(c, "%s.serverCertificate", p), "is missing");
		if (mt_str_empty(t->tls_certificates[i]->private_key))
			fault(c, at(c, "%s.privateKey", p), "is missing");
	}
}

static bool by_name(const Nw__ServerTLSSettings *t)
{
	return !mt_str_empty(t->credential_name) || t->n_credential_names;
}

static void need_certificate(
	const struct check *c, const char *path, const Nw__ServerTLSSettings *t, const char *mode)
{
	const char *named = at(c, "%s and certificates by name or in tlsCertificates", mode);

	if (by_name(t) || t->n_tls_certificates) {
		refuse(c, path, "serverCertificate", t->server_certificate, named);
		refuse(c, path, "privateKey", t->private_key, named);
		return;
	}
	need(c, path, "serverCertificate", t->server_certificate, mode);
	need(c, path, "privateKey", t->private_key, mode);
}

void galley_check_server_tls(
	const struct check *c, const char *path, const Nw__ServerTLSSettings *t)
{
	if (!t || t->https_redirect)
		return;
	switch (t->mode) {
	case NW__SERVER_TLSSETTINGS__TLSMODE__SIMPLE: need_certificate(c, path, t, "SIMPLE"); break;
	case NW__SERVER_TLSSETTINGS__TLSMODE__MUTUAL:
	case NW__SERVER_TLSSETTINGS__TLSMODE__OPTIONAL_MUTUAL:
		need_certificate(c, path, t, "MUTUAL");
		if (!by_name(t) && mt_str_empty(t->ca_cert_credential_name) &&
			!(t->n_tls_certificates &&
				!mt_str_empty(t->tls_certificates[0]->ca_certificates)))
			need(c, path, "caCertificates", t->ca_certificates, "MUTUAL");
		break;
	case NW__SERVER_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL:
		refuse(c, path, "serverCertificate", t->server_certificate, "ISTIO_MUTUAL");
		refuse(c, path, "privateKey", t->private_key, "ISTIO_MUTUAL");
		break;
	default:
		refuse(c, path, "serverCertificate", t->server_certificate, "PASSTHROUGH");
		refuse(c, path, "privateKey", t->private_key, "PASSTHROUGH");
	}
	credentials(c, path, t);
	pins(c, path, t);
	if (t->min_protocol_version && t->max_protocol_version &&
		t->min_protocol_version > t->max_protocol_version)
		fault(c, at(c, "%s.minProtocolVersion", path), "is above maxProtocolVersion");
}
