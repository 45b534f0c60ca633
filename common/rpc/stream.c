/* A stream: one call, seen from its own thread.
 *
 * Life: new -> linked (its thread knows it, `pending` counts batches out) -> live (open succeeded) ->
 * over (RPC_TAG_CLOSE came: the call has a status) -> settled (nothing pending: ops->close ran, the
 * call is gone) -> freed with the last reference. Between cancel or finish and close no other op runs
 * on the server side; a client that has half-closed goes on reading.
 *
 * At most one message is being sent and one being received. Initial metadata of a server goes out with
 * the first message or with the status. A send (or status) that flow control does not take within
 * send_timeout_ns cancels the stream: what it pins (old configuration in shared slices) must not stay
 * because one reader stalls. */
#include <grpc/byte_buffer_reader.h>
#include <string.h>

#include "common/rpc/internal.h"

struct mt_rpc_stream *rpc_stream_new(struct rpc_thread *t, const struct mt_rpc_ops *ops)
{
	struct mt_rpc_stream *s = MT_NEW(struct mt_rpc_stream);

	mt_ref_init(&s->ref);
	s->task.run = rpc_stream_run;
	s->thread = t;
	s->ops = ops;
	s->end_code = -1;
	s->details = grpc_empty_slice();
	grpc_metadata_array_init(&s->headers);
	grpc_metadata_array_init(&s->trailers);
	rpc_env_stream_opened(t->env);
	return s;
}

void rpc_stream_link(struct mt_rpc_stream *s)
{
	struct rpc_stream_list *l = &s->thread->streams;

	s->prev = l->last;
	*(l->last ? &l->last->next : &l->first) = s;
	l->last = s;
}

static void unlink_stream(struct mt_rpc_stream *s)
{
	struct rpc_stream_list *l = &s->thread->streams;

	*(s->prev ? &s->prev->next : &l->first) = s->next;
	*(s->next ? &s->next->prev : &l->last) = s->prev;
}

struct mt_rpc_stream *mt_rpc_stream_ref(struct mt_rpc_stream *s)
{
	mt_ref_get(&s->ref);
	return s;
}

void mt_rpc_stream_unref(struct mt_rpc_stream *s)
{
	if (!s || !mt_ref_put(&s->ref))
		return;
	grpc_slice_unref(s->details);
	grpc_metadata_array_destroy(&s->headers);
	grpc_metadata_array_destroy(&s->trailers);
	rpc_request_free(s->request);
	mt_free(s->metadata);
	mt_free(s->end_msg);
	mt_free(s);
}

/* ---- batches ---- */

bool rpc_stream_batch(struct mt_rpc_stream *s, const grpc_op *ops, size_t n, enum rpc_tag kind)
{
	s->pending++;
	if (grpc_call_start_batch(s->call, ops, n, rpc_tag(s, kind), NULL) == GRPC_CALL_OK)
		return true;
	/* Only a bug of ours gets here (a batch that breaks gRPC's rules): no completion will come. */
	s->pending--;
	rpc_stream_abort(s, GRPC_STATUS_INTERNAL, "a batch was refused by gRPC core");
	return false;
}

void rpc_stream_read(struct mt_rpc_stream *s)
{
	grpc_op recv = { .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->in };

	if (s->receiving || s->read_over || s->paused || s->over || s->cancelled ||
		(s->server && s->finish_wanted))
		return;
	s->receiving = rpc_stream_batch(s, &recv, 1, RPC_TAG_MESSAGE);
}

grpc_byte_buffer *rpc_byte_buffer(mt_slice *slices, size_t n)
{
	grpc_byte_buffer *b = grpc_raw_byte_buffer_create(slices, n);

	for (size_t i = 0; i < n; i++)
		grpc_slice_unref(slices[i]);
	return b;
}

bool rpc_contiguous(grpc_byte_buffer *b, grpc_slice *ret)
{
	grpc_byte_buffer_reader reader;

	if (b->type != GRPC_BB_RAW || b->data.raw.compression != GRPC_COMPRESS_NONE)
		return false;
	if (!grpc_byte_buffer_reader_init(&reader, b))
		return false;
	*ret = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return true;
}

/* Adds the server's initial metadata as the first op when it is still owed. */
static size_t with_headers(struct mt_rpc_stream *s, grpc_op *ops)
{
	if (!s->server || s->headers_sent)
		return 0;
	s->headers_sent = true;
	ops[0] = (grpc_op){ .op = GRPC_OP_SEND_INITIAL_METADATA };
	return 1;
}

static void release(mt_slice *slices, size_t n)
{
	for (size_t i = 0; i < n; i++)
		grpc_slice_unref(slices[i]);
}

int mt_rpc_stream_send(struct mt_rpc_stream *s, mt_slice *slices, size_t n)
{
	grpc_op ops[2];

	if (s->sending || !s->live || s->over || s->cancelled || s->finish_wanted) {
		release(slices, n);
		return s->sending ? MT_CONFLICT : MT_CANCELLED;
	}
	size_t k = with_headers(s, ops);
	grpc_byte_buffer *b = rpc_byte_buffer(slices, n);
	ops[k++] = (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = b };
	s->sending = rpc_stream_batch(s, ops, k, RPC_TAG_SEND);
	grpc_byte_buffer_destroy(b); /* core took the slices out of it */
	if (!s->sending)
		return MT_INTERNAL;
	rpc_stream_timer_start(s);
	return 0;
}

