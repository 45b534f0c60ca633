/* The life of a certificate: empty -> (trying) -> held -> (renewing) -> held ...
 *
 * One timer drives it: it fires for the first try, for a renewal, and after a failure's delay. At most
 * one request is under way. Which credentials a try shows: the certificate, when one is held that has
 * not ended and the last try did not show it in vain; the token otherwise. Alternating covers each
 * way in which a certificate can have become worthless without its end having come (Citadel's root
 * replaced, the clock wrong), without a list of error codes that mean so.
 *
 * mt_ident_stop() cancels a request, whose end arrives later as a post: whoever finishes last frees. */
#include "common/ident/ident.h"

#include <openssl/rand.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/ident/request.h"
#include "common/ident/store.h"
#include "common/pki/bundle.h"
#include "common/pki/spiffe.h"

#define REQUEST_TIMEOUT_NS (10 * MT_NS_PER_SEC)
/* A renewal comes at least this much after the certificate before it. */
#define RENEW_MIN_NS MT_NS_PER_SEC
enum { TOKEN_MAX = 4096, BUNDLE_FILE_MAX = 1 << 20 };

struct mt_ident {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	char *ca_addr, *trust_domain, *identity, *join_token_file, *trust_bundle, *path;
	char ca_id[MT_SPIFFE_ID_MAX];
	int64_t ttl_ns;
	void (*event)(void *ctx, const struct mt_ident_event *ev);
	void *ctx;
	struct mt_identity_slot *slot;
	struct mt_timer *timer;
	unsigned failures;
	bool showed_cert;                 /* the last try did */
	struct mt_ident_request *request; /* under way; NULL: none */
	bool stopped;
};

int mt_ident_daemon_id(
	const char *trust_domain, const char *daemon, char *buf, size_t n, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *sa = mt_asprintf("istio-%s-service-account", daemon);

	return mt_spiffe_make(trust_domain, "istio-system", sa, buf, n, err);
}

static void ident_free(struct mt_ident *i)
{
	mt_identity_slot_free(i->slot);
	mt_free(i->ca_addr);
	mt_free(i->trust_domain);
	mt_free(i->identity);
	mt_free(i->join_token_file);
	mt_free(i->trust_bundle);
	mt_free(i->path);
	mt_free(i);
}

static void tell(struct mt_ident *i, const struct mt_identity *id, bool loaded,
	const struct mt_err *err, int64_t next_ns)
{
	if (i->event)
		i->event(i->ctx,
			&(struct mt_ident_event){ .identity = id,
				.loaded = loaded,
				.err = err,
				.failures = i->failures,
				.next_ns = next_ns });
}

/* ns, less up to a tenth of it: workloads that started together do not renew together. */
static int64_t jitter(int64_t ns)
{
	uint32_t r = 0;

	RAND_bytes((unsigned char *)&r, sizeof(r));
	return ns - (int64_t)((double)ns / 10 * r / UINT32_MAX);
}

/* ---- outcomes ---- */

static void failed(struct mt_ident *i, const struct mt_err *err)
{
	int64_t next = mt_rpc_backoff_ns(i->failures++);

	mt_timer_start(i->timer, next, 0);
	tell(i, NULL, false, err, next);
}

static void publish(struct mt_ident *i, struct mt_identity *id, bool loaded)
{
	int64_t left = id->not_after_ns - mt_wall(mt_loop_clock(i->loop));
	int64_t next = MT_MAX(jitter(left / 2), RENEW_MIN_NS);

	i->failures = 0;
	mt_identity_slot_set(i->slot, id);
	mt_timer_start(i->timer, next, 0);
	tell(i, id, loaded, NULL, next);
}

static void on_done(void *ctx, struct mt_identity *id, const struct mt_err *err)
{
	struct mt_ident *i = ctx;
	struct mt_err save_err = { 0 };

	i->request = NULL;
	if (i->stopped) {
		mt_identity_unref(id);
		ident_free(i);
		return;
	}
	if (!id) {
		failed(i, err);
		return;
	}
	publish(i, id, false);
	/* It is in force even when it cannot be kept: the next start then joins again. */
	if (i->path && mt_ident_store_save(i->path, id, &save_err) < 0) {
		mt_err_prefix(&save_err, "the certificate is in force, but not kept");
		tell(i, NULL, false, &save_err, 0);
	}
	mt_identity_unref(id);
}

/* ---- tries ---- */

static int read_token(struct mt_ident *i, char **ret, struct mt_err *err)
{
	struct mt_buf text = { 0 };
	int r;

	if (mt_str_empty(i->join_token_file))
		return mt_fail(err, MT_UNAUTHENTICATED, "--join-token-file",
			"no certificate is held, and no join token was given");
	if ((r = mt_file_read(i->join_token_file, TOKEN_MAX, &text, err)) < 0) {
		mt_buf_clear(&text);
		return mt_err_prefix(err, "--join-token-file");
	}
	*ret = mt_buf_take(&text, NULL);
	(*ret)[strcspn(*ret, "\r\n")] = '\0';
	if (**ret && strspn(*ret, " \t") == 0)
		return 0;
	mt_strfreep(ret);
	return mt_fail(err, MT_INVALID, i->join_token_file, "has no token in its first line");
}

/* First contact: the roots of the file, and those that are held already. Published, so that a server
 * can tell peers apart even before it has a certificate of its own. */
