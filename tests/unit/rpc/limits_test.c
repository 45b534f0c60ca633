/* Back-pressure, limits, many streams, wakes from many threads, drain. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/pki/identity.h"
#include "tests/unit/rpc/rpc_unit.h"

/* ---- a flood: sends 256 kB messages as long as the peer takes them ---- */

struct flood {
	int sent, closed, status;
	char why[128];
};

static void flood_send(struct mt_rpc_stream *s)
{
	enum { SIZE = 256 * 1024 };
	mt_slice m = mt_slice_take(mt_alloc(SIZE), SIZE);

	mt_rpc_stream_send(s, &m, 1);
}
static void flood_message(struct mt_rpc_stream *s, const void *p MT_UNUSED, size_t n MT_UNUSED)
{
	flood_send(s);
}
static void flood_sent(struct mt_rpc_stream *s)
{
	struct flood *f = mt_rpc_stream_user(s);

	note(&f->sent, 1);
	flood_send(s);
}
static void flood_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	struct flood *f = mt_rpc_stream_user(s);

	pthread_mutex_lock(&mu);
	f->status = status;
	snprintf(f->why, sizeof(f->why), "%s", msg);
	pthread_mutex_unlock(&mu);
	note(&f->closed, 1);
}
static const struct mt_rpc_ops flood_ops = {
	.message = flood_message,
	.sent = flood_sent,
	.close = flood_close,
};

START_TEST(stalled_reader)
{
	struct flood f = { 0 };
	const struct mt_rpc_method m[] = {
		{ .path = "/t.T/Flood", .ops = &flood_ops, .ctx = &f },
		{ .path = "/t.T/Echo", .ops = &echo_ops },
	};
	const struct mt_rpc_server_opts o = { .send_timeout_ns = 300 * MT_NS_PER_MS };
	struct mt_rpc_env *e = mt_rpc_env_new(1); /* one thread: the stall must not hold it */
	struct mt_rpc_server *s;
	uint16_t port = start_server(e, &o, m, 2, &s);
	struct mt_rpc_channel *a = connect_to(e, port, NULL), *b = connect_to(e, port, NULL);
	struct cli stalled = { .stall = true }, other = { 0 };

	cli_open(&other, b, "/t.T/Echo");
	cli_open(&stalled, a, "/t.T/Flood");
	cli_send(&stalled, "go"); /* pauses, then asks */
	int n = 0;
	while (!peek(&f.closed)) { /* the others go on meanwhile */
		cli_done(&other);
		memset(&other, 0, sizeof(other));
		cli_open(&other, b, "/t.T/Echo");
		cli_send(&other, "hello");
		ck_assert(await_count(&other.messages, 1));
		cli_finish(&other);
		ck_assert(await_count(&other.closed, 1));
		n++;
	}
	ck_assert_int_gt(n, 2);
	ck_assert_int_eq(f.status, DEADLINE);
	ck_assert_str_eq(f.why, "the peer did not take a message within 300 ms");
	ck_assert_int_lt(f.sent, 100); /* flow control held the rest back */
	mt_rpc_channel_free(a);
	mt_rpc_channel_free(b);
	ck_assert(await_count(&stalled.closed, 1));
	cli_done(&other);
	cli_done(&stalled);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(reading_goes_on_after_a_pause)
{
	struct flood f = { 0 };
	const struct mt_rpc_method m[] = { { .path = "/t.T/Flood", .ops = &flood_ops, .ctx = &f } };
	struct mt_rpc_env *e = mt_rpc_env_new(1);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *a = connect_to(e, start_server(e, NULL, m, 1, &s), NULL);
	struct cli c = { 0 };

	cli_open(&c, a, "/t.T/Flood");
	cli_send(&c, "go");
	ck_assert(await_count(&c.messages, 50));
	mt_rpc_channel_free(a);
	ck_assert(await_count(&c.closed, 1));
	ck_assert(await_count(&f.closed, 1));
	cli_done(&c);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
}
END_TEST

/* ---- streams ---- */

static const struct mt_rpc_method echo_only[] = { { .path = "/t.T/Echo", .ops = &echo_ops } };

START_TEST(two_hundred_streams)
{
	enum { N = 200, CONNS = 10 };
	static struct cli c[N];
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch[CONNS];
	uint16_t port = start_server(e, NULL, echo_only, 1, &s);

	memset(c, 0, sizeof(c));
	for (int i = 0; i < CONNS; i++)
		ch[i] = connect_to(e, port, NULL);
	for (int i = 0; i < N; i++)
		cli_open(&c[i], ch[i % CONNS], "/t.T/Echo");
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < N; i++)
			cli_send(&c[i], "x");
		for (int i = 0; i < N; i++)
			ck_assert(await_count(&c[i].messages, round));
	}
	ck_assert_uint_eq(mt_rpc_server_streams(s), N);
	for (int i = 0; i < N; i++)
		cli_finish(&c[i]);
	for (int i = 0; i < N; i++) {
		ck_assert(await_count(&c[i].closed, 1));
		ck_assert_int_eq(c[i].status, OK);
		cli_done(&c[i]);
	}
	for (int i = 0; i < CONNS; i++)
		mt_rpc_channel_free(ch[i]);
	mt_rpc_server_stop(s, MT_NS_PER_SEC);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(stream_limit)
{
	const struct mt_rpc_server_opts o = { .max_streams = 5 };
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch = connect_to(e, start_server(e, &o, echo_only, 1, &s), NULL);
	struct cli c[6] = { 0 };

	for (int i = 0; i < 5; i++) {
		cli_open(&c[i], ch, "/t.T/Echo");
		cli_send(&c[i], "x");
		ck_assert(await_count(&c[i].messages, 1));
	}
	cli_open(&c[5], ch, "/t.T/Echo");
	ck_assert(await_count(&c[5].closed, 1));
	ck_assert_int_eq(c[5].status, EXHAUSTED);
	ck_assert_str_eq(c[5].why, "more than 5 streams");
	cli_send(&c[0], "still here");
	ck_assert(await_count(&c[0].messages, 2));
	mt_rpc_channel_free(ch);
	for (int i = 0; i < 6; i++) {
		ck_assert(await_count(&c[i].closed, 1));
		cli_done(&c[i]);
	}
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
}
END_TEST

