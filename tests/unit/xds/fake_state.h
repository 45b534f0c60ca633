/* The inside of a fake proxy: what it holds and what it subscribed to. Under e->mu. */
#pragma once

#include <pthread.h>

#include "common/base/arena.h"
#include "common/base/ref.h"
#include "common/base/vec.h"
#include "tests/unit/xds/fake_envoy.h"
#include "tests/unit/xds/fake_intern.h"

typedef MT_VEC(const char *) fake_names; /* interned, sorted by text, distinct */

struct fake_held {
	const char *name; /* interned */
	const struct fake_resource *r;
};

struct fake_tstate {
	MT_VEC(struct fake_held) held; /* sorted by name */
	fake_names names;              /* subscribed (EDS, RDS) */
	bool subscribed;
	bool answered; /* on this stream */
	char nonce[64];
	char version[64];
	bool withheld; /* the last response has not been answered */
	unsigned responses;
	size_t bytes;
};

struct fake_envoy {
	struct mt_ref ref;
	struct fake_opts o;
	pthread_mutex_t mu;
	pthread_cond_t changed;
	const struct fake_wire *wire;
	void *wire_ctx;
	void *stream; /* the wire's */
	MT_VEC(struct mt_buf) queue;
	bool cancel;
	bool open;
	bool node_sent;
	int ended;
	struct fake_tstate t[FAKE_TYPES];
	fake_names warming; /* endpoints that clusters wait for */
	struct mt_buf log;
	size_t log_read;
};

/* fake_names */
bool fake_names_add(fake_names *v, const char *name); /* false: was there */
bool fake_names_del(fake_names *v, const char *name);
bool fake_names_has(const fake_names *v, const char *name);
/* Appends to more what is in want and not in had, to less what is in had and not in want. */
void fake_names_differ(
	const fake_names *had, const fake_names *want, fake_names *more, fake_names *less);

struct fake_held *fake_held_find(struct fake_tstate *t, const char *name);
void fake_held_put(struct fake_tstate *t, const struct fake_resource *r);
void fake_held_del(struct fake_tstate *t, const char *name);
/* All that the held resources refer to. */
void fake_refers(const struct fake_tstate *t, fake_names *out);

/* One response, parsed; arrays in the arena. */
struct fake_parsed {
	struct fake_response r;
	const struct fake_resource **res;
	struct mt_view nonce;
	struct mt_view version;
};
bool fake_parse(
	struct fake_envoy *e, const void *p, size_t n, struct mt_arena *a, struct fake_parsed *ret);
void fake_log_response(struct fake_envoy *e, const struct fake_parsed *p, bool rejected);

/* Requests, queued; mu held. reject NULL: accepts. */
void fake_ask(struct fake_envoy *e, const struct fake_request *r, bool with_held);
