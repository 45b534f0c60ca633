/* Issuing, reading, verifying. */
#include "common/pki/cert.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/unit/pki/pki_unit.h"

#define ID "spiffe://mesh.test/ns/a/sa/b"

struct world {
	struct ca ca;
	struct mt_bundle *bundle;
	struct mt_key *key;
	struct mt_issuer by;
	int64_t now;
};

static void world_up(struct world *w)
{
	memset(w, 0, sizeof(*w));
	ca_make(&w->ca, "mesh.test");
	ck_assert_int_eq(mt_bundle_parse(w->ca.pem, strlen(w->ca.pem), &w->bundle, NULL), 0);
	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &w->key, NULL), 0);
	w->by = (struct mt_issuer){ w->ca.chain, w->ca.key };
	w->now = now_ns();
}

static void world_down(struct world *w)
{
	mt_bundle_unref(w->bundle);
	mt_key_unref(w->key);
	ca_clear(&w->ca);
}

static int verify(const struct world *w, const struct mt_chain *c, int64_t at, struct mt_err *err)
{
	char id[MT_SPIFFE_ID_MAX];

	return mt_bundle_verify(w->bundle, c, at, "mesh.test", MT_CERT_USE_CLIENT, id, err);
}

START_TEST(issued_leaf)
{
	static const char *const dns[] = { "a.test", "*.b.test" };
	struct world w;
	struct mt_chain *c = NULL;
	struct mt_cert_info i;
	char id[MT_SPIFFE_ID_MAX];

	world_up(&w);
	const struct mt_leaf_request q = { .key = w.key,
		.spiffe_id = ID,
		.dns = dns,
		.ndns = 2,
		.now_ns = w.now,
		.ttl_ns = HOUR,
		.skew_ns = 60 * MT_NS_PER_SEC };
	ck_assert_int_eq(mt_cert_issue(&w.by, &q, &c, NULL), 0);
	ck_assert_uint_eq(mt_chain_len(c), 1); /* the root is not sent along */
	mt_cert_info(c, 0, &i);
	ck_assert_str_eq(i.spiffe_id, ID);
	ck_assert(!i.ca && !i.self_signed);
	ck_assert_uint_eq(strlen(i.serial), 32);
	ck_assert_uint_eq(strlen(i.fingerprint), 64);
	ck_assert_int_eq(
		i.not_before_ns, (w.now - 60 * MT_NS_PER_SEC) / MT_NS_PER_SEC * MT_NS_PER_SEC);
	ck_assert_int_eq(i.not_after_ns, (w.now + HOUR) / MT_NS_PER_SEC * MT_NS_PER_SEC);
	ck_assert(mt_chain_has_key(c, w.key) && !mt_chain_has_key(c, w.ca.key));
	for (enum mt_cert_use u = MT_CERT_USE_ANY; u <= MT_CERT_USE_CLIENT; u++)
		ck_assert_int_eq(mt_bundle_verify(w.bundle, c, w.now, "mesh.test", u, id, NULL), 0);
	ck_assert_str_eq(id, ID);
	mt_chain_unref(c);
	world_down(&w);
}
END_TEST

START_TEST(times)
{
	struct world w;
	struct mt_err err = { 0 };

	world_up(&w);
	struct mt_chain *c = leaf_at(&w.ca, w.key, ID, w.now, HOUR);
	ck_assert_int_eq(verify(&w, c, w.now + MT_NS_PER_SEC, &err), 0);
	ck_assert_int_eq(verify(&w, c, w.now + HOUR + 2 * MT_NS_PER_SEC, &err), MT_UNAUTHENTICATED);
	ck_assert_msg(strstr(err.msg, "expired"), "%s", err.msg);
	ck_assert_int_eq(verify(&w, c, w.now - 2 * MT_NS_PER_SEC, &err), MT_UNAUTHENTICATED);
	ck_assert_msg(strstr(err.msg, "not yet valid"), "%s", err.msg);
	mt_chain_unref(c);
	/* Cut to what the issuer has left. */
	struct mt_cert_info root, i;
	c = leaf_at(&w.ca, w.key, ID, w.now, 1000 * HOUR);
	mt_cert_info(w.ca.chain, 0, &root);
	mt_cert_info(c, 0, &i);
	ck_assert_int_eq(i.not_after_ns, root.not_after_ns);
	mt_chain_unref(c);
	world_down(&w);
}
END_TEST