/* ---- wakes ---- */

struct woken {
	struct mt_rpc_stream *s; /* a reference, once open */
	int opened, wakes, closed;
	atomic_int inside;
	atomic_bool overlap;
};
static int woken_open(struct mt_rpc_stream *s, void *ctx, struct mt_err *err MT_UNUSED)
{
	struct woken *w = ctx;

	w->s = mt_rpc_stream_ref(s);
	note(&w->opened, 1);
	return 0;
}
static void woken_wake(struct mt_rpc_stream *s)
{
	struct woken *w = mt_rpc_stream_user(s);

	if (atomic_fetch_add(&w->inside, 1))
		atomic_store(&w->overlap, true);
	note(&w->wakes, 1);
	atomic_fetch_sub(&w->inside, 1);
}
static void woken_close(struct mt_rpc_stream *s, int st MT_UNUSED, const char *m MT_UNUSED)
{
	struct woken *w = mt_rpc_stream_user(s);

	note(&w->closed, 1);
}
static const struct mt_rpc_ops woken_ops = {
	.open = woken_open,
	.wake = woken_wake,
	.close = woken_close,
};

static atomic_bool stop_waking;
static void *waker(void *arg)
{
	struct woken *w = arg;

	while (!atomic_load(&stop_waking))
		mt_rpc_stream_wake(w->s);
	return NULL;
}

