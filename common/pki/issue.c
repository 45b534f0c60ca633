/* Issuing certificates by the X.509-SVID specification.
 *
 * Extensions are built as structures, never through OpenSSL's configuration text: there a comma or a
 * newline in a name would add names that nobody checked. A leaf has an empty subject (the identity is
 * the URI alone), so its subjectAltName is critical (RFC 5280, 4.2.1.6). What comes out is cut to the
 * issuer's own validity, because verifiers would refuse the rest anyway. */
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/internal.h"

struct validity {
	time_t from;
	time_t to;
};

static bool set_serial(X509 *x, char ret_hex[33])
{
	unsigned char raw[16];

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		return false;
	raw[0] = (raw[0] & 0x7f) | 0x40; /* positive, and always 16 bytes */
	BIGNUM *bn = BN_bin2bn(raw, sizeof(raw), NULL);
	bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
	BN_free(bn);
	for (size_t i = 0; i < sizeof(raw); i++)
		sprintf(ret_hex + 2 * i, "%02x", raw[i]);
	return ok;
}

static bool add_name(GENERAL_NAMES *names, int type, const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();

	if (!name || !s || !ASN1_STRING_set(s, text, -1)) {
		ASN1_IA5STRING_free(s);
		GENERAL_NAME_free(name);
		return false;
	}
	GENERAL_NAME_set0_value(name, type, s);
	if (!sk_GENERAL_NAME_push(names, name)) {
		GENERAL_NAME_free(name);
		return false;
	}
	return true;
}

static bool add_sans(X509 *x, const char *uri, const char *const *dns, size_t ndns, bool critical)
{
	MT_AUTO(pki_names_freep) GENERAL_NAMES *names = GENERAL_NAMES_new();

	if (!names || !add_name(names, GEN_URI, uri))
		return false;
	for (size_t i = 0; i < ndns; i++)
		if (!add_name(names, GEN_DNS, dns[i]))
			return false;
	return X509_add1_ext_i2d(x, NID_subject_alt_name, names, critical, X509V3_ADD_DEFAULT) == 1;
}

/* pathlen: of a CA, -1 for any. */
static bool add_constraints(X509 *x, bool ca, int pathlen)
{
	BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
	bool ok = bc;

	if (bc) {
		bc->ca = ca ? 0xff : 0;
		if (ca && pathlen >= 0) {
			bc->pathlen = ASN1_INTEGER_new();
			ok = bc->pathlen && ASN1_INTEGER_set(bc->pathlen, pathlen);
		}
		ok = ok &&
			X509_add1_ext_i2d(x, NID_basic_constraints, bc, 1, X509V3_ADD_DEFAULT) == 1;
	}
	BASIC_CONSTRAINTS_free(bc);
	return ok;
}

static bool add_usage(X509 *x, bool ca)
{
	ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
	bool ok = bits &&
		(ca ? ASN1_BIT_STRING_set_bit(bits, 5, 1) &&                /* keyCertSign */
					ASN1_BIT_STRING_set_bit(bits, 6, 1) /* cRLSign */
		    : ASN1_BIT_STRING_set_bit(bits, 0, 1));                 /* digitalSignature */

	ok = ok && X509_add1_ext_i2d(x, NID_key_usage, bits, 1, X509V3_ADD_DEFAULT) == 1;
	ASN1_BIT_STRING_free(bits);
	if (!ok || ca)
		return ok;
	EXTENDED_KEY_USAGE *eku = EXTENDED_KEY_USAGE_new();
	ok = eku && sk_ASN1_OBJECT_push(eku, OBJ_nid2obj(NID_server_auth)) &&
		sk_ASN1_OBJECT_push(eku, OBJ_nid2obj(NID_client_auth)) &&
		X509_add1_ext_i2d(x, NID_ext_key_usage, eku, 0, X509V3_ADD_DEFAULT) == 1;
	EXTENDED_KEY_USAGE_free(eku);
	return ok;
}

