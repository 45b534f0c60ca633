/* envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs: the first message of a stream says who
 * reports; that is kept for the stream. All messages go to the queue, packed as they came: unpacking is
 * the reporter thread's work, so that checks do not wait for it. The answer comes only at the end. */
#include "common/base/mem.h"
#include "common/schema/pb.h"
#include "mixer/metrics.h"
#include "mixer/serve/reports.h"
#include "mixer/serve/server.h"

enum { MESSAGE_MAX = 4 << 20 };

struct log_stream {
	struct mixer_serve *serve;
	struct mixer_reporter *who; /* NULL before the first message */
	bool over;                  /* answered: what still comes is not listened to */
};

static int on_open(struct mt_rpc_stream *stream, void *ctx, struct mt_err *err)
{
	struct mixer_serve *s = ctx;
	struct log_stream *l;
	int r = mixer_serve_allow(s, mt_rpc_stream_peer(stream), err);

	if (r < 0) {
		mixer_serve_count(s, METRIC_mixer_denied_callers_total, 1, "StreamAccessLogs");
		return r;
	}
	l = MT_NEW(struct log_stream);
	l->serve = s;
	mt_rpc_stream_set_user(stream, l);
	mixer_serve_count(s, METRIC_mixer_report_streams, 1, NULL);
	return 0;
}

static int identify(struct log_stream *l, struct mt_rpc_stream *stream, const void *p, size_t n,
	struct mt_err *err)
{
	struct mt_arena *a =
		l->serve->thread[mt_rpc_stream_thread(stream) % MIXER_THREADS_MAX].message;
	const Als__StreamAccessLogsMessage *m = (const Als__StreamAccessLogsMessage *)mt_pb_unpack(
		&als__stream_access_logs_message__descriptor, a, p, n, err);
	int r = m ? 0 : MT_INVALID;

	if (m && !m->identifier)
		r = mt_fail(err, MT_INVALID, "identifier",
			"the first message of a stream must say who reports");
	if (r == 0)
		l->who = mixer_reporter_new(m->identifier, mt_rpc_stream_peer(stream)->spiffe_id);
	mt_arena_reset(a);
	return r;
}

static void on_message(struct mt_rpc_stream *stream, const void *p, size_t n)
{
	struct log_stream *l = mt_rpc_stream_user(stream);
	struct mt_err err = { 0 };

	if (l->over)
		return;
	if (!l->who && identify(l, stream, p, n, &err) < 0) {
		mixer_serve_count(l->serve, METRIC_mixer_reports_invalid_total, 1, NULL);
		l->over = true;
		mt_rpc_stream_finish(stream, mt_code_grpc(err.code), err.msg);
		return;
	}
	mixer_reports_put(l->serve->reports, l->who, p, n);
}

/* StreamAccessLogsResponse has no fields. */
static void on_half_close(struct mt_rpc_stream *stream)
{
	struct log_stream *l = mt_rpc_stream_user(stream);
	mt_slice empty;

	if (l->over)
		return;
	l->over = true;
	empty = mt_slice_copy("", 0);
	mt_rpc_stream_reply(stream, &empty, 1);
}

static void on_close(struct mt_rpc_stream *stream, int status, const char *msg)
{
	struct log_stream *l = mt_rpc_stream_user(stream);

	(void)status, (void)msg;
	mixer_serve_count(l->serve, METRIC_mixer_report_streams, -1, NULL);
	mixer_reporter_unref(l->who);
	mt_free(l);
}

static const struct mt_rpc_ops ops = {
	.open = on_open,
	.message = on_message,
	.half_close = on_half_close,
	.close = on_close,
};

struct mt_rpc_method mixer_accesslog_method(struct mixer_serve *s)
{
	return (struct mt_rpc_method){
		.path = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs",
		.ops = &ops,
		.max_message = MESSAGE_MAX,
		.ctx = s,
	};
}
