#include "common/pki/csr.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/internal.h"

struct mt_csr {
	struct mt_key *key;
	char spiffe_id[MT_SPIFFE_ID_MAX];
};

/* Adds one "subjectAltName: URI:..." to the request, without OpenSSL's text syntax: a comma in a
 * value would smuggle in a second name there. */
static int add_uri(X509_REQ *req, const char *uri)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	STACK_OF(X509_EXTENSION) *exts = NULL;
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();
	int ok = 0;

	if (names && name && s && ASN1_STRING_set(s, uri, -1)) {
		GENERAL_NAME_set0_value(name, GEN_URI, MT_TAKE(s));
		if (sk_GENERAL_NAME_push(names, name)) {
			name = NULL;
			ok = X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 0, 0) == 1 &&
				X509_REQ_add_extensions(req, exts);
		}
	}
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	ASN1_IA5STRING_free(s);
	GENERAL_NAME_free(name);
	GENERAL_NAMES_free(names);
	return ok;
}

int mt_csr_make(const struct mt_key *key, const char *spiffe_id, char **ret_pem, struct mt_err *err)
{
	MT_AUTO(pki_req_freep) X509_REQ *req = X509_REQ_new();
	int r;

	if (!mt_key_is_private(key))
		return mt_fail(err, MT_INVALID, NULL, "a CSR needs the private key");
	if (spiffe_id && (r = mt_spiffe_check(spiffe_id, strlen(spiffe_id), err)) < 0)
		return r;
	if (!req || !X509_REQ_set_version(req, X509_REQ_VERSION_1) ||
		!X509_REQ_set_pubkey(req, key->pkey) || (spiffe_id && !add_uri(req, spiffe_id)) ||
		!X509_REQ_sign(req, key->pkey, EVP_sha256()))
		return pki_fail_ssl(err, MT_INTERNAL, "cannot make a CSR");
	MT_AUTO(pki_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	if (!bio || !PEM_write_bio_X509_REQ(bio, req))
		return pki_fail_ssl(err, MT_INTERNAL, "cannot write a CSR");
	long n = BIO_get_mem_data(bio, &p);
	*ret_pem = mt_strndup(p, (size_t)n);
	return 0;
}

static X509_REQ *read_any(const void *p, size_t n)
{
	MT_AUTO(pki_bio_freep) BIO *bio = pki_bio(p, n);
	const unsigned char *der = p;

	/* DER starts with a SEQUENCE tag, PEM with a dash or free text: never both. */
	if (n && der[0] == 0x30) {
		X509_REQ *req = d2i_X509_REQ(NULL, &der, (long)n);
		if (req && der != (const unsigned char *)p + n) { /* bytes behind it */
			X509_REQ_free(req);
			return NULL;
		}
		return req;
	}
	return PEM_read_bio_X509_REQ(bio, NULL, pki_no_password, NULL);
}

static void read_wish(X509_REQ *req, char id[MT_SPIFFE_ID_MAX])
{
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
	GENERAL_NAMES *names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);

	id[0] = 0;
	if (!names || pki_uri_san(names, id, NULL) != 1)
		id[0] = 0;
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
}

int mt_csr_parse(const void *p, size_t n, struct mt_csr **ret, struct mt_err *err)
{
	int r;

	if (n > MT_CSR_MAX)
		return mt_fail(
			err, MT_LIMIT, NULL, "a CSR of %zu bytes is beyond %d", n, MT_CSR_MAX);
	MT_AUTO(pki_req_freep) X509_REQ *req = read_any(p, n);
	if (!req)
		return pki_fail_ssl(err, MT_INVALID, "not a CSR");
	/* Both calls first look at what kind of key it is, before any costly arithmetic with it. */
	EVP_PKEY *pkey = X509_REQ_get_pubkey(req);
	if (!pkey)
		return pki_fail_ssl(err, MT_INVALID, "a CSR with an unreadable public key");
	MT_AUTO(mt_key_unrefp) struct mt_key *key = pki_key_new(pkey, false);
	if ((r = mt_key_check(key, err)) < 0)
		return mt_err_prefix(err, "CSR"), r;
	if (X509_REQ_verify(req, pkey) != 1)
		return pki_fail_ssl(err, MT_INVALID, "a CSR not signed by its own key");
	struct mt_csr *c = MT_NEW(struct mt_csr);
	read_wish(req, c->spiffe_id);
	ERR_clear_error();
	c->key = MT_TAKE(key);
	*ret = c;
	return 0;
}

void mt_csr_free(struct mt_csr *c)
{
	if (!c)
		return;
	mt_key_unref(c->key);
	mt_free(c);
}

const struct mt_key *mt_csr_key(const struct mt_csr *c)
{
	return c->key;
}

const char *mt_csr_spiffe_id(const struct mt_csr *c)
{
	return c->spiffe_id;
}
