/* Accepting calls.
 *
 * gRPC core hands a call to whoever has asked for one, so for each method and each thread some
 * requests stay armed, and for all other methods too (else nobody would ever answer those: they say
 * UNIMPLEMENTED). Core gives a connection to the queues in turn and prefers that queue's requests for
 * its calls: connections spread over the threads, and a thread that is busy is helped by the others.
 *
 * Limits are checked here, before the application sees the call. */
#include <string.h>

#include "common/rpc/internal.h"

enum { ARMED_PER_THREAD = 4, ARMED_UNKNOWN = 1, METADATA_MAX = 64 * 1024 };

struct rpc_accept {
	struct mt_rpc_server *server;
	struct rpc_thread *thread;
	const struct rpc_method *method; /* NULL: any that is not listed */
	grpc_call *call;
	gpr_timespec deadline;
	grpc_call_details details;
	grpc_metadata_array metadata;
};

static const struct mt_rpc_ops no_ops;

static void accept_free(struct rpc_accept *a)
{
	struct mt_rpc_server *server = a->server;

	grpc_metadata_array_destroy(&a->metadata);
	grpc_call_details_destroy(&a->details);
	mt_free(a);
	rpc_server_release(server);
}

static void arm(struct rpc_accept *a)
{
	grpc_completion_queue *cq = a->thread->cq;
	void *tag = rpc_tag(a, RPC_TAG_ACCEPT);
	grpc_call_error e;

	a->call = NULL;
	if (a->method)
		e = grpc_server_request_registered_call(a->server->core, a->method->registered,
			&a->call, &a->deadline, &a->metadata, NULL, cq, cq, tag);
	else
		e = grpc_server_request_call(
			a->server->core, &a->call, &a->details, &a->metadata, cq, cq, tag);
	if (e != GRPC_CALL_OK)
		accept_free(a);
}

static void add_text(char **to, grpc_slice s)
{
	memcpy(*to, GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s));
	*to += GRPC_SLICE_LENGTH(s);
	*(*to)++ = 0;
}

/* One block "name\0value\0...\0", so that core's slices (pieces of read buffers) can go. Binary
 * metadata is left out. */
static char *copy_metadata(const grpc_metadata_array *m)
{
	size_t n = 1;
	char *out, *p;

	for (size_t i = 0; i < m->count; i++)
		n += GRPC_SLICE_LENGTH(m->metadata[i].key) +
			GRPC_SLICE_LENGTH(m->metadata[i].value) + 2;
	if (n > METADATA_MAX)
		return NULL;
	p = out = mt_alloc(n);
	for (size_t i = 0; i < m->count; i++) {
		grpc_slice key = m->metadata[i].key, value = m->metadata[i].value;
		if (!GRPC_SLICE_LENGTH(key) ||
			memchr(GRPC_SLICE_START_PTR(value), 0, GRPC_SLICE_LENGTH(value)))
			continue;
		add_text(&p, key);
		if (mt_str_suffix(p - GRPC_SLICE_LENGTH(key) - 1, "-bin"))
			p -= GRPC_SLICE_LENGTH(key) + 1;
		else
			add_text(&p, value);
	}
	*p = 0;
	return out;
}

static struct mt_rpc_stream *take_call(struct rpc_accept *a)
{
	const struct rpc_method *m = a->method;
	struct mt_rpc_stream *s = rpc_stream_new(a->thread, m ? m->ops : &no_ops);

	s->server = a->server;
	rpc_server_hold(a->server);
	s->call = a->call;
	s->send_timeout_ns = a->server->opts.send_timeout_ns;
	s->max_message = m ? m->max_message : 0;
	s->user = m ? m->ctx : NULL;
	s->metadata = m ? copy_metadata(&a->metadata) : NULL;
	rpc_stream_link(s);
	grpc_op over = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER,
		.data.recv_close_on_server.cancelled = &s->was_cancelled };
	rpc_stream_batch(s, &over, 1, RPC_TAG_CLOSE);
	return s;
}

