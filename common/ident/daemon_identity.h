/* A daemon's own identity, from the options that every daemon has (--tls, --ca-addr,
 * --join-token-file, --trust-bundle, --identity, --cert-ttl), kept in STATE/identity.json.
 *
 * How a daemon gets one: a member and a component row before its servers and channels,
 *
 *   struct pilot { struct mt_daemon_identity *identity; struct mt_rpc_env *env; ... };
 *   static int identity_start(struct mt_daemon *d, void *self, struct mt_err *err)
 *   {
 *       struct pilot *p = self;
 *       return mt_daemon_identity_start(d, p->env, "pilot", &p->identity, err);
 *   }
 *   static void identity_stop(...) { mt_daemon_identity_stop(p->identity); }
 *
 * and mt_daemon_identity_slot(p->identity) where rpc.h wants an identity: NULL with --tls off, which is
 * what rpc.h takes for plaintext. Readiness has a condition "identity" that is false until there is a
 * certificate; starting does not wait for it. Loop thread. */
#pragma once

#include "common/pki/identity.h"
#include "common/rpc/rpc.h"
#include "common/run/daemon.h"

struct mt_daemon_identity;

/* daemon: "pilot": the default of --identity follows from it. With --tls off nothing is started.
 * MT_INVALID names the option that is missing. */
int mt_daemon_identity_start(struct mt_daemon *d, struct mt_rpc_env *env, const char *daemon,
	struct mt_daemon_identity **ret, struct mt_err *err);
/* After the servers and channels that use the slot. NULL allowed. */
void mt_daemon_identity_stop(struct mt_daemon_identity *i);
struct mt_identity_slot *mt_daemon_identity_slot(
	struct mt_daemon_identity *i); /* NULL: plaintext */

/* Who a daemon expects at the other side, and whom its server lets in: may peer call a server that is
 * for these daemons ("pilot,mixer,citadel") of this trust domain? Always with --tls off (i without
 * slot). MT_UNAUTHENTICATED without a certificate, MT_DENIED for others. Any thread. */
int mt_daemon_identity_allow(const struct mt_daemon_identity *i, const struct mt_rpc_peer *peer,
	const char *daemons, struct mt_err *err);
/* SPIFFE ids for mt_rpc_channel_opts.server_ids: the one of `daemon`, then NULL. Lives as long as i. */
const char *const *mt_daemon_identity_expect(struct mt_daemon_identity *i, const char *daemon);