START_TEST(refusals_of_the_issuer)
{
	struct world w;
	struct mt_err err = { 0 };
	struct mt_chain *c = NULL;
	char *longdns = mt_alloc(300);
	const char *const baddns[] = { "a,DNS:b" };
	const char *const hugedns[] = { memset(longdns, 'a', 260) };

	world_up(&w);
	struct mt_leaf_request good = {
		.key = w.key, .spiffe_id = ID, .now_ns = w.now, .ttl_ns = HOUR
	};
	struct mt_leaf_request q = good;
	q.spiffe_id = "spiffe://mesh.test";
	ck_assert_int_eq(mt_cert_issue(&w.by, &q, &c, &err), MT_INVALID);
	q.spiffe_id = "spiffe://mesh.test/a,b";
	ck_assert_int_eq(mt_cert_issue(&w.by, &q, &c, &err), MT_INVALID);
	q = good;
	q.ttl_ns = 0;
	ck_assert_int_eq(mt_cert_issue(&w.by, &q, &c, &err), MT_INVALID);
	q = good;
	q.ndns = 1;
	q.dns = baddns;
	ck_assert_int_eq(mt_cert_issue(&w.by, &q, &c, &err), MT_INVALID);
	q.dns = hugedns;
	ck_assert_int_eq(mt_cert_issue(&w.by, &q, &c, &err), MT_INVALID);
	q = good;
	q.now_ns = w.now + 100 * HOUR;
	ck_assert_int_eq(mt_cert_issue(&w.by, &q, &c, &err), MT_INVALID);
	ck_assert_msg(strstr(err.msg, "expired"), "%s", err.msg);
	struct mt_issuer wrong = { w.ca.chain, w.key };
	ck_assert_int_eq(mt_cert_issue(&wrong, &good, &c, &err), MT_INVALID);
	struct mt_chain *leaf = leaf_at(&w.ca, w.key, ID, w.now, HOUR);
	struct mt_issuer noca = { leaf, w.key };
	ck_assert_int_eq(mt_cert_issue(&noca, &good, &c, &err), MT_INVALID);
	ck_assert_msg(strstr(err.msg, "not a CA"), "%s", err.msg);
	mt_chain_unref(leaf);
	mt_free(longdns);
	world_down(&w);
}
END_TEST

START_TEST(intermediate)
{
	struct world w;
	struct mt_key *ik = NULL;
	struct mt_chain *ic = NULL, *c = NULL, *bad = NULL;
	struct mt_err err = { 0 };

	world_up(&w);
	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &ik, NULL), 0);
	ck_assert_int_eq(
		mt_cert_intermediate(&w.by, ik, "mesh.test", w.now, 2 * HOUR, &ic, &err), 0);
	const struct mt_issuer by = { ic, ik };
	const struct mt_leaf_request q = {
		.key = w.key, .spiffe_id = ID, .now_ns = w.now, .ttl_ns = HOUR
	};
	ck_assert_int_eq(mt_cert_issue(&by, &q, &c, &err), 0);
	ck_assert_uint_eq(mt_chain_len(c), 2);
	ck_assert_int_eq(verify(&w, c, w.now, &err), 0);
	/* Without the intermediate nobody can follow it. */
	struct mt_buf b = { 0 };
	mt_chain_pem(c, &b);
	char *second = strstr(b.p + 1, "-----BEGIN");
	struct mt_chain *alone = NULL;
	ck_assert_int_eq(mt_chain_parse(b.p, (size_t)(second - b.p), &alone, NULL), 0);
	ck_assert_int_eq(verify(&w, alone, w.now, &err), MT_UNAUTHENTICATED);
	/* Path length 0: an intermediate of an intermediate does not count. */
	struct mt_key *ik2 = NULL;
	struct mt_chain *ic2 = NULL;
	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &ik2, NULL), 0);
	ck_assert_int_eq(mt_cert_intermediate(&by, ik2, "mesh.test", w.now, HOUR, &ic2, &err), 0);
	const struct mt_issuer by2 = { ic2, ik2 };
	ck_assert_int_eq(mt_cert_issue(&by2, &q, &bad, &err), 0);
	ck_assert_int_eq(verify(&w, bad, w.now, &err), MT_UNAUTHENTICATED);
	mt_buf_clear(&b);
	mt_chain_unref(alone);
	mt_chain_unref(bad);
	mt_chain_unref(ic2);
	mt_key_unref(ik2);
	mt_chain_unref(c);
	mt_chain_unref(ic);
	mt_key_unref(ik);
	world_down(&w);
}
END_TEST

