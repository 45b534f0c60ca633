/* TLS of channels.
 *
 * gRPC core's plain SSL credentials insist on a DNS name in the server's certificate; a SPIFFE
 * certificate has none. The TLS credentials (experimental in core, but stable in what we use) let us
 * put our own check in place of the name check: after core has verified the chain against the roots,
 * the leaf must be an SVID whose id is one of those allowed. The certificate provider is a static one
 * of one identity: a renewed certificate makes new credentials and a new connection (channel.c). */
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/string_util.h>
#include <string.h>

#include "common/pki/cert.h"
#include "common/rpc/internal.h"

struct rpc_ids *rpc_ids_new(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	struct rpc_ids *ids = mt_alloc(sizeof(*ids) + n * sizeof(ids->v[0]));
	mt_ref_init(&ids->ref);
	for (; ids->n < n; ids->n++)
		ids->v[ids->n] = mt_strdup(list[ids->n]);
	return ids;
}

void rpc_ids_unref(struct rpc_ids *ids)
{
	if (!ids || !mt_ref_put(&ids->ref))
		return;
	for (size_t i = 0; i < ids->n; i++)
		mt_free(ids->v[i]);
	mt_free(ids);
}

struct verifier {
	grpc_tls_certificate_verifier_external core;
	struct rpc_ids *ids;
};

static int check(const struct rpc_ids *ids, const char *pem, struct mt_err *err)
{
	MT_AUTO(mt_chain_unrefp) struct mt_chain *chain = NULL;
	char id[MT_SPIFFE_ID_MAX];
	int r;

	if (!pem)
		return mt_fail(err, MT_UNAUTHENTICATED, NULL, "the server showed no certificate");
	if ((r = mt_chain_parse(pem, strlen(pem), &chain, err)) < 0 ||
		(r = mt_svid_check(chain, id, err)) < 0)
		return r;
	for (size_t i = 0; i < ids->n; i++)
		if (mt_streq(ids->v[i], id))
			return 0;
	return mt_fail(err, MT_DENIED, NULL, "the server is %s, expected %s%s", id,
		ids->n ? ids->v[0] : "nobody", ids->n > 1 ? " or others" : "");
}

static int verify(void *user, grpc_tls_custom_verification_check_request *q,
	grpc_tls_on_custom_verification_check_done_cb done MT_UNUSED, void *arg MT_UNUSED,
	grpc_status_code *ret_status, char **ret_details)
{
	struct verifier *v = user;
	struct mt_err err = { 0 };
	int r = check(v->ids, q->peer_info.peer_cert, &err);

	*ret_status = r < 0 ? GRPC_STATUS_UNAUTHENTICATED : GRPC_STATUS_OK;
	if (r < 0)
		*ret_details = gpr_strdup(err.msg);
	return 1; /* done already */
}

static void cancel(void *user MT_UNUSED, grpc_tls_custom_verification_check_request *q MT_UNUSED)
{
}

static void destruct(void *user)
{
	struct verifier *v = user;

	rpc_ids_unref(v->ids);
	mt_free(v);
}

static grpc_tls_certificate_verifier *make_verifier(struct rpc_ids *allowed)
{
	struct verifier *v = MT_NEW(struct verifier);

	v->core.user_data = v;
	v->core.verify = verify;
	v->core.cancel = cancel;
	v->core.destruct = destruct;
	mt_ref_get(&allowed->ref);
	v->ids = allowed;
	return grpc_tls_certificate_verifier_external_create(&v->core);
}

grpc_channel_credentials *rpc_channel_creds(
	const struct mt_identity *id, struct rpc_ids *allowed, bool no_client_cert)
{
	grpc_tls_identity_pairs *pairs = NULL;
	grpc_tls_credentials_options *o = grpc_tls_credentials_options_create();

	if (!no_client_cert) {
		pairs = grpc_tls_identity_pairs_create();
		grpc_tls_identity_pairs_add_pair(pairs, id->key_pem, id->chain_pem);
	}
	grpc_tls_certificate_provider *p =
		grpc_tls_certificate_provider_static_data_create(id->roots_pem, pairs);
	grpc_tls_credentials_options_set_certificate_provider(o, p);
	grpc_tls_certificate_provider_release(p);
	grpc_tls_credentials_options_watch_root_certs(o);
	if (!no_client_cert)
		grpc_tls_credentials_options_watch_identity_key_cert_pairs(o);
	grpc_tls_certificate_verifier *v = make_verifier(allowed);
	grpc_tls_credentials_options_set_certificate_verifier(o, v);
	grpc_tls_certificate_verifier_release(v);
	grpc_tls_credentials_options_set_check_call_host(o, 0);
	return grpc_tls_credentials_create(o);
}
