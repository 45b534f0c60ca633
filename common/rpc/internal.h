/* What the files of common/rpc share. Everything here belongs to a completion-queue thread unless its
 * comment says otherwise. */
#pragma once

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/ref.h"
#include "common/base/strs.h"
#include "common/pki/identity.h"
#include "common/rpc/rpc.h"

/* ---- env.c: threads, tasks, tags ---- */

/* A completion's tag is a pointer with its kind in the low bits (heap blocks are aligned to 16). */
enum rpc_tag {
	RPC_TAG_KICK,     /* struct rpc_thread: tasks are waiting */
	RPC_TAG_ACCEPT,   /* struct rpc_accept */
	RPC_TAG_SHUTDOWN, /* struct mt_rpc_server */
	RPC_TAG_INIT,     /* struct mt_rpc_stream, from here on: client, initial metadata sent */
	RPC_TAG_HEADERS,  /* client, initial metadata received */
	RPC_TAG_MESSAGE,
	RPC_TAG_SEND,
	RPC_TAG_STATUS, /* our status or half-close was sent */
	RPC_TAG_CLOSE,  /* the call is over */
	RPC_TAG_UNARY,  /* client, all of a unary call */
};
static inline void *rpc_tag(void *p, enum rpc_tag kind)
{
	return (void *)((uintptr_t)p | (uintptr_t)kind);
}

/* Work posted to a thread from any thread; lives in what it works on. */
struct rpc_task {
	struct rpc_task *next;
	void (*run)(struct rpc_task *t);
};

struct rpc_stream_list {
	struct mt_rpc_stream *first, *last;
};

struct rpc_peer_cache;

struct rpc_thread {
	_Alignas(16) struct mt_rpc_env *env; /* tags need it, and threads lie in an array */
	unsigned index;
	pthread_t tid;
	grpc_completion_queue *cq;
	grpc_call *kick; /* never started: an empty batch on it wakes the thread. Any thread */
	_Atomic(struct rpc_task *) tasks; /* newest first. Any thread */
	struct rpc_stream_list streams;   /* all of this thread */
	struct mt_rpc_stream *sending;    /* with a send deadline, soonest first */
	struct rpc_peer_cache *peers;
};

struct mt_rpc_env {
	unsigned n;
	grpc_channel *lame;
	atomic_uint next; /* round robin of client calls */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	size_t streams; /* under lock */
	struct rpc_thread threads[];
};

void rpc_post(struct rpc_thread *t, struct rpc_task *task); /* any thread */
void rpc_env_stream_opened(struct mt_rpc_env *e);           /* any thread */
void rpc_env_stream_closed(struct mt_rpc_env *e);           /* any thread */
void rpc_memory_init(void);                                 /* memory.c: before grpc_init(), once */
void rpc_log_init(void); /* log.c: gRPC's own lines go to our log */

/* ---- stream.c, stream_event.c ---- */

enum { RPC_POSTED_START = 1, RPC_POSTED_WAKE = 2 };

struct mt_rpc_stream {
	struct mt_ref ref;
	struct rpc_task task;
	atomic_uint posted; /* RPC_POSTED_*: the task is queued while not 0 */
	atomic_bool dead;   /* no op will run any more */
	struct rpc_thread *thread;
	grpc_call *call;
	const struct mt_rpc_ops *ops;
	void *user;
	struct mt_rpc_server *server;      /* server side, else NULL */
	struct mt_rpc_channel *channel;    /* client side, else NULL; a reference */
	struct rpc_conn *conn;             /* client side; a reference; NULL: no certificate */
	struct rpc_request *request;       /* client side, until started */
	struct mt_rpc_stream *next, *prev; /* of the thread */
	struct mt_rpc_stream *send_next, *send_prev; /* of the thread's send deadlines */
	int64_t send_deadline_ns;
	int64_t send_timeout_ns;
	size_t max_message;
	unsigned pending; /* batches whose completion is to come */
	bool live;        /* open succeeded and close has not run */
	bool paused, receiving, read_over;
	bool sending, timed;
	bool headers_sent;
	bool finish_wanted, finished;
	bool cancelled; /* by us */
	bool over;      /* RPC_TAG_CLOSE came */
	int end_code;   /* what close will say, with end_msg (heap or NULL) */
	char *end_msg;
	char *metadata; /* "name\0value\0...\0": request metadata, server side */
	/* targets of batches in flight */
	grpc_byte_buffer *in;
	int was_cancelled;
	grpc_status_code status;
	grpc_slice details;
	grpc_metadata_array headers, trailers;
	void (*unary_done)(void *ctx, int status, const char *msg, const void *p, size_t n);
	struct mt_rpc_peer peer;
};

