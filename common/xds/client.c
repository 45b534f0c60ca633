/* Discovery client: see client.h.
 *
 * The client lives on the loop. Each connection is an object of its own (struct conn) that the loop
 * and the stream's thread share: a mutex guards what is to be sent and what the stream shall do.
 * A response is copied, reading pauses, and the loop handles it; the answer is queued and reading
 * goes on when the update has returned, so one response at most is in the process. The queue holds
 * one subscription for each type and one answer: it is bounded by what was asked.
 *
 * Stopping cancels the stream and waits for its last op, which needs no loop; posts that are still on
 * their way find the connection dead. */
#include "common/xds/client.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/ref.h"
#include "common/base/vec.h"
#include "common/xds/client_msg.h"

#define METHOD "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
enum { DECODE_MAX = 256 << 20 };

struct type {
	struct mt_xds_client_type def; /* strings and names copied */
	struct mt_map *held;           /* name to version, heap strings */
	bool seen;                     /* on this connection */
};

struct mt_xds_client {
	struct mt_ref ref;
	struct mt_loop *loop;
	struct mt_xds_client_opts opts;
	Core__Node *node; /* unpacked copy */
	struct type *types;
	size_t ntypes;
	struct conn *conn; /* a reference; NULL between connections */
	struct mt_timer *retry;
	unsigned attempt;
	bool connected;
	bool stopped;
};

struct conn {
	struct mt_ref ref;
	struct mt_xds_client *client; /* a reference; loop */
	struct mt_rpc_stream *stream; /* loop; a reference */
	bool dead;                    /* loop: no callbacks any more */

	pthread_mutex_t mu;
	pthread_cond_t changed;
	MT_VEC(mt_slice) queue; /* from `next` on: still to be sent */
	size_t next;
	bool resume;
	bool cancel;
	bool closed;
};

static void client_unref(struct mt_xds_client *c)
{
	if (!mt_ref_put(&c->ref))
		return;
	for (size_t i = 0; i < c->ntypes; i++) {
		struct type *t = &c->types[i];
		mt_map_free(t->held, mt_free);
		for (size_t k = 0; k < t->def.nnames; k++)
			mt_free((char *)t->def.names[k]);
		mt_free((void *)t->def.names);
		mt_free((char *)t->def.type_url);
	}
	mt_free(c->types);
	core__node__free_unpacked(c->node, NULL);
	mt_free(c);
}

static void conn_unref(struct conn *k)
{
	if (!mt_ref_put(&k->ref))
		return;
	for (size_t i = k->next; i < k->queue.n; i++)
		mt_slice_unref(k->queue.v[i]);
	mt_vec_clear(&k->queue);
	pthread_mutex_destroy(&k->mu);
	pthread_cond_destroy(&k->changed);
	client_unref(k->client);
	mt_free(k);
}

static struct conn *conn_ref(struct conn *k)
{
	mt_ref_get(&k->ref);
	return k;
}

/* ---- the stream's thread ---- */

/* What travels from the stream to the loop. */
struct note {
	struct conn *conn;
	int status;
	size_t n;
	uint8_t bytes[];
};

static struct note *note_new(struct conn *k, const void *p, size_t n)
{
	struct note *m = mt_alloc(sizeof(*m) + n + 1);
	m->conn = conn_ref(k);
	m->n = n;
	if (n)
		memcpy(m->bytes, p, n);
	return m;
}

static void flush(struct mt_rpc_stream *s, struct conn *k)
{
	if (mt_rpc_stream_sending(s))
		return;
	pthread_mutex_lock(&k->mu);
	bool any = k->next < k->queue.n;
	mt_slice msg;
	if (any) {
		msg = k->queue.v[k->next++];
		if (k->next == k->queue.n)
			k->next = k->queue.n = 0;
	}
	pthread_mutex_unlock(&k->mu);
	if (any)
		mt_rpc_stream_send(s, &msg, 1);
}

static void run_response(void *arg);
static void run_closed(void *arg);

