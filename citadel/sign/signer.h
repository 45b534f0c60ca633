/* From an authenticated caller and a CSR to a certificate: the limits on lifetime, the DNS names that
 * daemons get, and the signature. Immutable after signer_new; threads: any. */
#pragma once

#include "citadel/rotate/roots.h"
#include "common/pki/csr.h"
#include "common/run/options.h"

struct citadel_signer_opts {
	const char *trust_domain;
	int64_t default_ttl_ns;
	int64_t max_ttl_ns;
	struct mt_strlist dns_san; /* "SPIFFE-ID=NAME[,NAME...]" */
	const struct mt_clock *clock;
};

struct citadel_signer;
/* MT_INVALID names the option that is wrong. */
int citadel_signer_new(
	const struct citadel_signer_opts *o, struct citadel_signer **ret, struct mt_err *err);
void citadel_signer_free(struct citadel_signer *s); /* NULL allowed */
MT_DEFINE_FREEP(struct citadel_signer *, citadel_signer_freep, citadel_signer_free)

/* key: public half is enough. ttl_ns: what was asked for, 0 the default; MT_INVALID beyond the most.
 * The certificate never outlives the CA's. */
int citadel_sign(const struct citadel_signer *s, const struct citadel_ca *ca,
	const struct mt_key *key, const char *id, int64_t ttl_ns, struct mt_chain **ret,
	struct mt_err *err);
