/* Certificates as a peer or a file may give them: PEM, or DER (then wrapped into PEM, so that the
 * fuzzer reaches the structure without knowing base64). */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/pki/bundle.h"

static void try(const char *pem, size_t n)
{
	struct mt_chain *c = NULL;
	struct mt_bundle *b = NULL;
	struct mt_err err = { 0 };
	struct mt_cert_info info;
	char id[MT_SPIFFE_ID_MAX];
	struct mt_buf out = { 0 };

	if (mt_chain_parse(pem, n, &c, &err) == 0) {
		for (size_t i = 0; i < mt_chain_len(c); i++)
			mt_cert_info(c, i, &info);
		if (mt_svid_check(c, id, &err) == 0 && mt_spiffe_check(id, strlen(id), NULL) != 0)
			abort();
		mt_chain_pem(c, &out);
		if (mt_bundle_parse(out.p, out.n, &b, &err) == 0)
			mt_bundle_verify(
				b, c, 1700000000LL * 1000000000LL, NULL, MT_CERT_USE_ANY, id, &err);
	} else if (!err.msg[0]) {
		abort();
	}
	mt_buf_clear(&out);
	mt_bundle_unref(b);
	mt_chain_unref(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n && n < 8192 && p[0] == 0x30) {
		struct mt_buf pem = { 0 };
		unsigned char *text = mt_alloc(n * 2 + 16);
		EVP_EncodeBlock(text, p, (int)n);
		mt_buf_adds(&pem, "-----BEGIN CERTIFICATE-----\n");
		for (const char *q = (const char *)text; *q; q += strnlen(q, 64)) {
			mt_buf_add(&pem, q, strnlen(q, 64));
			mt_buf_addc(&pem, '\n');
		}
		mt_buf_adds(&pem, "-----END CERTIFICATE-----\n");
		try(pem.p, pem.n);
		mt_buf_clear(&pem);
		mt_free(text);
	} else {
		try((const char *)p, n);
	}
	return 0;
}
