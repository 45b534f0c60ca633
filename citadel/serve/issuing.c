/* CreateCertificate: throttle -> who asks -> read the CSR -> what may it have -> admit -> sign ->
 * ledger -> answer.
 *
 * The order matters. Nothing of the request is looked at before the caller is known: an unknown one
 * costs a hash and a look-up, not a signature check. A join token's use is counted only when all that
 * the caller controls was found good, so that a broken CSR does not use a token up. The certificate is
 * written down before it leaves. The answer is the chain as Istio's agents expect it: leaf,
 * intermediates, and last the roots (all of the bundle in one element). */
#include "citadel/serve/issuing.h"

#include <string.h>

#include "citadel/metrics.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/pb.h"
#include "istio/v1/auth/ca.pb-c.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("issue");

enum { ARENA_MAX = 1 << 20, CHAIN_ELEMENTS = MT_CHAIN_MAX + 1 };

static void count(struct citadel_issuing *s, enum citadel_metric m)
{
	mt_metric_add(s->metrics, (int)m, 1);
}

static int throttled(struct citadel_issuing *s, const char *host, struct mt_err *err)
{
	if (!citadel_throttle_take(s->requests, host, 1)) {
		mt_metric_add(s->metrics, METRIC_citadel_server_throttled_count, 1, "requests");
		return mt_fail(
			err, MT_LIMIT, NULL, "too many requests from this address (--csr-rate)");
	}
	if (!citadel_throttle_take(s->failures, host, 0)) {
		mt_metric_add(s->metrics, METRIC_citadel_server_throttled_count, 1, "failures");
		return mt_fail(err, MT_LIMIT, NULL,
			"too many failed authentications from this address (--auth-failure-rate)");
	}
	return 0;
}

static int authenticate(struct citadel_issuing *s, const struct citadel_credentials *who,
	const char *host, struct citadel_caller *caller, struct mt_err *err)
{
	int r = citadel_authenticate(&s->authority, who, caller, err);

	if (r < 0) {
		citadel_throttle_take(s->failures, host, 1);
		count(s, METRIC_citadel_server_authentication_failure_count);
	}
	return r;
}

/* Reads the request into the arena: the CSR and the lifetime that it wants. */
static int read_request(struct mt_arena *arena, const void *p, size_t n, struct mt_csr **ret_csr,
	int64_t *ret_ttl_ns, struct mt_err *err)
{
	const Ca__IstioCertificateRequest *q = (const Ca__IstioCertificateRequest *)mt_pb_unpack(
		&ca__istio_certificate_request__descriptor, arena, p, n, err);
	int r;

	if (!q)
		return MT_INVALID;
	if (q->validity_duration < 0 || q->validity_duration > INT64_MAX / MT_NS_PER_SEC)
		return mt_fail(err, MT_INVALID, "validity_duration", "is out of range");
	if (mt_str_empty(q->csr))
		return mt_fail(err, MT_INVALID, "csr", "is missing");
	if ((r = mt_csr_parse(q->csr, strlen(q->csr), ret_csr, err)) < 0)
		return mt_err_prefix(err, "csr");
	*ret_ttl_ns = q->validity_duration * MT_NS_PER_SEC;
	return 0;
}

static int write_down(struct citadel_issuing *s, const struct mt_chain *chain,
	const struct citadel_caller *caller, const char *id, const char *peer, struct mt_err *err)
{
	struct mt_cert_info info;
	int r;

	mt_cert_info(chain, 0, &info);
	r = citadel_ledger_add(s->ledger,
		&(struct citadel_issue){ .at_ns = mt_wall(s->clock),
			.until_ns = info.not_after_ns,
			.serial = info.serial,
			.id = id,
			.method = caller->method,
			.peer = peer },
		err);
	if (r < 0)
		count(s, METRIC_citadel_server_ledger_err_count);
	else
		mt_log_info(&scope, "certificate issued", MT_S("id", id),
			MT_S("serial", info.serial), MT_S("by", caller->method),
			MT_S("peer", peer));
	return r;
}

/* Splits a PEM text into its blocks: each is one element of the answer. */
static size_t split_pem(struct mt_arena *a, const char *pem, char **v, size_t most)
{
	static const char end[] = "-----END CERTIFICATE-----";
	size_t n = 0;

	while (n < most) {
		const char *from = strstr(pem, "-----BEGIN CERTIFICATE-----"), *to;

		if (!from || !(to = strstr(from, end)))
			break;
		to += strlen(end);
		v[n++] = mt_arena_printf(a, "%.*s\n", (int)(to - from), from);
		pem = to;
	}
	return n;
}

static void answer(struct mt_arena *arena, const struct mt_chain *chain,
	const struct citadel_ca *ca, struct mt_buf *out)
{
	Ca__IstioCertificateResponse resp;
	char *v[CHAIN_ELEMENTS];
	struct mt_buf pem = { 0 };

	ca__istio_certificate_response__init(&resp);
	mt_chain_pem(chain, &pem);
	resp.n_cert_chain = split_pem(arena, mt_buf_str(&pem), v, CHAIN_ELEMENTS - 1);
	mt_buf_clear(&pem);
	v[resp.n_cert_chain++] = ca->bundle_pem;
	resp.cert_chain = v;
	mt_pb_pack(&resp.base, out);
}

