/* Trust bundle: the roots that peers are verified against. Several at once, so that roots can be
 * exchanged without a gap. Immutable and reference counted; threads: any. */
#pragma once

#include "common/pki/cert.h"

enum { MT_BUNDLE_MAX = 64 }; /* roots */

struct mt_bundle;

/* PEM of one or more CA certificates. MT_INVALID (none, or one that is no CA), MT_LIMIT. */
int mt_bundle_parse(const char *pem, size_t n, struct mt_bundle **ret, struct mt_err *err);
struct mt_bundle *mt_bundle_ref(const struct mt_bundle *b);
void mt_bundle_unref(struct mt_bundle *b); /* NULL allowed */
MT_DEFINE_FREEP(struct mt_bundle *, mt_bundle_unrefp, mt_bundle_unref)
size_t mt_bundle_len(const struct mt_bundle *b);
void mt_bundle_pem(const struct mt_bundle *b, struct mt_buf *out); /* appends */
/* PEM of both without duplicates, on the heap (mt_free); either may be NULL or "". */
int mt_bundle_merge(const char *pem_a, const char *pem_b, char **ret_pem, struct mt_err *err);

enum mt_cert_use { MT_CERT_USE_ANY, MT_CERT_USE_SERVER, MT_CERT_USE_CLIENT };
/* Verifies a chain (leaf first) at a time: signatures, validity, CA flags, key usage, mt_svid_check().
 * td NULL: any trust domain. MT_UNAUTHENTICATED says why not. */
int mt_bundle_verify(const struct mt_bundle *b, const struct mt_chain *c, int64_t now_ns,
	const char *td, enum mt_cert_use use, char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err);
