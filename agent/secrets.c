#include "agent/secrets.h"

#include <string.h>

#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"

static Core__DataSource inline_bytes(const char *text)
{
	Core__DataSource d = CORE__DATA_SOURCE__INIT;

	d.specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
	d.inline_bytes =
		(ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)text, .len = strlen(text) };
	return d;
}

struct mt_res *agent_secret_cert(const char *name, const char *chain_pem, const char *key_pem)
{
	Core__DataSource chain = inline_bytes(chain_pem), key = inline_bytes(key_pem);
	Tls__TlsCertificate cert = TLS__TLS_CERTIFICATE__INIT;
	Tls__Secret secret = TLS__SECRET__INIT;

	cert.certificate_chain = &chain;
	cert.private_key = &key;
	secret.name = (char *)(uintptr_t)name;
	secret.type_case = TLS__SECRET__TYPE_TLS_CERTIFICATE;
	secret.tls_certificate = &cert;
	return mt_res_new(name, &secret.base, NULL, 0);
}

struct mt_res *agent_secret_roots(const char *name, const char *roots_pem, const char *crl_pem)
{
	Core__DataSource roots = inline_bytes(roots_pem),
			 crl = inline_bytes(crl_pem ? crl_pem : "");
	Tls__CertificateValidationContext ctx = TLS__CERTIFICATE_VALIDATION_CONTEXT__INIT;
	Tls__Secret secret = TLS__SECRET__INIT;

	ctx.trusted_ca = &roots;
	ctx.crl = crl_pem ? &crl : NULL;
	secret.name = (char *)(uintptr_t)name;
	secret.type_case = TLS__SECRET__TYPE_VALIDATION_CONTEXT;
	secret.validation_context = &ctx;
	return mt_res_new(name, &secret.base, NULL, 0);
}
