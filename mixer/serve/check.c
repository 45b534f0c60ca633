/* envoy.service.auth.v3.Authorization/Check: decided where it arrives, on the completion-queue thread,
 * against the newest program. Nothing is posted, nothing is shared but the program and counters.
 *
 * When there is no program yet, an instance cannot be evaluated or an adapter cannot say, the call
 * fails: whether the request goes on then is the proxy's failure policy (policyCheckFailOpen). */
#include <stdio.h>

#include "common/base/mem.h"
#include "common/schema/pb.h"
#include "mixer/attr/check.h"
#include "mixer/metrics.h"
#include "mixer/serve/recent.h"
#include "mixer/serve/server.h"
#include "mixer/serve/verdict.h"

enum { CHECK_MAX = 1 << 20 };

static int decide(struct mixer_serve *s, const struct mixer_program *p, const void *bytes, size_t n,
	struct mt_arena *message, struct mt_arena *scratch, struct mixer_outcome *ret,
	struct mt_err *err)
{
	struct mixer_facts f;
	const ProtobufCMessage *m =
		mt_pb_unpack(&auth__check_request__descriptor, message, bytes, n, err);
	const struct mixer_check_opts o = { s->trust_source_header, mt_wall(s->clock) };
	int r;

	if (!m)
		return MT_INVALID;
	mixer_facts_init(&f, p->words->vocab, scratch);
	mixer_attr_check(&f, (const Auth__CheckRequest *)m, &o);
	r = mixer_program_check(p, &f.bag, scratch, ret, err);
	if (s->recent)
		mixer_recent_add(s->recent, p->words->vocab, &f.bag, r < 0 ? NULL : ret,
			err ? err->msg : "", scratch);
	return r;
}

static int answer(struct mixer_serve *s, struct mt_rpc_stream *stream, const void *p, size_t n,
	struct mt_err *err)
{
	unsigned i = mt_rpc_stream_thread(stream) % MIXER_THREADS_MAX;
	struct mt_arena *message = s->thread[i].message, *scratch = s->thread[i].scratch;
	struct mixer_program *program = mixer_slot_get(s->slot);
	struct mixer_outcome out;
	struct mt_buf buf = { 0 };
	mt_slice slice;
	int r;

	if (!program)
		return mt_fail(err, MT_UNAVAILABLE, NULL, "no configuration yet");
	r = decide(s, program, p, n, message, scratch, &out, err);
	if (r == 0)
		mixer_verdict_pack(&out, scratch, &buf);
	mt_arena_reset(message);
	mt_arena_reset(scratch);
	mixer_serve_count(
		s, METRIC_mixer_checks_total, 1, r < 0 ? "ERROR" : mixer_code_name(out.code));
	mixer_program_unref(program);
	if (r < 0)
		return r;
	n = buf.n;
	slice = mt_slice_take(mt_buf_take(&buf, NULL), n);
	mt_rpc_stream_reply(stream, &slice, 1);
	return 0;
}

static int on_open(struct mt_rpc_stream *stream, void *ctx, struct mt_err *err)
{
	struct mixer_serve *s = ctx;
	int r = mixer_serve_allow(s, mt_rpc_stream_peer(stream), err);

	if (r < 0) {
		mixer_serve_count(s, METRIC_mixer_denied_callers_total, 1, "Check");
		return r;
	}
	mt_rpc_stream_set_user(stream, s);
	return 0;
}

/* After the answer the user is NULL: a second message is not listened to. */
static void on_message(struct mt_rpc_stream *stream, const void *p, size_t n)
{
	struct mixer_serve *s = mt_rpc_stream_user(stream);
	struct mt_err err = { 0 };
	int64_t start;
	int r;

	if (!s)
		return;
	mt_rpc_stream_set_user(stream, NULL);
	start = mt_mono(s->clock);
	r = answer(s, stream, p, n, &err);
	if (r < 0)
		mt_rpc_stream_finish(stream, mt_code_grpc(r), err.msg);
	if (s->metrics)
		mt_metric_observe(s->metrics, METRIC_mixer_check_duration_seconds,
			(double)(mt_mono(s->clock) - start) / MT_NS_PER_SEC);
}

static void on_half_close(struct mt_rpc_stream *stream)
{
	if (!mt_rpc_stream_user(stream))
		return;
	mt_rpc_stream_set_user(stream, NULL);
	mt_rpc_stream_finish(stream, mt_code_grpc(MT_INVALID), "a check without a request");
}

static void on_close(struct mt_rpc_stream *stream, int status, const char *msg)
{
	(void)stream, (void)status, (void)msg;
}

static const struct mt_rpc_ops ops = {
	.open = on_open,
	.message = on_message,
	.half_close = on_half_close,
	.close = on_close,
};

struct mt_rpc_method mixer_check_method(struct mixer_serve *s)
{
	return (struct mt_rpc_method){
		.path = "/envoy.service.auth.v3.Authorization/Check",
		.ops = &ops,
		.max_message = CHECK_MAX,
		.ctx = s,
	};
}