static void on_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	struct conn *k = mt_rpc_stream_user(s);
	mt_rpc_stream_pause(s, true);
	mt_loop_post(k->client->loop, run_response, note_new(k, p, n));
}

static void on_sent(struct mt_rpc_stream *s)
{
	flush(s, mt_rpc_stream_user(s));
}

static void on_wake(struct mt_rpc_stream *s)
{
	struct conn *k = mt_rpc_stream_user(s);
	pthread_mutex_lock(&k->mu);
	bool resume = MT_TAKE(k->resume), cancel = MT_TAKE(k->cancel);
	pthread_mutex_unlock(&k->mu);
	if (cancel) {
		mt_rpc_stream_cancel(s);
		return;
	}
	flush(s, k);
	if (resume)
		mt_rpc_stream_pause(s, false);
}

static void on_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	struct conn *k = mt_rpc_stream_user(s);
	struct note *m = note_new(k, msg, msg ? strlen(msg) : 0);
	m->status = status;
	mt_loop_post(k->client->loop, run_closed, m);
	pthread_mutex_lock(&k->mu);
	k->closed = true;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->mu);
	conn_unref(k);
}

static const struct mt_rpc_ops ops = {
	.message = on_message,
	.sent = on_sent,
	.wake = on_wake,
	.close = on_close,
};

/* ---- the loop ---- */

static void enqueue(struct conn *k, struct mt_buf *msg)
{
	pthread_mutex_lock(&k->mu);
	mt_vec_push(&k->queue, mt_slice_copy(mt_buf_str(msg), msg->n));
	pthread_mutex_unlock(&k->mu);
	mt_buf_clear(msg);
}

static void connect_now(void *arg)
{
	struct mt_xds_client *c = arg;
	struct conn *k = MT_NEW(struct conn);
	mt_ref_init(&k->ref);
	mt_ref_get(&c->ref);
	k->client = c;
	pthread_mutex_init(&k->mu, NULL);
	pthread_cond_init(&k->changed, NULL);
	for (size_t i = 0; i < c->ntypes; i++) {
		struct mt_buf msg = { 0 };
		mt_xds_msg_subscribe(
			&msg, i == 0 ? c->node : NULL, &c->types[i].def, c->types[i].held);
		enqueue(k, &msg);
		c->types[i].seen = false;
	}
	c->conn = k;
	k->stream = mt_rpc_call(c->opts.channel, METHOD, &ops, conn_ref(k), 0, NULL, 0);
	mt_rpc_stream_wake(k->stream);
}

static int type_find(const struct mt_xds_client *c, struct mt_view url)
{
	for (size_t i = 0; i < c->ntypes; i++) {
		if (mt_view_eq(url, c->types[i].def.type_url))
			return (int)i;
	}
	return -1;
}

static void remember(struct type *t, const struct mt_xds_response *r)
{
	for (size_t i = 0; i < r->nremoved; i++)
		mt_free(mt_map_del(t->held, r->removed[i]));
	for (size_t i = 0; i < r->n; i++)
		mt_free(mt_map_put(t->held, r->items[i].name, mt_strdup(r->items[i].version)));
}

/* Hands a response to the owner. Returns the type's index (its answer is owed), or -1. */
static int handle(struct mt_xds_client *c, const struct note *m, struct mt_xds_response *r,
	struct mt_arena *a, struct mt_err *err)
{
	err->code = mt_xds_msg_read(m->bytes, m->n, a, r, err);
	if (err->code < 0)
		return -1;
	int type = type_find(c, r->type_url);
	if (type < 0)
		return -1;
	struct type *t = &c->types[type];
	struct mt_xds_update u = { .type = type,
		.items = r->items,
		.n = r->n,
		.removed = r->removed,
		.nremoved = r->nremoved,
		.first = !t->seen };
	err->code = c->opts.update(c->opts.ctx, &u, err);
	if (err->code == 0 && !c->stopped) {
		t->seen = true;
		remember(t, r);
	}
	return type;
}

