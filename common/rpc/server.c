/* Servers: start, addresses, stop. */
#include <grpc/grpc_security.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/rpc/internal.h"

enum {
	MESSAGE_MAX = 4 * 1024 * 1024,
	METADATA_BYTES = 16 * 1024, /* a token fits, a flood does not */
	IDLE_MS = 5 * 60 * 1000,    /* connections without a stream */
	AGE_GRACE_MS = 5 * 1000,
	KEEPALIVE_TIMEOUT_MS = 10 * 1000,
	LOOKAHEAD_BYTES = 4096,
	READ_BYTES = 4096,      /* an idle connection waits with a buffer of this size (memory.c) */
	TLS_FRAME_BYTES = 8192, /* ... and keeps one of this size to encrypt */
	PING_MIN_MS = 5 * 1000, /* a client that pings more often is cut off */
};

void rpc_server_hold(struct mt_rpc_server *s)
{
	pthread_mutex_lock(&s->lock);
	s->outstanding++;
	pthread_mutex_unlock(&s->lock);
}

void rpc_server_release(struct mt_rpc_server *s)
{
	pthread_mutex_lock(&s->lock);
	if (--s->outstanding == 0)
		pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static void set_defaults(struct mt_rpc_server_opts *o)
{
	if (!o->max_streams)
		o->max_streams = 20000;
	if (!o->max_streams_per_connection)
		o->max_streams_per_connection = 100;
	if (!o->handshake_timeout_ns)
		o->handshake_timeout_ns = 10 * MT_NS_PER_SEC;
	if (!o->keepalive_ns)
		o->keepalive_ns = 30 * MT_NS_PER_SEC;
	if (!o->send_timeout_ns)
		o->send_timeout_ns = 30 * MT_NS_PER_SEC;
}

static void copy_methods(struct mt_rpc_server *s, const struct mt_rpc_method *m, size_t n)
{
	s->methods = mt_alloc(n * sizeof(*s->methods));
	s->nmethods = n;
	for (size_t i = 0; i < n; i++)
		s->methods[i] = (struct rpc_method){
			.path = mt_strdup(m[i].path),
			.ops = m[i].ops,
			.max_message = m[i].max_message ? m[i].max_message : MESSAGE_MAX,
			.ctx = m[i].ctx,
		};
}

static grpc_server *make_core(const struct mt_rpc_server *s)
{
	const struct mt_rpc_server_opts *o = &s->opts;
	size_t largest = 1;

	/* Core knows one limit for all methods; the smaller ones are checked after reading. */
	for (size_t i = 0; i < s->nmethods; i++)
		largest = MT_MAX(largest, s->methods[i].max_message);
	grpc_arg args[] = {
		RPC_ARG_INT(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MT_MIN(largest, INT32_MAX)),
		RPC_ARG_INT(GRPC_ARG_MAX_CONCURRENT_STREAMS, o->max_streams_per_connection),
		RPC_ARG_INT(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
			o->handshake_timeout_ns / MT_NS_PER_MS),
		RPC_ARG_INT(GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ns / MT_NS_PER_MS),
		RPC_ARG_INT(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		RPC_ARG_INT(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		RPC_ARG_INT(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_MIN_MS),
		RPC_ARG_INT(GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS),
		RPC_ARG_INT(GRPC_ARG_MAX_CONNECTION_AGE_MS,
			o->max_connection_age_ns ? o->max_connection_age_ns / MT_NS_PER_MS
						 : INT32_MAX),
		RPC_ARG_INT(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, AGE_GRACE_MS),
		RPC_ARG_INT(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES),
		/* Two daemons on one port must be an error, not a lottery. */
		RPC_ARG_INT(GRPC_ARG_ALLOW_REUSEPORT, 0),
		/* Filters that nobody needs cost each call memory and each message time: we compress
		 * nothing, and a client that stops waiting says so. */
		RPC_ARG_INT(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
		RPC_ARG_INT(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
		RPC_ARG_INT(GRPC_ARG_ENABLE_DEADLINE_CHECKS, 0),
		RPC_ARG_INT(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
		RPC_ARG_INT(GRPC_ARG_ENABLE_CHANNELZ, 0),
		RPC_ARG_INT(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		RPC_ARG_INT(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, READ_BYTES),
		RPC_ARG_INT(GRPC_ARG_TSI_MAX_FRAME_SIZE, TLS_FRAME_BYTES),
		/* Core waits for the next bytes with a buffer as large as the largest read so far: after
		 * one large request an idle connection would keep 128 kB. A window beyond the message
		 * under way is of no use to requests, and without it reads stay small. */
		RPC_ARG_INT(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, LOOKAHEAD_BYTES),
	};
	const grpc_channel_args list = { .num_args = MT_ARRAY_SIZE(args), .args = args };
	return grpc_server_create(&list, NULL);
}

static int listen_at(struct mt_rpc_server *s, size_t i, const char *text,
	grpc_server_credentials *creds, struct mt_err *err)
{
	struct rpc_addr a;
	int r = rpc_addr_parse(text, false, &a, err);

	if (r < 0)
		return r;
	if (!s->opts.identity && !a.local)
		return mt_fail(err, MT_INVALID, NULL,
			"%s: without TLS only a loopback address or a Unix socket is allowed",
			text);
	/* The socket is created by bind(2) under the umask: private from its first moment. */
	mode_t old = a.unix_socket ? umask(0177) : 0;
	int port = grpc_server_add_http2_port(s->core, a.core, creds);
	if (a.unix_socket)
		umask(old);
	if (!port)
		return rpc_addr_explain(text, &a, err);
	s->ports[i] = a.unix_socket ? 0 : (uint16_t)port;
	return 0;
}

static int listen_all(
	struct mt_rpc_server *s, const char *const *addrs, size_t n, struct mt_err *err)
{
	grpc_server_credentials *creds;
	int r;

	if (!n)
		return mt_fail(err, MT_INVALID, NULL, "no address to listen on");
	if (!s->opts.identity)
		creds = grpc_insecure_server_credentials_create();
	else if ((r = rpc_server_creds(s, &creds, err)) < 0)
		return r;
	r = 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = listen_at(s, i, addrs[i], creds, err);
	grpc_server_credentials_release(creds);
	return r;
}

static void server_free(struct mt_rpc_server *s)
{
	grpc_server_destroy(s->core);
	for (size_t i = 0; i < s->nmethods; i++)
		mt_free(s->methods[i].path);
	mt_free(s->methods);
	mt_free(s->ports);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	mt_free(s);
}

int mt_rpc_server_start(struct mt_rpc_env *e, const struct mt_rpc_server_opts *o,
	const char *const *addrs, size_t naddrs, const struct mt_rpc_method *methods,
	size_t nmethods, struct mt_rpc_server **ret, struct mt_err *err)
{
	struct mt_rpc_server *s = MT_NEW(struct mt_rpc_server);
	pthread_condattr_t attr;

	s->env = e;
	if (o)
		s->opts = *o;
	set_defaults(&s->opts);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	copy_methods(s, methods, nmethods);
	s->ports = mt_alloc((naddrs + 1) * sizeof(*s->ports));
	s->naddrs = naddrs;
	s->core = make_core(s);
	for (unsigned i = 0; i < e->n; i++)
		grpc_server_register_completion_queue(s->core, e->threads[i].cq, NULL);
	for (size_t i = 0; i < nmethods; i++)
		s->methods[i].registered = grpc_server_register_method(
			s->core, s->methods[i].path, NULL, GRPC_SRM_PAYLOAD_NONE, 0);
	int r = listen_all(s, addrs, naddrs, err);
	if (r < 0) {
		mt_rpc_server_stop(s, 0);
		return r;
	}
	grpc_server_start(s->core);
	rpc_accept_arm_all(s);
	*ret = s;
	return 0;
}

uint16_t mt_rpc_server_port(const struct mt_rpc_server *s, size_t addr_index)
{
	return addr_index < s->naddrs ? s->ports[addr_index] : 0;
}

unsigned mt_rpc_server_streams(const struct mt_rpc_server *s)
{
	return atomic_load(&((struct mt_rpc_server *)s)->streams);
}

/* Waits until nothing is outstanding; false when the time is over first. */
static bool wait_idle(struct mt_rpc_server *s, int64_t for_ns)
{
	int64_t end = mt_mono(&mt_clock_system) + for_ns;
	struct timespec ts = { .tv_sec = end / MT_NS_PER_SEC, .tv_nsec = end % MT_NS_PER_SEC };
	int r = 0;

	pthread_mutex_lock(&s->lock);
	while (s->outstanding && r == 0)
		r = for_ns < 0 ? pthread_cond_wait(&s->idle, &s->lock)
			       : pthread_cond_timedwait(&s->idle, &s->lock, &ts);
	bool idle = !s->outstanding;
	pthread_mutex_unlock(&s->lock);
	return idle;
}

static void run_shutdown(struct rpc_task *task)
{
	struct mt_rpc_server *s = MT_CONTAINER(task, struct mt_rpc_server, shutdown);

	/* Listeners close, connections get GOAWAY, armed accepts come back unused. The event releases. */
	grpc_server_shutdown_and_notify(
		s->core, s->env->threads[0].cq, rpc_tag(s, RPC_TAG_SHUTDOWN));
}

static void run_cancel(struct rpc_task *task)
{
	struct mt_rpc_server *s = MT_CONTAINER(task, struct mt_rpc_server, cancel);

	grpc_server_cancel_all_calls(s->core);
	rpc_server_release(s);
}

void mt_rpc_server_stop(struct mt_rpc_server *s, int64_t drain_ns)
{
	if (!s)
		return;
	/* By tasks of one thread: in this order, and the thread has seen the server. */
	rpc_server_hold(s);
	s->shutdown.run = run_shutdown;
	rpc_post(&s->env->threads[0], &s->shutdown);
	if (drain_ns <= 0 || !wait_idle(s, drain_ns)) {
		rpc_server_hold(s);
		s->cancel.run = run_cancel;
		rpc_post(&s->env->threads[0], &s->cancel);
	}
	wait_idle(s, -1);
	server_free(s);
}
