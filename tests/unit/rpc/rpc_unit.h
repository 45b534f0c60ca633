/* A server and clients in one process, for the tests of common/rpc. What ops see is recorded under a
 * lock; tests wait for conditions on it. */
#pragma once

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/rpc/rpc.h"
#include "tests/unit/unit.h"

#define ADDR "127.15.0.1:0"
enum {
	OK = 0,
	CANCELLED = 1,
	DEADLINE = 4,
	EXHAUSTED = 8,
	UNIMPLEMENTED = 12,
	UNAVAILABLE = 14,
	UNAUTHENTICATED = 16,
	DENIED = 7
};

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static MT_UNUSED void note(int *counter, int add)
{
	pthread_mutex_lock(&mu);
	*counter += add;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
}

static MT_UNUSED int peek(const int *counter)
{
	pthread_mutex_lock(&mu);
	int v = *counter;
	pthread_mutex_unlock(&mu);
	return v;
}

/* Waits until *counter is at least n; false after 30 s. */
static MT_UNUSED bool await_count(const int *counter, int n)
{
	struct timespec end;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 30;
	pthread_mutex_lock(&mu);
	while (*counter < n && r == 0)
		r = pthread_cond_timedwait(&changed, &mu, &end);
	bool reached = *counter >= n;
	pthread_mutex_unlock(&mu);
	return reached;
}

/* ---- a client stream that sends what the test gives it and records what comes ---- */

struct cli {
	struct mt_rpc_stream *s;
	mt_slice out[8]; /* to send, in order */
	int nout, next;
	bool finish;
	bool stall; /* never reads */
	int messages, sent, wakes, closed;
	size_t bytes;
	int status;
	char why[256];
	char last[64];
	char peer[MT_SPIFFE_ID_MAX];
};

static void cli_push(struct cli *c)
{
	pthread_mutex_lock(&mu);
	bool more = c->next < c->nout, done = !more && c->finish;
	mt_slice m = more ? c->out[c->next++] : grpc_empty_slice();
	pthread_mutex_unlock(&mu);
	if (more)
		mt_rpc_stream_send(c->s, &m, 1);
	else if (done)
		mt_rpc_stream_finish(c->s, 0, NULL);
}

static void cli_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	struct cli *c = mt_rpc_stream_user(s);

	pthread_mutex_lock(&mu);
	snprintf(c->last, sizeof(c->last), "%.*s", (int)MT_MIN(n, 60), (const char *)p);
	snprintf(c->peer, sizeof(c->peer), "%s", mt_rpc_stream_peer(s)->spiffe_id);
	c->bytes += n;
	pthread_mutex_unlock(&mu);
	note(&c->messages, 1);
}

static void cli_sent(struct mt_rpc_stream *s)
{
	struct cli *c = mt_rpc_stream_user(s);

	note(&c->sent, 1);
	cli_push(c);
}

static void cli_wake(struct mt_rpc_stream *s)
{
	struct cli *c = mt_rpc_stream_user(s);

	note(&c->wakes, 1);
	if (c->stall)
		mt_rpc_stream_pause(s, true);
	if (!mt_rpc_stream_sending(s))
		cli_push(c);
}

static void cli_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	struct cli *c = mt_rpc_stream_user(s);

	pthread_mutex_lock(&mu);
	c->status = status;
	snprintf(c->why, sizeof(c->why), "%s", msg);
	pthread_mutex_unlock(&mu);
	note(&c->closed, 1);
}

static const struct mt_rpc_ops cli_ops = {
	.message = cli_message,
	.sent = cli_sent,
	.wake = cli_wake,
	.close = cli_close,
};

static MT_UNUSED void cli_open_for(
	struct cli *c, struct mt_rpc_channel *ch, const char *path, int64_t deadline_ns)
{
	/* The ops run on another thread as soon as the call is posted: they take c->s under the lock. */
	pthread_mutex_lock(&mu);
	c->s = mt_rpc_call(ch, path, &cli_ops, c, deadline_ns, NULL, 0);
	pthread_mutex_unlock(&mu);
}

static MT_UNUSED void cli_open(struct cli *c, struct mt_rpc_channel *ch, const char *path)
{
	cli_open_for(c, ch, path, 0);
}

