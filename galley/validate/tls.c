#include "galley/validate/tls.h"

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

static bool by_name(const Nw__ServerTLSSettings *t)
{
	return !mt_str_empty(t->credential_name) || t->n_credential_names;
}

static void need_certificate(
	const struct check *c, const char *path, const Nw__ServerTLSSettings *t, const char *mode)
{
	if (by_name(t) || t->n_tls_certificates)
		return;
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
		if (!by_name(t))
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
	if (t->min_protocol_version && t->max_protocol_version &&
		t->min_protocol_version > t->max_protocol_version)
		fault(c, at(c, "%s.minProtocolVersion", path), "is above maxProtocolVersion");
}
