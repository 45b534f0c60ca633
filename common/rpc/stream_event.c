/* What happens to a stream: completions of its batches, tasks from other threads, send deadlines. */
#include <stdio.h>
#include <string.h>

#include "common/rpc/internal.h"

/* May ops other than close still run? */
static bool active(const struct mt_rpc_stream *s)
{
	return s->live && !s->cancelled && !(s->server && s->finish_wanted);
}

/* ---- send deadlines ---- */

void rpc_stream_timer_start(struct mt_rpc_stream *s)
{
	struct mt_rpc_stream **head = &s->thread->sending, *before = NULL, *at = *head;

	if (s->timed || s->send_timeout_ns <= 0)
		return;
	s->send_deadline_ns = mt_mono(&mt_clock_system) + s->send_timeout_ns;
	/* A circular list would let us walk from the end, where almost every new deadline belongs;
	 * send_prev of the first is the last. */
	if (at && at->send_prev->send_deadline_ns <= s->send_deadline_ns) {
		before = at->send_prev;
		at = NULL;
	}
	for (; at && at->send_deadline_ns <= s->send_deadline_ns; at = at->send_next)
		before = at;
	s->timed = true;
	s->send_next = at;
	if (before) {
		before->send_next = s;
		s->send_prev = before;
	} else {
		s->send_prev = *head ? (*head)->send_prev : s;
		*head = s;
	}
	if (at)
		at->send_prev = s;
	else
		(*head)->send_prev = s;
}

void rpc_stream_timer_stop(struct mt_rpc_stream *s)
{
	struct mt_rpc_stream **head = &s->thread->sending;

	if (!s->timed)
		return;
	s->timed = false;
	if (*head == s)
		*head = s->send_next;
	else
		s->send_prev->send_next = s->send_next;
	if (s->send_next)
		s->send_next->send_prev = s->send_prev;
	else if (*head)
		(*head)->send_prev = s->send_prev;
	s->send_next = s->send_prev = NULL;
}

void rpc_streams_expire(struct rpc_thread *t, int64_t now_ns)
{
	char why[96];

	while (t->sending && t->sending->send_deadline_ns <= now_ns) {
		struct mt_rpc_stream *s = t->sending;
		rpc_stream_timer_stop(s);
		snprintf(why, sizeof(why), "the peer did not take a message within %lld ms",
			(long long)(s->send_timeout_ns / MT_NS_PER_MS));
		rpc_stream_abort(s, GRPC_STATUS_DEADLINE_EXCEEDED, why);
	}
}

/* ---- completions ---- */

static void too_large(struct mt_rpc_stream *s, size_t n)
{
	char why[96];

	snprintf(why, sizeof(why), "a message of %zu bytes is beyond %zu", n, s->max_message);
	if (s->server)
		mt_rpc_stream_finish(s, GRPC_STATUS_RESOURCE_EXHAUSTED, why);
	else
		rpc_stream_abort(s, GRPC_STATUS_RESOURCE_EXHAUSTED, why);
}

static void deliver(struct mt_rpc_stream *s, grpc_byte_buffer *b)
{
	grpc_slice whole;
	size_t n = grpc_byte_buffer_length(b);

	if (n > s->max_message) {
		too_large(s, n);
	} else if (!rpc_contiguous(b, &whole)) {
		/* We announce identity only; unpacking what comes all the same could grow a thousandfold. */
		if (s->server)
			mt_rpc_stream_finish(s, GRPC_STATUS_UNIMPLEMENTED,
				"compressed messages are not accepted");
		else
			rpc_stream_abort(s, GRPC_STATUS_UNIMPLEMENTED,
				"compressed messages are not accepted");
	} else {
		s->ops->message(s, GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole));
		grpc_slice_unref(whole);
	}
}

