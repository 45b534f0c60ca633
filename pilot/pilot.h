/* The daemon: what its components share. Everything on the loop thread. */
#pragma once

#include "common/base/map.h"
#include "common/feed/feed.h"
#include "common/ident/daemon_identity.h"
#include "common/rpc/rpc.h"
#include "common/run/daemon.h"
#include "common/xds/server.h"
#include "pilot/changes.h"
#include "pilot/flow.h"
#include "pilot/inforce.h"
#include "pilot/options.h"
#include "pilot/push/push.h"
#include "pilot/registry/registry.h"

enum { PILOT_REGISTRIES_MAX = 8 };

struct pilot_unusable { /* an object whose newest generation a registry could not use */
	uint32_t id;
	struct mt_err err;
};

struct pilot {
	struct mt_daemon *d;
	const struct pilot_options *opts;
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	struct mt_daemon_identity *self;
	struct mt_identity_slot *identity; /* of self; NULL with --tls off */
	struct pilot_ids *ids;
	struct pilot_inforce *inforce;
	struct pilot_registry *registries[PILOT_REGISTRIES_MAX];
	size_t nregistries;
	struct mt_map *unusable; /* title -> struct pilot_unusable */
	struct mt_feed *feed;
	int64_t start_until_ns; /* until then the first world waits for Galley */
	bool live;              /* ... and nothing of it is missing that Galley has */
	bool synced;            /* configuration is complete: from Galley or from disk */
	struct push *push;
	struct mt_xds_server *xds;
	struct pilot_agents *agents; /* NULL before discovery has started */
	struct mt_rpc_server *plain, *secure;

	/* what changed since the world was built */
	struct pilot_dirty dirty;
	struct pilot_endpoints_changes eps;
	struct mt_timer *debounce;
	struct mt_timer *secrets; /* secrets.c */
	struct pilot_changes *changes;
	struct page_gate *gate; /* of the debug pages */
};

/* config.c: the feed, registries and when a change becomes a world */
int pilot_config_start(struct mt_daemon *d, void *self, struct mt_err *err);
void pilot_config_stop(struct mt_daemon *d, void *self);
const enum mt_kind_id *pilot_config_kinds(size_t *ret_n); /* those that Pilot reads */
size_t pilot_config_count(struct pilot *p, enum mt_kind_id kind);
/* As if the feed had brought it: for objects that stand for something found otherwise. */
void pilot_config_object(struct pilot *p, const struct mt_feed_change *c);
/* The workload "ns/name" is healthy, or not. */
void pilot_config_health(struct pilot *p, const char *key, bool healthy);
/* What is in force is decided again, though no object changed. */
void pilot_config_decide_again(struct pilot *p);
/* secrets.c: gateways and destination rules wait for credentials */
void pilot_secrets_start(struct pilot *p);
void pilot_secrets_stop(struct pilot *p); /* also when it was not started */
/* serve.c: discovery for proxies */
int pilot_serve_start(struct mt_daemon *d, void *self, struct mt_err *err);
void pilot_serve_stop(struct mt_daemon *d, void *self);
/* status.c: /debug/status */
int pilot_status_start(struct mt_daemon *d, void *self, struct mt_err *err);
/* notes.c: /debug/notes */
void pilot_notes_start(struct mt_daemon *d, struct pilot *p);
/* Everything is computed again, as if all of it had changed. */
void pilot_config_recompute(struct pilot *p, const char *reason);
/* page/pages.c: /debug */
int pilot_pages_start(struct mt_daemon *d, void *self, struct mt_err *err);
void pilot_pages_stop(struct mt_daemon *d, void *self);
