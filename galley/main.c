/* galley: the only daemon that reads configuration.
 *
 * Components in order: gRPC and our own certificate, the distribution, the store with the last good
 * state, pages and REST, the server (subscribers get the last good state at once), and the sources
 * last. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "galley/galley.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("galley");

static int identity_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct galley *g = self;

	g->o = mt_daemon_options(d);
	g->env = mt_rpc_env_new(0);
	return mt_daemon_identity_start(d, g->env, "galley", &g->identity, err);
}

static void identity_stop(struct mt_daemon *d, void *self)
{
	struct galley *g = self;

	(void)d;
	mt_daemon_identity_stop(g->identity);
	mt_rpc_env_free(g->env);
}

static int distribute_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct galley *g = self;

	(void)err;
	g->distribute = galley_distribute_new(&(struct galley_distribute_opts){
		.loop = mt_daemon_loop(d),
		.metrics = mt_daemon_metrics(d),
		.identity = g->identity,
		.allow = g->o->allow.n ? g->o->allow.v : NULL,
		.nallow = g->o->allow.n,
	});
	return 0;
}

static void distribute_stop(struct mt_daemon *d, void *self)
{
	(void)d;
	galley_distribute_free(((struct galley *)self)->distribute);
}

static int server_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct galley *g = self;
	const struct mt_rpc_server_opts o = { .identity = mt_daemon_identity_slot(g->identity) };
	struct mt_rpc_method methods[2];
	int r;

	for (size_t i = 0; i < g->o->listen.n; i++)
		if ((r = mt_daemon_check_plaintext(d, "--listen", g->o->listen.v[i], err)) < 0)
			return r;
	galley_distribute_methods(g->distribute, methods);
	r = mt_rpc_server_start(
		g->env, &o, g->o->listen.v, g->o->listen.n, methods, 2, &g->server, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < g->o->listen.n; i++)
		mt_log_info(&scope, "distributing configuration",
			MT_S("address", g->o->listen.v[i]),
			MT_I("port", mt_rpc_server_port(g->server, i)));
	return 0;
}

static void server_stop(struct mt_daemon *d, void *self)
{
	struct galley *g = self;

	(void)d;
	if (g->server)
		mt_rpc_server_stop(g->server, 0);
}

static void reload(struct mt_daemon *d, void *self)
{
	struct galley *g = self;

	(void)d;
	for (size_t i = 0; i < g->sources.n; i++)
		g->sources.v[i]->ops->scan(g->sources.v[i]);
}

static const struct mt_component components[] = {
	{ "identity", identity_start, identity_stop },
	{ "distribute", distribute_start, distribute_stop },
	{ "ingest", galley_ingest_start, galley_ingest_stop },
	{ "pages", galley_pages_start, NULL },
	{ "rest", galley_rest_start, galley_rest_stop },
	{ "server", server_start, server_stop },
	{ "sources", galley_sources_start, galley_sources_stop },
};

static const struct mt_opt opts[] = {
#define OPT(...) MT_OPT_ROW(struct galley_options, __VA_ARGS__)
#include "galley/options.def"
#undef OPT
};

static const struct mt_metric_desc metrics[] = {
#define METRIC(...) MT_METRIC_ROW(__VA_ARGS__)
#include "galley/metrics.def"
#undef METRIC
};

static const struct mt_daemon_desc desc = {
	.name = "galley",
	.usage = "Reads the mesh's configuration, validates it, and distributes what is in force.",
	.opts = opts,
	.nopts = MT_ARRAY_SIZE(opts),
	.options_size = sizeof(struct galley_options),
	.self_size = sizeof(struct galley),
	.components = components,
	.ncomponents = MT_ARRAY_SIZE(components),
	.metrics = metrics,
	.nmetrics = MT_ARRAY_SIZE(metrics),
	.reload = reload,
	.monitoring_addr = "127.0.0.1:15114",
};

int main(int argc, char **argv)
{
	return mt_daemon_main(&desc, argc, argv);
}
