/* What TLS sockets of both directions are made of. Private to tls*.c. */
#pragma once

#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "pilot/translate/tls.h"

/* A secret that the agent serves under this name. */
Tls__SdsSecretConfig *pilot_tls_sds(struct pilot_job *j, const char *name);
/* TLS 1.2 and 1.3, but for what the mesh configuration says in tlsDefaults. */
Tls__CommonTlsContext *pilot_tls_common(struct pilot_job *j);
/* The workload's certificate; who is believed is one that v accepts and the mesh's roots vouch for. */
Tls__CommonTlsContext *pilot_tls_mesh_common(
	struct pilot_job *j, Tls__CertificateValidationContext *v);
/* One of these subject alternative names, of the type that its form tells; none: any. */
Tls__CertificateValidationContext *pilot_tls_named(
	struct pilot_job *j, const char *const *sans, size_t n);
void pilot_tls_san_mesh(struct pilot_job *j, Tls__CertificateValidationContext *v);
/* Roots by secret name, the rest of the validation from v. */
void pilot_tls_set_validation(struct pilot_job *j, Tls__CommonTlsContext *c,
	Tls__CertificateValidationContext *v, const char *root);
/* Files: with an agent over SDS, so that a changed file is noticed; else Envoy reads them. path NULL:
 * the roots of the operating system. crl: "" none. */
void pilot_tls_file_cert(
	struct pilot_job *j, Tls__CommonTlsContext *c, const char *cert, const char *key);
void pilot_tls_file_roots(struct pilot_job *j, Tls__CommonTlsContext *c,
	Tls__CertificateValidationContext *v, const char *path, const char *crl);
Core__TransportSocket *pilot_tls_downstream(
	struct pilot_job *j, Tls__CommonTlsContext *c, bool mutual);
void pilot_tls_http_alpn(struct pilot_job *j, Tls__CommonTlsContext *c);
