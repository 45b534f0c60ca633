/* A discovery server on loopback in this process, its loop on a thread of its own, for tests. What
 * it serves is written in words: "a=1 b=2" are two resources of a type, name and content. */
#pragma once

#include <pthread.h>

#include "common/base/vec.h"
#include "common/run/loop.h"
#include "common/xds/server.h"
#include "tests/unit/xds/fake_envoy.h"

struct bed {
	struct mt_test_clock clock;
	struct mt_loop *loop;
	pthread_t thread;
	struct mt_rpc_env *env;
	struct mt_rpc_server *rpc;
	struct mt_rpc_channel *channel;
	struct mt_xds_server *xds;
	uint16_t port;                   /* 0: any */
	struct mt_set *sets[FAKE_TYPES]; /* to be published */
	uint64_t id;
	const char *refuse; /* attach answers this */

	pthread_mutex_t mu; /* what follows */
	pthread_cond_t changed;
	MT_VEC(struct mt_xds_sub *) subs; /* attached */
	struct mt_snapshot *snapshot;     /* given to each sub that attaches */
	unsigned attached, detached, nacks;
	char nack[256];
	int nack_type;
	uint64_t nack_id;
};

struct bed_opts {
	size_t max_request;
	size_t max_names;
	int64_t removal_grace_ns;
	struct mt_metrics *metrics;
};

struct bed *bed_new(const struct bed_opts *o); /* NULL: defaults */
void bed_free(struct bed *b);
/* The server goes away, and comes back at the same port (with nothing but its snapshot). */
void bed_server_stop(struct bed *b);
void bed_server_start(struct bed *b);

/* Clusters ("d:x" is one without EDS), endpoints, listeners ("l=1>r,s" names routes), routes. What is
 * equal to before is the same resource. */
void bed_set(struct bed *b, int type, const char *words);
void bed_publish(struct bed *b);

struct fake_envoy *bed_envoy(struct bed *b, bool delta); /* connects */
struct fake_envoy *bed_envoy_with(struct bed *b, struct fake_opts o);

/* Waits up to 20 s. */
bool bed_wait_synced(
	struct bed *b, unsigned subs); /* so many are there, and all have acknowledged all types */
bool bed_wait_nacks(struct bed *b, unsigned n);
bool bed_wait_detached(struct bed *b, unsigned n);
bool bed_wait_attached(struct bed *b, unsigned n);
struct mt_xds_sub *bed_sub(struct bed *b, size_t i); /* a reference */
/* Runs f on the loop and waits for it. */
void bed_run(struct bed *b, void (*f)(struct bed *b, void *arg), void *arg);
