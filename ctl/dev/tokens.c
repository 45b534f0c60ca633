/* Join tokens: one secret for every identity of the mesh. Citadel's file has their digests only. */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "common/base/file.h"
#include "ctl/dev/dev.h"

enum { TOKEN_BYTES = 24 };

static void hex(const unsigned char *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = 0;
}

static int token(struct dev *d, const char *name, const char *ns, const char *sa,
	struct mt_buf *table, struct mt_err *err)
{
	unsigned char secret[TOKEN_BYTES], digest[EVP_MAX_MD_SIZE];
	char text[2 * TOKEN_BYTES + 1], sum[2 * EVP_MAX_MD_SIZE + 1];
	unsigned n;
	MT_AUTO(mt_strfreep) char *path = dev_path(d, "secrets/%s.token", name);

	if (RAND_bytes(secret, sizeof(secret)) != 1)
		return mt_fail(err, MT_INTERNAL, NULL, "no random bytes");
	hex(secret, sizeof(secret), text);
	if (EVP_Digest(text, strlen(text), digest, &n, EVP_sha256(), NULL) != 1)
		return mt_fail(err, MT_INTERNAL, NULL, "no SHA-256");
	hex(digest, n, sum);
	mt_buf_printf(table, "sha256:%s spiffe://cluster.local/ns/%s/sa/%s\n", sum, ns, sa);
	return mt_file_replace(path, text, strlen(text), 0600, err);
}

int dev_tokens(struct dev *d, struct mt_err *err)
{
	static const char *const daemons[] = { "galley", "pilot", "mixer" };
	MT_AUTO(mt_strfreep) char *path = dev_path(d, "secrets/tokens");
	MT_AUTO(mt_buf_clear) struct mt_buf table = { 0 };
	int r;

	for (size_t i = 0; i < MT_ARRAY_SIZE(daemons); i++) {
		MT_AUTO(mt_strfreep) char *sa = mt_asprintf("istio-%s-service-account", daemons[i]);
		if ((r = token(d, daemons[i], "istio-system", sa, &table, err)) < 0)
			return r;
	}
	mt_vec_each (&d->workloads, w)
		if ((r = token(d, w->name, w->ns, w->service_account, &table, err)) < 0)
			return r;
	return mt_file_replace(path, table.p, table.n, 0600, err);
}
