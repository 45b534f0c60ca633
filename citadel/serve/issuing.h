/* The gRPC service istio.v1.auth.IstioCertificateService: one method, CreateCertificate. Its calls run
 * on completion-queue threads, several at once; everything here is immutable or has its own lock. */
#pragma once

#include "citadel/identity/join_tokens.h"
#include "citadel/rotate/roots.h"
#include "citadel/serve/ledger.h"
#include "citadel/serve/throttle.h"
#include "citadel/sign/signer.h"
#include "common/run/metrics.h"

enum { CITADEL_REQUEST_MAX = 64 * 1024 }; /* bytes of one request */

struct citadel_issuing {
	struct citadel_authority authority;
	struct citadel_roots *roots;
	struct citadel_signer *signer;
	struct citadel_ledger *ledger;
	struct citadel_throttle *requests; /* per address */
	struct citadel_throttle *failures; /* failed authentications, per address */
	struct mt_metrics *metrics;
	const struct mt_clock *clock;
};

/* The method for mt_rpc_server_start(); s must outlive the server. */
struct mt_rpc_method citadel_issuing_method(struct citadel_issuing *s);

/* One request as the method sees it, without the transport: for tests and fuzzing. `out` receives the
 * packed IstioCertificateResponse. */
int citadel_issue(struct citadel_issuing *s, const struct citadel_credentials *who, const void *p,
	size_t n, struct mt_buf *out, struct mt_err *err);
