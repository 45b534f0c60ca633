/* Certificate signing requests (PKCS#10). The signer believes only the public key in it; names in a
 * CSR are a wish. Immutable; threads: any. */
#pragma once

#include "common/pki/key.h"

enum { MT_CSR_MAX = 16 * 1024 }; /* bytes, PEM or DER */

struct mt_csr;

/* PEM of a CSR with spiffe_id as its one URI SAN (NULL: without), signed by key; heap (mt_free). */
int mt_csr_make(
	const struct mt_key *key, const char *spiffe_id, char **ret_pem, struct mt_err *err);
/* One CSR, PEM or DER. Checks the signature (proof that the caller holds the key) and mt_key_check().
 * MT_INVALID, MT_LIMIT beyond MT_CSR_MAX. */
int mt_csr_parse(const void *p, size_t n, struct mt_csr **ret, struct mt_err *err);
void mt_csr_free(struct mt_csr *c); /* NULL allowed */
MT_DEFINE_FREEP(struct mt_csr *, mt_csr_freep, mt_csr_free)

const struct mt_key *mt_csr_key(const struct mt_csr *c); /* public half; borrowed */
/* The SPIFFE id that was asked for: "" when none, or when there is not exactly one valid. */
const char *mt_csr_spiffe_id(const struct mt_csr *c);
