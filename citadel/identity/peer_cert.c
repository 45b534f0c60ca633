/* An earlier certificate: the TLS handshake has verified it against our own roots, so its holder may
 * have the same identity again, and nothing else. This is how every certificate is renewed. */
#include "citadel/identity/authenticator.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strs.h"

static int authenticate(const struct citadel_authority *a, const struct citadel_credentials *c,
	struct citadel_caller *ret, struct mt_err *err)
{
	const char *id = c->peer->spiffe_id;

	if (!c->peer->tls || mt_str_empty(id))
		return MT_NOT_FOUND;
	/* The bundle may hold roots of other trust domains one day: ours renews only its own. */
	if (!mt_spiffe_in_td(id, a->trust_domain))
		return mt_fail(err, MT_UNAUTHENTICATED, NULL, "%s is not of trust domain %s", id,
			a->trust_domain);
	snprintf(ret->allowed[0], sizeof(ret->allowed[0]), "%s", id);
	ret->nallowed = 1;
	return 0;
}

const struct citadel_authenticator citadel_authenticator_peer_cert = {
	.name = "certificate",
	.authenticate = authenticate,
};
