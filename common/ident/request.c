/* A request owns its channel: certificates are fetched once in hours, and a channel of its own asks
 * the slot for exactly the credentials of this try. The key is made for the request and dies with it
 * unless a certificate comes back. */
#include "common/ident/request.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/csr.h"
#include "common/schema/pb.h"
#include "istio/v1/auth/ca.pb-c.h"

enum { ANSWER_MAX = 1 << 20, ARENA_MAX = 4 << 20 };

struct mt_ident_request {
	struct mt_loop *loop;
	struct mt_rpc_channel *channel;
	char *key_pem;
	char *identity;
	void (*done)(void *ctx, struct mt_identity *identity, const struct mt_err *err);
	void *ctx;
	/* the answer, filled on the completion-queue thread before the post */
	int status;
	char *msg;
	struct mt_buf answer;
};

static void request_free(struct mt_ident_request *q)
{
	mt_rpc_channel_free(q->channel);
	mt_secret_free(q->key_pem);
	mt_free(q->identity);
	mt_free(q->msg);
	mt_buf_clear(&q->answer);
	mt_free(q);
}

/* The last element is the roots, what is before it the chain. */
static int parse_answer(struct mt_ident_request *q, struct mt_identity **ret, struct mt_err *err)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *arena = mt_arena_new(ARENA_MAX);
	const Ca__IstioCertificateResponse *a;
	struct mt_identity *i = NULL;
	struct mt_buf chain = { 0 };
	int r;

	a = (const Ca__IstioCertificateResponse *)mt_pb_unpack(
		&ca__istio_certificate_response__descriptor, arena, q->answer.p, q->answer.n, err);
	if (!a)
		return MT_INVALID;
	if (a->n_cert_chain < 2)
		return mt_fail(err, MT_INVALID, "cert_chain", "has no certificate and roots");
	for (size_t k = 0; k + 1 < a->n_cert_chain; k++) {
		mt_buf_adds(&chain, a->cert_chain[k]);
		mt_buf_addc(&chain, '\n');
	}
	r = mt_identity_new(
		q->key_pem, mt_buf_str(&chain), a->cert_chain[a->n_cert_chain - 1], &i, err);
	mt_buf_clear(&chain);
	if (r < 0)
		return r;
	if (*q->identity && strcmp(i->spiffe_id, q->identity) != 0) {
		r = mt_fail(err, MT_DENIED, NULL, "asked for %s, got a certificate for %s",
			q->identity, i->spiffe_id);
		mt_identity_unref(i);
		return r;
	}
	*ret = i;
	return 0;
}

static void on_loop(void *arg)
{
	struct mt_ident_request *q = arg;
	struct mt_identity *identity = NULL;
	struct mt_err err = { 0 };

	if (q->status != 0)
		mt_fail(&err, mt_code_from_grpc(q->status), NULL, "%s", q->msg);
	else
		parse_answer(q, &identity, &err);
	q->done(q->ctx, identity, &err);
	request_free(q);
}

static void on_answer(void *ctx, int status, const char *msg, const void *p, size_t n)
{
	struct mt_ident_request *q = ctx;

	q->status = status;
	q->msg = mt_strdup(msg ? msg : "");
	if (status == 0 && p)
		mt_buf_add(&q->answer, p, n);
	mt_loop_post(q->loop, on_loop, q);
}

static int make_request(
	struct mt_ident_request *q, int64_t ttl_ns, struct mt_buf *out, struct mt_err *err)
{
	MT_AUTO(mt_key_unrefp) struct mt_key *key = NULL;
	Ca__IstioCertificateRequest m;
	int r;

	ca__istio_certificate_request__init(&m);
	if ((r = mt_key_generate(MT_KEY_EC_P256, &key, err)) < 0 ||
		(r = mt_csr_make(key, *q->identity ? q->identity : NULL, &m.csr, err)) < 0)
		return r;
	m.validity_duration = ttl_ns / MT_NS_PER_SEC;
	mt_pb_pack(&m.base, out);
	mt_free(m.csr);
	q->key_pem = mt_key_pem(key);
	return 0;
}

int mt_ident_request_start(
	const struct mt_ident_request_opts *o, struct mt_ident_request **ret, struct mt_err *err)
{
	MT_AUTO(mt_strfreep)
	char *bearer = o->token ? mt_asprintf("Bearer %s", o->token) : NULL;
	const struct mt_kv_meta meta = { .name = "authorization", .value = bearer };
	const char *const ids[] = { o->server_id, NULL };
	const struct mt_rpc_channel_opts copts = {
		.identity = o->slot,
		.server_ids = ids,
		.no_client_cert = o->token != NULL,
		.max_message = ANSWER_MAX,
	};
	struct mt_ident_request *q = MT_NEW(struct mt_ident_request);
	struct mt_buf body = { 0 };
	int r;

	q->loop = o->loop;
	q->identity = mt_strdup(o->identity ? o->identity : "");
	q->done = o->done;
	q->ctx = o->ctx;
	if ((r = make_request(q, o->ttl_ns, &body, err)) < 0 ||
		(r = mt_rpc_channel_new(o->env, o->addr, &copts, &q->channel, err)) < 0) {
		mt_buf_clear(&body);
		request_free(q);
		return r;
	}
	mt_rpc_unary(q->channel, "/istio.v1.auth.IstioCertificateService/CreateCertificate", body.p,
		body.n, o->timeout_ns, &meta, bearer ? 1 : 0, on_answer, q);
	mt_buf_clear(&body);
	if (bearer)
		explicit_bzero(bearer, strlen(bearer));
	*ret = q;
	return 0;
}

void mt_ident_request_cancel(struct mt_ident_request *q)
{
	mt_rpc_channel_free(MT_TAKE(q->channel));
}
