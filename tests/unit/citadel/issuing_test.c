#include "citadel/serve/issuing.h"

#include "common/base/strs.h"
#include "common/pki/csr.h"
#include "common/schema/pb.h"
#include "istio/v1/auth/ca.pb-c.h"
#include "tests/unit/citadel/citadel_unit.h"

#define A UNIT_ID("a")
#define TOKENS                                                                                     \
	"aaaaaaaaaaaaaaaa " A                                                                      \
	"\nssssssssssssssss " UNIT_ID("*") "\noooooooooooooooo " UNIT_ID("once") " uses=1\n"

/* A packed request; csr NULL: one is made for id. */
static void request(const char *csr, const char *id, int64_t ttl_s, struct mt_buf *out)
{
	Ca__IstioCertificateRequest q = CA__ISTIO_CERTIFICATE_REQUEST__INIT;
	struct mt_key *key = NULL;
	char *made = NULL;

	if (!csr) {
		ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &key, NULL), 0);
		ck_assert_int_eq(mt_csr_make(key, id, &made, NULL), 0);
		mt_key_unref(key);
	}
	q.csr = made ? made : (char *)(uintptr_t)csr;
	q.validity_duration = ttl_s;
	mt_pb_pack(&q.base, out);
	mt_free(made);
}

struct outcome {
	int r;
	struct mt_err err;
	char id[MT_SPIFFE_ID_MAX];
	int64_t until_ns;
};

static struct outcome issue(
	struct unit_citadel *u, const char *authorization, const struct mt_buf *q)
{
	const struct citadel_credentials who = { .authorization = authorization, .peer = &u->peer };
	struct outcome o = { 0 };
	struct mt_buf out = { 0 };

	o.r = citadel_issue(&u->s, &who, q->p, q->n, &out, &o.err);
	if (o.r == 0) {
		struct mt_arena *a = mt_arena_new(0);
		Ca__IstioCertificateResponse *m = (Ca__IstioCertificateResponse *)mt_pb_unpack(
			&ca__istio_certificate_response__descriptor, a, out.p, out.n, NULL);
		struct citadel_ca *ca = citadel_roots_get(u->s.roots);
		struct mt_chain *c = NULL;
		struct mt_cert_info info;

		ck_assert_ptr_nonnull(m);
		ck_assert_uint_eq(m->n_cert_chain, 2);
		ck_assert_str_eq(m->cert_chain[1], ca->bundle_pem);
		ck_assert_int_eq(
			mt_chain_parse(m->cert_chain[0], strlen(m->cert_chain[0]), &c, NULL), 0);
		ck_assert_int_eq(mt_bundle_verify(ca->bundle, c, mt_wall(u->s.clock),
					 "cluster.local", MT_CERT_USE_CLIENT, o.id, NULL),
			0);
		mt_cert_info(c, 0, &info);
		o.until_ns = info.not_after_ns;
		mt_chain_unref(c);
		citadel_ca_unref(ca);
		mt_arena_free(a);
	}
	mt_buf_clear(&out);
	return o;
}

static struct outcome ask(
	struct unit_citadel *u, const char *authorization, const char *id, int64_t ttl_s)
{
	struct mt_buf q = { 0 };
	struct outcome o;

	request(NULL, id, ttl_s, &q);
	o = issue(u, authorization, &q);
	mt_buf_clear(&q);
	return o;
}

START_TEST(by_token)
{
	struct unit_citadel u;
	struct outcome o;

	unit_citadel_open(&u, TOKENS);
	o = ask(&u, "Bearer aaaaaaaaaaaaaaaa", NULL, 0);
	ck_assert_msg(o.r == 0, "%s", o.err.msg);
	ck_assert_str_eq(o.id, A);
	ck_assert_int_eq(o.until_ns, mt_wall(u.s.clock) + 600 * MT_NS_PER_SEC);
	o = ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, 20);
	ck_assert_int_eq(o.r, 0);
	ck_assert_int_eq(o.until_ns, mt_wall(u.s.clock) + 20 * MT_NS_PER_SEC);
	o = ask(&u, "bearer  ssssssssssssssss", UNIT_ID("z"), 0);
	ck_assert_int_eq(o.r, 0);
	ck_assert_str_eq(o.id, UNIT_ID("z"));
	unit_citadel_close(&u);
}
END_TEST

