#include "common/pki/identity.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/bundle.h"

static int fill_leaf(
	struct mt_identity *i, const char *key_pem, const char *chain_pem, struct mt_err *err)
{
	MT_AUTO(mt_key_unrefp) struct mt_key *key = NULL;
	MT_AUTO(mt_chain_unrefp) struct mt_chain *chain = NULL;
	char id[MT_SPIFFE_ID_MAX];
	struct mt_cert_info info;
	int r;

	if (!key_pem || !chain_pem)
		return mt_fail(
			err, MT_INVALID, NULL, "identity: a key or a certificate is missing");
	if ((r = mt_key_parse(key_pem, strlen(key_pem), &key, err)) < 0 ||
		(r = mt_chain_parse(chain_pem, strlen(chain_pem), &chain, err)) < 0 ||
		(r = mt_svid_check(chain, id, err)) < 0)
		return mt_err_prefix(err, "identity"), r;
	if (!mt_chain_has_key(chain, key))
		return mt_fail(err, MT_INVALID, NULL,
			"identity: the key does not belong to the certificate of %s", id);
	mt_cert_info(chain, 0, &info);
	i->spiffe_id = mt_strdup(id);
	i->key_pem = mt_strdup(key_pem);
	i->chain_pem = mt_strdup(chain_pem);
	i->not_before_ns = info.not_before_ns;
	i->not_after_ns = info.not_after_ns;
	snprintf(i->serial, sizeof(i->serial), "%s", info.serial);
	return 0;
}

int mt_identity_new(const char *key_pem, const char *chain_pem, const char *roots_pem,
	struct mt_identity **ret, struct mt_err *err)
{
	MT_AUTO(mt_bundle_unrefp) struct mt_bundle *roots = NULL;
	int r;

	if (!roots_pem)
		return mt_fail(err, MT_INVALID, NULL, "identity: the trust bundle is missing");
	if ((r = mt_bundle_parse(roots_pem, strlen(roots_pem), &roots, err)) < 0)
		return mt_err_prefix(err, "identity"), r;
	struct mt_identity *i = MT_NEW(struct mt_identity);
	mt_ref_init(&i->ref);
	i->roots_pem = mt_strdup(roots_pem);
	if (!key_pem && !chain_pem) {
		i->spiffe_id = mt_strdup("");
	} else if ((r = fill_leaf(i, key_pem, chain_pem, err)) < 0) {
		mt_identity_unref(i);
		return r;
	}
	*ret = i;
	return 0;
}

struct mt_identity *mt_identity_ref(struct mt_identity *i)
{
	mt_ref_get(&i->ref);
	return i;
}

void mt_identity_unref(struct mt_identity *i)
{
	if (!i || !mt_ref_put(&i->ref))
		return;
	mt_free(i->spiffe_id);
	mt_secret_free(i->key_pem);
	mt_free(i->chain_pem);
	mt_free(i->roots_pem);
	mt_free(i);
}

/* The lock covers only the pointer and its reference: handshakes copy a pointer under it. */
struct mt_identity_slot {
	pthread_mutex_t lock;
	struct mt_identity *now;
	_Atomic uint64_t generation;
};

struct mt_identity_slot *mt_identity_slot_new(void)
{
	struct mt_identity_slot *s = MT_NEW(struct mt_identity_slot);

	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void mt_identity_slot_free(struct mt_identity_slot *s)
{
	if (!s)
		return;
	mt_identity_unref(s->now);
	pthread_mutex_destroy(&s->lock);
	mt_free(s);
}

void mt_identity_slot_set(struct mt_identity_slot *s, struct mt_identity *i)
{
	struct mt_identity *old;

	if (i)
		mt_identity_ref(i);
	pthread_mutex_lock(&s->lock);
	old = s->now;
	s->now = i;
	atomic_fetch_add(&s->generation, 1);
	pthread_mutex_unlock(&s->lock);
	mt_identity_unref(old);
}

struct mt_identity *mt_identity_slot_get(struct mt_identity_slot *s)
{
	pthread_mutex_lock(&s->lock);
	struct mt_identity *i = s->now ? mt_identity_ref(s->now) : NULL;
	pthread_mutex_unlock(&s->lock);
	return i;
}

uint64_t mt_identity_slot_generation(const struct mt_identity_slot *s)
{
	return atomic_load(&s->generation);
}
