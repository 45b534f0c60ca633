/* meltemi-agent: beside each Envoy.
 *
 *   meltemi-agent run --name NAME --ip IP --pilot-addr ADDR:PORT ...
 *
 * Components in order: who we are, the secrets' server, our certificate, Envoy (started when the
 * certificate is there), the pages. Stopping, Envoy drains first while everything else goes on: its
 * secrets are served and renewed, and health says "draining", until it is gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/bootstrap.h"
#include "agent/envoy.h"
#include "agent/metrics.h"
#include "agent/report.h"
#include "agent/sds.h"
#include "agent/start.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/ident/ident.h"
#include "common/run/version.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("agent");

enum { HEALTH_PORT = 15020 };

struct agent {
	struct mt_daemon *d;
	const struct agent_options *o;
	struct agent_options run;     /* with what the settings say */
	const Mesh__ProxyConfig *own; /* --proxy-config */
	struct agent_start *start;
	bool tls;
	struct mt_arena *arena; /* the node's strings */
	struct agent_node node;
	const char *dir; /* of our state, resolved */
	const char *socket;
	struct mt_rpc_env *env;
	struct agent_sds *sds;
	struct mt_ident *ident; /* NULL with --tls off */
	struct agent_envoy *envoy;
	struct agent_report *report;   /* NULL: nothing to tell Pilot */
	struct mt_http_server *health; /* NULL: the monitoring server answers */
	char why[256];                 /* Envoy is not ready */
};

/* ---- who we are ---- */

static int node_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct agent *a = self;
	char socket[AGENT_SOCKET_MAX], *dir;
	int r;

	a->d = d;
	a->o = mt_daemon_options(d);
	a->tls = strcmp(a->o->common.tls, "off") != 0;
	a->arena = mt_arena_new(0);
	if (strcmp(a->o->delta, "on") != 0 && strcmp(a->o->delta, "off") != 0)
		return mt_fail(err, MT_INVALID, "--delta", "'%s' is not on or off", a->o->delta);
	if (mt_str_empty(a->o->pilot_addr))
		return mt_fail(err, MT_INVALID, "--pilot-addr", "is required");
	if ((r = agent_start_parse(a->o->proxy_config, a->arena, &a->own, err)) < 0 ||
		(r = agent_node_make(a->o, a->arena, &a->node, err)) < 0 ||
		(r = mt_daemon_check_plaintext(d, "--pilot-addr", a->o->pilot_addr, err)) < 0)
		return r;
	if (!(dir = realpath(mt_state_dir(mt_daemon_state(d)), NULL)))
		return mt_fail_errno(err, mt_state_dir(mt_daemon_state(d)), "cannot resolve");
	a->dir = mt_arena_strdup(a->arena, dir);
	free(dir);
	agent_sds_socket(a->dir, socket);
	a->socket = *a->o->sds_socket ? a->o->sds_socket : mt_arena_strdup(a->arena, socket);
	if (a->socket[0] != '/')
		return mt_fail(
			err, MT_INVALID, "--sds-socket", "%s is not an absolute path", a->socket);
	a->env = mt_rpc_env_new(1);
	return 0;
}

static void node_stop(struct mt_daemon *d, void *self)
{
	struct agent *a = self;

	(void)d;
	mt_rpc_env_free(a->env);
	mt_arena_free(a->arena);
}

/* ---- secrets ---- */

static int sds_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct agent *a = self;

	return agent_sds_start(&(struct agent_sds_opts){ .loop = mt_daemon_loop(d),
				       .env = a->env,
				       .socket = a->socket,
				       .file_cert_dirs = a->o->file_cert_dir,
				       .credentials_dirs = a->o->credentials_dir,
				       .metrics = mt_daemon_metrics(d) },
		&a->sds, err);
}

static void sds_stop(struct mt_daemon *d, void *self)
{
	struct agent *a = self;

	(void)d;
	agent_sds_stop(a->sds);
}

/* ---- Envoy ---- */

static void on_envoy_ready(void *ctx, bool ready, const char *why)
{
	struct agent *a = ctx;

	if (!ready && strcmp(a->why, why) != 0)
		mt_log_info(&scope, "Envoy is not ready", MT_S("why", why));
	else if (ready)
		mt_log_info(&scope, "Envoy is ready");
	snprintf(a->why, sizeof(a->why), "%s", why);
	mt_daemon_ready(a->d, "envoy", ready, a->why);
}

