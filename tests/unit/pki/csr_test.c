#include "common/pki/csr.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "tests/unit/pki/pki_unit.h"

#define ID "spiffe://mesh.test/ns/a/sa/b"

static struct mt_key *ec_key(void)
{
	struct mt_key *k = NULL;

	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &k, NULL), 0);
	return k;
}

static X509_REQ *read_req(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509_REQ *r = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);

	BIO_free_all(bio);
	ck_assert_ptr_nonnull(r);
	return r;
}

static int parse_der(X509_REQ *r, struct mt_csr **ret, struct mt_err *err)
{
	unsigned char *der = NULL;
	int n = i2d_X509_REQ(r, &der);
	int code = mt_csr_parse(der, (size_t)n, ret, err);

	OPENSSL_free(der);
	return code;
}

START_TEST(round_trip)
{
	for (enum mt_key_type t = MT_KEY_EC_P256; t <= MT_KEY_RSA_2048; t++) {
		struct mt_key *k = NULL;
		struct mt_csr *c = NULL;
		char *pem = NULL;
		ck_assert_int_eq(mt_key_generate(t, &k, NULL), 0);
		ck_assert_int_eq(mt_csr_make(k, ID, &pem, NULL), 0);
		ck_assert_int_eq(mt_csr_parse(pem, strlen(pem), &c, NULL), 0);
		ck_assert_str_eq(mt_csr_spiffe_id(c), ID);
		ck_assert(mt_key_equal(k, mt_csr_key(c)));
		ck_assert(!mt_key_is_private(mt_csr_key(c)));
		ck_assert_ptr_null(mt_key_pem(mt_csr_key(c)));
		mt_csr_free(c);
		mt_free(pem);
		mt_key_unref(k);
	}
}
END_TEST

START_TEST(without_a_wish)
{
	struct mt_key *k = ec_key();
	struct mt_csr *c = NULL;
	char *pem = NULL;

	ck_assert_int_eq(mt_csr_make(k, NULL, &pem, NULL), 0);
	ck_assert_int_eq(mt_csr_parse(pem, strlen(pem), &c, NULL), 0);
	ck_assert_str_eq(mt_csr_spiffe_id(c), "");
	mt_csr_free(c);
	mt_free(pem);
	ck_assert_int_eq(mt_csr_make(k, "spiffe://a,URI:b", &pem, NULL), MT_INVALID);
	mt_key_unref(k);
}
END_TEST

START_TEST(der)
{
	struct mt_key *k = ec_key();
	struct mt_csr *c = NULL;
	char *pem = NULL;
	unsigned char *raw = NULL, tail[2048];

	ck_assert_int_eq(mt_csr_make(k, ID, &pem, NULL), 0);
	X509_REQ *r = read_req(pem);
	ck_assert_int_eq(parse_der(r, &c, NULL), 0);
	ck_assert_str_eq(mt_csr_spiffe_id(c), ID);
	/* Bytes behind it, and every cut, are refused. */
	int n = i2d_X509_REQ(r, &raw);
	memcpy(tail, raw, (size_t)n);
	tail[n] = 0;
	struct mt_csr *none = NULL;
	ck_assert_int_eq(mt_csr_parse(tail, (size_t)n + 1, &none, NULL), MT_INVALID);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(mt_csr_parse(raw, (size_t)i, &none, NULL), MT_INVALID);
	OPENSSL_free(raw);
	X509_REQ_free(r);
	mt_csr_free(c);
	mt_free(pem);
	mt_key_unref(k);
}
END_TEST

START_TEST(not_its_own_key)
{
	struct mt_key *k = ec_key();
	struct mt_csr *c = NULL;
	struct mt_err err = { 0 };
	char *pem = NULL;
	EVP_PKEY *other = EVP_EC_gen("P-256");

	ck_assert_int_eq(mt_csr_make(k, ID, &pem, NULL), 0);
	X509_REQ *r = read_req(pem);
	ck_assert(X509_REQ_set_pubkey(r, other));
	ck_assert_int_eq(parse_der(r, &c, &err), MT_INVALID);
	ck_assert_msg(strstr(err.msg, "not signed by its own key"), "%s", err.msg);
	X509_REQ_free(r);
	EVP_PKEY_free(other);
	mt_free(pem);
	mt_key_unref(k);
}
END_TEST

START_TEST(weak_key)
{
	EVP_PKEY *weak = EVP_RSA_gen(1024);
	X509_REQ *r = X509_REQ_new();
	struct mt_csr *c = NULL;
	struct mt_err err = { 0 };

	ck_assert(X509_REQ_set_pubkey(r, weak) && X509_REQ_sign(r, weak, EVP_sha256()));
	ck_assert_int_eq(parse_der(r, &c, &err), MT_INVALID);
	ck_assert_msg(strstr(err.msg, "1024 bits"), "%s", err.msg);
	X509_REQ_free(r);
	EVP_PKEY_free(weak);
}
END_TEST

START_TEST(malformed)
{
	struct mt_csr *c = NULL;
	struct mt_err err = { 0 };
	char *big = mt_alloc(MT_CSR_MAX + 1);
	static const char *const bad[] = { "", "x", "\x30", "\x30\x80",
		"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(mt_csr_parse(bad[i], strlen(bad[i]), &c, &err), MT_INVALID);
	ck_assert_int_eq(mt_csr_parse(big, MT_CSR_MAX + 1, &c, &err), MT_LIMIT);
	mt_free(big);
}
END_TEST

MT_UNIT(csr, round_trip, without_a_wish, der, not_its_own_key, weak_key, malformed)
