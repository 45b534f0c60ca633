/* Discovery client over one aggregated delta stream: subscribes to types as wildcards (or to names),
 * reconnects with backoff, reports what it holds (initial_resource_versions), acknowledges what its
 * owner accepted. All callbacks on the loop, one at a time: the next response is read after update
 * returned. */
#pragma once

#include "common/rpc/rpc.h"
#include "common/run/loop.h"
#include "envoy/config/core/v3/core.pb-c.h"

struct mt_xds_client;

struct mt_xds_client_type {
	const char *type_url;
	const char *const *names; /* NULL: everything */
	size_t nnames;
};

struct mt_xds_item {
	const char *name;
	const char *version;
	const uint8_t *value; /* bytes inside the Any */
	size_t n;
};
struct mt_xds_update {
	int type;                        /* index */
	const struct mt_xds_item *items; /* added or changed */
	size_t n;
	const char *const *removed;
	size_t nremoved;
	bool first; /* the first response of this type on this connection: afterwards the owner is in step */
};

struct mt_xds_client_opts {
	struct mt_rpc_channel *channel;
	const Core__Node *node; /* copied */
	const struct mt_xds_client_type *types;
	size_t ntypes;
	/* 0 acknowledges; an error rejects (err->msg goes to the server), the versions held stay. */
	int (*update)(void *ctx, const struct mt_xds_update *u, struct mt_err *err);
	void (*state)(void *ctx, bool connected, const char *why);
	void *ctx;
};

struct mt_xds_client *mt_xds_client_start(struct mt_loop *l, const struct mt_xds_client_opts *o);
/* What is already held (last good state from disk), before the stream opens: name and version. */
void mt_xds_client_hold(struct mt_xds_client *c, int type, const char *name, const char *version);
void mt_xds_client_stop(struct mt_xds_client *c); /* no callbacks after it */
