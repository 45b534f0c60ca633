/* X.509 certificates as SPIFFE uses them (X.509-SVID): parse chains, read what matters, issue leaves,
 * roots and intermediates. Chains are immutable and reference counted; threads: any. Times are wall
 * clock, nanoseconds since 1970; a certificate holds whole seconds. */
#pragma once

#include "common/base/buf.h"
#include "common/pki/key.h"
#include "common/pki/spiffe.h"

enum {
	MT_CHAIN_MAX = 10,             /* certificates in a chain */
	MT_CHAIN_PEM_MAX = 256 * 1024, /* bytes */
	MT_CERT_DNS_MAX = 16,          /* DNS names of a leaf */
};

struct mt_chain; /* one or more certificates, leaf first */

/* PEM, leaf first, other text between blocks is ignored. MT_INVALID (also when empty), MT_LIMIT. */
int mt_chain_parse(const char *pem, size_t n, struct mt_chain **ret, struct mt_err *err);
struct mt_chain *mt_chain_ref(const struct mt_chain *c);
void mt_chain_unref(struct mt_chain *c); /* NULL allowed */
MT_DEFINE_FREEP(struct mt_chain *, mt_chain_unrefp, mt_chain_unref)
size_t mt_chain_len(const struct mt_chain *c);
void mt_chain_pem(const struct mt_chain *c, struct mt_buf *out); /* appends */
/* Is key the key of certificate 0? */
bool mt_chain_has_key(const struct mt_chain *c, const struct mt_key *key);

struct mt_cert_info {
	char spiffe_id
		[MT_SPIFFE_ID_MAX]; /* "" unless exactly one URI SAN that is a SPIFFE id (and fits) */
	char subject[256];
	char serial[64];      /* lower-case hex */
	char fingerprint[65]; /* SHA-256 of the DER, lower-case hex */
	int64_t not_before_ns;
	int64_t not_after_ns;
	bool ca;
	bool self_signed; /* subject and issuer are the same */
};
/* Certificate i of the chain. */
void mt_cert_info(const struct mt_chain *c, size_t i, struct mt_cert_info *ret);
/* Certificate 0 by the rules for a leaf: exactly one URI SAN and that a SPIFFE id with a path; not a
 * CA; key usage has digitalSignature and neither keyCertSign nor cRLSign. MT_INVALID says which. */
int mt_svid_check(const struct mt_chain *c, char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err);

/* ---- issuing ---- */

struct mt_issuer {
	const struct mt_chain *
		chain; /* certificate of the CA first; a self-signed root at the end is not passed on */
	const struct mt_key *key; /* private */
};
struct mt_leaf_request {
	const struct mt_key *key; /* public half is enough */
	const char *spiffe_id;
	const char *const *dns; /* DNS SANs */
	size_t ndns;
	int64_t now_ns;
	int64_t ttl_ns;  /* from now; cut to what the issuer's certificate has left */
	int64_t skew_ns; /* not-before lies this much before now (clocks of others may be late) */
};
/* A leaf with serverAuth and clientAuth and a random 128-bit serial, followed by the issuer's
 * intermediates: what the workload presents. MT_INVALID (bad request, or the issuer is expired). */
int mt_cert_issue(const struct mt_issuer *by, const struct mt_leaf_request *q,
	struct mt_chain **ret, struct mt_err *err);
/* A self-signed root for trust domain td. */
int mt_cert_root(const struct mt_key *key, const char *td, int64_t now_ns, int64_t ttl_ns,
	struct mt_chain **ret, struct mt_err *err);
/* An intermediate CA (path length 0) for trust domain td, followed by the issuer's intermediates. */
int mt_cert_intermediate(const struct mt_issuer *by, const struct mt_key *key, const char *td,
	int64_t now_ns, int64_t ttl_ns, struct mt_chain **ret, struct mt_err *err);
