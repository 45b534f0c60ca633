#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/internal.h"

struct mt_chain *pki_chain_new(X509 *const *v, size_t n)
{
	struct mt_chain *c = mt_alloc(sizeof(*c) + n * sizeof(c->v[0]));

	mt_ref_init(&c->ref);
	c->n = n;
	for (size_t i = 0; i < n; i++) {
		X509_up_ref(v[i]);
		c->v[i] = v[i];
		/* Parses the extensions now: later use by several threads then only reads. */
		X509_check_purpose(v[i], -1, 0);
	}
	ERR_clear_error();
	return c;
}

struct mt_chain *mt_chain_ref(const struct mt_chain *c)
{
	struct mt_chain *m = (struct mt_chain *)c; /* only the count changes */

	mt_ref_get(&m->ref);
	return m;
}

void mt_chain_unref(struct mt_chain *c)
{
	if (!c || !mt_ref_put(&c->ref))
		return;
	for (size_t i = 0; i < c->n; i++)
		X509_free(c->v[i]);
	mt_free(c);
}

/* The next certificate, or NULL: at the end *ret_end is true, else the text is bad. */
static X509 *next_cert(BIO *bio, bool *ret_end)
{
	X509 *x = PEM_read_bio_X509(bio, NULL, pki_no_password, NULL);
	unsigned long e = x ? 0 : ERR_peek_last_error();

	*ret_end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
	if (*ret_end)
		ERR_clear_error();
	return x;
}

int mt_chain_parse(const char *pem, size_t n, struct mt_chain **ret, struct mt_err *err)
{
	X509 *v[MT_CHAIN_MAX];
	size_t got = 0;
	bool end = false;
	int r = 0;

	if (n > MT_CHAIN_PEM_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "certificates of %zu bytes are beyond %d", n,
			MT_CHAIN_PEM_MAX);
	MT_AUTO(pki_bio_freep) BIO *bio = pki_bio(pem, n);
	while (r == 0) {
		X509 *x = next_cert(bio, &end);
		if (!x)
			break;
		if (got == MT_CHAIN_MAX) {
			X509_free(x);
			r = mt_fail(err, MT_LIMIT, NULL, "more than %d certificates in a chain",
				MT_CHAIN_MAX);
		} else {
			v[got++] = x;
		}
	}
	if (r == 0 && !end)
		r = pki_fail_ssl(err, MT_INVALID, "not a PEM certificate");
	if (r == 0 && !got)
		r = mt_fail(err, MT_INVALID, NULL, "no PEM certificate in %zu bytes", n);
	if (r == 0)
		*ret = pki_chain_new(v, got);
	while (got)
		X509_free(v[--got]);
	return r;
}

size_t mt_chain_len(const struct mt_chain *c)
{
	return c->n;
}

