/* The secrets that Envoy gets over SDS, as discovery resources. Pure; threads: any.
 *
 *   default                  the workload's certificate and key
 *   ROOTCA                   the trust bundle
 *   others                   from files, see secret_name.h */
#pragma once

#include "common/pki/identity.h"
#include "common/xds/set.h"

#define AGENT_SECRET_TYPE "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

struct mt_res *agent_secret_cert(const char *name, const char *chain_pem, const char *key_pem);
/* crl_pem: NULL none. */
struct mt_res *agent_secret_roots(const char *name, const char *roots_pem, const char *crl_pem);
