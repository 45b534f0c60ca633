/* One stream of a discovery server, on its completion-queue thread.
 *
 * Life: open makes the sub; the first request brings the node, is taken in, and reading stops
 * (back-pressure: what a peer says before anybody can answer is left in its socket); the loop's
 * application accepts the sub and publishes a snapshot; the wake takes it, reading goes on, and from
 * then each request, acknowledgement, finished send and newer snapshot runs the pump. close drops the
 * stream's part; the rest goes with the last reference. */
#include <grpc/status.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/xds/stream.h"

enum { NODE_MAX = 1 << 20, REQUEST_SCRATCH = 16 << 20 };

static int stream_open(struct mt_rpc_stream *stream, struct mt_xds_server *sv, bool delta)
{
	struct mt_xds_sub *s = mt_alloc(sizeof(*s) + sv->opts.ntypes * sizeof(s->types[0]));
	mt_ref_init(&s->ref);
	mt_ref_get(&sv->ref);
	s->server = sv;
	s->stream = mt_rpc_stream_ref(stream);
	s->delta = delta;
	s->id = atomic_fetch_add(&sv->last_id, 1) + 1;
	pthread_mutex_init(&s->mu, NULL);
	mt_rpc_stream_set_user(stream, s);
	return 0;
}

static int sotw_open(struct mt_rpc_stream *stream, void *ctx, struct mt_err *err MT_UNUSED)
{
	return stream_open(stream, ctx, false);
}

static int delta_open(struct mt_rpc_stream *stream, void *ctx, struct mt_err *err MT_UNUSED)
{
	return stream_open(stream, ctx, true);
}

void mt_xds_sub_end(struct mt_xds_sub *s, int code, const char *msg)
{
	if (s->finished)
		return;
	s->finished = true;
	mt_rpc_stream_finish(s->stream, code, msg);
}

/* The first request says who asks. */
static int take_node(struct mt_xds_sub *s, const struct mt_xds_request *r, struct mt_err *err)
{
	if (s->attached)
		return 0;
	if (!r->node.p)
		return mt_fail(err, MT_INVALID, NULL, "the first request has no node");
	return mt_xds_node_unpack(r->node, NODE_MAX, &s->node, err);
}

static void on_message(struct mt_rpc_stream *stream, const void *p, size_t n)
{
	struct mt_xds_sub *s = mt_rpc_stream_user(stream);
	if (s->finished)
		return;
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(REQUEST_SCRATCH);
	struct mt_xds_request r;
	struct mt_err err = { 0 };
	int rc = n > s->server->opts.max_request
		? mt_fail(&err, MT_LIMIT, NULL, "request of %zu bytes, the limit is %zu", n,
			  s->server->opts.max_request)
		: mt_xds_request_parse(p, n, s->delta, s->server->opts.max_names, a, &r, &err);
	if (rc == 0)
		rc = take_node(s, &r, &err);
	if (rc == 0)
		rc = mt_xds_sub_request(s, &r, &err);
	if (rc < 0) {
		mt_xds_count(s, -1, MT_XDS_M_ERRORS, 1);
		mt_xds_sub_end(s, mt_code_grpc(rc), err.msg);
		return;
	}
	if (!s->attached) {
		s->attached = s->paused = true;
		mt_rpc_stream_pause(stream, true);
		mt_xds_post_attach(s);
	}
	mt_xds_pump(s);
}

static void on_half_close(struct mt_rpc_stream *stream)
{
	mt_xds_sub_end(mt_rpc_stream_user(stream), 0, "");
}

static void on_sent(struct mt_rpc_stream *stream)
{
	mt_xds_pump(mt_rpc_stream_user(stream));
}

void mt_xds_sub_take_inbox(struct mt_xds_sub *s)
{
	struct mt_snapshot *snap = atomic_exchange(&s->inbox, NULL);
	if (!snap)
		return;
	mt_snapshot_unref(s->newest);
	s->newest = snap;
	if (s->paused) {
		s->paused = false;
		mt_rpc_stream_pause(s->stream, false);
	}
}

static void on_wake(struct mt_rpc_stream *stream)
{
	struct mt_xds_sub *s = mt_rpc_stream_user(stream);
	struct mt_xds_ending *end = atomic_exchange(&s->closing, NULL);
	if (end)
		mt_xds_sub_end(s, end->code, end->msg);
	mt_free(end);
	mt_xds_pump(s);
}