static int refresh_roots(struct mt_ident *i, struct mt_err *err)
{
	struct mt_identity *now = mt_identity_slot_get(i->slot), *roots = NULL;
	MT_AUTO(mt_strfreep) char *merged = NULL;
	struct mt_buf pem = { 0 };
	int r = 0;

	if (!mt_str_empty(i->trust_bundle))
		r = mt_file_read(i->trust_bundle, BUNDLE_FILE_MAX, &pem, err);
	if (r < 0 && now)
		r = 0; /* those held will do */
	if (r == 0 && !now && !pem.n)
		r = mt_fail(err, MT_INVALID, "--trust-bundle",
			"first contact with Citadel needs roots");
	if (r == 0)
		r = mt_bundle_merge(now ? now->roots_pem : NULL, mt_buf_str(&pem), &merged, err);
	if (r == 0 && (!now || strcmp(merged, now->roots_pem) != 0))
		r = mt_identity_new(now ? now->key_pem : NULL, now ? now->chain_pem : NULL, merged,
			&roots, err);
	if (roots) {
		mt_identity_slot_set(i->slot, roots);
		mt_identity_unref(roots);
	}
	mt_buf_clear(&pem);
	mt_identity_unref(now);
	return r < 0 ? mt_err_prefix(err, "trust bundle") : 0;
}

static bool can_show_cert(struct mt_ident *i)
{
	struct mt_identity *id = mt_identity_slot_get(i->slot);
	bool ok = id && id->key_pem && id->not_after_ns > mt_wall(mt_loop_clock(i->loop));

	mt_identity_unref(id);
	if (!ok)
		return false;
	return i->failures == 0 || !i->showed_cert || mt_str_empty(i->join_token_file);
}

static int attempt(struct mt_ident *i, struct mt_err *err)
{
	MT_AUTO(mt_secret_freep) char *token = NULL;
	int r;

	i->showed_cert = can_show_cert(i);
	if (!i->showed_cert &&
		((r = read_token(i, &token, err)) < 0 || (r = refresh_roots(i, err)) < 0))
		return r;
	return mt_ident_request_start(&(struct mt_ident_request_opts){ .loop = i->loop,
					      .env = i->env,
					      .addr = i->ca_addr,
					      .server_id = i->ca_id,
					      .slot = i->slot,
					      .token = token,
					      .identity = i->identity,
					      .ttl_ns = i->ttl_ns,
					      .timeout_ns = REQUEST_TIMEOUT_NS,
					      .done = on_done,
					      .ctx = i },
		&i->request, err);
}

static void on_timer(void *arg)
{
	struct mt_ident *i = arg;
	struct mt_err err = { 0 };

	if (!i->request && attempt(i, &err) < 0)
		failed(i, &err);
}

void mt_ident_renew(struct mt_ident *i)
{
	if (!i->request)
		mt_timer_start(i->timer, 0, 0);
}

/* ---- start and stop ---- */

/* What is on disk, when it is still good for what is asked. Anything else is as if nothing were. */
static void load(struct mt_ident *i)
{
	struct mt_identity *id = NULL;
	struct mt_err err = { 0 };
	int r = mt_ident_store_load(i->path, &id, &err);

	if (r == 0 && id->not_after_ns > mt_wall(mt_loop_clock(i->loop)) &&
		mt_spiffe_in_td(id->spiffe_id, i->trust_domain) &&
		(!*i->identity || strcmp(i->identity, id->spiffe_id) == 0))
		publish(i, id, true);
	else if (r < 0 && r != MT_NOT_FOUND)
		tell(i, NULL, true, &err, 0);
	mt_identity_unref(id);
}

static int check(const struct mt_ident_opts *o, struct mt_err *err)
{
	if (mt_str_empty(o->ca_addr))
		return mt_fail(err, MT_INVALID, "--ca-addr", "is needed for a certificate");
	if (!mt_str_empty(o->identity) && !mt_spiffe_in_td(o->identity, o->trust_domain))
		return mt_fail(err, MT_INVALID, "--identity", "%s is not of trust domain %s",
			o->identity, o->trust_domain);
	return 0;
}

int mt_ident_start(const struct mt_ident_opts *o, struct mt_ident **ret, struct mt_err *err)
{
	char ca_id[MT_SPIFFE_ID_MAX];
	struct mt_ident *i;
	int r;

	if ((r = check(o, err)) < 0 ||
		(r = mt_ident_daemon_id(o->trust_domain, "citadel", ca_id, sizeof(ca_id), err)) < 0)
		return r;
	i = MT_NEW(struct mt_ident);
	i->loop = o->loop;
	i->env = o->env;
	i->ca_addr = mt_strdup(o->ca_addr);
	i->trust_domain = mt_strdup(o->trust_domain);
	i->identity = mt_strdup(o->identity ? o->identity : "");
	i->join_token_file = mt_strdup(o->join_token_file);
	i->trust_bundle = mt_strdup(o->trust_bundle);
	i->path = mt_strdup(o->path);
	memcpy(i->ca_id, ca_id, sizeof(ca_id));
	i->ttl_ns = o->cert_ttl_ns;
	i->event = o->event;
	i->ctx = o->ctx;
	i->slot = mt_identity_slot_new();
	i->timer = mt_timer_new(i->loop, on_timer, i);
	mt_timer_start(i->timer, 0, 0);
	*ret = i;
	if (i->path)
		load(i);
	return 0;
}

void mt_ident_stop(struct mt_ident *i)
{
	if (!i)
		return;
	mt_timer_free(i->timer);
	i->timer = NULL;
	i->event = NULL;
	i->stopped = true;
	if (i->request)
		mt_ident_request_cancel(i->request);
	else
		ident_free(i);
}

struct mt_identity_slot *mt_ident_slot(struct mt_ident *i)
{
	return i->slot;
}
