#include "common/pki/key.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "tests/unit/pki/pki_unit.h"

static char *pem_of(EVP_PKEY *k, bool encrypted)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p, *out;

	ck_assert(PEM_write_bio_PKCS8PrivateKey(bio, k, encrypted ? EVP_aes_128_cbc() : NULL,
		encrypted ? "x" : NULL, encrypted, NULL, NULL));
	long n = BIO_get_mem_data(bio, &p);
	out = mt_strndup(p, (size_t)n);
	BIO_free_all(bio);
	EVP_PKEY_free(k);
	return out;
}

static int parse(const char *pem, struct mt_err *err)
{
	struct mt_key *k = NULL;
	int r = mt_key_parse(pem, strlen(pem), &k, err);

	mt_key_unref(k);
	return r;
}

START_TEST(round_trip)
{
	for (enum mt_key_type t = MT_KEY_EC_P256; t <= MT_KEY_RSA_2048; t++) {
		struct mt_key *k = NULL, *again = NULL, *other = NULL;
		ck_assert_int_eq(mt_key_generate(t, &k, NULL), 0);
		ck_assert(mt_key_is_private(k));
		char *pem = mt_key_pem(k);
		ck_assert_int_eq(mt_key_parse(pem, strlen(pem), &again, NULL), 0);
		ck_assert(mt_key_equal(k, again));
		ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &other, NULL), 0);
		ck_assert(!mt_key_equal(k, other));
		mt_secret_free(pem);
		mt_key_unref(k);
		mt_key_unref(again);
		mt_key_unref(other);
	}
}
END_TEST

START_TEST(refused_kinds)
{
	struct mt_err err = { 0 };
	char *pem = pem_of(EVP_RSA_gen(1024), false);

	ck_assert_int_eq(parse(pem, &err), MT_INVALID);
	ck_assert_str_eq(err.msg, "an RSA key of 1024 bits: only 2048 to 4096");
	mt_free(pem);
	pem = pem_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), false);
	ck_assert_int_eq(parse(pem, &err), MT_INVALID);
	mt_free(pem);
	pem = pem_of(EVP_EC_gen("secp256k1"), false);
	ck_assert_int_eq(parse(pem, &err), MT_INVALID);
	mt_free(pem);
	pem = pem_of(EVP_EC_gen("P-384"), false);
	ck_assert_int_eq(parse(pem, &err), 0);
	mt_free(pem);
}
END_TEST

START_TEST(malformed)
{
	struct mt_key *k = NULL;
	struct mt_err err = { 0 };
	char *pem = pem_of(EVP_EC_gen("P-256"), true);

	ck_assert_int_eq(parse(pem, &err), MT_INVALID); /* encrypted: no question on the terminal */
	mt_free(pem);
	ck_assert_int_eq(parse("", &err), MT_INVALID);
	ck_assert_int_eq(
		parse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &err),
		MT_INVALID);
	ck_assert_int_eq(parse("-----BEGIN PRIVATE KEY-----\nAAAA\n", &err), MT_INVALID);
	char *big = mt_alloc(MT_KEY_PEM_MAX + 1);
	ck_assert_int_eq(mt_key_parse(big, MT_KEY_PEM_MAX + 1, &k, &err), MT_LIMIT);
	mt_free(big);
}
END_TEST

START_TEST(types)
{
	enum mt_key_type t;

	ck_assert_int_eq(mt_key_type_parse("rsa-2048", &t, NULL), 0);
	ck_assert_int_eq(t, MT_KEY_RSA_2048);
	ck_assert_int_eq(mt_key_type_parse("ec", &t, NULL), 0);
	ck_assert_int_eq(t, MT_KEY_EC_P256);
	ck_assert_int_eq(mt_key_type_parse("dsa", &t, NULL), MT_INVALID);
	ck_assert_int_eq(mt_key_type_parse(NULL, &t, NULL), MT_INVALID);
}
END_TEST

MT_UNIT(key, round_trip, refused_kinds, malformed, types)
