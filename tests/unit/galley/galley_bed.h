/* Galley's parts in this process, over a folder that tests write to, with a feed as their client. */
#pragma once

#include "common/base/vec.h"
#include "common/feed/feed.h"
#include "galley/distribute/distribute.h"
#include "galley/source/source.h"
#include "galley/store/store.h"

struct bed {
	struct mt_loop *loop;
	struct mt_metrics *metrics;
	struct mt_rpc_env *env;
	struct mt_rpc_server *rpc;
	uint16_t port;
	struct galley_store *store;
	struct galley_distribute *distribute;
	struct galley_source *source;
	char folder[64]; /* temporary; dir is its "conf" */
	char dir[80];
	unsigned commits; /* that changed something */
	size_t changes;   /* objects in them */
	unsigned settled, aways, reports;
	char report[600]; /* the first fault of the last report */

	struct mt_feed *feed;
	struct mt_state *state;
	unsigned batches;
	size_t fed, removed; /* objects that the feed handed out */
	bool connected, synced;
	char last[128]; /* title of the last object handed out */
};

void bed_open(struct bed *b);         /* folder, loop, metrics, rpc env */
void bed_close(struct bed *b);        /* all that is there */
void bed_galley_start(struct bed *b); /* store, distribution, server (same port again), source */
void bed_galley_stop(struct bed *b);
void bed_feed_start(struct bed *b, bool with_state);
void bed_feed_stop(struct bed *b);

void bed_write(struct bed *b, const char *name, const char *text); /* whole, by rename */
void bed_vs(struct bed *b, const char *name, const char *host);    /* NAME.yaml: a VirtualService */
void bed_remove(struct bed *b, const char *name);
/* Runs the loop until cond holds; false after 20 s. */
bool bed_until(struct bed *b, bool (*cond)(struct bed *b, long arg), long arg);
bool bed_fed(struct bed *b, long n);      /* the feed holds n objects */
bool bed_in_force(struct bed *b, long n); /* the store does */
