/* How the bytes of a fake proxy (fake_envoy.h) travel: gRPC core as the daemons use it, or what a
 * program brings of its own (the load generator's is one of many connections a thread).
 *
 * A wire opens streams of one gRPC method each. What happens on a stream it tells by fake_on_*(), all
 * on one thread for each stream, one at a time, maybe before open has returned. `s` is the stream. */
#pragma once

#include "tests/unit/xds/fake_envoy.h"

struct fake_wire {
	/* A reference, let go with drop. fake_on_close() comes in any case, once, and last. */
	void *(*open)(void *ctx, const char *path, struct fake_envoy *e);
	void (*send)(void *s, const void *p, size_t n); /* one message; not while busy */
	bool (*busy)(void *s);                          /* fake_on_sent() says when that is over */
	void (*cancel)(void *s);
	void (*wake)(void *s); /* fake_on_wake() soon; any thread */
	void (*drop)(void *s); /* any thread */
};

void fake_on_message(struct fake_envoy *e, void *s, const void *p, size_t n);
void fake_on_sent(struct fake_envoy *e, void *s);
void fake_on_wake(struct fake_envoy *e, void *s);
void fake_on_close(
	struct fake_envoy *e, int status, const char *msg); /* status: gRPC's, 1 for ours */

extern const struct fake_wire fake_wire_rpc; /* ctx: a struct mt_rpc_channel */
