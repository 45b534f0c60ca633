#include "common/ident/store.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"

enum { STORE_MAX = 1 << 20 };

int mt_ident_store_save(const char *path, const struct mt_identity *i, struct mt_err *err)
{
	json_t *j = json_pack(
		"{s:s, s:s, s:s}", "key", i->key_pem, "chain", i->chain_pem, "roots", i->roots_pem);
	char *text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
	int r;

	json_decref(j);
	if (!text)
		return mt_fail(err, MT_INTERNAL, path, "the identity is not text");
	r = mt_file_replace(path, text, strlen(text), 0600, err);
	explicit_bzero(text, strlen(text));
	free(text);
	return r;
}

int mt_ident_store_load(const char *path, struct mt_identity **ret, struct mt_err *err)
{
	const char *key, *chain, *roots;
	struct mt_buf text = { 0 };
	struct stat st;
	json_t *j = NULL;
	int r;

	if (stat(path, &st) == 0 && (st.st_mode & 077))
		return mt_fail(err, MT_INVALID, path, "others may read this private key: not used");
	if ((r = mt_file_read(path, STORE_MAX, &text, err)) < 0)
		goto out;
	j = json_loadb(mt_buf_str(&text), text.n, 0, NULL);
	if (!j ||
		json_unpack(j, "{s:s, s:s, s:s}", "key", &key, "chain", &chain, "roots", &roots) <
			0)
		r = mt_fail(err, MT_INVALID, path, "is damaged");
	else
		r = mt_identity_new(key, chain, roots, ret, err);
out:
	if (text.p)
		explicit_bzero(text.p, text.n);
	mt_buf_clear(&text);
	json_decref(j);
	return r;
}