static MT_UNUSED void cli_send(struct cli *c, const char *text)
{
	pthread_mutex_lock(&mu);
	c->out[c->nout++] = mt_slice_copy(text, strlen(text));
	pthread_mutex_unlock(&mu);
	mt_rpc_stream_wake(c->s);
}

static MT_UNUSED void cli_finish(struct cli *c)
{
	pthread_mutex_lock(&mu);
	c->finish = true;
	pthread_mutex_unlock(&mu);
	mt_rpc_stream_wake(c->s);
}

static MT_UNUSED void cli_done(struct cli *c)
{
	mt_rpc_stream_unref(c->s);
	while (c->next < c->nout) /* it ended before */
		mt_slice_unref(c->out[c->next++]);
}

/* ---- unary calls ---- */

struct one {
	int done;
	int status;
	char why[256];
	char answer[64];
};

static MT_UNUSED void one_done(void *ctx, int status, const char *msg, const void *p, size_t n)
{
	struct one *o = ctx;

	pthread_mutex_lock(&mu);
	o->status = status;
	snprintf(o->why, sizeof(o->why), "%s", msg);
	snprintf(o->answer, sizeof(o->answer), "%.*s", (int)MT_MIN(n, 60), (const char *)p);
	pthread_mutex_unlock(&mu);
	note(&o->done, 1);
}

static MT_UNUSED int ask(
	struct mt_rpc_channel *ch, const char *path, const char *text, struct one *o)
{
	memset(o, 0, sizeof(*o));
	mt_rpc_unary(ch, path, text, strlen(text), 20 * MT_NS_PER_SEC, NULL, 0, one_done, o);
	ck_assert(await_count(&o->done, 1));
	return o->status;
}

/* ---- the server's methods ---- */

static void echo_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	mt_slice m = mt_slice_copy(p, n);

	ck_assert_int_eq(mt_rpc_stream_send(s, &m, 1), 0);
}
static void echo_half_close(struct mt_rpc_stream *s)
{
	mt_rpc_stream_finish(s, OK, NULL);
}
static int echo_closed, echo_last_status;
static void echo_close(struct mt_rpc_stream *s MT_UNUSED, int status, const char *msg MT_UNUSED)
{
	pthread_mutex_lock(&mu);
	echo_last_status = status;
	pthread_mutex_unlock(&mu);
	note(&echo_closed, 1);
}
static MT_UNUSED const struct mt_rpc_ops echo_ops = {
	.message = echo_message,
	.half_close = echo_half_close,
	.close = echo_close,
};

/* Answers with the request, or with what it asks about. */
static void unary_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	const char *token = mt_rpc_stream_metadata(s, "authorization");
	mt_slice m;

	if (n == 4 && memcmp(p, "meta", 4) == 0)
		m = mt_slice_copy(token ? token : "none", strlen(token ? token : "none"));
	else if (n == 4 && memcmp(p, "peer", 4) == 0)
		m = mt_slice_copy(
			mt_rpc_stream_peer(s)->spiffe_id, strlen(mt_rpc_stream_peer(s)->spiffe_id));
	else if (n == 4 && memcmp(p, "hang", 4) == 0)
		return;
	else
		m = mt_slice_copy(p, n);
	mt_rpc_stream_reply(s, &m, 1);
}
static MT_UNUSED const struct mt_rpc_ops unary_ops = {
	.message = unary_message,
	.close = echo_close,
};

static MT_UNUSED uint16_t start_server(struct mt_rpc_env *e, const struct mt_rpc_server_opts *o,
	const struct mt_rpc_method *m, size_t n, struct mt_rpc_server **ret)
{
	struct mt_err err = { 0 };
	const char *addrs[] = { ADDR };

	int r = mt_rpc_server_start(e, o, addrs, 1, m, n, ret, &err);
	ck_assert_msg(r == 0, "%s", err.msg);
	return mt_rpc_server_port(*ret, 0);
}

static MT_UNUSED struct mt_rpc_channel *connect_to(
	struct mt_rpc_env *e, uint16_t port, const struct mt_rpc_channel_opts *o)
{
	struct mt_rpc_channel *c = NULL;
	struct mt_err err = { 0 };
	char target[64];

	snprintf(target, sizeof(target), "127.15.0.1:%u", port);
	int r = mt_rpc_channel_new(e, target, o, &c, &err);
	ck_assert_msg(r == 0, "%s", err.msg);
	return c;
}
