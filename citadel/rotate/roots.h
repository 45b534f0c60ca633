/* The certificate authorities that Citadel signs with, in slots.
 *
 *   prepared   key and certificate exist on disk, nobody knows of them
 *   published  the certificate is in the trust bundle; nothing is signed with it yet
 *   active     signs; exactly one slot
 *   retired    signs no more, stays in the bundle until what it signed has ended
 *
 * A self-signed root lies in the state folder (created once, 0600, fsynced); the index roots.json
 * says which slots there are, and is replaced whole. A given CA is one active slot that is read, and
 * never written.
 *
 * Signing threads take a struct citadel_ca: immutable, reference counted, the active slot and the
 * bundle as they were at one moment. Functions that change slots: loop thread. Owner: who opened. */
#pragma once

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/ref.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"

enum { CITADEL_SLOTS_MAX = 8, CITADEL_SLOT_NAME_MAX = 40 };

struct citadel_ca {
	struct mt_ref ref;
	struct mt_key *key;     /* private */
	struct mt_chain *chain; /* CA certificate, its intermediates, maybe its root */
	struct mt_bundle *bundle;
	char *bundle_pem;
	int64_t not_after_ns; /* of the CA certificate */
};
void citadel_ca_unref(struct citadel_ca *ca); /* NULL allowed */
MT_DEFINE_FREEP(struct citadel_ca *, citadel_ca_unrefp, citadel_ca_unref)

struct citadel_roots_opts {
	const char *dir; /* state folder: root keys, roots.json and root-cert.pem (the bundle) */
	const char *trust_domain;
	int64_t root_ttl_ns;
	int64_t max_leaf_ttl_ns; /* how long a retired root stays in the bundle */
	const struct mt_clock *clock;
	/* A given CA; ca_cert "" means self-signed. */
	const char *ca_cert, *ca_key, *cert_chain, *root_cert;
};

struct citadel_roots;
/* Reads what is there; makes the first root when there is nothing. A state folder that names a root
 * whose files are missing or damaged is an error: a new root would cut the mesh in two. */
int citadel_roots_open(
	const struct citadel_roots_opts *o, struct citadel_roots **ret, struct mt_err *err);
void citadel_roots_close(struct citadel_roots *r); /* NULL allowed */
MT_DEFINE_FREEP(struct citadel_roots *, citadel_roots_closep, citadel_roots_close)
struct citadel_ca *citadel_roots_get(struct citadel_roots *r); /* new reference; any thread */

/* The steps of a rotation; each is on disk when it returns. MT_UNSUPPORTED with a given CA,
 * MT_CONFLICT when the slot is not in the state that the step starts from. */
int citadel_roots_prepare(
	struct citadel_roots *r, char ret_name[CITADEL_SLOT_NAME_MAX], struct mt_err *err);
int citadel_roots_publish(struct citadel_roots *r, const char *name, struct mt_err *err);
int citadel_roots_activate(struct citadel_roots *r, const char *name, struct mt_err *err);
/* Drops the retired slots whose leaves have all ended. Returns how many. */
int citadel_roots_expire(struct citadel_roots *r, struct mt_err *err);
json_t *citadel_roots_json(struct citadel_roots *r);