static void on_close(struct mt_rpc_stream *stream, int status, const char *msg MT_UNUSED)
{
	struct mt_xds_sub *s = mt_rpc_stream_user(stream);
	if (!s->finished && status == GRPC_STATUS_DEADLINE_EXCEEDED)
		mt_xds_count(s, s->sent_type, MT_XDS_M_SEND_TIMEOUTS, 1);
	s->finished = true;
	atomic_store(&s->deadline, 0);
	if (s->attached)
		mt_xds_post_detach(s);
	mt_xds_sub_unref(s);
}

const struct mt_rpc_ops mt_xds_sotw_ops = {
	.open = sotw_open,
	.message = on_message,
	.half_close = on_half_close,
	.sent = on_sent,
	.wake = on_wake,
	.close = on_close,
};
const struct mt_rpc_ops mt_xds_delta_ops = {
	.open = delta_open,
	.message = on_message,
	.half_close = on_half_close,
	.sent = on_sent,
	.wake = on_wake,
	.close = on_close,
};

/* ---- the sub as others see it ---- */

static void tstate_free(struct mt_xds_tstate *t)
{
	if (!t)
		return;
	mt_set_unref(t->sent);
	mt_set_unref(t->acked);
	mt_snapshot_unref(t->snap);
	mt_names_unref(t->names);
	mt_names_unref(t->pending);
	mt_names_unref(t->stale);
	mt_names_unref(t->announced);
	mt_free(t->holdings);
	mt_free(t->nack);
	mt_free(t);
}

struct mt_xds_sub *mt_xds_sub_ref(struct mt_xds_sub *s)
{
	mt_ref_get(&s->ref);
	return s;
}

void mt_xds_sub_unref(struct mt_xds_sub *s)
{
	if (!s || !mt_ref_put(&s->ref))
		return;
	struct mt_xds_server *sv = s->server;
	for (size_t i = 0; i < sv->opts.ntypes; i++)
		tstate_free(s->types[i]);
	mt_snapshot_unref(s->newest);
	mt_snapshot_unref(atomic_load(&s->inbox));
	mt_free(atomic_load(&s->closing));
	mt_free(s->node);
	pthread_mutex_destroy(&s->mu);
	mt_rpc_stream_unref(s->stream);
	mt_free(s);
	mt_xds_server_unref(sv);
}

const Core__Node *mt_xds_sub_node(const struct mt_xds_sub *s)
{
	return s->node;
}

const struct mt_rpc_peer *mt_xds_sub_peer(const struct mt_xds_sub *s)
{
	return mt_rpc_stream_peer(s->stream);
}

bool mt_xds_sub_delta(const struct mt_xds_sub *s)
{
	return s->delta;
}

uint64_t mt_xds_sub_id(const struct mt_xds_sub *s)
{
	return s->id;
}

void mt_xds_sub_set_user(struct mt_xds_sub *s, void *user)
{
	s->user = user;
}

void *mt_xds_sub_user(const struct mt_xds_sub *s)
{
	return s->user;
}

void mt_xds_sub_publish(struct mt_xds_sub *s, struct mt_snapshot *snap)
{
	mt_snapshot_unref(atomic_exchange(&s->inbox, mt_snapshot_ref(snap)));
	mt_rpc_stream_wake(s->stream);
}

void mt_xds_sub_watch(struct mt_xds_sub *s, bool on)
{
	atomic_store(&s->watched, on);
	if (on)
		mt_rpc_stream_wake(s->stream);
}

void mt_xds_sub_close(struct mt_xds_sub *s, int code, const char *msg)
{
	struct mt_xds_ending *end = MT_NEW(struct mt_xds_ending);
	end->code = code;
	snprintf(end->msg, sizeof(end->msg), "%s", msg ? msg : "");
	mt_free(atomic_exchange(&s->closing, end));
	mt_rpc_stream_wake(s->stream);
}

void mt_xds_sub_status(const struct mt_xds_sub *s, int type, struct mt_xds_status *ret)
{
	pthread_mutex_t *mu = (pthread_mutex_t *)&s->mu;
	pthread_mutex_lock(mu);
	const struct mt_xds_tstate *t = s->types[type];
	*ret = t ? t->status : (struct mt_xds_status){ 0 };
	pthread_mutex_unlock(mu);
}

void mt_xds_sub_nack(const struct mt_xds_sub *s, int type, char *buf, size_t n)
{
	pthread_mutex_t *mu = (pthread_mutex_t *)&s->mu;
	pthread_mutex_lock(mu);
	const struct mt_xds_tstate *t = s->types[type];
	snprintf(buf, n, "%s", t && t->status.nacked && t->nack ? t->nack : "");
	pthread_mutex_unlock(mu);
}
