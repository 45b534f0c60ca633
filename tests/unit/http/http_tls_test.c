/* HTTPS: our client against our server, with certificates of our own. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/http/client.h"
#include "common/http/server.h"
#include "tests/unit/pki/pki_unit.h"

static struct mt_loop *loop;
static struct mt_http_server *server;
static char roots[] = "/tmp/meltemi-roots-XXXXXX";
static struct ca ca, other;
static char *key_pem, *cert_pem;
static int status, code;

static void begin(void)
{
	static const char *const names[] = { "localhost" };
	struct mt_issuer by;
	struct mt_leaf_request q = { .spiffe_id = "spiffe://td/ns/a/sa/b",
		.dns = names,
		.ndns = 1,
		.now_ns = now_ns(),
		.ttl_ns = HOUR };
	struct mt_key *key = NULL;
	struct mt_chain *chain = NULL;

	ca_make(&ca, "td");
	ca_make(&other, "td");
	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &key, NULL), 0);
	q.key = key;
	by = (struct mt_issuer){ ca.chain, ca.key };
	ck_assert_int_eq(mt_cert_issue(&by, &q, &chain, NULL), 0);
	key_pem = mt_key_pem(key);
	cert_pem = chain_text(chain);
	mt_chain_unref(chain);
	mt_key_unref(key);
	loop = mt_loop_new(&mt_clock_system);
}

static void end(void)
{
	mt_loop_free(loop);
	ca_clear(&ca);
	ca_clear(&other);
	mt_secret_free(key_pem);
	mt_free(cert_pem);
}

static void hello(void *ctx, struct mt_http_req *r)
{
	(void)ctx;
	mt_http_reply(r, 200, "text/plain", "hello", 5);
}

static void done(void *ctx, const struct mt_http_result *r)
{
	(void)ctx;
	status = r->status;
	code = r->err ? r->err->code : 0;
	mt_loop_stop(loop);
}

/* One call; believes the roots in pem. */
static void ask(const char *host, const char *pem)
{
	struct mt_http_client *c = mt_http_client_new(loop);
	struct mt_http_call_opts o = { .ca_pem_file = roots };
	char url[64];

	ck_assert_int_eq(mt_file_replace(roots, pem, strlen(pem), 0600, NULL), 0);
	snprintf(url, sizeof(url), "https://%s:%u/", host, mt_http_server_port(server));
	o.url = url;
	mt_http_call_start(c, &o, done, NULL);
	mt_loop_run(loop);
	mt_http_client_free(c);
}

START_TEST(only_who_is_believed)
{
	struct mt_http_server_opts o = { .addr = "127.0.0.1:0" };
	struct mt_err err = { 0 };

	begin();
	o.tls_cert_pem = cert_pem;
	o.tls_key_pem = key_pem;
	ck_assert_msg(mt_http_server_start(loop, &o, &server, &err) == 0, "%s", err.msg);
	mt_http_route(server, "GET", "/", hello, NULL);
	ask("localhost", ca.pem);
	ck_assert_int_eq(code, 0);
	ck_assert_int_eq(status, 200);
	ask("localhost", other.pem); /* another authority */
	ck_assert_int_eq(code, MT_UNAUTHENTICATED);
	ask("127.0.0.1", ca.pem); /* another name */
	ck_assert_int_eq(code, MT_UNAUTHENTICATED);
	mt_http_server_stop(server);
	end();
}
END_TEST

START_TEST(bad_certificates_are_refused)
{
	struct mt_http_server_opts o = { .addr = "127.0.0.1:0", .tls_cert_pem = "nonsense" };
	struct mt_err err = { 0 };

	begin();
	o.tls_key_pem = key_pem;
	ck_assert_int_eq(mt_http_server_start(loop, &o, &server, &err), MT_IO);
	ck_assert_ptr_nonnull(strstr(err.msg, "certificate"));
	end();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { only_who_is_believed, bad_certificates_are_refused };
	int r, fd = mkstemp(roots);

	if (fd < 0)
		return 1;
	close(fd);
	r = mt_unit_run("http_tls", tests, MT_ARRAY_SIZE(tests));
	unlink(roots);
	return r;
}
