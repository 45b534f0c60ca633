#include "citadel/serve/self_identity.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

/* After a failure (it can only be the CA's end): try again this much later. */
#define RETRY_NS (10 * MT_NS_PER_SEC)

struct citadel_self {
	struct mt_loop *loop;
	struct citadel_roots *roots;
	const struct citadel_signer *signer;
	char *id;
	int64_t ttl_ns;
	void (*renewed)(void *ctx, const struct mt_identity *i, const struct mt_err *err);
	void *ctx;
	struct mt_identity_slot *slot;
	struct mt_timer *timer;
};

static int issue(struct citadel_self *s, struct mt_identity **ret, struct mt_err *err)
{
	MT_AUTO(citadel_ca_unrefp) struct citadel_ca *ca = citadel_roots_get(s->roots);
	MT_AUTO(mt_key_unrefp) struct mt_key *key = NULL;
	MT_AUTO(mt_chain_unrefp) struct mt_chain *chain = NULL;
	MT_AUTO(mt_secret_freep) char *key_pem = NULL;
	struct mt_buf pem = { 0 };
	int r;

	if ((r = mt_key_generate(MT_KEY_EC_P256, &key, err)) < 0 ||
		(r = citadel_sign(s->signer, ca, key, s->id, s->ttl_ns, &chain, err)) < 0)
		return r;
	key_pem = mt_key_pem(key);
	mt_chain_pem(chain, &pem);
	r = mt_identity_new(key_pem, mt_buf_str(&pem), ca->bundle_pem, ret, err);
	mt_buf_clear(&pem);
	return r;
}

int citadel_self_renew(struct citadel_self *s, struct mt_err *err)
{
	int64_t now = mt_wall(mt_loop_clock(s->loop)), left;
	struct mt_identity *i = NULL;
	int r = issue(s, &i, err);

	if (r < 0) {
		mt_timer_start(s->timer, RETRY_NS, 0);
		return r;
	}
	mt_identity_slot_set(s->slot, i);
	s->renewed(s->ctx, i, NULL);
	left = i->not_after_ns - now;
	mt_timer_start(s->timer, MT_MAX(left / 2, MT_NS_PER_SEC), 0);
	mt_identity_unref(i);
	return 0;
}

static void on_timer(void *arg)
{
	struct citadel_self *s = arg;
	struct mt_err err = { 0 };

	if (citadel_self_renew(s, &err) < 0)
		s->renewed(s->ctx, NULL, &err);
}

int citadel_self_start(struct mt_loop *loop, struct citadel_roots *roots,
	const struct citadel_signer *signer, const char *id, int64_t ttl_ns,
	void (*renewed)(void *ctx, const struct mt_identity *i, const struct mt_err *err),
	void *ctx, struct citadel_self **ret, struct mt_err *err)
{
	struct citadel_self *s = MT_NEW(struct citadel_self);
	int r;

	s->loop = loop;
	s->roots = roots;
	s->signer = signer;
	s->id = mt_strdup(id);
	s->ttl_ns = ttl_ns;
	s->renewed = renewed;
	s->ctx = ctx;
	s->slot = mt_identity_slot_new();
	s->timer = mt_timer_new(loop, on_timer, s);
	if ((r = citadel_self_renew(s, err)) < 0) {
		citadel_self_stop(s);
		return r;
	}
	*ret = s;
	return 0;
}

void citadel_self_stop(struct citadel_self *s)
{
	if (!s)
		return;
	mt_timer_free(s->timer);
	mt_identity_slot_free(s->slot);
	mt_free(s->id);
	mt_free(s);
}

struct mt_identity_slot *citadel_self_slot(struct citadel_self *s)
{
	return s->slot;
}
