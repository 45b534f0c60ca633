/* SPIFFE identities, strictly as in the SPIFFE-ID specification: "spiffe://" TRUST-DOMAIN PATH,
 * lower-case scheme, no port, user, query, fragment or percent-encoding. A trust domain is 1 to 255 of
 * [a-z0-9._-]; a path segment is one or more of [a-zA-Z0-9._-], not "." or ".."; the whole at most
 * 2048 bytes. The mesh's own form is spiffe://TD/ns/NAMESPACE/sa/ACCOUNT. Pure; threads: any. */
#pragma once

#include "common/base/err.h"

enum {
	MT_SPIFFE_URI_MAX = 2048, /* by the specification */
	MT_SPIFFE_TD_MAX = 255,
	MT_SPIFFE_NS_MAX = 63,  /* a Kubernetes namespace: DNS label */
	MT_SPIFFE_SA_MAX = 253, /* a service account: DNS subdomain */
	MT_SPIFFE_ID_MAX = 600, /* longest of the mesh's form fits, with NUL: for buffers */
};

struct mt_spiffe {
	char td[MT_SPIFFE_TD_MAX + 1];
	char ns[MT_SPIFFE_NS_MAX + 1];
	char sa[MT_SPIFFE_SA_MAX + 1];
};

/* Any SPIFFE id (also one that names a trust domain alone). n bytes, which may hold a NUL (refused).
 * MT_INVALID says what is wrong and where. */
int mt_spiffe_check(const char *uri, size_t n, struct mt_err *err);
int mt_spiffe_td_check(const char *td, struct mt_err *err);
/* The mesh's form only. */
int mt_spiffe_parse(const char *uri, struct mt_spiffe *ret, struct mt_err *err);
/* "spiffe://td/ns/NS/sa/SA"; parts are checked: MT_INVALID. */
int mt_spiffe_format(const struct mt_spiffe *id, char *buf, size_t n, struct mt_err *err);
/* Convenience for mt_spiffe_format(). */
int mt_spiffe_make(
	const char *td, const char *ns, const char *sa, char *buf, size_t n, struct mt_err *err);
/* Is uri an id in trust domain td? */
bool mt_spiffe_in_td(const char *uri, const char *td);
