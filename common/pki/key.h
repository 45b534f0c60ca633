/* Private and public keys: ECDSA P-256 (the default), RSA-2048 for peers that need it.
 * A key is immutable and reference counted; threads: any. PEM of a private key is a secret: never
 * logged, freed with mt_secret_free(), which wipes it. */
#pragma once

#include "common/base/err.h"

enum { MT_KEY_PEM_MAX = 16 * 1024 }; /* bytes of PEM that a parser looks at */
enum mt_key_type { MT_KEY_EC_P256, MT_KEY_RSA_2048 };

struct mt_key; /* with or without its private half */

int mt_key_generate(enum mt_key_type type, struct mt_key **ret, struct mt_err *err);
/* One unencrypted private key, PKCS#8 or the traditional forms. MT_INVALID also for kinds that
 * mt_key_check() refuses, MT_LIMIT beyond MT_KEY_PEM_MAX. */
int mt_key_parse(const char *pem, size_t n, struct mt_key **ret, struct mt_err *err);
/* "ec" and "ec-p256", "rsa" and "rsa-2048": the values of an option. MT_INVALID. */
int mt_key_type_parse(const char *text, enum mt_key_type *ret, struct mt_err *err);

struct mt_key *mt_key_ref(const struct mt_key *k);
void mt_key_unref(struct mt_key *k); /* NULL allowed */
MT_DEFINE_FREEP(struct mt_key *, mt_key_unrefp, mt_key_unref)

bool mt_key_is_private(const struct mt_key *k);
/* Do both have the same public half? */
bool mt_key_equal(const struct mt_key *a, const struct mt_key *b);
/* What the mesh signs: ECDSA on P-256 or P-384, RSA of 2048 to 4096 bits. MT_INVALID says why not. */
int mt_key_check(const struct mt_key *k, struct mt_err *err);
/* PKCS#8 PEM of the private key, on the heap; NULL for a public key. Free with mt_secret_free(). */
char *mt_key_pem(const struct mt_key *k);
void mt_secret_free(char *s); /* wipes, then frees; NULL allowed */
MT_DEFINE_FREEP(char *, mt_secret_freep, mt_secret_free)
