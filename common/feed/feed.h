/* The configuration feed: how Pilot, Mixer and Citadel get configuration from Galley. A discovery
 * client whose resources are istio.mcp.v1alpha1.Resource; decodes them into objects, keeps the table,
 * saves it as last good state and starts from that when Galley is away. Loop thread. */
#pragma once

#include "common/rpc/rpc.h"
#include "common/run/loop.h"
#include "common/run/state.h"
#include "common/schema/object.h"

struct mt_feed;

struct mt_feed_change {
	struct mt_object *old; /* NULL: added */
	struct mt_object *new; /* NULL: removed */
};

struct mt_feed_opts {
	struct mt_rpc_env *env;
	const char *server;                /* ADDR:PORT */
	struct mt_identity_slot *identity; /* NULL: plaintext */
	const char *const *server_ids;
	const char *node_id; /* "pilot" */
	const enum mt_kind_id *kinds;
	size_t nkinds;
	struct mt_state *state; /* record "config"; saved at most once a second and at stop */
	/* Objects of one batch (all responses that were waiting): valid during the call; take
	 * references to keep. */
	void (*changed)(void *ctx, const struct mt_feed_change *c, size_t n);
	/* synced: each kind has been received once on some connection, or came from disk. */
	void (*state_changed)(void *ctx, bool connected, bool synced, const char *why);
	void *ctx;
};

/* Loads the last good state (changed is called with it before this returns), then connects. */
int mt_feed_start(
	struct mt_loop *l, const struct mt_feed_opts *o, struct mt_feed **ret, struct mt_err *err);
void mt_feed_stop(struct mt_feed *f); /* saves; NULL allowed */
/* Has each kind been received since the start? Before, what is not there may only be missing in the last
 * good state. state_changed is called when it becomes true. */
bool mt_feed_live(const struct mt_feed *f);
/* Borrowed objects of a kind, by "ns/name", unordered. */
void mt_feed_each(struct mt_feed *f, enum mt_kind_id kind,
	void (*fn)(void *ctx, struct mt_object *o), void *ctx);
struct mt_object *mt_feed_find(struct mt_feed *f, enum mt_kind_id kind, const char *key);
size_t mt_feed_count(struct mt_feed *f);

/* mcp.Resource <-> object: Galley packs with the first, the feed unpacks with the second. Pure. */
struct mt_buf;
void mt_feed_pack(const struct mt_object *o, struct mt_buf *out);
int mt_feed_unpack(const struct mt_kind *k, const void *p, size_t n, struct mt_object **ret,
	struct mt_err *err);
