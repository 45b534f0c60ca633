/* Citadel's own certificate: what it shows to callers, issued by itself, renewed at half-life and
 * whenever the active root changes. Loop thread. */
#pragma once

#include "citadel/rotate/roots.h"
#include "citadel/sign/signer.h"
#include "common/pki/identity.h"
#include "common/run/loop.h"

struct citadel_self;
/* id: Citadel's SPIFFE id. renewed runs after each renewal, with an error when it failed. */
int citadel_self_start(struct mt_loop *loop, struct citadel_roots *roots,
	const struct citadel_signer *signer, const char *id, int64_t ttl_ns,
	void (*renewed)(void *ctx, const struct mt_identity *i, const struct mt_err *err),
	void *ctx, struct citadel_self **ret, struct mt_err *err);
void citadel_self_stop(struct citadel_self *s); /* NULL allowed */
struct mt_identity_slot *citadel_self_slot(struct citadel_self *s);
/* Renews now (after an activation of another root). */
int citadel_self_renew(struct citadel_self *s, struct mt_err *err);
