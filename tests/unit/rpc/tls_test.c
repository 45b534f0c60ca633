/* Who may talk to whom: the matrix of identities, both directions, and renewal without a restart. */
#include "tests/unit/pki/pki_unit.h"
#include "tests/unit/rpc/rpc_unit.h"

#define SERVER_ID "spiffe://mesh.test/ns/sys/sa/galley"
#define CLIENT_ID "spiffe://mesh.test/ns/sys/sa/pilot"

static const struct mt_rpc_method methods[] = {
	{ .path = "/t.T/Echo", .ops = &echo_ops },
	{ .path = "/t.T/Unary", .ops = &unary_ops },
};
static const char *const server_ids[] = { SERVER_ID, NULL };

struct rig {
	struct ca ca;
	struct mt_identity_slot *ours, *theirs; /* server, client */
	struct mt_rpc_env *env;
	struct mt_rpc_server *server;
	struct mt_rpc_channel *ch;
};

static struct mt_rpc_channel *channel(struct rig *g, const char *const *ids, bool no_cert)
{
	const struct mt_rpc_channel_opts o = {
		.identity = g->theirs, .server_ids = ids, .no_client_cert = no_cert
	};

	return connect_to(g->env, mt_rpc_server_port(g->server, 0), &o);
}

static void rig_up(struct rig *g, bool optional)
{
	memset(g, 0, sizeof(*g));
	ca_make(&g->ca, "mesh.test");
	g->ours = mt_identity_slot_new();
	g->theirs = mt_identity_slot_new();
	slot_fill(g->ours, &g->ca, SERVER_ID, g->ca.pem);
	slot_fill(g->theirs, &g->ca, CLIENT_ID, g->ca.pem);
	g->env = mt_rpc_env_new(2);
	const struct mt_rpc_server_opts o = { .identity = g->ours,
		.client_cert_optional = optional };
	start_server(g->env, &o, methods, 2, &g->server);
	g->ch = channel(g, server_ids, false);
}

static void rig_down(struct rig *g)
{
	mt_rpc_channel_free(g->ch);
	mt_rpc_server_stop(g->server, 0);
	mt_rpc_env_free(g->env);
	mt_identity_slot_free(g->ours);
	mt_identity_slot_free(g->theirs);
	ca_clear(&g->ca);
}

/* A call on a channel that must fail, without reaching the server. */
static void refused(struct mt_rpc_channel *ch, const char *part)
{
	struct one o;
	int s = ask(ch, "/t.T/Unary", "x", &o);

	ck_assert_msg(s == UNAVAILABLE || s == UNAUTHENTICATED, "status %d: %s", s, o.why);
	ck_assert_msg(!part || strstr(o.why, part), "%s", o.why);
}

START_TEST(both_known)
{
	struct rig g;
	struct one o;
	struct cli c = { 0 };

	rig_up(&g, false);
	int r = ask(g.ch, "/t.T/Unary", "peer", &o);
	ck_assert_msg(r == OK, "status %d: %s", r, o.why);
	ck_assert_str_eq(o.answer, CLIENT_ID);
	cli_open(&c, g.ch, "/t.T/Echo");
	cli_send(&c, "hello");
	ck_assert(await_count(&c.messages, 1));
	ck_assert_str_eq(c.peer, SERVER_ID);
	cli_finish(&c);
	ck_assert(await_count(&c.closed, 1));
	cli_done(&c);
	rig_down(&g);
}
END_TEST

START_TEST(wrong_server_identity)
{
	static const char *const others[] = { "spiffe://mesh.test/ns/sys/sa/galley2",
		"spiffe://mesh.test/ns/sys/sa/galle", NULL };
	struct rig g;

	rig_up(&g, false);
	struct mt_rpc_channel *ch = channel(&g, others, false);
	refused(ch, "the server is " SERVER_ID);
	refused(ch, NULL);
	mt_rpc_channel_free(ch);
	rig_down(&g);
}
END_TEST

START_TEST(one_of_several_server_identities)
{
	static const char *const ids[] = { "spiffe://mesh.test/ns/a/sa/b", SERVER_ID, NULL };
	struct rig g;
	struct one o;

	rig_up(&g, false);
	struct mt_rpc_channel *ch = channel(&g, ids, false);
	ck_assert_int_eq(ask(ch, "/t.T/Unary", "x", &o), OK);
	mt_rpc_channel_free(ch);
	rig_down(&g);
}
END_TEST