static void run_response(void *arg)
{
	struct note *m = arg;
	struct conn *k = m->conn;
	struct mt_xds_client *c = k->client;
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(DECODE_MAX);
	if (!k->dead && !c->connected) {
		c->connected = true;
		c->attempt = 0;
		if (c->opts.state)
			c->opts.state(c->opts.ctx, true, "");
	}
	bool malformed = false;
	if (!k->dead) {
		struct mt_err err = { 0 };
		struct mt_xds_response r = { 0 };
		int type = handle(c, m, &r, a, &err);
		if (!k->dead && type >= 0) {
			struct mt_buf msg = { 0 };
			mt_xds_msg_answer(&msg, c->types[type].def.type_url, r.nonce,
				err.code < 0 ? err.msg : NULL);
			enqueue(k, &msg);
		}
		malformed = type < 0 && err.code < 0;
	}
	if (!k->dead) {
		pthread_mutex_lock(&k->mu);
		k->resume = true;
		k->cancel = malformed; /* nothing more can be understood: start anew */
		pthread_mutex_unlock(&k->mu);
		mt_rpc_stream_wake(k->stream);
	}
	conn_unref(k);
	mt_free(m);
}

static void conn_drop(struct mt_xds_client *c)
{
	struct conn *k = MT_TAKE(c->conn);
	k->dead = true;
	mt_rpc_stream_unref(k->stream);
	conn_unref(k);
}

static void run_closed(void *arg)
{
	struct note *m = arg;
	struct conn *k = m->conn;
	struct mt_xds_client *c = k->client;
	if (!k->dead) {
		conn_drop(c);
		c->connected = false;
		mt_timer_start(c->retry, mt_rpc_backoff_ns(c->attempt++), 0);
		char why[300];
		snprintf(why, sizeof(why), "%s (status %d)",
			m->n ? (const char *)m->bytes : "stream ended", m->status);
		if (c->opts.state)
			c->opts.state(c->opts.ctx, false, why);
	}
	conn_unref(k);
	mt_free(m);
}

struct mt_xds_client *mt_xds_client_start(struct mt_loop *l, const struct mt_xds_client_opts *o)
{
	struct mt_xds_client *c = MT_NEW(struct mt_xds_client);
	mt_ref_init(&c->ref);
	c->loop = l;
	c->opts = *o;
	size_t n = core__node__get_packed_size(o->node);
	uint8_t *packed = mt_alloc(n + 1);
	core__node__pack(o->node, packed);
	c->node = core__node__unpack(NULL, n, packed);
	mt_free(packed);
	c->ntypes = o->ntypes;
	c->types = mt_alloc((o->ntypes + 1) * sizeof(*c->types));
	for (size_t i = 0; i < o->ntypes; i++) {
		const struct mt_xds_client_type *from = &o->types[i];
		const char **names = mt_alloc((from->nnames + 1) * sizeof(*names));
		for (size_t k = 0; k < from->nnames; k++)
			names[k] = mt_strdup(from->names[k]);
		c->types[i].def =
			(struct mt_xds_client_type){ .type_url = mt_strdup(from->type_url),
				.names = names,
				.nnames = from->nnames };
		c->types[i].held = mt_map_new();
	}
	c->retry = mt_timer_new(l, connect_now, c);
	mt_timer_start(c->retry, 0, 0); /* after the caller's mt_xds_client_hold() */
	return c;
}

void mt_xds_client_hold(struct mt_xds_client *c, int type, const char *name, const char *version)
{
	mt_free(mt_map_put(c->types[type].held, name, mt_strdup(version)));
}

void mt_xds_client_stop(struct mt_xds_client *c)
{
	if (!c)
		return;
	c->stopped = true;
	mt_timer_free(c->retry);
	struct conn *k = c->conn;
	if (k) {
		pthread_mutex_lock(&k->mu);
		k->cancel = true;
		pthread_mutex_unlock(&k->mu);
		mt_rpc_stream_wake(k->stream);
		pthread_mutex_lock(&k->mu);
		while (!k->closed)
			pthread_cond_wait(&k->changed, &k->mu);
		pthread_mutex_unlock(&k->mu);
		conn_drop(c);
	}
	client_unref(c);
}