START_TEST(wake_storm)
{
	struct woken w = { 0 };
	const struct mt_rpc_method m[] = { { .path = "/t.T/W", .ops = &woken_ops, .ctx = &w } };
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch = connect_to(e, start_server(e, NULL, m, 1, &s), NULL);
	struct cli c = { 0 };
	pthread_t t[3];

	atomic_store(&stop_waking, false);
	cli_open(&c, ch, "/t.T/W");
	ck_assert(await_count(&w.opened, 1));
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, waker, &w);
	ck_assert(await_count(&w.wakes, 1000));
	/* It ends while they go on: no wake after close, no crash. */
	mt_rpc_channel_free(ch);
	ck_assert(await_count(&w.closed, 1));
	int after = peek(&w.wakes);
	atomic_store(&stop_waking, true);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(peek(&w.wakes), after);
	ck_assert(!atomic_load(&w.overlap));
	/* Each wake from here on is seen, none is lost. */
	mt_rpc_stream_unref(w.s);
	ck_assert(await_count(&c.closed, 1));
	cli_done(&c);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(no_wake_is_lost)
{
	struct woken w = { 0 };
	const struct mt_rpc_method m[] = { { .path = "/t.T/W", .ops = &woken_ops, .ctx = &w } };
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch = connect_to(e, start_server(e, NULL, m, 1, &s), NULL);
	struct cli c = { 0 };

	cli_open(&c, ch, "/t.T/W");
	ck_assert(await_count(&w.opened, 1));
	for (int i = 0; i < 3000; i++) {
		mt_rpc_stream_wake(w.s);
		ck_assert(await_count(&w.wakes, i + 1));
	}
	mt_rpc_stream_unref(w.s);
	mt_rpc_channel_free(ch);
	ck_assert(await_count(&c.closed, 1));
	cli_done(&c);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
}
END_TEST

/* ---- drain ---- */

static void *stopper(void *arg)
{
	mt_rpc_server_stop(arg, 20 * MT_NS_PER_SEC);
	return NULL;
}