START_TEST(unknown_roots)
{
	struct rig g;
	struct ca other;

	rig_up(&g, false);
	ca_make(&other, "mesh.test");
	/* The client trusts another root than the server's. */
	slot_fill(g.theirs, &g.ca, CLIENT_ID, other.pem);
	refused(g.ch, NULL);
	/* The client's certificate comes from a root that the server does not know. */
	slot_fill(g.theirs, &other, CLIENT_ID, g.ca.pem);
	refused(g.ch, NULL);
	/* The server learns it: the new roots count from the next handshake on. */
	char *both = NULL;
	ck_assert_int_eq(mt_bundle_merge(g.ca.pem, other.pem, &both, NULL), 0);
	slot_fill(g.ours, &g.ca, SERVER_ID, both);
	slot_fill(g.theirs, &other, CLIENT_ID, g.ca.pem);
	struct one o;
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "peer", &o), OK);
	ck_assert_str_eq(o.answer, CLIENT_ID);
	mt_free(both);
	ca_clear(&other);
	rig_down(&g);
}
END_TEST

START_TEST(expired)
{
	struct rig g;
	struct one o;

	rig_up(&g, false);
	struct mt_identity *old =
		identity_at(&g.ca, CLIENT_ID, g.ca.pem, now_ns() - 2 * HOUR, HOUR);
	mt_identity_slot_set(g.theirs, old);
	mt_identity_unref(old);
	refused(g.ch, NULL);
	slot_fill(g.theirs, &g.ca, CLIENT_ID, g.ca.pem);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "x", &o), OK);
	/* The server's: a new connection meets it. */
	old = identity_at(&g.ca, SERVER_ID, g.ca.pem, now_ns() - 2 * HOUR, HOUR);
	mt_identity_slot_set(g.ours, old);
	mt_identity_unref(old);
	slot_fill(g.theirs, &g.ca, CLIENT_ID, g.ca.pem);
	refused(g.ch, NULL);
	slot_fill(g.ours, &g.ca, SERVER_ID, g.ca.pem);
	slot_fill(g.theirs, &g.ca, CLIENT_ID, g.ca.pem);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "x", &o), OK);
	rig_down(&g);
}
END_TEST

/* A certificate that ends while its connection lives: later calls on the connection are refused. */
START_TEST(expires_on_a_live_connection)
{
	struct rig g;
	struct one o;
	int64_t now = now_ns();

	rig_up(&g, false);
	struct mt_identity *brief =
		identity_at(&g.ca, CLIENT_ID, g.ca.pem, now - HOUR, HOUR + 3 * MT_NS_PER_SEC);
	mt_identity_slot_set(g.theirs, brief);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "x", &o), OK);
	int s = OK;
	while (s == OK && now_ns() < now + 20 * MT_NS_PER_SEC)
		s = ask(g.ch, "/t.T/Unary", "x", &o);
	ck_assert_int_ge(now_ns(), brief->not_after_ns);
	ck_assert_int_eq(s, UNAUTHENTICATED);
	mt_identity_unref(brief);
	rig_down(&g);
}
END_TEST

START_TEST(renewed_server_certificate)
{
	struct rig g;
	struct one o;
	struct ca next;
	char *both = NULL;

	/* The server moves to a certificate of a new root, while a stream stays open. */
	rig_up(&g, false);
	struct cli c = { 0 };
	cli_open(&c, g.ch, "/t.T/Echo");
	cli_send(&c, "a");
	ck_assert(await_count(&c.messages, 1));
	ca_make(&next, "mesh.test");
	ck_assert_int_eq(mt_bundle_merge(g.ca.pem, next.pem, &both, NULL), 0);
	slot_fill(g.ours, &next, SERVER_ID, both);
	/* A client that trusts the new root alone is the proof that the new certificate is shown. */
	slot_fill(g.theirs, &g.ca, CLIENT_ID, next.pem);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "peer", &o), OK);
	ck_assert_str_eq(o.answer, CLIENT_ID);
	cli_send(&c, "b"); /* on the old connection */
	ck_assert(await_count(&c.messages, 2));
	ck_assert_int_eq(peek(&c.closed), 0);
	cli_finish(&c);
	ck_assert(await_count(&c.closed, 1));
	ck_assert_int_eq(c.status, OK);
	cli_done(&c);
	mt_free(both);
	ca_clear(&next);
	rig_down(&g);
}
END_TEST

START_TEST(renewed_client_certificate)
{
	struct rig g;
	struct one o;

	rig_up(&g, false);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "peer", &o), OK);
	slot_fill(g.theirs, &g.ca, "spiffe://mesh.test/ns/sys/sa/pilot2", g.ca.pem);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "peer", &o), OK);
	ck_assert_str_eq(o.answer, "spiffe://mesh.test/ns/sys/sa/pilot2");
	rig_down(&g);
}
END_TEST