void mt_chain_pem(const struct mt_chain *c, struct mt_buf *out)
{
	MT_AUTO(pki_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	char *p;

	for (size_t i = 0; i < c->n; i++)
		PEM_write_bio_X509(bio, c->v[i]);
	long n = BIO_get_mem_data(bio, &p);
	if (n > 0)
		mt_buf_add(out, p, (size_t)n);
}

bool mt_chain_has_key(const struct mt_chain *c, const struct mt_key *key)
{
	EVP_PKEY *pub = X509_get0_pubkey(c->v[0]);
	bool same = pub && EVP_PKEY_eq(pub, key->pkey) == 1;

	ERR_clear_error();
	return same;
}

static int64_t to_ns(const ASN1_TIME *t)
{
	struct tm tm = { 0 };

	if (!t || !ASN1_TIME_to_tm(t, &tm))
		return 0;
	int64_t s = timegm(&tm);
	/* Year 9999 is legal and does not fit: it means "for ever". */
	if (s > INT64_MAX / MT_NS_PER_SEC)
		return INT64_MAX;
	return s < 0 ? 0 : s * MT_NS_PER_SEC;
}

static void hex(const unsigned char *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
	out[2 * n] = 0;
}

static void serial_hex(const X509 *x, char out[64])
{
	const ASN1_INTEGER *s = X509_get0_serialNumber(x);
	int n = ASN1_STRING_length(s);

	hex(ASN1_STRING_get0_data(s), n < 0 ? 0 : MT_MIN((size_t)n, 31), out);
}

unsigned pki_uri_san(const GENERAL_NAMES *names, char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err)
{
	unsigned uris = 0;

	ret_id[0] = 0;
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int type;
		ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
		if (type != GEN_URI || uris++)
			continue;
		const char *p = (const char *)ASN1_STRING_get0_data(s);
		size_t n = (size_t)ASN1_STRING_length(s);
		if (mt_spiffe_check(p, n, err) < 0)
			continue;
		if (n >= MT_SPIFFE_ID_MAX) {
			mt_fail(err, MT_INVALID, NULL, "SPIFFE id: %zu bytes is beyond %d", n,
				MT_SPIFFE_ID_MAX - 1);
			continue;
		}
		memcpy(ret_id, p, n);
		ret_id[n] = 0;
	}
	if (uris > 1)
		ret_id[0] = 0;
	return uris;
}

static unsigned uri_san(X509 *x, char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err)
{
	/* NULL also when the extension is there twice or cannot be read: no name then. */
	MT_AUTO(pki_names_freep)
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	ERR_clear_error();
	ret_id[0] = 0;
	return names ? pki_uri_san(names, ret_id, err) : 0;
}

void mt_cert_info(const struct mt_chain *c, size_t i, struct mt_cert_info *ret)
{
	X509 *x = c->v[i];
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	memset(ret, 0, sizeof(*ret));
	uri_san(x, ret->spiffe_id, NULL);
	X509_NAME_oneline(X509_get_subject_name(x), ret->subject, sizeof(ret->subject));
	serial_hex(x, ret->serial);
	if (X509_digest(x, EVP_sha256(), md, &n))
		hex(md, n, ret->fingerprint);
	ret->not_before_ns = to_ns(X509_get0_notBefore(x));
	ret->not_after_ns = to_ns(X509_get0_notAfter(x));
	ret->ca = X509_check_ca(x) == 1;
	ret->self_signed = X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
	ERR_clear_error();
}

int mt_svid_check(const struct mt_chain *c, char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err)
{
	X509 *x = c->v[0];
	struct mt_err why = { 0 };
	char id[MT_SPIFFE_ID_MAX];

	unsigned uris = uri_san(x, id, &why);
	if (uris != 1)
		return mt_fail(
			err, MT_INVALID, NULL, "the certificate has %u URI names, not one", uris);
	if (!id[0])
		return mt_fail(err, MT_INVALID, NULL, "the certificate's URI name: %s", why.msg);
	if (!strchr(id + strlen("spiffe://"), '/'))
		return mt_fail(err, MT_INVALID, NULL, "%s names a trust domain, no workload", id);
	if (X509_get_extension_flags(x) & EXFLAG_INVALID)
		return mt_fail(
			err, MT_INVALID, NULL, "%s: an extension of the certificate is broken", id);
	/* Both: X509_check_ca() is content with a CA flag that the key usage takes back. */
	if ((X509_get_extension_flags(x) & EXFLAG_CA) || X509_check_ca(x) != 0)
		return mt_fail(err, MT_INVALID, NULL, "%s: a CA cannot be a leaf", id);
	uint32_t usage = X509_get_key_usage(x);
	if (usage == UINT32_MAX || !(usage & X509v3_KU_DIGITAL_SIGNATURE))
		return mt_fail(
			err, MT_INVALID, NULL, "%s: the key usage lacks digitalSignature", id);
	if (usage & (X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN))
		return mt_fail(
			err, MT_INVALID, NULL, "%s: the key usage of a leaf allows signing", id);
	memcpy(ret_id, id, sizeof(id));
	return 0;
}
