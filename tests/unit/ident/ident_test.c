/* mt_ident against a small Citadel in this process: real TLS, a clock that the test turns. */
#include "common/ident/ident.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/strs.h"
#include "common/pki/csr.h"
#include "common/schema/pb.h"
#include "istio/v1/auth/ca.pb-c.h"
#include "tests/unit/pki/pki_unit.h"

#define TD "cluster.local"
#define ME "spiffe://cluster.local/ns/shop/sa/me"
#define CITADEL "spiffe://cluster.local/ns/istio-system/sa/istio-citadel-service-account"

/* What the small Citadel does, and what it saw; written by one side while the other waits. */
struct world {
	struct mt_test_clock clock;
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	struct mt_rpc_server *server;
	struct mt_identity_slot *slot;
	struct ca ca;
	struct mt_ident *ident;
	char dir[64], addr[64], token[96], bundle[96], path[96];
	const char *issue_as;            /* identity in the next certificates */
	_Atomic bool refuse_certs, hang; /* renewals are refused; nothing is answered */
	atomic_uint by_token, by_cert;   /* requests */
	/* loop */
	unsigned good, bad, loaded;
	struct mt_err err;
	struct mt_identity *last; /* a reference */
};

static struct world *the;

static int on_open(struct mt_rpc_stream *s, void *ctx, struct mt_err *err)
{
	(void)err;
	mt_rpc_stream_set_user(s, ctx);
	return 0;
}

static void answer(struct world *w, struct mt_rpc_stream *s, const void *p, size_t n)
{
	struct mt_arena *a = mt_arena_new(0);
	const Ca__IstioCertificateRequest *q = (const Ca__IstioCertificateRequest *)mt_pb_unpack(
		&ca__istio_certificate_request__descriptor, a, p, n, NULL);
	Ca__IstioCertificateResponse resp = CA__ISTIO_CERTIFICATE_RESPONSE__INIT;
	struct mt_csr *csr = NULL;
	struct mt_chain *leaf;
	struct mt_buf out = { 0 };
	char *v[2];

	ck_assert_int_eq(mt_csr_parse(q->csr, strlen(q->csr), &csr, NULL), 0);
	leaf = leaf_at(&w->ca, mt_csr_key(csr), w->issue_as, now_ns(), HOUR);
	v[0] = chain_text(leaf);
	v[1] = w->ca.pem;
	resp.cert_chain = v;
	resp.n_cert_chain = 2;
	mt_pb_pack(&resp.base, &out);
	mt_slice slice = mt_slice_copy(out.p, out.n);
	mt_rpc_stream_reply(s, &slice, 1);
	mt_buf_clear(&out);
	mt_free(v[0]);
	mt_chain_unref(leaf);
	mt_csr_free(csr);
	mt_arena_free(a);
}

static void on_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	struct world *w = mt_rpc_stream_user(s);
	const char *token = mt_rpc_stream_metadata(s, "authorization");
	const char *id = mt_rpc_stream_peer(s)->spiffe_id;

	atomic_fetch_add(token ? &w->by_token : &w->by_cert, 1);
	if (w->hang)
		return;
	if (token ? !mt_streq(token, "Bearer the-join-token")
		  : !mt_streq(id, ME) || w->refuse_certs)
		mt_rpc_stream_finish(s, mt_code_grpc(MT_UNAUTHENTICATED), "who are you");
	else
		answer(w, s, p, n);
}

static void on_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	(void)s;
	(void)status;
	(void)msg;
}

static const struct mt_rpc_ops ops = { .open = on_open, .message = on_message, .close = on_close };

static void on_event(void *ctx, const struct mt_ident_event *ev)
{
	struct world *w = ctx;

	if (ev->identity) {
		w->good++;
		w->loaded += ev->loaded;
		mt_identity_unref(w->last);
		w->last = mt_identity_ref((struct mt_identity *)(uintptr_t)ev->identity);
	} else {
		w->bad++;
		w->err = *ev->err;
	}
	mt_loop_stop(w->loop);
}

static void put(const char *path, const char *text, unsigned mode)
{
	ck_assert_int_eq(mt_file_replace(path, text, strlen(text), mode, NULL), 0);
}

static struct world *world_open(void)
{
	const struct mt_rpc_method m = {
		.path = "/istio.v1.auth.IstioCertificateService/CreateCertificate",
		.ops = &ops,
		.ctx = the = MT_NEW(struct world)
	};
	const char *const addr[] = { "127.18.9.1:0" };
	struct world *w = the;
	struct mt_err err = { 0 };

