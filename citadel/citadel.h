/* The daemon's own struct: what its components share. Loop thread, but for what says otherwise in its
 * own header. */
#pragma once

#include "citadel/options.h"
#include "citadel/serve/issuing.h"
#include "citadel/serve/self_identity.h"

struct citadel {
	const struct citadel_options *o;
	char id[MT_SPIFFE_ID_MAX]; /* Citadel's own */
	struct citadel_issuing issuing;
	struct citadel_self *self;
	struct mt_timer *upkeep; /* fsyncs the ledger, ends retired roots */
	struct mt_rpc_env *env;
	struct mt_rpc_server *server;
};

/* /debug/issued, /debug/roots, /debug/tokens. */
void citadel_pages(struct mt_daemon *d, struct citadel *c);