START_TEST(bundle)
{
	struct world w;
	struct ca other;
	struct mt_bundle *b = NULL;
	struct mt_err err = { 0 };
	char id[MT_SPIFFE_ID_MAX], *both = NULL, *again = NULL;

	world_up(&w);
	ca_make(&other, "mesh.test");
	struct mt_chain *c = leaf_at(&other, w.key, ID, w.now, HOUR);
	ck_assert_int_eq(verify(&w, c, w.now, &err), MT_UNAUTHENTICATED);
	ck_assert_int_eq(mt_bundle_merge(w.ca.pem, other.pem, &both, &err), 0);
	ck_assert_int_eq(mt_bundle_merge(both, other.pem, &again, &err), 0);
	ck_assert_str_eq(both, again);
	ck_assert_int_eq(mt_bundle_parse(both, strlen(both), &b, &err), 0);
	ck_assert_uint_eq(mt_bundle_len(b), 2);
	ck_assert_int_eq(mt_bundle_verify(b, c, w.now, NULL, MT_CERT_USE_ANY, id, &err), 0);
	ck_assert_int_eq(mt_bundle_verify(b, c, w.now, "other.test", MT_CERT_USE_ANY, id, &err),
		MT_UNAUTHENTICATED);
	/* A leaf is no root. */
	char *pem = chain_text(c);
	struct mt_bundle *none = NULL;
	ck_assert_int_eq(mt_bundle_parse(pem, strlen(pem), &none, &err), MT_INVALID);
	ck_assert_int_eq(mt_bundle_parse("", 0, &none, &err), MT_INVALID);
	ck_assert_int_eq(mt_bundle_parse("x", 1, &none, &err), MT_INVALID);
	mt_free(pem);
	mt_free(both);
	mt_free(again);
	mt_bundle_unref(b);
	mt_chain_unref(c);
	ca_clear(&other);
	world_down(&w);
}
END_TEST

/* ---- certificates that we would never issue ---- */

static struct mt_chain *odd_leaf(
	const struct world *w, const char *san, const char *usage, const char *bc)
{
	BIO *bio = BIO_new(BIO_s_mem());
	X509 *x = X509_new(), *ca;
	BIO *cabio = BIO_new_mem_buf(w->ca.pem, -1);
	EVP_PKEY *pub, *sign;
	char *p, *pem = mt_key_pem(w->key), *capem = mt_key_pem(w->ca.key);
	struct mt_chain *c = NULL;
	const char *const ext[][2] = { { "subjectAltName", san }, { "keyUsage", usage },
		{ "basicConstraints", bc } };
	BIO *kb = BIO_new_mem_buf(pem, -1), *cb = BIO_new_mem_buf(capem, -1);

	ca = PEM_read_bio_X509(cabio, NULL, NULL, NULL);
	pub = PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL);
	sign = PEM_read_bio_PrivateKey(cb, NULL, NULL, NULL);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -10);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_issuer_name(x, X509_get_subject_name(ca));
	X509_set_pubkey(x, pub);
	for (size_t i = 0; i < 3; i++) {
		if (!ext[i][1])
			continue;
		X509_EXTENSION *e = X509V3_EXT_conf(NULL, NULL, ext[i][0], ext[i][1]);
		ck_assert_ptr_nonnull(e);
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	ck_assert(X509_sign(x, sign, EVP_sha256()));
	PEM_write_bio_X509(bio, x);
	long n = BIO_get_mem_data(bio, &p);
	ck_assert_int_eq(mt_chain_parse(p, (size_t)n, &c, NULL), 0);
	BIO_free_all(bio);
	BIO_free_all(cabio);
	BIO_free_all(kb);
	BIO_free_all(cb);
	X509_free(x);
	X509_free(ca);
	EVP_PKEY_free(pub);
	EVP_PKEY_free(sign);
	mt_secret_free(pem);
	mt_secret_free(capem);
	return c;
}