/* NULL: plaintext. */
static int pilot_id(const struct agent *a, const char **ret, struct mt_err *err)
{
	char id[MT_SPIFFE_ID_MAX];
	int r = mt_ident_daemon_id(a->o->common.trust_domain, "pilot", id, sizeof(id), err);

	if (r == 0)
		*ret = a->tls ? mt_arena_strdup(a->arena, id) : NULL;
	return r;
}

/* s NULL: as the options alone say it. */
static int make_bootstrap(
	struct agent *a, const struct agent_settings *s, json_t **ret, struct mt_err *err)
{
	struct agent_bootstrap b = {
		.node = &a->node,
		.pilot_addr = a->o->pilot_addr,
		.sds_socket = a->socket,
		.admin_addr = a->run.envoy_admin,
		.version = mt_version(),
		.delta = strcmp(a->o->delta, "off") != 0,
		.credentials = a->o->credentials_dir.n > 0,
		.config = s ? s->config : NULL,
		.patches = s ? s->patches : NULL,
		.npatches = s ? s->npatches : 0,
	};
	int r = pilot_id(a, &b.pilot_id, err);

	return r < 0 ? r : agent_bootstrap_make(&b, ret, err);
}

static int envoy_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct agent *a = self;
	json_t *bootstrap;
	int r;

	a->run = *a->o;
	if ((r = make_bootstrap(a, NULL, &bootstrap, err)) < 0)
		return r; /* an address is wrong: said at once */
	json_decref(bootstrap);
	snprintf(a->why, sizeof(a->why), "has not started");
	mt_daemon_ready(d, "envoy", false, a->why);
	a->envoy = agent_envoy_new(&(struct agent_envoy_opts){ .loop = mt_daemon_loop(d),
		.o = &a->run,
		.dir = a->dir,
		.workload_env = a->node.workload_env,
		.metrics = mt_daemon_metrics(d),
		.ready = on_envoy_ready,
		.ctx = a });
	return 0;
}

static void envoy_stop(struct mt_daemon *d, void *self)
{
	struct agent *a = self;

	(void)d;
	agent_envoy_free(a->envoy);
}

/* ---- what Envoy is started with ---- */

static bool is_said(void *ctx, const char *option)
{
	return mt_daemon_said(ctx, option);
}

/* Variables of proxyMetadata; those that say what a program loads are the agent's alone. */
static struct mt_strlist environment(struct agent *a, const Mesh__ProxyConfig *c)
{
	struct mt_strlist env = { .v = MT_ANEWN(a->arena, const char *, c->n_proxy_metadata + 1) };

	for (size_t i = 0; i < c->n_proxy_metadata; i++) {
		const char *key = c->proxy_metadata[i]->key;
		if (*key && !mt_str_prefix(key, "LD_") && !strchr(key, '=') &&
			strcmp(key, "PATH") != 0)
			env.v[env.n++] = mt_arena_printf(
				a->arena, "%s=%s", key, c->proxy_metadata[i]->value);
	}
	return env;
}

static void on_settings(void *ctx, const struct agent_settings *s)
{
	struct agent *a = ctx;
	struct mt_strlist env = environment(a, s->config);
	struct mt_err err = { 0 };
	json_t *bootstrap = NULL, *plain = NULL;
	int r;

	agent_settings_apply(s->config, is_said, a->d, a->arena, &a->run);
	r = make_bootstrap(a, s, &bootstrap, &err);
	if (r == 0)
		r = make_bootstrap(a, NULL, &plain, &err);
	if (r == 0)
		r = agent_envoy_go(a->envoy, bootstrap, json_equal(bootstrap, plain) ? NULL : plain,
			&env, &err);
	json_decref(bootstrap);
	json_decref(plain);
	if (r == 0)
		return;
	mt_log_error(
		&scope, "Envoy cannot be started", MT_S("where", err.path), MT_S("error", err.msg));
	mt_daemon_stop(a->d);
}

/* Once, when there is a certificate to ask with (or none is needed). */
static int ask_settings(struct agent *a, struct mt_err *err)
{
	const char *id = NULL;
	int r;

	if (a->start)
		return 0;
	if ((r = pilot_id(a, &id, err)) < 0)
		return r;
	return agent_start_ask(
		&(struct agent_start_opts){
			.report = { .loop = mt_daemon_loop(a->d),
				.env = a->env,
				.pilot_addr = a->o->pilot_addr,
				.pilot_id = id,
				.identity = a->tls ? mt_ident_slot(a->ident) : NULL,
				.node = &a->node,
				.group = a->o->workload_group },
			.state = mt_daemon_state(a->d),
			.wait_ns = a->o->start_wait,
			.own = a->own,
			.done = on_settings,
			.ctx = a },
		&a->start, err);
}