static int sign(struct citadel_issuing *s, const struct citadel_credentials *who,
	const struct citadel_caller *caller, const struct mt_csr *csr, int64_t ttl_ns,
	struct mt_arena *arena, struct mt_buf *out, struct mt_err *err)
{
	MT_AUTO(citadel_ca_unrefp) struct citadel_ca *ca = citadel_roots_get(s->roots);
	MT_AUTO(mt_chain_unrefp) struct mt_chain *chain = NULL;
	char id[MT_SPIFFE_ID_MAX];
	int r;

	if ((r = citadel_caller_choose(caller, mt_csr_spiffe_id(csr), id, err)) < 0) {
		count(s, METRIC_citadel_server_id_extraction_err_count);
		return r;
	}
	/* Sign first: what cannot be signed (a lifetime beyond the limit) uses no token up. */
	if ((r = citadel_sign(s->signer, ca, mt_csr_key(csr), id, ttl_ns, &chain, err)) < 0) {
		count(s, METRIC_citadel_server_csr_sign_err_count);
		return r;
	}
	if ((r = citadel_caller_admit(&s->authority, caller, id, err)) < 0) {
		count(s, METRIC_citadel_server_authentication_failure_count);
		return r;
	}
	if ((r = write_down(s, chain, caller, id, who->peer->addr, err)) < 0)
		return r;
	answer(arena, chain, ca, out);
	count(s, METRIC_citadel_server_success_cert_issuance_count);
	return 0;
}

int citadel_issue(struct citadel_issuing *s, const struct citadel_credentials *who, const void *p,
	size_t n, struct mt_buf *out, struct mt_err *err)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *arena = NULL;
	MT_AUTO(mt_csr_freep) struct mt_csr *csr = NULL;
	int64_t start = mt_mono(s->clock), ttl_ns = 0;
	struct citadel_caller caller;
	char host[64];
	int r;

	count(s, METRIC_citadel_server_csr_count);
	citadel_addr_host(who->peer->addr, host, sizeof(host));
	if ((r = throttled(s, host, err)) < 0 || (r = authenticate(s, who, host, &caller, err)) < 0)
		return r;
	if (n > CITADEL_REQUEST_MAX)
		return mt_fail(
			err, MT_LIMIT, NULL, "a request has at most %d bytes", CITADEL_REQUEST_MAX);
	arena = mt_arena_new(ARENA_MAX);
	if ((r = read_request(arena, p, n, &csr, &ttl_ns, err)) < 0) {
		count(s, METRIC_citadel_server_csr_parsing_err_count);
		return r;
	}
	if ((r = sign(s, who, &caller, csr, ttl_ns, arena, out, err)) < 0)
		return r;
	mt_metric_observe(s->metrics, METRIC_citadel_server_issuance_seconds,
		(double)(mt_mono(s->clock) - start) / MT_NS_PER_SEC);
	return 0;
}

/* ---- transport ---- */

static int on_open(struct mt_rpc_stream *stream, void *ctx, struct mt_err *err)
{
	(void)err;
	mt_rpc_stream_set_user(stream, ctx);
	return 0;
}

static void on_message(struct mt_rpc_stream *stream, const void *p, size_t n)
{
	struct citadel_issuing *s = mt_rpc_stream_user(stream);
	const struct citadel_credentials who = {
		.authorization = mt_rpc_stream_metadata(stream, "authorization"),
		.peer = mt_rpc_stream_peer(stream),
	};
	struct mt_buf out = { 0 };
	struct mt_err err = { 0 };
	int r = citadel_issue(s, &who, p, n, &out, &err);

	if (r < 0) {
		char text[sizeof(err.path) + sizeof(err.msg) + 4];

		snprintf(text, sizeof(text), "%s%s%s", err.path, *err.path ? ": " : "", err.msg);
		mt_log_warn(&scope, "certificate refused", MT_S("peer", who.peer->addr),
			MT_S("peer_id", who.peer->spiffe_id), MT_S("why", text));
		mt_rpc_stream_finish(stream, mt_code_grpc(r), text);
		return;
	}
	mt_slice slice = mt_slice_copy(out.p, out.n);

	mt_buf_clear(&out);
	mt_rpc_stream_reply(stream, &slice, 1);
}

static void on_close(struct mt_rpc_stream *stream, int status, const char *msg)
{
	(void)stream;
	(void)status;
	(void)msg;
}

static const struct mt_rpc_ops ops = {
	.open = on_open,
	.message = on_message,
	.close = on_close,
};

struct mt_rpc_method citadel_issuing_method(struct citadel_issuing *s)
{
	return (struct mt_rpc_method){
		.path = "/istio.v1.auth.IstioCertificateService/CreateCertificate",
		.ops = &ops,
		.max_message = CITADEL_REQUEST_MAX,
		.ctx = s,
	};
}
