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

void galley_check_client_tls(
	const struct check *c, const char *path, const Nw__ClientTLSSettings *t)
{
	if (!t)
		return;
	switch (t->mode) {
	case NW__CLIENT_TLSSETTINGS__TLSMODE__MUTUAL:
		if (!mt_str_empty(t->credential_name)) {
			refuse(c, path, "clientCertificate", t->client_certificate,
				"MUTUAL and credentialName");
			refuse(c, path, "privateKey", t->private_key, "MUTUAL and credentialName");
			break;
		}
		need(c, path, "clientCertificate", t->client_certificate, "MUTUAL");
		need(c, path, "privateKey", t->private_key, "MUTUAL");
		break;
	case NW__CLIENT_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL:
		refuse(c, path, "clientCertificate", t->client_certificate, "ISTIO_MUTUAL");
		refuse(c, path, "privateKey", t->private_key, "ISTIO_MUTUAL");
		refuse(c, path, "caCertificates", t->ca_certificates, "ISTIO_MUTUAL");
		break;
	default:
		refuse(c, path, "clientCertificate", t->client_certificate, "DISABLE or SIMPLE");
		refuse(c, path, "privateKey", t->private_key, "DISABLE or SIMPLE");
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