static int run_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct agent *a = self;

	(void)d;
	return a->tls ? 0 : ask_settings(a, err);
}

static void on_envoy_gone(void *ctx)
{
	mt_loop_stop(ctx);
}

/* The loop has ended; it runs once more until Envoy is gone, so that everything else goes on. */
static void run_stop(struct mt_daemon *d, void *self)
{
	struct agent *a = self;

	agent_start_free(MT_TAKE(a->start));
	agent_report_drain(a->report);
	agent_envoy_stop(a->envoy, on_envoy_gone, mt_daemon_loop(d));
	mt_loop_run(mt_daemon_loop(d));
}

/* ---- our certificate ---- */

static void on_identity(void *ctx, const struct mt_ident_event *ev)
{
	struct agent *a = ctx;
	struct mt_metrics *m = mt_daemon_metrics(a->d);
	struct mt_err err = { 0 };
	char until[32];

	if (!ev->identity) {
		mt_metric_add(m, METRIC_agent_certificate_failures_total, 1);
		mt_log_warn(&scope, "no new certificate", MT_S("where", ev->err->path),
			MT_S("error", ev->err->msg), MT_I("failures", ev->failures),
			MT_D("next_try_s", (double)ev->next_ns / MT_NS_PER_SEC));
		return;
	}
	mt_time_format(ev->identity->not_after_ns, until, sizeof(until));
	mt_log_info(&scope, ev->loaded ? "certificate from disk" : "new certificate",
		MT_S("id", ev->identity->spiffe_id), MT_S("serial", ev->identity->serial),
		MT_S("until", until), MT_D("renewal_s", (double)ev->next_ns / MT_NS_PER_SEC));
	if (!ev->loaded)
		mt_metric_add(m, METRIC_agent_certificates_total, 1);
	mt_metric_set(m, METRIC_agent_certificate_expiry_timestamp,
		(double)(ev->identity->not_after_ns / MT_NS_PER_SEC));
	mt_daemon_ready(a->d, "identity", true, NULL);
	agent_sds_set(a->sds, ev->identity);
	if (ask_settings(a, &err) < 0)
		mt_log_error(&scope, "Pilot cannot be asked", MT_S("where", err.path),
			MT_S("error", err.msg));
}

static int identity_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct agent *a = self;
	const struct mt_common_options *c = &a->o->common;

	if (!a->tls)
		return 0;
	mt_daemon_ready(d, "identity", false, "no certificate yet");
	return mt_ident_start(&(struct mt_ident_opts){ .loop = mt_daemon_loop(d),
				      .env = a->env,
				      .ca_addr = c->ca_addr,
				      .trust_domain = c->trust_domain,
				      .identity = *c->identity ? c->identity : a->node.spiffe_id,
				      .join_token_file = c->join_token_file,
				      .trust_bundle = c->trust_bundle,
				      .cert_ttl_ns = c->cert_ttl,
				      .path = mt_arena_printf(a->arena, "%s/identity.json", a->dir),
				      .event = on_identity,
				      .ctx = a },
		&a->ident, err);
}

static void identity_stop(struct mt_daemon *d, void *self)
{
	struct agent *a = self;

	(void)d;
	mt_ident_stop(a->ident);
}

/* ---- what Pilot is told ---- */

static int report_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct agent *a = self;
	char id[MT_SPIFFE_ID_MAX];
	int r;

	if (!*a->o->workload_group && !a->o->credentials_dir.n)
		return 0;
	if ((r = mt_ident_daemon_id(a->o->common.trust_domain, "pilot", id, sizeof(id), err)) < 0)
		return r;
	return agent_report_start(&(struct agent_report_opts){ .loop = mt_daemon_loop(d),
					  .env = a->env,
					  .pilot_addr = a->o->pilot_addr,
					  .pilot_id = a->tls ? mt_arena_strdup(a->arena, id) : NULL,
					  .identity = a->tls ? mt_ident_slot(a->ident) : NULL,
					  .node = &a->node,
					  .group = a->o->workload_group,
					  .credentials_dirs = a->o->credentials_dir,
					  .allow_exec = a->o->exec_probes },
		&a->report, err);
}

static void report_stop(struct mt_daemon *d, void *self)
{
	struct agent *a = self;

	(void)d;
	agent_report_stop(a->report);
}

/* ---- pages ---- */

