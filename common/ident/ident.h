/* A certificate of one's own: gets it from Citadel, keeps it on disk, renews it, publishes it.
 *
 * Every workload's agent and every daemon does this the same way. The private key is made here, never
 * leaves this process but for the file that keeps it (0600), and is a new one at each renewal.
 *
 *   - first contact: a join token, over TLS whose server is verified with the trust bundle given by
 *     file; no certificate is shown;
 *   - renewal, at half of the lifetime with jitter: with the certificate held; when that is refused,
 *     the next try uses the token again;
 *   - after a failure: again after a delay that doubles up to 15 s. The certificate held stays
 *     published until a newer one comes, even past its end: peers judge it, not we.
 *
 * Loop thread. The slot may be read by any thread (TLS handshakes do). */
#pragma once

#include "common/pki/identity.h"
#include "common/rpc/rpc.h"
#include "common/run/loop.h"

struct mt_ident;

struct mt_ident_event {
	const struct mt_identity *identity; /* newly published; NULL: a try failed */
	bool loaded;                        /* it came from disk */
	const struct mt_err *err;           /* why the try failed */
	unsigned failures;                  /* in a row */
	int64_t next_ns;                    /* until the next try or renewal */
};

/* Strings are copied. */
struct mt_ident_opts {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	const char *ca_addr;         /* ADDR:PORT */
	const char *trust_domain;    /* Citadel's own id follows from it */
	const char *identity;        /* SPIFFE id to ask for; "": what the token is for */
	const char *join_token_file; /* read at each use; "": only renewals */
	const char *trust_bundle;    /* PEM file, read at each first contact; "": none */
	int64_t cert_ttl_ns;         /* to ask for; 0: what Citadel gives */
	const char *path;            /* file that keeps key, chain and roots; NULL: memory only */
	void (*event)(void *ctx, const struct mt_ident_event *ev); /* loop; NULL allowed */
	void *ctx;
};

/* Publishes what is on disk when it has not ended yet (event runs before this returns), and starts
 * trying. It does not wait: the slot is empty, or holds roots only, until the first success.
 * MT_INVALID: an option is missing or wrong. */
int mt_ident_start(const struct mt_ident_opts *o, struct mt_ident **ret, struct mt_err *err);
/* No event after it, and the slot is gone. A call under way is cancelled; its memory goes with the
 * loop's posts. Before mt_rpc_env_free(). NULL allowed. */
void mt_ident_stop(struct mt_ident *i);
struct mt_identity_slot *mt_ident_slot(struct mt_ident *i);
/* Renews now (the trust bundle or the token changed). */
void mt_ident_renew(struct mt_ident *i);

/* SPIFFE id of one of the mesh's own daemons ("pilot"), as Istio names them:
 * spiffe://TD/ns/istio-system/sa/istio-pilot-service-account. MT_INVALID. */
int mt_ident_daemon_id(
	const char *trust_domain, const char *daemon, char *buf, size_t n, struct mt_err *err);
