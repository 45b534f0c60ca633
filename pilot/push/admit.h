/* Who may ask for what: from a discovery node and the peer's certificate to the proxy that is served.
 * Pure. */
#pragma once

#include "common/rpc/rpc.h"
#include "pilot/model/world.h"

/* On plaintext the proxy is what it says. With a certificate its namespace and service account are
 * those of the SPIFFE id (a node that says another is refused: MT_DENIED), and where the registry
 * knows an instance at its address, the labels are the registry's and the account must agree. */
int pilot_admit(const struct pilot_world *w, const struct pilot_proxy *claimed,
	const struct mt_rpc_peer *peer, struct pilot_proxy **ret, struct mt_err *err);