	strcpy(w->dir, "/tmp/mt-ident-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(w->dir));
	snprintf(w->token, sizeof(w->token), "%s/token", w->dir);
	snprintf(w->bundle, sizeof(w->bundle), "%s/bundle", w->dir);
	snprintf(w->path, sizeof(w->path), "%s/identity.json", w->dir);
	mt_test_clock_init(&w->clock, 0, now_ns());
	w->loop = mt_loop_new(&w->clock.clock);
	w->env = mt_rpc_env_new(1);
	w->issue_as = ME;
	ca_make(&w->ca, TD);
	put(w->token, "the-join-token\n", 0600);
	put(w->bundle, w->ca.pem, 0644);
	w->slot = mt_identity_slot_new();
	struct mt_identity *i = identity_at(&w->ca, CITADEL, w->ca.pem, now_ns(), HOUR);
	mt_identity_slot_set(w->slot, i);
	mt_identity_unref(i);
	ck_assert_msg(mt_rpc_server_start(w->env,
			      &(struct mt_rpc_server_opts){
				      .identity = w->slot, .client_cert_optional = true },
			      addr, 1, &m, 1, &w->server, &err) == 0,
		"%s", err.msg);
	snprintf(w->addr, sizeof(w->addr), "127.18.9.1:%d", mt_rpc_server_port(w->server, 0));
	return w;
}

static void ident_open(struct world *w)
{
	struct mt_err err = { 0 };

	ck_assert_msg(mt_ident_start(&(struct mt_ident_opts){ .loop = w->loop,
					     .env = w->env,
					     .ca_addr = w->addr,
					     .trust_domain = TD,
					     .identity = ME,
					     .join_token_file = w->token,
					     .trust_bundle = w->bundle,
					     .path = w->path,
					     .event = on_event,
					     .ctx = w },
			      &w->ident, &err) == 0,
		"%s", err.msg);
}

static void world_close(struct world *w)
{
	char cmd[96];

	mt_ident_stop(w->ident);
	mt_rpc_server_stop(w->server, 0);
	mt_rpc_env_free(w->env);
	mt_loop_free(w->loop);
	mt_identity_slot_free(w->slot);
	mt_identity_unref(w->last);
	ca_clear(&w->ca);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", w->dir);
	ck_assert_int_eq(system(cmd), 0);
	mt_free(w);
}

/* Runs the loop until the counter has grown to n; each event ends a round. */
static void until(struct world *w, const unsigned *counter, unsigned n)
{
	while (*counter < n)
		mt_loop_run(w->loop);
}

/* The same while the clock goes on: delays pass. */
static void until_later(struct world *w, const unsigned *counter, unsigned n)
{
	while (*counter < n) {
		mt_test_clock_advance(&w->clock, 15 * MT_NS_PER_SEC);
		mt_loop_run(w->loop);
	}
}

START_TEST(joins_and_renews)
{
	struct world *w = world_open();
	struct mt_identity *held;
	char first[64];
	struct stat st;

	ident_open(w);
	until(w, &w->good, 1);
	ck_assert_str_eq(w->last->spiffe_id, ME);
	ck_assert_uint_eq(w->by_token, 1);
	held = mt_identity_slot_get(mt_ident_slot(w->ident));
	ck_assert_ptr_eq(held, w->last);
	mt_identity_unref(held);
	memcpy(first, w->last->serial, sizeof(first));
	/* Half of its life later, with the certificate and not the token. */
	mt_test_clock_advance(&w->clock, HOUR / 2 + MT_NS_PER_SEC);
	until(w, &w->good, 2);
	ck_assert_str_ne(w->last->serial, first);
	ck_assert_uint_eq(w->by_token, 1);
	ck_assert_uint_eq(w->by_cert, 1);
	ck_assert_int_eq(stat(w->path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	world_close(w);
}
END_TEST

START_TEST(kept_on_disk)
{
	struct world *w = world_open();

	ident_open(w);
	until(w, &w->good, 1);
	mt_ident_stop(w->ident);
	ident_open(w);
	ck_assert_uint_eq(w->loaded, 1);
	ck_assert_uint_eq(w->by_token, 1);
	mt_ident_stop(w->ident);
	/* Others could read it: not believed, joined anew. */
	ck_assert_int_eq(chmod(w->path, 0644), 0);
	ident_open(w);
	ck_assert_uint_eq(w->bad, 1);
	ck_assert_ptr_nonnull(strstr(w->err.msg, "others may read"));
	until(w, &w->good, 3);
	ck_assert_uint_eq(w->by_token, 2);
	mt_ident_stop(w->ident);
	/* Damaged, and ended: the same. */
	put(w->path, "{\"key\": \"x\"}", 0600);
	ident_open(w);
	ck_assert_uint_eq(w->bad, 2);
	until(w, &w->good, 4);
	mt_ident_stop(w->ident);
	mt_test_clock_advance(&w->clock, 2 * HOUR);
	ident_open(w);
	ck_assert_uint_eq(w->loaded, 1);
	until(w, &w->good, 5);
	ck_assert_uint_eq(w->by_token, 4);
	world_close(w);
}
END_TEST

START_TEST(refused_certificate_falls_back)
{
	struct world *w = world_open();

	ident_open(w);
	until(w, &w->good, 1);
	w->refuse_certs = true;
	mt_test_clock_advance(&w->clock, HOUR / 2 + MT_NS_PER_SEC);
	until(w, &w->bad, 1);
	ck_assert_int_eq(w->err.code, MT_UNAUTHENTICATED);
	until_later(w, &w->good, 2);
	ck_assert_uint_eq(w->by_cert, 1);
	ck_assert_uint_eq(w->by_token, 2);
	world_close(w);
}
END_TEST

START_TEST(waits_for_what_is_missing)
{
	struct world *w = world_open();

	unlink(w->token);
	ident_open(w);
	until(w, &w->bad, 1);
	ck_assert_int_eq(w->err.code, MT_NOT_FOUND);
	put(w->token, "not-the-token\n", 0600);
	until_later(w, &w->bad, 2);
	ck_assert_int_eq(w->err.code, MT_UNAUTHENTICATED);
	put(w->token, "the-join-token\n", 0600);
	unlink(w->bundle);
	/* The roots are held since the first contact: the file is not needed any more. */
	until_later(w, &w->good, 1);
	world_close(w);
}
END_TEST

START_TEST(first_contact_needs_roots)
{
	struct world *w = world_open();
	struct ca other;

	unlink(w->bundle);
	ident_open(w);
	until(w, &w->bad, 1);
	ck_assert_ptr_nonnull(strstr(w->err.msg, "trust bundle"));
	/* The roots of somebody else: Citadel is not believed, and sees no token. */
	ca_make(&other, TD);
	put(w->bundle, other.pem, 0644);
	until_later(w, &w->bad, 2);
	ck_assert_int_eq(w->err.code, MT_UNAVAILABLE);
	ck_assert_uint_eq(w->by_token, 0);
	put(w->bundle, w->ca.pem, 0644);
	until_later(w, &w->good, 1);
	ca_clear(&other);
	world_close(w);
}
END_TEST

/* The right root, but not Citadel: another identity of the mesh must not be given tokens. */
START_TEST(server_must_be_citadel)
{
	struct world *w = world_open();
	struct mt_identity *i = identity_at(&w->ca, ME, w->ca.pem, now_ns(), HOUR);

	mt_identity_slot_set(w->slot, i);
	mt_identity_unref(i);
	ident_open(w);
	until(w, &w->bad, 1);
	ck_assert_uint_eq(w->by_token, 0);
	world_close(w);
}
END_TEST

START_TEST(another_identity_is_not_taken)
{
	struct world *w = world_open();

	w->issue_as = "spiffe://cluster.local/ns/shop/sa/you";
	ident_open(w);
	until(w, &w->bad, 1);
	ck_assert_int_eq(w->err.code, MT_DENIED);
	ck_assert_uint_eq(w->good, 0);
	world_close(w);
}
END_TEST

START_TEST(stops_in_the_middle)
{
	struct world *w = world_open();

	w->hang = true;
	ident_open(w);
	while (!w->by_token)
		uv_run(mt_loop_uv(w->loop), UV_RUN_NOWAIT);
	world_close(w);
}
END_TEST

START_TEST(options)
{
	struct mt_ident_opts o = { .ca_addr = "", .trust_domain = TD };
	struct mt_ident *i = NULL;
	struct mt_err err = { 0 };
	char id[MT_SPIFFE_ID_MAX];

	ck_assert_int_eq(mt_ident_start(&o, &i, &err), MT_INVALID);
	ck_assert_str_eq(err.path, "--ca-addr");
	o.ca_addr = "127.0.0.1:1";
	o.identity = "spiffe://elsewhere/ns/a/sa/b";
	ck_assert_int_eq(mt_ident_start(&o, &i, &err), MT_INVALID);
	ck_assert_str_eq(err.path, "--identity");
	ck_assert_int_eq(mt_ident_daemon_id(TD, "citadel", id, sizeof(id), &err), 0);
	ck_assert_str_eq(id, CITADEL);
}
END_TEST

MT_UNIT(ident, joins_and_renews, kept_on_disk, refused_certificate_falls_back,
	waits_for_what_is_missing, first_contact_needs_roots, server_must_be_citadel,
	another_identity_is_not_taken, stops_in_the_middle, options)
