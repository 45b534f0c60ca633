#include "common/ident/daemon_identity.h"

#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/ident/ident.h"
#include "common/pki/spiffe.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("identity");

enum { EXPECT_MAX = 8 };

struct expected {
	char id[MT_SPIFFE_ID_MAX];
	const char *list[2];
};

struct mt_daemon_identity {
	struct mt_daemon *d;
	const char *trust_domain;
	struct mt_ident *ident; /* NULL: plaintext */
	struct expected expected[EXPECT_MAX];
	size_t nexpected;
};

static void on_event(void *ctx, const struct mt_ident_event *ev)
{
	struct mt_daemon_identity *i = ctx;
	char until[32];

	if (!ev->identity) {
		mt_log_warn(&scope, "no new certificate", MT_S("error", ev->err->msg),
			MT_S("where", ev->err->path), MT_I("failures", ev->failures),
			MT_D("next_try_s", (double)ev->next_ns / MT_NS_PER_SEC));
		return;
	}
	mt_time_format(ev->identity->not_after_ns, until, sizeof(until));
	mt_log_info(&scope, ev->loaded ? "certificate from disk" : "new certificate",
		MT_S("id", ev->identity->spiffe_id), MT_S("serial", ev->identity->serial),
		MT_S("until", until), MT_D("renewal_s", (double)ev->next_ns / MT_NS_PER_SEC));
	mt_daemon_ready(i->d, "identity", true, NULL);
}

static int start(struct mt_daemon_identity *i, struct mt_rpc_env *env, const char *daemon,
	struct mt_err *err)
{
	const struct mt_common_options *o = mt_daemon_options(i->d);
	MT_AUTO(mt_strfreep)
	char *path = mt_asprintf("%s/identity.json", mt_state_dir(mt_daemon_state(i->d)));
	char id[MT_SPIFFE_ID_MAX];
	int r;

	if ((r = mt_ident_daemon_id(o->trust_domain, daemon, id, sizeof(id), err)) < 0)
		return r;
	mt_daemon_ready(i->d, "identity", false, "no certificate yet");
	return mt_ident_start(&(struct mt_ident_opts){ .loop = mt_daemon_loop(i->d),
				      .env = env,
				      .ca_addr = o->ca_addr,
				      .trust_domain = o->trust_domain,
				      .identity = mt_str_empty(o->identity) ? id : o->identity,
				      .join_token_file = o->join_token_file,
				      .trust_bundle = o->trust_bundle,
				      .cert_ttl_ns = o->cert_ttl,
				      .path = path,
				      .event = on_event,
				      .ctx = i },
		&i->ident, err);
}

int mt_daemon_identity_start(struct mt_daemon *d, struct mt_rpc_env *env, const char *daemon,
	struct mt_daemon_identity **ret, struct mt_err *err)
{
	const struct mt_common_options *o = mt_daemon_options(d);
	struct mt_daemon_identity *i = MT_NEW(struct mt_daemon_identity);
	int r;

	i->d = d;
	i->trust_domain = o->trust_domain;
	if (strcmp(o->tls, "off") != 0 && (r = start(i, env, daemon, err)) < 0) {
		mt_free(i);
		return r;
	}
	*ret = i;
	return 0;
}

void mt_daemon_identity_stop(struct mt_daemon_identity *i)
{
	if (!i)
		return;
	mt_ident_stop(i->ident);
	mt_free(i);
}

struct mt_identity_slot *mt_daemon_identity_slot(struct mt_daemon_identity *i)
{
	return i->ident ? mt_ident_slot(i->ident) : NULL;
}

/* Is sa "istio-NAME-service-account" with NAME in the comma-separated list? */
static bool in_list(const char *sa, const char *daemons)
{
	while (*daemons) {
		size_t n = strcspn(daemons, ",");
		MT_AUTO(mt_strfreep)
		char *want = mt_asprintf("istio-%.*s-service-account", (int)n, daemons);

		if (strcmp(sa, want) == 0)
			return true;
		daemons += n + (daemons[n] == ',');
	}
	return false;
}

int mt_daemon_identity_allow(const struct mt_daemon_identity *i, const struct mt_rpc_peer *peer,
	const char *daemons, struct mt_err *err)
{
	struct mt_spiffe id;

	if (!i->ident)
		return 0;
	if (!*peer->spiffe_id)
		return mt_fail(
			err, MT_UNAUTHENTICATED, NULL, "a certificate of this mesh is needed");
	if (mt_spiffe_parse(peer->spiffe_id, &id, NULL) == 0 &&
		strcmp(id.td, i->trust_domain) == 0 && strcmp(id.ns, "istio-system") == 0 &&
		in_list(id.sa, daemons))
		return 0;
	return mt_fail(err, MT_DENIED, NULL, "%s may not call this service (it is for: %s)",
		peer->spiffe_id, daemons);
}

const char *const *mt_daemon_identity_expect(struct mt_daemon_identity *i, const char *daemon)
{
	struct expected *e = &i->expected[MT_MIN(i->nexpected, (size_t)EXPECT_MAX - 1)];

	if (mt_ident_daemon_id(i->trust_domain, daemon, e->id, sizeof(e->id), NULL) < 0)
		return NULL;
	e->list[0] = e->id;
	e->list[1] = NULL;
	i->nexpected++;
	return e->list;
}
