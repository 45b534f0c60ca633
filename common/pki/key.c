#include "common/pki/internal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"

struct mt_key *pki_key_new(EVP_PKEY *pkey, bool is_private)
{
	struct mt_key *k = MT_NEW(struct mt_key);

	mt_ref_init(&k->ref);
	k->pkey = pkey;
	k->is_private = is_private;
	return k;
}

struct mt_key *mt_key_ref(const struct mt_key *k)
{
	struct mt_key *m = (struct mt_key *)k; /* only the count changes */

	mt_ref_get(&m->ref);
	return m;
}

void mt_key_unref(struct mt_key *k)
{
	if (!k || !mt_ref_put(&k->ref))
		return;
	EVP_PKEY_free(k->pkey);
	mt_free(k);
}

int mt_key_generate(enum mt_key_type type, struct mt_key **ret, struct mt_err *err)
{
	EVP_PKEY *pkey = type == MT_KEY_RSA_2048 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

	if (!pkey)
		return pki_fail_ssl(err, MT_INTERNAL, "cannot generate a key");
	*ret = pki_key_new(pkey, true);
	return 0;
}

int mt_key_parse(const char *pem, size_t n, struct mt_key **ret, struct mt_err *err)
{
	if (n > MT_KEY_PEM_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "a private key of %zu bytes is beyond %d", n,
			MT_KEY_PEM_MAX);
	MT_AUTO(pki_bio_freep) BIO *bio = pki_bio(pem, n);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, pki_no_password, NULL);

	if (!pkey)
		return pki_fail_ssl(err, MT_INVALID, "not an unencrypted PEM private key");
	struct mt_key *k = pki_key_new(pkey, true);
	int r = mt_key_check(k, err);
	if (r < 0) {
		mt_key_unref(k);
		return r;
	}
	*ret = k;
	return 0;
}

int mt_key_type_parse(const char *text, enum mt_key_type *ret, struct mt_err *err)
{
	if (mt_streq(text, "ec") || mt_streq(text, "ec-p256"))
		*ret = MT_KEY_EC_P256;
	else if (mt_streq(text, "rsa") || mt_streq(text, "rsa-2048"))
		*ret = MT_KEY_RSA_2048;
	else
		return mt_fail(err, MT_INVALID, NULL, "%s is no key type: ec-p256 or rsa-2048",
			text ? text : "(none)");
	return 0;
}

bool mt_key_is_private(const struct mt_key *k)
{
	return k->is_private;
}

bool mt_key_equal(const struct mt_key *a, const struct mt_key *b)
{
	bool same = EVP_PKEY_eq(a->pkey, b->pkey) == 1;

	ERR_clear_error();
	return same;
}

static int check_ec(const struct mt_key *k, struct mt_err *err)
{
	char group[64] = "";

	if (!EVP_PKEY_get_group_name(k->pkey, group, sizeof(group), NULL)) {
		ERR_clear_error();
		return mt_fail(err, MT_INVALID, NULL, "an ECDSA key must use a named curve");
	}
	if (!mt_streq(group, "prime256v1") && !mt_streq(group, "P-256") &&
		!mt_streq(group, "secp384r1") && !mt_streq(group, "P-384"))
		return mt_fail(err, MT_INVALID, NULL, "ECDSA on %s: only P-256 and P-384", group);
	return 0;
}

int mt_key_check(const struct mt_key *k, struct mt_err *err)
{
	if (EVP_PKEY_is_a(k->pkey, "EC"))
		return check_ec(k, err);
	if (EVP_PKEY_is_a(k->pkey, "RSA")) {
		int bits = EVP_PKEY_get_bits(k->pkey);
		if (bits < 2048 || bits > 4096)
			return mt_fail(err, MT_INVALID, NULL,
				"an RSA key of %d bits: only 2048 to 4096", bits);
		return 0;
	}
	const char *name = EVP_PKEY_get0_type_name(k->pkey);
	return mt_fail(err, MT_INVALID, NULL, "a key of type %s: only ECDSA and RSA",
		name ? name : "unknown");
}

char *mt_key_pem(const struct mt_key *k)
{
	if (!k->is_private)
		return NULL;
	BIO *bio = BIO_new(BIO_s_secmem());
	char *out = NULL, *p;

	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL)) {
		long n = BIO_get_mem_data(bio, &p);
		out = mt_strndup(p, (size_t)n);
	}
	BIO_free_all(bio);
	ERR_clear_error();
	return out;
}

void mt_secret_free(char *s)
{
	if (s)
		OPENSSL_cleanse(s, strlen(s));
	mt_free(s);
}
