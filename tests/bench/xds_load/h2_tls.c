#include "tests/bench/xds_load/h2_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

/* Calls take with each certificate in a text; it owns them. */
static int each_cert(const char *pem, int (*take)(SSL_CTX *ctx, X509 *cert, int i), SSL_CTX *ctx)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert;
	int n = 0, ok = 1;

	while (ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		ok = take(ctx, cert, n++);
	ERR_clear_error(); /* the end of the text is one */
	BIO_free(bio);
	return ok && n;
}

static int take_chain(SSL_CTX *ctx, X509 *cert, int i)
{
	if (i)
		return SSL_CTX_add0_chain_cert(ctx, cert);
	int ok = SSL_CTX_use_certificate(ctx, cert);
	X509_free(cert);
	return ok;
}

static int take_root(SSL_CTX *ctx, X509 *cert, int i)
{
	(void)i;
	int ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
	X509_free(cert);
	return ok;
}

static int take_key(SSL_CTX *ctx, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	int ok = key && SSL_CTX_use_PrivateKey(ctx, key);

	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

SSL_CTX *h2_tls_context(struct mt_identity *id, struct mt_err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_mode(ctx,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
			SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x02h2", 3);
	if (each_cert(id->chain_pem, take_chain, ctx) && each_cert(id->roots_pem, take_root, ctx) &&
		take_key(ctx, id->key_pem))
		return ctx;
	mt_fail(err, MT_INVALID, id->spiffe_id, "the identity cannot be used for TLS");
	SSL_CTX_free(ctx);
	return NULL;
}

SSL *h2_tls_new(SSL_CTX *ctx, int fd)
{
	if (!ctx)
		return NULL;
	SSL *tls = SSL_new(ctx);
	SSL_set_fd(tls, fd);
	SSL_set_connect_state(tls);
	return tls;
}

void h2_tls_free(SSL *tls)
{
	SSL_free(tls);
}

/* What a call that did not succeed means, as errno; 0: the other side has closed. */
static int reason(SSL *tls, int r)
{
	int what = SSL_get_error(tls, r), code = errno;

	ERR_clear_error();
	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
		return EAGAIN;
	if (what == SSL_ERROR_ZERO_RETURN)
		return 0;
	return what == SSL_ERROR_SYSCALL ? code : EPROTO;
}

int h2_tls_handshake(SSL *tls)
{
	int r = SSL_do_handshake(tls);

	if (r == 1)
		return 1;
	errno = reason(tls, r);
	return errno == EAGAIN ? 0 : -1;
}

ssize_t h2_tls_read(SSL *tls, void *p, size_t n)
{
	int r = SSL_read(tls, p, (int)n);

	if (r > 0)
		return r;
	errno = reason(tls, r);
	return errno ? -1 : 0;
}

ssize_t h2_tls_write(SSL *tls, const void *p, size_t n)
{
	int r = SSL_write(tls, p, (int)n);

	if (r > 0)
		return r;
	errno = reason(tls, r);
	return -1;
}
