/* The start of client calls, streaming and unary, on their thread. */
#include <grpc/grpc_security.h>
#include <string.h>

#include "common/rpc/internal.h"

static grpc_op op_headers(const struct rpc_request *q)
{
	return (grpc_op){ .op = GRPC_OP_SEND_INITIAL_METADATA,
		.data.send_initial_metadata = { .count = q->nmeta, .metadata = q->meta } };
}

static grpc_op op_recv_headers(struct mt_rpc_stream *s)
{
	return (grpc_op){ .op = GRPC_OP_RECV_INITIAL_METADATA,
		.data.recv_initial_metadata.recv_initial_metadata = &s->headers };
}

static grpc_op op_status(struct mt_rpc_stream *s)
{
	return (grpc_op){ .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		.data.recv_status_on_client = { .trailing_metadata = &s->trailers,
			.status = &s->status,
			.status_details = &s->details } };
}

static void start_stream(struct mt_rpc_stream *s)
{
	grpc_op op = op_status(s);

	s->live = true;
	rpc_stream_batch(s, &op, 1, RPC_TAG_CLOSE);
	op = op_headers(s->request);
	rpc_stream_batch(s, &op, 1, RPC_TAG_INIT);
	op = op_recv_headers(s);
	rpc_stream_batch(s, &op, 1, RPC_TAG_HEADERS);
	rpc_stream_read(s);
}

/* Without a call: close (or done) says why. */
static void fail(struct mt_rpc_stream *s, int code, const char *why)
{
	s->over = true;
	rpc_stream_end(s, code, why);
	if (s->unary_done)
		s->unary_done(s->user, s->end_code, s->end_msg, "", 0);
}

static void start_unary(struct mt_rpc_stream *s)
{
	mt_slice body = grpc_slice_ref(s->request->body);
	grpc_byte_buffer *b = rpc_byte_buffer(&body, 1);
	const grpc_op ops[] = {
		op_headers(s->request),
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = b },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
		op_recv_headers(s),
		{ .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->in },
		op_status(s),
	};

	if (!rpc_stream_batch(s, ops, MT_ARRAY_SIZE(ops), RPC_TAG_UNARY))
		fail(s, s->end_code, "the call was refused by gRPC core");
	grpc_byte_buffer_destroy(b);
}

void rpc_call_start(struct mt_rpc_stream *s)
{
	struct rpc_request *q = s->request;

	rpc_stream_link(s);
	if (q->bad) {
		s->live = !s->unary_done;
		fail(s, GRPC_STATUS_INVALID_ARGUMENT, "metadata that cannot be sent");
	} else if (s->conn) {
		grpc_slice path = grpc_slice_from_copied_string(q->path);
		s->call = grpc_channel_create_call(s->conn->core, NULL, GRPC_PROPAGATE_DEFAULTS,
			s->thread->cq, path, NULL, q->deadline, NULL);
		grpc_slice_unref(path);
		if (s->unary_done)
			start_unary(s);
		else
			start_stream(s);
	} else {
		s->live = !s->unary_done;
		fail(s, GRPC_STATUS_UNAVAILABLE, "no certificate of our own yet");
	}
	rpc_request_free(MT_TAKE(s->request));
	rpc_stream_settle(s);
}

static const struct mt_rpc_ops unary_ops;

void mt_rpc_unary(struct mt_rpc_channel *c, const char *path, const void *req, size_t n,
	int64_t deadline_ns, const struct mt_kv_meta *metadata, size_t nmeta,
	void (*done)(void *ctx, int status, const char *msg, const void *p, size_t n), void *ctx)
{
	struct mt_rpc_stream *s =
		rpc_call_new(c, path, &unary_ops, ctx, deadline_ns, metadata, nmeta);

	s->unary_done = done;
	s->request->body = mt_slice_copy(req, n);
	rpc_stream_post_start(s);
}
