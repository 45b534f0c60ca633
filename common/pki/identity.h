/* A workload's or daemon's X.509 identity, and a slot that always holds the newest one.
 * An identity is immutable and reference counted; a slot is safe from any thread. gRPC servers and
 * channels ask the slot at each handshake, so a renewed certificate needs no restart. */
#pragma once

#include "common/base/err.h"
#include "common/base/ref.h"

struct mt_identity {
	struct mt_ref ref;
	char *spiffe_id;       /* of the leaf; "" when only roots are known yet */
	char *key_pem;         /* NULL when only roots are known yet */
	char *chain_pem;       /* leaf first */
	char *roots_pem;       /* trust bundle */
	int64_t not_before_ns; /* wall clock */
	int64_t not_after_ns;
	char serial[64]; /* hex */
};

/* Parses and checks that key and leaf belong together. PEM strings are copied. key and chain may be
 * NULL (roots only). MT_INVALID says what is wrong. */
int mt_identity_new(const char *key_pem, const char *chain_pem, const char *roots_pem,
	struct mt_identity **ret, struct mt_err *err);
struct mt_identity *mt_identity_ref(struct mt_identity *i);
void mt_identity_unref(struct mt_identity *i);

struct mt_identity_slot *mt_identity_slot_new(void);
void mt_identity_slot_free(struct mt_identity_slot *s);
void mt_identity_slot_set(
	struct mt_identity_slot *s, struct mt_identity *i); /* takes a reference of its own */
struct mt_identity *mt_identity_slot_get(struct mt_identity_slot *s); /* new reference, or NULL */
uint64_t mt_identity_slot_generation(const struct mt_identity_slot *s);