struct mt_rpc_stream *rpc_stream_new(struct rpc_thread *t, const struct mt_rpc_ops *ops);
void rpc_stream_link(struct mt_rpc_stream *s); /* from here on its thread knows it */
bool rpc_stream_batch(struct mt_rpc_stream *s, const grpc_op *ops, size_t n, enum rpc_tag kind);
void rpc_stream_read(struct mt_rpc_stream *s);
void rpc_stream_do_finish(struct mt_rpc_stream *s);
/* Remembers what close will say, unless that is known already; msg is copied. */
void rpc_stream_end(struct mt_rpc_stream *s, int code, const char *msg);
void rpc_stream_abort(struct mt_rpc_stream *s, int code, const char *msg); /* end and cancel */
void rpc_stream_timer_start(struct mt_rpc_stream *s);
void rpc_stream_timer_stop(struct mt_rpc_stream *s);
void rpc_stream_event(struct mt_rpc_stream *s, enum rpc_tag kind, bool ok);
void rpc_stream_settle(struct mt_rpc_stream *s); /* closes it when nothing is pending; last call */
void rpc_stream_run(struct rpc_task *task);
void rpc_stream_post_start(struct mt_rpc_stream *s); /* any thread, once */
void rpc_streams_expire(struct rpc_thread *t, int64_t now_ns);
/* One contiguous slice of a byte buffer; the caller unrefs it. */
bool rpc_contiguous(grpc_byte_buffer *b, grpc_slice *ret);
grpc_byte_buffer *rpc_byte_buffer(mt_slice *slices, size_t n); /* takes the slices over */

/* ---- server.c, accept.c ---- */

struct rpc_method {
	char *path;
	const struct mt_rpc_ops *ops;
	size_t max_message;
	void *ctx;
	void *registered;
};

struct mt_rpc_server {
	struct mt_rpc_env *env;
	struct mt_rpc_server_opts opts;
	grpc_server *core;
	struct rpc_method *methods;
	size_t nmethods;
	uint16_t *ports;
	size_t naddrs;
	atomic_uint streams;
	uint64_t creds_generation; /* under the lock of gRPC's credentials */
	bool creds_made;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	size_t outstanding; /* armed accepts, streams, shutdown; under lock */
	struct rpc_task shutdown, cancel;
};
void rpc_server_hold(struct mt_rpc_server *s);    /* any thread */
void rpc_server_release(struct mt_rpc_server *s); /* any thread; the server may be gone after it */

struct rpc_accept;
void rpc_accept_arm_all(struct mt_rpc_server *s); /* posts to every thread */
void rpc_accept_event(struct rpc_accept *a, bool ok);

/* ---- credentials and peers ---- */

/* server_creds.c */
int rpc_server_creds(struct mt_rpc_server *s, grpc_server_credentials **ret, struct mt_err *err);
/* channel_creds.c; id has a certificate unless no_client_cert. */
struct rpc_ids {
	struct mt_ref ref;
	size_t n;
	char *v[];
};
struct rpc_ids *rpc_ids_new(const char *const *ids);
void rpc_ids_unref(struct rpc_ids *ids);
grpc_channel_credentials *rpc_channel_creds(
	const struct mt_identity *id, struct rpc_ids *allowed, bool no_client_cert);

/* peer.c: who calls, from the certificate that gRPC has verified against the roots. */
int rpc_peer_fill(
	struct rpc_thread *t, grpc_call *call, struct mt_rpc_peer *ret, struct mt_err *err);
void rpc_peer_cache_free(struct rpc_peer_cache *c);

/* ---- addr.c ---- */

struct rpc_addr {
	char core[300]; /* as gRPC core reads it */
	bool local;     /* loopback or Unix socket */
	bool unix_socket;
	char path[108]; /* of the Unix socket */
};
/* text as in rpc.h. names: host names are allowed (clients). MT_INVALID. */
int rpc_addr_parse(const char *text, bool names, struct rpc_addr *ret, struct mt_err *err);
/* Says why an address could not be bound, by trying it once more. */
int rpc_addr_explain(const char *text, const struct rpc_addr *a, struct mt_err *err);

/* ---- channel.c, call.c ---- */

struct rpc_conn {
	struct mt_ref ref;
	grpc_channel *core;
	uint64_t generation; /* of the identity that it shows */
	int64_t made_ns;
};
struct mt_rpc_channel {
	struct mt_ref ref;
	struct mt_rpc_env *env;
	struct rpc_addr target;
	struct mt_identity_slot *identity;
	struct rpc_ids *ids;
	bool no_client_cert;
	int64_t keepalive_ns;
	size_t max_message;
	pthread_mutex_t lock;
	struct rpc_conn *conn; /* under lock */
};
/* The request of a client call until its thread has started it. */
struct rpc_request {
	char *path;
	gpr_timespec deadline;
	size_t nmeta;
	grpc_metadata *meta;
	mt_slice body; /* of a unary call */
	bool bad;      /* metadata that HTTP/2 cannot carry */
};
void rpc_request_free(struct rpc_request *q);
void rpc_conn_unref(struct rpc_conn *c);
void rpc_channel_unref(struct mt_rpc_channel *c);
struct mt_rpc_stream *rpc_call_new(struct mt_rpc_channel *c, const char *path,
	const struct mt_rpc_ops *ops, void *user, int64_t deadline_ns,
	const struct mt_kv_meta *metadata, size_t nmeta);
void rpc_call_start(struct mt_rpc_stream *s); /* on its thread */

#define RPC_ARG_INT(name, val)                                                                     \
	((grpc_arg){ .type = GRPC_ARG_INTEGER, .key = (char *)(name), .value.integer = (int)(val) })