static void page_ready(void *ctx, struct mt_http_req *req)
{
	struct agent *a = ctx;
	bool ready = agent_envoy_is_ready(a->envoy);

	mt_http_reply_json(req, ready ? 200 : 503,
		ready ? json_pack("{s:b}", "ready", 1)
		      : json_pack("{s:b, s:s}", "ready", 0, "reason", a->why));
}

static void page_envoy(void *ctx, struct mt_http_req *req)
{
	struct agent *a = ctx;

	mt_http_reply_json(req, 200, agent_envoy_json(a->envoy));
}

/* Without --status-addr only health is served, on the workload's address where Istio has it. */
static int pages_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct agent *a = self;
	struct mt_http_server *s = mt_daemon_monitor(d);

	if (!s) {
		bool v6 = strchr(a->node.ip, ':') != NULL;
		const char *addr = mt_arena_printf(
			a->arena, v6 ? "[%s]:%d" : "%s:%d", a->node.ip, HEALTH_PORT);
		int r = mt_http_server_start(mt_daemon_loop(d),
			&(struct mt_http_server_opts){ .addr = addr }, &a->health, err);

		if (r < 0)
			return mt_err_prefix(err, "health (--status-addr)");
		s = a->health;
	}
	mt_http_route(s, "GET", "/healthz/ready", page_ready, a);
	mt_daemon_debug(d, "envoy", "the Envoy that this agent runs", page_envoy, a);
	return 0;
}

static void pages_stop(struct mt_daemon *d, void *self)
{
	struct agent *a = self;

	(void)d;
	if (a->health)
		mt_http_server_stop(a->health);
}

static const struct mt_component components[] = {
	{ "node", node_start, node_stop },
	{ "sds", sds_start, sds_stop },
	{ "envoy", envoy_start, envoy_stop },
	{ "pages", pages_start, pages_stop },
	{ "identity", identity_start, identity_stop },
	{ "report", report_start, report_stop },
	{ "run", run_start, run_stop },
};

static const struct mt_opt opts[] = {
#define OPT(...) MT_OPT_ROW(struct agent_options, __VA_ARGS__)
#include "agent/options.def"
#undef OPT
};

static const struct mt_metric_desc metrics[] = {
#define METRIC(...) MT_METRIC_ROW(__VA_ARGS__)
#include "agent/metrics.def"
#undef METRIC
};

static const struct mt_daemon_desc desc = {
	.name = "agent",
	.usage =
		"Beside an Envoy: gets its certificate, serves it, runs and drains the proxy. "
		"meltemi-agent run [OPTION]...; --work-dir and --status-addr are this program's names of "
		"--state-dir and --monitoring-addr.",
	.opts = opts,
	.nopts = MT_ARRAY_SIZE(opts),
	.options_size = sizeof(struct agent_options),
	.self_size = sizeof(struct agent),
	.components = components,
	.ncomponents = MT_ARRAY_SIZE(components),
	.metrics = metrics,
	.nmetrics = MT_ARRAY_SIZE(metrics),
};

/* "--work-dir=X" -> "--state-dir=X": an agent has no state of a mesh, but a folder it works in. */
static char *renamed(const char *arg)
{
	static const char *const names[][2] = { { "--work-dir", "--state-dir" },
		{ "--status-addr", "--monitoring-addr" } };

	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i][0]);

		if (strncmp(arg, names[i][0], n) == 0 && (!arg[n] || arg[n] == '='))
			return mt_asprintf("%s%s", names[i][1], arg + n);
	}
	return mt_strdup(arg);
}

int main(int argc, char **argv)
{
	char **args;
	int r, n = 0;

	if (argc >= 2 && strcmp(argv[1], "version") == 0) {
		printf("meltemi-agent %s\n", mt_version());
		return 0;
	}
	if (argc < 2 || (strcmp(argv[1], "run") != 0 && argv[1][0] != '-')) {
		fprintf(stderr, "usage: meltemi-agent run [OPTION]...   (--help lists them)\n");
		return 2;
	}
	args = mt_reallocarray(NULL, (size_t)argc + 1, sizeof(*args));
	args[n++] = mt_strdup(argv[0]);
	for (int i = strcmp(argv[1], "run") == 0 ? 2 : 1; i < argc; i++)
		args[n++] = renamed(argv[i]);
	args[n] = NULL;
	r = mt_daemon_main(&desc, n, args);
	for (int i = 0; i < n; i++)
		mt_free(args[i]);
	mt_free(args);
	return r;
}