static void on_message(struct mt_rpc_stream *s)
{
	grpc_byte_buffer *b = MT_TAKE(s->in);

	s->receiving = false;
	if (!b) {
		s->read_over = true;
		/* Nothing more: the peer's half-close, unless the call broke. */
		if (active(s) && s->server && s->ops->half_close &&
			!grpc_call_failed_before_recv_message(s->call))
			s->ops->half_close(s);
		return;
	}
	if (active(s) && s->ops->message)
		deliver(s, b);
	grpc_byte_buffer_destroy(b);
	rpc_stream_read(s);
}

static void on_send(struct mt_rpc_stream *s, bool ok)
{
	s->sending = false;
	rpc_stream_timer_stop(s);
	if (s->finish_wanted && !s->finished && !s->over && !s->cancelled)
		rpc_stream_do_finish(s);
	else if (ok && active(s) && !s->over && s->ops->sent)
		s->ops->sent(s);
}

static char *slice_text(grpc_slice s)
{
	return mt_strndup((const char *)GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s));
}

static void end_from_status(struct mt_rpc_stream *s)
{
	char *text = slice_text(s->details);

	rpc_stream_end(s, s->status, text);
	mt_free(text);
}

static void on_close(struct mt_rpc_stream *s)
{
	s->over = true;
	if (!s->server)
		end_from_status(s);
	else if (s->was_cancelled)
		rpc_stream_abort(s, GRPC_STATUS_CANCELLED, "the peer went away");
}

static void on_unary(struct mt_rpc_stream *s)
{
	grpc_byte_buffer *b = MT_TAKE(s->in);
	grpc_slice whole = grpc_empty_slice();

	s->over = true;
	end_from_status(s);
	if (s->end_code == GRPC_STATUS_OK && (!b || !rpc_contiguous(b, &whole))) {
		mt_free(s->end_msg);
		s->end_code = GRPC_STATUS_INTERNAL;
		s->end_msg = mt_strdup("an answer without a message that can be read");
	}
	s->unary_done(s->user, s->end_code, s->end_msg ? s->end_msg : "",
		GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole));
	grpc_slice_unref(whole);
	if (b)
		grpc_byte_buffer_destroy(b);
}

void rpc_stream_event(struct mt_rpc_stream *s, enum rpc_tag kind, bool ok)
{
	s->pending--;
	switch (kind) {
	case RPC_TAG_MESSAGE: on_message(s); break;
	case RPC_TAG_SEND: on_send(s, ok); break;
	case RPC_TAG_STATUS: rpc_stream_timer_stop(s); break;
	case RPC_TAG_CLOSE: on_close(s); break;
	case RPC_TAG_UNARY: on_unary(s); break;
	case RPC_TAG_HEADERS:
		if (ok)
			rpc_peer_fill(s->thread, s->call, &s->peer, NULL);
		break;
	default: break;
	}
	rpc_stream_settle(s);
}

/* ---- tasks ---- */

static void post(struct mt_rpc_stream *s, unsigned what)
{
	if (atomic_fetch_or(&s->posted, what))
		return; /* queued already: it will see the bit */
	mt_rpc_stream_ref(s);
	rpc_post(s->thread, &s->task);
}

void mt_rpc_stream_wake(struct mt_rpc_stream *s)
{
	if (!atomic_load_explicit(&s->dead, memory_order_relaxed))
		post(s, RPC_POSTED_WAKE);
}

void rpc_stream_post_start(struct mt_rpc_stream *s)
{
	post(s, RPC_POSTED_START);
}

void rpc_stream_run(struct rpc_task *task)
{
	struct mt_rpc_stream *s = MT_CONTAINER(task, struct mt_rpc_stream, task);
	unsigned what = atomic_exchange(&s->posted, 0);

	if (what & RPC_POSTED_START)
		rpc_call_start(s);
	if ((what & RPC_POSTED_WAKE) && !atomic_load(&s->dead) && active(s) && s->ops->wake)
		s->ops->wake(s);
	mt_rpc_stream_unref(s);
}
