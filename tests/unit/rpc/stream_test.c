#include "tests/unit/rpc/rpc_unit.h"

static const struct mt_rpc_method methods[] = {
	{ .path = "/t.T/Echo", .ops = &echo_ops },
	{ .path = "/t.T/Unary", .ops = &unary_ops, .max_message = 1000 },
};

struct rig {
	struct mt_rpc_env *env;
	struct mt_rpc_server *server;
	struct mt_rpc_channel *ch;
};

static void rig_up(struct rig *g, const struct mt_rpc_server_opts *o)
{
	g->env = mt_rpc_env_new(2);
	uint16_t port = start_server(g->env, o, methods, 2, &g->server);
	g->ch = connect_to(g->env, port, NULL);
}

static void rig_down(struct rig *g)
{
	mt_rpc_channel_free(g->ch);
	mt_rpc_server_stop(g->server, 0);
	mt_rpc_env_free(g->env);
}

START_TEST(unary)
{
	struct rig g;
	struct one o;

	rig_up(&g, NULL);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "hello", &o), OK);
	ck_assert_str_eq(o.answer, "hello");
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "peer", &o), OK);
	ck_assert_str_eq(o.answer, "");
	rig_down(&g);
}
END_TEST

START_TEST(metadata)
{
	const struct mt_kv_meta meta[] = { { "authorization", "Bearer x" } };
	const struct mt_kv_meta bad[] = { { "authorization", "Bearer\nx" } };
	struct rig g;
	struct one o = { 0 };

	rig_up(&g, NULL);
	mt_rpc_unary(g.ch, "/t.T/Unary", "meta", 4, 0, meta, 1, one_done, &o);
	ck_assert(await_count(&o.done, 1));
	ck_assert_str_eq(o.answer, "Bearer x");
	memset(&o, 0, sizeof(o));
	mt_rpc_unary(g.ch, "/t.T/Unary", "meta", 4, 0, bad, 1, one_done, &o);
	ck_assert(await_count(&o.done, 1));
	ck_assert_int_eq(o.status, 3);
	rig_down(&g);
}
END_TEST

START_TEST(bidi)
{
	struct rig g;
	struct cli c = { 0 };

	rig_up(&g, NULL);
	cli_open(&c, g.ch, "/t.T/Echo");
	for (int i = 0; i < 5; i++) {
		char text[16];
		snprintf(text, sizeof(text), "m%d", i);
		cli_send(&c, text);
		ck_assert(await_count(&c.messages, i + 1));
		ck_assert_str_eq(c.last, text);
	}
	ck_assert_uint_eq(mt_rpc_server_streams(g.server), 1);
	cli_finish(&c);
	ck_assert(await_count(&c.closed, 1));
	ck_assert_int_eq(c.status, OK);
	cli_done(&c);
	rig_down(&g);
}
END_TEST

START_TEST(unimplemented)
{
	struct rig g;
	struct one o;

	rig_up(&g, NULL);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(ask(g.ch, "/t.T/Nothing", "x", &o), UNIMPLEMENTED);
	ck_assert_str_eq(o.why, "unknown method /t.T/Nothing");
	rig_down(&g);
}
END_TEST

START_TEST(too_large)
{
	struct rig g;
	struct one o;
	static char big[1200];

	memset(big, 'x', sizeof(big) - 1);
	rig_up(&g, NULL);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", big, &o), EXHAUSTED);
	ck_assert_str_eq(o.why, "a message of 1199 bytes is beyond 1000");
	/* Beyond what core lets through at all. */
	size_t n = 5 * 1024 * 1024;
	char *huge = mt_alloc(n);
	memset(huge, 'x', n - 1);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", huge, &o), EXHAUSTED);
	mt_free(huge);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "small", &o), OK);
	rig_down(&g);
}
END_TEST

START_TEST(deadline)
{
	struct rig g;
	struct one o = { 0 };

	rig_up(&g, NULL);
	mt_rpc_unary(g.ch, "/t.T/Unary", "hang", 4, 50 * MT_NS_PER_MS, NULL, 0, one_done, &o);
	ck_assert(await_count(&o.done, 1));
	ck_assert_int_eq(o.status, DEADLINE);
	rig_down(&g);
}
END_TEST

