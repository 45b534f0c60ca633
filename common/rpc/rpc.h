/* gRPC core wrapped once: servers, channels and streams, unary and streaming, both roles.
 *
 * Threads: an env owns completion-queue threads (one a core by default). Each stream belongs to one
 * of them: all its ops run there, one at a time, and mt_rpc_stream_* (but wake) are called from its
 * ops only. mt_rpc_stream_wake() may be called from any thread while the caller knows that the stream
 * is alive (it holds a reference: mt_rpc_stream_ref()); it makes ops->wake run soon, once for many
 * wakes. Server and channel functions: the thread that made them (the loop). */
#pragma once

#include "common/base/err.h"
#include "common/pki/spiffe.h"
#include "common/rpc/slice.h"

struct mt_rpc_env;
struct mt_rpc_server;
struct mt_rpc_channel;
struct mt_rpc_stream;
struct mt_identity_slot; /* common/pki/identity.h: key, chain and roots that may change */

struct mt_rpc_env *mt_rpc_env_new(unsigned threads); /* 0: one a core */
void mt_rpc_env_free(struct mt_rpc_env *e);          /* after its servers and channels */

/* ---- streams ---- */

struct mt_rpc_peer {
	char addr[128];                   /* "ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "unix:" */
	char spiffe_id[MT_SPIFFE_ID_MAX]; /* "" when it showed no certificate */
	bool tls;
	bool local_socket; /* Unix socket */
};

struct mt_rpc_ops {
	/* Server: a call arrived. Non-zero refuses it with err's code and message; then no other op
	 * runs. ctx is the method's. */
	int (*open)(struct mt_rpc_stream *s, void *ctx, struct mt_err *err);
	/* One whole message, contiguous, valid during the call. */
	void (*message)(struct mt_rpc_stream *s, const void *p, size_t n);
	void (*half_close)(struct mt_rpc_stream *s); /* the peer will send no more; NULL: ignored */
	void (*sent)(struct mt_rpc_stream *s); /* flow control took the whole message: send again */
	void (*wake)(struct mt_rpc_stream *s);
	/* Last op: no callbacks after it; drop your references. status: gRPC code. */
	void (*close)(struct mt_rpc_stream *s, int status, const char *msg);
};

void mt_rpc_stream_set_user(struct mt_rpc_stream *s, void *user);
void *mt_rpc_stream_user(const struct mt_rpc_stream *s);
const struct mt_rpc_peer *mt_rpc_stream_peer(const struct mt_rpc_stream *s);
/* Request metadata by lower-case name ("authorization"), NULL when absent; binary ("-bin") metadata is
 * left out. Server side; lives as long as the stream. */
const char *mt_rpc_stream_metadata(const struct mt_rpc_stream *s, const char *name);
/* Sends one message made of n slices (a reference of each is taken over). One in flight: calling
 * again before ops->sent is a bug (MT_CONFLICT, slices are released). */
int mt_rpc_stream_send(struct mt_rpc_stream *s, mt_slice *slices, size_t n);
bool mt_rpc_stream_sending(const struct mt_rpc_stream *s);
/* Server: ends with a status after what is in flight; from here on only close runs. Client:
 * half-closes (status ignored) and goes on reading. */
void mt_rpc_stream_finish(struct mt_rpc_stream *s, int code, const char *msg);
/* Unary answer: message and OK status in one batch. */
void mt_rpc_stream_reply(struct mt_rpc_stream *s, mt_slice *slices, size_t n);
void mt_rpc_stream_cancel(struct mt_rpc_stream *s);
/* Stops and goes on reading (back-pressure). A client that is paused also hears of a regular end only
 * when it has read what came before. */
void mt_rpc_stream_pause(struct mt_rpc_stream *s, bool pause);

struct mt_rpc_stream *mt_rpc_stream_ref(struct mt_rpc_stream *s); /* any thread */
void mt_rpc_stream_unref(struct mt_rpc_stream *s);                /* any thread */
void mt_rpc_stream_wake(struct mt_rpc_stream *s);                 /* any thread, with a reference */
unsigned mt_rpc_stream_thread(
	const struct mt_rpc_stream *s); /* index of its thread, for sharding */

/* ---- server ---- */

