/* TLS of servers: gRPC core asks for the certificate at each handshake, and gets the slot's newest,
 * with the roots that callers are verified against.
 *
 * A daemon may listen before its first certificate has come. gRPC core wants one to begin with: it gets
 * a certificate made on the spot that nobody trusts, so handshakes fail on both sides until the slot is
 * filled, and callers try again. */
#include <grpc/grpc_security.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/pki/cert.h"
#include "common/rpc/internal.h"

static grpc_ssl_server_certificate_config *placeholder(void)
{
	MT_AUTO(mt_key_unrefp) struct mt_key *key = NULL;
	MT_AUTO(mt_chain_unrefp) struct mt_chain *root = NULL;
	MT_AUTO(mt_buf_clear) struct mt_buf chain_pem = { 0 };
	const int64_t now = mt_wall(&mt_clock_system);

	if (mt_key_generate(MT_KEY_EC_P256, &key, NULL) < 0 ||
		mt_cert_root(key, "placeholder.invalid", now, 3600 * MT_NS_PER_SEC, &root, NULL) <
			0)
		return NULL;
	mt_chain_pem(root, &chain_pem);
	MT_AUTO(mt_strfreep) char *key_pem = mt_key_pem(key);
	grpc_ssl_pem_key_cert_pair pair = { key_pem, mt_buf_str(&chain_pem) };
	return grpc_ssl_server_certificate_config_create(mt_buf_str(&chain_pem), &pair, 1);
}

static grpc_ssl_certificate_config_reload_status fetch(
	void *user, grpc_ssl_server_certificate_config **ret)
{
	struct mt_rpc_server *s = user;
	/* Read before the slot: a set in between makes us fetch once too often, never too seldom. */
	uint64_t generation = mt_identity_slot_generation(s->opts.identity);

	if (s->creds_made && generation == s->creds_generation)
		return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
	struct mt_identity *id = mt_identity_slot_get(s->opts.identity);
	if (!id || !id->key_pem) {
		mt_identity_unref(id);
		if (s->creds_made || !(*ret = placeholder()))
			return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL; /* the one before stays */
		s->creds_generation = generation;
		s->creds_made = true;
		return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
	}
	grpc_ssl_pem_key_cert_pair pair = { id->key_pem, id->chain_pem };
	*ret = grpc_ssl_server_certificate_config_create(id->roots_pem, &pair, 1);
	mt_identity_unref(id);
	s->creds_generation = generation;
	s->creds_made = true;
	return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

int rpc_server_creds(struct mt_rpc_server *s, grpc_server_credentials **ret, struct mt_err *err)
{
	grpc_ssl_server_credentials_options *o =
		grpc_ssl_server_credentials_create_options_using_config_fetcher(
			s->opts.client_cert_optional
				? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
				: GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
			fetch, s);
	*ret = grpc_ssl_server_credentials_create_with_options(o);
	if (!*ret)
		return mt_fail(err, MT_INVALID, NULL, "gRPC core refuses the server certificate");
	return 0;
}