START_TEST(drain)
{
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	uint16_t port = start_server(e, NULL, echo_only, 1, &s);
	struct mt_rpc_channel *ch = connect_to(e, port, NULL), *late = connect_to(e, port, NULL);
	struct cli c = { 0 };
	struct one o;
	pthread_t t;

	cli_open(&c, ch, "/t.T/Echo");
	cli_send(&c, "a");
	ck_assert(await_count(&c.messages, 1));
	int64_t begin = mt_mono(&mt_clock_system);
	pthread_create(&t, NULL, stopper, s);
	while (ask(late, "/t.T/Echo", "x", &o) != UNAVAILABLE)
		;          /* until the listener is closed */
	cli_send(&c, "b"); /* the open one goes on */
	ck_assert(await_count(&c.messages, 2));
	ck_assert_int_eq(peek(&c.closed), 0);
	cli_finish(&c);
	ck_assert(await_count(&c.closed, 1));
	ck_assert_int_eq(c.status, OK);
	pthread_join(t, NULL);
	ck_assert_int_lt(mt_mono(&mt_clock_system) - begin, 15 * MT_NS_PER_SEC);
	cli_done(&c);
	mt_rpc_channel_free(ch);
	mt_rpc_channel_free(late);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(drain_ends)
{
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch = connect_to(e, start_server(e, NULL, echo_only, 1, &s), NULL);
	struct cli c = { 0 };

	cli_open(&c, ch, "/t.T/Echo");
	cli_send(&c, "a");
	ck_assert(await_count(&c.messages, 1));
	mt_rpc_server_stop(s, 100 * MT_NS_PER_MS);
	ck_assert(await_count(&c.closed, 1));
	ck_assert_int_ne(c.status, OK);
	cli_done(&c);
	mt_rpc_channel_free(ch);
	mt_rpc_env_free(e);
}
END_TEST

/* ---- addresses ---- */

static int try_start(struct mt_rpc_env *e, const char *addr, struct mt_err *err)
{
	struct mt_rpc_server *s = NULL;
	const char *addrs[] = { addr };
	int r = mt_rpc_server_start(e, NULL, addrs, 1, echo_only, 1, &s, err);

	mt_rpc_server_stop(s, 0);
	return r;
}

START_TEST(addresses)
{
	static const char *const bad[] = { "0.0.0.0:0", ":0", "[::]:0", "10.0.0.1:80",
		"localhost:0", "x", "", "127.0.0.1", "127.0.0.1:99999", "unix:" };
	struct mt_rpc_env *e = mt_rpc_env_new(1);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch = NULL;
	struct mt_err err = { 0 };
	char longpath[200] = "unix:/tmp/", taken[64];

	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(try_start(e, bad[i], &err) == MT_INVALID, "%s: %s", bad[i], err.msg);
	memset(longpath + 10, 'a', 150);
	ck_assert_int_eq(try_start(e, longpath, &err), MT_INVALID);
	ck_assert_int_eq(try_start(e, "unix:/nonexistent/dir/s", &err), MT_NOT_FOUND);
	/* A port in use is an error that says so, and the server that holds it is not hurt. */
	snprintf(taken, sizeof(taken), "127.15.0.1:%u", start_server(e, NULL, echo_only, 1, &s));
	ck_assert_int_eq(try_start(e, taken, &err), MT_IO);
	ck_assert_msg(strstr(err.msg, "in use"), "%s", err.msg);
	mt_rpc_server_stop(s, 0);
	ck_assert_int_eq(try_start(e, "[::1]:0", &err), 0);
	/* Channels: plaintext stays on the machine, TLS names whom it expects. */
	ck_assert_int_eq(mt_rpc_channel_new(e, "10.0.0.1:80", NULL, &ch, &err), MT_INVALID);
	ck_assert_int_eq(mt_rpc_channel_new(e, "localhost:80", NULL, &ch, &err), MT_INVALID);
	struct mt_identity_slot *slot = mt_identity_slot_new();
	const struct mt_rpc_channel_opts o = { .identity = slot };
	ck_assert_int_eq(mt_rpc_channel_new(e, "127.0.0.1:80", &o, &ch, &err), MT_INVALID);
	mt_identity_slot_free(slot);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(unix_socket)
{
	struct mt_rpc_env *e = mt_rpc_env_new(1);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch = NULL;
	char dir[] = "/tmp/mt-rpc-XXXXXX", addr[64];
	struct stat st;
	struct one o;
	static const struct mt_rpc_method m[] = { { .path = "/t.T/Unary", .ops = &unary_ops } };

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(addr, sizeof(addr), "unix:%s/s", dir);
	const char *addrs[] = { ADDR, addr };
	ck_assert_int_eq(mt_rpc_server_start(e, NULL, addrs, 2, m, 1, &s, NULL), 0);
	ck_assert_uint_gt(mt_rpc_server_port(s, 0), 0);
	ck_assert_uint_eq(mt_rpc_server_port(s, 1), 0);
	ck_assert_int_eq(stat(addr + 5, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(mt_rpc_channel_new(e, addr, NULL, &ch, NULL), 0);
	ck_assert_int_eq(ask(ch, "/t.T/Unary", "hello", &o), OK);
	ck_assert_str_eq(o.answer, "hello");
	mt_rpc_channel_free(ch);
	mt_rpc_server_stop(s, 0);
	unlink(addr + 5);
	ck_assert_int_eq(rmdir(dir), 0);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(backoff)
{
	for (unsigned n = 0; n < 100; n++) {
		int64_t max = n < 6 ? (250 * MT_NS_PER_MS) << n : 15 * MT_NS_PER_SEC;
		for (int i = 0; i < 100; i++) {
			int64_t d = mt_rpc_backoff_ns(n);
			ck_assert(d >= max / 2 && d <= max);
		}
	}
}
END_TEST

MT_UNIT(rpc_limits, stalled_reader, reading_goes_on_after_a_pause, two_hundred_streams,
	stream_limit, wake_storm, no_wake_is_lost, drain, drain_ends, addresses, unix_socket,
	backoff)
