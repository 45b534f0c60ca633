/* gRPC core as the wire of a fake proxy. */
#include "tests/unit/xds/fake_wire.h"

static void on_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	fake_on_message(mt_rpc_stream_user(s), s, p, n);
}

static void on_sent(struct mt_rpc_stream *s)
{
	fake_on_sent(mt_rpc_stream_user(s), s);
}

static void on_wake(struct mt_rpc_stream *s)
{
	fake_on_wake(mt_rpc_stream_user(s), s);
}

static void on_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	fake_on_close(mt_rpc_stream_user(s), status, msg);
}

static const struct mt_rpc_ops ops = {
	.message = on_message,
	.sent = on_sent,
	.wake = on_wake,
	.close = on_close,
};

static void *open_stream(void *ctx, const char *path, struct fake_envoy *e)
{
	return mt_rpc_call(ctx, path, &ops, e, 0, NULL, 0);
}

static void send_message(void *s, const void *p, size_t n)
{
	mt_slice msg = mt_slice_copy(p, n);
	mt_rpc_stream_send(s, &msg, 1);
}

static bool busy(void *s)
{
	return mt_rpc_stream_sending(s);
}

static void cancel(void *s)
{
	mt_rpc_stream_cancel(s);
}

static void wake(void *s)
{
	mt_rpc_stream_wake(s);
}

static void drop(void *s)
{
	mt_rpc_stream_unref(s);
}

const struct fake_wire fake_wire_rpc = { open_stream, send_message, busy, cancel, wake, drop };