/* Subject key id: SHA-256 of the public key, cut to 160 bits (RFC 7093, method 1). */
static bool add_key_ids(X509 *x, const X509 *issuer)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	ASN1_OCTET_STRING *skid = ASN1_OCTET_STRING_new();
	bool ok = skid && X509_pubkey_digest(x, EVP_sha256(), md, &n) &&
		ASN1_OCTET_STRING_set(skid, md, 20) &&
		X509_add1_ext_i2d(x, NID_subject_key_identifier, skid, 0, X509V3_ADD_DEFAULT) == 1;
	const ASN1_OCTET_STRING *up = issuer ? X509_get0_subject_key_id((X509 *)issuer) : skid;

	if (ok && up) {
		AUTHORITY_KEYID *akid = AUTHORITY_KEYID_new();
		ok = akid && (akid->keyid = ASN1_OCTET_STRING_dup(up)) &&
			X509_add1_ext_i2d(
				x, NID_authority_key_identifier, akid, 0, X509V3_ADD_DEFAULT) == 1;
		AUTHORITY_KEYID_free(akid);
	}
	ASN1_OCTET_STRING_free(skid);
	return ok;
}

static bool set_subject(X509 *x, const char *td, const char *what, const char *serial)
{
	X509_NAME *name = X509_get_subject_name(x);
	char org[65], cn[64];

	/* X.520 limits: 64 characters each. The name only has to differ between CAs. */
	snprintf(org, sizeof(org), "%s", td);
	snprintf(cn, sizeof(cn), "Meltemi %s %.16s", what, serial);
	return X509_NAME_add_entry_by_txt(
		       name, "O", MBSTRING_ASC, (const unsigned char *)org, -1, -1, 0) &&
		X509_NAME_add_entry_by_txt(
			name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
}

static X509 *blank(const struct mt_key *key, const struct validity *v, char serial[33])
{
	X509 *x = X509_new();

	if (x && X509_set_version(x, X509_VERSION_3) && set_serial(x, serial) &&
		X509_set_pubkey(x, key->pkey) && ASN1_TIME_set(X509_getm_notBefore(x), v->from) &&
		ASN1_TIME_set(X509_getm_notAfter(x), v->to))
		return x;
	X509_free(x);
	return NULL;
}

static int check_issuer(const struct mt_issuer *by, int64_t now_ns, struct mt_err *err)
{
	struct mt_cert_info ca;

	mt_cert_info(by->chain, 0, &ca);
	if (!ca.ca)
		return mt_fail(err, MT_INVALID, NULL, "issuer %s is not a CA", ca.subject);
	if (!mt_key_is_private(by->key) || !mt_chain_has_key(by->chain, by->key))
		return mt_fail(err, MT_INVALID, NULL,
			"issuer %s: the key does not belong to the certificate", ca.subject);
	if (ca.not_after_ns <= now_ns || ca.not_before_ns > now_ns)
		return mt_fail(err, MT_INVALID, NULL,
			"issuer %s: the certificate is expired or not yet valid", ca.subject);
	return 0;
}

static int plan(const struct mt_issuer *by, int64_t now_ns, int64_t ttl_ns, int64_t skew_ns,
	struct validity *ret, struct mt_err *err)
{
	struct mt_cert_info ca = { .not_before_ns = 0, .not_after_ns = INT64_MAX };
	int64_t to;

	if (ttl_ns < MT_NS_PER_SEC || skew_ns < 0 || now_ns < 0)
		return mt_fail(err, MT_INVALID, NULL, "a lifetime under one second");
	if (by)
		mt_cert_info(by->chain, 0, &ca);
	int64_t from = MT_MAX(now_ns - skew_ns, ca.not_before_ns);
	if (__builtin_add_overflow(now_ns, ttl_ns, &to) || to > ca.not_after_ns)
		to = ca.not_after_ns;
	ret->from = MT_MAX(from, 0) / MT_NS_PER_SEC;
	ret->to = to / MT_NS_PER_SEC;
	return 0;
}

/* The new certificate, then by's chain without self-signed roots (the peer has those). */
static int deliver(X509 *x, const struct mt_issuer *by, struct mt_chain **ret, struct mt_err *err)
{
	X509 *v[MT_CHAIN_MAX];
	size_t n = 0;

	v[n++] = x;
	for (size_t i = 0; by && i < by->chain->n; i++) {
		struct mt_cert_info info;
		mt_cert_info(by->chain, i, &info);
		if (info.self_signed)
			continue;
		if (n == MT_CHAIN_MAX)
			return mt_fail(err, MT_LIMIT, NULL, "the issuer's chain is too long");
		v[n++] = by->chain->v[i];
	}
	*ret = pki_chain_new(v, n);
	return 0;
}

static int check_request(const struct mt_leaf_request *q, struct mt_err *err)
{
	int r = mt_spiffe_check(q->spiffe_id, strlen(q->spiffe_id), err);

	if (r < 0)
		return r;
	if (strlen(q->spiffe_id) >= MT_SPIFFE_ID_MAX ||
		!strchr(q->spiffe_id + strlen("spiffe://"), '/'))
		return mt_fail(
			err, MT_INVALID, NULL, "%.64s is no identity for a leaf", q->spiffe_id);
	if (q->ndns > MT_CERT_DNS_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "%zu DNS names are beyond %d", q->ndns,
			MT_CERT_DNS_MAX);
	for (size_t i = 0; i < q->ndns; i++) {
		size_t n = strlen(q->dns[i]);
		if (!n || n > 253 ||
			strspn(q->dns[i],
				"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				"0123456789.-_*") != n)
			return mt_fail(err, MT_INVALID, NULL, "%.64s is no DNS name", q->dns[i]);
	}
	return mt_key_check(q->key, err);
}

int mt_cert_issue(const struct mt_issuer *by, const struct mt_leaf_request *q,
	struct mt_chain **ret, struct mt_err *err)
{
	struct validity v;
	char serial[33];
	int r;

	if ((r = check_request(q, err)) < 0 || (r = check_issuer(by, q->now_ns, err)) < 0 ||
		(r = plan(by, q->now_ns, q->ttl_ns, q->skew_ns, &v, err)) < 0)
		return r;
	const X509 *ca = by->chain->v[0];
	MT_AUTO(pki_x509_freep) X509 *x = blank(q->key, &v, serial);
	if (!x || !X509_set_issuer_name(x, X509_get_subject_name(ca)) ||
		!add_constraints(x, false, -1) || !add_usage(x, false) || !add_key_ids(x, ca) ||
		!add_sans(x, q->spiffe_id, q->dns, q->ndns, true) ||
		!X509_sign(x, by->key->pkey, EVP_sha256()))
		return pki_fail_ssl(err, MT_INTERNAL, "cannot issue a certificate");
	return deliver(x, by, ret, err);
}

static int make_ca(const struct mt_issuer *by, const struct mt_key *key, const char *td,
	const struct validity *v, struct mt_chain **ret, struct mt_err *err)
{
	const X509 *ca = by ? by->chain->v[0] : NULL;
	char serial[33], uri[MT_SPIFFE_TD_MAX + 16];
	MT_AUTO(pki_x509_freep) X509 *x = blank(key, v, serial);

	snprintf(uri, sizeof(uri), "spiffe://%s", td);
	if (!x || !set_subject(x, td, by ? "intermediate" : "root", serial) ||
		!X509_set_issuer_name(x, X509_get_subject_name(ca ? ca : x)) ||
		!add_constraints(x, true, by ? 0 : -1) || !add_usage(x, true) ||
		!add_key_ids(x, ca) || !add_sans(x, uri, NULL, 0, false) ||
		!X509_sign(x, by ? by->key->pkey : key->pkey, EVP_sha256()))
		return pki_fail_ssl(err, MT_INTERNAL, "cannot make a CA certificate");
	return deliver(x, by, ret, err);
}

int mt_cert_root(const struct mt_key *key, const char *td, int64_t now_ns, int64_t ttl_ns,
	struct mt_chain **ret, struct mt_err *err)
{
	struct validity v;
	int r;

	if (!mt_key_is_private(key))
		return mt_fail(err, MT_INVALID, NULL, "a root needs its private key");
	if ((r = mt_spiffe_td_check(td, err)) < 0 ||
		(r = plan(NULL, now_ns, ttl_ns, 0, &v, err)) < 0)
		return r;
	return make_ca(NULL, key, td, &v, ret, err);
}

int mt_cert_intermediate(const struct mt_issuer *by, const struct mt_key *key, const char *td,
	int64_t now_ns, int64_t ttl_ns, struct mt_chain **ret, struct mt_err *err)
{
	struct validity v;
	int r;

	if ((r = mt_spiffe_td_check(td, err)) < 0 || (r = mt_key_check(key, err)) < 0 ||
		(r = check_issuer(by, now_ns, err)) < 0 ||
		(r = plan(by, now_ns, ttl_ns, 0, &v, err)) < 0)
		return r;
	return make_ca(by, key, td, &v, ret, err);
}
