/* The secrets that Envoy gets over SDS, as discovery resources. Pure; threads: any.
 *
 *   default                  the workload's certificate and key
 *   ROOTCA                   the trust bundle
 *   file-cert:CERT~KEY       certificate and key in two files
 *   file-root:FILE           roots in a file
 *   file-root:system         what the operating system trusts */
#pragma once

#include "common/pki/identity.h"
#include "common/xds/set.h"

#define AGENT_SECRET_TYPE "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

struct mt_res *agent_secret_cert(const char *name, const char *chain_pem, const char *key_pem);
struct mt_res *agent_secret_roots(const char *name, const char *roots_pem);
