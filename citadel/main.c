/* citadel: the certificate authority for SPIFFE identities.
 *
 * Components in order: the roots (made once, or given), who may ask (join tokens), the ledger, our own
 * certificate, the gRPC server, the debug pages. Citadel needs no other daemon to start. */
#include "citadel/citadel.h"

#include <stdio.h>
#include <string.h>

#include "citadel/metrics.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("citadel");

static int roots_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct citadel *c = self;
	const struct citadel_options *o = c->o = mt_daemon_options(d);
	const struct mt_clock *clock = mt_loop_clock(mt_daemon_loop(d));
	struct citadel_ca *ca;
	int r;

	if (strcmp(o->common.tls, "on") != 0)
		return mt_fail(err, MT_INVALID, "--tls", "citadel always serves TLS");
	if ((r = mt_spiffe_make(o->common.trust_domain, "istio-system",
		     "istio-citadel-service-account", c->id, sizeof(c->id), err)) < 0)
		return mt_err_prefix(err, "--trust-domain");
	r = citadel_roots_open(
		&(struct citadel_roots_opts){ .dir = mt_state_dir(mt_daemon_state(d)),
			.trust_domain = o->common.trust_domain,
			.root_ttl_ns = o->root_cert_ttl,
			.max_leaf_ttl_ns = o->max_workload_cert_ttl,
			.clock = clock,
			.ca_cert = o->ca_cert,
			.ca_key = o->ca_key,
			.cert_chain = o->cert_chain,
			.root_cert = o->root_cert },
		&c->issuing.roots, err);
	if (r < 0)
		return r;
	ca = citadel_roots_get(c->issuing.roots);
	mt_metric_set(mt_daemon_metrics(d), METRIC_citadel_server_root_cert_expiry_timestamp,
		(double)(ca->not_after_ns / MT_NS_PER_SEC));
	citadel_ca_unref(ca);
	c->issuing.clock = clock;
	c->issuing.metrics = mt_daemon_metrics(d);
	return citadel_signer_new(
		&(struct citadel_signer_opts){ .trust_domain = o->common.trust_domain,
			.default_ttl_ns = o->workload_cert_ttl,
			.max_ttl_ns = o->max_workload_cert_ttl,
			.dns_san = o->dns_san,
			.clock = clock },
		&c->issuing.signer, err);
}

static void roots_stop(struct mt_daemon *d, void *self)
{
	struct citadel *c = self;

	(void)d;
	citadel_signer_free(c->issuing.signer);
	citadel_roots_close(c->issuing.roots);
}

static int callers_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct citadel *c = self;
	const struct citadel_options *o = c->o;
	int r;

	c->issuing.authority.trust_domain = o->common.trust_domain;
	c->issuing.requests = citadel_throttle_new(o->csr_rate, c->issuing.clock);
	c->issuing.failures = citadel_throttle_new(o->auth_failure_rate, c->issuing.clock);
	if (mt_str_empty(o->join_tokens)) {
		mt_log_warn(&scope, "no --join-tokens: only certificates can be renewed");
		return 0;
	}
	r = citadel_tokens_open(o->join_tokens, o->common.trust_domain, mt_daemon_state(d),
		c->issuing.clock, &c->issuing.authority.tokens, err);
	if (r == 0)
		mt_metric_set(c->issuing.metrics, METRIC_citadel_server_join_tokens,
			(double)citadel_tokens_count(c->issuing.authority.tokens));
	return r;
}

static void callers_stop(struct mt_daemon *d, void *self)
{
	struct citadel *c = self;

	(void)d;
	citadel_tokens_close(c->issuing.authority.tokens);
	citadel_throttle_free(c->issuing.requests);
	citadel_throttle_free(c->issuing.failures);
}

static void on_upkeep(void *arg)
{
	struct citadel *c = arg;
	struct mt_err err = { 0 };

	citadel_ledger_sync(c->issuing.ledger);
	if (citadel_roots_expire(c->issuing.roots, &err) < 0)
		mt_log_error(&scope, "retired roots are not removed", MT_S("error", err.msg));
	if (c->issuing.authority.tokens)
		mt_metric_set(c->issuing.metrics, METRIC_citadel_server_join_tokens,
			(double)citadel_tokens_count(c->issuing.authority.tokens));
}