static int check(
	const struct rpc_accept *a, struct mt_rpc_stream *s, unsigned streams, struct mt_err *err)
{
	const struct mt_rpc_server_opts *o = &a->server->opts;
	char path[128];
	int r;

	if (!a->method) {
		size_t n = MT_MIN(GRPC_SLICE_LENGTH(a->details.method), sizeof(path) - 1);
		memcpy(path, GRPC_SLICE_START_PTR(a->details.method), n);
		path[n] = 0;
		return mt_fail(err, MT_UNSUPPORTED, NULL, "unknown method %s", path);
	}
	if (streams > o->max_streams)
		return mt_fail(err, MT_LIMIT, NULL, "more than %u streams", o->max_streams);
	if ((r = rpc_peer_fill(a->thread, s->call, &s->peer, err)) < 0)
		return r;
	if (o->identity && !s->peer.spiffe_id[0] && !o->client_cert_optional)
		return mt_fail(err, MT_UNAUTHENTICATED, NULL, "no certificate was shown");
	if (o->identity && s->peer.spiffe_id[0]) {
		struct mt_identity *own = mt_identity_slot_get(o->identity);
		size_t td = own ? strcspn(own->spiffe_id + strlen("spiffe://"), "/") : 0;
		bool same = own &&
			strncmp(own->spiffe_id, s->peer.spiffe_id, strlen("spiffe://") + td + 1) ==
				0;
		mt_identity_unref(own);
		if (!same)
			return mt_fail(err, MT_UNAUTHENTICATED, NULL,
				"%s is of another trust domain", s->peer.spiffe_id);
	}
	return 0;
}

static void serve(struct rpc_accept *a)
{
	struct mt_err err = { 0 };
	struct mt_rpc_stream *s = take_call(a);
	unsigned streams = atomic_fetch_add(&a->server->streams, 1) + 1;
	int r = check(a, s, streams, &err);

	if (r == 0) {
		s->live = true;
		if (s->ops->open && (r = s->ops->open(s, a->method->ctx, &err)) != 0)
			s->live = false;
	}
	if (r == 0)
		rpc_stream_read(s);
	else
		mt_rpc_stream_finish(s, mt_code_grpc(r), err.msg);
}

void rpc_accept_event(struct rpc_accept *a, bool ok)
{
	if (!ok) { /* the server shuts down */
		accept_free(a);
		return;
	}
	serve(a);
	grpc_metadata_array_destroy(&a->metadata);
	grpc_call_details_destroy(&a->details);
	grpc_metadata_array_init(&a->metadata);
	grpc_call_details_init(&a->details);
	arm(a);
}

static void arm_new(struct mt_rpc_server *s, struct rpc_thread *t, const struct rpc_method *m)
{
	struct rpc_accept *a = MT_NEW(struct rpc_accept);

	a->server = s;
	a->thread = t;
	a->method = m;
	grpc_metadata_array_init(&a->metadata);
	grpc_call_details_init(&a->details);
	rpc_server_hold(s);
	arm(a);
}

struct arm_task {
	struct rpc_task task;
	struct mt_rpc_server *server;
	struct rpc_thread *thread;
};

static void arm_run(struct rpc_task *task)
{
	struct arm_task *t = MT_CONTAINER(task, struct arm_task, task);
	struct mt_rpc_server *s = t->server;

	for (size_t i = 0; i < s->nmethods; i++)
		for (int k = 0; k < ARMED_PER_THREAD; k++)
			arm_new(s, t->thread, &s->methods[i]);
	for (int k = 0; k < ARMED_UNKNOWN; k++)
		arm_new(s, t->thread, NULL);
	mt_free(t);
	rpc_server_release(s);
}

void rpc_accept_arm_all(struct mt_rpc_server *s)
{
	for (unsigned i = 0; i < s->env->n; i++) {
		struct arm_task *t = MT_NEW(struct arm_task);
		t->task.run = arm_run;
		t->server = s;
		t->thread = &s->env->threads[i];
		rpc_server_hold(s);
		rpc_post(t->thread, &t->task);
	}
}
