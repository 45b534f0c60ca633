/* TLS sockets of both directions. The agent beside the proxy serves every secret over the static
 * cluster `sds-grpc`: `default` (the workload's certificate), `ROOTCA` (trust bundle),
 * `file-cert:CERT~KEY` and `file-root:CA` (files that the agent may read), `file-root:system` (what the
 * operating system trusts), `kubernetes://NAME` and `kubernetes://NAME-cacert`. */
#pragma once

#include "pilot/translate/job.h"

/* One of ours, verified: mesh certificate, required. h2: the upstream speaks HTTP/2. */
Core__TransportSocket *pilot_tls_mesh_upstream(struct pilot_job *j, const struct pilot_service *s,
	const struct pilot_endpoints *eps, const Nw__ClientTLSSettings *tls, const char *sni,
	bool h2);
/* A named daemon: its SPIFFE id. */
Core__TransportSocket *pilot_tls_daemon(struct pilot_job *j, const char *spiffe_id);
/* DestinationRule modes SIMPLE and MUTUAL. NULL: the proxy has not its credential. */
Core__TransportSocket *pilot_tls_upstream(struct pilot_job *j, const Nw__ClientTLSSettings *tls,
	const struct pilot_service *s, bool h2);
/* insecureSkipVerify, else verifyCertificateAtClient of the mesh unless roots are named. */
bool pilot_tls_verifies(const struct pilot_job *j, const Nw__ClientTLSSettings *tls);
/* Inbound: the client must show a certificate of the mesh. http: offers h2 and http/1.1. */
Core__TransportSocket *pilot_tls_mesh_downstream(struct pilot_job *j, bool http);
/* TLS of a server: a gateway's, or an ingress listener's. NULL with a note on object id when there is no
 * certificate for it. path, what: how the note names it, "port 443". */
Core__TransportSocket *pilot_tls_server(struct pilot_job *j, const Nw__ServerTLSSettings *tls,
	bool http, uint32_t id, const char *path, const char *what);