struct mt_rpc_method {
	const char *
		path; /* "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources" */
	const struct mt_rpc_ops *ops;
	size_t max_message; /* bytes, default 4 MiB: beyond RESOURCE_EXHAUSTED */
	void *ctx;
};

struct mt_rpc_server_opts {
	struct mt_identity_slot
		*identity; /* NULL: plaintext (loopback or Unix socket only, else MT_INVALID) */
	bool client_cert_optional; /* with TLS: callers without a certificate are let in (Citadel) */
	unsigned max_streams;      /* over all connections, default 20,000: RESOURCE_EXHAUSTED */
	unsigned max_streams_per_connection; /* default 100 */
	int64_t handshake_timeout_ns;        /* default 10 s */
	int64_t keepalive_ns;                /* default 30 s */
	int64_t max_connection_age_ns;       /* 0: none */
	int64_t send_timeout_ns; /* a message not taken in this time cancels the stream; default 30 s */
};

/* A client's deadline (grpc-timeout) is the client's: when it passes, the client cancels the call, and
 * close() says CANCELLED. Of a client that is gone without a word, keepalive_ns tells.
 *
 * addrs: "127.0.0.1:9901" (port 0: any) or "unix:/path" (0600). Several allowed. Methods not listed
 * answer UNIMPLEMENTED. */
int mt_rpc_server_start(struct mt_rpc_env *e, const struct mt_rpc_server_opts *o,
	const char *const *addrs, size_t naddrs, const struct mt_rpc_method *methods,
	size_t nmethods, struct mt_rpc_server **ret, struct mt_err *err);
uint16_t mt_rpc_server_port(const struct mt_rpc_server *s, size_t addr_index);
unsigned mt_rpc_server_streams(const struct mt_rpc_server *s);
/* No new calls; open ones may go on for drain_ns, then are cancelled. Blocks, frees s. */
void mt_rpc_server_stop(struct mt_rpc_server *s, int64_t drain_ns);

/* ---- client ---- */

struct mt_rpc_channel_opts {
	struct mt_identity_slot *identity; /* NULL: plaintext */
	const char *const *
		server_ids; /* SPIFFE ids allowed for the server, ends with NULL; required with TLS */
	bool no_client_cert;  /* TLS without showing a certificate (first call to Citadel) */
	int64_t keepalive_ns; /* default 30 s */
	size_t max_message;   /* default 64 MiB */
};

/* target: "127.0.0.1:9901", "[::1]:9901", "host.name:9901" or "unix:/path". Plaintext only to loopback
 * addresses and Unix sockets (else MT_INVALID). With TLS the server must hold one of server_ids; each
 * new connection shows the slot's newest certificate, and a renewed one makes a new connection for the
 * calls that follow, while those that run stay on theirs. */
int mt_rpc_channel_new(struct mt_rpc_env *e, const char *target,
	const struct mt_rpc_channel_opts *o, struct mt_rpc_channel **ret, struct mt_err *err);
/* Calls that are still open are cancelled; their close (or done) may run after this returned, but
 * before mt_rpc_env_free() does. */
void mt_rpc_channel_free(struct mt_rpc_channel *c);
struct mt_kv_meta {
	const char *name;
	const char *value;
};
/* Opens a call; ops as on the server (open is not called). deadline_ns relative, 0: none. user is
 * mt_rpc_stream_user(). Returns a reference that the caller drops with unref; ops may run before this
 * returns. Makes one attempt to connect when there is no connection: close says UNAVAILABLE when it
 * fails (try again after mt_rpc_backoff_ns()). Any thread; to send at once, wake the stream. */
struct mt_rpc_stream *mt_rpc_call(struct mt_rpc_channel *c, const char *path,
	const struct mt_rpc_ops *ops, void *user, int64_t deadline_ns,
	const struct mt_kv_meta *metadata, size_t nmeta);
/* Unary call; done runs on a completion-queue thread (post to your loop from it), always and once. Any
 * thread. */
void mt_rpc_unary(struct mt_rpc_channel *c, const char *path, const void *req, size_t n,
	int64_t deadline_ns, const struct mt_kv_meta *metadata, size_t nmeta,
	void (*done)(void *ctx, int status, const char *msg, const void *p, size_t n), void *ctx);

/* Delay before try number n (from 0): base 250 ms doubling to max 15 s, with jitter of 50 %. */
int64_t mt_rpc_backoff_ns(unsigned n);