bool mt_rpc_stream_sending(const struct mt_rpc_stream *s)
{
	return s->sending;
}

void rpc_stream_do_finish(struct mt_rpc_stream *s)
{
	grpc_op ops[2];
	size_t k = with_headers(s, ops);
	grpc_slice details = grpc_empty_slice();

	s->finished = true;
	if (s->server) {
		if (s->end_msg && s->end_msg[0])
			details = grpc_slice_from_copied_string(s->end_msg);
		ops[k++] = (grpc_op){ .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
			.data.send_status_from_server = {
				.status = (grpc_status_code)s->end_code,
				.status_details = &details,
			} };
	} else {
		ops[k++] = (grpc_op){ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
	}
	if (rpc_stream_batch(s, ops, k, RPC_TAG_STATUS))
		rpc_stream_timer_start(s);
	grpc_slice_unref(details);
}

void mt_rpc_stream_finish(struct mt_rpc_stream *s, int code, const char *msg)
{
	if (s->finish_wanted || s->cancelled || s->over)
		return;
	s->finish_wanted = true;
	if (s->server)
		rpc_stream_end(s, code, msg);
	if (!s->sending)
		rpc_stream_do_finish(s);
}

void mt_rpc_stream_reply(struct mt_rpc_stream *s, mt_slice *slices, size_t n)
{
	grpc_op ops[3];
	grpc_slice details = grpc_empty_slice();

	if (!s->server || s->sending || !s->live || s->over || s->cancelled || s->finish_wanted) {
		release(slices, n);
		return;
	}
	s->finish_wanted = s->finished = true;
	rpc_stream_end(s, GRPC_STATUS_OK, NULL);
	size_t k = with_headers(s, ops);
	grpc_byte_buffer *b = rpc_byte_buffer(slices, n);
	ops[k++] = (grpc_op){ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = b };
	ops[k++] = (grpc_op){ .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		.data.send_status_from_server = {
			.status = GRPC_STATUS_OK, .status_details = &details } };
	if (rpc_stream_batch(s, ops, k, RPC_TAG_STATUS))
		rpc_stream_timer_start(s);
	grpc_byte_buffer_destroy(b);
}

/* ---- ends ---- */

void rpc_stream_end(struct mt_rpc_stream *s, int code, const char *msg)
{
	if (s->end_code >= 0)
		return;
	s->end_code = code;
	s->end_msg = mt_strdup(msg);
}

void rpc_stream_abort(struct mt_rpc_stream *s, int code, const char *msg)
{
	/* A status that did not get through is no status: what stopped it is what close says. */
	if (s->server && s->finish_wanted && !s->cancelled) {
		mt_free(s->end_msg);
		s->end_msg = NULL;
		s->end_code = -1;
	}
	rpc_stream_end(s, code, msg);
	s->cancelled = true;
	if (s->call && !s->over)
		grpc_call_cancel_with_status(s->call, (grpc_status_code)code, msg, NULL);
}

void mt_rpc_stream_cancel(struct mt_rpc_stream *s)
{
	if (!s->over && !s->cancelled)
		rpc_stream_abort(s, GRPC_STATUS_CANCELLED, "cancelled on this side");
}

void mt_rpc_stream_pause(struct mt_rpc_stream *s, bool pause)
{
	s->paused = pause;
	if (s->call)
		rpc_stream_read(s);
}

static void call_close(struct mt_rpc_stream *s)
{
	int code = s->end_code < 0 ? GRPC_STATUS_CANCELLED : s->end_code;

	s->live = false;
	s->ops->close(s, code, s->end_msg ? s->end_msg : "");
}

void rpc_stream_settle(struct mt_rpc_stream *s)
{
	if (s->pending || !s->over || atomic_load(&s->dead))
		return;
	atomic_store(&s->dead, true);
	rpc_stream_timer_stop(s);
	unlink_stream(s);
	if (s->live)
		call_close(s);
	if (s->call)
		grpc_call_unref(MT_TAKE(s->call));
	rpc_conn_unref(MT_TAKE(s->conn));
	rpc_channel_unref(MT_TAKE(s->channel));
	struct mt_rpc_server *server = s->server;
	struct mt_rpc_env *env = s->thread->env;
	mt_rpc_stream_unref(s); /* the thread's own */
	if (server) {
		atomic_fetch_sub(&server->streams, 1);
		rpc_server_release(server);
	}
	rpc_env_stream_closed(env);
}

/* ---- small ones ---- */

void mt_rpc_stream_set_user(struct mt_rpc_stream *s, void *user)
{
	s->user = user;
}

void *mt_rpc_stream_user(const struct mt_rpc_stream *s)
{
	return s->user;
}

const struct mt_rpc_peer *mt_rpc_stream_peer(const struct mt_rpc_stream *s)
{
	return &s->peer;
}

const char *mt_rpc_stream_metadata(const struct mt_rpc_stream *s, const char *name)
{
	for (const char *p = s->metadata; p && *p;) {
		const char *value = p + strlen(p) + 1;
		if (mt_streq(p, name))
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

unsigned mt_rpc_stream_thread(const struct mt_rpc_stream *s)
{
	return s->thread->index;
}
