/* What the files of common/pki share: the structs behind its opaque types, and OpenSSL's errors. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/base/clock.h"
#include "common/base/ref.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

struct mt_key {
	struct mt_ref ref;
	EVP_PKEY *pkey;
	bool is_private;
};
struct mt_key *pki_key_new(EVP_PKEY *pkey, bool is_private); /* takes pkey over */

struct mt_chain {
	struct mt_ref ref;
	size_t n;
	X509 *v[];
};
struct mt_chain *pki_chain_new(X509 *const *v, size_t n); /* takes references of its own */

/* mt_fail() with OpenSSL's oldest queued reason appended; empties the queue. */
int pki_fail_ssl(struct mt_err *err, int code, const char *what);

/* Reads PEM or DER of at most n bytes without ever asking for a pass phrase. */
BIO *pki_bio(const void *p, size_t n);
int pki_no_password(char *buf, int size, int rwflag, void *user);

/* The URI SANs of an extension list: how many, and the first as text when it is a SPIFFE id that
 * fits ("" otherwise). */
unsigned pki_uri_san(const GENERAL_NAMES *names, char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err);

MT_DEFINE_FREEP(BIO *, pki_bio_freep, BIO_free_all)
MT_DEFINE_FREEP(X509 *, pki_x509_freep, X509_free)
MT_DEFINE_FREEP(X509_REQ *, pki_req_freep, X509_REQ_free)
MT_DEFINE_FREEP(EVP_PKEY *, pki_pkey_freep, EVP_PKEY_free)
MT_DEFINE_FREEP(GENERAL_NAMES *, pki_names_freep, GENERAL_NAMES_free)
