/* Channels: a target, and the connection of the moment.
 *
 * A connection shows the certificate that it was made with, so a channel makes a new one when the
 * identity slot has moved on, and calls that run stay on the old one until they end. It also makes a
 * new one when the last attempt failed: core's own reconnection backoff would add itself to that of
 * the caller (mt_rpc_backoff_ns), and a call would fail without an attempt. Each call is thus at most
 * one attempt to connect, and attempts of one channel are at least RETRY_MIN_NS apart. */
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <string.h>

#include "common/rpc/internal.h"

enum { CONNECT_MS = 5000, BACKOFF_MAX_MS = 15000, KEEPALIVE_TIMEOUT_MS = 10000 };
enum { METADATA_BYTES = 16 * 1024, WINDOW_BYTES = 1024 * 1024 };
#define RETRY_MIN_NS (100 * MT_NS_PER_MS)
#define MESSAGE_MAX ((size_t)64 * 1024 * 1024)

int mt_rpc_channel_new(struct mt_rpc_env *e, const char *target,
	const struct mt_rpc_channel_opts *o, struct mt_rpc_channel **ret, struct mt_err *err)
{
	static const struct mt_rpc_channel_opts none;
	struct rpc_addr a;
	int r;

	if (!o)
		o = &none;
	if ((r = rpc_addr_parse(target, true, &a, err)) < 0)
		return r;
	if (!o->identity && !a.local)
		return mt_fail(err, MT_INVALID, NULL,
			"%s: without TLS only a loopback address or a Unix socket is allowed",
			target);
	if (o->identity && (!o->server_ids || !o->server_ids[0]))
		return mt_fail(
			err, MT_INVALID, NULL, "%s: TLS needs the identity of the server", target);
	struct mt_rpc_channel *c = MT_NEW(struct mt_rpc_channel);
	mt_ref_init(&c->ref);
	c->env = e;
	c->target = a;
	c->identity = o->identity;
	c->ids = rpc_ids_new(o->server_ids);
	c->no_client_cert = o->no_client_cert;
	c->keepalive_ns = o->keepalive_ns ? o->keepalive_ns : 30 * MT_NS_PER_SEC;
	c->max_message = o->max_message ? o->max_message : MESSAGE_MAX;
	pthread_mutex_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

void rpc_conn_unref(struct rpc_conn *c)
{
	if (!c || !mt_ref_put(&c->ref))
		return;
	grpc_channel_destroy(c->core);
	mt_free(c);
}

void rpc_channel_unref(struct mt_rpc_channel *c)
{
	if (!c || !mt_ref_put(&c->ref))
		return;
	rpc_conn_unref(c->conn);
	rpc_ids_unref(c->ids);
	pthread_mutex_destroy(&c->lock);
	mt_free(c);
}

static grpc_channel *make_core(const struct mt_rpc_channel *c, grpc_channel_credentials *creds)
{
	grpc_arg args[] = {
		RPC_ARG_INT(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			MT_MIN(c->max_message, (size_t)INT32_MAX)),
		RPC_ARG_INT(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES),
		RPC_ARG_INT(GRPC_ARG_KEEPALIVE_TIME_MS, c->keepalive_ns / MT_NS_PER_MS),
		RPC_ARG_INT(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		RPC_ARG_INT(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		/* Also the time that one attempt to connect may take. */
		RPC_ARG_INT(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_MS),
		RPC_ARG_INT(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_MAX_MS),
		/* Connections of our own: core would share one between channels to one target. */
		RPC_ARG_INT(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		/* The environment's http_proxy is not for a control plane. */
		RPC_ARG_INT(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		RPC_ARG_INT(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		RPC_ARG_INT(GRPC_ARG_ENABLE_RETRIES, 0),
		RPC_ARG_INT(GRPC_ARG_ENABLE_CHANNELZ, 0),
		RPC_ARG_INT(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
		RPC_ARG_INT(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
		/* Fixed windows: core's probing would ping servers that did not ask for it. */
		RPC_ARG_INT(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		RPC_ARG_INT(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, WINDOW_BYTES),
	};
	const grpc_channel_args list = { .num_args = MT_ARRAY_SIZE(args), .args = args };
	return grpc_channel_create(c->target.core, creds, &list);
}

/* NULL when TLS is wanted and there is no certificate (or no roots) yet. */
static struct rpc_conn *conn_new(struct mt_rpc_channel *c, uint64_t generation)
{
	grpc_channel_credentials *creds;

	if (!c->identity) {
		creds = grpc_insecure_credentials_create();
	} else {
		struct mt_identity *id = mt_identity_slot_get(c->identity);
		if (!id || (!id->key_pem && !c->no_client_cert)) {
			mt_identity_unref(id);
			return NULL;
		}
		creds = rpc_channel_creds(id, c->ids, c->no_client_cert);
		mt_identity_unref(id);
	}
	struct rpc_conn *n = MT_NEW(struct rpc_conn);
	mt_ref_init(&n->ref);
	n->core = make_core(c, creds);
	n->generation = generation;
	n->made_ns = mt_mono(&mt_clock_system);
	grpc_channel_credentials_release(creds);
	return n;
}

static bool usable(const struct rpc_conn *n, uint64_t generation)
{
	if (!n || n->generation != generation)
		return false;
	return grpc_channel_check_connectivity_state(n->core, 0) !=
		GRPC_CHANNEL_TRANSIENT_FAILURE ||
		mt_mono(&mt_clock_system) - n->made_ns < RETRY_MIN_NS;
}

/* A reference to the connection for a new call, or NULL. */
static struct rpc_conn *current(struct mt_rpc_channel *c)
{
	struct rpc_conn *old = NULL, *n;

	pthread_mutex_lock(&c->lock);
	/* Read before the identity: a change in between gives one connection too many, not an old one. */
	uint64_t generation = c->identity ? mt_identity_slot_generation(c->identity) : 0;
	if (!usable(c->conn, generation)) {
		old = c->conn;
		c->conn = conn_new(c, generation);
	}
	n = c->conn;
	if (n)
		mt_ref_get(&n->ref);
	pthread_mutex_unlock(&c->lock);
	rpc_conn_unref(old);
	return n;
}

/* ---- calls ---- */

void rpc_request_free(struct rpc_request *q)
{
	if (!q)
		return;
	for (size_t i = 0; i < q->nmeta; i++) {
		grpc_slice_unref(q->meta[i].key);
		grpc_slice_unref(q->meta[i].value);
	}
	mt_free(q->meta);
	mt_free(q->path);
	grpc_slice_unref(q->body);
	mt_free(q);
}

/* Core checks this too, but then writes the value, which may be a token, to its log. */
static bool metadata_ok(const struct mt_kv_meta *m)
{
	const char *p = m->name;

	while ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || (*p && strchr("-_.", *p)))
		p++;
	if (*p || p == m->name || !m->value)
		return false;
	for (p = m->value; *p >= ' ' && *p <= '~'; p++)
		;
	return !*p;
}

static struct rpc_request *request_new(
	const char *path, int64_t deadline_ns, const struct mt_kv_meta *metadata, size_t nmeta)
{
	struct rpc_request *q = MT_NEW(struct rpc_request);

	q->path = mt_strdup(path);
	q->body = grpc_empty_slice();
	q->deadline = deadline_ns > 0 ? gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
						gpr_time_from_nanos(deadline_ns, GPR_TIMESPAN))
				      : gpr_inf_future(GPR_CLOCK_MONOTONIC);
	q->meta = nmeta ? mt_alloc(nmeta * sizeof(*q->meta)) : NULL;
	for (; q->nmeta < nmeta; q->nmeta++) {
		if (!metadata_ok(&metadata[q->nmeta])) {
			q->bad = true;
			break;
		}
		q->meta[q->nmeta].key = grpc_slice_from_copied_string(metadata[q->nmeta].name);
		q->meta[q->nmeta].value = grpc_slice_from_copied_string(metadata[q->nmeta].value);
	}
	return q;
}

struct mt_rpc_stream *rpc_call_new(struct mt_rpc_channel *c, const char *path,
	const struct mt_rpc_ops *ops, void *user, int64_t deadline_ns,
	const struct mt_kv_meta *metadata, size_t nmeta)
{
	struct mt_rpc_env *e = c->env;
	unsigned turn = atomic_fetch_add_explicit(&e->next, 1, memory_order_relaxed);
	struct mt_rpc_stream *s = rpc_stream_new(&e->threads[turn % e->n], ops);

	s->user = user;
	s->conn = current(c);
	mt_ref_get(&c->ref);
	s->channel = c;
	s->max_message = c->max_message;
	s->request = request_new(path, deadline_ns, metadata, nmeta);
	snprintf(s->peer.addr, sizeof(s->peer.addr), "%.120s", c->target.core);
	return s;
}

struct mt_rpc_stream *mt_rpc_call(struct mt_rpc_channel *c, const char *path,
	const struct mt_rpc_ops *ops, void *user, int64_t deadline_ns,
	const struct mt_kv_meta *metadata, size_t nmeta)
{
	struct mt_rpc_stream *s = rpc_call_new(c, path, ops, user, deadline_ns, metadata, nmeta);

	mt_rpc_stream_ref(s); /* the caller's; the first one is the thread's */
	rpc_stream_post_start(s);
	return s;
}

struct cancel_task {
	struct rpc_task task;
	struct rpc_thread *thread;
	struct mt_rpc_channel *channel;
};

static void cancel_run(struct rpc_task *task)
{
	struct cancel_task *t = MT_CONTAINER(task, struct cancel_task, task);

	for (struct mt_rpc_stream *s = t->thread->streams.first; s; s = s->next)
		if (s->channel == t->channel)
			mt_rpc_stream_cancel(s);
	rpc_channel_unref(t->channel);
	rpc_env_stream_closed(t->thread->env);
	mt_free(t);
}

void mt_rpc_channel_free(struct mt_rpc_channel *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->env->n; i++) {
		struct cancel_task *t = MT_NEW(struct cancel_task);
		t->task.run = cancel_run;
		t->thread = &c->env->threads[i];
		mt_ref_get(&c->ref);
		t->channel = c;
		rpc_env_stream_opened(c->env); /* the env waits for the task, too */
		rpc_post(t->thread, &t->task);
	}
	rpc_channel_unref(c);
}