START_TEST(not_svids)
{
	static const struct {
		const char *san, *usage, *bc, *why;
	} cases[] = {
		{ "URI:" ID ",URI:spiffe://mesh.test/x", "digitalSignature", NULL, "2 URI names" },
		{ "DNS:a.test", "digitalSignature", NULL, "0 URI names" },
		{ NULL, "digitalSignature", NULL, "0 URI names" },
		{ "URI:http://mesh.test/x", "digitalSignature", NULL, "does not start with" },
		{ "URI:spiffe://mesh.test", "digitalSignature", NULL, "names a trust domain" },
		{ "URI:" ID, NULL, NULL, "lacks digitalSignature" },
		{ "URI:" ID, "keyEncipherment", NULL, "lacks digitalSignature" },
		{ "URI:" ID, "digitalSignature,keyCertSign", "CA:FALSE", "allows signing" },
		{ "URI:" ID, "digitalSignature,cRLSign", "CA:FALSE", "allows signing" },
		{ "URI:" ID, "digitalSignature", "CA:TRUE", "CA cannot be a leaf" },
	};
	struct world w;
	char id[MT_SPIFFE_ID_MAX] = "untouched";

	world_up(&w);
	for (size_t i = 0; i < MT_ARRAY_SIZE(cases); i++) {
		struct mt_err err = { 0 };
		struct mt_chain *c = odd_leaf(&w, cases[i].san, cases[i].usage, cases[i].bc);
		ck_assert_int_eq(mt_svid_check(c, id, &err), MT_INVALID);
		ck_assert_msg(strstr(err.msg, cases[i].why), "%zu: %s", i, err.msg);
		ck_assert_int_eq(verify(&w, c, w.now, &err), MT_UNAUTHENTICATED);
		mt_chain_unref(c);
	}
	ck_assert_str_eq(id, "untouched");
	struct mt_chain *c = odd_leaf(&w, "URI:" ID ",DNS:x", "digitalSignature", "CA:FALSE");
	ck_assert_int_eq(mt_svid_check(c, id, NULL), 0);
	ck_assert_int_eq(verify(&w, c, w.now, NULL), 0);
	mt_chain_unref(c);
	world_down(&w);
}
END_TEST

START_TEST(malformed)
{
	struct world w;
	struct mt_chain *c = NULL;
	struct mt_err err = { 0 };
	static const char *const bad[] = { "", "x", "-----BEGIN CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n" };

	world_up(&w);
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(mt_chain_parse(bad[i], strlen(bad[i]), &c, &err), MT_INVALID);
	/* A good one, then a bad one: the whole is bad. */
	struct mt_buf b = { 0 };
	mt_buf_adds(&b, w.ca.pem);
	mt_buf_adds(&b, bad[3]);
	ck_assert_int_eq(mt_chain_parse(b.p, b.n, &c, &err), MT_INVALID);
	mt_buf_clear(&b);
	for (int i = 0; i < MT_CHAIN_MAX + 1; i++)
		mt_buf_adds(&b, w.ca.pem);
	ck_assert_int_eq(mt_chain_parse(b.p, b.n, &c, &err), MT_LIMIT);
	mt_buf_clear(&b);
	char *big = mt_alloc(MT_CHAIN_PEM_MAX + 1);
	ck_assert_int_eq(mt_chain_parse(big, MT_CHAIN_PEM_MAX + 1, &c, &err), MT_LIMIT);
	mt_free(big);
	ck_assert_ptr_null(c);
	world_down(&w);
}
END_TEST

MT_UNIT(cert, issued_leaf, times, refusals_of_the_issuer, intermediate, bundle, not_svids,
	malformed)
