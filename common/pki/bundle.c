#include "common/pki/bundle.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/internal.h"

struct mt_bundle {
	struct mt_ref ref;
	X509_STORE *store;
	size_t n;
	X509 *v[MT_BUNDLE_MAX];
};

static bool has(const struct mt_bundle *b, X509 *x)
{
	for (size_t i = 0; i < b->n; i++)
		if (X509_cmp(b->v[i], x) == 0)
			return true;
	return false;
}

/* Takes x over. */
static int add(struct mt_bundle *b, X509 *x, struct mt_err *err)
{
	char subject[128] = "";
	int r = 0;

	X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject));
	if (X509_check_ca(x) != 1 || (X509_get_extension_flags(x) & EXFLAG_INVALID))
		r = mt_fail(err, MT_INVALID, NULL, "trust bundle: %s is not a CA", subject);
	else if (!has(b, x) && b->n == MT_BUNDLE_MAX)
		r = mt_fail(err, MT_LIMIT, NULL, "trust bundle: more than %d roots", MT_BUNDLE_MAX);
	else if (!has(b, x) && X509_STORE_add_cert(b->store, x))
		b->v[b->n++] = MT_TAKE(x);
	X509_free(x);
	return r;
}

int mt_bundle_parse(const char *pem, size_t n, struct mt_bundle **ret, struct mt_err *err)
{
	MT_AUTO(mt_bundle_unrefp) struct mt_bundle *b = MT_NEW(struct mt_bundle);
	X509 *x;
	int r = 0;

	mt_ref_init(&b->ref);
	if (n > MT_CHAIN_PEM_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "a trust bundle of %zu bytes is beyond %d", n,
			MT_CHAIN_PEM_MAX);
	if (!(b->store = X509_STORE_new()))
		return pki_fail_ssl(err, MT_INTERNAL, "trust bundle");
	/* A bundle may hold an intermediate as anchor: SPIFFE asks for CAs, not for self-signed ones. */
	X509_STORE_set_flags(b->store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
	MT_AUTO(pki_bio_freep) BIO *bio = pki_bio(pem, n);
	while (r == 0 && (x = PEM_read_bio_X509(bio, NULL, pki_no_password, NULL)))
		r = add(b, x, err);
	if (r < 0)
		return r;
	unsigned long e = ERR_peek_last_error();
	if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
		return pki_fail_ssl(err, MT_INVALID, "trust bundle: not a PEM certificate");
	ERR_clear_error();
	if (!b->n)
		return mt_fail(
			err, MT_INVALID, NULL, "trust bundle: no PEM certificate in %zu bytes", n);
	*ret = MT_TAKE(b);
	return 0;
}

struct mt_bundle *mt_bundle_ref(const struct mt_bundle *b)
{
	struct mt_bundle *m = (struct mt_bundle *)b; /* only the count changes */

	mt_ref_get(&m->ref);
	return m;
}

void mt_bundle_unref(struct mt_bundle *b)
{
	if (!b || !mt_ref_put(&b->ref))
		return;
	for (size_t i = 0; i < b->n; i++)
		X509_free(b->v[i]);
	X509_STORE_free(b->store);
	mt_free(b);
}

size_t mt_bundle_len(const struct mt_bundle *b)
{
	return b->n;
}

void mt_bundle_pem(const struct mt_bundle *b, struct mt_buf *out)
{
	MT_AUTO(pki_bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	char *p;

	for (size_t i = 0; i < b->n; i++)
		PEM_write_bio_X509(bio, b->v[i]);
	long n = BIO_get_mem_data(bio, &p);
	if (n > 0)
		mt_buf_add(out, p, (size_t)n);
}

int mt_bundle_merge(const char *pem_a, const char *pem_b, char **ret_pem, struct mt_err *err)
{
	struct mt_buf all = { 0 }, out = { 0 };
	struct mt_bundle *b = NULL;

	mt_buf_adds(&all, pem_a ? pem_a : "");
	mt_buf_addc(&all, '\n');
	mt_buf_adds(&all, pem_b ? pem_b : "");
	int r = mt_bundle_parse(all.p, all.n, &b, err);
	mt_buf_clear(&all);
	if (r < 0)
		return r;
	mt_bundle_pem(b, &out);
	mt_bundle_unref(b);
	*ret_pem = mt_buf_take(&out, NULL);
	return 0;
}

static void configure(X509_STORE_CTX *ctx, int64_t now_ns, enum mt_cert_use use)
{
	X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(ctx);

	X509_VERIFY_PARAM_set_time(p, now_ns / MT_NS_PER_SEC);
	X509_VERIFY_PARAM_set_depth(p, MT_CHAIN_MAX);
	X509_VERIFY_PARAM_set_auth_level(p, 1); /* no SHA-1, no RSA under 1024 bits */
	if (use == MT_CERT_USE_SERVER)
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
	else if (use == MT_CERT_USE_CLIENT)
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT);
}

static int verify_chain(const struct mt_bundle *b, const struct mt_chain *c, int64_t now_ns,
	enum mt_cert_use use, struct mt_err *err)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *rest = sk_X509_new_null();
	int r = 0;

	for (size_t i = 1; rest && i < c->n; i++)
		sk_X509_push(rest, c->v[i]);
	if (!ctx || !rest || !X509_STORE_CTX_init(ctx, b->store, c->v[0], rest)) {
		r = pki_fail_ssl(err, MT_INTERNAL, "cannot verify a certificate");
	} else {
		configure(ctx, now_ns, use);
		if (X509_verify_cert(ctx) != 1)
			r = mt_fail(err, MT_UNAUTHENTICATED, NULL,
				"the certificate is not trusted: %s",
				X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	}
	sk_X509_free(rest);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return r;
}

int mt_bundle_verify(const struct mt_bundle *b, const struct mt_chain *c, int64_t now_ns,
	const char *td, enum mt_cert_use use, char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err)
{
	char id[MT_SPIFFE_ID_MAX];
	struct mt_err why = { 0 };
	int r = verify_chain(b, c, now_ns, use, err);

	if (r < 0)
		return r;
	if (mt_svid_check(c, id, &why) < 0)
		return mt_fail(err, MT_UNAUTHENTICATED, NULL, "%s", why.msg);
	if (td && !mt_spiffe_in_td(id, td))
		return mt_fail(
			err, MT_UNAUTHENTICATED, NULL, "%s is not of trust domain %s", id, td);
	memcpy(ret_id, id, sizeof(id));
	return 0;
}