/* The server does not watch the client's clock (server.c): it hears of the end from the client. */
START_TEST(deadline_ends_the_server_side_too)
{
	struct rig g;
	int before = peek(&echo_closed);

	rig_up(&g, NULL);
	for (int64_t d = 100 * MT_NS_PER_MS;; d *= 2) { /* until the call got there in time */
		struct cli c = { 0 };
		cli_open_for(&c, g.ch, "/t.T/Echo", d);
		cli_send(&c, "x");
		ck_assert(await_count(&c.closed, 1));
		ck_assert_int_eq(c.status, DEADLINE);
		cli_done(&c);
		if (c.messages)
			break;
	}
	ck_assert(await_count(&echo_closed, before + 1));
	ck_assert_int_eq(echo_last_status, CANCELLED);
	rig_down(&g);
}
END_TEST

START_TEST(cancel_by_peer)
{
	struct rig g;
	struct cli c = { 0 };
	int before = peek(&echo_closed);

	rig_up(&g, NULL);
	cli_open(&c, g.ch, "/t.T/Echo");
	cli_send(&c, "x");
	ck_assert(await_count(&c.messages, 1));
	mt_rpc_channel_free(MT_TAKE(g.ch)); /* cancels */
	ck_assert(await_count(&c.closed, 1));
	ck_assert_int_eq(c.status, CANCELLED);
	ck_assert(await_count(&echo_closed, before + 1));
	ck_assert_int_eq(echo_last_status, CANCELLED);
	cli_done(&c);
	rig_down(&g);
}
END_TEST

START_TEST(no_server)
{
	struct rig g;
	struct one o;
	struct cli c = { 0 };

	rig_up(&g, NULL);
	uint16_t port = mt_rpc_server_port(g.server, 0);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "x", &o), OK);
	mt_rpc_server_stop(MT_TAKE(g.server), 0);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "x", &o), UNAVAILABLE);
	cli_open(&c, g.ch, "/t.T/Echo");
	ck_assert(await_count(&c.closed, 1));
	ck_assert_int_eq(c.status, UNAVAILABLE);
	cli_done(&c);
	/* It comes back: the channel finds it without a new one, within the least time between tries. */
	char addr[64];
	const char *addrs[] = { addr };
	snprintf(addr, sizeof(addr), "127.15.0.1:%u", port);
	ck_assert_int_eq(
		mt_rpc_server_start(g.env, NULL, addrs, 1, methods, 2, &g.server, NULL), 0);
	int tries = 0;
	while (ask(g.ch, "/t.T/Unary", "x", &o) != OK)
		ck_assert_int_lt(++tries, 100000);
	rig_down(&g);
}
END_TEST

/* ---- refusal by open ---- */

static int refuse_open(struct mt_rpc_stream *s MT_UNUSED, void *ctx, struct mt_err *err)
{
	return mt_fail(err, MT_DENIED, NULL, "not %s", (const char *)ctx);
}
static void never_message(
	struct mt_rpc_stream *s MT_UNUSED, const void *p MT_UNUSED, size_t n MT_UNUSED)
{
	abort();
}
static void never_close(
	struct mt_rpc_stream *s MT_UNUSED, int st MT_UNUSED, const char *m MT_UNUSED)
{
	abort();
}

START_TEST(refused)
{
	static const struct mt_rpc_ops ops = {
		.open = refuse_open, .message = never_message, .close = never_close
	};
	const struct mt_rpc_method m[] = { { .path = "/t.T/R", .ops = &ops, .ctx = "you" } };
	struct mt_rpc_env *e = mt_rpc_env_new(1);
	struct mt_rpc_server *s;
	struct mt_rpc_channel *ch = connect_to(e, start_server(e, NULL, m, 1, &s), NULL);
	struct one o;

	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(ask(ch, "/t.T/R", "x", &o), DENIED);
	ck_assert_str_eq(o.why, "not you");
	mt_rpc_channel_free(ch);
	mt_rpc_server_stop(s, MT_NS_PER_SEC);
	mt_rpc_env_free(e);
}
END_TEST

MT_UNIT(rpc_stream, unary, metadata, bidi, unimplemented, too_large, deadline,
	deadline_ends_the_server_side_too, cancel_by_peer, no_server, refused)