static int ledger_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct citadel *c = self;
	int r = citadel_ledger_open(mt_state_dir(mt_daemon_state(d)), c->o->ledger_size,
		(int)c->o->ledger_files, &c->issuing.ledger, err);

	if (r < 0)
		return r;
	c->upkeep = mt_timer_new(mt_daemon_loop(d), on_upkeep, c);
	mt_timer_start(c->upkeep, MT_NS_PER_SEC, MT_NS_PER_SEC);
	return 0;
}

static void ledger_stop(struct mt_daemon *d, void *self)
{
	struct citadel *c = self;

	(void)d;
	mt_timer_free(c->upkeep);
	citadel_ledger_close(c->issuing.ledger);
}

static void self_renewed(void *ctx, const struct mt_identity *i, const struct mt_err *err)
{
	(void)ctx;
	if (err)
		mt_log_error(&scope, "our own certificate is not renewed", MT_S("error", err->msg));
	else
		mt_log_info(&scope, "our own certificate", MT_S("id", i->spiffe_id),
			MT_S("serial", i->serial));
}

static int self_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct citadel *c = self;

	return citadel_self_start(mt_daemon_loop(d), c->issuing.roots, c->issuing.signer, c->id,
		c->o->common.cert_ttl, self_renewed, c, &c->self, err);
}

static void self_stop(struct mt_daemon *d, void *self)
{
	struct citadel *c = self;

	(void)d;
	citadel_self_stop(c->self);
}

static int server_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct citadel *c = self;
	const struct mt_rpc_server_opts o = {
		.identity = citadel_self_slot(c->self),
		.client_cert_optional = true,
		.max_streams = 4096,
		.max_connection_age_ns = 3600 * MT_NS_PER_SEC,
	};
	const struct mt_rpc_method method = citadel_issuing_method(&c->issuing);
	int r;

	c->env = mt_rpc_env_new(0);
	r = mt_rpc_server_start(
		c->env, &o, c->o->listen.v, c->o->listen.n, &method, 1, &c->server, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->o->listen.n; i++)
		mt_log_info(&scope, "signing", MT_S("address", c->o->listen.v[i]),
			MT_I("port", mt_rpc_server_port(c->server, i)));
	citadel_pages(d, c);
	return 0;
}

static void server_stop(struct mt_daemon *d, void *self)
{
	struct citadel *c = self;

	(void)d;
	if (c->server)
		mt_rpc_server_stop(c->server, c->o->common.drain_timeout);
	mt_rpc_env_free(c->env);
}

static const struct mt_component components[] = {
	{ "roots", roots_start, roots_stop },
	{ "callers", callers_start, callers_stop },
	{ "ledger", ledger_start, ledger_stop },
	{ "identity", self_start, self_stop },
	{ "server", server_start, server_stop },
};

static const struct mt_opt opts[] = {
#define OPT(...) MT_OPT_ROW(struct citadel_options, __VA_ARGS__)
#include "citadel/options.def"
#undef OPT
};

static const struct mt_metric_desc metrics[] = {
#define METRIC(...) MT_METRIC_ROW(__VA_ARGS__)
#include "citadel/metrics.def"
#undef METRIC
};

static const struct mt_daemon_desc desc = {
	.name = "citadel",
	.usage =
		"Certificate authority of the mesh: signs SPIFFE identities for callers that show a "
		"join token or an earlier certificate.",
	.opts = opts,
	.nopts = MT_ARRAY_SIZE(opts),
	.options_size = sizeof(struct citadel_options),
	.self_size = sizeof(struct citadel),
	.components = components,
	.ncomponents = MT_ARRAY_SIZE(components),
	.metrics = metrics,
	.nmetrics = MT_ARRAY_SIZE(metrics),
	.monitoring_addr = "127.0.0.1:15214",
};

int main(int argc, char **argv)
{
	return mt_daemon_main(&desc, argc, argv);
}