START_TEST(without_client_certificate)
{
	struct rig g;
	struct one o;

	rig_up(&g, false);
	struct mt_rpc_channel *ch = channel(&g, server_ids, true);
	refused(ch, NULL);
	mt_rpc_channel_free(ch);
	rig_down(&g);

	rig_up(&g, true);
	ch = channel(&g, server_ids, true);
	ck_assert_int_eq(ask(ch, "/t.T/Unary", "peer", &o), OK);
	ck_assert_str_eq(o.answer, "");
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "peer", &o), OK);
	ck_assert_str_eq(o.answer, CLIENT_ID);
	/* Optional does not mean any: a bad one is refused. */
	struct ca other;
	ca_make(&other, "mesh.test");
	slot_fill(g.theirs, &other, CLIENT_ID, g.ca.pem);
	refused(g.ch, NULL);
	ca_clear(&other);
	mt_rpc_channel_free(ch);
	rig_down(&g);
}
END_TEST

START_TEST(other_trust_domain)
{
	struct rig g;
	struct ca other;
	char *both = NULL;

	/* One bundle for both, by mistake: the id's trust domain still has to be the server's own. */
	rig_up(&g, false);
	ca_make(&other, "mesh.testy");
	ck_assert_int_eq(mt_bundle_merge(g.ca.pem, other.pem, &both, NULL), 0);
	slot_fill(g.ours, &g.ca, SERVER_ID, both);
	slot_fill(g.theirs, &other, "spiffe://mesh.testy/ns/sys/sa/pilot", g.ca.pem);
	refused(g.ch, "another trust domain");
	mt_free(both);
	ca_clear(&other);
	rig_down(&g);
}
END_TEST

START_TEST(no_identity_yet)
{
	struct rig g;
	struct one o;
	struct cli c = { 0 };

	rig_up(&g, false);
	struct mt_identity *roots = NULL;
	ck_assert_int_eq(mt_identity_new(NULL, NULL, g.ca.pem, &roots, NULL), 0);
	mt_identity_slot_set(g.theirs, roots);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "x", &o), UNAVAILABLE);
	ck_assert_str_eq(o.why, "no certificate of our own yet");
	cli_open(&c, g.ch, "/t.T/Echo");
	ck_assert(await_count(&c.closed, 1));
	ck_assert_int_eq(c.status, UNAVAILABLE);
	cli_done(&c);
	slot_fill(g.theirs, &g.ca, CLIENT_ID, g.ca.pem);
	ck_assert_int_eq(ask(g.ch, "/t.T/Unary", "x", &o), OK);
	/* A server may listen before its certificate has come: it serves once it is there. */
	struct mt_identity_slot *late = mt_identity_slot_new();
	const struct mt_rpc_server_opts so = { .identity = late };
	struct mt_rpc_server *early = NULL;
	uint16_t port = start_server(g.env, &so, methods, 2, &early);
	const struct mt_rpc_channel_opts co = { .identity = g.theirs, .server_ids = server_ids };
	struct mt_rpc_channel *ch = connect_to(g.env, port, &co);
	refused(ch, NULL);
	mt_identity_slot_set(late, roots);
	refused(ch, NULL);
	slot_fill(late, &g.ca, SERVER_ID, g.ca.pem);
	slot_fill(g.theirs, &g.ca, CLIENT_ID, g.ca.pem); /* a new connection, now */
	ck_assert_int_eq(ask(ch, "/t.T/Unary", "peer", &o), OK);
	ck_assert_str_eq(o.answer, CLIENT_ID);
	mt_rpc_channel_free(ch);
	mt_rpc_server_stop(early, 0);
	mt_identity_slot_free(late);
	mt_identity_unref(roots);
	rig_down(&g);
}
END_TEST

START_TEST(plaintext_to_tls)
{
	struct rig g;

	rig_up(&g, false);
	struct mt_rpc_channel *ch = connect_to(g.env, mt_rpc_server_port(g.server, 0), NULL);
	refused(ch, NULL);
	mt_rpc_channel_free(ch);
	rig_down(&g);
}
END_TEST

MT_UNIT(rpc_tls, both_known, wrong_server_identity, one_of_several_server_identities, unknown_roots,
	expired, expires_on_a_live_connection, renewed_server_certificate,
	renewed_client_certificate, without_client_certificate, other_trust_domain, no_identity_yet,
	plaintext_to_tls)