START_TEST(spoofs)
{
	struct unit_citadel u;
	struct outcome o;

	unit_citadel_open(&u, TOKENS);
	o = ask(&u, "Bearer aaaaaaaaaaaaaaaa", UNIT_ID("b"), 0);
	ck_assert_int_eq(o.r, MT_DENIED);
	ck_assert_ptr_nonnull(strstr(o.err.msg, UNIT_ID("b")));
	o = ask(&u, "Bearer ssssssssssssssss",
		"spiffe://cluster.local/ns/istio-system/sa/istio-pilot", 0);
	ck_assert_int_eq(o.r, MT_DENIED);
	o = ask(&u, "Bearer ssssssssssssssss", NULL, 0);
	ck_assert_int_eq(o.r, MT_INVALID);
	/* A certificate gives the same identity, and no other. */
	snprintf(u.peer.spiffe_id, sizeof(u.peer.spiffe_id), "%s", A);
	ck_assert_int_eq(ask(&u, NULL, UNIT_ID("b"), 0).r, MT_DENIED);
	o = ask(&u, NULL, NULL, 0);
	ck_assert_int_eq(o.r, 0);
	ck_assert_str_eq(o.id, A);
	/* A token decides even when a certificate is shown; a bad one is not made good by it. */
	ck_assert_int_eq(ask(&u, "Bearer nonsense-nonsense", A, 0).r, MT_UNAUTHENTICATED);
	snprintf(u.peer.spiffe_id, sizeof(u.peer.spiffe_id), "spiffe://elsewhere/ns/shop/sa/a");
	ck_assert_int_eq(ask(&u, NULL, NULL, 0).r, MT_UNAUTHENTICATED);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(who)
{
	struct unit_citadel u;

	unit_citadel_open(&u, TOKENS);
	ck_assert_int_eq(ask(&u, NULL, A, 0).r, MT_UNAUTHENTICATED);
	ck_assert_int_eq(ask(&u, "", A, 0).r, MT_UNAUTHENTICATED);
	ck_assert_int_eq(ask(&u, "Basic aaaaaaaaaaaaaaaa", A, 0).r, MT_UNAUTHENTICATED);
	ck_assert_int_eq(ask(&u, "Bearer ", A, 0).r, MT_UNAUTHENTICATED);
	/* An id that came without TLS proves nothing. */
	snprintf(u.peer.spiffe_id, sizeof(u.peer.spiffe_id), "%s", A);
	u.peer.tls = false;
	ck_assert_int_eq(ask(&u, NULL, A, 0).r, MT_UNAUTHENTICATED);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(malformed)
{
	static const char *const csrs[] = { "", "nonsense",
		"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n" };
	struct unit_citadel u;
	struct mt_buf q = { 0 };

	unit_citadel_open(&u, TOKENS);
	for (size_t i = 0; i < MT_ARRAY_SIZE(csrs); i++) {
		request(csrs[i], NULL, 0, &q);
		ck_assert_int_eq(issue(&u, "Bearer aaaaaaaaaaaaaaaa", &q).r, MT_INVALID);
		mt_buf_clear(&q);
	}
	mt_buf_adds(&q, "\xff\xff\xff\xff");
	ck_assert_int_eq(issue(&u, "Bearer aaaaaaaaaaaaaaaa", &q).r, MT_INVALID);
	mt_buf_clear(&q);
	mt_buf_reserve(&q, CITADEL_REQUEST_MAX + 1);
	memset(q.p, 0, CITADEL_REQUEST_MAX + 1);
	q.n = CITADEL_REQUEST_MAX + 1;
	ck_assert_int_eq(issue(&u, "Bearer aaaaaaaaaaaaaaaa", &q).r, MT_LIMIT);
	mt_buf_clear(&q);
	ck_assert_int_eq(ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, -1).r, MT_INVALID);
	ck_assert_int_eq(ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, INT64_MAX).r, MT_INVALID);
	ck_assert_int_eq(ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, 3601).r, MT_INVALID);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(uses_are_for_certificates)
{
	struct unit_citadel u;
	struct mt_buf q = { 0 };

	unit_citadel_open(&u, TOKENS);
	/* None of these uses the token up. */
	request("nonsense", NULL, 0, &q);
	ck_assert_int_eq(issue(&u, "Bearer oooooooooooooooo", &q).r, MT_INVALID);
	ck_assert_int_eq(ask(&u, "Bearer oooooooooooooooo", A, 0).r, MT_DENIED);
	ck_assert_int_eq(ask(&u, "Bearer oooooooooooooooo", NULL, 99999).r, MT_INVALID);
	ck_assert_int_eq(ask(&u, "Bearer oooooooooooooooo", NULL, 0).r, 0);
	ck_assert_int_eq(ask(&u, "Bearer oooooooooooooooo", NULL, 0).r, MT_UNAUTHENTICATED);
	mt_buf_clear(&q);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(throttled)
{
	struct unit_citadel u;
	int r = 0, n = 0;

	unit_citadel_open(&u, TOKENS);
	while ((r = ask(&u, "Bearer guess-guess-guess", A, 0).r) == MT_UNAUTHENTICATED)
		n++;
	ck_assert_int_eq(r, MT_LIMIT);
	ck_assert_int_eq(n, 20);
	/* Even a good token has to wait now; another address has not. */
	ck_assert_int_eq(ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, 0).r, MT_LIMIT);
	snprintf(u.peer.addr, sizeof(u.peer.addr), "ipv4:127.0.0.2:4711");
	ck_assert_int_eq(ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, 0).r, 0);
	snprintf(u.peer.addr, sizeof(u.peer.addr), "ipv4:127.0.0.1:1");
	mt_test_clock_advance(&u.clock, MT_NS_PER_SEC);
	ck_assert_int_eq(ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, 0).r, 0);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(ledger)
{
	struct unit_citadel u;
	struct mt_buf text = { 0 };
	char path[128];
	json_t *j;

	unit_citadel_open(&u, TOKENS);
	ck_assert_int_eq(ask(&u, "Bearer aaaaaaaaaaaaaaaa", A, 0).r, 0);
	ck_assert_int_eq(ask(&u, "Bearer ssssssssssssssss", UNIT_ID("z"), 0).r, 0);
	j = citadel_ledger_recent(u.s.ledger, 10, NULL);
	ck_assert_uint_eq(json_array_size(j), 2);
	ck_assert_str_eq(
		json_string_value(json_object_get(json_array_get(j, 0), "id")), UNIT_ID("z"));
	json_decref(j);
	j = citadel_ledger_recent(u.s.ledger, 10, A);
	ck_assert_uint_eq(json_array_size(j), 1);
	json_decref(j);
	snprintf(path, sizeof(path), "%s/ledger", u.dir);
	ck_assert_int_eq(mt_file_read(path, 1 << 20, &text, NULL), 0);
	ck_assert_ptr_nonnull(strstr(text.p, "\"id\":\"" A "\""));
	ck_assert_ptr_null(strstr(text.p, "aaaaaaaaaaaaaaaa"));
	mt_buf_clear(&text);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(ledger_rotates)
{
	char dir[] = "/tmp/mt-ledger-XXXXXX", path[64];
	const struct citadel_issue i = { .serial = "1", .id = A, .method = "x", .peer = "p" };
	struct citadel_ledger *l = NULL;
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(citadel_ledger_open(dir, 1000, 3, &l, NULL), 0);
	for (int k = 0; k < 40; k++)
		ck_assert_int_eq(citadel_ledger_add(l, &i, NULL), 0);
	for (int k = 0; k < 4; k++) {
		snprintf(path, sizeof(path), k ? "%s/ledger.%d" : "%s/ledger", dir, k);
		ck_assert_int_eq(stat(path, &st), k < 3 ? 0 : -1);
		ck_assert(k == 3 || st.st_size <= 1000);
	}
	citadel_ledger_close(l);
	unit_remove(dir);
}
END_TEST

MT_UNIT(issuing, by_token, spoofs, who, malformed, uses_are_for_certificates, throttled, ledger,
	ledger_rotates)
